"""The pointer on the field: brush, lasso and click, told to the controller.

Neurons are atomic: a stroke acts on every neuron it touches, whatever their pixels.
The radius is in screen pixels, so the brush feels the same at every zoom.
"""

from collections.abc import Generator
from time import perf_counter
from typing import Any, Literal

import numpy as np
from napari.layers import Labels
from psygnal import Signal

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.mask.brush import CODE_NAMES
from omnimouse_widgets.drawn.field.layout import (
    Field,
    neurons_at,
    neurons_inside,
    neurons_under,
    next_at,
)

Tool = Literal["brush", "lasso", "select"]
HELP: dict[Tool, str] = {
    "brush": "drag paints · Ctrl-click selects · Space-drag pans · [ ] size · L lasso",
    "lasso": "drag round neurons to paint them · Ctrl-click selects · P brush",
    "select": "click selects, with Shift adds · drag pans · P brush · L lasso",
}
"""What napari's status bar says on the right, by tool."""
SMALLEST, FIRST_RADIUS, LARGEST = 2.0, 14.0, 200.0
"""Screen pixels of the radius."""
_STEP = 1.25
_OUTLINE_S = 0.04
"""The lasso is drawn at most this often: a Shapes layer is slow to redraw."""
_CLICK = 4.0
"""Screen pixels a pointer may drift during a click."""


class Brush:
    """What dragging on the field does, and the size it is done with.

    Three tools. *brush*: a drag paints the neurons it touches. *lasso*: a drag draws
    an outline, and releasing paints the neurons whose centres are inside. *select*: a
    drag pans, a click selects. With any tool, Ctrl-click selects the neuron under the
    pointer, and Ctrl-Shift-click adds it to the selection or takes it out; Alt-drag
    changes the radius. Where neurons lie over each other, clicking again selects the
    next one under it. While one imaging plane is looked at, the others are left alone.
    """

    tool_changed = Signal(str)
    radius_changed = Signal(float)
    outline_changed = Signal(object)
    """The lasso while it is drawn, (n, 2) in pixels; empty when done."""

    def __init__(self, controller: Controller, viewer: Any) -> None:
        self._controller = controller
        self._viewer = viewer
        self._field: Field | None = None
        self._layer: Labels | None = None
        self._tool: Tool = "brush"
        self._radius = FIRST_RADIUS
        controller.brush_chosen.connect(self._take_up)
        controller.state.events.active_span.connect(self._tell_paint)
        controller.stepped.connect(self._tell_step)

    # -- what it is set to --------------------------------------------------------
    @property
    def tool(self) -> Tool:
        """The tool in use."""
        return self._tool

    @tool.setter
    def tool(self, tool: Tool) -> None:
        if tool != self._tool:
            self._tool = tool
            self._dress()
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
            self._controller.set_brush_radius(radius)
            self._dress()
            self.radius_changed.emit(radius)

    def toggle(self, tool: Tool) -> None:
        """Take a tool up, or put it down for *select* if it is in hand."""
        self.tool = "select" if tool == self._tool else tool

    def _take_up(self) -> None:
        """Whoever chooses what to paint wants to paint."""
        if self._tool == "select":
            self.tool = "brush"
        self._tell_paint()

    def _tell_paint(self) -> None:
        """Say what a stroke will set, where a drag is one."""
        if self._tool != "select":
            start, stop = self._controller.state.active_span
            word = CODE_NAMES[self._controller.state.brush_code]
            self._say(
                f"paints {word} in samples {start}-{stop}, whose states are shown"
            )

    def _tell_step(self, name: str, how: str) -> None:
        """Say what was done last, wherever that was, or undone."""
        self._say(f"{name} · Ctrl+Z undoes it" if how == "done" else f"{how}: {name}")

    def _tell_painted(self, n: int) -> None:
        """Say what a stroke has set."""
        if n:
            neurons = "1 neuron" if n == 1 else f"{n:,} neurons"
            start, stop = self._controller.state.active_span
            word = CODE_NAMES[self._controller.state.brush_code]
            self._say(
                f"painted {neurons} × {stop - start} samples {word} ({start}-{stop})"
            )

    def _say(self, words: str) -> None:
        """Say it on the right of the status bar, until there is other news."""
        if self._layer is None:
            return
        self._layer.help = words
        # napari shows it at the next move of the mouse.
        if self._viewer.layers.selection.active is self._layer:
            self._viewer.help = words

    def grow(self) -> None:
        """One step larger."""
        self.radius *= _STEP

    def shrink(self) -> None:
        """One step smaller."""
        self.radius /= _STEP

    # -- the layer it works on ----------------------------------------------------
    def attach(self, layer: Labels, field: Field) -> None:
        """Work on this layer from now on."""
        self.detach()
        self._layer, self._field = layer, field
        layer.mouse_drag_callbacks.append(self._drag)
        self._viewer.cursor.scaled = False
        self._dress()

    def close(self) -> None:
        """Let go of layer and viewer."""
        self.detach()
        controller = self._controller
        controller.brush_chosen.disconnect(self._take_up, missing_ok=True)
        controller.state.events.active_span.disconnect(
            self._tell_paint, missing_ok=True
        )
        controller.stepped.disconnect(self._tell_step, missing_ok=True)
        self._viewer = None

    def detach(self) -> None:
        """Let go of the layer."""
        if self._layer is None:
            return
        if self._drag in self._layer.mouse_drag_callbacks:
            self._layer.mouse_drag_callbacks.remove(self._drag)
        self._layer, self._field = None, None
        self._viewer.cursor.scaled = True

    def _dress(self) -> None:
        """Cursor and panning as the tool wants them."""
        if self._layer is None:
            return
        self._layer.mouse_pan = self._tool == "select"
        self._layer.cursor_size = 2 * self._radius
        cursors = {"brush": "circle", "lasso": "crosshair", "select": "pointing"}
        self._layer.cursor = cursors[self._tool]
        self._say(HELP[self._tool])

    def pan(self, on: bool) -> None:
        """Lend the drag to panning (while Space is held), or take it back."""
        if self._layer is not None:
            self._layer.mouse_pan = on or self._tool == "select"

    # -- drags --------------------------------------------------------------------
    def _drag(self, layer: Labels, event: Any) -> Generator[None, None, None]:
        if event.button != 1 or self._field is None:
            return
        if "Control" in event.modifiers or self._tool == "select":
            yield from self._click(layer, event)
        elif layer.mouse_pan:  # Space is held: the drag is the camera's
            return
        elif "Alt" in event.modifiers:
            yield from self._resize(event)
        elif self._tool == "lasso":
            yield from self._lasso(layer, event)
        else:
            yield from self._paint(layer, event)

    def _paint(self, layer: Labels, event: Any) -> Generator[None, None, None]:
        field = self._field
        assert field is not None
        radius = self._radius / self._viewer.scene.camera.zoom
        touched = np.zeros(field.n_neurons, bool)

        def stamp(start: np.ndarray, stop: np.ndarray) -> None:
            neurons = self._among(neurons_under(field, start, stop, radius))
            new = neurons[~touched[neurons]]
            touched[new] = True
            if len(new):
                self._controller.paint(new)

        self._controller.begin_stroke()
        try:
            at = _pixel(layer, event)
            stamp(at, at)
            yield
            while event.type == "mouse_move":
                before, at = at, _pixel(layer, event)
                stamp(before, at)
                yield
            stamp(at, _pixel(layer, event))  # the last moves may have been left out
        finally:
            self._controller.end_stroke()
            self._tell_painted(int(touched.sum()))

    def _lasso(self, layer: Labels, event: Any) -> Generator[None, None, None]:
        field = self._field
        assert field is not None
        outline = [_pixel(layer, event)]
        drawn = perf_counter()
        yield
        try:
            while event.type == "mouse_move":
                outline.append(_pixel(layer, event))
                if perf_counter() - drawn > _OUTLINE_S:
                    self.outline_changed.emit(np.array(outline))
                    drawn = perf_counter()
                yield
            outline.append(_pixel(layer, event))
        finally:
            self.outline_changed.emit(np.empty((0, 2)))
        inside = self._among(neurons_inside(field, np.array(outline)))
        if len(inside):
            self._controller.paint(inside)
            self._tell_painted(len(inside))

    def _click(self, layer: Labels, event: Any) -> Generator[None, None, None]:
        add = "Shift" in event.modifiers
        is_click = yield from is_clicked(event)
        field = self._field
        if field is None or not is_click:
            return
        neurons = self._among(neurons_at(field, *_pixel(layer, event)))
        if len(neurons):
            selection = self._controller.state.selection
            self.select(int(neurons[0]) if add else next_at(neurons, selection), add)

    def _among(self, neurons: np.ndarray) -> np.ndarray:
        """Those of the planes that are looked at."""
        return self._controller.planes.among(neurons)

    def select(self, neuron: int, add: bool) -> None:
        """Select a neuron alone; `add` puts it beside the others, or takes it out."""
        selection = self._controller.state.selection
        if add and neuron in selection:
            self._controller.select([n for n in selection if n != neuron])
        else:
            self._controller.select([neuron], add=add)

    def _resize(self, event: Any) -> Generator[None, None, None]:
        pressed, radius = float(event.pos[0]), self._radius
        yield
        while event.type == "mouse_move":
            self.radius = radius + (float(event.pos[0]) - pressed) / 2
            yield


def is_clicked(event: Any) -> Generator[None, None, bool]:
    """Wait for the release; whether the pointer had stayed where it was pressed."""
    pressed = np.asarray(event.pos, float)
    yield
    while event.type == "mouse_move":
        yield
    return bool(np.hypot(*(np.asarray(event.pos, float) - pressed)) <= _CLICK)


def _pixel(layer: Labels, event: Any) -> np.ndarray:
    """(y, x) in pixels of the field under the pointer."""
    return np.asarray(layer.world_to_data(event.position)[-2:], float)
