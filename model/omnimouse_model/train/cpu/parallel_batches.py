"""A step's batches side by side, each with a core of its own.

Cores that share one batch wait for each other after each of its small operations;
those with a batch each do not. Gradients come back apart and are added in the batches'
order, so that a step is, to the bit, what one thread gives that takes them in a row.
It holds as many batches in memory at once as torch has threads.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

from omnimouse_model.predict.devices import torch_threads
from omnimouse_model.train.config import TrainConfig

Read = TypeVar("Read")
Facts = TypeVar("Facts")


def are_independent(config: TrainConfig, device: torch.device) -> bool:
    """Whether batches may be computed side by side, and there are cores for it.

    Not where paths are dropped: they are drawn by one generator for all batches, in
    the order in which layers ask. Nor where blocks are compiled, which use all cores.
    """
    net = config.model
    drops_paths = net.drop_path_rate > 0 or net.hiera.drop_path_rate > 0
    is_plain = not drops_paths and not config.compile
    return device.type == "cpu" and torch.get_num_threads() > 1 and is_plain


def learn_beside(
    forwards: Callable[[Read], tuple[Tensor, Facts]],
    batches: Sequence[Read],
    parameters: Sequence[Tensor],
) -> list[Facts]:
    """Run batches forwards and back, as many at once as torch has threads.

    Parameters
    ----------
    forwards
        Gives a batch's loss, and its facts, which are returned in the batches' order.
    parameters
        Those that train are given the gradients, as `backward` gives them.
    """
    trained = [p for p in parameters if p.requires_grad]

    def learn(read: Read) -> tuple[Facts, list[Tensor | None]]:
        loss, facts = forwards(read)
        if not loss.requires_grad:  # a frozen core alone may have made it
            return facts, [None] * len(trained)
        return facts, list(torch.autograd.grad(loss, trained, allow_unused=True))

    pool = ThreadPoolExecutor(torch.get_num_threads(), "batch")
    with torch_threads(1), pool:
        learned = list(pool.map(learn, batches))
    for _, gradients in learned:
        for parameter, gradient in zip(trained, gradients, strict=True):
            if gradient is None:
                continue
            if parameter.grad is None:
                parameter.grad = gradient
            else:
                parameter.grad += gradient
    return [facts for facts, _ in learned]
