"""Pinned conditions and spans: predicted after the live request, saved, restored."""

import json
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.data.window_spec import OMNIMOUSE
from omnimouse_model.evaluation.running_score import window_scores
from omnimouse_model.evaluation.stitching import predict_span
from omnimouse_model.families.ndt.predictor import TRIALS
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.pin import LIVE, LONGEST_S, page_around, shown_span
from omnimouse_model.live.pin_predictions import NOT_PREDICTED
from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import Mask
from omnimouse_model.predict.predictor import Encoded
from omnimouse_model.progress import Cancelled, never
from tests.predictors import EchoPredictor, GatedPredictor, RefusingPredictor, open_controller
from tests.small_sessions import write_session

TIMEOUT = 60.0


@dataclass(slots=True)
class SloppyPredictor(EchoPredictor):
    """Echo with an error that depends on the mask and on `offset`."""

    offset: float = 0.0

    def encode(self, window, mask: Mask, cancelled: Cancelled = never) -> Encoded:
        wave = np.sin(np.arange(60)[:, None] + window.start_index + self.offset)
        wrong = window.responses + (0.2 + float(mask.frames.sum()) / 60) * wave
        self._count("encodings")
        return Encoded(window, mask, wrong)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_session(tmp_path_factory.mktemp("pins") / "mouse", 12, repeats=2)


@pytest.fixture
def controller(folder):
    with open_controller(folder, SloppyPredictor()) as made:
        made.editor.apply_preset("video_behavior")
        made.selection.select([3, 5])
        yield made


@pytest.fixture
def gated_controller(folder):
    """Threaded controller with its first result, and its gated predictor."""
    predictor = GatedPredictor()
    with closing(Controller(LiveState(trace_span="window"))) as made:
        made.model.choose(predictor)
        predictor.gate.release()
        made.loader.open_now(folder)
        assert predictor.entered.acquire(timeout=TIMEOUT)
        assert made.requests.wait(TIMEOUT)
        yield made, predictor
        predictor.gate.release(1000)


def test_unpinning_is_undone_and_redone_among_other_steps(controller):
    first, second = controller.pins.pin(), controller.pins.pin("mine")
    controller.pins.unpin(0)
    assert controller.editor.undo_name == "Unpin Video + behaviour"
    controller.editor.apply_preset("nothing")
    after = controller.state.mask
    controller.editor.undo()
    assert controller.state.pins == (second,)
    controller.editor.undo()
    back = controller.state.pins[0]
    assert (back.slot, back.name, back.mask) == (0, first.name, first.mask)
    np.testing.assert_array_equal(controller.state.mask.cells, first.mask.cells)
    controller.editor.redo()
    assert controller.state.pins == (second,)
    controller.editor.redo()
    np.testing.assert_array_equal(controller.state.mask.cells, after.cells)


def test_a_restored_pin_takes_another_slot_if_its_own_is_taken(controller):
    controller.pins.pin("first")
    controller.pins.unpin(0)
    controller.pins.pin("second")
    controller.editor.undo()
    names = {pin.slot: pin.name for pin in controller.state.pins}
    assert names == {0: "second", 1: "first"}
    controller.editor.redo()
    assert [pin.name for pin in controller.state.pins] == ["second"]


def test_pins_take_free_slots_up_to_four(controller):
    first, second = controller.pins.pin(), controller.pins.pin("mine")
    assert (first.letter, second.letter) == ("A", "B")
    assert (first.name, second.name) == ("Video + behaviour", "mine")
    controller.pins.unpin(0)
    assert controller.pins.pin("first").slot == 0
    controller.pins.pin("third")
    controller.pins.pin("fourth")
    assert controller.pins.is_full
    with pytest.raises(ValueError, match="4 conditions are pinned"):
        controller.pins.pin("fifth")


def test_a_pin_keeps_its_mask_when_the_live_mask_changes(controller):
    pin = controller.pins.pin()
    before = controller.results.population
    scores = controller.results.scores
    controller.editor.apply_preset("responses_from_behavior")
    answer = controller.pins.predictions.windows[0]
    np.testing.assert_array_equal(answer.prediction.responses, before.responses)
    np.testing.assert_array_equal(answer.scores, scores)
    assert not np.array_equal(controller.results.scores, scores)
    controller.navigation.seek(9.0)
    window = controller.state.window
    answer = controller.pins.predictions.windows[0]
    expected = SloppyPredictor().predict(window, pin.mask)
    np.testing.assert_array_equal(answer.prediction.responses, expected.responses)
    np.testing.assert_array_equal(answer.scores, window_scores(expected, window))


def test_a_pin_keeps_its_predictor(controller):
    controller.pins.pin()
    scores = controller.pins.predictions.windows[0].scores
    controller.model.choose(SloppyPredictor("other", offset=1.0))
    assert controller.pins.predictions.windows[0].prediction.predictor_id == "echo"
    np.testing.assert_array_equal(controller.pins.predictions.windows[0].scores, scores)
    assert not np.array_equal(controller.results.scores, scores)
    controller.pins.make_current(0)
    assert controller.state.predictor_name == "echo"


def test_the_predictor_of_a_pin_is_loaded_and_released(folder):
    loaded, closed = [], []

    class Named(SloppyPredictor):
        def close(self):
            closed.append(self.name)

    def load(name, device):
        loaded.append(name)
        return Named(name)

    controller = Controller(synchronous=True, load=load)
    controller.model.choose("one")
    controller.loader.open_now(folder)
    controller.pins.pin()
    assert loaded == ["one"]
    controller.model.choose("two")
    controller.navigation.seek(9.0)
    assert controller.pins.predictions.windows[0].prediction.predictor_id == "one"
    assert loaded == ["one", "two", "one"]
    closed.clear()
    controller.pins.unpin(0)
    assert closed == ["one"]
    controller.close()


def test_an_error_of_a_pin_does_not_affect_other_pins(controller):
    controller.model.choose(RefusingPredictor())
    controller.editor.set_frames(False)
    controller.pins.pin("blind")
    controller.editor.set_frames(True)
    controller.pins.pin("seeing")
    assert "needs video" in controller.pins.predictions.windows[0].error
    assert controller.pins.predictions.windows[0].prediction is None
    assert controller.pins.predictions.windows[1].scores is not None


def test_without_a_prediction_the_recording_of_a_span_is_read(controller, folder):
    controller.model.choose(RefusingPredictor())
    controller.pins.choose_span("10 s")
    controller.editor.set_frames(False)
    predictions = controller.pins.predictions
    found = predictions.spans[LIVE]
    assert "needs video" in found.error
    assert predictions.remark == NOT_PREDICTED
    recorded = predict_span(
        EchoPredictor(),
        open_session(folder),
        controller.state.mask,
        *predictions.page,
        neurons=np.array([3, 5]),
    ).truth
    # Two windows may round a time between two recorded samples differently.
    assert (found.span.truth == recorded).mean() > 0.9
    assert np.isnan(found.span.responses).all()
    controller.editor.set_frames(True)
    assert not predictions.remark


def test_spans_equal_the_library_for_the_screen_and_for_pins(controller):
    pin = controller.pins.pin()
    controller.editor.apply_preset("responses_from_behavior")
    controller.pins.choose_span("10 s")
    page = controller.pins.predictions.page
    assert page[1] - page[0] == 10.0
    session, neurons = controller.state.session, np.array([3, 5])
    for slot, mask in ((LIVE, controller.state.mask), (0, pin.mask)):
        found = controller.pins.predictions.spans[slot].span
        ask = (session, mask, *page)
        expected = predict_span(SloppyPredictor(), *ask, neurons=neurons)
        assert found.is_complete
        np.testing.assert_array_equal(found.responses, expected.responses)
        np.testing.assert_array_equal(found.scores, expected.scores)
        assert np.isfinite(found.scores).all()
    controller.pins.choose_span("window")
    assert controller.pins.predictions.spans == {}


def test_a_span_stays_while_the_window_moves_within_it(controller):
    controller.navigation.seek(9.0)
    controller.pins.choose_span("10 s")
    predictor = controller.requests.client.predictor
    page = controller.pins.predictions.page
    known = controller.pins.predictions.spans[LIVE]
    before = predictor.counters["encodings"]
    controller.navigation.seek(page[0] + 5.0)
    assert controller.pins.predictions.page == page
    assert controller.pins.predictions.spans[LIVE] is known
    assert predictor.counters["encodings"] == before + 1
    controller.navigation.seek(page[1])
    assert controller.pins.predictions.page[0] == page[0] + 8.0 * (
        (controller.state.window.start_s - page[0] + 1e-6) // 8.0
    )
    assert controller.pins.predictions.spans[LIVE] is not known


def test_a_trial_is_a_span_and_long_trials_have_pages(controller):
    session, trials = controller.state.session, controller.state.session.trials
    window = session.window(7.0)
    on, off = float(trials.t_on[1]), float(trials.t_off[1])
    page = page_around(session, window, "trial")
    assert page == (min(on, window.start_s), max(off, window.start_s + 2))
    assert page_around(session, window, "window") is None

    many = len(trials.t_on)
    long = replace(trials, t_on=np.full(many, 1.0), t_off=np.full(many, 500.0))
    session = replace(session, trials=long)
    for start_s in (2.0, 20.0, 36.0):
        window = session.window(start_s)
        page = page_around(session, window, "trial")
        assert page[1] - page[0] == LONGEST_S
        assert page[0] <= window.start_s + 1e-5
        assert window.start_s + 2.0 <= page[1] + 1e-5


def test_a_live_request_does_not_wait_for_a_span(gated_controller):
    controller, predictor = gated_controller
    controller.pins.choose_span("30 s")
    assert predictor.entered.acquire(timeout=TIMEOUT)
    assert controller.pins.predictions.is_busy
    controller.editor.apply_preset("responses_from_behavior")
    assert not controller.pins.predictions.is_busy
    predictor.gate.release()  # the span's window that is being predicted
    assert predictor.entered.acquire(timeout=TIMEOUT)
    asked = controller.results.newest_request
    predictor.gate.release()  # the next to come is the live question
    assert predictor.entered.acquire(timeout=TIMEOUT)
    results = controller.results
    assert (results.shown_request, results.freshness) == (asked, "fresh")
    controller.requests.cancel()
    predictor.gate.release(1000)
    assert controller.requests.wait(TIMEOUT)
    assert not controller.pins.predictions.is_busy
    assert LIVE not in controller.pins.predictions.spans
    controller.requests.send_again()
    assert controller.requests.wait(TIMEOUT)
    assert controller.pins.predictions.spans[LIVE].span.is_complete


@pytest.mark.slow
def test_pins_are_restored_after_a_restart(folder, tmp_path):
    def made():
        return Controller(
            synchronous=True,
            session_file=tmp_path / "live.json",
            load=lambda name, device: SloppyPredictor(name),
        )

    first = made()
    first.model.choose("one")
    first.loader.open_now(folder)
    first.editor.apply_preset("random_half_video_behavior")
    first.pins.pin("half")
    first.editor.apply_preset("video_only")
    first.pins.pin()
    first.pins.show(1, False)
    first.pins.choose_span("trial")
    first.state.common_scale, first.state.as_large = False, True
    first.state.brush_radius = 31.0
    scores = first.pins.predictions.windows[0].scores
    pins = first.state.pins
    first.close()
    second = made()
    assert second.store.load().brush_radius == 31.0
    assert second.project.restore()
    for was, now in zip(pins, second.state.pins, strict=True):
        assert now.mask == was.mask
        assert (now.slot, now.name, now.preset) == (was.slot, was.name, was.preset)
        assert (now.predictor, now.is_shown) == ("one", was.is_shown)
    assert second.state.trace_span == "trial"
    assert (second.state.common_scale, second.state.as_large) == (False, True)
    np.testing.assert_array_equal(second.pins.predictions.windows[0].scores, scores)
    second.close()


@pytest.mark.slow
def test_damaged_pins_are_dropped(folder, tmp_path):
    memory = tmp_path / "live.json"
    with open_controller(folder, session_file=memory) as first:
        first.pins.pin("good")
        first.pins.pin("bad")
    facts = json.loads(memory.read_text())
    facts["pins"]["pins"][1]["mask"] = {"nonsense": 1}
    facts["pins"]["pins"].append(7)
    memory.write_text(json.dumps(facts))
    with closing(Controller(synchronous=True, session_file=memory)) as second:
        second.model.choose(EchoPredictor())
        assert second.project.restore()
        assert [pin.name for pin in second.state.pins] == ["good"]


@pytest.mark.slow
def test_each_recording_has_its_own_pins(controller, tmp_path, folder):
    controller.pins.pin("mine")
    controller.loader.open_now(write_session(tmp_path / "other", 9))
    assert controller.state.pins == ()
    assert controller.pins.predictions.windows == {}
    controller.loader.open_now(open_session(folder))
    assert [pin.name for pin in controller.state.pins] == ["mine"]
    assert controller.pins.predictions.windows[0].scores is not None


def test_the_live_model_is_loaded_once(folder):
    loaded: list[str] = []

    def load(name: str, *_: object) -> EchoPredictor:
        loaded.append(name)
        return EchoPredictor(name)

    state = LiveState(predictor_name="echo", trace_span="10 s")
    with closing(Controller(state, load=load, synchronous=True)) as made:
        made.loader.open_now(folder)
        assert LIVE in made.pins.predictions.spans
    assert loaded == ["echo"]


def test_the_span_is_the_window_where_windows_cannot_be_joined():
    assert shown_span("10 s", OMNIMOUSE) == "10 s"
    assert shown_span("10 s", TRIALS) == "window"
