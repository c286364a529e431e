"""Rows on a grid of time with holes: pauses, lost frames, and one file per trial.

Recordings that were cut into trials have no common clock. Each trial begins a whole
number of samples after the previous one, separated by a hole that no window may touch;
samples in holes are NaN. Row 0 begins a quarter of a sample before time 0, so that the
sample times of other rates do not coincide with row edges, where rounding would decide.

Trials of the table with even numbers are holes, those with odd numbers are recorded.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.readers.build.checked_values import check_extent
from omnimouse_model.data.readers.build.notes import Notes, note_interpolation
from omnimouse_model.data.signal import Signal
from omnimouse_model.data.stimulus import (
    BLANK_TIER,
    MEAN_GRAY,
    FramesOf,
    Stimulus,
    TrialFiles,
    Trials,
)
from omnimouse_model.display import count
from omnimouse_model.storage.arrays.npy import stamped_array
from omnimouse_model.storage.arrays.rows import ArrayFile, Rows
from omnimouse_model.storage.files import FileStamp

# -- samples on an even grid with time that was not recorded: pauses and lost frames --
GAP = 1.5
"""A step between two samples that is longer than this many samples is a gap."""
_PAUSE_S = 0.5
_PAUSE_SAMPLES = 2.5
"""A gap is a pause if more time is missing than both; a shorter one is lost frames."""


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """Rows of an array at rows of a grid.

    Attributes
    ----------
    rows
        Stored samples (T, C).
    source, place
        int64 (n,), both increasing: rows of `rows` that are used, and their rows on
        the grid.
    column
        Column of the grid at which those of `rows` begin.
    """

    rows: Rows
    source: np.ndarray
    place: np.ndarray
    column: int = 0

    @property
    def stop(self) -> int:
        """Column of the grid after the last one."""
        return self.column + math.prod(self.rows.shape[1:])


class PlacedRows:
    """Stored samples of arrays at places of an even grid, NaN elsewhere; see `Rows`.

    A gap costs no memory: only the samples have places.

    Parameters
    ----------
    parts
        Arrays one after the other in time, or side by side.
    n_rows
        Rows of the grid.
    """

    def __init__(self, parts: Sequence[Placed], n_rows: int) -> None:
        self.path: Path = parts[0].rows.path
        self.shape: tuple[int, ...] = (n_rows, max(part.stop for part in parts))
        # Integers cannot hold NaN.
        kinds = (part.rows.dtype for part in parts)
        self.dtype: np.dtype[Any] = np.result_type(np.float32, *kinds)
        self._parts = parts

    def check(self) -> None:
        """Raise `SessionFormatError` if a file is missing or has changed."""
        for part in self._parts:
            part.rows.check()

    def read(self, first: int, stop: int) -> np.ndarray:
        """Return grid rows `first` to `stop`, NaN where nothing was recorded."""
        stop = max(first, min(stop, self.shape[0]))
        values = np.full((stop - first, self.shape[1]), np.nan, self.dtype)
        for part in self._parts:
            begin, end = np.searchsorted(part.place, [first, stop])
            if begin < end:
                source = part.source[begin:end]
                low, high = int(source[0]), int(source[-1]) + 1
                stored = part.rows.read(low, high).reshape(high - low, -1)
                place = part.place[begin:end] - first
                values[place, part.column : part.stop] = stored[source - low]
        return values

    def pick(self, rows: np.ndarray, columns: slice) -> np.ndarray:
        """Return scattered grid rows (ascending) of a slice of columns."""
        first, stop, _ = columns.indices(self.shape[1])
        values = np.full((len(rows), max(0, stop - first)), np.nan, self.dtype)
        for part in self._parts:
            low, high = max(first, part.column), min(stop, part.stop)
            at = np.searchsorted(part.place, rows)
            is_stored = at < np.searchsorted(part.place, rows, side="right")
            if low < high:
                own = slice(low - part.column, high - part.column)
                stored = part.rows.pick(part.source[at[is_stored]], own)
                values[is_stored, low - first : high - first] = stored
        return values


def sample_places(times: np.ndarray, rate_hz: float) -> tuple[np.ndarray, float]:
    """Return the grid row of each sample, and their largest deviation in rows.

    The grid begins at the first sample. Rows are counted anew after each gap: whatever
    the jitter and the phase of a stretch, no sample is lost or doubled in it.

    Parameters
    ----------
    times
        float64 (n,) increasing native times.
    rate_hz
        Samples per second between gaps.

    Returns
    -------
    place
        int64 (n,) grid rows, increasing.
    deviation
        From the even clock of a stretch, whose phase is free.
    """
    begin = np.concatenate([[0], np.flatnonzero(np.diff(times) > GAP / rate_hz) + 1])
    first = np.zeros(len(times), np.int64)
    first[begin] = begin
    first = np.maximum.accumulate(first)
    # Phase of a stretch: the mean over its samples, so that the jitter of one sample
    # does not move the others.
    ordinal = np.arange(len(times)) - first
    late = (times - times[0]) * rate_hz - ordinal
    n_each = np.diff(np.append(begin, len(times)))
    phase = np.add.reduceat(late, begin) / n_each
    deviation = float(np.abs(late - np.repeat(phase, n_each)).max())
    row = np.rint(phase).astype(np.int64)
    row[0] = 0
    # A stretch begins after the end of the one before it, also after rounding.
    for k in range(1, len(row)):
        row[k] = max(row[k], row[k - 1] + n_each[k - 1])
    return np.asarray(np.repeat(row, n_each) + ordinal, np.int64), deviation


def stretches(
    place: np.ndarray, n_rows: int, start: float, rate_hz: float, joints: Sequence[int] = ()
) -> tuple[np.ndarray | None, int]:
    """Return the recorded spans and the number of lost samples within them.

    Parameters
    ----------
    place
        int64 (n,) increasing grid rows at which the population was recorded; at least
        one.
    n_rows
        Rows of the grid.
    start, rate_hz
        Native time of grid row 0, rows per second.
    joints
        Grid rows at which a new stretch begins although no row is missing before it:
        the first sample of a file that was appended to another one.

    Returns
    -------
    spans
        float64 (span, 2), see `Signal.recorded_spans`; None for one stretch.
    n_missing
        Samples that are missing within the spans.
    """
    lost = np.diff(place) - 1
    is_pause = lost > max(_PAUSE_S * rate_hz, _PAUSE_SAMPLES)
    begins = np.isin(place[1:], np.asarray(joints, np.int64))
    # A joint whose first frames are missing begins at the first frame that is not.
    for joint in joints:
        after = int(np.searchsorted(place, joint))
        if 0 < after < len(place):
            begins[after - 1] = True
    edges = np.flatnonzero(is_pause | begins)
    n_missing = int(lost.sum() - lost[edges].sum())
    # Nothing but one stretch from the first row to the last.
    if not len(edges) and place[0] == 0 and place[-1] == n_rows - 1:
        return None, n_missing
    first = np.concatenate([place[:1], place[edges + 1]])
    last = np.concatenate([place[edges], place[-1:]])
    return start + np.stack([first, last], axis=1) / rate_hz, n_missing


def traces_signal(
    rows: Rows,
    rate_hz: float,
    start: float,
    place: np.ndarray,
    notes: Notes,
    joints: Sequence[int] = (),
    **fields: Any,
) -> Signal:
    """Return responses that are traces, of which the rows `place` were recorded.

    `joints` are those of `stretches`, `fields` further ones of `Signal`.
    """
    spans, n_missing = stretches(place, rows.shape[0], start, rate_hz, joints)
    note_interpolation(rate_hz, notes)
    fields |= {"mode": "linear", "recorded_spans": spans, "n_missing": n_missing}
    return Signal.of_rows("responses", rows, rate_hz, start, **fields)


JITTER = 0.3
"""Largest deviation of samples from the fitted even clock, as a fraction of a step: a
quarter, and the error of the fit."""
_ROUNDED = 4
"""Deviation from a grid allowed for rounding, in units of the float spacing."""
_OTHER_RATE = 0.05
"""Share of samples after one longer step that shows another rate."""


def fitted_step(times: np.ndarray) -> tuple[float, float, bool]:
    """Return the step of even times, the largest deviation, and whether gaps are there.

    One step is fitted to all stretches between gaps. Deviations are those from an ideal
    clock, not from step to step: small errors of the steps would otherwise add up to a
    drift without being noticed.

    Parameters
    ----------
    times
        float64 (n,) increasing, n > 1.
    """
    steps = np.diff(times)
    is_gap = steps > GAP * float(np.median(steps))
    stretch = np.concatenate([[0], np.cumsum(is_gap)])
    n_each = np.bincount(stretch)
    since, number = times - times[0], np.arange(len(times), dtype=np.float64)
    for values in (since, number):
        values -= (np.bincount(stretch, values) / n_each)[stretch]
    step = float(number @ since / (number @ number))
    return step, float(np.abs(since - step * number).max()), bool(is_gap.any())


_NEAR = 0.75
"""Distance from a grid row, in steps, up to which a sample is its value."""


def place_samples(times: np.ndarray, rate_hz: float) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return the places of uneven samples on an even grid from the first sample.

    Samples between two gaps that are even within a quarter of a step stay neighbours:
    none is lost or doubled. Otherwise, each grid row is the nearest sample.

    Parameters
    ----------
    times
        float64 (n,) increasing native times.
    rate_hz
        Rows per second of the grid.

    Returns
    -------
    source, place
        int64 (k,) samples that are used, and their grid rows; see `PlacedRows`.
    is_even
        Whether all samples are used, each once.
    """
    place, deviation = sample_places(times, rate_hz)
    if deviation <= JITTER + rate_hz * _ROUNDED * np.spacing(times[-1]):
        return np.arange(len(times)), place, True
    at = (times - times[0]) * rate_hz
    rows = np.unique(np.concatenate([np.floor(at), np.ceil(at)]))
    right = np.clip(np.searchsorted(at, rows), 1, len(at) - 1)
    source = right - (rows - at[right - 1] < at[right] - rows)
    is_near = np.abs(at[source] - rows) <= _NEAR
    return source[is_near], rows[is_near].astype(np.int64), False


def placed_on_grid(
    path: Path, name: str, times: np.ndarray, rate_hz: float, notes: Notes
) -> tuple[np.ndarray, np.ndarray]:
    """Return the samples of a series that are used, and their grid rows; see `place_samples`.

    Notes tell of pauses and lost samples, and of a part at another rate.
    """
    check_extent(path, name, round((times[-1] - times[0]) * rate_hz) + 1, rate_hz)
    source, place, is_even = place_samples(times, rate_hz)
    spans, n_missing = stretches(place, int(place[-1]) + 1, float(times[0]), rate_hz)
    facts = []
    if spans is not None:
        paused = float((spans[1:, 0] - spans[:-1, 1]).sum()) - (len(spans) - 1) / rate_hz
        facts.append(f"{count(len(spans) - 1, 'pause')} ({paused:.6g} s)")
    if n_missing:
        facts.append(count(n_missing, "missing sample"))
    steps, n_each = np.unique(np.diff(place), return_counts=True)
    longer = steps > 1
    if longer.any() and n_each[longer].max() >= _OTHER_RATE * len(place):
        step = int(steps[longer][n_each[longer].argmax()])
        notes.warn(
            "rate_changes",
            f"{name}: {100 * n_each[longer].max() / len(place):.3g} % of the samples "
            f"come {step} steps of the {rate_hz:.6g} Hz after the one before them: was "
            f"a part recorded at a lower rate, {rate_hz / step:.4g} Hz?",
        )
    if is_even and not facts:
        return source, place
    what = f" with {' and '.join(facts)}, where responses are NaN" if facts else ""
    if is_even:
        how = "each sample is on its nearest row"
    else:
        how = "each row is the nearest sample, so that some are doubled or skipped"
    notes.assume("uneven_times", f"{name}: read on a clock of {rate_hz:.6g} Hz{what}: {how}")
    return source, place


HOLE_S = 2.5
"""Length of a hole: longer than a window of 2 s."""


@dataclass(frozen=True, slots=True, eq=False)
class TimeLine:
    """Position of each trial, in rows of one rate.

    Attributes
    ----------
    rate_hz
        Rows per second.
    first, length
        int64 (trials,): first row and number of rows of every trial.
    n_rows
        Total number of rows. A hole precedes the first trial and follows each trial.
    """

    rate_hz: float
    first: np.ndarray
    length: np.ndarray
    n_rows: int

    @classmethod
    def of(cls, length: np.ndarray, rate_hz: float) -> "TimeLine":
        """Place trials of the given lengths (rows) one after the other."""
        # Whole rows, so that every trial begins at a row.
        hole = int(np.ceil(HOLE_S * rate_hz))
        ends = hole + np.cumsum(length + hole)
        first = (ends - hole - length).astype(np.int64)
        return cls(rate_hz, first, length.astype(np.int64), int(ends[-1]))

    @property
    def start(self) -> float:
        """Native time of row 0."""
        return -0.25 / self.rate_hz

    @property
    def stop(self) -> float:
        """Native time at which the last row ends."""
        return self.start + self.n_rows / self.rate_hz

    def time(self, rows: np.ndarray) -> np.ndarray:
        """Return the native times at which rows begin, float64."""
        return self.start + rows / self.rate_hz

    def signal(self, name: str, rows: Rows, **fields: Any) -> Signal:
        """Return the stream of rows of the line; `fields` are further ones of `Signal`."""
        return Signal(name, rows, self.rate_hz, self.start, self.stop, **fields)

    def spread(self, trials: Sequence[np.ndarray | None]) -> np.ndarray | None:
        """Join values of trials, each (length, columns), to (n_rows, columns); None without any.

        A trial without values is NaN.

        A hole repeats the last value of the trial before it, or 0 if that value is
        NaN; the first hole repeats the first value of the first trial. This is for
        behaviour, where NaN would also exclude times near the hole.
        """
        width = next((trial.shape[1] for trial in trials if trial is not None), None)
        if width is None:
            return None
        values = np.zeros((self.n_rows, width))
        for k, trial in enumerate(trials):
            first, stop = int(self.first[k]), int(self.first[k] + self.length[k])
            values[first:stop] = np.nan if trial is None else trial
            end = int(self.first[k + 1]) if k + 1 < len(trials) else self.n_rows
            values[stop:end] = np.nan_to_num(values[stop - 1])
        values[: int(self.first[0])] = np.nan_to_num(values[int(self.first[0])])
        return values


class TrialRows:
    """Rows of a `TimeLine`, from one `.npy` per trial; see `Rows`.

    Parameters
    ----------
    path
        Folder of the files, for messages.
    trials
        Their files of responses are (columns, time) or, for a trial of one row, (columns,).
    has_time_first
        Whether files are (time, columns) instead.
    """

    def __init__(
        self,
        path: Path,
        trials: "Sequence[FileTrial]",
        line: TimeLine,
        n_columns: int,
        *,
        has_time_first: bool = False,
    ) -> None:
        self.path = path
        self.shape = (line.n_rows, n_columns)
        self.dtype: np.dtype[Any] = np.dtype(np.float32)
        self._files = [trial.responses for trial in trials]
        self._line = line
        self._has_time_first = has_time_first

    def check(self) -> None:
        """Raise `SessionFormatError` if a file is missing or has changed."""
        for file in self._files:
            if file is not None:
                file.check()

    def read(self, first: int, stop: int) -> np.ndarray:
        """Return rows `first` to `stop`, NaN between the trials."""
        return self.pick(np.arange(first, min(stop, self.shape[0])), slice(None))

    def pick(self, rows: np.ndarray, columns: slice) -> np.ndarray:
        """Return scattered rows, read trial by trial."""
        values = np.full((len(rows), self.shape[1]), np.nan, np.float32)[:, columns]
        ends = self._line.first + self._line.length
        owner = np.searchsorted(self._line.first, rows, side="right") - 1
        # Rows in holes have no owner. Index -1 in `ends` is harmless here, because
        # rows before the first trial already have owner -1.
        owner[(owner < 0) | (rows >= ends[owner])] = -1
        for trial in np.unique(owner[owner >= 0]).tolist():
            file = self._files[trial]
            if file is not None:
                is_of_trial = owner == trial
                within = rows[is_of_trial] - int(self._line.first[trial])
                values[is_of_trial] = self._part(stamped_array(file), within, columns)
        return values

    def _part(self, stored: ArrayFile, rows: slice | np.ndarray, columns: slice) -> np.ndarray:
        """Return values (time, columns) of one trial."""
        if self._has_time_first:
            return stored.part(rows, columns)
        # A trial of one value per neuron becomes one row.
        if len(stored.shape) == 1:
            return stored.part(columns)[None][rows]
        return stored.part(columns, rows).T


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTrial:
    """One trial with files of its own.

    Attributes
    ----------
    key, tier, stim_id, trial_idx, extra
        Its row of the trial table.
    length
        Rows at the rate of the responses, without padding.
    frames, responses
        Files; responses are None if withheld.
    eye, running
        float64 (length, columns) of the behaviour; None if there is none.
    is_sound
        Whether windows may lie in the trial.
    is_cut
        Whether the streams end at different times; the trial is cut to the shortest.
    """

    key: str
    tier: str
    length: int
    frames: FileStamp
    responses: FileStamp | None
    eye: np.ndarray | None
    running: np.ndarray | None
    is_sound: bool
    is_cut: bool = False
    stim_id: str = ""
    trial_idx: str = ""
    extra: dict[str, Any] = field(default_factory=dict)


_HOLE: dict[str, Any] = {
    "kind": "invalid",
    "tier": BLANK_TIER,
    "readable": False,
    "stim_id": "",
    "trial_idx": "",
    "valid_trial": "blank",
    "extra": {},
}
"""Values of a hole in the trial table."""
_LAST_SLOT_S = 1 / 30
"""Time from the last slot of a hole to the next trial: a response sample."""


def stimulus_of_trials(
    line: TimeLine,
    size: tuple[int, ...],
    frames_of: FramesOf,
    trials: Sequence[FileTrial],
    end: np.ndarray | None = None,
) -> Stimulus:
    """Return the stimulus of trials that have no clock in common, with its trial table.

    A hole has two gray slots, at its beginning and near its end.

    Parameters
    ----------
    line
        Position of the trials, with one frame for each row.
    size
        Height and width of a frame.
    frames_of
        Function that reads frames of the file of a trial.
    trials
        Recorded trials, of videos that windows may show. With `end`, they are images, of
        which no window is read: there is one response in time.
    end
        Native times at which the stimulus ends, float64 (trials,); by default the end
        of the last row.
    """
    n, is_video = len(line.first), end is None
    frames = np.full(2 * n + 1, 2)
    frames[1::2] = line.length
    first = np.cumsum(frames) - frames
    slot_trial = np.repeat(np.arange(len(frames), dtype=np.int32), frames)
    slot_frame = np.asarray(np.arange(frames.sum()) - first[slot_trial], np.int32)
    onset = line.time(line.first)
    if end is None:
        end = line.time(line.first + line.length)
    begin = np.empty(len(frames))
    begin[1::2] = onset
    begin[0::2] = np.append(line.start, end)
    step = np.full(len(frames), 1 / line.rate_hz)
    step[0::2] = np.append(onset, line.stop) - begin[0::2] - _LAST_SLOT_S
    slot_t = begin[slot_trial] + slot_frame * step[slot_trial]
    on = slot_t[first] - line.start
    columns: dict[str, list[Any]] = {
        "kind": ["video" if is_video else "image"] * n,
        "readable": [trial.is_sound and is_video for trial in trials],
        "valid_trial": [str(trial.is_sound) for trial in trials],
        **{
            name: [getattr(trial, name) for trial in trials]
            for name in ("tier", "stim_id", "trial_idx", "extra")
        },
    }
    table = Trials.of(
        key=["hole", *(name for t in trials for name in (t.key, f"{t.key}-hole"))],
        first_slot=first,
        n_slots=frames,
        t_on=on,
        t_off=np.append(on[1:], line.stop - line.start),
        blank_value=_with_holes([np.nan] * n, MEAN_GRAY),
        **{name: _with_holes(columns[name], of_hole) for name, of_hole in _HOLE.items()},
    )
    source = TrialFiles(tuple(_with_holes([trial.frames for trial in trials], None)), frames_of)
    return Stimulus(slot_t, slot_trial, slot_frame, size, source, table)


def note_trial_clock(notes: Notes) -> None:
    """Note that the times between trials are not those of the recording."""
    notes.assume(
        "trial_clock",
        "trials have no clock in common: they are laid out in the order of their "
        "files, with holes between them that no window touches",
    )


def _with_holes(of_trials: Sequence[Any], of_hole: Any) -> list[Any]:
    """Return the values of trials with that of a hole before and after each."""
    values = [of_hole] * (2 * len(of_trials) + 1)
    values[1::2] = of_trials
    return values
