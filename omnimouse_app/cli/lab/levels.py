"""`omnimouse lab levels`: tuning to levels of a quantity."""

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


LEVELS = ("period", "frequency", "contrast", "size")
"""Experiments with levels of a quantity."""


@click.command("levels")
@click.argument("quantity", type=click.Choice(LEVELS))
@click.option(
    "--repeats", default=2, show_default=True, type=click.IntRange(min=1),
    help="Videos of each level and direction.",
)  # fmt: skip
@results_option
@table_option
@workers_option
@experiment_options
def command(
    recording: "Session",
    predictor: "Predictor",
    quantity: str,
    repeats: int,
    seed: int,
    results: Path | None,
    out: Path | None,
    workers: Workers | None,
    as_json: bool,
) -> None:
    """Show gratings of different QUANTITY and report what each neuron prefers.

    period: degrees per cycle; frequency: Hz; contrast; size: diameter of a disc around
    the centre of the monitor, in degrees.
    """
    import numpy as np

    found, columns = run_on_model(
        quantity, predictor, recording, results, workers, repeats=repeats, seed=seed
    )
    levels, curves = found.findings.levels, found.findings.curves
    assert levels is not None
    assert curves is not None
    columns |= {f"response_{level:g}": curves[:, k] for k, level in enumerate(levels)}
    name = found.experiment.value
    rows = [median_row(f"median_{name}", columns[name], name.split("_")[-1])]
    relative = curves / np.maximum(curves.max(axis=1, keepdims=True), 1e-9)
    rows += [
        median_row(f"relative_response_{level:g}", relative[:, k], "share")
        for k, level in enumerate(levels)
    ]
    report(rows, columns, found, recording, out, as_json=as_json)
