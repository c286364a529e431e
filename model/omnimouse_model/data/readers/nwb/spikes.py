"""Session of an NWB file with spikes: its table of units, trials and behaviour."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from omnimouse_model.data.clock import Interval
from omnimouse_model.data.read_options import ReadOptions
from omnimouse_model.data.readers.build.finalise import finalise
from omnimouse_model.data.readers.build.neurons import is_property_name
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.presentations import (
    PresentationIntervals,
    trials_without_screen,
)
from omnimouse_model.data.readers.build.side_streams import read_side_stream
from omnimouse_model.data.readers.build.spiking_units import (
    MAX_SPIKES,
    MAX_UNITS,
    SpikingUnits,
    UnsortedSpikes,
    as_units,
    refuse_milliseconds,
    sound_spike_times,
    spiking_responses,
)
from omnimouse_model.data.readers.build.statistics import complete_statistics, train_spans
from omnimouse_model.data.readers.build.stored_values import texts_of
from omnimouse_model.data.readers.build.trials import TRIAL_START, aligned_to_event, with_tiers
from omnimouse_model.data.readers.nwb.behavior import read_behavior
from omnimouse_model.data.readers.nwb.electrodes import UnitPlaces, read_places
from omnimouse_model.data.readers.nwb.file import NwbFile
from omnimouse_model.data.readers.nwb.observed_time import read_observed
from omnimouse_model.data.readers.nwb.stimulus import read_stimulus
from omnimouse_model.data.readers.nwb.trials import read_intervals, read_spans
from omnimouse_model.data.recording import RECORDING_RATE
from omnimouse_model.data.session import Session
from omnimouse_model.data.signal import Signal
from omnimouse_model.data.stimulus import Stimulus, Trials

if TYPE_CHECKING:
    import h5py

UNITS = "Units"
"""Value of the option `series` that opens the spikes of a file."""
_QUALITY = ("quality", "label", "unit_quality", "default_qc", "kslabel", "ks2_label")
"""Columns that are a label of quality, best first."""
_NOT_COLUMNS = re.compile(
    r"id|depth|electrodes|electrode_group|obs_intervals|spike_times|waveform.*"
)
"""Columns that are read for another purpose, or not at all."""
_HELD_OUT = "heldout"
"""Column of the Neural Latents Benchmark."""
_LONGEST = 80
_TIERS = {"val": "validation"}
"""Names of the split of the benchmark -> tiers."""
_LONG_HOURS, _RARE_HZ = 12.0, 0.02
"""A longer recording of units with a lower rate is noted: perhaps it is not in s."""


def units_tables(nwb: NwbFile) -> list["h5py.Group"]:
    """Return the tables of units with spike times, the one that is read first."""
    tables = [
        table for table in nwb.groups_of("Units") if len(nwb.shape(table, "spike_times")) == 1
    ]
    # The table of the file itself, before those of processing modules.
    return sorted(tables, key=lambda table: str(table.name).count("/"))


def note_unread_units(nwb: NwbFile, tables: Sequence["h5py.Group"], notes: Notes) -> None:
    """Note tables of units beside the responses that are read."""
    if tables:
        listed = ", ".join(f"{t.name} ({nwb.shape(t, 'id')[0]:,})" for t in tables[:6])
        text = f"the file has other units, sorted from spikes, not read: {listed}"
        notes.assume("other_units", text)


def read_spikes(
    nwb: NwbFile,
    table: "h5py.Group",
    session_id: str,
    fingerprint: str,
    options: ReadOptions,
    notes: Notes,
) -> Session:
    """Return the session of a table of units.

    Raises
    ------
    SessionFormatError
        A column is damaged, or no unit meets the options.
    """
    spikes, ids = _spikes(nwb, table, notes)
    others = [other for other in units_tables(nwb) if other.name != table.name]
    note_unread_units(nwb, others, notes)
    _check_unit_of_times(nwb, spikes, notes)
    units = _units(nwb, table, spikes, ids, notes)
    span, observed = read_observed(nwb, table, spikes, units, notes)
    responses, chosen = spiking_responses(units, spikes, span, options, notes, observed=observed)
    stimulus, trials = _trials(nwb, responses, options, notes)
    train = train_spans(stimulus, trials, responses.start)
    responses = complete_statistics(responses, train, notes)
    session = Session(
        id=session_id,
        animal_id=nwb.text("/general/subject/subject_id") or None,
        path=nwb.file.path,
        format="nwb",
        fingerprint=fingerprint,
        units=as_units(chosen, responses, notes, "electrodes.location"),
        responses=responses,
        behavior=read_behavior(nwb, responses, stimulus, notes),
        stimulus=stimulus,
        trials=trials,
        meta={"series": [str(table.name)], RECORDING_RATE: responses.rate_hz},
        series=UNITS,
        series_choices={UNITS: "spike times"},
        options=options.changed(),
    )
    return finalise(session, notes)


def _spikes(nwb: NwbFile, table: "h5py.Group", notes: Notes) -> tuple[UnsortedSpikes, np.ndarray]:
    """Return the spikes of all units and the ids of the units."""
    n_spikes = nwb.shape(table, "spike_times")[0]
    ends = _column(nwb, table, "spike_times_index", "iu")
    ids = _column(nwb, table, "id", "iu")
    if ends is None or ids is None or len(ends) != len(ids) or not len(ids):
        raise nwb.wrong(table, "has no id and spike_times_index for each unit")
    ends = ends.astype(np.int64)
    if len(ids) > MAX_UNITS or n_spikes > MAX_SPIKES:
        found = f"{len(ids):,} units with {n_spikes:,} spikes"
        raise nwb.wrong(table, f"has {found}, too many")
    if not n_spikes:
        problem = f"has {len(ids):,} units, and none of them has a spike"
        raise nwb.wrong(table, problem, "were the spike times written to the file?")
    counts = np.diff(ends, prepend=0)
    if (counts < 0).any() or ends[-1] != n_spikes:
        problem = f"ascends to {ends[-1]}, and there are {n_spikes} spikes"
        raise nwb.wrong(table, f"has a spike_times_index that {problem}")
    times = nwb.file.table(f"{table.name}/spike_times", 8 * MAX_SPIKES)
    if times.dtype.kind not in "fiu":
        raise nwb.wrong(table, f"has {n_spikes:,} spike_times of {times.dtype}")
    unit = np.repeat(np.arange(len(ids)), counts)
    refuse = partial(nwb.wrong, table)
    times, unit = sound_spike_times(times, unit, str(table.name), refuse, notes)
    if len(np.unique(ids)) < len(ids):
        notes.warn("duplicate_ids", f"{table.name}: ids of units occur more than once")
    same_unit = unit[1:] == unit[:-1]
    if falls := int((same_unit & (times[1:] < times[:-1])).sum()):
        notes.assume(
            "unsorted_spikes",
            f"{table.name}: spike times fall in {falls:,} places; they are sorted",
        )
    if repeats := int((same_unit & (times[1:] == times[:-1])).sum()):
        notes.warn(
            "repeated_spikes",
            f"{table.name}: {repeats:,} of {n_spikes:,} spikes have the time of the "
            "spike before them in the same unit; all are counted",
        )
    path, stamps = nwb.file.path, (nwb.file.source,)
    return UnsortedSpikes(path, times, unit, stamps), ids.astype(np.int64)


def _check_unit_of_times(nwb: NwbFile, spikes: UnsortedSpikes, notes: Notes) -> None:
    """Refuse spike times in milliseconds, where the times of trials show it."""
    own = Interval(float(spikes.times.min()), float(spikes.times.max()))
    for table in nwb.groups_of("TimeIntervals"):
        spans = read_side_stream(str(table.name), partial(_extent_of, nwb, table), Notes())
        if spans is not None:
            refuse_milliseconds(nwb.file.path, own, spans, str(table.name))
    hours = (own.stop - own.start) / 3600
    rate_hz = len(spikes.times) / max(1, len(np.unique(spikes.unit)))
    rate_hz /= max(1.0, own.stop - own.start)
    if hours > _LONG_HOURS and rate_hz < _RARE_HZ:
        notes.warn(
            "rare_spikes",
            f"spikes of {hours:.3g} hours, with {rate_hz:.2g} spikes per second and "
            "unit: are the times in milliseconds or samples, not in seconds?",
        )


def _extent_of(nwb: NwbFile, table: "h5py.Group", notes: Notes) -> Interval | None:
    """Return the time from the first to the last start of a table of intervals."""
    starts = read_spans(nwb, table)[:, 0]
    starts = starts[np.isfinite(starts)]
    return Interval(starts.min(), starts.max()) if len(starts) > 1 else None


def _column(nwb: NwbFile, table: "h5py.Group", name: str, kinds: str) -> np.ndarray | None:
    """Return a column of numbers, None if there is none of these kinds."""
    if len(nwb.shape(table, name)) != 1:
        return None
    values = nwb.file.table(f"{table.name}/{name}")
    return values if values.dtype.kind in kinds else None


# -- units ---------------------------------------------------------------------------
def _units(
    nwb: NwbFile,
    table: "h5py.Group",
    spikes: UnsortedSpikes,
    ids: np.ndarray,
    notes: Notes,
) -> SpikingUnits:
    n = len(ids)
    columns = _properties(nwb, table, n, notes)
    quality = _quality(columns, notes)
    read = partial(read_places, nwb, table, n)
    places = read_side_stream("the position of units", read, notes)
    places = places or UnitPlaces(np.full((n, 3), np.nan))
    read_depth = partial(_property, nwb, table, "depth")
    depth = read_side_stream(f"{table.name}/depth", read_depth, notes)
    has_depth = depth is not None and depth.dtype.kind == "f" and depth.shape == (n,)
    if depth is not None and has_depth and np.isnan(places.xyz_um).all():
        places = _at_depth(places, depth)
        notes.assume("unit_depths", "depths of units are the column depth, in µm")
    area = places.area
    if area is None:
        own = columns.get("location", columns.get("brain_area"))
        area = own if own is not None and own.dtype.kind == "U" else None
    return SpikingUnits(
        unit_id=ids,
        n_spikes=np.bincount(spikes.unit, minlength=n),
        xyz_um=places.xyz_um,
        area=area,
        probe=places.probe,
        quality=quality,
        properties=columns,
    )


def _at_depth(places: UnitPlaces, depth: np.ndarray) -> UnitPlaces:
    xyz_um = np.stack([np.zeros(len(depth)), np.zeros(len(depth)), depth], axis=1)
    is_known = np.abs(depth) < 1e9
    xyz_um = np.where(is_known[:, None], xyz_um, np.nan)
    # Depths are drawn on a probe: one, if the file names none.
    probe = places.probe if places.probe is not None else np.full(len(depth), "0")
    return replace(places, xyz_um=xyz_um, probe=probe)


def _properties(nwb: NwbFile, table: "h5py.Group", n: int, notes: Notes) -> dict[str, np.ndarray]:
    """Return the columns of numbers and short texts by lower-case name."""
    found: dict[str, np.ndarray] = {}
    left_out = []
    names = nwb.names(table)
    for stored in names:
        # Ragged columns and their indices are no properties.
        is_index = stored.endswith("_index") and stored.removesuffix("_index") in names
        if _NOT_COLUMNS.fullmatch(stored) or is_index or f"{stored}_index" in names:
            continue
        read = partial(_property, nwb, table, stored)
        column = read_side_stream(f"{table.name}/{stored}", read, notes)
        name = stored.lower()
        if column is None:
            continue
        if column.shape != (n,):
            left_out.append(f"{stored} {column.shape}")
        elif not is_property_name(name) or name in found:
            left_out.append(stored)
        else:
            found[name] = column
    held_out = found.get(_HELD_OUT)
    if held_out is not None and held_out.dtype.kind == "f":
        found[_HELD_OUT] = np.where(held_out > 0, "held-out", "held-in")
    if left_out:
        message = f"not read from {table.name}: {', '.join(left_out[:8])}"
        notes.assume("left_out_columns", message)
    return found


def _property(nwb: NwbFile, table: "h5py.Group", name: str, notes: Notes) -> np.ndarray | None:
    """Return a column as numbers or texts; None for references and long texts."""
    if len(shape := nwb.shape(table, name)) != 1:
        # Only the shape of arrays is of interest.
        return np.broadcast_to(np.nan, shape) if shape else None
    values = nwb.file.table(f"{table.name}/{name}")
    if values.dtype.kind in "biuf":
        return values.astype(np.float64)
    if values.dtype.kind not in "OSU":
        return None
    is_texts = all(isinstance(value, str | bytes) for value in values.tolist())
    words = texts_of(values) if is_texts else []
    if not is_texts or any(len(word) > _LONGEST for word in words):
        return None
    return np.array(words, np.str_)


def _quality(columns: Mapping[str, np.ndarray], notes: Notes) -> np.ndarray | None:
    """Return the quality label of each unit, from the first column that has labels."""
    for name in _QUALITY:
        labels = columns.get(name)
        if labels is None:
            continue
        if labels.dtype.kind == "U" or np.isfinite(labels).any():
            return labels
        message = f"the column {name} of units is NaN for all of them: no quality"
        notes.warn("no_quality", message)
    return None


# -- trials --------------------------------------------------------------------------
def _trials(
    nwb: NwbFile, responses: Signal, options: ReadOptions, notes: Notes
) -> tuple[Stimulus | None, Trials]:
    """Return the stimulus, if the file has one, and the trials."""
    intervals = _with_tier_names(read_intervals(nwb, responses, notes))
    stimulus = read_stimulus(nwb, intervals, responses, notes)
    if stimulus is not None:
        return stimulus, stimulus.trials
    intervals = with_tiers(intervals, options, notes)
    path, event = nwb.file.path, options.trial_event
    intervals = aligned_to_event(intervals, event, TRIAL_START, path, notes)
    return None, trials_without_screen(intervals, responses.start)


def _with_tier_names(intervals: PresentationIntervals) -> PresentationIntervals:
    """Return trials whose split has the names of tiers."""
    split = intervals.columns.get("split")
    if split is None:
        return intervals
    tiers: list[Any] = [_TIERS.get(str(name), name) for name in split]
    columns: Mapping[str, Any] = {**intervals.columns, "split": tiers}
    return replace(intervals, columns=columns)
