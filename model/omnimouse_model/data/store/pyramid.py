"""Levels of minimum, maximum and mean per time bin, for overviews of a session."""

from hashlib import blake2b
from typing import Any

import numpy as np

from omnimouse_model.data.store.layout import PYRAMID_SHARD


class LevelWriter:
    """Writer of one level, with a fixed number of rows per bin."""

    def __init__(self, array: Any, rows_per_bin: int) -> None:
        self._array, self._step = array, rows_per_bin
        self._rest: list[np.ndarray] = []
        self._bins: list[np.ndarray] = []
        self._written, self._digest = 0, blake2b()

    def add(self, rows: np.ndarray) -> None:
        """Add the next block of rows."""
        rows = np.concatenate([*self._rest, rows])
        full = len(rows) // self._step * self._step
        for first in range(0, full, self._step):
            self._take(rows[first : first + self._step])
        # Rows of a bin that the next block completes. A copy, because a view would keep
        # the whole block in memory.
        self._rest = [rows[full:].copy()]

    def finish(self) -> str:
        """Write the remaining bins; return the hash of the level."""
        for rows in self._rest:
            if len(rows):
                self._take(rows)
        self._write()
        return self._digest.hexdigest()[:32]

    def _take(self, rows: np.ndarray) -> None:
        self._bins.append(summarise(rows))
        # A whole shard at a time: zarr would rewrite the file for a part of it.
        if len(self._bins) == PYRAMID_SHARD:
            self._write()

    def _write(self) -> None:
        if not self._bins:
            return
        bins = np.concatenate(self._bins)
        self._array[self._written : self._written + len(bins)] = bins
        self._digest.update(bins.tobytes())
        self._written, self._bins = self._written + len(bins), []


def summarise(rows: np.ndarray) -> np.ndarray:
    """Return minimum, maximum and mean of one bin, float32 (1, neuron, 3).

    Missing values are left out; NaN if a neuron has no value.
    """
    # NaN and infinities propagate to the minimum or maximum, so two small checks select
    # the fast path for most bins.
    low, high = rows.min(axis=0), rows.max(axis=0)
    if np.isfinite(low).all() and np.isfinite(high).all():
        mean = rows.sum(axis=0, dtype=np.float64) / len(rows)
    else:
        rows = rows.astype(np.float64)
        finite = np.isfinite(rows)
        count = finite.sum(axis=0)
        low = np.where(finite, rows, np.inf).min(axis=0)
        high = np.where(finite, rows, -np.inf).max(axis=0)
        # 0 / 0 gives the NaN of a neuron without values.
        with np.errstate(invalid="ignore"):
            mean = np.where(finite, rows, 0.0).sum(axis=0) / count
        low[count == 0] = high[count == 0] = np.nan
    return np.stack([low, high, mean], axis=1)[None].astype(np.float32)
