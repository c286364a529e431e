"""Map a mask to the samples of another spec, by time or by its share of the window.

By time: a sample of the new spec overlaps one or more samples of the old one. The new
sample is a target if any of them is a target, hidden if any is hidden or outside the
old window, and visible only if all are visible. So no mapping shows a value that the
first mask withheld.
"""

import numpy as np

from omnimouse_model.data.window_spec import BehaviorSpec, WindowSpec
from omnimouse_model.masks.cells import HIDDEN, TARGET, VISIBLE, BehaviorMode

# Starts of samples at 50 and 30 Hz have no exact binary values; a sample that overlaps
# by less than this share of itself does not count.
_TOLERANCE = 1e-6


def map_cells(
    cells: np.ndarray,
    old: WindowSpec,
    new: WindowSpec,
    offset_s: float,
    speed: float = 1.0,
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
    frames: np.ndarray,
    old: WindowSpec,
    new: WindowSpec,
    offset_s: float,
    speed: float = 1.0,
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
    old: WindowSpec,
    new: WindowSpec,
    frames: np.ndarray,
    modes: tuple[BehaviorMode, ...],
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
