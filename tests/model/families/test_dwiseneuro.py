"""DwiseNeuro: what changes its rates, sliding windows, checkpoints, training, exact resume."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

import omnimouse_model as om
from omnimouse_model.data.session import Window
from omnimouse_model.errors import StoppedError
from omnimouse_model.families.dwiseneuro.network import (
    DwiseCheckpoint,
    DwiseConfig,
    DwiseNetwork,
    DwiseTrainConfig,
    DwiseTraining,
    Readout,
    Sliding,
)
from omnimouse_model.training.sessions import training_session
from tests.cli.runner import run_command
from tests.model.families import clips
from tests.model.families.clips import check_resumed

CONFIG = DwiseConfig(
    widths=(4, 6),
    strides=(2, 4),
    expansion=2,
    squeeze=2,
    cortex=(8, 12),
    size=(40, 64),
    softplus=0.5,
    unit=0.1,
    sliding=Sliding(n_frames=4, step=2),
)
"""Windows of seven frames; images with a border."""


def small_model(session, folder):
    return om.load_predictor(written(CONFIG, session, folder), device="cpu")


def written(config, session, folder, n_neurons=None):
    counts = n_neurons or {session.id: session.n_neurons}
    return clips.written(DwiseCheckpoint, partial(DwiseNetwork, config, counts), folder)


@pytest.fixture(scope="module")
def path(session, tmp_path_factory):
    return written(CONFIG, session, tmp_path_factory.mktemp("dwise"))


@pytest.fixture(scope="module")
def predictor(path):
    return om.load_predictor(path, device="cpu")


# -- what it sees ----------------------------------------------------------------------


def test_white_noise_cannot_be_predicted(predictor, session, monkeypatch):
    def noise(window):
        rng = np.random.default_rng(round(window.start_s * 1000))
        return rng.gamma(1.0, 1.0, (60, session.n_neurons)).astype(np.float32)

    monkeypatch.setattr(Window, "responses", property(noise))
    for score in om.evaluate(predictor, session, "test/video_behavior").scores:
        assert abs(score.value) < 0.1


def test_hidden_behaviour_is_the_mean_in_the_units_of_the_recording(
    predictor, window, mask, monkeypatch
):
    unseen = predictor.predict(window, mask.with_behavior("hidden")).responses
    z_scored = property(lambda window: np.zeros((window.spec.n_behavior, 4), np.float32))
    monkeypatch.setattr(Window, "behavior", z_scored)
    mean = replace(predictor).predict(window, mask).responses
    np.testing.assert_allclose(mean, unseen, rtol=1e-5)


# -- sliding windows -------------------------------------------------------------------
def test_a_sample_is_the_mean_over_all_windows_that_have_it(predictor, window, mask):
    found = predictor.predict(window, mask).responses
    net, warmup = predictor.network, window.warmup
    frames = np.concatenate([warmup.frames_u8, window.frames_u8]).astype(np.float32)
    behavior = np.concatenate([warmup.behavior, window.behavior])
    mean, std = (
        np.array([statistics[name] for name in ("pupil_size", "running", "pupil_x", "pupil_y")])
        for statistics in statistics_of(window.session)
    )
    behavior = (np.nan_to_num(behavior) * std + mean).astype(np.float32)
    images = np.zeros((len(frames), 5, 40, 64), np.float32)
    images[:, 0, 2:38] = frames
    images[:, 1:] = behavior[:, :, None, None]
    sample = 25
    rates = []
    with torch.no_grad():
        for place in range(4):
            own = len(warmup.frames_u8) + sample - 2 * place + 2 * np.arange(4)
            clip = torch.from_numpy(images[own]).transpose(0, 1)[None]
            rates.append(net(clip, window.session.id)[0, :, place].numpy())
    np.testing.assert_allclose(found[sample], 0.1 * np.mean(rates, 0), rtol=1e-4)


def statistics_of(session):
    """Return name -> mean, and name -> standard deviation, of all channels."""
    means, stds = {}, {}
    for stream, signal in session.behavior.items():
        mean, std = session.behavior_statistics(stream)
        means |= dict(zip(signal.names, mean, strict=True))
        stds |= dict(zip(signal.names, std, strict=True))
    return means, stds


def test_samples_without_a_window_of_recorded_frames_are_invalid(
    predictor, session, mask, monkeypatch
):
    def is_recorded(window):
        times_s = window.times("video")
        return {"video": (times_s < 10.49) | (times_s > 10.65)}

    window = session.window(10.0, predictor.needs.spec)
    whole = predictor.predict(window, mask)
    assert whole.valid.all()
    monkeypatch.setattr(Window, "valid", property(is_recorded))
    found = replace(predictor).predict(session.window(10.0, predictor.needs.spec), mask)
    assert np.flatnonzero(~found.valid).tolist() == [15, 16, 17, 18, 19]
    assert np.isnan(found.responses[~found.valid]).all()
    assert np.isfinite(found.responses[found.valid]).all()
    # Samples in no window with a gap are as they were.
    np.testing.assert_allclose(found.responses[26:], whole.responses[26:], rtol=1e-5)


def test_frames_without_weight_are_invalid():
    config = replace(CONFIG, sliding=Sliding(4, 2, "linear"))
    usable = np.ones(40, bool)
    usable[:6] = False
    # Of a window of frames, the first one has no weight; two windows begin a recording.
    assert np.flatnonzero(~config.valid(usable)).tolist() == [0, 1]
    assert CONFIG.valid(usable).all()


@pytest.mark.parametrize("blend", ["ones", "linear"])
@pytest.mark.parametrize("hop", [1, 4, 5])
def test_windows_left_out_have_no_weight_and_every_later_frame_has_some(blend, hop):
    sliding = Sliding(4, 2, blend, hop)
    windows = sliding.windows(30)
    rates = torch.full((len(windows), 2, 4), 2.5)
    rates[0] = 100
    used = torch.ones(len(windows), dtype=torch.bool)
    used[0] = False
    mean, weight = sliding.average(rates, 30, used)
    assert torch.allclose(mean[:, weight > 0], torch.tensor(2.5))
    assert mean[:, weight == 0].isnan().all()
    assert (weight[-6:] > 0).all()
    # No window fits.
    assert sliding.average(rates[:0], 6)[0].isnan().all()


# -- parts, sessions and units ---------------------------------------------------------


@pytest.mark.parametrize("neurons", [[0], [5, 4], [-1]])
def test_neurons_of_one_group_of_the_readout_are_predicted_alone(neurons):
    readout = Readout(replace(CONFIG, groups=3), 7).eval()
    x = torch.randn(2, CONFIG.cortex[-1], 5)
    chosen = torch.tensor(neurons) % 7
    torch.testing.assert_close(readout(x, chosen), readout(x)[:, chosen])


def test_a_stop_request_is_answered_between_blocks(predictor, window, mask):
    asked = []

    def cancelled():
        asked.append(True)
        return len(asked) > 2

    with pytest.raises(StoppedError):
        replace(predictor).encode(window, mask, cancelled)


def test_rates_in_the_units_of_the_recording_are_normalised(session, window, mask, tmp_path):
    config = replace(CONFIG, unit=None)
    recorded = om.load_predictor(written(config, session, tmp_path), device="cpu")
    found = recorded.predict(window, mask)
    tenths = replace(recorded, network=load(config, CONFIG, recorded)).predict(window, mask)
    scaled = tenths.responses / 0.1 / session.response_scale
    np.testing.assert_allclose(found.responses, scaled, rtol=1e-5)
    np.testing.assert_allclose(found.to_session_units(), tenths.responses * 10, rtol=1e-5)


def load(config, other, predictor):
    """Return the network of a predictor with another config of the same sizes."""
    net = DwiseNetwork(other, predictor.network.n_neurons).eval()
    net.load_state_dict(predictor.network.state_dict())
    return net


def test_a_model_of_video_alone_reads_no_behaviour(session, tmp_path):
    alone = om.load_predictor(written(replace(CONFIG, channels=1), session, tmp_path), device="cpu")
    assert not alone.needs.sees_behavior
    asked = om.Mask.nothing(session, alone.needs.spec).ask(slice(None)).with_frames(True)
    found = alone.predict(session.window(10.0, alone.needs.spec), asked)
    assert np.isfinite(found.responses[30:]).all()


def test_weights_in_the_layout_of_the_public_program_become_a_checkpoint(path, predictor, tmp_path):
    state = predictor.network.state_dict()
    published = tmp_path / "model-021.pth"
    torch.save(
        {"model_name": "MouseModel", "params": {"lr": 1e-3}, "nn_state_dict": state}, published
    )
    stated = json.loads(path.with_suffix(".json").read_text())
    about = tmp_path / "about.json"
    about.write_text(json.dumps({key: stated[key] for key in ("config", "gray", "sessions")}))
    target = tmp_path / "model.safetensors"
    done = run_command(
        "convert-weights", published, target, "--family", "dwiseneuro", "--about", about
    )
    assert done.exit_code == 0, done.output
    found = om.load_predictor(target, device="cpu").network.state_dict()
    assert all(torch.equal(value, found[name]) for name, value in state.items())


# -- training --------------------------------------------------------------------------
SETTINGS = DwiseTrainConfig(
    seed=1,
    model=CONFIG,
    clips=3,
    total_steps=4,
    warmup_steps=2,
    average=0.5,
    validate_every=2,
    validation_windows=2,
    save_every_s=None,
)


def test_the_rate_rises_then_falls_along_a_cosine(session, tmp_path):
    settings = replace(SETTINGS, total_steps=10, lr=1.0, min_lr=0.1)
    training = opened(settings, session, tmp_path)
    rates = []
    for step in range(11):
        training.state.step = step
        rates.append(training.rate)
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[6] == pytest.approx(0.55)
    assert rates[10] == pytest.approx(0.1)


def test_the_first_rates_are_the_mean_responses(session, tmp_path):
    training = opened(SETTINGS, session, tmp_path)
    training.start()
    training.net.eval()
    for part in (training.net, training.result):
        rates = part.readout_of(session.id)(torch.zeros(1, 12, 1))[0, :, 0]
        mean = session.units.mean / session.response_scale / CONFIG.unit
        np.testing.assert_allclose(rates.detach(), np.maximum(mean, 1e-3), rtol=1e-3)


def test_mixed_clips_have_mixed_responses(session, tmp_path):
    training = opened(SETTINGS, session, tmp_path)
    plain = opened(replace(SETTINGS, mixed=0.0), session, tmp_path).draw(5)[0]
    mixed = opened(replace(SETTINGS, mixed=1.0), session, tmp_path).draw(5)[0]
    assert plain.images.shape == mixed.images.shape == (3, 5, 4, 40, 64)
    assert plain.responses.shape == mixed.responses.shape == (3, session.n_neurons, 4)
    # Behaviour is constant over an image without a box.
    flat = plain.images[:, 1:].flatten(3)
    assert torch.equal(flat.amax(-1), flat.amin(-1))
    flat = mixed.images[:, 1:].flatten(3)
    assert not torch.equal(flat.amax(-1), flat.amin(-1))
    again = training.draw(5)[0]
    assert torch.equal(training.draw(5)[0].images, again.images)


def test_a_teacher_gives_the_targets_of_the_other_mice(session, tmp_path):
    other = replace(session, id="other")
    sources = [training_session(session), training_session(other)]
    counts = {s.key: s.session.n_neurons for s in sources}
    teacher = written(CONFIG, session, tmp_path, counts)
    settings = replace(SETTINGS, teacher=str(teacher), mixed=0.0, clips=2)
    training = opened(settings, sources, tmp_path)
    alone = opened(replace(settings, teacher=None), sources, tmp_path)
    for one in (training, alone):
        one.net.readouts[1].layer[1].weight.grad = None
        # All clips are of the first mouse.
        drawn = [clips for n in range(9) for clips in one.draw(n) if clips.session == session.id]
        one.net.eval()
        one.backward(drawn[:1])
    taught, untaught = (one.net.readouts[1].layer[1].weight.grad for one in (training, alone))
    assert float(taught.abs().sum()) > 0
    assert untaught is None or float(untaught.abs().sum()) == 0
    # One whose targets have no weight changes nothing.
    unheard = opened(replace(settings, distilled=0.0), sources, tmp_path)
    assert unheard.backward(drawn[:1])[1] == len(drawn[0].images)


def test_a_teacher_of_other_neurons_or_units_is_refused(path, session, tmp_path):
    settings = replace(SETTINGS, teacher=str(path))
    other = training_session(replace(session, id="other"))
    with pytest.raises(ValueError, match=r"teacher.*sessions"):
        opened(settings, [other], tmp_path)
    with pytest.raises(ValueError, match=r"teacher.*unit"):
        opened(replace(settings, model=replace(CONFIG, unit=None)), session, tmp_path)


def opened(settings, sources, folder):
    """Return a training before its first step, of sessions or one of them."""
    if not isinstance(sources, list):
        sources = [training_session(sources)]
    return DwiseTraining(settings, sources, folder)


@pytest.mark.slow
def test_a_resumed_training_is_the_uninterrupted_one(session, tmp_path):
    loaded, whole = check_resumed(DwiseTraining, SETTINGS, session, tmp_path)
    assert torch.equal(loaded.network.core.stem[0].weight, whole.core.stem[0].weight)
