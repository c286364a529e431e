"""Comparisons with the result: other conditions, edits, and curves over context."""

from collections.abc import Iterator, Sequence

import numpy as np

from omnimouse_model.analysis.counterfactual import NO_TRUTH, WhatIf
from omnimouse_model.analysis.sweep.table import ContextSweep
from omnimouse_model.display import count
from omnimouse_model.live.current_point import WINDOW_SWEEP
from omnimouse_model.live.report import ReportCondition, ReportData
from omnimouse_model.live.results import scores_of_neurons
from omnimouse_model.masks import scored_cells
from omnimouse_model.metrics.named import METRICS, Metric, common_scores, score_summary
from omnimouse_widgets import palette
from omnimouse_widgets.report import drawings
from omnimouse_widgets.report.markup import (
    Markup,
    facts,
    joined,
    number,
    table,
    tag,
)
from omnimouse_widgets.report.results import (
    key_of,
    summary_cells,
    summary_head,
    title_of,
    video_text,
    warnings_of,
)
from omnimouse_widgets.views.text.tier_score import window_tier_text

MAX_CHANGED = 10
"""Number of neurons in the table of edited predictions."""
Scores = np.ndarray | None
"""(P,), one score per neuron, NaN without a score; None without a prediction."""


# -- conditions ---------------------------------------------------------------------
def conditions(data: ReportData) -> Iterator[Markup]:
    """Yield the scores of all conditions; nothing for a single condition.

    Scores over a tier come first, for the conditions of which they are known. Of those
    in the window, a table has each condition's own neurons, and one the common neurons.
    """
    if len(data.conditions) < 2:
        return
    yield from _over_tier(data)
    own = [condition.scores for condition in data.conditions]
    window = data.content.window
    yield from warnings_of(window)
    yield _score_table(data, f"in this window ({window_tier_text(window)})", own)
    yield from _in_common(data, own)
    keys = [key_of(c) for c in data.conditions]
    yield facts([(title_of(c), _mask_text(c)) for c in data.conditions], keys)


def _over_tier(data: ReportData) -> Iterator[Markup]:
    """Yield the scores over a tier, of the conditions of which they are known."""
    known = [
        (condition, scores)
        for condition in data.conditions
        if (scores := scores_of_neurons(condition.tier_score, None)) is not None
    ]
    if not known:
        return
    rows = [
        (
            title_of(condition),
            condition.predictor,
            scores.evidence,
            *summary_cells(score_summary(scores.values)),
        )
        for condition, scores in known
    ]
    heads = ("over the part", "model", "windows", *summary_head(data.content.metric))
    keys = [key_of(condition) for condition, _ in known]
    yield table(heads, rows, n_text=3, condition_of_rows=keys)
    if len(known) < len(data.conditions):
        text = "The other conditions have no stored score over a part of the recording."
        yield tag("p", text, class_="quiet")


def _in_common(data: ReportData, own: list[Scores]) -> Iterator[Markup]:
    """Yield the scores over neurons common to all conditions, if these differ."""
    # Means over different neurons are not comparable, because neurons differ in how
    # well they can be predicted.
    common = common_scores(own)
    pairs = [
        (score_summary(scores).n, score_summary(shared).n)
        for scores, shared in zip(own, common, strict=True)
    ]
    counts = [pair for pair in pairs if pair[0]]
    if len(counts) < 2:
        return
    n = counts[0][1]
    if all(n_own == n_common for n_own, n_common in counts):
        yield tag("p", f"All are over the same {count(n, 'neuron')}.", class_="quiet")
    elif not n:
        text = (
            "No neuron is scored under every condition: these numbers do not compare "
            "the conditions."
        )
        yield tag("p", text, class_="alert")
    else:
        yield tag("p", "These are over different neurons; over the common neurons they are:")
        yield _score_table(data, f"over the {n:,} in common", common)


def _score_table(data: ReportData, head: str, each: Sequence[Scores]) -> Markup:
    rows = [
        (title_of(c), c.predictor or "no model", *summary_cells(score_summary(scores)))
        for c, scores in zip(data.conditions, each, strict=True)
    ]
    keys = [key_of(c) for c in data.conditions]
    heads = (head, "model", *summary_head(data.content.metric))
    return table(heads, rows, n_text=2, condition_of_rows=keys)


def _mask_text(condition: ReportCondition) -> str:
    mask = condition.mask
    visible = int(mask.visible.any(axis=0).sum())
    targets = int(scored_cells(mask).any(axis=0).sum())
    text = (
        f"{count(visible, 'neuron')} visible, {targets:,} targets, {video_text(mask)}, "
        f"behaviour {mask.behavior_mode}; mask {mask.mask_id}"
    )
    return f"{text}\n{condition.refusal}" if condition.refusal else text


# -- edits --------------------------------------------------------------------------
def what_if(data: ReportData) -> Iterator[Markup]:
    """Yield the edits and the change of the prediction; an edit never has a score."""
    if not data.edits_text:
        return
    change = data.what_if
    yield tag("p", f"Edited: {data.edits_text} – {NO_TRUTH}.", class_="alert")
    yield tag(
        "p",
        "There is no recording of the response to the edited stimulus: the numbers "
        "below are the difference between two predictions under the same mask.",
    )
    if data.edit_remarks:
        yield tag("ul", joined(tag("li", text) for text in data.edit_remarks))
    if change is None:
        yield tag("p", "Nothing was predicted under these edits.")
        return
    rms = change.change[np.isfinite(change.change)]
    if not rms.size:
        return
    yield facts(
        [
            (
                "Change",
                f"median {number(float(np.median(rms)))}, largest "
                f"{number(float(rms.max()))} over {count(len(rms), 'neuron')}: "
                "root mean square over the target samples, in the units of the model",
            ),
            ("Mean change", number(float(np.nanmean(change.mean_change)))),
        ]
    )
    yield _most_changed(change, data.content.session.units.names)


def _most_changed(change: WhatIf, names: np.ndarray) -> Markup:
    place = {int(neuron): at for at, neuron in enumerate(change.neurons)}
    neurons = change.most_changed(MAX_CHANGED).tolist()
    values = (change.change, change.mean_change)
    rows = [(str(names[n]), *(number(float(value[place[n]])) for value in values)) for n in neurons]
    head = ("most changed neurons", "change", "mean change")
    return table(head, rows, neurons=neurons)


# -- context ------------------------------------------------------------------------
def context(data: ReportData) -> Iterator[Markup]:
    """Yield the curves of the live and the saved sweeps, and their values."""
    if not data.sweeps:
        return
    sweeps = [sweep for _, sweep in data.sweeps]
    figures = (tag("figure", picture) for picture in drawings.curves(sweeps))
    yield tag("div", *figures, class_="pair")
    labels = {curve.label for sweep in sweeps for curve in sweep.curves()}
    inputs = {k: n for k, n in enumerate(palette.CONDITION_COLOURS) if n in labels}
    samples = [(drawings.marker_sample(k), f"input: {n}") for k, n in inputs.items()]
    toggles = [f".curve.inputs{k}" for k in inputs]
    if len(sweeps) > 1:
        samples += [
            (drawings.stroke_sample(f"recorded sweep{at}"), name)
            for at, (name, _) in enumerate(data.sweeps)
        ]
        toggles += [f".curve.sweep{at}" for at in range(len(data.sweeps))]
    yield drawings.legend(samples, toggles)
    for name, sweep in data.sweeps:
        is_live = name == WINDOW_SWEEP
        tier = f" ({window_tier_text(data.content.window)})" if is_live else ""
        yield tag("h3", f"{name}{tier}")
        yield from warnings_of(data.content.window) if is_live else ()
        metric = METRICS[sweep.plan.metric]
        yield tag("p", _about(sweep, metric), class_="quiet")
        heads = ("other inputs", "context", metric.symbol, "bar", "draws")
        yield table(heads, _points(sweep), 2)


def _about(sweep: ContextSweep, metric: Metric) -> str:
    windows = max((row.n_windows for row in sweep.rows), default=0)
    targets = max((row.n_neurons for row in sweep.rows), default=0)
    error = "the standard error over draws of neurons"
    if len(sweep.plan.seeds) == 1:
        error = "the 95 % interval over time"
    text = (
        f"{sweep.predictor} on {', '.join(sweep.sessions)}: mean {metric.unit} "
        f"of {count(targets, 'neuron')} over {count(windows, 'window')}; "
        f"bars are {error}."
    )
    if not sweep.is_complete:
        text += f" Incomplete: {len(sweep.rows):,} of {sweep.n_planned:,} points."
    return text


def _points(sweep: ContextSweep) -> Iterator[tuple[str, ...]]:
    for curve in sweep.curves():
        for point in curve.points:
            yield (
                curve.label,
                point.context.label,
                number(point.score),
                " to ".join(map(number, point.ends)),
                str(point.n_seeds),
            )
