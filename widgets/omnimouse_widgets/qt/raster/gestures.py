"""Gestures on the raster: look, or paint in one of four ways; pan and zoom."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, floor, hypot
from typing import Any, Final

import numpy as np
import pyqtgraph as pg
from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor

from omnimouse_widgets.qt.style.plot_style import sample_at
from omnimouse_widgets.views.record import Cells

# -- geometry of strokes on the raster: the cells that a stroke covers; no Qt ---------
# Positions are floats (sample, row); cell (i, j) covers [i, i + 1) x [j, j + 1).
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class RasterBlock:
    """Rectangle of cells: a slice of samples, and row positions from low to high."""

    samples: slice
    low: float
    high: float


def brush_blocks(start: Point, stop: Point, radius: Point, n_samples: int) -> list[RasterBlock]:
    """Return the cells that an elliptic brush touches between two positions.

    Parameters
    ----------
    start, stop
        Previous and current position of the pointer; equal for a press.
    radius
        Radius of the brush in samples and in rows. A brush smaller than a cell still
        touches the cell under the pointer.
    n_samples
        Samples of the window.
    """
    across, down = radius
    # Stamps are at most half a radius apart, so that a stroke has no gaps. The radius
    # counts as at least half a cell: a tiny brush must not need thousands of stamps.
    x_step = (stop[0] - start[0]) / max(across, 0.5)
    y_step = (stop[1] - start[1]) / max(down, 0.5)
    x, y = np.linspace(start, stop, 1 + max(1, ceil(2 * hypot(x_step, y_step)))).T
    columns = np.arange(n_samples)[:, None]
    # (sample, stamp): horizontal distance from a stamp to the nearest edge of a column.
    away = np.maximum(0.0, np.maximum(columns - x, x - columns - 1))
    is_touched = (away == 0) | (away < across)
    share = away / across if across else away
    half = down * np.sqrt(np.maximum(0.0, 1 - share**2))
    lows = np.where(is_touched, y - half, np.inf).min(axis=1).tolist()
    highs = np.where(is_touched, y + half, -np.inf).max(axis=1).tolist()
    blocks: list[RasterBlock] = []
    for column in np.flatnonzero(is_touched.any(axis=1)).tolist():
        first, low, high = column, lows[column], highs[column]
        last = blocks[-1] if blocks else None
        # Adjacent columns with equal rows become one block.
        if last and (last.samples.stop, last.low, last.high) == (column, low, high):
            first = blocks.pop().samples.start
        blocks.append(RasterBlock(slice(first, column + 1), low, high))
    return blocks


def box_block(start: Point, stop: Point, n_samples: int) -> RasterBlock:
    """Return the cells that the rectangle between two positions touches."""
    low, high = sorted((start[1], stop[1]))
    return RasterBlock(_samples(start[0], stop[0], n_samples), low, high)


def _samples(first: float, last: float, n_samples: int) -> slice:
    # Positions outside the raster give an empty slice, not negative indices.
    low, high = sorted((floor(first), floor(last)))
    return slice(min(max(low, 0), n_samples), max(min(high + 1, n_samples), 0))


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

    def pressed(self, at: Point, box: "RasterBox") -> None:
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

    def dragged(self, at: Point, box: "RasterBox") -> None:
        """Continue the stroke, or move the cursor."""
        if self._last is None:
            return
        if self._held == "look":
            self._look(at, select=False)
        else:
            self._stroke(at, box)
        self._last = at

    def released(self, at: Point, box: "RasterBox") -> None:
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

    def _stroke(self, at: Point, box: "RasterBox") -> None:
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


class RasterBox(pg.ViewBox):  # type: ignore[misc]  # pyqtgraph is untyped
    """View box: left drag for gestures, right drag to pan, wheel to zoom.

    The wheel zooms rows; Shift + wheel zooms samples.
    """

    def __init__(self, gestures: RasterGestures) -> None:
        super().__init__(enableMenu=False, defaultPadding=0.0)
        self.setBackgroundColor(QColor("black"))
        # Row 0 is at the top.
        self.invertY(True)
        self._gestures = gestures
        self._panned_from: Point | None = None

    def point(self, event: Any) -> Point:
        """Return (sample, row) under the pointer."""
        at = self.mapSceneToView(event.scenePos())
        return float(at.x()), float(at.y())

    def pixel(self) -> Point:
        """Return samples and rows per screen pixel."""
        width, height = self.viewPixelSize()
        return float(width), float(height)

    def mousePressEvent(self, event: Any) -> None:
        """Start a gesture on press; pyqtgraph's drag events need a minimum distance."""
        button = event.button()
        event.accept()
        if button == Qt.MouseButton.LeftButton:
            self._gestures.pressed(self.point(event), self)
        elif button == Qt.MouseButton.RightButton:
            self._panned_from = self.point(event)

    def mouseMoveEvent(self, event: Any) -> None:
        """Continue the gesture or the pan."""
        event.accept()
        if self._panned_from is not None:
            here = self.point(event)
            # The view moves with the pointer, so `_panned_from` stays the data point
            # under it.
            before = self._panned_from
            self.translateBy(x=before[0] - here[0], y=before[1] - here[1])
        else:
            self._gestures.dragged(self.point(event), self)

    def mouseReleaseEvent(self, event: Any) -> None:
        """End the gesture or the pan."""
        event.accept()
        if event.button() == Qt.MouseButton.RightButton:
            self._panned_from = None
        elif event.button() == Qt.MouseButton.LeftButton:
            self._gestures.released(self.point(event), self)

    def wheelEvent(self, event: Any, axis: int | None = None) -> None:
        """Zoom rows around the pointer; with Shift, samples."""
        with_shift = event.modifiers() & Qt.KeyboardModifier.ShiftModifier
        super().wheelEvent(event, axis=0 if with_shift else 1)
