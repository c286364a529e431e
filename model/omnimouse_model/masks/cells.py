"""Codes of cells and the rules over them, as plain arrays (n_samples, P)."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from omnimouse_model.data.window_spec import OMNIMOUSE, WindowSpec
from omnimouse_model.errors import MaskError

HIDDEN, VISIBLE, TARGET = 0, 1, 2
MIXED = 3
STATE_NAMES = ("hidden", "visible", "target", "mixed")
"""By code; the last for a neuron whose code changes within a span."""
TRANSITION = " → "
"""Between the state a span begins with and the one it ends with."""


def _pattern_words() -> list[str]:
    words = []
    for state, word in enumerate(STATE_NAMES):
        for first in STATE_NAMES[:MIXED]:
            for last in STATE_NAMES[:MIXED]:
                changes = state == MIXED and first != last
                words.append(f"{first}{TRANSITION}{last}" if changes else word)
    return words


PATTERN_NAMES = tuple(_pattern_words())
"""Words of `Mask.patterns_in`: a state, a mixed one by both ends: `hidden → target`."""
GUARD_SAMPLES = 5
GUARD_S = GUARD_SAMPLES / OMNIMOUSE.response_rate_hz
BehaviorMode = Literal["visible", "target", "hidden"]
Neurons = int | Sequence[int] | np.ndarray | slice
Samples = slice | tuple[int, int] | Sequence[int] | np.ndarray


@runtime_checkable
class HasNeurons(Protocol):
    """Anything with a population: a session."""

    @property
    def n_neurons(self) -> int:
        """Number of neurons."""
        ...


def count_neurons(session: "HasNeurons | int | np.integer[Any]") -> int:
    """Neurons of a session, or the number itself."""
    # mypy: getattr keeps the union that its default removes
    return int(getattr(session, "n_neurons", session))  # type: ignore[arg-type]


# -- targets that would be read off their neighbours ------------------------------
def guard_samples(spec: WindowSpec) -> int:
    """Return how many samples after a visible one are not asked of the same neuron.

    Traces are upsampled from a slower recording, so that neighbours reveal each other
    (5 samples at 30 Hz). Counts are not.
    """
    if spec.responses == "count":
        return 0
    return int(np.ceil(spec.response_rate_hz * GUARD_S - 1e-9))


def after_visible(visible: np.ndarray, n_samples: int = GUARD_SAMPLES) -> np.ndarray:
    """Return the cells shortly after a visible one of the same neuron, bool (T, N)."""
    near = np.zeros_like(visible)
    for lag in range(1, n_samples + 1):
        near[lag:] |= visible[:-lag]
    return near


# -- setting cells ----------------------------------------------------------------
def fill(cells: np.ndarray, rows: np.ndarray, columns: np.ndarray, code: int) -> None:
    """Set a block of cells; a boolean sweep beats an index list for many neurons."""
    if len(columns) < 256:
        cells[np.ix_(rows, columns)] = code
        return
    chosen = np.zeros(cells.shape[1], bool)
    chosen[columns] = True
    for row in rows:
        np.copyto(cells[row], np.uint8(code), where=chosen)


def sample_rows(samples: Samples, count: int) -> np.ndarray:
    """Indices of samples; a tuple (start, stop) is a span, a list is single ones."""
    if isinstance(samples, slice):
        return np.arange(count)[samples]
    if isinstance(samples, tuple) and len(samples) == 2:
        return _indices(np.arange(samples[0], samples[1]), count, "samples")
    return _indices(samples, count, "samples")


def neuron_columns(neurons: Neurons, count: int) -> np.ndarray:
    """Indices of neurons."""
    if isinstance(neurons, slice):
        return np.arange(count)[neurons]
    return _indices(neurons, count, "neurons")


def _indices(wanted: object, count: int, what: str) -> np.ndarray:
    """Indices from numbers, one number or a bool array; nothing wraps around."""
    indices = np.atleast_1d(np.asarray(wanted))
    if indices.dtype == bool:
        if indices.shape != (count,):
            raise MaskError(
                f"A bool choice of {what} needs {count} values, found {indices.shape}."
            )
        return np.flatnonzero(indices)
    indices = indices.astype(np.int64)
    if len(indices) and not 0 <= indices.min() <= indices.max() < count:
        raise MaskError(
            f"There are {what} 0..{count - 1}; found {indices.min()}..{indices.max()}."
        )
    return indices
