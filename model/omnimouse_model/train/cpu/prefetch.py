"""Prefetch the batches of the next step while the current step is computed.

Each step has its own random generator, so prefetching does not change the batches.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

Drawn = TypeVar("Drawn")

MAX_PROCESSES = 8


def drawing_processes(device: torch.device | str) -> int:
    """Return the number of processes that draw batches for a device; 0 is a thread.

    A GPU takes a step sooner than one thread draws it. The processes are forked,
    because they share the open sessions; other systems than Linux draw in a thread.
    """
    is_gpu = torch.device(device).type == "cuda"
    if not is_gpu or not sys.platform.startswith("linux"):
        return 0
    return min(MAX_PROCESSES, max(len(os.sched_getaffinity(0)) - 2, 0))


class Prefetch(Generic[Drawn]):
    """Prefetch of the next steps; a context manager that ends its thread or processes.

    Parameters
    ----------
    draw
        Function from the number of a step to its batches; never called concurrently in
        one process.
    last
        This step and later ones are not prefetched.
    processes
        Number of processes that draw two steps ahead each; 0 draws one step ahead in a
        thread.

    Attributes
    ----------
    waited_s
        Seconds that the last `take` waited.
    """

    def __init__(self, draw: Callable[[int], Drawn], last: int, processes: int = 0) -> None:
        self.waited_s = 0.0
        self._draw, self._last, self._processes = draw, last, processes
        self._thread = ThreadPoolExecutor(1, "batches")
        self._next: tuple[int, Future[Drawn]] | None = None
        self._drawn: Iterator[Drawn] | None = None

    def __enter__(self) -> "Prefetch[Drawn]":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)
        # The iterator of a DataLoader ends its processes when it is released.
        self._drawn = None

    def take(self, step: int) -> Drawn:
        """Return the batches of a step; errors of drawing them are raised here."""
        began = time.perf_counter()
        # The first step, and any step out of order, has not been prefetched.
        if self._next is None or self._next[0] != step:
            self._drawn = self._from_processes(step) if self._processes else None
            self._next = (step, self._thread.submit(self._one, step))
        drawn = self._next[1].result()
        self.waited_s = time.perf_counter() - began
        self._next = None
        # One step ahead only: each further one would hold its batches in memory.
        if step + 1 < self._last:
            self._next = (step + 1, self._thread.submit(self._one, step + 1))
        return drawn

    def _one(self, step: int) -> Drawn:
        return self._draw(step) if self._drawn is None else next(self._drawn)

    def _from_processes(self, first: int) -> Iterator[Drawn]:
        steps = range(first, max(self._last, first + 1))
        loader = DataLoader(
            _Steps(self._draw),
            batch_size=None,
            sampler=steps,
            num_workers=self._processes,
            collate_fn=_unchanged,
            # Its own: a resumed run must draw the same from the global one.
            generator=torch.Generator(),
            multiprocessing_context="fork",
        )
        return iter(loader)


class _Steps(Dataset[Drawn]):
    """Batches by the number of their step, as a `DataLoader` reads them."""

    def __init__(self, draw: Callable[[int], Drawn]) -> None:
        self._draw = draw

    def __getitem__(self, step: int) -> Drawn:
        return self._draw(step)


def _unchanged(drawn: Drawn) -> Drawn:
    return drawn
