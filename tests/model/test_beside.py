"""A baseline beside the predictor: the same question, later, and on its own account."""

import numpy as np
import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from omnimouse_model.live.controller import Controller
from omnimouse_model.masks import TARGET, VISIBLE
from omnimouse_model.predict.catalogue import load_predictor
from omnimouse_model.predict.predictor import Predictor
from tests.predictors import EchoPredictor, GatedPredictor
from tests.small_sessions import write_session

TIMEOUT = 10.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_session(tmp_path_factory.mktemp("beside") / "session")


@pytest.fixture(scope="module")
def session(folder):
    return open_session(folder)


@pytest.fixture
def controller(session):
    made = Controller(synchronous=True)
    made.choose_predictor(EchoPredictor())
    made.open_session(session)
    yield made
    made.close()


def test_it_answers_as_the_library_does(controller):
    controller.choose_baseline("video-ridge")
    state, found = controller.state, controller.baseline.population
    assert state.baseline_name == "video-ridge"
    predictor = load_predictor("video-ridge")
    predictor.prepare(state.session)
    expected = predictor.predict(state.window, state.mask, found.neurons)
    np.testing.assert_array_equal(found.responses, expected.responses)
    assert found.mask_id == state.mask.mask_id
    assert np.isfinite(controller.baseline.scores).any()
    assert controller.results.population.predictor_id == "echo"


def test_it_follows_mask_and_window(controller):
    controller.choose_baseline("mean")
    controller.paint_cells([2, 3], slice(30, 60), VISIBLE)
    assert controller.baseline.population.mask_id == controller.state.mask.mask_id
    assert controller.baseline.population_freshness == "fresh"
    before = controller.baseline.population
    controller.seek(controller.state.window.start_s - 2.0)
    assert controller.baseline.population is not before
    assert controller.baseline.population_freshness == "fresh"


def test_another_selection_asks_it_nothing_new(controller):
    controller.choose_baseline("mean")
    before = controller.baseline.population
    controller.select([5, 6])
    assert controller.baseline.population is before


def test_nobody_is_beside_any_more_when_nothing_is_chosen(controller):
    controller.choose_baseline("mean")
    controller.choose_baseline("")
    assert controller.baseline.population is None
    assert controller.baseline.scores is None
    controller.paint_cells([1], slice(0, 60), TARGET)
    assert controller.baseline.population is None


def test_a_refusal_is_told_and_the_predictor_goes_on(controller):
    controller.apply_preset("video_behavior")
    controller.choose_baseline("last")
    assert "visible samples of a neuron before" in controller.baseline.error
    assert controller.baseline.population is None
    assert controller.results.error is None
    assert controller.results.population_freshness == "fresh"
    controller.apply_preset("causal_response_25_behavior")
    assert controller.baseline.error is None
    assert controller.baseline.population_freshness == "fresh"


def test_a_name_that_nobody_has_is_told(controller):
    controller.choose_baseline("no-such")
    assert "no predictor 'no-such'" in controller.baseline.error
    assert controller.results.error is None


def test_it_is_asked_only_when_the_predictor_has_answered(session):
    asked: list[str] = []

    class Noted(EchoPredictor):
        def encode(self, window, mask):
            asked.append(mask.mask_id)
            return super().encode(window, mask)

    def load(name: str, session: Session | None, device: str) -> Predictor:
        return Noted("beside")

    predictor = GatedPredictor()
    controller = Controller(load=load)
    controller.open_session(session)
    controller.choose_predictor(predictor)
    predictor.gate.release()
    assert controller.wait(TIMEOUT)
    controller.choose_baseline("beside")
    assert controller.wait(TIMEOUT)
    first = controller.baseline.population
    assert asked == [controller.state.mask.mask_id]
    controller.paint_cells([1], slice(0, 60), TARGET)
    controller.paint_cells([4], slice(0, 60), TARGET)
    assert controller.baseline.population is first
    assert controller.baseline.is_population_old
    assert len(asked) == 1
    for _ in range(9):
        predictor.gate.release()
    assert controller.wait(TIMEOUT)
    assert asked[1:] == [controller.state.mask.mask_id]
    assert not controller.baseline.is_population_old
    assert controller.baseline.population.mask_id == controller.state.mask.mask_id
    controller.close()


def test_the_same_mask_set_again_leaves_it_fresh(session):
    predictor = GatedPredictor()
    controller = Controller(load=lambda *_: EchoPredictor("beside"))
    controller.open_session(session)
    controller.choose_predictor(predictor)
    predictor.gate.release()
    controller.choose_baseline("beside")
    assert controller.wait(TIMEOUT)
    before = controller.state.mask
    controller.paint_cells([1], slice(0, 60), VISIBLE)
    controller.set_mask(before)
    for _ in range(9):
        predictor.gate.release()
    assert controller.wait(TIMEOUT)
    assert controller.baseline.population_freshness == "fresh"
    assert controller.baseline.population.mask_id == controller.state.mask.mask_id
    controller.close()


def test_with_no_predictor_it_follows_the_mask_all_the_same(session):
    controller = Controller(load=lambda *_: EchoPredictor("beside"))
    controller.open_session(session)
    controller.choose_baseline("beside")
    assert controller.wait(TIMEOUT)
    controller.paint_cells([2, 3], slice(30, 60), VISIBLE)
    assert controller.wait(TIMEOUT)
    assert controller.baseline.population_freshness == "fresh"
    assert controller.baseline.population.mask_id == controller.state.mask.mask_id
    controller.close()


@pytest.fixture
def model():
    return GatedPredictor()


@pytest.fixture
def beside():
    return GatedPredictor("beside")


@pytest.fixture
def gated(session, model, beside):
    """Model and baseline answer when their gates open."""
    made = Controller(load=lambda *_: beside)
    made.open_session(session)
    made.choose_predictor(model)
    made.choose_baseline("beside")
    yield made
    open_gates(model, beside)
    made.close()


def open_gates(*predictors: GatedPredictor) -> None:
    for predictor in predictors:
        predictor.gate.release(20)


def test_stop_leaves_a_baseline_unasked_that_waited_its_turn(gated, model, beside):
    assert model.entered.acquire(timeout=TIMEOUT)
    assert gated.baseline.is_awaited
    gated.cancel()
    assert gated.baseline.was_stopped
    open_gates(model)
    assert gated.wait(TIMEOUT)
    assert not beside.entered.acquire(blocking=False)
    assert not gated.baseline.is_awaited
    open_gates(beside)
    gated.ask_again()
    assert gated.wait(TIMEOUT)
    assert gated.baseline.population_freshness == "fresh"


def test_stop_reaches_a_baseline_that_computes(gated, model, beside):
    open_gates(model)
    assert beside.entered.acquire(timeout=TIMEOUT)
    assert gated.results.population_freshness == "fresh"
    gated.cancel()
    assert not gated.baseline.is_awaited
    assert gated.baseline.was_stopped
    open_gates(beside)
    assert gated.wait(TIMEOUT)
    assert gated.baseline.population is None
    gated.paint_cells([1], slice(0, 60), VISIBLE)
    assert gated.wait(TIMEOUT)
    assert gated.baseline.population_freshness == "fresh"
    assert gated.baseline.population.mask_id == gated.state.mask.mask_id


def test_moving_on_forgets_its_answer_at_once(session):
    predictor = GatedPredictor()
    controller = Controller(load=lambda *_: EchoPredictor("beside"))
    controller.open_session(session)
    controller.choose_predictor(predictor)
    predictor.gate.release()
    controller.choose_baseline("beside")
    assert controller.wait(TIMEOUT)
    assert controller.baseline.population is not None
    controller.seek(controller.state.window.start_s - 2.0)
    assert controller.baseline.population is None
    assert controller.baseline.scores is None
    for _ in range(9):
        predictor.gate.release()
    assert controller.wait(TIMEOUT)
    found = controller.baseline.population
    recorded = controller.state.window.responses[30:, found.neurons]
    np.testing.assert_allclose(found.responses[30:], recorded + 1)
    controller.close()


def test_it_survives_a_restart(folder, tmp_path):
    memory = tmp_path / "live.json"
    first = Controller(synchronous=True, memory=memory)
    first.choose_predictor("mean")
    first.open_session(folder)
    first.choose_baseline("video-ridge")
    first.close()
    second = Controller(synchronous=True, memory=memory)
    assert second.restore()
    assert second.state.baseline_name == "video-ridge"
    assert second.baseline.population is not None
    second.close()
