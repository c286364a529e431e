"""Masks out of masks, and masks on the samples of another spec.

By time: a sample of the new spec overlaps one or more samples of the old one. The new
sample is a target if any of them is a target, hidden if any is hidden or outside the
old window, and visible only if all are visible. So no mapping shows a value that the
first mask withheld.
"""

from collections.abc import Callable, Sequence

import numpy as np

from omnimouse_model.data.window_spec import BehaviorSpec, WindowSpec
from omnimouse_model.errors import MaskError
from omnimouse_model.masks.cells import HIDDEN, TARGET, VISIBLE, BehaviorMode

# -- masks out of masks, as codes: union, intersection, difference, history, gaps -----
# The three states are ordered by how much they reveal: hidden < target < visible. A union
# takes the higher state of each cell, an intersection the lower one, so both are
# associative, commutative and idempotent, absorb each other, and distribute.
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


# -- map a mask to the samples of another spec ----------------------------------------
# Starts of samples at 50 and 30 Hz have no exact binary values; a sample that overlaps
# by less than this share of itself does not count.
_TOLERANCE = 1e-6


def map_cells(
    cells: np.ndarray, old: WindowSpec, new: WindowSpec, offset_s: float, speed: float = 1.0
) -> np.ndarray:
    """Return the codes uint8 (new.n_samples, P) of cells of the old spec.

    `offset_s` is the start of the new window minus the start of the old one. `speed`
    is the time in the old window per time in the new one: 1 if nothing is stretched.
    """
    mapped = np.full((new.n_samples, cells.shape[1]), HIDDEN, np.uint8)
    rates = old.response_rate_hz * speed, new.response_rate_hz
    first, stop = _overlaps(len(mapped), *rates, offset_s)
    for sample in np.flatnonzero((stop > 0) & (first < len(cells))):
        part = cells[max(first[sample], 0) : stop[sample]]
        is_target = (part == TARGET).any(axis=0)
        is_visible = (part == VISIBLE).all(axis=0)
        # A sample that is partly outside the old window is not known to be visible.
        if first[sample] < 0 or stop[sample] > len(cells):
            is_visible[:] = False
        mapped[sample] = np.where(is_target, TARGET, np.where(is_visible, VISIBLE, HIDDEN))
    return mapped


def map_frames(
    frames: np.ndarray, old: WindowSpec, new: WindowSpec, offset_s: float, speed: float = 1.0
) -> np.ndarray:
    """Return the visible frames bool (new.n_frames,) of frames of the old spec."""
    mapped = np.zeros(new.n_frames, bool)
    if old.video is None or new.video is None:
        return mapped
    rates = old.video.rate_hz * speed, new.video.rate_hz
    first, stop = _overlaps(len(mapped), *rates, offset_s)
    for frame in np.flatnonzero((first >= 0) & (stop <= len(frames))):
        mapped[frame] = frames[first[frame] : stop[frame]].all()
    return mapped


def map_behavior(
    modes: tuple[BehaviorMode, ...], old: BehaviorSpec | None, new: BehaviorSpec | None
) -> tuple[BehaviorMode, ...]:
    """Return the mode of each channel of the new spec by name; new ones are hidden.

    A spec in stored order reads its channels together: they get the mode in which all
    channels of the old spec agree, also those that it does not have (a twin has no
    change of pupil size). Where modes differ, all are hidden.
    """
    if new is None:
        return ()
    by_name = {} if old is None else dict(zip(old.channels, modes, strict=True))
    hidden: BehaviorMode = "hidden"
    if new.stored_order:
        shared = [by_name[name] for name in new.channels if name in by_name]
        common = shared[0] if len(set(shared)) == 1 else hidden
        return (common,) * len(new.channels)
    return tuple(by_name.get(name, hidden) for name in new.channels)


def stretch(values: np.ndarray, count: int) -> np.ndarray:
    """Return `count` rows: for each, the row at the same share of the window."""
    # The middle of each new row decides, in whole numbers: without rounding errors.
    middles = (2 * np.arange(count) + 1) * len(values) // (2 * count)
    return np.asarray(values[middles])


def describe_mapping(
    old: WindowSpec, new: WindowSpec, frames: np.ndarray, modes: tuple[BehaviorMode, ...]
) -> str:
    """Return a note on the mapping, with everything that the new spec cannot hold."""
    lost = ["visible video"] if frames.any() and new.video is None else []
    old_channels = () if old.behavior is None else old.behavior.channels
    new_channels = () if new.behavior is None else new.behavior.channels
    mapped = map_behavior(modes, old.behavior, new.behavior)
    new_modes = dict(zip(new_channels, mapped, strict=True))
    missing = [
        name
        for name, mode in zip(old_channels, modes, strict=True)
        if mode != new_modes.get(name, "hidden")
    ]
    if missing:
        lost.append(f"behaviour ({', '.join(missing)})")
    rates = f"{old.response_rate_hz:g} to {new.response_rate_hz:g} Hz"
    note = f"mapped by time from {rates}"
    return f"{note}; not mapped: {', '.join(lost)}" if lost else note


def _overlaps(
    count: int, old_hz: float, new_hz: float, offset_s: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return first and end index of the old samples that each new one overlaps."""
    start = (offset_s + np.arange(count) / new_hz) * old_hz
    stop = (offset_s + np.arange(1, count + 1) / new_hz) * old_hz
    first = np.floor(start + _TOLERANCE).astype(np.int64)
    end = np.ceil(stop - _TOLERANCE).astype(np.int64)
    # A new sample that lies within one old sample overlaps that one.
    return first, np.maximum(end, first + 1)
