"""Gate at which long work in the background waits for live requests."""

import threading
from collections.abc import Callable
from time import perf_counter

LOOK_S = 0.02
"""Seconds between checks for live requests; much shorter than one prediction."""


class PauseGate:
    """Gate that is closed while paused and while a live request is unfinished.

    Parameters
    ----------
    is_awaited
        Returns whether a live request is unfinished; called on the work's thread.

    Attributes
    ----------
    waited_s
        Total waiting time in seconds; subtracted when predictions are timed.
    """

    def __init__(self, is_awaited: Callable[[], bool]) -> None:
        self.waited_s = 0.0
        self.is_paused = False
        self.is_stopped = False
        self._is_awaited = is_awaited
        self._changed = threading.Condition()

    def pause(self, is_paused: bool) -> None:
        """Pause the work, or end the pause."""
        with self._changed:
            self.is_paused = is_paused
            self._changed.notify_all()

    def stop(self) -> None:
        """Release waiting work, also from a pause, and make it end."""
        with self._changed:
            self.is_stopped = True
            self._changed.notify_all()

    def wait(self) -> bool:
        """Wait while the gate is closed; return whether the work must end."""
        since = perf_counter()
        with self._changed:
            while not self.is_stopped and (self.is_paused or self._is_awaited()):
                # `pause` and `stop` notify; the end of a live request does not, so it
                # is polled.
                self._changed.wait(None if self.is_paused else LOOK_S)
        self.waited_s += perf_counter() - since
        return self.is_stopped
