"""Plotted points of sweeps: positions and tooltips."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from omnimouse_model.analysis.sweep.contexts import Context
from omnimouse_model.analysis.sweep.plan import Axis
from omnimouse_model.analysis.sweep.table import (
    RESPONSES,
    ContextSweep,
    Point,
    SweepRow,
)
from omnimouse_model.data.clock import RESPONSE_RATE_HZ
from omnimouse_widgets import palette

AXIS_WORDS: Final[dict[Axis, str]] = {
    "neurons": "other neurons seen",
    "history_samples": "samples of history",
}
DODGE: Final = 0.014
"""Share of an axis that conditions stand apart, so that equal ones are seen."""


@dataclass(frozen=True, slots=True, eq=False)
class DrawnSweep:
    """One sweep on the plots: its name, which kind of line, and whether it is older."""

    name: str
    sweep: ContextSweep
    line: int = 0
    is_old: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Spot:
    """One point of a curve: its axis and place, its condition, and its line.

    `row` is one of the rows that the point is the mean of.
    """

    axis: Axis
    x: float
    label: str
    line: int
    point: Point
    row: SweepRow
    name: str

    @property
    def tip(self) -> str:
        """Condition, mean, s.e.m., and what it is the mean of."""
        point, row = self.point, self.row
        mean = f"mean r = {point.score:.3f}"
        if np.isfinite(point.sem):
            mean += f" ± {point.sem:.3f} s.e.m."
        draws = f"{point.n_seeds} draw" + "s" * (point.n_seeds != 1)
        windows = f"{row.n_windows} window" + "s" * (row.n_windows != 1)
        words = (
            f"{self.name}\n{self.label} · {point.context.label}\n{mean}\n"
            f"n = {draws} of {row.n_neurons:,} neurons, {windows}"
        )
        if np.isfinite(point.ci_low):
            words += f"\n95 % over neurons: {point.ci_low:.3f} to {point.ci_high:.3f}"
        return words


def spots_of(drawn: DrawnSweep, target: str = RESPONSES) -> Iterator[Spot]:
    """Every point that has a score, curve by curve; of a grid only its edges.

    `target` is "responses" or a decoded behaviour channel.
    """
    first: dict[Context, SweepRow] = {}
    for row in drawn.sweep.rows:
        first.setdefault(row.context, row)
    for curve in drawn.sweep.curves(target):
        if curve.fixed:
            continue
        for value, point in zip(curve.values, curve.points, strict=True):
            if np.isfinite(point.score):
                yield Spot(
                    curve.axis,
                    place_on(curve.axis, value),
                    curve.label,
                    drawn.line,
                    point,
                    first[point.context],
                    drawn.name,
                )


class KnownSpots:
    """Points of the sweeps drawn last: those of a kept sweep are found only once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], tuple[ContextSweep, list[Spot]]] = {}

    def of(self, sweeps: list[DrawnSweep]) -> list[Spot]:
        """Points of all of them; what is no more drawn is forgotten."""
        found = {}
        for drawn in sweeps:
            key = drawn.name, drawn.line
            before = self._known.get(key)
            if before is None or before[0] is not drawn.sweep:
                before = drawn.sweep, list(spots_of(drawn))
            found[key] = before
        self._known = found
        return [spot for _, spots in found.values() for spot in spots]


def place_on(axis: Axis, value: float) -> float:
    """Return the position on the axis: logarithmic for neurons, linear for history."""
    # log2(1 + n / 4) is nearly linear below 4 neurons, so that 0 has a place on the
    # axis.
    return float(np.log2(1 + value / 4)) if axis == "neurons" else float(value)


def value_at(axis: Axis, place: float) -> float:
    """The inverse of `place_on`."""
    return 4 * (2**place - 1) if axis == "neurons" else place


def dodge(label: str, axis: Axis, values: Sequence[int]) -> float:
    """How far a condition stands beside its values, among others at the same."""
    places = [place_on(axis, value) for value in values] or [0.0]
    labels = list(palette.CONDITION_COLOURS)
    at = labels.index(label) - (len(labels) - 1) / 2
    return at * DODGE * max(max(places) - min(places), 1.0)


def values_of(sweeps: Sequence[DrawnSweep], axis: Axis) -> tuple[int, ...]:
    """Every value that some sweep has on an axis, in order."""
    found = {v for drawn in sweeps for v in getattr(drawn.sweep.plan, axis)}
    return tuple(sorted(found))


def tick_words(axis: Axis, value: int) -> str:
    """Neurons; or samples, with their seconds below."""
    if axis == "neurons":
        return f"{value:,}"
    return f"{value}\n{value / RESPONSE_RATE_HZ:.2g} s"
