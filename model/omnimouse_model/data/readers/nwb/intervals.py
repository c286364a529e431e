"""Tables of intervals of an NWB file: trials, presentations, and time that was observed.

Trials are the table of trials, otherwise the tables of presentations. Time outside
`obs_intervals`, and in the table of invalid times, was not recorded: units are unknown
there, not silent.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import Any

import numpy as np

from omnimouse_model.data.clock import Interval
from omnimouse_model.data.readers.build.notes import Notes, clock_remedy, span_text
from omnimouse_model.data.readers.build.spiking_units import (
    SpikingUnits,
    UnsortedSpikes,
    observed_time,
    recording_start,
)
from omnimouse_model.data.readers.build.trials import (
    PresentationIntervals,
    TrialClock,
    trial_intervals,
)
from omnimouse_model.data.readers.nwb.file import Group, NwbFile, last_name
from omnimouse_model.data.signal import Signal
from omnimouse_model.data.spike_trains import Observed, common_spans
from omnimouse_model.display import listed
from omnimouse_model.storage.files import bad_file

INVALID_TIMES = "invalid_times"
_TRIALS = "trials"
_SHOWN = re.compile(r"presentations?|stimulus|stimuli|stim|trials?")
"""Words in the names of tables whose rows are shown stimuli."""
_NOT_SHOWN = re.compile(
    r"epochs?|invalid|states?|sleep|blocks?|licks?|rewards?|bouts?|blinks?|pauses?"
)
"""Words in the names of tables whose rows are no trials."""
_ENDS = ("start_time", "stop_time")
_BOOKKEEPING = re.compile(
    r"id|index|.*_(id|index|block|frame|time|times)|stimulus_(name|block)|block|repeat"
    r"|duration|tags|timeseries|is_.*|active|flashes_since_change|trial.*|notes?"
)
"""Columns that do not tell one stimulus from another."""
_LONGEST_FRAME_S = 0.1
"""Rows of a table with consecutive frames that are longer are images, not a film."""
_MAX_TRIALS = 200_000
_LONGEST_ID = 200
_LISTED = 8


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """Rows of a table of intervals as stored: starts, stops and other columns."""

    name: str
    on: np.ndarray
    off: np.ndarray
    columns: dict[str, list[Any]]


def read_intervals(nwb: NwbFile, responses: Signal) -> PresentationIntervals:
    """Return the trials of the file, empty if there are none.

    Without a table of trials, these are the rows of all tables of presentations in the
    order of time. Notes name the tables that are read and those that are not.
    """
    trials, shown = _tables(nwb)
    tables = _read(nwb, trials[:1])
    intervals = _merged(nwb, tables, responses)
    if not len(intervals.on) and shown:
        tables = [_named(_joined(t, nwb.notes)) for t in _read(nwb, shown)]
        intervals = _merged(nwb, tables, responses)
    names = {table.name for table in tables}
    others = [t for t in _all_tables(nwb) if t.name not in names]
    # Responses are missing in invalid times.
    others = [t for t in others if last_name(t) != INVALID_TIMES]
    if others:
        nwb.notes.assume("left_out_tables", f"not read as trials: {_listed(others)}")
    if len(intervals.on) and last_name(tables[0]) != _TRIALS:
        nwb.notes.assume("trial_source", f"trials are the rows of {_listed(tables)}")
    return intervals


def read_presentations(nwb: NwbFile, responses: Signal) -> PresentationIntervals:
    """Return the rows of all tables of presentations, also beside a table of trials.

    A row is what was shown: a film has one for each frame.
    """
    trials, shown = _tables(nwb)
    if not trials:
        # Trials are these rows, and faults are noted where they are read as trials.
        nwb = replace(nwb, notes=Notes())
    tables = [_named(table) for table in _read(nwb, shown)]
    if sum(len(table.on) for table in tables) > _MAX_TRIALS:
        return PresentationIntervals()
    return _merged(nwb, tables, responses)


def _merged(nwb: NwbFile, tables: Sequence["_Table"], responses: Signal) -> PresentationIntervals:
    """Return the rows of some tables in the order of time."""
    if not tables:
        return PresentationIntervals()
    columns: dict[str, list[Any]] = {
        name: [v for t in tables for v in t.columns.get(name, [None] * len(t.on))]
        for name in dict.fromkeys(name for t in tables for name in t.columns)
    }
    on, off = (np.concatenate([getattr(t, k) for t in tables]) for k in ("on", "off"))
    span, rate_hz = responses.valid_interval(), responses.rate_hz
    # Spikes have no samples of which trials could be numbers.
    rates = {} if responses.has_events else {"samples of the responses": rate_hz}
    clock = TrialClock(span, clock_origins(nwb), rates)
    return trial_intervals(_listed(tables), on, off, columns, clock, nwb.notes)


def clock_origins(nwb: NwbFile) -> dict[str, float]:
    """Return the stored starts in Unix time, by which two clocks can differ."""
    origins = {}
    for name in ("session_start_time", "timestamps_reference_time"):
        try:
            origins[name] = datetime.fromisoformat(nwb.text(f"/{name}")).timestamp()
        except (ValueError, OverflowError, OSError):
            continue  # only a remedy is based on it
    return origins


def read_spans(nwb: NwbFile, table: Group, *, is_open: bool = False) -> np.ndarray:
    """Return the starts and stops of a table of intervals, float64 (n, 2).

    Where they are open, the column of stops may be missing: its values are NaN.

    Raises
    ------
    SessionFormatError
        The columns are no numbers, or of unequal length.
    """
    ends: list[np.ndarray] = []
    for name in _ENDS:
        if is_open and ends and nwb.file.find(name, table) is None:
            ends.append(np.full(len(ends[0]), np.nan))
            break
        values = nwb.file.table(f"{table.name}/{name}")
        if values.dtype.kind not in "fiu" or values.ndim != 1:
            found = f"{name} {values.shape} of {values.dtype}"
            raise nwb.wrong(table, f"has {found}, not numbers")
        ends.append(values.astype(np.float64))
    on, off = ends
    if len(on) != len(off):
        raise nwb.wrong(table, f"has {len(on):,} start and {len(off):,} stop times")
    return np.stack([on, off], axis=1)


def ragged_texts(nwb: NwbFile, table: Group, name: str) -> list[str] | None:
    """Return the texts of a ragged column, joined by commas; None for other values."""
    words = nwb.texts(table, name)
    ends = nwb.column(table, f"{name}_index", kinds="iu")
    if words is None or ends is None:
        return None
    edges = [0, *ends.tolist()]
    is_sound = edges == sorted(edges) and edges[-1] <= len(words)
    return [", ".join(words[a:b]) for a, b in pairwise(edges)] if is_sound else None


# -- tables --------------------------------------------------------------------------
def _all_tables(nwb: NwbFile) -> list[Group]:
    """Return the tables of intervals, those of the file itself first."""
    # A dataset of this type is damaged, and no table.
    tables = [t for t in nwb.groups_of("TimeIntervals") if hasattr(t, "keys")]
    tables.sort(key=lambda t: (not t.name.startswith("/intervals/"), t.name.count("/")))
    return tables


def _tables(nwb: NwbFile) -> tuple[list[Group], list[Group]]:
    """Return the tables of trials, and those whose rows are shown stimuli."""
    tables = _all_tables(nwb)
    trials = [t for t in tables if last_name(t) == _TRIALS]
    others = [t for t in tables if t not in trials]
    others = [t for t in others if not _has_word(t, _NOT_SHOWN)]
    shown = [t for t in others if _has_word(t, _SHOWN)]
    # Of tables with other names, only those of the place for intervals.
    return trials, shown or [t for t in others if t.name.startswith("/intervals/")]


def _has_word(table: Group, words: re.Pattern[str]) -> bool:
    return any(words.fullmatch(w) for w in re.split(r"[\W_]+", last_name(table).lower()))


def _read(nwb: NwbFile, tables: Sequence[Group]) -> list[_Table]:
    """Return the tables that can be read."""
    found = [nwb.notes.attempt(str(table.name), _table, nwb, table) for table in tables]
    return [table for table in found if table is not None and len(table.on)]


def _table(nwb: NwbFile, table: Group) -> _Table:
    spans = read_spans(nwb, table, is_open=True)
    n = len(spans)
    if n > _MAX_TRIALS:
        raise nwb.wrong(table, f"has {n:,} rows; at most {_MAX_TRIALS:,} are read")
    columns: dict[str, list[Any]] = {}
    left_out = []
    names = nwb.names(table)
    for name in names:
        is_index = name.endswith("_index") and name.removesuffix("_index") in names
        if name in _ENDS or is_index:
            continue
        values = _column(nwb, table, name, n)
        if values is not None:
            columns[name] = values
        elif name != "timeseries":  # references to the series of the stimulus
            left_out.append(f"{name} {nwb.shape(table, name)}")
    if left_out:
        listed = ", ".join(left_out[:_LISTED])
        message = f"not read from {table.name} of {n:,} rows: {listed}"
        nwb.notes.assume("left_out_columns", message)
    return _Table(str(table.name), spans[:, 0], spans[:, 1], columns)


def _column(nwb: NwbFile, table: Group, name: str, n: int) -> list[Any] | None:
    """Return a column of one value per row, None for other shapes and references."""
    if nwb.shape(table, f"{name}_index") == (n,):
        return ragged_texts(nwb, table, name)
    values = nwb.column(table, name, n, "biuf")
    return nwb.texts(table, name, n) if values is None else list(values.tolist())


def _listed(tables: Sequence[Group]) -> str:
    return listed(str(table.name) for table in tables)


# -- presentations -------------------------------------------------------------------
def _joined(table: _Table, notes: Notes) -> _Table:
    """Return a table of presentations; of a film, one row for each showing.

    A table of the frames of a film has one row per frame, numbered by `frame`.
    """
    frame = np.array(table.columns.get("frame", []))
    if frame.dtype.kind not in "fiu" or len(frame) < 2:
        return table
    order = np.argsort(table.on, kind="stable")
    on, off, frame = table.on[order], table.off[order], frame[order]
    step = float(np.nanmedian(np.diff(on)))
    if not 0 < step < _LONGEST_FRAME_S:
        return table
    follows = (np.diff(frame) == 1) & (np.diff(on) < 1.5 * step)
    first = np.flatnonzero(np.append(True, ~follows))
    last = np.append(first[1:], len(on)) - 1
    if len(first) == len(on):
        return table
    notes.assume(
        "frames_joined",
        f"{table.name}: {len(on):,} rows are frames of a film; each of its "
        f"{len(first):,} showings is one trial",
    )
    rows = order[first].tolist()
    columns = {
        name: [values[i] for i in rows] for name, values in table.columns.items() if name != "frame"
    }
    return _Table(table.name, on[first], off[last], columns)


def _named(table: _Table) -> _Table:
    """Return a table of presentations with the stimulus of each row as `stim_id`.

    It consists of the name of the stimulus and of the columns that tell its conditions
    apart, such as `drifting_gratings orientation=45`: showings with one id are repeats.
    """
    n = len(table.on)
    names = table.columns.get("stimulus_name")
    if names is None or not all(isinstance(name, str) for name in names):
        names = [last_name(table).removesuffix("_presentations")] * n
    columns = {"stimulus_name": names, **table.columns}
    if "stim_id" in columns:
        return replace(table, columns=columns)
    texts = {
        name: [_condition(value) for value in values]
        for name, values in table.columns.items()
        if not _BOOKKEEPING.fullmatch(name.lower())
    }
    varied = {name: values for name, values in texts.items() if len(set(values)) > 1}
    ids = []
    for row, own in enumerate(names):
        parts = [f"{name}={v[row]}" for name, v in varied.items() if v[row]]
        ids.append(" ".join([own, *parts])[:_LONGEST_ID])
    return replace(table, columns={**columns, "stim_id": ids})


def _condition(value: object) -> str:
    """Return a value of a column as text, "" if it is missing."""
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.6g}"
    text = str(value).strip()
    return "" if text.lower() in ("nan", "null", "n/a") else text


_ROUNDED = 1e-6
"""Rounding tolerance of rows, in samples."""


def read_observed(
    nwb: NwbFile, table: Group, spikes: UnsortedSpikes, units: SpikingUnits
) -> tuple[tuple[float, float], Observed | None]:
    """Return the native time of the recording, and when each unit was observed.

    None if all units were observed all the time.
    """
    n = len(units.unit_id)
    spans = nwb.notes.attempt(f"{table.name}/obs_intervals", _stored_spans, nwb, table, spikes, n)
    sources = [] if spans is None else ["obs_intervals"]
    if spans is None:
        last = float(spikes.times.max())
        span = recording_start(float(spikes.times.min())), last
        text = f"the recording lasts from {span[0]:.10g} to {last:.10g} s, the last spike"
        nwb.notes.assume("recording_end", text)
        spans = [np.array([span])] * n
    else:
        bounds = np.concatenate(spans)
        span = float(bounds.min()), float(bounds.max())
        empty = [k for k, own in enumerate(spans) if not len(own)]
        if empty:
            nwb.notes.warn(
                "no_obs_intervals",
                f"{table.name}: {len(empty):,} of {n:,} units have no obs_intervals; "
                "taken as observed all the time",
            )
            spans = [own if len(own) else np.array([span]) for own in spans]
    stated = spans
    spans = _without_invalid(nwb, stated, units)
    if not all(map(np.array_equal, spans, stated)):
        sources.append(INVALID_TIMES)
    whole = np.array([span])
    outside = (spikes.times < span[0]) | (spikes.times > span[1])
    if all(np.array_equal(own, whole) for own in spans) and not outside.any():
        return span, None
    observed = Observed(spans[0])
    if not all(np.array_equal(own, spans[0]) for own in spans):
        offsets = np.cumsum([0, *(len(own) for own in spans)]).astype(np.int64)
        observed = Observed(np.concatenate(spans), offsets)
    seconds = observed.seconds()
    least, most = f"{seconds.min():.6g}", f"{seconds.max():.6g}"
    each = most if least == most else f"{least} to {most}"
    length = f"{span[1] - span[0]:.6g}"
    part = f"of {length} s" if each != length else f"from {span[0]:.6g} s"
    nwb.notes.assume(
        "observed_time",
        f"by {' and '.join(sources)}, units were observed for {each} s {part}; at "
        "other times they are missing, not silent",
    )
    return span, observed


def valid_rows(
    nwb: NwbFile, start: float, rate_hz: float, recorded: np.ndarray
) -> np.ndarray | None:
    """Return the recorded grid rows outside the file's invalid times, None for all."""
    stop = start + (int(recorded[-1]) + 1) / rate_hz
    recording = Interval(start, stop)
    spans = [span for span, _ in _all_invalid_times(nwb, set(), recording)]
    if not spans:
        return None
    bounds = np.ceil((np.array(spans) - start) * rate_hz - _ROUNDED)
    is_valid = np.ones(len(recorded), bool)
    for first, last in np.searchsorted(recorded, bounds).tolist():
        is_valid[first:last] = False
    n_invalid = int((~is_valid).sum())
    if n_invalid == len(recorded):
        text = "intervals/invalid_times is left out: it covers the whole recording"
        nwb.notes.warn("left_out_stream", text)
    if not 0 < n_invalid < len(recorded):
        return None
    nwb.notes.assume(
        "invalid_times",
        f"intervals/invalid_times: responses of {n_invalid / rate_hz:.6g} s are "
        "missing, because the file calls them invalid",
    )
    return recorded[is_valid]


def _stored_spans(
    nwb: NwbFile, table: Group, spikes: UnsortedSpikes, n: int
) -> list[np.ndarray] | None:
    """Return the obs_intervals float64 (k, 2) of each unit, None if none are stored.

    Raises
    ------
    SessionFormatError
        They are damaged, or on another clock than the spikes.
    """
    shape, hint = nwb.shape(table, "obs_intervals"), "store a begin and an end in each"
    if not shape:
        return None
    values = nwb.file.table(f"{table.name}/obs_intervals")
    if values.dtype.kind not in "fiu" or values.shape[1:] != (2,) or not len(values):
        raise nwb.wrong(table, f"has obs_intervals {shape} of {values.dtype}", hint)
    values = values.astype(np.float64)
    is_sound = np.isfinite(values).all(axis=1) & (values[:, 1] > values[:, 0])
    ends = None if len(values) != n else np.arange(1, n + 1)
    if nwb.shape(table, "obs_intervals_index"):
        ends = nwb.ends(table, "obs_intervals", n, len(values), is_whole=True)
    parts: list[np.ndarray] | None = None  # those of all units together
    if ends is not None:
        cuts = np.split(np.arange(len(values)), ends[:-1])
        parts = [values[rows[is_sound[rows]]] for rows in cuts]
    if not is_sound.any():
        raise nwb.wrong(table, "has no obs_intervals that end after they begin", hint)
    if lost := int((~is_sound).sum()):
        nwb.notes.warn(
            "odd_obs_intervals",
            f"{table.name}: {lost:,} of {len(values):,} obs_intervals are NaN or do "
            "not end after they begin; left out",
        )
    first, last = float(spikes.times.min()), float(spikes.times.max())
    covered = Observed(values[is_sound]).of_population()
    span = Interval(float(covered[0, 0]), float(covered[-1, 1]))
    if np.isnan(observed_time(spikes.times, spikes.unit, Observed(covered))).all():
        hint = clock_remedy(span, Interval(first, last), clock_origins(nwb))
        problem = f"has no spike in {span_text(span)}; spikes lie at {first:.10g} to {last:.10g} s"
        raise bad_file(nwb.file.path, "bad_clock", problem, hint)
    if parts is None:
        return [covered] * n
    return [Observed(own).of_population() if len(own) > 1 else own for own in parts]


def _without_invalid(
    nwb: NwbFile, spans: list[np.ndarray], units: SpikingUnits
) -> list[np.ndarray]:
    """Return the observed time of units less the table of invalid times.

    A row whose tags name a probe is about the units of that probe.
    """
    probe = units.probe if units.probe is not None else np.full(len(spans), "")
    own_name = np.char.lower(probe)
    names = set(own_name.tolist()) - {""}
    bounds = np.concatenate(spans)
    recording = Interval(float(bounds.min()), float(bounds.max()))
    rows = _all_invalid_times(nwb, names, recording)
    if not rows:
        return spans
    # Units often share their spans: one array for all of them, see `_stored_spans`.
    done: dict[tuple[int, str], np.ndarray] = {}
    for own, name in zip(spans, own_name.tolist(), strict=True):
        if (id(own), name) not in done:
            holes = np.array([r for r, only in rows if not only or name in only])
            done[id(own), name] = _without(own, holes)
    pairs = zip(spans, own_name.tolist(), strict=True)
    left = [done[id(own), name] for own, name in pairs]
    if not any(map(len, left)):
        nwb.notes.warn(
            "left_out_stream", "intervals/invalid_times is left out: it covers the whole recording"
        )
        return spans
    return left


def _all_invalid_times(
    nwb: NwbFile, probes: set[str], recording: Interval
) -> list[tuple[np.ndarray, frozenset[str]]]:
    """Return begin and end of each invalid time, with the probes that it names.

    Those outside the recording are left out with a note.
    """
    rows: list[tuple[np.ndarray, frozenset[str]]] = []
    for table in nwb.groups_of("TimeIntervals"):
        if last_name(table) == INVALID_TIMES:
            rows += nwb.notes.attempt(str(table.name), _invalid_times, nwb, table, probes) or []
    used = [(s, p) for s, p in rows if s[0] < recording.stop and s[1] > recording.start]
    if len(used) < len(rows):
        bounds = np.array([span for span, _ in rows])
        span = Interval(float(bounds.min()), float(bounds.max()))
        remedy = clock_remedy(span, recording, clock_origins(nwb))
        nwb.notes.warn(
            "odd_invalid_times",
            f"{len(rows) - len(used):,} of {len(rows):,} rows of invalid_times lie "
            f"outside the recording: they cover {span_text(span)}, the responses "
            f"{span_text(recording)} ({remedy})",
        )
    return used


def _invalid_times(
    nwb: NwbFile, table: Group, probes: set[str]
) -> list[tuple[np.ndarray, frozenset[str]]]:
    times = read_spans(nwb, table)
    tags = None
    if nwb.shape(table, "tags_index") == (len(times),):
        tags = ragged_texts(nwb, table, "tags")
    words = [frozenset(re.split(r"[,;\s]+", text.lower())) for text in tags or [""] * len(times)]
    is_sound = np.isfinite(times).all(axis=1) & (times[:, 1] > times[:, 0])
    if lost := int((~is_sound).sum()):
        nwb.notes.warn(
            "odd_invalid_times",
            f"{table.name}: {lost:,} of {len(times):,} rows do not end after they begin; left out",
        )
    return [(times[k], words[k] & probes) for k in np.flatnonzero(is_sound).tolist()]


def _without(spans: np.ndarray, holes: np.ndarray) -> np.ndarray:
    """Return ascending spans (k, 2) less some holes (m, 2)."""
    if not len(holes):
        return spans
    holes = Observed(holes).of_population()
    # The stretches between two holes, and those before and after all.
    begin, end = np.append(-np.inf, holes[:, 1]), np.append(holes[:, 0], np.inf)
    return common_spans(spans, np.stack([begin, end], axis=1))
