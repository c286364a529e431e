"""Neurons coloured by their numbers: the pixels, the rims of the states, the legend."""

from time import thread_time

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from omnimouse_app.canvas import Canvas, core_places
from omnimouse_app.hand import Hand, settle, wait_for
from omnimouse_model.masks import TARGET, VISIBLE
from omnimouse_widgets.drawn.neuron_colours import score_colours
from omnimouse_widgets.palette import VISIBLE as BLUE
from omnimouse_widgets.palette import area_table, rgb, viridis_table

pytestmark = pytest.mark.gui


@pytest.fixture
def canvas(dock):
    dock.controller.select([])
    return Canvas(dock.viewer, dock.main_window)


def pick(dock, name):
    """Choose in the menu as a user does: its key, and the arrows."""
    menu = dock.control.view.colour_by
    dock.control.scroll_area.ensureWidgetVisible(menu)
    menu.setFocus()
    steps = menu.findData(name) - menu.currentIndex()
    for _ in range(abs(steps)):
        QTest.keyClick(menu, Qt.Key.Key_Down if steps > 0 else Qt.Key.Key_Up)
    settle(0.3)
    assert dock.controller.state.colour_by == name


def wait_for_cores(canvas, field, wanted):
    """Until every neuron's core has its colour on screen."""

    def differ():
        shown = canvas.colours(core_places(field)).astype(int)
        return np.abs(shown - wanted).max()

    wait_for(lambda: differ() <= 4, "the colours of the cores", 20)


def test_depth_colours_the_cores_and_states_the_rims_of_those_not_asked(dock, canvas):
    controller, field = dock.controller, dock.instrument.layers.field
    controller.apply_preset("nothing")
    half = field.n_neurons // 2
    controller.paint_cells(range(half), slice(0, 60), VISIBLE)
    controller.paint_cells(range(half, field.n_neurons), slice(0, 60), TARGET)
    pick(dock, "depth")
    scale = controller.colouring.scale
    steps = (scale.shares * 255).round().astype(int)
    wait_for_cores(canvas, field, viridis_table()[steps])
    colours = dock.instrument.layers.colours.rows[field.n_neurons :, :3]
    np.testing.assert_allclose(colours[0] * 255, rgb(BLUE), atol=0.5)
    wanted = viridis_table()[steps]
    np.testing.assert_allclose(colours[-1] * 255, wanted[-1], atol=0.5)
    last = field.n_neurons - 1
    dock.viewer.scene.camera.center = tuple(field.centres[last])
    dock.viewer.scene.camera.zoom = 12
    settle(0.2)
    rim = np.argwhere(field.labels == field.n_neurons + last + 1)
    np.testing.assert_allclose(canvas.colours(rim), [wanted[-1]] * len(rim), atol=4)
    legend = dock.control.view.legend
    assert legend.bar.isVisible()
    assert legend.states.isVisible()
    assert legend.no_outline.isVisible()  # what is asked has the number's colour alone
    assert legend.selected.isVisible()
    assert legend.bar.ends == scale.ends


def test_scores_are_brighter_than_any_ring_but_that_of_the_selected(dock):
    states = np.array([VISIBLE, TARGET, TARGET], np.uint8)
    scores = np.array([np.nan, 0.0, np.nan], np.float32)
    core, rim = score_colours(scores, states)
    light = (rim[:, :3].mean(axis=1) * rim[:, 3]).round(3)
    scored = core[1, :3].max() * core[1, 3]
    assert light[0] < scored
    assert light[2] < light[0]
    pick(dock, "score")
    legend = dock.control.view.legend
    for label in (legend.given, legend.unscored, legend.selected):
        assert label.isVisible()
    assert not legend.states.isVisible()
    pick(dock, "state")
    assert legend.states.isVisible()
    assert legend.selected.isVisible()
    assert not legend.given.isVisible()
    assert not legend.no_outline.isVisible()


def test_areas_have_the_colours_of_their_swatches(dock, canvas):
    controller, field = dock.controller, dock.instrument.layers.field
    pick(dock, "area")
    area = controller.state.session.units.area
    words = controller.colouring.scale.words
    table = area_table(len(words))
    wait_for_cores(canvas, field, table[[words.index(str(name)) for name in area]])
    legend = dock.control.view.legend
    assert legend.swatches.isVisible()
    assert not legend.bar.isVisible()


def test_why_there_is_no_ceiling_is_said_under_the_menu(dock, canvas):
    pick(dock, "ceiling")
    wait_for(lambda: dock.controller.colouring.words.startswith("No clip"), "the words")
    settle(0.1)
    legend = dock.control.view.legend
    assert legend.notice.isVisible()
    assert "No clip was shown twice" in legend.notice.text()
    Hand(canvas.widget).key(Qt.Key.Key_C)
    assert dock.controller.state.colour_by == "state"
    settle(0.1)
    assert not legend.notice.isVisible()


def test_a_stroke_under_a_number_takes_the_fast_way(dock, canvas):
    controller, layers = dock.controller, dock.instrument.layers
    controller.set_colour_by("depth")
    layers.draw()
    taken = []
    for number in range(20):
        controller.paint_cells(range(10), slice(0, 60), 1 + number % 2)
        since = thread_time()
        layers.draw()
        taken.append(thread_time() - since)
    assert layers.colours.is_fast
    assert np.median(taken) < 0.01


def test_areas_are_outlined_with_their_names_in_their_colours(dock, canvas):
    layers = dock.instrument.layers
    hand, box = Hand(canvas.widget), dock.control.view.areas
    dock.control.scroll_area.ensureWidgetVisible(box)
    hand.key(Qt.Key.Key_A)
    assert dock.controller.state.areas_shown
    wait_for(lambda: layers.areas.layer is not None, "the outlines", 20)
    settle(0.3)
    area = dock.controller.state.session.units.area
    assert box.isChecked()
    assert set(layers.areas.layer.features["area"]) - {""} == set(area.tolist())
    assert dock.viewer.layers.selection.active is layers.neurons
    words = sorted(set(area.tolist()))
    at = words.index(str(layers.areas.layer.features["area"][0]))
    place = layers.areas.layer.data[0][:2].mean(axis=0)
    shown = canvas.colours(place[None])[0].astype(int)
    assert np.abs(shown - area_table(len(words))[at]).max() < 9
    layers.areas.layer.visible = False
    settle(0.1)
    assert not dock.controller.state.areas_shown
    assert not box.isChecked()
    hand.key(Qt.Key.Key_A)
    assert layers.areas.layer.visible
    hand.key(Qt.Key.Key_A)
    assert not layers.areas.layer.visible


def test_three_d_leaves_the_switch_of_the_areas_alone(dock):
    controller, layers = dock.controller, dock.instrument.layers
    controller.colouring.outline_areas(True)
    wait_for(lambda: layers.areas.layer is not None, "the outlines", 20)
    controller.planes.show_in_space(True)
    settle(0.2)
    assert not layers.areas.layer.visible
    assert controller.state.areas_shown
    assert dock.control.view.areas.isChecked()
    controller.planes.show_in_space(False)
    assert layers.areas.layer.visible
    controller.planes.show_in_space(True)
    controller.colouring.outline_areas(False)
    controller.planes.show_in_space(False)
    assert not layers.areas.layer.visible
    assert not controller.state.areas_shown
    controller.planes.show_in_space(True)
    controller.colouring.outline_areas(True)
    assert not layers.areas.layer.visible
    controller.planes.show_in_space(False)
    assert layers.areas.layer.visible
    controller.colouring.outline_areas(False)


def test_outlines_found_in_three_d_wait_for_the_field(dock):
    controller, layers, viewer = dock.controller, dock.instrument.layers, dock.viewer
    if layers.areas.layer in viewer.layers:
        viewer.layers.remove(layers.areas.layer)
    layers.areas.forget()
    controller.colouring.outline_areas(True)
    controller.planes.show_in_space(True)
    wait_for(lambda: not layers.areas.errand.is_busy, "the outlines", 20)
    settle(0.1)
    ours = [x for x in viewer.layers if x.visible]
    assert ours == [layers.space.layer, layers.space.axes]
    assert viewer.layers.selection.active is layers.space.layer
    controller.planes.show_in_space(False)
    assert layers.areas.layer.visible
    assert viewer.layers.selection.active is layers.neurons
    controller.colouring.outline_areas(False)


def test_g_grows_what_is_painted_and_the_buttons_do_the_same(dock, canvas):
    controller, section = dock.controller, dock.control.brush
    controller.apply_preset("nothing")
    controller.paint_cells([20], slice(0, 60), VISIBLE)
    hand = Hand(canvas.widget)
    dock.control.scroll_area.ensureWidgetVisible(section.reach)
    settle(0.2)
    section.reach.setFocus()
    section.reach.selectAll()
    QTest.keyClicks(section.reach, "80")
    QTest.keyClick(section.reach, Qt.Key.Key_Return)
    assert controller.reaching.distance == 80
    before = controller.state.mask.cells
    hand.key(Qt.Key.Key_G)
    xyz = controller.state.session.units.xyz_um.astype(float)
    near = np.linalg.norm(xyz - xyz[20], axis=1) <= 80
    assert near.sum() > 1
    visible = controller.state.mask.state_in((0, 60)) == VISIBLE
    np.testing.assert_array_equal(visible, near)
    settle(0.1)
    QTest.mouseClick(section.undo, Qt.MouseButton.LeftButton)
    np.testing.assert_array_equal(controller.state.mask.cells, before)
    settle(0.1)
    QTest.mouseClick(section.grow, Qt.MouseButton.LeftButton)
    assert (controller.state.mask.state_in((0, 60)) == VISIBLE).sum() == near.sum()
