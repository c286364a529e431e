"""Masks out of masks, as codes: union, intersection, difference, history, gaps.

The three states are ordered by how much they reveal: hidden < target < visible. A union
takes the higher state of each cell, an intersection the lower one, so both are
associative, commutative and idempotent, absorb each other, and distribute.
"""

from collections.abc import Callable, Sequence

import numpy as np

from omnimouse_model.errors import MaskError
from omnimouse_model.masks.cells import HIDDEN, TARGET, VISIBLE, BehaviorMode

_RANK = np.array([0, 2, 1], np.uint8)
"""Rank of a code, hidden < target < visible; also the code of a rank."""
_INVERTED = np.array([VISIBLE, HIDDEN, TARGET], np.uint8)
_SWAPPED = np.array([HIDDEN, TARGET, VISIBLE], np.uint8)
Rule = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Codes of two masks to the codes of their combination."""
# In the order of the codes of cells, so that one set of rules serves both.
_MODES: tuple[BehaviorMode, ...] = ("hidden", "visible", "target")


def united(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the higher state of each cell."""
    return np.asarray(_RANK[np.maximum(_RANK[first], _RANK[second])])


def shared(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the lower state of each cell."""
    return np.asarray(_RANK[np.minimum(_RANK[first], _RANK[second])])


def without(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return `first` where `second` is hidden, hidden elsewhere."""
    return np.where(second == HIDDEN, first, np.uint8(HIDDEN))


def inverted(cells: np.ndarray) -> np.ndarray:
    """Exchange hidden and visible; targets stay."""
    return np.asarray(_INVERTED[cells])


def swapped(cells: np.ndarray) -> np.ndarray:
    """Exchange visible and target; hidden cells stay."""
    return np.asarray(_SWAPPED[cells])


def behavior_codes(modes: Sequence[BehaviorMode]) -> np.ndarray:
    """Return modes of channels as codes, uint8 (C,), to which the rules apply."""
    return np.array([_MODES.index(mode) for mode in modes], np.uint8)


def behavior_modes(codes: np.ndarray) -> tuple[BehaviorMode, ...]:
    """Return the modes of codes of behaviour."""
    return tuple(_MODES[code] for code in codes.tolist())


def recent(cells: np.ndarray, n_samples: int) -> np.ndarray:
    """Hide all but each neuron's last `n_samples` visible ones before the targets."""
    _check_count(n_samples, "history", len(cells))
    stop = first_target(cells)
    is_visible = cells[:stop] == VISIBLE
    # Counted from the end, so that a neuron's last visible sample has the number 1.
    # Samples that a gap hides do not count.
    number = np.cumsum(is_visible[::-1], axis=0)[::-1]
    changed = cells.copy()
    changed[:stop][is_visible & (number > n_samples)] = HIDDEN
    return changed


def apart(cells: np.ndarray, n_samples: int) -> np.ndarray:
    """Hide all visible cells within `n_samples` before the first target."""
    _check_count(n_samples, "gap", len(cells))
    stop = first_target(cells)
    changed = cells.copy()
    # A view, so that the assignment changes the copy.
    near = changed[max(stop - n_samples, 0) : stop]
    near[near == VISIBLE] = HIDDEN
    return changed


def first_target(cells: np.ndarray) -> int:
    """Return the first sample with a target of any neuron; the end if there is none."""
    rows = np.flatnonzero((cells == TARGET).any(axis=1))
    return int(rows[0]) if len(rows) else len(cells)


def _check_count(n_samples: int, name: str, most: int) -> None:
    if not 0 <= n_samples <= most:
        raise MaskError(
            f"A {name} of {n_samples} samples is not in 0..{most}, the samples of a window."
        )
