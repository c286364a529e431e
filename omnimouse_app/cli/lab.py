"""`omnimouse lab`: experiments on a model that sees video."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omnimouse_app.cli.inputs import (
    device_option,
    file_option,
    json_option,
    named_session,
    reading_options,
    threads_option,
)
from omnimouse_app.cli.interrupt import exit_stopped, interruptible
from omnimouse_app.cli.output import emit
from omnimouse_app.cli.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from omnimouse_model.data.session import Session
    from omnimouse_model.lab.trial_responses import ModelDirections

TUNED = 0.3
"""OSI above which a neuron counts as tuned."""


@click.group("lab")
def command() -> None:
    """Run experiments on a model. They describe the model, not the animal."""


@command.command("directions")
@click.option("--model", default="twin-demo", show_default=True, help="A predictor.")
@click.option("--session", default="demo", show_default=True, help="A session.")
@click.option(
    "--directions", "n_directions", default=16, show_default=True,
    type=click.IntRange(min=4), help="Directions of the gratings.",
)  # fmt: skip
@click.option(
    "--repeats", default=9, show_default=True, type=click.IntRange(min=1),
    help="Trials of each direction; periods and speeds take turns.",
)  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True)
@file_option("--out", help="Write a table of the neurons here (.csv).")
@device_option
@threads_option()
@json_option
@reading_options
def directions(
    model: str,
    session: str,
    n_directions: int,
    repeats: int,
    seed: int,
    out: Path | None,
    device: str,
    as_json: bool,
    reading: dict[str, Any],
) -> None:
    """Show drifting gratings to MODEL and report the tuning of all neurons.

    Of a simulated session, the preferred orientations are compared with the true ones.
    """
    from omnimouse_model.analysis.barcodes import learned_neurons
    from omnimouse_model.errors import StoppedError
    from omnimouse_model.lab.stimuli import drifting_gratings
    from omnimouse_model.lab.trial_responses import directions_of, trial_responses
    from omnimouse_model.predict.registry import load_predictor

    recording = named_session(session, **reading)
    predictor = load_predictor(model, device=device)
    video = predictor.needs.spec.video
    size = (36, 64) if video is None else (video.height, video.width)
    trials = drifting_gratings(size, n_directions, repeats, seed=seed)
    with interruptible() as stop, Progress() as line:
        try:
            responses = trial_responses(
                predictor,
                recording,
                trials,
                progress=partial(line, text="trials"),
                cancelled=lambda: stop.is_received,
            )
        except StoppedError:
            exit_stopped("nothing was written.")
    tuning = directions_of(responses, trials.values)
    learned = learned_neurons(predictor, recording)
    columns = _columns(recording, tuning, learned.positions, size)
    if out is not None:
        _write(out, columns)
    emit(
        _summary(columns, str(predictor.predictor_id)),
        as_json=as_json,
        title=f"{len(trials)} gratings shown to {predictor.predictor_id}, "
        f"session {recording.id}",
        columns=("name", "value", "unit", "n"),
    )


def _columns(
    recording: "Session",
    tuning: "ModelDirections",
    positions: "np.ndarray | None",
    size: tuple[int, int],
) -> "dict[str, np.ndarray]":
    """Return the columns of the table of neurons; with the truth, if it is known.

    `positions` are the places that a model reads, as shares of a frame of some size.
    """
    import numpy as np

    from omnimouse_model.simulate.truth import has_truth, open_truth

    columns = {
        "neuron": np.arange(recording.n_neurons),
        "unit_id": np.asarray(recording.units.names),
        "osi": tuning.osi,
        "dsi": tuning.dsi,
        "orientation_deg": tuning.orientation_deg,
        "preferred_deg": tuning.preferred_deg,
    }
    places = None if positions is None else positions * size
    if places is not None:
        columns |= {"row_px": places[:, 0], "column_px": places[:, 1]}
    if recording.format == "experanto" and has_truth(recording.path):
        truth = open_truth(recording.path).tuning
        angle = truth["direction"]
        # The wave vector points against the preferred motion, and rows count downwards.
        true = np.degrees(np.pi - angle) % 360
        error = np.abs((tuning.orientation_deg - true + 90) % 180 - 90)
        columns |= {"true_preferred_deg": true, "orientation_error_deg": error}
        if places is not None:
            away = np.hypot(*(places - truth["centre_yx"]).T) / size[1]
            columns["position_error_widths"] = away
    return columns


def _summary(
    columns: "Mapping[str, np.ndarray]", predictor: str
) -> "list[dict[str, Any]]":
    """Return medians over neurons, and over those that are tuned."""
    import numpy as np

    is_tuned = columns["osi"] > TUNED
    rows = [
        {"name": f"median_{name}", "value": float(np.nanmedian(columns[name]))}
        | {"unit": "index", "n": len(is_tuned)}
        for name in ("osi", "dsi")
    ]
    rows.append(
        {"name": f"osi_above_{TUNED}", "value": float(is_tuned.mean()), "unit": "share"}
        | {"n": int(is_tuned.sum())}
    )
    if "orientation_error_deg" in columns and is_tuned.any():
        error = float(np.median(columns["orientation_error_deg"][is_tuned]))
        rows.append(
            {"name": "median_orientation_error", "value": error, "unit": "deg"}
            | {"n": int(is_tuned.sum())}
        )
    if "position_error_widths" in columns:
        error = float(np.median(columns["position_error_widths"]))
        rows.append(
            {"name": "median_position_error", "value": error, "unit": "monitor widths"}
            | {"n": len(is_tuned)}
        )
    return [row | {"predictor": predictor} for row in rows]


def _write(path: Path, columns: "Mapping[str, np.ndarray]") -> None:
    import csv

    from omnimouse_model.atomic import atomic_path

    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
