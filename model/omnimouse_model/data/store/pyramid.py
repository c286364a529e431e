"""Levels of minimum, maximum and mean per time bin, for overviews of a session."""

from hashlib import blake2b
from typing import Any

import numpy as np

from omnimouse_model.data.store.layout import PYRAMID_SHARD


class LevelWriter:
    """Writer of one level, with a fixed number of rows per bin."""

    def __init__(self, array: Any, rows_per_bin: int) -> None:
        self._array, self._step = array, rows_per_bin
        self._number, self._rest = 0, list[np.ndarray]()
        self._bins: list[np.ndarray] = []
        self._written, self._digest = 0, blake2b()

    def add(self, first: int, rows: np.ndarray) -> None:
        """Add a block of rows from row `first` of the recording on, in their order.

        Bins without any row, in pauses of the recording, are left out.
        """
        stop = first + len(rows)
        number = first // self._step
        if number != self._number:
            self._finish_bin()
        edges = range((number + 1) * self._step - first, len(rows), self._step)
        for part in np.split(rows, edges)[:-1]:
            self._rest.append(part)
            self._finish_bin()
        # Rows of a bin that the next block may complete. A copy, because a view would
        # keep the whole block in memory.
        self._number = (stop - 1) // self._step
        last = max(first, self._number * self._step) - first
        self._rest.append(rows[last:].copy())

    def finish(self) -> str:
        """Write the remaining bins; return the hash of the level."""
        self._finish_bin()
        self._write()
        return self._digest.hexdigest()[:32]

    def _finish_bin(self) -> None:
        if not self._rest:
            return
        self._bins.append(summarise(np.concatenate(self._rest)))
        self._rest = []
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
