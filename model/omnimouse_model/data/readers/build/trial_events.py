"""Trials of a spiking recording: tiers where none are stored, onset at an event."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.read_options import ReadOptions
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.presentations import PresentationIntervals
from omnimouse_model.data.readers.build.typed_fields import as_float
from omnimouse_model.data.split import has_tiers, random_tiers
from omnimouse_model.storage.files import bad_file

TRIAL_START = "start_time"
"""Event that is the stored start of a trial in every format."""
EVENT_ENDS = ("_time", "_times")
"""Endings of the names of columns with times of events."""
_MOST = 0.95
"""Share of trials in which a time must fit to tell from where it is counted."""


def with_tiers(
    intervals: PresentationIntervals, options: ReadOptions, notes: Notes
) -> PresentationIntervals:
    """Return trials with a tier each: the stored ones, or 8:1:1 by a seed."""
    n = len(intervals.on)
    rows = [intervals.row(i) for i in range(n)]
    tiers = np.array([str(row.get("tier", "")) for row in rows], np.str_)
    if not n or has_tiers(tiers):
        return intervals
    seed = 0 if options.split_seed is None else options.split_seed
    # Trials that begin together share their time, and so their tier.
    first = np.searchsorted(intervals.on, intervals.on)
    tiers = random_tiers(n, seed)[first]
    counts = ", ".join(
        f"{int((tiers == name).sum()):,} {name}" for name in ("train", "validation", "test")
    )
    notes.assume(
        "trial_split",
        f"no tiers: trials are divided 8:1:1 at random with split_seed {seed} ({counts})",
    )
    columns = {**intervals.columns, "tier": tiers.tolist()}
    return replace(intervals, columns=columns)


def aligned_to_event(
    intervals: PresentationIntervals,
    event: str | None,
    default: str,
    path: Path,
    notes: Notes,
) -> PresentationIntervals:
    """Return trials that begin at an event; trials without it are left out.

    Parameters
    ----------
    event
        Name of a column of times or `start_time`; None for the default.
    default
        Name of the event that is used if the table has it.

    Raises
    ------
    SessionFormatError
        The table has no such column of times.
    """
    columns = intervals.columns
    if event is None:
        event = default if default in columns else TRIAL_START
    if not len(intervals.on) and event == TRIAL_START:
        return intervals
    if event == TRIAL_START:
        onset: np.ndarray | None = intervals.on
    else:
        onset = _times(columns[event]) if event in columns else None
    if onset is None:
        names = [TRIAL_START, *(name for name in columns if name.endswith(EVENT_ENDS))]
        raise bad_file(
            path,
            "no_event",
            f"has no trial event {event!r}; found: {', '.join(names)[:300]}",
            "choose one of these as trial_event",
        )
    # Zeros in place of times: none was stored, or each is the start of its trial.
    if event != TRIAL_START and not onset[np.isfinite(onset)].any():
        notes.warn(
            "missing_event",
            f"{event} is 0 or missing in all {len(onset):,} trials: trials begin at {TRIAL_START}",
        )
        event, onset = TRIAL_START, intervals.on
    onset = _from_clock_zero(event, onset, intervals, notes)
    has_event = np.isfinite(onset) & np.isfinite(intervals.off)
    # An event after the end of its trial is an error of the file.
    has_event &= onset <= intervals.off
    notes.assume(
        "trial_event",
        f"trials begin at {event} (trial_event=…), where windows are aligned to trials",
    )
    if not has_event.all():
        notes.warn(
            "missing_event",
            f"{int((~has_event).sum()):,} of {len(onset):,} trials have no {event}, or "
            "none before their end; left out",
        )
    rows = np.flatnonzero(has_event)
    kept = {name: [values[i] for i in rows.tolist()] for name, values in columns.items()}
    kept[TRIAL_START] = intervals.on[rows].tolist()
    return PresentationIntervals.sorted(onset[rows], intervals.off[rows], kept)


def _from_clock_zero(
    event: str, onset: np.ndarray, intervals: PresentationIntervals, notes: Notes
) -> np.ndarray:
    """Return times of an event on the clock of the trials.

    Some files store them from the start of each trial: then the start is added.
    """
    on, off = intervals.on, intervals.off
    known = np.flatnonzero(np.isfinite(onset))
    if not len(known):
        return onset
    times, begin, end = onset[known], on[known], off[known]
    inside = (times >= begin) & (times <= end)
    is_relative = (times >= 0) & (begin + times <= end)
    if inside.mean() > 1 - _MOST or is_relative.mean() < _MOST:
        return onset
    notes.warn(
        "relative_event",
        f"{event} is stored from the start of each trial: {TRIAL_START} is added",
    )
    return np.asarray(onset + on)


def _times(values: Sequence[Any]) -> np.ndarray | None:
    """Return a column as times, NaN where missing; None if it is no numbers."""
    numbers = [np.nan if value is None else as_float(value) for value in values]
    if any(number is None for number in numbers):
        return None
    return np.array(numbers, np.float64)
