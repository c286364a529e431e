"""A step's batches side by side, each with a core of its own.

One batch cannot use several cores well: its operations are too small to be divided.
Several batches can. Their gradients come back apart and are added in the batches'
order, so that a step is, to the bit, what one thread gives that takes them in a row.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor

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

    with _one_thread_each() as threads, ThreadPoolExecutor(threads, "batch") as pool:
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


@contextmanager
def _one_thread_each() -> Iterator[int]:
    """Operations use one thread within; gives how many they used before."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)
