"""Memory that a test's action allocates."""

import tracemalloc
from collections.abc import Callable

ATTEMPTS = 3


def check_memory(action: Callable[[], object], mebibytes: float) -> None:
    """Check that an action allocates less than a limit, in one of three attempts.

    All threads are traced. A thread of an earlier test that has not ended yet may
    allocate during one attempt; what the action itself needs, it needs every time.
    """
    peaks: list[float] = []
    while len(peaks) < ATTEMPTS:
        tracemalloc.start()
        try:
            action()
            peaks.append(tracemalloc.get_traced_memory()[1] / 2**20)
        finally:
            tracemalloc.stop()
        if peaks[-1] < mebibytes:
            return
    raise AssertionError(f"{min(peaks):.1f} MiB, limit {mebibytes} MiB")
