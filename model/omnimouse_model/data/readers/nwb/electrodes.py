"""Places of units in an NWB file: probes, positions and areas of their electrodes."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.stored_values import text_of, texts_of
from omnimouse_model.data.readers.nwb.file import NwbFile

if TYPE_CHECKING:
    import h5py

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


@dataclass(frozen=True, slots=True, eq=False)
class UnitPlaces:
    """Places of units.

    Attributes
    ----------
    xyz_um
        float64 (n, 3): position across the probe, 0, depth below the highest
        electrode; NaN where unknown.
    probe, area
        str (n,), or None if no electrode states it.
    """

    xyz_um: np.ndarray
    probe: np.ndarray | None = None
    area: np.ndarray | None = None


def read_places(nwb: NwbFile, units: "h5py.Group", n: int, notes: Notes) -> UnitPlaces:
    """Return the places of the n units: those of the electrode with the largest signal.

    It is the peak channel of a unit, otherwise the electrode of its largest waveform,
    otherwise its only electrode. Of a unit with several electrodes and neither, the
    position is unknown; area and probe are known if they are those of all of them.

    Raises
    ------
    SessionFormatError
        The electrodes of the units do not fit the table of electrodes.
    """
    unknown = UnitPlaces(np.full((n, 3), np.nan))
    table = nwb.file.find(_ELECTRODES)
    if table is None or len(nwb.shape(table, "id")) != 1:
        return unknown
    ids = nwb.file.table(f"{table.name}/id")
    if not len(ids) or ids.dtype.kind not in "iu":
        return unknown
    group = _texts(nwb, table, "group_name", len(ids))
    area = _texts(nwb, table, "location", len(ids))
    listed = _listed(nwb, units, n, len(ids))
    row = _peak_rows(nwb, units, ids, group, listed, notes)
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
        notes.warn(
            "several_electrodes",
            f"{units.name} lists several electrodes for {len(several):,} of {n:,} "
            "units, and neither a peak channel nor waveforms tell which one is the "
            "nearest: their position is unknown (store peak_channel_id)",
        )
    places = _positions(nwb, table, len(ids), group)
    return UnitPlaces(
        np.where((row >= 0)[:, None], places[row], np.nan),
        _names(group, row, listed, several),
        _names(area, row, listed, several),
    )


def _names(
    column: np.ndarray | None,
    row: np.ndarray,
    listed: list[np.ndarray],
    several: list[int],
) -> np.ndarray | None:
    """Return the entry of a column of electrodes for each unit, "" if unknown."""
    if column is None:
        return None
    names = np.where(row >= 0, column[row], "")
    for i in several:
        common = np.unique(column[listed[i]])
        names[i] = common[0] if len(common) == 1 else ""
    return names


def _positions(nwb: NwbFile, table: "h5py.Group", n: int, group: np.ndarray | None) -> np.ndarray:
    """Return the positions of the electrodes, float64 (n, 3), NaN where unknown."""
    across = _numbers(nwb, table, _ACROSS, n)
    along = _numbers(nwb, table, _ALONG, n)
    if across is None or along is None:
        return np.full((n, 3), np.nan)
    places = np.stack([across, np.zeros(n), _depth(along, group)], axis=1)
    places[~np.isfinite(places).all(axis=1)] = np.nan
    return places


def _listed(nwb: NwbFile, units: "h5py.Group", n: int, n_electrodes: int) -> list[np.ndarray]:
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
    nwb: NwbFile,
    units: "h5py.Group",
    ids: np.ndarray,
    group: np.ndarray | None,
    listed: list[np.ndarray],
    notes: Notes,
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
        notes.warn(
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
    nwb: NwbFile,
    units: "h5py.Group",
    n: int,
    n_electrodes: int,
    listed: list[np.ndarray],
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
    nwb: NwbFile, units: "h5py.Group", n: int, channels: list[np.ndarray]
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


def _spike_sizes(
    nwb: NwbFile, units: "h5py.Group", channels: list[np.ndarray]
) -> list[np.ndarray] | None:
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


def _whole(nwb: NwbFile, group: "h5py.Group", name: str) -> np.ndarray | None:
    """Return a column of whole numbers, -1 where missing; None if it is none."""
    if len(nwb.shape(group, name)) != 1:
        return None
    values = nwb.file.table(f"{group.name}/{name}")
    if values.dtype.kind == "f":
        values = np.where(np.abs(values) < _LARGEST, values, -1.0)
        if (values != np.round(values)).any():
            return None
    return values.astype(np.int64) if values.dtype.kind in "fiu" else None


def _texts(nwb: NwbFile, table: "h5py.Group", name: str, n: int) -> np.ndarray | None:
    """Return a column of texts, None if it is missing or all are empty."""
    if nwb.shape(table, name) != (n,):
        return None
    words = [word[:_LONGEST] for word in texts_of(nwb.file.table(f"{table.name}/{name}"))]
    return np.array(words, np.str_) if any(words) else None


def _numbers(
    nwb: NwbFile, table: "h5py.Group", names: tuple[str, ...], n: int
) -> np.ndarray | None:
    """Return the first of some columns of numbers, None if there is none."""
    for name in names:
        if nwb.shape(table, name) == (n,):
            values = nwb.file.table(f"{table.name}/{name}")
            if values.dtype.kind in "fiu":
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
