"""Communication between the processes of a training run.

No other module uses torch.distributed. A single process is a team of size one, for
which every call below does nothing. The training loop is therefore the same on one CPU
and under `torchrun` on many GPUs. Ranks share the gradients of the core; the parameters
of a rank's own sessions never leave it (spec "Distribution").
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

# Its functions have the process group as the default of an argument. If torch imports
# them after the group exists, they keep the group, and its threads with it, until the
# interpreter ends, where they sometimes abort the process.
import torch.distributed.nn
from torch import Tensor
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors

Value = TypeVar("Value")
BUCKET_BYTES = 64 * 2**20
"""Size of the pieces in which gradients are averaged, as in the official recipe."""
PATIENCE = timedelta(hours=2)
"""Timeout of communication; long, because one rank may be simulating mice."""


@dataclass(frozen=True, slots=True)
class Team:
    """The processes of a run, from the view of one of them."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this rank writes the log and the shared files."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until all ranks have called this."""
        self.gather(None)

    def share_of(self, items: Sequence[Value]) -> list[Value]:
        """Return the items of this rank, from a list that is the same on all ranks.

        Raises
        ------
        ValueError
            There are fewer items than ranks.
        """
        # A rank without sessions would have nothing to compute gradients from.
        if len(items) < self.size:
            raise ValueError(
                f"{len(items)} sessions cannot be shared by {self.size} processes; "
                "start fewer, or give more sessions."
            )
        return list(items[self.rank :: self.size])

    def gather(self, value: Value) -> list[Value]:
        """Return the values of all ranks in rank order, on every rank."""
        if self.size == 1:
            return [value]
        values: list[Value | None] = [None] * self.size
        dist.all_gather_object(values, value)
        return values  # type: ignore[return-value]  # every place is filled by now

    def any(self, flags: Sequence[bool]) -> list[bool]:
        """Return, for each flag, whether it is True on any rank."""
        return [count > 0 for count in self.sums([float(flag) for flag in flags])]

    def sums(self, numbers: Sequence[float]) -> list[float]:
        """Return each number summed over all ranks."""
        if self.size == 1:
            return list(numbers)
        total = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(total)
        return total.tolist()

    def copy_from_main(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite the tensors of every rank with those of the main rank."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor.data, 0)

    def start_average(self, parameters: Sequence[Tensor]) -> Callable[[], None]:
        """Start to average gradients over ranks; return a function that finishes it.

        A parameter that no rank used still has no gradient afterwards, so the optimiser
        does not change it. If only some ranks used it, the gradient of the others
        counts as zero. The result equals that of one process that accumulates all
        batches.
        """
        if self.size == 1:
            return lambda: None
        # Masks decide which parameters a rank uses. All ranks must reduce the same
        # tensors in the same order, so they agree on the list first.
        flags = self.any([p.grad is not None for p in parameters])
        shared = [p for p, is_used in zip(parameters, flags, strict=True) if is_used]
        for parameter in shared:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [p.grad for p in shared if p.grad is not None]
        jobs = []
        for bucket in _buckets(gradients):
            flat = _flatten_dense_tensors(bucket)
            # Asynchronous: the caller updates its own sessions in the meantime.
            jobs.append((bucket, flat, dist.all_reduce(flat, async_op=True)))

        def finish() -> None:
            for bucket, flat, work in jobs:
                work.wait()
                # Sum, then divide: gloo has no reduction by mean.
                flat /= self.size
                parts = _unflatten_dense_tensors(flat, bucket)
                torch._foreach_copy_(bucket, list(parts))

        return finish


def launched_ranks() -> int:
    """Return the number of processes that `torchrun` started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_device(device: torch.device) -> torch.device:
    """Return the GPU of this rank on its machine; other devices are unchanged."""
    if device.type != "cuda" or launched_ranks() == 1:
        return device
    return torch.device("cuda", int(os.environ["LOCAL_RANK"]))


@contextmanager
def joined(device: torch.device) -> Iterator[Team]:
    """Yield the team of processes that `torchrun` started; size one without it."""
    if launched_ranks() == 1:
        yield Team()
        return
    global _joined
    if device.type == "cuda":
        torch.cuda.set_device(device)
    # Both backends on GPUs: flags, sums and Python objects are CPU tensors, gradients
    # are CUDA tensors.
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=PATIENCE)
    try:
        _joined = Team(dist.get_rank(), dist.get_world_size())
        yield _joined
    finally:
        _joined = Team()
        dist.destroy_process_group()


_joined = Team()


def current_team() -> Team:
    """Return the team that this process has joined; size one without `torchrun`."""
    return _joined


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Yield tensors in groups of about 64 MB, each group of one dtype."""
    # One dtype, because the tensors of a group are flattened into one.
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
