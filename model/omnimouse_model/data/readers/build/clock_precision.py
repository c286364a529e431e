"""Times that lost their precision on their way into a file."""

from pathlib import Path

import numpy as np

from omnimouse_model.data.io.safe_files import label
from omnimouse_model.errors import SessionFormatError

_QUANTUM_S = 1e-3


def refuse_quantised(stored: np.ndarray, path: Path) -> None:
    """Refuse epoch-like times that went through float32 and lost their order.

    Raises
    ------
    SessionFormatError
        They are float32, or were: then they hold nothing finer, and repeat.
    """
    if not len(stored) or stored.dtype.kind != "f":
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
    repeats = bool((np.diff(stored) == 0).any())
    return repeats and np.array_equal(stored.astype(np.float32), stored)
