"""Rows of NWB series on one even clock: uneven samples, and several planes."""

from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.io.row_source import Rows
from omnimouse_model.data.readers.build.size_limits import check_extent

_LONGEST_HOLD = 1.5
"""Steps of the grid for which a sample is held; later values are missing (NaN)."""
_ROUNDED = 4
"""Tolerance for rounding of times, in units of the float spacing."""


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
