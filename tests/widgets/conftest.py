"""A controller on a small recording, with a predictor that answers at once."""

import pytest

import omnimouse_model as om
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.state import LiveState
from omnimouse_model.simulate.spiking_laboratory import spiking_arrays
from tests.predictors import open_controller


@pytest.fixture
def controller(session):
    """A session open, with a predictor that answers at once with truth plus one."""
    with open_controller(session) as made:
        made.editor.apply_preset("nothing")
        made.selection.select([])
        yield made


@pytest.fixture
def empty_controller():
    """A controller without a session, whose traces show the window as it is."""
    made = Controller(LiveState(trace_span="window", as_large=False), synchronous=True)
    yield made
    made.close()


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
