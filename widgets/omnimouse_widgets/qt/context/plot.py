"""Two plots of score against context size: neurons, and samples of history.

The module draws the sweeps passed to it and has no access to a controller. Colour
and symbol encode the condition; the line style encodes the sweep.
"""

from collections.abc import Collection, Sequence
from functools import cache
from typing import Final

import numpy as np
import pyqtgraph as pg
from pyqtgraph.graphicsItems.ScatterPlotItem import drawSymbol
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QBrush, QColor, QFontMetricsF, QPainter, QPen
from qtpy.QtWidgets import QSizePolicy

from omnimouse_model.analysis.sweep.plan import AXES, ContextAxis
from omnimouse_model.live.sweep.current_point import CurrentPoint
from omnimouse_model.metrics.named import METRICS
from omnimouse_widgets import palette
from omnimouse_widgets.drawn.context.points import (
    AXIS_TEXT,
    DrawnSweep,
    PlottedPoint,
    PointCache,
    dodge,
    place_on,
    rate_of,
    symbols_of,
    tick_text,
    value_at,
    values_of,
)
from omnimouse_widgets.qt.style import plot_style
from omnimouse_widgets.qt.style.picture import Picture
from omnimouse_widgets.qt.style.plot_theme import themed_colour
from omnimouse_widgets.qt.style.tip_points import TipPoints

DASHES: Final[tuple[tuple[float, ...], ...]] = (
    (),
    (5, 3),
    (1, 2.5),
    (6, 2.5, 1, 2.5),
    (12, 4),
    (12, 3, 1, 3),
)
"""Dash patterns of the line numbers of `drawn.context.text`."""
OLD_OPACITY: Final = 0.45
MIN_SPAN: Final = 0.1
"""Minimum range of scores on the vertical axis."""
BELOW: Final = 42
"""Height in pixels of the bottom axis: two lines of tick labels and a title."""
LEGEND_ROW: Final = 18
ROOM: Final = 6
"""Minimum gap in pixels between two tick labels."""


class ContextPlot:
    """Both plots, with a common scale of scores."""

    def __init__(self) -> None:
        self.canvas = plot_style.canvas("")
        self.canvas.setMinimumHeight(84)
        # Ignore the view's size hint: the plot takes the height left by the rows.
        ignored = QSizePolicy.Policy.Ignored
        self.canvas.setSizePolicy(QSizePolicy.Policy.Expanding, ignored)
        self.axes: dict[ContextAxis, _AxisPlot] = {}
        for column, axis in enumerate(AXES):
            self.axes[axis] = _AxisPlot(axis, has_scale=column == 0)
            self.canvas.addItem(self.axes[axis].plot, row=0, col=column)
        layout = self.canvas.ci.layout
        # The left plot also holds the vertical axis, so it is wider.
        layout.setColumnStretchFactor(0, 5)
        layout.setColumnStretchFactor(1, 3)
        neurons, history = (self.axes[axis].plot for axis in AXES)
        # One scale, so that the heights of both plots are comparable.
        history.setYLink(neurons)
        self._message = plot_style.Message(neurons.getViewBox())
        self._mark: CurrentPoint | None = None
        self._spots = PointCache()
        self._names: list[tuple[str, int]] = []

    def show_sweeps(self, sweeps: list[DrawnSweep], hidden: Collection[str] = ()) -> None:
        """Draw the sweeps, except the conditions in `hidden`."""
        self._names = [(sweep.name, sweep.line) for sweep in sweeps]
        spots = [spot for spot in self._spots.points_of(sweeps) if spot.label not in hidden]
        for axis, plot in self.axes.items():
            own = [spot for spot in spots if spot.axis == axis]
            plot.show(own, values_of(sweeps, axis), rate_of(sweeps))
            plot.fade({sweep.line for sweep in sweeps if sweep.is_pale})
        self.axes[AXES[0]].show_symbol(symbols_of(sweeps))
        self._fit()

    def show_mark(self, mark: CurrentPoint | None) -> None:
        """Mark the current request; `None` removes the mark."""
        if repr(mark) == repr(self._mark):  # repr: a NaN score is not equal to itself
            return
        self._mark = mark
        for plot in self.axes.values():
            plot.show_mark(mark)
        self._fit()

    def set_message(self, text: str) -> None:
        """Show a message in place of data."""
        self._message.show(text)

    @property
    def message(self) -> str:
        """The message shown in place of data, or ""."""
        return self._message.text

    def drawn_points(self, axis: ContextAxis, label: str, line: int = 0) -> list[tuple[float, ...]]:
        """Return (value, score, length of the bar) of the points of one curve."""
        return self.axes[axis].drawn_points(label, line)

    def _fit(self) -> None:
        """Set one vertical range that contains all points, error bars and the mark."""
        ends = [y for plot in self.axes.values() for y in plot.extent]
        if self._mark is not None and np.isfinite(self._mark.score):
            ends.append(self._mark.score)
        low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
        spare = max(MIN_SPAN - (high - low), 0.12 * (high - low), 0.02) / 2
        for plot in self.axes.values():
            plot.plot.setYRange(low - spare, high + spare, padding=0)

    # -- pictures ---------------------------------------------------------------------
    def picture(self) -> Picture:
        """Return the plots and their legend as a picture of their size on screen."""
        view = self.canvas.viewport().size()
        return Picture(
            QSize(view.width(), view.height() + self._legend_height),
            self.canvas.logicalDpiX(),
            self._colour(plot_style.BACKGROUND),
            "OmniMouse context sweep",
            "\n".join(name for name, _ in self._names),
            self._paint,
        )

    @property
    def _named(self) -> list[tuple[str, int]]:
        """Names and line numbers of the sweeps; empty if only the live one is shown."""
        return self._names if any(line for _, line in self._names) else []

    @property
    def _legend_height(self) -> int:
        return LEGEND_ROW * (1 + len(self._named))

    def _paint(self, painter: QPainter) -> None:
        self._paint_legend(painter)
        view = self.canvas.viewport().rect()
        items = [i for plot in self.axes.values() for i in (plot.points, plot.star)]
        for item in items:  # vector drawing: bypass pyqtgraph's symbol pixmap cache
            item.setExportMode(True, {"painter": painter, "resolutionScale": 1.0})
        place = QRectF(0, self._legend_height, view.width(), view.height())
        self.canvas.render(painter, place, view)
        for item in items:
            item.setExportMode(False)

    def _colour(self, colour: str) -> str:
        """Return a colour as the canvas draws it."""
        return themed_colour(colour, is_light=self.canvas.is_light)

    def _paint_legend(self, painter: QPainter) -> None:
        """Paint the conditions in one row, then one row per sweep if several."""
        painter.setFont(plot_style.small_font())
        x, middle = 8.0, LEGEND_ROW / 2
        text = self._colour(plot_style.TEXT)
        for label, dark in palette.CONDITION_COLOURS.items():
            painter.save()
            colour = self._colour(dark)
            painter.translate(x + 5, middle)
            symbol = palette.CONDITION_SYMBOLS[label]
            drawSymbol(painter, symbol, 9, plot_style.pen(colour), plot_style.brush(colour))
            painter.restore()
            x = _write(painter, x + 14, middle, label, text)
        for row, (name, line) in enumerate(self._named, 1):
            at = middle + row * LEGEND_ROW
            painter.setPen(line_pen(text, line))
            painter.drawLine(QPointF(8, at), QPointF(44, at))
            _write(painter, 50, at, name, text)


def _write(painter: QPainter, x: float, middle: float, text: str, colour: str) -> float:
    """Write text and return the x position of the next item."""
    painter.setPen(QColor(colour))
    measure = painter.fontMetrics()
    painter.drawText(QPointF(x, middle + measure.ascent() / 2 - 1), text)
    return x + measure.horizontalAdvance(text) + 12


class _AxisPlot:
    """One plot: one line and one bar item per curve, one item for all points."""

    def __init__(self, axis: ContextAxis, *, has_scale: bool) -> None:
        self.axis = axis
        box = pg.ViewBox(enableMenu=False, enableMouse=False, defaultPadding=0.0)
        self.plot = pg.PlotItem(viewBox=box)
        plot_style.style_plot(self.plot)
        self.plot.setLabel("bottom", AXIS_TEXT[axis], color=plot_style.AXIS)
        below = self.plot.getAxis("bottom")
        below.label.setFont(plot_style.small_font())
        # `_fit_ticks` selects the labels itself.
        below.setStyle(hideOverlappingLabels=False)
        below.setHeight(BELOW)  # equal heights keep the two plots aligned
        scale = self.plot.getAxis("left")
        # An SI prefix would show a correlation of 0.3 as 300 (x0.001).
        scale.enableAutoSIPrefix(False)
        if has_scale:
            self.show_symbol(METRICS["correlation"].symbol)
            scale.label.setFont(plot_style.small_font())
        else:
            scale.setStyle(showValues=False)
        self.line = pg.InfiniteLine(angle=90, pen=plot_style.pen(palette.CURSOR, dotted=True))
        self.line.setZValue(1)
        self.line.hide()
        self.points = TipPoints(tip=lambda x, y, data: data.tip, hoverSize=10, antialias=True)
        self.star = TipPoints(tip=lambda x, y, data: data, symbol="star", size=14)
        self.points.setZValue(20)
        self.star.setZValue(30)
        for item in (self.line, self.points, self.star):
            self.plot.addItem(item, ignoreBounds=True)
        box.sigResized.connect(lambda _: self._fit_ticks())
        self._lines: dict[tuple[str, int], pg.PlotCurveItem] = {}
        self._bars: dict[tuple[str, int], pg.PlotCurveItem] = {}
        self._spots: list[PlottedPoint] = []
        self._values: tuple[int, ...] = ()
        self._rate_hz = float("nan")
        self._mark_x: float | None = None

    @property
    def extent(self) -> list[float]:
        """Score values of all points and of the ends of their error bars."""
        return [y for spot in self._spots for y in spot.point.ends]

    def show_symbol(self, symbol: str) -> None:
        """Name the metric on the vertical axis."""
        # The axis is narrow: a correlation is written out, as it was always.
        words = "correlation" if symbol in ("r", "") else symbol
        self.plot.setLabel("left", words, color=plot_style.AXIS)

    def show(self, spots: list[PlottedPoint], values: tuple[int, ...], rate_hz: float) -> None:
        """Draw the points with their lines and error bars."""
        self._spots, self._values, self._rate_hz = spots, values, rate_hz
        curves = {(spot.label, spot.line) for spot in spots}
        # Also visit curves without spots, so that their items are emptied.
        for curve in curves | set(self._lines):
            self._draw_curve(curve, [s for s in spots if (s.label, s.line) == curve])
        # Compute the offset once per condition, not once per point.
        offsets = {label: self._dodge(label) for label in palette.CONDITION_COLOURS}
        self.points.setData(
            x=[spot.x + offsets[spot.label] for spot in spots],
            y=[spot.point.score for spot in spots],
            symbol=[palette.CONDITION_SYMBOLS[spot.label] for spot in spots],
            brush=[fill_of(spot.label, spot.line) for spot in spots],
            pen=[edge_of(spot.label) for spot in spots],
            data=spots,
            size=8,
        )
        self._fit()

    def fade(self, pale: Collection[int]) -> None:
        """Fade the curves of some sweeps, given by line number."""
        for items in (self._lines, self._bars):
            for (_, line), item in items.items():
                item.setOpacity(OLD_OPACITY if line in pale else 1.0)

    def show_mark(self, mark: CurrentPoint | None) -> None:
        """Draw a line at the current request and a star at its score."""
        self.line.setVisible(mark is not None)
        if mark is None:
            self._mark_x = None
            self.star.setData([])
            return
        self._mark_x = place_on(self.axis, getattr(mark.context, self.axis))
        self.line.setValue(self._mark_x)
        self.star.setOpacity(OLD_OPACITY if mark.is_old else 1.0)
        # A filled star is the score of the selected neurons, an open one of others.
        colours = [palette.CURSOR, plot_style.BACKGROUND]
        fill, edge = colours if mark.is_comparable else reversed(colours)
        self.star.setBrush(plot_style.brush(fill))
        self.star.setPen(plot_style.pen(edge))
        tip = f"This mask: {mark.text}"
        spots = [{"pos": (self._mark_x, mark.score), "data": tip}]
        self.star.setData(spots if np.isfinite(mark.score) else [])
        self._fit()

    def drawn_points(self, label: str, line: int) -> list[tuple[float, ...]]:
        """Read the drawn points back from the plot items."""
        if (label, line) not in self._lines:
            return []
        x, y = self._lines[label, line].getData()
        bars = np.asarray(self._bars[label, line].getData()[1]).reshape(-1, 2)
        lengths = np.diff(bars, axis=1)[:, 0]
        return [
            (
                value_at(self.axis, float(at - self._dodge(label))),
                float(score),
                float(length),
            )
            for at, score, length in zip(x, y, lengths, strict=True)
        ]

    def _draw_curve(self, curve: tuple[str, int], spots: list[PlottedPoint]) -> None:
        if curve not in self._lines:
            label, line = curve
            colour = palette.CONDITION_COLOURS[label]
            self._lines[curve] = self._added(line_pen(colour, line), "finite")
            self._bars[curve] = self._added(plot_style.pen(colour, 1.5), "pairs")
        x = np.array([spot.x for spot in spots], float) + self._dodge(curve[0])
        y = np.array([spot.point.score for spot in spots], float)
        self._lines[curve].setData(x, y)
        # `connect="pairs"` draws a line from each even to the next odd point: one error
        # bar per pair.
        ends = np.array([spot.point.ends for spot in spots], float).ravel()
        self._bars[curve].setData(np.repeat(x, 2), ends)

    def _dodge(self, label: str) -> float:
        """Return the horizontal offset of a condition from its value."""
        return dodge(label, self.axis, self._values)

    def _added(self, pen: QPen, connect: str) -> pg.PlotCurveItem:
        item = pg.PlotCurveItem(pen=pen, connect=connect, antialias=True)
        item.setZValue(10)
        self.plot.addItem(item, ignoreBounds=True)
        return item

    def _fit(self) -> None:
        """Fit the horizontal range to all values and the mark, then the tick labels."""
        places = [place_on(self.axis, value) for value in self._values]
        # 0 and 1 keep the range from being empty without values.
        within = [*places, *([] if self._mark_x is None else [self._mark_x]), 0.0, 1.0]
        low, high = min(within), max(within)
        room = 0.1 * (high - low)
        self.plot.setXRange(low - room, high + room, padding=0)
        self._fit_ticks()

    def _fit_ticks(self) -> None:
        """Show as many tick labels as fit, the outermost first."""
        (low, high), _ = self.plot.getViewBox().viewRange()
        pixels = self.plot.getViewBox().width() / (high - low)
        measure = QFontMetricsF(plot_style.small_font())
        spans = {}
        for value in sorted(self._values):
            lines = tick_text(self.axis, value, self._rate_hz).split("\n")
            half = max(measure.horizontalAdvance(line) for line in lines) / 2
            at = place_on(self.axis, value) * pixels
            spans[value] = at - half, at + half
        fits = fitting(list(spans.values()), ROOM)
        ticks = [
            (place_on(self.axis, value), tick_text(self.axis, value, self._rate_hz))
            for value, has_room in zip(spans, fits, strict=True)
            if has_room
        ]
        self.plot.getAxis("bottom").setTicks([ticks])


def fitting(spans: Sequence[tuple[float, float]], room: float) -> list[bool]:
    """Select the labels to draw such that none overlap.

    Parameters
    ----------
    spans
        (left, right) of each label, from left to right.
    room
        Minimum gap between two labels.

    Returns
    -------
    list of bool
        Whether each label is drawn. Priority: last, first, then left to right.
    """
    order = [len(spans) - 1, *range(len(spans) - 1)] if spans else []
    taken: list[tuple[float, float]] = []
    is_drawn = [False] * len(spans)
    for at in order:
        left, right = spans[at]
        if all(right + room <= a or b + room <= left for a, b in taken):
            taken.append(spans[at])
            is_drawn[at] = True
    return is_drawn


def line_pen(colour: str, line: int) -> QPen:
    """Return the pen of a condition in one of the sweeps."""
    pen = plot_style.pen(colour, 1.5)
    if DASHES[line]:
        pen.setDashPattern(list(DASHES[line]))
        # Qt's default square caps lengthen every dash and would close short gaps.
        pen.setCapStyle(Qt.PenCapStyle.FlatCap)
    return pen


@cache
def fill_of(label: str, line: int) -> QBrush:
    """Return the point fill: solid for the first line, open for others."""
    return plot_style.brush(plot_style.BACKGROUND if line else palette.CONDITION_COLOURS[label])


# Cached, because a drawing asks for the brush and the pen of every point.
@cache
def edge_of(label: str) -> QPen:
    """Return the edge pen of a condition's points."""
    return plot_style.pen(palette.CONDITION_COLOURS[label], 1.5)
