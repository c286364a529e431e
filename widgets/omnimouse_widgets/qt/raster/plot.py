"""One raster picture: values, mask overlay, hatching, span, cursor and marks.

The picture draws the data passed to it and reports gestures; it has no access to a
controller.
"""

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QPointF, QRectF, Qt, Signal
from qtpy.QtGui import QBrush, QColor, QImage, QPainter, QPainterPath, QPolygonF
from qtpy.QtWidgets import QGraphicsRectItem

from omnimouse_widgets import palette
from omnimouse_widgets.qt.raster.gestures import RasterBlock, RasterBox, RasterGestures
from omnimouse_widgets.qt.style import plot_style
from omnimouse_widgets.views.raster import TICK_HEIGHT, blended, coloured
from omnimouse_widgets.views.record import NO_SESSION
from omnimouse_widgets.views.rows.raster import HATCHED_CODES, RasterPicture


# -- small graphics items of the raster, each painted with one or two Qt calls --------
# With pyqtgraph's own items, which do more than is needed here, a repaint during a stroke
# over 10,000 neurons took twice as long.
class _InView(pg.GraphicsObject):  # type: ignore[misc]  # pyqtgraph is untyped
    """Item that may paint anywhere in the view."""

    def boundingRect(self) -> QRectF:
        """Return the whole view, so that content can change without a new rectangle."""
        return self.viewRect() if self.getViewBox() is not None else QRectF()

    def viewTransformChanged(self) -> None:
        """Announce the new bounding rectangle to Qt."""
        self.prepareGeometryChange()
        super().viewTransformChanged()  # clears pyqtgraph's cached view rectangle


class Pixels(_InView):
    """Opaque image over a rectangle."""

    def __init__(self) -> None:
        super().__init__()
        self._image: QImage | None = None
        self._bytes = b""
        self._rect = QRectF()

    def set_rgb(self, rgb: np.ndarray, rect: QRectF) -> None:
        """Show uint8 (rows, columns, 3)."""
        height, width = rgb.shape[:2]
        # Pack to 0xAARRGGBB, the format that Qt draws without a conversion.
        parts = rgb.astype(np.uint32)
        pixels = (
            np.uint32(0xFF000000)
            | (parts[..., 0] << np.uint32(16))
            | (parts[..., 1] << np.uint32(8))
            | parts[..., 2]
        )
        # QImage does not copy its data: keep the bytes as long as the image.
        self._bytes = pixels.tobytes()
        self._image = QImage(self._bytes, width, height, 4 * width, QImage.Format.Format_RGB32)
        self._rect = rect
        self.update()

    def clear(self) -> None:
        """Remove the image."""
        self._image = None
        self.update()

    @property
    def is_empty(self) -> bool:
        """Whether there is no image."""
        return self._image is None

    def paint(self, painter: QPainter, *_: object) -> None:
        """Draw the image with sharp cells, without smoothing."""
        if self._image is not None:
            painter.drawImage(self._rect, self._image)


class Hatch(_InView):
    """Diagonal lines over rectangles, with constant spacing on screen."""

    def __init__(self) -> None:
        super().__init__()
        self.rects: list[QRectF] = []
        self._brush = QBrush(QColor("white"), Qt.BrushStyle.BDiagPattern)

    def set_rects(self, rects: list[QRectF]) -> None:
        """Replace the rectangles."""
        # Repaint only after a change; the same test is in all items of this module.
        if rects != self.rects:
            self.rects = rects
            self.update()

    def paint(self, painter: QPainter, *_: object) -> None:
        """Fill in device coordinates, so that zooming does not scale the pattern."""
        if not self.rects:
            return
        to_device = painter.transform()
        painter.resetTransform()
        for rect in self.rects:
            painter.fillRect(to_device.mapRect(rect), self._brush)


class Ticks(_InView):
    """Spikes as short vertical lines of one pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.spikes: np.ndarray | None = None

    def set_spikes(self, spikes: np.ndarray | None) -> None:
        """Set the spikes (n, 2), sample and row; None shows none."""
        if spikes is not None or self.spikes is not None:
            self.spikes = spikes
            self.update()

    def paint(self, painter: QPainter, *_: object) -> None:
        """Draw in device coordinates, so that zooming does not widen the lines."""
        if self.spikes is None:
            return
        to_device = painter.transform()
        painter.resetTransform()
        painter.setPen(plot_style.pen(palette.RECORDED))
        margin = (1 - TICK_HEIGHT) / 2
        # One path: PyQt and PySide differ in how they take a list of lines.
        path = QPainterPath()
        for sample, row in self.spikes.tolist():
            path.moveTo(to_device.map(QPointF(sample, row + margin)))
            path.lineTo(to_device.map(QPointF(sample, row + 1 - margin)))
        painter.drawPath(path)


class Marks(_InView):
    """Small triangles at the left edge, pointing at rows."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[float] = []

    def set_rows(self, rows: Sequence[float]) -> None:
        """Set the row positions of the marks."""
        if list(rows) != self.rows:
            self.rows = list(rows)
            self.update()

    def paint(self, painter: QPainter, *_: object) -> None:
        """Draw in device coordinates, so that zooming does not scale the marks."""
        to_device = painter.transform()
        painter.resetTransform()
        painter.setBrush(plot_style.brush(palette.RECORDED))
        painter.setPen(plot_style.pen("#000000"))
        left = self.viewRect().left()
        for row in self.rows:
            # The triangle points right; its tip is 8 pixels inside the view.
            tip = to_device.map(QPointF(left, row)) + QPointF(8, 0)
            corners = [tip, tip + QPointF(-8, -5), tip + QPointF(-8, 5)]
            painter.drawPolygon(QPolygonF(corners))


class Span(_InView):
    """Outline of the active span: an edge on both sides and a bar along the top."""

    def __init__(self) -> None:
        super().__init__()
        self.span = (0, 0)
        self._colour = palette.HIDDEN

    def set_span(self, span: tuple[int, int], colour: str) -> None:
        """Set the samples (start, stop) and the colour of the outline."""
        if (span, colour) != (self.span, self._colour):
            self.span, self._colour = span, colour
            self.update()

    def paint(self, painter: QPainter, *_: object) -> None:
        """Draw in device coordinates, so that zooming does not scale the lines."""
        view = self.viewRect()
        # The raster's vertical axis is inverted, so top and bottom may be swapped.
        top, bottom = sorted((view.top(), view.bottom()))
        start, stop = self.span
        rect = painter.transform().mapRect(QRectF(start, top, stop - start, bottom - top))
        painter.resetTransform()
        brush = plot_style.brush(self._colour)
        # Filled rectangles: Qt draws lines wider than one pixel with a slower
        # algorithm.
        painter.fillRect(QRectF(rect.left(), rect.top(), rect.width(), 4), brush)
        painter.fillRect(QRectF(rect.left(), rect.top(), 2, rect.height()), brush)
        painter.fillRect(QRectF(rect.right() - 2, rect.top(), 2, rect.height()), brush)


TITLE_HEIGHT = 16


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
        gestures: RasterGestures,
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
