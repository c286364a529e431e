"""Real mouse and key events on the canvas, against the mask and the pixels."""

from itertools import pairwise

import numpy as np
import pytest
from qtpy.QtCore import Qt

from omnimouse_app.brush import HELP
from omnimouse_app.canvas import Canvas, core_places, states_on_screen
from omnimouse_app.colours import LabelColours
from omnimouse_app.hand import Hand, arc, settle, wait_for
from omnimouse_model.masks import HIDDEN, MIXED, TARGET, VISIBLE
from omnimouse_widgets.drawn.field import neurons_inside, neurons_under
from omnimouse_widgets.palette import viridis_table

pytestmark = pytest.mark.gui

CONTROL = Qt.KeyboardModifier.ControlModifier
SHIFT = Qt.KeyboardModifier.ShiftModifier


@pytest.fixture
def canvas(dock):
    return Canvas(dock.viewer, dock.main_window)


@pytest.fixture
def hand(canvas):
    return Hand(canvas.widget)


@pytest.fixture
def field(dock):
    return dock.instrument.layers.field


@pytest.fixture
def circle(canvas):
    width, height = canvas.widget.width(), canvas.widget.height()
    reach = 0.3 * min(width, height)
    path = arc((width / 2, height / 2), (reach, reach), (0.2, 5.5), 30)
    return np.round(path)  # a pointer is at whole pixels


def cells(dock):
    return dock.controller.state.mask.cells


def states(dock):
    state = dock.controller.state
    return state.mask.state_in(state.active_span)


def on_field(dock, canvas, path):
    """Places of a path on the canvas as (y, x) on the field."""
    camera = dock.viewer.scene.camera
    middle = np.array([canvas.widget.width(), canvas.widget.height()]) / 2
    return ((path - middle) / camera.zoom)[:, ::-1] + np.array(camera.center[-2:])


def assert_screen_shows(dock, canvas, field):
    dock.controller.select([])
    settle(0.2)
    shown = states_on_screen(canvas, field)
    seen = shown >= 0
    assert seen.sum() > 0.9 * field.n_neurons
    np.testing.assert_array_equal(shown[seen], states(dock)[seen])


def test_a_stroke_paints_the_neurons_under_it_and_the_screen_shows_their_states(
    dock, canvas, hand, field
):
    dock.controller.apply_preset("nothing")
    dock.instrument.brush.radius = 30.0
    middle = min(canvas.widget.width(), canvas.widget.height()) / 2
    across = np.round(np.linspace([0.4 * middle, middle], [1.6 * middle, middle], 25))
    across += np.round([canvas.widget.width() / 2 - middle, 0])
    for key, code in ((Qt.Key.Key_1, VISIBLE), (Qt.Key.Key_3, TARGET)):
        before = cells(dock).copy()
        hand.key(key)
        path = across if code == VISIBLE else across[:, ::-1]
        hand.drag(path)
        start, stop = dock.controller.state.active_span
        radius = dock.instrument.brush.radius / dock.viewer.scene.camera.zoom
        places = on_field(dock, canvas, path)
        surely, perhaps = set(), set()
        for a, b in pairwise(places):
            surely |= set(neurons_under(field, a, b, radius - 0.05).tolist())
            perhaps |= set(neurons_under(field, a, b, radius + 0.05).tolist())
        changed = cells(dock) != before
        assert len(surely) > 5
        assert set(np.flatnonzero(changed.any(axis=0))) <= perhaps
        assert (cells(dock)[start:stop, sorted(surely)] == code).all()
        assert not changed[:start].any()
        assert not changed[stop:].any()
        assert_screen_shows(dock, canvas, field)


def test_mixed_states_are_shown_as_mixed(dock, canvas, field):
    dock.controller.apply_preset("nothing")
    dock.controller.set_brush(VISIBLE)
    dock.controller.paint_cells([0, 3, 5], slice(0, 20), VISIBLE)
    settle(0.1)
    assert (states(dock)[[0, 3, 5]] == MIXED).all()
    assert_screen_shows(dock, canvas, field)


def test_undo_and_redo_keys_give_back_the_mask_and_the_pixels(
    dock, canvas, hand, field, circle
):
    dock.controller.apply_preset("nothing")
    hand.key(Qt.Key.Key_1)
    before = cells(dock).copy()
    hand.drag(circle)
    painted = cells(dock).copy()
    hand.key(Qt.Key.Key_Z, CONTROL)
    np.testing.assert_array_equal(cells(dock), before)
    assert_screen_shows(dock, canvas, field)
    hand.key(Qt.Key.Key_Z, CONTROL | SHIFT)
    np.testing.assert_array_equal(cells(dock), painted)
    assert_screen_shows(dock, canvas, field)


def test_the_lasso_paints_the_neurons_inside(dock, canvas, hand, field, circle):
    dock.controller.apply_preset("nothing")
    hand.key(Qt.Key.Key_L)
    assert dock.instrument.brush.tool == "lasso"
    hand.drag(circle)
    inside = neurons_inside(field, on_field(dock, canvas, circle))
    visible = np.flatnonzero((cells(dock) == VISIBLE).all(axis=0))
    assert len(inside) > 10
    np.testing.assert_array_equal(visible, inside)
    names = [layer.name for layer in dock.viewer.layers]
    assert "OmniMouse · lasso" not in names


def test_a_lasso_in_3d_raises_nothing_and_leaves_no_layer(dock, hand, circle):
    viewer = dock.viewer
    hand.key(Qt.Key.Key_L)
    before = len(viewer.layers)
    viewer.dims.ndisplay = 3
    try:
        settle(0.2)
        hand.drag(circle)
        assert len(viewer.layers) == before
    finally:
        viewer.dims.ndisplay = 2
        settle(0.2)


def test_control_click_selects_and_with_shift_adds_and_takes_away(
    dock, canvas, hand, field
):
    before = cells(dock).copy()
    places = canvas.places(core_places(field)[[10, 20]])
    hand.click(places[0], CONTROL)
    assert dock.controller.state.selection == (10,)
    hand.click(places[1], CONTROL | SHIFT)
    assert dock.controller.state.selection == (10, 20)
    hand.click(places[0], CONTROL | SHIFT)
    assert dock.controller.state.selection == (20,)
    np.testing.assert_array_equal(cells(dock), before)


def test_without_a_tool_a_drag_pans_and_a_click_selects(
    dock, canvas, hand, field, circle
):
    hand.key(Qt.Key.Key_P)
    assert dock.instrument.brush.tool == "select"
    hand.click(canvas.place(core_places(field)[30]))
    assert dock.controller.state.selection == (30,)
    before, centre = cells(dock).copy(), dock.viewer.scene.camera.center
    hand.drag(circle[:12])
    assert dock.viewer.scene.camera.center != centre
    np.testing.assert_array_equal(cells(dock), before)
    hand.key(Qt.Key.Key_P)
    assert dock.instrument.brush.tool == "brush"


def test_brackets_change_the_radius_in_screen_pixels(dock, hand):
    brush = dock.instrument.brush
    before = brush.radius
    hand.key(Qt.Key.Key_BracketRight)
    assert brush.radius > before
    assert dock.viewer.cursor.size == pytest.approx(2 * brush.radius)
    hand.key(Qt.Key.Key_BracketLeft)
    assert brush.radius == pytest.approx(before)


def test_a_click_paints_what_the_ring_on_the_screen_covers(dock, canvas, hand, field):
    dock.controller.apply_preset("nothing")
    centre = np.round(canvas.place(core_places(field)[40]))
    hand.click(centre)
    near = set(np.flatnonzero((cells(dock) == VISIBLE).any(axis=0)).tolist())
    radius = dock.instrument.brush.radius / dock.viewer.scene.camera.zoom
    place = on_field(dock, canvas, centre[None])[0]
    assert set(neurons_under(field, place, place, radius - 0.05)) <= near
    assert near <= set(neurons_under(field, place, place, radius + 0.05))


def test_space_lends_the_drag_to_the_camera(dock, canvas, hand, circle):
    from qtpy.QtTest import QTest

    before, centre = cells(dock).copy(), dock.viewer.scene.camera.center
    QTest.keyPress(canvas.widget, Qt.Key.Key_Space)
    hand.drag(circle[:12])
    QTest.keyRelease(canvas.widget, Qt.Key.Key_Space)
    np.testing.assert_array_equal(cells(dock), before)
    assert dock.viewer.scene.camera.center != centre
    hand.drag(circle)
    assert (cells(dock) != before).any()


def test_holding_h_shows_the_mean_image_alone(dock, canvas, field):
    from qtpy.QtTest import QTest

    dock.controller.select([])
    dock.controller.apply_preset("nothing")
    dock.controller.paint(range(field.n_neurons), VISIBLE)
    settle(0.2)
    QTest.keyPress(canvas.widget, Qt.Key.Key_H)
    settle(0.1)
    colours = canvas.colours(core_places(field)).astype(int)
    assert np.ptp(colours, axis=1).max() <= 3  # grey
    QTest.keyRelease(canvas.widget, Qt.Key.Key_H)
    settle(0.1)
    colours = canvas.colours(core_places(field)).astype(int)
    assert np.median(colours[:, 2] - colours[:, 0]) > 60  # sky blue
    neurons = dock.instrument.layers.neurons
    neurons.opacity = 0.5
    QTest.keyPress(canvas.widget, Qt.Key.Key_H)
    assert neurons.opacity == 0.0
    QTest.keyRelease(canvas.widget, Qt.Key.Key_H)
    assert neurons.opacity == 0.5
    neurons.opacity = 1.0


def test_a_question_mark_shows_the_keys(dock, canvas):
    from qtpy.QtTest import QTest
    from qtpy.QtWidgets import QApplication, QMessageBox

    def shown():
        tops = QApplication.topLevelWidgets()
        return [w for w in tops if isinstance(w, QMessageBox) and w.isVisible()]

    QTest.keyClicks(canvas.widget, "?")
    (box,) = shown()
    assert "paint visible" in box.text()
    box.close()
    settle()
    assert not shown()


def test_c_colours_by_score_from_the_table_of_viridis(dock, canvas, hand, field):
    controller = dock.controller
    controller.select([])
    hand.key(Qt.Key.Key_C)
    wait_for(lambda: controller.results.population_freshness == "fresh", "scores")
    settle(0.2)
    scores = controller.results.scores
    known = np.flatnonzero(np.isfinite(scores))
    assert len(known) > 20
    shown = canvas.colours(core_places(field)[known]).astype(int)
    steps = (np.clip(scores[known], 0, 1) * 255).round().astype(int)
    assert np.abs(shown - viridis_table()[steps]).max() <= 4
    hand.key(Qt.Key.Key_C)
    assert controller.state.colour_by == "state"


def test_the_fast_way_and_the_public_way_give_the_same_pixels(
    dock, canvas, hand, circle
):
    hand.key(Qt.Key.Key_1)
    hand.drag(circle)
    settle(0.1)
    colours = dock.instrument.layers.colours
    assert colours.is_fast
    fast = canvas.picture()
    colours.set_public()
    settle(0.2)
    np.testing.assert_array_equal(canvas.picture(), fast)


def test_the_fast_way_survives_what_rebuilds_the_texture(dock, canvas, field):
    layer = dock.instrument.layers.neurons
    dock.controller.apply_preset("nothing")
    dock.controller.paint([1, 2, 3], VISIBLE)
    settle(0.1)
    layer.visible = False
    layer.visible = True
    layer.contour = 1
    layer.contour = 0
    dock.viewer.dims.ndisplay = 3
    settle(0.2)
    dock.viewer.dims.ndisplay = 2
    settle(0.2)
    dock.viewer.reset_view()
    dock.controller.paint([7, 8, 9], VISIBLE)
    settle(0.2)
    assert_screen_shows(dock, canvas, field)


def test_colours_go_the_public_way_where_napari_has_changed(
    dock, canvas, field, monkeypatch
):
    def gone(self, labels):
        raise AttributeError("no such texture")

    monkeypatch.setattr(LabelColours, "_write_texture", gone)
    dock.controller.apply_preset("nothing")
    dock.controller.paint(range(0, field.n_neurons, 2), TARGET)
    settle(0.3)
    assert not dock.instrument.layers.colours.is_fast
    assert_screen_shows(dock, canvas, field)


def test_the_status_bar_says_what_is_painted_and_in_which_samples(dock, canvas, hand):
    field, layer = dock.instrument.layers.field, dock.instrument.layers.neurons
    dock.controller.apply_preset("nothing")
    hand.key(Qt.Key.Key_3)
    assert layer.help.startswith("paints target in samples 30-60")
    assert dock.viewer.help == layer.help
    dock.instrument.brush.radius = 3.0
    at = np.round(canvas.place(core_places(field)[12]))
    hand.drag([at, at + 1])
    n = int(dock.controller.state.mask.target.any(axis=0).sum())
    told = "1 neuron" if n == 1 else f"{n} neurons"
    assert n > 0
    assert layer.help == f"painted {told} × 30 samples target (30-60)"


def test_the_status_bar_tells_the_newest_change_wherever_it_was_made(dock, hand):
    controller, layer = dock.controller, dock.instrument.layers.neurons
    controller.apply_preset("nothing")
    assert layer.help == "Nothing · Ctrl+Z undoes it"
    with controller.stroke():  # as the raster paints
        controller.paint_cells([3, 4], slice(0, 20), VISIBLE)
        assert layer.help == "Nothing · Ctrl+Z undoes it"
        controller.paint_cells([5], slice(0, 20), VISIBLE)
    assert layer.help == "Paint 3 neurons visible · Ctrl+Z undoes it"
    controller.undo()
    assert layer.help == "undone: Paint 3 neurons visible"
    controller.redo()
    assert layer.help == dock.viewer.help == "redone: Paint 3 neurons visible"


def test_the_status_bar_follows_the_tool_and_the_samples_at_once(dock, hand):
    controller, layer = dock.controller, dock.instrument.layers.neurons
    dock.instrument.brush.tool = "brush"
    hand.key(Qt.Key.Key_1)
    controller.set_active_span(10, 40)
    assert dock.viewer.help.startswith("paints visible in samples 10-40")
    hand.key(Qt.Key.Key_P)
    assert dock.viewer.help == layer.help == HELP["select"]
    controller.set_active_span(0, 60)
    assert dock.viewer.help == HELP["select"]


def test_the_status_bar_says_which_neuron_is_under_the_pointer(dock, canvas, hand):
    field = dock.instrument.layers.field
    dock.controller.apply_preset("nothing")
    dock.controller.paint([12], HIDDEN)
    wait_for(lambda: dock.controller.results.scores is None, "no scores")
    units = dock.controller.state.session.units
    depth, area, name = units.xyz_um[12, 2], units.area[12], units.unit_id[12]
    assert name != 12
    y, x = core_places(field)[12]
    words = dock.instrument.layers.describe_at(y, x)
    assert words == f"neuron {name} · hidden · {area} · depth {depth:.0f} µm"
    at = canvas.place((y, x))
    hand.move(at, held=False)
    dock.viewer.mouse_over_canvas = True
    dock.viewer.update_status_from_cursor()
    shown = dock.viewer.status
    assert words in (shown if isinstance(shown, str) else shown["coordinates"])
