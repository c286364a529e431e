"""Time in which the neurons of an NWB file were observed.

Time outside `obs_intervals`, and in the table of invalid times, was not recorded: units
are unknown there, not silent.
"""

import re
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from omnimouse_model.data.clock import Interval
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.side_streams import (
    clock_remedy,
    read_side_stream,
    span_text,
)
from omnimouse_model.data.readers.build.spiking_units import (
    SpikingUnits,
    UnsortedSpikes,
    observed_time,
    recording_start,
)
from omnimouse_model.data.readers.nwb.file import NwbFile
from omnimouse_model.data.readers.nwb.trials import (
    INVALID_TIMES,
    clock_origins,
    ragged_texts,
    read_spans,
)
from omnimouse_model.data.spike_trains import Observed, indices
from omnimouse_model.errors import SessionFormatError

if TYPE_CHECKING:
    import h5py

_ROUNDED = 1e-6
"""Rounding tolerance of rows, in samples."""


def read_observed(
    nwb: NwbFile,
    table: "h5py.Group",
    spikes: UnsortedSpikes,
    units: SpikingUnits,
    notes: Notes,
) -> tuple[tuple[float, float], Observed | None]:
    """Return the native time of the recording, and when each unit was observed.

    None if all units were observed all the time.
    """
    n = len(units.unit_id)
    read = partial(_stored_spans, nwb, table, spikes, n)
    spans = read_side_stream(f"{table.name}/obs_intervals", read, notes)
    sources = [] if spans is None else ["obs_intervals"]
    if spans is None:
        span = _span_of_spikes(spikes, notes)
        spans = [np.array([span])] * n
    else:
        bounds = np.concatenate(spans)
        span = float(bounds.min()), float(bounds.max())
        empty = [k for k, own in enumerate(spans) if not len(own)]
        if empty:
            notes.warn(
                "no_obs_intervals",
                f"{table.name}: {len(empty):,} of {n:,} units have no obs_intervals; "
                "taken as observed all the time",
            )
            spans = [own if len(own) else np.array([span]) for own in spans]
    stated = spans
    spans = _without_invalid(nwb, stated, units, notes)
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
    notes.assume(
        "observed_time",
        f"by {' and '.join(sources)}, units were observed for {each} s {part}; at "
        "other times they are missing, not silent",
    )
    return span, observed


def valid_rows(
    nwb: NwbFile, start: float, rate_hz: float, recorded: np.ndarray, notes: Notes
) -> np.ndarray | None:
    """Return the recorded grid rows outside the file's invalid times, None for all."""
    stop = start + (int(recorded[-1]) + 1) / rate_hz
    recording = Interval(start, stop)
    spans = [span for span, _ in _all_invalid_times(nwb, set(), recording, notes)]
    if not spans:
        return None
    bounds = np.ceil((np.array(spans) - start) * rate_hz - _ROUNDED)
    is_valid = np.ones(len(recorded), bool)
    for first, last in np.searchsorted(recorded, bounds).tolist():
        is_valid[first:last] = False
    n_invalid = int((~is_valid).sum())
    if n_invalid == len(recorded):
        text = "intervals/invalid_times is left out: it covers the whole recording"
        notes.warn("left_out_stream", text)
    if not 0 < n_invalid < len(recorded):
        return None
    notes.assume(
        "invalid_times",
        f"intervals/invalid_times: responses of {n_invalid / rate_hz:.6g} s are "
        "missing, because the file calls them invalid",
    )
    return recorded[is_valid]


def _stored_spans(
    nwb: NwbFile, table: "h5py.Group", spikes: UnsortedSpikes, n: int, notes: Notes
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
        ends = nwb.file.table(f"{table.name}/obs_intervals_index").reshape(-1)
    parts: list[np.ndarray] | None = None  # those of all units together
    if ends is not None:
        ends = ends.astype(np.int64)
        falls = (np.diff(ends, prepend=0) < 0).any()
        if len(ends) != n or falls or ends[-1] != len(values):
            found = f"has an obs_intervals_index of {len(ends):,} for {n:,} units and "
            raise nwb.wrong(table, f"{found}{len(values):,} intervals", hint)
        cuts = np.split(np.arange(len(values)), ends[:-1])
        parts = [values[rows[is_sound[rows]]] for rows in cuts]
    if not is_sound.any():
        raise nwb.wrong(table, "has no obs_intervals that end after they begin", hint)
    if lost := int((~is_sound).sum()):
        notes.warn(
            "odd_obs_intervals",
            f"{table.name}: {lost:,} of {len(values):,} obs_intervals are NaN or do "
            "not end after they begin; left out",
        )
    first, last = float(spikes.times.min()), float(spikes.times.max())
    covered = Observed(values[is_sound]).of_population()
    span = Interval(float(covered[0, 0]), float(covered[-1, 1]))
    if np.isnan(observed_time(spikes.times, spikes.unit, Observed(covered))).all():
        raise SessionFormatError(
            nwb.file.path,
            "bad_clock",
            f"{nwb.file.path.name}: no spike lies in {span_text(span)}; spikes lie at "
            f"{first:.10g} to {last:.10g} s",
            clock_remedy(span, Interval(first, last), clock_origins(nwb)),
        )
    if parts is None:
        return [covered] * n
    return [Observed(own).of_population() if len(own) > 1 else own for own in parts]


def _without_invalid(
    nwb: NwbFile, spans: list[np.ndarray], units: SpikingUnits, notes: Notes
) -> list[np.ndarray]:
    """Return the observed time of units less the table of invalid times.

    A row whose tags name a probe is about the units of that probe.
    """
    probe = units.probe if units.probe is not None else np.full(len(spans), "")
    own_name = np.char.lower(probe)
    names = set(own_name.tolist()) - {""}
    bounds = np.concatenate(spans)
    recording = Interval(float(bounds.min()), float(bounds.max()))
    rows = _all_invalid_times(nwb, names, recording, notes)
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
        notes.warn(
            "left_out_stream",
            "intervals/invalid_times is left out: it covers the whole recording",
        )
        return spans
    return left


def _all_invalid_times(
    nwb: NwbFile, probes: set[str], recording: Interval, notes: Notes
) -> list[tuple[np.ndarray, frozenset[str]]]:
    """Return begin and end of each invalid time, with the probes that it names.

    Those outside the recording are left out with a note.
    """
    rows: list[tuple[np.ndarray, frozenset[str]]] = []
    for table in nwb.groups_of("TimeIntervals"):
        if table.name.rsplit("/", 1)[-1] == INVALID_TIMES:
            read = partial(_invalid_times, nwb, table, probes)
            rows += read_side_stream(str(table.name), read, notes) or []
    used = [(s, p) for s, p in rows if s[0] < recording.stop and s[1] > recording.start]
    if len(used) < len(rows):
        bounds = np.array([span for span, _ in rows])
        span = Interval(float(bounds.min()), float(bounds.max()))
        remedy = clock_remedy(span, recording, clock_origins(nwb))
        notes.warn(
            "odd_invalid_times",
            f"{len(rows) - len(used):,} of {len(rows):,} rows of invalid_times lie "
            f"outside the recording: they cover {span_text(span)}, the responses "
            f"{span_text(recording)} ({remedy})",
        )
    return used


def _invalid_times(
    nwb: NwbFile, table: "h5py.Group", probes: set[str], notes: Notes
) -> list[tuple[np.ndarray, frozenset[str]]]:
    times = read_spans(nwb, table)
    tags = None
    if nwb.shape(table, "tags_index") == (len(times),):
        tags = ragged_texts(nwb, table, "tags")
    words = [frozenset(re.split(r"[,;\s]+", text.lower())) for text in tags or [""] * len(times)]
    is_sound = np.isfinite(times).all(axis=1) & (times[:, 1] > times[:, 0])
    if lost := int((~is_sound).sum()):
        notes.warn(
            "odd_invalid_times",
            f"{table.name}: {lost:,} of {len(times):,} rows do not end after they begin; left out",
        )
    return [(times[k], words[k] & probes) for k in np.flatnonzero(is_sound).tolist()]


def _without(spans: np.ndarray, holes: np.ndarray) -> np.ndarray:
    """Return ascending spans (k, 2) less some holes (m, 2)."""
    if not len(holes):
        return spans
    holes = Observed(holes).of_population()
    # Of each span, its part in each stretch between two holes that it reaches.
    begin, end = np.append(-np.inf, holes[:, 1]), np.append(holes[:, 0], np.inf)
    low = np.searchsorted(end, spans[:, 0], side="right")
    high = np.searchsorted(begin, spans[:, 1])
    span, stretch = indices(low, high)
    left = np.stack(
        [
            np.maximum(spans[span, 0], begin[stretch]),
            np.minimum(spans[span, 1], end[stretch]),
        ],
        axis=1,
    )
    return left[left[:, 1] > left[:, 0]]


def _span_of_spikes(spikes: UnsortedSpikes, notes: Notes) -> tuple[float, float]:
    """Return the native time of a recording that does not state it."""
    first, last = float(spikes.times.min()), float(spikes.times.max())
    start = recording_start(first)
    notes.assume(
        "recording_end",
        f"the recording lasts from {start:.10g} to {last:.10g} s, the last spike",
    )
    return start, last
