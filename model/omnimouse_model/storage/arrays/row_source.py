"""Protocol for the samples of a stream, read in runs of rows.

Each format implements it: a file of one array (`ArrayFile`), an HDF5 dataset, one
file per trial, a chunked store. Streams and windows depend only on this protocol.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Rows(Protocol):
    """Samples (T, C) or (T,), read on demand; can be pickled."""

    @property
    def path(self) -> Path:
        """File or folder of the samples, for messages."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """(T, C), or (T,) for one column."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the samples that `read` returns."""
        ...

    def check(self) -> None:
        """Raise `SessionFormatError` if a file is missing or has changed."""
        ...

    def read(self, first: int, stop: int) -> np.ndarray:
        """Return rows `first` to `stop` (exclusive); callers must not write to them."""
        ...

    def pick(self, rows: np.ndarray, columns: slice) -> np.ndarray:
        """Return scattered rows (ascending) of a slice of columns.

        The result is (len(rows), columns).
        """
        ...


class MemoryRows:
    """Values held in memory: rows (T, C), see `Rows`, or spike times (n,)."""

    def __init__(self, path: Path, values: np.ndarray) -> None:
        self.path = path
        self.shape: tuple[int, ...] = values.shape
        self.dtype: np.dtype[Any] = values.dtype
        self._values = values

    def check(self) -> None:
        """Return at once: values in memory cannot change."""

    def open(self) -> np.ndarray:
        """Return all values."""
        return self._values

    def part(self, *keys: slice | np.ndarray) -> np.ndarray:
        """Return a part of the values, each axis taken on its own."""
        values = self._values
        for axis, key in enumerate(keys):
            values = values[(slice(None),) * axis + (key,)]
        return values

    def read(self, first: int, stop: int) -> np.ndarray:
        """Return rows `first` to `stop`."""
        return self._values[first:stop]

    def pick(self, rows: np.ndarray, columns: slice) -> np.ndarray:
        """Return scattered rows of a slice of columns."""
        return self._values.reshape(len(self._values), -1)[rows, columns]


def pick_in_blocks(
    read: Callable[[int, int], np.ndarray],
    rows: np.ndarray,
    height: int,
    gap: int | None = None,
) -> np.ndarray:
    """Return scattered rows (ascending), read in runs.

    Parameters
    ----------
    read
        Function that returns the rows from a first one to a last one (exclusive).
    height
        Rows of a block. A run ends at the border of a block: it is bounded, and no
        block is decoded twice.
    gap
        A run also ends where the next row is further away; None for any distance.
    """
    if not len(rows):
        return read(0, 0)
    is_end = np.diff(rows // height) > 0
    if gap is not None:
        is_end |= np.diff(rows) > gap
    runs = np.split(rows, np.flatnonzero(is_end) + 1)
    return np.concatenate([read(int(run[0]), int(run[-1]) + 1)[run - run[0]] for run in runs])
