"""Clock of a series of responses in seconds, by comparison with other facts.

Times of many files are milliseconds, and rates are typed by hand. The imaging rate of
the plane, the rate that the user states and the other streams tell what is meant.
"""

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.side_streams import read_side_stream
from omnimouse_model.data.readers.nwb.file import Clock, NwbFile
from omnimouse_model.data.readers.nwb.series import Series
from omnimouse_model.data.readers.nwb.units import imaging_rate
from omnimouse_model.errors import MISSING_RATE, SessionFormatError

if TYPE_CHECKING:
    import h5py

_SAME_RATE = 0.05
"""Largest relative difference of two rates that count as the same."""
_SLOWEST_HZ = 0.2
"""A lower rate is no rate of calcium imaging of activity."""
_UNITS = (
    ("milliseconds (ms)", 1e3),
    ("microseconds (µs)", 1e6),
    ("minutes", 1 / 60),
)
"""Unit of time -> how many are a second."""
_MOST_PLANES = 64


def rates_agree(rate_hz: float, expected_hz: float) -> bool:
    """Return whether two rates are nearly equal, false if one is NaN."""
    return abs(rate_hz - expected_hz) <= _SAME_RATE * expected_hz


def clock_in_seconds(
    nwb: NwbFile, series: Series, n: int, stated_hz: float | None, notes: Notes
) -> Clock:
    """Return the clock of the n samples of a series in seconds.

    Parameters
    ----------
    stated_hz
        Rate that the user states; it decides where the file contradicts itself.

    Raises
    ------
    SessionFormatError
        If the times are hardly seconds, and nothing tells what they are.
    """
    plane_hz, name = imaging_rate(nwb, series.table), series.name
    expected = stated_hz or plane_hz
    source = f"{expected:.4g} Hz of " + ("rate_hz" if stated_hz else "its imaging plane")
    if fault := nwb.rate_fault(series.group):
        if not np.isfinite(expected):
            raise SessionFormatError(
                nwb.file.path,
                MISSING_RATE,
                f"{nwb.file.path.name}: {series.group.name} {fault}",
                "state the samples per second with rate_hz, or --rate-hz",
            )
        notes.warn("bad_rate", f"{name} {fault}: the {source} is used")
    clock = nwb.stored_clock(series.group, n, instead_hz=expected)
    rate, stored_hz = clock.rate_hz, nwb.other_rate(series.group)
    if np.isfinite(stored_hz) and not rates_agree(rate, stored_hz):
        notes.warn(
            "two_clocks",
            f"{name} has timestamps of {rate:.4g} samples per second, which are used, "
            f"and a rate of {stored_hz:.4g} beside them",
        )
    if rates_agree(rate, expected):
        return clock
    for unit, per_second in _UNITS:
        if rates_agree(rate * per_second, expected):
            is_even = nwb.is_even(series.group)
            notes.warn(
                "time_unit",
                f"{'the rate' if is_even else 'times'} of {name} are read as {unit}, "
                f"because that gives the {source}: as seconds they would give "
                f"{rate:.4g} samples per second",
            )
            if is_even:  # nothing tells that its starting_time is no second
                return Clock(clock.start, rate * per_second, n)
            return clock.scaled(1 / per_second)
    if rate == 1 and np.isfinite(expected) and _has_frame_numbers(nwb, series):
        text = f"times of {name} are read as numbers of frames, at the {source}"
        notes.warn("time_unit", text)
        return clock.scaled(1 / expected)
    is_doubtful = rates_agree(plane_hz, expected) or rate < _SLOWEST_HZ
    if stated_hz and is_doubtful and clock.times is None:
        text = f"{name} has {rate:.4g} samples per second: the {source} is used instead"
        notes.warn("imaging_rate", text)
        return Clock(clock.start, stated_hz, n)
    if rate < _SLOWEST_HZ:
        return _slow_clock(nwb, series, clock, expected, notes)
    if np.isfinite(plane_hz) and not rates_agree(rate, plane_hz):
        _note_imaging_rate(nwb, name, rate, plane_hz, notes)
    return clock


def _note_imaging_rate(nwb: NwbFile, name: str, rate: float, plane_hz: float, notes: Notes) -> None:
    """Note that a series has another rate than its imaging plane."""
    ratio = round(plane_hz / rate)
    if not (2 <= ratio <= _MOST_PLANES and rates_agree(rate * ratio, plane_hz)):
        notes.warn(
            "imaging_rate",
            f"{name} has {rate:.4g} samples per second, and its imaging plane the "
            f"imaging_rate {plane_hz:.4g} Hz: the rate of the series is used; "
            f"rate_hz={plane_hz:g} selects the other",
        )
        return
    text = (
        f"{name} has {rate:.4g} samples per second, which are used; its imaging plane "
        f"states the imaging_rate {plane_hz:.4g} Hz, {ratio} times as many: it may "
        "count the frames of all planes"
    )
    if len(nwb.groups.get("ImagingPlane", ())) == ratio:
        notes.assume("imaging_rate", text)
    else:
        notes.warn("imaging_rate", f"{text}, or one of the rates is wrong")


def _has_frame_numbers(nwb: NwbFile, series: Series) -> bool:
    if nwb.file.find("timestamps", series.group) is None:
        return False
    times = nwb.file.table(f"{series.group.name}/timestamps").astype(np.float64)
    return bool((np.diff(times) == 1).all())


def _slow_clock(nwb: NwbFile, series: Series, clock: Clock, expected: float, notes: Notes) -> Clock:
    """Return a clock in milliseconds if the other streams of the file say so."""
    duration = clock.n / clock.rate_hz
    other, source = _longest_span(nwb)
    text = (
        f"{clock.n:,} samples in {duration:.6g} s ({clock.rate_hz:.3g} per second), or "
        f"in {duration / 1e3:.6g} s ({clock.rate_hz * 1e3:.4g} per second) if its "
        "times are ms"
    )
    if not np.isfinite(expected) and 0.5 < 1e-3 * duration / max(other, 1e-9) < 2:
        notes.warn(
            "time_unit",
            f"times of {series.name} are read as milliseconds (ms): it has {text}; "
            f"{source} lasts {other:.4g} s",
        )
        return clock.scaled(1e-3)
    about = f"; {expected:.4g} Hz expected" if expected > 0 else ""
    raise SessionFormatError(
        nwb.file.path,
        "bad_clock",
        f"{nwb.file.path.name}: {series.group.name} has {text}{about}",
        "store times in seconds, or state the right rate with rate_hz",
    )


def _longest_span(nwb: NwbFile) -> tuple[float, str]:
    """Return the duration and name of the longest other stream, 0 without any."""
    found = (0.0, "")
    kinds = ("TimeSeries", "SpatialSeries", "TwoPhotonSeries", "OnePhotonSeries")
    for group in nwb.groups_of(*kinds, "ImageSeries"):
        read = partial(_duration, nwb, group)
        duration = read_side_stream(str(group.name), read, Notes()) or 0.0
        found = max(found, (duration, str(group.name)))
    return found


def _duration(nwb: NwbFile, group: "h5py.Group", _: Notes) -> float:
    n = (nwb.shape(group) or (0,))[0]
    return n / nwb.stored_clock(group, n).rate_hz if n > 1 else 0.0
