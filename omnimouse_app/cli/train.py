"""`omnimouse train`: run or resume a training config of any family."""

import contextlib
import sys
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omnimouse_app.cli.inputs import (
    device_option,
    folder_option,
    threads_option,
)
from omnimouse_app.cli.output import echo
from omnimouse_app.cli.progress import (
    STOPPED,
    Progress,
    TrainingProgress,
    exit_stopped,
    interruptible,
)
from omnimouse_model.errors import StoppedError

if TYPE_CHECKING:
    from omnimouse_model.data.session import Session
    from omnimouse_model.inference.families import TrainingPlan
    from omnimouse_model.training.distributed import Team


@click.command("train")
@click.argument("config")
@folder_option(
    "--out",
    required=True,
    help="Folder of the run; a run that it contains continues.",
)
@click.option(
    "--sessions",
    "places",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    help="Session or folder of sessions, instead of the config's. May be repeated.",
)
@folder_option(
    "--mice",
    help="Folder of the simulated training mice; missing ones are generated. [default: the cache]",
)
@click.option(
    "--steps",
    type=click.IntRange(min=0),
    help="Stop after this many steps; the same command continues.",
)
@click.option(
    "--accumulate",
    type=click.IntRange(min=1),
    help="Batches per step, instead of the config's.",
)
@click.option("--compile", "is_compiled", is_flag=True, help="Compile the blocks of the network.")
@device_option
@threads_option()
@click.option(
    "--export",
    type=click.Path(path_type=Path),
    help="Write the weights here at the end: a .safetensors file, or a folder for the "
    "format of the released models.",
)
def command(
    config: str,
    out: Path,
    places: tuple[Path, ...],
    mice: Path | None,
    steps: int | None,
    accumulate: int | None,
    is_compiled: bool,
    device: str,
    export: Path | None,
) -> None:
    """Train CONFIG: the name of a shipped config, or a YAML file of the same form.

    The family that a config names is what it trains. Ctrl-C saves and ends after the
    current step; before the first step it ends at once. The same command continues, also
    after a kill. Under torchrun (torchrun --nproc-per-node N -m omnimouse_app train …) N
    processes share the sessions and train one core.
    """
    from omnimouse_model.analysis.fit import run_steps
    from omnimouse_model.inference.families import families, training_plan
    from omnimouse_model.predict.devices import resolve_device
    from omnimouse_model.storage.write import sole_writer
    from omnimouse_model.training.distributed import joined, local_device

    changes: dict[str, Any] = {"accumulate": accumulate, "compile": is_compiled or None}
    plan = training_plan(config, {k: v for k, v in changes.items() if v is not None})
    family = families()[plan.family]
    if export is not None and family.export is None:
        raise click.BadParameter(f"{family.label} has no export: use the weights in --out.")
    plan = _with_choices(plan, places)
    with interruptible() as stop, ExitStack() as locks:
        team = locks.enter_context(joined(local_device(resolve_device(device))))
        # Until the results are written, which are read from the run.
        if team.is_main:
            locks.enter_context(sole_writer(out))
        plan, sessions = _opened(plan, mice, team)
        progress = TrainingProgress(Progress())

        def on_step(step: int, facts: dict[str, float]) -> None:
            # After the first step, there is something to save.
            stop.has_results = True
            if team.is_main:
                progress(facts)

        job = stop.job(progress.show_other)
        with contextlib.suppress(StoppedError):  # reported below
            run_steps(plan, sessions, out, job, steps, device=device, on_step=on_step)
        # Only the main process writes results and messages.
        if not team.is_main:
            sys.exit(STOPPED if stop.is_received else 0)
        progress.finish()
        if export is not None and family.export is not None and not stop.is_received:
            # The run is saved, so that a signal ends the export at once.
            stop.has_results = False
            with contextlib.suppress(KeyboardInterrupt):  # reported below
                family.export(out, export)
                echo(f"wrote {export}")
    if stop.is_received:
        exit_stopped(f"saved in {out}: the same command continues.")
    echo(f"trained; the weights are in {out}", err=True)


def _with_choices(plan: "TrainingPlan", places: tuple[Path, ...]) -> "TrainingPlan":
    """Return a plan with the sessions of the command line, else its own, checked.

    Raises
    ------
    click.BadParameter
        A place contains no session, a mouse is unknown, or there is no session.
    """
    from omnimouse_model.training.config import SessionChoice
    from omnimouse_model.training.sessions import check_mouse, sessions_in

    choices: tuple[SessionChoice, ...] = plan.settings.sessions
    try:
        if places:
            folders = [folder for place in places for folder in sessions_in(place)]
            choices = tuple(SessionChoice(str(folder)) for folder in folders)
        for choice in choices:
            check_mouse(choice.mouse)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    if not choices:
        raise click.BadParameter("The config names no sessions: give --sessions FOLDER.")
    settings = replace(plan.settings, sessions=choices, is_replaced=bool(places))
    return replace(plan, settings=settings)


def _opened(
    plan: "TrainingPlan", mice: Path | None, team: "Team"
) -> "tuple[TrainingPlan, list[Session]]":
    """Open the sessions of this process; missing mice are simulated once for all."""
    from omnimouse_model.data.open import open_session
    from omnimouse_model.training.sessions import session_place

    choices = plan.settings.sessions
    team.share_of(choices)  # refuses too many processes, before mice are simulated
    if team.is_main:
        for choice in choices:
            session_place(choice.mouse, mice, partial(echo, err=True))
    # The other processes open the mice only after the main one has simulated them.
    team.wait()
    places = [session_place(choice.mouse, mice).resolve() for choice in choices]
    settings = replace(plan.settings, places=tuple(map(str, places)))
    sessions = [open_session(place) for place in team.share_of(places)]
    return replace(plan, settings=settings), sessions
