"""Positions and colours of neurons on the canvas, read from the screen.

The demo report, the live benchmark and the end-to-end tests use it. It reads screen
pixels, never the arrays of the model.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QMainWindow, QWidget

from omnimouse_widgets.views.field.colours import STATE_CORE
from omnimouse_widgets.views.field.layout import Field


class Canvas:
    """The 2-D canvas of a viewer: positions and pixels.

    Parameters
    ----------
    viewer
        A napari viewer with a visible window.
    window
        The window of that viewer.
    """

    def __init__(self, viewer: Any, window: QMainWindow) -> None:
        self.viewer = viewer
        canvases = window.findChildren(QOpenGLWidget)
        if not canvases:
            raise RuntimeError("This window has no canvas: show the window first.")
        self.widget: QWidget = canvases[0]

    def place(self, yx: Sequence[float] | np.ndarray) -> np.ndarray:
        """Return the canvas position (x, y) in pixels of a field position (y, x)."""
        camera = self.viewer.scene.camera
        centre = np.array(camera.center[-2:], float)
        middle = np.array([self.widget.width(), self.widget.height()]) / 2
        offset = (np.asarray(yx, float) - centre) * camera.zoom
        return np.asarray(middle + offset[::-1])

    def places(self, yx: np.ndarray) -> np.ndarray:
        """Return the canvas positions (n, 2), (x, y), of field positions (n, 2)."""
        return np.array([self.place(point) for point in yx]).reshape(-1, 2)

    def picture(self) -> np.ndarray:
        """Return a screenshot of the canvas: uint8 (height, width, 4)."""
        return np.asarray(self.viewer.screenshot(canvas_only=True, flash=False))

    def colours(self, yx: np.ndarray) -> np.ndarray:
        """Return the screen colours at positions on the field (n, 2): uint8 (n, 3)."""
        picture = self.picture()
        # Screenshots are in device pixels, widget sizes in logical pixels (high-DPI
        # screens).
        scale = picture.shape[1] / self.widget.width()
        x, y = np.floor(self.places(yx) * scale).astype(int).T
        inside = (x >= 0) & (x < picture.shape[1]) & (y >= 0) & (y < picture.shape[0])
        colours = np.zeros((len(yx), 3), np.uint8)
        colours[inside] = picture[y[inside], x[inside], :3]
        return colours


def core_places(field: Field) -> np.ndarray:
    """Return one core pixel (y, x) per neuron, the nearest to its centre; NaN if none.

    The centre itself may lie on a pixel of another neuron.
    """
    labels = field.labels.ravel()
    at = np.flatnonzero((labels > 0) & (labels <= field.n_neurons))
    neuron = labels[at].astype(np.int64) - 1
    yx = np.stack(np.divmod(at, field.labels.shape[1]), axis=1)
    distance = ((yx - field.centres[neuron]) ** 2).sum(axis=1)
    # Sort by neuron, then by decreasing distance. Where an index occurs more than once,
    # numpy keeps the value written last: the nearest pixel.
    order = np.lexsort([-distance, neuron])
    places = np.full((field.n_neurons, 2), np.nan)
    places[neuron[order]] = yx[order]
    return places


def states_on_screen(canvas: Canvas, field: Field) -> np.ndarray:
    """Return the displayed state of each neuron, int (P,); -1 without a pixel.

    The mean image is visible through the neurons. Therefore each pixel is compared with
    the colour of every state blended over every grey level.
    """
    places = core_places(field)
    has_pixel = np.isfinite(places).all(axis=1)
    colours = canvas.colours(places[has_pixel]).astype(float) / 255
    grey = np.linspace(0, 1, 65)
    alpha = STATE_CORE[:, 3:]
    # Alpha blending: state colour * alpha + grey * (1 - alpha), shape (state, grey, 3).
    table = (STATE_CORE[:, :3] * alpha)[:, None] + ((1 - alpha) * grey)[..., None]
    distance = np.linalg.norm(colours[:, None, None] - table[None], axis=-1).min(axis=2)
    states = np.full(field.n_neurons, -1)
    states[has_pixel] = distance.argmin(axis=1)
    return states
