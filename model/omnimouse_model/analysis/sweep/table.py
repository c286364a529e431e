"""What a sweep found, as values: rows, curves and tables, whoever draws them.

A row is one context under one draw of neurons in one session. Curves are read off the
rows, also while they are still coming.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from omnimouse_model.analysis.evaluate.results import number_or_none
from omnimouse_model.analysis.sweep.contexts import Context, inputs_label
from omnimouse_model.analysis.sweep.plan import Axis, Line, SweepPlan
from omnimouse_model.atomic import atomic_path

RESPONSES = "responses"


@dataclass(frozen=True, slots=True)
class SweepRow:
    """The score under one context and one draw, over all windows of a session.

    Attributes
    ----------
    n_neurons
        Targets of the draw, the same along a curve.
    score, ci_low, ci_high
        Single-trial correlation, mean over the targets, and its 95 % interval,
        resampling them; NaN where refused.
    ceiling
        What the expected response reaches on the same samples; NaN if not known.
    decoded
        Correlation of every decoded behaviour channel, where behaviour was asked.
    refusal
        Why there is no score, "" where there is one.
    """

    session: str
    predictor: str
    context: Context
    seed: int
    n_neurons: int
    n_windows: int
    score: float
    ci_low: float
    ci_high: float
    ceiling: float = float("nan")
    decoded: dict[str, float] = field(default_factory=dict)
    refusal: str = ""

    def value_of(self, target: str) -> float:
        """The score, or that of a decoded channel; NaN where there is none."""
        if target == RESPONSES:
            return self.score
        return self.decoded.get(target, float("nan"))


@dataclass(frozen=True, slots=True)
class Point:
    """The mean over draws and sessions under one context.

    Attributes
    ----------
    score
        Mean over the draws of a session, then over sessions, weighted by their
        targets; NaN while there is none, or where all refused.
    sem
        Standard error of that mean over the draws; NaN with one draw.
    ci_low, ci_high
        95 % interval over neurons, averaged over draws and sessions.
    refusal
        Why there is no score, "" where there is one or it is still to come.
    """

    context: Context
    score: float
    sem: float
    ci_low: float
    ci_high: float
    n_seeds: int
    n_sessions: int
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Curve:
    """Score as a function of one kind of context, all else kept fixed.

    `fixed` is the value of the other axis: samples of history where `axis` is
    "neurons", neurons where it is "history_samples". `target` is "responses" or the
    decoded behaviour channel.
    """

    axis: Axis
    fixed: int
    video: bool
    behavior: bool
    target: str
    points: tuple[Point, ...]

    @property
    def values(self) -> tuple[int, ...]:
        """Neurons, or samples of history: what the points lie over."""
        return tuple(getattr(point.context, self.axis) for point in self.points)

    @property
    def label(self) -> str:
        """Which inputs there are beside the axis: "video + behaviour", "nothing"."""
        return inputs_label(self.video, self.behavior)


@dataclass(frozen=True, slots=True)
class ContextSweep:
    """All rows there are so far, and what they are part of.

    The same in the app, the notebook and the command line; a live sweep too.

    Examples
    --------
    >>> sweep = om.context_sweep("last", session, history_samples=[10], seeds=3)
    >>> sweep.is_complete, sweep.n_planned, len(sweep.table())
    (True, 3, 3)
    >>> sweep.write_csv("sweep.csv").name
    'sweep.csv'
    """

    plan: SweepPlan
    predictor: str
    sessions: tuple[str, ...]
    rows: tuple[SweepRow, ...] = ()

    @property
    def n_planned(self) -> int:
        """Rows of the finished sweep."""
        return len(self.plan.contexts) * len(self.plan.seeds) * len(self.sessions)

    @property
    def is_complete(self) -> bool:
        """Whether every row is there."""
        return len(self.rows) == self.n_planned

    @property
    def channels(self) -> tuple[str, ...]:
        """Behaviour channels that were decoded somewhere."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.decoded))

    def of_session(self, session: str) -> "ContextSweep":
        """Take one session's part.

        Raises
        ------
        KeyError
            Naming the sessions there are.
        """
        if session not in self.sessions:
            known = ", ".join(self.sessions)
            raise KeyError(f"The sweep has no session {session!r}; it has {known}.")
        rows = tuple(row for row in self.rows if row.session == session)
        return replace(self, sessions=(session,), rows=rows)

    def curves(self, target: str = RESPONSES) -> tuple[Curve, ...]:
        """Curves of the responses, or of a decoded channel: neurons, then history."""
        rows = self._by_context()
        return tuple(
            Curve(
                line.axis,
                line.fixed,
                line.video,
                line.behavior,
                target,
                tuple(self._point(c, rows.get(c, []), target) for c in line.contexts),
            )
            for line in self.plan.lines()
        )

    def curve(
        self, axis: Axis, *, video: bool = True, behavior: bool = True, fixed: int = 0
    ) -> Curve:
        """Find one curve of the responses.

        Raises
        ------
        KeyError
            Naming what the sweep has.

        Examples
        --------
        >>> sweep = om.context_sweep("last", session, history_samples=[10, 20], seeds=1)
        >>> curve = sweep.curve("history_samples")
        >>> curve.values, curve.label
        ((10, 20), 'video + behaviour')
        """
        wanted = (axis, video, behavior, fixed)
        found = self.curves()
        for curve in found:
            if (curve.axis, curve.video, curve.behavior, curve.fixed) == wanted:
                return curve
        have = "; ".join(dict.fromkeys(f"{c.axis} with {c.label}" for c in found))
        label = inputs_label(video, behavior)
        raise KeyError(f"No curve of {axis} with {label} at {fixed}; there are: {have}")

    def point(self, context: Context, target: str = RESPONSES) -> Point:
        """Average the draws of every session under one context, then the sessions."""
        return self._point(context, self._by_context().get(context, []), target)

    def _by_context(self) -> dict[Context, list[SweepRow]]:
        """All rows, found once: curves of many rows are drawn while they come."""
        found: dict[Context, list[SweepRow]] = {}
        for row in self.rows:
            found.setdefault(row.context, []).append(row)
        return found

    def _point(self, context: Context, rows: list[SweepRow], target: str) -> Point:
        parts = [
            part
            for session in self.sessions
            if (part := _draws([r for r in rows if r.session == session], target))
        ]
        if not parts:
            reasons = [row.refusal for row in rows if row.refusal]
            nothing = (float("nan"),) * 4
            return Point(context, *nothing, 0, 0, reasons[0] if reasons else "")
        weights = np.array([part.weight for part in parts])
        weights = weights / weights.sum()
        means, sems, lows, highs = np.array([part.values for part in parts]).T
        return Point(
            context,
            float(weights @ means),
            float(np.sqrt(weights**2 @ sems**2)),
            float(weights @ lows),
            float(weights @ highs),
            min(part.count for part in parts),
            len(parts),
        )

    def table(self) -> list[dict[str, object]]:
        """Tidy rows: one per curve, value, draw, session and target.

        A context on two curves is in both. None where there is no value.
        """
        lines: list[dict[str, object]] = []
        for line in self.plan.lines():
            at = {context: getattr(context, line.axis) for context in line.contexts}
            for row in self.rows:
                if row.context in at:
                    lines += _tidy(row, line, at[row.context])
        return lines

    def write_csv(self, path: str | Path) -> Path:
        """Write `table()` as CSV, with empty cells where there is no value."""
        return write_rows(self.table(), path)


def write_together(sweeps: Mapping[str, ContextSweep], path: str | Path) -> Path:
    """Write several sweeps as one CSV table, whose first column names the sweep."""
    rows = [
        {"sweep": name, **line}
        for name, found in sweeps.items()
        for line in found.table()
    ]
    return write_rows(rows, path)


def write_rows(lines: Sequence[Mapping[str, object]], path: str | Path) -> Path:
    """Write rows as CSV, all at once or not at all."""
    path = Path(path)
    with (
        atomic_path(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, list(lines[0]) if lines else ["axis"])
        writer.writeheader()
        writer.writerows(lines)
    return path


@dataclass(frozen=True, slots=True)
class _Draws:
    """Mean, s.e.m. and interval over the draws of one session."""

    values: tuple[float, float, float, float]
    weight: float
    count: int


def _draws(rows: Sequence[SweepRow], target: str) -> _Draws | None:
    known = [row for row in rows if np.isfinite(row.value_of(target))]
    if not known:
        return None
    scores = np.array([row.value_of(target) for row in known])
    nan = float("nan")
    sem = scores.std(ddof=1) / np.sqrt(len(scores)) if len(scores) > 1 else nan
    low = high = nan
    if target == RESPONSES:
        low = float(np.mean([row.ci_low for row in known]))
        high = float(np.mean([row.ci_high for row in known]))
    weight = known[0].n_neurons if target == RESPONSES else 1
    values = (float(scores.mean()), float(sem), low, high)
    return _Draws(values, float(weight), len(known))


def _tidy(row: SweepRow, line: Line, value: int) -> Iterator[dict[str, object]]:
    context = row.context
    for target in (RESPONSES, *row.decoded):
        is_response = target == RESPONSES
        yield {
            "axis": line.axis,
            "value": value,
            "neurons": context.neurons,
            "history_samples": context.history_samples,
            "video": context.video,
            "behavior": context.behavior,
            "seed": row.seed,
            "session": row.session,
            "predictor": row.predictor,
            "target": target,
            "n_neurons": row.n_neurons,
            "n_windows": row.n_windows,
            "score": number_or_none(row.value_of(target)),
            "ci_low": number_or_none(row.ci_low) if is_response else None,
            "ci_high": number_or_none(row.ci_high) if is_response else None,
            "ceiling": number_or_none(row.ceiling) if is_response else None,
            "refusal": row.refusal,
        }
