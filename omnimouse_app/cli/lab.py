"""`omnimouse lab`: experiments on a model that sees video."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omnimouse_app.cli import inputs
from omnimouse_app.cli.terminal import echo, emit, stoppable

if TYPE_CHECKING:
    import numpy as np

    from omnimouse_model.data.session import Session
    from omnimouse_model.lab.experiments import ExperimentResult
    from omnimouse_model.lab.recorded_comparison import RecordedComparison
    from omnimouse_model.predict.predictor import Predictor

FIELD_STIMULI = {
    "dots": "fields",
    "black-dots": "black_fields",
    "sparse-noise": "sparse_fields",
}
"""Experiment of each stimulus of `fields`."""
NOTHING = "nothing was written."
"""What is left of an experiment that was stopped."""
LEVELS = ("period", "frequency", "contrast", "size")
"""Experiments with levels of a quantity."""


@click.group("lab")
def command() -> None:
    """Run experiments on a model. They describe the model, not the animal."""


# -- what all commands share ----------------------------------------------------------
@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Session, predictor and options of one call of a command."""

    recording: "Session"
    predictor: "Predictor"
    model: str
    device: str
    seed: int
    as_json: bool
    out: Path | None = None
    results: Path | None = None
    scheduler: str | None = None

    def measure(
        self, name: str, **settings: Any
    ) -> "tuple[ExperimentResult, dict[str, np.ndarray]]":
        """Return the result of an experiment and its columns; exit if it is stopped."""
        import numpy as np

        from omnimouse_model.lab.experiments import (
            errors_of,
            experiment_named,
            run_experiment,
            windows_of,
        )

        recording, results = self.recording, self.results
        spec = self.predictor.needs.spec
        n_windows = windows_of(experiment_named(name), spec, **settings)
        echo(f"{n_windows:,} predictions with {self.predictor.predictor_id} …", err=True)
        source: Predictor | str = self.predictor
        if self.scheduler is not None:
            # A loaded predictor cannot be sent.
            source = self.model
            settings |= {"scheduler": self.scheduler, "device": self.device}
        message = NOTHING if results is None else f"run the command again to go on from {results}."
        with stoppable(message, "videos", saves=results is not None) as job:
            found = run_experiment(
                name, source, recording, results=results, seed=self.seed, job=job, **settings
            )
        columns = {
            "neuron": np.arange(recording.n_neurons),
            "unit_id": np.asarray(recording.units.names),
            **found.columns,
        }
        errors = errors_of(found.findings.columns, recording, found.size, found.neurons)
        return found, columns | errors

    def report(
        self,
        rows: list[dict[str, Any]],
        found: "ExperimentResult",
        columns: "Mapping[str, np.ndarray]",
    ) -> None:
        """Print the summary of an experiment, and write the table of neurons."""
        _write(self.out, columns)
        # A number that is not known is null, with its reason.
        for row in rows:
            if row["value"] is None:
                row["reason"] = found.missing or "it is not known of any neuron"
        self.show(
            rows,
            f"{found.stimulus.name} ({found.stimulus.n_videos} videos) shown to "
            f"{found.predictor_id}, session {self.recording.id}",
        )

    def show(self, rows: list[dict[str, Any]], title: str) -> None:
        """Print the rows of a summary."""
        emit(
            [row | {"predictor": self.predictor.predictor_id} for row in rows],
            as_json=self.as_json,
            title=title,
            columns=_shown(rows, "name", "value", "unit", "n"),
        )


def _shown(rows: Sequence[Mapping[str, Any]], *columns: str) -> tuple[str, ...]:
    """Return the columns of a table, with the reason of unknown values if there is one."""
    return (*columns, "reason") if any("reason" in row for row in rows) else columns


def experiment_options(run: Callable[..., None]) -> Callable[..., None]:
    """Add the options of all experiments, which become a `Run`."""

    @click.option("--model", default="twin-demo", help="Predictor.")
    @click.option("--session", default="demo", help="A session.")
    @click.option("--seed", type=int, default=0)
    @inputs.device_option
    @inputs.threads_option()
    @inputs.json_option
    @inputs.reading_options
    @wraps(run)
    def with_run(session: str, reading: dict[str, Any], **options: Any) -> None:
        from omnimouse_model.inference.registry import load_predictor

        shared = {name: options.pop(name) for name in _SHARED if name in options}
        recording = inputs.named_session(session, **reading)
        predictor = load_predictor(shared["model"], device=shared["device"])
        run(Run(recording=recording, predictor=predictor, **shared), **options)

    return with_run


_SHARED = ("model", "device", "seed", "as_json", "out", "results", "scheduler")
table_option = inputs.file_option(
    "--out", help="Write a table of the neurons here (.csv or .parquet)."
)


def measured(repeats: int, help: str) -> inputs.Option:
    """Return the options of experiments that show their videos several times."""
    options = (
        inputs.scheduler_option("videos"),
        table_option,
        inputs.folder_option(
            "--results", help="Keep the responses here (.zarr); a stopped experiment goes on there."
        ),
        click.option("--repeats", default=repeats, type=inputs.COUNT, help=help),
    )

    def decorate(run: Callable[..., None]) -> Callable[..., None]:
        decorated = experiment_options(run)
        for option in options:
            decorated = option(decorated)
        return decorated

    return decorate


def _median_row(name: str, values: "np.ndarray", unit: str = "index") -> dict[str, Any]:
    """Return the median over the neurons whose value is known."""
    import numpy as np

    known = values[np.isfinite(values)]
    median = float(np.median(known)) if len(known) else None
    return {"name": name, "value": median, "unit": unit, "n": len(known)}


def _write(out: Path | None, columns: "Mapping[str, np.ndarray]") -> None:
    if out is not None:
        from omnimouse_model.storage.tables import write_table

        write_table(out, columns)


# -- tuning, fields and levels --------------------------------------------------------
@command.command(
    "directions", short_help="Direction and orientation tuning, from gratings or noise."
)
@click.option(
    "--stimulus", default="gratings",
    type=click.Choice(["gratings", "pink-noise"]),
)  # fmt: skip
@click.option(
    "--directions", "n_directions", default=16,
    type=click.IntRange(min=4), help="Directions of motion.",
)  # fmt: skip
@measured(9, "Videos of each direction; periods and speeds of gratings take turns.")
def directions(run: Run, stimulus: str, **settings: int) -> None:
    """Show moving gratings or noise to MODEL and report the tuning of all neurons.

    Of a simulated session, the preferred orientations are compared with the true ones.
    """
    import numpy as np

    from omnimouse_model.lab.experiments import TUNED

    name = "noise" if stimulus == "pink-noise" else "directions"
    found, columns = run.measure(name, **settings)
    osi, dsi = columns["osi"], columns["dsi"]
    is_tuned, is_known = osi > TUNED, np.isfinite(osi)
    rows = [_median_row("median_osi", osi), _median_row("median_dsi", dsi)]
    rows.append(
        {
            "name": f"osi_above_{TUNED}",
            "value": float(is_tuned[is_known].mean()) if is_known.any() else None,
            "unit": "share",
        }
        | {"n": int(is_tuned.sum())}
    )
    if "orientation_error_deg" in columns:
        error = columns["orientation_error_deg"]
        of_tuned = np.where(is_tuned, error, np.nan)
        rows.append(_median_row("median_orientation_error", of_tuned, "deg"))
        rows.append(_median_row("median_orientation_error_of_all", error, "deg"))
    rows += _learned_places(run.predictor, run.recording, columns)
    run.report(rows, found, columns)


def _learned_places(
    predictor: "Predictor", recording: "Session", columns: "dict[str, np.ndarray]"
) -> list[dict[str, Any]]:
    """Add the places that a model reads, and compare them with the truth."""
    import numpy as np

    from omnimouse_model.analysis.barcodes import learned_neurons
    from omnimouse_model.lab.experiments import errors_of, frame_size

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
    return [_median_row("median_position_error", error, "monitor widths")]


@command.command("fields", short_help="Receptive fields, from flashed dots.")
@click.option(
    "--stimulus", default="dots", type=click.Choice(list(FIELD_STIMULI)),
    help="White or black dots, or squares of sparse noise.",
)  # fmt: skip
@measured(2, "Flashes of a dot at each of 135 places; minutes of sparse noise.")
def fields(run: Run, stimulus: str, repeats: int) -> None:
    """Flash dots or squares to MODEL and report the receptive fields of all neurons.

    Of a simulated session, the places are compared with the true ones.
    """
    found, columns = run.measure(FIELD_STIMULI[stimulus], repeats=repeats)
    rows = [_median_row("median_ssi", columns["ssi"])]
    if "field_error_widths" in columns:
        error = columns["field_error_widths"]
        rows.append(_median_row("median_field_error", error, "monitor widths"))
    run.report(rows, found, columns)


@command.command("levels", short_help="Tuning to period, frequency, contrast or size of gratings.")
@click.argument("quantity", type=click.Choice(LEVELS))
@measured(2, "Videos of each level and direction.")
def levels(run: Run, quantity: str, repeats: int) -> None:
    """Show gratings of different QUANTITY and report what each neuron prefers.

    period: degrees per cycle; frequency: Hz; contrast; size: diameter of a disc around
    the centre of the monitor, in degrees.
    """
    import numpy as np

    found, columns = run.measure(quantity, repeats=repeats)
    values, curves = found.findings.levels, found.findings.curves
    assert values is not None
    assert curves is not None
    columns |= {f"response_{level:g}": curves[:, k] for k, level in enumerate(values)}
    name = found.experiment.value
    rows = [_median_row(f"median_{name}", columns[name], name.split("_")[-1])]
    relative = curves / np.maximum(curves.max(axis=1, keepdims=True), 1e-9)
    rows += [
        _median_row(f"relative_response_{level:g}", relative[:, k], "share")
        for k, level in enumerate(values)
    ]
    run.report(rows, found, columns)


# -- recorded tuning ------------------------------------------------------------------
def _pairs(ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    """Return columns and values of texts such as `contrast=0.8`."""
    for text in texts:
        if "=" not in text:
            raise click.BadParameter(f"{text!r} is not COLUMN=VALUE.")
    return dict(text.split("=", 1) for text in texts)


@command.command("recorded", short_help="Recorded tuning beside that of the model.")
@click.argument("stimulus", type=click.Choice(["directions", "dots"]))
@click.option(
    "--column", "names", multiple=True, metavar="NAME",
    help="Trial column of the direction; for dots twice: vertical, then horizontal.",
)  # fmt: skip
@click.option(
    "--zero-deg", default=0.0,
    help="Direction of motion of the stored angle 0: 0 right, 90 up.",
)  # fmt: skip
@click.option("--clockwise", is_flag=True, help="Stored angles increase clockwise.")
@click.option(
    "--unit", type=click.Choice(["px", "deg"]),
    help="Unit of the places of dots, if no name of a column tells it.",
)  # fmt: skip
@click.option(
    "--lag", "lag_s", default=0.0,
    help="Delay of the responses in seconds.",
)  # fmt: skip
@click.option("--tier", help="Use the trials of one tier, such as test.")
@click.option(
    "--where", multiple=True, metavar="COLUMN=VALUE", callback=_pairs,
    help="Use the trials with this value. May be repeated.",
)  # fmt: skip
@click.option(
    "--behavior", type=click.Choice(["hidden", "visible"]), default="hidden",
    help="Whether the model sees the recorded behaviour.",
)  # fmt: skip
@click.option(
    "--in-silico", is_flag=True,
    help="Show the laboratory's gratings or dots to the model, not the recorded video.",
)  # fmt: skip
@click.option(
    "--dots", "colour", type=click.Choice(["white", "black"]),
    help="Dots of --in-silico; by default as in the recorded frames, else white.",
)  # fmt: skip
@table_option
@experiment_options
def recorded(
    run: Run,
    stimulus: str,
    names: tuple[str, ...],
    zero_deg: float,
    clockwise: bool,
    unit: Any,
    lag_s: float,
    tier: str | None,
    where: dict[str, str],
    behavior: Any,
    in_silico: bool,
    colour: str | None,
) -> None:
    """Compare the recorded tuning to directions, or places of fields, with MODEL.

    What was shown in each trial is read from the trial table. MODEL sees the recorded
    video, and all responses are hidden. Predicted tuning is a property of the model.
    """
    import numpy as np

    from omnimouse_model.lab.recorded_trials import dots_are_black, place_trials
    from omnimouse_model.lab.recorded_tuning import compare_directions, compare_places

    settings: dict[str, Any] = {
        "lag_s": lag_s, "tier": tier, "where": where, "behavior": behavior,
        "seed": run.seed,
    }  # fmt: skip
    compare: Callable[..., RecordedComparison]
    if stimulus == "directions":
        if len(names) > 1:
            raise click.UsageError("Directions are read from one --column.")
        settings["column"] = names[0] if names else None
        settings |= {"zero_deg": zero_deg, "is_clockwise": clockwise}
        compare, experiment = compare_directions, "directions"
    else:
        if len(names) not in (0, 2):
            raise click.UsageError(
                "Places of dots are read from two columns: --column VERTICAL --column HORIZONTAL."
            )
        places: Any = names or None
        settings |= {"place_columns": places, "unit": unit}
        compare = compare_places
        if in_silico and colour is None:
            trials = place_trials(run.recording, places, unit, tier=tier, where=where)
            colour = "black" if dots_are_black(run.recording, trials) else "white"
        experiment = "black_fields" if colour == "black" else "fields"
    model: Predictor | ExperimentResult = run.predictor
    if in_silico:
        model, _ = run.measure(experiment)
    with stoppable(NOTHING, "windows") as job:
        found = compare(model, run.recording, job=job, **settings)
    _write(
        run.out, {"neuron": found.neurons, "unit_id": run.recording.units.names, **found.columns}
    )
    for note in found.notes:
        echo(note, err=True)
    about = found.about
    predictor, shown = about["predictor"], about["stimulus"]
    if about.get("experiment") in ("fields", "black_fields"):
        shown = ("black " if about["experiment"] == "black_fields" else "white ") + shown
    rows = [asdict(value) | {"predictor": predictor} for value in found.summary]
    for row in rows:
        if not np.isfinite(row["value"]):
            row["reason"] = "too few neurons with a recorded and a predicted value"
    emit(
        rows,
        as_json=run.as_json,
        title=f"{about['n_trials']} recorded trials beside {shown} shown to "
        f"{predictor}, session {run.recording.id}",
        columns=_shown(rows, "name", "value", "low", "high", "unit", "n"),
    )


# -- most exciting inputs and barcodes ------------------------------------------------
@command.command("exciting", short_help="The input to which neurons respond most.")
@click.argument("neurons", metavar="UNITS...", nargs=-1, type=int, required=True)
@inputs.folder_option("--out", required=True, help="Write pictures and arrays here.")
@click.option("--video", "is_video", is_flag=True, help="A video, not an image.")
@click.option("--inhibiting", is_flag=True, help="The weakest response instead.")
@click.option("--steps", default=20, type=inputs.COUNT)
@click.option(
    "--starts", default=2, type=inputs.COUNT,
    help="Searches from different noise; their agreement is reported.",
)  # fmt: skip
@experiment_options
def exciting(
    run: Run, neurons: tuple[int, ...], is_video: bool, inhibiting: bool, steps: int, starts: int
) -> None:
    """Search the input to which UNITS (ids of neurons, `unit_id`) respond most, on average.

    MODEL must offer the gradient of its responses, as digital twins do.
    """
    import numpy as np

    from omnimouse_model.errors import ExportError
    from omnimouse_model.lab.exciting_search import (
        SEARCH,
        film_module,
        search_starts,
        write_exciting,
    )

    if is_video:
        try:
            film_module()  # before a search of minutes, not after it
        except ExportError as error:
            raise click.UsageError(f"--video: {error}") from None
    recording, seed, out = run.recording, run.seed, run.out
    assert out is not None
    ids = np.asarray(recording.units.names)
    unknown = sorted(set(neurons) - set(ids.tolist()))
    if unknown:
        raise click.UsageError(f"Session {recording.id} has no unit {unknown[0]} (unit_id).")
    chosen = np.flatnonzero(np.isin(ids, neurons))
    settings = replace(SEARCH, is_static=not is_video, temperature=-0.5 if inhibiting else 0.5)
    with stoppable(NOTHING, "steps") as job:
        seeds = range(seed, seed + starts)
        found = search_starts(
            run.predictor, recording, chosen, settings, n_steps=steps, seeds=seeds, job=job
        )
    paths = write_exciting(found, out)
    rows: list[dict[str, Any]] = [
        {"name": "response_to_grey", "value": found.gray_response, "unit": "s.d."},
        {"name": "response_at_best", "value": found.best_response, "unit": "s.d."},
        {"name": "agreement_of_starts", "value": found.agreement, "unit": "r"},
        *({"name": "file", "value": str(path), "unit": ""} for path in paths),
    ]
    run.show(
        [row | {"n": len(chosen)} for row in rows],
        f"{starts} searches of {steps} steps in {run.predictor.predictor_id}",
    )


@command.command(
    "barcodes", short_help="A label of the neurons, from what a model has learned of them."
)
@click.option(
    "--label", default="area",
    help="Column of the neuron table, also one of --unit-tables.",
)  # fmt: skip
@click.option(
    "--folds", default=10, type=click.IntRange(min=2),
    help="Outer and inner folds.",
)  # fmt: skip
@experiment_options
def barcodes(run: Run, label: str, folds: int) -> None:
    """Predict a LABEL of the neurons, such as the area, from what MODEL has learned.

    Nested cross-validation; with shuffled labels as control, and, where depths are
    known, a likelihood-ratio test of barcodes beyond the depth.
    """
    from omnimouse_model.analysis.barcodes import learned_neurons
    from omnimouse_model.lab.barcode_decoding import decode_barcodes

    recording = run.recording
    with stoppable(NOTHING, "folds") as job:
        learned = learned_neurons(run.predictor, recording, job.cancelled)
        found = decode_barcodes(learned, recording, label, folds=folds, seed=run.seed, job=job)
    rows: list[dict[str, Any]] = [
        {"name": "balanced_accuracy", "value": found.found.balanced_accuracy},
        {
            "name": "balanced_accuracy_shuffled",
            "value": found.shuffled.balanced_accuracy,
        },
        {"name": "chance", "value": found.chance},
    ]
    rows += [
        {"name": f"recall_{name}", "value": float(found.found.confusion[k, k])}
        for k, name in enumerate(found.found.classes)
    ]
    n = found.n_neurons
    rows = [row | {"unit": "share", "n": n} for row in rows]
    if found.beyond_depth is not None:
        p_value = found.beyond_depth.p_value
        rows.append({"name": "beyond_depth", "value": p_value, "unit": "p", "n": n})
    run.show(rows, f"{label} from barcodes of {found.predictor_id}, {run.recording.id}")
