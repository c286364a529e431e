"""Spikes of an NWB file: its table of units, and the electrodes at which they lie.

The file is long because a table of units, its spikes and its electrodes have many forms.
"""

import re
from collections.abc import Sequence
from functools import partial

import numpy as np

from omnimouse_model.data.clock import Interval
from omnimouse_model.data.readers.build import spiking_units
from omnimouse_model.data.readers.build.checked_values import text_of, texts_of
from omnimouse_model.data.readers.build.neurons import named_properties
from omnimouse_model.data.readers.build.notes import Notes, ReadOptions
from omnimouse_model.data.readers.nwb.file import Group, NwbFile
from omnimouse_model.data.readers.nwb.intervals import read_observed, read_spans
from omnimouse_model.data.readers.nwb.units import NO_AREA, areas_of_rows
from omnimouse_model.data.signal import Signal

_ELECTRODES = "/general/extracellular_ephys/electrodes"
_ACROSS = ("rel_x", "probe_horizontal_position")
_ALONG = ("rel_y", "probe_vertical_position")
"""Columns of positions on the probe in µm, from its tip upwards."""
_PEAK = re.compile(
    r"(?:peak|max|maximum|main|best|primary|extremum)_?(?:channel|chan|ch|electrode)"
    r"(_ids?|_index|_idx)?"
)
"""Names of columns with the channel of the largest signal."""
_MOST_SPIKES = 50
"""Spikes of a unit whose waveforms are compared between its electrodes."""
_LARGEST = 1e9
_LONGEST = 80


Places = tuple[np.ndarray, np.ndarray | None, np.ndarray | None]
"""Of units: float64 (n, 3) position across the probe, 0, depth below the highest electrode, NaN
where unknown; probe and area, str (n,), or None if no electrode states it."""


def read_places(nwb: NwbFile, units: Group, n: int) -> Places:
    """Return the places of the n units: those of the electrode with the largest signal.

    It is the peak channel of a unit, otherwise the electrode of its largest waveform,
    otherwise its only electrode. Of a unit with several electrodes and neither, the
    position is unknown; area and probe are known if they are those of all of them.

    Raises
    ------
    SessionFormatError
        The electrodes of the units do not fit the table of electrodes.
    """
    unknown = np.full((n, 3), np.nan), None, None
    table = nwb.file.find(_ELECTRODES)
    if table is None or len(nwb.shape(table, "id")) != 1:
        return unknown
    ids = nwb.file.table(f"{table.name}/id")
    if not len(ids) or ids.dtype.kind not in "iu":
        return unknown
    group = _texts(nwb, table, "group_name", len(ids))
    area = _texts(nwb, table, "location", len(ids))
    listed = _listed(nwb, units, n, len(ids))
    row = _peak_rows(nwb, units, ids, group, listed)
    if row is None:
        row = _loudest_rows(nwb, units, n, len(ids), listed)
    if row is None and not any(len(own) for own in listed):
        return unknown
    if row is None:
        row = np.full(n, -1)
    lone = np.array([own[0] if len(own) == 1 else -1 for own in listed])
    row = np.where(row >= 0, row, lone)
    several = [i for i in np.flatnonzero(row < 0).tolist() if len(listed[i]) > 1]
    if several:
        nwb.notes.warn(
            "several_electrodes",
            f"{units.name} lists several electrodes for {len(several):,} of {n:,} "
            "units, and neither a peak channel nor waveforms tell which one is the "
            "nearest: their position is unknown (store peak_channel_id)",
        )
    places = _positions(nwb, table, len(ids), group)
    return (
        np.where((row >= 0)[:, None], places[row], np.nan),
        _names(group, row, listed, several),
        _names(area, row, listed, several),
    )


def _names(
    column: np.ndarray | None, row: np.ndarray, listed: list[np.ndarray], several: list[int]
) -> np.ndarray | None:
    """Return the entry of a column of electrodes for each unit, "" if unknown."""
    if column is None:
        return None
    names = np.where(row >= 0, column[row], "")
    for i in several:
        common = np.unique(column[listed[i]])
        names[i] = common[0] if len(common) == 1 else ""
    return names if (names != "").any() else None


def _positions(nwb: NwbFile, table: Group, n: int, group: np.ndarray | None) -> np.ndarray:
    """Return the positions of the electrodes, float64 (n, 3), NaN where unknown."""
    across = _numbers(nwb, table, _ACROSS, n)
    along = _numbers(nwb, table, _ALONG, n)
    if across is None or along is None:
        return np.full((n, 3), np.nan)
    places = np.stack([across, np.zeros(n), _depth(along, group)], axis=1)
    places[~np.isfinite(places).all(axis=1)] = np.nan
    return places


def _listed(nwb: NwbFile, units: Group, n: int, n_electrodes: int) -> list[np.ndarray]:
    """Return the rows of the electrodes of each unit, empty where none is stored."""
    rows = _whole(nwb, units, "electrodes")
    ends = _whole(nwb, units, "electrodes_index")
    if rows is None or (ends is None and len(rows) != n):
        return [np.zeros(0, np.int64)] * n
    if ends is None:
        ends = np.arange(1, n + 1)
    if len(ends) != n or (np.diff(ends, prepend=0) < 0).any() or ends[-1] > len(rows):
        problem = f"has an electrodes_index that does not fit its {n:,} units"
        raise nwb.wrong(units, problem, "store the end of the list of each unit")
    rows = rows[: ends[-1]]
    if ((rows < 0) | (rows >= n_electrodes)).any():
        problem = f"lists electrodes {rows.min()} to {rows.max()} of {n_electrodes:,}"
        raise nwb.wrong(units, problem, "list rows of the table of electrodes, from 0")
    return np.split(rows, ends[:-1])


# -- the electrode with the largest signal -------------------------------------------
def _peak_rows(
    nwb: NwbFile, units: Group, ids: np.ndarray, group: np.ndarray | None, listed: list[np.ndarray]
) -> np.ndarray | None:
    """Return the rows of the stored peak channels, -1 if unknown; None without any.

    A channel is stored as the id of an electrode, as its row, or as its number among
    the electrodes of the unit. What the column does not say follows from the lists of
    electrodes: a peak channel is in the list of its unit.
    """
    n = len(listed)
    for name in nwb.names(units):
        match = _PEAK.fullmatch(name.lower())
        values = None if match is None else _whole(nwb, units, name)
        if match is None or values is None or len(values) != n:
            continue
        order = np.argsort(ids, kind="stable")
        near = order[np.minimum(np.searchsorted(ids[order], values), len(ids) - 1)]
        by_id = np.where(ids[near] == values, near, -1)
        by_row = np.where((values >= 0) & (values < len(ids)), values, -1)
        kind = nwb.file.attribute(nwb.file.find(name, units), "neurodata_type", "")
        if match[1] in ("_id", "_ids"):
            return by_id
        if text_of(kind) == "DynamicTableRegion":
            return by_row
        in_list = np.array(
            [
                own[value] if 0 <= value < len(own) else -1
                for own, value in zip(listed, values.tolist(), strict=True)
            ]
        )
        is_index = match[1] in ("_index", "_idx")
        readings = [by_row, in_list] if is_index else [by_id, by_row, in_list]
        if found := [r for r in readings if _is_listed(r, listed)]:
            return found[0]
        several_probes = group is not None and len(np.unique(group)) > 1
        if not any(len(own) for own in listed) and not several_probes:
            return readings[0]
        nwb.notes.warn(
            "peak_channels",
            f"{units.name}/{name} does not say to which probe or list its numbers "
            "belong: not read (store the id of the electrode as peak_channel_id)",
        )
    return None


def _is_listed(rows: np.ndarray, listed: list[np.ndarray]) -> bool:
    """Return whether the row of each unit is in its list of electrodes."""
    return all(
        row in own for row, own in zip(rows.tolist(), listed, strict=True) if len(own)
    ) and any(len(own) for own in listed)


def _loudest_rows(
    nwb: NwbFile, units: Group, n: int, n_electrodes: int, listed: list[np.ndarray]
) -> np.ndarray | None:
    """Return the row of the electrode with the largest waveform of each unit.

    -1 if unknown; None if the waveforms are not those of the electrodes.
    """
    every = np.arange(n_electrodes)
    # Without lists, waveforms of all electrodes are in the order of the table.
    channels = [own if len(own) else every for own in listed]
    sizes = _mean_sizes(nwb, units, n, channels) or _spike_sizes(nwb, units, channels)
    if sizes is None:
        return None
    row = np.full(n, -1)
    for i, (size, own) in enumerate(zip(sizes, channels, strict=True)):
        # Waveforms of few electrodes are padded with zeros or NaN.
        size = np.nan_to_num(size[: len(own)], nan=0.0)
        if len(size) and size.max() > 0:
            row[i] = own[int(size.argmax())]
    return row


def _mean_sizes(
    nwb: NwbFile, units: Group, n: int, channels: list[np.ndarray]
) -> list[np.ndarray] | None:
    """Return the sizes of the mean waveforms of each unit on its electrodes."""
    shape = nwb.shape(units, "waveform_mean")
    most = max(map(len, channels))
    name = f"{units.name}/waveform_mean"
    if len(shape) == 3 and shape[0] == n and most in shape[1:]:
        # The schema has (unit, sample, electrode); some files exchange the last two.
        axis = 1 if shape[2] == most else 2
        values = nwb.file.table(name)
        return None if values.dtype.kind not in "fiu" else list(_extent(values, axis))
    ends = _whole(nwb, units, "waveform_mean_index")
    if len(shape) == 2 and ends is not None and len(ends) == n:
        # One row for each electrode of each unit.
        counts = np.diff(ends, prepend=0).tolist()
        if counts == [len(own) for own in channels] and ends[-1] == shape[0]:
            return np.split(_extent(nwb.file.table(name), 1), ends[:-1])
    return None


def _spike_sizes(nwb: NwbFile, units: Group, channels: list[np.ndarray]) -> list[np.ndarray] | None:
    """Return the mean sizes of the waveforms of some spikes of each unit."""
    of_spike = _whole(nwb, units, "waveforms_index")
    of_unit = _whole(nwb, units, "waveforms_index_index")
    shape = nwb.shape(units, "waveforms")
    if of_spike is None or of_unit is None or len(shape) != 2:
        return None
    rows = np.concatenate([[0], of_spike])
    spikes = np.concatenate([[0], of_unit])
    is_sound = len(spikes) == len(channels) + 1 and spikes[-1] < len(rows)
    falls = (np.diff(spikes) < 0).any() or (np.diff(rows) < 0).any()
    if not is_sound or falls or rows[-1] > shape[0]:
        return None
    dataset = nwb.file.dataset(f"{units.name}/waveforms")
    sizes = []
    for own, first, stop in zip(channels, spikes[:-1], spikes[1:], strict=True):
        stop = min(int(stop), int(first) + _MOST_SPIKES)
        begin, end = int(rows[first]), int(rows[stop])
        if end - begin != (stop - first) * len(own):
            return None
        block = nwb.file.read(dataset, slice(begin, end))
        size = _extent(block, 1).reshape(-1, len(own))
        sizes.append(size.mean(axis=0) if len(size) else np.zeros(0))
    return sizes


def _extent(waveforms: np.ndarray, axis: int) -> np.ndarray:
    """Return the largest minus the smallest sample of waveforms; NaN samples are 0."""
    values = np.nan_to_num(waveforms.astype(np.float64))
    return np.asarray(values.max(axis=axis) - values.min(axis=axis))


def _whole(nwb: NwbFile, group: Group, name: str) -> np.ndarray | None:
    """Return a column of whole numbers, -1 where missing; None if it is none."""
    values = nwb.column(group, name)
    if values is not None and values.dtype.kind == "f":
        values = np.where(np.abs(values) < _LARGEST, values, -1.0)
    is_whole = values is not None and (values == np.round(values)).all()
    return values.astype(np.int64) if values is not None and is_whole else None


def _texts(nwb: NwbFile, table: Group, name: str, n: int) -> np.ndarray | None:
    """Return a column of texts, or of whole numbers as names; None if all are empty."""
    stored = nwb.texts(table, name, n)
    if stored is None and (numbers := nwb.column(table, name, n, "iu")) is not None:
        stored = texts_of(numbers)
    words = [word.strip()[:_LONGEST] for word in stored or ()]
    words = ["" if word.lower() in NO_AREA else word for word in words]
    return np.array(words, np.str_) if any(words) else None


def _numbers(nwb: NwbFile, table: Group, names: tuple[str, ...], n: int) -> np.ndarray | None:
    """Return the first of some columns of numbers, None if there is none."""
    for name in names:
        values = nwb.column(table, name, n)
        if values is not None:
            numbers = values.astype(np.float64)
            return np.where(np.abs(numbers) < _LARGEST, numbers, np.nan)
    return None


def _depth(along: np.ndarray, group: np.ndarray | None) -> np.ndarray:
    """Return the distance below the highest electrode of the same probe."""
    names = np.zeros(len(along)) if group is None else group
    depth = np.full(len(along), np.nan)
    for name in np.unique(names):
        own = (names == name) & np.isfinite(along)
        if own.any():
            depth[own] = along[own].max() - along[own]
    return depth


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


def units_tables(nwb: NwbFile) -> list[Group]:
    """Return the tables of units with spike times, the one that is read first."""
    tables = [
        table for table in nwb.groups_of("Units") if len(nwb.shape(table, "spike_times")) == 1
    ]
    # The table of the file itself, before those of processing modules.
    return sorted(tables, key=lambda table: str(table.name).count("/"))


def note_unread_units(nwb: NwbFile, tables: Sequence[Group]) -> None:
    """Note tables of units beside the responses that are read."""
    if tables:
        listed = ", ".join(f"{t.name} ({nwb.shape(t, 'id')[0]:,})" for t in tables[:6])
        text = f"the file has other units, sorted from spikes, not read: {listed}"
        nwb.notes.assume("other_units", text)


def read_spikes(
    nwb: NwbFile, table: Group, options: ReadOptions
) -> tuple[Signal, spiking_units.SpikingUnits]:
    """Return the spikes of a table of units, and the units that meet the options.

    Raises
    ------
    SessionFormatError
        A column is damaged, or no unit meets the options.
    """
    spikes, ids = _spikes(nwb, table)
    # Times in milliseconds are refused where those of trials show it.
    own = Interval(float(spikes.times.min()), float(spikes.times.max()))
    for other in nwb.groups_of("TimeIntervals"):
        spans = Notes().attempt(str(other.name), _extent_of, nwb, other)
        if spans is not None:
            spiking_units.refuse_milliseconds(nwb.file.path, own, spans, str(other.name))
    units = _units(nwb, table, spikes, ids)
    span, observed = read_observed(nwb, table, spikes, units)
    return spiking_units.spiking_responses(
        units, spikes, span, options, nwb.notes, observed=observed
    )


def _spikes(nwb: NwbFile, table: Group) -> tuple[spiking_units.UnsortedSpikes, np.ndarray]:
    """Return the spikes of all units and the ids of the units."""
    n_spikes = nwb.shape(table, "spike_times")[0]
    ids = nwb.column(table, "id", kinds="iu")
    if ids is None or not len(ids):
        raise nwb.wrong(table, "has no id for each unit")
    if len(ids) > spiking_units.MAX_UNITS or n_spikes > spiking_units.MAX_SPIKES:
        found = f"{len(ids):,} units with {n_spikes:,} spikes"
        raise nwb.wrong(table, f"has {found}, too many")
    if not n_spikes:
        problem = f"has {len(ids):,} units, and none of them has a spike"
        raise nwb.wrong(table, problem, "were the spike times written to the file?")
    counts = np.diff(nwb.ends(table, "spike_times", len(ids), n_spikes, is_whole=True), prepend=0)
    times = nwb.file.table(f"{table.name}/spike_times", 8 * spiking_units.MAX_SPIKES)
    if times.dtype.kind not in "fiu":
        raise nwb.wrong(table, f"has {n_spikes:,} spike_times of {times.dtype}")
    unit = np.repeat(np.arange(len(ids)), counts)
    refuse = partial(nwb.wrong, table)
    times, unit = spiking_units.sound_spike_times(times, unit, str(table.name), refuse, nwb.notes)
    if len(np.unique(ids)) < len(ids):
        nwb.notes.warn("duplicate_ids", f"{table.name}: ids of units occur more than once")
    same_unit = unit[1:] == unit[:-1]
    if falls := int((same_unit & (times[1:] < times[:-1])).sum()):
        nwb.notes.assume(
            "unsorted_spikes",
            f"{table.name}: spike times fall in {falls:,} places; they are sorted",
        )
    if repeats := int((same_unit & (times[1:] == times[:-1])).sum()):
        nwb.notes.warn(
            "repeated_spikes",
            f"{table.name}: {repeats:,} of {n_spikes:,} spikes have the time of the "
            "spike before them in the same unit; all are counted",
        )
    path, stamps = nwb.file.path, (nwb.file.source,)
    return spiking_units.UnsortedSpikes(path, times, unit, stamps), ids.astype(np.int64)


def _extent_of(nwb: NwbFile, table: Group) -> Interval | None:
    """Return the time from the first to the last start of a table of intervals."""
    starts = read_spans(nwb, table)[:, 0]
    starts = starts[np.isfinite(starts)]
    return Interval(starts.min(), starts.max()) if len(starts) > 1 else None


# -- units ---------------------------------------------------------------------------
def _units(
    nwb: NwbFile, table: Group, spikes: spiking_units.UnsortedSpikes, ids: np.ndarray
) -> spiking_units.SpikingUnits:
    n = len(ids)
    columns = _properties(nwb, table, n)
    quality = spiking_units.quality_labels(columns, _QUALITY, str(table.name), nwb.notes)
    places = nwb.notes.attempt("the position of units", read_places, nwb, table, n)
    xyz_um, probe, area = places or (np.full((n, 3), np.nan), None, None)
    depth = nwb.notes.attempt(f"{table.name}/depth", _property, nwb, table, "depth")
    has_depth = depth is not None and depth.dtype.kind == "f" and depth.shape == (n,)
    if depth is not None and has_depth and np.isnan(xyz_um).all():
        xyz_um = np.stack([np.zeros(n), np.zeros(n), depth], axis=1)
        xyz_um[~(np.abs(depth) < _LARGEST)] = np.nan
        # Depths are drawn on a probe: one, if the file names none.
        probe = np.full(n, "0") if probe is None else probe
        nwb.notes.assume("unit_depths", "depths of units are the column depth, in µm")
    if area is None:
        area = areas_of_rows(nwb, table, n)
    return spiking_units.SpikingUnits(
        unit_id=ids,
        n_spikes=np.bincount(spikes.unit, minlength=n),
        xyz_um=xyz_um,
        area=area,
        probe=probe,
        quality=quality,
        properties=columns,
    )


def _properties(nwb: NwbFile, table: Group, n: int) -> dict[str, np.ndarray]:
    """Return the columns of numbers and short texts by lower-case name."""
    names = nwb.names(table)
    columns = []
    for stored in names:
        # Ragged columns and their indices are no properties.
        is_index = stored.endswith("_index") and stored.removesuffix("_index") in names
        if _NOT_COLUMNS.fullmatch(stored) or is_index or f"{stored}_index" in names:
            continue
        column = nwb.notes.attempt(f"{table.name}/{stored}", _property, nwb, table, stored)
        if column is not None:
            columns.append((stored, column))
    found = named_properties(columns, n, str(table.name), nwb.notes)
    held_out = found.get(_HELD_OUT)
    if held_out is not None and held_out.dtype.kind == "f":
        found[_HELD_OUT] = np.where(held_out > 0, "held-out", "held-in")
    return found


def _property(nwb: NwbFile, table: Group, name: str) -> np.ndarray | None:
    """Return a column as numbers or texts; None for references and long texts."""
    if len(shape := nwb.shape(table, name)) != 1:
        # Only the shape of arrays is of interest.
        return np.broadcast_to(np.nan, shape) if shape else None
    values = nwb.column(table, name, kinds="biuf")
    if values is not None:
        return values.astype(np.float64)
    words = nwb.texts(table, name)
    is_long = words is None or any(len(word) > _LONGEST for word in words)
    return None if is_long else np.array(words, np.str_)
