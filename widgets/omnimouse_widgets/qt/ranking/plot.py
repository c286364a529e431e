"""Curves of a ranking: test score over the number of sessions or trials."""

import numpy as np
import pyqtgraph as pg

from omnimouse_widgets.drawn.ranking import (
    COLOURS,
    NO_CURVES,
    SYMBOLS,
    CurvePlot,
    OrderLine,
)
from omnimouse_widgets.qt.style import plot_style
from omnimouse_widgets.qt.style.tip_points import TipPoints

TOOLTIP = "Point at a mark to see its numbers"


class CurvesPlot:
    """Means with their standard deviations, fitted lines and the baseline.

    Attributes
    ----------
    shown
        The curves that are drawn; None for a message in their place.
    """

    def __init__(self) -> None:
        self.canvas = plot_style.canvas(TOOLTIP)
        self.canvas.setAccessibleName("Test score over sessions or trials")
        self.box = pg.ViewBox(enableMenu=False, enableMouse=False)
        self.plot = pg.PlotItem(viewBox=self.box)
        self.canvas.addItem(self.plot)
        plot_style.style_plot(self.plot)
        # An SI prefix would show 0.3 as 300 (x0.001).
        for axis in ("left", "bottom"):
            self.plot.getAxis(axis).enableAutoSIPrefix(False)
        self.baseline = pg.InfiniteLine(angle=0, pen=plot_style.pen(plot_style.TEXT, dashed=True))
        self.box.addItem(self.baseline, ignoreBounds=True)
        self.message = plot_style.Message(self.box)
        self.marks: list[TipPoints] = []
        self._items: list[pg.GraphicsObject] = []
        self.shown: CurvePlot | None = None

    def show(self, plot: CurvePlot | None) -> None:
        """Draw curves in place of those before, or the message that there are none."""
        self.shown = plot
        for item in self._items:
            self.plot.removeItem(item)
        self._items, self.marks = [], []
        self.message.show("" if plot else NO_CURVES)
        self.baseline.setVisible(plot is not None)
        for axis in ("left", "bottom"):
            self.plot.showAxis(axis, plot is not None)
        if plot is None:
            return
        self._set_axes(plot)
        self.baseline.setValue(plot.baseline)
        for line in plot.lines:
            self._add_line(line)
        # One below the other, at the right.
        (_, right), (low, high) = self.box.viewRange()
        names = [
            *((line.order, COLOURS[line.order]) for line in plot.lines),
            ("from scratch", plot_style.TEXT),
        ]
        for rank, (name, colour) in enumerate(names):
            text = plot_style.text_item(name, colour, (1.0, 0.0))
            text.setPos(right, high - rank * 0.08 * (high - low))
            self._add(text)

    def _set_axes(self, plot: CurvePlot) -> None:
        sizes = np.concatenate([line.x for line in plot.lines])
        ends = [plot.baseline]
        for line in plot.lines:
            sd = np.nan_to_num(line.sd)
            ends += [*(line.y - sd), *(line.y + sd), *line.fit[1]]
        low, high = float(np.nanmin(ends)), float(np.nanmax(ends))
        span = max(high - low, 1e-3)
        bottom, left = self.plot.getAxis("bottom"), self.plot.getAxis("left")
        ticks = [(float(np.log10(size)), f"{size:z,.0f}") for size in plot.ticks]
        bottom.setTicks([ticks])
        for axis, label in ((bottom, plot.across), (left, plot.up)):
            axis.setLabel(label, color=plot_style.AXIS)
            axis.label.setFont(plot_style.small_font())
        ends_x = np.log10([sizes.min(), max(sizes.max(), 1.01 * sizes.min())])
        # The names of the lines stand above the curves.
        top = high + (0.1 + 0.09 * (len(plot.lines) + 1)) * span
        self.plot.setRange(xRange=tuple(ends_x), padding=0.05)
        self.plot.setRange(yRange=(low - 0.1 * span, top), padding=0)

    def _add_line(self, line: OrderLine) -> None:
        colour, at = COLOURS[line.order], np.log10(line.x)
        curve = plot_style.curve(colour, 1.5)
        curve.setData(at, line.y)
        fitted = plot_style.curve(colour, dotted=True)
        fitted.setData(np.log10(line.fit[0]), line.fit[1])
        bars = pg.ErrorBarItem(
            x=at, y=line.y, height=2 * np.nan_to_num(line.sd), beam=0.012,
            pen=plot_style.pen(colour),
        )  # fmt: skip
        marks = TipPoints(
            at, line.y, data=line.tips, symbol=SYMBOLS[line.order], size=9, pen=None,
            brush=plot_style.brush(colour),
            tip=lambda x, y, data: data,  # names that pyqtgraph passes
        )  # fmt: skip
        self.marks.append(marks)
        for item in (fitted, bars, curve, marks):
            self._add(item)

    def _add(self, item: pg.GraphicsObject) -> None:
        self.plot.addItem(item)
        self._items.append(item)
