"""Responses of an NWB file: the selected series as one signal on one even clock.

Series are stored with axes, units of time and pauses of many kinds. What the other
facts of the file prove is corrected and noted; a contradiction is refused with both
readings. Times of many files are milliseconds, and rates are typed by hand: the imaging
rate of the plane, the rate that the user states and the other streams tell what is meant.
Clocks, epochs and planes stand here together, because each decides about the others: the
module is long.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from omnimouse_model.data.readers.build import trial_files
from omnimouse_model.data.readers.build.checked_values import MAX_COLUMNS, check_extent
from omnimouse_model.data.readers.build.notes import ALL_ROIS, Notes, ReadOptions
from omnimouse_model.data.readers.build.trial_files import Placed, PlacedRows
from omnimouse_model.data.readers.nwb.file import Chosen, Clock, Group, NwbFile, Series, region_rows
from omnimouse_model.data.readers.nwb.intervals import valid_rows
from omnimouse_model.data.readers.nwb.units import PlaneUnits, read_units
from omnimouse_model.data.signal import Signal
from omnimouse_model.display import count, listed
from omnimouse_model.errors import MISSING_RATE, SessionFormatError
from omnimouse_model.storage.arrays.hdf5 import Hdf5Rows
from omnimouse_model.storage.arrays.rows import Rows
from omnimouse_model.storage.files import bad_file

_DRIFT = 0.1
"""Largest drift, in samples over the recording, between planes joined into one."""
_SAME_TIME = 1e-6
"""Rounding tolerance: in samples for row offsets, in seconds for plane lags."""
_NOTED_JITTER = 0.01
_SAME_CELLS = 0.5
"""Tables of one imaging plane share cells if half of the regions of the one lie by half
in those of the other."""
_SAME_SPAN = 0.98
"""Planes recorded together share at least this part of their time."""


@dataclass(frozen=True, slots=True, eq=False)
class _Timed:
    """One series with its axes and its clock in seconds."""

    series: Series
    n_samples: int
    n_regions: int
    is_transposed: bool
    clock: Clock

    @property
    def span(self) -> tuple[float, float]:
        """Native times of the beginning of the first and the end of the last sample."""
        first, last = self.clock.at(np.array([0, self.n_samples - 1])).tolist()
        return first, last + 1 / self.clock.rate_hz


@dataclass(frozen=True, slots=True, eq=False)
class _Plane:
    """One population: its rows on an even clock, its neurons, its recorded rows."""

    series: list[Series]
    name: str
    rows: Rows
    units: PlaneUnits
    start: float
    rate_hz: float
    jitter: float
    place: np.ndarray | None
    """int64 grid rows that were recorded, None for all."""

    @property
    def stop(self) -> float:
        return self.start + self.rows.shape[0] / self.rate_hz


def read_responses(
    nwb: NwbFile, chosen: Chosen, options: ReadOptions
) -> tuple[Signal, list[PlaneUnits], list[Series]]:
    """Return one signal of all selected populations recorded at one rate.

    Also return the regions of each plane, in the order of the columns, and the series
    that are read.

    Raises
    ------
    SessionFormatError
        If a series contradicts itself, or no plane has cells and samples.
    """
    filled = [_filled(nwb, group) for group in chosen.populations]
    if not any(filled):
        first = chosen.populations[0][0].group
        shape = nwb.shape(first)
        hint = "were regions found, and their traces written to the file?"
        raise nwb.wrong(first, f"has no sample of any region: its data are {shape}", hint)
    filled = [group for group in filled if group]

    def population(group: list[Series]) -> list[_Plane]:
        is_one = len(group) == 1
        epochs = [_timed(nwb, group[0], options)] if is_one else _epochs(nwb, group, options)
        main, name = epochs[0], " and ".join(timed.series.name for timed in epochs)
        group_of, cells_only = main.series.group, options.cells_only
        units = read_units(nwb, group_of, main.n_regions, name, cells_only=cells_only)
        if len(units.columns):
            return [_plane(nwb, epochs, units, name)]
        nwb.notes.warn("no_cells", f"{name} has no region that is a cell: left out")
        return []

    try:
        found = nwb.notes.attempt_each(population, {group[0].name: group for group in filled})
    except SessionFormatError as error:
        others = [s.name for s in chosen.series if all(s not in g for g in filled)]
        if not others:
            raise
        hint = f"{error.hint}; series= selects another one: {', '.join(others[:6])}"
        raise SessionFormatError(error.path, error.code, error.message, hint) from error
    planes = _of_other_cells([plane for planes in found for plane in planes], nwb.notes)
    if not planes:
        names = ", ".join(one.name for group in filled for one in group)
        problem, hint = "has no region that is marked as a cell", f"{ALL_ROIS}, reads all regions"
        raise bad_file(nwb.file.path, "no_cells", problem, hint, names)
    main, planes = _of_one_rate(planes, nwb.notes)
    rows, place, start, shift, used = _side_by_side(nwb, main, planes)
    shift_s = shift if np.abs(shift).max() > _SAME_TIME else None
    signal = trial_files.traces_signal(rows, main.rate_hz, start, place, nwb.notes, shift_s=shift_s)
    series = [one for plane in used for one in plane.series]
    return signal, [plane.units for plane in used], series


# -- the clock of a series -----------------------------------------------------------
_SAME_RATE = 0.05
"""Largest relative difference of two rates that count as the same."""
_SLOWEST_HZ = 0.2
"""A lower rate is no rate of calcium imaging of activity."""
_UNITS = (
    ("milliseconds (ms)", 1e3),
    ("microseconds (µs)", 1e6),
    ("nanoseconds (ns)", 1e9),
    ("minutes", 1 / 60),
    ("hours", 1 / 3600),
)
"""Unit of time -> how many are a second."""
_MOST_PLANES = 64


def rates_agree(rate_hz: float, expected_hz: float) -> bool:
    """Return whether two rates are nearly equal, false if one is NaN."""
    return abs(rate_hz - expected_hz) <= _SAME_RATE * expected_hz


def clock_in_seconds(nwb: NwbFile, series: Series, n: int, stated_hz: float | None) -> Clock:
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
    plane_hz, name = _imaging_rate(nwb, series.table), series.name
    expected = stated_hz or plane_hz
    source = f"{expected:.4g} Hz of " + ("rate_hz" if stated_hz else "its imaging plane")
    if fault := nwb.rate_fault(series.group):
        if not np.isfinite(expected):
            hint = "state the samples per second with rate_hz, or --rate-hz"
            raise nwb.wrong(series.group, fault, hint, MISSING_RATE)
        nwb.notes.warn("bad_rate", f"{name} {fault}: the {source} is used")
    clock = nwb.stored_clock(series.group, n, instead_hz=expected)
    rate, stored_hz = clock.rate_hz, nwb.other_rate(series.group)
    if np.isfinite(stored_hz) and not rates_agree(rate, stored_hz):
        nwb.notes.warn(
            "two_clocks",
            f"{name} has timestamps of {rate:.4g} samples per second, which are used, "
            f"and a rate of {stored_hz:.4g} beside them",
        )
    if rates_agree(rate, expected):
        return clock
    for unit, per_second in _UNITS:
        if rates_agree(rate * per_second, expected):
            is_even = nwb.is_even(series.group)
            nwb.notes.warn(
                "time_unit",
                f"{'the rate' if is_even else 'times'} of {name} are read as {unit}, because that "
                f"gives the {source}: as seconds they would give {rate:.4g} samples per second",
            )
            if is_even:  # nothing tells that its starting_time is no second
                return Clock(clock.start, rate * per_second, n)
            return clock.scaled(1 / per_second)
    if nwb.is_even(series.group) and rates_agree(1 / rate, expected):
        nwb.notes.warn(
            "time_unit",
            f"the rate of {name}, {rate:.4g}, is read as seconds between samples, because that "
            f"gives the {source}",
        )
        return Clock(clock.start, 1 / rate, n)
    if rate == 1 and np.isfinite(expected) and _has_frame_numbers(nwb, series):
        text = f"times of {name} are read as numbers of frames, at the {source}"
        nwb.notes.warn("time_unit", text)
        return clock.scaled(1 / expected)
    is_doubtful = rates_agree(plane_hz, expected) or rate < _SLOWEST_HZ
    if stated_hz and is_doubtful and clock.times is None:
        text = f"{name} has {rate:.4g} samples per second: the {source} is used instead"
        nwb.notes.warn("imaging_rate", text)
        return Clock(clock.start, stated_hz, n)
    if rate < _SLOWEST_HZ:
        return _slow_clock(nwb, series, clock, expected)
    if np.isfinite(plane_hz) and not rates_agree(rate, plane_hz):
        _note_imaging_rate(nwb, name, rate, plane_hz)
    return clock


def _imaging_rate(nwb: NwbFile, table: str) -> float:
    """Return the frames per second that the plane of a table states, NaN if none."""
    stored = nwb.part(nwb.file.root, f"{table}/imaging_plane/imaging_rate")
    if not table or getattr(stored, "dtype", np.dtype(object)).kind not in "fiu":
        return float("nan")
    values = nwb.file.table(stored.name).reshape(-1)
    rate = float(values[0]) if len(values) else 0.0
    return rate if 0 < rate < np.inf else float("nan")


def _note_imaging_rate(nwb: NwbFile, name: str, rate: float, plane_hz: float) -> None:
    """Note that a series has another rate than its imaging plane."""
    ratio = round(plane_hz / rate)
    if not (2 <= ratio <= _MOST_PLANES and rates_agree(rate * ratio, plane_hz)):
        nwb.notes.warn(
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
        nwb.notes.assume("imaging_rate", text)
    else:
        hint = f"rate_hz={plane_hz:g} selects the other"
        nwb.notes.warn("imaging_rate", f"{text}, or one of the rates is wrong; {hint}")


def _has_frame_numbers(nwb: NwbFile, series: Series) -> bool:
    if nwb.file.find("timestamps", series.group) is None:
        return False
    times = nwb.file.table(f"{series.group.name}/timestamps").reshape(-1).astype(np.float64)
    return bool((np.diff(times) == 1).all())


def _slow_clock(nwb: NwbFile, series: Series, clock: Clock, expected: float) -> Clock:
    """Return a clock in milliseconds if the other streams of the file say so."""
    duration = clock.n / clock.rate_hz
    other, source = _longest_span(nwb)
    text = (
        f"{clock.n:,} samples in {duration:.6g} s ({clock.rate_hz:.3g} per second), or in "
        f"{duration / 1e3:.6g} s ({clock.rate_hz * 1e3:.4g} per second) if its times are ms"
    )
    if not np.isfinite(expected) and 0.5 < 1e-3 * duration / max(other, 1e-9) < 2:
        nwb.notes.warn(
            "time_unit",
            f"times of {series.name} are read as milliseconds (ms): it has {text}; "
            f"{source} lasts {other:.4g} s",
        )
        return clock.scaled(1e-3)
    about = f"; {expected:.4g} Hz expected" if expected > 0 else ""
    hint = "store times in seconds, or state the right rate with rate_hz"
    raise nwb.wrong(series.group, f"has {text}{about}", hint, "bad_clock")


def _longest_span(nwb: NwbFile) -> tuple[float, str]:
    """Return the duration and name of the longest other stream, 0 without any."""
    found = (0.0, "")
    kinds = ("TimeSeries", "SpatialSeries", "TwoPhotonSeries", "OnePhotonSeries")
    for group in nwb.groups_of(*kinds, "ImageSeries"):
        duration = Notes().attempt(str(group.name), _duration, nwb, group) or 0.0
        found = max(found, (duration, str(group.name)))
    return found


def _duration(nwb: NwbFile, group: Group) -> float:
    n = (nwb.shape(group) or (0,))[0]
    return n / nwb.stored_clock(group, n).rate_hz if n > 1 else 0.0


# -- one series ----------------------------------------------------------------------
def _timed(nwb: NwbFile, series: Series, options: ReadOptions) -> _Timed:
    """Return a series with its axes and clock.

    Raises
    ------
    SessionFormatError
        If the data are no matrix of numbers, or axes or times contradict other facts.
    """
    group = series.group
    shape = nwb.shape(group)
    if len(shape) not in (1, 2):
        raise nwb.wrong(group, f"has data {shape}; (time, regions) expected")
    is_transposed = len(shape) == 2 and _is_transposed(nwb, series, shape)
    n_samples = shape[1] if is_transposed else shape[0]
    n_regions = shape[0] if is_transposed else (shape[1] if len(shape) == 2 else 1)
    if n_regions > MAX_COLUMNS:
        raise nwb.wrong(group, f"has {n_regions:,} regions; at most {MAX_COLUMNS:,}")
    dataset = nwb.file.dataset(f"{group.name}/data")
    if dataset.dtype.kind not in "fiub":
        raise nwb.wrong(group, f"has data of {dataset.dtype}, not numbers")
    clock = clock_in_seconds(nwb, series, n_samples, options.rate_hz)
    check_extent(nwb.file.path, str(group.name), n_samples, clock.rate_hz)
    return _Timed(series, n_samples, n_regions, is_transposed, clock)


def span_of(nwb: NwbFile, series: Series) -> tuple[float, float] | None:
    """Return the time of a series, None if its axes or its clock are not known."""
    apart = replace(nwb, notes=Notes())
    timed = apart.notes.attempt(series.name, _timed, apart, series, ReadOptions())
    return timed.span if timed else None


def _is_transposed(nwb: NwbFile, series: Series, shape: tuple[int, ...]) -> bool:
    """Return whether data of two axes are (regions, time), by the other facts."""
    group, (first, second) = series.group, shape
    rois, times = nwb.shape(group, "rois"), nwb.shape(group, "timestamps")
    n_rois = rois[0] if len(rois) == 1 else None
    n_times = times[0] if len(times) == 1 and times[0] else None
    fits = n_rois in (None, second) and n_times in (None, first)
    fits_transposed = n_rois in (None, first) and n_times in (None, second)
    facts = [count(n_rois, "roi")] if n_rois is not None else []
    facts += [count(n_times, "timestamp")] if n_times is not None else []
    found = f"{series.name} has data {first} × {second}"
    if first == second and fits:
        nwb.notes.warn(
            "square_axes",
            f"{found}: nothing tells which axis is time; they are taken as (time, "
            "regions), as NWB says",
        )
        return False
    if fits_transposed and not fits:
        nwb.notes.warn(
            "transposed",
            f"{found} and {' and '.join(facts)}: they are transposed, and read as (regions, time)",
        )
        return True
    samples, regions = ([count(n, noun) for n in shape] for noun in ("sample", "region"))
    readings = f"({samples[0]} of {regions[1]}, or {samples[1]} of {regions[0]})"
    is_unlikely = not facts and second > first
    # The count of one of them fits no axis: reading it names the fault.
    is_contrary = not fits and n_rois in shape and n_times in shape
    if is_unlikely or is_contrary:
        but = f"but {' and '.join(facts)}" if facts else "and neither rois nor times"
        problem = f"has data {first} × {second}, {but}: its axes are not known {readings}"
        hint = "store data as (time, regions), rois of each region, a time of each sample"
        raise nwb.wrong(group, problem, hint, "axes")
    return False


# -- one population ------------------------------------------------------------------
def _filled(nwb: NwbFile, population: Sequence[Series]) -> list[Series]:
    """Return the series with samples of regions; suite2p stores planes without any."""
    empty = [one for one in population if 0 in nwb.shape(one.group)]
    for one in empty:
        text = f"{one.name} has data {nwb.shape(one.group)}: no sample of any region"
        nwb.notes.warn("empty_series", f"{text}, left out")
    return [one for one in population if one not in empty]


def _epochs(nwb: NwbFile, population: Sequence[Series], options: ReadOptions) -> list[_Timed]:
    """Return the series of one population that follow each other, in time.

    Of series of the same regions at the same time, the first one is taken.
    """
    # Notes on series that are not chosen would describe what the session does not have.
    apart = {one.name: replace(nwb, notes=Notes()) for one in population}
    usable = []
    for one in population:
        own = apart[one.name]
        if timed := own.notes.attempt(one.name, _timed, own, one, options):
            usable.append(timed)
        else:
            nwb.notes.add(own.notes)
    if not usable:
        return [_timed(nwb, population[0], options)]  # raises its error
    chosen: list[_Timed] = []
    regions = set(_regions(nwb, usable[0]))
    for timed in usable:
        first, stop = timed.span
        slack = 1 / timed.clock.rate_hz
        shared = [(min(stop, c.span[1]) - max(first, c.span[0]), c.series.name) for c in chosen]
        if shared and max(shared)[0] > slack:
            shortest = min(one.span[1] - one.span[0] for one in chosen)
            if max(shared)[0] < _SAME_SPAN * min(stop - first, shortest):
                nwb.notes.warn(
                    "epochs_left_out",
                    f"{timed.series.name} ({first:.6g}–{stop:.6g} s) and "
                    f"{max(shared)[1]} share {max(shared)[0]:.4g} s of their time: "
                    "epochs do not overlap, and the first is left out",
                )
            continue
        if set(_regions(nwb, timed)) == regions:
            chosen.append(timed)
        else:
            nwb.notes.warn(
                "epochs_left_out",
                f"{timed.series.name} has other regions than "
                f"{usable[0].series.name}, of the same table, and is left out",
            )
    main = max(chosen, key=lambda timed: timed.n_samples)
    same = []
    for timed in chosen:
        if rates_agree(timed.clock.rate_hz, main.clock.rate_hz):
            same.append(timed)
            nwb.notes.add(apart[timed.series.name].notes)
            continue
        nwb.notes.warn(
            "other_rates",
            f"{timed.series.name} ({timed.clock.rate_hz:.6g} Hz) has the regions of "
            f"{main.series.name} ({main.clock.rate_hz:.6g} Hz) at another rate, and is left out",
        )
    return sorted(same, key=lambda timed: timed.clock.start)


def _regions(nwb: NwbFile, timed: _Timed) -> list[int]:
    """Return the table rows of the columns of a series, their numbers without rois."""
    if not timed.series.table:
        return list(range(timed.n_regions))
    return [int(row) for row in region_rows(nwb, timed.series.group)]


def _plane(nwb: NwbFile, epochs: list[_Timed], units: PlaneUnits, name: str) -> _Plane:
    """Return the samples of one population on one grid."""
    series, main = [timed.series for timed in epochs], epochs[0]
    parts = [_rows(nwb, main, timed, units.columns) for timed in epochs]
    clock = main.clock
    if len(epochs) == 1 and clock.times is None:
        if clock.jitter > _NOTED_JITTER:
            nwb.notes.assume(
                "jitter",
                f"times of {name} deviate by up to {clock.jitter:.2g} samples from an even "
                f"clock of {clock.rate_hz:.6g} Hz, on which each sample is read once",
            )
        start, rate = clock.start, clock.rate_hz
        return _Plane(series, name, parts[0], units, start, rate, clock.jitter, None)
    times = np.concatenate([timed.clock.all_times() for timed in epochs])
    rate = clock.rate_hz
    if len({timed.clock.rate_hz for timed in epochs}) > 1:
        rate = 1 / trial_files.fitted_step(times)[0]
    if len(epochs) > 1:
        nwb.notes.assume(
            "epochs", f"{name} are epochs of the same regions: one recording, in their order"
        )
    source, place = trial_files.placed_on_grid(nwb.file.path, name, times, rate, nwb.notes)
    first = np.cumsum([0, *(timed.n_samples for timed in epochs)])
    cuts = np.searchsorted(source, first[1:-1])
    own = zip(parts, first, np.split(source, cuts), np.split(place, cuts), strict=False)
    placed = [Placed(rows, taken - begin, at) for rows, begin, taken, at in own]
    grid = PlacedRows(placed, int(place[-1]) + 1)
    return _Plane(series, name, grid, units, float(times[0]), rate, 0.0, place)


def _rows(nwb: NwbFile, main: _Timed, timed: _Timed, cells: np.ndarray) -> Hdf5Rows:
    """Return the samples of the cells of an epoch, in the order of the main one."""
    columns: np.ndarray | None = cells
    if timed is not main:
        at = {region: k for k, region in enumerate(_regions(nwb, timed))}
        regions = np.array(_regions(nwb, main))[cells]
        columns = np.array([at[region] for region in regions.tolist()])
    elif len(cells) == main.n_regions:
        columns = None  # avoids a copy of every block that is read
    group = timed.series.group
    return Hdf5Rows(
        nwb.file, f"{group.name}/data", columns, *nwb.gain(group), is_transposed=timed.is_transposed
    )


# -- several planes ------------------------------------------------------------------
def _of_other_cells(planes: list[_Plane], notes: Notes) -> list[_Plane]:
    """Return the planes without further segmentations of the same imaging plane."""
    different: list[_Plane] = []
    for plane in planes:
        name = plane.units.imaging_plane
        same = [
            other
            for other in different
            if name and other.units.imaging_plane == name and other.units.table != plane.units.table
        ]
        shares = [_overlap(first.units, plane.units) for first in same]
        if shares and max(shares) >= _SAME_CELLS:
            notes.warn(
                "same_cells",
                f"{plane.name} and {same[int(np.argmax(shares))].name} are regions at "
                f"the same places of {name}, found twice: the first is left out",
            )
            continue
        if shares and np.isnan(shares).any():
            notes.warn(
                "same_cells",
                f"{plane.name} and {same[0].name} have tables of their own for one "
                "imaging plane: if these are two segmentations, cells are read twice, "
                "and series= should select one",
            )
        different.append(plane)
    return different


def _overlap(first: PlaneUnits, second: PlaneUnits) -> float:
    """Return the median part of the second regions in the first, NaN without masks."""
    union, own = (
        units.roi.yx[:, 0].astype(np.int64) * 2**16 + units.roi.yx[:, 1]
        for units in (first, second)
    )
    sizes = np.diff(second.roi.offsets)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    inside = np.bincount(owner, np.isin(own, union), len(sizes))[sizes > 0]
    parts = inside / sizes[sizes > 0]
    return float(np.median(parts)) if len(union) and len(parts) else float("nan")


def _of_one_rate(planes: list[_Plane], notes: Notes) -> tuple[_Plane, list[_Plane]]:
    """Return the plane with most neurons, and all at its rate; note the others."""
    main = max(planes, key=lambda plane: len(plane.units.unit_id))
    same: list[_Plane] = []
    others: list[_Plane] = []
    for plane in planes:
        # Rates computed from timestamps differ slightly; the drift over the whole
        # recording decides.
        length = min(plane.rows.shape[0], main.rows.shape[0])
        drift = abs(plane.rate_hz - main.rate_hz) / main.rate_hz * length
        allowed = _DRIFT + 2 * (plane.jitter + main.jitter)
        (same if plane is main or drift < allowed else others).append(plane)
    if others:
        names = ", ".join(f"{p.name} ({p.rate_hz:.6g} Hz)" for p in others)
        notes.warn(
            "other_rates",
            f"{names} were recorded at another rate than {main.name} "
            f"({main.rate_hz:.6g} Hz), and are left out",
        )
    return main, same


def _side_by_side(
    nwb: NwbFile, main: _Plane, planes: list[_Plane]
) -> tuple[Rows, np.ndarray, float, np.ndarray, list[_Plane]]:
    """Return the planes on the clock of the main one.

    These are their rows together, those that were recorded, the time of row 0, the lag of
    each neuron in s, and the planes that have samples in this time.
    """
    rate = main.rate_hz
    together = [plane for plane in planes if _is_together(plane, main)]
    # The signal begins at the latest start. Whole samples of the other planes are
    # skipped; the remaining lag of each plane, below one sample, is a phase shift.
    start = max(plane.start for plane in together)
    skipped = {id(p): int(np.ceil((start - p.start) * rate - _SAME_TIME)) for p in planes}
    n = min(plane.rows.shape[0] - skipped[id(plane)] for plane in together)
    used: list[_Plane] = []
    parts: list[Placed] = []
    for plane in planes:
        first = skipped[id(plane)]
        stored = np.arange(plane.rows.shape[0]) if plane.place is None else plane.place
        stored = stored[(stored >= first) & (stored < first + n)]
        if plane not in together:
            _note_other_time(plane, main, len(stored), nwb.notes)
        if len(stored) > 1:
            column = parts[-1].stop if parts else 0
            parts.append(Placed(plane.rows, stored, stored - first, column))
            used.append(plane)
    if n < 2 or not parts:
        raise bad_file(nwb.file.path, "empty", "has no samples of responses")
    rows: Rows = main.rows if len(planes) == 1 else PlacedRows(parts, n)
    if len(parts) > 1:
        names = listed((plane.name for plane in used), 12)
        text = f"{len(parts)} series of other regions are read as one population: {names}"
        nwb.notes.assume("planes", text)
    lags = [plane.start + skipped[id(plane)] / rate - start for plane in used]
    shift = np.repeat(np.array(lags), [len(plane.units.unit_id) for plane in used])
    # A row that any plane has was recorded; the neurons of the others are NaN there.
    place = np.unique(np.concatenate([part.place for part in parts]))
    valid = valid_rows(nwb, start, rate, place)
    if valid is not None:
        place = valid
        rows = PlacedRows([Placed(rows, place, place)], n)
    return rows, place, start, shift, used


def _is_together(plane: _Plane, main: _Plane) -> bool:
    common = min(plane.stop, main.stop) - max(plane.start, main.start)
    longest = max(plane.stop - plane.start, main.stop - main.start)
    return common >= _SAME_SPAN * longest


def _note_other_time(plane: _Plane, main: _Plane, n_used: int, notes: Notes) -> None:
    spans = (
        f"{plane.name} covers {plane.start:.6g}–{plane.stop:.6g} s, {main.name} "
        f"{main.start:.6g}–{main.stop:.6g} s"
    )
    if n_used > 1:
        notes.warn("other_times", f"{spans}: neurons of the first are NaN elsewhere")
    else:
        notes.warn("other_times", f"{spans}: they share no time; the first is left out")
