"""Matrix, tables and curves of a ranking of pretraining sessions, for all views."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from jaxtyping import Float

from omnimouse_model.analysis.ranking.curve_table import (
    CurveMean,
    OrderFit,
    PretrainCurve,
)
from omnimouse_model.analysis.ranking.orders import OrderName
from omnimouse_model.analysis.ranking.rank_table import RankTable
from omnimouse_model.analysis.ranking.scores import SUFFIX
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.models.ranking import RankingContent

Axis = Literal["k", "trials"]
View = Literal["matrix", "table", "curves", "gains"]
AXES: Final[dict[Axis, str]] = {
    "k": "sessions pretrained on",
    "trials": "trials pretrained on",
}
COLOURS: Final[dict[OrderName, str]] = {
    "ranked": "#E69F00",
    "random": "#56B4E9",
    "reverse": "#CC79A7",
}
SYMBOLS: Final[dict[OrderName, str]] = {"ranked": "o", "random": "s", "reverse": "d"}
"""Marks of the orders, as `palette.CONDITION_SYMBOLS`."""
VIEWS: Final[dict[View, tuple[str, str]]] = {
    "matrix": (
        "Matrix",
        "Score of each session's model on each held-out session, and its rank",
    ),
    "table": ("Table", "Sessions for one held-out session, the best first"),
    "curves": (
        "Curves",
        "Test score over the number of sessions or trials, in three orders",
    ),
    "gains": ("Gains", "Test scores of the curves, and gains over training anew"),
}
TIPS: Final = {
    "open": f"Open the results file of a ranking (*{SUFFIX})",
    "example": "Open the ranking of six simulated animals for a seventh",
    "refresh": "Read the file again, to follow a command that writes it",
    "command": "Copy the command that ranks sessions for the open recording. Put the\n"
    "folder of your sessions in place of SESSIONS. It takes hours, in a terminal.",
    "heldout": "Held-out session, for which sessions are ranked",
    "axis": "Horizontal axis of the curves",
}
EXPLANATIONS: Final[dict[View, str]] = {
    "matrix": "Mean over seeds on the validation tier, and rank. Row: session of the "
    "model; column: held-out session.",
    "table": "Validation tier; ± standard deviation over seeds.",
    "curves": "Test tier; bars: standard deviation over seeds and shuffles; dashed: "
    "from scratch; dotted, over trials: fitted line.",
    "gains": "Test tier; gain over a model trained from scratch on the held-out "
    "session; ± standard deviation over n models.",
}
NO_FILE: Final = "Open the results file of `omnimouse rank`"
NO_CURVES: Final = "The file has no complete curves: rank with --curve"
RANK_TITLES: Final = ("rank", "session", "score", "±", "trials")
GAIN_TITLES: Final = ("order", "sessions", "trials", "score", "±", "n", "gain", "%")
_MISSING: Final = "–"
_DRAWN: Final = 40
"""Number of points of a fitted line."""


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """Scores of sessions (rows, by mean rank) on held-out sessions (columns)."""

    sessions: tuple[str, ...]
    heldout: tuple[str, ...]
    values: Float[np.ndarray, "session heldout"]
    texts: tuple[tuple[str, ...], ...]
    tips: tuple[tuple[str, ...], ...]

    @property
    def shares(self) -> Float[np.ndarray, "session heldout"]:
        """Place of each score between the least (0) and the largest; NaN without."""
        finite = self.values[np.isfinite(self.values)]
        if not len(finite):
            return np.full(self.values.shape, np.nan)
        low, high = float(finite.min()), float(finite.max())
        return np.asarray((self.values - low) / max(high - low, 1e-12))


@dataclass(frozen=True, slots=True)
class Table:
    """Titles and rows of a table, as texts."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class OrderLine:
    """Means of one order over the number of sessions or trials, and the fitted line.

    Attributes
    ----------
    sd
        Standard deviations; NaN for one model.
    tips
        A text for each point.
    fit
        Points (x, y) of the line over log trials; empty without one.
    """

    order: OrderName
    x: Float[np.ndarray, " size"]
    y: Float[np.ndarray, " size"]
    sd: Float[np.ndarray, " size"]
    tips: tuple[str, ...]
    fit: tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, slots=True, eq=False)
class CurvePlot:
    """Curves of one held-out session, its baseline, and the labels of both axes.

    Attributes
    ----------
    ticks
        Numbers to be labelled on the horizontal axis, which is logarithmic.
    """

    lines: tuple[OrderLine, ...]
    baseline: float
    across: str
    up: str
    ticks: tuple[float, ...]


def ranking_matrix(ranking: RankTable) -> Matrix:
    """Return the matrix with its texts; rows are sorted by mean rank."""
    rows, columns = ranking.mean_order, range(len(ranking.heldout))
    mean, ranks = ranking.mean, ranking.ranks
    return Matrix(
        tuple(ranking.sessions[row] for row in rows),
        ranking.heldout,
        mean[list(rows)],
        tuple(
            tuple(f"{_number(mean[row, column])} ({ranks[row, column]})" for column in columns)
            for row in rows
        ),
        tuple(tuple(_cell_tip(ranking, row, column) for column in columns) for row in rows),
    )


def rank_rows(ranking: RankTable, heldout: str) -> Table:
    """Return the sessions for a held-out session, the best first."""
    column = ranking.heldout.index(heldout)
    rows = []
    for session in ranking.order(heldout):
        at = ranking.sessions.index(session)
        rows.append(
            (
                str(ranking.ranks[at, column]),
                session,
                _number(ranking.mean[at, column]),
                _number(ranking.spread[at, column]),
                f"{ranking.trials[at]:,}",
            )
        )
    return Table(RANK_TITLES, tuple(rows))


def gain_rows(curve: PretrainCurve, heldout: str) -> Table:
    """Return scores and gains of a held-out session, after that from scratch."""
    (base,) = curve_of(curve, heldout).baseline.values()
    rows = [("from scratch", "", "", _number(float(np.mean(base))), "", "", "", "")]
    for mean in curve_of(curve, heldout).means():
        percent = mean.gain_percent
        rows.append(
            (
                mean.order,
                str(mean.k),
                f"{mean.trials:z,.0f}",
                _number(mean.mean),
                _number(mean.sd),
                str(mean.n),
                f"{mean.gain:+z.3f}",
                f"{percent:+z.1f}" if np.isfinite(percent) else _MISSING,
            )
        )
    return Table(GAIN_TITLES, tuple(rows))


def curve_of(curve: PretrainCurve, heldout: str) -> PretrainCurve:
    """Return the part of a curve that is about one held-out session."""
    points = tuple(point for point in curve.points if point.heldout == heldout)
    return replace(curve, points=points, baseline={heldout: curve.baseline[heldout]})


def curve_plot(content: RankingContent, heldout: str, axis: Axis) -> CurvePlot | None:
    """Return the curves of a held-out session; None for a file without curves."""
    if content.stored.curve is None:
        return None
    curve = curve_of(content.stored.curve, heldout)
    means = curve.means()
    lines = []
    for order in curve.orders:
        own = [mean for mean in means if mean.order == order]
        fits = [fit for fit in content.fits if (fit.heldout, fit.order) == (heldout, order)]
        lines.append(
            OrderLine(
                order,
                np.array([float(getattr(mean, axis)) for mean in own]),
                np.array([mean.mean for mean in own]),
                np.array([mean.sd for mean in own]),
                tuple(mean_text(mean, curve.unit) for mean in own),
                fit_points(fits[0], own) if axis == "trials" else _NO_POINTS,
            )
        )
    base, sizes = float(np.mean(curve.baseline[heldout])), [*lines[0].x.tolist()]
    ticks = sizes if axis == "k" else _round_numbers(min(sizes), max(sizes))
    up = f"{curve.metric}, {curve.unit}"
    return CurvePlot(tuple(lines), base, AXES[axis], up, tuple(ticks))


def _round_numbers(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten between two numbers."""
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    numbers = [step * 10.0**power for power in powers for step in (1, 2, 5)]
    return [number for number in numbers if low <= number <= high]


def fit_points(fit: OrderFit, means: Sequence[CurveMean]) -> tuple[np.ndarray, np.ndarray]:
    """Return points (x, y) of a fitted line from the fewest trials to all."""
    if fit.line is None:
        return _NO_POINTS
    along = np.geomspace(min(mean.trials for mean in means), fit.trials, _DRAWN)
    return along, np.asarray(fit.line(along))


_NO_POINTS: Final = (np.zeros(0), np.zeros(0))


def mean_text(mean: CurveMean, unit: str) -> str:
    """Return the text of a point of a curve."""
    percent = mean.gain_percent
    gain = f" ({percent:+z.1f} %)" if np.isfinite(percent) else ""
    runs = "run" if mean.n == 1 else "runs"
    sessions = "session" if mean.k == 1 else "sessions"
    sd = f" ± {mean.sd:z.3f}" if np.isfinite(mean.sd) else ""
    return (
        f"{mean.order}, {mean.k} {sessions}, {mean.trials:z,.0f} trials\n"
        f"mean of {mean.n} {runs}: {mean.mean:z.3f}{sd} {unit}\n"
        f"{mean.gain:+z.3f}{gain} over the baseline"
    )


def fit_text(fit: OrderFit) -> str:
    """Return order and slope of a fitted line, with its interval; or the refusal."""
    if fit.line is None:
        return f"{fit.order}: {fit.refusal}"
    low, high = fit.slope
    interval = f" (95 %: {low:.3g} to {high:.3g})" if np.isfinite(low) else ""
    return f"{fit.order}, line over log trials\nslope {fit.line.slope:.3g}{interval}"


def summary(content: RankingContent) -> str:
    """Return metric, unit and numbers of sessions and seeds."""
    ranking = content.stored.ranking
    seeds = f"seed{'' if len(ranking.seeds) == 1 else 's'}"
    return (
        f"{ranking.metric}, {ranking.unit}: {len(ranking.sessions)} sessions for "
        f"{len(ranking.heldout)} held-out, {seeds} {', '.join(map(str, ranking.seeds))}"
    )


def warnings_of(content: RankingContent) -> tuple[str, ...]:
    """Return the reasons to doubt ranking and curves, each once."""
    curve = content.stored.curve
    curve_warnings = () if curve is None else curve.warnings
    return tuple(dict.fromkeys((*content.stored.ranking.warnings, *curve_warnings)))


def shown_heldout(content: RankingContent, chosen: str) -> str:
    """Return the chosen held-out session, or the first if the ranking lacks it."""
    heldout = content.stored.ranking.heldout
    return chosen if chosen in heldout else heldout[0]


def shown_table(content: RankingContent, view: View, heldout: str) -> Table:
    """Return the table of a view; empty for a view without one."""
    curve = content.stored.curve
    if view == "table":
        return rank_rows(content.stored.ranking, heldout)
    if view == "gains" and curve is not None:
        return gain_rows(curve, heldout)
    return Table((), ())


def note(content: RankingContent | None, view: View) -> str:
    """Return what a view shows, or why it shows nothing."""
    if content is None:
        return NO_FILE
    if view in ("curves", "gains") and content.stored.curve is None:
        return NO_CURVES
    return EXPLANATIONS[view]


def rank_command(controller: Controller) -> str:
    """Return the command that ranks sessions for the open recording."""
    state = controller.state
    session = state.session
    heldout = "HELDOUT" if session is None else str(session.path)
    name = "mine" if session is None else session.id
    # Only neural data transformers have a default task.
    is_spiking = session is None or state.spec.responses == "count"
    kind = ["ndt-forecast"] if is_spiking else ["CONFIG", "--task", "STRATEGY"]
    return shlex.join(
        [
            *("omnimouse", "rank", *kind, "--sessions", "SESSIONS"),
            *("--heldout", heldout, "--results", f"{name}{SUFFIX}", "--curve"),
        ]
    )


def _cell_tip(ranking: RankTable, row: int, column: int) -> str:
    spread = ranking.spread[row, column]
    sd = f" ± {spread:z.3f}" if np.isfinite(spread) else ""
    seeds = "seed" if len(ranking.seeds) == 1 else "seeds"
    return (
        f"{ranking.sessions[row]} for {ranking.heldout[column]}: rank "
        f"{ranking.ranks[row, column]}\n{_number(ranking.mean[row, column])}{sd} "
        f"{ranking.unit}, {len(ranking.seeds)} {seeds}"
    )


def _number(value: float) -> str:
    return f"{value:z.3f}" if np.isfinite(value) else _MISSING
