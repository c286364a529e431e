"""Context curves: the points of sweeps with their places and tips, and two plots of them.

Colour and mark encode the condition; the style of the line encodes the sweep.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

import numpy as np

from omnimouse_model.analysis.sweep.contexts import AXES, Context, ContextAxis
from omnimouse_model.analysis.sweep.table import (
    RESPONSES,
    ContextSweep,
    Gain,
    Point,
    SweepRow,
    distinct_curves,
)
from omnimouse_model.display import count, number_text
from omnimouse_model.metrics.named import METRICS, Metric
from omnimouse_model.metrics.time_blocks import MIN_BLOCKS
from omnimouse_widgets import palette
from omnimouse_widgets.views.record import Curves, Dash, Line

AXIS_TEXT: Final[dict[ContextAxis, str]] = {
    "neurons": "other visible neurons",
    "history_samples": "history samples",
}
DASHES: Final[tuple[tuple[Dash, str], ...]] = (
    ("solid", "──"),
    ("dashed", "– –"),
    ("dotted", "···"),
    ("dash-dot", "–·–"),
    ("long-dash", "— —"),
    ("long-dash-dot", "—·—"),
)
"""Style of the line of each sweep by its number, and its sign in a legend."""
MIN_SPAN: Final = 0.1
"""Least range of scores of a plot: without it, noise would fill the axis."""
TIP: Final = (
    "Score against the size of the context: the number of other\n"
    "neurons visible in the target samples, or the samples of history of all neurons.\n"
    "Bars: the 95 % interval over time; of few windows, which have none, the s.e.m. over\n"
    "draws of neurons.\n"
    "Solid lines: the mask's target neurons over the test part, from 24 windows; broken\n"
    "lines: the selected ones of them; other selected neurons are context. Before, pale\n"
    "lines: the selected neurons in this window. Star and dotted line: the current mask,\n"
    "over that part, too; before it is scored, at the mean of the selected neurons in\n"
    "this window. A star stands only beside curves of the same targets, pool, windows\n"
    "and other context: on the left of a mask without history, on the right of one\n"
    "without other neurons; the dotted line stands always.\n"
    "Point at a marker to see its numbers."
)
DODGE: Final = 0.014
"""Horizontal offset between conditions as a share of the axis.

Points of equal value then do not cover each other.
"""


@dataclass(frozen=True, slots=True, eq=False)
class DrawnSweep:
    """One plotted sweep: its name, line style number, and whether it is pale or was stopped."""

    name: str
    sweep: ContextSweep
    line: int = 0
    is_pale: bool = False
    is_stopped: bool = False

    @property
    def legend(self) -> str:
        """Its name; of one that was stopped, also how many points it has."""
        n_done, n_points = self.sweep.point_counts()
        points = f"{n_done:,} of {n_points:,} points"
        return f"{self.name} (stopped at {points})" if self.is_stopped else self.name


@dataclass(frozen=True, slots=True, eq=False)
class PlottedPoint:
    """One point of a curve: axis, position, condition and line style number.

    `targets` is the number of targets of the sweep rows that are averaged in `point`.
    """

    axis: ContextAxis
    x: float
    label: str
    line: int
    point: Point
    targets: str
    name: str
    metric: Metric = METRICS["correlation"]

    @property
    def tip(self) -> str:
        """Tooltip: condition, mean, s.e.m., interval and sample sizes."""
        point = self.point
        mean = f"mean {self.metric.text(point.score, 3)}"
        if np.isfinite(point.sem):
            mean += f" ± {point.sem:z.3f} s.e.m."
        draws, windows = count(point.n_seeds, "draw"), count(point.n_windows, "window")
        text = (
            f"{self.name}\n{self.label} · {point.context.label}\n{mean}\n"
            f"n = {self.targets} targets, {draws} of neurons, {windows}"
        )
        if np.isfinite(point.ci_low):
            text += f"\n95 % over {_unit_of(point)}: {_ends_text(point.ci_low, point.ci_high)}"
        if np.isfinite(point.ceiling):
            ceiling = _number(point.ceiling)
            text += f"\nceiling {ceiling}: the score of the simulator's expected response"
        return text


def points_of(drawn: DrawnSweep, target: str = RESPONSES) -> Iterator[PlottedPoint]:
    """Yield the points with a score, curve by curve.

    Of a grid, only the curves with 0 on the other axis are used. `target` is
    "responses" or a decoded behaviour channel.
    """
    targets = _targets_by_context(drawn.sweep)
    for curve in distinct_curves(drawn.sweep, target):
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
                    targets[point.context],
                    drawn.name,
                    metric_of(drawn.sweep, target),
                )


def targets_text(rows: Iterable[SweepRow]) -> str:
    """Return the number of targets, such as "26"; "15 to 26" of recordings that differ."""
    counts = {row.n_neurons for row in rows}
    least, most = min(counts), max(counts)
    return f"{most:,}" if least == most else f"{least:,} to {most:,}"


def _targets_by_context(sweep: ContextSweep) -> dict[Context, str]:
    rows: dict[Context, list[SweepRow]] = {}
    for row in sweep.rows:
        rows.setdefault(row.context, []).append(row)
    return {context: targets_text(own) for context, own in rows.items()}


def metric_of(sweep: ContextSweep, target: str = RESPONSES) -> Metric:
    """Return the metric of a target; decoded behaviour is scored by correlation."""
    return METRICS[sweep.plan.metric if target == RESPONSES else "correlation"]


def rate_of(sweeps: Sequence[DrawnSweep]) -> float:
    """Return the samples per second of all sweeps; NaN where they differ."""
    rates = {drawn.sweep.plan.rate_hz for drawn in sweeps}
    return rates.pop() if len(rates) == 1 else float("nan")


def place_on(axis: ContextAxis, value: float) -> float:
    """Return the position on the axis: logarithmic for neurons, linear for history."""
    # log2(1 + n / 4) is nearly linear below 4 neurons, so that 0 has a place on the
    # axis.
    return float(np.log2(1 + value / 4)) if axis == "neurons" else float(value)


def dodge(label: str, axis: ContextAxis, values: Sequence[int], shown: Collection[str]) -> float:
    """Return the horizontal offset of a condition, centred over the conditions shown."""
    places = [place_on(axis, value) for value in values] or [0.0]
    labels = [one for one in palette.CONDITION_COLOURS if one in shown]
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


def context_plots(
    drawn: Sequence[DrawnSweep], hidden: Collection[str], within: Sequence[float]
) -> tuple[Curves, ...]:
    """Return score against neurons and against history, with one scale of scores.

    Parameters
    ----------
    hidden
        Conditions that are left out: keys of `palette.CONDITION_COLOURS`.
    within
        Scores that the scale contains as well, such as that of the mask on screen.
    """
    spots = [spot for sweep in drawn for spot in points_of(sweep) if spot.label not in hidden]
    pale = {sweep.line for sweep in drawn if sweep.is_pale}
    ends = [*within, *(end for spot in spots for end in spot.point.ends)]
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    spare = max(MIN_SPAN - (high - low), 0.12 * (high - low), 0.02) / 2
    symbols = " or ".join(dict.fromkeys(metric_of(each.sweep).symbol for each in drawn))
    return tuple(
        _plot(
            axis,
            [spot for spot in spots if spot.axis == axis],
            pale,
            values_of(drawn, axis),
            rate_of(drawn),
            # A correlation is written out, as on every axis.
            up="correlation" if symbols in ("r", "") else symbols,
            heights=(low - spare, high + spare),
        )
        for axis in AXES
    )


SIGNS: Final = {"o": "●", "s": "■", "t1": "▲", "d": "◆"}
"""Glyphs of `palette.CONDITION_SYMBOLS`."""
GAIN_TITLE: Final = "gain [95 % over draws]"
POINT_TITLES: Final[tuple[str, ...]] = (
    "line", "neurons", "history", "score", "ceiling", "95 % interval", GAIN_TITLE, "s.e.m.",
    "draws", "inputs", "targets", "windows",
)  # fmt: skip
COPIED_TITLES: Final[tuple[str, ...]] = (
    "sweep", "neurons", "history", "metric", "score", "ceiling", "95 % low", "95 % high",
    "95 % over", "gain", "gain 95 % low", "gain 95 % high", "s.e.m. over draws", "draws", "inputs",
    "targets", "windows",
)  # fmt: skip


def sign_of(label: str) -> str:
    """Return the glyph of the marks of a condition."""
    return SIGNS[palette.CONDITION_SYMBOLS[label]]


_number = partial(number_text, digits=3)


def ceilings_text(points: Iterable[Point]) -> str:
    """Return the ceiling of the scores of points, such as "ceiling 0.864"; "" if unknown."""
    known = sorted({_number(point.ceiling) for point in points if np.isfinite(point.ceiling)})
    return f"ceiling {' to '.join(dict.fromkeys((known[0], known[-1])))}" if known else ""


def gain_text(gain: Gain, *, is_smallest: bool) -> str:
    """Return e.g. "+0.034 [0.020, 0.048]", or why it has no value or no interval."""
    if not np.isfinite(gain.value):
        return "– smallest context" if is_smallest else "–"
    return str(gain) if np.isfinite(gain.ci_low) else f"{gain} of one draw"


def _ends_text(low: float, high: float) -> str:
    return f"[{_number(low)}, {_number(high)}]"


def _unit_of(point: Point) -> str:
    """Return over what the interval of a point is: one window has no blocks of time."""
    return "time" if point.n_windows > 1 else "neurons"


def _interval_text(point: Point) -> str:
    """Return the interval of a point as text: "[0.320, 0.430] over time", or why there is none."""
    if np.isfinite(point.ci_low):
        return f"{_ends_text(point.ci_low, point.ci_high)} over {_unit_of(point)}"
    is_few = 0 < point.n_windows < MIN_BLOCKS
    return f"– of {count(point.n_windows, 'window')}" if is_few else "–"


class _TablePoint(NamedTuple):
    """A point of a table; `n_asked` draws are planned, `is_smallest` has no gain."""

    drawn: DrawnSweep
    label: str
    point: Point
    gain: Gain
    is_smallest: bool
    n_asked: int
    targets: str


def _table_points(drawn: Sequence[DrawnSweep], hidden: Collection[str]) -> tuple[_TablePoint, ...]:
    """Return the computed points, each once; `hidden` is as in `context_plots`."""
    found: dict[tuple[int, str, Context], _TablePoint] = {}
    for each in drawn:
        targets, planned = _targets_by_context(each.sweep), each.sweep.planned_draws()
        for curve in distinct_curves(each.sweep):
            if curve.label in hidden:
                continue
            least = min(curve.values)
            for point, gain in zip(curve.points, each.sweep.gains(curve), strict=True):
                context = point.context
                key = each.line, curve.label, context
                # Not computed yet; one on both axes is listed once.
                if context not in targets or key in found:
                    continue
                n_asked = max(planned[context, session] for session in each.sweep.sessions)
                is_smallest = getattr(context, curve.axis) == least
                found[key] = _TablePoint(
                    each, curve.label, point, gain, is_smallest, n_asked, targets[context]
                )
    return tuple(found.values())


def point_rows(drawn: Sequence[DrawnSweep], hidden: Collection[str]) -> tuple[tuple[str, ...], ...]:
    """Return the texts of a table of all points, with `POINT_TITLES`; of a grid, too.

    The reason stands in the place of a missing score.
    """
    return tuple(
        (
            f"{DASHES[each.line][1]} {sign_of(label)}",
            f"{point.context.neurons:,}",
            f"{point.context.history_samples}",
            metric_of(each.sweep).text(point.score, 3)
            if np.isfinite(point.score)
            else f"– {point.refusal}",
            _number(point.ceiling),
            _interval_text(point),
            gain_text(gain, is_smallest=is_smallest),
            _number(point.sem or np.nan),  # 0: of equal draws
            f"{point.n_seeds}" if point.n_seeds == n_asked else f"{point.n_seeds} of {n_asked}",
            label,
            targets,
            f"{point.n_windows:,}",
        )
        for each, label, point, gain, is_smallest, n_asked, targets in _table_points(drawn, hidden)
    )


def copied_rows(
    drawn: Sequence[DrawnSweep], hidden: Collection[str]
) -> tuple[tuple[str, ...], ...]:
    """Return the rows of the copied table: one number in each cell, empty if it is unknown."""
    return tuple(
        (
            each.legend,
            str(point.context.neurons),
            str(point.context.history_samples),
            metric_of(each.sweep).symbol,
            *map(_plain, (point.score, point.ceiling, point.ci_low, point.ci_high)),
            _unit_of(point) if np.isfinite(point.ci_low) else "",
            *map(_plain, (gain.value, gain.ci_low, gain.ci_high, point.sem or np.nan)),
            str(point.n_seeds),
            label,
            targets.replace(",", ""),
            str(point.n_windows),
        )
        for each, label, point, gain, _, _, targets in _table_points(drawn, hidden)
    )


def _plain(value: float) -> str:
    """Return a number that other programs read; "" for NaN."""
    return f"{value:z.6g}" if np.isfinite(value) else ""


def _plot(
    axis: ContextAxis,
    spots: Sequence[PlottedPoint],
    pale: Collection[int],
    values: Sequence[int],
    rate_hz: float,
    *,
    up: str,
    heights: tuple[float, float],
) -> Curves:
    curves: dict[tuple[str, int], list[PlottedPoint]] = {}
    for spot in spots:
        curves.setdefault((spot.label, spot.line), []).append(spot)
    shown = {label for label, _ in curves}
    lines = tuple(
        _line(label, line, own, dodge(label, axis, values, shown), is_pale=line in pale)
        for (label, line), own in curves.items()
    )
    places = [place_on(axis, value) for value in values]
    left, right = min([0.0, *places]), max([1.0, *places])
    room = 0.1 * (right - left)
    across = AXIS_TEXT[axis]
    if axis == "history_samples" and rate_hz == rate_hz:
        across += f", {rate_hz:g}/s"
    return Curves(
        axis,
        f"Score against {AXIS_TEXT[axis]}",
        lines,
        across,
        up,
        tuple((at, f"{value:,}") for at, value in zip(places, values, strict=True)),
        limits=(left - room, right + room, *heights),
        tip=TIP,
    )


def _line(
    label: str, line: int, spots: Sequence[PlottedPoint], offset: float, *, is_pale: bool
) -> Line:
    return Line(
        "",
        palette.CONDITION_COLOURS[label],
        np.array([spot.x + offset for spot in spots]),
        np.array([spot.point.score for spot in spots]),
        palette.CONDITION_SYMBOLS[label],
        tips=tuple(spot.tip for spot in spots),
        dash=DASHES[line][0],
        ends=np.array([spot.point.ends for spot in spots]).reshape(-1, 2),
        is_open=bool(line),
        is_pale=is_pale,
    )
