"""Reader of ALF folders: spikes of probes, trials and wheel of IBL sessions."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.clock import Interval
from omnimouse_model.data.readers.alf_probe import (
    ONE_REVISION,
    Probe,
    behavior_files,
    choose_sortings,
    parquet_columns,
    read_probe,
    sorters,
)
from omnimouse_model.data.readers.build.checked_values import (
    as_float,
    check_finite,
    check_times,
    decode_texts,
    require,
)
from omnimouse_model.data.readers.build.finalise import finalise
from omnimouse_model.data.readers.build.notes import (
    Notes,
    ReadOptions,
    apart,
    scale_to_seconds,
)
from omnimouse_model.data.readers.build.spiking_units import (
    MAX_UNITS,
    SpikingUnits,
    UnsortedSpikes,
    as_units,
    recording_start,
    refuse_milliseconds,
    spiking_responses,
)
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
from omnimouse_model.storage.arrays.npy import load_small_array
from omnimouse_model.storage.arrays.rows import MemoryRows
from omnimouse_model.storage.byte_source import folder_fingerprint
from omnimouse_model.storage.files import bad_file, check_length, check_most, is_file
from omnimouse_model.storage.tables import csv_rows

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
        refuse_milliseconds(path, Interval(*span), reach, "trials")
    units, source = _all_units(probes, path, notes)
    spikes = _all_spikes(probes, path)
    responses, chosen = spiking_responses(units, spikes, span, options, notes, observed=observed)
    intervals = with_tiers(intervals, options, notes)
    alf = path / "alf"
    intervals = aligned_to_event(intervals, options.trial_event, EVENT, alf, notes)
    trials = trials_without_screen(intervals, responses.start)
    wheel = notes.attempt("running (wheel)", read_wheel, path, span, notes)
    session_id, animal_id = _identity(path, notes)
    names = list(dict.fromkeys(sorting.sorter for sorting in sortings))
    session = Session(
        id=session_id,
        animal_id=animal_id,
        path=path,
        format="alf",
        fingerprint=folder_fingerprint(alf),
        units=as_units(chosen, responses, notes, source),
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
    start = recording_start(first)
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
    first = np.repeat(MAX_UNITS * np.arange(len(probes)), counts)
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
        region = as_float(code)
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
    check_times(times, "times", partial(bad_file, times_path), may_repeat=True)
    check_finite(position, "positions", partial(bad_file, path))
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
    require(values, path, "(samples,) numbers", (None,), (None, None))
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
    values = decode_texts(load_small_array(path, root))
    require(values, path, "numbers or texts", kinds="fiubU")
    if values.dtype.kind == "U" and values.dtype.itemsize > 4 * 200:
        raise bad_file(path, "too_large", "holds texts of more than 200 characters")
    if values.ndim == 2 and values.shape[1] == 2 and name == "intervals":
        return {_BEGIN: values[:, 0], _END: values[:, 1]}
    # MATLAB saves vectors as one row or one column.
    if values.ndim == 2 and 1 in values.shape:
        values = values.reshape(-1)
    return {name: require(values, path, "(trials,)", (None,), kinds="fiubU")}


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
