"""What training costs, as ratios: a step to its forward passes, loading to stepping.

Ratios are of the same batches in the same process, so that machines drop out.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from omnimouse_model.train.ahead import DrawnAhead
from omnimouse_model.train.batches import TrainingSession, to_device
from omnimouse_model.train.compiled import compile_blocks
from omnimouse_model.train.config import TrainConfig
from omnimouse_model.train.distributed import Team
from omnimouse_model.train.run import Run, draw_start, start_run
from omnimouse_model.train.step import Step, batch_loss, draw_step, train_step

ALONE = Team()
FIRST = 3
"""Steps that are not counted: the first find their kernels and fill caches."""


@dataclass(frozen=True, slots=True)
class StepCost:
    """Seconds of a run's steps, each an array over the counted ones.

    Attributes
    ----------
    forward
        The loss of a step's batches without gradients.
    step
        The whole step on the same batches: both ways, clipping, both updates.
    draw
        Drawing its batches, in this thread.
    waited
        How long a step had to wait for batches drawn ahead.
    windows, tokens
        What a step reads.
    """

    forward: np.ndarray
    step: np.ndarray
    draw: np.ndarray
    waited: np.ndarray
    windows: np.ndarray
    tokens: np.ndarray

    @property
    def forwards_per_step(self) -> float:
        """A step in forward passes, all steps together."""
        return float(self.step.sum() / self.forward.sum())

    @property
    def draw_share(self) -> float:
        """Drawing as a share of stepping: above 1 the loader would be waited for."""
        return float(self.draw.sum() / self.step.sum())

    @property
    def waited_share(self) -> float:
        """The share of a run's time in which it waited for its loader."""
        return float(self.waited.sum() / (self.waited.sum() + self.step.sum()))


def step_cost(
    config: TrainConfig,
    sessions: list[TrainingSession],
    device: torch.device | str,
    n_steps: int,
) -> StepCost:
    """Time some steps of a config from its beginning, on its sessions."""
    config = replace(config, tuned_embeddings=False, motion_energy=False)
    run = start_run(config, sessions, device, ALONE)
    draw_start(run, config, sessions, ALONE)
    if config.compile:
        compile_blocks(run.net)
    rows = []
    draw_one = partial(draw_step, config, sessions, 0)
    with DrawnAhead(draw_one, FIRST + n_steps) as ahead:
        for number in range(FIRST + n_steps):
            drawn = ahead.take(number)
            with _timed(run.device) as step:
                facts = train_step(run, config, drawn, ALONE)
            read = facts["windows"], facts["tokens"]
            rows.append((step[0], ahead.waited_s, *read))
    step_s, waited, windows, tokens = np.array(rows[FIRST:]).T
    forward, draw = _forward_and_draw(run, config, sessions, n_steps)
    return StepCost(forward, step_s, draw, waited, windows, tokens)


def _forward_and_draw(
    run: Run, config: TrainConfig, sessions: list[TrainingSession], n_steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of the counted steps' forward passes, and of drawing them."""
    rows = []
    for number in range(n_steps + FIRST):
        with _timed(torch.device("cpu")) as draw:
            drawn = draw_step(config, sessions, 0, number)
        with _timed(run.device) as forward:
            _forward(run, config, drawn, number)
        rows.append((forward[0], draw[0]))
    forward_s, draw_s = np.array(rows[FIRST:]).T
    return forward_s, draw_s


@torch.no_grad()
def _forward(run: Run, config: TrainConfig, drawn: Step, number: int) -> None:
    phase, _ = config.phase_at(number)
    for batch in drawn.batches:
        moved = to_device(batch, run.device)
        batch_loss(run.net, moved, phase, config.precision)


@contextmanager
def _timed(device: torch.device) -> Iterator[list[float]]:
    """Seconds of a block, GPU work included, as the one item of a list."""
    found: list[float] = []
    began = time.perf_counter()
    yield found
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    found.append(time.perf_counter() - began)
