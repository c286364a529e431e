"""Reader of trial trees of the digital twin (Wang et al. 2025).

Everything is sampled at 30 Hz. Responses are divided by their mean over the training
trials, and behaviour is normalised, so that a twin reads the values as they are stored.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from omnimouse_model.data.readers.build.checked_values import by_number, check_extent, require
from omnimouse_model.data.readers.build.finalise import finalise
from omnimouse_model.data.readers.build.neurons import make_units
from omnimouse_model.data.readers.build.notes import Notes, ReadOptions, eye_signal
from omnimouse_model.data.readers.build.trial_files import (
    FileTrial,
    TimeLine,
    TrialRows,
    note_trial_clock,
    stimulus_of_trials,
)
from omnimouse_model.data.session import Session
from omnimouse_model.data.signal import Signal
from omnimouse_model.display import listed
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage import files
from omnimouse_model.storage.arrays.npy import load_small_array, npy_file
from omnimouse_model.storage.arrays.rows import ArrayFile, MemoryRows
from omnimouse_model.storage.byte_source import folder_fingerprint
from omnimouse_model.storage.files import FileStamp

# -- files of a trial tree: one `.npy` per trial in a folder for each kind of data
RATE_HZ = 30.0
"""Frames and samples per second, after the resampling of the release."""
TRAINING, EVALUATION = "training_data", "evaluation_data"
N_GAZE = N_STATE = 2
"""Columns of `perspectives` (pupil x, y) and `modulations` (pupil radius, running)."""
_ENDING = ".npy"
_NEEDED, _OPTIONAL = ("stimuli", "units"), ("perspectives", "modulations")


def tree_folders(root: Path) -> list[Path]:
    """Return the folders with training and evaluation data at a path, in this order.

    Both folders may have a name after `training_data` and `evaluation_data`, and each
    can be opened by itself. Links are skipped: they would lead out of the recording.
    """
    if all(files.is_folder(root / kind) for kind in _NEEDED):
        return [root]
    if not files.is_folder(root):
        return []
    return [
        folder
        for prefix in (TRAINING, EVALUATION)
        for folder in _named(root, prefix)
        if not files.is_link(folder) and any(files.is_folder(folder / k) for k in _NEEDED)
    ]


def read_trials(root: Path, notes: Notes) -> list[FileTrial]:
    """Return the trials of a tree, training data first, each in order of the names.

    Raises
    ------
    SessionFormatError
        A file is missing or does not fit the others; the message names it.
    """
    folders = tree_folders(root)
    _note_links(root, notes)
    for prefix in (TRAINING, EVALUATION):
        names = [folder.name for folder in folders if folder.name.startswith(prefix)]
        if len(names) > 1:
            hint = "open one of them, or one folder with one of each kind"
            problem = f"has several folders of {prefix}: {', '.join(names[:4])}"
            raise files.bad_file(root, "several_trees", problem, hint)
    trials: list[FileTrial] = []
    size: tuple[int, ...] | None = None
    faults = Notes()
    for folder in folders:
        tree = _Tree(folder, size, faults)
        trials += tree.trials()
        size = tree.size
    notes.add_first(faults)
    files.check_some(folders[0] / "stimuli", len(trials), "trials")
    for kind, name in (("perspectives", "eye"), ("modulations", "running")):
        n_missing = sum(getattr(trial, name) is None for trial in trials)
        if n_missing:
            notes.warn("missing_behavior", f"{n_missing} of {len(trials)} trials have no {kind}")
    return trials


def _note_links(root: Path, notes: Notes) -> None:
    """Warn of linked folders, which are not followed."""
    linked = [
        folder.name
        for prefix in (TRAINING, EVALUATION)
        for folder in _named(root, prefix)
        if files.is_link(folder)
    ]
    if linked:
        names = ", ".join(linked)
        notes.warn("linked_folder", f"{names} is a link and is not read: copy it here")


class _Tree:
    """One folder of trials."""

    def __init__(self, root: Path, size: tuple[int, ...] | None, faults: Notes) -> None:
        self.root, self.faults = root, faults
        self.size = size
        """Height and width of the frames, and number of neurons."""
        # A download that lacks `training` must not be taken for repeats.
        self.is_training = files.is_folder(root / "training") or root.name.startswith(TRAINING)
        for kind in _NEEDED:
            if not files.is_folder(root / kind):
                raise files.bad_file(root, "missing_data", f"has no folder {kind}")
        self.kinds = [
            *(("training", "samples") if self.is_training else ()),
            *_NEEDED,
            *(kind for kind in _OPTIONAL if files.is_folder(root / kind)),
        ]

    def trials(self) -> list[FileTrial]:
        if self.is_training:
            return self._trials("", "")
        # A link to another folder would lead out of the recording.
        clips = {
            entry.name
            for kind in self.kinds
            for entry in files.folders_in(self.root / kind, follows=False)
        }
        loose = self._names(files.stamped_files(self.root / "stimuli"))
        if loose:
            raise files.bad_file(
                self.root / "stimuli",
                "wrong_layout",
                f"has {min(loose)} beside its folders of clips",
                "training data need the folders training and samples; repeats of a "
                "clip lie in a folder of their own",
            )
        return [
            trial
            for clip in sorted(clips, key=by_number)
            for trial in self._trials(f"{clip}/", clip)
        ]

    def _trials(self, prefix: str, clip: str) -> list[FileTrial]:
        stamps_of = {kind: files.stamped_files(self.root / kind / clip) for kind in self.kinds}
        names = {name for stamps in stamps_of.values() for name in self._names(stamps)}
        for kind, stamps in stamps_of.items():
            missing = sorted(names - stamps.keys(), key=by_number)
            # Behaviour that is missing in a trial is NaN there.
            if missing and kind not in _OPTIONAL:
                problem = f"has no {listed(missing, 1)}, which other kinds of data have"
                raise files.bad_file(self.root / kind / clip, "missing_trials", problem)
        return [
            self._trial(prefix, clip, name.removesuffix(_ENDING), stamps_of)
            for name in sorted(names, key=by_number)
        ]

    def _names(self, stamps: Iterable[str]) -> set[str]:
        """Return the names of arrays; macOS adds hidden ones to archives."""
        return {n for n in stamps if n.endswith(_ENDING) and not n.startswith(".")}

    def _trial(
        self, prefix: str, clip: str, name: str, stamps_of: dict[str, dict[str, FileStamp]]
    ) -> FileTrial:
        stamps = {
            kind: of_kind[name + _ENDING]
            for kind, of_kind in stamps_of.items()
            if name + _ENDING in of_kind
        }
        frames, units = self._array(stamps["stimuli"]), self._array(stamps["units"])
        shape = frames.shape
        if frames.dtype != np.uint8 or not (len(shape) == 3 or (len(shape) == 4 and shape[3] == 1)):
            raise _wrong(frames, "uint8 (samples, height, width, 1)")
        if units.dtype.kind != "f" or len(units.shape) != 2:
            raise _wrong(units, "floating-point numbers (samples, neurons)")
        length, size = int(shape[0]), (*shape[1:3], *units.shape[1:])
        self.size = self.size or size
        if size[:2] != self.size[:2] or 0 in shape:
            height, width = self.size[:2]
            raise _wrong(frames, f"(samples, {height}, {width}, 1) as other trials")
        if units.shape != (length, self.size[2]) or 0 in units.shape:
            raise _wrong(units, f"({length}, {self.size[2]})")
        tier = "test"
        if self.is_training:
            tier = "train" if self._single(stamps["training"], bool) else "validation"
            declared = self._single(stamps["samples"], int)
            path, of = stamps["samples"].path, f"frames of {files.label(frames.path)}"
            files.check_length(path, declared, "samples", length, of)
        ends = units.part(np.array([0, -1]))
        return FileTrial(
            key=prefix + name,
            tier=tier,
            stim_id=clip,
            length=length,
            frames=stamps["stimuli"],
            responses=stamps["units"],
            eye=self._behavior(stamps.get("perspectives"), (length, N_GAZE)),
            running=self._behavior(stamps.get("modulations"), (length, N_STATE)),
            is_sound=bool(np.isfinite(ends).all()),
        )

    def _array(self, stamp: FileStamp) -> ArrayFile:
        return npy_file(stamp.path, self.root)

    def _behavior(self, stamp: FileStamp | None, shape: tuple[int, int]) -> np.ndarray | None:
        """Return the behaviour of a trial, None if it is missing or faulty."""
        if stamp is None:
            return None
        name = f"{stamp.path.parent.name} of {stamp.path.stem}"
        return self.faults.attempt(name, self._numbers, stamp, shape)

    def _numbers(self, stamp: FileStamp, shape: tuple[int, int]) -> np.ndarray:
        values = load_small_array(stamp.path, self.root)
        return require(values, stamp.path, f"{shape} numbers", shape, kinds="f").astype(np.float64)

    def _single(self, stamp: FileStamp, kind: type) -> int:
        """Read a file that holds one number, or one true or false value."""
        values = load_small_array(stamp.path, self.root)
        kinds, name = ("b", "true or false") if kind is bool else ("iu", "a whole number")
        return int(require(values, stamp.path, name, (), (1,), kinds=kinds).item())


def _named(root: Path, prefix: str) -> list[Path]:
    return [path for path in files.paths_in(root) if path.name.startswith(prefix)]


def _wrong(file: ArrayFile, expected: str) -> SessionFormatError:
    found = f"is {file.shape} {file.dtype}; {expected} expected"
    return files.bad_file(file.path, "wrong_shape", found)


# -- reader of trial trees of the digital twin (Wang et al. 2025)
LOOKED_FOR = ("stimuli/ and units/", "training_data/")
_SCAN = re.compile(rf"(?:{TRAINING}|{EVALUATION})[-_](\d+)[-_](\d+)[-_](\d+)$")
_NORMALISED = "s.d."
"""Unit of behaviour: standard deviations over the training trials."""


def tree_frames(stored: ArrayFile, first: int, stop: int, size: tuple[int, ...]) -> np.ndarray:
    """Return frames of a file (sample, height, width, 1)."""
    return stored.read(first, stop).reshape(-1, *size)


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
    cut = [trial.key for trial in trials if not trial.is_sound]
    if cut:
        notes.warn(
            "odd_trials",
            f"{len(cut)} trials are left out of windows, because responses are "
            f"missing at one of their ends ({listed(cut)})",
        )
    # All trials have the shapes of the first one.
    first = trials[0]
    assert first.responses is not None
    size = npy_file(first.frames.path).shape
    n_units = npy_file(first.responses.path).shape[1]
    rows = TrialRows(path, trials, line, n_units, has_time_first=True)
    responses = line.signal("responses", rows)
    stimulus = stimulus_of_trials(line, size[1:3], tree_frames, trials)
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
    )
    return finalise(session, options, notes)


def _behavior(
    path: Path, trials: Sequence[FileTrial], line: TimeLine, notes: Notes
) -> dict[str, Signal | None]:
    """Return gaze, pupil and running as stored, None where a tree has none."""
    gaze, state = (line.spread([getattr(t, kind) for t in trials]) for kind in ("eye", "running"))
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
