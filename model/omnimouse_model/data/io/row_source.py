"""Where the samples of a stream are: anything that gives runs of its rows.

Formats differ in this alone: a mapped file (`files.ArrayFile`), an HDF5 dataset, one
file per trial, a store in chunks. Streams and windows ask for rows and do not know.
"""

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Rows(Protocol):
    """Samples (T, C) or (T,), read when asked, and safe to pickle."""

    @property
    def path(self) -> Path:
        """The file or folder they are in, for messages."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """(T, C), or (T,) for one column."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the samples as `read` gives them."""
        ...

    def check(self) -> None:
        """Raise `SessionFormatError` where the file is gone, or changed since."""
        ...

    def read(self, first: int, stop: int) -> np.ndarray:
        """Rows `first` to `stop`, as stored, not to be written to."""
        ...

    def pick(self, rows: np.ndarray, columns: slice) -> np.ndarray:
        """Rows here and there, ascending, of a run of columns: (len(rows), columns)."""
        ...
