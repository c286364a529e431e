"""`omnimouse fit`: train a small model of a family on one recording."""

from pathlib import Path
from typing import Any

import click

from omnimouse_app.cli.inputs import (
    device_option,
    folder_option,
    json_option,
    named_session,
    options_text,
    reading_options,
    threads_option,
)
from omnimouse_app.cli.output import emit
from omnimouse_app.cli.progress import Progress, TrainingProgress, exit_stopped, interruptible


@click.command("fit")
@click.argument("name")
@click.argument("session")
@folder_option(
    "--out",
    required=True,
    help="Folder of the run and its result; a run that it contains continues.",
)
@click.option("--steps", type=click.IntRange(min=0), help="Stop after this many steps.")
@click.option("--seed", type=int, default=0, show_default=True)
@device_option
@threads_option()
@json_option
@reading_options
def command(
    name: str,
    session: str,
    out: Path,
    as_json: bool,
    reading: dict[str, Any],
    **settings: Any,
) -> None:
    """Train the small config of NAME, a family or one of its models, on SESSION.

    NAME may also be a training config. Ctrl-C saves and ends after the current step. The
    same command continues, also after a kill.
    """
    from omnimouse_model.analysis.fit import fit
    from omnimouse_model.errors import StoppedError

    recording = named_session(session, **reading)
    with interruptible() as stop:
        training = TrainingProgress(Progress())

        def show_step(step: int, row: dict[str, float]) -> None:
            stop.has_results = True
            training(row)

        try:
            job = stop.job(training.show_other)
            fitted = fit(name, recording, out, on_step=show_step, job=job, **settings)
        except StoppedError:
            exit_stopped(f"saved in {out}: the same command continues.")
    training.finish()
    row = {
        "name": "predictor",
        "value": fitted.needs.n_neurons.get(recording.id, recording.n_neurons),
        "unit": "neurons",
        "predictor": fitted.predictor_id,
        "session": recording.id,
        "out": str(out),
    }
    text = (
        f"{fitted.predictor_id} knows {recording.id}. To use it: omnimouse app "
        f'{session}{options_text(reading)} --model {out}, or om.load_predictor("{out}")'
    )
    emit([row], as_json=as_json, text=text)
