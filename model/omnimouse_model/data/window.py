"""A 2-s window of a session, at the model's rates and normalised as it sees them."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8

from omnimouse_model.data.clock import (
    BEHAVIOR_RATE_HZ,
    N_BEHAVIOR,
    N_FRAMES,
    N_SAMPLES,
    RESPONSE_RATE_HZ,
    SCREEN_RATE_HZ,
    frame_slot,
    times_at,
    window_times,
)
from omnimouse_model.data.edit_protocol import (
    BehaviorEdit,
    Channel,
    Edit,
    Read,
    VideoEdit,
)
from omnimouse_model.data.frames import fit_video
from omnimouse_model.data.stimulus import MEAN_GRAY
from omnimouse_model.data.window_spec import VIDEO_SIZE

if TYPE_CHECKING:
    from omnimouse_model.data.session import Session

SCREEN_MEAN = np.float32(MEAN_GRAY)
SCREEN_STD = np.float32(59.0)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Window:
    """Sixty response samples, sixty frames and forty behaviour samples.

    Arrays are read when first asked for and then kept; they must not be written to.
    Positions outside a stream hold 0 and are False in `valid`. Missing values of
    behaviour, and frames with missing values, also hold 0 and are False; a missing
    (NaN) response stays NaN.

    Parameters
    ----------
    session
        Whose window it is.
    start_index
        Where it begins on `session.start_grid`.
    edits
        What was changed of its video and behaviour, in this order; nothing by
        default. Its responses were recorded without them.

    Examples
    --------
    >>> window = session.window(20.0)
    >>> window.responses.shape, window.video.shape, window.behavior.shape
    ((60, 40), (60, 36, 64), (40, 5))
    >>> bool(window.valid["video"].all())
    True
    """

    session: "Session"
    start_index: int
    edits: tuple[Edit, ...] = ()
    _cache: dict[str, Any] = field(default_factory=dict, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return Window, (self.session, self.start_index, self.edits)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Window) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    @property
    def key(self) -> Hashable:
        """What tells windows apart: session id, start index, and edits if any."""
        place = (self.session.id, self.session.fingerprint, self.start_index)
        return (*place, self.edits) if self.edits else place

    @property
    def native_start(self) -> float:
        """Start in the session's native clock."""
        return float(self.session.start_grid[self.start_index])

    @property
    def start_s(self) -> float:
        """Start on the session clock, seconds."""
        return self.native_start - self.session.t0

    # -- what the model sees ----------------------------------------------------
    @property
    def responses(self) -> Float32[np.ndarray, "60 neuron"]:
        """float32 (60, P): responses / max(std, 1)."""
        return self.stream("responses")[0]

    @property
    def video(self) -> Float32[np.ndarray, "60 36 64"]:
        """float32 (60, 36, 64): (gray - 113) / 59."""
        if "video" not in self._cache:
            frames, valid = self._frames()
            with np.errstate(over="ignore"):
                video = frames.astype(np.float32)
            video -= SCREEN_MEAN
            video /= SCREEN_STD
            if not valid.all():
                video[~valid] = 0.0
            self._cache["video"] = video
        video_read: np.ndarray = self._cache["video"]
        return video_read

    @property
    def behavior(self) -> Float32[np.ndarray, "40 channel"]:
        """float32 (40, C): z-scored eye tracker columns, then running."""
        if "behavior" not in self._cache:
            parts = [self.stream(name)[0] for name in self._behavior_streams()]
            empty = np.zeros((N_BEHAVIOR, 0), np.float32)
            self._cache["behavior"] = np.concatenate([empty, *parts], axis=1)
        behavior: np.ndarray = self._cache["behavior"]
        return behavior

    @property
    def valid(self) -> dict[str, Bool[np.ndarray, " time"]]:
        """bool over time for "responses" (60,), "video" (60,), "behavior" (40,)."""
        streams = self._behavior_streams()
        behavior = np.full(N_BEHAVIOR, bool(streams))
        for name in streams:
            behavior &= self.stream(name)[1]
        return {
            "responses": self.stream("responses")[1],
            "video": self._frames()[1],
            "behavior": behavior,
        }

    @property
    def timestamps(self) -> dict[str, Float32[np.ndarray, " time"]]:
        """float32 seconds since the first response sample, per stream there is."""
        zero = self.session.t0
        fast = (self.times("screen") - zero).astype(np.float32)
        slow = (self.times("treadmill") - zero).astype(np.float32)
        return {
            name: slow if name in self.session.behavior else fast
            for name in self.session.streams
        }

    @property
    def frames_u8(self) -> UInt8[np.ndarray, "60 36 64"]:
        """uint8 (60, 36, 64): the frames for display."""
        return _grays(self._frames()[0])

    def frames_at(
        self, positions: Int64[np.ndarray, " time"]
    ) -> tuple[UInt8[np.ndarray, "time 36 64"], Bool[np.ndarray, " time"]]:
        """Frames for display as recorded at positions of the window and beyond it.

        Returns
        -------
        frames uint8 (n, 36, 64) and valid bool (n,); frames outside the video are 0.
        """
        frames, valid = self._shown(positions)
        return _grays(frames), valid

    def stream(
        self, name: str
    ) -> tuple[Float32[np.ndarray, "time column"], Bool[np.ndarray, " time"]]:
        """Normalised values (time, column) of one sampled stream, and bool (time,).

        Streams are "responses", "eye_tracker" and "treadmill".
        """
        if name not in self._cache:
            self._cache[name] = self._normalised(name)
        read: tuple[np.ndarray, np.ndarray] = self._cache[name]
        return read

    def times(self, stream: str) -> Float64[np.ndarray, " time"]:
        """Native sample times of a stream in this window, float64."""
        rate, count = _SAMPLING[stream]
        key = f"times {count}"
        if key not in self._cache:
            self._cache[key] = window_times(self.native_start, rate, count)
        times: np.ndarray = self._cache[key]
        return times

    # -- reading ----------------------------------------------------------------
    def _behavior_streams(self) -> list[str]:
        behavior = self.session.behavior
        return [n for n in ("eye_tracker", "treadmill") if behavior.get(n) is not None]

    def _normalised(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        session = self.session
        if name == "responses":
            times = self.times(name)
            return session.responses.window(times, session.response_scale)
        told: Read = partial(self._told, name)
        for edit in self.edits:
            if isinstance(edit, BehaviorEdit):
                told = edit.on_behavior(told, self._channels(name))
        return told(np.arange(N_BEHAVIOR))

    def _channels(self, name: str) -> tuple[Channel, ...]:
        """The channels of one stream of behaviour."""
        session, names = self.session, list(self.session.behavior_names)
        means, stds = session.behavior_statistics(name)
        if name == "treadmill":
            names = names[-len(means) :]
        rows = zip(names, means, stds, strict=False)
        return tuple(Channel(n, float(mean), float(std)) for n, mean, std in rows)

    @np.errstate(over="ignore", invalid="ignore")
    def _told(self, name: str, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Behaviour as recorded at some positions, z-scored."""
        session, times = self.session, self._times_at(name, positions)
        signal = session.behavior[name]
        if signal is None:
            raise KeyError(f"Session '{session.id}' has no '{name}'.")
        mean, std = session.behavior_statistics(name)
        values, valid = signal.window(times)
        values -= mean
        values /= std
        told = np.isfinite(values).all(axis=1) & valid
        if not told.all():
            values = without_missing(values)
            values[~valid] = 0.0
        return values, told

    def _frames(self) -> tuple[np.ndarray, np.ndarray]:
        if "frames" not in self._cache:
            self._cache["frames"] = self._read_frames()
        read: tuple[np.ndarray, np.ndarray] = self._cache["frames"]
        return read

    def _read_frames(self) -> tuple[np.ndarray, np.ndarray]:
        shown: Read = self._shown
        for edit in self.edits:
            if isinstance(edit, VideoEdit):
                shown = edit.on_video(shown, self._clip_at)
        return shown(np.arange(N_FRAMES))

    def _clip_at(self, start_s: float) -> Read:
        """What reads the frames of the window at another time, as recorded."""
        other: Read = self.session.window(start_s)._shown
        return other

    def _times_at(self, stream: str, positions: np.ndarray) -> np.ndarray:
        rate, count = _SAMPLING[stream]
        at = positions.astype(np.float64)
        return times_at(at, self.native_start, rate, count)

    def _shown(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Frames as recorded at some positions."""
        stimulus, count = self.session.stimulus, len(positions)
        if stimulus is None:
            nothing = np.zeros((count, *VIDEO_SIZE), np.uint8)
            return nothing, np.zeros(count, bool)
        times = self._times_at("screen", positions)
        inside = stimulus.valid_interval().contains(times)
        slots = frame_slot(times[inside], stimulus.slot_t)
        valid = inside.copy()
        valid[inside] = stimulus.trials.readable[stimulus.slot_trial[slots]]
        shown = fit_video(stimulus.frames(slots))
        if shown.dtype.kind == "f":
            valid[inside] &= np.isfinite(shown).all(axis=(1, 2))
        if len(shown) == count:
            return shown, valid
        frames = np.zeros((count, *VIDEO_SIZE), shown.dtype)
        frames[inside] = shown
        return frames, valid


def _grays(frames: np.ndarray) -> np.ndarray:
    """Frames as they are shown: whole grays, 0 to 255."""
    if frames.dtype == np.uint8:
        return frames
    told = np.nan_to_num(frames, nan=0.0, posinf=255.0, neginf=0.0)
    return np.asarray(np.clip(np.rint(told), 0, 255), np.uint8)


def without_missing(values: np.ndarray) -> np.ndarray:
    """Put 0 in place of values that are missing (NaN or infinite), in a copy."""
    return np.asarray(np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0))


_SAMPLING = {
    "screen": (SCREEN_RATE_HZ, N_FRAMES),
    "responses": (RESPONSE_RATE_HZ, N_SAMPLES),
    "eye_tracker": (BEHAVIOR_RATE_HZ, N_BEHAVIOR),
    "treadmill": (BEHAVIOR_RATE_HZ, N_BEHAVIOR),
}
