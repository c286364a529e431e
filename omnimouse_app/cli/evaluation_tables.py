"""Text tables that `omnimouse evaluate` prints."""

from collections.abc import Callable, Sequence
from statistics import mean, median, stdev
from typing import TYPE_CHECKING

from omnimouse_app.cli.terminal import decimals, estimate, interval

if TYPE_CHECKING:
    from omnimouse_model.analysis.paper_table import PaperCell, PaperCost, PaperTable
    from omnimouse_model.evaluation.results import BehaviorScore, Score, Scores
    from omnimouse_model.evaluation.sensorium2023 import CompetitionScore
    from omnimouse_model.metrics.time_blocks import Estimate

Row = dict[str, object]
Layout = Callable[[Sequence[Row]], str]


def report(results: "Scores", sessions: Sequence[str], layout: Layout) -> list[str]:
    """Return blocks of text: tables of responses and behaviour for each session."""
    from omnimouse_model.evaluation.results import CEILING
    from omnimouse_model.metrics.named import METRICS

    blocks = []
    for session in sessions:
        scores = [score for score in results.scores if score.session == session]
        unit = METRICS[results.metric].unit
        blocks.append(f"Session {session}, tier {results.tier}: {unit}")
        if scores:
            blocks.append(layout(_response_rows(results, scores)))
            if differences := _difference_rows(results, scores):
                title = f"{scores[0].predictor} minus other predictors, paired, 95 %"
                blocks += [f"Session {session}: {title} over time", layout(differences)]
        notes = [f"- {score.strategy}: {score.note}" for score in scores if score.note]
        if any(score.ceiling == score.ceiling for score in scores):  # only NaN differs from itself
            notes.append(f"- ceiling: {CEILING}")
        # Several predictors can have the same reason; it is printed once.
        blocks += _lines([*_pooled(scores), *notes, *_refusals(scores)])
        if groups := _group_rows(scores):
            blocks += [f"Session {session}: by stimulus", layout(groups)]
        decoded = [score for score in results.behavior if score.session == session]
        if decoded:
            blocks.append(f"Session {session}: decoded behaviour, correlation")
            blocks.append(layout(_behavior_rows(decoded)))
            blocks += _lines(_refusals(decoded))
    return blocks + _overall(results, sessions, layout)


def seeds_line(results: "Scores", strategy: str, members: Sequence[str]) -> str:
    """Return mean, s.d. and interval of an ensemble's members in one condition."""
    values = [results.overall(strategy, name) for name in members]
    # Only NaN differs from itself; this avoids an import of numpy.
    if any(value != value for value in values):
        return f"{strategy}: members –, one refused"
    span = results.interval(strategy, members)
    return (
        f"{strategy}: members {mean(values):z.3f} ± {stdev(values):z.3f} (s.d. of "
        f"{len(values)}), 95 % over {span.unit} {interval(span.low, span.high)}"
    )


def paper_blocks(found: "PaperTable", layout: Layout) -> list[str]:
    """Return a table of each of the paper's tasks, and one of sizes and times."""
    from omnimouse_model.evaluation.published import BEHAVIOR

    blocks = [
        f"The paper's tasks, tier {found.scores.tier}; the same seconds and neurons in all rows"
    ]
    by_column: dict[str, list[PaperCell]] = {}
    seen: set[tuple[str, str]] = set()
    for cell in found.cells():
        by_column.setdefault(cell.column, []).append(cell)
    for column, cells in by_column.items():
        blocks.append(
            f"{column}: {cells[0].strategy}" + f", {BEHAVIOR.get(column, '')}".rstrip(", ")
        )
        rows: list[Row] = []
        # Another one in a task that the first predictor refuses.
        gain = f"over {found.label(cells[0].baseline)}"
        for cell in cells:
            score = {} if column in BEHAVIOR else _estimate("score", cell.centred)
            rows.append(
                {"predictor": found.label(cell.predictor)}
                | score
                | _estimate("pooled", cell.pooled)
                | (_estimate(gain, cell.gain, signed=True) if cell.baseline else {})
                | {"windows": cell.n_windows or None}
                | ({} if column in BEHAVIOR else {"neurons": cell.n_neurons or None})
                | {"paper, on other data": _published(cell)}
            )
        blocks.append(layout(rows))
        asked = [one for one in found.scores.scores if one.strategy == cells[0].strategy]
        blocks += _lines([f"- {one.session}: {one.note}" for one in asked if one.note])
        # The groups of behaviour have the same reasons.
        told = {(cell.strategy, cell.predictor) for cell in cells}
        lines = [
            f"- {found.label(cell.predictor)}: – ({cell.refusal})" for cell in cells if cell.refusal
        ]
        blocks += [] if told <= seen else _lines(lines)
        seen |= told
    if found.costs:
        blocks.append("Size and time; an answer is the whole population in one window")
        blocks.append(
            layout([_cost_row(found.label(name), cost) for name, cost in found.costs.items()])
        )
    return blocks


def published_blocks(layout: Layout) -> list[str]:
    """Return the published table, with the recordings that it is of."""
    from omnimouse_model.evaluation.published import PRINTED

    rows: list[Row] = [
        {"model": row.model, "sessions": row.n_sessions}
        | {name: decimals(value) for name, value in row.values.items() if name != "stim"}
        for row in PRINTED
    ]
    title = f"Published (pooled; {PRINTED[0].source}), on other recordings: {PRINTED[0].data}"
    return [title, layout(rows)]


def _estimate(name: str, found: "Estimate", *, signed: bool = False) -> Row:
    return {
        name: decimals(found.value, signed=signed),
        f"{name} 95 %": interval(found.low, found.high),
    }


def _published(cell: "PaperCell") -> str:
    if cell.published is None:
        return "–"
    row = cell.published
    return f"{decimals(row.values[cell.column])} ({row.model}, {row.n_sessions} sessions)"


def _cost_row(predictor: str, cost: "PaperCost") -> Row:
    return {
        "predictor": predictor,
        "parameters": cost.parameters,
        "training, min": cost.training_minutes,
        "answer, ms": round(median(cost.answer_ms), 1) if cost.answer_ms else None,
        "answers": len(cost.answer_ms),
        "of": cost.strategy or "–",
    }


def competition_rows(scores: "Sequence[CompetitionScore]") -> list[Row]:
    """Return one row per session of the competition's protocol."""
    return [
        {
            "session": score.session,
            "trials": score.n_trials,
            "single trial": decimals(score.single_trial),
            "to average": decimals(score.to_average),
            "note": score.problem,
        }
        for score in scores
    ]


def _response_rows(results: "Scores", scores: "Sequence[Score]") -> list[Row]:
    """Return one row per condition: the first predictor in full, others' scores."""
    baseline = results.baseline
    rows: list[Row] = []
    for strategy in dict.fromkeys(score.strategy for score in scores):
        first, *others = [score for score in scores if score.strategy == strategy]
        share = 100 * first.value / first.ceiling
        row: Row = {
            "condition": strategy,
            "neurons": first.n_neurons,
            "windows": max(score.n_windows for score in (first, *others)),
            first.predictor: decimals(first.value),
            "95 % (time)": interval(first.ci_low, first.ci_high),
            "ceiling": decimals(first.ceiling),
            "share": "–" if share != share else f"{share:z.0f} %",
        }
        if baseline and first.predictor != baseline:
            gain = results.gain(first, baseline)
            row[f"gain over {baseline}"] = decimals(gain.value, signed=True)
            row["gain 95 %"] = interval(gain.low, gain.high)
        rows.append(row | {score.predictor: decimals(score.value) for score in others})
    return rows


def _pooled(scores: "Sequence[Score]") -> list[str]:
    """Return a line with the pooled correlation of each condition, as published."""
    lines: dict[str, str] = {}
    for score in scores:
        # Of the first predictor of a condition, as the intervals are.
        if score.is_centred:
            pooled = estimate(score.pooled, score.pooled_ci_low, score.pooled_ci_high)
            lines.setdefault(
                score.strategy,
                f"- {score.strategy}: {pooled} for {score.predictor}, pooled: about the means "
                "of these windows",
            )
    return list(lines.values())


def _difference_rows(results: "Scores", scores: "Sequence[Score]") -> list[Row]:
    """Return the paired differences of the first predictor from all others."""
    rows: list[Row] = []
    for strategy in dict.fromkeys(score.strategy for score in scores):
        first, *others = [score for score in scores if score.strategy == strategy]
        row: Row = {"condition": strategy}
        for other in others:
            # The gain over the baseline has columns of its own.
            if other.predictor != results.baseline:
                gain = results.gain(first, other.predictor)
                text = decimals(gain.value, signed=True)
                span = interval(gain.low, gain.high)
                row[other.predictor] = text if span == "–" else f"{text} {span}"
        rows.append(row)
    return rows if any(len(row) > 1 for row in rows) else []


def _group_rows(scores: "Sequence[Score]") -> list[Row]:
    """Return one row per condition, stimulus and predictor."""
    return [
        {
            "condition": score.strategy,
            "stimulus": part.group,
            "predictor": score.predictor,
            "score": decimals(part.value),
            "95 % (time)": interval(part.ci_low, part.ci_high),
            "samples": part.n_samples,
        }
        for score in scores
        for part in score.groups
    ]


def _behavior_rows(decoded: "Sequence[BehaviorScore]") -> list[Row]:
    rows: dict[tuple[str, str], Row] = {}
    for score in decoded:
        if score.refusal:
            continue
        key = (score.strategy, score.predictor)
        row = rows.setdefault(key, {"condition": key[0], "predictor": key[1]})
        # A column per channel: recordings have different channels.
        row[score.channel] = decimals(score.value)
    return list(rows.values())


def _overall(results: "Scores", sessions: Sequence[str], layout: Layout) -> list[str]:
    """Return the mean over sessions with its interval; [] for one session."""
    rows = [row for row in results.rows() if row["name"] == "overall"]
    if not rows:
        return []
    keys = {
        "condition": "strategy",
        "predictor": "predictor",
        "score": "value",
        "low": "ci_low",
        "high": "ci_high",
    }
    title = (
        f"Mean of {len(sessions)} sessions, weighted by their neurons; 95 % interval "
        f"over {rows[0]['resampled']}"
    )
    return [title, layout([{k: row[key] for k, key in keys.items()} for row in rows])]


def _refusals(scores: "Sequence[Score | BehaviorScore]") -> list[str]:
    return [f"- –: {score.refusal}" for score in scores if score.refusal]


def _lines(lines: Sequence[str]) -> list[str]:
    """Return one block of the distinct lines, or none."""
    return ["\n".join(sorted(set(lines)))] if lines else []
