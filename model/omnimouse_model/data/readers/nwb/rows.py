"""Rows of NWB series on one even clock: uneven samples, epochs, several planes."""

from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.readers.build.placed_rows import sample_places
from omnimouse_model.data.readers.nwb.file import JITTER
from omnimouse_model.storage.arrays.rows import Rows

_ROUNDED = 4
"""Tolerance for rounding of times, in units of the float spacing."""
_NEAR = 0.75
"""Distance from a grid row, in steps, up to which a sample is its value."""


def place_samples(times: np.ndarray, rate_hz: float) -> tuple[np.ndarray, np.ndarray, bool]:
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
    place, deviation = sample_places(times, rate_hz)
    if deviation <= JITTER + rate_hz * _ROUNDED * np.spacing(times[-1]):
        return np.arange(len(times)), place, True
    at = (times - times[0]) * rate_hz
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
