"""Neurons coloured by their numbers: the pixels, the rims of the states, the legend."""

import numpy as np
import pytest

from omnimouse_app.field.canvas import core_places
from omnimouse_app.tour.hand import wait_for
from omnimouse_model.masks import TARGET, VISIBLE
from omnimouse_widgets.palette import VISIBLE as BLUE
from omnimouse_widgets.palette import rgb, viridis_table

pytestmark = [pytest.mark.gui, pytest.mark.slow]


@pytest.fixture
def canvas(dock, canvas):
    dock.controller.selection.select([])
    return canvas


@pytest.fixture
def outlines(dock):
    """The layer of the areas' outlines, shown."""
    dock.controller.colouring.outline_areas(True)
    areas = dock.instrument.layers.areas
    wait_for(lambda: areas.layer is not None and areas.layer.visible, "outlines")
    yield areas.layer
    dock.controller.colouring.outline_areas(False)


def wait_for_colours(canvas, places, wanted):
    """Wait until every position on the field has the expected colour on screen."""

    def differ():
        shown = canvas.colours(places).astype(int)
        return np.abs(shown - wanted).max()

    wait_for(lambda: differ() <= 4, "the colours")


def test_depth_colours_the_cores_and_states_the_rims_of_those_not_asked(dock, canvas):
    controller, layers = dock.controller, dock.instrument.layers
    field = layers.field
    controller.editor.apply_preset("nothing")
    half, last = field.n_neurons // 2, field.n_neurons - 1
    controller.editor.paint_cells(range(half), slice(0, 60), VISIBLE)
    controller.editor.paint_cells(range(half, field.n_neurons), slice(0, 60), TARGET)
    dock.brush.scroll_area.ensureWidgetVisible(dock.brush.view.colour_by)
    controller.colouring.choose("depth")
    scale = controller.colouring.scale
    wanted = viridis_table()[(scale.shares * 255).round().astype(int)]
    wait_for_colours(canvas, core_places(field), wanted)
    rims = layers.colours.rows[field.n_neurons :, :3]
    np.testing.assert_allclose(rims[0] * 255, rgb(BLUE), atol=0.5)
    np.testing.assert_allclose(rims[-1] * 255, wanted[-1], atol=0.5)
    dock.viewer.scene.camera.center = tuple(field.centres[last])
    dock.viewer.scene.camera.zoom = 12
    rim = np.argwhere(field.labels == field.n_neurons + last + 1)
    wait_for_colours(canvas, rim, wanted[-1])
    # What is asked has the number's colour alone: no outline.
    legend = dock.brush.view.legend
    for part in (legend.bar, legend.states, legend.no_outline, legend.selected_ring):
        wait_for(part.isVisible, "the legend")
    assert legend.bar.ends == scale.ends
    controller.editor.paint_cells(range(10), slice(0, 60), TARGET)
    layers.draw()
    assert layers.colours.is_fast


def test_the_name_of_an_area_stands_in_its_middle(dock, outlines):
    places = outlines._view_text_coords[0]
    named = outlines.features["area"] != ""
    for path, place in zip(np.array(outlines.data, object)[named], places[named], strict=True):
        low, high = path.min(axis=0), path.max(axis=0)
        assert (abs(place - (low + high) / 2) < (high - low) / 5).all()
