"""Reader of Sensorium folders: one file per trial and stream (2022 images, 2023 video).

Trials have no common clock: they are placed in file order with holes between them. A
2022 trial has one value per neuron, too little for a window of the model. The format is
long because its layout, files per stream and trial, is checked before anything is read.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.neurons import Units
from omnimouse_model.data.readers.build import trial_files
from omnimouse_model.data.readers.build.checked_values import decode_texts, require
from omnimouse_model.data.readers.build.finalise import finalise, stored_statistics
from omnimouse_model.data.readers.build.neurons import make_units, of_units
from omnimouse_model.data.readers.build.notes import EYE_NAMES, EYE_UNITS, Notes, ReadOptions
from omnimouse_model.data.readers.build.trial_files import FileTrial, TimeLine, TrialRows
from omnimouse_model.data.readers.build.trials import note_unknown_tiers
from omnimouse_model.data.session import Session
from omnimouse_model.data.signal import Signal
from omnimouse_model.data.stimulus import ONE_SIZE
from omnimouse_model.display import listed
from omnimouse_model.storage import files
from omnimouse_model.storage.arrays.npy import load_small_array, npy_file
from omnimouse_model.storage.arrays.rows import ArrayFile, MemoryRows
from omnimouse_model.storage.byte_source import folder_fingerprint
from omnimouse_model.storage.files import FileStamp
from omnimouse_model.storage.trees import read_json_mapping

RATE_HZ = 30.0
"""Rate of all streams of the format with videos."""
_ENDING = ".npy"
_LISTED = 6  # trial numbers in a message


class Folder:
    """One Sensorium folder.

    Attributes
    ----------
    root
        The folder itself.
    listed
        Files of each stream by number of the trial, as they were when the folder was listed.
    is_video
        Whether trials are videos (2023) or still images (2022).
    n_trials, n_units, frame_size
        Number of trials from the highest file number, number of neurons and
        (height, width) from the first trial.

    Raises
    ------
    SessionFormatError
        If there are no trials, or the file numbers of a stream have gaps.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._links = _links(root)
        self.is_video = files.is_folder(self.data("videos"))
        self.listed = {name: self._numbered(name) for name in self.streams}
        screen = self.listed[self.screen]
        files.check_some(self.data(self.screen), len(screen), "trials")
        self.n_trials = max(screen) + 1
        self._check_numbers()
        self.frame_size = self._frame_size()
        # Trial 0 may be withheld: take the first trial that has responses.
        recorded = self.listed["responses"]
        files.check_some(self.data("responses"), len(recorded), "trials")
        self.n_units = next(iter(self.file("responses", min(recorded)).shape), 0)
        files.check_some(self.data("responses"), self.n_units, "units")

    @property
    def screen(self) -> str:
        """Name of the stream with the frames."""
        return "videos" if self.is_video else "images"

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of the streams that are read."""
        return (self.screen, "responses", "behavior", "pupil_center")

    def data(self, stream: str) -> Path:
        """Return the folder of a stream, which `config.json` may rename."""
        return self.root / "data" / self._links.get(stream, stream)

    def path(self, stream: str, trial: int) -> Path:
        """Return the path of a trial's file, whose number can begin with zeros."""
        stamp = self.listed[stream].get(trial)
        return self.data(stream) / f"{trial}.npy" if stamp is None else stamp.path

    def file(self, stream: str, trial: int) -> ArrayFile:
        """Return the array file of a trial, with its header checked."""
        file = npy_file(self.path(stream, trial), self.root)
        return require(file, file.path, "numbers")

    def small_numbers(self, stream: str, trial: int) -> np.ndarray:
        """Return the array of a trial's file, in memory."""
        path = self.path(stream, trial)
        return require(load_small_array(path, self.root), path, "numbers")

    def unit_array(
        self, name: str, notes: Notes, shape: tuple[int, ...] | None = None, *, text: bool = False
    ) -> np.ndarray | None:
        """Return an array of `meta/neurons`, None if it is missing or does not fit."""
        values = notes.attempt(f"neurons/{name}", self._array, "neurons", name)
        kinds = "U" if text else "fiub"
        return of_units(values, f"neurons/{name}", shape or (self.n_units,), notes, kinds)

    def trial_array(self, name: str) -> np.ndarray | None:
        """Return an array of `meta/trials` with one value per trial, None if missing.

        Raises
        ------
        SessionFormatError
            If it has another number of values.
        """
        values = self._array("trials", name)
        if values is None:
            return None
        path, hint = self.root / "meta" / "trials" / f"{name}.npy", "was the download complete?"
        files.check_length(path, values.size, "values", self.n_trials, "trials", hint)
        return values.reshape(self.n_trials)

    def trial_arrays(self) -> dict[str, np.ndarray]:
        """Return all arrays of `meta/trials` with one value per trial, by name."""
        stored = sorted(files.stamped_files(self.root / "meta" / "trials"))
        names = [f.removesuffix(_ENDING) for f in stored if f.endswith(_ENDING)]
        arrays = {name: self._array("trials", name) for name in names}
        return {
            name: values
            for name, values in arrays.items()
            if values is not None and values.ndim == 1 and len(values) == self.n_trials
        }

    # -- within -----------------------------------------------------------------
    def _array(self, kind: str, name: str) -> np.ndarray | None:
        path = self.root / "meta" / kind / f"{name}.npy"
        values = files.unless_missing(load_small_array, path, self.root)
        return None if values is None else decode_texts(values)

    def _numbered(self, stream: str) -> dict[int, FileStamp]:
        """Return the files of a stream by trial number."""
        stamps = files.stamped_files(self.data(stream))
        # Files with other names are ignored.
        return {
            int(name.removesuffix(_ENDING)): stamps[name]
            for name in sorted(stamps)
            if name.endswith(_ENDING) and name.removesuffix(_ENDING).isdecimal()
        }

    def _check_numbers(self) -> None:
        """Raise if a trial lacks frames.

        Responses may be withheld, and behaviour may be missing in some trials.
        """
        numbers = self.listed[self.screen]
        if len(numbers) == self.n_trials:
            return
        # A file number can be any integer, so `n_trials` can be huge: search only as
        # far as the message needs.
        first = range(min(self.n_trials, len(numbers) + _LISTED + 1))
        missing = [str(number) for number in first if number not in numbers]
        names = ", ".join(missing[:_LISTED]) + (", …" if missing[_LISTED:] else "")
        last = f"the last one has number {self.n_trials - 1} (missing: {names})"
        problem = f"has {len(numbers)} files, and {last}"
        hint = "" if 0 in numbers else "trials are numbered from 0"
        raise files.bad_file(self.data(self.screen), "missing_trials", problem, hint)

    def _frame_size(self) -> tuple[int, int]:
        file = self.file(self.screen, 0)
        # Videos are (height, width, time), images (channel, height, width).
        shape = file.shape[:2] if self.is_video else file.shape[-2:]
        expected = "(height, width, time)" if self.is_video else "(1, height, width)"
        require(file, file.path, expected, (None, None, None))
        files.check_some(file.path, min(file.shape), "pixels")
        return int(shape[0]), int(shape[1])


def _links(root: Path) -> dict[str, str]:
    """Return stream name -> folder name from `config.json`; paths are refused."""
    path = root / "config.json"
    links = (files.unless_missing(read_json_mapping, path, root) or {}).get("links")
    if not isinstance(links, dict):
        return {}
    for name, other in links.items():
        if not isinstance(other, str) or Path(other).name != other:
            problem = f"has a link '{name}' that must name a folder of data/: {other!r}"
            raise files.bad_file(path, "outside", problem)
    return {str(name): other for name, other in links.items()}


# -- reader of the trials of a Sensorium folder: lengths, tiers, behaviour, gaps
# Tiers whose responses the competitions did not publish.
_WITHHELD = ("live_test*", "final_test*")
_SAMPLED_UNITS = 16
# Units, then values per block, that are searched for anything but zeros and NaN.
_FIRST_UNITS, _BLOCK_VALUES = 8, 2**18
_STIM_NAMES = ("condition_hash", "frame_image_id", "image_id")


def read_trials(folder: Folder, notes: Notes) -> list[FileTrial]:
    """Read the behaviour of every trial and the headers of its other files.

    The search for gaps uses one pixel and a few units, because padding and lost
    samples concern all pixels and units.
    """
    columns = folder.trial_arrays()
    tiers = folder.trial_array("tiers")
    if tiers is None:
        notes.warn("no_tiers", "meta/trials/tiers.npy is missing: trials have no tier")
    else:
        note_unknown_tiers(map(str, tiers[: folder.n_trials]), notes)
    trials, faults = [], Notes()
    for number in range(folder.n_trials):
        facts = {name: values[number].item() for name, values in columns.items()}
        tier = "blank" if tiers is None else str(tiers[number])
        trials.append(_trial(folder, number, tier, facts, faults))
    notes.add_first(faults)
    trials = _without_odd_shapes(folder, trials, notes)
    _note(trials, notes)
    return trials


def _note(trials: list[FileTrial], notes: Notes) -> None:
    """Note the trials that are withheld, cut or excluded from windows."""
    withheld = Counter(trial.tier for trial in trials if trial.responses is None)
    if withheld:
        counts = ", ".join(f"{tier}: {n}" for tier, n in withheld.items())
        notes.warn("withheld", f"responses of some trials are withheld ({counts})")
    cut = [trial.key for trial in trials if trial.is_cut]
    if cut:
        notes.assume(
            "cut_trials",
            f"the streams of {len(cut)} trials end apart: each is cut where the first "
            f"of them ends ({listed(cut)})",
        )
    odd = [trial.key for trial in trials if not trial.is_sound]
    if odd:
        notes.warn(
            "odd_trials",
            f"{len(odd)} trials are left out of windows: values are missing within "
            f"them, or a file is of another size ({listed(odd)})",
        )


def _without_odd_shapes(folder: Folder, trials: list[FileTrial], notes: Notes) -> list[FileTrial]:
    """Return the trials with behaviour of an unexpected shape set to missing.

    If all trials have that shape, the stream is not read; otherwise only these trials
    are excluded from windows.
    """
    for name, stream, width in (("eye", "pupil_center", 4), ("running", "behavior", 1)):
        odd = [getattr(trial, name) is None for trial in trials]
        if not any(odd) or not folder.listed[stream]:
            continue
        if not all(odd):
            for k in np.flatnonzero(odd).tolist():
                missing: dict[str, Any] = {name: np.full((trials[k].length, width), np.nan)}
                trials[k] = replace(trials[k], is_sound=False, **missing)
        # Without `behavior`, the pupil centre alone is not used either: no warning.
        elif folder.listed["behavior"]:
            notes.warn(
                "wrong_shape", f"data/{stream} is not read: no trial has the channels of the format"
            )
    return trials


def _trial(
    folder: Folder, number: int, tier: str, facts: dict[str, Any], notes: Notes
) -> FileTrial:
    frames = _frames(folder, number)
    total = int(frames.shape[2]) if folder.is_video else 1
    responses = _trial_responses(folder, number, tier, total)
    stored = _stored_behavior(folder, number, total, notes)
    # Videos are (height, width, time): the time course of the first pixel.
    samples = [frames.part(slice(1), slice(1)).reshape(1, -1)[:, :total]]
    if responses is not None:
        # A few evenly spaced units, (unit, time).
        n = responses.shape[0]
        sampled = np.unique(np.linspace(0, n - 1, min(n, _SAMPLED_UNITS)).astype(int))
        samples.append(responses.part(sampled).reshape(-1, total))
    behavior = stored["behavior"]
    if behavior is not None and behavior.size:
        samples.append(behavior[:1])
    length, is_cut, is_sound = _valid_length(samples, total)
    eye, running = _trial_behavior(folder, stored, length)
    for values in (eye, running):
        is_sound &= values is None or bool(np.isfinite(values).all())
    # Streams of a trial are padded to one length; another length is suspicious.
    for values in stored.values():
        is_sound &= values is None or values.shape[-1:] == (total,)
    return FileTrial(
        key=f"{number:05d}",
        length=length,
        frames=folder.listed[folder.screen][number],
        responses=None if responses is None else folder.listed["responses"][number],
        eye=eye,
        running=running,
        is_sound=is_sound,
        is_cut=is_cut,
        tier=tier,
        trial_idx=str(facts.get("trial_idx", "")),
        stim_id=next((str(facts[n]) for n in _STIM_NAMES if n in facts), ""),
        extra=facts,
    )


def _frames(folder: Folder, number: int) -> ArrayFile:
    """Return the file with the frames of a trial, padding included."""
    file = folder.file(folder.screen, number)
    size = folder.frame_size
    stored = file.shape[:2] if folder.is_video else file.shape[-2:]
    if len(file.shape) != 3 or stored != size or 0 in file.shape:
        problem = f"is {file.shape}, the session's frames are {size}"
        raise files.bad_file(file.path, "bad_trials", problem, ONE_SIZE)
    return file


def _trial_responses(folder: Folder, number: int, tier: str, total: int) -> ArrayFile | None:
    """Return the file with the responses of a trial, None if they are withheld.

    Withheld responses have no file, or one with only zeros and NaN.
    """
    if number not in folder.listed["responses"]:
        if _may_be_withheld(tier):
            return None
        problem = f"has no {number}.npy, and tier {tier} is not withheld"
        raise files.bad_file(folder.data("responses"), "missing_trials", problem)
    file = folder.file("responses", number)
    expected = (folder.n_units, total) if folder.is_video else (folder.n_units,)
    hint = "was the download complete?"
    if folder.is_video:
        hint = f"{hint} responses are (neuron, time), videos (height, width, time)"
    require(file, file.path, str(expected), expected, hint=hint)
    return None if _may_be_withheld(tier) and _is_empty(file) else file


def _is_empty(file: ArrayFile) -> bool:
    """Return whether a file holds only zeros and NaN."""
    # The first units are usually enough; the blocks bound memory for the rest.
    n_units = file.shape[0]
    height = max(1, _BLOCK_VALUES * n_units // max(1, math.prod(file.shape)))
    edges = [0, *range(_FIRST_UNITS, n_units, height), n_units]
    blocks = (file.read(*ends) for ends in pairwise(edges))
    # `any` counts NaN as true, but is fast for zeros.
    return not any(values.any() and np.nan_to_num(values).any() for values in blocks)


def _may_be_withheld(tier: str) -> bool:
    return any(fnmatchcase(tier, pattern) for pattern in (*_WITHHELD, "test"))


def _n_channels(folder: Folder) -> dict[str, int]:
    # 2023: pupil size, speed. 2022: pupil size, its derivative, speed.
    return {"behavior": 2 if folder.is_video else 3, "pupil_center": 2}


def _stored_behavior(
    folder: Folder, number: int, total: int, notes: Notes
) -> dict[str, np.ndarray | None]:
    """Return the behaviour arrays (channel, time) of a trial, None if missing or odd.

    Arrays without the channels of the format tell nothing about the trial.
    """
    arrays: dict[str, np.ndarray | None] = {}
    for stream, n in _n_channels(folder).items():
        arrays[stream] = None
        if number in folder.listed[stream]:
            name = f"{stream} of trial {number}"
            values = notes.attempt(name, folder.small_numbers, stream, number)
            # 2022: one value per channel, as (channel,) or (1, channel).
            if values is not None and not folder.is_video:
                values = values.reshape(-1, 1)
            if values is not None and values.shape == (total, n) and total != n:
                notes.warn(
                    "transposed",
                    f"{name} is {values.shape}: it is transposed, and read as (channel, time)",
                )
                values = values.T
            if values is not None and values.ndim == 2 and len(values) == n:
                arrays[stream] = values.astype(np.float64)
    return arrays


def _valid_length(samples: list[np.ndarray], total: int) -> tuple[int, bool, bool]:
    """Return the length without padding, whether the ends differ, whether it is sound.

    Padding is NaN up to the end. A NaN before the padding is a missing sample and does
    not end the trial.

    Parameters
    ----------
    samples
        Some columns of each stream, (column, time).
    """
    finite = [np.isfinite(values) for values in samples]
    ends = [int(np.flatnonzero(v.any(axis=0)).max(initial=-1)) + 1 for v in finite]
    # A stream without any value is unsound, but does not shorten the trial.
    length = min([total, *(end for end in ends if end)])
    is_sound = all(ends) and all(values[:, :length].all() for values in finite)
    return length, len(set(ends)) > 1 and all(ends), is_sound


def _trial_behavior(
    folder: Folder, stored: dict[str, np.ndarray | None], length: int
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return pupil (length, 4) and running (length, 1), cut to the valid part."""
    behavior, centre = stored["behavior"], stored["pupil_center"]
    if behavior is None:
        return None, None
    behavior = _cut(behavior, length)
    running = behavior[-1:].T
    if centre is None:
        return None, running
    size = behavior[0]
    # Released as videos without the derivative: central differences, per second.
    if folder.is_video:
        change = np.gradient(size) if len(size) > 1 else np.zeros_like(size)
        change = change * RATE_HZ
    else:
        change = behavior[1]
    return np.stack([size, change, *_cut(centre, length)], axis=1), running


def _cut(values: np.ndarray, length: int) -> np.ndarray:
    """Return columns up to `length`, padded with NaN if there are too few."""
    short = length - values.shape[1]
    if short > 0:
        values = np.pad(values, ((0, 0), (0, short)), constant_values=np.nan)
    return values[:, :length]


# -- reader of Sensorium folders: one file per trial and stream (2022 images, 2023 video)
LOOKED_FOR = ("data/videos", "data/images")
_IMAGE_S = 0.5
"""Presentation time of an image in Sensorium 2022."""
_NAME = re.compile(r"(?:static|dynamic)?(\d+)-(\d+)-(\d+)")


def recognises(path: Path) -> bool:
    """Return whether a folder holds videos or images and a trial table."""
    has_frames = any(files.is_folder(path / folder) for folder in LOOKED_FOR)
    return has_frames and files.is_folder(path / "meta" / "trials")


def read(path: Path, options: ReadOptions) -> Session:
    """Open a Sensorium folder; see `open_session`."""
    notes = Notes()
    folder = Folder(path)
    trials = read_trials(folder, notes)
    lengths = np.array([trial.length for trial in trials])
    rate = RATE_HZ if folder.is_video else 1.0 / (_IMAGE_S + trial_files.HOLE_S)
    line = TimeLine.of(lengths, rate)
    if not folder.is_video:
        # One row per image, after one row of hole; the hole after an image is part of its row.
        n = len(lengths)
        line = TimeLine(rate, np.arange(n) + 1, np.ones(n, np.int64), n + 1)
    trial_files.note_trial_clock(notes)
    if not folder.is_video:
        notes.warn(
            "still_images",
            "one response per image: the session can be displayed, but models read "
            "windows of responses in time",
        )
    end = None if folder.is_video else line.time(line.first) + _IMAGE_S
    frames = video_frames if folder.is_video else image_frames
    stimulus = trial_files.stimulus_of_trials(line, folder.frame_size, frames, trials, end)
    rows = TrialRows(folder.data("responses"), trials, line, folder.n_units)
    responses = line.signal("responses", rows)
    mean, std = _stored_moments(folder, "responses", folder.n_units, notes)
    responses = replace(responses, mean=mean, std=std)
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
    )
    return finalise(session, options, notes)


def _behavior(
    folder: Folder, trials: Sequence[FileTrial], line: TimeLine, notes: Notes
) -> dict[str, Signal | None]:
    """Return pupil (size, derivative, x, y) and running, None if not stored."""
    behavior: dict[str, Signal | None] = {"eye_tracker": None, "treadmill": None}
    # Rows: mean and std.
    own, centre = (
        np.array(
            [np.full(n, np.nan) if v is None else v for v in _stored_moments(folder, key, n, notes)]
        )
        for key, n in _n_channels(folder).items()
    )
    # Of videos, the change of pupil size is not stored: its statistics are computed.
    change = np.full((2, 1), np.nan) if folder.is_video else own[:, 1:2]
    eye = np.hstack([own[:, :1], change, centre])
    # A stored 0 tells nothing of a channel that varies: it is computed, too.
    for _, std in (eye, own):
        std[std == 0] = np.nan
    sources = {
        "eye_tracker": ([t.eye for t in trials], EYE_NAMES, EYE_UNITS, eye),
        "treadmill": ([t.running for t in trials], ("running",), ("cm/s",), own[:, -1:]),
    }
    for name, (parts, names, units, (mean, std)) in sources.items():
        values = line.spread(parts)
        if values is None:
            continue
        # In memory: the derivative is computed, and the files are small.
        rows = MemoryRows(folder.data("behavior"), values)
        signal = line.signal(name, rows, names=names, units=units)
        behavior[name] = replace(signal, mean=mean, std=std)
    if behavior["eye_tracker"] is not None and folder.is_video:
        notes.assume(
            "pupil_derivative",
            "the change of pupil size is not stored: central differences per second",
        )
    return behavior


def _stored_moments(
    folder: Folder, stream: str, n_columns: int, notes: Notes
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return stored mean and std (C,) of a stream; None if missing."""
    # `all`: statistics over all frames; other folders select kinds of stimuli.
    statistics = folder.root / "meta" / "statistics" / stream / "all"
    files = (statistics / "mean.npy", statistics / "std.npy")
    return stored_statistics(files, n_columns, folder.root, notes)


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


# -- frames of Sensorium trials: videos with time as last axis, and still images
def video_frames(stored: ArrayFile, first: int, stop: int, size: tuple[int, ...]) -> np.ndarray:
    """Return frames of a file (height, width, time)."""
    whole = (slice(None),) * (len(stored.shape) - 1)
    return np.ascontiguousarray(np.moveaxis(stored.part(*whole, slice(first, stop)), -1, 0))


def image_frames(stored: ArrayFile, first: int, stop: int, size: tuple[int, ...]) -> np.ndarray:
    """Return the image of a file (channel, height, width)."""
    images = stored.open().reshape(-1, *size)
    # Gray images keep their stored type; a mean of channels needs float32.
    if len(images) == 1:
        return images
    return np.asarray(images.mean(axis=0, keepdims=True, dtype=np.float32))
