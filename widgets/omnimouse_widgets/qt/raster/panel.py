"""Pictures of the raster: neurons by window samples, with an editable mask overlay."""

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QPointF, QRectF, Qt, Signal
from qtpy.QtGui import QBrush, QColor, QImage, QPainter, QPainterPath, QPolygonF
from qtpy.QtWidgets import QGraphicsRectItem, QGraphicsSimpleTextItem, QVBoxLayout, QWidget

from omnimouse_widgets import palette
from omnimouse_widgets.qt.raster.gestures import RasterBlock, RasterBox, RasterGestures
from omnimouse_widgets.qt.style import plot_style
from omnimouse_widgets.views.raster import (
    ALL_ROWS,
    COLUMNS,
    OVERLAYS,
    TICK_HEIGHT,
    are_ticks,
    blended,
    coloured,
    overlay_table,
    spike_ticks,
)
from omnimouse_widgets.views.record import NO_SESSION, CellMarks, Cells
from omnimouse_widgets.views.rows.raster import (
    HATCHED_CODES,
    RasterImage,
    RasterPicture,
    RasterRows,
)

AXIS_WIDTH = 58


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


# -- one picture: it draws what it is given, and reports gestures ---------------------
class TimeAxis(pg.AxisItem):  # type: ignore[misc]  # pyqtgraph is untyped
    """Time axis that moves the cursor on press or drag.

    Its name stands left of it, below the names of the rows, where it takes no height.
    """

    scrubbed = Signal(float)

    def __init__(self) -> None:
        super().__init__("bottom")
        plot_style.style_axis(self)
        self.setCursor(Qt.CursorShape.SplitHCursor)
        self.setToolTip("Drag here to move the cursor")
        self.name = QGraphicsSimpleTextItem(COLUMNS, self)
        self.name.setFont(plot_style.small_font())
        self.name.setBrush(QColor(plot_style.AXIS))
        self.name.setPos(-self.name.boundingRect().width() - 8, 6)

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
        self, gestures: RasterGestures, scrubbed: Callable[[float], None], tints: np.ndarray
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

    def set_message(self, text: str) -> None:
        """Show a message in place of data; "" removes it."""
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


# -- all pictures of the panel --------------------------------------------------------
class RasterArea(QWidget):
    """Neurons × samples of the window: activity values with the mask drawn over them.

    Parameters
    ----------
    tip
        What the mouse does.
    """

    def __init__(self, tip: str) -> None:
        super().__init__()
        self._cells: Cells | None = None
        self.gestures = RasterGestures()
        self.canvas = plot_style.canvas(tip)
        # Those that were on screen once: a plot takes 10 ms of the start.
        self.pictures: dict[RasterImage, RasterPlot] = {}
        column = QVBoxLayout(self)
        # Qt calls a widget covered that its children fill, and nothing would be drawn.
        column.setContentsMargins(1, 1, 1, 1)
        column.addWidget(self.canvas)
        self.setMinimumSize(300, 96)
        self.canvas.scene().sigMouseMoved.connect(self._hover)
        self.canvas.sigDeviceRangeChanged.connect(lambda *_: self._share_width())
        self.gestures.box_changed.connect(self._draw_box)
        self._visible: dict[RasterImage, RasterPlot] = {}
        self._place_pictures(["truth"])

    def _picture(self, name: RasterImage) -> RasterPlot:
        """Return a picture, which is made when it is first placed."""
        if name in self.pictures:
            return self.pictures[name]
        raster = RasterPlot(self.gestures, self._scrub, overlay_table(OVERLAYS[name]))
        raster.plot.getAxis("left").setWidth(AXIS_WIDTH)
        self.pictures[name] = raster
        # X and Y are linked, so the first picture's range is the range of all.
        if raster is self._first:
            raster.box.sigYRangeChanged.connect(lambda *_: self._zoomed())
            raster.box.sigXRangeChanged.connect(lambda *_: self._zoom_ticks())
        else:
            raster.box.setXLink(self._first.box)
            raster.box.setYLink(self._first.box)
        if self._cells is not None:
            self._fit(raster, self._cells)
        return raster

    @staticmethod
    def _fit(raster: RasterPlot, cells: Cells) -> None:
        """Let a picture show the rows and samples of the cells, and nothing beyond."""
        if cells.rows is not None:
            raster.box.setLimits(yMax=len(cells.rows.order))
            raster.set_n_samples(cells.n_samples)
            raster.plot.getAxis("left").setTicks([cells.ticks])

    def _place_pictures(self, names: list[RasterImage]) -> None:
        """Place the pictures side by side; keep the zoom."""
        for raster in self._visible.values():
            self.canvas.ci.removeItem(raster.plot)
        self._visible = {name: self._picture(name) for name in names}
        for number, raster in enumerate(self._visible.values()):
            # All pictures share the rows, so one axis is sufficient.
            raster.plot.showAxis("left", number == 0)
            raster.axis.name.setVisible(number == 0)
            self.canvas.ci.addItem(raster.plot, 0, number)
        for name, raster in self.pictures.items():
            raster.plot.setVisible(name in self._visible)
            # The scene owns a picture that has no place, too: Qt cannot end reliably
            # while Python owns a plot with parts that belong to Python objects.
            if raster.plot.scene() is None:
                self.canvas.scene().addItem(raster.plot)
        self._share_width()

    def _share_width(self) -> None:
        """Give all plots the same data width; the first column also has the axis."""
        count = len(self._visible)
        layout = self.canvas.ci.layout
        left, _, right, _ = layout.getContentsMargins()
        gaps = left + right + (count - 1) * layout.horizontalSpacing()
        room = self.canvas.width() - gaps
        for column in range(len(self.pictures)):
            width = (room - AXIS_WIDTH) / count + (AXIS_WIDTH if column == 0 else 0)
            layout.setColumnFixedWidth(column, max(width, 1) if column < count else 0)

    # -- from the record to the screen ------------------------------------------------
    @property
    def _first(self) -> RasterPlot:
        return self.pictures["truth"]

    def show_cells(self, cells: Cells) -> None:
        """Draw what differs from the cells before."""
        before, self._cells, self.gestures.cells = self._cells, cells, cells
        if cells.rows is None:
            self.gestures.cells = self._cells = None
            for raster in self.pictures.values():
                raster.clear()
            return
        names = [picture.image for picture in cells.pictures]
        is_placed = names == [*self._visible]
        if not is_placed:
            self._place_pictures(names)
        # New ticks make pyqtgraph lay out the plot again, which is slow during strokes.
        if before is None or before.ticks != cells.ticks:
            for raster in self.pictures.values():
                raster.plot.getAxis("left").setTicks([cells.ticks])
        # Averaging the values is slow: skip it while the same rows are in view.
        if (
            before is None
            or not is_placed
            or before.rows is not cells.rows
            or before.pictures is not cells.pictures
        ):
            self._draw_values()
        elif before.codes is not cells.codes:
            self._draw_codes()
        self._follow_rows(before, cells, cells.rows)

    def _follow_rows(self, before: Cells | None, cells: Cells, rows: RasterRows) -> None:
        """Zoom to the rows that are shown."""
        n, box = len(rows.order), self._first.box
        is_other = before is None or before.rows is None or len(before.rows.order) != n
        if before is None or is_other or before.n_samples != cells.n_samples:
            # Another recording, or another model's window: its zoom has no meaning.
            for raster in self.pictures.values():
                self._fit(raster, cells)
            box.setRange(xRange=(0, cells.n_samples), padding=0)
        elif before.n_homes != cells.n_homes:
            box.setRange(xRange=(0, cells.n_samples), padding=0)
        low, high = (0, n) if cells.rows_shown == ALL_ROWS else cells.rows_shown
        if not np.allclose(box.viewRange()[1], (low, high)):
            box.setYRange(low, high, padding=0)

    def _zoomed(self) -> None:
        """Tell which rows are in view after a zoom or a pan."""
        if self._cells is None or self._cells.rows is None:
            return
        low, high = self._first.box.viewRange()[1]
        is_all = low <= 0 and high >= len(self._cells.rows.order)
        self._cells.show_rows(*(ALL_ROWS if is_all else (low, high)))
        # The rows in view can be the same and higher.
        self._zoom_ticks()

    def _draw_values(self) -> None:
        cells = self._cells
        if cells is None or cells.rows is None:
            return
        ticks = self._spike_ticks()
        start, height = cells.rows.start, cells.rows.stop - cells.rows.start
        rect = QRectF(0, start, cells.n_samples, height)
        for picture in cells.pictures:
            raster = self.pictures[picture.image]
            means = cells.rows.mean(picture.values)
            is_ticked = picture.image == "truth" and ticks is not None
            raster.ticks.set_spikes(ticks if is_ticked else None)
            # Ticks take the place of bright bins.
            raster.set_values(picture, 0 * means if is_ticked else means, rect)
        self._draw_codes()

    def _draw_codes(self) -> None:
        if self._cells is not None and self._cells.codes is not None:
            for raster in self._visible.values():
                raster.set_codes(self._cells.codes)

    def _spike_ticks(self) -> np.ndarray | None:
        """Return the spikes in view, or None if cells are too small for ticks."""
        cells = self._cells
        if cells is None or cells.rows is None or cells.window is None:
            return None
        sample_px, row_px = (1 / max(side, 1e-9) for side in self._first.box.pixel())
        if not are_ticks(sample_px, row_px):
            return None
        return spike_ticks(cells.window, cells.rows, *self._first.box.viewRange()[0])

    def _zoom_ticks(self) -> None:
        """Draw ticks or bins after a zoom or a pan over time."""
        was_ticked = self._first.ticks.spikes is not None
        if self._cells is not None and (was_ticked or self._spike_ticks() is not None):
            self._draw_values()

    def show_marks(self, marks: CellMarks) -> None:
        """Draw selected rows, samples of the brush and cursor; fade an old prediction."""
        for name, raster in self.pictures.items():
            raster.set_faded(marks.is_old and name != "truth")
        for raster in self._visible.values():
            raster.span.set_span(marks.span, marks.colour)
            raster.marks.set_rows([row + 0.5 for row in marks.rows])
            raster.set_cursor(marks.cursor)

    def _draw_box(self) -> None:
        for raster in self._visible.values():
            raster.set_rubber(self.gestures.box)

    # -- from the user to the record --------------------------------------------------
    def _scrub(self, position: float) -> None:
        if self._cells is not None:
            self._cells.set_cursor(plot_style.sample_at(position, self._cells.n_samples))

    def _hover(self, at: QPointF) -> None:
        """Describe the neuron, state and sample under the pointer."""
        cells = self._cells
        if cells is None:
            return
        for raster in self._visible.values():
            if raster.box.sceneBoundingRect().contains(at):
                place = raster.box.mapSceneToView(at)
                cells.point_at(plot_style.sample_at(place.x(), cells.n_samples), place.y())
                return
        cells.point_away()
