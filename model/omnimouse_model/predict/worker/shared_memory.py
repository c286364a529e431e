"""Shared memory for one big answer at a time, released whatever ends first.

The asking side creates the segment and unlinks it: when it is closed, collected, or
its interpreter ends. Where it is killed, Python's resource tracker unlinks it on
Linux and macOS, and Windows frees it with its last handle. The answering side only
attaches.
"""

import contextlib
import weakref
from collections.abc import Callable
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np

SHARED_FROM_BYTES = 2**20
"""Smaller answers are as quick through the pipe."""


class SharedAnswers:
    """The asking side's segment; made and grown as sessions need it."""

    def __init__(self) -> None:
        self._memory: SharedMemory | None = None
        self._release: Callable[[], Any] = _do_nothing

    @property
    def name(self) -> str:
        """What the other side attaches to, "" while there is none."""
        return "" if self._memory is None else self._memory.name

    def fit(self, n_samples: int, n_neurons: int) -> None:
        """Make room for the float32 responses of all neurons, if those are large."""
        n_bytes = n_samples * n_neurons * 4
        held = 0 if self._memory is None else self._memory.size
        if n_bytes > max(SHARED_FROM_BYTES, held):
            self.close()
            self._memory = SharedMemory(create=True, size=n_bytes)
            self._release = weakref.finalize(self, _released, self._memory)

    def copied(self, shape: tuple[int, int]) -> np.ndarray:
        """The answer that the other side has left, float32."""
        assert self._memory is not None
        return np.ndarray(shape, np.float32, self._memory.buf).copy()

    def close(self) -> None:
        """Release the segment; `fit` makes a new one."""
        self._memory = None
        self._release()


class AttachedAnswers:
    """The answering side's view of the segment."""

    def __init__(self) -> None:
        self._memory: SharedMemory | None = None

    def attach(self, name: str) -> None:
        """Attach to the segment of that name, none for ""."""
        if self._memory is not None and self._memory.name != name:
            self._memory.close()
            self._memory = None
        if name and self._memory is None:
            self._memory = SharedMemory(name)

    def leave(self, responses: np.ndarray) -> bool:
        """Put float32 values there; False where they are small or do not fit."""
        room = 0 if self._memory is None else self._memory.size
        if not SHARED_FROM_BYTES < responses.nbytes <= room:
            return False
        assert self._memory is not None
        np.ndarray(responses.shape, np.float32, self._memory.buf)[...] = responses
        return True


def _do_nothing() -> None:
    pass


def _released(memory: SharedMemory) -> None:
    memory.close()
    with contextlib.suppress(FileNotFoundError):  # another's tracker was quicker
        memory.unlink()
