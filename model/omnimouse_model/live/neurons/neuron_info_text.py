"""Properties of a neuron as text and as a table: for display, copying and export."""

from collections.abc import Iterator

import numpy as np

from omnimouse_model.analysis.barcodes import LearnedNeurons, key_of
from omnimouse_model.analysis.tuning.direction import DirectionTuning
from omnimouse_model.analysis.tuning.receptive_fields import ReceptiveField
from omnimouse_model.analysis.tuning.repeats import ClipRepeats, ceiling_problem
from omnimouse_model.data.session import Session
from omnimouse_model.live.neurons.neuron_info import NeuronProperties
from omnimouse_model.live.neurons.repeats import interval_text
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import LiveState
from omnimouse_model.storage.tables import Column

NO_REPEATS = "No clip was shown twice: reliability is unknown."
KINDS = {"plain": "average frame", "energy": "average motion energy"}
SOURCES = {
    "trials": "directions of the trials",
    "place": "motion at its place",
    "screen": "motion on the whole screen",
}


def heading(session: Session, neuron: int) -> str:
    """Return a heading such as `neuron 413 · V1 · plane 2 · depth 210 µm · index 412`.

    The index is the library's number of the neuron; it is left out if it is the same.
    """
    units = session.units
    parts = [f"neuron {units.names[neuron]}"]
    if units.area is not None:
        parts.append(str(units.area[neuron]))
    if units.plane[neuron] >= 0:
        parts.append(units.group_name(int(units.plane[neuron])))
    x, y, depth = (float(value) for value in units.xyz_um[neuron])
    if np.isfinite(depth):
        parts.append(f"depth {depth:z.0f} µm")
    if np.isfinite([x, y]).all():
        parts.append(f"x {x:z.0f}, y {y:z.0f} µm")
    # Scripts need the index; without ids of the recording it is the same number.
    if units.names[neuron] != neuron:
        parts.append(f"index {neuron}")
    return " · ".join(parts)


def state_text(state: LiveState, results: Results, neuron: int) -> str:
    """Return a neuron's state in the mask and its score."""
    if state.mask is None:
        return ""
    text = state.mask.pattern_of(neuron, state.active_span)
    scores = results.neuron_scores
    if scores is None or not np.isfinite(scores.values[neuron]):
        return f"{text} · no score"
    older = " (older)" if results.are_scores_old else ""
    score = state.metric.text(float(scores.values[neuron]))
    slope = ""
    if scores.slopes is not None and np.isfinite(scores.slopes[neuron]):
        slope = f" · slope {scores.slopes[neuron]:z.2f}"
    return f"{text} · {score} {scores.evidence}{slope}{older}"


def field_text(field: ReceptiveField) -> str:
    """Return one line about a receptive field, or why there is none."""
    if field.problem:
        return field.problem
    row, column = field.centre_yx
    return (
        f"row {row:z.0f}, column {column:z.0f} of 36 × 64 px · "
        f"{1000 * field.lag_s:z.0f} ms · halves agree r = {field.reliability:z.2f} · "
        f"{KINDS[field.kind]}"
    )


def tuning_text(tuning: DirectionTuning) -> str:
    """Return one line about a tuning, or why there is none."""
    if tuning.problem:
        return tuning.problem
    orientation = f"OSI {tuning.osi:z.2f} (p {_p(tuning.p_orientation)})"
    source = SOURCES[tuning.source]
    if not tuning.has_directions:
        return f"orientation {tuning.preferred_deg:z.0f}° · {orientation} · {source}"
    preferred = f"{tuning.preferred_deg:z.0f}°"
    if not tuning.is_direction_selective:
        preferred = "no preferred direction"
    direction = f"DSI {tuning.dsi:z.2f} (p {_p(tuning.p_direction)})"
    return f"{preferred} · {direction} · {orientation} · {source}"


def learned_text(learned: LearnedNeurons, neuron: int, count: int = 5) -> str:
    """Return a neuron's readout position and nearest neurons as one line of text."""
    parts = []
    if learned.positions is not None:
        row, column = learned.positions[neuron]
        parts.append(f"reads at {column:z.0%} of the width, {row:z.0%} of the height")
    nearest, distance = learned.nearest(neuron, count)
    if len(nearest):
        names = learned.names
        near = ", ".join(
            f"{names[other]} ({far:z.2f})" for other, far in zip(nearest, distance, strict=True)
        )
        parts.append(f"nearest barcodes: {near}")
    return " · ".join(parts)


def learned_of(results: Results, session: Session | None) -> LearnedNeurons | None:
    """Return the learned properties of a session's neurons; None if not computed."""
    learned = results.learned
    if learned is None or session is None or learned.session_key != key_of(session):
        return None
    return learned


def repeats_text(repeats: ClipRepeats) -> str:
    """Return one line about the repeats of a clip, for one neuron."""
    n = len(repeats.onset_s)
    shown = f"{n} × {repeats.clip.duration_s:z.1f} s"
    problem = ceiling_problem(str(repeats.status[0]), n)
    if problem:
        return f"{shown} · no reliability: {problem}"
    return (
        f"{shown} · reliability {repeats.cc_max[0]:z.2f} of the mean, "
        f"{repeats.single_trial_max[0]:z.2f}{interval_text(repeats)} of one trial · "
        f"oracle {repeats.oracle[0]:z.2f}"
    )


def info_text(
    state: LiveState, results: Results, info: NeuronProperties | None, neuron: int
) -> str:
    """Return several self-contained lines for the clipboard."""
    if state.session is None:
        return ""
    lines = [
        f"session: {state.session.id}",
        heading(state.session, neuron),
        state_text(state, results, neuron),
    ]
    if info is not None and info.field is not None:
        lines.append(f"receptive field: {field_text(info.field)}")
    if info is not None and info.tuning is not None:
        lines.append(f"direction tuning: {tuning_text(info.tuning)}")
    learned = learned_of(results, state.session)
    if learned is not None:
        lines.append(f"{learned.predictor_id}: {learned_text(learned, neuron)}")
    if info is not None and info.repeats is not None:
        for repeats in info.repeats:
            lines.append(f"clip {repeats.clip.stim_id}: {repeats_text(repeats)}")
        lines += [] if info.repeats else [NO_REPEATS]
    return "\n".join(lines)


def info_columns(session: Session, info: NeuronProperties) -> dict[str, Column]:
    """Return all numbers as columns `quantity, row, column, value`.

    `neuron` is the index, `unit_id` the recording's id, as in tables of neurons.
    """
    rows: list[tuple[str, object, object, object]] = [("neuron", "", "", info.neuron)]
    rows += [("unit_id", "", "", session.units.unit_id[info.neuron]), *_rows(info)]
    return dict(zip(("quantity", "row", "column", "value"), zip(*rows, strict=True), strict=True))


def _rows(info: NeuronProperties) -> Iterator[tuple[str, object, object, object]]:
    field, tuning = info.field, info.tuning
    if field is not None and not field.problem:
        yield "field kind", "", "", field.kind
        yield "field reliability", "", "", field.reliability
        yield "field centre", "y", "px", field.centre_yx[0]
        yield "field centre", "x", "px", field.centre_yx[1]
        yield from _array("field map", field.map)
        for lag_s, value in zip(field.lags_s, field.course, strict=True):
            yield "field course", round(float(lag_s), 4) + 0.0, "s", float(value)
    if tuning is not None and not tuning.problem:
        for name in ("dsi", "osi", "p_direction", "p_orientation", "preferred_deg"):
            yield name, "", "", getattr(tuning, name)
        curve = (tuning.directions_deg, tuning.response, tuning.error)
        for degrees, value, error in zip(*curve, strict=True):
            yield "tuning", f"{degrees:g}", "response", float(value)
            yield "tuning", f"{degrees:g}", "error", float(error)
    for repeats in info.repeats or ():
        name = f"clip {repeats.clip.stim_id}"
        yield f"{name} cc_max", "", "", float(repeats.cc_max[0])
        yield f"{name} single_trial_max", "", "", float(repeats.single_trial_max[0])
        yield f"{name} oracle", "", "", float(repeats.oracle[0])
        yield from _array(f"{name} repeats", repeats.responses[0])


def _array(name: str, values: np.ndarray) -> Iterator[tuple[str, int, int, float]]:
    for (row, column), value in np.ndenumerate(values):
        yield name, row, column, float(value)


def _p(share: float) -> str:
    return f"= {share:z.3f}"
