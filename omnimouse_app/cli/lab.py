"""`omnimouse lab`: experiments on a model that sees video."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omnimouse_app.cli.inputs import (
    device_option,
    file_option,
    folder_option,
    json_option,
    named_session,
    reading_options,
    threads_option,
)
from omnimouse_app.cli.interrupt import exit_stopped, interruptible
from omnimouse_app.cli.output import emit
from omnimouse_app.cli.progress import Progress

if TYPE_CHECKING:
    import numpy as np

    from omnimouse_model.data.session import Session
    from omnimouse_model.lab.stimuli.gratings import Level
    from omnimouse_model.lab.stimuli.stimulus import Stimulus
    from omnimouse_model.predict.predictor import Predictor

TUNED = 0.3
"""OSI above which a neuron counts as tuned."""
NOISE_LAG_S, DOT_LAG_S = 0.3, 0.1
"""Delay of the responses to short events."""
COLUMNS = ("name", "value", "unit", "n")
LEVELS: "dict[str, tuple[Level, tuple[float, ...]]]" = {
    "period": ("period_deg", (10.0, 20.0, 30.0, 40.0, 60.0, 80.0, 120.0)),
    "frequency": ("temporal_hz", (0.5, 1.0, 2.0, 4.0, 8.0)),
    "contrast": ("contrast", (0.05, 0.1, 0.2, 0.4, 0.8, 1.0)),
    "size": ("diameter_deg", (10.0, 20.0, 30.0, 45.0, 60.0, 90.0)),
}
"""Quantities of `omnimouse lab levels`, with the levels that are shown."""


@click.group("lab")
def command() -> None:
    """Run experiments on a model. They describe the model, not the animal."""


def experiment_options(run: Callable[..., None]) -> Callable[..., None]:
    """Add the options of all experiments, which become session, predictor and size."""

    @click.option("--model", default="twin-demo", show_default=True, help="Predictor.")
    @click.option("--session", default="demo", show_default=True, help="A session.")
    @click.option("--seed", type=int, default=0, show_default=True)
    @device_option
    @threads_option()
    @json_option
    @reading_options
    @wraps(run)
    def with_model(
        model: str, session: str, device: str, reading: dict[str, Any], **others: Any
    ) -> None:
        from omnimouse_model.predict.registry import load_predictor

        recording = named_session(session, **reading)
        predictor = load_predictor(model, device=device)
        video = predictor.needs.spec.video
        size = (36, 64) if video is None else (video.height, video.width)
        run(recording, predictor, size, **others)

    decorated: Callable[..., None] = with_model
    return decorated


table_option = file_option("--out", help="Write a table of the neurons here (.csv).")


@command.command("directions")
@click.option(
    "--stimulus", default="gratings", show_default=True,
    type=click.Choice(["gratings", "pink-noise"]),
)  # fmt: skip
@click.option(
    "--directions", "n_directions", default=16, show_default=True,
    type=click.IntRange(min=4), help="Directions of motion.",
)  # fmt: skip
@click.option(
    "--repeats", default=9, show_default=True, type=click.IntRange(min=1),
    help="Videos of each direction; periods and speeds of gratings take turns.",
)  # fmt: skip
@table_option
@experiment_options
def directions(
    recording: "Session",
    predictor: "Predictor",
    size: tuple[int, int],
    stimulus: str,
    n_directions: int,
    repeats: int,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Show moving gratings or noise to MODEL and report the tuning of all neurons.

    Of a simulated session, the preferred orientations are compared with the true ones.
    """
    import numpy as np

    from omnimouse_model.lab.known_truth import known_tuning
    from omnimouse_model.lab.stimuli.gratings import drifting_gratings
    from omnimouse_model.lab.stimuli.pink_noise import pink_noise
    from omnimouse_model.lab.tuning import directions_of

    is_noise = stimulus == "pink-noise"
    if is_noise:
        shown = pink_noise(size, repeats, n_directions, seed=seed)
    else:
        shown = drifting_gratings(size, n_directions, repeats, seed=seed)
    # Epochs of the noise last less than half a second; calcium responses follow later.
    lag_s = NOISE_LAG_S if is_noise else 0.0
    responses = _responses(predictor, recording, shown, lag_s=lag_s)
    tuning = directions_of(responses, shown.values)
    columns = _names(recording) | {
        "osi": tuning.osi,
        "dsi": tuning.dsi,
        "orientation_deg": tuning.orientation_deg,
        "preferred_deg": tuning.preferred_deg,
    }
    is_tuned = tuning.osi > TUNED
    rows = [_median("median_osi", tuning.osi), _median("median_dsi", tuning.dsi)]
    share = float(is_tuned.mean())
    rows.append(
        {"name": f"osi_above_{TUNED}", "value": share, "unit": "share"}
        | {"n": int(is_tuned.sum())}
    )
    truth = known_tuning(recording)
    if truth is not None:
        error = truth.orientation_error(tuning.orientation_deg)
        columns |= {
            "true_preferred_deg": truth.preferred_deg,
            "orientation_error_deg": error,
        }
        of_tuned = np.where(is_tuned, error, np.nan)
        rows.append(_median("median_orientation_error", of_tuned, "deg"))
        rows.append(_median("median_orientation_error_of_all", error, "deg"))
    rows += _learned_places(predictor, recording, size, columns)
    _report(rows, columns, predictor, recording, shown, out, as_json=as_json)


@command.command("fields")
@click.option("--black", is_flag=True, help="Black dots in place of white ones.")
@click.option(
    "--repeats", default=2, show_default=True, type=click.IntRange(min=1),
    help="Flashes of a dot at each of 135 places.",
)  # fmt: skip
@table_option
@experiment_options
def fields(
    recording: "Session",
    predictor: "Predictor",
    size: tuple[int, int],
    black: bool,
    repeats: int,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Flash dots to MODEL and report the receptive fields of all neurons.

    Of a simulated session, the places are compared with the true ones.
    """
    from omnimouse_model.lab.known_truth import known_tuning
    from omnimouse_model.lab.stimuli.dots import gaussian_dots
    from omnimouse_model.lab.tuning import receptive_fields

    shown = gaussian_dots(size, repeats=repeats, is_on=not black, seed=seed)
    responses = _responses(predictor, recording, shown, lag_s=DOT_LAG_S)
    found = receptive_fields(responses, shown, size)
    columns = _names(recording) | {
        "row_px": found.center_px[:, 0],
        "column_px": found.center_px[:, 1],
        "ssi": found.selectivity,
    }
    rows = [_median("median_ssi", found.selectivity)]
    truth = known_tuning(recording)
    if truth is not None:
        error = truth.position_error(found.center_px, size)
        columns["field_error_widths"] = error
        rows.append(_median("median_field_error", error, "monitor widths"))
    _report(rows, columns, predictor, recording, shown, out, as_json=as_json)


@command.command("levels")
@click.argument("quantity", type=click.Choice(list(LEVELS)))
@click.option(
    "--repeats", default=2, show_default=True, type=click.IntRange(min=1),
    help="Videos of each level and direction.",
)  # fmt: skip
@table_option
@experiment_options
def levels(
    recording: "Session",
    predictor: "Predictor",
    size: tuple[int, int],
    quantity: str,
    repeats: int,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Show gratings of different QUANTITY and report what each neuron prefers.

    period: degrees per cycle; frequency: Hz; contrast; size: diameter of a disc around
    the centre of the monitor, in degrees.
    """
    import numpy as np

    from omnimouse_model.lab.stimuli.gratings import grating_levels
    from omnimouse_model.lab.tuning import levels_of

    name, values = LEVELS[quantity]
    shown = grating_levels(size, name, values, repeats=repeats, seed=seed)
    found = levels_of(_responses(predictor, recording, shown), shown)
    columns = _names(recording) | {
        f"preferred_{name}": found.preferred,
        "direction_deg": found.direction_deg,
        **{
            f"response_{level:g}": found.response[:, k]
            for k, level in enumerate(found.levels)
        },
    }
    rows = [_median(f"median_preferred_{name}", found.preferred, name.split("_")[-1])]
    mean = found.response / np.maximum(found.response.max(axis=1, keepdims=True), 1e-9)
    rows += [
        _median(f"relative_response_{level:g}", mean[:, k], "share")
        for k, level in enumerate(found.levels)
    ]
    _report(rows, columns, predictor, recording, shown, out, as_json=as_json)


@command.command("exciting")
@click.argument("neurons", nargs=-1, type=int, required=True)
@folder_option("--out", required=True, help="Write pictures and arrays here.")
@click.option("--video", "is_video", is_flag=True, help="A video, not an image.")
@click.option("--inhibiting", is_flag=True, help="The weakest response instead.")
@click.option("--steps", default=20, show_default=True, type=click.IntRange(min=1))
@click.option(
    "--starts", default=2, show_default=True, type=click.IntRange(min=1),
    help="Searches from different noise; their agreement is reported.",
)  # fmt: skip
@experiment_options
def exciting(
    recording: "Session",
    predictor: "Predictor",
    size: tuple[int, int],
    neurons: tuple[int, ...],
    out: Path,
    is_video: bool,
    inhibiting: bool,
    steps: int,
    starts: int,
    seed: int,
    as_json: bool,
) -> None:
    """Search the input to which NEURONS (ids) respond most, on average.

    MODEL must offer the gradient of its responses, as digital twins do.
    """
    import numpy as np

    from omnimouse_model.lab.exciting_search import (
        SEARCH,
        search_starts,
        write_exciting,
    )

    ids = np.asarray(recording.units.names)
    unknown = sorted(set(neurons) - set(ids.tolist()))
    if unknown:
        raise click.UsageError(f"Session {recording.id} has no neuron {unknown[0]}.")
    chosen = np.flatnonzero(np.isin(ids, neurons))
    settings = replace(
        SEARCH, is_static=not is_video, temperature=-0.5 if inhibiting else 0.5
    )
    with interruptible() as stop, Progress() as line:
        found = search_starts(
            predictor,
            recording,
            chosen,
            settings,
            n_steps=steps,
            seeds=range(seed, seed + starts),
            progress=partial(line, text="steps"),
            cancelled=lambda: stop.is_received,
        )
    if found is None:
        exit_stopped("nothing was written.")
    paths = write_exciting(found, out)
    rows: list[dict[str, Any]] = [
        {"name": "response_to_grey", "value": found.gray_response, "unit": "s.d."},
        {"name": "response_at_best", "value": found.best_response, "unit": "s.d."},
        {"name": "agreement_of_starts", "value": found.agreement, "unit": "r"},
        *({"name": "file", "value": str(path), "unit": ""} for path in paths),
    ]
    emit(
        [row | {"n": len(chosen), "predictor": predictor.predictor_id} for row in rows],
        as_json=as_json,
        title=f"{starts} searches of {steps} steps in {predictor.predictor_id}",
        columns=COLUMNS,
    )


@command.command("barcodes")
@click.option(
    "--label", default="area", show_default=True,
    help="Column of the neuron table, also one of --unit-tables.",
)  # fmt: skip
@click.option(
    "--folds", default=10, show_default=True, type=click.IntRange(min=2),
    help="Outer and inner folds.",
)  # fmt: skip
@experiment_options
def barcodes(
    recording: "Session",
    predictor: "Predictor",
    size: tuple[int, int],
    label: str,
    folds: int,
    seed: int,
    as_json: bool,
) -> None:
    """Predict a LABEL of the neurons, such as the area, from what MODEL has learned.

    Nested cross-validation; with shuffled labels as control, and, where depths are
    known, a likelihood-ratio test of barcodes beyond the depth.
    """
    import numpy as np

    from omnimouse_model.analysis.barcodes import learned_neurons
    from omnimouse_model.lab.label_decoding import beyond_covariate, decode_label
    from omnimouse_model.masks.neuron_table import table_columns

    columns = table_columns(recording)
    if label not in columns:
        raise click.UsageError(f"No column {label!r}; there are {', '.join(columns)}.")
    codes = learned_neurons(predictor, recording).barcodes
    if codes is None:
        raise click.UsageError(f"{predictor.predictor_id} has no barcodes.")
    labels = columns[label].astype(str)
    is_known = (labels != "") & (labels != "nan")
    codes, labels = codes[is_known], labels[is_known]
    shuffled = np.random.default_rng(seed).permutation(labels)
    with Progress() as line:
        found, control = (
            decode_label(
                codes,
                chosen,
                n_outer=folds,
                n_inner=folds,
                seed=seed,
                progress=partial(line, text=text),
            )
            for chosen, text in ((labels, "folds"), (shuffled, "folds, shuffled"))
        )
    n = len(labels)
    rows: list[dict[str, Any]] = [
        {"name": "balanced_accuracy", "value": found.balanced_accuracy},
        {"name": "balanced_accuracy_shuffled", "value": control.balanced_accuracy},
        {"name": "chance", "value": 1 / len(found.classes)},
    ]
    rows += [
        {"name": f"recall_{name}", "value": float(found.confusion[k, k])}
        for k, name in enumerate(found.classes)
    ]
    rows = [row | {"unit": "share", "n": n} for row in rows]
    depth = columns["depth"][is_known].astype(float)
    if np.isfinite(depth).all() and len(np.unique(depth)) > 1:
        ratio = beyond_covariate(codes, depth, labels)
        rows.append(
            {"name": "beyond_depth", "value": ratio.p_value, "unit": "p", "n": n}
        )
    emit(
        [row | {"predictor": str(predictor.predictor_id)} for row in rows],
        as_json=as_json,
        title=f"{label} from barcodes of {predictor.predictor_id}, {recording.id}",
        columns=COLUMNS,
    )


# -- parts ---------------------------------------------------------------------------
def _responses(
    predictor: "Predictor", recording: "Session", shown: "Stimulus", lag_s: float = 0.0
) -> "np.ndarray":
    """Return the responses to all events, with progress; exit if it is stopped."""
    from omnimouse_model.errors import StoppedError
    from omnimouse_model.lab.model_responses import model_responses

    with interruptible() as stop, Progress() as line:
        try:
            return model_responses(
                predictor,
                recording,
                shown,
                lag_s=lag_s,
                progress=partial(line, text="videos"),
                cancelled=lambda: stop.is_received,
            )
        except StoppedError:
            exit_stopped("nothing was written.")


def _names(recording: "Session") -> "dict[str, np.ndarray]":
    import numpy as np

    return {
        "neuron": np.arange(recording.n_neurons),
        "unit_id": np.asarray(recording.units.names),
    }


def _median(name: str, values: "np.ndarray", unit: str = "index") -> dict[str, Any]:
    """Return the median over the neurons whose value is known."""
    import numpy as np

    known = values[np.isfinite(values)]
    median = float(np.median(known)) if len(known) else None
    return {"name": name, "value": median, "unit": unit, "n": len(known)}


def _learned_places(
    predictor: "Predictor",
    recording: "Session",
    size: tuple[int, int],
    columns: "dict[str, np.ndarray]",
) -> list[dict[str, Any]]:
    """Add the places that a model reads, and compare them with the truth."""
    from omnimouse_model.analysis.barcodes import learned_neurons
    from omnimouse_model.lab.known_truth import known_tuning

    positions = learned_neurons(predictor, recording).positions
    if positions is None:
        return []
    places = positions * size
    columns |= {"row_px": places[:, 0], "column_px": places[:, 1]}
    truth = known_tuning(recording)
    if truth is None:
        return []
    error = truth.position_error(places, size)
    columns["position_error_widths"] = error
    return [_median("median_position_error", error, "monitor widths")]


def _report(
    rows: list[dict[str, Any]],
    columns: "Mapping[str, np.ndarray]",
    predictor: "Predictor",
    recording: "Session",
    shown: "Stimulus",
    out: Path | None,
    *,
    as_json: bool,
) -> None:
    """Print the summary, and write the table of neurons."""
    if out is not None:
        _write(out, columns)
    emit(
        [row | {"predictor": str(predictor.predictor_id)} for row in rows],
        as_json=as_json,
        title=f"{shown.name} ({shown.n_videos} videos) shown to "
        f"{predictor.predictor_id}, session {recording.id}",
        columns=COLUMNS,
    )


def _write(path: Path, columns: "Mapping[str, np.ndarray]") -> None:
    import csv

    from omnimouse_model.atomic import atomic_path

    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
