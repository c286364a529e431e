"""What a sweep in the background waits for: the user's pause, and the live answers."""

import threading
from collections.abc import Callable
from time import perf_counter

LOOK_S = 0.02
"""How often it looks whether the screen still waits: far less than one answer takes."""


class Gate:
    """Held shut while paused, and while the screen waits for an answer.

    Parameters
    ----------
    is_awaited
        Whether the screen waits; asked from the thread that computes.

    Attributes
    ----------
    waited_s
        How long it was shut, in all.
    """

    def __init__(self, is_awaited: Callable[[], bool]) -> None:
        self.waited_s = 0.0
        self._is_awaited = is_awaited
        self._changed = threading.Condition()
        self._is_paused = False
        self._is_stopped = False

    @property
    def is_paused(self) -> bool:
        """Whether the user has paused it."""
        return self._is_paused

    @property
    def is_stopped(self) -> bool:
        """Whether it shall end."""
        return self._is_stopped

    def pause(self, is_paused: bool) -> None:
        """Shut or open it."""
        with self._changed:
            self._is_paused = is_paused
            self._changed.notify_all()

    def stop(self) -> None:
        """Let whoever waits go, to end."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()

    def is_closed(self) -> bool:
        """Wait while it is shut; then whether to end. Called between steps."""
        since = perf_counter()
        with self._changed:
            while not self._is_stopped and (self._is_paused or self._is_awaited()):
                self._changed.wait(None if self._is_paused else LOOK_S)
        self.waited_s += perf_counter() - since
        return self._is_stopped
