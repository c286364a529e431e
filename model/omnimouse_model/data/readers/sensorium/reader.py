"""Reader of Sensorium folders: one file per trial and stream (2022 images, 2023 video).

Trials have no common clock: they are placed in file order with holes between them. A
2022 trial has one value per neuron, too little for a window of the model.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.read_options import ReadOptions
from omnimouse_model.data.readers.build.behavior_names import EYE_NAMES, EYE_UNITS
from omnimouse_model.data.readers.build.finalise import finalise
from omnimouse_model.data.readers.build.neurons import make_units
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.statistics import (
    complete_statistics,
    train_spans,
)
from omnimouse_model.data.readers.build.trial_files import HOLE_S, TimeLine, TrialRows
from omnimouse_model.data.readers.build.trial_stimulus import (
    note_trial_clock,
    stimulus_of_trials,
)
from omnimouse_model.data.readers.sensorium.layout import RATE_HZ, Folder
from omnimouse_model.data.readers.sensorium.trials import SensoriumTrial, read_trials
from omnimouse_model.data.readers.sensorium.videos import SensoriumFrames
from omnimouse_model.data.session import Session
from omnimouse_model.data.signal import Signal
from omnimouse_model.data.stimulus import Stimulus
from omnimouse_model.data.units import Units
from omnimouse_model.storage.arrays.row_source import MemoryRows
from omnimouse_model.storage.fingerprint import folder_fingerprint

LOOKED_FOR = ("data/videos", "data/images")
_IMAGE_S = 0.5
"""Presentation time of an image in Sensorium 2022."""
_NAME = re.compile(r"(?:static|dynamic)?(\d+)-(\d+)-(\d+)")


def recognises(path: Path) -> bool:
    """Return whether a folder holds videos or images and a trial table."""
    has_frames = any((path / folder).is_dir() for folder in LOOKED_FOR)
    return has_frames and (path / "meta" / "trials").is_dir()


def read(path: Path, options: ReadOptions) -> Session:
    """Open a Sensorium folder; see `open_session`."""
    notes = Notes()
    folder = Folder(path)
    trials = read_trials(folder, notes)
    lengths = np.array([trial.length for trial in trials])
    rate = RATE_HZ if folder.is_video else 1.0 / (_IMAGE_S + HOLE_S)
    # Images: one row per trial, and the period of a row is image plus hole.
    line = TimeLine.of(lengths, rate) if folder.is_video else _regular(lengths, rate)
    note_trial_clock(notes)
    if not folder.is_video:
        notes.warn(
            "still_images",
            "one response per image: the session can be displayed, but models read "
            "windows of responses in time",
        )
    stimulus = _stimulus(folder, trials, line)
    mean, std = folder.statistics(notes)
    responses = replace(_responses(folder, trials, line), mean=mean, std=std)
    train = train_spans(stimulus, stimulus.trials)
    responses = complete_statistics(responses, train, notes)
    session_id, animal_id = _identity(folder, notes)
    session = Session(
        id=session_id,
        animal_id=animal_id,
        path=path,
        format="sensorium-2023" if folder.is_video else "sensorium-2022",
        fingerprint=folder_fingerprint(path),
        units=_units(folder, responses, notes),
        responses=responses,
        behavior=_behavior(folder, trials, line, notes),
        stimulus=stimulus,
        trials=stimulus.trials,
        options=options.changed(),
    )
    return finalise(session, notes)


def _regular(lengths: np.ndarray, rate_hz: float) -> TimeLine:
    """Return a time line with one row per image, after one row of hole.

    The hole after an image is part of its row.
    """
    count = len(lengths)
    return TimeLine(rate_hz, np.arange(count) + 1, np.ones(count, np.int64), count + 1)


def _responses(folder: Folder, trials: Sequence[SensoriumTrial], line: TimeLine) -> Signal:
    files = tuple(trial.responses for trial in trials)
    rows = TrialRows(folder.data("responses"), files, line, folder.n_units)
    return Signal("responses", rows, line.rate_hz, line.start, line.stop)


def _stimulus(folder: Folder, trials: Sequence[SensoriumTrial], line: TimeLine) -> Stimulus:
    n, is_video = len(trials), folder.is_video
    columns: dict[str, Sequence[Any]] = {
        "key": [t.key for t in trials],
        "kind": ["video" if is_video else "image"] * n,
        "tier": [t.tier for t in trials],
        # Still images are never readable: they have one response in time.
        "readable": [t.is_sound and is_video for t in trials],
        "stim_id": [t.stim_id for t in trials],
        "trial_idx": [t.trial_idx for t in trials],
        "valid_trial": [str(t.is_sound) for t in trials],
        "extra": [t.extra for t in trials],
    }
    source = SensoriumFrames(tuple(t.frames for t in trials), is_video)
    end = None if is_video else line.time(line.first) + _IMAGE_S
    return stimulus_of_trials(line, folder.frame_size, source, columns, end)


def _behavior(
    folder: Folder, trials: Sequence[SensoriumTrial], line: TimeLine, notes: Notes
) -> dict[str, Signal | None]:
    """Return pupil (size, derivative, x, y) and running, None if not stored."""
    behavior: dict[str, Signal | None] = {"eye_tracker": None, "treadmill": None}
    sources = {
        "eye_tracker": ([t.eye for t in trials], EYE_NAMES, EYE_UNITS),
        "treadmill": ([t.running for t in trials], ("running",), ("cm/s",)),
    }
    for name, (parts, names, units) in sources.items():
        stored = [part for part in parts if part is not None]
        if not stored:  # a stream is stored for all trials or for none
            continue
        # In memory: the derivative is computed, and the files are small.
        rows = MemoryRows(folder.data("behavior"), line.spread(stored))
        signal = Signal(name, rows, line.rate_hz, line.start, line.stop)
        behavior[name] = replace(signal, names=names, units=units)
    if behavior["eye_tracker"] is not None and folder.is_video:
        notes.assume(
            "pupil_derivative",
            "the change of pupil size is not stored: central differences per second",
        )
    return behavior


def _units(folder: Folder, responses: Signal, notes: Notes) -> Units:
    return make_units(
        responses,
        notes,
        unit_id=folder.unit_array("unit_ids", notes),
        area=folder.unit_array("area", notes, text=True),
        area_source="meta/neurons/area.npy",
        plane=folder.unit_array("fields", notes),
        # Motor coordinates of the microscope: x, y and depth in µm.
        xyz_um=folder.unit_array("cell_motor_coordinates", notes, (folder.n_units, 3)),
    )


def _identity(folder: Folder, notes: Notes) -> tuple[str, str | None]:
    # The released folders are named dynamic{animal}-{session}-{scan}-….
    match = _NAME.search(folder.root.name)
    if match is not None:
        return "-".join(match.groups()), match[1]
    names = ("animal_ids", "sessions", "scan_idx")
    parts = [folder.unit_array(name, notes) for name in names]
    # One value per neuron, all equal.
    numbers = [str(part[0]) for part in parts if part is not None and len(part)]
    if len(numbers) == len(names):
        return "-".join(numbers), numbers[0]
    notes.assume("no_identity", f"nothing names the session: '{folder.root.name}' is the folder")
    return folder.root.name, None
