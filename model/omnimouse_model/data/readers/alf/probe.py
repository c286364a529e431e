"""Spikes and units of one probe of an ALF folder."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from omnimouse_model.data.io.file_stamp import FileStamp, bad_file
from omnimouse_model.data.io.parquet_columns import read_parquet_columns
from omnimouse_model.data.io.safe_files import (
    contained,
    load_small_array,
    npy_file,
    read_text,
)
from omnimouse_model.data.readers.alf.layout import Sorting
from omnimouse_model.data.readers.build.clock_precision import refuse_quantised
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.spiking_units import MAX_SPIKES, MAX_UNITS
from omnimouse_model.data.readers.build.unit_tables import is_property_name

_QUALITY = ("label", "ks2_label")
"""Columns of the metrics that are a label of quality, best first."""
_ID = "cluster_id"
_MAX_CSV = 16 * 2**20
_LONGEST = 80


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """Spikes of one probe, and facts about its units; rows are numbers of units.

    Attributes
    ----------
    name
        Name of the probe.
    times, unit
        float64 and int32 (spike,): seconds, and the unit of each spike.
    n_units
        Number of units.
    region
        int64 (n,) ids of regions, or None.
    xyz_um
        float64 (n, 3): position across the probe, 0, depth below the highest channel.
    quality
        Labels (n,), or None.
    properties
        Other columns by name.
    stamps
        Files of the spikes.
    """

    name: str
    times: np.ndarray
    unit: np.ndarray
    n_units: int
    region: np.ndarray | None
    xyz_um: np.ndarray
    quality: np.ndarray | None
    properties: dict[str, np.ndarray]
    stamps: tuple[FileStamp, ...]


def read_probe(sorting: Sorting, root: Path, notes: Notes) -> Probe:
    """Return the spikes and units of a probe.

    Raises
    ------
    SessionFormatError
        A file is missing, damaged, or does not fit the others.
    """
    times, unit, stamps = _spikes(sorting, root)
    channel = _unit_channels(sorting, root)
    metrics = _metrics(sorting, root)
    n_units = _n_units(sorting, unit, channel, metrics)
    properties = _in_rows(metrics, n_units, sorting, notes)
    quality = next((properties[n] for n in _QUALITY if n in properties), None)
    uuids = _uuids(sorting, root, n_units)
    if uuids is not None:
        properties["uuid"] = uuids
    region, xyz_um = None, np.full((n_units, 3), np.nan)
    if channel is not None:
        places = _of_channels(sorting, root, "channels.localCoordinates.npy", 2)
        if places is not None:
            own = _at(places, channel, sorting)
            xyz_um[:, 0], xyz_um[:, 1] = own[:, 0], 0.0
            # Stored from the tip upwards; depth is counted downwards.
            xyz_um[:, 2] = np.nanmax(places[:, 1], initial=-np.inf) - own[:, 1]
            xyz_um[~np.isfinite(xyz_um).all(axis=1)] = np.nan
            properties["above_tip_um"] = own[:, 1]
        atlas = _of_channels(sorting, root, "channels.mlapdv.npy", 3)
        if atlas is not None:
            own = _at(atlas, channel, sorting)
            names = ("ml_um", "ap_um", "dv_um")
            properties |= {name: own[:, k] for k, name in enumerate(names)}
        ids = _of_channels(sorting, root, "channels.brainLocationIds_ccf_2017.npy", 1)
        if ids is not None:
            own = _at(ids, channel, sorting)[:, 0]
            region = np.nan_to_num(own, nan=0.0, posinf=0.0, neginf=0.0).astype(int)
    return Probe(
        sorting.probe, times, unit, n_units, region, xyz_um, quality, properties, stamps
    )


def _spikes(
    sorting: Sorting, root: Path
) -> tuple[np.ndarray, np.ndarray, tuple[FileStamp, ...]]:
    paths = [sorting.path(f"spikes.{name}.npy") for name in ("times", "clusters")]
    files = [npy_file(contained(path, root)) for path in paths]
    for file, kinds, what in zip(files, ("f", "iu"), ("times", "units"), strict=True):
        if file.dtype.kind not in kinds or file.shape not in (
            (file.shape[:1] or (0,)),
            (*file.shape[:1], 1),
        ):
            raise bad_file(
                file.path,
                "wrong_shape",
                f"is {file.shape} {file.dtype}; (spikes,) {what} expected",
            )
        if file.shape[0] > MAX_SPIKES:
            problem = f"has {file.shape[0]:,} spikes; at most {MAX_SPIKES:,} are read"
            raise bad_file(file.path, "too_large", problem)
    if files[0].shape[0] != files[1].shape[0]:
        raise bad_file(
            files[1].path,
            "wrong_length",
            f"has {files[1].shape[0]:,} spikes, and {files[0].path.name} "
            f"{files[0].shape[0]:,}",
            "are both files of one revision?",
        )
    stamps = tuple(FileStamp.of(file.path) for file in files)
    times = np.array(files[0].open()).reshape(-1)
    unit = np.array(files[1].open()).reshape(-1)
    if not len(times):
        raise bad_file(files[0].path, "empty", "holds no spikes")
    if not np.isfinite(times).all():
        at = int(np.flatnonzero(~np.isfinite(times))[0])
        problem = f"holds a time that is not finite, at index {at}"
        raise bad_file(files[0].path, "not_finite", problem)
    refuse_quantised(times, files[0].path)
    if unit.min() < 0 or unit.max() >= MAX_UNITS:
        raise bad_file(
            files[1].path,
            "bad_array",
            f"reaches from {unit.min()} to {unit.max()}; units are numbers from 0 to "
            f"{MAX_UNITS - 1:,}",
        )
    return times.astype(np.float64, copy=False), unit.astype(np.int32), stamps


def _unit_channels(sorting: Sorting, root: Path) -> np.ndarray | None:
    """Return the channel of each unit, None if it is not stored."""
    path = sorting.files.get("clusters.channels.npy")
    if path is None:
        return None
    values = load_small_array(path, root).reshape(-1)
    if values.dtype.kind not in "iu" or len(values) > MAX_UNITS:
        problem = f"is {values.shape} {values.dtype}; whole numbers (units,) expected"
        raise bad_file(path, "wrong_shape", problem)
    return values.astype(np.int64)


def _n_units(
    sorting: Sorting,
    unit: np.ndarray,
    channel: np.ndarray | None,
    metrics: dict[str, np.ndarray],
) -> int:
    """Return the number of units, of which the last ones can have no spikes."""
    n_spiking = int(unit.max()) + 1
    if channel is None:
        ids = metrics.get(_ID, np.zeros(0, np.int64))
        is_whole = ids.dtype.kind in "iu" and len(ids)
        named = int(ids.max()) + 1 if is_whole else 0
        return max(n_spiking, min(named, MAX_UNITS))
    if n_spiking > len(channel):
        raise bad_file(
            sorting.path("spikes.clusters.npy"),
            "wrong_length",
            f"names unit {n_spiking - 1}, and clusters.channels.npy has "
            f"{len(channel):,} units",
            "are both files of one revision?",
        )
    return len(channel)


def _of_channels(
    sorting: Sorting, root: Path, name: str, width: int
) -> np.ndarray | None:
    """Return a table of the channels, float64 (channel, width), None if not stored."""
    path = sorting.files.get(name)
    if path is None:
        return None
    values = load_small_array(path, root)
    if values.ndim == 1 and width == 1:
        values = values[:, None]
    if values.dtype.kind not in "fiu" or values.shape[1:] != (width,):
        problem = f"is {values.shape} {values.dtype}; (channels, {width}) expected"
        raise bad_file(path, "wrong_shape", problem)
    table = values.astype(np.float64)
    # Numbers that no position has would overflow where they are drawn.
    return np.where(np.abs(table) < 1e12, table, np.nan)


def _at(table: np.ndarray, channel: np.ndarray, sorting: Sorting) -> np.ndarray:
    """Return, for each unit, the row of its channel in a table; NaN without one."""
    if not len(table):
        return np.full((len(channel), table.shape[1]), np.nan)
    is_known = (channel >= 0) & (channel < len(table))
    if not is_known.any() and len(channel):
        raise bad_file(
            sorting.path("clusters.channels.npy"),
            "bad_array",
            f"names channel {channel.max()} of {len(table):,}",
            "are the files of channels and clusters of one revision?",
        )
    rows = table[np.where(is_known, channel, 0)]
    return np.where(is_known[:, None], rows, np.nan)


def _metrics(sorting: Sorting, root: Path) -> dict[str, np.ndarray]:
    """Return the columns of the table of quality metrics, {} if it is not stored."""
    path = sorting.files.get("clusters.metrics.pqt")
    return {} if path is None else read_parquet_columns(path, root)


def _in_rows(
    metrics: dict[str, np.ndarray], n_units: int, sorting: Sorting, notes: Notes
) -> dict[str, np.ndarray]:
    """Return the columns of the metrics as properties, one row for each unit."""
    if not metrics:
        return {}
    n_rows = len(next(iter(metrics.values())))
    ids = metrics.get(_ID, np.arange(n_rows))
    path = sorting.path("clusters.metrics.pqt")
    if ids.dtype.kind not in "iu" or len(np.unique(ids)) != len(ids):
        raise bad_file(path, "bad_table", f"has no {_ID} of its own for each row")
    is_unit = (ids >= 0) & (ids < n_units)
    if not is_unit.all():
        raise bad_file(
            path,
            "wrong_length",
            f"has {_ID} {int(ids[~is_unit][0])}, and there are {n_units:,} units",
            "are both files of one revision?",
        )
    properties: dict[str, np.ndarray] = {}
    left_out = []
    for stored, values in metrics.items():
        name = stored.lower()
        if name == _ID or stored.startswith("__"):
            continue
        if not is_property_name(name) or name in properties:
            left_out.append(stored)
            continue
        is_text = values.dtype.kind == "U"
        column = (
            np.full(n_units, "", values.dtype) if is_text else np.full(n_units, np.nan)
        )
        column[ids] = values
        properties[name] = column
    if left_out:
        listed = ", ".join(left_out[:8])
        notes.assume("left_out_columns", f"not read from {path.name}: {listed}")
    return properties


def _uuids(sorting: Sorting, root: Path, n_units: int) -> np.ndarray | None:
    """Return the identity of each unit, None if it is not stored."""
    path = sorting.files.get("clusters.uuids.csv")
    if path is None:
        return None
    text = read_text(contained(path, root), _MAX_CSV)
    try:
        rows: Sequence[list[str]] = [
            row for row in csv.reader(io.StringIO(text), strict=True) if row
        ]
    except csv.Error as error:
        raise bad_file(path, "bad_table", f"is no CSV table: {error}") from error
    # One column with a title.
    words = [row[0].strip() for row in rows[1:]]
    if len(words) != n_units or any(len(word) > _LONGEST for word in words):
        raise bad_file(
            path,
            "wrong_length",
            f"has {len(words):,} rows for {n_units:,} units",
            "are both files of one revision?",
        )
    return np.array(words, np.str_)
