"""Stacked rows of truth against prediction on one time axis; used by two panels.

It draws the rows it is given; it knows neither controller nor what a row means.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QRectF, Qt

from omnimouse_model.masks import N_SAMPLES
from omnimouse_widgets import palette
from omnimouse_widgets.qt import plots

FILL: Final = 0.78
"""Share of a row's height that its curves may use; the label has the rest."""
SHADE_ALPHA: Final = (0, 46, 30, 0)
WIDTH: Final = 1.3


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """One row: its label, both curves, and how its samples are shaded.

    Attributes
    ----------
    label
        What the row is, and its score.
    time, truth
        Seconds on the session clock, and what was recorded.
    predicted
        Of the same length, NaN where nothing was predicted; None without any.
    shade
        uint8 (n,) mask codes: visible spans are blue, target spans lightly orange.
    is_stale
        The prediction belongs to an older question.
    """

    label: str
    time: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray | None
    shade: np.ndarray
    is_stale: bool = False


class TraceStack:
    """A plot of rows with a shared, draggable cursor."""

    def __init__(self, moved: Callable[[float], None], tooltip: str) -> None:
        self.canvas = plots.canvas(tooltip)
        self.plot: pg.PlotItem = self.canvas.addPlot()
        plots.style_plot(self.plot, left=False)
        self.plot.setLabel("bottom", "session time (s)", color=plots.AXIS)
        self.plot.getAxis("bottom").label.setFont(plots.small_font())
        self.box: pg.ViewBox = self.plot.getViewBox()
        self.box.setMouseEnabled(x=False, y=False)
        self.cursor = plots.CursorLine(moved)
        self.plot.addItem(self.cursor)
        self._moved = moved
        self._rows: list[_Row] = []
        self._message = plots.text("", plots.TEXT, anchor=(0.5, 0.5))
        self._message.setParentItem(self.box)
        self.canvas.scene().sigMouseClicked.connect(self._clicked)

    def set_rows(self, traces: Sequence[Trace]) -> None:
        """Show these rows, the first on top."""
        self._make_rows(len(traces))
        for number, trace in enumerate(traces):
            self._rows[number].show(trace, len(traces) - 1 - number)
        if traces:
            start, stop = _span(traces[0].time)
            self.plot.setRange(
                xRange=(start, stop), yRange=(-0.08, len(traces)), padding=0
            )

    def set_message(self, words: str) -> None:
        """Say why there is nothing to see."""
        self._message.setText(words)
        self._message.setVisible(bool(words))
        if words:
            self._message.setPos(self.box.boundingRect().center())

    def set_cursor(self, time_s: float) -> None:
        """Put the cursor at a time."""
        self.cursor.place(time_s)

    def curves(self, row: int) -> tuple[pg.PlotCurveItem, pg.PlotCurveItem]:
        """Truth and prediction of a row, as drawn (values are offset and scaled)."""
        return self._rows[row].truth, self._rows[row].predicted

    def drawn_values(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Truth and prediction read back from the curves, in the trace's units."""
        return self._rows[row].values()

    @property
    def message(self) -> str:
        """Why there is nothing to see, "" when there is."""
        return str(self._message.toPlainText())

    @property
    def labels(self) -> list[str]:
        """Labels of the rows, from top to bottom."""
        return [row.label.toPlainText() for row in self._rows]

    def _make_rows(self, count: int) -> None:
        while len(self._rows) > count:
            self._rows.pop().remove(self.plot)
        while len(self._rows) < count:
            self._rows.append(_Row(self.plot))

    def _clicked(self, event: object) -> None:
        """A click anywhere puts the cursor there."""
        at = event.scenePos()  # type: ignore[attr-defined]  # pyqtgraph is untyped
        is_left = event.button() == Qt.MouseButton.LeftButton  # type: ignore[attr-defined]
        if is_left and self.box.sceneBoundingRect().contains(at):
            self._moved(float(self.box.mapSceneToView(at).x()))


class _Row:
    """Shade, two curves and a label at one height."""

    def __init__(self, plot: pg.PlotItem) -> None:
        self.shade = plots.lut_image(palette.state_table(SHADE_ALPHA))
        self.truth = pg.PlotCurveItem(pen=plots.pen(palette.HELD, WIDTH))
        self.predicted = pg.PlotCurveItem(
            pen=plots.pen(palette.PREDICTED, WIDTH, dashed=True), connect="finite"
        )
        self.label = plots.text("", plots.TEXT, anchor=(0, 0))
        self.label.fill = plots.brush(plots.BACKGROUND, 110)
        self._low, self._scale, self._at = 0.0, 1.0, 0
        for depth, item in enumerate(self._items):
            item.setZValue(depth)
            plot.addItem(item, ignoreBounds=True)

    @property
    def _items(self) -> tuple[pg.GraphicsObject, ...]:
        return self.shade, self.truth, self.predicted, self.label

    def remove(self, plot: pg.PlotItem) -> None:
        """Take the row's items off a plot."""
        for item in self._items:
            plot.removeItem(item)

    def show(self, trace: Trace, at: int) -> None:
        """Draw a trace between heights `at` and `at + 1`."""
        self._at = at
        self._low, self._scale = _low_and_scale(trace)
        self.truth.setData(trace.time, self._drawn(trace.truth))
        if trace.predicted is None:
            self.predicted.setData([], [])
        else:
            self.predicted.setData(trace.time, self._drawn(trace.predicted))
        self.predicted.setOpacity(0.5 if trace.is_stale else 1.0)
        start, stop = _span(trace.time)
        rect = QRectF(start, at + 0.02, stop - start, 0.96)
        plots.set_codes(self.shade, trace.shade[None], rect, 4)
        self.label.setText(trace.label)
        self.label.setPos(start, at + 1.0)

    def values(self) -> tuple[np.ndarray, np.ndarray]:
        """Undo scale and offset."""
        pair = [self.truth.getData()[1], self.predicted.getData()[1]]
        read = [np.empty(0) if v is None else self._read(v) for v in pair]
        return read[0], read[1]

    def _drawn(self, values: np.ndarray) -> np.ndarray:
        return self._at + (values - self._low) / self._scale * FILL

    def _read(self, drawn: np.ndarray) -> np.ndarray:
        return (drawn - self._at) / FILL * self._scale + self._low


def _low_and_scale(trace: Trace) -> tuple[float, float]:
    """Lowest value and span of both curves together, so that they compare."""
    both = trace.truth
    if trace.predicted is not None:
        both = np.concatenate([both, trace.predicted])
    both = both[np.isfinite(both)]
    if not both.size:
        return 0.0, 1.0
    low, high = float(both.min()), float(both.max())
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
