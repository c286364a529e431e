"""Baseline predictor: requested for the same task after the main predictor."""

from contextlib import closing

import numpy as np
import pytest

from omnimouse_model.inference.registry import load_predictor
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.state import LiveState
from omnimouse_model.live.state_store import LastSession, write_last_session
from omnimouse_model.masks import TARGET, VISIBLE
from tests.predictors import EchoPredictor, GatedPredictor

TIMEOUT = 60.0


def assert_answered(controller: Controller) -> None:
    """The baseline's results belong to the current mask."""
    baseline = controller.baseline
    assert baseline.population_freshness == "fresh"
    assert baseline.population.mask_id == controller.state.mask.mask_id


def test_the_baseline_equals_the_library(controller):
    controller.model.choose_baseline("video-ridge")
    state, found = controller.state, controller.baseline.population
    assert state.baseline_name == "video-ridge"
    predictor = load_predictor("video-ridge")
    predictor.prepare(state.session)
    expected = predictor.predict(state.window, state.mask, found.neurons)
    np.testing.assert_array_equal(found.responses, expected.responses)
    assert found.mask_id == state.mask.mask_id
    assert np.isfinite(controller.baseline.scores).any()
    assert controller.results.population.predictor_id == "echo"


def test_the_baseline_follows_mask_and_window_until_it_is_removed(controller):
    controller.model.choose_baseline("mean")
    controller.editor.paint_cells([2, 3], slice(30, 60), VISIBLE)
    assert_answered(controller)
    before = controller.baseline.population
    controller.selection.select([5, 6])
    assert controller.baseline.population is before
    controller.navigation.seek(controller.state.window.start_s - 2.0)
    assert controller.baseline.population is not before
    assert_answered(controller)
    controller.model.choose_baseline("")
    assert controller.baseline.population is None
    assert controller.baseline.scores is None
    controller.editor.paint_cells([1], slice(0, 60), TARGET)
    assert controller.baseline.population is None


def test_a_baseline_is_not_compared_with_itself(controller):
    controller.model.choose_baseline("mean")
    controller.model.choose("mean")
    assert controller.state.compared_baseline == ""
    assert controller.baseline.population is None
    assert not controller.baseline.is_awaited
    controller.editor.paint_cells([1], slice(0, 60), TARGET)
    assert controller.baseline.population is None
    controller.model.choose("video-ridge")
    assert controller.state.compared_baseline == "mean"
    assert_answered(controller)


def test_the_last_baseline_returns_and_at_first_the_default(tmp_path):
    memory = tmp_path / "live.json"
    for saved, restored in ((None, "linear-gaussian"), ("mean", "mean"), ("", "")):
        if saved is not None:
            write_last_session(LastSession(baseline=saved), memory)
        with closing(Controller(synchronous=True, session_file=memory)) as restarted:
            assert restarted.state.baseline_name == ""  # no choice of the library
            restarted.model.restore_baseline()
            assert restarted.state.baseline_name == restored


def test_a_baseline_on_the_hub_is_replaced_by_the_default(tmp_path):
    memory = tmp_path / "live.json"
    write_last_session(LastSession(baseline="omnimouse-5M"), memory)
    with closing(Controller(load=None, synchronous=True, session_file=memory)) as made:
        assert made.downloads.must_fetch("omnimouse-5M")
        made.model.restore_baseline()
        assert made.state.baseline_name == "linear-gaussian"


def test_a_refused_or_unknown_baseline_is_an_error_of_the_baseline_only(controller):
    controller.editor.apply_preset("video_behavior")
    controller.model.choose_baseline("last")
    assert "'last'" in controller.baseline.error
    assert controller.baseline.population is None
    assert controller.results.error is None
    assert controller.results.population_freshness == "fresh"
    controller.editor.apply_preset("causal_response_25_behavior")
    assert controller.baseline.error is None
    assert_answered(controller)
    controller.model.choose_baseline("no-such")
    assert "'no-such'" in controller.baseline.error
    assert controller.results.error is None


@pytest.fixture
def model():
    return GatedPredictor()


@pytest.fixture
def beside():
    return GatedPredictor("beside")


def open_gates(*predictors: GatedPredictor) -> None:
    for predictor in predictors:
        predictor.gate.release(20)


@pytest.fixture
def gated_controller(session, model, beside):
    """Controller whose model and baseline wait at gates."""
    made = Controller(LiveState(trace_span="window"), load=lambda *_: beside)
    made.loader.open_now(session)
    made.model.choose(model)
    made.model.choose_baseline("beside")
    yield made
    open_gates(model, beside)
    made.close()


@pytest.fixture
def answered_controller(gated_controller, model, beside):
    """Controller with results of both; the baseline's gate stays open."""
    model.gate.release()
    open_gates(beside)
    assert gated_controller.requests.wait(TIMEOUT)
    return gated_controller


def test_the_baseline_is_requested_after_the_model(answered_controller, model, beside):
    first = answered_controller.baseline.population
    assert beside.counters["encodings"] == 1
    answered_controller.editor.paint_cells([1], slice(0, 60), TARGET)
    answered_controller.editor.paint_cells([4], slice(0, 60), TARGET)
    assert answered_controller.baseline.population is first
    assert answered_controller.baseline.is_population_old
    assert beside.counters["encodings"] == 1
    open_gates(model)
    assert answered_controller.requests.wait(TIMEOUT)
    assert beside.counters["encodings"] == 2
    assert not answered_controller.baseline.is_population_old
    assert_answered(answered_controller)


def test_the_same_mask_again_leaves_the_baseline_fresh(answered_controller, model):
    before = answered_controller.state.mask
    answered_controller.editor.paint_cells([1], slice(0, 60), VISIBLE)
    answered_controller.editor.set_mask(before)
    open_gates(model)
    assert answered_controller.requests.wait(TIMEOUT)
    assert_answered(answered_controller)


def test_moving_the_window_clears_the_baseline_at_once(answered_controller, model):
    assert answered_controller.baseline.population is not None
    answered_controller.navigation.seek(answered_controller.state.window.start_s - 2.0)
    assert answered_controller.baseline.population is None
    assert answered_controller.baseline.scores is None
    open_gates(model)
    assert answered_controller.requests.wait(TIMEOUT)
    found = answered_controller.baseline.population
    recorded = answered_controller.state.window.responses[30:, found.neurons]
    np.testing.assert_allclose(found.responses[30:], recorded + 1)


def test_without_a_predictor_the_baseline_follows_the_mask(session):
    controller = Controller(load=lambda *_: EchoPredictor("beside"))
    controller.loader.open_now(session)
    controller.model.choose_baseline("beside")
    assert controller.requests.wait(TIMEOUT)
    controller.editor.paint_cells([2, 3], slice(30, 60), VISIBLE)
    assert controller.requests.wait(TIMEOUT)
    assert_answered(controller)
    controller.close()


def test_a_dropped_request_of_the_model_frees_the_baseline(answered_controller, model, beside):
    """A request that waits behind another one is dropped without an answer."""
    made = answered_controller
    open_gates(beside)
    for neuron in (1, 2):
        made.editor.paint_cells([neuron], slice(0, 60), TARGET)
    made.model.offer("omnimouse-5M")
    open_gates(model)
    assert made.requests.wait(TIMEOUT)
    assert not made.results.is_awaited
    assert_answered(made)


def test_stop_cancels_a_baseline_that_is_due(gated_controller, model, beside):
    assert model.entered.acquire(timeout=TIMEOUT)
    assert gated_controller.baseline.is_awaited
    gated_controller.requests.cancel()
    assert gated_controller.baseline.was_stopped
    open_gates(model)
    assert gated_controller.requests.wait(TIMEOUT)
    assert not beside.entered.acquire(blocking=False)
    assert not gated_controller.baseline.is_awaited
    open_gates(beside)
    gated_controller.requests.send_again()
    assert gated_controller.requests.wait(TIMEOUT)
    assert gated_controller.baseline.population_freshness == "fresh"


def test_stop_cancels_a_running_baseline(gated_controller, model, beside):
    open_gates(model)
    assert beside.entered.acquire(timeout=TIMEOUT)
    assert gated_controller.results.population_freshness == "fresh"
    gated_controller.requests.cancel()
    assert not gated_controller.baseline.is_awaited
    assert gated_controller.baseline.was_stopped
    open_gates(beside)
    assert gated_controller.requests.wait(TIMEOUT)
    assert gated_controller.baseline.population is None
    gated_controller.editor.paint_cells([1], slice(0, 60), VISIBLE)
    assert gated_controller.requests.wait(TIMEOUT)
    assert_answered(gated_controller)
