"""The request: recording, model, window and mask, and the Python script for it."""

from collections.abc import Iterator

import numpy as np

from omnimouse_model.analysis.evaluate.summary import score_summary
from omnimouse_model.live.project.report_data import ReportData
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
from omnimouse_widgets.report.markup import (
    Markup,
    count,
    facts,
    joined,
    number,
    table,
    tag,
)

GIVEN = {
    "visible": "given to the model",
    "target": "asked: it is decoded",
    "hidden": "neither given nor asked",
    "mixed": "differs by channel",
}


def heading(what: ReportData) -> Iterator[Markup]:
    """Yield the title and the most important numbers."""
    session, window = what.content.session, what.content.window
    yield tag("h1", what.title)
    span = f"{window.start_s:.2f} to {window.stop_s:.2f} s"
    yield tag(
        "p",
        f"{session.id}, {span}; {what.preset or 'a mask made by hand'}, answered by "
        f"{what.conditions[0].predictor or 'nobody'}. Made {what.made}.",
        class_="quiet",
    )
    # The edited prediction is excluded: a stimulus that was not shown has no recording
    # to compare with.
    found = score_summary(what.content.scores)
    asked = int(scored_cells(what.content.mask).any(axis=0).sum())
    numbers = [
        (number(found.median), "median correlation r"),
        (number(found.mean), "mean correlation r"),
        (f"{found.n:,}", f"neurons scored of {asked:,} asked"),
    ]
    cells = (
        tag("div", tag("b", value), tag("span", words)) for value, words in numbers
    )
    yield tag("div", *cells, class_="lead")
    if what.edits_text:
        yield tag(
            "p",
            f"What if ({what.edits_text}) is below: it has no truth, and no score on "
            "this page is of it.",
            class_="alert",
        )
    if what.conditions[0].refusal:
        yield tag("p", what.conditions[0].refusal, class_="alert")
    for words in what.messages:
        yield tag("p", words, class_="alert")


def asked(what: ReportData) -> Iterator[Markup]:
    """Yield the facts of recording, model and window, then the mask."""
    yield facts([*_recording(what), *_model(what)])
    yield tag("h3", "The mask")
    yield from _mask(what)


def video_words(mask: Mask) -> str:
    """Return how many frames of the window are visible."""
    if not len(mask.frames):
        return "the model reads no video"
    return f"{int(mask.frames.sum())} of {len(mask.frames)} frames visible"


def script(what: ReportData) -> Iterator[Markup]:
    """Yield the Python script, or the reason why there is none."""
    if what.script_problem:
        yield tag("p", f"No script: {what.script_problem}")
    if what.script:
        yield tag("p", "It opens the recording, makes this mask and prints the score.")
        yield tag("pre", tag("code", what.script))


def _recording(what: ReportData) -> Iterator[tuple[object, object]]:
    session = what.content.session
    minutes = session.duration_s / 60
    animal = f", animal {session.animal_id}" if session.animal_id else ""
    yield "Recording", f"{session.id}{animal}"
    yield (
        "Holds",
        f"{count(session.n_neurons, 'neuron')}, {minutes:.1f} minutes at "
        f"{session.responses.rate_hz:.4g} Hz; {', '.join(session.streams)}",
    )
    place = session.path if session.origin is None else "in memory or at an address"
    yield "Place", place
    yield "Format", f"{session.format}, fingerprint {session.fingerprint}"
    tiers = (f"{name or 'no tier'} {m:.1f} min" for name, m in session.tiers().items())
    yield "Tiers", ", ".join(tiers) or "none"
    if session.options:
        given = (f"{name} = {value}" for name, value in session.options.items())
        yield "Read with", ", ".join(given)
    for title, notes in (
        ("Assumed", session.assumptions),
        ("Problems", session.warnings),
    ):
        yield title, "\n".join(note.message for note in notes) or "none"


def _model(what: ReportData) -> Iterator[tuple[object, object]]:
    window, screen = what.content.window, what.conditions[0]
    yield "Model", what.model or "none"
    if screen.predictor and screen.predictor != what.model:
        yield (
            "Its id",
            f"{screen.predictor} (with the hash of its weights, where it has some)",
        )
    prediction = screen.prediction
    if prediction is not None and prediction.status != "ok":
        yield "Notice", prediction.status
    spec = window.spec
    yield (
        "Window",
        f"{window.start_s:.3f} to {window.stop_s:.3f} s of the recording: "
        f"{spec.n_samples} samples at {spec.response_rate_hz:g} Hz",
    )


def _mask(what: ReportData) -> Iterator[Markup]:
    mask = what.content.mask
    name = what.preset or "made by hand"
    note = f" ({mask.note})" if mask.note else ""
    yield facts(
        [
            ("Question", f"{name}{note}; mask {mask.mask_id}"),
            ("Video", video_words(mask)),
            ("Behaviour", GIVEN[mask.behavior_mode]),
        ]
    )
    yield table(("responses", "neurons", "samples", "of them used"), _states(what))
    yield tag(
        "figure",
        drawings.mask_picture(mask),
        tag(
            "figcaption",
            "Above: how many neurons are visible, target or hidden at each sample of "
            "the window."
            + (" Below: which video frames are visible." if len(mask.frames) else ""),
        ),
    )
    codes = ((VISIBLE, "visible"), (TARGET, "target"), (HIDDEN, "hidden"))
    samples = ((drawings.state_sample(code), word) for code, word in codes)
    yield drawings.legend(list(samples))
    patterns = np.bincount(
        mask.patterns_in((0, mask.n_samples)), minlength=len(PATTERN_NAMES)
    )
    each = [f"{patterns[at]:,} {PATTERN_NAMES[at]}" for at in np.flatnonzero(patterns)]
    yield tag("p", "Neurons over the window: " + "; ".join(dict.fromkeys(each)) + ".")
    remarks = remarks_on(mask)
    if remarks:
        yield tag("ul", joined(tag("li", r.message) for r in remarks), class_="quiet")


def _states(what: ReportData) -> Iterator[tuple[str, ...]]:
    mask = what.content.mask
    used = {VISIBLE: input_cells(mask), TARGET: scored_cells(mask)}
    words = {VISIBLE: "visible", TARGET: "target", HIDDEN: "hidden"}
    kinds = {VISIBLE: "read", TARGET: "scored"}
    for code, word in words.items():
        cells = mask.cells == code
        n = f"{int(used[code].sum()):,} {kinds[code]}" if code in used else "–"
        yield word, f"{int(cells.any(axis=0).sum()):,}", f"{int(cells.sum()):,}", n
