"""Plotted points of sweeps: positions and tooltips."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from omnimouse_model.analysis.sweep.contexts import Context
from omnimouse_model.analysis.sweep.plan import ContextAxis
from omnimouse_model.analysis.sweep.table import (
    RESPONSES,
    ContextSweep,
    Point,
    SweepRow,
)
from omnimouse_model.metrics.named import METRICS, Metric
from omnimouse_widgets import palette

AXIS_TEXT: Final[dict[ContextAxis, str]] = {
    "neurons": "other visible neurons",
    "history_samples": "samples of history",
}
DODGE: Final = 0.014
"""Horizontal offset between conditions as a share of the axis.

Points of equal value then do not cover each other.
"""


@dataclass(frozen=True, slots=True, eq=False)
class DrawnSweep:
    """One plotted sweep: its name, line style number, and whether it is pale."""

    name: str
    sweep: ContextSweep
    line: int = 0
    is_pale: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class PlottedPoint:
    """One point of a curve: axis, position, condition and line style number.

    `row` is the first of the sweep rows that are averaged in `point`.
    """

    axis: ContextAxis
    x: float
    label: str
    line: int
    point: Point
    row: SweepRow
    name: str
    metric: Metric = METRICS["correlation"]

    @property
    def tip(self) -> str:
        """Tooltip: condition, mean, s.e.m., interval and sample sizes."""
        point, row = self.point, self.row
        mean = f"mean {self.metric.text(point.score, 3)}"
        if np.isfinite(point.sem):
            mean += f" ± {point.sem:z.3f} s.e.m."
        draws = f"{point.n_seeds} draw" + "s" * (point.n_seeds != 1)
        windows = f"{row.n_windows} window" + "s" * (row.n_windows != 1)
        text = (
            f"{self.name}\n{self.label} · {point.context.label}\n{mean}\n"
            f"n = {draws} of {row.n_neurons:,} neurons, {windows}"
        )
        if np.isfinite(point.ci_low):
            # A live sweep has one window, which has no blocks of time.
            unit = "time" if row.n_windows > 1 else "neurons"
            text += f"\n95 % over {unit}: {point.ci_low:z.3f} to {point.ci_high:z.3f}"
        return text


def points_of(drawn: DrawnSweep, target: str = RESPONSES) -> Iterator[PlottedPoint]:
    """Yield the points with a score, curve by curve.

    Of a grid, only the curves with 0 on the other axis are used. `target` is
    "responses" or a decoded behaviour channel.
    """
    first: dict[Context, SweepRow] = {}
    for row in drawn.sweep.rows:
        first.setdefault(row.context, row)
    for curve in drawn.sweep.curves(target):
        # A grid has a curve for every value of the other axis; all of them in one plot
        # would be unreadable.
        if curve.fixed:
            continue
        for value, point in zip(curve.values, curve.points, strict=True):
            if np.isfinite(point.score):
                yield PlottedPoint(
                    curve.axis,
                    place_on(curve.axis, value),
                    curve.label,
                    drawn.line,
                    point,
                    first[point.context],
                    drawn.name,
                    metric_of(drawn.sweep, target),
                )


def metric_of(sweep: ContextSweep, target: str = RESPONSES) -> Metric:
    """Return the metric of a target; decoded behaviour is scored by correlation."""
    return METRICS[sweep.plan.metric if target == RESPONSES else "correlation"]


def symbols_of(sweeps: Sequence[DrawnSweep]) -> str:
    """Return the symbol of the metric of all sweeps, or all symbols."""
    symbols = dict.fromkeys(metric_of(drawn.sweep).symbol for drawn in sweeps)
    return " or ".join(symbols)


def rate_of(sweeps: Sequence[DrawnSweep]) -> float:
    """Return the samples per second of all sweeps; NaN where they differ."""
    rates = {drawn.sweep.plan.rate_hz for drawn in sweeps}
    return rates.pop() if len(rates) == 1 else float("nan")


class PointCache:
    """Cache of the points of the sweeps drawn last."""

    def __init__(self) -> None:
        self._cache: dict[tuple[str, int], tuple[ContextSweep, list[PlottedPoint]]] = {}

    def points_of(self, sweeps: list[DrawnSweep]) -> list[PlottedPoint]:
        """Return the points of all sweeps; forget sweeps that are no longer drawn."""
        cache = {}
        for drawn in sweeps:
            # Compare by identity: sweeps are immutable, and a live sweep is replaced by
            # a new object when it gets new rows.
            key = drawn.name, drawn.line
            entry = self._cache.get(key)
            if entry is None or entry[0] is not drawn.sweep:
                entry = drawn.sweep, list(points_of(drawn))
            cache[key] = entry
        self._cache = cache
        return [point for _, points in cache.values() for point in points]


def place_on(axis: ContextAxis, value: float) -> float:
    """Return the position on the axis: logarithmic for neurons, linear for history."""
    # log2(1 + n / 4) is nearly linear below 4 neurons, so that 0 has a place on the
    # axis.
    return float(np.log2(1 + value / 4)) if axis == "neurons" else float(value)


def value_at(axis: ContextAxis, place: float) -> float:
    """Return the value at an axis position; the inverse of `place_on`."""
    return 4 * (2**place - 1) if axis == "neurons" else place


def dodge(label: str, axis: ContextAxis, values: Sequence[int]) -> float:
    """Return the horizontal offset of a condition, centred over all conditions."""
    places = [place_on(axis, value) for value in values] or [0.0]
    labels = list(palette.CONDITION_COLOURS)
    at = labels.index(label) - (len(labels) - 1) / 2
    # At least 1: an axis with a single value has no range to take a share of.
    return at * DODGE * max(max(places) - min(places), 1.0)


def values_of(sweeps: Sequence[DrawnSweep], axis: ContextAxis) -> tuple[int, ...]:
    """Return the sorted values on an axis that occur in any sweep."""
    values = {v for drawn in sweeps for v in getattr(drawn.sweep.plan, axis)}
    return tuple(sorted(values))


def tick_text(axis: ContextAxis, value: int, rate_hz: float) -> str:
    """Return a tick label: neurons, or samples with seconds in a second line.

    Without one rate of all sweeps (NaN), samples have no common length.
    """
    if axis == "neurons":
        return f"{value:,}"
    return f"{value}\n{value / rate_hz:.2g} s" if rate_hz == rate_hz else f"{value}"
