"""Text tables that `omnimouse evaluate` prints."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omnimouse_model.analysis.evaluate.paper_table import PaperRow
    from omnimouse_model.analysis.evaluate.results import BehaviorScore, Score, Scores
    from omnimouse_model.analysis.evaluate.sensorium2023 import CompetitionScore

Row = dict[str, object]
Layout = Callable[[Sequence[Row]], str]


def report(found: "Scores", sessions: Sequence[str], lay_out: Layout) -> list[str]:
    """Return blocks of text: tables of responses and behaviour for each session."""
    from omnimouse_model.metrics.named import METRICS

    blocks = []
    for session in sessions:
        scores = [score for score in found.scores if score.session == session]
        unit = METRICS[found.metric].unit
        blocks.append(f"Session {session}, tier {found.tier}: {unit}")
        if scores:
            blocks.append(lay_out(_response_rows(scores)))
        notes = [f"- {score.strategy}: {score.note}" for score in scores if score.note]
        blocks += _lines([*notes, *_refusals(scores)])
        grouped = _group_rows(scores)
        if grouped:
            blocks.append(f"Session {session}: by what was on the screen")
            blocks.append(lay_out(grouped))
        decoded = [score for score in found.behavior if score.session == session]
        if decoded:
            blocks.append(f"Session {session}: decoded behaviour, correlation")
            blocks.append(lay_out(_behavior_rows(decoded)))
            blocks += _lines(_refusals(decoded))
    return blocks + _overall(found, sessions, lay_out)


def _group_rows(scores: "Sequence[Score]") -> list[Row]:
    """Return one row per condition, stimulus and predictor."""
    return [
        {
            "condition": score.strategy,
            "stimulus": part.group,
            "predictor": score.predictor,
            "score": _shown(part.value),
            "95 %": f"{part.ci_low:.3f} to {part.ci_high:.3f}",
            "samples": part.n_samples,
        }
        for score in scores
        for part in score.groups
    ]


def _overall(found: "Scores", sessions: Sequence[str], lay_out: Layout) -> list[str]:
    """Return the mean over sessions with its interval; [] for one session."""
    rows = [row for row in found.rows() if row["name"] == "overall"]
    if not rows:
        return []
    lines: list[Row] = [
        {
            "condition": row["strategy"],
            "predictor": row["predictor"],
            "score": row["value"],
            "low": row["ci_low"],
            "high": row["ci_high"],
        }
        for row in rows
    ]
    title = (
        f"Mean of {len(sessions)} sessions, weighted by their neurons; 95 % interval "
        f"resampling {rows[0]['resampled']}"
    )
    return [title, lay_out(lines)]


def seeds_line(found: "Scores", strategy: str, members: Sequence[str]) -> str:
    """Return mean, s.d. and interval of an ensemble's members in one condition."""
    from statistics import mean, stdev

    values = [found.overall(strategy, name) for name in members]
    # Only NaN differs from itself; this avoids an import of numpy.
    if any(value != value for value in values):
        return f"{strategy}: members –, one refused"
    span = found.interval(strategy, members)
    return (
        f"{strategy}: members {mean(values):.3f} ± {stdev(values):.3f} (s.d. of "
        f"{len(values)}), 95 % {span.low:.3f} to {span.high:.3f}, resampling "
        f"{', '.join(span.levels)}"
    )


def paper_rows(rows: "Sequence[PaperRow]") -> list[Row]:
    """Return the rows of the paper's table, measured ones first."""
    return [
        {
            "model": row.model,
            "sessions": row.n_sessions,
            **{name: _shown(value) for name, value in row.values.items()},
            "source": row.source,
        }
        for row in rows
    ]


def competition_rows(found: "Sequence[CompetitionScore]") -> list[Row]:
    """Return one row per session of the competition's protocol."""
    return [
        {
            "session": score.session,
            "trials": score.n_trials,
            "single trial": _shown(score.single_trial),
            "to average": _shown(score.to_average),
            "note": score.problem,
        }
        for score in found
    ]


def _response_rows(scores: "Sequence[Score]") -> list[Row]:
    """Return one row per condition: the first predictor in full, others' scores."""
    rows: list[Row] = []
    for strategy in dict.fromkeys(score.strategy for score in scores):
        first, *others = [score for score in scores if score.strategy == strategy]
        row: Row = {
            "condition": strategy,
            "neurons": first.n_neurons,
            "windows": max(score.n_windows for score in (first, *others)),
            first.predictor: _shown(first.value),
            "95 %": _interval(first),
            "ceiling": _shown(first.ceiling),
            "share": _share(first),
        }
        rows.append(row | {score.predictor: _shown(score.value) for score in others})
    return rows


def _behavior_rows(decoded: "Sequence[BehaviorScore]") -> list[Row]:
    rows: dict[tuple[str, str], Row] = {}
    for score in decoded:
        if score.refusal:
            continue
        key = (score.strategy, score.predictor)
        row = rows.setdefault(key, {"condition": key[0], "predictor": key[1]})
        row[score.channel] = _shown(score.value)
    return list(rows.values())


def _refusals(scores: "Sequence[Score | BehaviorScore]") -> list[str]:
    return [f"- –: {score.refusal}" for score in scores if score.refusal]


def _lines(lines: Sequence[str]) -> list[str]:
    """Return one block of the distinct lines, or none."""
    return ["\n".join(sorted(set(lines)))] if lines else []


def _shown(value: float) -> str:
    return "–" if value != value else f"{value:.3f}"


def _interval(score: "Score") -> str:
    if score.ci_low != score.ci_low:
        return "–"
    return f"{score.ci_low:.3f} to {score.ci_high:.3f}"


def _share(score: "Score") -> str:
    # The ceiling is the score of a perfect prediction.
    share = score.value / score.ceiling
    return "–" if share != share else f"{100 * share:.0f} %"
