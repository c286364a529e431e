"""Codes of cells and the rules over them, as plain arrays (60, P); no `Mask` here.

A model reads a neuron in tokens of 10 samples and answers on a grid of 5. What is
visible in shorter runs is not seen, and what lies too near to it is not asked.
"""

from collections.abc import Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from omnimouse_model.data.clock import N_SAMPLES
from omnimouse_model.errors import MaskError

HIDDEN, VISIBLE, TARGET = 0, 1, 2
MIXED = 3
STATE_WORDS = ("hidden", "visible", "target", "mixed")
"""By code; the last for a neuron whose code changes within a span."""
THEN = " → "
"""Between the state a span begins with and the one it ends with."""


def _pattern_words() -> list[str]:
    words = []
    for state, word in enumerate(STATE_WORDS):
        for first in STATE_WORDS[:MIXED]:
            for last in STATE_WORDS[:MIXED]:
                changes = state == MIXED and first != last
                words.append(f"{first}{THEN}{last}" if changes else word)
    return words


PATTERN_WORDS = tuple(_pattern_words())
"""Words of `Mask.patterns_in`: a state, a mixed one by both ends: `hidden → target`."""
TOKEN_SAMPLES, TOKEN_STRIDE = 10, 5
GUARD_SAMPLES = 5
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


# -- what reaches a model -------------------------------------------------------
def run_starts(visible: np.ndarray, cuts: tuple[int, ...]) -> np.ndarray:
    """First sample of the visible run that each cell is in; -1 where not visible.

    Runs are per neuron, maximal, and split at cuts. int16 (60, N).
    """
    starts = np.full(visible.shape, -1, np.int16)
    current = np.full(visible.shape[1], -1, np.int16)
    for sample, row in enumerate(visible):
        if sample in cuts:
            current = np.full_like(current, -1)
        current = np.where(row, np.where(current < 0, sample, current), -1).astype(
            np.int16
        )
        starts[sample] = current
    return starts


def token_starts(visible: np.ndarray, cuts: tuple[int, ...]) -> np.ndarray:
    """Where response tokens begin: bool (51, N).

    A run of at least 10 samples becomes tokens from its start with stride 5, and one
    more aligned to its end where the stride does not reach it. Shorter runs give none.
    """
    patterns, which = distinct_columns(visible)
    return np.asarray(_token_starts(patterns, cuts)[:, which])


def distinct_columns(visible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different columns of a bool (60, N), and which of them each neuron has.

    Few patterns serve a whole population: strategies have two or three.
    """
    packed = np.ascontiguousarray(np.packbits(visible, axis=0).T)
    words = packed.view(np.uint64).ravel()  # 60 samples are 8 bytes
    _, first, which = np.unique(words, return_index=True, return_inverse=True)
    return visible[:, first], which


def _token_starts(visible: np.ndarray, cuts: tuple[int, ...]) -> np.ndarray:
    starts = run_starts(visible, cuts)
    n_places = len(visible) - TOKEN_SAMPLES + 1
    first, last = starts[:n_places], starts[TOKEN_SAMPLES - 1 :]
    fits = (first >= 0) & (first == last)
    on_stride = (np.arange(n_places)[:, None] - first) % TOKEN_STRIDE == 0
    after = np.full_like(first, -1)
    after[:-1] = starts[TOKEN_SAMPLES:]
    ends_run = after != first
    return np.asarray(fits & (on_stride | ends_run))


def in_tokens(visible: np.ndarray, cuts: tuple[int, ...]) -> np.ndarray:
    """Visible cells that some token reads, bool (60, N): not in too short runs."""
    starts = token_starts(visible, cuts)
    covered = np.zeros_like(visible)
    for offset in range(TOKEN_SAMPLES):
        covered[offset : offset + len(starts)] |= starts
    return covered


def video_steps(frames: np.ndarray) -> np.ndarray:
    """Which steps of two frames enter the model, bool (30,).

    Both frames must be visible. A single span follows the official formula (spec §8),
    floor(start / 2) to floor(stop / 2), which differs where it starts at an odd frame.
    """
    first, second = frames.reshape(-1, 2).T
    n_spans = int(frames[0]) + int(np.count_nonzero(frames[1:] & ~frames[:-1]))
    return np.asarray(second if n_spans == 1 else first & second)


def after_visible(visible: np.ndarray) -> np.ndarray:
    """Cells within 5 samples after a visible one of the same neuron, bool (60, N)."""
    near = np.zeros_like(visible)
    for lag in range(1, GUARD_SAMPLES + 1):
        near[lag:] |= visible[:-lag]
    return near


def entering(order: np.ndarray, n_neurons: int) -> np.ndarray:
    """Neurons that enter the model, bool (P,)."""
    enters = np.zeros(n_neurons, bool)
    enters[order] = True
    return enters


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


def sample_rows(samples: Samples) -> np.ndarray:
    """Indices of samples; a tuple (start, stop) is a span, a list is single ones."""
    if isinstance(samples, slice):
        return np.arange(N_SAMPLES)[samples]
    if isinstance(samples, tuple) and len(samples) == 2:
        return _indices(np.arange(samples[0], samples[1]), N_SAMPLES, "samples")
    return _indices(samples, N_SAMPLES, "samples")


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
