"""Panel *Ranking*: matrix, table, curves and gains of a stored ranking of sessions."""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Literal

import numpy as np
from psygnal import Signal

from omnimouse_model.analysis.ranking.curve_table import (
    DEMO_RANKING,
    CurveMean,
    OrderFit,
    OrderName,
    PretrainCurve,
)
from omnimouse_model.analysis.ranking.rank_table import SUFFIX, RankTable
from omnimouse_model.display import interval_text, number_text
from omnimouse_model.live.controller import OfController
from omnimouse_model.live.models.ranking import RankingContent, RankingOnScreen
from omnimouse_model.live.state import LiveState
from omnimouse_widgets.views import record

Axis = Literal["k", "trials"]
Page = Literal["matrix", "table", "curves", "gains"]
AXES: Final[dict[Axis, str]] = {
    "k": "recordings pretrained on",
    "trials": "trials pretrained on",
}
COLOURS: Final[dict[OrderName, str]] = {
    "ranked": "#E69F00",
    "random": "#56B4E9",
    "reverse": "#CC79A7",
}
SYMBOLS: Final[dict[OrderName, str]] = {"ranked": "o", "random": "s", "reverse": "d"}
"""Marks of the orders, as `palette.CONDITION_SYMBOLS`."""
VIEWS: Final[dict[Page, tuple[str, str]]] = {
    "matrix": (
        "Matrix",
        "Score of each recording's model on each held-out recording, and its rank",
    ),
    "table": ("Table", "Recordings for one held-out recording, the best first"),
    "curves": ("Curves", "Test score over the number of recordings or trials, in three orders"),
    "gains": ("Gains", "Test scores of the curves, and gains over training anew"),
}
EXPLANATIONS: Final[dict[Page, str]] = {
    "matrix": "Mean over seeds on the validation part, and rank. Row: recording of the "
    "model; column: held-out recording.",
    "table": "Validation part; s.d.: standard deviation over seeds.",
    "curves": "Test part; bars: standard deviation over seeds and shuffles; dashed: "
    "from scratch; dotted, over trials: fitted line.",
    "gains": "Test part; gain over a model trained from scratch on the held-out "
    "recording; s.d.: standard deviation over the runs.",
}
TASKS: Final = {
    "co-smoothing": "each neuron is predicted from all others",
    "forward": "all neurons are predicted from the bins of their trial before",
    "inter-region": "the neurons of each region are predicted from the other regions",
    "intra-region": "each neuron is predicted from the others of its region",
}
"""What is predicted in the tasks of neural data transformers."""
NO_FILE: Final = "Open the results file of the command omnimouse rank"
NO_CURVES: Final = "The file has no complete curves: rank with --curve"
RANK_TITLES: Final = ("rank", "recording", "score", "s.d.", "trials")
GAIN_TITLES: Final = ("order", "recordings", "trials", "score", "s.d.", "runs", "gain", "gain in %")
_DRAWN: Final = 40
"""Number of points of a fitted line."""


class RankingView(OfController):
    """Results file of a ranking: which recordings to train on for a new one.

    Parameters
    ----------
    ranking, state
        The results file, and the open recording.

    Attributes
    ----------
    view, axis
        What is shown, and the horizontal axis of the curves.
    heldout
        Held-out session of table, curves and gains; "" is the first one.
    """

    name = "ranking"
    changed = Signal()

    def __init__(self, ranking: RankingOnScreen, state: LiveState) -> None:
        self._ranking, self._state = ranking, state
        self.view: Page = "matrix"
        self.axis: Axis = "k"
        self.heldout = ""

    def set(self, **options: str) -> None:
        """Set `view`, `axis` or `heldout`."""
        for name, value in options.items():
            setattr(self, name, value)
        self.changed.emit()

    def blocks(self) -> Sequence[record.Block]:
        """Return the record, which is one block."""
        return [record.Block(self._items, [self._ranking.changed, self.changed], grows=True)]

    def _items(self) -> Sequence[record.Item | record.Row]:
        ranking, content = self._ranking, self._ranking.content
        path, is_read = ranking.path, content is not None
        return [
            record.Row("file", self._actions(), wide="command"),
            record.Text(
                "path",
                ranking.message or ("" if path is None else path.name),
                tip="" if path is None else str(path),
                is_line=True,
            ),
            record.Text("error", "" if ranking.error is None else f"✕ {ranking.error}", "problem"),
            record.Text("summary", summary(content) if content else "", "quiet"),
            record.Text("task", task_text(content) if content else "", "quiet"),
            record.Text("warnings", warning_text(content) if content else "", "warning"),
            *(self._results(content) if content else ()),
            *(() if is_read else (record.Message("content", "Ranking", NO_FILE),)),
            record.Text("note", EXPLANATIONS[self.view] if content else "", "quiet"),
            record.Text("fits", self._fit_text(content) if content else "", "quiet"),
        ]

    def _actions(self) -> tuple[record.Action, ...]:
        ranking = self._ranking
        refusal = "Reading the file" if ranking.is_busy else ""
        if ranking.path is None:
            refusal = NO_FILE
        return (
            record.Action(
                "open", "Open…", f"Open the results file of a ranking (*{SUFFIX})", self._open
            ),
            record.Action(
                "example",
                "Example",
                "Open the ranking of six simulated animals for a seventh",
                lambda: ranking.open(DEMO_RANKING),
            ),
            record.Action(
                "refresh",
                "Refresh",
                "Read the file again, to follow a command that writes it",
                ranking.read_again,
                refusal,
            ),
            record.Action(
                "command",
                "Copy command",
                "Copy the command that ranks recordings for the open one. Put the\n"
                "folder of your recordings in place of SESSIONS. It takes hours, in a terminal.",
                self._copy_command,
            ),
        )

    def _open(self) -> record.OpenFile:
        session = self._state.session
        near = self._ranking.path or (None if session is None else session.path)
        folder = None if near is None else near.parent
        return record.OpenFile("Open a ranking", SUFFIX, folder, self._ranking.open)

    def _copy_command(self) -> record.Clipboard:
        command = rank_command(self._state)
        return record.Clipboard(command, f"On the clipboard: {command}")

    def _results(self, content: RankingContent) -> Sequence[record.Item | record.Row]:
        heldout = shown_heldout(content, self.heldout)
        options = tuple((name, *label) for name, label in VIEWS.items())
        names = tuple((name, name, "") for name in content.stored.ranking.heldout)
        axes = tuple((name, label, "") for name, label in AXES.items())
        fields: list[record.Item] = []
        if self.view != "matrix":
            help_text = "Held-out recording, for which the others are ranked"
            fields.append(
                record.Choice(
                    "heldout",
                    "Held-out recording",
                    help_text,
                    names,
                    heldout,
                    lambda name: self.set(heldout=name),
                )
            )
        if self.view == "curves":
            help_text = "Horizontal axis of the curves"
            fields.append(
                record.Choice(
                    "axis",
                    "Horizontal axis",
                    help_text,
                    axes,
                    self.axis,
                    lambda axis: self.set(axis=axis),
                )
            )
        view = record.Choice(
            "view",
            "View",
            "What is shown",
            options,
            self.view,
            lambda name: self.set(view=name),
            is_row=True,
        )
        return [view, record.Row("fields", tuple(fields)), self._content(content, heldout)]

    def _content(self, content: RankingContent, heldout: str) -> record.Content:
        if self.view == "matrix":
            return ranking_matrix(content.stored.ranking)
        if self.view == "table":
            return rank_rows(content.stored.ranking, heldout)
        if content.stored.curve is None:
            return record.Message("content", VIEWS[self.view][1], NO_CURVES)
        if self.view == "gains":
            return gain_rows(content.stored.curve, heldout)
        return curve_plot(content.fits, content.stored.curve, heldout, self.axis)

    def _fit_text(self, content: RankingContent) -> str:
        if (self.view, self.axis) != ("curves", "trials"):
            return ""
        heldout = shown_heldout(content, self.heldout)
        own = [fit for fit in content.fits if fit.heldout == heldout]
        # The slope is on the second line; the first is the order and the kind of line.
        return "\n".join(f"{fit.order}: {fit_text(fit).split(chr(10))[-1]}" for fit in own)


def ranking_matrix(ranking: RankTable) -> record.Matrix:
    """Return the matrix with its texts; rows are sorted by mean rank."""
    rows, columns = ranking.mean_order, range(len(ranking.heldout))
    mean, ranks = ranking.mean, ranking.ranks
    values = mean[list(rows)]
    finite = values[np.isfinite(values)]
    return record.Matrix(
        "content",
        VIEWS["matrix"][1],
        tuple(ranking.sessions[row] for row in rows),
        ranking.heldout,
        values,
        tuple(
            tuple(
                f"{number_text(mean[row, column], 3)} ({ranks[row, column]})" for column in columns
            )
            for row in rows
        ),
        tuple(tuple(_cell_tip(ranking, row, column) for column in columns) for row in rows),
        float(min(finite, default=0.0)),
        float(max(finite, default=1.0)),
    )


def rank_rows(ranking: RankTable, heldout: str) -> record.Table:
    """Return the sessions for a held-out session, the best first."""
    column = ranking.heldout.index(heldout)
    rows = []
    for session in ranking.order(heldout):
        at = ranking.sessions.index(session)
        rows.append(
            (
                str(ranking.ranks[at, column]),
                session,
                number_text(ranking.mean[at, column], 3),
                number_text(ranking.spread[at, column], 3),
                f"{ranking.trials[at]:,}",
            )
        )
    return record.Table("content", VIEWS["table"][1], RANK_TITLES, tuple(rows))


def gain_rows(curve: PretrainCurve, heldout: str) -> record.Table:
    """Return scores and gains of a held-out session, after that from scratch."""
    (base,) = curve_of(curve, heldout).baseline.values()
    rows = [("from scratch", "", "", number_text(float(np.mean(base)), 3), "", "", "", "")]
    for mean in curve_of(curve, heldout).means():
        percent = mean.gain_percent
        rows.append(
            (
                mean.order,
                str(mean.k),
                number_text(mean.trials, 0),
                number_text(mean.mean, 3),
                number_text(mean.sd, 3),
                str(mean.n),
                number_text(mean.gain, 3, "+"),
                number_text(percent, 1, "+"),
            )
        )
    return record.Table("content", VIEWS["gains"][1], GAIN_TITLES, tuple(rows))


def curve_of(curve: PretrainCurve, heldout: str) -> PretrainCurve:
    """Return the part of a curve that is about one held-out session."""
    points = tuple(point for point in curve.points if point.heldout == heldout)
    return replace(curve, points=points, baseline={heldout: curve.baseline[heldout]})


def curve_plot(
    fits: Sequence[OrderFit], whole: PretrainCurve, heldout: str, axis: Axis
) -> record.Curves:
    """Return the curves of a held-out session; `fits` are all those of the curve."""
    curve = curve_of(whole, heldout)
    means = curve.means()
    lines = []
    for order in curve.orders:
        own = [mean for mean in means if mean.order == order]
        own_fits = [fit for fit in fits if (fit.heldout, fit.order) == (heldout, order)]
        lines.append(
            record.Line(
                order,
                COLOURS[order],
                np.array([float(getattr(mean, axis)) for mean in own]),
                np.array([mean.mean for mean in own]),
                SYMBOLS[order],
                np.array([mean.sd for mean in own]),
                tuple(mean_text(mean, curve.unit) for mean in own),
                *(fit_points(own_fits[0], own) if axis == "trials" else _NO_POINTS),
            )
        )
    sizes = lines[0].x.tolist()
    ticks = sizes if axis == "k" else _round_numbers(min(sizes), max(sizes))
    return record.Curves(
        "content",
        VIEWS["curves"][1],
        tuple(lines),
        AXES[axis],
        curve.unit,  # the line above names the metric, for which a low plot has no room
        tuple((tick, number_text(tick, 0)) for tick in ticks),
        (float(np.mean(curve.baseline[heldout])), "from scratch"),
        is_log=True,
    )


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
    gain = f" ({number_text(percent, 1, '+')} %)" if np.isfinite(percent) else ""
    runs = "run" if mean.n == 1 else "runs"
    recordings = "recording" if mean.k == 1 else "recordings"
    sd = f", s.d. {mean.sd:z.3f}" if np.isfinite(mean.sd) else ""
    return (
        f"{mean.order}, {mean.k} {recordings}, {mean.trials:z,.0f} trials\n"
        f"mean of {mean.n} {runs}: {number_text(mean.mean, 3)} {unit}{sd}\n"
        f"{number_text(mean.gain, 3, '+')}{gain} over the baseline"
    )


def fit_text(fit: OrderFit) -> str:
    """Return order and slope of a fitted line, with its interval; or the refusal."""
    if fit.line is None:
        return f"{fit.order}: {fit.refusal}"
    slope = interval_text(fit.line.slope, *fit.slope, kind="g")
    return f"{fit.order}, line over log trials\nslope {slope}"


def summary(content: RankingContent) -> str:
    """Return metric, unit and numbers of sessions and seeds."""
    ranking = content.stored.ranking
    seeds = f"seed{'' if len(ranking.seeds) == 1 else 's'}"
    return (
        f"{ranking.metric}, {ranking.unit}: {len(ranking.sessions)} recordings for "
        f"{len(ranking.heldout)} held-out, {seeds} {', '.join(map(str, ranking.seeds))}"
    )


def task_text(content: RankingContent) -> str:
    """Return what the models predict, "" for a task that the panel does not know."""
    task = content.stored.ranking.metric
    return f"{task}: {TASKS[task]}" if task in TASKS else ""


def warning_text(content: RankingContent) -> str:
    """Return the reasons to doubt ranking and curves, each once, as lines."""
    curve = content.stored.curve
    curve_warnings = () if curve is None else curve.warnings
    warnings = dict.fromkeys((*content.stored.ranking.warnings, *curve_warnings))
    return "\n".join(f"⚠ {warning}" for warning in warnings)


def shown_heldout(content: RankingContent, chosen: str) -> str:
    """Return the chosen held-out session, or the first if the ranking lacks it."""
    heldout = content.stored.ranking.heldout
    return chosen if chosen in heldout else heldout[0]


def rank_command(state: LiveState) -> str:
    """Return the command that ranks sessions for the open recording."""
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
    sd = f", s.d. {spread:z.3f}" if np.isfinite(spread) else ""
    seeds = "seed" if len(ranking.seeds) == 1 else "seeds"
    return (
        f"{ranking.sessions[row]} for {ranking.heldout[column]}: rank "
        f"{ranking.ranks[row, column]}\n{number_text(ranking.mean[row, column], 3)} "
        f"{ranking.unit}{sd}, {len(ranking.seeds)} {seeds}"
    )
