"""Run the batches of a step in parallel, one CPU thread per batch.

Threads that share one batch wait for each other after each small operation; threads
with separate batches do not. Gradients are returned separately and added in the order
of the batches, so the result is bitwise equal to that of one thread that computes the
batches one after the other. Memory holds as many batches as torch has threads.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

from omnimouse_model.predict.devices import torch_threads
from omnimouse_model.train.config import TrainConfig

Item = TypeVar("Item")
Row = TypeVar("Row")


def are_independent(config: TrainConfig, device: torch.device) -> bool:
    """Return True if batches can be computed in parallel on several CPU threads.

    Not possible with dropped paths: one generator draws them for all batches, in the
    order in which layers run. Compiled blocks already use all cores.
    """
    net = config.model
    drops_paths = net.drop_path_rate > 0 or net.hiera.drop_path_rate > 0
    is_plain = not drops_paths and not config.compile
    return device.type == "cpu" and torch.get_num_threads() > 1 and is_plain


def parallel_gradients(
    forward: Callable[[Item], tuple[Tensor, Row]],
    batches: Sequence[Item],
    parameters: Sequence[Tensor],
) -> list[Row]:
    """Run forward and backward passes of batches, one batch per thread.

    Parameters
    ----------
    forward
        Function from a batch to its loss and its row of the log. The rows are returned
        in the order of the batches.
    parameters
        Parameters to which gradients are added, as `backward` does; frozen ones are
        skipped.
    """
    trained = [p for p in parameters if p.requires_grad]

    def learn(batch: Item) -> tuple[Row, list[Tensor | None]]:
        loss, row = forward(batch)
        # With a frozen core, a loss may depend on no trained parameter.
        if not loss.requires_grad:
            return row, [None] * len(trained)
        # autograd.grad returns gradients; backward() would add them to `.grad` in the
        # order in which threads finish, and floating-point sums depend on order.
        return row, list(torch.autograd.grad(loss, trained, allow_unused=True))

    # The pool size is read before torch is limited to one thread per operation.
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
    return [row for row, _ in learned]
