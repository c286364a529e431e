"""Pictures of the raster: neurons by window samples, with an editable mask overlay."""

import numpy as np
from qtpy.QtCore import QPointF, QRectF
from qtpy.QtWidgets import QVBoxLayout, QWidget

from omnimouse_model.live.controller import Controller
from omnimouse_widgets.qt.raster.gestures import RasterGestures
from omnimouse_widgets.qt.raster.plot import RasterPlot
from omnimouse_widgets.qt.style import plot_style
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.views.raster.rows import Arrangement, RasterRows
from omnimouse_widgets.views.raster.view import (
    ALL_ROWS,
    OVERLAYS,
    TITLES,
    RasterImage,
    RasterView,
    are_ticks,
    images_of,
    overlay_table,
    spike_ticks,
)

AXIS_WIDTH = 58


class RasterArea(QWidget):
    """Neurons × samples of the window: activity values with the mask drawn over them.

    Parameters
    ----------
    view
        Rows in view, pictures, codes and marks.
    controller
        Source of the signals, and receiver of the edits made here.
    tip
        What the mouse does.
    """

    def __init__(self, view: RasterView, controller: Controller, tip: str) -> None:
        super().__init__()
        self._view, self._controller = view, controller
        self._arranged: Arrangement | None = None
        self._rows: RasterRows | None = None
        self._n_samples = controller.state.spec.n_samples
        self.gestures = RasterGestures(view, controller)
        self.canvas = plot_style.canvas(tip)
        self.pictures: dict[RasterImage, RasterPlot] = {}
        self._build_pictures()
        column = QVBoxLayout(self)
        # Qt calls a widget covered that its children fill, and nothing would be drawn.
        column.setContentsMargins(1, 1, 1, 1)
        column.addWidget(self.canvas)
        self.setMinimumSize(300, 96)
        self.canvas.scene().sigMouseMoved.connect(self._hover)
        self.canvas.sigDeviceRangeChanged.connect(lambda *_: self._share_width())
        self._place_pictures()
        self.redraw = self._redraw()

    def _redraw(self) -> Redraw:
        events, results = self._controller.state.events, self._controller.results
        rows = [events.session, events.mask, events.active_span, events.raster_order,
                results.events.scores, self._controller.editor.history_changed,
                self._controller.neuron_order.changed]  # fmt: skip
        return Redraw(
            self,
            # First, because the other parts depend on the view and on the rows in view.
            (self._place_view, [events.raster_view]),
            (self._follow_rows, [self._view.rows_moved]),
            (self._draw_rows, rows),
            (self._draw_cells, [events.window, results.events.population]),
            (self._draw_age, [results.events.population_freshness]),
            (self._draw_span, [events.active_span, events.brush_code]),
            (self._draw_marks, [events.selection]),
            (self._draw_cursor, [events.cursor, events.window]),
            (self._draw_box, [self.gestures.box_changed]),
        )

    def _build_pictures(self) -> None:
        # All pictures exist from the start; a view places some of them.
        for name in TITLES:
            tints = overlay_table(OVERLAYS[name])
            raster = RasterPlot(self.gestures, self._scrub, tints)
            raster.plot.getAxis("left").setWidth(AXIS_WIDTH)
            raster.set_n_samples(self._n_samples)
            self.pictures[name] = raster
        first, *others = self.pictures.values()
        for raster in others:
            raster.box.setXLink(first.box)
            raster.box.setYLink(first.box)
        # X and Y are linked, so the first picture's range is the range of all.
        first.box.sigYRangeChanged.connect(lambda *_: self._zoomed())
        first.box.sigXRangeChanged.connect(lambda *_: self._zoom_ticks())

    def _place_pictures(self) -> None:
        """Place the pictures of the view side by side; keep the zoom."""
        for raster in self.pictures.values():
            # Removing a plot that is not in the layout raises an error.
            if raster.plot.scene() is not None:
                self.canvas.ci.removeItem(raster.plot)
        for number, raster in enumerate(self._visible.values()):
            # All pictures share the rows, so one axis is sufficient.
            raster.plot.showAxis("left", number == 0)
            self.canvas.ci.addItem(raster.plot, 0, number)
        self._share_width()

    def _share_width(self) -> None:
        """Give all plots the same data width; the first column also has the axis."""
        count = len(images_of(self._controller.state.raster_view))
        layout = self.canvas.ci.layout
        left, _, right, _ = layout.getContentsMargins()
        gaps = left + right + (count - 1) * layout.horizontalSpacing()
        room = self.canvas.width() - gaps
        for column in range(len(self.pictures)):
            width = (room - AXIS_WIDTH) / count + (AXIS_WIDTH if column == 0 else 0)
            layout.setColumnFixedWidth(column, max(width, 1) if column < count else 0)

    def _scrub(self, position: float) -> None:
        sample = plot_style.sample_at(position, self._n_samples)
        self._controller.navigation.set_cursor(sample)

    # -- from state to screen -----------------------------------------------------
    @property
    def _first(self) -> RasterPlot:
        return self.pictures["truth"]

    @property
    def _visible(self) -> dict[RasterImage, RasterPlot]:
        """The pictures of the view, from left to right."""
        shown = images_of(self._controller.state.raster_view)
        return {name: self.pictures[name] for name in shown}

    def _place_view(self) -> None:
        """Place the pictures of another view; those not shown have missed all drawings."""
        self._place_pictures()
        for draw in (
            self._draw_cells,
            self._draw_age,
            self._draw_span,
            self._draw_marks,
            self._draw_cursor,
        ):
            draw()  # fmt: skip

    def _follow_rows(self) -> None:
        """Zoom to the rows that the view says are shown."""
        low, high = self._view.rows_shown
        mask, box = self._controller.state.mask, self._first.box
        if (low, high) != ALL_ROWS:
            if not np.allclose(box.viewRange()[1], (low, high)):
                box.setYRange(low, high, padding=0)
            return
        n_rows = 1 if mask is None else mask.n_neurons
        box.setRange(xRange=(0, self._n_samples), yRange=(0, n_rows), padding=0)

    def _draw_rows(self) -> None:
        """Order and bin the rows, then draw everything that depends on them."""
        before = self._rows
        self._rows = self._view.place_rows()
        arranged = self._view.arrangement
        if self._rows is None or arranged is None:
            self._arranged = None
            for raster in self.pictures.values():
                raster.clear()
            return
        # New ticks make pyqtgraph lay out the plot again, which is slow during strokes.
        if self._arranged is None or self._arranged.ticks != arranged.ticks:
            for raster in self.pictures.values():
                raster.plot.getAxis("left").setTicks([arranged.ticks])
        n, n_samples = len(arranged.order), self._controller.state.spec.n_samples
        is_other = self._arranged is None or len(self._arranged.order) != n
        if is_other or n_samples != self._n_samples:
            # Another recording, or another model's window: its zoom has no meaning. The
            # signals of the new range must not draw codes on the values of the old one.
            self._arranged = before = None
            self._n_samples = n_samples
            for raster in self.pictures.values():
                raster.box.setLimits(yMax=n)
                raster.set_n_samples(n_samples)
            self._view.show_all()
            self._follow_rows()
            self._rows = self._view.place_rows()
        self._arranged = arranged
        # Averaging the values is slow: skip it while the same rows are in view.
        if self._rows is not before:
            self._draw_values()
            self._draw_marks()
        self._draw_codes()

    def _zoomed(self) -> None:
        """Bin the rows again after a zoom or a pan of the rows."""
        if self._arranged is None or not self.redraw.is_live:
            return
        low, high = self._first.box.viewRange()[1]
        is_all = low <= 0 and high >= len(self._arranged.order)
        self._view.show_rows(*(ALL_ROWS if is_all else (low, high)))
        before = self._rows
        self._draw_rows()
        if self._rows is before:
            # The rows in view can be the same and higher.
            self._zoom_ticks()

    def _draw_cells(self) -> None:
        self._draw_values()
        self._draw_codes()

    def _draw_values(self) -> None:
        if self._rows is None:
            return
        ticks = self._spike_ticks()
        start, height = self._rows.start, self._rows.stop - self._rows.start
        rect = QRectF(0, start, self._n_samples, height)
        for picture in self._view.pictures():
            raster = self.pictures[picture.image]
            means = self._rows.mean(picture.values)
            is_ticked = picture.image == "truth" and ticks is not None
            raster.ticks.set_spikes(ticks if is_ticked else None)
            # Ticks take the place of bright bins.
            raster.set_values(picture, 0 * means if is_ticked else means, rect)

    def _spike_ticks(self) -> np.ndarray | None:
        """Return the spikes in view, or None if cells are too small for ticks."""
        window = self._controller.state.window
        if self._rows is None or window is None:
            return None
        sample_px, row_px = (1 / max(side, 1e-9) for side in self._first.box.pixel())
        if not are_ticks(sample_px, row_px):
            return None
        return spike_ticks(window, self._rows, *self._first.box.viewRange()[0])

    def _zoom_ticks(self) -> None:
        """Draw ticks or bins after a zoom or a pan over time."""
        if self._rows is None or not self.redraw.is_live:
            return
        was_ticked = self._first.ticks.spikes is not None
        if was_ticked or self._spike_ticks() is not None:
            self._draw_cells()

    def _draw_age(self) -> None:
        """Fade a prediction that belongs to an older request."""
        is_old = self._controller.results.is_population_old
        self.pictures["prediction"].set_faded(is_old)
        self.pictures["residual"].set_faded(is_old)

    def _draw_codes(self) -> None:
        codes = self._view.codes()
        if codes is not None:
            for raster in self._visible.values():
                raster.set_codes(codes)

    def _draw_box(self) -> None:
        for raster in self._visible.values():
            raster.set_rubber(self.gestures.box)

    def _draw_span(self) -> None:
        for raster in self._visible.values():
            raster.span.set_span(*self._view.span_outline())

    def _draw_marks(self) -> None:
        for raster in self._visible.values():
            raster.set_marks(self._view.marks())

    def _draw_cursor(self) -> None:
        for raster in self._visible.values():
            raster.set_cursor(self._controller.state.cursor)

    def _hover(self, at: QPointF) -> None:
        """Describe the neuron, state and sample under the pointer."""
        for raster in self._visible.values():
            if raster.box.sceneBoundingRect().contains(at):
                place = raster.box.mapSceneToView(at)
                sample = plot_style.sample_at(place.x(), self._n_samples)
                self._view.point_at(sample, place.y())
                return
        self._view.point_away()
