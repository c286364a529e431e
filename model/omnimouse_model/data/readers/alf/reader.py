"""Reader of ALF folders: spikes of probes, trials and wheel of IBL sessions."""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.clock import Interval
from omnimouse_model.data.read_options import ReadOptions
from omnimouse_model.data.readers.alf.layout import (
    Sorting,
    choose_sortings,
    has_spikes,
    sorters,
)
from omnimouse_model.data.readers.alf.probe import Probe, read_probe
from omnimouse_model.data.readers.alf.region_names import region_names
from omnimouse_model.data.readers.alf.trials import EVENT, read_trials
from omnimouse_model.data.readers.alf.wheel import read_wheel
from omnimouse_model.data.readers.build.finalise import finalise
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.presentations import (
    PresentationIntervals,
    trials_without_screen,
)
from omnimouse_model.data.readers.build.side_streams import (
    read_side_stream,
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
from omnimouse_model.data.readers.build.statistics import (
    complete_statistics,
    train_spans,
)
from omnimouse_model.data.readers.build.trial_events import (
    aligned_to_event,
    with_tiers,
)
from omnimouse_model.data.readers.build.trial_times import TrialClock
from omnimouse_model.data.recording import RECORDING_RATE
from omnimouse_model.data.session import Session
from omnimouse_model.data.spike_trains import Observed
from omnimouse_model.storage.fingerprint import folder_fingerprint

LOOKED_FOR = ("alf/*/spikes.times.npy",)
_SUBJECT = re.compile(r"[\w.-]{1,80}")
_DATE, _NUMBER = re.compile(r"\d{4}-\d{2}-\d{2}"), re.compile(r"\d{1,3}")
_SAME_LENGTH = 0.98
"""Least share of the longest recording of a probe that the others have."""


def recognises(path: Path) -> bool:
    """Return whether a folder holds spikes in the ALF layout."""
    return has_spikes(path)


def read(path: Path, options: ReadOptions) -> Session:
    """Open an ALF folder; see `open_session`."""
    notes = Notes()
    sortings = choose_sortings(path, options.series, notes)
    probes = _probes(sortings, path, notes)
    span, observed = _recorded_time(probes, notes)
    # Trials may begin before the first spike, at time 0 of the session.
    clock = TrialClock(Interval(min(span[0], 0.0), span[1]), {}, {})
    intervals = read_side_stream("trials", lambda inner: read_trials(path, clock, inner), notes)
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
    train = train_spans(None, trials, responses.start)
    responses = complete_statistics(responses, train, notes)
    wheel = read_side_stream("running (wheel)", lambda inner: read_wheel(path, span, inner), notes)
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
        stimulus=None,
        trials=trials,
        meta={"sorters": names, RECORDING_RATE: responses.rate_hz},
        series=names[0],
        series_choices=sorters(path),
        options=options.changed(),
    )
    return finalise(session, notes)


def _probes(sortings: Sequence[Sorting], root: Path, notes: Notes) -> list[Probe]:
    """Return the probes whose spikes can be read.

    Raises
    ------
    SessionFormatError
        No probe can be read.
    """
    if len(sortings) > 1:
        found = [
            read_side_stream(f"probe {sorting.probe}", partial(read_probe, sorting, root), notes)
            for sorting in sortings
        ]
        probes = [probe for probe in found if probe is not None]
        if probes:
            return probes
    return [read_probe(sorting, root, notes) for sorting in sortings]


def _recorded_time(
    probes: Sequence[Probe], notes: Notes
) -> tuple[tuple[float, float], Observed | None]:
    """Return the native span of the recording, and when each unit was observed.

    None for all units in the whole span.
    """
    first = max(float(probe.times.min()) for probe in probes)
    ends = {probe.name: float(probe.times.max()) for probe in probes}
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
        f"the last spikes of the probes differ: {listed}; the recording lasts from "
        f"{start:.6g} to {latest:.6g} s, and units are missing after the last spike of "
        "their probe",
    )
    counts = [probe.n_units for probe in probes]
    stops = np.repeat(list(ends.values()), counts)
    spans = np.stack([np.full(len(stops), start), stops], axis=1)
    return (start, latest), Observed(spans, np.arange(len(stops) + 1))


def _all_units(probes: Sequence[Probe], root: Path, notes: Notes) -> tuple[SpikingUnits, str]:
    """Return the units of all probes, and the source of their areas."""
    counts = [probe.n_units for probe in probes]
    # Numbers repeat on each probe: those of the second begin at 100,000.
    ids = [np.arange(n) + MAX_UNITS * k for k, n in enumerate(counts)]
    n_spikes = [np.bincount(p.unit, minlength=p.n_units) for p in probes]
    area, source = None, ""
    if any(probe.region is not None for probe in probes):
        regions = [np.zeros(p.n_units) if p.region is None else p.region for p in probes]
        area, source = region_names(np.concatenate(regions), root, notes)
        has_region = [np.full(p.n_units, p.region is not None) for p in probes]
        area = np.where(np.concatenate(has_region), area, "")
    names = dict.fromkeys(name for probe in probes for name in probe.properties)
    joined = {
        name: _joined([probe.properties.get(name) for probe in probes], counts) for name in names
    }
    return SpikingUnits(
        unit_id=np.concatenate(ids),
        n_spikes=np.concatenate(n_spikes),
        xyz_um=np.concatenate([probe.xyz_um for probe in probes]),
        area=area,
        probe=np.repeat(np.array([p.name for p in probes], np.str_), counts),
        quality=_joined([probe.quality for probe in probes], counts),
        properties={k: v for k, v in joined.items() if v is not None},
    ), source


def _joined(columns: Sequence[np.ndarray | None], counts: Sequence[int]) -> np.ndarray | None:
    """Return a column of all probes, NaN or "" for probes without it.

    None if no probe has it, or numbers on one are texts on another.
    """
    kinds = {values.dtype.kind == "U" for values in columns if values is not None}
    if len(kinds) != 1:
        return None
    unknown: Any = "" if kinds == {True} else np.nan
    parts = [
        np.full(n, unknown) if values is None else values
        for values, n in zip(columns, counts, strict=True)
    ]
    return np.concatenate(parts)


def _all_spikes(probes: Sequence[Probe], root: Path) -> UnsortedSpikes:
    stamps = tuple(stamp for probe in probes for stamp in probe.stamps)
    times, unit = probes[0].times, probes[0].unit
    # Of one probe, no copy of its spikes is made.
    if len(probes) > 1:
        first = np.cumsum([0, *(probe.n_units for probe in probes[:-1])])
        times = np.concatenate([probe.times for probe in probes])
        unit = np.concatenate([p.unit + np.int32(n) for p, n in zip(probes, first, strict=True)])
    return UnsortedSpikes(root / "alf", times, unit, stamps)


def _identity(path: Path, notes: Notes) -> tuple[str, str | None]:
    """Return names of session and animal from `<subject>/<date>/<number>`."""
    subject, date, number = ("", "", "", *path.parts)[-3:]
    is_named = _DATE.fullmatch(date) and _NUMBER.fullmatch(number)
    if is_named and _SUBJECT.fullmatch(subject):
        return f"{subject}_{date}_{number}", subject
    notes.assume(
        "no_identity",
        f"the path is not <subject>/<date>/<number>: '{path.name}' is used",
    )
    return path.name, None
