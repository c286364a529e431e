"""A small simulated session, and OmniMouse open on it in a real window."""

import numpy as np
import pytest

from omnimouse_model.families.classical.predictor import naive_predictor
from omnimouse_model.masks import VISIBLE
from omnimouse_model.predict.predictor import Encoded
from omnimouse_model.progress import never
from tests.predictors import EchoPredictor


class WavePredictor(EchoPredictor):
    """Adds a known wave to the truth, so that screens can be checked."""

    def encode(self, window, mask, cancelled=never):
        phase = np.arange(60)[:, None] / 7 + np.arange(mask.n_neurons)
        return Encoded(window, mask, window.responses + 0.3 * np.sin(phase))


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory):
    from tests.small_sessions import simulate_mouse

    folder = tmp_path_factory.mktemp("sessions") / "small"
    return simulate_mouse(folder, 150, 1.1, times=2)


@pytest.fixture(scope="session")
def echo():
    return WavePredictor()


@pytest.fixture(scope="module", autouse=True)
def _no_running_workers(request):
    """Skip this check for tests of the shared window, which checks when it closes."""
    own = (item for item in request.session.items if item.path == request.path)
    if not any("window" in item.fixturenames for item in own):
        request.getfixturevalue("_no_running_workers")


@pytest.fixture(scope="package")
def window(qapp, echo, session_folder):
    """OmniMouse on the small session, in one window for all tests of the package."""
    import napari

    from omnimouse_app.window.docks import open_instrument
    from omnimouse_model.live.controller import Controller
    from omnimouse_widgets.qt.style.redraw import qt_post
    from tests.app.windows import SIZE, end_check, wait_for_rest
    from tests.toy_predictors import TOYS, install_toys

    def load(name, device):
        if name in TOYS:
            return TOYS[name]()
        return naive_predictor(name) if name == "mean" else echo

    with end_check(), install_toys():
        controller = Controller(post=qt_post(), load=load)
        controller.model.choose("echo")
        viewer = napari.Viewer(show=True)
        viewer.window.resize(*SIZE)
        opened = open_instrument(viewer, controller)
        controller.loader.open_now(session_folder)
        wait_for_rest(opened)
        yield opened
        opened.close_viewer()
        qapp.processEvents()


@pytest.fixture(scope="package")
def start(window):
    """What the window shows first: session, time, layout, and where its docks are."""
    from tests.app.windows import layout

    state, docks = window.controller.state, window.main_window.saveState()
    return state.session, state.window.start_s, layout(window), docks


@pytest.fixture
def dock(window, start):
    """The window as it opens: first preset, brush in hand, whole field in view."""
    from qtpy.QtWidgets import QScrollArea

    from omnimouse_app.field.canvas import Canvas
    from omnimouse_app.tour.hand import Hand, settle, wait_for
    from omnimouse_app.window.docks import BRUSH
    from tests.app.windows import is_answered, layout, wait_for_rest

    session, start_s, first_layout, docks = start
    controller, brush = window.controller, window.instrument.brush
    state = controller.state
    if state.session is not session or controller.project.path is not None:
        controller.loader.open_now(session)
    if state.predictor_name != "echo":
        controller.model.choose("echo")
    controller.planes.show_in_space(False)
    controller.planes.show(None)
    controller.colouring.outline_areas(False)
    for pin in state.pins:
        controller.pins.unpin(pin.slot)
    controller.pins.choose_span("window")
    controller.stimulus_edits.reset()
    controller.navigation.seek(start_s)
    brush.tool, brush.radius = "brush", 14.0
    for colour_by in ("score", "state"):  # one key goes from one to the other
        controller.colouring.choose(colour_by)
    controller.editor.apply_preset("video_behavior")
    controller.editor.set_brush(VISIBLE)
    controller.editor.set_active_span(0, 60)
    controller.navigation.set_cursor(0)
    controller.selection.select([3, 14, 15])
    for title in ("OmniMouse", BRUSH, "Traces", "Raster"):
        window.bring_up(title)
    for area in window.main_window.findChildren(QScrollArea):
        area.verticalScrollBar().setValue(0)  # what is scrolled away is not drawn
    settle()
    if layout(window) != first_layout:
        window.main_window.resize(*first_layout[:2])
        wait_for_rest(window)
        window.main_window.restoreState(docks)
        wait_for_rest(window)
    wait_for(lambda: is_answered(window), "the answer")
    window.instrument.layers.draw()
    # Into a corner: the brush's own ring would hide what is under it.
    Hand(Canvas(window.viewer, window.main_window).widget).move((2, 2), held=False)
    window.instrument.layers.show_whole_field()
    settle()
    return window


@pytest.fixture
def canvas(dock):
    """The field, with the layer of the neurons active."""
    from omnimouse_app.field.canvas import Canvas

    dock.viewer.layers.selection.active = dock.instrument.layers.neurons
    return Canvas(dock.viewer, dock.main_window)


@pytest.fixture
def hand(canvas):
    from omnimouse_app.tour.hand import Hand

    return Hand(canvas.widget)
