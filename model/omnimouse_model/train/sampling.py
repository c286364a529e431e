"""The balanced cycle: sessions in turn, every train window once an epoch.

As the official loader: each step takes the next session, whose windows were shuffled;
a session that is through begins anew, newly shuffled, until the longest is through.
Nothing is kept between steps: a turn's number says which windows it reads, so that a
resumed run reads what an unbroken one would.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from zlib import crc32

import numpy as np


@dataclass(frozen=True, slots=True)
class Turn:
    """One batch of a process: its number since the beginning, and the run's seed."""

    seed: int
    number: int

    def session(self, n_sessions: int) -> int:
        """Which of the process's sessions has its turn."""
        return self.number % n_sessions

    def windows(
        self, n_sessions: int, n_windows: int, batch: int, key: str
    ) -> np.ndarray:
        """Which of the session's windows are read, int64 (batch,).

        A rest smaller than a batch waits for the next epoch's order.
        """
        epoch, place = divmod(self.number // n_sessions, batches_of(n_windows, batch))
        order = _shuffled(self.seed, key, epoch, n_windows)
        return np.resize(order[place * batch :], batch)


def batches_of(n_windows: int, batch: int) -> int:
    """Whole batches that a session's windows give; one at least."""
    return max(1, n_windows // batch)


def epoch_batches(n_windows: Sequence[int], batch: int) -> int:
    """Batches of a process until its longest session is through."""
    return len(n_windows) * max(batches_of(n, batch) for n in n_windows)


@lru_cache(maxsize=64)
def _shuffled(seed: int, key: str, epoch: int, count: int) -> np.ndarray:
    drawn = np.random.default_rng([seed, crc32(key.encode()), epoch])
    return drawn.permutation(count)
