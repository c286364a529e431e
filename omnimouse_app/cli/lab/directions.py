"""`omnimouse lab directions`: direction and orientation tuning."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    import numpy as np

    from omnimouse_model.data.session import Session
    from omnimouse_model.predict.predictor import Predictor


TUNED = 0.3
"""OSI above which a neuron counts as tuned."""


@click.command("directions")
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
@workers_option
@experiment_options
def command(
    recording: "Session",
    predictor: "Predictor",
    stimulus: str,
    n_directions: int,
    repeats: int,
    seed: int,
    results: Path | None,
    out: Path | None,
    workers: Workers | None,
    as_json: bool,
) -> None:
    """Show moving gratings or noise to MODEL and report the tuning of all neurons.

    Of a simulated session, the preferred orientations are compared with the true ones.
    """
    import numpy as np

    name = "noise" if stimulus == "pink-noise" else "directions"
    found, columns = run_on_model(
        name,
        predictor,
        recording,
        results,
        workers,
        repeats=repeats,
        seed=seed,
        n_directions=n_directions,
    )
    osi, dsi = columns["osi"], columns["dsi"]
    is_tuned = osi > TUNED
    rows = [median_row("median_osi", osi), median_row("median_dsi", dsi)]
    rows.append(
        {"name": f"osi_above_{TUNED}", "value": float(is_tuned.mean()), "unit": "share"}
        | {"n": int(is_tuned.sum())}
    )
    if "orientation_error_deg" in columns:
        error = columns["orientation_error_deg"]
        of_tuned = np.where(is_tuned, error, np.nan)
        rows.append(median_row("median_orientation_error", of_tuned, "deg"))
        rows.append(median_row("median_orientation_error_of_all", error, "deg"))
    rows += _learned_places(predictor, recording, columns)
    report(rows, columns, found, recording, out, as_json=as_json)


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
    return [median_row("median_position_error", error, "monitor widths")]
