"""Stacked rows of truth against prediction on one time axis; used by two panels.

It draws the rows it is given; it knows neither controller nor what a row means.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QRectF

from omnimouse_model.masks import N_SAMPLES
from omnimouse_widgets import palette
from omnimouse_widgets.qt import plots

FILL: Final = 0.78
"""Share of a row's height that its curves may use; the label has the rest."""
SHADE_ALPHA: Final = (0, 46, 22, 0)
WIDTH: Final = 1.0
"""Wider lines take a slower way through Qt."""
LOW_PIXELS: Final = 44
"""Rows lower than this have no room for a label above the curves."""
GUTTER_PIXELS: Final = 104
BAR_AT: Final = 0.985
"""Where along the time axis a row's scale bar stands."""
GAP: Final = 24
"""A row's share of the gap below it is one in this many."""


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """One row: its label, both curves, and how its samples are shaded.

    Attributes
    ----------
    label, short_label
        What the row is, and its score; the short one for many rows.
    time, truth
        Seconds on the session clock, and what was recorded.
    predicted
        Of the same length, NaN where nothing was predicted; None without any.
    shade
        uint8 (n,) mask codes: visible spans are blue, target spans lightly orange.
    baseline
        Another predictor's, likewise.
    is_stale, is_baseline_stale
        The prediction, or the baseline's, belongs to an older question.
    """

    label: str
    short_label: str
    time: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray | None
    shade: np.ndarray
    is_stale: bool = False
    least: tuple[float, float] = (0.0, 0.0)
    """Values that the row spans at least, so that a quiet row looks quiet."""
    baseline: np.ndarray | None = None
    is_baseline_stale: bool = False


class TraceStack:
    """A plot of rows with the shared cursor; press or drag to move it.

    All rows together are a few items, not a few each: a redraw costs a third.
    """

    def __init__(self, moved: Callable[[float], None], tooltip: str) -> None:
        self.canvas = plots.canvas(tooltip)
        self.box = plots.ScrubBox(moved)
        self.plot = pg.PlotItem(viewBox=self.box)
        self.canvas.addItem(self.plot)
        plots.style_plot(self.plot, left=False)
        self.plot.setLabel("bottom", "session time (s)", color=plots.AXIS)
        self.plot.getAxis("bottom").label.setFont(plots.small_font())
        self.shade = plots.lut_image(palette.state_table(SHADE_ALPHA))
        self.truth = pg.PlotCurveItem(
            pen=plots.pen(palette.HELD, WIDTH), connect="finite"
        )
        self.predicted = pg.PlotCurveItem(
            pen=plots.pen(palette.PREDICTED, WIDTH, dashed=True), connect="finite"
        )
        self.baseline = pg.PlotCurveItem(
            pen=plots.pen(palette.BASELINE, WIDTH, dotted=True), connect="finite"
        )
        self.bars = pg.PlotCurveItem(pen=plots.pen(plots.AXIS, 3), connect="finite")
        self.cursor = plots.cursor_line()
        items = (self.shade, self.bars, self.truth, self.baseline, self.predicted)
        for depth, item in enumerate(items):
            item.setZValue(depth)
            self.plot.addItem(item, ignoreBounds=True)
        self.plot.addItem(self.cursor)
        self._rows: list[_Drawn] = []
        self._labels: list[pg.TextItem] = []
        self._words: list[tuple[str, str]] = []
        self._message = plots.Message(self.box)
        self.box.sigResized.connect(lambda *_: self._fit())

    def set_rows(self, traces: Sequence[Trace]) -> None:
        """Show these rows, the first on top."""
        tops = range(len(traces) - 1, -1, -1)
        self._rows = [_drawn(trace, at) for trace, at in zip(traces, tops, strict=True)]
        self.truth.setData(*_joined(self._rows, "truth"))
        self.predicted.setData(*_joined(self._rows, "predicted"))
        self.baseline.setData(*_joined(self._rows, "baseline"))
        self.bars.setData(*_scale_bars(self._rows))
        is_stale = any(trace.is_stale for trace in traces)
        self.predicted.setOpacity(0.5 if is_stale else 1.0)
        is_stale = any(trace.is_baseline_stale for trace in traces)
        self.baseline.setOpacity(0.5 if is_stale else 1.0)
        self._label(traces)
        self._shade(traces)

    def set_message(self, words: str) -> None:
        """Say why there is nothing to see."""
        self._message.show(words)
        self.cursor.setVisible(not words)
        for axis in ("bottom",):
            self.plot.showAxis(axis, not words)

    def set_cursor(self, time_s: float) -> None:
        """Put the cursor at a time."""
        self.cursor.setValue(time_s)

    def draw_for_print(self, scale: float) -> None:
        """Lines of so many pixels instead of one; labels hide nothing behind them."""
        for curve in (self.truth, self.predicted, self.baseline, self.bars):
            pen = curve.opts["pen"]
            pen.setWidthF(scale * (3 if curve is self.bars else WIDTH))
            curve.setPen(pen)
        for label in self._labels:
            label.fill = plots.brush(plots.BACKGROUND, 0)

    def drawn_values(self, row: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Truth, prediction and baseline read back from the curves, in their units."""
        values = []
        for curve in (self.truth, self.predicted, self.baseline):
            drawn = curve.getData()[1]
            ends = np.cumsum([len(r.time) + 1 for r in self._rows])
            part = drawn[ends[row] - len(self._rows[row].time) - 1 : ends[row] - 1]
            values.append(self._rows[row].read(part))
        return values[0], values[1], values[2]

    @property
    def message(self) -> str:
        """Why there is nothing to see, "" when there is."""
        return self._message.words

    @property
    def labels(self) -> list[str]:
        """Labels of the rows, from top to bottom."""
        return [label.toPlainText() for label in self._labels]

    def _label(self, traces: Sequence[Trace]) -> None:
        self._words = [(trace.label, trace.short_label) for trace in traces]
        while len(self._labels) > len(traces):
            self.plot.removeItem(self._labels.pop())
        while len(self._labels) < len(traces):
            label = plots.text("", plots.TEXT, anchor=(-0.04, 0))
            label.fill = plots.brush(plots.BACKGROUND, 110)
            label.setZValue(10)
            self.plot.addItem(label, ignoreBounds=True)
            self._labels.append(label)
        self._fit()

    def _fit(self) -> None:
        """Labels above their curves; low rows have theirs in a gutter instead."""
        if not self._rows:
            return
        start, stop = _span(self._rows[0].time)
        left, n = start, len(self._rows)
        is_low = float(self.box.height()) / n < LOW_PIXELS
        if is_low:
            room = max(float(self.box.width()) - GUTTER_PIXELS, 1.0)
            left = start - (stop - start) * GUTTER_PIXELS / room
        self.plot.setRange(xRange=(left, stop), yRange=(-0.08, n), padding=0)
        for number, label in enumerate(self._labels):
            text = self._words[number][is_low]
            if label.toPlainText() != text:
                label.setText(text)
            label.setPos(left, n - number)

    def _shade(self, traces: Sequence[Trace]) -> None:
        """One image under all rows, with a gap between them."""
        if not traces:
            self.shade.clear()
            return
        codes = np.stack([trace.shade for trace in reversed(traces)])
        codes = np.repeat(codes, GAP, axis=0)
        codes[::GAP] = 0
        start, stop = _span(traces[0].time)
        rect = QRectF(start, 0, stop - start, len(traces))
        plots.set_codes(self.shade, codes, rect, 4)


@dataclass(frozen=True, slots=True, eq=False)
class _Drawn:
    """A trace between heights `at` and `at + 1`."""

    at: int
    low: float
    scale: float
    time: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray
    baseline: np.ndarray

    def read(self, drawn: np.ndarray) -> np.ndarray:
        """Undo scale and offset."""
        return np.asarray((drawn - self.at) / FILL * self.scale + self.low)


def _drawn(trace: Trace, at: int) -> _Drawn:
    low, scale = _low_and_scale(trace)
    nothing = np.full(len(trace.time), np.nan)
    truth, predicted, baseline = (
        at + ((nothing if values is None else values) - low) / scale * FILL
        for values in (trace.truth, trace.predicted, trace.baseline)
    )
    return _Drawn(at, low, scale, trace.time, truth, predicted, baseline)


def _joined(rows: list[_Drawn], name: str) -> tuple[np.ndarray, np.ndarray]:
    """One curve through all rows, broken between them."""
    if not rows:
        return np.empty(0), np.empty(0)
    x = [np.append(row.time, np.nan) for row in rows]
    y = [np.append(getattr(row, name), np.nan) for row in rows]
    return np.concatenate(x), np.concatenate(y)


def _scale_bars(rows: list[_Drawn]) -> tuple[np.ndarray, np.ndarray]:
    """A bar of one unit in every row, in its middle."""
    if not rows:
        return np.empty(0), np.empty(0)
    start, stop = _span(rows[0].time)
    x = start + BAR_AT * (stop - start)
    heights = [FILL / row.scale for row in rows]
    ends = [
        (row.at + (FILL - high) / 2, row.at + (FILL + high) / 2, np.nan)
        for row, high in zip(rows, heights, strict=True)
    ]
    return np.tile([x, x, np.nan], len(rows)), np.array(ends).ravel()


def _low_and_scale(trace: Trace) -> tuple[float, float]:
    """Lowest value and span of all curves together, so that they compare."""
    curves = [trace.truth, np.array(trace.least), trace.predicted, trace.baseline]
    known = np.concatenate([curve for curve in curves if curve is not None])
    known = known[np.isfinite(known)]
    low, high = float(known.min()), float(known.max())
    return low, max(high - low, 1e-6)


def _span(time: np.ndarray) -> tuple[float, float]:
    """From the start of the first sample's cell to the end of the last's."""
    half = (float(time[-1]) - float(time[0])) / max(len(time) - 1, 1) / 2
    return float(time[0]) - half, float(time[-1]) + half


def cursor_sample(time_s: float, time: np.ndarray) -> int:
    """The response sample nearest to a time, kept within the window."""
    step = (float(time[-1]) - float(time[0])) / max(len(time) - 1, 1)
    sample = round((time_s - float(time[0])) / step) if step else 0
    return int(min(max(sample, 0), N_SAMPLES - 1))
