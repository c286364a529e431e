"""Two small plots of a fine-tuning: loss per step and held-out scores."""

from collections.abc import Sequence
from typing import Final

import pyqtgraph as pg

from omnimouse_model.live.models.finetune import Point
from omnimouse_widgets.qt.style import plot_style
from omnimouse_widgets.views.finetune import (
    LOSS_COLOUR,
    SCORE_COLOUR,
    TIPS,
    smoothed,
)

HEIGHT: Final = 150
MIN_SPAN: Final = 0.02
"""Minimum range of the vertical axis; smaller differences are noise."""


class FinetunePlot:
    """Loss above held-out scores, over the same steps; has no controller."""

    def __init__(self) -> None:
        self.canvas = plot_style.canvas(TIPS["loss"])
        self.canvas.setFixedHeight(HEIGHT)
        self.canvas.setAccessibleName("Loss and held-out score over steps")
        self._loss = self._plot(0, "loss", has_steps=False)
        self._score = self._plot(1, "held-out score", has_steps=True)
        # The loss of single steps is noisy: it is drawn grey, behind its running mean.
        self.losses = self._loss.plot(pen=plot_style.pen(plot_style.AXIS))
        self.mean = self._loss.plot(pen=plot_style.pen(LOSS_COLOUR, 2.0))
        self.scores = self._score.plot(
            pen=plot_style.pen(SCORE_COLOUR),
            symbol="o",
            symbolSize=6,
            symbolBrush=plot_style.brush(SCORE_COLOUR),
            symbolPen=None,
        )

    def _plot(self, row: int, title: str, *, has_steps: bool) -> pg.PlotItem:
        plot = self.canvas.addPlot(row=row, col=0)
        plot_style.style_plot(plot, bottom=has_steps)
        # The wheel must scroll the panel instead of zooming the plot.
        plot.setMouseEnabled(False, False)
        left = plot.getAxis("left")
        # Equal widths align the steps of both plots.
        left.setWidth(40)
        # An SI prefix would show 0.3 as 300 (x0.001).
        left.enableAutoSIPrefix(False)
        left.setTickDensity(0.6)
        # A label inside the plot: an axis label would take width from a narrow panel.
        box, label = plot.getViewBox(), plot_style.text_item(title, anchor=(1, 0))
        label.setParentItem(box)
        box.sigResized.connect(lambda *_: label.setPos(box.boundingRect().right(), 0))
        return plot

    def show(self, losses: Sequence[Point], scores: Sequence[Point], n_steps: int) -> None:
        """Draw the points on an axis from 0 to `n_steps`."""
        for curve, points in (
            (self.losses, losses),
            (self.mean, smoothed(losses)),
            (self.scores, scores),
        ):
            curve.setData([x for x, _ in points], [y for _, y in points])
        for plot, points in ((self._loss, losses), (self._score, scores)):
            # The full length from the start, so that curves do not shrink while they
            # grow.
            plot.setXRange(0, max(n_steps, 1), padding=0.02)
            low, high = span_of([y for _, y in points])
            plot.setYRange(low, high, padding=0.08)


def span_of(values: Sequence[float]) -> tuple[float, float]:
    """Return the limits of an axis: the range of values, at least `MIN_SPAN` wide."""
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    missing = max(MIN_SPAN - (high - low), 0.0) / 2
    return low - missing, high + missing
