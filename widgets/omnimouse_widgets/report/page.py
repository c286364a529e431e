"""The report page: its sections in order, neurons and experiments, and the HTML file."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from omnimouse_model.analysis.counterfactual import NO_TRUTH, WhatIf
from omnimouse_model.analysis.sweep.table import ContextSweep, bars_text, distinct_curves
from omnimouse_model.display import count, number_text
from omnimouse_model.evaluation.tier_score import Steps, TierScore, steps_in_common
from omnimouse_model.lab.experiments import ExperimentResult
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.current_point import WINDOW_SWEEP
from omnimouse_model.live.inference.background_task import ReportProgress
from omnimouse_model.live.project.exports import ScreenContent
from omnimouse_model.live.report import (
    ReportCondition,
    ReportData,
    ReportExperiment,
    no_report,
    report_of_screen,
)
from omnimouse_model.live.results import evidence, scores_of_neurons
from omnimouse_model.masks import PATTERN_NAMES, scored_cells
from omnimouse_model.metrics.named import METRICS, Metric, common_scores, score_summary
from omnimouse_model.storage.write import write_bytes
from omnimouse_widgets import palette
from omnimouse_widgets.report import drawings, markup, results
from omnimouse_widgets.report.drawings import FieldPictures
from omnimouse_widgets.report.markup import Markup, document, facts, joined, table, tag
from omnimouse_widgets.report.results import (
    key_of,
    summary_cells,
    summary_head,
    title_of,
    video_text,
    warnings_of,
)
from omnimouse_widgets.views.context.sources import NO_CAUSE, found_table, found_title
from omnimouse_widgets.views.context.sources import summary as found_text
from omnimouse_widgets.views.laboratory import OF_MODEL, result_text
from omnimouse_widgets.views.rows.raster import groups
from omnimouse_widgets.views.text.tier_score import window_tier_text


# -- position and one-line description of each neuron on the report's field -----------
def neurons_data(content: ScreenContent) -> dict[str, Any]:
    """Return positions and descriptions of all neurons.

    Positions are a flat list of right, down, right, down …, with None for unknown ones.
    """
    places = FieldPictures(content.session.units).places.round(1).ravel()
    patterns = content.mask.patterns_in((0, content.mask.n_samples))
    return {
        # JSON has no NaN; a flat list of numbers is the shortest form in the file.
        "places": [float(v) if np.isfinite(v) else None for v in places],
        "texts": [
            neuron_text(content, neuron, PATTERN_NAMES[pattern])
            for neuron, pattern in enumerate(patterns.tolist())
        ],
    }


def neuron_text(content: ScreenContent, neuron: int, state: str) -> str:
    """Return one line: `unit 413 · V1 · depth 210 µm · visible · r = 0.432`."""
    units = content.session.units
    parts = [f"unit {units.names[neuron]}"]
    if units.area is not None and str(units.area[neuron]):
        parts.append(str(units.area[neuron]))
    # Many recordings have no depths.
    depth = float(units.xyz_um[neuron, 2])
    if np.isfinite(depth):
        parts.append(f"depth {number_text(depth, 0)} µm")
    parts.append(state)
    scores = content.shown_scores
    score = np.nan if scores is None else float(scores[neuron])
    is_scored = np.isfinite(score)
    parts.append(content.metric.named(number_text(score, 3)) if is_scored else "no score")
    return " · ".join(parts)


# -- results of the laboratory: experiments, searches and decodings on the model ------
_PIXEL: Final = 5
"""Side of a pixel of a found image in the report."""


def experiments(data: ReportData) -> Iterator[Markup]:
    """Yield each result, its numbers for the selected neurons, and found images."""
    if data.experiments:
        yield tag("p", OF_MODEL, class_="quiet")
    for experiment in data.experiments:
        yield tag("h3", experiment.label)
        found = result_text(experiment.result, experiment.columns)
        yield tag("p", f"{found} {experiment.result.predictor_id}")
        result = experiment.result
        if isinstance(result, ExperimentResult):
            yield from _neurons(data, result, experiment)
        elif hasattr(result, "videos"):
            # The last frame: responses to the first half of a video do not count.
            yield tag("figure", _image(result.videos[0, -1], experiment.label))
        else:
            yield _confusion(result.found.classes, result.found.confusion)


def _neurons(
    data: ReportData, result: ExperimentResult, experiment: ReportExperiment
) -> Iterator[Markup]:
    names = data.content.session.units.names
    measured = {int(neuron): at for at, neuron in enumerate(result.neurons)}
    shown = [neuron for neuron in data.content.selection if neuron in measured]
    if not shown:
        return
    rows = [
        (
            str(names[neuron]),
            *(number_text(float(c[measured[neuron]]), 3) for c in experiment.columns.values()),
        )
        for neuron in shown
    ]
    heads = [name.replace("_", " ") for name in experiment.columns]
    yield table(("unit", *heads), rows, neurons=shown)


def _confusion(classes: tuple[str, ...], confusion: np.ndarray) -> Markup:
    rows = [
        (name, *(f"{100 * share:z.0f} %" for share in shares))
        for name, shares in zip(classes, confusion.tolist(), strict=True)
    ]
    return table(("true", *(f"predicted {name}" for name in classes)), rows)


def _image(frame: np.ndarray, label: str) -> Markup:
    """Return a gray image as rectangles: one per run of equal pixels of a row."""
    height, width = frame.shape
    # Sixteen levels are enough for the eye, and make long runs.
    levels = frame // 16 * 17
    parts = []
    for row in range(height):
        for start, stop, level in groups(levels[row]):
            parts.append(
                tag(
                    "rect",
                    x=_PIXEL * start,
                    y=_PIXEL * row,
                    width=_PIXEL * (stop - start),
                    height=_PIXEL,
                    fill=f"#{level:02x}{level:02x}{level:02x}",
                )
            )
    size = (_PIXEL * width, _PIXEL * height)
    return markup.picture(*size, label, parts, shape_rendering="crispEdges")


# -- what drives a neuron: sources, informants and areas ------------------------------
_MOST_ROWS: Final = 200
"""Rows of a table of neurons; an exported table has all of them."""


def sources(data: ReportData) -> Iterator[Markup]:
    """Yield what was found, and its table; of many neurons, the first rows."""
    if data.sources:
        yield tag("p", NO_CAUSE, class_="quiet")
    for found in data.sources:
        yield tag("h3", found_title(found))
        for line in found_text(found, has_means=True).split("\n"):
            yield tag("p", line)
        shown = found_table(found)
        yield table(shown.titles, shown.rows[:_MOST_ROWS], n_text=3)
        if len(shown.rows) > _MOST_ROWS:
            yield tag("p", f"The first {_MOST_ROWS} of {len(shown.rows):,} rows.", class_="quiet")


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
    found = [condition.tier_score for condition, _ in known if condition.tier_score is not None]
    n_common, steps = steps_in_common(found)
    is_same = len({(one.n_windows, one.sample is None) for one in found}) == 1
    rows = [
        (
            title_of(condition),
            condition.predictor,
            *(
                (scores.evidence, *summary_cells(score_summary(scores.values)))
                if is_same
                else _over_common(score, n_common, own)
            ),
        )
        for (condition, scores), score, own in zip(known, found, steps, strict=True)
    ]
    heads = ("over the part", "model", "windows", *summary_head(data.content.metric))
    keys = [key_of(condition) for condition, _ in known]
    yield table(heads, rows, n_text=3, condition_of_rows=keys)
    if not is_same:
        text = (
            "Scoring is unfinished: the means are over the windows that all have."
            if n_common
            else "Scoring is unfinished: there are no windows that all have yet."
        )
        yield tag("p", text, class_="quiet")
    if len(known) < len(data.conditions):
        text = "The other conditions have no stored score over a part of the recording."
        yield tag("p", text, class_="quiet")


def _over_common(score: TierScore, n_windows: int, steps: Steps) -> tuple[str, ...]:
    """Return the cells of a score over its first windows, of which the mean alone is known."""
    mean = number_text(steps[n_windows][0], 3) if n_windows else "–"
    return evidence(replace(score, n_windows=n_windows)), "–", mean, "–", "–", "–"


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
                f"median {number_text(float(np.median(rms)), 3)}, largest "
                f"{number_text(float(rms.max()), 3)} over {count(len(rms), 'neuron')}: "
                "root mean square over the target samples, in the units of the model",
            ),
            ("Mean change", number_text(np.nanmean(change.mean_change), 3)),
        ]
    )
    yield _most_changed(change, data.content.session.units.names)


def _most_changed(change: WhatIf, names: np.ndarray) -> Markup:
    place = {int(neuron): at for at, neuron in enumerate(change.neurons)}
    neurons = change.most_changed(MAX_CHANGED).tolist()
    values = (change.change, change.mean_change)
    rows = [
        (str(names[n]), *(number_text(float(value[place[n]]), 3) for value in values))
        for n in neurons
    ]
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
    labels = {curve.label for sweep in sweeps for curve in distinct_curves(sweep)}
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
    bars = bars_text(point for curve in sweep.curves() for point in curve.points)
    text = (
        f"{sweep.predictor} on {', '.join(sweep.sessions)}: mean {metric.unit} "
        f"of {count(targets, 'neuron')} over {count(windows, 'window')}"
        f"{'; ' * bool(bars)}{bars}."
    )
    if not sweep.is_complete:
        n_done, n_points = sweep.point_counts()
        text += f" Incomplete: {n_done:,} of {n_points:,} points."
    return text


def _points(sweep: ContextSweep) -> Iterator[tuple[str, ...]]:
    shown = set()
    for curve in distinct_curves(sweep):
        for point in curve.points:
            # A context on two curves, such as that without responses, has one row.
            if (place := (curve.label, point.context)) in shown:
                continue
            shown.add(place)
            yield (
                curve.label,
                point.context.label,
                number_text(point.score, 3),
                f"[{', '.join(number_text(end, 3) for end in point.ends)}]" if point.bar else "–",
                str(point.n_seeds),
            )


# -- the page ---------------------------------------------------------------------------
Section = Callable[[ReportData], Iterator[Markup]]
SECTIONS: Final[tuple[tuple[str, Section], ...]] = (
    ("Task", results.task),
    ("Scores", results.scores),
    ("The field", results.field),
    ("Conditions compared", conditions),
    ("Traces of the selected neurons", results.traces),
    ("Decoded behaviour", results.behaviour),
    ("What if", what_if),
    ("Score against context", context),
    ("Laboratory", experiments),
    ("What drives a neuron", sources),
    ("The same in Python", results.script),
)
"""Title and content of each section; sections without content are omitted."""
LEFT_OUT: Final = (
    "predictions over longer spans than this window, averages around the onsets of trials, "
    "repeats of clips, the ranking of recordings, and the curves of a fine-tuning"
)
"""What is on screen and in no report."""
TEXTS: Final = {
    "sort": "Sort",
    "show": "Show",
    "shown": "Conditions shown",
    "point": "Point at a neuron, or move with the arrow keys; click or Enter marks it.",
    "untraced": " · marked; not selected, so the report has no traces of it",
    "marked": " · marked below",
    "to_traces": "to its traces",
}
"""What the script of the page says."""


def write_report(
    controller: Controller, path: Path, report_progress: ReportProgress = no_report
) -> Path:
    """Write the report of the state on screen, atomically.

    Parameters
    ----------
    report_progress
        Called with the progress; an exception from it ends the writing.

    Raises
    ------
    ExportError
        Nothing is open, or a part of it is still being predicted.
    """
    return write_page(report_of_screen(controller), path, report_progress)


def write_page(data: ReportData, path: Path, report_progress: ReportProgress = no_report) -> Path:
    """Write the page to a file, atomically."""
    # Before the file is opened: an exception leaves no temporary file.
    write_bytes(path, report_bytes(data, report_progress))
    return path


def _left_out(empty: list[str]) -> str:
    """Return what the page does not show; `empty` are titles without content."""
    nothing = f" Nothing was there for: {', '.join(empty)}." if empty else ""
    return f"The page has the window on screen and every pin. It has no {LEFT_OUT}.{nothing}"


def report_bytes(data: ReportData, report_progress: ReportProgress) -> bytes:
    """Return the HTML file; an exception from `report_progress` ends the work."""
    return report_page(data, report_progress).encode("utf-8")


def report_page(data: ReportData, report_progress: ReportProgress = no_report) -> str:
    """Return the HTML of all sections; `report_progress` is called before each one."""
    sections, empty = [], []
    for done, (title, section) in enumerate(SECTIONS):
        report_progress(f"Report: {title.lower()}", done / len(SECTIONS))
        if parts := list(section(data)):
            sections.append(tag("section", tag("h2", title), *parts))
        else:
            empty.append(title)
    sections.append(tag("section", tag("h2", "What is left out"), tag("p", _left_out(empty))))
    # The condition on screen has no key: it cannot be hidden.
    conditions = [
        {"key": key, "name": results.title_of(condition)}
        for condition in data.conditions
        if (key := results.key_of(condition))
    ]
    values: dict[str, Any] = {
        "texts": TEXTS,
        "conditions": conditions,
        "neurons": neurons_data(data.content),
    }
    title = f"{data.title} – OmniMouse report"
    return document(title, *results.headline(data), *sections, data=values)
