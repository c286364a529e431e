"""Left-button gestures on the raster: look, or paint in one of four ways."""

from collections.abc import Callable
from typing import Final

from psygnal import Signal

from omnimouse_widgets.qt.raster.plot import RasterBox
from omnimouse_widgets.qt.raster.strokes import (
    Point,
    RasterBlock,
    box_block,
    brush_blocks,
)
from omnimouse_widgets.qt.style.plot_style import sample_at
from omnimouse_widgets.views.record import Cells

BRUSH_PIXELS: Final = 6
"""Radius of the raster's brush on screen."""


class RasterGestures:
    """Translate gestures of the left button into the actions of cells.

    Attributes
    ----------
    cells
        The cells as they are drawn; None before the first drawing.
    box
        Box that is being drawn, None without one.
    """

    box_changed = Signal()
    """Emitted when the box being drawn changes or disappears."""

    def __init__(self) -> None:
        self.cells: Cells | None = None
        self.box: RasterBlock | None = None
        # `_held` is the tool of the current stroke, `_last` the last pointer position
        # (None between strokes), `_start` the corner of a box, `_end` ends a stroke.
        self._held = ""
        self._last: Point | None = None
        self._start: Point = (0.0, 0.0)
        self._end: Callable[[], object] | None = None

    def pressed(self, at: Point, box: RasterBox) -> None:
        """Begin a stroke, or select what is under the pointer."""
        if self.cells is None or self.cells.rows is None:
            return  # no session is open
        self._last = self._start = at
        self._held = self.cells.tool()  # a tool chosen during a stroke is for the next one
        if self._held == "look":
            self._look(at, select=True)
            return
        # All cells until the release are one undo step. It ends also if the recording is
        # gone by then.
        self._end = self.cells.end
        self.cells.begin()
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
        # Of the stroke, which the next line clears.
        end, block = self._end, self.box
        self._last = self.box = self._end = None
        self.box_changed.emit()
        if end is None:
            return
        if block is not None:
            self._paint(block)
        end()

    def _look(self, at: Point, *, select: bool) -> None:
        cells = self.cells
        if cells is None or cells.rows is None:
            return
        cells.set_cursor(sample_at(at[0], cells.n_samples))
        neurons = cells.rows.neurons(at[1], at[1])
        if select and len(neurons):
            cells.select(neurons.tolist())

    def _stroke(self, at: Point, box: RasterBox) -> None:
        # Paint from the last position: a fast pointer skips cells.
        last, cells = self._last or at, self.cells
        if cells is None or cells.rows is None:
            return  # the session was closed
        if self._held == "box":
            self.box = box_block(self._start, at, cells.n_samples)
            self.box_changed.emit()
        elif self._held == "columns":
            cells.paint(slice(None), box_block(last, at, cells.n_samples).samples)
        elif self._held == "rows":
            low, high = sorted((last[1], at[1]))
            self._paint(RasterBlock(slice(0, cells.n_samples), low, high))
        else:
            # A circle on screen is an ellipse in samples and rows.
            width, height = box.pixel()
            radius = (BRUSH_PIXELS * width, BRUSH_PIXELS * height)
            for block in brush_blocks(last, at, radius, cells.n_samples):
                self._paint(block)

    def _paint(self, block: RasterBlock) -> None:
        cells = self.cells
        if cells is None or cells.rows is None or block.samples.start >= block.samples.stop:
            return
        neurons = cells.rows.neurons(block.low, block.high)
        if len(neurons):
            cells.paint(neurons, block.samples)
