"""Results of the prediction: scores, field, traces and decoded behaviour."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from omnimouse_model.analysis.evaluate.summary import (
    ScoreSummary,
    score_summary,
    scores_by_area,
)
from omnimouse_model.live.neurons.neuron_info_text import heading
from omnimouse_model.live.project.report_data import (
    ReportCondition,
    ReportData,
    recorded_behavior,
)
from omnimouse_model.live.project.score_text import DEFINITION
from omnimouse_model.masks import HIDDEN, MIXED, TARGET, VISIBLE
from omnimouse_model.masks.cells import PATTERN_NAMES
from omnimouse_widgets.drawn.traces.rows import predicted_at, predicted_of
from omnimouse_widgets.drawn.units import drawn_units, recorded
from omnimouse_widgets.report import drawings
from omnimouse_widgets.report.drawings import Line
from omnimouse_widgets.report.markup import Markup, number, table, tag

UNIT_WORDS: Final = {
    "normalised": "Responses as the model has them: recording divided by each neuron's "
    "scale.",
    "spikes/s": "Responses in spikes/s: recorded counts divided by the bin's length.",
}
"""What the values of a trace are, by their units."""
BEHAVIOR_CODES: Final = {"visible": VISIBLE, "target": TARGET, "hidden": HIDDEN}
SUMMARY_HEAD: Final = (
    "neurons",
    "mean r",
    "median r",
    "lower quartile",
    "upper quartile",
)


def summary_cells(found: ScoreSummary) -> tuple[str, ...]:
    """Return the table cells of a summary, in the order of `SUMMARY_HEAD`."""
    values = (found.mean, found.median, found.low, found.high)
    return f"{found.n:,}", *(number(value) for value in values)


def look_of(condition: ReportCondition) -> str:
    """Return the CSS class of a condition's lines."""
    if condition.kind == "pin":
        return f"pin{ord(condition.letter) - ord('A')}"
    return "baseline" if condition.kind == "baseline" else "predicted"


def key_of(condition: ReportCondition) -> str:
    """Return the key that shows and hides a condition; "" for the one on screen.

    The condition on screen cannot be hidden.
    """
    return "" if condition.kind == "screen" else look_of(condition)


def title_of(condition: ReportCondition) -> str:
    """Return the letter and name of a condition."""
    return f"{condition.letter} {condition.name}".strip()


# -- scores -------------------------------------------------------------------------
def scores(what: ReportData) -> Iterator[Markup]:
    """Yield the definition of the score, its summary by area, and the distribution."""
    found = what.content.scores
    whole = score_summary(found)
    if found is None or not whole.n:
        yield tag("p", "No response was asked and predicted: there is no score.")
        return
    yield tag("p", f"r: {DEFINITION}.", class_="quiet")
    rows = [("all", *summary_cells(whole))]
    areas = scores_by_area(found, what.content.session.units)
    rows += [(name or "no area", *summary_cells(part)) for name, part in areas]
    yield table(("area", *SUMMARY_HEAD), rows)
    if not areas:
        yield tag("p", "The recording names no brain areas.", class_="quiet")
    yield tag("figure", drawings.distribution(found, whole.median))


# -- the field ----------------------------------------------------------------------
def field(what: ReportData) -> Iterator[Markup]:
    """Yield the field by state, and by score if there are scores."""
    session, mask = what.content.session, what.content.mask
    pictures = drawings.FieldPictures(session.units)
    whole = (0, mask.n_samples)
    states, patterns = mask.state_in(whole), mask.patterns_in(whole)
    is_asked = np.asarray(mask.target.any(axis=0))
    words = np.array(PATTERN_NAMES)[patterns]
    samples = []
    for code in (VISIBLE, TARGET, HIDDEN, MIXED):
        for word in np.unique(words[states == code]).tolist():
            own = (states == code) & (words == word)
            sample = drawings.state_sample(code, is_asked=bool(is_asked[own].any()))
            samples.append((sample, f"{word}: {int(own.sum()):,}"))
    drawn = [
        tag("figure", tag("h3", "By state"), pictures.by_state(states, is_asked),
            drawings.legend(samples))
    ]  # fmt: skip
    scores = what.content.scores
    if scores is not None and np.isfinite(scores).any():
        grey = [(drawings.state_sample(HIDDEN), "no score")]
        grey = [] if np.isfinite(scores).all() else grey
        drawn.append(
            tag("figure", tag("h3", "By score"), pictures.by_score(scores),
                drawings.legend([(drawings.score_scale(), ""), *grey]))
        )  # fmt: skip
    yield tag("div", *drawn, class_="pair")
    yield tag("p", pictures.words, class_="quiet")


# -- traces -------------------------------------------------------------------------
def traces(what: ReportData) -> Iterator[Markup]:
    """Yield the traces of every selected neuron, recorded and under every condition."""
    shown = what.content
    if not shown.selection:
        yield tag("p", "No neuron is selected.")
        return
    answered = [
        c
        for c in what.conditions
        if any(c.trace(neuron) is not None for neuron in shown.selection)
    ]
    samples = [(drawings.stroke_sample("recorded"), "recorded")]
    samples += [(drawings.stroke_sample(look_of(c)), title_of(c)) for c in answered]
    if what.what_if is not None:
        edited = f"what if ({what.edits_text}): no truth"
        samples.append((drawings.stroke_sample("edited"), edited))
    looks = ["recorded", *map(look_of, answered)]
    # Truth and edited prediction have no key: they belong to no condition that can be
    # hidden.
    keys = ["", *map(key_of, answered)]
    if what.what_if is not None:
        looks, keys = [*looks, "edited"], [*keys, ""]
    yield drawings.legend(samples, [f".line.{look}" for look in looks], keys)
    units = drawn_units(shown.window.spec)
    yield tag(
        "p",
        f"{UNIT_WORDS[units]} "
        "The strip below a trace says what this mask does with it at each sample. On "
        "the right the predicted samples alone, each line less its mean and in its own "
        "standard deviations, as r has them.",
        class_="quiet",
    )
    if answered:
        yield _neuron_scores(what, answered)
    times = shown.window.timestamps["responses"]
    truth = recorded(shown.window)
    unit = units if units == "spikes/s" else ""
    for neuron in shown.selection:
        # SVG draws in document order: the recording first, at the back.
        lines = [Line("recorded", truth[:, neuron])]
        # The condition on screen is the first, so it is drawn last and in front.
        for condition in reversed(answered):
            found = predicted_at(condition.prediction, neuron, shown.window)
            lines += [] if found is None else [Line(look_of(condition), found)]
        if what.what_if is not None:
            found = predicted_of(what.what_if.after, neuron)
            lines += [] if found is None else [Line("edited", found)]
        shade = shown.mask.cells[:, neuron]
        is_last = neuron == shown.selection[-1]
        picture = drawings.traces(times, lines, shade, has_axis=is_last, unit=unit)
        title = tag("h3", heading(shown.session, neuron))
        yield tag("figure", title, picture, id=f"neuron-{neuron}", data_neuron=neuron)


def _neuron_scores(what: ReportData, answered: Sequence[ReportCondition]) -> Markup:
    names = what.content.session.units.names
    rows = [
        (
            str(names[neuron]),
            *(
                number(None if c.scores is None else float(c.scores[neuron]))
                for c in answered
            ),
        )
        for neuron in what.content.selection
    ]
    return table(
        ("r of neuron", *(title_of(c) for c in answered)),
        rows,
        neurons=what.content.selection,
        conditions=[key_of(c) for c in answered],
    )


# -- behaviour ----------------------------------------------------------------------
def behaviour(what: ReportData) -> Iterator[Markup]:
    """Yield every channel, recorded and decoded; nothing without a decoded channel."""
    shown = what.content
    found = [(c, c.decoded_scores(shown.window)) for c in what.conditions]
    decoded = [(c, r) for c, r in found if r is not None]
    if not decoded:
        return
    names = shown.window.behavior_names
    rows = [
        (words_of(name), *(number(float(r[at])) for _, r in decoded))
        for at, name in enumerate(names)
    ]
    keys = [key_of(c) for c, _ in decoded]
    head = ("r of channel", *(title_of(c) for c, _ in decoded))
    yield table(head, rows, conditions=keys)
    truth = recorded_behavior(shown.window)
    spec = shown.window.spec.behavior
    is_raw = spec is not None and spec.is_raw
    words = "recorded" if is_raw else "recorded, z-scored"
    samples = [(drawings.stroke_sample("recorded"), words)]
    samples += [(drawings.stroke_sample(look_of(c)), title_of(c)) for c, _ in decoded]
    looks = ["recorded", *(look_of(c) for c, _ in decoded)]
    toggles = [f".line.{look}" for look in looks]
    yield drawings.legend(samples, toggles, ["", *keys])
    times = shown.window.timestamps
    # All channels of a window are sampled at the same times.
    stream = next(times[name] for name in shown.session.behavior if name in times)
    for at, name in enumerate(names):
        code = BEHAVIOR_CODES[shown.mask.mode_of(at)]
        shade = np.full(len(truth), code, np.uint8)
        lines = [Line("recorded", truth[:, at])]
        for condition, _ in reversed(decoded):
            assert condition.prediction is not None
            assert condition.prediction.behavior is not None
            values = condition.prediction.behavior[:, at]
            lines.append(Line(look_of(condition), values))
        picture = drawings.traces(stream, lines, shade, has_axis=at == len(names) - 1)
        yield tag("figure", tag("h3", words_of(name)), picture)


def words_of(name: str) -> str:
    """Return the display name of a channel: `pupil_dsize` becomes `pupil d-size`."""
    return name.replace("_dsize", " d-size").replace("_", " ")
