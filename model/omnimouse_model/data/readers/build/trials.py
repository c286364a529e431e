"""Trials: from tables of files, with times that are missing or on other clocks, to a session.

Also the stimulus of timed presentations, in formats that store when frames were shown, but
not what was shown in between. Its trials are those of the tables, so the module is long.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data import stimulus
from omnimouse_model.data.clock import Interval
from omnimouse_model.data.readers.build.checked_values import as_float, short
from omnimouse_model.data.readers.build.notes import (
    UNITS_OF_TIME,
    Notes,
    ReadOptions,
    clock_remedy,
    span_text,
)
from omnimouse_model.data.stimulus import Stimulus, Trials, VideoSource
from omnimouse_model.display import count, listed
from omnimouse_model.storage.files import bad_file

# -- stimulus and trial table from timed presentations --------------------------------
# For formats that store when frames were shown, but not what was shown in between.
_LONGEST_STEP = 1.5
"""A pause longer than this many median frame steps divides a video."""
_EARLY_S = 0.1
"""Seconds by which the last frame of a trial may come after its end without a note."""
_TIERS = ("tier", "split", "stimulus_set")
_TIER_NAMES = {"training": "train", "val": "validation", "valid": "validation", "testing": "test"}
"""Other names of tiers, in lower case."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A run of frames of one trial; an empty `name` means an unknown stimulus, or gray.

    Attributes
    ----------
    name
        Name of the array with the frames.
    times
        float64 (n,) native onsets.
    frames
        int64 (n,) rows of that array.
    kind
        Trial kind: video, image, blank (gray) or invalid (unknown).
    stim_id
        Identity of the stimulus.
    is_single
        Whether that array is a single frame, without a frame axis.
    """

    name: str
    times: np.ndarray
    frames: np.ndarray
    kind: str
    stim_id: str
    is_single: bool = False


COLOURS, WITH_ALPHA = 3, 4
"""Channels of coloured frames."""


def shown_size(size: tuple[int, ...]) -> tuple[int, ...]:
    """Return the size of frames without alpha and without an axis of a single channel."""
    if size[2:] == (WITH_ALPHA,):
        return (*size[:2], COLOURS)
    return size[:2] if size[2:] == (1,) else size


def note_upright(size: tuple[int, ...], notes: Notes) -> None:
    """Warn of frames that are higher than wide: their axes may be exchanged."""
    if size[0] > size[1]:
        notes.warn(
            "frame_axes",
            f"frames of {size[0]} × {size[1]} are taken as height × width, as most "
            "programs store them; if they are width × height, they lie on their side",
        )


@dataclass(frozen=True, slots=True, eq=False)
class PartsVideo:
    """Frames of parts, one for each trial; see `VideoSource`.

    Attributes
    ----------
    stored
        Function that returns rows (a slice), or all (), of the array of a name.
    check
        Function that raises `SessionFormatError` if the file is missing or has changed.
    """

    stored: Callable[[str, Any], np.ndarray]
    check: Callable[[], None]
    parts: list[Part]

    def has(self, trial: int) -> bool:
        """Return whether a trial has frames."""
        return bool(self.parts[trial].name)

    def read(self, trial: int, first: int, stop: int, size: tuple[int, ...]) -> np.ndarray:
        """Return frames `first` to `stop` of a trial at their own size."""
        part = self.parts[trial]
        block = part.frames[first:stop]
        if part.is_single:
            frames = np.repeat(self.stored(part.name, ())[None], len(block), axis=0)
        else:
            # One contiguous read: index lists are slow in h5py.
            low = int(block.min())
            frames = self.stored(part.name, slice(low, int(block.max()) + 1))[block - low]
        if frames.shape[3:] == (WITH_ALPHA,):
            frames = frames[..., :COLOURS]
        return np.asarray(frames[..., 0] if frames.shape[3:] == (1,) else frames)


@dataclass(frozen=True, slots=True, eq=False)
class PresentationIntervals:
    """Trial table of a recording, sorted by onset; empty if there is none.

    Attributes
    ----------
    on, off
        float64 (n,) native times of onset and end.
    columns
        Other columns of the table by name.
    """

    on: np.ndarray = field(default_factory=lambda: np.zeros(0))
    off: np.ndarray = field(default_factory=lambda: np.zeros(0))
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def take(self, rows: np.ndarray) -> "PresentationIntervals":
        """Return some trials, in this order."""
        chosen = rows.tolist()
        columns = {name: [values[i] for i in chosen] for name, values in self.columns.items()}
        return PresentationIntervals(self.on[rows], self.off[rows], columns)

    def bounds(self, first: float, last: float) -> np.ndarray:
        """Return where trials begin, and where the last one ends, between two times.

        The last trial lasts as long as the others, from onset to onset, or to its stored end.
        """
        bounds = self.on
        if len(self.on) > 1:
            end = max(float(self.off[-1]), float(self.on[-1] + np.median(np.diff(self.on))))
            bounds = np.append(self.on, end)
        return bounds[(bounds > first) & (bounds <= last)]

    def at(self, time: float) -> dict[str, Any]:
        """Return the columns of the trial that covers a time, {} if there is none.

        The column with the split, if present, is also given as `tier`.
        """
        # The first frame can come up to 1 µs before the trial, through rounding.
        row = int(np.searchsorted(self.on, time + 1e-6, side="right")) - 1
        if row < 0 or time >= self.off[row]:
            return {}
        return self.row(row)

    def row(self, row: int) -> dict[str, Any]:
        """Return the columns of a trial; the split is also given as `tier`.

        Columns that a trial does not have (None) are left out.
        """
        fields = {
            name: values[row] for name, values in self.columns.items() if values[row] is not None
        }
        split = next((fields[name] for name in _TIERS if name in fields), None)
        if split is not None and str(split):
            fields["tier"] = str(split)
        return fields


def video_parts(
    name: str, times: np.ndarray, intervals: PresentationIntervals, stim_id: str
) -> list[Part]:
    """Return the parts of one video, divided at pauses, trial onsets and the end of the last."""
    # The median is not affected by the pauses.
    step = float(np.median(np.diff(times))) if len(times) > 1 else 1 / 30
    gaps = np.flatnonzero(np.diff(times) > _LONGEST_STEP * step) + 1
    # Less 1 µs, so that rounding does not put a trial's first frame before its onset.
    cuts = np.searchsorted(times, intervals.bounds(times[0], times[-1]) - 1e-6)
    edges = np.unique(np.concatenate([[0], gaps, cuts, [len(times)]]))
    return [
        Part(name, times[a:b], np.arange(a, b), "video", stim_id)
        for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    ]


def build_stimulus(
    parts: list[Part],
    intervals: PresentationIntervals,
    t0: float,
    size: tuple[int, ...],
    source_of: Callable[[list[Part]], VideoSource],
    notes: Notes,
    details: PresentationIntervals | None = None,
) -> Stimulus:
    """Return the stimulus of presentations in any order, with holes at pauses.

    Parameters
    ----------
    t0
        Native time of the first response: time 0 of the session.
    size
        (height, width[, 3]) of the frames.
    source_of
        Function that makes the video of the sorted parts, one part per trial.
    details
        Rows with further columns of what was shown, beside those of the trials.
    """
    parts = sorted(parts, key=lambda part: float(part.times[0]))
    parts = _with_holes(_one_at_a_time(parts, notes))
    _note_unseen(parts, intervals, notes)
    # From here on, one part is one trial of the table; a hole is a trial of one slot.
    count = np.array([len(part.times) for part in parts])
    trial = np.repeat(np.arange(len(parts), dtype=np.int32), count)
    first = np.cumsum(count) - count
    slot_t = np.concatenate([part.times for part in parts])
    frame = np.asarray(np.arange(len(slot_t)) - first[trial], np.int32)
    fields = [intervals.at(float(part.times[0])) for part in parts]
    if details is not None:
        own = [details.at(float(part.times[0])) if part.name else {} for part in parts]
        fields = [{**more, **one} for more, one in zip(own, fields, strict=True)]
    on = slot_t[first] - t0
    _note_early_ends(slot_t[first], slot_t[first + count - 1], intervals, notes)
    named = np.array([bool(part.name) for part in parts])
    is_known = named | np.array([part.kind == "blank" for part in parts])
    # A hole inside a trial of some tier is not part of that tier; known gray is.
    tier = [
        a.get("tier", stimulus.BLANK_TIER) if known else stimulus.BLANK_TIER
        for a, known in zip(fields, is_known.tolist(), strict=True)
    ]
    table = Trials.of(
        kind=[part.kind for part in parts],
        tier=tier,
        first_slot=first,
        n_slots=count,
        t_on=on,
        t_off=np.append(on[1:], slot_t[-1] - t0),
        # No window may touch a hole. It is drawn in mean gray.
        readable=is_known,
        blank_value=np.where(named, np.nan, stimulus.MEAN_GRAY),
        stim_id=[part.stim_id for part in parts],
        trial_idx=[str(a.get("id", "")) for a in fields],
        valid_trial=np.where(named, "True", "blank"),
        extra=_without_tier(fields),
    )
    return Stimulus(slot_t, trial, frame, size, source_of(parts), table)


def _note_unseen(parts: Sequence[Part], intervals: PresentationIntervals, notes: Notes) -> None:
    """Note trials of the recording in which no frame was shown."""
    if not len(intervals.on):
        return
    begins = np.array([part.times[0] for part in parts if part.name])
    row = np.searchsorted(intervals.on, begins + 1e-6, side="right") - 1
    seen = row[(row >= 0) & (begins < intervals.off[np.maximum(row, 0)])]
    unseen = np.setdiff1d(np.arange(len(intervals.on)), seen)
    if len(unseen):
        notes.warn(
            "trials_without_frames",
            f"{len(unseen):,} of {len(intervals.on):,} trials have no frame of the "
            f"stimulus, the first at {intervals.on[unseen[0]]:.6g} s: they are not in "
            "the trial table, in which trials last from frame to frame",
        )


def _note_early_ends(
    first: np.ndarray, last: np.ndarray, intervals: PresentationIntervals, notes: Notes
) -> None:
    """Note trials that end in the trial table before their last frame."""
    if not len(intervals.on):
        return
    row = np.searchsorted(intervals.on, first + 1e-6, side="right") - 1
    is_timed = (row >= 0) & (first < intervals.off[np.maximum(row, 0)])
    early = (last - intervals.off[row])[is_timed]
    early = early[early > _EARLY_S]
    if len(early):
        notes.assume(
            "trial_ends",
            f"{len(early):,} of {is_timed.sum():,} trials end in the trial table "
            f"{np.median(early):.3g} s (median) before their last frame: trials last until the "
            "next one begins, and the time after their end has their tier",
        )


def trials_without_screen(intervals: PresentationIntervals, t0: float) -> Trials:
    """Return the trial table of a recording without a screen: trials without frames.

    Trials without a finite onset and end are omitted.
    """
    timed = np.flatnonzero(np.isfinite(intervals.on) & np.isfinite(intervals.off))
    fields = [intervals.row(i) for i in timed.tolist()]
    return Trials.of(
        tier=[a.get("tier", stimulus.BLANK_TIER) for a in fields],
        t_on=intervals.on[timed] - t0,
        t_off=intervals.off[timed] - t0,
        stim_id=[str(a.get("stim_id", "")) for a in fields],
        trial_idx=[str(a.get("id", "")) for a in fields],
        extra=_without_tier(fields),
    )


def _without_tier(fields: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in a.items() if k != "tier"} for a in fields]


def _one_at_a_time(parts: list[Part], notes: Notes) -> list[Part]:
    """Omit parts that begin before the last frame of the previous one."""
    single: list[Part] = []
    dropped: list[Part] = []
    for part in parts:
        is_free = not single or part.times[0] > single[-1].times[-1]
        (single if is_free else dropped).append(part)
    if dropped:
        names = ", ".join(dict.fromkeys(part.stim_id or part.name for part in dropped))
        notes.warn(
            "overlapping_stimuli",
            f"{len(dropped):,} of {len(parts):,} presentations begin while another is "
            f"shown, and are left out: {names[:200]}",
        )
    return single


def _with_holes(parts: list[Part]) -> list[Part]:
    """Add a trial of unknown content after each video that is followed by a pause.

    Without it, the last frame would count as shown until the next presentation.
    """
    filled: list[Part] = []
    # A part of one frame has no step of its own; it takes that of the other videos.
    steps = [float(np.median(np.diff(p.times))) for p in parts if len(p.times) > 1]
    step = float(np.median(steps)) if steps else 1 / 30
    for i, part in enumerate(parts):
        filled.append(part)
        nothing = np.zeros(1, np.int64)
        last = i + 1 == len(parts)
        if part.kind in ("image", "blank") and not last:
            continue  # an image or gray stays until the next presentation
        own = float(np.median(np.diff(part.times))) if len(part.times) > 1 else step
        # How long the last frame stays is not stored: one median step is assumed.
        duration = own
        if part.kind in ("image", "blank"):
            onsets = np.array([p.times[0] for p in parts if p.kind == "image"])
            duration = float(np.median(np.diff(onsets))) if len(onsets) > 1 else 0.5
        end = float(part.times[-1]) + duration
        if last or parts[i + 1].times[0] - part.times[-1] > _LONGEST_STEP * own:
            filled.append(Part("", np.array([end]), nothing, "invalid", ""))
    return filled


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
    if not n or stimulus.has_tiers(tiers):
        return intervals
    seed = 0 if options.split_seed is None else options.split_seed
    # Trials that begin together share their time, and so their tier.
    first = np.searchsorted(intervals.on, intervals.on)
    tiers = stimulus.random_tiers(n, seed)[first]
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
    intervals: PresentationIntervals, event: str | None, default: str, path: Path, notes: Notes
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
    begun = {**columns, TRIAL_START: intervals.on.tolist()}
    rows = np.flatnonzero(has_event)
    rows = rows[np.argsort(onset[rows], kind="stable")]
    return PresentationIntervals(onset, intervals.off, begun).take(rows)


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
        "relative_event", f"{event} is stored from the start of each trial: {TRIAL_START} is added"
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
    scale = _scale(name, on[rows], clock, notes)
    if not scale:
        return PresentationIntervals()
    if scale != 1.0:
        on, off = on * scale, off * scale
        columns = {
            key: _scaled(values, scale) if key.endswith(EVENT_ENDS) else values
            for key, values in columns.items()
        }
    columns = _with_known_tiers(name, columns, notes)
    trials = PresentationIntervals(on, off, columns).take(rows)
    trials = trials.take(_without_repeats(name, trials, notes))
    on, off = trials.on, _completed(name, trials.on, trials.off, clock.recording.stop, notes)
    # A session with a video ends a trial where the next one begins; this is its length.
    fields = {"duration_s": (off - on).tolist(), **trials.columns}
    return PresentationIntervals(on, _without_overlap(name, on, off, notes), fields)


def _usual_tier(name: str) -> str:
    """Return the usual name of a tier in another spelling, "" for any other name."""
    tier = name.strip().lower()
    tier = _TIER_NAMES.get(tier, tier)
    return tier if tier in stimulus.COMMON_TIERS and tier != name else ""


def note_unknown_tiers(tiers: Iterable[str], notes: Notes) -> None:
    """Warn of tiers outside the usual ones, of formats that keep all names as they are."""
    unknown = Counter(tier for tier in tiers if tier not in stimulus.COMMON_TIERS)
    if not unknown:
        return
    found = listed(f"{short(tier)} ({count(n, 'trial')})" for tier, n in unknown.items())
    usual = listed(f"{tier!r} to {name}" for tier in unknown if (name := _usual_tier(tier)))
    hint = f" (rename {usual}, if that is meant)" if usual else ""
    text = f"tiers outside the usual ones: {found}; kept as they are, in no preset{hint}"
    notes.warn("unknown_tier", text)


def _with_known_tiers(
    name: str, columns: Mapping[str, Sequence[Any]], notes: Notes
) -> Mapping[str, Sequence[Any]]:
    """Return columns in which tiers of other spellings, such as Val, have their names."""
    stored = {column: columns[column] for column in _TIERS if column in columns}
    words = {v for values in stored.values() for v in values if isinstance(v, str)}
    read_as: dict[Any, str] = {word: tier for word in words if (tier := _usual_tier(word))}
    if not read_as:
        return columns
    names = ", ".join(f"{value!r} as {tier}" for value, tier in sorted(read_as.items()))
    notes.assume("tier_names", f"{name}: tiers are read by their usual names: {names}")
    found = {column: [read_as.get(v, v) for v in values] for column, values in stored.items()}
    return {**columns, **found}


def _scale(name: str, on: np.ndarray, clock: TrialClock, notes: Notes) -> float:
    """Return the factor to seconds of the recording; 0 for trials of another clock."""
    recording, n = clock.recording, len(on)
    inside = int(recording.contains(on).sum())
    if inside == n:
        return 1.0
    span = Interval(float(on[0]), float(on[-1]))
    for unit, seconds in UNITS_OF_TIME.items():
        is_inside = float(recording.contains(on * seconds).mean()) >= _MOST
        # Enough of them that a few trials at the begin do not decide.
        covers = np.ptp(on) * seconds > _FEW * (recording.stop - recording.start)
        if inside <= _FEW * n and is_inside and covers:
            notes.warn(
                f"trials_in_{unit}",
                f"{name}: {_starts_text(on)}, the responses cover "
                f"{span_text(recording)}; the times of trials are taken as {unit}",
            )
            return seconds
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


def _without_repeats(name: str, trials: PresentationIntervals, notes: Notes) -> np.ndarray:
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
    for n_such, code, problem in (
        (n_equal, "repeated_trials", "equal another one and are left out"),
        (
            n_other_tier,
            "shared_starts",
            "start with another one that has another tier, and are left out: time of "
            "both would be trained on and scored",
        ),
        (n_beside, "repeated_trials", "start and stop with another one: are they stored twice?"),
    ):
        if n_such:
            notes.warn(code, f"{name}: {n_such:,} of {n:,} trials {problem}")
    return np.array(kept)


def _completed(name: str, on: np.ndarray, off: np.ndarray, end: float, notes: Notes) -> np.ndarray:
    """Return the stops of sorted trials, those that are missing or wrong replaced."""
    if n_empty := int((off == on).sum()):
        notes.warn(
            "empty_trials",
            f"{name}: {n_empty:,} of {len(on):,} trials stop as they start: no window lies in them",
        )
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
