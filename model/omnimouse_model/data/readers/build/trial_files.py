"""Time line, stimulus and trial table of recordings with one file per trial.

Recordings that were cut into trials have no common clock. Each trial begins a whole
number of samples after the previous one, separated by a hole that no window may touch;
samples in holes are NaN. Row 0 begins a quarter of a sample before time 0, so that the
sample times of other rates do not coincide with row edges, where rounding would decide.

Trials of the table with even numbers are holes, those with odd numbers are recorded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.stimulus import BLANK_TIER, MEAN_GRAY, Stimulus, Trials, VideoSource
from omnimouse_model.storage.arrays.npy import stamped_array
from omnimouse_model.storage.arrays.rows import ArrayFile
from omnimouse_model.storage.files import FileStamp

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

    def spread(self, trials: list[np.ndarray]) -> np.ndarray:
        """Return values (n_rows, columns) of trials, each (length, columns).

        A hole repeats the last value of the trial before it, or 0 if that value is
        NaN; the first hole repeats the first value of the first trial. This is for
        behaviour, where NaN would also exclude times near the hole.
        """
        values = np.zeros((self.n_rows, trials[0].shape[1]))
        for k, trial in enumerate(trials):
            first, length = int(self.first[k]), int(self.length[k])
            stop = int(self.first[k + 1]) if k + 1 < len(trials) else self.n_rows
            values[first : first + length] = trial
            values[first + length : stop] = np.nan_to_num(trial[-1:])
        values[: int(self.first[0])] = np.nan_to_num(trials[0][:1])
        return values


class TrialRows:
    """Rows of a `TimeLine`, from one `.npy` per trial; see `Rows`.

    Parameters
    ----------
    path
        Folder of the files, for messages.
    files
        One per trial, (columns, time) or, for a trial of one row, (columns,); None
        for withheld trials.
    has_time_first
        Whether files are (time, columns) instead.
    """

    def __init__(
        self,
        path: Path,
        files: tuple[FileStamp | None, ...],
        line: TimeLine,
        n_columns: int,
        *,
        has_time_first: bool = False,
    ) -> None:
        self.path = path
        self.shape = (line.n_rows, n_columns)
        self.dtype: np.dtype[Any] = np.dtype(np.float32)
        self._files = files
        self._line = line
        self._has_time_first = has_time_first

    def check(self) -> None:
        """Raise `SessionFormatError` if a file is missing or has changed."""
        for file in self._files:
            if file is not None:
                file.check()

    def read(self, first: int, stop: int) -> np.ndarray:
        """Return rows `first` to `stop`, NaN in holes and withheld trials."""
        stop = min(stop, self.shape[0])
        values = np.full((max(0, stop - first), self.shape[1]), np.nan, np.float32)
        ends = self._line.first + self._line.length
        inside = np.flatnonzero((self._line.first < stop) & (ends > first))
        for trial in inside.tolist():
            begin = int(self._line.first[trial])
            low, high = max(first, begin), min(stop, int(ends[trial]))
            stored = self._trial(trial)
            if stored is not None:
                part = self._part(stored, slice(low - begin, high - begin), slice(None))
                values[low - first : high - first] = part
        return values

    def pick(self, rows: np.ndarray, columns: slice) -> np.ndarray:
        """Return scattered rows, read trial by trial."""
        values = np.full((len(rows), self.shape[1]), np.nan, np.float32)[:, columns]
        ends = self._line.first + self._line.length
        owner = np.searchsorted(self._line.first, rows, side="right") - 1
        # Rows in holes have no owner. Index -1 in `ends` is harmless here, because
        # rows before the first trial already have owner -1.
        owner[(owner < 0) | (rows >= ends[owner])] = -1
        for trial in np.unique(owner[owner >= 0]).tolist():
            stored = self._trial(trial)
            if stored is not None:
                is_of_trial = owner == trial
                within = rows[is_of_trial] - int(self._line.first[trial])
                values[is_of_trial] = self._part(stored, within, columns)
        return values

    def _trial(self, trial: int) -> ArrayFile | None:
        """Return the file of one trial, or None."""
        file = self._files[trial]
        return None if file is None else stamped_array(file)

    def _part(self, stored: ArrayFile, rows: slice | np.ndarray, columns: slice) -> np.ndarray:
        """Return values (time, columns) of one trial."""
        if self._has_time_first:
            return stored.part(rows, columns)
        # A trial of one value per neuron becomes one row.
        if len(stored.shape) == 1:
            return stored.part(columns)[None][rows]
        return stored.part(columns, rows).T


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
    source: VideoSource,
    columns: Mapping[str, Sequence[Any]],
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
    source
        Frames by number in the trial table.
    columns
        Values per recorded trial: key, kind, tier, readable, stim_id, trial_idx,
        valid_trial, extra.
    end
        Native times at which the stimulus ends, float64 (trials,); by default the end
        of the last row.
    """
    n = len(line.first)
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
    keys = ["hole", *(name for k in columns["key"] for name in (k, f"{k}-hole"))]
    trials = Trials.of(
        key=keys,
        first_slot=first,
        n_slots=frames,
        t_on=on,
        t_off=np.append(on[1:], line.stop - line.start),
        blank_value=_with_holes([np.nan] * n, MEAN_GRAY),
        **{name: _with_holes(columns[name], of_hole) for name, of_hole in _HOLE.items()},
    )
    return Stimulus(slot_t, slot_trial, slot_frame, size, source, trials)


@dataclass(frozen=True, slots=True, eq=False)
class TrialFrames:
    """Video frames of recorded trials, one file per trial; see `VideoSource`.

    Attributes
    ----------
    files
        One per recorded trial; the holes between trials have no file.
    """

    files: tuple[FileStamp, ...]

    def check(self) -> None:
        """Raise `SessionFormatError` if a file is missing or has changed."""
        for file in self.files:
            file.check()

    def has(self, trial: int) -> bool:
        """Return whether a trial is recorded; even numbers are holes."""
        return trial % 2 == 1

    def stored(self, trial: int) -> ArrayFile:
        """Return the array of a trial, as its file holds it."""
        return stamped_array(self.files[trial // 2])


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
