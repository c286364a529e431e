"""Check for times that lost their precision when they were stored."""

from pathlib import Path

import numpy as np

from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.files import label

_QUANTUM_S = 1e-3


def refuse_quantised(stored: np.ndarray, path: Path) -> None:
    """Raise if large (Unix-epoch-like) times were stored as float32.

    At 1.5e9 s, float32 resolves only 128 s.

    Raises
    ------
    SessionFormatError
        If the times are float32, or are float64 converted from float32 (no finer
        values, and repeated ones).
    """
    if stored.dtype.kind != "f":
        return
    stored = stored[np.isfinite(stored)]
    if not len(stored):
        return
    largest = np.abs(stored).max().astype(np.float32)
    quantum = float(np.spacing(largest))
    if quantum > _QUANTUM_S and _was_single(stored):
        raise SessionFormatError(
            path,
            "quantised_times",
            f"{label(path)}: times quantised to {quantum:g} s; stored as float32?",
            "write them as float64",
        )


def _was_single(stored: np.ndarray) -> bool:
    if stored.dtype.itemsize < 8:
        return True
    # A few float64 times can be exact in float32 by chance; repeats cannot be real.
    repeats = bool((np.diff(stored) == 0).any())
    return repeats and np.array_equal(stored.astype(np.float32), stored)
