"""Pointer tools on the field: brush, lasso and click, sent to the controller.

Neurons are atomic: a stroke acts on the whole of every neuron that it touches.
The radius is in screen pixels, so the brush has the same size on screen at every zoom.
"""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
from napari.layers import Labels
from psygnal import Signal
from qtpy.QtCore import QCoreApplication, QEvent, QObject, QPointF, Qt
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QWidget

from omnimouse_model.data.session import Session
from omnimouse_model.live.controller import OfController
from omnimouse_model.live.mask.editor import CODE_NAMES, MaskEditor
from omnimouse_model.live.neurons.planes import Planes, Selection
from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import Mask
from omnimouse_widgets.qt.style.redraw import field_first
from omnimouse_widgets.views.field import layout

Tool = Literal["brush", "lasso", "select"]
HELP: dict[Tool, str] = {
    "brush": "drag paints · Ctrl-click selects · Space-drag pans · [ ] size · L lasso",
    "lasso": "drag around neurons to paint them · Ctrl-click selects · P brush",
    "select": "click selects, with Shift adds · drag pans · P brush · L lasso",
}
"""Text on the right of napari's status bar, by tool."""
SMALLEST, FIRST_RADIUS, LARGEST = 2.0, 14.0, 200.0
"""Minimum, initial and maximum radius in screen pixels."""
_STEP = 1.25
_CLICK = 4.0
"""Maximum movement of the pointer during a click, in screen pixels."""


class Brush(OfController):
    """Pointer tools of the field, with the radius of the brush.

    There are three tools. *brush*: a drag paints the neurons that it touches. *lasso*:
    a drag draws an outline, and the release paints the neurons with centres inside it.
    *select*: a drag pans and a click selects. With every tool, Ctrl-click selects the
    neuron under the pointer, Ctrl-Shift-click adds it to the selection or removes it,
    and Alt-drag changes the radius. Where neurons overlap, repeated clicks select them
    in turn. While a single imaging plane is shown, neurons of other planes are not
    changed.
    """

    tool_changed = Signal(str)
    radius_changed = Signal(float)
    canvas: QWidget | None = None
    """Widget of the canvas, over which the lasso draws its outline."""

    def __init__(
        self,
        state: LiveState,
        editor: MaskEditor,
        selection: Selection,
        planes: Planes,
        viewer: Any,
    ) -> None:
        self._state, self._editor = state, editor
        self._selection, self._planes = selection, planes
        self._viewer = viewer
        self._field: layout.Field | None = None
        self._session: Session | None = None
        self._layer: Labels | None = None
        self._tool: Tool = "brush"
        self._radius = FIRST_RADIUS
        editor.brush_chosen.connect(self._leave_select)
        state.events.active_span.connect(self._report_state)
        editor.stepped.connect(self._report_step)

    # -- settings -----------------------------------------------------------------
    @property
    def tool(self) -> Tool:
        """The tool in use."""
        return self._tool

    @tool.setter
    def tool(self, tool: Tool) -> None:
        if tool != self._tool:
            self._tool = tool
            self._apply_tool()
            self.tool_changed.emit(tool)

    @property
    def radius(self) -> float:
        """Radius in screen pixels."""
        return self._radius

    @radius.setter
    def radius(self, radius: float) -> None:
        radius = float(np.clip(radius, SMALLEST, LARGEST))
        if radius != self._radius:
            self._radius = radius
            self._state.brush_radius = radius
            self._apply_tool()
            self.radius_changed.emit(radius)

    def toggle(self, tool: Tool) -> None:
        """Switch to a tool; switch to *select* if that tool is already active."""
        self.tool = "select" if tool == self._tool else tool

    def _leave_select(self) -> None:
        """Switch from *select* to the brush when the user chooses a state to paint."""
        if self._tool == "select":
            self.tool = "brush"
        self._report_state()

    @property
    def _paint_text(self) -> str:
        """State that a stroke sets, and the samples in which it sets it."""
        start, stop = self._state.active_span
        state = CODE_NAMES[self._state.brush_code]
        return f"{state} in samples {start}–{stop}"

    def _report_state(self) -> None:
        """Show in the status bar what a stroke sets, unless the tool is *select*."""
        if self._tool != "select":
            self._show_help(f"paints {self._paint_text}; the field shows these samples")

    def _report_step(self, name: str, how: str) -> None:
        """Show in the status bar the last action, or the last undo or redo."""
        self._show_help(f"{name} · Ctrl+Z: undo" if how == "done" else f"{how}: {name}")

    def _report_painted(self, before: Mask | None) -> None:
        """Show in the status bar what a stroke has changed, as its undo step says."""
        start, stop = self._state.active_span
        # The touched neurons can have the painted state already.
        is_changed = self._state.mask is not before
        name = self._editor.undo_name if is_changed else "No neuron changed"
        undo = " · Ctrl+Z: undo" if is_changed else ""
        self._show_help(f"{name} in samples {start}–{stop}{undo}")

    def _show_help(self, text: str) -> None:
        """Show text on the right of the status bar, until the next message."""
        if self._layer is None:
            return
        # `help` of the layer is copied to the viewer at the next mouse movement only,
        # so the viewer's text is set below as well.
        self._layer.help = text
        if self._viewer.layers.selection.active is self._layer:
            self._viewer.help = text

    def grow(self) -> None:
        """Increase the radius by one step."""
        self.radius *= _STEP

    def shrink(self) -> None:
        """Decrease the radius by one step."""
        self.radius /= _STEP

    # -- layer --------------------------------------------------------------------
    def attach(self, layer: Labels, field: layout.Field) -> None:
        """Attach to a layer, and detach from the previous one."""
        self.detach()
        self._layer, self._field, self._session = layer, field, self._state.session
        layer.mouse_drag_callbacks.append(self._drag)
        self._viewer.layers.selection.events.active.connect(self._scale_cursor)
        self._scale_cursor()
        self._apply_tool()

    def close(self) -> None:
        """Detach from the layer, and disconnect from the state and the viewer."""
        self.detach()
        self._editor.brush_chosen.disconnect(self._leave_select, missing_ok=True)
        self._state.events.active_span.disconnect(self._report_state, missing_ok=True)
        self._editor.stepped.disconnect(self._report_step, missing_ok=True)
        self._viewer = None

    def detach(self) -> None:
        """Detach from the layer."""
        if self._layer is None:
            return
        if self._drag in self._layer.mouse_drag_callbacks:
            self._layer.mouse_drag_callbacks.remove(self._drag)
        self._layer = self._field = self._session = None
        self._viewer.layers.selection.events.active.disconnect(self._scale_cursor)
        self._viewer.cursor.scaled = True

    def _scale_cursor(self) -> None:
        """Give the cursor a size in screen pixels, as the radius, on this layer only.

        The brushes of napari's own layers have a size in pixels of the data.
        """
        is_active = self._viewer.layers.selection.active is self._layer
        self._viewer.cursor.scaled = not is_active

    def _apply_tool(self) -> None:
        """Set the cursor and the panning of the layer for the current tool."""
        if self._layer is None:
            return
        self._layer.mouse_pan = self._tool == "select"
        self._layer.cursor_size = 2 * self._radius
        cursors = {"brush": "circle", "lasso": "crosshair", "select": "pointing"}
        self._layer.cursor = cursors[self._tool]
        self._show_help(HELP[self._tool])

    def pan(self, on: bool) -> None:
        """Turn panning on while Space is held, or off again."""
        if self._layer is not None:
            self._layer.mouse_pan = on or self._tool == "select"

    # -- drags --------------------------------------------------------------------
    # napari runs drag callbacks as generators: up to the first yield on press, then one
    # step per move, and the last step on release.
    def _drag(self, layer: Labels, event: Any) -> Generator[None, None, None]:
        if event.button != 1 or not self._is_open(self._field):
            return
        if "Control" in event.modifiers or self._tool == "select":
            yield from self._click(layer, event)
        elif layer.mouse_pan:  # Space is held: napari pans
            return
        elif "Alt" in event.modifiers:
            yield from self._resize(event)
        elif self._tool == "lasso":
            yield from self._lasso(layer, event)
        else:
            yield from self._paint(layer, event)

    def _is_open(self, field: layout.Field | None) -> bool:
        """Return whether a field is of the open session: another one may open during a drag."""
        is_attached = field is not None and field is self._field
        return is_attached and self._session is self._state.session

    def _paint(self, layer: Labels, event: Any) -> Generator[None, None, None]:
        field = self._field
        assert field is not None
        # Screen pixels to field pixels; the zoom does not change during a drag.
        radius = self._radius / self._viewer.scene.camera.zoom
        before = self._state.mask
        touched = np.zeros(field.n_neurons, bool)

        def stamp(start: np.ndarray, stop: np.ndarray) -> None:
            if not self._is_open(field):
                return
            neurons = self._planes.visible_among(layout.neurons_under(field, start, stop, radius))
            # Each neuron is sent once per stroke: a slow drag passes over it many
            # times.
            new = neurons[~touched[neurons]]
            touched[new] = True
            if len(new):
                self._editor.paint(new)

        # All paint calls between begin and end are one step of undo.
        self._editor.begin_stroke()
        try:
            with field_first(), _status_rests(self._viewer):
                at = _pixel(layer, event)
                stamp(at, at)
                yield
                while event.type == "mouse_move":
                    last, at = at, _pixel(layer, event)
                    stamp(last, at)
                    yield
                stamp(at, _pixel(layer, event))  # napari may drop the last moves
        finally:
            self._editor.end_stroke()
            if touched.any() and self._is_open(field):
                self._report_painted(before)

    def _lasso(self, layer: Labels, event: Any) -> Generator[None, None, None]:
        field = self._field
        assert field is not None
        assert self.canvas is not None
        start = _pixel(layer, event)
        lasso = LassoOutline(self.canvas, np.asarray(event.pos))
        try:
            yield
            while event.type == "mouse_move":
                yield
            # The zoom does not change during a drag.
            moved = (lasso.places - lasso.places[0]) / self._viewer.scene.camera.zoom
        finally:
            lasso.end()
        inside = self._planes.visible_among(layout.neurons_inside(field, start + moved[:, ::-1]))
        if len(inside) and self._is_open(field):
            before = self._state.mask
            self._editor.paint(inside)
            self._report_painted(before)

    def _click(self, layer: Labels, event: Any) -> Generator[None, None, None]:
        add = "Shift" in event.modifiers
        field = self._field
        is_click = yield from is_clicked(event)
        if field is None or not is_click or not self._is_open(field):
            return
        neurons = self._planes.visible_among(layout.neurons_at(field, *_pixel(layer, event)))
        if len(neurons):
            selection = self._state.selection
            self.select(int(neurons[0]) if add else layout.neuron_on_click(neurons, selection), add)

    def select(self, neuron: int, add: bool) -> None:
        """Select one neuron; with `add`, add it to the selection or remove it."""
        if add:
            self._selection.toggle(neuron)
        else:
            self._selection.select([neuron])

    def _resize(self, event: Any) -> Generator[None, None, None]:
        pressed, radius = float(event.pos[0]), self._radius
        yield
        while event.type == "mouse_move":
            # A movement by d pixels changes the diameter by d.
            self.radius = radius + (float(event.pos[0]) - pressed) / 2
            yield


@contextmanager
def _status_rests(viewer: Any) -> Iterator[None]:
    """Have napari describe the neuron under the pointer after a stroke, not at its moves.

    napari describes it in a thread and draws the text before the colours under the pointer:
    1 to 2 of the 5 ms by which these come later than an idle frame.
    """
    window = getattr(getattr(viewer, "window", None), "_qt_window", None)
    describe = getattr(getattr(window, "status_thread", None), "trigger_status_update", None)
    moved = viewer.cursor.events.position
    if describe is None:  # no window, or another version of napari
        yield
        return
    moved.disconnect(describe)
    try:
        yield
    finally:
        moved.connect(describe)
        describe()


def is_clicked(event: Any) -> Generator[None, None, bool]:
    """Wait for the button release; return True if the pointer stayed in place."""
    pressed = np.asarray(event.pos, float)
    yield
    while event.type == "mouse_move":
        yield
    return bool(np.hypot(*(np.asarray(event.pos, float) - pressed)) <= _CLICK)


def _pixel(layer: Labels, event: Any) -> np.ndarray:
    """Return the (y, x) position of the pointer in pixels of the field."""
    return np.asarray(layer.world_to_data(event.position)[-2:], float)


_COMPRESSION = Qt.ApplicationAttribute.AA_CompressHighFrequencyEvents
_EDGE, _LINE = QPen(QColor(0, 0, 0, 160), 3.5), QPen(QColor("white"), 1.5)


class LassoOutline(QWidget):
    """Transparent widget over the canvas that follows one drag of the pointer.

    It takes every movement from Qt. napari receives only some of them: VisPy drops
    those within 10 ms of another, and Qt replaces all that arrive while the window is
    busy by the last one. A fast drag would become a few straight lines.

    Parameters
    ----------
    canvas
        The canvas widget, which receives the pointer; it is also the Qt parent.
    start
        Position (x, y) of the press, in pixels of the canvas.
    """

    def __init__(self, canvas: QWidget, start: np.ndarray) -> None:
        super().__init__(canvas)
        self._canvas = canvas
        self._points = [QPointF(*map(float, start))]
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.resize(canvas.size())
        self.show()
        self._is_compressed = QCoreApplication.testAttribute(_COMPRESSION)
        QCoreApplication.setAttribute(_COMPRESSION, False)
        canvas.installEventFilter(self)

    @property
    def places(self) -> np.ndarray:
        """Recorded positions (n, 2) of the pointer: x and y in pixels of the canvas."""
        return np.array([(point.x(), point.y()) for point in self._points])

    def end(self) -> None:
        """Stop following the pointer, and disappear."""
        QCoreApplication.setAttribute(_COMPRESSION, self._is_compressed)
        self._canvas.removeEventFilter(self)
        self.hide()
        self.deleteLater()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Add a movement, and the release, to the outline; the canvas gets both."""
        kinds = (QEvent.Type.MouseMove, QEvent.Type.MouseButtonRelease)
        if isinstance(event, QMouseEvent) and event.type() in kinds:
            self._points.append(event.position())
            self.update()
        return False

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the outline, white with a dark edge."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for pen in (_EDGE, _LINE):
            painter.setPen(pen)
            painter.drawPolyline(QPolygonF(self._points))
        painter.end()
