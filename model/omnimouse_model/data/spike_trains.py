"""Spike times of many units, counted in bins when they are read."""

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from omnimouse_model.data.io.row_source import pick_in_blocks

# Rows, and values of all units, that `pick` counts at once.
_BLOCK_ROWS = 4096
_BLOCK_VALUES = 2**24


@runtime_checkable
class TimesFile(Protocol):
    """A file, or an array in memory, that holds spike times."""

    @property
    def path(self) -> Path:
        """The file, for messages."""
        ...

    def check(self) -> None:
        """Raise `SessionFormatError` if the file is gone or has changed."""
        ...

    def open(self) -> np.ndarray:
        """Return all spike times (spike,), memory-mapped where they are in a file."""
        ...


class SpikeTrains:
    """Spike times of units as rows of counts; see `Rows`.

    Rows are counts at one rate, for code that reads responses as samples. `count`
    gives counts in any bins, for models of spike counts: bins of another width are
    counted again from the spike times, never interpolated.

    Parameters
    ----------
    file
        Flat spike times in native seconds, unit after unit, ascending in each unit.
    offsets
        int64 (n + 1,): the spikes of unit i are `offsets[i]:offsets[i + 1]`.
    start, rate_hz, n_rows
        Native time of the first row, rows per second, and number of rows.
    """

    def __init__(
        self,
        file: TimesFile,
        offsets: np.ndarray,
        start: float,
        rate_hz: float,
        n_rows: int,
    ) -> None:
        self.path = file.path
        self.shape: tuple[int, ...] = (n_rows, len(offsets) - 1)
        self.dtype: np.dtype[Any] = np.dtype(np.float32)
        self._file, self.offsets = file, offsets
        self._start, self._rate_hz = start, rate_hz

    def check(self) -> None:
        """Raise `SessionFormatError` if the file is gone or has changed."""
        self._file.check()

    def all_times(self) -> np.ndarray:
        """Return the spike times of all units, one unit after the other."""
        return self._file.open()

    def read(self, first: int, stop: int) -> np.ndarray:
        """Return the counts of rows `first` to `stop`, float32 (stop - first, n)."""
        height = max(0, min(stop, self.shape[0]) - first)
        begin = self._start + first / self._rate_hz
        end = self._start + (first + height) / self._rate_hz
        unit, times = self.between(begin, end)
        # Rows are counted from row 0, so that any block gives the same counts.
        row = np.floor((times - self._start) * self._rate_hz).astype(np.int64) - first
        return self._histogram(row, unit, height)

    def count(self, start: float, rate_hz: float, n_bins: int) -> np.ndarray:
        """Return the counts float32 (n_bins, n) of bins that begin at `start`.

        Parameters
        ----------
        start
            Native time of the first bin's left edge. A spike on an edge belongs to
            the bin on its right.
        rate_hz
            Bins per second.
        n_bins
            Number of bins.
        """
        unit, times = self.between(start, start + n_bins / rate_hz)
        bin_number = np.floor((times - start) * rate_hz).astype(np.int64)
        return self._histogram(bin_number, unit, n_bins)

    def times(self, unit: int, start: float, stop: float) -> np.ndarray:
        """Return the spike times of one unit in seconds of the recording's clock."""
        first, last = self.offsets[unit], self.offsets[unit + 1]
        spikes = np.asarray(self._file.open()[first:last], np.float64)
        return spikes[np.searchsorted(spikes, start) : np.searchsorted(spikes, stop)]

    def pick(self, rows: np.ndarray, columns: slice) -> np.ndarray:
        """Return the counts of scattered rows, which must ascend."""
        height = max(1, min(_BLOCK_ROWS, _BLOCK_VALUES // self.shape[1]))
        return pick_in_blocks(
            lambda first, stop: self.read(first, stop)[:, columns], rows, height
        )

    def between(self, start: float, stop: float) -> tuple[np.ndarray, np.ndarray]:
        """Return unit and native time of all spikes in [start, stop)."""
        times, n = self._file.open(), self.shape[1]
        begin, end = self._first_after(times, start), self._first_after(times, stop)
        count = np.maximum(end - begin, 0)
        unit = np.repeat(np.arange(n), count)
        within = np.arange(len(unit)) - np.repeat(np.cumsum(count) - count, count)
        return unit, times[begin[unit] + within].astype(np.float64)

    def _histogram(self, row: np.ndarray, unit: np.ndarray, height: int) -> np.ndarray:
        n = self.shape[1]
        # Rounding can put a spike next to an edge one row too far.
        index = np.clip(row, 0, max(0, height - 1)) * n + unit
        counts = np.bincount(index, minlength=height * n)[: height * n]
        return counts.reshape(height, n).astype(np.float32)

    def _first_after(self, times: np.ndarray, time: float) -> np.ndarray:
        """Return the first spike at or after a time of each unit, int64 (n,).

        All units are bisected at once: a loop over units in Python is slow for many.
        """
        low, high = self.offsets[:-1].copy(), self.offsets[1:].copy()
        while (unfinished := low < high).any():
            middle = (low + high) // 2
            # Index 0 stands in for finished units, whose middle may be past the end.
            before = unfinished & (times[np.where(unfinished, middle, 0)] < time)
            high = np.where(unfinished & ~before, middle, high)
            low = np.where(before, middle + 1, low)
        return low
