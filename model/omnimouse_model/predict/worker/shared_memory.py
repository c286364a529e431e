"""Shared memory for one large result at a time, released whichever side ends first.

The requesting side creates the segment, and unlinks it when it is closed, collected, or
its interpreter ends. If it is killed, Python's resource tracker unlinks the segment on
Linux and macOS, and Windows frees it with its last handle. The worker only attaches.
"""

import contextlib
import weakref
from collections.abc import Callable
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np

SHARED_FROM_BYTES = 2**20
"""Smaller results are as fast through the pipe."""


class ResultMemory:
    """The segment of the requesting side; it grows with the sessions."""

    def __init__(self) -> None:
        self._memory: SharedMemory | None = None
        self._release: Callable[[], Any] = lambda: None

    @property
    def name(self) -> str:
        """Name to which the worker attaches, "" without a segment."""
        return "" if self._memory is None else self._memory.name

    def fit(self, n_samples: int, n_neurons: int) -> None:
        """Make room for the float32 responses of all neurons, if these are large."""
        n_bytes = n_samples * n_neurons * 4
        size = 0 if self._memory is None else self._memory.size
        if n_bytes > max(SHARED_FROM_BYTES, size):
            self.close()
            self._memory = SharedMemory(create=True, size=n_bytes)
            # A finaliser, because `__del__` is not called at every interpreter exit.
            self._release = weakref.finalize(self, _unlink, self._memory)

    def read(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return a copy of the result in the segment, float32."""
        # A copy, because the next result overwrites the segment.
        assert self._memory is not None
        return np.ndarray(shape, np.float32, self._memory.buf).copy()

    def close(self) -> None:
        """Release the segment; `fit` makes a new one."""
        self._memory = None
        self._release()


class AttachedMemory:
    """The worker's view of the segment."""

    def __init__(self) -> None:
        self._memory: SharedMemory | None = None

    def attach(self, name: str) -> None:
        """Attach to the segment of this name, to none for ""."""
        if self._memory is not None and self._memory.name != name:
            self._memory.close()
            self._memory = None
        if name and self._memory is None:
            self._memory = SharedMemory(name)

    def put(self, responses: np.ndarray) -> bool:
        """Write float32 values; return False if they are small or do not fit."""
        size = 0 if self._memory is None else self._memory.size
        if not SHARED_FROM_BYTES < responses.nbytes <= size:
            return False
        assert self._memory is not None
        np.ndarray(responses.shape, np.float32, self._memory.buf)[...] = responses
        return True


def _unlink(memory: SharedMemory) -> None:
    memory.close()
    # The resource tracker of another process may have unlinked it already.
    with contextlib.suppress(FileNotFoundError):
        memory.unlink()
