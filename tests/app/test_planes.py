"""One imaging plane at a time, and the neurons in space, by real mouse and keys."""

from dataclasses import replace

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from omnimouse_app import commands
from omnimouse_app.canvas import Canvas, core_places
from omnimouse_app.hand import Hand, arc, settle, wait_for
from omnimouse_app.layer_kinds import lost_layer
from omnimouse_app.tiles import Tile, label_layer
from omnimouse_model.masks import HIDDEN, VISIBLE
from omnimouse_widgets.drawn.field import neurons_at
from omnimouse_widgets.drawn.neuron_colours import SELECTED_RIM

pytestmark = pytest.mark.gui
CONTROL = Qt.KeyboardModifier.ControlModifier
SHIFT = Qt.KeyboardModifier.ShiftModifier


@pytest.fixture
def canvas(dock):
    yield Canvas(dock.viewer, dock.main_window)
    dock.controller.planes.show_in_space(False)
    dock.controller.planes.show(None)


@pytest.fixture
def hand(canvas):
    return Hand(canvas.widget)


@pytest.fixture
def layers(dock):
    return dock.instrument.layers


@pytest.fixture
def plane(dock):
    return np.asarray(dock.controller.state.session.units.plane)


def view(dock):
    camera = dock.viewer.scene.camera
    return (camera.zoom, *camera.center)


def visible(dock):
    return (dock.controller.state.mask.cells == VISIBLE).any(axis=0)


def test_a_tile_holds_the_neurons_of_its_plane_and_no_others(dock, layers, plane):
    assert [tile.plane for tile in layers.tiles] == sorted({*plane.tolist()})
    for tile in layers.tiles:
        y, x = layers.field.centres.T
        inside = (y > tile.top) & (y < tile.bottom) & (x > tile.left) & (x < tile.right)
        np.testing.assert_array_equal(inside, plane == tile.plane)
    (labels,) = (one for one in dock.viewer.layers if one.name == "OmniMouse · planes")
    words = [dock.controller.planes.words_of(tile.plane) for tile in layers.tiles]
    assert labels.text.values.tolist() == words
    assert "µm" in words[0]


def test_planes_over_each_other_have_their_names_in_one_corner():
    tiles = (Tile(0, 0, 0, 50, 50), Tile(1, 10, 10, 60, 60))
    labels = label_layer(tiles, "plane {}".format)
    assert labels.text.values.tolist() == ["plane 0\nplane 1"]
    assert Tile(2, 0, 50, 50, 100).overlaps(tiles[1])
    assert not Tile(2, 0, 50, 50, 100).overlaps(tiles[0])


def test_keys_step_through_the_planes_and_back_to_the_whole_field(
    dock, canvas, hand, layers, plane
):
    menu, whole = dock.control.view.place.plane, view(dock)
    dock.control.scroll_area.ensureWidgetVisible(menu)
    for number in dock.controller.planes.numbers:
        hand.key(Qt.Key.Key_PageDown, Qt.KeyboardModifier.AltModifier)
        assert dock.controller.planes.shown == number
        wait_for(lambda n=number: menu.currentData() == n, "the menu", 10)
        tile = layers.tiles[number]
        corners = [(tile.top, tile.left), (tile.bottom, tile.right)]
        (left, top), (right, bottom) = canvas.places(np.array(corners))
        assert left > 0
        assert top > 0
        assert right < canvas.widget.width()
        assert bottom < canvas.widget.height()
        assert view(dock)[0] > 1.5 * whole[0]
    hand.key(Qt.Key.Key_PageDown, Qt.KeyboardModifier.AltModifier)
    assert dock.controller.planes.shown is None
    assert view(dock) == pytest.approx(whole)


def test_brush_lasso_and_click_leave_other_planes_alone(
    dock, canvas, hand, layers, plane
):
    dock.controller.apply_preset("nothing")
    dock.controller.select([])
    dock.controller.planes.show(1)
    dock.viewer.reset_view()  # every plane is in reach again
    settle(0.1)
    middle = np.array([canvas.widget.width(), canvas.widget.height()]) / 2
    across = np.linspace(middle - 0.35 * middle.min(), middle + 0.35 * middle.min(), 20)
    dock.instrument.brush.radius = 60.0
    hand.drag(np.round(across))
    assert set(plane[visible(dock)]) == {1}
    dock.controller.undo()
    assert not visible(dock).any()
    hand.key(Qt.Key.Key_L)
    reach = 0.7 * middle.min()
    hand.drag(np.round(arc(middle, (reach, reach), (0.0, 6.2), 30)))
    assert set(plane[visible(dock)]) == {1}
    settle(0.2)  # the lasso is gone from the screen
    places = canvas.places(core_places(layers.field))
    hand.click(places[np.flatnonzero(plane == 2)[0]], CONTROL)
    assert dock.controller.state.selection == ()
    own = int(np.flatnonzero(plane == 1)[0])
    hand.click(places[own], CONTROL)
    assert dock.controller.state.selection == (own,)


def test_one_plane_is_shown_with_its_image_and_name_and_nothing_of_the_others(
    dock, canvas, layers, plane
):
    dock.controller.select([int(np.flatnonzero(plane == 2)[0])])
    dock.controller.planes.show(1)
    settle(0.3)
    tile, mean = layers.tiles[1], layers.field.mean
    shown = layers.mean.data
    inside = np.zeros(shown.shape, bool)
    top, left, bottom, right = map(
        round, (tile.top, tile.left, tile.bottom, tile.right)
    )
    inside[top:bottom, left:right] = True
    np.testing.assert_array_equal(shown[inside], mean[inside])
    assert not shown[~inside].any()
    assert inside.mean() > 0.2  # all of its share, not the neurons' alone
    words = dock.controller.planes.words_of(1)
    assert [name for name in layers.names.text.values if name] == [words]
    other = int(np.flatnonzero(plane == 2)[0])
    assert layers.colours.rows[[other, len(plane) + other], 3].tolist() == [0, 0]
    y, x = core_places(layers.field)[other]
    assert layers.describe_at(y, x) == ""
    middle = canvas.place(tile.centre)
    room = (canvas.widget.width() / 2, canvas.widget.height() / 2)
    np.testing.assert_allclose(middle, room, atol=2)
    dock.controller.planes.show(None)
    np.testing.assert_array_equal(layers.mean.data, mean)
    assert all(layers.names.text.values)


def test_crosses_of_other_planes_are_gone_too(dock, layers, plane, monkeypatch):
    one, other = (int(np.flatnonzero(plane == number)[0]) for number in (1, 2))
    field = replace(layers.field, lost=np.array([one, other]))
    crosses = lost_layer(dock.controller.state.session, field)
    ids = dock.controller.state.session.units.unit_id
    assert crosses.features["neuron"].tolist() == ids[[one, other]].tolist()
    monkeypatch.setattr(layers, "field", field)
    monkeypatch.setattr(layers, "lost", crosses)
    dock.controller.planes.show(1)
    assert crosses.shown.tolist() == [True, False]
    dock.controller.planes.show(None)
    assert crosses.shown.all()


def test_areas_of_other_planes_are_not_outlined(dock, layers):
    controller, outlines = dock.controller, layers.areas
    controller.colouring.outline_areas(True)
    wait_for(lambda: outlines.layer is not None, "the outlines", 20)
    controller.planes.show(1)
    tile = layers.tiles[1]
    places = np.array([path.mean(axis=0) for path in outlines.layer.data])
    inside = (places > (tile.top, tile.left)) & (places < (tile.bottom, tile.right))
    own = inside.all(axis=1)
    assert 0 < own.sum() < len(own)
    np.testing.assert_array_equal(outlines.layer.edge_color[:, 3], own)
    words = np.array(outlines.layer.text.values)
    assert not words[~own].astype(bool).any()
    assert words[own].astype(bool).any()
    controller.planes.show(None)
    assert (outlines.layer.edge_color[:, 3] == 1).all()
    controller.colouring.outline_areas(False)


def test_neurons_of_other_planes_are_gone_by_the_fast_way(dock, canvas, layers, plane):
    dock.controller.select([])
    dock.controller.apply_preset("nothing")
    dock.controller.paint(range(len(plane)), VISIBLE)
    layers.draw()
    before = layers.colours.rows[: len(plane), 3].copy()
    menu = dock.control.view.place.plane
    dock.control.scroll_area.ensureWidgetVisible(menu)
    menu.setFocus()
    QTest.keyClick(menu, Qt.Key.Key_Down)
    assert dock.controller.planes.shown == 0
    rows = layers.colours.rows[: len(plane)]
    wait_for(lambda: rows[plane != 0, 3].max() == 0, "one plane", 10)
    after = layers.colours.rows[: len(plane), 3]
    np.testing.assert_allclose(after[plane == 0], before[plane == 0])
    assert before.min() > 0
    assert layers.colours.is_fast


def enter(dock, hand):
    hand.key(Qt.Key.Key_D, SHIFT)
    assert dock.controller.state.in_space
    settle(0.3)
    return dock.instrument.layers.space.layer


def test_space_has_every_neuron_at_its_place_in_the_colours_of_the_field(
    dock, canvas, hand, layers
):
    dock.controller.apply_preset("nothing")
    points = enter(dock, hand)
    assert dock.viewer.dims.ndisplay == 3
    places = np.asarray(dock.controller.state.session.units.xyz_um)
    np.testing.assert_allclose(points.data, places[:, ::-1])
    dock.controller.paint([4, 5], VISIBLE)
    dock.controller.select([5])
    settle(0.3)
    n = layers.field.n_neurons
    cores, rims = layers.colours.rows[:n], layers.colours.rows[n:]
    np.testing.assert_allclose(points.face_color[:, :3], cores[:, :3] * cores[:, 3:],
                               atol=1e-5)  # fmt: skip
    np.testing.assert_allclose(points.border_color[5], SELECTED_RIM)
    np.testing.assert_allclose(points.border_color[4, :3], rims[4, :3] * rims[4, 3:],
                               atol=1e-5)  # fmt: skip
    dock.controller.set_colour_by("depth")
    settle(0.3)
    np.testing.assert_allclose(points.face_color, layers.colours.rows[:n], atol=1e-5)
    dock.controller.planes.show(2)
    n_looked_at = dock.controller.planes.looked_at.sum()
    wait_for(lambda: points.shown.sum() == n_looked_at, "one plane in space", 10)


def test_space_has_axes_in_micrometres_and_moves_no_dock(dock, canvas, hand, layers):
    dock.main_window.resize(1280, 720)
    settle(0.5)
    before = [one.geometry() for one in dock.docks.values()]
    points = enter(dock, hand)
    assert dock.main_window.minimumSizeHint().height() <= 720
    assert [one.geometry() for one in dock.docks.values()] == before
    low, high = points.data.min(axis=0), points.data.max(axis=0)
    depth, y, x = layers.space.axes.text.values
    assert depth == f"depth {low[0]:.0f} to {high[0]:.0f} µm"
    assert (y, x) == tuple(
        f"{n} {high[a] - low[a]:.0f} µm" for a, n in ((1, "y"), (2, "x"))
    )
    hand.key(Qt.Key.Key_D, SHIFT)
    settle(0.3)
    assert layers.space.axes is None
    assert not [one for one in dock.viewer.layers if one.name == "OmniMouse · axes"]


def test_a_click_in_space_selects_and_the_status_bar_says_whom(dock, canvas, hand):
    points = enter(dock, hand)
    dock.controller.select([])
    middle = canvas.widget.width() / 2, canvas.widget.height() / 2
    seen = points.data.mean(axis=0)
    nearest = int(((points.data - seen) ** 2).sum(axis=1).argmin())
    dock.viewer.scene.camera.center = tuple(points.data[nearest])
    settle(0.2)
    hand.click(middle)
    (chosen,) = dock.controller.state.selection
    ahead = np.asarray(dock.viewer.scene.camera.view_direction)
    off = points.data[chosen] - points.data[nearest]
    across = off - ahead * (off @ ahead)
    assert np.hypot.reduce(across) <= points.size[0] / 2
    words = points.get_status(
        tuple(points.data[nearest]), view_direction=ahead, dims_displayed=[0, 1, 2],
        world=True,
    )  # fmt: skip
    units = dock.controller.state.session.units
    assert words.startswith(f"neuron {units.unit_id[chosen]} · ")
    hand.drag([(30, 30), (60, 40), (90, 60)])
    assert dock.controller.state.selection == (chosen,)


def test_back_from_space_everything_is_as_it_was(dock, canvas, hand, layers):
    layers.mean.visible = False
    dock.viewer.scene.camera.zoom *= 1.7
    enter(dock, hand)
    hand.key(Qt.Key.Key_D, SHIFT)
    settle(0.3)
    before = state_of_viewer(dock)
    enter(dock, hand)
    assert not layers.neurons.visible
    dock.viewer.dims.ndisplay = 2  # napari's own button
    settle(0.3)
    assert not dock.controller.state.in_space
    assert state_of_viewer(dock) == before
    assert before[-1] is layers.neurons
    layers.mean.visible = True
    dock.controller.apply_preset("nothing")
    dock.controller.paint([3], VISIBLE)
    hand.click(canvas.place(core_places(layers.field)[3]), CONTROL)
    assert dock.controller.state.selection == (3,)


def state_of_viewer(dock):
    viewer = dock.viewer
    shown = [(layer.name, layer.visible) for layer in viewer.layers]
    camera = tuple(np.round(view(dock), 6))
    return (viewer.dims.ndim, viewer.dims.ndisplay, camera, shown,
            viewer.layers.selection.active)  # fmt: skip


def test_without_depth_the_button_says_why(dock, monkeypatch):
    place = dock.control.view.place
    monkeypatch.setattr(type(dock.controller.planes), "why_flat", "No depth is known.")
    place.draw()
    button = place.space.button(True)
    assert not button.isEnabled()
    assert button.toolTip() == "No 3-D: No depth is known."
    monkeypatch.undo()
    place.draw()
    assert button.isEnabled()


def test_clicking_again_walks_through_neurons_over_each_other(
    dock, canvas, hand, layers
):
    y, x = core_places(layers.field)[10].astype(int)
    pixel = y * layers.field.labels.shape[1] + x
    field = replace(
        layers.field, covered_at=np.full(2, pixel), covered_by=np.array([20, 30])
    )
    over = neurons_at(field, y, x).tolist()
    assert over == [10, 20, 30]
    dock.instrument.brush.attach(layers.neurons, field)
    dock.controller.select([])
    dock.viewer.scene.camera.center = (float(y), float(x))
    dock.viewer.scene.camera.zoom = 12
    settle(0.1)
    at, found = np.round(canvas.place((y, x))), []
    for _ in range(len(over) + 1):
        hand.click(at, CONTROL)
        found.append(dock.controller.state.selection)
        settle(0.5)  # no double click
    dock.instrument.brush.attach(layers.neurons, layers.field)
    assert found == [(neuron,) for neuron in [*over, over[0]]]


def test_the_command_of_the_filter_leads_to_it_and_its_rows_are_painted(dock):
    dock.controller.apply_preset("nothing")
    dock.bring_up("Traces")
    commands.filter_neurons()
    panel = dock.panels["Neurons"]
    assert dock.main_window.focusWidget() is panel.filter
    settle(0.2)
    assert not panel.visibleRegion().isEmpty()
    QTest.keyClicks(panel.filter, "plane=1")
    QTest.keyClick(panel.filter, Qt.Key.Key_Return)
    plane = np.asarray(dock.controller.state.session.units.plane)
    wait_for(lambda: len(panel.table.neurons) == (plane == 1).sum(), "rows", 10)
    panel.paint.click()
    painted = (dock.controller.state.mask.cells != HIDDEN).any(axis=0)
    np.testing.assert_array_equal(painted, plane == 1)
    panel.filter.clear()
    QTest.keyClick(panel.filter, Qt.Key.Key_Return)
    dock.bring_up("Traces")
