"""Units of a spiking recording: selection by quality, spike trains, and their responses."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.clock import Interval
from omnimouse_model.data.neurons import Units, probe_numbers
from omnimouse_model.data.readers.build.checked_values import LONGEST_S, as_float, check_extent
from omnimouse_model.data.readers.build.neurons import make_units
from omnimouse_model.data.readers.build.notes import (
    UNITS_OF_TIME,
    Notes,
    ReadOptions,
    span_text,
    unit_of_times,
)
from omnimouse_model.data.readers.build.trial_files import stretches
from omnimouse_model.data.signal import Signal, rounding_of
from omnimouse_model.data.spike_trains import Observed, SpikeTrains, TimesFile
from omnimouse_model.data.window_spec import RESPONSE_RATE_HZ
from omnimouse_model.display import count
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.arrays.rows import MemoryRows
from omnimouse_model.storage.byte_source import Source
from omnimouse_model.storage.files import FileStamp, bad_file

_LATEST_S = 1e11
"""Later than all Unix times in seconds, and earlier than those in milliseconds since 1973."""
ROW_RATE_HZ = RESPONSE_RATE_HZ
"""Rate at which spikes are counted for code that reads responses as samples.

Windows of specs with another rate count the spikes in their own bins.
"""


def spike_signal(
    file: TimesFile,
    offsets: np.ndarray,
    start: float,
    stop: float,
    notes: Notes,
    observed: Observed | None = None,
) -> Signal:
    """Return the responses of spike times between two native times.

    Time in which no unit was observed is a pause.

    Parameters
    ----------
    file, offsets, observed
        See `SpikeTrains`.
    """
    # Bins begin at `start`; an incomplete last bin is dropped.
    n_rows = int((stop - start) * ROW_RATE_HZ)
    check_extent(file.path, "spike times", n_rows, ROW_RATE_HZ)
    notes.assume(
        "spike_counts",
        "models that read traces get spikes counted in bins of "
        f"1/{ROW_RATE_HZ:g} s; models of counts get them in their own bins",
    )
    trains = SpikeTrains(file, offsets, start, ROW_RATE_HZ, n_rows, observed)
    end = start + n_rows / ROW_RATE_HZ
    rounding_s = rounding_of(start, end, ROW_RATE_HZ)
    signal = Signal("responses", trains, ROW_RATE_HZ, start, end, rounding_s=rounding_s)
    if observed is None:
        return signal
    common = Observed(observed.of_population())
    place = np.flatnonzero(common.in_bins(start, ROW_RATE_HZ, n_rows)[:, 0])
    if not len(place):
        return signal
    spans, n_missing = stretches(place, n_rows, start, ROW_RATE_HZ)
    return replace(signal, recorded_spans=spans, n_missing=n_missing)


MAX_SPIKES = 2**28
"""Five hours of 1,000 units with 15 spikes per second; their times take 2 GiB."""
MAX_UNITS = 100_000
LATE_S = 60.0
"""A first spike later than this shows that time 0 is not the start of a recording."""
PRESENCE_BIN_S = 10.0
"""Bins in which spikes are looked for, as in the metrics of the IBL."""
_MAX_BINS = 2**27
# A label such as 2/3 is stored with other digits than a user types.
_TOLERANCE = 1e-2
_MANY_LABELS = 8
_MANY_SPIKES = 20
"""So many times of spikes are not whole numbers of seconds by chance."""

_SURE_SPIKES = 1000
"""Number of expected spikes from which a pause without any is no chance."""
_LONG_HOURS, _RARE_HZ = 12.0, 0.02
"""A longer recording of units with a lower rate is noted: perhaps it is not in s."""

_COLUMNS = ("unit_id", "n_spikes", "xyz_um", "area", "probe", "quality")


@dataclass(frozen=True, slots=True, eq=False)
class SpikingUnits:
    """Units of a recording with spikes, one row per unit.

    Attributes
    ----------
    unit_id
        int64 (n,).
    n_spikes
        int64 (n,).
    xyz_um
        float64 (n, 3), NaN where unknown; the third column is the depth.
    area
        str (n,), "" where unknown, or None.
    probe
        str (n,) names of the probes, "" where unknown, or None.
    quality
        Labels, numbers or texts (n,), or None.
    properties
        Other columns by name, (n,).
    """

    unit_id: np.ndarray
    n_spikes: np.ndarray
    xyz_um: np.ndarray
    area: np.ndarray | None = None
    probe: np.ndarray | None = None
    quality: np.ndarray | None = None
    properties: Mapping[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def joined(cls, parts: "Sequence[SpikingUnits]") -> "SpikingUnits":
        """Return the units of several probes, NaN or "" where a probe lacks a column.

        A column that has numbers on one probe and texts on another is left out.
        """
        counts = [len(part.unit_id) for part in parts]

        def column(values: Sequence[np.ndarray | None]) -> np.ndarray | None:
            kinds = {one.dtype.kind == "U" for one in values if one is not None}
            if len(kinds) != 1:
                return None
            unknown: Any = "" if kinds == {True} else np.nan
            pairs = zip(values, counts, strict=True)
            return np.concatenate([np.full(n, unknown) if v is None else v for v, n in pairs])

        own: dict[str, Any] = {n: column([getattr(p, n) for p in parts]) for n in _COLUMNS}
        names = dict.fromkeys(name for part in parts for name in part.properties)
        found = {name: column([p.properties.get(name) for p in parts]) for name in names}
        return cls(**own, properties={k: v for k, v in found.items() if v is not None})

    def select(self, rows: np.ndarray) -> "SpikingUnits":
        """Return some units."""
        parts: dict[str, Any] = {
            name: getattr(self, name)[rows] for name in _COLUMNS if getattr(self, name) is not None
        }
        columns = {name: values[rows] for name, values in self.properties.items()}
        return replace(self, **parts, properties=columns)


@dataclass(frozen=True, slots=True, eq=False)
class UnsortedSpikes:
    """Spikes of all units, in the order of a file.

    Attributes
    ----------
    path
        File for messages.
    times, unit
        (spike,) finite seconds, and row of the unit of each spike.
    stamps
        Files whose change is noticed.
    """

    path: Path
    times: np.ndarray
    unit: np.ndarray
    stamps: tuple[FileStamp | Source, ...] = ()


def sound_spike_times(
    times: np.ndarray,
    unit: np.ndarray,
    name: str,
    refuse: Callable[[str, str], SessionFormatError],
    notes: Notes,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the spikes that have a time, and their units: float64 (spike,) seconds.

    Parameters
    ----------
    times, unit
        (spike,) times as stored, and the unit of each spike.
    name
        What holds the times, for a note.
    refuse
        Function that returns the error for a problem and a remedy.

    Raises
    ------
    SessionFormatError
        No time is finite, or the times are no seconds.
    """
    is_time = np.isfinite(times)
    if not is_time.all():
        first = int(is_time.argmin())
        problem = (
            f"has no finite time (NaN) for {int((~is_time).sum()):,} of {len(times):,} "
            f"spikes, the first at index {first}"
        )
        if not is_time.any():
            raise refuse(problem, "store the time of each spike, in seconds")
        # Some programs write NaN for a unit without spikes.
        notes.warn("missing_spikes", f"{name} {problem}: left out")
        times, unit = times[is_time], unit[is_time]
    # A few of them first: the times of all spikes are large.
    is_whole = all((t == np.rint(t)).all() for t in (times[:_MANY_SPIKES], times))
    if is_whole and len(times) >= _MANY_SPIKES:
        raise refuse(
            f"has only whole numbers as spike times, {times.min():.10g} to {times.max():.10g} "
            f"({times.dtype}), as sample numbers or milliseconds are; seconds expected",
            "divide sample numbers by the sampling rate, such as 30,000, and milliseconds by 1000",
        )
    if len(times) and (first_time := float(times.min())) > _LATEST_S:
        raise refuse(
            f"has spike times from {first_time:.10g} on, after the year 5000 if they are seconds "
            "since 1970; seconds expected",
            "divide milliseconds by 1000, microseconds by 1e6 and nanoseconds by 1e9",
        )
    return times.astype(np.float64, copy=False), unit


def recording_start(first: float) -> float:
    """Return the start of a recording that states none, from its first spike.

    It is 0, unless silence before a late spike would be taken for recorded time.
    """
    return 0.0 if 0 <= first < LATE_S else first


def refuse_milliseconds(path: Path, spikes: Interval, others: Interval, name: str) -> None:
    """Raise if other times of the recording show that those of spikes are in ms."""
    if unit := unit_of_times(spikes, others):
        raise bad_file(
            path,
            "bad_clock",
            f"has spikes from {span_text(spikes)}, and {name} from {span_text(others)}: are the "
            f"times of spikes {unit}, or those of {name} wrong?",
            f"divide the times of spikes by {1 / UNITS_OF_TIME[unit]:.0f} if they are {unit}",
        )


def spiking_responses(
    units: SpikingUnits,
    spikes: UnsortedSpikes,
    span: tuple[float, float],
    options: ReadOptions,
    notes: Notes,
    *,
    observed: Observed | None = None,
) -> tuple[Signal, SpikingUnits]:
    """Return the spikes of the units that are read as a stream, and these units.

    Rates and presences are added to the properties of the units. They are over the
    time in which a unit was observed.

    Parameters
    ----------
    span
        Native times at which the recording begins and ends.
    observed
        Time in which each of the units was observed; None for all time.

    Raises
    ------
    SessionFormatError
        The recording is too short or too long, or no unit meets the options.
    """
    path, n_units = spikes.path, len(units.unit_id)
    seconds = span[1] - span[0]
    # Also refuses NaN.
    if not 1.0 <= seconds <= LONGEST_S:
        raise bad_file(
            path,
            "bad_clock",
            f"has spikes from {span[0]:.10g} to {span[1]:.10g} s; a recording of 1 s "
            "to a week expected",
            "times are seconds: divide milliseconds by 1000, numbers of samples by the "
            "sampling rate",
        )
    _note_rare(spikes, notes)
    if observed is None:
        observed = _without_pauses(spikes.times, span, notes)
    if observed is None:
        since, length = spikes.times - span[0], np.full(n_units, seconds)
        n_spikes = units.n_spikes
    else:
        since = observed_time(spikes.times, spikes.unit, observed)
        length = np.broadcast_to(observed.seconds(), (n_units,))
        n_spikes = np.bincount(spikes.unit[since >= 0], minlength=n_units)
        if outside := int(units.n_spikes.sum() - n_spikes.sum()):
            notes.warn(
                "unobserved_spikes",
                f"{outside:,} of {len(spikes.times):,} spikes lie outside the time in "
                "which their unit was observed; rates and windows leave them out",
            )
    # A unit that was never observed has no rate.
    rate_hz = np.divide(n_spikes, length, out=np.full(n_units, np.nan), where=length > 0)
    properties = {"rate_hz": rate_hz, **units.properties}
    if "presence_ratio" not in properties:
        properties["presence_ratio"] = presence(since, spikes.unit, length)
    units = replace(units, properties=properties)
    chosen = choose_units(units, options, path, notes)
    times, offsets = group_spikes(spikes.times, spikes.unit, chosen, n_units)
    file = MemoryRows(path, times, spikes.stamps)
    kept = None if observed is None else observed.select(chosen)
    return spike_signal(file, offsets, *span, notes, kept), units.select(chosen)


def _note_rare(spikes: UnsortedSpikes, notes: Notes) -> None:
    """Warn of very few spikes in a long recording: its times may not be in seconds."""
    seconds = float(np.ptp(spikes.times))
    rate_hz = len(spikes.times) / max(1, len(np.unique(spikes.unit))) / max(1.0, seconds)
    if seconds / 3600 > _LONG_HOURS and rate_hz < _RARE_HZ:
        notes.warn(
            "rare_spikes",
            f"spikes of {seconds / 3600:.3g} hours, with {rate_hz:.2g} spikes per second and "
            "unit: are the times in milliseconds or samples, not in seconds?",
        )


def _without_pauses(times: np.ndarray, span: tuple[float, float], notes: Notes) -> Observed | None:
    """Return the recorded time, without long pauses of all units; None if there are none."""
    has_spike = np.zeros(int(span[1] - span[0]) + 1, bool)
    second = (times[(times >= span[0]) & (times <= span[1])] - span[0]).astype(np.int64)
    has_spike[second] = True
    at = np.flatnonzero(has_spike)
    length = np.diff(at) - 1
    is_pause = length >= np.maximum(LATE_S, _SURE_SPIKES * len(at) / max(1, len(second)))
    if not is_pause.any():
        return None
    first, stop = at[:-1][is_pause] + 1.0 + span[0], at[1:][is_pause] + span[0]
    notes.warn(
        "pauses",
        f"no unit has a spike in {count(len(first), 'pause')} of {length[is_pause].sum():,} s in "
        f"all, the first from {first[0]:.10g} to {stop[0]:.10g} s: they are missing, not silent",
    )
    return Observed(np.stack([np.append(span[0], stop), np.append(first, span[1])], axis=1))


def as_units(chosen: SpikingUnits, responses: Signal, notes: Notes, source: str) -> Units:
    """Return the neurons of a session for chosen units.

    A note counts those without a position.

    Parameters
    ----------
    source
        Place of the names of the areas.
    """
    if unplaced := int(np.isnan(chosen.xyz_um[:, 2]).sum()):
        notes.assume(
            "unplaced_units",
            f"{unplaced:,} of {len(chosen.unit_id):,} units have no position: they are "
            "listed, not placed",
        )
    units = make_units(
        responses,
        notes,
        unit_id=chosen.unit_id,
        area=chosen.area,
        area_source=source,
        plane=None if chosen.probe is None else probe_numbers(chosen.probe),
        xyz_um=chosen.xyz_um,
        probe=chosen.probe,
    )
    return replace(units, properties=dict(chosen.properties))


def group_spikes(
    times: np.ndarray, unit: np.ndarray, chosen: np.ndarray, n_units: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return spike times of chosen units, unit after unit, and their offsets.

    Parameters
    ----------
    times, unit
        (spike,) seconds, and row of the unit of each spike.
    chosen, n_units
        int64 (k,) ascending rows of the units, and number of all units.
    """
    # Arrays of all spikes are large: rows have 32 bits, or 16 where that is enough,
    # which are also sorted in linear time.
    place = np.full(n_units, -1, np.int32)
    place[chosen] = np.arange(len(chosen))
    row = place[unit]
    if len(chosen) < n_units:
        is_chosen = row >= 0
        times, row = times[is_chosen], row[is_chosen]
    if len(chosen) < 2**16:
        row = row.astype(np.uint16)
    order = np.argsort(row, kind="stable")
    # Most files are sorted by time, which the stable order keeps in each unit.
    is_sorted = not (times[1:] < times[:-1]).any()
    times = times[order]
    if not is_sorted:
        row = row[order]
        falls = (times[1:] < times[:-1]) & (row[1:] == row[:-1])
        if falls.any():
            times = times[np.lexsort((times, row))]
    counts = np.bincount(row, minlength=len(chosen))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return times.astype(np.float64, copy=False), offsets


def observed_time(times: np.ndarray, unit: np.ndarray, observed: Observed) -> np.ndarray:
    """Return for each spike the seconds that its unit was observed before it.

    float64 (spike,); NaN for spikes at times at which their unit was not observed.
    """

    def within(spikes: np.ndarray, spans: np.ndarray) -> np.ndarray:
        if not len(spans):
            return np.full(len(spikes), np.nan)
        before = np.cumsum(np.concatenate([[0.0], np.diff(spans, axis=1)[:, 0]]))
        row = np.searchsorted(spans[:, 0], spikes, side="right") - 1
        begin, end = spans[row].T
        is_inside = (row >= 0) & (spikes <= end)
        return np.where(is_inside, before[row] + spikes - begin, np.nan)

    if observed.offsets is None:
        return within(times, observed.spans)
    # Files with observed time hold the spikes of one unit after the other.
    order = np.argsort(unit, kind="stable")
    bounds = np.searchsorted(unit[order], np.arange(len(observed.offsets)))
    found = np.full(len(times), np.nan)
    for k in np.flatnonzero(np.diff(bounds)).tolist():
        own = order[bounds[k] : bounds[k + 1]]
        spans = observed.spans[observed.offsets[k] : observed.offsets[k + 1]]
        found[own] = within(times[own], spans)
    return found


def presence(since: np.ndarray, unit: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Return the share of 10-s bins in which each unit has spikes, float64 (n,).

    NaN for units that were never observed, and for a recording that is too long for
    its number of units.

    Parameters
    ----------
    since, unit
        (spike,): seconds of observed time before each spike, NaN outside of it, and
        row of its unit.
    seconds
        float64 (n,): observed time of each unit.
    """
    n_bins = np.ceil(seconds / PRESENCE_BIN_S).astype(np.int64)
    most = max(1, int(n_bins.max(initial=1)))
    if most * len(seconds) > _MAX_BINS:
        return np.full(len(seconds), np.nan)
    is_inside = ~np.isnan(since)
    if not is_inside.all():
        since, unit = since[is_inside], unit[is_inside]
    last = np.maximum(n_bins, 1)[unit] - 1
    index = np.clip(since // PRESENCE_BIN_S, 0, last)
    has_spike = np.zeros((len(seconds), most), bool)
    has_spike[unit, index.astype(np.int64)] = True
    share = np.full(len(seconds), np.nan)
    np.divide(has_spike.sum(axis=1), n_bins, out=share, where=n_bins > 0)
    return share


def choose_units(units: SpikingUnits, options: ReadOptions, path: Path, notes: Notes) -> np.ndarray:
    """Return the rows of the units that meet the options, int64 (k,).

    The properties `rate_hz` and `presence_ratio` are compared with the limits. Notes
    state how many units each option leaves out.

    Raises
    ------
    SessionFormatError
        No unit is left, or the recording has no quality labels.
    """
    kept = np.full(len(units.unit_id), True)
    left_out = []
    for name, is_met in _conditions(units, options, path):
        lost = int((kept & ~is_met).sum())
        kept &= is_met
        left_out.append(f"{name} leaves out {lost:,}")
    if left_out:
        message = f"{int(kept.sum()):,} of {len(kept):,} units are read: "
        notes.assume("unit_selection", message + ", ".join(left_out))
    elif units.quality is not None:
        notes.assume(
            "unit_quality",
            f"all {len(kept):,} units are read, with the quality labels {_counted(units.quality)}",
        )
    if not kept.any():
        raise bad_file(
            path,
            "no_units",
            f"has no unit that meets the options: of {len(kept):,} units, "
            + (", ".join(left_out) or "none has spikes"),
            "choose lower limits",
        )
    return np.flatnonzero(kept)


def _conditions(
    units: SpikingUnits, options: ReadOptions, path: Path
) -> list[tuple[str, np.ndarray]]:
    """Return the name of each condition, and which units meet it."""
    limits = (
        (options.min_rate_hz, "rate_hz", "a rate of {:g} Hz"),
        (options.min_presence, "presence_ratio", "a presence of {:g}"),
    )
    found = [
        (text.format(least), units.properties[name] >= least)
        for least, name, text in limits
        if least is not None
    ]
    if (quality := options.quality) is not None:
        found.insert(0, (f"quality {quality}", _has_quality(units, quality, path)))
    return found


def _has_quality(units: SpikingUnits, least: float | str, path: Path) -> np.ndarray:
    labels = units.quality
    if labels is None:
        problem = f"has no quality labels of units; quality {least} was asked for"
        raise bad_file(path, "no_quality", problem, "omit the option quality")
    if labels.dtype.kind == "U":
        met = np.char.lower(labels) == str(least).lower()
        if not met.any():
            problem = f"has no unit of quality {str(least)!r}; its labels are {_counted(labels)}"
            raise bad_file(path, "no_units", problem, "choose one of these labels")
        return np.asarray(met)
    number = as_float(least)
    if number is None:
        problem = f"has numbers as quality labels ({_counted(labels)}), and quality is {least!r}"
        raise bad_file(path, "bad_option", problem, "give the least label as a number")
    return np.asarray(labels >= number - _TOLERANCE)


def _counted(labels: np.ndarray) -> str:
    """Return the labels with their numbers of units, most frequent first."""
    if labels.dtype.kind != "U":
        labels = np.array([f"{value:.2g}" for value in labels.tolist()], np.str_)
    counts = Counter(labels.tolist()).most_common()
    listed = ", ".join(f"{name or 'none'}: {n:,}" for name, n in counts[:_MANY_LABELS])
    return listed + (", …" if len(counts) > _MANY_LABELS else "")


def quality_labels(
    columns: Mapping[str, np.ndarray], names: Sequence[str], where: str, notes: Notes
) -> np.ndarray | None:
    """Return the first of some columns that has labels of units, None if there is none."""
    for name in names:
        labels = columns.get(name)
        if labels is None:
            continue
        if (labels != "" if labels.dtype.kind == "U" else np.isfinite(labels)).any():
            return labels
        text = f"{where}: {name} is missing (NaN) for all units, and is not the quality"
        notes.warn("no_quality", text)
    return None
