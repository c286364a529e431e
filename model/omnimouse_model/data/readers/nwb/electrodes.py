"""Places of units in an NWB file: probes, positions and areas of their electrodes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from omnimouse_model.data.readers.build.decode_text import texts_of
from omnimouse_model.data.readers.nwb.file import NwbFile

if TYPE_CHECKING:
    import h5py

_ELECTRODES = "/general/extracellular_ephys/electrodes"
_ACROSS = ("rel_x", "probe_horizontal_position")
_ALONG = ("rel_y", "probe_vertical_position")
"""Columns of positions on the probe in µm, from its tip upwards."""
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


def read_places(nwb: NwbFile, units: "h5py.Group", n: int) -> UnitPlaces:
    """Return the places of the n units: those of the first electrode of each."""
    table = nwb.file.find(_ELECTRODES)
    unknown = UnitPlaces(np.full((n, 3), np.nan))
    if table is None or len(nwb.shape(table, "id")) != 1:
        return unknown
    n_electrodes = nwb.shape(table, "id")[0]
    row = _rows(nwb, units, table, n)
    if row is None or not n_electrodes:
        return unknown
    is_known = (row >= 0) & (row < n_electrodes)
    row = np.where(is_known, row, 0)
    group = _texts(nwb, table, "group_name", n_electrodes)
    area = _texts(nwb, table, "location", n_electrodes)
    across = _numbers(nwb, table, _ACROSS, n_electrodes)
    along = _numbers(nwb, table, _ALONG, n_electrodes)
    xyz_um = np.full((n, 3), np.nan)
    if across is not None and along is not None:
        depth = _depth(along, group)
        places = np.stack([across, np.zeros(n_electrodes), depth], axis=1)
        xyz_um = np.where(is_known[:, None], places[row], np.nan)
        xyz_um[~np.isfinite(xyz_um).all(axis=1)] = np.nan
    return UnitPlaces(
        xyz_um,
        None if group is None else np.where(is_known, group[row], ""),
        None if area is None else np.where(is_known, area[row], ""),
    )


def _rows(
    nwb: NwbFile, units: "h5py.Group", table: "h5py.Group", n: int
) -> np.ndarray | None:
    """Return the row of an electrode for each unit, -1 if unknown; None without any."""
    ids = nwb.file.table(f"{table.name}/id")
    peak = _whole(nwb, units, "peak_channel_id")
    if peak is not None and len(peak) == n and ids.dtype.kind in "iu" and len(ids):
        order = np.argsort(ids, kind="stable")
        place = np.searchsorted(ids[order], peak)
        found = order[np.minimum(place, len(ids) - 1)]
        return np.where(ids[found] == peak, found, -1)
    listed = _whole(nwb, units, "electrodes")
    ends = _whole(nwb, units, "electrodes_index")
    if listed is None:
        return None
    if ends is None:
        return listed if len(listed) == n else None
    if len(ends) != n or not len(listed):
        return None
    starts = np.concatenate([[0], ends[:-1]])
    has_one = (ends > starts) & (starts >= 0) & (starts < len(listed))
    return np.where(has_one, listed[np.where(has_one, starts, 0)], -1)


def _whole(nwb: NwbFile, group: "h5py.Group", name: str) -> np.ndarray | None:
    if len(nwb.shape(group, name)) != 1:
        return None
    values = nwb.file.table(f"{group.name}/{name}")
    return values.astype(np.int64) if values.dtype.kind in "iu" else None


def _texts(nwb: NwbFile, table: "h5py.Group", name: str, n: int) -> np.ndarray | None:
    """Return a column of texts, None if it is missing or all are empty."""
    if nwb.shape(table, name) != (n,):
        return None
    words = [
        word[:_LONGEST] for word in texts_of(nwb.file.table(f"{table.name}/{name}"))
    ]
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
