"""What the next step reads is drawn while this one is computed.

A step draws from a generator of its own number, so drawing early changes nothing.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

Drawn = TypeVar("Drawn")


class DrawnAhead(Generic[Drawn]):
    """Draws the next step in a thread of its own; a context, which ends the thread.

    Parameters
    ----------
    draw
        Draws what a step reads, by its number; called one step after the other.
    last
        No step from this one on is drawn ahead.

    Attributes
    ----------
    waited_s
        How long the last `take` had to wait.
    """

    def __init__(self, draw: Callable[[int], Drawn], last: int) -> None:
        self.waited_s = 0.0
        self._draw, self._last = draw, last
        self._thread = ThreadPoolExecutor(1, "batches")
        self._next: tuple[int, Future[Drawn]] | None = None

    def __enter__(self) -> "DrawnAhead[Drawn]":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    def take(self, step: int) -> Drawn:
        """What a step reads; what its drawing raised is raised here."""
        began = time.perf_counter()
        if self._next is None or self._next[0] != step:
            self._next = (step, self._thread.submit(self._draw, step))
        drawn = self._next[1].result()
        self.waited_s = time.perf_counter() - began
        self._next = None
        if step + 1 < self._last:
            self._next = (step + 1, self._thread.submit(self._draw, step + 1))
        return drawn
