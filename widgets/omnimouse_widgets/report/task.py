"""The task: recording, model, window and mask, and the Python script for it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from omnimouse_model.display import count
from omnimouse_model.evaluation.summary import score_summary
from omnimouse_model.live.report import ReportData
from omnimouse_model.live.results import IN_WINDOW
from omnimouse_model.masks import (
    HIDDEN,
    TARGET,
    VISIBLE,
    Mask,
    remarks_on,
    scored_cells,
)
from omnimouse_model.masks.cells import PATTERN_NAMES
from omnimouse_model.masks.mask import input_cells
from omnimouse_widgets.report import drawings
from omnimouse_widgets.report.drawings import state_sample
from omnimouse_widgets.report.markup import (
    STATE_CLASSES,
    Markup,
    facts,
    joined,
    number,
    table,
    tag,
)
from omnimouse_widgets.views.text.tier_score import (
    tier_score_lines,
    tier_score_tip,
    window_tier_text,
)

BEHAVIOR_USE = {
    "visible": "visible to the model",
    "target": "target: it is decoded",
    "hidden": "hidden",
    "mixed": "differs by channel",
}


def heading(data: ReportData) -> Iterator[Markup]:
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
    n_targets = int(scored_cells(data.content.mask).any(axis=0).sum())
    metric = data.content.metric
    score = "correlation r" if metric.symbol == "r" else metric.unit
    numbers = {
        f"median {score}": number(summary.median),
        f"mean {score}": number(summary.mean),
        f"neurons scored of {n_targets:,} targets": f"{summary.n:,}",
    }
    cells = (tag("div", tag("b", v), tag("span", name)) for name, v in numbers.items())
    yield tag("div", *cells, class_="lead")
    lines = tier_score_lines(
        data.tier_score, metric, data.baseline_tier_score, Path(data.baseline).name
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


def video_text(mask: Mask) -> str:
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
    codes = (VISIBLE, TARGET, HIDDEN)
    yield drawings.legend([(state_sample(code), STATE_CLASSES[code]) for code in codes])
    # Several patterns have the same name, so the names are counted.
    patterns = np.array(PATTERN_NAMES)[mask.patterns_in((0, mask.n_samples))]
    names, counts = np.unique(patterns, return_counts=True)
    text = "; ".join(f"{n:,} {name}" for name, n in zip(names, counts, strict=True))
    yield tag("p", f"Neurons over the window: {text}.")
    remarks = remarks_on(mask)
    if remarks:
        yield tag("ul", joined(tag("li", r.message) for r in remarks), class_="quiet")


def _states(data: ReportData) -> Iterator[tuple[str, ...]]:
    mask = data.content.mask
    # Rules of the masks exclude some cells, such as short runs of visible samples.
    used = {
        VISIBLE: f"{int(input_cells(mask).sum()):,} read",
        TARGET: f"{int(scored_cells(mask).sum()):,} scored",
        HIDDEN: "–",
    }
    for code, n_used in used.items():
        cells = mask.cells == code
        n_neurons, n_cells = int(cells.any(axis=0).sum()), int(cells.sum())
        yield STATE_CLASSES[code], f"{n_neurons:,}", f"{n_cells:,}", n_used
