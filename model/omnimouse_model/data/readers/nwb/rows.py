"""Rows of NWB series on one even clock: uneven samples, epochs, several planes."""

from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.io.row_source import Rows
from omnimouse_model.data.readers.build.placed_rows import sample_places
from omnimouse_model.data.readers.build.size_limits import check_extent
from omnimouse_model.data.readers.nwb.file import JITTER

_LONGEST_HOLD = 1.5
"""Steps of the grid for which a sample is held; a longer step is a gap."""
_ROUNDED = 4
"""Tolerance for rounding of times, in units of the float spacing."""


_NEAR = 0.75
"""Distance from a grid row, in steps, up to which a sample is its value."""


def place_samples(
    times: np.ndarray, rate_hz: float
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return the places of uneven samples on an even grid from the first sample.

    Samples between two gaps that are even within a quarter of a step stay neighbours:
    none is lost or doubled. Otherwise, each grid row is the nearest sample.

    Parameters
    ----------
    times
        float64 (n,) increasing native times.
    rate_hz
        Rows per second of the grid.

    Returns
    -------
    source, place
        int64 (k,) samples that are used, and their grid rows; see `PlacedRows`.
    is_even
        Whether all samples are used, each once.
    """
    at = (times - times[0]) * rate_hz
    place = sample_places(times, rate_hz)
    begin = np.concatenate([[0], np.flatnonzero(np.diff(at) > _LONGEST_HOLD) + 1])
    count = np.diff(np.append(begin, len(at)))
    # The phase of a stretch is free; the deviations from it are not.
    late = at - place
    late -= np.repeat(np.add.reduceat(late, begin) / count, count)
    if np.abs(late).max() <= JITTER + rate_hz * _ROUNDED * np.spacing(times[-1]):
        return np.arange(len(at)), place, True
    rows = np.unique(np.concatenate([np.floor(at), np.ceil(at)]))
    right = np.clip(np.searchsorted(at, rows), 1, len(at) - 1)
    source = right - (rows - at[right - 1] < at[right] - rows)
    is_near = np.abs(at[source] - rows) <= _NEAR
    return source[is_near], rows[is_near].astype(np.int64), False


class EndToEnd:
    """Samples of several series one after the other; see `Rows`.

    Parameters
    ----------
    parts
        Rows of each series, with equal columns.
    """

    def __init__(self, parts: tuple[Rows, ...]) -> None:
        self.path: Path = parts[0].path
        self._ends = np.cumsum([part.shape[0] for part in parts])
        self.shape: tuple[int, ...] = (int(self._ends[-1]), parts[0].shape[1])
        self.dtype: np.dtype[Any] = np.result_type(*(part.dtype for part in parts))
        self._parts = parts

    def check(self) -> None:
        """Raise `SessionFormatError` if a file is missing or has changed."""
        for part in self._parts:
            part.check()

    def read(self, first: int, stop: int) -> np.ndarray:
        """Return rows `first` to `stop` of the joined samples."""
        values = [np.zeros((0, self.shape[1]), self.dtype)]
        for part, end in zip(self._parts, self._ends.tolist(), strict=True):
            begin = end - part.shape[0]
            low, high = max(first, begin), min(stop, end)
            if low < high:
                values.append(part.read(low - begin, high - begin))
        return np.concatenate(values).astype(self.dtype, copy=False)

    def pick(self, rows: np.ndarray, columns: slice) -> np.ndarray:
        """Return scattered rows (ascending) of a slice of columns."""
        edges = np.searchsorted(rows, self._ends)
        picked, begin = [], 0
        for part, end, edge in zip(self._parts, self._ends, edges, strict=True):
            own = rows[begin:edge] - (end - part.shape[0])
            picked.append(part.pick(own, columns))
            begin = edge
        return np.concatenate(picked).astype(self.dtype, copy=False)


class EvenRows:
    """Unevenly sampled rows on an even grid; see `Rows`.

    Each grid row is the last sample at or before its time.

    Parameters
    ----------
    rows, times
        Samples (T, C) and their native times, increasing.
    rate_hz
        Rows per second of the grid, which begins at the first sample.
    """

    def __init__(self, rows: Rows, times: np.ndarray, rate_hz: float) -> None:
        # Times near 1.5e9 s have a spacing of 0.24 µs, which dominates the slack.
        self._slack = max(1e-9, _ROUNDED * float(np.spacing(np.abs(times).max())))
        since = times - times[0]
        n = int((since[-1] + self._slack) * rate_hz) + 1
        self.path: Path = rows.path
        check_extent(rows.path, "a series on an even clock", n, rate_hz)
        self.shape: tuple[int, ...] = (n, int(np.prod(rows.shape[1:], dtype=int)))
        self.dtype: np.dtype[Any] = rows.dtype
        self._rows, self._since, self._rate_hz = rows, since, rate_hz

    def check(self) -> None:
        """Raise `SessionFormatError` if the file is missing or has changed."""
        self._rows.check()

    def read(self, first: int, stop: int) -> np.ndarray:
        """Return grid rows `first` to `stop`, NaN without a recent sample."""
        return self.pick(np.arange(first, min(stop, self.shape[0])), slice(None))

    def pick(self, rows: np.ndarray, columns: slice) -> np.ndarray:
        """Return scattered grid rows of a slice of columns."""
        if not len(rows):
            return np.zeros((0, self.shape[1]), self.dtype)[:, columns]
        # The slack keeps a sample that lies on a grid time from counting as later.
        at = rows / self._rate_hz + self._slack
        source = np.searchsorted(self._since, at, side="right") - 1
        # One contiguous read of all samples behind the requested grid rows.
        low, high = int(source.min()), int(source.max()) + 1
        stored = self._rows.read(low, high).reshape(high - low, -1)
        values: np.ndarray = stored[source - low, columns]
        old = at - self._since[source] > _LONGEST_HOLD / self._rate_hz
        if old.any():
            # Integers cannot hold NaN.
            values = values.astype(np.result_type(values.dtype, np.float32))
            values[old] = np.nan
        return values


class SideBySide:
    """Columns of several planes at one rate, joined; see `Rows`.

    Parameters
    ----------
    parts, first
        Rows of each plane, and the row of each plane that becomes row 0.
    """

    def __init__(self, parts: tuple[Rows, ...], first: tuple[int, ...]) -> None:
        # Up to the end of the shortest plane.
        n = min(p.shape[0] - f for p, f in zip(parts, first, strict=True))
        self.path: Path = parts[0].path
        self.shape: tuple[int, ...] = (n, sum(p.shape[1] for p in parts))
        self.dtype: np.dtype[Any] = np.result_type(*(p.dtype for p in parts))
        self._parts, self._first = parts, first

    def check(self) -> None:
        """Raise `SessionFormatError` if a file is missing or has changed."""
        for part in self._parts:
            part.check()

    def read(self, first: int, stop: int) -> np.ndarray:
        """Return rows `first` to `stop` of all planes."""
        stop = min(stop, self.shape[0])
        pairs = zip(self._parts, self._first, strict=True)
        return np.concatenate([p.read(f + first, f + stop) for p, f in pairs], axis=1)

    def pick(self, rows: np.ndarray, columns: slice) -> np.ndarray:
        """Return scattered rows of a slice of the joined columns."""
        pairs = zip(self._parts, self._first, strict=True)
        every = [part.pick(rows + f, slice(None)) for part, f in pairs]
        return np.concatenate(every, axis=1)[:, columns]
