"""Table of tasks as in the paper: one row per model, one column per task.

Table 2 of the OmniMouse paper. A task that a model does not support is "–" with the
reason, never a number.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final

import numpy as np

from omnimouse_model.display import number_text
from omnimouse_model.evaluation import published
from omnimouse_model.evaluation.results import Scores
from omnimouse_model.metrics import BEHAVIOR_GROUPS
from omnimouse_widgets.figures import style
from omnimouse_widgets.figures.style import Theme

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

TASKS: Final = {
    published.TASKS[task]: name
    for task, name in {"fcst": "Fcst", "fcst+S": "Fcst+S", "stim": "Stim"}.items()
}
"""Short names of tasks in the paper, by strategy; for populations see `task_name`."""
GROUPS: Final = {
    "Pupil-loc": BEHAVIOR_GROUPS["location"],
    "Pupil-size": BEHAVIOR_GROUPS["size"],
    "Running": BEHAVIOR_GROUPS["running"],
}
"""Groups of decoded channels as in the paper; *Avg* is the mean of the groups."""
AVERAGE: Final = "Avg"
CEILING: Final = "ceiling"


@dataclass(frozen=True, slots=True)
class TaskCell:
    """A score, or the reason for a missing score.

    `note` is printed below the table: the reason, or a remark on the request.
    """

    value: float
    note: str = ""
    is_best: bool = False

    @property
    def text(self) -> str:
        """The score with two decimals as in the paper; "–" without a score."""
        return number_text(self.value)


@dataclass(frozen=True, slots=True, repr=False)
class TaskTable:
    """The table as values; a notebook shows it as HTML, `to_figure` draws it.

    Attributes
    ----------
    columns
        Names of the tasks, then those of decoded behaviour.
    rows
        Cells by model, in the order of the evaluation; then "ceiling" if the session is
        simulated.
    caption
        Sessions and windows of the evaluation.
    """

    columns: tuple[str, ...]
    rows: dict[str, tuple[TaskCell, ...]]
    caption: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes of all cells, without repetition."""
        notes = [
            # Several models can lack a score for the same reason.
            f"{column}: {cell.note}" if np.isfinite(cell.value) else f"–: {cell.note}"
            for row in self.rows.values()
            for column, cell in zip(self.columns, row, strict=True)
            if cell.note
        ]
        return tuple(dict.fromkeys(notes))

    def texts(self) -> list[list[str]]:
        """Return rows of text, headings first: for Markdown, CSV or a terminal."""
        body = [[name, *(c.text for c in row)] for name, row in self.rows.items()]
        return [["", *self.columns], *body]

    def __repr__(self) -> str:
        """Return the table as plain text."""
        lines = self.texts()
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        rows = [
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True))
            for line in lines
        ]
        return "\n".join([self.caption, *(row.rstrip() for row in rows), *self.notes])

    def to_html(self) -> str:
        """Return an HTML table with its caption, and its notes below."""
        head = "".join(f'<th scope="col">{escape(c)}</th>' for c in self.columns)
        body = "".join(
            f'<tr><th scope="row" style="text-align:left">{escape(name)}</th>'
            + "".join(map(_html, row))
            + "</tr>"
            for name, row in self.rows.items()
        )
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
        return (
            f"<table><caption>{escape(self.caption)}</caption>"
            f"<thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table>"
            + (f"<ul>{notes}</ul>" if notes else "")
        )

    _repr_html_ = to_html

    def to_figure(self, *, theme: Theme = "light") -> "Figure":
        """Return the table as a plotly figure."""
        fill = {"color": style.BACKGROUND[theme]}
        fields = {"fill": fill, "align": ["left", "center"]}
        # plotly takes the cells by column, the names of the models first.
        cells = zip(*self.rows.values(), strict=True)
        columns = [[*map(style.hover, self.rows)], *([_bold(cell) for cell in c] for c in cells)]
        heads = [f"<b>{style.hover(head)}</b>" for head in ("", *self.columns)]
        # plotly does not adjust the height of a table to its rows.
        height = 170 + 26 * len(self.rows)
        figure = style.new_figure(theme, height, title={"text": style.hover(self.caption)})
        figure.add_trace(
            {
                "type": "table",
                "header": {"values": heads, **fields},
                "cells": {"values": columns, **fields},
            }
        )
        return figure


def task_table(scores: Scores) -> TaskTable:
    """Return the scores of an evaluation in the form of the paper's Table 2.

    Responses are means over sessions weighted by the number of neurons; behaviour is
    the plain mean over sessions. With several models, the best score of a column is
    bold.
    """
    strategies = list(dict.fromkeys(score.strategy for score in scores.scores))
    both = (scores.scores, scores.behavior)
    models = list(dict.fromkeys(score.predictor for part in both for score in part))
    decoded = list(dict.fromkeys(score.strategy for score in scores.behavior))
    channels = {score.channel for score in scores.behavior}
    groups = [g for g, members in GROUPS.items() if channels & set(members)]
    # With one condition for behaviour, the headings need not name it.
    has_several = len(decoded) > 1
    names = [task_name(strategy) for strategy in strategies]
    for strategy in decoded:
        more = f" ({task_name(strategy)})" if has_several else ""
        # The average comes first, as in the paper's table.
        names += [f"{group}{more}" for group in [AVERAGE, *groups]]
    rows = {
        model: (
            *(_response(scores, strategy, model) for strategy in strategies),
            *(cell for strategy in decoded for cell in _behavior(scores, strategy, model, groups)),
        )
        for model in models
    }
    rows = _best(rows) if len(rows) > 1 else rows
    ceiling = tuple(_ceiling(scores, strategy) for strategy in strategies)
    if any(np.isfinite(cell.value) for cell in ceiling):
        empty_cells = (TaskCell(float("nan")),) * (len(names) - len(strategies))
        rows |= {CEILING: (*ceiling, *empty_cells)}
    return TaskTable(tuple(names), rows, _caption(scores))


def task_name(strategy: str) -> str:
    """Return the paper's name of a strategy; other strategies keep their own name."""
    # The strategies in the official list `test_additional` follow the naming of `test`.
    plain = strategy.replace("test_additional/", "test/")
    if plain in TASKS:
        return TASKS[plain]
    parts = plain.removeprefix("test/").split("_")
    if plain.startswith("test/population_") and parts[-1] == "behavior":
        # The paper's names: Pop for the population, +S with the stimulus, and the
        # number of neurons.
        return f"Pop{'+S' if 'video' in parts else ''} ({int(parts[1]):,})"
    return plain.removeprefix("test/").replace("_", " ")


def _response(scores: Scores, strategy: str, model: str) -> TaskCell:
    own = [s for s in scores.scores if (s.strategy, s.predictor) == (strategy, model)]
    if not own:
        return TaskCell(float("nan"), f"{model} was not evaluated.")
    note = next((s.refusal or s.note for s in own if s.refusal or s.note), "")
    return TaskCell(scores.overall(strategy, model), note)


def _behavior(scores: Scores, strategy: str, model: str, groups: Sequence[str]) -> list[TaskCell]:
    own = [s for s in scores.behavior if (s.strategy, s.predictor) == (strategy, model)]
    note = next((s.refusal for s in own if s.refusal), "")
    values = [_mean([s.value for s in own if s.channel in GROUPS[group]]) for group in groups]
    return [TaskCell(value, note) for value in (_mean(values), *values)]


def _mean(values: Sequence[float]) -> float:
    """Return the mean; NaN if a value is missing.

    A mean over fewer values is not comparable.
    """
    return float(np.mean(values)) if values else float("nan")


def _ceiling(scores: Scores, strategy: str) -> TaskCell:
    # The ceiling does not depend on the predictor: one score per session is sufficient.
    own = {s.session: s for s in scores.scores if s.strategy == strategy}.values()
    # Weighted as the models' scores are, so that both can be compared.
    weights = np.array([s.n_neurons for s in own], float)
    if not weights.sum():
        return TaskCell(float("nan"))
    return TaskCell(float(weights @ [s.ceiling for s in own] / weights.sum()))


def _best(rows: dict[str, tuple[TaskCell, ...]]) -> dict[str, tuple[TaskCell, ...]]:
    values = np.array([[cell.value for cell in row] for row in rows.values()])
    # -inf instead of NaN, because `nanmax` warns about a column of NaN only.
    top = np.nanmax(np.where(np.isfinite(values), values, -np.inf), axis=0)
    return {
        name: tuple(
            TaskCell(cell.value, cell.note, bool(cell.value == best))
            for cell, best in zip(row, top, strict=True)
        )
        for name, row in rows.items()
    }


def _caption(scores: Scores) -> str:
    both = (scores.scores, scores.behavior)
    sessions = sorted({s.session for part in both for s in part})
    windows = {s.n_windows for part in both for s in part if s.n_windows}
    names = sessions[0] if len(sessions) == 1 else f"{len(sessions)} sessions"
    n_max = max(windows, default=0)
    count = f"{n_max}" if len(windows) < 2 else f"up to {n_max}"
    return f"Correlation on held-out windows: {names}, {count} of tier {scores.tier}"


def _bold(cell: TaskCell) -> str:
    return f"<b>{cell.text}</b>" if cell.is_best else cell.text


def _html(cell: TaskCell) -> str:
    title = f' title="{escape(cell.note)}"' if cell.note else ""
    return f"<td{title}>{_bold(cell)}</td>"
