"""Gate that holds a background sweep during a pause and during live requests."""

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
        Returns whether a live request is unfinished; called on the sweep's thread.

    Attributes
    ----------
    waited_s
        Total waiting time in seconds; subtracted when predictions are timed.
    """

    def __init__(self, is_awaited: Callable[[], bool]) -> None:
        self.waited_s = 0.0
        self._is_awaited = is_awaited
        self._changed = threading.Condition()
        self._is_paused = False
        self._is_stopped = False

    @property
    def is_paused(self) -> bool:
        """Whether the user has paused the sweep."""
        return self._is_paused

    @property
    def is_stopped(self) -> bool:
        """Whether the sweep must end."""
        return self._is_stopped

    def pause(self, is_paused: bool) -> None:
        """Pause the sweep, or end the pause."""
        with self._changed:
            self._is_paused = is_paused
            self._changed.notify_all()

    def stop(self) -> None:
        """Release a waiting sweep and make it end."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()

    def is_closed(self) -> bool:
        """Wait while the gate is closed; return whether the sweep must end.

        The sweep calls it between predictions.
        """
        # `stop` ends the wait also during a pause.
        since = perf_counter()
        with self._changed:
            while not self._is_stopped and (self._is_paused or self._is_awaited()):
                # `pause` and `stop` notify; the end of a live request does not, so it
                # is polled.
                self._changed.wait(None if self._is_paused else LOOK_S)
        self.waited_s += perf_counter() - since
        return self._is_stopped
