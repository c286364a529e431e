"""Results of a sweep: rows, curves and tables, and the files that store them.

A row is the score under one context with one draw of neurons in one session. Curves are
computed from the rows, also if the sweep is not complete.

The file is long because rows, curves and tables are parts of one class.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from omnimouse_model.analysis.sweep.contexts import (
    Context,
    ContextAxis,
    Line,
    SweepPlan,
    inputs_label,
)
from omnimouse_model.display import HasSummary, count, data_frame, interval_text, number_text
from omnimouse_model.evaluation.results import CEILING, json_values, number_or_none
from omnimouse_model.evaluation.results_store import RowFormat
from omnimouse_model.masks.selection import NeuronGroup
from omnimouse_model.metrics.time_blocks import MIN_BLOCKS, student_quantile
from omnimouse_model.storage.files import newest_first
from omnimouse_model.storage.tables import Column, columns_of, write_table
from omnimouse_model.storage.trees import decode

if TYPE_CHECKING:
    import pandas


RESPONSES = "responses"
UNREAD = "unread"
"""Note of a results file with the inputs that its predictor does not read."""
POOLS = "pools"
"""Note of a results file with the size of the chosen pool of each session."""
OVER_TIME, OVER_DRAWS = "95 % over time", "s.e.m. over draws"
"""Kinds of error bars."""
ROUNDING = 1e-6
"""Differences of scores that are those of float32 predictions: draws of neurons differ by more."""
NaN = float("nan")


@dataclass(frozen=True, slots=True)
class SweepRow:
    """The score under one context and one draw, over all windows of a session.

    Attributes
    ----------
    n_neurons
        Number of targets of the draw, the same along a curve.
    score, ci_low, ci_high
        Metric of the plan, mean over the targets, and its 95 % interval over time (of
        one window: over neurons); NaN if refused.
    ceiling
        Score of the expected response of the targets on the same samples, given that any
        visible neurons tell all that neurons share; NaN if unknown.
    decoded
        Correlation of each decoded behaviour channel, if behaviour is a target.
    refusal
        Reason if there is no score, else "".
    """

    session: str
    predictor: str
    context: Context
    seed: int
    n_neurons: int
    n_windows: int = 0
    score: float = NaN
    ci_low: float = NaN
    ci_high: float = NaN
    ceiling: float = NaN
    decoded: dict[str, float] = field(default_factory=dict)
    refusal: str = ""

    def value_of(self, target: str) -> float:
        """Return the score of responses or of a decoded channel; NaN without score."""
        if target == RESPONSES:
            return self.score
        return self.decoded.get(target, NaN)


@dataclass(frozen=True, slots=True)
class Point:
    """Mean over draws and sessions under one context.

    Attributes
    ----------
    score
        Mean over the draws of a session, then over sessions, weighted by number of
        targets; NaN if there is no score yet, or if all refused.
    sem
        Standard error of this mean over the draws; NaN with one draw.
    ci_low, ci_high
        95 % interval over time (of one window: over neurons), averaged over draws and
        sessions.
    n_windows
        Windows of each draw in the session that has most.
    refusal
        Reason if there is no score; "" if there is one or it is not computed yet.
    ceiling
        Of the same targets and samples, averaged as the score; NaN if unknown.
    """

    context: Context
    score: float
    sem: float
    ci_low: float
    ci_high: float
    n_seeds: int
    n_sessions: int
    n_windows: int = 0
    refusal: str = ""
    ceiling: float = NaN

    @property
    def over_time(self) -> tuple[float, float]:
        """95 % interval over time, NaN if there is none; `ci_low` of one window is over neurons."""
        return (self.ci_low, self.ci_high) if self.n_windows > 1 else (NaN, NaN)

    @property
    def bar(self) -> str:
        """What the error bar is: `OVER_TIME`, without such an interval `OVER_DRAWS`, or "".

        The interval comes first, because all points have it: a context without neurons is one
        draw, and has no s.e.m. One window has too few samples for a useful interval.
        """
        if np.isfinite(self.over_time[0]):
            return OVER_TIME
        return OVER_DRAWS if np.isfinite(self.sem) else ""

    @property
    def ends(self) -> tuple[float, float]:
        """Lower and upper end of the error bar, as scores; the score twice without `bar`."""
        if self.bar == OVER_TIME:
            return self.over_time
        half = self.sem if self.bar else 0.0
        return self.score - half, self.score + half


@dataclass(frozen=True, slots=True)
class Gain:
    """Score under one context minus that under the smallest one of its curve.

    Attributes
    ----------
    value
        Mean over the draws that have both, then over sessions as in `Point`.
    ci_low, ci_high
        95 % interval over the draws, in which both contexts have the same targets; NaN
        with one draw, and of the smallest context.
    """

    value: float = NaN
    ci_low: float = NaN
    ci_high: float = NaN

    def __str__(self) -> str:
        """Return e.g. "+0.034 [0.020, 0.048]"; "–" if not known."""
        text = interval_text(self.value, self.ci_low, self.ci_high)
        return f"+{text}" if self.value >= 0 else text


@dataclass(frozen=True, slots=True)
class Curve:
    """Score as a function of one kind of context, with all other inputs fixed.

    `fixed` is the value of the other axis: samples of history where `axis` is
    "neurons", neurons where it is "history_samples". `target` is "responses" or the
    decoded behaviour channel, `unread` the inputs that the predictor does not read.
    """

    axis: ContextAxis
    fixed: int
    video: bool
    behavior: bool
    target: str
    points: tuple[Point, ...]
    unread: tuple[str, ...] = ()

    @property
    def values(self) -> tuple[int, ...]:
        """Values of the points on the axis: neurons, or samples of history."""
        return tuple(getattr(point.context, self.axis) for point in self.points)

    @property
    def label(self) -> str:
        """Visible inputs other than responses that are read: "video + behaviour", "nothing"."""
        return inputs_label(self.video, self.behavior, self.unread)


@dataclass(frozen=True, slots=True, repr=False)
class ContextSweep(HasSummary):
    """Finished rows of a sweep and its plan.

    Examples
    --------
    >>> sweep = om.context_sweep("last", session, history_samples=[10], seeds=3)
    >>> sweep.is_complete, sweep.n_planned, len(sweep.table())
    (True, 3, 3)
    >>> sweep.write_csv("sweep.csv").name
    'sweep.csv'
    >>> sweep.to_dataframe().seed.tolist()
    [0, 1, 2]

    Notes
    -----
    The app, the notebook, the command line and live sweeps use the same class. `unread`
    has the inputs that the predictor does not read: no label names them. `pools` has the
    session and the size of each chosen pool, without the targets; files of older versions
    have none.
    """

    plan: SweepPlan
    predictor: str
    sessions: tuple[str, ...]
    rows: tuple[SweepRow, ...] = ()
    unread: tuple[str, ...] = ()
    pools: tuple[tuple[str, int], ...] = ()

    @property
    def n_planned(self) -> int:
        """Number of rows of the complete sweep."""
        return len(self.plan.contexts) * len(self.plan.seeds) * len(self.sessions)

    @property
    def is_complete(self) -> bool:
        """Whether all planned rows are finished."""
        return len(self.rows) == self.n_planned

    def planned_draws(self) -> dict[tuple[Context, str], int]:
        """Return the number of draws of each context and session; equal draws count as one."""
        rows, n_seeds, pools = self._by_context(), len(self.plan.seeds), dict(self.pools)
        planned = {}
        for context in self.plan.contexts:
            for session in self.sessions:
                own = [row for row in rows.get(context, []) if row.session == session]
                is_one = len(own) == n_seeds and self._is_same(context, own)
                n_draws = self.plan.n_draws(context, pools.get(session))
                planned[context, session] = 1 if is_one else n_draws
        return planned

    def point_counts(self) -> tuple[int, int]:
        """Return finished and planned points: contexts, with their draws where these differ."""
        planned = self.planned_draws()
        finished = Counter((row.context, row.session) for row in self.rows)
        done = sum(min(finished[key], n) for key, n in planned.items())
        return done, sum(planned.values())

    def _facts(self) -> dict[str, str]:
        return {
            "predictor": self.predictor,
            "sessions": str(len(self.sessions)),
            "targets": f"{self.plan.targets_name} from {self.plan.pool_name}",
            # That of one window is of no tier.
            **({"tier": self.plan.tier} if self.plan.tier else {}),
            "metric": self.plan.metric,
            "rows": f"{len(self.rows):,} of {self.n_planned:,}",
            "intervals": f"95 %: of scores {self.no_interval or 'over time'}, of gains over draws",
            **({"ceilings": CEILING} if any(np.isfinite(r.ceiling) for r in self.rows) else {}),
        }

    def _lines(self) -> list[tuple[str, str]]:
        units = {"neurons": "neurons", "history_samples": "samples of history"}
        return [
            (
                # Of a grid, a curve has a value of the other axis, too.
                (point.context.label if curve.fixed else f"{value:,} {units[curve.axis]}")
                + f", {curve.label}",
                (point.refusal or interval_text(point.score, *point.over_time))
                # None of the smallest context, and where it or this one refuses.
                + (f"; gain {gain}" if np.isfinite(gain.value) else "")
                + ("" if np.isnan(point.ceiling) else f"; ceiling {number_text(point.ceiling, 3)}"),
            )
            for curve in distinct_curves(self)
            for value, point, gain in zip(
                curve.values, curve.points, self.gains(curve), strict=True
            )
        ]

    @property
    def no_interval(self) -> str:
        """Why no score has an interval: there are too few windows; "" if one has."""
        scored = [row for row in self.rows if np.isfinite(row.score)]
        n = max((row.n_windows for row in scored), default=MIN_BLOCKS)
        if n >= MIN_BLOCKS or any(np.isfinite(r.ci_low) and r.n_windows > 1 for r in scored):
            return ""
        return f"none over {count(n, 'window')} (at least {MIN_BLOCKS} are needed)"

    @property
    def channels(self) -> tuple[str, ...]:
        """Behaviour channels that were decoded in any row."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.decoded))

    def of_session(self, session: str) -> "ContextSweep":
        """Return the part of one session.

        Raises
        ------
        KeyError
            The sweep does not have this session; the message lists its sessions.
        """
        if session not in self.sessions:
            names = ", ".join(self.sessions)
            raise KeyError(f"The sweep has no session {session!r}; it has {names}.")
        rows = tuple(row for row in self.rows if row.session == session)
        return replace(self, sessions=(session,), rows=rows)

    def curves(self, target: str = RESPONSES) -> tuple[Curve, ...]:
        """Return the curves of a target: over neurons first, then over history.

        Examples
        --------
        >>> sweep = om.context_sweep("last", session, history_samples=[10, 20], seeds=1)
        >>> [(curve.axis, curve.values) for curve in sweep.curves()]
        [('history_samples', (10, 20))]
        """
        # Rows are grouped once; a search per point would be quadratic in the contexts.
        rows = self._by_context()
        return tuple(
            Curve(
                line.axis,
                line.fixed,
                line.video,
                line.behavior,
                target,
                tuple(self._point(c, rows.get(c, []), target) for c in line.contexts),
                self.unread,
            )
            for line in self.plan.lines()
        )

    def curve(
        self, axis: ContextAxis, *, video: bool = True, behavior: bool = True, fixed: int = 0
    ) -> Curve:
        """Return one curve of the responses.

        Raises
        ------
        KeyError
            The sweep does not have this curve; the message lists its curves.

        Examples
        --------
        >>> sweep = om.context_sweep("last", session, history_samples=[10, 20], seeds=1)
        >>> curve = sweep.curve("history_samples")
        >>> curve.values, curve.label
        ((10, 20), 'nothing')
        """
        curves = self.curves()
        for curve in curves:
            key = (curve.axis, curve.video, curve.behavior, curve.fixed)
            if key == (axis, video, behavior, fixed):
                return curve
        # By the arguments that ask for them: inputs that are not read tell no curves apart.
        given = (f"{c.axis} with {inputs_label(c.video, c.behavior)}" for c in curves)
        names, label = "; ".join(dict.fromkeys(given)), inputs_label(video, behavior)
        raise KeyError(f"No curve of {axis} with {label} at {fixed}; there are: {names}")

    def point(self, context: Context, target: str = RESPONSES) -> Point:
        """Return the mean over draws and sessions under one context."""
        return self._point(context, self._by_context().get(context, []), target)

    def _by_context(self) -> dict[Context, list[SweepRow]]:
        """Return the rows by context, in one pass over all rows."""
        by_context: dict[Context, list[SweepRow]] = {}
        for row in self.rows:
            by_context.setdefault(row.context, []).append(row)
        return by_context

    def _point(self, context: Context, rows: list[SweepRow], target: str) -> Point:
        parts = [
            part
            for session in self.sessions
            if (part := _draws(self._different(context, rows, session), target))
        ]
        # Sessions without a score are left out until they have one.
        if not parts:
            reason = next((row.refusal for row in rows if row.refusal), "")
            return Point(context, NaN, NaN, NaN, NaN, 0, 0, refusal=reason)
        means, sems, lows, highs, weights, counts, ceilings = np.array(parts).T
        weights = weights / weights.sum()
        return Point(
            context,
            float(weights @ means),
            # Sessions are independent, so the variances of the weighted means add.
            float(np.sqrt(weights**2 @ sems**2)),
            float(weights @ lows),
            float(weights @ highs),
            # The session with the fewest draws: the others may be further ahead.
            int(counts.min()),
            len(parts),
            max(row.n_windows for row in rows),
            ceiling=float(weights @ ceilings),
        )

    def _different(self, context: Context, rows: list[SweepRow], session: str) -> list[SweepRow]:
        """Return the rows of a session; one where all draws of a context are the same."""
        own = [row for row in rows if row.session == session]
        return own[:1] if self._is_same(context, own) else own

    def _is_same(self, context: Context, rows: Sequence[SweepRow]) -> bool:
        """Return whether all draws are one: these are the rows of a context and a session.

        Those of the whole pool are copies of one row. Rows cannot tell them from equal ones of
        a predictor that does not read which neurons are visible, whose draws are one, too.
        """
        if self.plan.targets is None and self.plan.pool is None:
            return False
        is_whole = len(rows) > 1 and len(rows) == len(self.plan.seeds)
        # In files of older versions, equal draws were computed apart, and differ by rounding.
        scores = np.array([row.score for row in rows])
        is_one = bool(len(rows)) and np.allclose(scores, scores[0], 0.0, ROUNDING, equal_nan=True)
        return is_one and (is_whole or self.plan.n_draws(context) == 1)

    def gains(self, curve: Curve) -> tuple[Gain, ...]:
        """Return the gain of each point of a curve over its smallest context.

        Gains are paired: a draw has the same targets in all its contexts. Their interval
        is over draws of neurons. All draws use the same windows, so it does not contain
        the variance over time, as that of a score does.

        Examples
        --------
        >>> sweep = om.context_sweep("last", session, history_samples=[10, 20], seeds=3)
        >>> [gain.value == gain.value for gain in sweep.gains(sweep.curves()[0])]
        [False, True]
        """
        rows = self._by_context()
        contexts = [point.context for point in curve.points]
        least = min(contexts, key=lambda context: getattr(context, curve.axis))
        return tuple(
            Gain()
            if one == least
            else self._gain(rows.get(one, []), rows.get(least, []), curve.target)
            for one in contexts
        )

    def _gain(self, rows: list[SweepRow], smallest: list[SweepRow], target: str) -> Gain:
        """Return the paired gain of the rows of a context over those of the smallest one."""
        before = {(row.session, row.seed): row.value_of(target) for row in smallest}
        parts = []
        for session in self.sessions:
            own = [row for row in rows if row.session == session]
            paired = [row for row in own if (session, row.seed) in before]
            others = [row for row in smallest if row.session == session]
            # Paired draws differ if those of either context do.
            if all(one and self._is_same(one[0].context, one) for one in (paired, others)):
                paired = paired[:1]
            gains = np.array([row.value_of(target) - before[session, row.seed] for row in paired])
            is_known = np.isfinite(gains)
            if is_known.any():
                weight = float(paired[0].n_neurons) if target == RESPONSES else 1.0
                found, n = gains[is_known], int(is_known.sum())
                sem = found.std(ddof=1) / np.sqrt(n) if n > 1 else NaN
                parts.append((found.mean(), sem, weight, n))
        if not parts:
            return Gain()
        means, sems, weights, counts = np.array(parts).T
        weights = weights / weights.sum()
        value, least = float(weights @ means), int(counts.min())
        # Draws of the same cells are one, such as those of selected neurons without others.
        if least < 2 or not (sems > ROUNDING).any():
            return Gain(value)
        half = student_quantile(least - 1) * float(np.sqrt(weights**2 @ sems**2))
        return Gain(value, value - half, value + half)

    def table(self) -> list[dict[str, object]]:
        """Return tidy rows: one per curve, value, draw, session and target.

        A context on two curves is in both. Draws that are one have one row, that of the
        first seed, although `rows` has all of them. A missing value is None. `gain` is the
        score minus that of the same draw under the smallest context of the curve; of a
        context that is one draw, minus the mean over the draws of the smallest one.
        `ceiling` is one for all contexts with visible neurons, see
        `evaluation.results.CEILING`.
        """
        by_session: dict[tuple[Context, str], list[SweepRow]] = {}
        for row in self.rows:
            by_session.setdefault((row.context, row.session), []).append(row)
        is_one = {key: self._is_same(key[0], rows) for key, rows in by_session.items()}
        lines: list[dict[str, object]] = []
        for line in self.plan.lines():
            at = {context: getattr(context, line.axis) for context in line.contexts}
            for row in self.rows:
                key = row.context, row.session
                if row.context not in at or (is_one[key] and row is not by_session[key][0]):
                    continue
                smallest = by_session.get((line.smallest, row.session), [])
                least = [one for one in smallest if is_one[key] or one.seed == row.seed]
                lines += _tidy(row, least, line, at[row.context], self.plan)
        return lines

    def to_dataframe(self) -> "pandas.DataFrame":
        """Return `table()` as a pandas table; `score` is in the metric of its row."""
        return data_frame(self.table())

    def write_csv(self, path: str | Path) -> Path:
        """Write `table()` as CSV, or as Parquet if the name ends so."""
        return write_table(path, columns_of(self.table(), ["axis"]))


def distinct_curves(sweep: ContextSweep, target: str = RESPONSES) -> tuple[Curve, ...]:
    """Return the curves without those that differ in unread inputs alone.

    Of curves alike, the first one with a score stays. A single point that is on another
    curve, such as that without visible responses, is no curve of its own.
    """
    curves: dict[tuple[ContextAxis, int, str], Curve] = {}
    for curve in sweep.curves(target):
        key = curve.axis, curve.fixed, curve.label
        has_score = key in curves and any(np.isfinite(p.score) for p in curves[key].points)
        curves[key] = curves[key] if has_score else curve
    longer = [curve for curve in curves.values() if len(curve.points) > 1]
    covered = {point.context for curve in longer for point in curve.points}
    return tuple(
        curve
        for curve in curves.values()
        if len(curve.points) > 1 or curve.points[0].context not in covered
    )


def bars_text(points: Iterable[Point]) -> str:
    """Return what the error bars of points are: "bars: 95 % over time"; "" without one."""
    kinds = dict.fromkeys(point.bar for point in points if np.isfinite(point.score))
    known = " or ".join(filter(None, kinds))
    return f"bars: {known}" if known else ""


def columns_together(sweeps: Mapping[str, ContextSweep]) -> dict[str, Column]:
    """Return one table of several sweeps, whose first column names the sweep."""
    rows = [{"sweep": name, **line} for name, sweep in sweeps.items() for line in sweep.table()]
    return columns_of(rows, ["axis"])


def _draws(rows: Sequence[SweepRow], target: str) -> tuple[float, ...]:
    """Return mean, s.e.m., interval, weight, number and ceiling of the draws of one session.

    () without a score.
    """
    scored = [row for row in rows if np.isfinite(row.value_of(target))]
    if not scored:
        return ()
    scores = np.array([row.value_of(target) for row in scored])
    sem = scores.std(ddof=1) / np.sqrt(len(scores)) if len(scores) > 1 else NaN
    # Decoded behaviour is a property of the session: it has no interval over targets,
    # and sessions have equal weights.
    low, high, weight, ceiling = NaN, NaN, 1.0, NaN
    if target == RESPONSES:
        # Most points have one draw, for which NumPy takes ten times as long.
        low = sum(row.ci_low for row in scored) / len(scored)
        high = sum(row.ci_high for row in scored) / len(scored)
        weight = float(scored[0].n_neurons)
        ceiling = sum(row.ceiling for row in scored) / len(scored)
    mean = float(scores.mean())
    return mean, float(sem), low, high, weight, float(len(scored)), ceiling


def _tidy(
    row: SweepRow, least: Sequence[SweepRow], line: Line, value: int, plan: SweepPlan
) -> Iterator[dict[str, object]]:
    for target in (RESPONSES, *row.decoded):
        is_response = target == RESPONSES
        gain = NaN
        if least and row.context != line.smallest:
            before = sum(one.value_of(target) for one in least) / len(least)
            gain = row.value_of(target) - before
        yield {
            "axis": line.axis,
            "value": value,
            **asdict(row.context),
            "seed": row.seed,
            "session": row.session,
            "predictor": row.predictor,
            "target": target,
            "metric": plan.metric if is_response else "correlation",
            "targets": plan.targets_name,
            "pool": plan.pool_name,
            "n_neurons": row.n_neurons,
            "n_windows": row.n_windows,
            "score": number_or_none(row.value_of(target)),
            "ci_low": number_or_none(row.ci_low) if is_response else None,
            "ci_high": number_or_none(row.ci_high) if is_response else None,
            "gain": number_or_none(gain),
            "ceiling": number_or_none(row.ceiling) if is_response else None,
            "refusal": row.refusal,
        }


# -- conversion of the rows of context sweeps for a results store ---------------------
SWEEP: RowFormat[SweepRow] = RowFormat(
    "sweep", "a sweep", json_values, partial(decode, SweepRow, place="a row", null_is_nan=True)
)


# -- saved sweeps of a folder, read without locking or changing growing files ---------
SUFFIX = ".sweep.jsonl"


@dataclass(frozen=True, slots=True)
class SavedSweep:
    """A results file of a sweep.

    Attributes
    ----------
    sweep
        The sweep with its finished rows, None if the file cannot be read.
    about
        Notes in the header; empty for sweeps from the command line.
    problem
        Reason if the file cannot be read, else "".
    """

    path: Path
    sweep: ContextSweep | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""

    @property
    def name(self) -> str:
        """Name given by the user, else the file name."""
        return str(self.about.get("name") or self.path.name.removesuffix(SUFFIX))

    @property
    def started(self) -> str:
        """Start time, such as "2026-03-01 14:05"; "" if unknown."""
        return str(self.about.get("begun") or "")

    @property
    def is_complete(self) -> bool:
        """Whether all planned rows are finished."""
        return self.sweep is not None and self.sweep.is_complete


def read_sweep(path: str | Path) -> SavedSweep:
    """Read a results file, even while it is written; a partial last line is left out.

    A file that cannot be read gives a `SavedSweep` with a `problem` and no error.
    """
    path = Path(path)
    try:
        header, rows = SWEEP.read(path)
        definition, about = header["definition"], dict(header.get("about", {}))
        sweep = ContextSweep(
            _plan(definition),
            str(definition["predictor"]),
            tuple(str(session) for session, _ in definition["sessions"]),
            tuple(rows),
            tuple(map(str, about.get(UNREAD, ()))),
            tuple((str(name), int(size)) for name, size in about.get(POOLS, {}).items()),
        )
    # Any file may lie in the folder: a broken one is listed and not an error.
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return SavedSweep(path, problem=f"cannot be read: {repr(error)[:200]}")
    return SavedSweep(path, sweep, about)


def saved_sweeps(folder: str | Path) -> list[Path]:
    """Return the results files of a folder, newest first."""
    return newest_first(Path(folder).glob(f"*{SUFFIX}"))


def _plan(definition: Mapping[str, Any]) -> SweepPlan:
    # The definition in the header also holds the predictor and the sessions.
    names = {field.name for field in fields(SweepPlan)}
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in definition.items()
        if name in names
    }
    for name in ("targets", "pool"):
        if isinstance(values.get(name), Mapping):
            group = values[name]
            values[name] = NeuronGroup(str(group["name"]), tuple(map(int, group["ids"])))
    # Sweeps of older versions are pooled, and do not say so.
    return SweepPlan(**{"centred": False, **values})
