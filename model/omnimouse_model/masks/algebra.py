"""Masks out of masks, as codes: union, intersection, difference, history, gaps.

The three states are ordered by how much they give away: hidden < target < visible.
A union takes the higher state of each cell, an intersection the lower one, so both are
associative, commutative and idempotent, absorb each other, and distribute.
"""

from collections.abc import Callable, Sequence

import numpy as np

from omnimouse_model.errors import MaskError
from omnimouse_model.masks.cells import HIDDEN, TARGET, VISIBLE, BehaviorMode

_RANK = np.array([0, 2, 1], np.uint8)
"""Rank of a code, and code of a rank: hidden < target < visible."""
_INVERTED = np.array([VISIBLE, HIDDEN, TARGET], np.uint8)
_SWAPPED = np.array([HIDDEN, TARGET, VISIBLE], np.uint8)
Rule = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""What becomes of two masks' codes."""
_MODES: tuple[BehaviorMode, ...] = ("hidden", "visible", "target")


def united(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The higher state of each cell."""
    higher: np.ndarray = _RANK[np.maximum(_RANK[one], _RANK[other])]
    return higher


def shared(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The lower state of each cell."""
    lower: np.ndarray = _RANK[np.minimum(_RANK[one], _RANK[other])]
    return lower


def without(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """`one` where `other` is hidden, hidden elsewhere."""
    return np.where(other == HIDDEN, one, np.uint8(HIDDEN))


def inverted(cells: np.ndarray) -> np.ndarray:
    """Hidden and visible exchanged; targets stay."""
    exchanged: np.ndarray = _INVERTED[cells]
    return exchanged


def swapped(cells: np.ndarray) -> np.ndarray:
    """Visible and target exchanged; hidden cells stay."""
    exchanged: np.ndarray = _SWAPPED[cells]
    return exchanged


def behavior_codes(modes: Sequence[BehaviorMode]) -> np.ndarray:
    """Modes of channels as codes, uint8 (C,), so that the same rules serve them."""
    return np.array([_MODES.index(mode) for mode in modes], np.uint8)


def behavior_modes(codes: np.ndarray) -> tuple[BehaviorMode, ...]:
    """Modes of codes of behaviour."""
    return tuple(_MODES[code] for code in codes.tolist())


def recent(cells: np.ndarray, n_samples: int) -> np.ndarray:
    """Hide all but each neuron's last `n_samples` visible ones before the targets."""
    _check_count(n_samples, "history", len(cells))
    before = cells[: first_target(cells)]
    visible = before == VISIBLE
    # counted from the end, so that a neuron's last visible sample is number 1
    number = np.cumsum(visible[::-1], axis=0)[::-1]
    kept = cells.copy()
    kept[: len(before)][visible & (number > n_samples)] = HIDDEN
    return kept


def apart(cells: np.ndarray, n_samples: int) -> np.ndarray:
    """Hide what is visible within `n_samples` before the first target."""
    _check_count(n_samples, "gap", len(cells))
    stop = first_target(cells)
    kept = cells.copy()
    near = kept[max(stop - n_samples, 0) : stop]
    near[near == VISIBLE] = HIDDEN
    return kept


def first_target(cells: np.ndarray) -> int:
    """First sample at which any neuron is asked; the end where none is."""
    asked = np.flatnonzero((cells == TARGET).any(axis=1))
    return int(asked[0]) if len(asked) else len(cells)


def _check_count(n_samples: int, what: str, most: int) -> None:
    if not 0 <= n_samples <= most:
        raise MaskError(
            f"A {what} of {n_samples} samples is not in 0..{most}, the samples "
            "of a window."
        )
