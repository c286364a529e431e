"""`omnimouse train`: run or resume a training config."""

import contextlib
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import click

from omnimouse_app.cli.inputs import (
    device_option,
    file_option,
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
from omnimouse_model.progress import Job

if TYPE_CHECKING:
    from omnimouse_model.training.config import SessionChoice
    from omnimouse_model.training.distributed import Team
    from omnimouse_model.training.sessions import TrainingSession


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
@file_option("--export", help="Write the averaged weights here (.safetensors) at the end.")
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

    The family of a config is what it trains: digital twins ("twin"), neural data
    transformers ("ndt"), Sensorium-2023 baselines ("sensorium_factorised"), or else
    OmniMouse. Ctrl-C saves and ends after the current step; before the first step it
    ends at once. The same command continues, also after a kill. Under torchrun
    (torchrun --nproc-per-node N -m omnimouse_app train …) N processes share the
    sessions and train one core.
    """
    from omnimouse_model.training.config import config_path, family_of_config

    path = config_path(config)
    family = _FAMILIES.get(family_of_config(path))
    run: TrainingCommand
    if family is not None:
        if accumulate or is_compiled or official:
            raise click.BadParameter(
                "--accumulate, --compile and --official are options of OmniMouse; "
                f"{config!r} trains {family.models}."
            )
        run = family(path, places, mice, export)
    else:
        run = OmniMouseTraining(path, places, mice, export, accumulate, is_compiled, official)
    _train(run, out, steps, device)


class TrainingCommand(Protocol):
    """The training of one family, as the command runs it."""

    @property
    def total_steps(self) -> int:
        """Number of steps of the whole run."""

    def open_sessions(self, team: "Team") -> None:
        """Open the sessions of this process; missing mice are simulated."""

    def train(self, out: Path, **options: Any) -> None:
        """Run the steps."""

    def write_results(self, out: Path, job: Job) -> None:
        """Write what the command line asked for."""


def _train(run: TrainingCommand, out: Path, steps: int | None, device: str) -> None:
    """Run a training with progress, and write its results."""
    from omnimouse_model.predict.devices import resolve_device
    from omnimouse_model.storage.locks import sole_writer
    from omnimouse_model.training.distributed import joined, local_device

    place = local_device(resolve_device(device))
    with interruptible() as stop, joined(place) as team, ExitStack() as locks:
        # Until the results are written, which are read from the run.
        if team.is_main:
            locks.enter_context(sole_writer(out))
        run.open_sessions(team)
        progress = TrainingProgress(Progress(), run.total_steps)

        def on_step(step: int, facts: dict[str, float]) -> None:
            # After the first step, there is something to save.
            stop.has_results = True
            if team.is_main:
                progress(facts)

        job = stop.job(progress.show_other)
        with contextlib.suppress(StoppedError):  # reported below
            run.train(out, device=place, team=team, max_steps=steps, on_step=on_step, job=job)
        # Only the main process writes results and messages.
        if not team.is_main:
            sys.exit(STOPPED if stop.is_received else 0)
        progress.finish()
        with contextlib.suppress(StoppedError):
            run.write_results(out, job)
    if stop.is_received:
        exit_stopped(f"saved in {out}: the same command continues.")
    echo(f"trained; the weights are in {out / 'model.safetensors'}", err=True)


class OmniMouseTraining:
    """A training of OmniMouse."""

    def __init__(
        self,
        path: Path,
        places: tuple[Path, ...],
        mice: Path | None,
        export: Path | None,
        accumulate: int | None,
        is_compiled: bool,
        official: Path | None,
    ) -> None:
        from omnimouse_model.families.omnimouse.training_config import read_config

        settings = read_config(path)
        choices = _choices(settings.sessions, places)
        if places:
            settings = settings.with_sessions(choices)
        settings = replace(settings, compile=settings.compile or is_compiled)
        # The same effective batch on a smaller device.
        if accumulate:
            phases = tuple(replace(p, accumulate=accumulate) for p in settings.phases)
            settings = replace(settings, phases=phases)
        self._settings, self._mice = settings, mice
        self._export, self._official = export, official
        self._sessions: list[TrainingSession] = []

    @property
    def total_steps(self) -> int:
        """Number of steps of the whole run."""
        return self._settings.total_steps

    def open_sessions(self, team: "Team") -> None:
        """Open the sessions of this process."""
        from omnimouse_model.families.omnimouse.training import with_epochs

        self._sessions = _open_sessions(self._mice, self._settings.sessions, team)
        # A config may state epochs; their number of steps depends on the sessions.
        self._settings = with_epochs(self._settings, self._sessions, team)

    def train(self, out: Path, **options: Any) -> None:
        """Run the steps."""
        from omnimouse_model.families.omnimouse.training import train

        train(self._settings, self._sessions, out, **options)

    def write_results(self, out: Path, job: Job) -> None:
        """Write the exports."""
        if self._export is not None:
            from omnimouse_model.analysis.export import export_run

            echo(f"wrote {export_run(out, self._export, self._settings, self._mice, job)}")
        if self._official is not None:
            from omnimouse_model.analysis.export import write_official

            for path in write_official(out, self._official, self._settings):
                echo(f"wrote {path}")


class FamilyTraining(ABC):
    """A training of another family, with the options that all families share."""

    models: ClassVar[str]

    def __init__(
        self,
        path: Path,
        places: tuple[Path, ...],
        mice: Path | None,
        export: Path | None,
    ) -> None:
        self._settings = self.read(path)
        choices = _choices(self._settings.sessions, places)
        self._settings = replace(self._settings, sessions=choices)
        self._mice, self._export = mice, export
        self._sessions: list[TrainingSession] = []

    @property
    def total_steps(self) -> int:
        """Number of steps of the whole run."""
        return int(self._settings.total_steps)

    def open_sessions(self, team: "Team") -> None:
        """Open the sessions of this process."""
        self._sessions = _open_sessions(self._mice, self._settings.sessions, team)

    @abstractmethod
    def train(self, out: Path, **options: Any) -> None:
        """Run the steps."""

    def write_results(self, out: Path, job: Job) -> None:
        """Write the exports."""
        if self._export is not None:
            echo(f"wrote {self.export(out, self._export)}")

    @staticmethod
    @abstractmethod
    def read(path: Path) -> Any:
        """Return the settings of a config."""

    @abstractmethod
    def export(self, out: Path, path: Path) -> Path:
        """Write the best weights of a run."""


class TwinTraining(FamilyTraining):
    """A training of digital twins."""

    models = "digital twins"

    @staticmethod
    def read(path: Path) -> Any:
        """Return the settings of a config."""
        from omnimouse_model.families.twin.training_config import read_twin_config

        return read_twin_config(path)

    def train(self, out: Path, **options: Any) -> None:
        """Run the steps."""
        from omnimouse_model.families.twin.training import train_twins

        train_twins(self._settings, self._sessions, out, **options)

    def export(self, out: Path, path: Path) -> Path:
        """Write the best twins of a run."""
        from omnimouse_model.analysis.export import export_twins

        return export_twins(out, path, self._settings)


class NdtTraining(FamilyTraining):
    """A training of neural data transformers."""

    models = "neural data transformers"

    @staticmethod
    def read(path: Path) -> Any:
        """Return the settings of a config."""
        from omnimouse_model.families.ndt.training_config import read_ndt_config

        return read_ndt_config(path)

    def open_sessions(self, team: "Team") -> None:
        """Open the trials of the sessions of this process, and count the steps."""
        from omnimouse_model.families.ndt.training import with_steps
        from omnimouse_model.families.ndt.trials import open_trial_session

        self._sessions = _open_sessions(
            self._mice,
            self._settings.sessions,
            team,
            partial(open_trial_session, spec=self._settings.spec),
        )
        self._settings = with_steps(self._settings, self._sessions, team)

    def train(self, out: Path, **options: Any) -> None:
        """Run the steps."""
        from omnimouse_model.families.ndt.training import train_ndt

        train_ndt(self._settings, self._sessions, out, **options)

    def export(self, out: Path, path: Path) -> Path:
        """Write the best weights of a run."""
        from omnimouse_model.analysis.export import export_ndt

        return export_ndt(out, path, self._settings)


class FactorisedTraining(FamilyTraining):
    """A training of the Sensorium-2023 baseline."""

    models = "Sensorium-2023 baselines"

    @staticmethod
    def read(path: Path) -> Any:
        """Return the settings of a config."""
        from omnimouse_model.families.sensorium_factorised.training_config import (
            read_factorised_config,
        )

        return read_factorised_config(path)

    def train(self, out: Path, **options: Any) -> None:
        """Run the steps."""
        from omnimouse_model.families.sensorium_factorised.training import train_factorised

        train_factorised(self._settings, self._sessions, out, **options)

    def export(self, out: Path, path: Path) -> Path:
        """Write the best weights of a run."""
        from omnimouse_model.families.sensorium_factorised.checkpoint import (
            FactorisedCheckpoint,
        )
        from omnimouse_model.training.checkpoints import best_or_last

        FactorisedCheckpoint.read(best_or_last(out)).save(path)
        return path


_FAMILIES: dict[str, type[FamilyTraining]] = {
    "twin": TwinTraining,
    "ndt": NdtTraining,
    "sensorium_factorised": FactorisedTraining,
}


def _choices(
    choices: "tuple[SessionChoice, ...]", places: tuple[Path, ...]
) -> "tuple[SessionChoice, ...]":
    """Return the sessions of the command line, else those of the config, checked.

    Raises
    ------
    click.BadParameter
        A place contains no session, a mouse is unknown, or there is no session.
    """
    from omnimouse_model.training.config import SessionChoice
    from omnimouse_model.training.sessions import check_mouse, sessions_in

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
    return choices


def _open_sessions(
    mice: Path | None,
    choices: "tuple[SessionChoice, ...]",
    team: "Team",
    open_one: "Callable[[Path, SessionChoice], TrainingSession] | None" = None,
) -> "list[TrainingSession]":
    """Open the sessions of this process; missing mice are simulated once for all."""
    from omnimouse_model.training.sessions import open_training_session, session_place

    own = team.share_of(choices)
    if team.is_main:
        for choice in choices:
            session_place(choice.mouse, mice, partial(echo, err=True))
    # The other processes open the mice only after the main one has simulated them.
    team.wait()
    open_one = open_one or open_training_session
    return [open_one(session_place(choice.mouse, mice), choice) for choice in own]
