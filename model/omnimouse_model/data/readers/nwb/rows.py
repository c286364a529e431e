"""Samples of NWB series on one even clock: several planes at once, uneven times."""

from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.io.row_source import Rows
from omnimouse_model.data.readers.build.size_limits import check_extent

_HELD = 1.5
"""Samples hold for so many of the usual steps; then they are missing."""
_ROUNDED = 4
"""Spacings of their floats by which times on a grid may lie off through rounding."""


class EvenRows:
    """Unevenly timed rows on an even grid, the last one before each; see `Rows`.

    Parameters
    ----------
    rows, times
        Samples (T, C) and their native times, increasing.
    rate_hz
        Rows per second of the grid, which begins with the first sample.
    """

    def __init__(self, rows: Rows, times: np.ndarray, rate_hz: float) -> None:
        self._slack = max(1e-9, _ROUNDED * float(np.spacing(np.abs(times).max())))
        since = times - times[0]
        n = int((since[-1] + self._slack) * rate_hz) + 1
        self.path: Path = rows.path
        check_extent(rows.path, "a series on an even clock", n, rate_hz)
        self.shape: tuple[int, ...] = (n, int(np.prod(rows.shape[1:], dtype=int)))
        self.dtype: np.dtype[Any] = rows.dtype
        self._rows, self._since, self._rate_hz = rows, since, rate_hz

    def check(self) -> None:
        """Raise where the file is gone or changed."""
        self._rows.check()

    def read(self, first: int, stop: int) -> np.ndarray:
        """Grid rows `first` to `stop`, NaN where no sample is near before."""
        return self.pick(np.arange(first, min(stop, self.shape[0])), slice(None))

    def pick(self, rows: np.ndarray, columns: slice) -> np.ndarray:
        """Grid rows here and there."""
        if not len(rows):
            return np.zeros((0, self.shape[1]), self.dtype)[:, columns]
        at = rows / self._rate_hz + self._slack
        source = np.searchsorted(self._since, at, side="right") - 1
        low, high = int(source.min()), int(source.max()) + 1
        stored = self._rows.read(low, high).reshape(high - low, -1)
        values: np.ndarray = stored[source - low, columns]
        old = at - self._since[source] > _HELD / self._rate_hz
        if old.any():
            values = values.astype(np.result_type(values.dtype, np.float32))
            values[old] = np.nan
        return values


class SideBySide:
    """Rows of several planes at one rate as one, each from its own row on.

    Parameters
    ----------
    parts, first
        Each plane's rows, and the row of it that is row 0 here.
    """

    def __init__(self, parts: tuple[Rows, ...], first: tuple[int, ...]) -> None:
        n = min(p.shape[0] - f for p, f in zip(parts, first, strict=True))
        self.path: Path = parts[0].path
        self.shape: tuple[int, ...] = (n, sum(p.shape[1] for p in parts))
        self.dtype: np.dtype[Any] = np.result_type(*(p.dtype for p in parts))
        self._parts, self._first = parts, first

    def check(self) -> None:
        """Raise where a file is gone or changed."""
        for part in self._parts:
            part.check()

    def read(self, first: int, stop: int) -> np.ndarray:
        """Rows `first` to `stop`."""
        stop = min(stop, self.shape[0])
        pairs = zip(self._parts, self._first, strict=True)
        return np.concatenate([p.read(f + first, f + stop) for p, f in pairs], axis=1)

    def pick(self, rows: np.ndarray, columns: slice) -> np.ndarray:
        """Rows here and there."""
        pairs = zip(self._parts, self._first, strict=True)
        every = [part.pick(rows + f, slice(None)) for part, f in pairs]
        return np.concatenate(every, axis=1)[:, columns]
