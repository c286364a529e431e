"""Raster panel: neurons by window samples, with an editable mask overlay."""

from typing import cast

import numpy as np
from qtpy.QtCore import QPointF, QRectF
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QBoxLayout, QWidget

from omnimouse_model.live.controller import Controller
from omnimouse_widgets.drawn.raster.order import Arrangement
from omnimouse_widgets.drawn.raster.pixels import OVERLAYS, overlay_table
from omnimouse_widgets.drawn.raster.rows import (
    RasterRows,
    rows_in_view,
)
from omnimouse_widgets.drawn.raster.text import (
    HATCHED,
    VIEW_TIP,
    hatch_text,
    status_text,
)
from omnimouse_widgets.drawn.raster.ticks import are_ticks, spike_ticks
from omnimouse_widgets.drawn.raster.values import (
    TITLES,
    VIEWS,
    RasterImage,
    View,
    images_of,
    picture,
    title,
)
from omnimouse_widgets.drawn.units import drawn_units
from omnimouse_widgets.palette import STATE_NAMES
from omnimouse_widgets.qt.raster.gestures import TOOLS, RasterGestures, Tool
from omnimouse_widgets.qt.raster.order_box import OrderBox
from omnimouse_widgets.qt.raster.plot import RasterPlot
from omnimouse_widgets.qt.style import plot_style, shortcuts
from omnimouse_widgets.qt.style.form import ElidedLabel, column_in, row_of
from omnimouse_widgets.qt.style.menu_box import MenuBox
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.segmented_button import SegmentedButton

TOOLTIP = (
    "Neurons (rows) by samples (columns) of the window.\n"
    "Left drag: use the tool · right drag: pan · wheel: zoom rows · Shift+wheel: zoom "
    "time\nDrag the time axis to move the cursor · Home: reset the zoom"
)
AXIS_WIDTH = 58
NARROW = 500
"""Panel width in pixels below which the toolbar is split into two lines."""


class RasterPanel(QWidget):
    """Neurons × samples of the window: activity values with the mask drawn over them.

    Parameters
    ----------
    controller
        Source of `state` and `results`, and receiver of the edits made here.
    """

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self.setObjectName("omnimouse-raster")
        self._controller = controller
        self._view: View = "truth"
        self._arranged: Arrangement | None = None
        self._rows: RasterRows | None = None
        self._codes: np.ndarray | None = None
        self._hatch_reasons: tuple[str, ...] = ()
        self._n_samples = controller.state.spec.n_samples
        self.gestures = RasterGestures(controller)
        self.canvas = plot_style.canvas(TOOLTIP)
        self.pictures: dict[RasterImage, RasterPlot] = {}
        self._build_pictures()
        self._build_toolbar()
        self._lay_out()
        self._place_pictures()
        self._bind_keys()
        self.redraw = self._redraw()

    def _redraw(self) -> Redraw:
        events, results = self._controller.state.events, self._controller.results
        similarity = self._controller.neuron_order.changed
        rows = [events.session, events.mask, events.active_span, results.events.scores,
                self._controller.editor.history_changed, similarity]  # fmt: skip
        return Redraw(
            self,
            # First, because the other parts depend on order and view.
            (self._follow, [events.raster_order, events.raster_view]),
            (self._draw_rows, rows),
            (self._draw_cells, [events.window, results.events.population]),
            (self._draw_age, [results.events.population_freshness]),
            (self._draw_span, [events.active_span, events.brush_code]),
            (self._draw_marks, [events.selection]),
            (self._draw_cursor, [events.cursor, events.window]),
            (self._draw_box, [self.gestures.box_changed]),
            (self._draw_status, [results.changed, events.session, events.cursor,
                                 similarity]),
        )  # fmt: skip

    # -- building -----------------------------------------------------------------
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
        first.box.sigYRangeChanged.connect(lambda *_: self._refit())
        first.box.sigXRangeChanged.connect(lambda *_: self._zoom_ticks())

    def _build_toolbar(self) -> None:
        self.tools = SegmentedButton(TOOLS, "Raster tool", shrinks=False)
        self.tools.show_value(self.gestures.tool)
        self.tools.picked.connect(self.set_tool)
        self.ordering = OrderBox(self._controller)
        self.ordering.order_changed.connect(self._ordering_picked)
        self.view = MenuBox()
        self.view.setMaximumWidth(124)
        for view, label in VIEWS.items():
            self.view.addItem(label, view)
        self.view.setToolTip(VIEW_TIP)
        self.view.currentIndexChanged.connect(lambda _: self._view_picked())
        self.status = ElidedLabel()
        self.status.setMinimumHeight(self.status.fontMetrics().height())

    def _lay_out(self) -> None:
        self._choices = row_of(self.ordering, self.view)
        self._choices.addStretch(1)
        self._bar = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._bar.setSpacing(6)
        self._bar.addWidget(self.tools)
        self._bar.addLayout(self._choices, 1)
        column_in(self, self._bar, self.canvas, stretch=1)
        self._place_status(is_narrow=False)
        self.setMinimumSize(300, 150)
        self.canvas.scene().sigMouseMoved.connect(self._hover)
        self.canvas.sigDeviceRangeChanged.connect(lambda *_: self._share_width())

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Split the toolbar into two lines when the panel is narrow."""
        is_narrow = self.width() < NARROW
        ways = QBoxLayout.Direction
        way = ways.TopToBottom if is_narrow else ways.LeftToRight
        if way != self._bar.direction():
            self._bar.setDirection(way)
            self._place_status(is_narrow=is_narrow)
        super().resizeEvent(event)

    def _place_status(self, *, is_narrow: bool) -> None:
        """Place the status beside the menus of a narrow panel, else on its own line."""
        column = self.layout()
        assert isinstance(column, QBoxLayout)
        self._choices.removeWidget(self.status)
        column.removeWidget(self.status)
        if is_narrow:
            self._choices.insertWidget(2, self.status, 1)
        else:
            column.insertWidget(1, self.status)
        # The free width is that of the status, or stays at the end.
        self._choices.setStretch(self._choices.count() - 1, 0 if is_narrow else 1)

    def _bind_keys(self) -> None:
        shortcuts.bind_keys(self, self._controller)
        shortcuts.bind(self, "Home", self.show_all)
        shortcuts.bind(self, "V", self._show_next_view)

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
        count = len(images_of(self._view))
        layout = self.canvas.ci.layout
        left, _, right, _ = layout.getContentsMargins()
        gaps = left + right + (count - 1) * layout.horizontalSpacing()
        room = self.canvas.width() - gaps
        for column in range(len(self.pictures)):
            width = (room - AXIS_WIDTH) / count + (AXIS_WIDTH if column == 0 else 0)
            layout.setColumnFixedWidth(column, max(width, 1) if column < count else 0)

    # -- what the user does -----------------------------------------------------------
    def set_tool(self, tool: Tool) -> None:
        """Set the action of the left mouse button."""
        self.gestures.tool = tool
        self.tools.show_value(tool)

    def set_view(self, view: View) -> None:
        """Show truth, prediction or residual, or several of them side by side."""
        self.view.setCurrentIndex(self.view.findData(view))

    def show_all(self) -> None:
        """Reset the zoom to all rows and samples."""
        mask = self._controller.state.mask
        rows = mask.n_neurons if mask is not None else 1
        box = self._first.box
        box.setRange(xRange=(0, self._n_samples), yRange=(0, rows), padding=0)

    def _ordering_picked(self) -> None:
        self._write_choices()
        # To the top at the same zoom: the rows in view would be those of no neuron
        # that was there before.
        low, high = self._first.box.viewRange()[1]
        self._first.box.setYRange(0, high - low, padding=0)
        self._draw_rows()
        self._draw_status()

    def _show_next_view(self) -> None:
        self.view.setCurrentIndex((self.view.currentIndex() + 1) % self.view.count())

    def _view_picked(self) -> None:
        self._view = cast(View, self.view.currentData())
        self._write_choices()
        self._place_pictures()
        self._draw_values()
        # Pictures that were not shown have missed the drawings of every part.
        self.redraw.start()

    def _write_choices(self) -> None:
        """Write the chosen order and view to the state."""
        state = self._controller.state
        state.raster_order, state.raster_view = self.ordering.ordering, self._view

    def _follow(self) -> None:
        """Apply the order and view of the state, e.g. from an opened analysis."""
        state = self._controller.state
        # Both are read first: a new order also writes the view that is shown.
        ordering, view = state.raster_order, state.raster_view
        self.ordering.show_ordering(ordering)
        self.set_view(view)

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
        return {name: self.pictures[name] for name in images_of(self._view)}

    def _draw_rows(self) -> None:
        """Order and bin the rows, then draw everything that depends on them."""
        mask = self._controller.state.mask
        if mask is None:
            self._arranged = self._rows = self.gestures.rows = None
            for raster in self.pictures.values():
                raster.clear()
            return
        if not self._has_fixed_rows(mask.n_neurons):
            self._arrange()
        self._bin_rows()
        self._draw_codes()

    def _has_fixed_rows(self, n_neurons: int) -> bool:
        """Return True while the row order must not change.

        Rows must not move during a brush stroke, in the raster or on the field.
        """
        if self._arranged is None or len(self._arranged.order) != n_neurons:
            return False
        return self._controller.editor.in_stroke

    def _arrange(self) -> None:
        before = self._arranged
        self._arranged = self.ordering.row_order()
        # New ticks make pyqtgraph lay out the plot again, which is slow during strokes.
        if before is None or before.ticks != self._arranged.ticks:
            for raster in self.pictures.values():
                raster.plot.getAxis("left").setTicks([self._arranged.ticks])
        n_samples = self._controller.state.spec.n_samples
        is_other = before is None or len(before.order) != len(self._arranged.order)
        if is_other or n_samples != self._n_samples:
            # Another recording, or another model's window: its zoom has no meaning.
            self._n_samples, self._rows = n_samples, None
            for raster in self.pictures.values():
                raster.box.setLimits(yMax=len(self._arranged.order))
                raster.set_n_samples(n_samples)
            self.show_all()

    def _bin_rows(self) -> None:
        """Bin the rows in view; redraw the values if the rows changed."""
        assert self._arranged is not None
        order = self._arranged.order
        start, stop = rows_in_view(len(order), *self._first.box.viewRange()[1])
        before = self._rows
        # Averaging the values is slow: skip it while the same rows are in view.
        if (
            before is not None
            and (before.start, before.stop) == (start, stop)
            and np.array_equal(before.order, order)
        ):
            return
        self._rows = self.gestures.rows = RasterRows.of(order, start, stop)
        self._draw_values()
        self._draw_marks()

    def _refit(self) -> None:
        """Bin the rows again after a zoom or a pan."""
        if self._arranged is None or not self.redraw.is_live:
            return
        before = self._rows
        self._bin_rows()
        # A pan within the same bins needs no new codes.
        if self._rows is not before:
            self._draw_codes()
        else:
            # The rows in view can be the same and higher.
            self._zoom_ticks()

    def _draw_cells(self) -> None:
        self._draw_values()
        self._draw_codes()

    def _draw_values(self) -> None:
        window = self._controller.state.window
        if self._rows is None or window is None:
            return
        population = self._controller.results.population
        ticks = self._spike_ticks()
        units = drawn_units(window.spec)
        unit = "" if units == "normalised" else units
        start, height = self._rows.start, self._rows.stop - self._rows.start
        rect = QRectF(0, start, self._n_samples, height)
        for name, raster in self._visible.items():
            values = picture(name, window, population)
            means = self._rows.mean(values.values)
            is_ticked = name == "truth" and ticks is not None
            raster.ticks.set_spikes(ticks if is_ticked else None)
            # Ticks take the place of bright bins.
            raster.set_values(values, 0 * means if is_ticked else means, rect)
            # A single picture of activity is named by the menu; a residual needs its
            # levels.
            is_titled = name == "residual" or len(self._visible) > 1
            raster.set_title(title(name, values.levels, unit) if is_titled else "")

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
        mask = self._controller.state.mask
        if self._rows is None or mask is None:
            return
        window = self._controller.state.window
        self._codes = codes = self._rows.codes(mask, window)
        # The status line contains the reasons for the hatching.
        reasons = hatch_text(codes)
        if reasons != self._hatch_reasons:
            self._hatch_reasons = reasons
            self._draw_status()
        for raster in self._visible.values():
            raster.set_codes(codes)

    def _draw_box(self) -> None:
        for raster in self._visible.values():
            raster.set_rubber(self.gestures.box)

    def _draw_span(self) -> None:
        state = self._controller.state
        for raster in self._visible.values():
            raster.set_span(state.active_span, state.brush_code)

    def _draw_marks(self) -> None:
        if self._arranged is None:
            return
        # Inverse permutation of `order`: the row of each neuron.
        place = np.empty(len(self._arranged.order), np.int64)
        place[self._arranged.order] = np.arange(len(place))
        marked = [n for n in self._controller.state.selection if n < len(place)]
        for raster in self._visible.values():
            raster.set_marks(place[marked].tolist())

    def _draw_cursor(self) -> None:
        for raster in self._visible.values():
            raster.set_cursor(self._controller.state.cursor)

    def _draw_status(self) -> None:
        self.ordering.draw()
        text = status_text(self._controller, self._rows, self._view, self._hatch_reasons)
        self.status.set_text(text)
        self.status.setToolTip(text)

    def _hover(self, at: QPointF) -> None:
        """Show the neuron, state and sample under the pointer in the status line."""
        for raster in self._visible.values():
            if raster.box.sceneBoundingRect().contains(at):
                place = raster.box.mapSceneToView(at)
                self.status.set_text(self._describe(place.x(), place.y()))
                return
        self._draw_status()

    def _describe(self, position: float, row: float) -> str:
        """Return e.g. `neuron 412 · target · sample 33`, and why it is hatched."""
        state, neurons = self._controller.state, self.gestures.neurons_at(row)
        mask = state.mask
        if mask is None or state.session is None or not len(neurons):
            return ""
        sample = plot_style.sample_at(position, self._n_samples)
        states = np.unique(mask.cells[sample, neurons])
        word = STATE_NAMES[states[0]] if len(states) == 1 else "several states"
        # A row can contain dozens of neurons, more than the status line can show.
        names = ", ".join(map(str, state.session.units.names[neurons[:4]]))
        more = "…" if len(neurons) > 4 else ""
        text = f"{names}{more} · {word} · sample {sample}"
        if self._rows is None or self._codes is None:
            return text
        code = int(self._codes[self._rows.bin_at(row), sample])
        return f"{text} · ▨ {HATCHED[code]}" if code in HATCHED else text
