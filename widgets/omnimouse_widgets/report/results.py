"""Task and results: conditions, scores, field, traces and decoded behaviour, and a script."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from omnimouse_model import masks
from omnimouse_model.data.session import Window
from omnimouse_model.display import channel_text, count, number_text
from omnimouse_model.live.models.finetune import model_name
from omnimouse_model.live.report import ReportCondition, ReportData, recorded_behavior
from omnimouse_model.live.results import IN_WINDOW, windows_text
from omnimouse_model.masks.cells import PATTERN_NAMES
from omnimouse_model.masks.mask import input_cells
from omnimouse_model.metrics.named import Metric, ScoreSummary, score_summary, scores_by_area
from omnimouse_widgets.report import drawings
from omnimouse_widgets.report.drawings import PlotLine, state_sample
from omnimouse_widgets.report.markup import STATE_CLASSES, Markup, facts, joined, table, tag
from omnimouse_widgets.views.neuron import heading
from omnimouse_widgets.views.text.tier_score import (
    tier_score_lines,
    tier_score_tip,
    train_warning,
    window_tier_text,
)
from omnimouse_widgets.views.text.units import drawn_units, recorded
from omnimouse_widgets.views.traces import predicted_at, predicted_of

UNIT_TEXTS: Final = {
    "normalised": "Normalised responses: the recording divided by each neuron's scale.",
    "spikes/s": "Responses in spikes/s: recorded counts divided by the bin's length.",
}
"""Meaning of the values of a trace, by their units."""
BEHAVIOR_CODES: Final = {"visible": masks.VISIBLE, "target": masks.TARGET, "hidden": masks.HIDDEN}


def summary_head(metric: Metric) -> tuple[str, ...]:
    """Return the titles of the columns of a summary."""
    means = (f"mean {metric.symbol}", f"median {metric.symbol}")
    return ("neurons", *means, "lower quartile", "upper quartile")


def summary_cells(summary: ScoreSummary) -> tuple[str, ...]:
    """Return the table cells of a summary, in the order of `summary_head`."""
    values = (summary.mean, summary.median, summary.low, summary.high)
    return f"{summary.n:,}", *(number_text(value, 3) for value in values)


def style_class(condition: ReportCondition) -> str:
    """Return the CSS class of a condition's lines."""
    if condition.kind == "pin":
        return f"pin{ord(condition.letter) - ord('A')}"
    return "baseline" if condition.kind == "baseline" else "predicted"


def key_of(condition: ReportCondition) -> str:
    """Return the key that shows and hides a condition; "" for the one on screen.

    The condition on screen cannot be hidden.
    """
    return "" if condition.kind == "screen" else style_class(condition)


def warnings_of(window: Window) -> Iterator[Markup]:
    """Yield a warning if the window lies in the train tier."""
    if warning := train_warning(window):
        yield tag("p", warning, class_="alert")


def title_of(condition: ReportCondition) -> str:
    """Return the letter and name of a condition."""
    return f"{condition.letter} {condition.name}".strip()


# -- scores -------------------------------------------------------------------------
def scores(data: ReportData) -> Iterator[Markup]:
    """Yield the definition of the score, its summary by area, and the distribution."""
    scores = data.content.shown_scores
    summary = score_summary(scores)
    if scores is None or not summary.n:
        yield tag("p", "No target response was predicted: there is no score.")
        return
    metric = data.content.metric
    definition = data.content.shown_definition
    yield tag("p", f"{metric.symbol}: {definition}.", class_="quiet")
    if data.tier_score is None:
        text = "Preliminary: one window alone; the test part was not scored."
        yield tag("p", text, class_="alert")
        yield from warnings_of(data.content.window)
    rows = [("all", *summary_cells(summary))]
    areas = scores_by_area(scores, data.content.session.units.area)
    rows += [(name or "no area", *summary_cells(part)) for name, part in areas]
    yield table(("area", *summary_head(metric)), rows)
    if not areas:
        yield tag("p", "The recording names no brain areas.", class_="quiet")
    yield tag("figure", drawings.distribution(scores, summary.median, metric))


# -- the field ----------------------------------------------------------------------
def field(data: ReportData) -> Iterator[Markup]:
    """Yield the field by state, and by score if there are scores."""
    session, mask = data.content.session, data.content.mask
    pictures = drawings.FieldPictures(session.units)
    window = (0, mask.n_samples)
    states, patterns = mask.state_in(window), mask.patterns_in(window)
    is_target = np.asarray(mask.target.any(axis=0))
    names = np.array(PATTERN_NAMES)[patterns]
    samples = []
    for code in (masks.VISIBLE, masks.TARGET, masks.HIDDEN, masks.MIXED):
        for name in np.unique(names[states == code]).tolist():
            members = (states == code) & (names == name)
            has_target = bool(is_target[members].any())
            sample = drawings.state_sample(code, has_target=has_target)
            samples.append((sample, f"{name}: {int(members.sum()):,}"))
    by_state = pictures.by_state(states, is_target)
    figures = [tag("figure", tag("h3", "By state"), by_state, drawings.legend(samples))]
    scores = data.content.shown_scores
    if scores is not None and np.isfinite(scores).any():
        legend = [(drawings.score_scale(data.content.metric), "")]
        if not np.isfinite(scores).all():
            legend.append((drawings.state_sample(masks.HIDDEN), "no score"))
        by_score = pictures.by_score(scores)
        figures.append(tag("figure", tag("h3", "By score"), by_score, drawings.legend(legend)))
    yield tag("div", *figures, class_="pair")
    yield tag("p", pictures.description, class_="quiet")


# -- traces -------------------------------------------------------------------------
def traces(data: ReportData) -> Iterator[Markup]:
    """Yield the traces of every selected neuron, recorded and under every condition."""
    content = data.content
    if not content.selection:
        yield tag("p", "No neuron is selected.")
        return
    predicted = [
        c
        for c in data.conditions
        if c.prediction is not None and np.isin(content.selection, c.prediction.neurons).any()
    ]
    edited = "" if data.what_if is None else f"what if ({data.edits_text}): no recording"
    yield _line_legend(predicted, "recorded", edited if data.what_if else "")
    units = drawn_units(content.window.spec)
    yield tag(
        "p",
        f"{UNIT_TEXTS[units]} The strip below a trace shows the state of each sample "
        "in the mask. The plot on the right shows the predicted samples alone, each "
        "line with mean 0 and standard deviation 1, as in a correlation.",
        class_="quiet",
    )
    if predicted:
        yield from warnings_of(content.window)
        yield _neuron_scores(data, predicted)
    times = content.window.timestamps["responses"]
    recording = recorded(content.window)
    for neuron in content.selection:
        # SVG draws in document order: the recording first, at the back.
        lines = [PlotLine("recorded", recording[:, neuron])]
        # The condition on screen is the first, so it is drawn last and in front.
        for condition in reversed(predicted):
            values = predicted_at(condition.prediction, neuron, content.window)
            lines += [] if values is None else [PlotLine(style_class(condition), values)]
        if data.what_if is not None:
            values = predicted_of(data.what_if.after, neuron, content.window)
            lines += [] if values is None else [PlotLine("edited", values)]
        picture = drawings.traces(
            times,
            lines,
            content.mask.cells[:, neuron],
            has_axis=neuron == content.selection[-1],
            unit=units if units == "spikes/s" else "",
        )
        title = tag("h3", heading(content.session, neuron))
        yield tag("figure", title, picture, id=f"neuron-{neuron}", data_neuron=neuron)


def _line_legend(conditions: Sequence[ReportCondition], recording: str, edited: str = "") -> Markup:
    """Return the legend of the lines; an entry hides its lines, or its condition.

    The recording and the edited prediction belong to no condition that can be hidden.
    """
    entries = [("recorded", recording, "")]
    entries += [(style_class(c), title_of(c), key_of(c)) for c in conditions]
    entries += [("edited", edited, "")] if edited else []
    return drawings.legend(
        [(drawings.stroke_sample(name), label) for name, label, _ in entries],
        [f".line.{name}" for name, _, _ in entries],
        [key for _, _, key in entries],
    )


def _neuron_scores(data: ReportData, conditions: Sequence[ReportCondition]) -> Markup:
    names, neurons = data.content.session.units.names, data.content.selection
    each = [c.scores for c in conditions]
    rows = [
        (str(names[n]), *(number_text(np.nan if s is None else float(s[n]), 3) for s in each))
        for n in neurons
    ]
    return table(
        (
            f"{data.content.metric.symbol} in this window "
            f"({window_tier_text(data.content.window)})",
            *map(title_of, conditions),
        ),
        rows,
        neurons=neurons,
        conditions=[key_of(c) for c in conditions],
    )


# -- behaviour ----------------------------------------------------------------------
def behaviour(data: ReportData) -> Iterator[Markup]:
    """Yield every channel, recorded and decoded; nothing without a decoded channel."""
    content = data.content
    scores = [(c, c.decoded_scores(content.window)) for c in data.conditions]
    decoded = [(c, r) for c, r in scores if r is not None]
    if not decoded:
        return
    conditions = [condition for condition, _ in decoded]
    names = content.window.behavior_names
    rows = [
        (channel_text(name), *(number_text(float(r[channel]), 3) for _, r in decoded))
        for channel, name in enumerate(names)
    ]
    keys = [key_of(condition) for condition in conditions]
    yield from warnings_of(content.window)
    head = f"r in this window ({window_tier_text(content.window)})"
    yield table((head, *map(title_of, conditions)), rows, conditions=keys)
    yield from _decoded_in_tier(data)
    recording = recorded_behavior(content.window)
    spec = content.window.spec.behavior
    is_raw = spec is not None and spec.is_raw
    yield _line_legend(conditions, "recorded" if is_raw else "recorded, z-scored")
    times = content.window.timestamps
    # All channels of a window are sampled at the same times.
    stream = next(times[name] for name in content.session.behavior if name in times)
    for channel, name in enumerate(names):
        code = BEHAVIOR_CODES[content.mask.mode_of(channel)]
        states = np.full(len(recording), code, np.uint8)
        lines = [PlotLine("recorded", recording[:, channel])]
        for condition in reversed(conditions):
            assert condition.prediction is not None
            assert condition.prediction.behavior is not None
            values = condition.prediction.behavior[:, channel]
            lines.append(PlotLine(style_class(condition), values))
        is_last = channel == len(names) - 1
        picture = drawings.traces(stream, lines, states, has_axis=is_last)
        yield tag("figure", tag("h3", channel_text(name)), picture)


def _decoded_in_tier(data: ReportData) -> Iterator[Markup]:
    """Yield a table of the behaviour scores over the tier, if they are known."""
    known = [
        (condition, condition.tier_score)
        for condition in data.conditions
        if condition.tier_score is not None and condition.tier_score.behavior
    ]
    if not known:
        return
    each = [{b.channel: b.value for b in found.behavior} for _, found in known]
    rows = [
        (channel_text(name), *(number_text(values.get(name, np.nan), 3) for values in each))
        for name in data.content.window.behavior_names
    ]
    titles = (f"{title_of(c)}, {windows_text(found)}" for c, found in known)
    keys = [key_of(condition) for condition, _ in known]
    yield table(("r over a part", *titles), rows, conditions=keys)


# -- the task: recording, model, window and mask, and the Python script for it --------
BEHAVIOR_USE = {
    "visible": "visible to the model",
    "target": "target: it is decoded",
    "hidden": "hidden",
    "mixed": "differs by channel",
}


def headline(data: ReportData) -> Iterator[Markup]:
    """Yield the title and the most important numbers."""
    session, window = data.content.session, data.content.window
    yield tag("h1", data.title)
    span = f"{window.start_s:z.2f} to {window.stop_s:z.2f} s"
    shown = data.content.neuron_scores
    evidence = IN_WINDOW if shown is None else shown.evidence
    yield tag(
        "p",
        f"{session.id}, {data.preset or 'a mask made by hand'}, predicted by "
        f"{data.conditions[0].predictor or 'no model'}. Scores in the boxes: "
        f"{evidence}. Window on screen: {span}, {window_tier_text(window)}. "
        f"Made {data.made}.",
        class_="quiet",
    )
    # The edited prediction is excluded: a stimulus that was not shown has no recording
    # to compare with.
    summary = score_summary(data.content.shown_scores)
    n_targets = int(masks.scored_cells(data.content.mask).any(axis=0).sum())
    metric = data.content.metric
    score = "correlation r" if metric.symbol == "r" else metric.unit
    numbers = {
        f"median {score}": number_text(summary.median, 3),
        f"mean {score}": number_text(summary.mean, 3),
        f"neurons scored of {n_targets:,} targets": f"{summary.n:,}",
    }
    cells = (tag("div", tag("b", v), tag("span", name)) for name, v in numbers.items())
    yield tag("div", *cells, class_="lead")
    lines = tier_score_lines(
        data.tier_score, metric, data.baseline_tier_score, model_name(data.baseline)
    )
    if lines:
        yield tag("p", " · ".join(lines), title=tier_score_tip(data.tier_score))
    alerts = [data.conditions[0].refusal, *data.messages]
    if data.edits_text:
        alerts.insert(
            0,
            f"What if ({data.edits_text}) is below: it has no recording to compare "
            "with, and no score on this page refers to it.",
        )
    yield from (tag("p", alert, class_="alert") for alert in alerts if alert)


def task(data: ReportData) -> Iterator[Markup]:
    """Yield the facts of recording, model and window, then the mask."""
    yield facts([*_recording(data), *_model(data)])
    yield tag("h3", "The mask")
    yield from _mask(data)


def video_text(mask: masks.Mask) -> str:
    """Return how many frames of the window are visible."""
    if not len(mask.frames):
        return "the model reads no video"
    return f"{int(mask.frames.sum())} of {len(mask.frames)} frames visible"


def script(data: ReportData) -> Iterator[Markup]:
    """Yield the Python script, or the reason why there is none."""
    if data.script_problem:
        yield tag("p", f"No script: {data.script_problem}")
    if data.script:
        yield tag("p", "It opens the recording, makes this mask and prints the score.")
        yield tag("pre", tag("code", data.script))


def _recording(data: ReportData) -> Iterator[tuple[object, object]]:
    session = data.content.session
    animal = f", animal {session.animal_id}" if session.animal_id else ""
    yield "Recording", f"{session.id}{animal}"
    yield (
        "Content",
        f"{count(session.n_neurons, 'neuron')}, {session.recorded_text} at "
        f"{session.responses.rate_hz:.4g} Hz; {', '.join(session.streams)}",
    )
    place = session.path if session.origin is None else "in memory or at an address"
    yield "Place", place
    yield "Format", f"{session.format}, fingerprint {session.fingerprint}"
    tiers = (f"{name or 'in no part'} {m:z.1f} min" for name, m in session.tiers().items())
    yield "Parts (tiers)", ", ".join(tiers) or "none"
    if session.options:
        options = (f"{name} = {value}" for name, value in session.options.items())
        yield "Read with", ", ".join(options)
    for title, notes in (
        ("Assumed", session.assumptions),
        ("Problems", session.warnings),
    ):
        yield title, "\n".join(note.message for note in notes) or "none"


def _model(data: ReportData) -> Iterator[tuple[object, object]]:
    window, screen = data.content.window, data.conditions[0]
    yield "Model", data.model or "none"
    if screen.predictor and screen.predictor != data.model:
        yield "Id of the model", f"{screen.predictor} (with the hash of its weights)"
    prediction = screen.prediction
    if prediction is not None and prediction.status != "ok":
        yield "Notice", prediction.status
    spec = window.spec
    yield (
        "Window",
        f"{window.start_s:z.3f} to {window.stop_s:z.3f} s of the recording: "
        f"{spec.n_samples} samples at {spec.response_rate_hz:g} Hz; "
        f"{window_tier_text(window)}",
    )


def _mask(data: ReportData) -> Iterator[Markup]:
    mask = data.content.mask
    name = data.preset or "made by hand"
    note = f" ({mask.note})" if mask.note else ""
    yield facts(
        [
            ("Preset", f"{name}{note}; mask {mask.mask_id}"),
            ("Video", video_text(mask)),
            ("Behaviour", BEHAVIOR_USE[mask.behavior_mode]),
        ]
    )
    yield table(("responses", "neurons", "samples", "used samples"), _states(data))
    yield tag(
        "figure",
        drawings.mask_picture(mask),
        tag(
            "figcaption",
            "Above: how many neurons are visible, target or hidden at each sample of "
            "the window." + (" Below: which video frames are visible." if len(mask.frames) else ""),
        ),
    )
    codes = (masks.VISIBLE, masks.TARGET, masks.HIDDEN)
    yield drawings.legend([(state_sample(code), STATE_CLASSES[code]) for code in codes])
    # Several patterns have the same name, so the names are counted.
    patterns = np.array(PATTERN_NAMES)[mask.patterns_in((0, mask.n_samples))]
    names, counts = np.unique(patterns, return_counts=True)
    text = "; ".join(f"{n:,} {name}" for name, n in zip(names, counts, strict=True))
    yield tag("p", f"Neurons over the window: {text}.")
    remarks = masks.remarks_on(mask)
    if remarks:
        yield tag("ul", joined(tag("li", r.message) for r in remarks), class_="quiet")


def _states(data: ReportData) -> Iterator[tuple[str, ...]]:
    mask = data.content.mask
    # Rules of the masks exclude some cells, such as short runs of visible samples.
    used = {
        masks.VISIBLE: f"{int(input_cells(mask).sum()):,} read",
        masks.TARGET: f"{int(masks.scored_cells(mask).sum()):,} scored",
        masks.HIDDEN: "–",
    }
    for code, n_used in used.items():
        cells = mask.cells == code
        n_neurons, n_cells = int(cells.any(axis=0).sum()), int(cells.sum())
        yield STATE_CLASSES[code], f"{n_neurons:,}", f"{n_cells:,}", n_used
