"""`omnimouse lab fields`: receptive fields."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from omnimouse_app.cli.lab.experiment import (
    Workers,
    experiment_options,
    median_row,
    report,
    results_option,
    run_on_model,
    table_option,
    workers_option,
)

if TYPE_CHECKING:
    from omnimouse_model.data.session import Session
    from omnimouse_model.predict.predictor import Predictor

STIMULI = {
    "dots": "fields",
    "black-dots": "black_fields",
    "sparse-noise": "sparse_fields",
}
"""Experiment of each stimulus."""


@click.command("fields")
@click.option(
    "--stimulus", default="dots", show_default=True, type=click.Choice(list(STIMULI)),
    help="White or black dots, or squares of sparse noise.",
)  # fmt: skip
@click.option(
    "--repeats", default=2, show_default=True, type=click.IntRange(min=1),
    help="Flashes of a dot at each of 135 places; minutes of sparse noise.",
)  # fmt: skip
@results_option
@table_option
@workers_option
@experiment_options
def command(
    recording: "Session",
    predictor: "Predictor",
    stimulus: str,
    repeats: int,
    seed: int,
    results: Path | None,
    out: Path | None,
    workers: Workers | None,
    as_json: bool,
) -> None:
    """Flash dots or squares to MODEL and report the receptive fields of all neurons.

    Of a simulated session, the places are compared with the true ones.
    """
    found, columns = run_on_model(
        STIMULI[stimulus],
        predictor,
        recording,
        results,
        workers,
        repeats=repeats,
        seed=seed,
    )
    rows = [median_row("median_ssi", columns["ssi"])]
    if "field_error_widths" in columns:
        error = columns["field_error_widths"]
        rows.append(median_row("median_field_error", error, "monitor widths"))
    report(rows, columns, found, recording, out, as_json=as_json)
