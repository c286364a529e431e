"""Files of a trial tree: one `.npy` per trial in a folder for each kind of data.

`training_data/` has the folders `training` (whether the trial is trained on), `samples`
(its number of frames), `stimuli`, `perspectives`, `modulations` and `units`, with files
of equal names. `evaluation_data/` has the last four, and in each a folder per clip with
one file per repeat. Layout and units: the public package of Wang et al. 2025.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.side_streams import read_side_stream
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.arrays.array_file import ArrayFile
from omnimouse_model.storage.arrays.npy import load_small_array, npy_file
from omnimouse_model.storage.files import FileStamp, bad_file, label, stamped_files

RATE_HZ = 30.0
"""Frames and samples per second, after the resampling of the release."""
TRAINING, EVALUATION = "training_data", "evaluation_data"
N_GAZE = N_STATE = 2
"""Columns of `perspectives` (pupil x, y) and `modulations` (pupil radius, running)."""
_ENDING = ".npy"
_INCOMPLETE = "was the download complete?"
_NEEDED, _OPTIONAL = ("stimuli", "units"), ("perspectives", "modulations")


@dataclass(frozen=True, slots=True, eq=False)
class TreeTrial:
    """Files of one trial, with equal numbers of samples.

    Attributes
    ----------
    key
        Name of the files, such as `trial7` or `video0/repeat3`.
    tier
        train, validation, or test for the repeats of `evaluation_data`.
    clip
        Name of the repeated clip, "" for a trial that is not repeated.
    length
        Number of samples.
    frames, responses
        Files uint8 (length, height, width[, 1]) and (length, neurons).
    gaze, state
        float64 (length, 2); None if the tree does not have them.
    is_cut
        Whether responses are missing in its first or last sample.
    """

    key: str
    tier: str
    clip: str
    length: int
    frames: FileStamp
    responses: FileStamp
    gaze: np.ndarray | None
    state: np.ndarray | None
    is_cut: bool


def tree_folders(root: Path) -> list[Path]:
    """Return the folders with training and evaluation data at a path, in this order.

    Both folders may have a name after `training_data` and `evaluation_data`, and each
    can be opened by itself. Links are skipped: they would lead out of the recording.
    """
    if _is_tree(root):
        return [root]
    if not root.is_dir():
        return []
    return [
        folder
        for prefix in (TRAINING, EVALUATION)
        for folder in sorted(root.glob(f"{prefix}*"))
        if not folder.is_symlink() and any((folder / k).is_dir() for k in _NEEDED)
    ]


def read_trials(root: Path, notes: Notes) -> list[TreeTrial]:
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
            raise SessionFormatError(
                root,
                "several_trees",
                f"{root.name} has several folders of {prefix}: {', '.join(names[:4])}",
                "open one of them, or one folder with one of each kind",
            )
    trials: list[TreeTrial] = []
    size: tuple[int, ...] | None = None
    faults = Notes()
    for folder in folders:
        tree = _Tree(folder, size, faults)
        trials += tree.trials()
        size = tree.size
    notes.warn_once("left_out_stream", [note.message for note in faults.warnings])
    if not trials:
        raise bad_file(folders[0] / "stimuli", "empty", "holds no trials")
    for kind, name in (("perspectives", "gaze"), ("modulations", "state")):
        n_missing = sum(getattr(trial, name) is None for trial in trials)
        if n_missing:
            notes.warn(
                "missing_behavior",
                f"{n_missing} of {len(trials)} trials have no {kind}",
            )
    return trials


def _note_links(root: Path, notes: Notes) -> None:
    """Warn of linked folders, which are not followed."""
    linked = [
        folder.name
        for prefix in (TRAINING, EVALUATION)
        for folder in sorted(root.glob(f"{prefix}*"))
        if folder.is_symlink()
    ]
    if linked:
        names = ", ".join(linked)
        notes.warn("linked_folder", f"{names} is a link and is not read: copy it here")


def frame_size(trials: list[TreeTrial]) -> tuple[int, int]:
    """Return height and width of the frames."""
    height, width = npy_file(trials[0].frames.path).shape[1:3]
    return int(height), int(width)


def n_units(trials: list[TreeTrial]) -> int:
    """Return the number of neurons."""
    return int(npy_file(trials[0].responses.path).shape[1])


class _Tree:
    """One folder of trials."""

    def __init__(self, root: Path, size: tuple[int, ...] | None, faults: Notes) -> None:
        self.root, self.faults = root, faults
        self.size = size
        """Height and width of the frames, and number of neurons."""
        # A download that lacks `training` must not be taken for repeats.
        self.is_training = (root / "training").is_dir() or root.name.startswith(TRAINING)
        for kind in _NEEDED:
            if not (root / kind).is_dir():
                raise bad_file(root, "missing_folder", f"has no folder {kind}", _INCOMPLETE)
        self.kinds = [
            *(("training", "samples") if self.is_training else ()),
            *_NEEDED,
            *(kind for kind in _OPTIONAL if (root / kind).is_dir()),
        ]

    def trials(self) -> list[TreeTrial]:
        if self.is_training:
            return self._trials("", "")
        # A link to another folder would lead out of the recording.
        clips = {
            entry.name
            for kind in self.kinds
            for entry in (self.root / kind).iterdir()
            if entry.is_dir() and not entry.is_symlink()
        }
        loose = self._names(stamped_files(self.root / "stimuli"))
        if loose:
            raise bad_file(
                self.root / "stimuli",
                "wrong_layout",
                f"has {min(loose)} beside its folders of clips",
                "training data need the folders training and samples; repeats of a "
                "clip lie in a folder of their own",
            )
        return [
            trial
            for clip in sorted(clips, key=_natural)
            for trial in self._trials(f"{clip}/", clip)
        ]

    def _trials(self, prefix: str, clip: str) -> list[TreeTrial]:
        listed = {kind: stamped_files(self.root / kind / clip) for kind in self.kinds}
        names = {name for files in listed.values() for name in self._names(files)}
        for kind, files in listed.items():
            missing = sorted(names - files.keys(), key=_natural)
            # Behaviour that is missing in a trial is NaN there.
            if missing and kind not in _OPTIONAL:
                more = f" and {len(missing) - 1} more" if missing[1:] else ""
                raise bad_file(
                    self.root / kind / clip,
                    "missing_trials",
                    f"has no {missing[0]}{more}, which other kinds of data have",
                    _INCOMPLETE,
                )
        return [
            self._trial(prefix, clip, name.removesuffix(_ENDING), listed)
            for name in sorted(names, key=_natural)
        ]

    def _names(self, files: Iterable[str]) -> set[str]:
        """Return the names of arrays; macOS adds hidden ones to archives."""
        return {n for n in files if n.endswith(_ENDING) and not n.startswith(".")}

    def _trial(
        self, prefix: str, clip: str, name: str, listed: dict[str, dict[str, FileStamp]]
    ) -> TreeTrial:
        stamps = {
            kind: files[name + _ENDING] for kind, files in listed.items() if name + _ENDING in files
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
            if declared != length:
                raise bad_file(
                    stamps["samples"].path,
                    "wrong_length",
                    f"is {declared}, but {label(frames.path)} has {length} frames",
                )
        ends = units.part(np.array([0, -1]))
        return TreeTrial(
            key=prefix + name,
            tier=tier,
            clip=clip,
            length=length,
            frames=stamps["stimuli"],
            responses=stamps["units"],
            gaze=self._behavior(stamps.get("perspectives"), (length, N_GAZE)),
            state=self._behavior(stamps.get("modulations"), (length, N_STATE)),
            is_cut=not bool(np.isfinite(ends).all()),
        )

    def _array(self, stamp: FileStamp) -> ArrayFile:
        return npy_file(stamp.path, self.root)

    def _behavior(self, stamp: FileStamp | None, shape: tuple[int, int]) -> np.ndarray | None:
        """Return the behaviour of a trial, None if it is missing or faulty."""
        if stamp is None:
            return None
        name = f"{stamp.path.parent.name} of {stamp.path.stem}"
        return read_side_stream(name, lambda _: self._numbers(stamp, shape), self.faults)

    def _numbers(self, stamp: FileStamp, shape: tuple[int, int]) -> np.ndarray:
        values = load_small_array(stamp.path, self.root)
        if values.dtype.kind != "f" or values.shape != shape:
            found = f"is {values.shape} {values.dtype}; {shape} numbers expected"
            raise bad_file(stamp.path, "wrong_shape", found)
        return values.astype(np.float64)

    def _single(self, stamp: FileStamp, kind: type) -> int:
        """Read a file that holds one number, or one true or false value."""
        values = load_small_array(stamp.path, self.root)
        kinds = "b" if kind is bool else "iu"
        if values.dtype.kind not in kinds or values.shape not in ((), (1,)):
            name = "true or false" if kind is bool else "a whole number"
            found = f"is {values.shape} {values.dtype}; {name} expected"
            raise bad_file(stamp.path, "wrong_shape", found)
        return int(values.item())


def _is_tree(folder: Path) -> bool:
    return all((folder / kind).is_dir() for kind in _NEEDED)


def _wrong(file: ArrayFile, expected: str) -> SessionFormatError:
    found = f"is {file.shape} {file.dtype}; {expected} expected"
    return bad_file(file.path, "wrong_shape", found)


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts `trial2` before `trial10`."""
    parts = re.split(r"(\d{1,18})", name)
    return [(int(p), "") if p.isdecimal() else (-1, p) for p in parts]
