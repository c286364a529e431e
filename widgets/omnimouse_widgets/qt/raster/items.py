"""Small graphics items of the raster, each painted with one or two Qt calls.

With pyqtgraph's own items, which do more than is needed here, a repaint during a stroke
over 10,000 neurons took twice as long.
"""

from collections.abc import Sequence

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QBrush, QColor, QImage, QPainter, QPainterPath, QPolygonF

from omnimouse_widgets import palette
from omnimouse_widgets.qt.style import plot_style
from omnimouse_widgets.views.raster import TICK_HEIGHT


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
