"""The window: layout, docks, raster, traces, closing."""

from time import perf_counter

import numpy as np
import pytest
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QApplication, QWidget

from omnimouse_app.demo_report import drag_on_raster
from omnimouse_app.docks import find_instrument, open_instrument
from omnimouse_app.frames import OneFrame
from omnimouse_app.hand import Hand, settle, wait_for
from omnimouse_model.masks import TARGET
from omnimouse_model.metrics import correlation
from omnimouse_widgets.drawn.playback import samples_due

pytestmark = pytest.mark.gui


def box_of(dock, title):
    """Rectangle of a dock in the window's pixels: left, top, right, bottom."""
    widget = dock.docks[title]
    corner = widget.mapTo(dock.main_window, widget.rect().topLeft())
    return (
        corner.x(),
        corner.y(),
        corner.x() + widget.width(),
        corner.y() + widget.height(),
    )


@pytest.mark.parametrize("size", [(1440, 900), (1280, 720)])
def test_the_layout_is_that_of_the_plan_and_nothing_is_cut(dock, size):
    dock.main_window.resize(*size)
    settle(0.3)
    assert (dock.main_window.width(), dock.main_window.height()) == size
    boxes = {title: box_of(dock, title) for title in dock.docks}
    canvas = dock.main_window.centralWidget()
    canvas_right = canvas.mapTo(dock.main_window, canvas.rect().topRight()).x()
    for title in ("OmniMouse", "Traces"):
        left, _, right, bottom = boxes[title]
        assert right - left <= 420
        assert left >= canvas_right
        assert right <= size[0]
        assert bottom <= size[1]
    assert boxes["OmniMouse"][3] <= boxes["Traces"][1]
    assert boxes["Time"][3] <= boxes["Raster"][1]
    assert boxes["Raster"][2] <= boxes["Stimulus"][0]
    assert boxes["Raster"][1] == boxes["Stimulus"][1]
    assert boxes["Stimulus"][3] <= size[1]
    tabs = dock.main_window.tabifiedDockWidgets(dock.docks["Traces"])
    others = ("Context", "Behaviour", "Neurons", "Neuron")
    assert set(tabs) == {dock.docks[title] for title in others}
    tabs = dock.main_window.tabifiedDockWidgets(dock.docks["OmniMouse"])
    assert tabs == [dock.docks["What if"]]
    tabs = dock.main_window.tabifiedDockWidgets(dock.docks["Raster"])
    assert tabs == [dock.docks["Repeats"]]


def test_a_closed_dock_comes_back_from_the_menu_where_it_was(dock):
    raster = dock.docks["Raster"]
    before = box_of(dock, "Raster")
    raster.title.close_button.click()
    settle(0.1)
    assert not raster.isVisible()
    menu = dock.viewer.window.window_menu
    [action] = [a for a in menu.actions() if a.text() == "Raster (OmniMouse)"]
    action.trigger()
    settle(0.2)
    assert raster.isVisible()
    np.testing.assert_allclose(box_of(dock, "Raster"), before, atol=3)


def test_a_stroke_on_the_raster_changes_exactly_its_cells(dock):
    controller, panel = dock.controller, dock.panels["Raster"]
    controller.apply_preset("nothing")
    controller.set_brush(TARGET)
    settle(0.1)
    panel.set_tool("box")
    drag_on_raster(panel, (20.5, 0.2), (33.5, 0.5))
    cells = controller.state.mask.cells
    changed = cells == TARGET
    samples = np.flatnonzero(changed.any(axis=1))
    neurons = np.flatnonzero(changed.any(axis=0))
    np.testing.assert_array_equal(samples, np.arange(20, 34))
    assert 0.2 < len(neurons) / controller.state.session.n_neurons < 0.4
    np.testing.assert_array_equal(neurons, np.arange(neurons[0], neurons[-1] + 1))
    assert changed[20:34, neurons].all()


def test_traces_and_scores_on_screen_are_what_the_library_computes(dock, echo):
    controller, panel = dock.controller, dock.panels["Traces"]
    state = controller.state
    expected = echo.predict(state.window, state.mask)
    for row, neuron in enumerate(state.selection):
        truth, predicted, _ = panel.stack.drawn_values(row)
        column = np.flatnonzero(expected.neurons == neuron)[0]
        np.testing.assert_allclose(truth, state.window.responses[:, neuron], atol=1e-5)
        np.testing.assert_allclose(predicted, expected.responses[:, column], atol=1e-5)
    truth = state.window.responses[:, expected.neurons]
    np.testing.assert_allclose(
        controller.results.scores[expected.neurons],
        correlation(expected.responses, truth, axis=0),
        atol=1e-5,
    )


def test_moving_the_cursor_moves_video_raster_and_traces_together(dock):
    controller = dock.controller
    controller.set_cursor(37)
    settle(0.1)
    window = controller.state.window
    stimulus, raster = dock.panels["Stimulus"], dock.panels["Raster"]
    np.testing.assert_array_equal(stimulus.frame.image, window.frames_u8[37])
    assert next(iter(raster.pictures.values())).cursor.value() == 37.5
    time_s = window.timestamps["responses"][37]
    assert dock.panels["Traces"].stack.cursor.value() == pytest.approx(time_s)


def test_k_on_the_canvas_plays(dock):
    from omnimouse_app.canvas import Canvas

    hand = Hand(Canvas(dock.viewer, dock.main_window).widget)
    state, playback = dock.controller.state, dock.panels["Stimulus"].playback
    since = perf_counter()
    hand.key(Qt.Key.Key_K)
    assert playback.is_playing
    wait_for(lambda: state.cursor >= 6, "six frames", 10)
    assert state.cursor <= samples_due(perf_counter() - since, playback.speed)
    hand.key(Qt.Key.Key_K)
    assert not playback.is_playing


def own_layers(dock):
    """Names of our layers in the viewer."""
    return sorted(la.name for la in dock.viewer.layers if "omnimouse" in la.metadata)


def test_a_session_folder_dropped_on_the_canvas_is_opened(dock, session_folder):
    dock.controller.seek(30.0)
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(session_folder))])
    canvas = next(
        w
        for w in dock.main_window.findChildren(QWidget)
        if type(w).__name__ == "QtViewer"
    )
    before, names = dock.controller.state.session, own_layers(dock)
    copy, left = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton
    none = Qt.KeyboardModifier.NoModifier
    application = QApplication.instance()
    # Qt drops only where a drag has been taken in.
    application.sendEvent(
        canvas, QDragEnterEvent(QPoint(20, 20), copy, data, left, none)
    )
    application.sendEvent(canvas, QDropEvent(QPointF(20, 20), copy, data, left, none))
    state = dock.controller.state
    wait_for(lambda: state.session is not before, "the session", 60)
    assert state.session.n_neurons == before.n_neurons
    wait_for(lambda: own_layers(dock) == names, "its layers alone", 20)


def test_a_renamed_layer_goes_on_working(dock):
    dock.instrument.layers.neurons.name = "my neurons"
    dock.controller.paint([0, 1], TARGET)
    settle(0.1)
    assert dock.instrument.layers.colours.is_fast


def test_there_is_one_instrument_in_a_viewer(dock):
    assert find_instrument(dock.viewer) is dock
    assert open_instrument(dock.viewer) is dock


def test_no_dock_is_dragged_over_the_whole_field(dock):
    window, right = dock.main_window, dock.docks["OmniMouse"]
    before = right.width()
    window.resizeDocks([right], [4000], Qt.Orientation.Horizontal)
    settle(0.3)
    assert window.findChild(QOpenGLWidget).width() >= 160
    window.resizeDocks([right], [before], Qt.Orientation.Horizontal)
    settle(0.3)


def test_a_window_that_is_watched_twice_is_composed_all_the_same(dock):
    dock.instrument.watch(dock.main_window)
    assert len(dock.main_window.findChildren(OneFrame)) == 1


def test_a_click_on_the_field_and_on_the_table_shows_the_same_neuron(dock):
    from qtpy.QtTest import QTest

    from omnimouse_app.canvas import Canvas, core_places

    controller, facts = dock.controller, dock.panels["Neuron"]
    assert controller.facts.found is None  # its tab was never in front
    dock.docks["Neuron"].raise_()
    settle(0.3)
    canvas = Canvas(dock.viewer, dock.main_window)
    field = dock.instrument.layers.field
    places = canvas.places(core_places(field)[[10, 20]])
    Hand(canvas.widget).click(places[0], Qt.KeyboardModifier.ControlModifier)
    wait_for(lambda: controller.facts.focus == 10, "the focus", 20)
    settle(0.1)
    assert facts.heading.words.startswith("neuron 11 · ")
    assert facts.heading.words.endswith(" · index 10")
    dock.docks["Neurons"].raise_()
    settle(0.3)
    table = dock.panels["Neurons"]
    row = int(table.table.rows_of(np.array([20]))[0])
    table.view.scrollTo(table.table.index(row, 0))
    settle(0.1)
    at = table.view.visualRect(table.table.index(row, 0)).center()
    QTest.mouseClick(table.view.viewport(), Qt.MouseButton.LeftButton, pos=at)
    settle(0.1)
    assert controller.state.selection == (20,)
    dock.docks["Neuron"].raise_()
    wait_for(lambda: controller.facts.focus == 20, "the focus", 20)
    settle(0.1)
    assert facts.heading.words.startswith("neuron 21 ")
    controller.facts.stop()
    dock.docks["Traces"].raise_()
