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
    from omnimouse_model.lab.experiments import ExperimentResult
    from omnimouse_model.predict.predictor import Predictor

TUNED = 0.3
"""OSI above which a neuron counts as tuned."""
COLUMNS = ("name", "value", "unit", "n")
LEVELS = ("period", "frequency", "contrast", "size")
"""Experiments with levels of a quantity."""


@click.group("lab")
def command() -> None:
    """Run experiments on a model. They describe the model, not the animal."""


def experiment_options(run: Callable[..., None]) -> Callable[..., None]:
    """Add the options of all experiments, which become session and predictor."""

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
        run(recording, load_predictor(model, device=device), **others)

    decorated: Callable[..., None] = with_model
    return decorated


table_option = file_option("--out", help="Write a table of the neurons here (.csv).")
results_option = folder_option(
    "--results",
    help="Keep the responses here (.zarr); a stopped experiment goes on there.",
)


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
@results_option
@table_option
@experiment_options
def directions(
    recording: "Session",
    predictor: "Predictor",
    stimulus: str,
    n_directions: int,
    repeats: int,
    seed: int,
    results: Path | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Show moving gratings or noise to MODEL and report the tuning of all neurons.

    Of a simulated session, the preferred orientations are compared with the true ones.
    """
    import numpy as np

    name = "noise" if stimulus == "pink-noise" else "directions"
    found, columns = _run(
        name,
        predictor,
        recording,
        results,
        repeats=repeats,
        seed=seed,
        n_directions=n_directions,
    )
    osi, dsi = columns["osi"], columns["dsi"]
    is_tuned = osi > TUNED
    rows = [_median("median_osi", osi), _median("median_dsi", dsi)]
    rows.append(
        {"name": f"osi_above_{TUNED}", "value": float(is_tuned.mean()), "unit": "share"}
        | {"n": int(is_tuned.sum())}
    )
    if "orientation_error_deg" in columns:
        error = columns["orientation_error_deg"]
        of_tuned = np.where(is_tuned, error, np.nan)
        rows.append(_median("median_orientation_error", of_tuned, "deg"))
        rows.append(_median("median_orientation_error_of_all", error, "deg"))
    rows += _learned_places(predictor, recording, columns)
    _report(rows, columns, found, recording, out, as_json=as_json)


@command.command("fields")
@click.option("--black", is_flag=True, help="Black dots in place of white ones.")
@click.option(
    "--repeats", default=2, show_default=True, type=click.IntRange(min=1),
    help="Flashes of a dot at each of 135 places.",
)  # fmt: skip
@results_option
@table_option
@experiment_options
def fields(
    recording: "Session",
    predictor: "Predictor",
    black: bool,
    repeats: int,
    seed: int,
    results: Path | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Flash dots to MODEL and report the receptive fields of all neurons.

    Of a simulated session, the places are compared with the true ones.
    """
    name = "black_fields" if black else "fields"
    found, columns = _run(
        name, predictor, recording, results, repeats=repeats, seed=seed
    )
    rows = [_median("median_ssi", columns["ssi"])]
    if "field_error_widths" in columns:
        error = columns["field_error_widths"]
        rows.append(_median("median_field_error", error, "monitor widths"))
    _report(rows, columns, found, recording, out, as_json=as_json)


@command.command("levels")
@click.argument("quantity", type=click.Choice(LEVELS))
@click.option(
    "--repeats", default=2, show_default=True, type=click.IntRange(min=1),
    help="Videos of each level and direction.",
)  # fmt: skip
@results_option
@table_option
@experiment_options
def levels(
    recording: "Session",
    predictor: "Predictor",
    quantity: str,
    repeats: int,
    seed: int,
    results: Path | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Show gratings of different QUANTITY and report what each neuron prefers.

    period: degrees per cycle; frequency: Hz; contrast; size: diameter of a disc around
    the centre of the monitor, in degrees.
    """
    import numpy as np

    found, columns = _run(
        quantity, predictor, recording, results, repeats=repeats, seed=seed
    )
    levels, curves = found.findings.levels, found.findings.curves
    assert levels is not None
    assert curves is not None
    columns |= {f"response_{level:g}": curves[:, k] for k, level in enumerate(levels)}
    name = found.experiment.value
    rows = [_median(f"median_{name}", columns[name], name.split("_")[-1])]
    relative = curves / np.maximum(curves.max(axis=1, keepdims=True), 1e-9)
    rows += [
        _median(f"relative_response_{level:g}", relative[:, k], "share")
        for k, level in enumerate(levels)
    ]
    _report(rows, columns, found, recording, out, as_json=as_json)


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
def _run(
    name: str,
    predictor: "Predictor",
    recording: "Session",
    results: Path | None,
    **settings: Any,
) -> "tuple[ExperimentResult, dict[str, np.ndarray]]":
    """Return a result and its columns, with progress; exit if it is stopped."""
    from omnimouse_model.errors import StoppedError
    from omnimouse_model.lab.experiments import (
        experiment_named,
        run_experiment,
        windows_of,
    )
    from omnimouse_model.lab.known_truth import errors_of

    shown = {key: value for key, value in settings.items() if key != "seed"}
    n_windows = windows_of(experiment_named(name), predictor.needs.spec, **shown)
    click.echo(f"{n_windows:,} predictions with {predictor.predictor_id} …", err=True)
    with interruptible() as stop, Progress() as line:
        try:
            found = run_experiment(
                name,
                predictor,
                recording,
                results=results,
                progress=partial(line, text="videos"),
                cancelled=lambda: stop.is_received,
                **settings,
            )
        except StoppedError:
            exit_stopped(
                "nothing was written."
                if results is None
                else f"run the command again to go on from {results}."
            )
    columns = found.findings.columns
    errors = errors_of(columns, recording, found.size, found.neurons)
    return found, {**_names(recording), **columns, **errors}


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
    columns: "dict[str, np.ndarray]",
) -> list[dict[str, Any]]:
    """Add the places that a model reads, and compare them with the truth."""
    import numpy as np

    from omnimouse_model.analysis.barcodes import learned_neurons
    from omnimouse_model.lab.experiments import frame_size
    from omnimouse_model.lab.known_truth import errors_of

    positions = learned_neurons(predictor, recording).positions
    if positions is None:
        return []
    size = frame_size(predictor.needs.spec)
    places = positions * size
    found = {"row_px": places[:, 0], "column_px": places[:, 1]}
    columns |= found
    errors = errors_of(found, recording, size, np.arange(len(places)))
    if not errors:
        return []
    columns["position_error_widths"] = error = errors["field_error_widths"]
    return [_median("median_position_error", error, "monitor widths")]


def _report(
    rows: list[dict[str, Any]],
    columns: "Mapping[str, np.ndarray]",
    found: "ExperimentResult",
    recording: "Session",
    out: Path | None,
    *,
    as_json: bool,
) -> None:
    """Print the summary, and write the table of neurons."""
    if out is not None:
        from omnimouse_model.atomic import atomic_path
        from omnimouse_model.csv_table import csv_bytes

        with atomic_path(out) as temporary:
            temporary.write_bytes(csv_bytes(columns))
    emit(
        [row | {"predictor": found.predictor_id} for row in rows],
        as_json=as_json,
        title=f"{found.stimulus.name} ({found.stimulus.n_videos} videos) shown to "
        f"{found.predictor_id}, session {recording.id}",
        columns=COLUMNS,
    )
