"""The visual stimulus: frame slots on the session's clock, and the trial table with its tiers.

Recordings that name no tier are divided into train and test: in general into early and
late time, spiking recordings of trials into trials at random. The division belongs to the
recording and is the same for every model, so that scores of models with other windows are
comparable. Its pause and its unit are OmniMouse's window of 2 s.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64, Shaped

from omnimouse_model.data.clock import Interval, frame_slot, full_window_starts, grid_points
from omnimouse_model.data.window_spec import WINDOW_S
from omnimouse_model.storage.arrays.npy import stamped_array
from omnimouse_model.storage.arrays.rows import ArrayFile
from omnimouse_model.storage.files import FileStamp, bad_file, unreadable


def fit_video(
    frames: Shaped[np.ndarray, "time ..."], size: tuple[int, int]
) -> Shaped[np.ndarray, "time height width"]:
    """Return gray frames (time, *size); frames of that size stay as they are."""
    if frames.ndim == 4:
        # The reference package cannot rescale colours. The plain mean assumes nothing
        # about the screen.
        frames = np.asarray(frames.mean(axis=3, dtype=np.float32))
    if frames.shape[1:] == size:
        return frames
    return rescale_area(frames, size)


def rescale_area(
    frames: Shaped[np.ndarray, "time height width"], size: tuple[int, int]
) -> Float32[np.ndarray, "time new_height new_width"]:
    """Average frames (time, height, width) over areas to another size, float32.

    Every new pixel is the mean of the stored image over its area, with fractional
    weights at the borders.
    """
    rows = _area_weights(frames.shape[1], size[0])
    columns = _area_weights(frames.shape[2], size[1])
    scaled = np.einsum("ih,thw,jw->tij", rows, frames, columns, optimize=True)
    return np.asarray(scaled, np.float32)


@lru_cache(maxsize=16)
def _area_weights(stored: int, new: int) -> np.ndarray:
    """(new, stored) share of every stored pixel in every new one; rows sum to 1."""
    edges = np.arange(new + 1) * (stored / new)
    low = np.maximum(edges[:-1, None], np.arange(stored)[None, :])
    high = np.minimum(edges[1:, None], np.arange(1, stored + 1)[None, :])
    return np.clip(high - low, 0.0, None) * (new / stored)


BLANK_TIER = "blank"
COMMON_TIERS = frozenset(
    {"train", "validation", "test", "oracle", "none", BLANK_TIER}
    | {"final_test", "final_test_1", "final_test_2", "final_test_3"}
    | {"final_test_main", "final_test_bonus", "live_test_main", "live_test_bonus"}
)
"""Names of tiers in the released recordings and the competitions.

Any session accepts them: one without such trials has no windows of that tier.
"""
MEAN_GRAY = 113.0
"""The gray level of which the normalised value is 0."""


TRIAL_COLUMNS: dict[str, type] = {
    **dict.fromkeys(("key", "kind", "tier"), np.str_),
    **dict.fromkeys(("first_slot", "n_slots"), np.int32),
    **dict.fromkeys(("t_on", "t_off"), np.float64),
    "readable": np.bool_,
    "blank_value": np.float32,
    **dict.fromkeys(("stim_id", "trial_idx", "valid_trial"), np.str_),
}
"""Columns of the trial table and their types."""


@dataclass(frozen=True, slots=True, eq=False)
class Trials:
    """The trial table, one row per trial in stored order.

    Attributes
    ----------
    key
        str (n,) stored name, such as `00012`.
    kind
        str (n,): video, image, blank or invalid; none without a screen.
    tier
        str (n,) split name, verbatim; "blank" if the session gives none.
    first_slot, n_slots
        int32 (n,) frame slots of the trial.
    t_on, t_off
        float64 (n,) seconds on the session clock; a trial ends where the next begins,
        the last one with the last slot.
    readable
        bool (n,): frames can be read; windows avoid the other trials.
    blank_value
        float32 (n,) gray level of a synthetic frame, NaN for trials with a file.
    stim_id, trial_idx
        str (n,) condition hash or name, and number in the experiment, "" if unknown.
    valid_trial
        str (n,): "True", "False" or "blank" if the session does not state it.
    extra
        All other stored fields, per trial.
    """

    key: np.ndarray
    kind: np.ndarray
    tier: np.ndarray
    first_slot: np.ndarray
    n_slots: np.ndarray
    t_on: np.ndarray
    t_off: np.ndarray
    readable: np.ndarray
    blank_value: np.ndarray
    stim_id: np.ndarray
    trial_idx: np.ndarray
    valid_trial: np.ndarray
    extra: tuple[dict[str, Any], ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.key)

    @property
    def columns(self) -> dict[str, list[Any]]:
        """Columns by name, None where a trial has none: the stored fields, and its own.

        The fields of every table (`stim_id`, `kind`, `tier`), which plain arrays have
        too, come last.
        """
        extra = self.extra or ({},) * len(self)
        names = dict.fromkeys(name for fields in extra for name in fields)
        columns = {str(name): [fields.get(name) for fields in extra] for name in names}
        own = {"stim_id": self.stim_id, "kind": self.kind, "tier": self.tier}
        return columns | {k: v.tolist() for k, v in own.items() if k not in columns}

    @classmethod
    def of(cls, *, extra: Sequence[dict[str, Any]] = (), **columns: Any) -> "Trials":
        """Return a table with columns of their types; omitted ones have usual values.

        These are those of trials without frames, which may lie in windows.
        """
        n = len(columns["t_on"])
        usual: dict[str, Any] = {
            **{"key": [f"{k:05d}" for k in range(n)], "kind": "none", "tier": BLANK_TIER},
            **dict.fromkeys(("first_slot", "n_slots"), 0),
            **{"readable": True, "blank_value": np.nan, "valid_trial": "blank"},
        }
        typed: dict[str, Any] = {
            name: np.broadcast_to(columns.pop(name, usual.get(name, "")), n).astype(kind)
            for name, kind in TRIAL_COLUMNS.items()
        }
        return cls(**typed, extra=tuple(extra), **columns)

    @classmethod
    def none(cls) -> "Trials":
        """An empty table, for a session without trials."""
        return cls.of(t_on=(), t_off=())


@runtime_checkable
class VideoSource(Protocol):
    """Frames of trials, read on demand; can be pickled."""

    def has(self, trial: int) -> bool:
        """Whether a trial has stored frames; other trials are uniform gray."""

    def check(self) -> None:
        """Raise `SessionFormatError` if a file is missing or has changed."""

    def read(self, trial: int, first: int, stop: int, size: tuple[int, ...]) -> np.ndarray:
        """Frames `first` to `stop` of a trial that has frames, as stored.

        (n, *size), or of the trial's own size where the trials of a session differ.
        """


@dataclass(frozen=True, slots=True, eq=False)
class Stimulus:
    """Frames by slot, read on demand.

    Attributes
    ----------
    slot_t
        float64 (F,) native onset of every frame slot, strictly increasing.
    slot_trial, slot_frame
        int32 (F,) trial of every slot, and frame within it.
    size
        (height, width) or (height, width, 3) of the session's frames; of the largest
        ones where trials differ.
    source
        The frames of the trials.
    trials
        The trial table.
    """

    slot_t: Float64[np.ndarray, " slot"]
    slot_trial: Int32[np.ndarray, " slot"]
    slot_frame: Int32[np.ndarray, " slot"]
    size: tuple[int, ...]
    source: VideoSource = field(repr=False)
    trials: Trials = field(repr=False)

    def valid_interval(self) -> Interval:
        """Native span from the first slot to the last."""
        return Interval(float(self.slot_t[0]), float(self.slot_t[-1]))

    def sample(
        self, times: Float64[np.ndarray, " time"]
    ) -> tuple[Float32[np.ndarray, "valid ..."], Int64[np.ndarray, " valid"]]:
        """Frames at the valid native times, unscaled 0-255, and their indices.

        Returns
        -------
        frames float32 (n, *size) and valid int64 (n,), indices into `times`.
        """
        times = np.asarray(times, np.float64)
        valid = np.flatnonzero(self.valid_interval().contains(times))
        if not len(valid):
            return np.zeros((0, *self.size), np.float32), valid
        slots = frame_slot(times[valid], self.slot_t)
        # `frames` needs ascending slots; times may be in any order.
        order = np.argsort(slots, kind="stable")
        frames = np.empty((len(slots), *self.size), np.float32)
        frames[order] = self.frames(slots[order])
        return frames, valid

    def frame(self, slot: int) -> np.ndarray:
        """One frame as stored: uint8 or float, (height, width[, 3])."""
        return self.frames(np.array([slot]))[0]

    def frames(
        self, slots: Int64[np.ndarray, " time"], size: tuple[int, int] | None = None
    ) -> Shaped[np.ndarray, "time ..."]:
        """Frames of ascending slots, uint8 when all are whole grays, else float32.

        Gray and averaged to a size if one is given: once, from the frames as stored.
        """
        if not len(slots):
            return np.zeros((0, *(size or self.size)), np.uint8)
        trials, frames = self.slot_trial[slots], self.slot_frame[slots]
        # Most windows lie in one trial, of which no copy is made.
        if trials[0] == trials[-1]:
            return self._at_size(self._part(int(trials[0]), frames), size)
        changes = (np.flatnonzero(trials[1:] != trials[:-1]) + 1).tolist()
        parts = [
            self._part(int(trials[begin]), frames[begin:end])
            for begin, end in pairwise([0, *changes, len(slots)])
        ]
        if len({part.shape[1:] for part in parts}) > 1:
            parts = [self._at_size(part, size) for part in parts]
        # float32 only if needed: it takes four times the memory of uint8.
        is_byte = all(part.dtype == np.uint8 for part in parts)
        joined = np.concatenate(parts, dtype=np.uint8 if is_byte else np.float32)
        return self._at_size(joined, size)

    def trial_frames(self, trial: int, first: int, stop: int) -> np.ndarray:
        """Frames `first` to `stop` of a trial with frames, at the session's size."""
        return self._at_size(self.source.read(trial, first, stop, self.size), None)

    def _at_size(self, frames: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
        if size is None and frames.shape[1:] == self.size:
            return frames
        height, width = size or self.size[:2]
        return fit_video(frames, (height, width))

    def _part(self, trial: int, frames: np.ndarray) -> np.ndarray:
        if not self.source.has(trial):
            gray = float(self.trials.blank_value[trial])
            gray = MEAN_GRAY if np.isnan(gray) else gray
            is_byte = gray.is_integer() and 0 <= gray <= 255
            return np.full((len(frames), *self.size), gray, np.uint8 if is_byte else np.float32)
        first, last = int(frames[0]), int(frames[-1])
        stored = self.source.read(trial, first, last + 1, self.size)
        if last - first + 1 == len(frames) and (frames[1:] > frames[:-1]).all():
            return stored
        return stored[frames - first]


ONE_SIZE = "all frames of a session must have one size"


def frame_shape(stored: tuple[int, ...], size: tuple[int, ...], path: Path) -> tuple[int, ...]:
    """(frames, *size) for a stored shape; one image may lack its first axis."""
    if stored == size:
        return (1, *size)
    if len(stored) == len(size) + 1 and stored[1:] == size:
        return stored
    problem = f"holds frames of shape {stored}, the session's are {size}"
    raise bad_file(path, "bad_trials", problem, ONE_SIZE)


FramesOf = Callable[[ArrayFile, int, int, tuple[int, ...]], np.ndarray]
"""Frames from first to stop, of a size, that the array of a trial holds."""


def frames_first(array: ArrayFile, first: int, stop: int, size: tuple[int, ...]) -> np.ndarray:
    """Return frames of an array (frame, *size), or the one that it is."""
    shape = frame_shape(array.shape, size, array.path)
    if stop > shape[0]:
        raise unreadable(array.path, EOFError(f"it ends after {shape[0]} frames"))
    return array.read(first, stop) if array.shape == shape else array.open()[None]


@dataclass(frozen=True, slots=True, eq=False)
class TrialFiles:
    """Frames in one `.npy` per trial; see `VideoSource`.

    Attributes
    ----------
    files
        One per trial, None for blanks, unreadable trials and holes.
    frames
        Function that reads frames of such a file.
    """

    files: tuple[FileStamp | None, ...]
    frames: FramesOf = frames_first

    def check(self) -> None:
        """Raise `SessionFormatError` if a file is missing or has changed."""
        for file in dict.fromkeys(self.files):
            if file is not None:
                file.check()

    def has(self, trial: int) -> bool:
        """Whether a trial has a file."""
        return self.files[trial] is not None

    def read(self, trial: int, first: int, stop: int, size: tuple[int, ...]) -> np.ndarray:
        """Frames `first` to `stop` of a trial's file, (n, *size) as stored."""
        file = self.files[trial]
        if file is None:
            raise KeyError(f"Trial {trial} has no frames of its own.")
        return self.frames(stamped_array(file), first, stop, size)


TRAIN_SHARE = 0.8
SPLIT_NOTE = (
    "no tiers: the first four fifths of the time are train, the rest, after a pause "
    f"of {WINDOW_S:g} s, test"
)
NO_TIER = frozenset({"", "unknown", "none", "nan"})
"""Entries of files, in lower case, for a trial without a tier."""


def has_tiers(tier: np.ndarray) -> bool:
    """Whether any of the trials (n,) has a tier."""
    names = {name.strip().lower() for name in tier.tolist()}
    return bool(names - NO_TIER - {BLANK_TIER})


def early_and_late(grid: np.ndarray, inside: np.ndarray) -> dict[str, np.ndarray]:
    """Native span (1, 2) of train and of test time; {} if either has no window.

    Parameters
    ----------
    grid, inside
        Times at which frames of windows lie, and which of them windows may touch.
    """
    length = grid_points(WINDOW_S)
    starts = full_window_starts(inside, length)
    if not len(starts):
        return {}
    cut = int(starts[int(TRAIN_SHARE * len(starts))])
    if starts[0] > cut - length or starts[-1] < cut + length:
        return {}
    # Activity is correlated over seconds: the pause keeps test apart from train.
    after = float(grid[cut + length])
    return {"train": np.array([[grid[0], grid[cut]]]), "test": np.array([[after, np.inf]])}


def random_tiers(n_trials: int, seed: int) -> np.ndarray:
    """Tier str (n_trials,) of each trial: train, validation and test, 8:1:1.

    The order comes from hashes, so that it is the same in every version of NumPy.
    """
    keys = [
        blake2b(f"{seed} {trial}".encode(), digest_size=8).digest() for trial in range(n_trials)
    ]
    order = sorted(range(n_trials), key=keys.__getitem__)
    tiers = np.full(n_trials, "train", "<U10")
    held_out = n_trials // 10
    tiers[order[:held_out]] = "test"
    tiers[order[held_out : 2 * held_out]] = "validation"
    return tiers
