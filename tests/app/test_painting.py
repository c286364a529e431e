"""Real mouse and key events on the canvas, against the mask and the pixels."""

from itertools import pairwise
from threading import Event

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from omnimouse_app.field.brush import LassoOutline
from omnimouse_app.field.canvas import core_places, states_on_screen
from omnimouse_app.tour.hand import Hand, arc, settle, wait_for
from omnimouse_model.masks import TARGET, VISIBLE
from omnimouse_widgets.views.field.layout import neurons_inside, neurons_under
from tests.small_sessions import write_session

pytestmark = [pytest.mark.gui, pytest.mark.slow]

CONTROL = Qt.KeyboardModifier.ControlModifier
SHIFT = Qt.KeyboardModifier.ShiftModifier


@pytest.fixture
def field(dock):
    return dock.instrument.layers.field


@pytest.fixture
def blank(dock):
    """The window with nothing painted and nobody selected."""
    dock.controller.editor.apply_preset("nothing")
    dock.controller.selection.select([])
    return dock


@pytest.fixture
def circle(canvas):
    width, height = canvas.widget.width(), canvas.widget.height()
    reach = 0.3 * min(width, height)
    path = arc((width / 2, height / 2), (reach, reach), (0.2, 5.5), 16)
    return np.round(path)  # a pointer is at whole pixels


def mask_cells(dock):
    return dock.controller.state.mask.cells


def neuron_states(dock):
    state = dock.controller.state
    return state.mask.state_in(state.active_span)


def field_positions(dock, canvas, path):
    """Places of a path on the canvas as (y, x) on the field."""
    camera = dock.viewer.scene.camera
    middle = np.array([canvas.widget.width(), canvas.widget.height()]) / 2
    return ((path - middle) / camera.zoom)[:, ::-1] + np.array(camera.center[-2:])


def wait_for_states(dock, canvas):
    """Until the screen shows the state of nearly all neurons, and no other one."""
    dock.controller.selection.select([])
    Hand(canvas.widget).move((2, 2), held=False)  # the brush's ring covers none

    def is_shown():
        shown = states_on_screen(canvas, dock.instrument.layers.field)
        seen = shown >= 0
        return seen.mean() > 0.9 and (shown == neuron_states(dock))[seen].all()

    wait_for(is_shown, "the states on screen")


def test_a_stroke_paints_the_neurons_under_it_on_screen(blank, canvas, hand, field):
    brush = blank.instrument.brush
    brush.radius = 30.0
    width, height = canvas.widget.width(), canvas.widget.height()
    middle = min(width, height) / 2
    across = np.round(np.linspace([0.4 * middle, middle], [1.6 * middle, middle], 9))
    across += np.round([width / 2 - middle, 0])
    radius = brush.radius / blank.viewer.scene.camera.zoom
    strokes = ((Qt.Key.Key_1, VISIBLE, across), (Qt.Key.Key_3, TARGET, across[:, ::-1]))
    for key, code, path in strokes:
        before = mask_cells(blank).copy()
        hand.key(key)
        hand.drag(path)
        span = slice(*blank.controller.state.active_span)
        surely, perhaps = set(), set()
        for a, b in pairwise(field_positions(blank, canvas, path)):
            surely |= set(neurons_under(field, a, b, radius - 0.05).tolist())
            perhaps |= set(neurons_under(field, a, b, radius + 0.05).tolist())
        changed = mask_cells(blank) != before
        assert len(surely) > 5
        assert set(np.flatnonzero(changed.any(axis=0))) <= perhaps
        assert (mask_cells(blank)[span, sorted(surely)] == code).all()
        changed[span] = False
        assert not changed.any()
        wait_for_states(blank, canvas)


@pytest.mark.parametrize("tool", ["brush", "lasso", "select"])
def test_a_drag_during_which_another_recording_opens_changes_nothing_of_it(
    blank, hand, circle, tmp_path, tool
):
    other = write_session(tmp_path / "other", 12)
    blank.instrument.brush.tool = tool
    hand.press(circle[0])
    hand.move(circle[1])
    blank.controller.loader.open_now(other)
    mask, selection = blank.controller.state.mask, blank.controller.state.selection
    for place in circle[2:]:
        hand.move(place)
    hand.release(circle[-1])
    settle()
    assert blank.controller.state.mask is mask
    assert blank.controller.state.selection == selection


def test_napari_describes_the_pointer_after_a_stroke(blank, hand, circle, monkeypatch):
    # At each move, its thread and its text would come before the colours under the pointer.
    wanted = Event()
    monkeypatch.setattr(blank.main_window.status_thread, "_need_status_update", wanted)
    hand.press(circle[0])
    settle()
    wanted.clear()  # the pointer went there before the press
    for place in circle[1:]:
        hand.move(place)
        settle()
    assert not wanted.is_set()
    hand.release(circle[-1])
    assert wanted.is_set()
    wanted.clear()
    hand.move(circle[0], held=False)
    wait_for(wanted.is_set, "the next description")


def test_the_lasso_paints_the_neurons_inside(blank, canvas, hand, field, circle):
    viewer = blank.viewer
    n_layers = len(viewer.layers)
    hand.key(Qt.Key.Key_L)
    assert blank.instrument.brush.tool == "lasso"
    before = list(viewer.layers)
    hand.press(circle[0])
    for place in circle[1:]:  # faster than napari passes movements on
        hand.move(place)
    # A new layer would block the window for seconds, and movements would be lost.
    assert list(viewer.layers) == before
    [outline] = canvas.widget.findChildren(LassoOutline)
    assert outline.isVisible()
    np.testing.assert_array_equal(outline.places, circle)
    hand.release(circle[-1])
    assert not outline.isVisible()
    inside = neurons_inside(field, field_positions(blank, canvas, circle))
    visible = np.flatnonzero((mask_cells(blank) == VISIBLE).all(axis=0))
    assert len(inside) > 10
    np.testing.assert_array_equal(visible, inside)
    for text in (viewer.help, blank.controller.editor.undo_name):
        assert f"Paint {len(inside)} neurons visible" in text
    hand.drag(circle)
    assert "No neuron changed" in viewer.help
    assert len(viewer.layers) == n_layers
    viewer.dims.ndisplay = 3
    try:
        settle()
        hand.drag(circle)
        assert len(viewer.layers) == n_layers
    finally:
        viewer.dims.ndisplay = 2


def test_control_click_selects_and_shift_adds_or_removes(dock, canvas, hand, field):
    before = mask_cells(dock).copy()
    places = canvas.places(core_places(field)[[10, 20]])
    for place, keys, expected in (
        (places[0], CONTROL, (10,)),
        (places[1], CONTROL | SHIFT, (10, 20)),
        (places[0], CONTROL | SHIFT, (20,)),
    ):
        hand.click(place, keys)
        assert dock.controller.state.selection == expected
    np.testing.assert_array_equal(mask_cells(dock), before)


def test_without_a_tool_drags_pan_and_clicks_select(dock, canvas, hand, field, circle):
    hand.key(Qt.Key.Key_P)
    assert dock.instrument.brush.tool == "select"
    hand.click(canvas.place(core_places(field)[30]))
    assert dock.controller.state.selection == (30,)
    before, centre = mask_cells(dock).copy(), dock.viewer.scene.camera.center
    hand.drag(circle[:6])
    assert dock.viewer.scene.camera.center != centre
    np.testing.assert_array_equal(mask_cells(dock), before)
    hand.key(Qt.Key.Key_P)
    assert dock.instrument.brush.tool == "brush"


def test_space_lends_the_drag_to_the_camera(dock, canvas, hand, circle):
    before, centre = mask_cells(dock).copy(), dock.viewer.scene.camera.center
    QTest.keyPress(canvas.widget, Qt.Key.Key_Space)
    hand.drag(circle[:6])
    QTest.keyRelease(canvas.widget, Qt.Key.Key_Space)
    np.testing.assert_array_equal(mask_cells(dock), before)
    assert dock.viewer.scene.camera.center != centre
    hand.drag(circle)
    assert (mask_cells(dock) != before).any()


def test_the_fast_and_the_public_way_give_equal_pixels(dock, canvas, hand, circle):
    hand.key(Qt.Key.Key_1)
    hand.drag(circle)
    dock.instrument.layers.draw()
    colours = dock.instrument.layers.colours
    assert colours.is_fast
    fast = canvas.picture()
    colours.set_public()
    settle()
    np.testing.assert_array_equal(canvas.picture(), fast)
