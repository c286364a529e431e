"""Options, run and report that the commands of the laboratory share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
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
    scheduler_option,
    threads_option,
)
from omnimouse_app.cli.interrupt import exit_stopped, interruptible
from omnimouse_app.cli.output import echo, emit
from omnimouse_app.cli.progress import Progress

if TYPE_CHECKING:
    import numpy as np

    from omnimouse_model.data.session import Session
    from omnimouse_model.lab.experiments import ExperimentResult
    from omnimouse_model.predict.predictor import Predictor

COLUMNS = ("name", "value", "unit", "n")


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

        out = others.get("out")
        # Before an experiment of minutes, not after it.
        if out is not None and not out.absolute().parent.is_dir():
            raise click.UsageError(f"--out: there is no folder {out.absolute().parent}")
        recording = named_session(session, **reading)
        run(recording, load_predictor(model, device=device), **others)

    decorated: Callable[..., None] = with_model
    return decorated


table_option = file_option("--out", help="Write a table of the neurons here (.csv or .parquet).")
results_option = folder_option(
    "--results",
    help="Keep the responses here (.zarr); a stopped experiment goes on there.",
)


@dataclass(frozen=True, slots=True)
class Workers:
    """Workers of a Dask scheduler, and the model that they load."""

    scheduler: str
    model: str
    device: str


def workers_option(run: Callable[..., None]) -> Callable[..., None]:
    """Add `--scheduler` to `experiment_options`, as `workers`; None without it."""

    @scheduler_option("videos")
    @wraps(run)
    def with_workers(model: str, device: str, scheduler: str | None, **others: Any) -> None:
        workers = None if scheduler is None else Workers(scheduler, model, device)
        run(model=model, device=device, workers=workers, **others)

    decorated: Callable[..., None] = with_workers
    return decorated


def run_on_model(
    name: str,
    predictor: "Predictor",
    recording: "Session",
    results: Path | None,
    workers: Workers | None = None,
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
    echo(f"{n_windows:,} predictions with {predictor.predictor_id} …", err=True)
    source: Predictor | str = predictor
    if workers is not None:
        # A loaded predictor cannot be sent.
        source = workers.model
        settings |= {"scheduler": workers.scheduler, "device": workers.device}
    with interruptible() as stop, Progress() as line:
        try:
            found = run_experiment(
                name,
                source,
                recording,
                results=results,
                job=stop.job(
                    lambda done, of, _: line(done, of, "videos"), saves=results is not None
                ),
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


def median_row(name: str, values: "np.ndarray", unit: str = "index") -> dict[str, Any]:
    """Return the median over the neurons whose value is known."""
    import numpy as np

    known = values[np.isfinite(values)]
    median = float(np.median(known)) if len(known) else None
    return {"name": name, "value": median, "unit": unit, "n": len(known)}


def report(
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
        from omnimouse_model.storage.tables import write_table

        write_table(out, columns)
    emit(
        [row | {"predictor": found.predictor_id} for row in rows],
        as_json=as_json,
        title=f"{found.stimulus.name} ({found.stimulus.n_videos} videos) shown to "
        f"{found.predictor_id}, session {recording.id}",
        columns=COLUMNS,
    )
