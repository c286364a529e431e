"""Training of OmniMouse.

    omnimouse train CONFIG --out RUN          start, or go on from RUN's last save
    omnimouse train CONFIG --out RUN --steps 200
    torchrun --nproc-per-node 8 -m omnimouse_app train CONFIG --out RUN

A resumed run takes rates, weight decays and phases from the current config; its model
must be the saved one.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from omnimouse_model.nets.omnimouse.network import OmniMouse
from omnimouse_model.progress import QUIET, Job
from omnimouse_model.train.batches import TrainingSession
from omnimouse_model.train.checkpoints import resume, save
from omnimouse_model.train.config import Phase, TrainConfig
from omnimouse_model.train.cpu.compiled import compile_blocks
from omnimouse_model.train.distributed import Team
from omnimouse_model.train.loop import OnStep, run_training
from omnimouse_model.train.run import (
    Origin,
    Run,
    begin_phase,
    draw_start,
    set_start_values,
    start_run,
)
from omnimouse_model.train.sampling import epoch_batches
from omnimouse_model.train.step import Step, draw_step, train_step
from omnimouse_model.train.validate import validation_scores

ALONE = Team()


def train(
    config: TrainConfig,
    sessions: list[TrainingSession],
    out: Path,
    *,
    device: torch.device | str = "cpu",
    team: Team = ALONE,
    max_steps: int | None = None,
    origin: Origin | None = None,
    on_step: OnStep = lambda step, row: None,
    job: Job = QUIET,
) -> OmniMouse:
    """Train until the phases end, and save in `out`.

    Parameters
    ----------
    sessions
        Sessions of this process; other ranks of a team have others.
    origin
        Start values of a new run, instead of drawn ones; they are validated as step 0.
    on_step
        Called on every rank with the step and its row of the log.
    job
        Progress in steps, and stop request, which is asked after every step; one of a rank
        ends the run on all ranks.

    Returns
    -------
    OmniMouse
        The net with averaged weights if the config has averaging.

    Raises
    ------
    OutputBusyError
        Another process trains in `out`.
    StoppedError
        The job is cancelled; the run is saved.
    """

    def open_training() -> _OmniMouseTraining:
        settings = with_epochs(config, sessions, team)
        run = start_run(settings, sessions, device, team, origin)
        return _OmniMouseTraining(run, settings, sessions, out, team, origin)

    training = run_training(open_training, out, device, team, max_steps, on_step, job)
    return training.state.result


@dataclass(slots=True)
class _OmniMouseTraining:
    """The training of OmniMouse, as the loop drives it."""

    state: Run
    settings: TrainConfig
    sessions: list[TrainingSession]
    out: Path
    team: Team
    origin: Origin | None

    def resume(self) -> bool:
        is_resumed = resume(self.state, self.out, self.settings, self.team)
        if is_resumed:
            self._compile()
        return is_resumed

    def start(self) -> bool:
        if self.origin is not None:
            set_start_values(self.state, self.origin)
        else:
            draw_start(self.state, self.settings, self.sessions, self.team)
        self._compile()
        return self.origin is not None

    def _compile(self) -> None:
        # After the weights are loaded, and in place: names of parameters do not change.
        if self.settings.compile:
            compile_blocks(self.state.net)

    def draw(self, number: int) -> Step:
        return draw_step(self.settings, self.sessions, self.team.rank, number)

    def step(self, drawn: Step) -> dict[str, float]:
        return train_step(self.state, self.settings, drawn, self.team)

    def begin_step(self) -> None:
        begin_phase(self.state, self.settings, self.sessions)

    def scores(self) -> dict[str, float]:
        return validation_scores(self.state.result, self.settings, self.sessions, self.team)

    def save(self) -> None:
        save(self.state, self.out, self.team)


def with_epochs(config: TrainConfig, sessions: list[TrainingSession], team: Team) -> TrainConfig:
    """Return the config with epochs converted into steps.

    A phase ends after its epochs if this is sooner than its steps. An epoch is as long
    as that of the longest rank (official config).

    Raises
    ------
    ValueError
        A phase has epochs, and sampling is not balanced.
    """
    if config.sampling != "balanced":
        if any(phase.epochs for phase in config.phases):
            raise ValueError("epochs are counted under sampling: balanced alone.")
        return config
    counts = [len(source.starts) for source in sessions]

    def ended(phase: Phase) -> Phase:
        if phase.epochs is None:
            return phase
        # The maximum over ranks, because all ranks take the same number of steps; the
        # shorter ones repeat their windows.
        batches = phase.epochs * max(team.gather(epoch_batches(counts, phase.batch)))
        steps = min(phase.steps, max(1, batches // phase.accumulate))
        return replace(phase, steps=steps, epochs=None)

    return replace(config, phases=tuple(ended(phase) for phase in config.phases))
