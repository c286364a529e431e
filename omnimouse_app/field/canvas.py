"""The canvas of napari: its repairs, its keys, one frame for all updates, what it shows.

Positions and colours of neurons are for the demo report, the live benchmark and the
end-to-end tests: they read screen pixels, never the arrays of the model. The repairs use
private names of napari 0.9; if they are missing, a warning is logged and nothing is changed.
"""

import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from html import escape
from time import monotonic
from typing import Any

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QCoreApplication, QEvent, QObject, Qt, QTimer
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QApplication, QDialog, QMainWindow, QTextBrowser, QVBoxLayout, QWidget

from omnimouse_app.field.brush import Brush
from omnimouse_app.field.layers import RESTORE_KEY
from omnimouse_widgets.qt.style.redraw import TURN_MS, Redraw, WaitCount
from omnimouse_widgets.qt.style.shortcuts import KEYS, KeyActions
from omnimouse_widgets.views.field.colours import STATE_CORE
from omnimouse_widgets.views.field.layout import Field
from omnimouse_widgets.views.registry import PANELS, Panel


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


logger = logging.getLogger(__name__)


def repair_canvas(viewer: Any) -> None:
    """Correct three faults of napari's canvas; a second call changes nothing."""
    for repair in (_free_in_own_context, _release_old_grids, _hide_first_circle):
        try:
            repair(viewer.window._qt_viewer.canvas)
        except AttributeError:
            logger.warning("napari's canvas is not repaired: it changed", exc_info=True)


def _hide_first_circle(canvas: Any) -> None:
    """Keep the circle of the brush out of sight until the pointer is on the canvas.

    Before that, napari draws a quarter of it in the corner.
    """
    circle = canvas.viewer.canvas.overlays._brush_circle
    if circle.position == (0, 0):
        circle.position = (-(2**14), -(2**14))


def _free_in_own_context(canvas: Any) -> None:
    """Make the canvas's context current whenever VisPy's deletion queue is emptied.

    When a layer is removed, napari empties the queue at once, in the context that is
    current. After a frame this is the context with which Qt composes the window. Mesa
    then ends the process at the next frame, because a program of that context has lost
    its vertex shader; other drivers read freed memory.
    """
    scene = canvas._scene_canvas
    context, finish = scene.context, scene.context.finish
    if "finish" in vars(context):
        return

    def finish_here() -> None:
        with suppress(RuntimeError):  # the window and its context no longer exist
            scene.set_current()
        finish()

    context.finish = finish_here


def _release_old_grids(canvas: Any) -> None:
    """Remove the old grid of napari's grid mode when napari makes a new grid.

    In grid mode, napari makes a new grid whenever its shape changes, and takes the old
    one out of the scene, but not out of the list of the canvas. All old grids and their
    views would stay in memory, and be laid out again when the window changes.
    """
    central = canvas.central_widget
    widgets, add_grid = central._widgets, central.add_grid
    if "add_grid" in vars(central):
        return

    def replace_grid(*args: Any, **options: Any) -> Any:
        for grid in [widget for widget in widgets if widget.parent is None]:
            for view in grid.children:
                # While their view exists: otherwise its clipper stays on a layer, and
                # the layer is cut off, or invisible, in its next view.
                for node in [*view.scene.children, *view.children]:
                    if node is not view.scene:
                        node.parent = None
            central.remove_widget(grid)
        return add_grid(*args, **options)

    central.add_grid = replace_grid


class OneFrame(QObject):
    """Hold a window's update requests until the next event-loop turn; send one.

    Parameters
    ----------
    window
        The top-level window; it is also the Qt parent of this object.
    """

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self._window = window
        self._is_due = False
        self._waits = WaitCount()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._compose)
        window.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Hold a request back; Qt sends no second one before the first is answered."""
        if event is None or event.type() != QEvent.Type.UpdateRequest or self._is_due:
            return False
        self._timer.start(0)
        return True

    def _compose(self) -> None:
        if self._waits.must_wait(Redraw.panels):
            self._timer.start(TURN_MS)
            return
        begin_s = monotonic()
        # While this is True the filter lets the request through.
        self._is_due = True
        try:
            QCoreApplication.sendEvent(self._window, QEvent(QEvent.Type.UpdateRequest))
        finally:
            self._is_due = False
            Redraw.frames.add(begin_s)


FIELD_KEYS: dict[str, str] = {
    "P": "brush on or off",
    "L": "lasso on or off",
    "[ ]": "smaller, larger brush",
    "K": "play or pause",
    "H": "hold: show the mean image without the neurons",
    "Space": "hold: drag to pan",
    "Ctrl-click": "select the neuron; with Shift: add it or remove it",
    "Alt-drag": "radius of the brush",
    RESTORE_KEY: "restore deleted OmniMouse layers",
    "?": "show the keys and actions",
}
"""Keys of the field in addition to the keys of every panel."""

PANEL_KEYS: dict[str, str] = {
    "Ctrl+S": "in a panel of OmniMouse: save the analysis; on the canvas it is napari's"
}
"""Keys of every panel that the field lacks: there, napari saves layers with them."""
KEYS_WINDOW = "omnimouse-keys"


def all_keys() -> dict[str, str]:
    """Return the text of every key."""
    return {key.key: key.description for key in KEYS} | PANEL_KEYS | FIELD_KEYS


def show_keys(actions_of: Callable[[Panel], dict[str, str]]) -> None:
    """Show all keys, and what each panel shows and does, in a non-modal window."""
    # A second call brings the open window to the front.
    for window in QApplication.topLevelWidgets():
        if window.objectName() == KEYS_WINDOW and window.isVisible():
            window.raise_()
            window.activateWindow()
            return
    windows = (w for w in QApplication.topLevelWidgets() if isinstance(w, QMainWindow))
    # Qt keeps a dialog in front of its parent window.
    box = QDialog(QApplication.activeWindow() or next(windows, None))
    box.setObjectName(KEYS_WINDOW)
    box.setWindowTitle("Keys and actions of OmniMouse")
    page = QTextBrowser()
    parts = [_rows("Keys", all_keys())]
    for panel in PANELS:
        parts.append(_rows(panel.title, {"": panel.help} | actions_of(panel)))
    page.setHtml("".join(parts))
    layout = QVBoxLayout(box)
    layout.addWidget(page)
    box.resize(620, 560)
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    box.show()


def _rows(title: str, texts: dict[str, str]) -> str:
    rows = (
        f"<tr><td width='25%'><b>{escape(name)}</b></td><td>{escape(text)}</td></tr>"
        for name, text in texts.items()
    )
    return f"<h3>{escape(title)}</h3><table cellspacing='3' width='100%'>{''.join(rows)}</table>"


def bind_keys(
    layer: Labels,
    keys: KeyActions,
    brush: Brush,
    *,
    play: Callable[[], None],
    show_mean_alone: Callable[[bool], None],
) -> None:
    """Bind the keys of the field to a layer; they act while that layer is active.

    These are the keys of `all_keys` except `PANEL_KEYS`, `RESTORE_KEY` and "?". The
    layer can be deleted, and napari's key bindings have no name for "?";
    `window.docks` and `window.instrument` handle these keys.
    """
    strokes: dict[str, Callable[[], object]] = {
        _napari_name(key): action for key, action in keys.items()
    }
    strokes |= {
        "P": lambda: brush.toggle("brush"),
        "L": lambda: brush.toggle("lasso"),
        "[": brush.shrink,
        "]": brush.grow,
        "K": play,
    }
    for key, action in strokes.items():
        layer.bind_key(key, _on_press(action), overwrite=True)
    layer.bind_key("Space", _while_held(brush.pan), overwrite=True)
    layer.bind_key("H", _while_held(show_mean_alone), overwrite=True)


def _napari_name(key: str) -> str:
    return key.replace("Ctrl", "Control").replace("+", "-").replace("Pg", "Page")


def _on_press(action: Callable[[], object]) -> Callable[[Any], None]:
    def pressed(_layer: Any) -> None:
        action()

    return pressed


def _while_held(switch: Callable[[bool], None]) -> Callable[[Any], Generator[None, None, None]]:
    # napari resumes the generator of a key binding when the key is released.
    def held(_layer: Any) -> Generator[None, None, None]:
        switch(True)
        yield
        switch(False)

    return held
