"""Balanced sampling: sessions in turn, every train window once per epoch.

As in the official loader, each batch comes from the next session of a cycle, whose
windows are shuffled. A session without unread windows is shuffled again and repeated
until the epoch of the longest session ends.

Sampling has no state: the number of a turn determines its windows. A resumed run
therefore reads the same windows as an uninterrupted run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from zlib import crc32

import numpy as np


@dataclass(frozen=True, slots=True)
class Turn:
    """Index of a batch of one process since the start of the run, with the seed."""

    seed: int
    number: int

    def session(self, n_sessions: int) -> int:
        """Return the index of the session of this turn."""
        return self.number % n_sessions

    def windows(self, n_sessions: int, n_windows: int, batch: int, key: str) -> np.ndarray:
        """Return indices of the session's windows to read, int64 (batch,).

        Windows that do not fill a batch at the end of an epoch are not read in it.
        """
        epoch, place = divmod(self.number // n_sessions, batches_of(n_windows, batch))
        order = shuffled(self.seed, key, epoch, n_windows)
        # np.resize cuts the rest of the order to one batch, and repeats windows if the
        # session has fewer windows than a batch.
        return np.resize(order[place * batch :], batch)


def batches_of(n_windows: int, batch: int) -> int:
    """Return the number of whole batches per epoch of a session, at least one."""
    return max(1, n_windows // batch)


def epoch_batches(n_windows: Sequence[int], batch: int) -> int:
    """Return the number of batches of one process per epoch of its longest session."""
    return len(n_windows) * max(batches_of(n, batch) for n in n_windows)


@lru_cache(maxsize=64)
def shuffled(seed: int, key: str, epoch: int, count: int) -> np.ndarray:
    """Return the order of an epoch, a permutation of `count` numbers."""
    rng = np.random.default_rng([seed, key_number(key), epoch])
    return rng.permutation(count)


def key_number(key: str) -> int:
    """Return a number of a session's key for seeds, equal in every process."""
    # crc32, because Python salts hash() of strings differently in every process.
    return crc32(key.encode())
