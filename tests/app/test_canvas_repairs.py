"""The canvas frees objects in its own OpenGL context, and keeps no old grid."""

import gc
import weakref

import numpy as np
import pytest
from napari.layers import Image
from qtpy.QtGui import QOffscreenSurface, QOpenGLContext
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from vispy.gloo import glir

from omnimouse_app.field.canvas import repair_canvas
from omnimouse_app.tour.hand import settle, wait_for

pytestmark = pytest.mark.gui


@pytest.fixture
def canvas(dock):
    return dock.main_window.findChildren(QOpenGLWidget)[0]


@pytest.fixture
def other_context(canvas):
    """Makes a context current that shares with the canvas's, as Qt's own one does."""
    context, surface = QOpenGLContext(), QOffscreenSurface()
    context.setFormat(canvas.context().format())
    context.setShareContext(canvas.context())
    assert context.create()
    surface.setFormat(context.format())
    surface.create()
    yield lambda: context.makeCurrent(surface)
    context.doneCurrent()


@pytest.mark.slow
def test_a_layer_is_freed_in_its_own_context(dock, canvas, other_context, monkeypatch):
    freed_in, delete = [], glir.GlirProgram.delete

    def noted(program):
        current = QOpenGLContext.currentContext()
        freed_in.append(current is not None and current.surface())
        delete(program)

    monkeypatch.setattr(glir.GlirProgram, "delete", noted)
    layer = dock.viewer.add_labels(np.ones((20, 20), np.uint16))
    dock.viewer.screenshot(flash=False)
    assert other_context()
    dock.viewer.layers.remove(layer)
    wait_for(lambda: freed_in, "what is freed")
    settle()
    canvas.makeCurrent()
    own = QOpenGLContext.currentContext().surface()
    assert all(surface == own for surface in freed_in)


@pytest.fixture
def grid(dock):
    """Viewer in grid mode, with six more images that are removed after the test."""
    grid, layers = dock.viewer.canvas.grid, dock.viewer.layers
    images = [Image(np.ones((400, 400)), contrast_limits=(0, 1)) for _ in range(6)]
    shown = {layer: layer.visible for layer in layers}
    layers.extend(images)
    yield grid
    grid.enabled = False
    for image in images:
        if image in layers:
            layers.remove(image)
    for layer, is_visible in shown.items():
        layer.visible = is_visible


def test_a_grid_is_released_when_its_shape_changes(dock, grid):
    grid.enabled = True
    settle()
    old = weakref.ref(dock.viewer.window._qt_viewer.canvas.grid)
    del dock.viewer.layers[-4:]
    settle()
    grid.enabled = False
    gc.collect()
    assert old() is None


def test_layers_are_whole_after_grid_mode(dock, grid):
    def n_white():
        settle()
        pixels = dock.viewer.screenshot(flash=False)
        return int((pixels[..., :3].min(axis=2) > 250).sum())

    layers = dock.viewer.layers
    for layer in layers:
        layer.visible = layer in layers[-1:]
    before = n_white()
    grid.enabled = True
    for _ in range(2):
        # The shape of the grid follows the number of visible layers.
        for layer in (*layers[-6:-1], *layers[-6:-1]):
            layer.visible = not layer.visible
            settle()
    grid.enabled = False
    assert before > 1000
    assert n_white() == before


def test_the_circle_of_the_brush_is_not_on_the_canvas_before_the_pointer(dock):
    circle = dock.viewer.canvas.overlays._brush_circle
    circle.position = (0, 0)
    repair_canvas(dock.viewer)
    assert max(circle.position) < -circle.size
    circle.position = (30, 40)
    repair_canvas(dock.viewer)
    assert circle.position == (30, 40)
