"""The one place that knows torch.distributed: who trains together, and what they share.

A process alone is a team of one, and every call below is then nothing at all: the loop
reads the same on one CPU and under `torchrun` on many GPUs. What is shared are the
core's gradients; the parameters of a rank's own sessions never leave it (spec
"Distribution").
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors

Value = TypeVar("Value")
BUCKET_BYTES = 64 * 2**20
"""Gradients are averaged in pieces of this size, as officially."""
PATIENCE = timedelta(hours=2)
"""How long ranks wait for each other; one of them may be simulating mice."""


@dataclass(frozen=True, slots=True)
class Team:
    """The processes of a run, as seen by one of them."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """The one that logs and writes what there is once."""
        return self.rank == 0

    def wait(self) -> None:
        """Go on when all have come here."""
        if self.size > 1:
            self.gather(None)

    def share_of(self, items: Sequence[Value]) -> list[Value]:
        """Part of a list that all have: the items that are this rank's.

        Raises
        ------
        ValueError
            There are fewer items than ranks.
        """
        if len(items) < self.size:
            raise ValueError(
                f"{len(items)} sessions cannot be shared by {self.size} processes; "
                "start fewer, or give more sessions."
            )
        return list(items[self.rank :: self.size])

    def gather(self, value: Value) -> list[Value]:
        """Every rank's value, in rank order, everywhere."""
        if self.size == 1:
            return [value]
        found: list[Value | None] = [None] * self.size
        dist.all_gather_object(found, value)
        return found  # type: ignore[return-value]  # every place is filled by now

    def any(self, flags: Sequence[bool]) -> list[bool]:
        """For each flag, whether some rank raised it."""
        if self.size == 1:
            return list(flags)
        raised = torch.tensor(flags, dtype=torch.uint8)
        dist.all_reduce(raised, dist.ReduceOp.MAX)
        return [bool(flag) for flag in raised.tolist()]

    def sums(self, numbers: Sequence[float]) -> list[float]:
        """Each number summed over the ranks."""
        if self.size == 1:
            return list(numbers)
        total = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(total)
        found: list[float] = total.tolist()
        return found

    def copy_from_main(self, tensors: Sequence[Tensor]) -> None:
        """Give every rank the main one's values."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor.data, 0)

    def start_average(self, parameters: Sequence[Tensor]) -> Callable[[], None]:
        """Begin to average gradients over the ranks; call the result to finish.

        A parameter that no rank used has no gradient after it either, so that the
        optimiser leaves it alone; where only some did, the others count as zero. One
        process that accumulated all the batches would have the same.
        """
        if self.size == 1:
            return lambda: None
        used = self.any([p.grad is not None for p in parameters])
        shared = [p for p, is_used in zip(parameters, used, strict=True) if is_used]
        for parameter in shared:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [p.grad for p in shared if p.grad is not None]
        jobs = []
        for bucket in _buckets(gradients):
            flat = _flatten_dense_tensors(bucket)
            jobs.append((bucket, flat, dist.all_reduce(flat, async_op=True)))

        def finish() -> None:
            for bucket, flat, work in jobs:
                work.wait()
                flat /= self.size
                parts = _unflatten_dense_tensors(flat, bucket)
                torch._foreach_copy_(bucket, list(parts))

        return finish


def launched_ranks() -> int:
    """How many processes `torchrun` started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_device(device: torch.device) -> torch.device:
    """The GPU of this rank on its machine, where GPUs are used at all."""
    if device.type != "cuda" or launched_ranks() == 1:
        return device
    return torch.device("cuda", int(os.environ["LOCAL_RANK"]))


@contextmanager
def joined(device: torch.device) -> Iterator[Team]:
    """Join the processes that `torchrun` started; a team of one without it."""
    if launched_ranks() == 1:
        yield Team()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=PATIENCE)
    try:
        yield Team(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Tensors in pieces of some 64 MB, each of one type."""
    bucket: list[Tensor] = []
    size = 0
    for tensor in tensors:
        if bucket and (size >= BUCKET_BYTES or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += tensor.numel() * tensor.element_size()
    if bucket:
        yield bucket
