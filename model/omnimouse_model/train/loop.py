"""The training loop: the same on one CPU, one GPU, or under `torchrun` on many.

    omnimouse train CONFIG --out RUN          start, or go on from RUN's last save
    omnimouse train CONFIG --out RUN --steps 200
    torchrun --nproc-per-node 8 -m omnimouse_app train CONFIG --out RUN

A run can be stopped or killed at any step, and resumed: weights, optimisers, averages
and the step are saved together (`checkpoints`). All random draws of a step come from a
generator seeded by its number, so a resumed run draws the same as an uninterrupted run.
A resumed run takes rates, weight decays and phases from the current config; its model
must be the saved one.
"""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from omnimouse_model.drive import writing
from omnimouse_model.locking import sole_writer
from omnimouse_model.nets.omnimouse.network import OmniMouse
from omnimouse_model.train.batches import TrainingSession
from omnimouse_model.train.checkpoints import resume, save
from omnimouse_model.train.config import Phase, TrainConfig
from omnimouse_model.train.cpu.compiled import compile_blocks
from omnimouse_model.train.cpu.malloc import reused_heap
from omnimouse_model.train.cpu.prefetch import Prefetch
from omnimouse_model.train.distributed import Team
from omnimouse_model.train.metrics_log import MetricsLog
from omnimouse_model.train.run import (
    Origin,
    Run,
    begin_phase,
    draw_start,
    set_start_values,
    start_run,
)
from omnimouse_model.train.sampling import epoch_batches
from omnimouse_model.train.step import draw_step, train_step
from omnimouse_model.train.validate import SUMMARY, validation_scores

ALONE = Team()
OnStep = Callable[[int, dict[str, float]], None]


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
    cancelled: Callable[[], bool] = lambda: False,
) -> OmniMouse:
    """Train until the phases end or `cancelled` returns True, and save in `out`.

    Parameters
    ----------
    sessions
        Sessions of this process; other ranks of a team have others.
    origin
        Start values of a new run, instead of drawn ones; they are validated as step 0.
    on_step
        Called on every rank with the step and its row of the log.
    cancelled
        Called after every step; True on one rank ends the run on all ranks.

    Returns
    -------
    OmniMouse
        The net with averaged weights if the config has averaging.

    Raises
    ------
    OutputBusyError
        Another process trains in `out`.
    """
    out.mkdir(parents=True, exist_ok=True)
    # The ranks of a team write in one folder.
    with writing(out), sole_writer(out) if team.is_main else nullcontext():
        return _train(
            config, sessions, out, device, team, max_steps, origin, on_step, cancelled
        )


def _train(
    config: TrainConfig,
    sessions: list[TrainingSession],
    out: Path,
    device: torch.device | str,
    team: Team,
    max_steps: int | None,
    origin: Origin | None,
    on_step: OnStep,
    cancelled: Callable[[], bool],
) -> OmniMouse:
    """Train as `train` does, in a folder that no other process writes."""
    config = with_epochs(config, sessions, team)
    run = start_run(config, sessions, device, team, origin)
    # Start values can take minutes (ridge fits), so they are drawn only for new runs.
    is_resumed = resume(run, out, config, team)
    if not is_resumed and origin is None:
        draw_start(run, config, sessions, team)
    # After the weights are loaded, and in place: names of parameters do not change.
    if config.compile:
        compile_blocks(run.net)
    last = config.total_steps
    if max_steps is not None:
        last = min(last, run.step + max_steps)
    draw = partial(draw_step, config, sessions, team.rank)
    # -1 for a new run removes all rows of an earlier run without a save.
    log = MetricsLog(out, run.step if is_resumed else -1) if team.is_main else None
    clock = _Clock(run.seconds)

    def report(row: dict[str, float]) -> None:
        if log is not None:
            log.add(row)
        on_step(run.step, row)

    try:
        if not is_resumed and origin is not None:
            set_start_values(run, origin)
            # Saved at once: finding these start values may have taken minutes.
            report(_first_scores(run, config, sessions, team, clock))
            save(run, out, team)
        with reused_heap(device), Prefetch(draw, last) as prefetch:
            # The run may already be complete when it is resumed.
            is_over = _has_ended(run, config, last) or any(team.any([cancelled()]))
            while not is_over:
                begin_phase(run, config, sessions)
                clock.begin()
                row = train_step(run, config, prefetch.take(run.step), team)
                row |= clock.rates(row) | {"waited_s": prefetch.waited_s}
                run.seconds = row["seconds"]
                is_best = run.step % config.validate_every == 0 and _validate(
                    run, config, sessions, team, row
                )
                report(row)
                # Clocks of ranks differ, and a save waits for all ranks: they decide
                # together, with one message for both questions.
                flags = [cancelled(), clock.is_due(config, run.step)]
                is_cancelled, is_due = team.any(flags)
                is_over = is_cancelled or _has_ended(run, config, last)
                if (is_due or is_best) and not is_over:
                    save(run, out, team)
                    clock.saved()
        # The last save is outside of the loop, so that it is done exactly once.
        save(run, out, team)
    finally:
        if log is not None:
            log.close()
    return run.result


def with_epochs(
    config: TrainConfig, sessions: list[TrainingSession], team: Team
) -> TrainConfig:
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


def _has_ended(run: Run, config: TrainConfig, last: int) -> bool:
    """Return True if all steps are done or validation has stopped improving."""
    patience = config.patience
    is_flat = patience is not None and run.step - run.best[1] >= patience
    return run.step >= last or is_flat


def _first_scores(
    run: Run,
    config: TrainConfig,
    sessions: list[TrainingSession],
    team: Team,
    clock: "_Clock",
) -> dict[str, float]:
    """Return the log row of step 0: validation scores before training."""
    row: dict[str, float] = {}
    _validate(run, config, sessions, team, row)
    run.seconds = clock.seconds
    return row | {"seconds": run.seconds, "step": run.step}


def _validate(
    run: Run,
    config: TrainConfig,
    sessions: list[TrainingSession],
    team: Team,
    row: dict[str, float],
) -> bool:
    """Add validation scores to `row`; return True if they are the best so far."""
    row |= validation_scores(run.result, config, sessions, team)
    score = row.get(SUMMARY, float("-inf"))
    if not score > run.best[0]:
        return False
    run.best = (score, run.step)
    return True


class _Clock:
    """Clock of a run, including the time before it was resumed."""

    def __init__(self, already: float) -> None:
        self._began = self._saved = self._step = time.monotonic()
        self._already = already

    def begin(self) -> None:
        """Mark the start of a step."""
        self._step = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds of training so far."""
        return self._already + time.monotonic() - self._began

    def rates(self, step: dict[str, float]) -> dict[str, float]:
        """Return seconds of the run, and windows and tokens per second of a step."""
        now = time.monotonic()
        taken = max(now - self._step, 1e-9)
        return {
            "seconds": self.seconds,
            "windows_per_s": step["windows"] / taken,
            "tokens_per_s": step["tokens"] / taken,
        }

    def is_due(self, config: TrainConfig, step: int) -> bool:
        """Return True if the config asks for a save after this step."""
        if config.save_every is not None and step % config.save_every == 0:
            return True
        every_s = config.save_every_s
        return every_s is not None and time.monotonic() - self._saved > every_s

    def saved(self) -> None:
        """Restart the time until the next save."""
        self._saved = time.monotonic()
