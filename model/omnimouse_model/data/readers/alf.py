"""Reader of ALF folders: spikes of probes, trials and wheel of IBL sessions.

`<session>/alf/<probe>/<sorter>/#<revision>#/<object>.<attribute>.<extension>`, where
sorter and revision can be absent. Names may begin with a namespace (`_ibl_`) and may
contain the identity of the file.

Only the spikes are indispensable. Tables of channels and clusters that are damaged, or
do not fit the spikes, are left out with a warning.

The file is long because a format is one file, from its folders to the session.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from omnimouse_model.data.clock import Interval
from omnimouse_model.data.readers.build import checked_values, spiking_units
from omnimouse_model.data.readers.build.finalise import finalise
from omnimouse_model.data.readers.build.neurons import named_properties
from omnimouse_model.data.readers.build.notes import Notes, ReadOptions, apart, scale_to_seconds
from omnimouse_model.data.readers.build.spiking_units import SpikingUnits, UnsortedSpikes
from omnimouse_model.data.readers.build.trials import (
    PresentationIntervals,
    TrialClock,
    aligned_to_event,
    trial_intervals,
    trials_without_screen,
    with_tiers,
)
from omnimouse_model.data.recording import RECORDING_RATE
from omnimouse_model.data.session import Session
from omnimouse_model.data.signal import Signal
from omnimouse_model.data.spike_trains import Observed
from omnimouse_model.storage.arrays.npy import load_small_array, npy_file
from omnimouse_model.storage.arrays.rows import ArrayFile, MemoryRows
from omnimouse_model.storage.byte_source import folder_fingerprint
from omnimouse_model.storage.files import (
    FileStamp,
    bad_file,
    check_length,
    check_most,
    check_some,
    folders_in,
    is_file,
    is_folder,
    label,
    paths_in,
)
from omnimouse_model.storage.tables import csv_lines, csv_rows, read_parquet_columns

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
    probes = {folder.name for folder in _folders(root / "alf") if folder.name.startswith("probe")}
    without = sorted(probes.union(by_probe) - {sorting.probe for sorting in chosen})
    if without:
        of_sorter = f" of {sorter}" if sorter else ""
        message = f"{', '.join(without)} has no spikes{of_sorter}, and is left out"
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
_LONGEST_WORD = 80


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
    quality = spiking_units.quality_labels(properties, _QUALITY, where, notes)
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
        checked_values.require(file, file.path, f"(spikes,) {what}", (None,), (1, None), (None, 1))
        check_most(file.path, _count(file), spiking_units.MAX_SPIKES, "spikes")
    n_times, n_units = map(_count, files)
    of = f"times of {files[0].path.name}"
    check_length(files[1].path, n_units, "units", n_times, of, ONE_REVISION)
    stamps = tuple(FileStamp.of(file.path) for file in files)
    times = np.array(files[0].open()).reshape(-1)
    unit = np.array(files[1].open()).reshape(-1)
    check_some(files[0].path, len(times), "spikes")
    path = files[0].path
    checked_values.refuse_quantised(times, path)
    refuse = partial(bad_file, path, "bad_clock")
    times, unit = spiking_units.sound_spike_times(times, unit, label(path), refuse, notes)
    if unit.dtype.kind == "f" and not (unit == np.rint(unit)).all():
        problem = "holds numbers of units that are not whole"
        raise bad_file(files[1].path, "bad_array", problem)
    if (n_noise := int((unit < 0).sum())) and n_noise < len(unit):
        found = f"names units {int(unit.min())} to {int(unit.max())}"
        problem = f"{found}: {n_noise:,} of {len(unit):,} spikes are of no unit from 0 on"
        hint = "leave these spikes out of the files of times and of clusters"
        raise bad_file(files[1].path, "bad_array", problem, hint)
    checked_values.check_range(files[1].path, unit, spiking_units.MAX_UNITS, "units")
    return UnsortedSpikes(path, times, unit.astype(np.int32), stamps)


def _count(file: ArrayFile) -> int:
    return math.prod(file.shape)


def _unit_channels(path: Path, root: Path, n_spiking: int) -> np.ndarray:
    """Return the channel of each unit."""
    values = load_small_array(path, root).reshape(-1)
    is_whole = values.dtype.kind in "iuf" and bool((values == np.rint(values)).all())
    if not is_whole or len(values) > spiking_units.MAX_UNITS:
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
    return max(n_spiking, min(named, spiking_units.MAX_UNITS))


def _of_channels(path: Path, root: Path, width: int) -> np.ndarray:
    """Return a table of the probe's recording channels, float64 (channel, width)."""
    values = load_small_array(path, root)
    if values.ndim == 1 and width == 1:
        values = values[:, None]
    checked_values.require(values, path, f"(channels, {width})", (None, width))
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
    checked_values.check_range(path, ids, n_units, "units", _ID)

    def columns() -> Iterator[tuple[str, np.ndarray]]:
        for name, values in metrics.items():
            if name.lower() != _ID and not name.startswith("__"):
                is_text = values.dtype.kind == "U"
                column = np.full(n_units, "", values.dtype) if is_text else np.full(n_units, np.nan)
                column[ids] = values
                yield name, column

    return named_properties(columns(), n_units, path.name, notes)


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
    check_most(path, max(map(len, words), default=0), _LONGEST_WORD, "letters in a row")
    return np.array(words, np.str_)


LOOKED_FOR = ("alf/*/spikes.times.npy",)
_SUBJECT = re.compile(r"[\w.-]{1,80}")
_DATE, _NUMBER = re.compile(r"\d{4}-\d{2}-\d{2}"), re.compile(r"\d{1,3}")
_SAME_LENGTH = 0.98
"""Least share of the longest recording of a probe that the others have."""


def recognises(path: Path) -> bool:
    """Return whether a folder holds spikes in the ALF layout."""
    return bool(sorters(path))


def read(path: Path, options: ReadOptions) -> Session:
    """Open an ALF folder; see `open_session`."""
    notes = Notes()
    sortings = choose_sortings(path, options.series, notes)
    # Of a single probe, its error is raised.
    named = {f"probe {sorting.probe}": sorting for sorting in sortings}
    probes = notes.attempt_each(lambda sorting: read_probe(sorting, path, notes), named)
    span, observed = _recorded_time(probes, notes)
    # Trials may begin before the first spike, at time 0 of the session.
    clock = TrialClock(Interval(min(span[0], 0.0), span[1]), {}, {})
    intervals = notes.attempt("trials", read_trials, path, clock, notes)
    if intervals is None:
        intervals = PresentationIntervals()
    if len(intervals.on):
        reach = Interval(float(intervals.on[0]), float(intervals.off.max()))
        spiking_units.refuse_milliseconds(path, Interval(*span), reach, "trials")
    units, source = _all_units(probes, path, notes)
    spikes = _all_spikes(probes, path)
    responses, chosen = spiking_units.spiking_responses(
        units, spikes, span, options, notes, observed=observed
    )
    intervals = with_tiers(intervals, options, notes)
    alf = path / "alf"
    intervals = aligned_to_event(intervals, options.trial_event, EVENT, alf, notes)
    trials = trials_without_screen(intervals, responses.start)
    wheel = notes.attempt("running (wheel)", read_wheel, path, span, notes)
    if "leftCamera.features.pqt" in behavior_files(path, "leftCamera", Notes()):
        text = "pupil (leftCamera.features) is left out: diameters of ALF are not read"
        notes.warn("left_out_stream", text)
    session_id, animal_id = _identity(path, notes)
    names = list(dict.fromkeys(sorting.sorter for sorting in sortings))
    session = Session(
        id=session_id,
        animal_id=animal_id,
        path=path,
        format="alf",
        fingerprint=folder_fingerprint(alf),
        units=spiking_units.as_units(chosen, responses, notes, source),
        responses=responses,
        behavior={"eye_tracker": None, "treadmill": wheel},
        trials=trials,
        meta={"sorters": names, RECORDING_RATE: responses.rate_hz},
        series=names[0],
        series_choices=sorters(path),
    )
    return finalise(session, options, notes)


def _recorded_time(
    probes: Sequence[Probe], notes: Notes
) -> tuple[tuple[float, float], Observed | None]:
    """Return the native span of the recording, and when each unit was observed.

    None for all units in the whole span.
    """
    first = max(float(probe.spikes.times.min()) for probe in probes)
    ends = {probe.name: float(probe.spikes.times.max()) for probe in probes}
    # Time 0 is the start of the recording in sessions of the IBL.
    start = spiking_units.recording_start(first)
    earliest, latest = min(ends.values()), max(ends.values())
    if earliest - start >= _SAME_LENGTH * (latest - start):
        notes.assume(
            "recording_end",
            f"the recording lasts from {start:.6g} to {earliest:.6g} s, the last spike "
            "of the probe that ends first",
        )
        return (start, earliest), None
    listed = ", ".join(f"{name} at {end:.6g} s" for name, end in ends.items())
    notes.warn(
        "stream_lengths",
        f"the last spikes of the probes differ: {listed}; the recording lasts from {start:.6g} to "
        f"{latest:.6g} s, and units are missing after the last spike of their probe",
    )
    counts = [len(probe.units.unit_id) for probe in probes]
    stops = np.repeat(list(ends.values()), counts)
    spans = np.stack([np.full(len(stops), start), stops], axis=1)
    return (start, latest), Observed(spans, np.arange(len(stops) + 1))


def _all_units(probes: Sequence[Probe], root: Path, notes: Notes) -> tuple[SpikingUnits, str]:
    """Return the units of all probes, and the source of their areas."""
    units = SpikingUnits.joined([probe.units for probe in probes])
    counts = [len(probe.units.unit_id) for probe in probes]
    # Numbers repeat on each probe: those of the second begin at 100,000.
    first = np.repeat(spiking_units.MAX_UNITS * np.arange(len(probes)), counts)
    area, source = None, ""
    has_region = np.repeat([probe.region is not None for probe in probes], counts)
    if has_region.any():
        pairs = zip(probes, counts, strict=True)
        regions = [np.zeros(n) if probe.region is None else probe.region for probe, n in pairs]
        area, source = region_names(np.concatenate(regions), root, notes)
        area = np.where(has_region, area, "")
    return replace(units, unit_id=units.unit_id + first, area=area), source


def _all_spikes(probes: Sequence[Probe], root: Path) -> UnsortedSpikes:
    # Of one probe, no copy of its spikes is made.
    if len(probes) == 1:
        return replace(probes[0].spikes, path=root / "alf")
    spikes = [probe.spikes for probe in probes]
    first = np.cumsum([0, *(len(probe.units.unit_id) for probe in probes[:-1])])
    unit = np.concatenate([s.unit + np.int32(n) for s, n in zip(spikes, first, strict=True)])
    times = np.concatenate([s.times for s in spikes])
    stamps = tuple(stamp for s in spikes for stamp in s.stamps)
    return UnsortedSpikes(root / "alf", times, unit, stamps)


def _identity(path: Path, notes: Notes) -> tuple[str, str | None]:
    """Return names of session and animal from `<subject>/<date>/<number>`."""
    subject, date, number = ("", "", "", *path.parts)[-3:]
    is_named = _DATE.fullmatch(date) and _NUMBER.fullmatch(number)
    if is_named and _SUBJECT.fullmatch(subject):
        return f"{subject}_{date}_{number}", subject
    notes.assume("no_identity", f"the path is not <subject>/<date>/<number>: '{path.name}' is used")
    return path.name, None


# -- names of brain regions for the ids of the Allen atlas
TABLES = ("regions.csv", "allen_structure_tree.csv")
"""Tables with the columns `id` and `acronym`, in the session or its ALF folder."""
_MAX_BYTES, _LONGEST = 4 * 2**20, 40


def region_names(ids: np.ndarray, root: Path, notes: Notes) -> tuple[np.ndarray, str]:
    """Return the name of the region of each id, and where the names come from.

    Ids of the left hemisphere can be negative; both hemispheres have the same names.
    """
    ids = np.abs(ids.astype(np.int64))
    known, source = _known(np.unique(ids), root, notes)
    # Id 0 is outside the brain.
    names = [known.get(i, "void" if i == 0 else str(i)) for i in ids.tolist()]
    unknown = {str(i) for i in ids.tolist() if i and i not in known}
    if unknown:
        notes.assume(
            "region_ids",
            f"{len(unknown)} regions are shown as ids of the Allen atlas: a table {TABLES[0]} (id, "
            "acronym) in the session, or the package iblatlas, gives their names",
        )
    if source:
        notes.assume("region_names", f"names of regions are those of {source}")
    return np.array(names, np.str_), source or "channels.brainLocationIds_ccf_2017"


def _known(ids: np.ndarray, root: Path, notes: Notes) -> tuple[dict[int, str], str]:
    for folder in (root, root / "alf"):
        for name in TABLES:
            path = folder / name
            if not is_file(path):
                continue
            names = notes.attempt(f"names of regions ({name})", _of_table, path, root)
            if names is not None:
                return names, name
    try:
        atlas = import_module("iblatlas.regions")
    except ImportError:
        return {}, ""
    # The merged regions of the Beryl mapping are those of the published analyses.
    names = atlas.BrainRegions().id2acronym(ids, mapping="Beryl")
    return dict(zip(ids.tolist(), map(str, names), strict=True)), "iblatlas (Beryl)"


def _of_table(path: Path, root: Path) -> dict[int, str]:
    names: dict[int, str] = {}
    rows = csv_rows(path, ("id", "acronym"), _MAX_BYTES, root)
    for number, (code, acronym) in enumerate(rows, 1):
        region = checked_values.as_float(code)
        is_whole = region is not None and abs(region) < 2**62 and region % 1 == 0
        if region is None or not is_whole or not acronym or len(acronym) > _LONGEST:
            raise bad_file(
                path,
                "bad_table",
                f"row {number}: no id and acronym",
                "the columns are id, a whole number, and acronym, a short text",
            )
        names[int(region)] = acronym.strip()
    return names


# -- speed of the wheel of an ALF folder, from its positions
RATE_HZ = 50.0
"""Samples of the speed per second: one for each bin of 20 ms."""
_STILL_S, _SAME = 10.0, 0.02
"""Longest time at an end in which a wheel without changes stood still: seconds, and
share of the recording."""


def read_wheel(root: Path, span: tuple[float, float], notes: Notes) -> Signal | None:
    """Return the speed of the wheel over a span of native time, None without a wheel.

    Raises
    ------
    SessionFormatError
        A file is missing or damaged, or positions and times do not fit.
    """
    files = behavior_files(root, "wheel", notes)
    places = [files.get(f"wheel.{name}.npy") for name in ("position", "timestamps")]
    path, times_path = places
    if path is None and times_path is None:
        return None
    if path is None or times_path is None:
        name = "position" if path is None else "timestamps"
        there = next(place for place in places if place is not None)
        missing = there.with_name(there.name.replace("timestamps", name))
        raise bad_file(missing, "missing_file", f"is missing: wheel.{name}")
    position, times = (_numbers(place, root) for place in (path, times_path))
    # Two columns: sample numbers and their times, between which times are linear.
    if times.ndim == 2 and times.shape[1] == 2 and len(times) > 1:
        times = np.interp(np.arange(len(position)), times[:, 0], times[:, 1])
    times, position = times.reshape(-1), position.reshape(-1)
    check_length(times_path, len(times), "times", len(position), "positions", ONE_REVISION)
    if len(times) < 2:
        raise bad_file(times_path, "wrong_length", "has one time, and a speed needs two")
    checked_values.check_times(times, "times", partial(bad_file, times_path), may_repeat=True)
    checked_values.check_finite(position, "positions", partial(bad_file, path))
    own = Interval(float(times[0]), float(times[-1]))
    times = times * scale_to_seconds("running (wheel)", own, Interval(*span), notes)
    if times[-1] < span[0] or times[0] > span[1]:
        raise bad_file(times_path, "no_overlap", *apart(own, Interval(*span), {}))
    n = max(2, int((span[1] - span[0]) * RATE_HZ) + 1)
    grid = span[0] + np.arange(n) / RATE_HZ
    speed = np.abs(np.gradient(np.interp(grid, times, position))) * RATE_HZ
    first, last = float(times[0]), float(times[-1])
    notes.assume(
        "wheel_speed",
        "the stream of running is the speed of the wheel, without direction, from "
        f"positions interpolated at {RATE_HZ:g} Hz, from {first:.6g} to {last:.6g} s",
    )
    # The encoder stores only changes: for a short time before the first and after the
    # last one, the wheel stood still; in a long time, it was not recorded.
    still_s = max(_STILL_S, _SAME * (span[1] - span[0]))
    is_missing = np.zeros(n, bool)
    if first - span[0] > still_s:
        is_missing |= grid < first
    if span[1] - last > still_s:
        is_missing |= grid > last
    if is_missing.any():
        speed[is_missing] = np.nan
        notes.warn(
            "stream_lengths",
            f"running (wheel) lasts {last - first:.6g} s ({first:.6g} to {last:.6g} s "
            f"of the clock of the file), and the spikes {span[1] - span[0]:.6g} s "
            f"({span[0]:.6g} to {span[1]:.6g} s): the wheel is missing in the rest",
        )
    labels = {"names": ("wheel_speed",), "units": ("rad/s",)}
    rows = MemoryRows(path, speed[:, None])
    return Signal.of_rows("treadmill", rows, RATE_HZ, span[0], **labels)


def _numbers(path: Path, root: Path) -> np.ndarray:
    values = load_small_array(path, root)
    checked_values.require(values, path, "(samples,) numbers", (None,), (None, None))
    return values.astype(np.float64)


# -- trial table of an ALF folder: `trials.table.pqt`, or one array for each column
EVENT = "stimOn_times"
"""Event at which trials begin if the table has it."""
_BEGIN, _END = "intervals_0", "intervals_1"
_SIDES = {"contrastLeft": "left", "contrastRight": "right"}
_MAX_TRIALS, _LATEST_S = 200_000, 1e12


def read_trials(root: Path, clock: TrialClock, notes: Notes) -> PresentationIntervals:
    """Return the trials of a session, empty if there are none.

    A column that is damaged, or has another length than the intervals, is left out
    with a note. Times of events stay in the clock of the files.

    Raises
    ------
    SessionFormatError
        The trials have no intervals.
    """
    files = behavior_files(root, "trials", notes)
    columns: dict[str, np.ndarray] = {}
    for name, path in files.items():
        if name.endswith(".npy"):
            attribute = name.split(".")[1]
            name = f"trials.{attribute}"
            columns |= notes.attempt(name, _of_array, path, attribute, root) or {}
    table = files.get("trials.table.pqt")
    if table is not None:
        found = notes.attempt("trials.table", parquet_columns, table, root, notes)
        columns |= found or {}
    columns = {k: v for k, v in columns.items() if not k.startswith("__")}
    if not columns:
        return PresentationIntervals()
    path = table or next(iter(files.values()))
    _check_intervals(columns, path)
    n = len(columns[_BEGIN])
    for name in [name for name, values in columns.items() if len(values) != n]:
        length = len(columns.pop(name))
        notes.warn(
            "left_out_columns",
            f"trials: {name} is left out: it has {length:,} values for {n:,} intervals "
            "(are all files of one revision?)",
        )
    on, off = (columns.pop(name).astype(np.float64) for name in (_BEGIN, _END))
    # Numbers that no time has count as missing.
    on, off = (np.where(np.abs(times) < _LATEST_S, times, np.nan) for times in (on, off))
    fields: dict[str, Sequence[Any]] = {name: values.tolist() for name, values in columns.items()}
    fields["stim_id"] = _stimuli(columns, n)
    fields["id"] = list(range(n))
    return trial_intervals("trials", on, off, fields, clock, notes)


def _of_array(path: Path, name: str, root: Path) -> dict[str, np.ndarray]:
    """Return the columns of one array: one, or the two ends of intervals."""
    values = checked_values.decode_texts(load_small_array(path, root))
    checked_values.require(values, path, "numbers or texts", kinds="fiubU")
    if values.dtype.kind == "U" and values.dtype.itemsize > 4 * 200:
        raise bad_file(path, "too_large", "holds texts of more than 200 characters")
    if values.ndim == 2 and values.shape[1] == 2 and name == "intervals":
        return {_BEGIN: values[:, 0], _END: values[:, 1]}
    # MATLAB saves vectors as one row or one column.
    if values.ndim == 2 and 1 in values.shape:
        values = values.reshape(-1)
    return {name: checked_values.require(values, path, "(trials,)", (None,), kinds="fiubU")}


def _check_intervals(columns: dict[str, np.ndarray], path: Path) -> None:
    for name in (_BEGIN, _END):
        if name not in columns or columns[name].dtype.kind not in "fiu":
            found = ", ".join(columns)[:200]
            raise bad_file(
                path,
                "bad_trials",
                f"has no column {name} of numbers; found: {found}",
                "trials need the times at which they begin and end",
            )
    lengths = [len(columns[name]) for name in (_BEGIN, _END)]
    check_length(path, lengths[0], "begins", lengths[1], "ends of trials", ONE_REVISION)
    check_most(path, lengths[0], _MAX_TRIALS, "trials")


def _stimuli(columns: dict[str, np.ndarray], n: int) -> list[str]:
    """Return side and contrast of each trial's stimulus, "" if unknown."""
    names = np.full(n, "", "<U20")
    for column, side in _SIDES.items():
        contrast = columns.get(column)
        if contrast is not None and contrast.dtype.kind in "fiu":
            for k in np.flatnonzero(np.isfinite(contrast.astype(np.float64))):
                names[k] = f"{side} {float(contrast[k]):.4g}"
    return names.tolist()
