"""Live state with predictors of other specs: painted, scrubbed, pinned, saved."""

from contextlib import closing

import numpy as np
import pytest
import torch

import omnimouse_model as om
from omnimouse_model.analysis.stimulus_edits import BehaviorSet, Contrast
from omnimouse_model.families.classical.predictor import naive_predictor
from omnimouse_model.families.ndt.network import Ndt, NdtConfig
from omnimouse_model.families.ndt.predictor import TRIALS, NdtCheckpoint
from omnimouse_model.inference.registry import load_in_process
from omnimouse_model.live.controller import Controller
from omnimouse_model.masks import HIDDEN, TARGET, VISIBLE
from omnimouse_model.simulate.spiking_laboratory import SpikingSpec, spiking_arrays
from tests.model.data.readers.test_arrays import session_arrays
from tests.predictors import EchoPredictor
from tests.toy_predictors import TOYS, install_toys

pytestmark = pytest.mark.slow  # each loads, fits and predicts several times

SLOW = om.WindowSpec(3.0, 20.0, responses="count")


def load(name, device="auto"):
    """Toy predictors, one that echoes OmniMouse's windows, and a slow mean."""
    if name in TOYS:
        return TOYS[name]()
    return naive_predictor("mean", SLOW) if name == "slow mean" else EchoPredictor()


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A spiking recording and an imaging one, as files."""
    folder = tmp_path_factory.mktemp("foreign")
    spiking = spiking_arrays(SpikingSpec(n_trials=30))
    np.savez(folder / "spiking.npz", **spiking)
    np.savez(folder / "imaging.npz", **session_arrays())
    return folder


@pytest.fixture
def controller():
    with install_toys(), closing(Controller(load=load, synchronous=True)) as made:
        yield made


@pytest.fixture(params=[*TOYS])
def opened(request, controller, sources):
    """A controller that shows a recording with one of the toy predictors."""
    name = "spiking" if request.param == "toy-counts" else "imaging"
    controller.loader.open_now(sources / f"{name}.npz")
    controller.model.choose(request.param)
    return controller


def is_answered(controller):
    state, found = controller.state, controller.results
    assert found.error is None
    assert found.population_freshness == "fresh"
    return found.population.responses.shape[0] == state.window.spec.n_samples


def test_a_mask_of_another_spec_is_painted_undone_and_scrubbed(opened):
    state, n = opened.state, opened.state.spec.n_samples
    spec = TOYS[state.predictor_name]().needs.spec
    assert state.window.spec == state.mask.spec == state.spec == spec
    assert np.isfinite(opened.results.scores).any()
    before = state.mask
    opened.editor.paint([0], VISIBLE)
    assert state.mask.visible[:, 0].all()
    opened.editor.paint([1], HIDDEN)
    opened.editor.paint([1], TARGET)
    assert state.mask.target[:, 1].sum() == n - n // 2
    assert is_answered(opened)
    for _ in range(3):
        opened.editor.undo()
    assert state.mask == before
    opened.navigation.set_cursor(10_000)
    assert state.cursor == n - 1
    start_s = state.window.start_s
    opened.navigation.step_cursor(-n)
    assert state.window.start_s < start_s
    opened.navigation.seek(12.0)
    assert abs(state.window.start_s - 12.0) < 2.1
    assert is_answered(opened)


def test_the_mask_comes_back_with_its_spec(controller, sources):
    controller.loader.open_now(sources / "imaging.npz")
    controller.model.choose("echo")
    controller.editor.paint([0], VISIBLE)
    mask = controller.state.mask
    controller.model.choose("toy-frames")
    assert controller.state.mask.n_samples == 16
    controller.model.choose("echo")
    assert controller.state.mask == mask
    assert is_answered(controller)


def test_edits_stay_when_the_spec_changes(controller, sources):
    controller.loader.open_now(sources / "imaging.npz")
    controller.model.choose("echo")
    controller.stimulus_edits.put(Contrast(0.5, (30, 60)), BehaviorSet("running", 0.0))
    for name, span in (("toy-recurrent", (30, 60)), ("toy-frames", (8, 16))):
        controller.model.choose(name)
        contrast, held = controller.stimulus_edits.edits
        assert (contrast, held) == (Contrast(0.5, span), BehaviorSet("running", 0.0))
        assert controller.results.what_if.window.edits == (contrast, held)


def test_a_pin_of_another_spec_is_predicted_with_the_live_prediction(opened):
    other = "slow mean" if opened.state.predictor_name == "toy-counts" else "echo"
    span_s = opened.state.spec.duration_s
    spec = load(other, None).needs.spec
    name, own = opened.state.predictor_name, opened.state.mask
    opened.model.choose_baseline(other)
    opened.requests.wait(30.0)
    beside = opened.baseline.population
    assert opened.baseline.error is None
    assert len(beside.responses) == round(span_s * spec.response_rate_hz)
    assert beside.times_s[0] == pytest.approx(opened.state.window.start_s)
    opened.model.choose(other)
    opened.pins.pin("other")
    opened.model.choose(name)
    opened.requests.wait(30.0)
    assert opened.state.mask == own
    (found,) = opened.pins.predictions.windows.values()
    assert not found.error
    assert len(found.prediction.responses) == len(beside.responses)
    opened.pins.make_current(0)
    assert opened.state.spec == opened.state.mask.spec
    assert is_answered(opened)


def test_an_analysis_of_another_spec_is_saved_and_opened(opened, tmp_path, sources):
    opened.editor.paint([0], VISIBLE)
    opened.navigation.seek(14.0)
    opened.editor.set_active_span(2, 9)
    opened.project.save(tmp_path / "mine.omnimouse.json")
    state = opened.state
    with closing(Controller(load=load, synchronous=True)) as again:
        again.project.open(tmp_path / "mine.omnimouse.json")
        assert again.state.mask == state.mask
        assert again.state.window == state.window
        assert again.state.active_span == (2, 9)
        assert is_answered(again)
        np.testing.assert_array_equal(again.results.scores, opened.results.scores)


def test_a_transformer_of_spikes_answers_strokes(sources, tmp_path):
    session = om.open_session(sources / "spiking.npz")
    torch.manual_seed(0)
    config = NdtConfig(d_token=8, d_model=16, n_layers=1, n_heads=2, d_inner=16)
    net = Ndt(config, {session.id: session.n_neurons})
    path = tmp_path / "ndt.safetensors"
    NdtCheckpoint(config=config, sessions=net.sessions, state=net.state_dict()).save(path)
    with closing(Controller(load=load_in_process, synchronous=True)) as controller:
        controller.loader.open_now(sources / "spiking.npz")
        controller.model.choose(str(path))
        state = controller.state
        assert state.window.spec == TRIALS
        assert np.isfinite(controller.results.scores).any()
        before = controller.results.population
        controller.editor.paint([0, 5], VISIBLE)
        assert is_answered(controller)
        assert controller.results.population.mask_id != before.mask_id
        assert controller.results.population.units == "spikes/s"


@pytest.mark.parametrize("other", ["toy-recurrent", "toy-frames"])
def test_a_baseline_of_another_spec_is_scored_on_the_same_windows(controller, sources, other):
    controller.loader.open_now(sources / "imaging.npz")
    controller.model.choose("echo")
    controller.editor.apply_preset("video_behavior")
    controller.model.choose_baseline(other)
    controller.colouring.choose("difference")
    controller.requests.finish_scores()
    own, beside = controller.results.tier_score, controller.baseline.tier_score
    assert own.is_complete
    assert beside.is_complete
    assert (beside.n_windows, beside.n_total) == (own.n_windows, own.n_total)
    assert np.array_equal(beside.score.neurons, own.score.neurons)
    assert np.array_equal(beside.score.counts, own.score.counts)
    expected = controller.results.neuron_scores.values - controller.baseline.neuron_scores.values
    np.testing.assert_array_equal(controller.colouring.scale.values, expected)


def test_a_pin_keeps_its_score_over_the_tier_beside_a_model_of_another_spec(controller, sources):
    controller.loader.open_now(sources / "imaging.npz")
    controller.model.choose("echo")
    controller.editor.apply_preset("video_behavior")
    controller.requests.finish_scores()
    before = controller.results.neuron_scores
    controller.pins.pin()
    controller.model.choose("toy-frames")
    controller.requests.wait(30.0)
    controller.colouring.compare("A", "model")
    pinned = controller.colouring.scores_of("A")
    assert pinned.evidence == before.evidence
    assert pinned.tier
    np.testing.assert_array_equal(pinned.values, before.values)
