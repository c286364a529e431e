"""Left-button gestures on the raster: look, or paint in one of four ways."""

from typing import Final

import numpy as np
from psygnal import Signal

from omnimouse_model.live.controller import Controller
from omnimouse_widgets.qt.raster.plot import RasterBox
from omnimouse_widgets.qt.raster.strokes import (
    Point,
    RasterBlock,
    box_block,
    brush_blocks,
)
from omnimouse_widgets.qt.style.plot_style import sample_at
from omnimouse_widgets.views.raster.view import RasterView

BRUSH_PIXELS: Final = 6
"""Radius of the raster's brush on screen."""


class RasterGestures:
    """Translate gestures of the left button into calls of the controller.

    The rows of the view give the neurons under the pointer, its tool what is done.
    """

    box_changed = Signal()
    """Emitted when the box being drawn changes or disappears."""

    def __init__(self, view: RasterView, controller: Controller) -> None:
        self._view, self._controller = view, controller
        self.box: RasterBlock | None = None
        # `_held` is the tool of the current stroke, `_last` the last pointer position
        # (None between strokes), `_start` the corner of a box.
        self._held = view.tool
        self._last: Point | None = None
        self._start: Point = (0.0, 0.0)

    @property
    def is_painting(self) -> bool:
        """Whether the left button is down on the raster with a paint tool."""
        return self._last is not None and self._held != "look"

    def pressed(self, at: Point, box: RasterBox) -> None:
        """Begin a stroke, or select what is under the pointer."""
        self._last = self._start = at
        self._held = self._view.tool  # a tool chosen during a stroke is for the next one
        if self._held == "look":
            self._look(at, select=True)
            return
        # All cells until the release are one undo step.
        self._controller.editor.begin_stroke()
        self._stroke(at, box)

    def dragged(self, at: Point, box: RasterBox) -> None:
        """Continue the stroke, or move the cursor."""
        if self._last is None:
            return
        if self._held == "look":
            self._look(at, select=False)
        else:
            self._stroke(at, box)
        self._last = at

    def released(self, at: Point, box: RasterBox) -> None:
        """End the stroke; a box is painted only now."""
        if self._last is None:
            return
        # Both depend on `_last` and `box`, which the next line clears.
        painted, block = self.is_painting, self.box
        self._last = self.box = None
        self.box_changed.emit()
        if not painted:
            return
        if block is not None:
            self._paint(block)
        self._controller.editor.end_stroke()

    def neurons_at(self, row: float) -> np.ndarray:
        """Return the neurons of the screen row at a position."""
        if self._view.rows is None:
            return np.empty(0, np.int64)
        return self._view.rows.neurons(row, row)

    @property
    def _n_samples(self) -> int:
        return self._controller.state.spec.n_samples

    def _look(self, at: Point, *, select: bool) -> None:
        self._controller.navigation.set_cursor(sample_at(at[0], self._n_samples))
        neurons = self.neurons_at(at[1])
        if select and len(neurons):
            self._controller.selection.select(neurons.tolist())

    def _stroke(self, at: Point, box: RasterBox) -> None:
        # Paint from the last position: a fast pointer skips cells.
        last = self._last or at
        if self._view.rows is None:
            return  # no session is open
        if self._held == "box":
            self.box = box_block(self._start, at, self._n_samples)
            self.box_changed.emit()
        elif self._held == "columns":
            columns = box_block(last, at, self._n_samples).samples
            self._controller.editor.paint_cells(
                slice(None), columns, self._controller.state.brush_code
            )
        elif self._held == "rows":
            low, high = sorted((last[1], at[1]))
            self._paint(RasterBlock(slice(0, self._n_samples), low, high))
        else:
            # A circle on screen is an ellipse in samples and rows.
            width, height = box.pixel()
            radius = (BRUSH_PIXELS * width, BRUSH_PIXELS * height)
            for block in brush_blocks(last, at, radius, self._n_samples):
                self._paint(block)

    def _paint(self, block: RasterBlock) -> None:
        if self._view.rows is None or block.samples.start >= block.samples.stop:
            return
        neurons = self._view.rows.neurons(block.low, block.high)
        if len(neurons):
            code = self._controller.state.brush_code
            self._controller.editor.paint_cells(neurons, block.samples, code)
