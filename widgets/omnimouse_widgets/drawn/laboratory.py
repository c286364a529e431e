"""Text about experiments on a model: their cost, and what they found."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import numpy as np

from omnimouse_model.lab.experiments import ExperimentResult
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.laboratory import Laboratory
from omnimouse_model.live.laboratory_jobs import FOLDS, NAMES, LabResult, label_of
from omnimouse_model.live.sweep.estimate import duration_text

if TYPE_CHECKING:
    from omnimouse_model.lab.barcode_decoding import BarcodeDecoding
    from omnimouse_model.lab.exciting_search import ExcitingInputs

OF_MODEL = "What is found is a property of the model, not of the animal."
TWINS_ONLY = "Digital twins only."
BARCODES_TEXT = (
    "A label of the neurons, such as the area, predicted from what the model has "
    f"learned of each neuron ({FOLDS}-fold nested cross-validation), beside shuffled "
    "labels."
)
NOT_RUN = "Press Run"
NO_NEURON = "Select a neuron"
TIPS = {
    "experiment": "What is shown to the model, and what is measured",
    "repeats": "Repeats of each stimulus: more of them differ less by chance",
    "run": "Show the stimulus to the model; the screen stays in use meanwhile",
    "stop": "Stop the experiment; the next run goes on where it was",
    "colour": "Colour the neurons by the result",
    "export": "Save the result of every neuron as a table, the plot, or the inputs",
    "label": "The label that is predicted: a column of the neuron table",
    "what_if": "Show this input to the model in place of the video, in What if",
    "as_recorded": "Show the recorded video to the model again",
    "format": "Format of the export",
    "python": "Copy the commands that repeat this experiment in a script",
}
TUNED = 0.3
"""OSI above which a neuron counts as tuned."""


def choices() -> list[tuple[str, str]]:
    """Return label and name of all experiments."""
    return [(label_of(name), name) for name in NAMES]


def explanation(laboratory: Laboratory) -> str:
    """Return a description of the chosen experiment, search or decoding."""
    if laboratory.experiment is not None:
        return laboratory.experiment.explanation
    if laboratory.search is not None:
        return f"{laboratory.search.explanation} {TWINS_ONLY}"
    return BARCODES_TEXT


def waiting_text(laboratory: Laboratory) -> str:
    """Return what to do, or which experiment runs, while there is no result."""
    if laboratory.is_busy:
        return f"Running: {label_of(laboratory.running)}"
    return NOT_RUN if not laboratory.problem else ""


def cost_text(laboratory: Laboratory) -> str:
    """Return the number of predictions and their expected time, or why it can't run."""
    if laboratory.problem:
        return laboratory.problem
    n, seconds, kept = laboratory.n_windows, laboratory.seconds, laboratory.kept
    done, of = kept or (0, 1)
    if done:
        text = f"Kept: {done:,} of {of:,} videos. Run goes on"
    else:
        text = f"{n:,} predictions" if n else f"{2 * FOLDS} outer folds"
        if kept is not None:
            text = f"Stopped, nothing is kept. {text}"
    if seconds is None:
        return text
    return f"{text}, about {duration_text(seconds * (1 - done / of))}"


def summary(laboratory: Laboratory) -> str:
    """Return what the chosen experiment found of the population, "" before it ran."""
    result = laboratory.results.get(laboratory.chosen)
    return "" if result is None else result_text(result, laboratory.columns(result))


def result_text(result: LabResult, columns: Mapping[str, np.ndarray]) -> str:
    """Return what was found of the population; `columns` are those of an experiment."""
    if isinstance(result, ExperimentResult):
        return _experiment_text(result, columns)
    # Told apart by a field: their modules load torch, which takes seconds.
    if hasattr(result, "videos"):
        return _search_text(cast("ExcitingInputs", result))
    return _decoding_text(result)


def _experiment_text(result: ExperimentResult, columns: Mapping[str, np.ndarray]) -> str:
    n = len(result.neurons)
    parts = [f"{n:,} neurons, {result.stimulus.n_videos} videos"]
    if "osi" in columns:
        is_tuned = columns["osi"] > TUNED
        parts.append(f"OSI above {TUNED}: {100 * is_tuned.mean():z.0f} %")
        if "orientation_error_deg" in columns and is_tuned.any():
            error = np.nanmedian(columns["orientation_error_deg"][is_tuned])
            parts.append(f"median error of the axis, of these {error:z.1f}°")
    elif "ssi" in columns:
        parts.append(f"median SSI {np.nanmedian(columns['ssi']):z.2f}")
        if "field_error_widths" in columns:
            error = np.nanmedian(columns["field_error_widths"])
            parts.append(f"median error of the place {error:z.3f} screen widths")
    else:
        experiment = result.experiment
        median = np.nanmedian(result.values)
        parts.append(f"median {experiment.value_label.lower()} {median:g} {experiment.unit}")
    return "; ".join(part.strip() for part in parts) + f". {result.predictor_id}"


def _search_text(found: "ExcitingInputs") -> str:
    n = len(found.neurons)
    text = (
        f"{n:,} neuron{'s' if n > 1 else ''}: response {found.best_response:z.2f} "
        f"s.d., to a grey screen {found.gray_response:z.2f}"
    )
    if found.agreement is not None:
        text += f"; two searches agree with r = {found.agreement:z.2f}"
    return f"{text}. {found.predictor_id}"


def _decoding_text(decoding: "BarcodeDecoding") -> str:
    text = (
        f"{decoding.label} of {decoding.n_neurons:,} neurons: balanced accuracy "
        f"{100 * decoding.found.balanced_accuracy:z.0f} %, with shuffled labels "
        f"{100 * decoding.shuffled.balanced_accuracy:z.0f} %, chance "
        f"{100 * decoding.chance:z.0f} %"
    )
    if decoding.beyond_depth is not None:
        text += f"; beyond the depth: p = {decoding.beyond_depth.p_value:.2g}"
    return f"{text}. {decoding.predictor_id}"


def neuron_text(controller: Controller, neuron: int | None) -> str:
    """Return what the chosen experiment found of one neuron."""
    laboratory, session = controller.laboratory, controller.state.session
    result = laboratory.result
    at = column_of(result, neuron)
    if result is None or at is None or session is None:
        return ""
    columns = {name: float(values[at]) for name, values in laboratory.columns(result).items()}
    return f"Neuron {session.units.names[neuron]}: {_found_text(result, columns)}"


def _found_text(result: ExperimentResult, columns: dict[str, float]) -> str:
    if "osi" in columns:
        text = (
            f"preferred {columns['preferred_deg']:z.0f}°, OSI {columns['osi']:z.2f}, "
            f"DSI {columns['dsi']:z.2f}"
        )
        true = columns.get("true_preferred_deg")
        return text if true is None else f"{text}; true {true:z.0f}°"
    if "row_px" in columns:
        return (
            f"row {columns['row_px']:z.1f}, column {columns['column_px']:z.1f} px, "
            f"s.d. {columns['sd_longer_px']:z.1f} × {columns['sd_shorter_px']:z.1f} "
            f"px, SSI {columns['ssi']:z.2f}"
        )
    value, unit = columns[result.experiment.value], result.experiment.unit
    label = result.experiment.value_label.lower()
    number = f"{value:g} {unit}".strip()
    return f"{label} {number}, at {columns['direction_deg']:z.0f}°"


def shown_neuron(controller: Controller) -> int | None:
    """Return the neuron that is drawn: the focused one, or the last selected."""
    selection, focus = controller.state.selection, controller.neuron_info.focus
    return focus if focus in selection or not selection else selection[-1]


def column_of(result: ExperimentResult | None, neuron: int | None) -> int | None:
    """Return the place of a neuron in a result, None if it has none."""
    if result is None or neuron is None:
        return None
    found = np.flatnonzero(result.neurons == neuron)
    return int(found[0]) if len(found) else None
