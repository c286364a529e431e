"""The edits on screen: undone with the mask, answered after it, asked alone."""

from contextlib import closing

import numpy as np
import pytest

from omnimouse_model.analysis.edits import BehaviorSet, Blank, Contrast, Mirror
from omnimouse_model.analysis.what_if import what_if
from omnimouse_model.data.open import open_session
from omnimouse_model.data.windows import Window
from omnimouse_model.live.controller import Controller
from omnimouse_model.masks import Mask
from omnimouse_model.predict.predictor import Encoded
from tests.predictors import EchoPredictor, GatedPredictor
from tests.small_sessions import write_session

TIMEOUT = 60.0


class VideoPredictor(EchoPredictor):
    """Answers the mean of the visible video, the same for everyone."""

    def encode(self, window: Window, mask: Mask) -> Encoded:
        self._count("encodings")
        gray = np.where(mask.frames, window.video.mean(axis=(1, 2)), 0.0)
        gain = np.arange(mask.n_neurons) / mask.n_neurons
        return Encoded(window, mask, gray[:, None] * gain)


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return open_session(write_session(tmp_path_factory.mktemp("edits") / "mouse"))


@pytest.fixture
def predictor():
    return VideoPredictor()


@pytest.fixture
def controller(session, predictor):
    made = Controller(synchronous=True)
    made.choose_predictor(predictor)
    made.open_session(session)
    made.apply_preset("video_only")
    yield made
    made.close()


@pytest.fixture
def gated_controller(session):
    """A controller with a thread of its own, its first answer there; a predictor."""
    predictor = GatedPredictor()
    with closing(Controller()) as made:
        made.open_session(session)
        made.choose_predictor(predictor)
        predictor.gate.release()
        assert predictor.entered.acquire(timeout=TIMEOUT)
        assert made.wait(TIMEOUT)
        yield made, predictor
        predictor.gate.release(20)


def test_an_edit_is_predicted_beside_the_answer_and_equals_the_library(
    controller, predictor
):
    results, state = controller.results, controller.state
    before = results.population
    controller.what_if.put(Contrast(0.5))
    assert results.population is before
    assert results.what_if_freshness == "fresh"
    assert not results.is_awaited
    expected = what_if(predictor, state.window, state.mask, state.edits)
    np.testing.assert_array_equal(results.what_if.difference, expected.difference)
    assert results.what_if.words == controller.what_if.words == "contrast × 0.5"
    assert np.nanmax(results.what_if.change) > 0


def test_an_edit_asks_for_nothing_else(controller, predictor):
    before = predictor.counters["encodings"]
    controller.what_if.put(Mirror())
    controller.what_if.put(Contrast(0.2))
    assert predictor.counters["encodings"] == before + 2
    controller.what_if.reset()
    assert predictor.counters["encodings"] == before + 2


def test_edits_and_strokes_share_one_undo(controller):
    controller.what_if.put(Blank())
    assert controller.undo_name == "What if: blank"
    controller.set_frames(slice(0, 30))
    mask = controller.state.mask
    controller.undo()
    assert controller.what_if.edits == (Blank(),)
    assert controller.state.mask != mask
    controller.undo()
    assert controller.what_if.edits == ()
    assert controller.results.what_if is None
    assert controller.results.what_if_freshness == "none"
    controller.redo()
    assert controller.what_if.edits == (Blank(),)
    assert controller.results.what_if_freshness == "fresh"
    assert controller.state.preset == "video_only"


def test_a_drag_is_one_undo_entry(controller):
    with controller.stroke("What if: contrast"):
        for factor in (0.9, 0.6, 0.3):
            controller.what_if.put(Contrast(factor))
    assert controller.what_if.edits == (Contrast(0.3),)
    controller.undo()
    assert controller.what_if.edits == ()


def test_edits_stay_when_the_window_moves_and_go_with_the_session(controller, session):
    controller.what_if.put(Blank(), BehaviorSet("running", 0.0))
    controller.step_window(-1)
    state = controller.state
    assert controller.results.what_if_freshness == "fresh"
    found = controller.results.what_if.window
    assert found.start_index == state.window.start_index
    assert controller.what_if.window == found
    assert controller.what_if.window.frames_u8.max() == 113
    controller.open_session(session)
    assert controller.what_if.edits == ()
    assert controller.results.what_if is None


def test_one_edit_of_a_kind_is_kept(controller):
    edits = controller.what_if
    edits.put(Mirror(), Contrast(0.5))
    edits.put(Contrast(2.0), Mirror("vertical"))
    assert edits.edits == (Mirror(), Mirror("vertical"), Contrast(2.0))
    assert edits.get("mirror", "vertical") == Mirror("vertical")
    edits.remove(("mirror", "horizontal"))
    assert edits.words == "upside down, contrast × 2"


def test_what_a_session_lacks_is_refused_and_changes_nothing(controller):
    with pytest.raises(ValueError, match="has no 'licking'"):
        controller.what_if.put(BehaviorSet("licking", 1.0))
    assert controller.what_if.edits == ()
    assert not controller.results.what_if_error


def test_without_a_session_edits_are_nothing():
    controller = Controller(synchronous=True)
    controller.what_if.put(Blank())
    controller.what_if.reset()
    assert (controller.what_if.edits, controller.what_if.window) == ((), None)
    assert controller.what_if.remarks == ()


def test_a_refusal_is_told_and_the_answer_stays(controller):
    class Refusing(VideoPredictor):
        def encode(self, window: Window, mask: Mask) -> Encoded:
            if window.edits:
                raise ValueError("It takes no edits.")
            return VideoPredictor.encode(self, window, mask)

    controller.choose_predictor(Refusing())
    controller.what_if.put(Blank())
    results = controller.results
    assert (results.freshness, results.what_if_freshness) == ("fresh", "error")
    assert results.what_if_error == "It takes no edits."
    controller.what_if.reset()
    assert results.what_if_error is None


def test_a_stroke_goes_before_an_edit_under_way(gated_controller):
    controller, predictor = gated_controller
    controller.what_if.put(Blank())
    assert predictor.entered.acquire(timeout=TIMEOUT)
    results = controller.results
    assert (results.freshness, results.what_if_freshness) == ("fresh", "running")
    controller.set_behavior("hidden")
    predictor.gate.release()  # the edit's ends, and is not what was asked last
    assert predictor.entered.acquire(timeout=TIMEOUT)
    predictor.gate.release(2)
    assert controller.wait(TIMEOUT)
    assert (results.freshness, results.what_if_freshness) == ("fresh", "fresh")
    np.testing.assert_allclose(np.nanmax(results.what_if.change), 0)


def test_cancelled_edits_say_so(gated_controller):
    controller, _ = gated_controller
    controller.what_if.put(Blank())
    controller.cancel()
    assert controller.results.what_if_freshness == "stopped"
    assert controller.results.freshness == "fresh"
