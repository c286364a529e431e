"""What was on the screen: frame slots on the session's clock, and the trial table."""

import os
from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64, Shaped

from omnimouse_model.data.clock import Interval, frame_slot
from omnimouse_model.data.io.file_stamp import SeenFile
from omnimouse_model.data.io.safe_files import open_binary, read_npy_header
from omnimouse_model.errors import SessionFormatError

BLANK_TIER = "blank"
MEAN_GRAY = 113.0
"""The level that normalised video has at 0."""
_KEPT_FRAMES = 96


@dataclass(frozen=True, slots=True, eq=False)
class Trials:
    """The trial table, one row per trial in stored order.

    Attributes
    ----------
    key
        str (n,) stored name, as `00012`.
    kind
        str (n,): video, image, blank or invalid; none where there is no screen.
    tier
        str (n,) split name, verbatim; "blank" where the session gives none.
    first_slot, n_slots
        int32 (n,) frame slots of the trial.
    t_on, t_off
        float64 (n,) seconds on the session clock; a trial ends where the next begins,
        the last one with the last slot.
    readable
        bool (n,): its frames can be shown; others are left out of windows.
    blank_value
        float32 (n,) gray level of a synthetic frame, NaN for trials with a file.
    stim_id, trial_idx
        str (n,) condition hash or name, and number in the experiment, "" if unknown.
    valid_trial
        str (n,): "True", "False" or "blank" where the session does not say.
    extra
        Everything else that was stored, per trial.
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

    @classmethod
    def none(cls) -> "Trials":
        """An empty table, for a session without a screen."""
        text, number = np.zeros(0, "U1"), np.zeros(0)
        whole, yes = np.zeros(0, np.int32), np.zeros(0, bool)
        gray = np.zeros(0, np.float32)
        return cls(
            *(text, text, text, whole, whole, number, number),
            *(yes, gray, text, text, text),
        )


@runtime_checkable
class Film(Protocol):
    """Where the frames of trials are; safe to pickle."""

    def has(self, trial: int) -> bool:
        """Whether a trial has stored frames; others are shown as plain gray."""
        ...

    def check(self) -> None:
        """Raise `SessionFormatError` where a file is gone, or changed since."""
        ...

    def read(
        self, trial: int, first: int, stop: int, size: tuple[int, ...]
    ) -> np.ndarray:
        """Frames `first` to `stop` of a trial that has some, (n, *size) as stored."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Stimulus:
    """Frames by slot, read where they are when asked.

    Attributes
    ----------
    slot_t
        float64 (F,) native onset of every frame slot, strictly increasing.
    slot_trial, slot_frame
        int32 (F,) trial of every slot, and frame within it.
    size
        (height, width) or (height, width, 3) of the session's frames.
    film
        Where the frames of the trials are.
    trials
        The trial table.
    """

    slot_t: Float64[np.ndarray, " slot"]
    slot_trial: Int32[np.ndarray, " slot"]
    slot_frame: Int32[np.ndarray, " slot"]
    size: tuple[int, ...]
    film: Film = field(repr=False)
    trials: Trials = field(repr=False)

    def valid_interval(self) -> Interval:
        """Native span from the first slot to the last."""
        return Interval(float(self.slot_t[0]), float(self.slot_t[-1]))

    def sample(
        self, times: Float64[np.ndarray, " time"]
    ) -> tuple[Float32[np.ndarray, "valid ..."], Int64[np.ndarray, " valid"]]:
        """Frames at the valid native times, unscaled 0-255, and which times those are.

        Returns
        -------
        frames float32 (n, *size) and valid int64 (n,), indices into `times`.
        """
        times = np.asarray(times, np.float64)
        valid = np.flatnonzero(self.valid_interval().contains(times))
        if not len(valid):
            return np.zeros((0, *self.size), np.float32), valid
        slots = frame_slot(times[valid], self.slot_t)
        order = np.argsort(slots, kind="stable")
        frames = np.empty((len(slots), *self.size), np.float32)
        frames[order] = self.frames(slots[order])
        return frames, valid

    def frame(self, slot: int) -> np.ndarray:
        """One frame as stored: uint8 or float, (height, width[, 3])."""
        shown: np.ndarray = self.frames(np.array([slot]))[0]
        return shown

    def frames(
        self, slots: Int64[np.ndarray, " time"]
    ) -> Shaped[np.ndarray, "time ..."]:
        """Frames of ascending slots, uint8 when all are whole grays, else float32."""
        if not len(slots):
            return np.zeros((0, *self.size), np.uint8)
        trials, frames = self.slot_trial[slots], self.slot_frame[slots]
        if trials[0] == trials[-1]:
            return self._part(int(trials[0]), frames)
        changes = (np.flatnonzero(trials[1:] != trials[:-1]) + 1).tolist()
        parts = [
            self._part(int(trials[begin]), frames[begin:end])
            for begin, end in pairwise([0, *changes, len(slots)])
        ]
        if all(part.dtype == np.uint8 for part in parts):
            return np.concatenate(parts)
        return np.concatenate([part.astype(np.float32) for part in parts])

    def _part(self, trial: int, frames: np.ndarray) -> np.ndarray:
        if not self.film.has(trial):
            return self._plain(trial, len(frames))
        first, last = int(frames[0]), int(frames[-1])
        stored = self.film.read(trial, first, last + 1, self.size)
        if last - first + 1 == len(frames) and (np.diff(frames) == 1).all():
            return stored
        shown: np.ndarray = stored[frames - first]
        return shown

    def _plain(self, trial: int, count: int) -> np.ndarray:
        gray = float(self.trials.blank_value[trial])
        gray = MEAN_GRAY if np.isnan(gray) else gray
        whole = gray.is_integer() and 0 <= gray <= 255
        return np.full((count, *self.size), gray, np.uint8 if whole else np.float32)


class TrialFiles:
    """A film of one `.npy` per trial; remembers where the data of a file begin.

    Parameters
    ----------
    files
        One per trial, None for blanks and unreadable trials.
    """

    def __init__(self, files: tuple[SeenFile | None, ...]) -> None:
        self._files = files
        self._known: OrderedDict[Path, tuple[Any, ...]] = OrderedDict()
        self._lock = Lock()

    def __reduce__(self) -> tuple[type["TrialFiles"], tuple[Any, ...]]:
        return TrialFiles, (self._files,)

    def check(self) -> None:
        """Raise where a file is gone or changed."""
        for file in dict.fromkeys(self._files):
            if file is not None:
                file.check()

    def has(self, trial: int) -> bool:
        """Whether a trial has a file."""
        return self._files[trial] is not None

    def read(
        self, trial: int, first: int, stop: int, size: tuple[int, ...]
    ) -> np.ndarray:
        """Frames `first` to `stop` of a trial's file, (n, *size) as stored."""
        file = self._files[trial]
        if file is None:
            raise KeyError(f"Trial {trial} has no frames of its own.")
        path = file.path
        with open_binary(path) as stream:
            file.check(os.fstat(stream.fileno()))
            shape, fortran, dtype, offset = self._layout(stream, path, size)
            if fortran:
                return _fortran_frames(path, shape, dtype, offset)[first:stop]
            frame_bytes = int(np.prod(size)) * dtype.itemsize
            wanted = (stop - first) * frame_bytes
            try:
                stream.seek(offset + first * frame_bytes)
                data = stream.read(wanted)
            except OSError as error:
                raise _lost(path, error.strerror or str(error)) from error
        if len(data) != wanted:
            raise _lost(path, f"{len(data)} bytes of {wanted}")
        return np.frombuffer(data, dtype).reshape(stop - first, *size)

    def _layout(
        self, stream: Any, path: Path, size: tuple[int, ...]
    ) -> tuple[Any, ...]:
        with self._lock:
            known = self._known.get(path)
        if known is not None:
            return known
        shape, fortran, dtype, offset = read_npy_header(stream, path)
        shape = frame_shape(shape, size, path)
        with self._lock:
            self._known[path] = (shape, fortran, dtype, offset)
            while len(self._known) > _KEPT_FRAMES:
                self._known.popitem(last=False)
        return shape, fortran, dtype, offset


def frame_shape(
    stored: tuple[int, ...], size: tuple[int, ...], path: Path
) -> tuple[int, ...]:
    """(frames, *size) for a stored shape; one image may lack its first axis."""
    if stored == size:
        return (1, *size)
    if len(stored) == len(size) + 1 and stored[1:] == size:
        return stored
    raise SessionFormatError(
        path,
        "bad_trials",
        f"{path.name} holds frames of shape {stored}, the session's are {size}",
        "all frames of a session must have one size",
    )


def _fortran_frames(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], offset: int
) -> np.ndarray:
    try:
        return np.memmap(path, dtype, "r", offset, shape, "F")
    except (OSError, ValueError) as error:
        raise _lost(path, str(error)) from error


def _lost(path: Path, found: str) -> SessionFormatError:
    return SessionFormatError(
        path,
        "unreadable",
        f"{path.name} cannot be read: {found}",
        "did it change, or is its drive gone? open the session again",
    )
