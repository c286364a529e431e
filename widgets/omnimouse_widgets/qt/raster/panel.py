"""Pictures of the raster: neurons by window samples, with an editable mask overlay."""

import numpy as np
from qtpy.QtCore import QPointF, QRectF
from qtpy.QtWidgets import QVBoxLayout, QWidget

from omnimouse_widgets.qt.raster.gestures import RasterGestures
from omnimouse_widgets.qt.raster.plot import RasterPlot
from omnimouse_widgets.qt.style import plot_style
from omnimouse_widgets.views.raster import (
    ALL_ROWS,
    OVERLAYS,
    are_ticks,
    overlay_table,
    spike_ticks,
)
from omnimouse_widgets.views.record import CellMarks, Cells
from omnimouse_widgets.views.rows.raster import RasterImage, RasterRows

AXIS_WIDTH = 58


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
            raster.set_marks(marks.rows)
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
