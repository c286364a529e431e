"""The twin as a predictor: what changes its rates, streaming, gradients, files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import omnimouse_model as om
from omnimouse_model.errors import CheckpointError, StoppedError, UnsupportedRequestError
from omnimouse_model.families.twin.network import TwinConfig, TwinNetwork
from omnimouse_model.families.twin.twin import TwinCheckpoint
from omnimouse_model.predict.compatibility import check_compatibility

RELEASE = Path(__file__).parents[3] / "fixtures" / "twin_parity" / "release"
CONFIG = TwinConfig(
    retina_height=12,
    retina_width=18,
    block_channels=(4, 4, 4),
    block_groups=(1, 1, 1),
    feedforward_channels=4,
    recurrent_channels=8,
    hidden_channels=8,
    common_channels=8,
    out_channels=4,
    groups=2,
)


def written(session, folder):
    """Write a checkpoint with random weights, also where they begin at 0."""
    torch.manual_seed(0)
    net = TwinNetwork(CONFIG, session.n_neurons)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    file = folder / "twin.safetensors"
    mean = torch.as_tensor(session.units.mean, dtype=torch.float32)
    states, means = {session.id: net.state_dict()}, {session.id: mean}
    TwinCheckpoint.of_networks(states, means, config=CONFIG, frame_size=(18, 32)).save(file)
    return file


def small_model(session, folder):
    return om.load_predictor(written(session, folder), device="cpu")


@pytest.fixture(scope="module")
def path(session, tmp_path_factory):
    return written(session, tmp_path_factory.mktemp("twin"))


@pytest.fixture(scope="module")
def predictor(path):
    return om.load_predictor(path, device="cpu")


@pytest.fixture
def window(session, predictor):
    return session.window(20.0, predictor.needs.spec)


@pytest.mark.slow
def test_a_state_can_be_continued_twice(predictor, window):
    state = predictor.start(window.session)
    first, after = predictor.step(state, window)
    second, _ = predictor.step(state, window)
    np.testing.assert_array_equal(first.responses, second.responses)
    third, _ = predictor.step(after, window)
    assert not np.array_equal(first.responses, third.responses)


@pytest.mark.slow
def test_steps_are_the_window_that_begins_at_the_same_frame(predictor, window, mask):
    spec = replace(window.spec, warmup_s=0.0)
    twin = replace(predictor, spec=spec)
    whole = twin.predict(window.at(spec), mask.at(spec))
    state = twin.start(window.session)
    block = replace(spec, duration_s=0.5)
    parts = []
    for number in range(4):
        inputs = window.session.window(window.start_s + 0.5 * number, block)
        prediction, state = twin.step(state, inputs)
        parts.append(prediction.responses)
    np.testing.assert_allclose(np.concatenate(parts), whole.responses, atol=1e-5)


@pytest.mark.slow
def test_the_gradient_is_the_slope(predictor, session, window):
    generator = np.random.default_rng(0)
    frames = generator.integers(60, 190, (60, 18, 32)).astype(np.uint8)
    spec = predictor.needs.spec
    neurons, objective = np.array([2]), np.zeros((60, 1))
    objective[40] = 1.0

    def clip(gray):
        return om.Clip(session=session, frames=gray, rate_hz=30.0).at(spec)

    value, gradient = predictor.stimulus_gradient(clip(frames), neurons, objective)
    assert gradient.shape == frames.shape
    assert not gradient[41:].any()
    change = np.zeros(frames.shape, np.int16)
    change[36:41] = np.sign(gradient[36:41])
    higher, _ = predictor.stimulus_gradient(
        clip((frames + change).astype(np.uint8)), neurons, objective
    )
    slope = (gradient * change).sum()
    assert higher - value == pytest.approx(slope, rel=0.2)


@pytest.mark.slow
def test_a_cancel_reaches_the_layers_of_all_methods(predictor, session, window):
    spec = predictor.needs.spec
    frames = np.full((60, 18, 32), 90, np.uint8)
    clip = om.Clip(session=session, frames=frames, rate_hz=30.0).at(spec)
    objective, neurons = np.ones((60, 1)), np.array([2])

    def count(n_before, call):
        """Cancel after so many questions; return how many were asked."""
        asked = []

        def cancelled():
            asked.append(1)
            return len(asked) > n_before

        with pytest.raises(StoppedError):
            call(cancelled)
        return len(asked)

    def gradient(cancelled):
        predictor.stimulus_gradient(clip, neurons, objective, cancelled)

    assert count(0, gradient) == 1
    asked = []
    gradient(lambda: bool(asked.append(1)))
    n_forward = len(asked) // 2  # once for each part of the frames, and once on the way back
    assert n_forward > 1
    assert count(n_forward + 1, gradient) == n_forward + 2
    assert count(0, lambda cancelled: predictor.embeddings(session, cancelled)) == 1
    assert count(0, lambda cancelled: predictor.start(session, cancelled)) == 1


@pytest.mark.slow
def test_masks_without_responses_are_refused(predictor, window, mask, session):
    empty = om.Mask.nothing(session, predictor.needs.spec).with_behavior("target")
    with pytest.raises(UnsupportedRequestError, match="decodes no behaviour"):
        predictor.predict(window, empty)
    both = mask.with_behavior("target")
    assert "not decoded" in predictor.predict(window, both).status


def test_a_neuron_has_a_barcode_and_reads_a_place_of_the_frame(predictor, session):
    places = predictor.stimulus_positions(session)
    assert places.shape == (session.n_neurons, 2)
    assert predictor.embeddings(session).shape == (session.n_neurons, 16)
    # What is shown there changes the response, what is shown elsewhere does not.
    net = predictor._net_of(session)
    state = net.start()
    xy = torch.from_numpy(places[:, ::-1].copy()) * 2 - 1
    xy[:, 1] *= 18 / 32
    back = net.perspective.retina_points(xy[None], torch.zeros(1, 2), state)[0]
    np.testing.assert_allclose(
        net.perspective.map_points(back).detach(), net.positions(), atol=1e-4
    )


@pytest.mark.slow
def test_a_released_folder_serves_its_scans():
    predictor = om.load_predictor(RELEASE, device="cpu")
    names = {"4-7", "5-6", "17797-4-7", "17797-5-6"}  # without and with the animal
    assert predictor.needs.sessions == names
    assert predictor.needs.n_neurons["17797-4-7"] == 7


def test_behaviour_is_read_by_name_and_what_lacks_is_told(predictor, session):
    found = check_compatibility(predictor.needs, session)
    assert found.is_supported
    scaled = "frames of 36×64: averaged to the model's 18×32, gray"
    assert found.missing == (scaled,)
    blind = replace(session, behavior={**session.behavior, "treadmill": None})
    _, phrase = check_compatibility(predictor.needs, blind).missing
    assert "running" in phrase


@pytest.mark.slow
def test_what_was_predicted_before_a_refusal_or_a_stop_is_there(predictor, window, mask):
    requests = [(window, mask, None)] * 3
    refused = om.Mask.nothing(window.session, window.spec)
    answers = predictor.predict_many([*requests[:2], (window, refused, None)])
    assert len([next(answers), next(answers)]) == 2
    with pytest.raises(UnsupportedRequestError):
        next(answers)
    found = []
    stopped = predictor.predict_many(requests * 10, lambda: bool(found))
    with pytest.raises(StoppedError):
        found.extend(stopped)
    assert 0 < len(found) < 30


def test_a_twin_of_this_project_takes_any_video_and_reports_positions(path, session):
    twin = om.DigitalTwin.from_pretrained(path)
    video = np.random.default_rng(0).integers(0, 256, (5, 18, 32), np.uint8)
    rates = twin.predict(video, burnin=2, units=[3, 1])
    assert rates.shape == (3, 2)
    assert om.DigitalTwin.from_pretrained("twin-demo").net.n_units == 1000
    with pytest.raises(CheckpointError, match="not '4-7'"):
        om.DigitalTwin.from_pretrained(path, "4-7")
    n = session.n_neurons
    for units in ([n], [-1], ["a"], [0.5]):
        with pytest.raises(UnsupportedRequestError, match=f"0 to {n - 1} expected"):
            twin.predict(video, units=units)
    for burnin in (-1, 5):
        with pytest.raises(UnsupportedRequestError, match="0 to 4 frames"):
            twin.predict(video, burnin=burnin)
    video = np.full((3, 18, 32), 128, np.uint8)
    before, rates = twin.readout_position(), twin.predict(video)
    twin.net.config = replace(CONFIG, position_sign=-1)
    np.testing.assert_array_equal(twin.readout_position(), before * [1, -1])
    np.testing.assert_array_equal(twin.predict(video), rates)
