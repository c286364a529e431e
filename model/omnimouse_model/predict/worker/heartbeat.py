"""Heartbeat of a worker process: a thread counts there, and this process looks at the count.

A worker that is stopped, or that the system does not run, counts no further. Time during
which this process itself did not run, asleep or stopped, is not measured: it is the time
between two looks, of which a long one counts as a short one.
"""

import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

BEAT_S = 1.0
SILENCE_S = 5.0
"""Time without a beat after which a worker is reported."""
_LONGEST_STEP_S = 1.0


def start_beating(count: Any) -> None:
    """Add 1 to a shared integer each second, on a thread of this process, until its end."""

    def beat() -> None:
        pause = threading.Event()
        while True:
            count.value += 1
            pause.wait(BEAT_S)

    threading.Thread(target=beat, name="omnimouse-heartbeat", daemon=True).start()


class Silence:
    """Time for which a count has not changed, as seen by a process that looks at it.

    Parameters
    ----------
    clock
        Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._last_s = clock()
        self._count = 0
        self._silent_s = 0.0

    def look(self, count: int) -> float:
        """Return the seconds since the last change; 0 before the first beat."""
        now_s = self._clock()
        step_s, self._last_s = now_s - self._last_s, now_s
        if count != self._count or count == 0:
            self._count, self._silent_s = count, 0.0
        else:
            self._silent_s += min(step_s, _LONGEST_STEP_S)
        return self._silent_s
