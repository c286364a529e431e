"""One raster picture: values, mask overlay, hatching, span, cursor and marks.

The picture draws the data passed to it and reports gestures; it has no access to a
controller.
"""

from collections.abc import Callable, Sequence
from html import escape
from typing import Any, Protocol

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QRectF, Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QGraphicsRectItem

from omnimouse_widgets import palette
from omnimouse_widgets.qt.raster.items import (
    Hatch,
    Marks,
    Pixels,
    Span,
    Ticks,
)
from omnimouse_widgets.qt.raster.strokes import Point, RasterBlock
from omnimouse_widgets.qt.style import plot_style
from omnimouse_widgets.views.raster import blended, coloured
from omnimouse_widgets.views.record import NO_SESSION
from omnimouse_widgets.views.rows.raster import HATCHED_CODES, RasterPicture

TITLE_HEIGHT = 16


class Gestures(Protocol):
    """Handlers of left-button gestures; positions are (sample, row)."""

    def pressed(self, at: Point, box: "RasterBox") -> None:
        """Handle a press of the left button."""

    def dragged(self, at: Point, box: "RasterBox") -> None:
        """Handle a move with the left button down."""

    def released(self, at: Point, box: "RasterBox") -> None:
        """Handle the release of the left button."""


class RasterBox(pg.ViewBox):  # type: ignore[misc]  # pyqtgraph is untyped
    """View box: left drag for gestures, right drag to pan, wheel to zoom.

    The wheel zooms rows; Shift + wheel zooms samples.
    """

    def __init__(self, gestures: Gestures) -> None:
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


class TimeAxis(pg.AxisItem):  # type: ignore[misc]  # pyqtgraph is untyped
    """Time axis that moves the cursor on press or drag."""

    scrubbed = Signal(float)

    def __init__(self) -> None:
        super().__init__("bottom")
        plot_style.style_axis(self)
        self.setCursor(Qt.CursorShape.SplitHCursor)
        self.setToolTip("Drag here to move the cursor")

    def mousePressEvent(self, event: Any) -> None:
        """Move the cursor to the press."""
        if event.button() != Qt.MouseButton.LeftButton:
            event.ignore()
            return
        event.accept()
        self._scrub(event)

    def mouseMoveEvent(self, event: Any) -> None:
        """Move the cursor with the drag."""
        event.accept()
        self._scrub(event)

    def mouseReleaseEvent(self, event: Any) -> None:
        """Accept the release; the cursor is already in place."""
        event.accept()

    def _scrub(self, event: Any) -> None:
        view = self.linkedView()
        if view is not None:
            at = view.mapSceneToView(event.scenePos())
            self.scrubbed.emit(float(at.x()))


class RasterPlot:
    """Plot items of one raster picture inside a graphics layout."""

    def __init__(
        self,
        gestures: Gestures,
        scrubbed: Callable[[float], None],
        tints: np.ndarray,
    ) -> None:
        self.box = RasterBox(gestures)
        self.axis = TimeAxis()
        self.axis.scrubbed.connect(scrubbed)
        self.plot = pg.PlotItem(viewBox=self.box, axisItems={"bottom": self.axis})
        plot_style.style_plot(self.plot, left=True, bottom=True)
        self.plot.setTitle(None)
        self._title: str | None = None
        self._tints = tints
        self._base = np.zeros((0, 0, 3), np.uint8)
        self._rect = QRectF()
        self.is_faded = False
        self.values: np.ndarray | None = None
        self.codes: np.ndarray | None = None
        self.pixels, self.hatch = Pixels(), Hatch()
        self.cursor = plot_style.cursor_line()
        self.span, self.marks, self.ticks = Span(), Marks(), Ticks()
        self.rubber = QGraphicsRectItem()
        self.message = plot_style.Message(self.box)
        self._assemble()

    def _assemble(self) -> None:
        self.box.setLimits(xMin=0, yMin=0, minXRange=5, minYRange=4)
        self.rubber.setPen(plot_style.pen(palette.CURSOR, dashed=True))
        self.rubber.hide()
        layers = (
            *(self.pixels, self.ticks, self.hatch, self.span, self.marks),
            self.cursor,
        )
        for depth, item in enumerate((*layers, self.rubber)):
            item.setZValue(depth)
            self.box.addItem(item, ignoreBounds=True)

    def set_n_samples(self, n_samples: int) -> None:
        """Show a window of this many samples."""
        self.box.setLimits(xMax=n_samples)
        self.box.setRange(xRange=(0, n_samples), padding=0)

    def set_title(self, title: str, ends: tuple[str, ...] = ()) -> None:
        """Set the title, with the numbers of the end colours; skip an unchanged one."""
        title = escape(title)
        if ends:
            low, high = map(escape, ends)
            title = (
                f"<span style='color: {palette.VISIBLE}'>■ {low}</span> {title} "
                f"<span style='color: {palette.TARGET}'>{high} ■</span>"
            )
        if title == self._title:
            return
        self._title = title
        self.plot.setTitle(title or None, color=plot_style.AXIS, size="8pt")
        # A long title must not widen this picture relative to its neighbours.
        self.plot.titleLabel.setMinimumWidth(0)
        height = TITLE_HEIGHT if title else 0
        self.plot.titleLabel.setMaximumHeight(height)
        self.plot.layout.setRowFixedHeight(0, height)

    def set_values(self, picture: RasterPicture, values: np.ndarray, rect: QRectF) -> None:
        """Set values (rows, n_samples), with the title, levels and colours of a picture."""
        self.set_title(picture.title, picture.ends)
        self.values = values
        self._base = coloured(values, picture.levels, picture.table)
        self._rect = rect

    def set_faded(self, is_faded: bool) -> None:
        """Darken the values; the mask overlay stays unchanged."""
        if is_faded != self.is_faded:
            self.is_faded = is_faded
            if self.codes is not None:
                self.set_codes(self.codes)

    def set_codes(self, codes: np.ndarray) -> None:
        """Show the values under uint8 (rows, n_samples) display codes."""
        self.codes = codes
        self.set_message("")
        # Only the values fade; the mask is always current.
        base = self._base // 2 if self.is_faded else self._base
        self.pixels.set_rgb(blended(base, codes, self._tints), self._rect)
        # All these codes have the same pattern; the status line gives the reason.
        is_hatched = np.isin(codes, HATCHED_CODES)
        self.hatch.set_rects(hatched_rects(is_hatched, self._rect))

    def set_cursor(self, sample: int) -> None:
        """Move the cursor to the middle of a sample."""
        if self.cursor.value() != sample + 0.5:
            self.cursor.setValue(sample + 0.5)

    def set_marks(self, rows: Sequence[int]) -> None:
        """Mark the rows of selected neurons at the left edge."""
        self.marks.set_rows([row + 0.5 for row in rows])

    def set_message(self, text: str) -> None:
        """Show a message in place of data; "" removes it."""
        if text != self.message.text:
            self.message.show(text)
        for item in (self.span, self.cursor):
            item.setVisible(not text)

    def clear(self) -> None:
        """Remove values and mask."""
        self.values = self.codes = None
        self.pixels.clear()
        self.set_message(NO_SESSION)
        self.hatch.set_rects([])
        self.marks.set_rows([])
        self.ticks.set_spikes(None)
        self.set_rubber(None)

    def set_rubber(self, block: RasterBlock | None) -> None:
        """Show the box being drawn; `None` hides it."""
        self.rubber.setVisible(block is not None)
        if block is not None:
            width = block.samples.stop - block.samples.start
            height = block.high - block.low
            self.rubber.setRect(block.samples.start, block.low, width, height)


def hatched_rects(is_hatched: np.ndarray, rect: QRectF) -> list[QRectF]:
    """Return rectangles covering the true cells; equal adjacent rows are merged."""
    if not is_hatched.any():
        return []
    rects: list[QRectF] = []
    n_rows, n_columns = is_hatched.shape
    height, width = rect.height() / n_rows, rect.width() / n_columns
    # Masks have few distinct rows: merging reduces thousands of rectangles to a few.
    bounds = np.flatnonzero((is_hatched[1:] != is_hatched[:-1]).any(axis=1)) + 1
    for first, last in zip([0, *bounds], [*bounds, n_rows], strict=True):
        # Padding makes every run start with +1 and end with -1 in the difference.
        padded = np.concatenate([[False], is_hatched[first], [False]]).astype(np.int8)
        y, rows_height = rect.y() + first * height, (last - first) * height
        for start, stop in np.flatnonzero(np.diff(padded)).reshape(-1, 2):
            x, columns_width = rect.x() + start * width, (stop - start) * width
            rects.append(QRectF(x, y, columns_width, rows_height))
    return rects
