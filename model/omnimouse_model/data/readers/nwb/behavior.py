"""Running and pupil of an NWB file, identified by name and type."""

import re
from typing import TYPE_CHECKING

import numpy as np

from omnimouse_model.data.io.row_source import MemoryRows
from omnimouse_model.data.readers.build.behavior_names import EYE_UNITS, eye_signal
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.nwb.file import Clock, NwbFile
from omnimouse_model.data.readers.nwb.rows import EvenRows
from omnimouse_model.data.signal import Signal

if TYPE_CHECKING:
    import h5py

# NWB does not standardise names of behaviour; these are names in common use.
_RUNNING = re.compile(r"running|treadmill|wheel|speed|velocity", re.I)
_NOT_RUNNING = re.compile(r"pupil|eye|angular|rotation|acceler|position|raw", re.I)
_PUPIL_SIZE = re.compile(r"diameter|area|radius|size|pupil_?tracking", re.I)
_NO_SIZE = re.compile(r"confidence|likelihood|quality|blink|valid|error", re.I)
_PUPIL_TRACKING = re.compile(r"pupil_?tracking", re.I)
_NO_UNITS = ("", "a.u.", "n.a.", "unknown", "arbitrary")
_SPEEDS = {"cm/s": 1.0, "m/s": 100.0, "mm/s": 0.1}
"""Unit -> factor to cm/s."""


def read_behavior(nwb: NwbFile, notes: Notes) -> dict[str, Signal | None]:
    """Return pupil (those of size, derivative, x, y that exist) and running."""
    return {"eye_tracker": _eye(nwb, notes), "treadmill": _running(nwb, notes)}


def _series(nwb: NwbFile, columns: int) -> list["h5py.Group"]:
    """Return the time series with the given number of columns."""
    return [
        group
        for group in nwb.groups_of("TimeSeries", "SpatialSeries")
        if len(shape := nwb.shape(group)) in (1, 2)
        and (shape[1] if len(shape) == 2 else 1) == columns
        and shape[0] > 1
    ]


def _values(
    nwb: NwbFile, group: "h5py.Group", notes: Notes
) -> tuple[np.ndarray, Clock]:
    """Return samples float64 (T, C) and their even clock.

    Uneven samples are resampled; NaN where no sample is recent enough.
    """
    stored = nwb.file.table(f"{group.name}/data")
    if stored.dtype.kind not in "fiu":
        raise nwb.wrong(group, f"holds {stored.dtype}, not numbers")
    gain, offset = nwb.gain(group)
    values = stored.reshape(len(stored), -1).astype(np.float64) * gain + offset
    clock = nwb.clock(group, len(values))
    if clock.times is None:
        return values, clock
    notes.assume(
        "uneven_times",
        f"{group.name} is unevenly sampled: brought to an even clock, each value held "
        "until the next; gaps are missing",
    )
    rows = MemoryRows(nwb.file.path, values)
    even = EvenRows(rows, clock.times, clock.rate_hz)
    return even.read(0, even.shape[0]), Clock(clock.start, clock.rate_hz, even.shape[0])


# -- running -------------------------------------------------------------------------
def _running(nwb: NwbFile, notes: Notes) -> Signal | None:
    candidates = [
        group
        for group in _series(nwb, 1)
        if _RUNNING.search(group.name) and not _NOT_RUNNING.search(group.name)
    ]
    if not candidates:
        return None
    # The sort is stable: names with "running" first, else the stored order.
    candidates.sort(key=lambda group: "running" not in group.name.lower())
    group = candidates[0]
    values, clock = _values(nwb, group, notes)
    # 0 marks an unknown unit; its values stay as they are.
    unit = nwb.unit(group)
    factor = _SPEEDS.get(unit.replace(" ", ""), 0.0)
    if not factor:
        notes.warn("running_unit", f"{group.name} is in {unit!r}; taken as cm/s")
    notes.assume("running_source", f"running is {group.name}{_others(candidates)}")
    rows = MemoryRows(nwb.file.path, values * (factor or 1.0))
    labels = {"names": ("running",), "units": ("cm/s",)}
    return Signal.of_rows("treadmill", rows, clock.rate_hz, clock.start, **labels)


def _others(candidates: list["h5py.Group"]) -> str:
    others = ", ".join(group.name for group in candidates[1:4])
    return f" (not {others})" if others else ""


# -- pupil ---------------------------------------------------------------------------
def _eye(nwb: NwbFile, notes: Notes) -> Signal | None:
    sizes, places = _pupil_sizes(nwb, notes), _pupil_places(nwb)
    size, place = next(iter(sizes), None), next(iter(places), None)
    columns: dict[str, np.ndarray] = {}
    units: dict[str, str] = {}
    clock = None
    if size is not None:
        notes.assume("pupil_source", f"pupil size is {size.name}{_others(sizes)}")
        values, clock = _values(nwb, size, notes)
        columns["pupil_size"] = values[:, 0]
        unit = _unit(nwb, size)
        units |= {"pupil_size": unit, "pupil_dsize": f"{unit}/s"}
    if place is not None:
        notes.assume("pupil_source", f"pupil position is {place.name}{_others(places)}")
        values, own = _values(nwb, place, notes)
        columns["pupil_x"], columns["pupil_y"] = _on_clock(values, own, clock, notes).T
        units |= dict.fromkeys(("pupil_x", "pupil_y"), _unit(nwb, place))
        clock = clock or own
    if clock is None:
        return None
    times = clock.rate_hz, clock.start
    return eye_signal(nwb.file.path, columns, units, times, notes)


def _pupil_sizes(nwb: NwbFile, notes: Notes) -> list["h5py.Group"]:
    """Return series that are pupil sizes by their own or their container's name.

    The name of the container counts only if it holds a single candidate: it does not
    tell which of several series is the size.
    """
    series = [group for group in _series(nwb, 1) if "pupil" in group.name.lower()]
    # Files also contain confidences and blinks, with similar names.
    series = [group for group in series if not _NO_SIZE.search(_last(group))]
    named = [group for group in series if _PUPIL_SIZE.search(_last(group))]
    if named:
        return sorted(named, key=lambda group: "pupil" not in _last(group).lower())
    series = [group for group in series if _PUPIL_TRACKING.search(_last(group.parent))]
    holders = [group.parent.name for group in series]
    alone = [group for group in series if holders.count(group.parent.name) == 1]
    if series and not alone:
        notes.warn(
            "pupil_source",
            "no name says which is the pupil's size: "
            f"{', '.join(group.name for group in series[:4])}; none is read",
        )
    return alone


def _pupil_places(nwb: NwbFile) -> list["h5py.Group"]:
    """Return series of two columns with pupil or eye in the path, pupil first."""
    series = [g for g in _series(nwb, 2) if re.search("pupil|eye", g.name, re.I)]
    return sorted(series, key=lambda group: "pupil" not in group.name.lower())


def _last(group: "h5py.Group") -> str:
    return str(group.name.rsplit("/", 1)[-1])


def _unit(nwb: NwbFile, group: "h5py.Group") -> str:
    """Return the stored unit, pixels if it is missing."""
    stored = nwb.unit(group)
    return EYE_UNITS[0] if stored.lower() in _NO_UNITS else stored


def _on_clock(
    values: np.ndarray, own: Clock, clock: Clock | None, notes: Notes
) -> np.ndarray:
    """Return values (T, C) at the times of `clock`; unchanged without a clock."""
    # Both series of one camera often have their own, nearly equal clock.
    same = (
        clock is not None
        and clock.n == own.n
        and abs(clock.start - own.start) < 0.01 / own.rate_hz
        and abs(clock.rate_hz - own.rate_hz) < 1e-3 * own.rate_hz
    )
    if clock is None or same:
        return values
    notes.assume(
        "pupil_resampled",
        "pupil position and size are on two clocks: the position is interpolated to "
        "the times of the size",
    )
    # NaN outside the recorded times: positions are never extrapolated.
    at = clock.all_times()
    own_times = own.all_times()
    return np.stack(
        [np.interp(at, own_times, c, left=np.nan, right=np.nan) for c in values.T],
        axis=1,
    )
