"""Comparisons with the result: other conditions, edits, and curves over context."""

from collections.abc import Iterator, Sequence

import numpy as np

from omnimouse_model.analysis.evaluate.summary import common_scores, score_summary
from omnimouse_model.analysis.in_silico.counterfactual import NO_TRUTH, WhatIf
from omnimouse_model.analysis.sweep.table import ContextSweep
from omnimouse_model.live.project.report_data import ReportCondition, ReportData
from omnimouse_model.masks import scored_cells
from omnimouse_widgets import palette
from omnimouse_widgets.report import drawings
from omnimouse_widgets.report.answers import (
    SUMMARY_HEAD,
    key_of,
    summary_cells,
    title_of,
)
from omnimouse_widgets.report.markup import (
    Markup,
    count,
    facts,
    joined,
    number,
    table,
    tag,
)
from omnimouse_widgets.report.question import video_words

# Number of neurons in the table of edited predictions.
MOST_CHANGED = 10
Scores = np.ndarray | None
"""(P,), one score per neuron, NaN without a score; None without a prediction."""


# -- conditions ---------------------------------------------------------------------
def conditions(what: ReportData) -> Iterator[Markup]:
    """Yield the scores of all conditions; nothing for a single condition.

    The first table has each condition's own neurons, the second one the common neurons.
    """
    if len(what.conditions) < 2:
        return
    own = [condition.scores for condition in what.conditions]
    yield _score_table(what, "condition", own)
    yield from _in_common(what, own)
    keys = [key_of(c) for c in what.conditions]
    yield facts([(title_of(c), _words(c)) for c in what.conditions], keys)


def _in_common(what: ReportData, own: list[Scores]) -> Iterator[Markup]:
    """Yield the scores over neurons common to all conditions, if these differ."""
    # Means over different neurons are not comparable, because neurons differ in how
    # well they can be predicted.
    common = common_scores(own)
    whole, shared = map(score_summary, own), map(score_summary, common)
    counts = [(w.n, s.n) for w, s in zip(whole, shared, strict=True) if w.n]
    if len(counts) < 2:
        return
    n = counts[0][1]
    if all(w == s for w, s in counts):
        yield tag("p", f"All are over the same {count(n, 'neuron')}.", class_="quiet")
    elif not n:
        words = "No neuron is scored under every condition: they are not to be compared"
        yield tag("p", f"{words} by these numbers.", class_="alert")
    else:
        words = "These are over different neurons; over those common to all they are:"
        yield tag("p", words)
        yield _score_table(what, f"over the {n:,} in common", common)


def _score_table(what: ReportData, head: str, each: Sequence[Scores]) -> Markup:
    rows = [
        (title_of(c), c.predictor or "nobody", *summary_cells(score_summary(scores)))
        for c, scores in zip(what.conditions, each, strict=True)
    ]
    keys = [key_of(c) for c in what.conditions]
    whole = (head, "predictor", *SUMMARY_HEAD)
    return table(whole, rows, n_words=2, condition_of_rows=keys)


def _words(condition: ReportCondition) -> str:
    mask = condition.mask
    visible = int(mask.visible.any(axis=0).sum())
    asked = int(scored_cells(mask).any(axis=0).sum())
    words = (
        f"{count(visible, 'neuron')} visible, {asked:,} asked, {video_words(mask)}, "
        f"behaviour {mask.behavior_mode}; mask {mask.mask_id}"
    )
    return f"{words}\n{condition.refusal}" if condition.refusal else words


# -- edits --------------------------------------------------------------------------
def what_if(what: ReportData) -> Iterator[Markup]:
    """Yield the edits and the change of the prediction; an edit never has a score."""
    if not what.edits_text:
        return
    found = what.what_if
    yield tag("p", f"Edited: {what.edits_text} – {NO_TRUTH}.", class_="alert")
    yield tag(
        "p",
        "Nobody recorded what the mouse would have done: what follows is the "
        "difference between two predictions under the same mask.",
    )
    if what.edit_remarks:
        yield tag("ul", joined(tag("li", words) for words in what.edit_remarks))
    if found is None:
        yield tag("p", "Nothing was predicted under these edits.")
        return
    change, mean = found.change, found.mean_change
    known = change[np.isfinite(change)]
    if not known.size:
        return
    yield facts(
        [
            (
                "Change",
                f"median {number(float(np.median(known)))}, largest "
                f"{number(float(known.max()))} over {count(len(known), 'neuron')}: "
                "root mean square over the asked samples, as the model has responses",
            ),
            ("Mean change", number(float(np.nanmean(mean)))),
        ]
    )
    yield _most_changed(found, what.content.session.units.names)


def _most_changed(found: WhatIf, names: np.ndarray) -> Markup:
    order = {int(neuron): at for at, neuron in enumerate(found.neurons)}
    rows, neurons = [], found.most_changed(MOST_CHANGED).tolist()
    for neuron in neurons:
        at = order[neuron]
        change, mean = float(found.change[at]), float(found.mean_change[at])
        rows.append((str(names[neuron]), number(change), number(mean)))
    head = ("most changed neurons", "change", "mean change")
    return table(head, rows, neurons=neurons)


# -- context ------------------------------------------------------------------------
def context(what: ReportData) -> Iterator[Markup]:
    """Yield the curves of the live and the saved sweeps, and their values."""
    if not what.sweeps:
        return
    # A complete live sweep is the first; the first line is solid.
    sweeps = [sweep for _, sweep in what.sweeps]
    figures = (tag("figure", picture) for picture in drawings.curves(sweeps))
    yield tag("div", *figures, class_="pair")
    labels = {curve.label for sweep in sweeps for curve in sweep.curves()}
    given = [at for at, name in enumerate(palette.CONDITION_COLOURS) if name in labels]
    names = list(palette.CONDITION_COLOURS)
    samples = [(drawings.marker_sample(at), f"{names[at]} given") for at in given]
    toggles = [f".curve.given{at}" for at in given]
    if len(sweeps) > 1:
        samples += [
            (drawings.stroke_sample(f"recorded sweep{at}"), name)
            for at, (name, _) in enumerate(what.sweeps)
        ]
        toggles += [f".curve.sweep{at}" for at in range(len(what.sweeps))]
    yield drawings.legend(samples, toggles)
    for name, sweep in what.sweeps:
        yield tag("h3", name)
        yield tag("p", _about(sweep), class_="quiet")
        yield table(
            ("beside the axis", "given", "r", "s.e.m.", "draws"), _points(sweep), 2
        )


def _about(sweep: ContextSweep) -> str:
    windows = max((row.n_windows for row in sweep.rows), default=0)
    targets = max((row.n_neurons for row in sweep.rows), default=0)
    words = (
        f"{sweep.predictor} on {', '.join(sweep.sessions)}: mean single-trial "
        f"correlation of {count(targets, 'neuron')} over {count(windows, 'window')}; "
        "± is the standard error over draws of neurons."
    )
    if not sweep.is_complete:
        words += f" Not whole: {len(sweep.rows):,} of {sweep.n_planned:,} points."
    return words


def _points(sweep: ContextSweep) -> Iterator[tuple[str, ...]]:
    for curve in sweep.curves():
        for point in curve.points:
            yield (
                curve.label,
                point.context.label,
                number(point.score),
                number(point.sem),
                str(point.n_seeds),
            )
