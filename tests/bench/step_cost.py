"""Cost of training steps, as ratios to forward passes and to loading.

Ratios compare the same batches in the same process, so they depend little on the
machine.
"""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from omnimouse_model.families.omnimouse.batches import TrainConfig
from omnimouse_model.families.omnimouse.training import OmniMouseTraining, Step, batch_loss
from omnimouse_model.predict.devices import on_device
from omnimouse_model.training.distributed import Team
from omnimouse_model.training.loop import drawn_ahead, reused_heap
from omnimouse_model.training.sessions import TrainingSession

ALONE = Team()
FIRST = 3
"""Number of first steps that are not counted: they select kernels and fill caches."""


@dataclass(frozen=True, slots=True)
class StepCost:
    """Durations of training steps in seconds, as arrays over the counted steps.

    Attributes
    ----------
    forward
        Forward passes of a step's batches, without gradients.
    step
        The whole step on the same batches: forward, backward, clipping, both updates.
    draw
        Drawing the batches.
    waited_share
        Fraction of the time in which steps waited for prefetched batches.
    windows, tokens
        Number of windows and tokens per step.
    """

    forward: np.ndarray
    step: np.ndarray
    draw: np.ndarray
    waited_share: float
    windows: np.ndarray
    tokens: np.ndarray

    @property
    def forwards_per_step(self) -> float:
        """Cost of a step in units of its forward passes, over all steps."""
        return float(self.step.sum() / self.forward.sum())

    @property
    def draw_share(self) -> float:
        """Cost of drawing relative to a step; above 1, steps wait for the loader."""
        return float(self.draw.sum() / self.step.sum())


def step_cost(
    config: TrainConfig, sessions: list[TrainingSession], device: torch.device | str, n_steps: int
) -> StepCost:
    """Measure the first steps of a config on its sessions."""
    # These start values need ridge fits or video and do not change the cost of a step.
    config = replace(config, tuned_embeddings=False, motion_energy=False)
    # One process without a team: communication is not a part of these ratios.
    run = OmniMouseTraining(config, sessions, Path("run"), torch.device(device))
    run.start()
    rows = []
    with reused_heap(device):
        for number in range(FIRST + n_steps):
            # Batches are drawn on the CPU, also if the network is on a GPU.
            with _timed(torch.device("cpu")) as draw:
                drawn = run.draw(number)
            with _timed(run.device) as forward:
                _forward(run, drawn)
            with _timed(run.device) as step:
                facts = run.step(drawn)
            sizes = facts["windows"], facts["tokens"]
            rows.append((draw[0], forward[0], step[0], *sizes))
        waited = _waited_share(run, n_steps)
    draw_s, forward_s, step_s, windows, tokens = np.array(rows[FIRST:]).T
    return StepCost(forward_s, step_s, draw_s, waited, windows, tokens)


def _waited_share(run: OmniMouseTraining, n_steps: int) -> float:
    """Return the fraction of the time in which steps wait for prefetched batches."""
    # The steps above have used no loader; here batches are drawn while steps run.
    first = run.state.step
    waited = 0.0
    with closing(drawn_ahead(run.draw, range(first, first + n_steps + 1))) as ahead:
        drawn = next(ahead)
        # The first batch cannot be prefetched, so time counts from here.
        start_s = time.perf_counter()
        run.step(drawn)
        for _ in range(n_steps):
            asked_s = time.perf_counter()
            drawn = next(ahead)
            waited += time.perf_counter() - asked_s
            run.step(drawn)
        # GPU kernels run asynchronously: wait for them before reading the clock.
        if run.device.type == "cuda":
            torch.cuda.synchronize(run.device)
        return waited / (time.perf_counter() - start_s)


@torch.no_grad()
def _forward(run: OmniMouseTraining, drawn: Step) -> None:
    config = run.settings
    phase, _ = config.phase_at(run.state.step)
    for batch in drawn.batches:
        moved = on_device(batch, run.device)
        batch_loss(run.net, moved, phase, config.precision)


@contextmanager
def _timed(device: torch.device) -> Iterator[list[float]]:
    """Measure the seconds of a block; they are the only item of the yielded list.

    On a CPU, this is processor time summed over all threads, which does not include
    other processes. On a GPU, it is wall time.
    """
    is_gpu = device.type == "cuda"
    clock = time.perf_counter if is_gpu else time.process_time
    seconds: list[float] = []
    start_s = clock()
    yield seconds
    if is_gpu:
        torch.cuda.synchronize(device)
    seconds.append(clock() - start_s)
