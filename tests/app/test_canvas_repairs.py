"""VisPy frees objects in the context of the canvas, and old grids are released."""

import gc
import weakref

import numpy as np
import pytest
from napari.layers import Image
from qtpy.QtGui import QOffscreenSurface, QOpenGLContext
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from vispy.gloo import glir

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


def test_the_grid_of_fewer_layers_is_released(dock):
    grid, layers = dock.viewer.canvas.grid, dock.viewer.layers
    grid.enabled = True
    settle()
    old = weakref.ref(dock.viewer.window._qt_viewer.canvas.grid)
    layers.extend(Image(np.zeros((4, 4))) for _ in range(6))
    settle()
    grid.enabled = False
    gc.collect()
    assert old() is None
