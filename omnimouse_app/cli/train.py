"""`omnimouse train`: run or resume a training config."""

import contextlib
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from omnimouse_app.cli.inputs import (
    device_option,
    file_option,
    folder_option,
    threads_option,
)
from omnimouse_app.cli.interrupt import STOPPED, exit_stopped, interruptible
from omnimouse_app.cli.progress import Progress, TrainingProgress
from omnimouse_model.errors import StoppedError

if TYPE_CHECKING:
    from omnimouse_model.train.batches import TrainingSession
    from omnimouse_model.train.config import TrainConfig
    from omnimouse_model.train.distributed import Team


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
    help="Folder of the simulated training mice; missing ones are generated. "
    "[default: the cache]",
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
@click.option(
    "--compile", "is_compiled", is_flag=True, help="Compile the blocks of the network."
)
@device_option
@threads_option()
@file_option(
    "--export", help="Write the averaged weights here (.safetensors) at the end."
)
@folder_option(
    "--official",
    help="Write rank_*.ckpt, the format of the released models, here at the end.",
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
    official: Path | None,
) -> None:
    """Train CONFIG: the name of a shipped config, or a YAML file of the same form.

    Ctrl-C saves and ends after the current step; before the first step it ends at
    once. The same command continues, also after a kill. Under torchrun
    (torchrun --nproc-per-node N -m omnimouse_app train …) N processes share the
    sessions and train one core.
    """
    from omnimouse_model.locking import sole_writer
    from omnimouse_model.predict.omnimouse.loading import resolve_device
    from omnimouse_model.train.config import config_path, read_config
    from omnimouse_model.train.distributed import joined, local_device
    from omnimouse_model.train.loop import train, with_epochs

    settings = _adjusted(read_config(config_path(config)), places, accumulate)
    settings = replace(settings, compile=settings.compile or is_compiled)
    place = local_device(resolve_device(device))
    with interruptible() as stop, joined(place) as team, ExitStack() as locks:
        # Until the results are written, which are read from the run.
        if team.is_main:
            locks.enter_context(sole_writer(out))
        sessions = _open_sessions(mice, settings, team)
        # A config may state epochs; their number of steps depends on the opened
        # sessions.
        settings = with_epochs(settings, sessions, team)
        progress = TrainingProgress(Progress(), settings.total_steps)

        def on_step(step: int, facts: dict[str, float]) -> None:
            # After the first step, there is something to save.
            stop.has_results = True
            if team.is_main:
                progress(facts)

        train(
            settings,
            sessions,
            out,
            device=place,
            team=team,
            max_steps=steps,
            on_step=on_step,
            cancelled=lambda: stop.is_received,
        )
        # Only the main process writes results and messages.
        if not team.is_main:
            sys.exit(STOPPED if stop.is_received else 0)
        progress.finish()
        with contextlib.suppress(StoppedError):  # reported below
            _write_results(
                out, settings, export, official, mice, lambda: stop.is_received
            )
    if stop.is_received:
        exit_stopped(f"saved in {out}: the same command continues.")
    click.echo(f"trained; the weights are in {out / 'model.safetensors'}", err=True)


def _adjusted(
    settings: "TrainConfig", places: tuple[Path, ...], accumulate: int | None
) -> "TrainConfig":
    """Return the config with the changes of the command line, its sessions checked.

    Raises
    ------
    click.BadParameter
        A place contains no session, a mouse is unknown, or there is no session.
    """
    from omnimouse_model.train.config import SessionChoice
    from omnimouse_model.train.sessions import check_mouse, sessions_in

    try:
        if places:
            folders = [folder for place in places for folder in sessions_in(place)]
            sessions = tuple(SessionChoice(str(folder)) for folder in folders)
            settings = replace(settings, sessions=sessions)
        for choice in settings.sessions:
            check_mouse(choice.mouse)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    # The same effective batch on a smaller device.
    if accumulate:
        phases = tuple(replace(p, accumulate=accumulate) for p in settings.phases)
        settings = replace(settings, phases=phases)
    if not settings.sessions:
        raise click.BadParameter(
            "The config names no sessions: give --sessions FOLDER."
        )
    return settings


def _open_sessions(
    mice: Path | None, settings: "TrainConfig", team: "Team"
) -> "list[TrainingSession]":
    """Open the sessions of this process; missing mice are simulated once for all."""
    from omnimouse_model.train.batches import open_training_session
    from omnimouse_model.train.sessions import session_place

    own = team.share_of(settings.sessions)
    if team.is_main:
        for choice in settings.sessions:
            session_place(choice.mouse, mice, partial(click.echo, err=True))
    # The other processes open the mice only after the main one has simulated them.
    team.wait()
    return [
        open_training_session(session_place(choice.mouse, mice), choice)
        for choice in own
    ]


def _write_results(
    out: Path,
    settings: "TrainConfig",
    export: Path | None,
    official: Path | None,
    mice: Path | None,
    cancelled: Callable[[], bool],
) -> None:
    if export is not None:
        from omnimouse_model.train.export.checkpoint import export_run

        with Progress() as line:
            show = partial(line.show_share, text="fitting the context part")
            path = export_run(out, export, settings, mice, show, cancelled)
        click.echo(f"wrote {path}")
    if official is not None:
        from omnimouse_model.train.export.official import write_official

        for path in write_official(out, official, settings):
            click.echo(f"wrote {path}")
