"""Prefetch the batches of the next step while the current step is computed.

Each step has its own random generator, so prefetching does not change the batches.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

Drawn = TypeVar("Drawn")


class Prefetch(Generic[Drawn]):
    """Prefetch of the next step in a thread; a context manager that ends the thread.

    Parameters
    ----------
    draw
        Function from the number of a step to its batches; never called concurrently.
    last
        This step and later ones are not prefetched.

    Attributes
    ----------
    waited_s
        Seconds that the last `take` waited.
    """

    def __init__(self, draw: Callable[[int], Drawn], last: int) -> None:
        self.waited_s = 0.0
        self._draw, self._last = draw, last
        self._thread = ThreadPoolExecutor(1, "batches")
        self._next: tuple[int, Future[Drawn]] | None = None

    def __enter__(self) -> "Prefetch[Drawn]":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    def take(self, step: int) -> Drawn:
        """Return the batches of a step; errors of drawing them are raised here."""
        began = time.perf_counter()
        # The first step, and any step out of order, has not been prefetched.
        if self._next is None or self._next[0] != step:
            self._next = (step, self._thread.submit(self._draw, step))
        drawn = self._next[1].result()
        self.waited_s = time.perf_counter() - began
        self._next = None
        # One step ahead only: each further one would hold its batches in memory.
        if step + 1 < self._last:
            self._next = (step + 1, self._thread.submit(self._draw, step + 1))
        return drawn
