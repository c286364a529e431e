"""`omnimouse train`: run or resume a training config."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from omnimouse_app.cli.inputs import device_option
from omnimouse_app.cli.output import Progress
from omnimouse_app.cli.stopping import STOPPED, Stopping, end_stopped, interruptible
from omnimouse_app.cli.train_report import TrainReport

if TYPE_CHECKING:
    from omnimouse_model.train.batches import TrainingSession
    from omnimouse_model.train.config import TrainConfig
    from omnimouse_model.train.distributed import Team


@click.command("train")
@click.argument("config")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder of the run; a run that is there already goes on.",
)
@click.option(
    "--sessions",
    "places",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    help="A session, or a folder of them, instead of the config's; may be repeated.",
)
@click.option(
    "--mice",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the simulated training mice; generated where they are missing. "
    "[default: the cache]",
)
@click.option(
    "--steps",
    type=click.IntRange(min=0),
    help="Stop after this many steps; resume later.",
)
@click.option(
    "--accumulate",
    type=click.IntRange(min=1),
    help="Batches that make one step, instead of the config's.",
)
@click.option("--compile", "compiles", is_flag=True, help="Compile the net's blocks.")
@device_option
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="CPU threads. [default: all cores]",
)
@click.option(
    "--export",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the averaged weights here (.safetensors) when done.",
)
@click.option(
    "--official",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write rank_*.ckpt, the form of the released models, here when done.",
)
def command(
    config: str,
    out: Path,
    places: tuple[Path, ...],
    mice: Path | None,
    steps: int | None,
    accumulate: int | None,
    compiles: bool,
    device: str,
    threads: int | None,
    export: Path | None,
    official: Path | None,
) -> None:
    """Train CONFIG: the name of a shipped config, or a YAML file of the same form.

    Ctrl-C ends after the step that runs and saves; before the first step it ends at
    once. The same command goes on from there, also after a kill. Under torchrun
    (torchrun --nproc-per-node N -m omnimouse_app train …) N processes share the
    sessions and train one core.
    """
    import torch

    from omnimouse_model.predict.omnimouse.loading import resolve_device
    from omnimouse_model.train.config import config_path, read_config
    from omnimouse_model.train.distributed import joined, local_device
    from omnimouse_model.train.loop import train, with_epochs

    if threads:
        torch.set_num_threads(threads)
    settings = _adjusted(read_config(config_path(config)), places, accumulate, compiles)
    place = local_device(resolve_device(device))
    with interruptible() as stopping, joined(place) as team:
        sessions = _open_sessions(mice, settings, team)
        settings = with_epochs(settings, sessions, team)
        report = TrainReport(Progress(), settings.total_steps)

        def on_step(step: int, facts: dict[str, float]) -> None:
            # After the first step, there is something to save.
            stopping.has_begun = True
            if team.is_main:
                report(facts)

        train(
            settings,
            sessions,
            out,
            device=place,
            team=team,
            max_steps=steps,
            on_step=on_step,
            cancelled=lambda: stopping.is_asked,
        )
        # Only the main process writes results and messages.
        if not team.is_main:
            sys.exit(STOPPED if stopping.is_asked else 0)
    report.finish()
    _write_results(out, settings, export, official)
    _end(stopping, out)


def _adjusted(
    settings: "TrainConfig",
    places: tuple[Path, ...],
    accumulate: int | None,
    compiles: bool,
) -> "TrainConfig":
    """Return the config with the changes of the command line, its sessions checked."""
    from omnimouse_model.train.config import SessionChoice

    if places:
        found = [folder for place in places for folder in _sessions_in(place)]
        chosen = tuple(SessionChoice(str(folder)) for folder in found)
        settings = replace(settings, sessions=chosen)
    if accumulate:
        phases = tuple(replace(p, accumulate=accumulate) for p in settings.phases)
        settings = replace(settings, phases=phases)
    if not settings.sessions:
        raise click.BadParameter(
            "The config names no sessions: give --sessions FOLDER."
        )
    for choice in settings.sessions:
        _check_mouse(choice.mouse)
    return replace(settings, compile=settings.compile or compiles)


def _sessions_in(place: Path) -> list[Path]:
    from omnimouse_model.train.sessions import sessions_in

    try:
        return sessions_in(place)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _check_mouse(name: str) -> None:
    from omnimouse_model.train.sessions import check_mouse

    try:
        check_mouse(name)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _open_sessions(
    mice: Path | None, settings: "TrainConfig", team: "Team"
) -> "list[TrainingSession]":
    """Open the sessions of this process; missing mice are simulated once for all."""
    from omnimouse_model.train.batches import open_training_session
    from omnimouse_model.train.sessions import session_place

    own = team.share_of(settings.sessions)
    if team.is_main:
        for choice in settings.sessions:
            session_place(choice.mouse, mice, lambda words: click.echo(words, err=True))
    # The other processes open the mice only after the main one has simulated them.
    team.wait()
    return [
        open_training_session(session_place(choice.mouse, mice), choice)
        for choice in own
    ]


def _write_results(
    out: Path, settings: "TrainConfig", export: Path | None, official: Path | None
) -> None:
    if export is not None:
        from omnimouse_model.train.export.checkpoint import export_run

        click.echo(f"wrote {export_run(out, export, settings)}")
    if official is not None:
        from omnimouse_model.train.export.official import write_official

        for path in write_official(out, official, settings):
            click.echo(f"wrote {path}")


def _end(stopping: Stopping, out: Path) -> None:
    """Print the result, or how to continue after a stop."""
    if stopping.is_asked:
        end_stopped(f"saved in {out}: the same command goes on from there.")
    click.echo(f"trained; the weights are in {out / 'model.safetensors'}", err=True)
