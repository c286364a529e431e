"""Optimiser and learning rate of the neural data transformer."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim.lr_scheduler import OneCycleLR

LR = 1e-4
WEIGHT_DECAY = 0.01
EPS = 1e-8
RISE = 0.15
"""Share of the steps over which the rate rises."""
START, END = 10.0, 1e4
"""The first rate is the highest divided by `START`, the last the first by `END`."""


def one_cycle(
    parameters: Iterable[Tensor],
    total_steps: int,
    lr: float = LR,
    weight_decay: float = WEIGHT_DECAY,
) -> tuple[torch.optim.AdamW, OneCycleLR]:
    """Return AdamW, and the schedule that is stepped after each of its steps.

    Weight decay acts on all parameters. The rate rises and falls along a cosine; beta1
    goes from .95 to .85 and back.
    """
    optimiser = torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay, eps=EPS)
    schedule = OneCycleLR(
        optimiser,
        max_lr=lr,
        total_steps=total_steps,
        pct_start=RISE,
        div_factor=START,
        final_div_factor=END,
    )
    return optimiser, schedule
