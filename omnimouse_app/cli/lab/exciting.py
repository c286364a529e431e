"""`omnimouse lab exciting`: the input to which neurons respond most."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omnimouse_app.cli.inputs import folder_option
from omnimouse_app.cli.interrupt import exit_stopped, interruptible
from omnimouse_app.cli.lab.experiment import COLUMNS, experiment_options
from omnimouse_app.cli.output import emit
from omnimouse_app.cli.progress import Progress

if TYPE_CHECKING:
    from omnimouse_model.data.session import Session
    from omnimouse_model.predict.predictor import Predictor


@click.command("exciting")
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
def command(
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

    from omnimouse_model.errors import ExportError, StoppedError
    from omnimouse_model.lab.exciting_files import film_module, write_exciting
    from omnimouse_model.lab.exciting_search import SEARCH, search_starts

    if is_video:
        try:
            film_module()  # before a search of minutes, not after it
        except ExportError as error:
            raise click.UsageError(f"--video: {error}") from None
    ids = np.asarray(recording.units.names)
    unknown = sorted(set(neurons) - set(ids.tolist()))
    if unknown:
        raise click.UsageError(f"Session {recording.id} has no neuron {unknown[0]}.")
    chosen = np.flatnonzero(np.isin(ids, neurons))
    settings = replace(SEARCH, is_static=not is_video, temperature=-0.5 if inhibiting else 0.5)
    with interruptible() as stop, Progress() as line:
        try:
            found = search_starts(
                predictor,
                recording,
                chosen,
                settings,
                n_steps=steps,
                seeds=range(seed, seed + starts),
                job=stop.job(lambda done, of, _: line(done, of, "steps")),
            )
        except StoppedError:
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
