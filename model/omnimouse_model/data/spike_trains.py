"""Spike times of many units, counted in bins when they are read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from omnimouse_model.storage.arrays.rows import runs_of

_EDGE = 1e-6
"""A bin may exceed an observed span by this share of its width, through rounding."""
# Rows, and values of all units, that `pick` counts at once.
_BLOCK_ROWS = 4096
_BLOCK_VALUES = 2**24


@runtime_checkable
class TimesFile(Protocol):
    """A file, or an array in memory, that holds spike times."""

    @property
    def path(self) -> Path:
        """The file, for messages."""

    def check(self) -> None:
        """Raise `SessionFormatError` if the file is gone or has changed."""

    def open(self) -> np.ndarray:
        """Return all spike times (spike,), memory-mapped where they are in a file."""


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """Time in which units were observed; at other times they are unknown, not silent.

    Attributes
    ----------
    spans
        float64 (k, 2) native begin and end, disjoint and ascending: of all units, or of
        unit after unit.
    offsets
        int64 (n + 1,): the spans of unit i are `offsets[i]:offsets[i + 1]`; None if the
        spans are those of all units.
    """

    spans: np.ndarray
    offsets: np.ndarray | None = None

    def in_bins(self, start: float, rate_hz: float, n_bins: int) -> np.ndarray:
        """Return which bins lie within a span: bool (n_bins, n), or (n_bins, 1)."""
        # Of the spans of each unit, only those that reach into the bins.
        offsets = self.offsets
        if offsets is None:
            offsets = np.array([0, len(self.spans)])
        begin, end = self.spans.T
        low = _first_at_or_after(end, offsets, start)
        high = _first_at_or_after(begin, offsets, start + n_bins / rate_hz)
        n = len(low)
        unit, used = indices(low, high)
        first = np.ceil((begin[used] - start) * rate_hz - _EDGE)
        stop = np.floor((end[used] - start) * rate_hz + _EDGE)
        first, stop = np.maximum(first, 0), np.minimum(stop, n_bins)
        holds = first < stop
        first, stop, unit = first[holds], stop[holds], unit[holds]
        # +1 where a span begins and -1 where it ends: the running sum counts spans.
        steps = np.zeros((n_bins + 1, n), np.int32)
        np.add.at(steps, (first.astype(np.int64), unit), 1)
        np.add.at(steps, (stop.astype(np.int64), unit), -1)
        return np.asarray(np.cumsum(steps[:-1], axis=0) > 0)

    def seconds(self) -> np.ndarray:
        """Return the observed time of each unit, float64 (n,), or (1,) of all."""
        lengths = self.spans[:, 1] - self.spans[:, 0]
        if self.offsets is None:
            return np.array([lengths.sum()])
        ends = np.concatenate([[0.0], np.cumsum(lengths)])[self.offsets]
        return np.asarray(np.diff(ends))

    def select(self, units: np.ndarray) -> "Observed":
        """Return the observed time of some units."""
        if self.offsets is None:
            return self
        begin, end = self.offsets[units], self.offsets[units + 1]
        _, used = indices(begin, end)
        offsets = np.concatenate([[0], np.cumsum(end - begin)]).astype(np.int64)
        return Observed(self.spans[used], offsets)

    def of_population(self) -> np.ndarray:
        """Return spans (k, 2) in which at least one unit was observed, ascending."""
        order = np.argsort(self.spans[:, 0], kind="stable")
        begin, end = self.spans[order].T
        reached = np.maximum.accumulate(end)
        is_first = np.concatenate([[True], begin[1:] > reached[:-1]])
        starts = np.flatnonzero(is_first)
        stops = np.append(starts[1:], len(begin)) - 1
        return np.stack([begin[starts], reached[stops]], axis=1)


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
    observed
        Time in which the units were observed; None for all time. Counts of other time
        are NaN.
    """

    def __init__(
        self,
        file: TimesFile,
        offsets: np.ndarray,
        start: float,
        rate_hz: float,
        n_rows: int,
        observed: Observed | None = None,
    ) -> None:
        self.path = file.path
        self.shape: tuple[int, ...] = (n_rows, len(offsets) - 1)
        self.dtype: np.dtype[Any] = np.dtype(np.float32)
        self._file, self.offsets, self.observed = file, offsets, observed
        self._start, self._rate_hz = start, rate_hz
        self._times: np.ndarray | None = None

    # Another process reads the times from their file.
    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_times": None}

    def check(self) -> None:
        """Raise `SessionFormatError` if the file is gone or has changed."""
        self._file.check()

    def all_times(self) -> np.ndarray:
        """Return the spike times of all units, one unit after the other."""
        return self._all_times()

    # Private, because a guarded session refuses `all_times`, not the times of a span.
    def _all_times(self) -> np.ndarray:
        self._file.check()
        if self._times is None:
            self._times = self._file.open()
        return self._times

    def read(self, first: int, stop: int) -> np.ndarray:
        """Return the counts of rows `first` to `stop`, float32 (stop - first, n)."""
        height = max(0, min(stop, self.shape[0]) - first)
        begin = self._start + first / self._rate_hz
        end = self._start + (first + height) / self._rate_hz
        unit, times = self.between(begin, end)
        # Rows are counted from row 0, so that any block gives the same counts.
        row = np.floor((times - self._start) * self._rate_hz).astype(np.int64) - first
        counts = self._histogram(row, unit, height)
        return self._known(counts, begin, self._rate_hz)

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

        Bins that do not lie within the observed time of a unit are NaN.
        """
        unit, times = self.between(start, start + n_bins / rate_hz)
        bin_number = np.floor((times - start) * rate_hz).astype(np.int64)
        counts = self._histogram(bin_number, unit, n_bins)
        return self._known(counts, start, rate_hz)

    def times(self, unit: int, start: float, stop: float) -> np.ndarray:
        """Return the spike times of one unit in seconds of the recording's clock."""
        first, last = self.offsets[unit], self.offsets[unit + 1]
        spikes = np.asarray(self._all_times()[first:last], np.float64)
        return spikes[np.searchsorted(spikes, start) : np.searchsorted(spikes, stop)]

    def pick(self, rows: np.ndarray, columns: slice) -> np.ndarray:
        """Return the counts of scattered rows, which must ascend."""
        height = max(1, min(_BLOCK_ROWS, _BLOCK_VALUES // self.shape[1]))
        runs = runs_of(rows, height)
        return np.concatenate([self.read(a, b)[inner, columns] for a, b, inner in runs])

    def between(self, start: float, stop: float) -> tuple[np.ndarray, np.ndarray]:
        """Return unit and native time of all spikes in [start, stop)."""
        times = self._all_times()
        begin = _first_at_or_after(times, self.offsets, start)
        end = _first_at_or_after(times, self.offsets, stop)
        unit, used = indices(begin, end)
        return unit, times[used].astype(np.float64)

    def _histogram(self, row: np.ndarray, unit: np.ndarray, height: int) -> np.ndarray:
        n = self.shape[1]
        # Rounding can put a spike next to an edge one row too far.
        index = np.clip(row, 0, max(0, height - 1)) * n + unit
        counts = np.bincount(index, minlength=height * n)[: height * n]
        return counts.reshape(height, n).astype(np.float32)

    def _known(self, counts: np.ndarray, start: float, rate_hz: float) -> np.ndarray:
        """Return the counts with NaN where a unit was not observed."""
        if self.observed is None:
            return counts
        observed = self.observed.in_bins(start, rate_hz, len(counts))
        return np.where(observed, counts, np.float32(np.nan))


def _first_at_or_after(times: np.ndarray, offsets: np.ndarray, time: float) -> np.ndarray:
    """Return the first ascending time of each unit at or after a time, int64 (n,).

    All units are bisected at once: a loop over units in Python is slow for many.
    """
    low, high = offsets[:-1].copy(), offsets[1:].copy()
    while (unfinished := low < high).any():
        middle = (low + high) // 2
        # Index 0 stands in for finished units, whose middle may be past the end.
        before = unfinished & (times[np.where(unfinished, middle, 0)] < time)
        high = np.where(unfinished & ~before, middle, high)
        low = np.where(before, middle + 1, low)
    return low


def indices(begin: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the unit and the index of all values `begin` to `end` of each unit."""
    count = np.maximum(end - begin, 0)
    unit = np.repeat(np.arange(len(count)), count)
    within = np.arange(len(unit)) - np.repeat(np.cumsum(count) - count, count)
    return unit, begin[unit] + within


def common_spans(spans: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the parts of spans (k, 2) that lie in others (m, 2), ascending and disjoint."""
    # The others that each span reaches are neighbours.
    low = np.searchsorted(others[:, 1], spans[:, 0], side="right")
    own, other = indices(low, np.searchsorted(others[:, 0], spans[:, 1]))
    begin = np.maximum(spans[own, 0], others[other, 0])
    stop = np.minimum(spans[own, 1], others[other, 1])
    return np.stack([begin, stop], axis=1)[begin < stop]
