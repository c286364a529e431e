"""Running and pupil of an NWB file, identified by name, place, type and unit.

NWB does not standardise the names of behaviour. Names are compared word by word, so
that an `eyecam` is no eye and the speed of a grating no running.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from omnimouse_model.data.clock import Interval
from omnimouse_model.data.readers.build.checked_values import check_extent, text_of
from omnimouse_model.data.readers.build.notes import (
    EYE_UNITS,
    Notes,
    apart,
    common_time,
    eye_signal,
    is_long_enough,
    scale_to_seconds,
)
from omnimouse_model.data.readers.build.trial_files import place_samples
from omnimouse_model.data.readers.nwb.file import Clock, Group, NwbFile, last_name
from omnimouse_model.data.readers.nwb.intervals import clock_origins
from omnimouse_model.data.signal import Signal
from omnimouse_model.data.stimulus import Stimulus
from omnimouse_model.storage.arrays.rows import MemoryRows

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_JOINED = re.compile(
    r"(?<=pupil)(?=[a-z])|(?<=wheel)(?=[a-z])|(?<=eye)(?=pos|track|gaze|xy)"
    r"|(?<=running)(?=speed|vel)|(?<=treadmill)(?=speed|vel)"
)
"""Places within words such as `pupildiameter` and `runningspeed`."""
_WRAPPERS = frozenset(("processing", "acquisition", "analysis", "behavior", "behaviour"))


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


_MOVED = _listed("run running locomotion treadmill wheel ball disk disc belt")
_SPEED = frozenset(("speed", "velocity", "vel"))
_PLAIN_SPEED = _listed(
    "animal mouse subject body linear forward smooth smoothed filtered unfiltered raw "
    "instantaneous mean abs absolute signed cm m mm s sec per series time data"
)
"""Words beside `speed` in the name of an animal's speed."""
_NOT_RUNNING = _listed(
    "pupil eye gaze acceleration accel rotation position pos distance voltage supply "
    "times timestamps end start stimulus stim grating gratings display screen monitor "
    "lick paw hand head cursor bout bouts state is flag binary threshold confidence"
)
_SECOND_CHOICE = frozenset(("raw", "unfiltered", "spherical"))

_EYES = frozenset(("eye", "eyes", "gaze"))
_PUPIL_TRACKING = frozenset(("pupil", "tracking"))
_SIZES = _listed("diameter diam area radius size")
_NO_PUPIL = _listed(
    "confidence likelihood quality blink blinks eyeblink valid error errors corneal "
    "reflection cr led light eyelid lid angle phi frame frames index times timestamps "
    "paw lick licks nose tongue whisker whisking"
)
_GAZE = _listed(
    "eye eyes gaze pupil left right position positions pos xy x y location center "
    "centre centroid com of mass tracking track spatial series time data horizontal "
    "vertical azimuth elevation spherical deg degrees px pixels mm smooth smoothed "
    "filtered raw in the on screen monitor coordinates"
)
"""Words of names of the direction of an eye, beside which no others may stand."""

_NO_UNITS = ("", "a.u.", "au", "n.a.", "n/a", "na", "none", "unknown", "arbitrary")
_PER_TIME = re.compile(
    r"([a-z]+?)s?\s*(?:/|per\b|[*·.\s])\s*(s|sec|second|min|minute|h|hr|hour)s?"
    r"\s*(?:\^|\*\*)?\s*(?:[-⁻]?[1¹])?"
)
"""Spellings such as `cm/s`, `cm s^-1` and `centimeters per second`."""
_LENGTHS = {
    **dict.fromkeys(("cm", "centimeter", "centimetre"), 1.0),
    **dict.fromkeys(("m", "meter", "metre"), 100.0),
    **dict.fromkeys(("mm", "millimeter", "millimetre"), 0.1),
    **dict.fromkeys(("km", "kilometer", "kilometre"), 1e5),
    **dict.fromkeys(("in", "inch", "inche"), 2.54),
}
"""Unit of length -> cm."""
_SPEEDS = {
    "mps": 100.0,
    "cmps": 1.0,
    "mmps": 0.1,
    **dict.fromkeys(("kmh", "kph", "kmph"), 1e5 / 3600),
    "mph": 44.704,
}
"""Unit of speed in one word -> cm/s."""
_ANGLES = _listed("rad radian deg degree rev revolution turn rotation")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
"""First letter of a unit of time -> seconds."""
_METERS = ("meters", "meter", "m")
_LONGEST_EYE_M = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class _Series:
    """A time series with the words of its own name and of those around it.

    Attributes
    ----------
    group, data
        The series, and the name of its dataset with the values.
    words, around
        Lower-case words of its name, and of the names of its containers.
    """

    group: Group
    words: frozenset[str]
    around: frozenset[str]
    data: str = "data"

    @property
    def name(self) -> str:
        """Path of the series, or of a dataset of it that is not `data`."""
        own = "" if self.data == "data" else f"/{self.data}"
        return f"{self.group.name}{own}"


def read_behavior(
    nwb: NwbFile, responses: Signal, stimulus: Stimulus | None
) -> dict[str, Signal | None]:
    """Return pupil (those of size, derivative, x, y that exist) and running.

    A series that is faulty, or on another clock than the responses, is left out with
    a warning, and the next best one is read.
    """
    recording = responses.valid_interval()
    if stimulus is not None:
        recording = common_time(recording, stimulus.valid_interval())
    series = [
        _Series(group, _words(last_name(group)), _words(*group.name.split("/")[1:-1]))
        for group in nwb.groups_of("TimeSeries", "SpatialSeries", "EllipseSeries")
        # What is shown or described there does not come from the animal.
        if not group.name.startswith(("/stimulus/", "/general/")) and hasattr(group, "keys")
    ]
    running = _running(nwb, series, recording)
    if running is not None:
        recording = common_time(recording, running.valid_interval())
    eye = _eye(nwb, series, recording)
    return {"eye_tracker": eye, "treadmill": running}


def _words(*names: str) -> frozenset[str]:
    """Return the lower-case words of names such as `PupilTracking` or `eye_xy`."""
    words = [word.lower() for n in names if n not in _WRAPPERS for word in _WORD.findall(n)]
    return frozenset(part for word in words for part in _JOINED.split(word))


def _has_columns(nwb: NwbFile, series: _Series, n: int) -> bool:
    """Return whether the data of a series can have n columns.

    One that cannot be read can have them: the fault is told when it is read.
    """
    shape = Notes().attempt(series.name, nwb.shape, series.group)
    is_one = n == 1 and shape is not None and len(shape) == 1
    return shape is None or is_one or (bool(shape) and shape[1:] == (n,))


# -- samples -------------------------------------------------------------------------
def _values(
    nwb: NwbFile, series: _Series, n_columns: int, recording: Interval
) -> tuple[np.ndarray, Clock]:
    """Return samples float64 (T, C) and their even clock; NaN where none was recorded.

    Raises
    ------
    SessionFormatError
        The samples or their times are damaged, or on another clock than the responses.
    """
    group, name = series.group, series.name
    shape = nwb.shape(group, series.data)
    usual = shape[1:] in ((), (1,)) if n_columns == 1 else shape[1:] == (n_columns,)
    if not shape or not usual or shape[0] < 2:
        expected = "(time,)" if n_columns == 1 else f"(time, {n_columns})"
        raise nwb.wrong(group, f"has {series.data} {shape}; {expected} expected")
    stored = nwb.file.table(name if series.data != "data" else f"{name}/data")
    if stored.dtype.kind not in "fiu":
        raise nwb.wrong(group, f"holds {stored.dtype}, not numbers")
    values = stored.reshape(len(stored), -1).astype(np.float64)
    if series.data == "data":
        gain, offset = nwb.gain(group)
        values = values * gain + offset
    values[~np.isfinite(values)] = np.nan
    clock = _clock(nwb, group, len(values), recording)
    if clock.times is None:
        return values, clock
    source, place, is_even = place_samples(clock.times, clock.rate_hz)
    n_rows = int(place[-1]) + 1
    check_extent(nwb.file.path, name, n_rows, clock.rate_hz)
    grid = np.full((n_rows, values.shape[1]), np.nan)
    grid[place] = values[source]
    missing = n_rows - len(place)
    kind = "has gaps" if is_even else "is unevenly sampled: each sample is the nearest"
    nwb.notes.assume(
        "uneven_times",
        f"{name} {kind}; {missing:,} of {n_rows:,} samples at {clock.rate_hz:.4g} Hz are missing",
    )
    return grid, Clock(clock.start, clock.rate_hz, n_rows)


def _clock(nwb: NwbFile, group: Group, n: int, recording: Interval) -> Clock:
    """Return the clock of a series that lies in the recording."""
    clock = nwb.stored_clock(group, n)
    ends = clock.at(np.array([0, n - 1]))
    span = Interval(float(ends[0]), float(ends[1]))
    scale = scale_to_seconds(str(group.name), span, recording, nwb.notes)
    if scale != 1.0:
        clock = clock.scaled(scale)
    elif not is_long_enough(common_time(span, recording)):
        raise nwb.wrong(group, *apart(span, recording, clock_origins(nwb)), "bad_clock")
    check_extent(nwb.file.path, str(group.name), n, clock.rate_hz)
    return clock


# -- running -------------------------------------------------------------------------
def _running(nwb: NwbFile, series: Sequence[_Series], recording: Interval) -> Signal | None:
    """Return the speed of the animal, or that of its wheel."""
    ranks = {s.name: _rank_of_running(nwb, s) for s in series}
    candidates = [s for s in series if ranks[s.name] is not None]
    # What may tell of running, and is no speed, such as counts of an encoder.
    moving = [s for s in series if s.words & (_MOVED | _SPEED | {"encoder"})]
    if moving and not candidates:
        listed = ", ".join(
            f"{s.name} ({_stored_unit(nwb, s.group) or 'no unit'})" for s in moving[:4]
        )
        nwb.notes.assume("no_speed", f"no running: by name and unit, no speed is {listed}")
    # The sort is stable: equal candidates stay in the stored order.
    candidates.sort(key=lambda s: ranks[s.name] or ())
    found = _first(nwb, "running", candidates, recording)
    return None if found is None else _running_signal(nwb, *found)


def _rank_of_running(nwb: NwbFile, series: _Series) -> tuple[int, ...] | None:
    """Return the rank of a series as the animal's speed, lower is better; None: no."""
    words = series.words
    if words & _NOT_RUNNING or series.data != "data":
        return None
    moved, speed = bool(words & _MOVED), bool(words & _SPEED)
    kind, _ = _speed_unit(_stored_unit(nwb, series.group))
    if moved and speed:
        rank = 0
    elif speed and words - _SPEED <= _PLAIN_SPEED:
        rank = 1 if series.around & _MOVED else 2
    elif words & {"running", "locomotion", "run"} or (moved and kind == "angle"):
        rank = 1
    else:
        return None
    # Without a word for speed, or for what moves, the unit must be that of a speed.
    if rank and kind == "other":
        return None
    order = ("length", "unknown", "angle", "other").index(kind)
    return order, int(bool(words & _SECOND_CHOICE)), rank


def _stored_unit(nwb: NwbFile, group: Group) -> str:
    """Return the unit of a series, "" for data that cannot be read (told later)."""
    return Notes().attempt(str(group.name), nwb.unit, group) or ""


def _speed_unit(unit: str) -> tuple[str, float]:
    """Return the kind of a unit and its factor to cm/s, 1 for all but lengths.

    Kinds are length and angle (per time), unknown and other.
    """
    text = unit.strip().lower().replace("_", " ")
    if text in _NO_UNITS:
        return "unknown", 1.0
    if text in _SPEEDS:
        return "length", _SPEEDS[text]
    match = _PER_TIME.fullmatch(text)
    if match is not None and match[1] in _LENGTHS:
        return "length", _LENGTHS[match[1]] / _SECONDS[match[2][0]]
    is_angle = text == "rpm" or (match is not None and match[1] in _ANGLES)
    return ("angle" if is_angle else "other"), 1.0


def _running_signal(nwb: NwbFile, series: _Series, values: np.ndarray, clock: Clock) -> Signal:
    stored = _stored_unit(nwb, series.group)
    kind, factor = _speed_unit(stored)
    name, unit = "running", "cm/s"
    if kind == "unknown":
        message = f"{series.name} gives no unit ({stored!r}); taken as cm/s"
        nwb.notes.warn("running_unit", message)
    elif kind == "angle":
        name, unit = "wheel_speed", stored
        nwb.notes.warn(
            "running_unit",
            f"{series.name} is in {stored!r}, the speed of a wheel: read as stored, "
            "not in cm/s, for which the radius is needed",
        )
    elif kind == "other":
        unit = stored
        nwb.notes.warn(
            "running_unit",
            f"{series.name} is in {stored!r}, which is no unit of speed: read as "
            "stored, not in cm/s",
        )
    rows = MemoryRows(nwb.file.path, values * factor)
    labels = {"names": (name,), "units": (unit,)}
    return Signal.of_rows("treadmill", rows, clock.rate_hz, clock.start, **labels)


# -- pupil ---------------------------------------------------------------------------
def _eye(nwb: NwbFile, series: Sequence[_Series], recording: Interval) -> Signal | None:
    columns: dict[str, np.ndarray] = {}
    units: dict[str, str] = {}
    place = _first(nwb, "pupil position", _places(nwb, series), recording, 2)
    unit = EYE_UNITS[0]
    if place is not None:
        chosen, values, clock = place
        unit = _position_unit(nwb, chosen, values)
    size = _first(nwb, "pupil size", _sizes(nwb, series), recording)
    if size is not None:
        chosen, sizes, clock = size
        columns["pupil_size"] = sizes[:, 0]
        # The unit of an ellipse is that of its position.
        own = _unit(nwb, chosen.group) if chosen.data == "data" else unit
        own += "²" if chosen.data == "area" else ""
        units |= {"pupil_size": own, "pupil_dsize": f"{own}/s"}
    if place is not None:
        if size is not None:
            values = _on_clock(values, place[2], clock, nwb.notes)
        columns["pupil_x"], columns["pupil_y"] = values.T
        units |= dict.fromkeys(("pupil_x", "pupil_y"), unit)
    if not columns:
        return None
    times = clock.rate_hz, clock.start
    return eye_signal(nwb.file.path, columns, units, times, nwb.notes)


def _first(
    nwb: NwbFile, what: str, candidates: Sequence[_Series], recording: Interval, n_columns: int = 1
) -> tuple[_Series, np.ndarray, Clock] | None:
    """Return the first candidate that can be read, with its samples and clock."""
    for candidate in candidates:
        name = f"{what} ({candidate.name})"
        found = nwb.notes.attempt(name, _values, nwb, candidate, n_columns, recording)
        if found is not None:
            others = [one.name for one in candidates if one is not candidate][:3]
            more = f" (not {', '.join(others)})" if others else ""
            source = f"{what.split()[0]}_source"
            nwb.notes.assume(source, f"{what} is {candidate.name}{more}")
            return candidate, *found
    return None


def _sizes(nwb: NwbFile, series: Sequence[_Series]) -> list[_Series]:
    """Return series that are pupil sizes by their own or their container's name.

    The name of the container counts only if it holds a single candidate: it does not
    tell which of several series is the size.
    """
    pupil = [s for s in series if "pupil" in s.words | s.around and not s.words & _NO_PUPIL]
    # The size of an ellipse is a dataset beside its position.
    ellipses = [
        replace(s, data=data)
        for s in pupil
        for data in ("area", "width", "height")
        if "pupil" in s.words and data in nwb.names(s.group)
    ]
    pupil = [s for s in pupil if _has_columns(nwb, s, 1)]
    named = [s for s in pupil if s.words & _SIZES or s.words >= _PUPIL_TRACKING]
    # A width alone says less than the area.
    found = [e for e in ellipses[:1] if e.data == "area"] + named or ellipses[:1]
    if found:
        return sorted(found, key=_rank)
    held = [s for s in pupil if s.around >= _PUPIL_TRACKING]
    holders = [s.group.parent.name for s in held]
    alone = [s for s in held if holders.count(s.group.parent.name) == 1]
    if held and not alone:
        nwb.notes.warn(
            "pupil_source",
            "no name says which is the pupil's size: "
            f"{', '.join(s.name for s in held[:4])}; none is read",
        )
    return alone


def _places(nwb: NwbFile, series: Sequence[_Series]) -> list[_Series]:
    """Return series of two columns that are positions of a pupil or directions of gaze.

    An ellipse counts only if it is that of the pupil: others are fitted to the eye
    and to the reflection of a lamp.
    """
    found = []
    for candidate in series:
        words, around = candidate.words, candidate.around
        kind = text_of(nwb.file.attribute(candidate.group, "neurodata_type", ""))
        is_pupil = "pupil" in words and not words & _NO_PUPIL
        is_gaze = bool((words | around) & _EYES) and words <= _GAZE
        is_named = is_pupil or (is_gaze and kind != "EllipseSeries")
        if is_named and _has_columns(nwb, candidate, 2):
            found.append(candidate)
    return sorted(found, key=_rank)


def _rank(series: _Series) -> tuple[bool, bool, bool]:
    """Return the rank of a candidate, lower is better."""
    here, around = "pupil" in series.words, "pupil" in series.around
    return not here, not around, bool(series.words & _SECOND_CHOICE)


def _unit(nwb: NwbFile, group: Group) -> str:
    """Return the stored unit, pixels if it is missing."""
    stored = nwb.unit(group)
    return EYE_UNITS[0] if stored.lower() in _NO_UNITS else stored


def _position_unit(nwb: NwbFile, series: _Series, values: np.ndarray) -> str:
    """Return the unit of positions: metres, the default of NWB, only where possible."""
    unit = _unit(nwb, series.group)
    typical = float(np.nanmedian(np.abs(values))) if np.isfinite(values).any() else 0.0
    if unit not in _METERS or typical < _LONGEST_EYE_M:
        return unit
    nwb.notes.warn(
        "pupil_unit",
        f"{series.name} is stored in {unit!r}, the default of NWB, with values around "
        f"{typical:.3g}: taken as pixels",
    )
    return EYE_UNITS[0]


def _on_clock(values: np.ndarray, own: Clock, clock: Clock, notes: Notes) -> np.ndarray:
    """Return values (T, C) at the times of `clock`."""
    # Both series of one camera often have their own, nearly equal clock.
    same = (
        clock.n == own.n
        and abs(clock.start - own.start) < 0.01 / own.rate_hz
        and abs(clock.rate_hz - own.rate_hz) < 1e-3 * own.rate_hz
    )
    if same:
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
        [np.interp(at, own_times, c, left=np.nan, right=np.nan) for c in values.T], axis=1
    )
