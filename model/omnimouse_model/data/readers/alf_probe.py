"""Layout of ALF folders, and the spikes and units of one of their probes.

`<session>/alf/<probe>/<sorter>/#<revision>#/<object>.<attribute>.<extension>`, where
sorter and revision can be absent. Names may begin with a namespace (`_ibl_`) and may
contain the identity of the file.

Only the spikes are indispensable. Tables of channels and clusters that are damaged, or
do not fit the spikes, are left out with a warning.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from omnimouse_model.data.readers.build.checked_values import check_range, refuse_quantised, require
from omnimouse_model.data.readers.build.neurons import is_property_name
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.spiking_units import (
    MAX_SPIKES,
    MAX_UNITS,
    SpikingUnits,
    UnsortedSpikes,
    quality_labels,
    sound_spike_times,
)
from omnimouse_model.storage.arrays.npy import load_small_array, npy_file
from omnimouse_model.storage.arrays.rows import ArrayFile
from omnimouse_model.storage.files import (
    FileStamp,
    bad_file,
    check_length,
    check_most,
    check_some,
    folders_in,
    is_folder,
    label,
    paths_in,
)
from omnimouse_model.storage.tables import csv_lines, read_parquet_columns

Table = TypeVar("Table")
ONE_REVISION = "are both files of one revision?"

DIRECT = "alf"
"""Name of the sorter whose files lie in the folder of the probe itself."""
SORTERS = ("iblsorter", "pykilosort")
"""Preferred sorters, best first."""
_DATASET = re.compile(r"(?:_[^_.]+_)?([A-Za-z]+\.[A-Za-z0-9_]+)(?:\.[0-9a-f-]{36})?\.(npy|pqt|csv)")
_REVISION = re.compile(r"#.+#")
_TASK = re.compile(r"task_\d+")
_NEEDED = ("spikes.times.npy", "spikes.clusters.npy")
_MAX_ENTRIES = 10_000
"""Entries of a folder that are looked at."""


@dataclass(frozen=True, slots=True)
class Sorting:
    """The spikes of one probe by one sorter.

    Attributes
    ----------
    probe, sorter
        Names of the probe and of the sorter.
    files
        Name of a dataset, such as `spikes.times.npy` -> its file.
    """

    probe: str
    sorter: str
    files: dict[str, Path]

    @property
    def is_complete(self) -> bool:
        """Whether there are both files of the spikes."""
        return all(name in self.files for name in _NEEDED)

    def path(self, name: str) -> Path:
        """Return the path of a required dataset."""
        if name in self.files:
            return self.files[name]
        folder = next(self.files[n] for n in _NEEDED if n in self.files).parent
        raise bad_file(folder / name, "missing_file", "is missing", "was the download complete?")


def dataset_name(file: str) -> str:
    """Return `object.attribute.extension` of the name of a file, "" for other files."""
    match = _DATASET.fullmatch(file)
    return f"{match[1]}.{match[2]}" if match else ""


def choose_sortings(root: Path, sorter: str | None, notes: Notes) -> list[Sorting]:
    """Return the sorting of each probe that is read.

    Raises
    ------
    SessionFormatError
        No probe has spikes of the sorter.
    """
    by_probe: dict[str, dict[str, Sorting]] = {}
    for sorting in _sortings(root):
        by_probe.setdefault(sorting.probe, {})[sorting.sorter] = sorting
    if sorter is None:
        chosen = [min(own.values(), key=_rank) for own in by_probe.values()]
    else:
        chosen = [own[sorter] for own in by_probe.values() if sorter in own]
    if not chosen:
        names = ", ".join(sorters(root)) or "none"
        raise bad_file(root, "no_series", f"has no spikes of {sorter!r}; the sorters are {names}")
    others = [name for name in sorters(root) if name not in {s.sorter for s in chosen}]
    if others:
        used = ", ".join(dict.fromkeys(sorting.sorter for sorting in chosen))
        message = f"spikes are those of {used}; there are also {', '.join(others)}"
        notes.assume("series", f"{message} (series=…, or --series, chooses)")
    without = sorted(set(by_probe) - {sorting.probe for sorting in chosen})
    if without:
        message = f"{', '.join(without)} has no spikes of {sorter}, and is left out"
        notes.warn("left_out_probes", message)
    return chosen


def sorters(root: Path) -> dict[str, str]:
    """Return the sorters of a session, best first, and their probes."""
    found: dict[str, list[str]] = {}
    for sorting in _sortings(root):
        found.setdefault(sorting.sorter, []).append(sorting.probe)
    return {name: ", ".join(found[name]) for name in sorted(found, key=sorter_rank)}


def behavior_files(root: Path, name: str, notes: Notes) -> dict[str, Path]:
    """Return the datasets of an object of the behaviour, such as `trials`.

    They lie in the ALF folder, or in folders of tasks, of which the first is read.
    """
    alf = root / "alf"
    tasks = [folder for folder in _folders(alf) if _TASK.fullmatch(folder.name)]
    places = [
        (
            folder,
            {key: path for key, path in _datasets(folder).items() if key.startswith(f"{name}.")},
        )
        for folder in (alf, *tasks)
    ]
    places = [(folder, files) for folder, files in places if files]
    if len(places) > 1:
        others = ", ".join(folder.name for folder, _ in places[1:])
        message = f"{name} of {places[0][0].name} are read; there are also {others}"
        notes.assume("several_tasks", message)
    return places[0][1] if places else {}


def mixed_revisions(sorting: Sorting) -> str:
    """Return a sentence about files of another revision than the spikes, "" if none."""
    own = {_revision(sorting.path(name)) for name in _NEEDED}
    others = {
        name: _revision(path)
        for name, path in sorting.files.items()
        if name.startswith(("clusters.", "channels."))
    }
    mixed = sorted(set(others.values()) - own)
    if not mixed and len(own) == 1:
        return ""
    return (
        f"{sorting.probe}: the latest revision of each file is read: spikes of "
        f"{' and '.join(sorted(own))}, tables of {', '.join(mixed or sorted(own))}"
    )


def _revision(path: Path) -> str:
    name = path.parent.name
    return name.strip("#") if _REVISION.fullmatch(name) else "no revision"


def _rank(sorting: Sorting) -> tuple[bool, tuple[int, str]]:
    return not sorting.is_complete, sorter_rank(sorting.sorter)


def sorter_rank(sorter: str) -> tuple[int, str]:
    """Return a key that sorts sorters, best first."""
    place = SORTERS.index(sorter) if sorter in SORTERS else len(SORTERS)
    return (place + (sorter == DIRECT), sorter)


def _sortings(root: Path) -> Iterator[Sorting]:
    """Yield all sortings of all probes, in the order of their names.

    One that lacks a file of the spikes is also yielded: its reading names the file.
    """
    alf, n_probes = root / "alf", 0
    for probe in _folders(alf):
        if _REVISION.fullmatch(probe.name) or _TASK.fullmatch(probe.name):
            continue
        for folder in (probe, *_folders(probe)):
            if _REVISION.fullmatch(folder.name):
                continue
            files = _datasets(folder)
            if any(name in files for name in _NEEDED):
                n_probes += 1
                sorter = DIRECT if folder is probe else folder.name
                yield Sorting(probe.name, sorter, files)
    # Before there were folders of probes. Beside them, these are the same spikes again.
    files = {} if n_probes else _datasets(alf)
    if any(name in files for name in _NEEDED):
        yield Sorting(alf.name, DIRECT, files)


def _datasets(folder: Path) -> dict[str, Path]:
    """Return the files of a collection by dataset, each of its latest revision."""
    revisions = [f for f in _folders(folder) if _REVISION.fullmatch(f.name)]
    found: dict[str, Path] = {}
    # Revisions are ordered by name: files of later ones replace those of earlier ones.
    for place in (folder, *revisions):
        for path in paths_in(place, _MAX_ENTRIES):
            name = dataset_name(path.name)
            if name and not is_folder(path):
                found[name] = path
    return found


def _folders(folder: Path) -> list[Path]:
    # Linked folders could lead outside, or never end.
    return folders_in(folder, _MAX_ENTRIES, follows=False)


_QUALITY = ("label", "ks2_label")
"""Columns of the metrics that are a label of quality, best first."""
_METRICS, _ID = "clusters.metrics.pqt", "cluster_id"
_CHANNELS = {
    "channels.localCoordinates": 2,
    "channels.mlapdv": 3,
    "channels.brainLocationIds_ccf_2017": 1,
}
"""Tables of the channels, and their numbers of columns."""
_MANY_SPIKES = 50
"""Spikes from which on a count is compared with that of the metrics."""
_MAX_CSV = 16 * 2**20
_LONGEST = 80


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """Spikes of one probe and its units, and int64 (n,) ids of their regions, or None."""

    name: str
    spikes: UnsortedSpikes
    units: SpikingUnits
    region: np.ndarray | None


def read_probe(sorting: Sorting, root: Path, notes: Notes) -> Probe:
    """Return the spikes and units of a probe.

    Raises
    ------
    SessionFormatError
        A file of the spikes is missing, damaged, or does not fit the other one.
    """
    spikes = _spikes(sorting, root, notes)
    unit = spikes.unit
    if mixed := mixed_revisions(sorting):
        notes.assume("mixed_revisions", mixed)
    n_spiking = int(unit.max()) + 1

    def optional(file: str, read: Callable[[Path], Table]) -> Table | None:
        """Return what is read of a dataset; None if it is not stored, or faulty."""
        path, name = sorting.files.get(file), f"{sorting.probe}: {file.rpartition('.')[0]}"
        return None if path is None else notes.attempt(name, read, path)

    channel = optional("clusters.channels.npy", lambda path: _unit_channels(path, root, n_spiking))
    metrics = optional(_METRICS, lambda path: parquet_columns(path, root, notes)) or {}
    n_units = _n_units(n_spiking, channel, metrics)
    properties: dict[str, np.ndarray] = {}
    if metrics:
        found = optional(_METRICS, lambda path: _in_rows(metrics, n_units, path, notes))
        properties = found or {}
    if (counts := properties.get("spike_count")) is not None:
        _note_other_spikes(sorting, counts, unit, notes)
    where = f"{sorting.probe}: clusters.metrics"
    quality = quality_labels(properties, _QUALITY, where, notes)
    uuids = optional("clusters.uuids.csv", lambda path: _uuids(path, root, n_units))
    if uuids is not None:
        properties["uuid"] = uuids
    region, xyz_um = None, np.full((n_units, 3), np.nan)
    lengths: dict[str, int] = {}

    def of_units(width: int, path: Path) -> tuple[np.ndarray, np.ndarray] | None:
        """Return a table of the channels, and its rows of the units."""
        if channel is None:
            return None
        table = _of_channels(path, root, width)
        own = _at(table, channel, sorting)
        lengths[dataset_name(path.name).rpartition(".")[0]] = len(table)
        return table, own

    places, atlas, ids = (
        optional(f"{name}.npy", partial(of_units, width)) for name, width in _CHANNELS.items()
    )
    if places is not None:
        table, own = places
        xyz_um[:, 0], xyz_um[:, 1] = own[:, 0], 0.0
        # Stored from the tip upwards; depth is counted downwards.
        xyz_um[:, 2] = np.nanmax(table[:, 1], initial=-np.inf) - own[:, 1]
        xyz_um[~np.isfinite(xyz_um).all(axis=1)] = np.nan
        properties["above_tip_um"] = own[:, 1]
    if atlas is not None:
        names = ("ml_um", "ap_um", "dv_um")
        properties |= {name: atlas[1][:, k] for k, name in enumerate(names)}
    if ids is not None:
        own = ids[1][:, 0]
        region = np.nan_to_num(own, nan=0.0, posinf=0.0, neginf=0.0).astype(int)
    if channel is not None:
        _note_unknown_channels(sorting.probe, channel, lengths, notes)
    probe, n_spikes = np.full(n_units, sorting.probe), np.bincount(unit, minlength=n_units)
    units = SpikingUnits(np.arange(n_units), n_spikes, xyz_um, None, probe, quality, properties)
    return Probe(sorting.probe, spikes, units, region)


def _spikes(sorting: Sorting, root: Path, notes: Notes) -> UnsortedSpikes:
    paths = [sorting.path(f"spikes.{name}.npy") for name in ("times", "clusters")]
    files = [npy_file(path, root) for path in paths]
    for file, what in zip(files, ("times", "units"), strict=True):
        # MATLAB saves vectors as one row or one column.
        require(file, file.path, f"(spikes,) {what}", (None,), (1, None), (None, 1))
        check_most(file.path, _count(file), MAX_SPIKES, "spikes")
    n_times, n_units = map(_count, files)
    of = f"times of {files[0].path.name}"
    check_length(files[1].path, n_units, "units", n_times, of, ONE_REVISION)
    stamps = tuple(FileStamp.of(file.path) for file in files)
    times = np.array(files[0].open()).reshape(-1)
    unit = np.array(files[1].open()).reshape(-1)
    check_some(files[0].path, len(times), "spikes")
    path = files[0].path
    refuse_quantised(times, path)
    refuse = partial(bad_file, path, "bad_clock")
    times, unit = sound_spike_times(times, unit, label(path), refuse, notes)
    if unit.dtype.kind == "f" and not (unit == np.rint(unit)).all():
        problem = "holds numbers of units that are not whole"
        raise bad_file(files[1].path, "bad_array", problem)
    if (n_noise := int((unit < 0).sum())) and n_noise < len(unit):
        found = f"names units {int(unit.min())} to {int(unit.max())}"
        problem = f"{found}: {n_noise:,} of {len(unit):,} spikes are of no unit from 0 on"
        hint = "leave these spikes out of the files of times and of clusters"
        raise bad_file(files[1].path, "bad_array", problem, hint)
    check_range(files[1].path, unit, MAX_UNITS, "units")
    return UnsortedSpikes(path, times, unit.astype(np.int32), stamps)


def _count(file: ArrayFile) -> int:
    return math.prod(file.shape)


def _unit_channels(path: Path, root: Path, n_spiking: int) -> np.ndarray:
    """Return the channel of each unit."""
    values = load_small_array(path, root).reshape(-1)
    is_whole = values.dtype.kind in "iuf" and bool((values == np.rint(values)).all())
    if not is_whole or len(values) > MAX_UNITS:
        problem = f"is {values.shape} {values.dtype}; whole numbers (units,) expected"
        raise bad_file(path, "wrong_shape", problem)
    if n_spiking > len(values):
        raise bad_file(
            path,
            "wrong_length",
            f"has {len(values):,} units, and spikes.clusters names unit {n_spiking - 1}",
            ONE_REVISION,
        )
    return values.astype(np.int64)


def _n_units(n_spiking: int, channel: np.ndarray | None, metrics: dict[str, np.ndarray]) -> int:
    """Return the number of units, of which the last ones can have no spikes."""
    if channel is not None:
        return len(channel)
    ids = metrics.get(_ID, np.zeros(0, np.int64))
    is_whole = ids.dtype.kind in "iu" and len(ids)
    named = int(ids.max()) + 1 if is_whole else 0
    return max(n_spiking, min(named, MAX_UNITS))


def _of_channels(path: Path, root: Path, width: int) -> np.ndarray:
    """Return a table of the probe's recording channels, float64 (channel, width)."""
    values = load_small_array(path, root)
    if values.ndim == 1 and width == 1:
        values = values[:, None]
    require(values, path, f"(channels, {width})", (None, width))
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


def _note_unknown_channels(
    probe: str, channel: np.ndarray, lengths: Mapping[str, int], notes: Notes
) -> None:
    """Note units whose channel is not in a table of channels.

    `lengths` are the numbers of channels of the tables.
    """
    for length in dict.fromkeys(lengths.values()):
        names = [name for name in lengths if lengths[name] == length]
        is_unknown = (channel < 0) | (channel >= length)
        if is_unknown.any():
            notes.warn(
                "unknown_channels",
                f"{probe}: clusters.channels names channels from {channel.min()} to "
                f"{channel.max()}, and {', '.join(names)} has {length:,} channels: "
                f"{int(is_unknown.sum()):,} of {len(channel):,} units have none of its "
                "values (are both files of one revision?)",
            )


def parquet_columns(path: Path, root: Path, notes: Notes) -> dict[str, np.ndarray]:
    """Return the columns of a table, with a note on those that cannot be read."""
    columns, unread = read_parquet_columns(path, root)
    if unread:
        # Labels that cannot be read must not be missing without a note.
        listed = ", ".join(unread[:8])
        message = f"not read from {path.name}: {listed}, which are no numbers or texts"
        is_label = bool(set(_QUALITY) & set(unread))
        (notes.warn if is_label else notes.assume)("unread_columns", message)
    return columns


def _in_rows(
    metrics: dict[str, np.ndarray], n_units: int, path: Path, notes: Notes
) -> dict[str, np.ndarray]:
    """Return the columns of the metrics as properties, one row for each unit."""
    n_rows = len(next(iter(metrics.values())))
    if _ID not in metrics and n_rows != n_units:
        problem = f"has {n_rows:,} rows for {n_units:,} units, and no {_ID}"
        raise bad_file(path, "wrong_length", problem, "add the column cluster_id")
    ids = metrics.get(_ID, np.arange(n_rows))
    if ids.dtype.kind == "f" and (ids == np.rint(ids)).all():
        ids = ids.astype(np.int64)
    if ids.dtype.kind not in "iu" or len(np.unique(ids)) != len(ids):
        raise bad_file(path, "bad_table", f"has no {_ID} of its own for each row")
    check_range(path, ids, n_units, "units", _ID)
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
        column = np.full(n_units, "", values.dtype) if is_text else np.full(n_units, np.nan)
        column[ids] = values
        properties[name] = column
    if left_out:
        listed = ", ".join(left_out[:8])
        notes.assume("left_out_columns", f"not read from {path.name}: {listed}")
    return properties


def _note_other_spikes(
    sorting: Sorting, stored: np.ndarray, unit: np.ndarray, notes: Notes
) -> None:
    """Note metrics that were computed from other spikes, perhaps of other units."""
    if stored.dtype.kind == "U":
        return
    counted = np.bincount(unit, minlength=len(stored))[: len(stored)]
    known = np.isfinite(stored) & (np.maximum(stored, counted) >= _MANY_SPIKES)
    other = known & (np.abs(stored - counted) > 0.1 * np.maximum(stored, counted))
    if other.sum() > 0.5 * known.sum():
        notes.warn(
            "other_spikes",
            f"{sorting.probe}: spike_count of clusters.metrics differs from the spikes "
            f"of {int(other.sum()):,} of {int(known.sum()):,} units: are its labels "
            "those of another sorting? (are both files of one revision?)",
        )


def _uuids(path: Path, root: Path, n_units: int) -> np.ndarray:
    """Return the identity of each unit."""
    # One column with a title.
    words = [row[0].strip() for row in csv_lines(path, _MAX_CSV, root) if row][1:]
    check_length(path, len(words), "rows", n_units, "units", ONE_REVISION)
    check_most(path, max(map(len, words), default=0), _LONGEST, "letters in a row")
    return np.array(words, np.str_)
