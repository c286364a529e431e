"""The end of a window: no process, no connection and no viewer is left."""

import multiprocessing

import napari
import pytest

from omnimouse_app.tour.hand import wait_for
from omnimouse_app.window.docks import open_instrument
from omnimouse_model.live.controller import Controller
from omnimouse_widgets.qt.style.ui_thread import qt_post

pytestmark = [pytest.mark.gui, pytest.mark.process, pytest.mark.slow]


def connections(controller: Controller) -> dict[str, int]:
    """How many listen to each signal of state and results."""
    state, results = controller.state.events, controller.results
    found = {f"state.{name}": len(state[name]) for name in state}
    found |= {f"results.{n}": len(results.events[n]) for n in results.events}
    return found | {"results.changed": len(results.changed)}


def test_closing_the_window_ends_the_worker_and_every_connection(qapp, session_folder):
    viewer = napari.Viewer(show=True)
    controller = Controller(post=qt_post())
    own = connections(controller)
    dock = open_instrument(viewer, controller)
    controller.choose_predictor("mean")
    controller.open_session(session_folder)
    results = controller.results
    wait_for(lambda: results.error or results.freshness == "fresh", "an answer", 120)
    assert results.error is None
    assert multiprocessing.active_children()
    dock.main_window.close()
    wait_for(lambda: not multiprocessing.active_children(), "the worker's end")
    assert connections(controller) == own
    # PySide6 calls slots of what Python's collector has emptied already.
    vars(dock.instrument).clear()
    dock.instrument.close()
