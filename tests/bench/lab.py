"""`omnimouse bench lab`: experiments of the laboratory on a model, and their errors."""

import os
from functools import partial
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click

from omnimouse_app.cli.inputs import device_option, named_session, threads_option
from omnimouse_model.lab.experiments import TUNED
from tests.bench.benchmark import Row, benchmark

if TYPE_CHECKING:
    from omnimouse_model.data.session import Session
    from omnimouse_model.predict.predictor import Predictor

BUDGET_S = {"directions": 60.0, "exciting image": 20.0}
"""Budgets on two cores with the demo models."""
REPEATS = {"directions": 10, "fields": 2, "sparse_fields": 2}


@benchmark(
    "lab",
    title="Laboratory: experiments on {predictor}, {neurons:,} neurons",
    columns=("name", "median", "unit", "n", "bound", "windows", "error", "error_unit"),
    gflops=True,
)
@click.option("--model", default="twin-demo", show_default=True, help="Predictor.")
@click.option("--session", default="demo", show_default=True, help="A session.")
@click.option("--repeats", default=1, show_default=True, type=click.IntRange(min=1))
@threads_option(2)
@device_option
def command(model: str, session: str, repeats: int, device: str) -> list[Row]:
    """Time the tuning of all neurons, receptive fields, and an exciting image.

    `bound` is the budget on two cores; `windows` the number of predictions. Of a
    simulated session, `error` is the median error: of the axis of neurons with an OSI
    above 0.3, and of the place of the receptive field.
    """
    from omnimouse_model.inference.registry import load_predictor

    recording = named_session(session)
    predictor = load_predictor(model, [recording], device=device)
    shared: Row = {
        "predictor": str(predictor.predictor_id),
        "neurons": recording.n_neurons,
        "cores": os.cpu_count(),
        "unit": "s",
        "n": repeats,
    }
    runs = [(name, partial(_experiment, name, predictor, recording)) for name in REPEATS]
    if "stimulus_gradient" in predictor.needs.methods:
        runs.append(("exciting image", partial(_exciting, predictor, recording)))
    rows: list[Row] = []
    for name, run in runs:
        click.echo(f"{name} …", err=True)
        seconds, found = [], {}
        for _ in range(repeats):
            since = perf_counter()
            found = run()
            seconds.append(perf_counter() - since)
        timed = {"name": name, "median": median(seconds), "bound": BUDGET_S.get(name)}
        rows.append(shared | timed | found)
    return rows


def _experiment(name: str, predictor: "Predictor", recording: "Session") -> dict[str, Any]:
    """Run an experiment; return its number of windows, and its median error."""
    import numpy as np

    from omnimouse_model.lab.experiments import (
        errors_of,
        experiment_named,
        run_experiment,
        windows_of,
    )

    times = REPEATS[name]
    result = run_experiment(name, predictor, recording, repeats=times)
    columns = result.findings.columns
    errors = errors_of(columns, recording, result.size, result.neurons)
    spec = predictor.needs.spec
    found = {"windows": windows_of(experiment_named(name), spec, times)}
    if name == "directions" and errors:
        of_tuned = errors["orientation_error_deg"][columns["osi"] > TUNED]
        return found | {"error": float(np.median(of_tuned)), "error_unit": "deg"}
    if errors:
        error = float(np.nanmedian(errors["field_error_widths"]))
        return found | {"error": error, "error_unit": "monitor widths"}
    return found


def _exciting(predictor: "Predictor", recording: "Session") -> dict[str, Any]:
    """Search the image to which one neuron responds most, from one start."""
    import numpy as np

    from omnimouse_model.lab.exciting_search import search_starts

    search_starts(predictor, recording, np.array([0]), seeds=(0,))
    return {}
