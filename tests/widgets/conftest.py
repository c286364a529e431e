"""A controller on a small recording, with a predictor that answers at once."""

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.state import LiveState
from omnimouse_model.simulate.spiking_laboratory import SpikingSpec, spiking_arrays
from tests.model.live.mask.test_stimulus_edits import VideoPredictor
from tests.predictors import open_controller
from tests.toy_predictors import TOYS


@pytest.fixture
def controller(session):
    """A session open, with a predictor that answers at once with truth plus one."""
    with open_controller(session) as made:
        made.editor.apply_preset("nothing")
        made.selection.select([])
        yield made


@pytest.fixture
def video_controller(session):
    """A predictor that follows the video, every neuron asked, two selected."""
    with open_controller(session, VideoPredictor()) as made:
        made.editor.apply_preset("video_behavior")
        made.selection.select([7, 39])
        yield made


@pytest.fixture
def empty_controller():
    """A controller without a session, whose traces show the window as it is."""
    made = Controller(LiveState(trace_span="window", as_large=False), synchronous=True)
    yield made
    made.close()


@pytest.fixture
def spiking_controller():
    """A recording of spikes with trials, of which neuron 3 is selected."""
    arrays = dict(spiking_arrays(SpikingSpec(n_trials=40)))
    # The panel opens with the choice, although it is not the first column.
    arrays["trial_side"] = np.where(np.arange(40) < 20, "left", "right")
    arrays["trial_choice"] = np.where(np.arange(40) % 3, "right", "left")
    with open_controller(om.open_session(arrays), TOYS["toy-counts"]()) as made:
        made.editor.apply_preset("co_smoothing")
        made.selection.select([3])
        yield made


@pytest.fixture
def look_at(empty_controller):
    """Put a window of another model on screen; by default spike counts."""
    counts = om.WindowSpec(3.0, 50.0, responses="count", align="trial")

    def look_at(session=None, spec=counts):
        session = session or om.open_session(spiking_arrays())
        state = empty_controller.state
        state.session, state.mask, state.selection = session, None, (14,)
        state.window = session.window(20.0, spec)
        state.mask = om.Mask.nothing(session, spec).ask([14]).with_frames(True)
        return empty_controller

    return look_at
