"""Time line for recordings with one file per trial, with holes between trials.

Recordings that were cut into trials have no common clock. Each trial begins a whole
number of samples after the previous one, separated by a hole that no window may touch;
samples in holes are NaN. Row 0 begins a quarter of a sample before time 0, so that the
sample times of other rates do not coincide with row edges, where rounding would decide.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.storage.arrays.array_file import ArrayFile
from omnimouse_model.storage.arrays.npy import stamped_array
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
