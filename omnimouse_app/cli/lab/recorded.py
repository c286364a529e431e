"""`omnimouse lab recorded`: recorded tuning beside that of the model."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omnimouse_app.cli.interrupt import interruptible
from omnimouse_app.cli.lab.experiment import (
    experiment_options,
    run_on_model,
    table_option,
)
from omnimouse_app.cli.output import echo, emit
from omnimouse_app.cli.progress import Progress
from omnimouse_model.progress import CallbackJob

if TYPE_CHECKING:
    from omnimouse_model.data.session import Session
    from omnimouse_model.lab.experiments import ExperimentResult
    from omnimouse_model.lab.recorded.comparison import RecordedComparison
    from omnimouse_model.predict.predictor import Predictor

COLUMNS = ("name", "value", "low", "high", "unit", "n")


def _pairs(ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    """Return columns and values of texts such as `contrast=0.8`."""
    for text in texts:
        if "=" not in text:
            raise click.BadParameter(f"{text!r} is not COLUMN=VALUE.")
    return dict(text.split("=", 1) for text in texts)


@click.command("recorded")
@click.argument("stimulus", type=click.Choice(["directions", "dots"]))
@click.option(
    "--column", "names", multiple=True, metavar="NAME",
    help="Trial column of the direction; for dots twice: vertical, then horizontal.",
)  # fmt: skip
@click.option(
    "--zero-deg", default=0.0, show_default=True,
    help="Direction of motion of the stored angle 0: 0 right, 90 up.",
)  # fmt: skip
@click.option("--clockwise", is_flag=True, help="Stored angles increase clockwise.")
@click.option(
    "--unit", type=click.Choice(["px", "deg"]),
    help="Unit of the places of dots, if no name of a column tells it.",
)  # fmt: skip
@click.option(
    "--lag", "lag_s", default=0.0, show_default=True,
    help="Delay of the responses in seconds.",
)  # fmt: skip
@click.option("--tier", help="Use the trials of one tier, such as test.")
@click.option(
    "--where", multiple=True, metavar="COLUMN=VALUE", callback=_pairs,
    help="Use the trials with this value. May be repeated.",
)  # fmt: skip
@click.option(
    "--behavior", type=click.Choice(["hidden", "visible"]), default="hidden",
    show_default=True, help="Whether the model sees the recorded behaviour.",
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
def command(
    recording: "Session",
    predictor: "Predictor",
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
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Compare the recorded tuning to directions, or places of fields, with MODEL.

    What was shown in each trial is read from the trial table. MODEL sees the recorded
    video, and all responses are hidden. Predicted tuning is a property of the model.
    """
    from omnimouse_model.lab.recorded.directions import compare_directions
    from omnimouse_model.lab.recorded.dot_colour import dots_are_black
    from omnimouse_model.lab.recorded.places import compare_places
    from omnimouse_model.lab.recorded.trials import place_trials

    settings: dict[str, Any] = {
        "lag_s": lag_s, "tier": tier, "where": where, "behavior": behavior,
        "seed": seed,
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
            trials = place_trials(recording, places, unit, tier=tier, where=where)
            colour = "black" if dots_are_black(recording, trials) else "white"
        experiment = "black_fields" if colour == "black" else "fields"
    model: Predictor | ExperimentResult = predictor
    if in_silico:
        model, _ = run_on_model(experiment, predictor, recording, None, seed=seed)
    with interruptible(), Progress() as line:
        found = compare(
            model,
            recording,
            job=CallbackJob(lambda done, of, _: line(done, of, "windows")),
            **settings,
        )
    _report(found, recording, out, as_json=as_json)


def _report(
    found: "RecordedComparison",
    recording: "Session",
    out: Path | None,
    *,
    as_json: bool,
) -> None:
    """Print the summary and what limits it, and write the table of neurons."""
    if out is not None:
        from omnimouse_model.storage.tables import write_table

        names = recording.units.names
        columns = {"neuron": found.neurons, "unit_id": names, **found.columns}
        write_table(out, columns)
    for note in found.notes:
        echo(note, err=True)
    about = found.about
    predictor, shown = about["predictor"], about["stimulus"]
    if about.get("experiment") in ("fields", "black_fields"):
        shown = ("black " if about["experiment"] == "black_fields" else "white ") + shown
    emit(
        [asdict(value) | {"predictor": predictor} for value in found.summary],
        as_json=as_json,
        title=f"{about['n_trials']} recorded trials beside {shown} shown to "
        f"{predictor}, session {recording.id}",
        columns=COLUMNS,
    )
