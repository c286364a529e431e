"""Trials as files have them: times that are missing, unsorted or on other clocks, and tiers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.clock import Interval
from omnimouse_model.data.readers.build.checked_values import as_float
from omnimouse_model.data.readers.build.notes import (
    MILLISECOND_S,
    Notes,
    ReadOptions,
    clock_remedy,
    span_text,
)
from omnimouse_model.data.readers.build.presentations import PresentationIntervals
from omnimouse_model.data.stimulus import has_tiers, random_tiers
from omnimouse_model.storage.files import bad_file

TRIAL_START = "start_time"
"""Event that is the stored start of a trial in every format."""
EVENT_ENDS = ("_time", "_times")
"""Endings of the names of columns with times of events."""
_FEW, _MOST = 0.2, 0.95
"""Shares of trials inside the recording: of a wrong clock, and of the right one."""
_ROUNDING_S = 1e-3
"""Overlap of trials that needs no note: times are often rounded to milliseconds."""


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


@dataclass(frozen=True, slots=True)
class TrialClock:
    """What the times of trials are compared with.

    Attributes
    ----------
    recording
        Native span of the responses.
    origins
        Name -> seconds: constants that can separate clocks; see `clock_remedy`.
    sample_rates
        Name -> samples per second: rates at which starts may have been counted.
    """

    recording: Interval
    origins: Mapping[str, float]
    sample_rates: Mapping[str, float]


def trial_intervals(
    name: str,
    on: np.ndarray,
    off: np.ndarray,
    columns: Mapping[str, Sequence[Any]],
    clock: TrialClock,
    notes: Notes,
) -> PresentationIntervals:
    """Return the trials of a table, sorted; no trial vanishes without a note.

    A trial without a stop, or with a stop before its start, ends at the next start,
    the last one with the recording. A trial that lasts into the next one ends where
    that begins. Trials without a start are left out, and those that repeat another one
    or its start with another tier. A table is left out if all its starts are equal, or
    if none lies in the recording.

    Parameters
    ----------
    name
        Name of the table for notes.
    on, off
        float64 (n,) native starts and stops as stored; NaN where missing.
    columns
        Other columns by name, (n,) each.
    """
    n = len(on)
    rows = np.flatnonzero(np.isfinite(on))
    if n and len(rows) < n:
        notes.warn(
            "trials_without_start",
            f"{name}: {n - len(rows):,} of {n:,} trials have no start time and are left out",
        )
    if not len(rows):
        return PresentationIntervals()
    if len(rows) > 1 and np.ptp(on[rows]) == 0:
        notes.warn(
            "trials_left_out",
            f"{name}: all {len(rows):,} trials start at {on[rows[0]]:g} s; the trials "
            "are left out (write the time of each trial, in seconds)",
        )
        return PresentationIntervals()
    rows = rows[np.argsort(on[rows], kind="stable")]
    on, off = on[rows], off[rows]
    fields: dict[str, Sequence[Any]] = {
        key: [values[i] for i in rows.tolist()] for key, values in columns.items()
    }
    scale = _scale(name, on, clock, notes)
    if not scale:
        return PresentationIntervals()
    if scale != 1.0:
        on, off = on * scale, off * scale
        fields = {
            key: _scaled(values, scale) if key.endswith(EVENT_ENDS) else values
            for key, values in fields.items()
        }
    kept = _without_repeats(name, PresentationIntervals(on, off, fields), notes)
    on, off = on[kept], off[kept]
    fields = {key: [values[i] for i in kept] for key, values in fields.items()}
    off = _completed(name, on, off, clock.recording.stop, notes)
    # A session with a video ends a trial where the next one begins; this is its length.
    fields.setdefault("duration_s", (off - on).tolist())
    return PresentationIntervals(on, _without_overlap(name, on, off, notes), fields)


def _scale(name: str, on: np.ndarray, clock: TrialClock, notes: Notes) -> float:
    """Return the factor to seconds of the recording; 0 for trials of another clock."""
    recording, n = clock.recording, len(on)
    inside = int(recording.contains(on).sum())
    if inside == n:
        return 1.0
    span = Interval(float(on[0]), float(on[-1]))
    milliseconds = float(recording.contains(on * MILLISECOND_S).mean())
    # Enough of them that a few trials at the begin do not decide.
    covers = np.ptp(on) * MILLISECOND_S > _FEW * (recording.stop - recording.start)
    if inside <= _FEW * n and milliseconds >= _MOST and covers:
        notes.warn(
            "trials_in_milliseconds",
            f"{name}: {_starts_text(on)}, the responses cover "
            f"{span_text(recording)}; the times of trials are taken as milliseconds",
        )
        return MILLISECOND_S
    counted = [
        f"they look like numbers of {of}: divide them by {rate_hz:.6g}"
        for of, rate_hz in clock.sample_rates.items()
        if (on == np.round(on)).all() and recording.contains(on / rate_hz).mean() >= _MOST
    ]
    if not inside or (counted and inside <= _FEW * n):
        remedy = clock_remedy(span, recording, clock.origins)
        lie = f"{inside:,} of {n:,} trials lie" if inside else "no trial lies"
        notes.warn(
            "trials_left_out",
            f"{name}: {lie} in the recording: {_starts_text(on)}, the responses cover "
            f"{span_text(recording)} of the clock of the file; the trials are left out "
            f"({[remedy, *counted][-1]})",
        )
        return 0.0
    notes.assume(
        "trials_outside",
        f"{name}: {n - inside:,} of {n:,} trials start outside the responses, which "
        f"cover {span_text(recording)}",
    )
    return 1.0


def _starts_text(on: np.ndarray) -> str:
    """Return when sorted trials start, for messages."""
    if len(on) == 1:
        return f"1 trial starts at {on[0]:.10g} s"
    span = Interval(float(on[0]), float(on[-1]))
    return f"{len(on):,} trials start at {span_text(span)}"


def _scaled(values: Sequence[Any], scale: float) -> Sequence[Any]:
    is_numbers = all(isinstance(value, int | float) for value in values)
    return [value * scale for value in values] if is_numbers else values


def _without_repeats(name: str, trials: PresentationIntervals, notes: Notes) -> list[int]:
    """Return the rows of sorted trials that are read.

    Of trials with one start and different tiers, the first one is: the others would be
    scored in time that is trained on. So is the first one of equal trials.
    """
    n = len(trials.on)
    kept: list[int] = []
    n_equal = n_other_tier = n_beside = 0
    first_tier: Any = None
    seen: set[str] = set()
    spans: set[float] = set()
    for i in range(n):
        fields = trials.row(i)
        if not i or trials.on[i] != trials.on[i - 1]:
            first_tier, seen, spans = None, set(), set()
        off = float(trials.off[i])
        # The number of a trial differs also where it is stored twice.
        facts = repr((off, {k: v for k, v in fields.items() if k != "id"}))
        if facts in seen:
            n_equal += 1
            continue
        tier = fields.get("tier") or first_tier
        if first_tier is not None and tier != first_tier:
            n_other_tier += 1
            continue
        first_tier = tier
        n_beside += off in spans
        kept.append(i)
        seen.add(facts)
        spans.add(off)
    for count, code, problem in (
        (n_equal, "repeated_trials", "equal another one and are left out"),
        (
            n_other_tier,
            "shared_starts",
            "start with another one that has another tier, and are left out: time of "
            "both would be trained on and scored",
        ),
        (
            n_beside,
            "repeated_trials",
            "start and stop with another one: are they stored twice?",
        ),
    ):
        if count:
            notes.warn(code, f"{name}: {count:,} of {n:,} trials {problem}")
    return kept


def _completed(name: str, on: np.ndarray, off: np.ndarray, end: float, notes: Notes) -> np.ndarray:
    """Return the stops of sorted trials, those that are missing or wrong replaced."""
    is_missing, is_early = ~np.isfinite(off), off < on
    wrong = is_missing | is_early
    if not wrong.any():
        return off
    # Trials that begin together do not end each other.
    after = np.searchsorted(on, on, side="right")
    next_on = np.append(on, max(end, float(on[-1])))[after]
    # A duration fits between a start and the next one.
    is_duration = (off > 0) & (on + off <= next_on + _ROUNDING_S)
    likely = ""
    if is_early.mean() > 1 - _MOST and is_duration[~is_missing].mean() >= _MOST:
        likely = " (they look like durations: add the starts to the stops)"
    for problem, which in (
        ("have no stop time", is_missing),
        (f"stop before they start{likely}", is_early),
    ):
        if which.any():
            notes.warn(
                "trial_stops",
                f"{name}: {int(which.sum()):,} of {len(on):,} trials {problem}; each "
                "ends at the next start, the last trial with the recording",
            )
    return np.where(wrong, next_on, off)


def _without_overlap(name: str, on: np.ndarray, off: np.ndarray, notes: Notes) -> np.ndarray:
    """Return the stops of sorted trials, none after the start of a later trial.

    Time that a train and a test trial share would be trained on and scored.
    """
    later = np.append(on, np.inf)[np.searchsorted(on, on, side="right")]
    n_long = int((off > later + _ROUNDING_S).sum())
    if n_long:
        notes.warn(
            "overlapping_trials",
            f"{name}: {n_long:,} of {len(on):,} trials overlap: they stop after the "
            "start of the next one; each ends at that start",
        )
    return np.asarray(np.minimum(off, later))
