"""What-if edits: undo, prediction after the mask's, and alone."""

import numpy as np
import pytest

from omnimouse_model.analysis.counterfactual import what_if
from omnimouse_model.analysis.stimulus_edits import BehaviorSet, Blank, Contrast
from omnimouse_model.data.session import Window
from omnimouse_model.masks import Mask
from omnimouse_model.predict.predictor import Encoded
from omnimouse_model.progress import Cancelled, never
from tests.predictors import EchoPredictor, open_controller


class VideoPredictor(EchoPredictor):
    """Predicts the mean of the visible video for every neuron."""

    def encode(self, window: Window, mask: Mask, cancelled: Cancelled = never) -> Encoded:
        self._count("encodings")
        gray = np.where(mask.frames, window.video.mean(axis=(1, 2)), 0.0)
        gain = np.arange(mask.n_neurons) / mask.n_neurons
        return Encoded(window, mask, gray[:, None] * gain)


@pytest.fixture
def predictor():
    return VideoPredictor()


@pytest.fixture
def controller(session, predictor):
    with open_controller(session, predictor) as made:
        made.editor.apply_preset("video_only")
        yield made


def test_an_edit_is_predicted_and_equals_the_library(controller, predictor):
    results, state = controller.results, controller.state
    before = results.population
    controller.stimulus_edits.put(Contrast(0.5))
    assert results.population is before
    assert results.what_if_freshness == "fresh"
    assert not results.is_awaited
    expected = what_if(predictor, state.window, state.mask, state.edits)
    np.testing.assert_array_equal(results.what_if.difference, expected.difference)
    told = results.what_if.description, controller.stimulus_edits.text
    assert told == ("contrast × 0.5",) * 2
    assert np.nanmax(results.what_if.change) > 0


def test_edits_and_strokes_share_one_undo(controller):
    controller.stimulus_edits.put(Blank())
    assert controller.editor.undo_name == "What if: blank"
    controller.editor.set_frames(slice(0, 30))
    mask = controller.state.mask
    controller.editor.undo()
    assert controller.stimulus_edits.edits == (Blank(),)
    assert controller.state.mask != mask
    controller.editor.undo()
    assert controller.stimulus_edits.edits == ()
    assert controller.results.what_if is None
    assert controller.results.what_if_freshness == "none"
    controller.editor.redo()
    assert controller.stimulus_edits.edits == (Blank(),)
    assert controller.results.what_if_freshness == "fresh"
    assert controller.state.preset == "video_only"


def test_edits_stay_with_their_session_and_need_its_streams(controller, session):
    controller.stimulus_edits.put(Blank(), BehaviorSet("running", 0.0))
    controller.navigation.step_window(-1)
    state = controller.state
    assert controller.results.what_if_freshness == "fresh"
    found = controller.results.what_if.window
    assert found.start_index == state.window.start_index
    assert controller.stimulus_edits.window == found
    assert controller.stimulus_edits.window.frames_u8.max() == 113
    controller.loader.open_now(session)
    assert controller.stimulus_edits.edits == ()
    assert controller.results.what_if is None
    with pytest.raises(ValueError, match="has no 'licking'"):
        controller.stimulus_edits.put(BehaviorSet("licking", 1.0))
    assert controller.stimulus_edits.edits == ()
    assert not controller.results.what_if_error


def test_a_refused_what_if_is_reported_and_the_prediction_stays(controller):
    class Refusing(VideoPredictor):
        def encode(self, window: Window, mask: Mask, cancelled: Cancelled = never) -> Encoded:
            if window.edits:
                raise ValueError("It takes no edits.")
            return VideoPredictor.encode(self, window, mask)

    controller.model.choose(Refusing())
    controller.stimulus_edits.put(Blank())
    results = controller.results
    assert (results.freshness, results.what_if_freshness) == ("fresh", "error")
    assert results.what_if_error == "It takes no edits."
    controller.stimulus_edits.reset()
    assert results.what_if_error is None
