"""Reader of trial trees of the digital twin (Wang et al. 2025).

Everything is sampled at 30 Hz. Responses are divided by their mean over the training
trials, and behaviour is normalised, so that a twin reads the values as they are stored.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.read_options import ReadOptions
from omnimouse_model.data.readers.build.behavior_names import eye_signal
from omnimouse_model.data.readers.build.finalise import finalise
from omnimouse_model.data.readers.build.neurons import make_units
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.size_limits import check_extent
from omnimouse_model.data.readers.build.statistics import (
    complete_statistics,
    train_spans,
)
from omnimouse_model.data.readers.build.trial_files import TimeLine, TrialRows
from omnimouse_model.data.readers.build.trial_stimulus import (
    TrialFrames,
    note_trial_clock,
    stimulus_of_trials,
)
from omnimouse_model.data.readers.trial_tree.layout import (
    EVALUATION,
    RATE_HZ,
    TRAINING,
    TreeTrial,
    frame_size,
    n_units,
    read_trials,
    tree_folders,
)
from omnimouse_model.data.session import Session
from omnimouse_model.data.signal import Signal
from omnimouse_model.data.stimulus import Stimulus
from omnimouse_model.storage.arrays.row_source import MemoryRows
from omnimouse_model.storage.fingerprint import folder_fingerprint

LOOKED_FOR = ("stimuli/ and units/", "training_data/")
_SCAN = re.compile(rf"(?:{TRAINING}|{EVALUATION})[-_](\d+)[-_](\d+)[-_](\d+)$")
_NORMALISED = "s.d."
"""Unit of behaviour: standard deviations over the training trials."""


@dataclass(frozen=True, slots=True, eq=False)
class TreeFrames(TrialFrames):
    """Video frames of the trials of a tree, (time, height, width[, 1]) per file."""

    def read(self, trial: int, first: int, stop: int, size: tuple[int, ...]) -> np.ndarray:
        """Return frames `first` to `stop` of a trial."""
        return self.stored(trial).read(first, stop).reshape(-1, *size)


def recognises(path: Path) -> bool:
    """Return whether a folder holds frames and responses of trials."""
    return bool(tree_folders(path))


def read(path: Path, options: ReadOptions) -> Session:
    """Open a trial tree; see `open_session`."""
    notes = Notes()
    trials = read_trials(path, notes)
    line = TimeLine.of(np.array([trial.length for trial in trials]), RATE_HZ)
    # Before tables of all frames are made.
    check_extent(path, "frames", line.n_rows, RATE_HZ)
    note_trial_clock(notes)
    cut = [trial.key for trial in trials if trial.is_cut]
    if cut:
        names = ", ".join(cut[:8]) + (", …" if cut[8:] else "")
        notes.warn(
            "odd_trials",
            f"{len(cut)} trials are left out of windows, because responses are "
            f"missing at one of their ends ({names})",
        )
    files = tuple(trial.responses for trial in trials)
    rows = TrialRows(path, files, line, n_units(trials), has_time_first=True)
    responses = Signal("responses", rows, line.rate_hz, line.start, line.stop)
    stimulus = _stimulus(trials, line)
    train = train_spans(stimulus, stimulus.trials)
    responses = complete_statistics(responses, train, notes)
    session_id, animal_id = _identity(path, notes)
    session = Session(
        id=session_id,
        animal_id=animal_id,
        path=path,
        format="trial-tree",
        fingerprint=folder_fingerprint(path),
        units=make_units(responses, notes),
        responses=responses,
        behavior=_behavior(path, trials, line, notes),
        stimulus=stimulus,
        trials=stimulus.trials,
        options=options.changed(),
    )
    return finalise(session, notes)


def _stimulus(trials: Sequence[TreeTrial], line: TimeLine) -> Stimulus:
    columns: dict[str, Sequence[Any]] = {
        "key": [trial.key for trial in trials],
        "kind": ["video"] * len(trials),
        "tier": [trial.tier for trial in trials],
        "readable": [not trial.is_cut for trial in trials],
        "stim_id": [trial.clip for trial in trials],
        "trial_idx": [""] * len(trials),
        "valid_trial": [str(not trial.is_cut) for trial in trials],
        "extra": [{}] * len(trials),
    }
    source = TreeFrames(tuple(trial.frames for trial in trials))
    return stimulus_of_trials(line, frame_size(list(trials)), source, columns)


def _behavior(
    path: Path, trials: Sequence[TreeTrial], line: TimeLine, notes: Notes
) -> dict[str, Signal | None]:
    """Return gaze, pupil and running as stored, None where a tree has none."""
    lengths = [trial.length for trial in trials]
    gaze = _spread(line, [trial.gaze for trial in trials], lengths)
    state = _spread(line, [trial.state for trial in trials], lengths)
    clock = (line.rate_hz, line.start)
    columns = {}
    if state is not None:
        columns["pupil_size"] = state[:, 0]
    if gaze is not None:
        columns |= {"pupil_x": gaze[:, 0], "pupil_y": gaze[:, 1]}
    eye = running = None
    if columns:
        units = dict.fromkeys(columns, _NORMALISED)
        eye = eye_signal(path, columns, units, clock, notes)
        eye = _as_stored(eye, set(columns))
    if state is not None:
        rows = MemoryRows(path, state[:, 1:])
        running = Signal.of_rows(
            "treadmill", rows, *clock, names=("running",), units=(_NORMALISED,)
        )
        running = _as_stored(running, {"running"})
    return {"eye_tracker": eye, "treadmill": running}


def _spread(
    line: TimeLine, parts: Sequence[np.ndarray | None], lengths: Sequence[int]
) -> np.ndarray | None:
    """Return the values of all trials, NaN where one has none; None if none has."""
    if all(part is None for part in parts):
        return None
    return line.spread(
        [
            np.full((length, 2), np.nan) if part is None else part
            for part, length in zip(parts, lengths, strict=True)
        ]
    )


def _as_stored(signal: Signal, names: set[str]) -> Signal:
    """Return a stream whose named columns need no further normalisation.

    Running is divided by its standard deviation without centring in the pipeline of the
    release, so that a mean computed here would shift what a twin reads.
    """
    is_normal = np.array([name in names for name in signal.names or ()])
    mean = np.where(is_normal, 0.0, np.nan)
    return replace(signal, mean=mean, std=np.where(is_normal, 1.0, np.nan))


def _identity(path: Path, notes: Notes) -> tuple[str, str | None]:
    for folder in tree_folders(path):
        # Released folders are named training_data_{animal}_{session}_{scan}.
        if match := _SCAN.match(folder.name):
            return "-".join(match.groups()), match[1]
    notes.assume("no_identity", f"nothing names the session: '{path.name}' is the folder")
    return path.name, None
