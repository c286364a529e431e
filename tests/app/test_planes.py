"""One imaging plane at a time, and the neurons in space, by real mouse and keys."""

from dataclasses import replace

import numpy as np
import pytest
from qtpy.QtCore import Qt

from omnimouse_app.field.canvas import core_places
from omnimouse_app.field.layer_kinds import layer_of_neurons_without_pixels
from omnimouse_app.field.layers import PLANES, WITHOUT_PIXELS
from omnimouse_app.tour.hand import arc, settle, wait_for
from omnimouse_model.masks import VISIBLE
from omnimouse_widgets.views.field.colours import SELECTED_RIM
from tests.small_sessions import write_session

pytestmark = [pytest.mark.gui, pytest.mark.slow]
CONTROL = Qt.KeyboardModifier.ControlModifier
SHIFT = Qt.KeyboardModifier.ShiftModifier


@pytest.fixture
def layers(dock):
    return dock.instrument.layers


@pytest.fixture
def plane(dock):
    return np.asarray(dock.controller.state.session.units.plane)


def visible_neurons(dock):
    return (dock.controller.state.mask.cells == VISIBLE).any(axis=0)


def first_neuron_of_plane(plane, number):
    return int(np.flatnonzero(plane == number)[0])


def test_a_tile_holds_the_neurons_of_its_plane_and_no_others(dock, layers, plane):
    assert [tile.plane for tile in layers.field.tiles] == sorted({*plane.tolist()})
    for tile in layers.field.tiles:
        y, x = layers.field.centres.T
        inside = (y > tile.top) & (y < tile.bottom) & (x > tile.left) & (x < tile.right)
        np.testing.assert_array_equal(inside, plane == tile.plane)
    words = [dock.controller.planes.label_of(tile.plane) for tile in layers.field.tiles]
    assert layers.by_role[PLANES].text.values.tolist() == words
    assert "µm" in words[0]


def test_the_scale_bar_is_in_micrometres_of_the_cortex_at_any_zoom(dock, canvas, layers, plane):
    scale = dock.viewer.canvas.overlays.scale_bar
    neurons = np.flatnonzero(plane == plane[0])[:2]
    micrometres = dock.controller.state.session.units.xyz_um[neurons, :2]
    centres = layers.field.centres[neurons]
    for number, closer in ((None, 1), (1, 1), (None, 7)):
        dock.controller.planes.show(number)
        dock.viewer.scene.camera.zoom *= closer
        settle()
        bar = dock.viewer.window._qt_viewer.canvas._viewer_overlay_to_visual[scale][0]
        length, unit = bar.node.text.text.split(" ")
        shown = bar.node.line.pos
        on_screen = np.linalg.norm(np.diff(canvas.places(centres), axis=0))
        expected = np.linalg.norm(np.diff(micrometres, axis=0)) / on_screen
        assert scale.visible
        assert unit == "µm"
        assert float(length) / np.ptp(shown[:, 0]) == pytest.approx(expected, rel=0.03)
    dock.controller.planes.show_in_space(True)
    assert not scale.visible
    dock.controller.planes.show_in_space(False)
    assert scale.visible


def test_brush_lasso_and_click_stay_in_the_plane(dock, canvas, hand, layers, plane):
    controller = dock.controller
    controller.editor.apply_preset("nothing")
    controller.selection.select([])
    controller.planes.show(1)
    dock.viewer.reset_view()  # every plane is in reach again
    middle = np.array([canvas.widget.width(), canvas.widget.height()]) / 2
    across = np.linspace(middle - 0.35 * middle.min(), middle + 0.35 * middle.min(), 9)
    dock.instrument.brush.radius = 60.0
    hand.drag(np.round(across))
    assert set(plane[visible_neurons(dock)]) == {1}
    controller.editor.undo()
    assert not visible_neurons(dock).any()
    hand.key(Qt.Key.Key_L)
    reach = 0.7 * middle.min()
    hand.drag(np.round(arc(middle, (reach, reach), (0.0, 6.2), 16)))
    assert set(plane[visible_neurons(dock)]) == {1}
    places = canvas.places(core_places(layers.field))
    for number, expected in ((2, ()), (1, (first_neuron_of_plane(plane, 1),))):
        hand.click(places[first_neuron_of_plane(plane, number)], CONTROL)
        assert controller.state.selection == expected


@pytest.mark.parametrize("in_space", [False, True])
def test_the_neuron_under_the_pointer_does_not_stop_a_smaller_recording(
    dock, layers, tmp_path, in_space
):
    controller, texts = dock.controller, []
    n_neurons = controller.state.session.n_neurons
    controller.planes.show_in_space(in_space)
    at = layers.field.centres[-1]
    points = layers.space.layer

    def describe():  # as napari does when the active layer or the camera changes
        texts.append(points.describe(n_neurons - 1) if in_space else layers.describe_at(*at))

    describe()
    controller.state.events.in_space.connect(describe, priority=1)
    controller.state.events.session.connect(describe, priority=1)
    try:
        controller.loader.open_now(write_session(tmp_path / "small", 12))
    finally:
        controller.state.events.in_space.disconnect(describe)
        controller.state.events.session.disconnect(describe)
    assert controller.state.session.n_neurons == 12
    assert texts[0]
    assert set(texts[1:]) == {""}


def test_one_plane_is_shown_with_its_image(dock, canvas, layers, plane, monkeypatch):
    planes, field = dock.controller.planes, layers.field
    own, other = first_neuron_of_plane(plane, 1), first_neuron_of_plane(plane, 2)
    lost = replace(field, without_pixels=np.array([own, other]))
    crosses = layer_of_neurons_without_pixels(dock.controller.state.session, lost)
    monkeypatch.setattr(layers, "field", lost)
    monkeypatch.setitem(layers.by_role, WITHOUT_PIXELS, crosses)
    dock.controller.selection.select([other])
    planes.show(1)
    layers.draw()
    tile, shown = layers.field.tiles[1], layers.mean.data
    box = [round(side) for side in (tile.top, tile.bottom, tile.left, tile.right)]
    inside = np.zeros(shown.shape, bool)
    inside[slice(*box[:2]), slice(*box[2:])] = True
    np.testing.assert_array_equal(shown[inside], field.mean[inside])
    assert not shown[~inside].any()
    assert inside.mean() > 0.2  # all of its share, not the neurons' alone
    assert [name for name in layers.by_role[PLANES].text.values if name] == [planes.label_of(1)]
    assert layers.colours.rows[[other, len(plane) + other], 3].tolist() == [0, 0]
    assert layers.describe_at(*core_places(field)[other]) == ""
    assert crosses.shown.tolist() == [True, False]
    room = (canvas.widget.width() / 2, canvas.widget.height() / 2)
    np.testing.assert_allclose(canvas.place(tile.centre), room, atol=2)
    planes.show(None)
    np.testing.assert_array_equal(layers.mean.data, field.mean)
    assert all(layers.by_role[PLANES].text.values)
    assert crosses.shown.all()


@pytest.fixture
def points(dock, hand):
    """The neurons in space, which a key has brought up."""
    hand.key(Qt.Key.Key_D, SHIFT)
    assert dock.controller.state.in_space
    settle()
    return dock.instrument.layers.space.layer


def test_space_has_every_neuron_in_the_colours_of_the_field(dock, layers, points):
    controller, n = dock.controller, layers.field.n_neurons
    assert dock.viewer.dims.ndisplay == 3
    places = np.asarray(controller.state.session.units.xyz_um)
    np.testing.assert_allclose(points.data, places[:, ::-1])
    controller.editor.apply_preset("nothing")
    controller.editor.paint([4, 5], VISIBLE)
    controller.selection.select([5])
    layers.draw()
    cores, rims = layers.colours.rows[:n], layers.colours.rows[n:]
    dark_cores = cores[:, :3] * cores[:, 3:]
    np.testing.assert_allclose(points.face_color[:, :3], dark_cores, atol=1e-5)
    np.testing.assert_allclose(points.border_color[5], SELECTED_RIM)
    dark_rim = rims[4, :3] * rims[4, 3:]
    np.testing.assert_allclose(points.border_color[4, :3], dark_rim, atol=1e-5)
    controller.colouring.choose("depth")
    layers.draw()
    np.testing.assert_allclose(points.face_color, layers.colours.rows[:n], atol=1e-5)
    controller.planes.show(2)
    n_looked_at = controller.planes.is_visible.sum()
    wait_for(lambda: points.shown.sum() == n_looked_at, "one plane in space")
