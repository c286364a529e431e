"""What VisPy frees is freed in the canvas's own OpenGL context."""

from types import SimpleNamespace

import numpy as np
import pytest
from qtpy.QtGui import QOffscreenSurface, QOpenGLContext
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from vispy.gloo import glir

from omnimouse_app.field.gl_context import free_in_own_context
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
def test_a_layer_that_goes_is_freed_in_the_canvas_s_own_context(
    dock, canvas, other_context, monkeypatch
):
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


def test_without_napari_s_private_names_nothing_is_changed(caplog):
    free_in_own_context(object())
    assert "napari changed" in caplog.text


class Context:
    """As VisPy's: `finish` is the class's until it is replaced."""

    n_finished = 0

    def finish(self):
        self.n_finished += 1


def test_after_the_window_is_gone_what_is_freed_is_no_fault():
    def set_current():
        raise RuntimeError("wrapped C/C++ object has been deleted")

    scene = SimpleNamespace(set_current=set_current, context=Context())
    canvas = SimpleNamespace(_scene_canvas=scene)
    qt_viewer = SimpleNamespace(canvas=canvas)
    free_in_own_context(SimpleNamespace(window=SimpleNamespace(_qt_viewer=qt_viewer)))
    scene.context.finish()
    assert scene.context.n_finished == 1
