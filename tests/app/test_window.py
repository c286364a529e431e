"""The window: layout, docks, raster, traces, selection."""

import gc

import numpy as np
import pytest
from napari._qt.dialogs.confirm_close_dialog import ConfirmCloseDialog
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QPointF, Qt
from qtpy.QtGui import QCloseEvent
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QComboBox, QDialog, QLabel, QMessageBox, QScrollBar

from omnimouse_app.field.canvas import OneFrame, core_places, states_on_screen
from omnimouse_app.field.layers import TOKEN
from omnimouse_app.tour.hand import settle, wait_for
from omnimouse_app.window.commands import ACTIONS
from omnimouse_app.window.docks import find_instrument, open_instrument
from omnimouse_model.live.laboratory import Laboratory
from omnimouse_model.live.mask import presets
from omnimouse_model.live.sweeps import Sweeps
from omnimouse_model.masks import TARGET, VISIBLE
from omnimouse_widgets.qt.form import SettingsForm
from omnimouse_widgets.qt.style.controls import CONTROLS_WITH_WHEEL, MenuBox
from omnimouse_widgets.views.registry import tabs_of
from tests.app.windows import wait_for_rest
from tests.small_sessions import write_session
from tests.widgets.pointer import wheel

pytestmark = [pytest.mark.gui, pytest.mark.slow]


def dock_box(dock, title):
    """Rectangle of a dock in the window's pixels: left, top, right, bottom."""
    widget = dock.docks[title]
    corner = widget.mapTo(dock.main_window, widget.rect().topLeft())
    left, top = corner.x(), corner.y()
    return left, top, left + widget.width(), top + widget.height()


@pytest.mark.parametrize("size", [(1440, 900), (1280, 720)])
def test_the_layout_is_that_of_the_plan_and_nothing_is_cut(dock, size):
    window = dock.main_window
    window.resize(*size)
    wait_for_rest(dock, size)
    boxes = {title: dock_box(dock, title) for title in dock.docks}
    canvas = window.centralWidget()
    canvas_right = canvas.mapTo(window, canvas.rect().topRight()).x()
    for title in ("OmniMouse", "Traces"):
        left, _, right, bottom = boxes[title]
        assert right - left <= 420
        assert left >= canvas_right
        assert right <= size[0]
        assert bottom <= size[1]
    # Curves can be read, with a legend of two lines.
    traces = dock.panels["Traces"]
    assert traces.stacks["traces"].canvas.height() > 180
    legend = traces.widgets["legend"]
    assert legend.height() < 3 * legend.fontMetrics().height()
    assert boxes["OmniMouse"][3] <= boxes["Traces"][1]
    assert boxes["Time"][3] <= boxes["Raster"][1]
    assert boxes["Raster"][2] <= boxes["Stimulus"][0]
    assert boxes["Raster"][1] == boxes["Stimulus"][1]
    assert boxes["Stimulus"][3] <= size[1]
    # What is asked, the brush and the colours are in view without scrolling.
    control, brush = dock.control, dock.brush
    model, task = control.model, control.task
    asked = [model.model, model.refine, task.preset, task.video]
    painted = [brush.brush.code, brush.brush.tool, brush.brush.undo, brush.view.colour_by]
    if size[1] >= 900:
        asked += [task.behavior, task.meaning, control.baseline.choice]
        painted += [brush.view.planes, brush.view.copy, brush.view.legend]
    for panel, widgets in ((control, asked), (brush, painted)):
        viewport = panel.scroll_area.viewport()
        for widget in widgets:
            top = widget.mapTo(viewport, widget.rect().topLeft()).y()
            assert 0 <= top < viewport.height() - widget.height() // 2, widget
    for title, place in {"Traces": "results", "OmniMouse": "controls", "Raster": "samples"}.items():
        tabs = window.tabifiedDockWidgets(dock.docks[title])
        assert set(tabs) == {dock.docks[other] for other in tabs_of(place) if other != title}


def test_an_action_of_a_panel_brings_another_panel_to_the_front(dock):
    dock.bring_up("Laboratory")
    wait_for_rest(dock)
    dock.panels["Laboratory"].panel_wanted.emit("What if")
    wait_for_rest(dock)
    assert not dock.docks["What if"].visibleRegion().isEmpty()
    dock.bring_up("OmniMouse")


class OfDesktop(QCloseEvent):
    """Closing by the button of the window's frame."""

    def spontaneous(self):
        return True


def test_a_window_with_a_running_job_asks_once_before_it_closes(dock, monkeypatch):
    asked, answers, button = [], [], QMessageBox.StandardButton
    monkeypatch.setattr(Laboratory, "is_busy", True)
    monkeypatch.setattr(Sweeps, "is_busy", True)

    def question(parent, title, text, *_):
        asked.append(text)
        return answers.pop()

    def of_napari(dialog):
        dialog.ensurePolished()
        asked.extend(one.text() for one in dialog.findChildren(QLabel))
        return QDialog.DialogCode.Rejected

    monkeypatch.setattr(QMessageBox, "question", question)
    for name in ("exec", "exec_"):
        monkeypatch.setattr(ConfirmCloseDialog, name, of_napari)
    window, closed = dock.main_window, []
    jobs = "context sweep (can be resumed) and experiment of the laboratory"
    text = f"Still running: {jobs}. Close, and stop them?"
    # By code, by the key, at which napari asks first, and by the desktop.
    answers.append(button.Cancel)
    assert not window.close()
    assert asked.copy() == [text]
    window.close(confirm_need=True)
    assert len(asked) == 3  # and napari's own
    assert asked[1:].count(text) == 1
    assert window.isVisible()
    asked.clear()
    answers.append(button.Close)
    monkeypatch.setattr(type(window), "close", lambda *_: closed.append(asked.copy()))
    event = OfDesktop()
    assert dock.instrument.eventFilter(window, event)
    assert not event.isAccepted()
    wait_for(lambda: closed, "the window to be closed by code")
    assert closed == [[text]]
    monkeypatch.setattr(dock.instrument, "_has_agreed", False)


def test_a_closed_dock_comes_back_from_the_menu_where_it_was(dock):
    raster = dock.docks["Raster"]
    before = dock_box(dock, "Raster")
    raster.title.close_button.click()
    assert not raster.isVisible()
    menu = dock.viewer.window.window_menu
    [action] = [a for a in menu.actions() if a.text() == "Raster (OmniMouse)"]
    action.trigger()
    wait_for_rest(dock)
    assert raster.isVisible()
    np.testing.assert_allclose(dock_box(dock, "Raster"), before, atol=3)


def test_no_dock_is_dragged_over_the_whole_field(dock):
    window, right = dock.main_window, dock.docks["OmniMouse"]
    before = right.width()
    for width in (4000, before):
        window.resizeDocks([right], [width], Qt.Orientation.Horizontal)
        wait_for_rest(dock)
        assert window.findChild(QOpenGLWidget).width() >= 160


def test_a_renamed_layer_goes_on_working(dock):
    layers = dock.instrument.layers
    before, layers.neurons.name = layers.neurons.name, "my neurons"
    dock.controller.editor.paint([0, 1], TARGET)
    layers.draw()
    assert layers.colours.is_fast
    layers.neurons.name = before


def test_napari_changes_no_layer_of_ours_and_deleted_ones_come_back(dock, canvas):
    viewer, layers = dock.viewer, dock.instrument.layers
    own = viewer.add_points([[1, 1]])
    before, colours = list(viewer.layers), layers.neurons.colormap.colors.copy()
    viewer.dims.ndisplay = 3  # napari allows editing again after it
    viewer.dims.ndisplay = 2
    assert [layer.editable for layer in before] == [layer is own for layer in before]
    layers.neurons.new_colormap()
    np.testing.assert_array_equal(layers.neurons.colormap.colors, colours)
    dock.main_window.activateWindow()
    for is_key in (True, False):
        viewer.layers.selection = set(before) - {own}
        viewer.layers.remove_selected()
        assert list(viewer.layers) == [own]
        assert viewer.cursor.scaled  # for the brush of another layer
        dock.controller.editor.paint([0, 1], VISIBLE)
        layers.draw()
        wait_for(lambda: "Shift+R" in viewer.help, "the hint")
        if is_key:
            shift = Qt.KeyboardModifier.ShiftModifier
            QTest.keyClick(canvas.widget, Qt.Key.Key_R, shift)
        else:
            menu = viewer.window.plugins_menu
            menu.aboutToShow.emit()
            [restore] = [a for a in menu.actions() if "Restore" in a.text()]
            restore.trigger()
        assert list(viewer.layers) == before
    assert viewer.layers.selection.active is layers.neurons
    viewer.layers.remove(own)
    assert (states_on_screen(canvas, layers.field)[:2] == VISIBLE).all()
    assert layers.colours.is_fast


def test_another_recording_fills_the_layers_that_are_there(
    dock, canvas, session_folder, tmp_path, monkeypatch
):
    controller, layers, searches = dock.controller, dock.instrument.layers, []
    before, viewer = list(dock.viewer.layers), dock.viewer
    layers.neurons.visible, layers.mean.opacity = False, 0.3
    own = viewer.add_points([[1, 1]])
    monkeypatch.setattr(gc, "collect", lambda *_: searches.append(1))
    controller.loader.open_now(session_folder)
    # One of napari, which searches for garbage after each layer that is removed.
    assert not searches
    assert list(viewer.layers) == [*before, own]
    assert viewer.layers.selection.active is layers.neurons
    is_shown = states_are_shown(dock, canvas)
    # Without images: one layer is kept, and the others return to their places.
    mean = viewer.layers[0]
    viewer.layers.remove(layers.neurons)
    controller.loader.open_now(write_session(tmp_path / "other", 60))
    monkeypatch.undo()
    assert list(viewer.layers) == [own, layers.neurons]
    assert len(layers.neurons.features) == 60
    controller.loader.open_now(session_folder)
    roles = [layer.metadata.get(TOKEN) for layer in viewer.layers]
    assert roles == ["mean image", "planes", None, "neurons"]
    assert viewer.layers[0] is not mean
    assert layers.neurons.features.neuron.tolist() == list(range(150))
    viewer.layers.remove(own)
    assert is_shown > 0.9
    assert states_are_shown(dock, canvas) > 0.9
    np.testing.assert_array_equal(layers.mean.data, layers.field.mean)


def states_are_shown(dock, canvas):
    """Share of the neurons whose state is on screen."""
    wait_for_rest(dock)
    layers, state = dock.instrument.layers, dock.controller.state
    has_place = np.isfinite(core_places(layers.field)).all(axis=1)
    seen = states_on_screen(canvas, layers.field)[has_place]
    return (seen == state.mask.state_in(state.active_span)[has_place]).mean()


def test_a_preset_that_the_session_cannot_have_is_told(dock, monkeypatch):
    monkeypatch.setattr(presets, "regions_of", lambda session: ())
    before = dock.controller.state.mask
    ACTIONS["preset_inter_region"](dock)
    assert "'inter_region' needs a region" in notification_manager.records[-1].message
    assert dock.controller.state.mask is before


@pytest.mark.parametrize("n_layers", [1, 2])
def test_the_status_bar_tells_the_neuron_under_the_pointer(dock, canvas, n_layers):
    layers, field = dock.viewer.layers, dock.instrument.layers.field
    layers.selection = set(list(layers)[-n_layers:]) | {dock.instrument.layers.neurons}
    dock.viewer.mouse_over_canvas = True
    dock.viewer.cursor.position = tuple(field.centres[3])
    dock.viewer.update_status_from_cursor()
    status = dock.viewer.status
    text = status if n_layers > 1 else status["coordinates"]
    assert f"unit {int(dock.controller.state.session.units.unit_id[3])}" in text


def test_napari_leaves_the_main_widget_the_whole_height_of_its_dock(dock):
    # napari does this to the widget that its Plugins menu opens.
    dock.docks["OmniMouse"]._maybe_add_vertical_stretch(dock)
    settle()
    assert dock.layout().count() == 1
    assert dock.control.scroll_area.height() == dock.height()


def test_there_is_one_instrument_in_a_viewer(dock):
    assert find_instrument(dock.viewer) is dock
    assert open_instrument(dock.viewer) is dock
    dock.instrument.watch(dock.main_window)  # once more
    assert len(dock.main_window.findChildren(OneFrame)) == 1


def test_the_title_names_recording_and_model_until_other_code_chooses_one(dock):
    controller = dock.controller
    session = controller.state.session
    controller.model.choose("mean")
    assert dock.main_window.windowTitle() == f"{session.id} · mean · OmniMouse Studio"
    dock.viewer.title = "mine"
    controller.model.choose("last")
    assert dock.main_window.windowTitle() == "mine"


def test_wheel_and_letters_of_controls_stay_in_the_panels(dock):
    seen = []
    for panel in (dock.control, dock.brush, *dock.panels.values()):
        for kind in CONTROLS_WITH_WHEEL:
            for control in panel.findChildren(kind):
                if isinstance(control, QScrollBar):
                    continue
                seen.append(control)
                # Menus of generated forms have their own filter of keys.
                is_menu = isinstance(control, MenuBox)
                in_form = isinstance(control.parentWidget(), SettingsForm)
                assert is_menu or in_form or kind is not QComboBox
                assert control.focusPolicy() == Qt.FocusPolicy.StrongFocus
                if not control.hasFocus():
                    assert not wheel(control, QPointF(control.rect().center()), -1)
    assert len(seen) > 20
    number, state = dock.brush.brush.start, dock.controller.state
    number.setFocus()
    before = state.colour_by, dock.instrument.brush.tool
    QTest.keyClicks(number, "pcL")
    assert (state.colour_by, dock.instrument.brush.tool) == before
