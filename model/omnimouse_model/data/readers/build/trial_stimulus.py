"""Stimulus and trial table of recordings whose trials have no clock in common.

The trials lie on a `TimeLine`: a hole, then each trial with a hole after it. Trials of
the table with even numbers are holes, those with odd numbers are recorded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.trial_files import TimeLine
from omnimouse_model.data.stimulus import (
    BLANK_TIER,
    MEAN_GRAY,
    Stimulus,
    Trials,
    VideoSource,
)
from omnimouse_model.storage.arrays.array_file import ArrayFile
from omnimouse_model.storage.arrays.npy import stamped_array
from omnimouse_model.storage.files import FileStamp

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
