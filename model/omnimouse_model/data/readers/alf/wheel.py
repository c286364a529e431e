"""Speed of the wheel of an ALF folder, from its positions."""

from pathlib import Path

import numpy as np

from omnimouse_model.data.readers.alf.layout import behavior_files
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.signal import Signal
from omnimouse_model.storage.arrays.npy import load_small_array
from omnimouse_model.storage.arrays.row_source import MemoryRows
from omnimouse_model.storage.files import bad_file

RATE_HZ = 50.0
"""Samples of the speed per second: one for each bin of 20 ms."""
_STILL_S, _SAME = 10.0, 0.02
"""Longest time at an end in which a wheel without changes stood still: seconds, and
share of the recording."""


def read_wheel(root: Path, span: tuple[float, float], notes: Notes) -> Signal | None:
    """Return the speed of the wheel over a span of native time, None without a wheel.

    Raises
    ------
    SessionFormatError
        A file is missing or damaged, or positions and times do not fit.
    """
    files = behavior_files(root, "wheel", notes)
    places = [files.get(f"wheel.{name}.npy") for name in ("position", "timestamps")]
    path, times_path = places
    if path is None and times_path is None:
        return None
    if path is None or times_path is None:
        name = "position" if path is None else "timestamps"
        there = next(place for place in places if place is not None)
        missing = there.with_name(there.name.replace("timestamps", name))
        raise bad_file(missing, "missing_file", f"is missing: wheel.{name}")
    position, times = (_numbers(place, root) for place in (path, times_path))
    # Two columns: sample numbers and their times, between which times are linear.
    if times.ndim == 2 and times.shape[1] == 2 and len(times) > 1:
        times = np.interp(np.arange(len(position)), times[:, 0], times[:, 1])
    times, position = times.reshape(-1), position.reshape(-1)
    if len(times) != len(position) or len(times) < 2:
        raise bad_file(
            times_path,
            "wrong_length",
            f"has {len(times):,} times for {len(position):,} positions",
            "are both files of one revision?",
        )
    for values, file in ((times, times_path), (position, path)):
        is_bad = ~np.isfinite(values)
        if is_bad.any():
            at = int(np.flatnonzero(is_bad)[0])
            problem = (
                f"holds {int(is_bad.sum()):,} values that are not finite (NaN) of "
                f"{len(values):,}, the first at index {at}"
            )
            raise bad_file(file, "not_finite", problem, "take these samples away")
    falls = np.flatnonzero(np.diff(times) < 0)
    if len(falls):
        k = int(falls[0])
        problem = f"decreases at index {k + 1}, from {times[k]:.6g} to {times[k + 1]:.6g} s"
        raise bad_file(times_path, "not_ascending", problem, "sort the samples by time")
    if times[-1] < span[0] or times[0] > span[1]:
        raise bad_file(
            times_path,
            "no_overlap",
            f"lasts from {times[0]:.6g} to {times[-1]:.6g} s, and the spikes from "
            f"{span[0]:.6g} to {span[1]:.6g} s",
            "bring both to one clock, in seconds",
        )
    n = max(2, int((span[1] - span[0]) * RATE_HZ) + 1)
    grid = span[0] + np.arange(n) / RATE_HZ
    speed = np.abs(np.gradient(np.interp(grid, times, position))) * RATE_HZ
    first, last = float(times[0]), float(times[-1])
    notes.assume(
        "wheel_speed",
        "the stream of running is the speed of the wheel, without direction, from "
        f"positions interpolated at {RATE_HZ:g} Hz, from {first:.6g} to {last:.6g} s",
    )
    # The encoder stores only changes: for a short time before the first and after the
    # last one, the wheel stood still; in a long time, it was not recorded.
    still_s = max(_STILL_S, _SAME * (span[1] - span[0]))
    is_missing = np.zeros(n, bool)
    if first - span[0] > still_s:
        is_missing |= grid < first
    if span[1] - last > still_s:
        is_missing |= grid > last
    if is_missing.any():
        speed[is_missing] = np.nan
        notes.warn(
            "stream_lengths",
            f"running (wheel) lasts {last - first:.6g} s ({first:.6g} to {last:.6g} s "
            f"of the clock of the file), and the spikes {span[1] - span[0]:.6g} s "
            f"({span[0]:.6g} to {span[1]:.6g} s): the wheel is missing in the rest",
        )
    labels = {"names": ("wheel_speed",), "units": ("rad/s",)}
    rows = MemoryRows(path, speed[:, None])
    return Signal.of_rows("treadmill", rows, RATE_HZ, span[0], **labels)


def _numbers(path: Path, root: Path) -> np.ndarray:
    values = load_small_array(path, root)
    if values.dtype.kind not in "fiu" or values.ndim not in (1, 2):
        problem = f"is {values.shape} {values.dtype}; (samples,) numbers expected"
        raise bad_file(path, "wrong_shape", problem)
    return values.astype(np.float64)
