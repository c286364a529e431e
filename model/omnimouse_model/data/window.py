"""A window of a session: its streams over one time span, as one model reads them."""

from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, Shaped, UInt8

from omnimouse_model.data.clock import (
    BEHAVIOR_RATE_HZ,
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
from omnimouse_model.data.window_spec import OMNIMOUSE, VIDEO_SIZE, WindowSpec
from omnimouse_model.errors import UnsupportedRequestError

if TYPE_CHECKING:
    from omnimouse_model.data.session import Session

SCREEN_MEAN = np.float32(MEAN_GRAY)
SCREEN_STD = np.float32(59.0)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Window:
    """Responses, video and behaviour of a session over one time span.

    The spec gives rates, sizes and channels. Arrays are read when they are first used
    and then cached; they must not be written to. Positions outside a stream hold 0 and
    are False in `valid`. Missing values of behaviour, and frames with missing values,
    also hold 0 and are False; a missing (NaN) response stays NaN.

    Parameters
    ----------
    session
        The recording.
    start_index
        Point of `session.start_grid` at which the window begins, or the nearest point
        where `exact_start` is set.
    edits
        Changes of video and behaviour, applied in this order; none by default. The
        responses were recorded without them.
    spec
        Duration, rates and sizes.
    exact_start
        Start in native time of a window that does not begin on the grid: one that is
        aligned to a trial, and the warm-up before a window.

    Examples
    --------
    >>> window = session.window(start_s=12.0)
    >>> window.responses.shape, window.video.shape
    ((60, 40), (60, 36, 64))
    """

    session: "Session"
    start_index: int
    edits: tuple[Edit, ...] = ()
    spec: WindowSpec = OMNIMOUSE
    exact_start: float | None = None
    _cache: dict[str, Any] = field(default_factory=dict, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return Window, (self.session, *self.place)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Window) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    @property
    def place(self) -> tuple[int, tuple[Edit, ...], WindowSpec, float | None]:
        """Arguments of `Window` after the session: small enough for a message."""
        return self.start_index, self.edits, self.spec, self.exact_start

    @property
    def key(self) -> Hashable:
        """Identity of a window: session, start, and edits and spec if not the usual."""
        key: tuple[Hashable, ...] = (
            self.session.id,
            self.session.fingerprint,
            self.start_index,
        )
        if self.edits:
            key = (*key, self.edits)
        if self.spec != OMNIMOUSE or self.exact_start is not None:
            key = (*key, self.spec, self.exact_start)
        return key

    @property
    def native_start(self) -> float:
        """Start in the session's native clock."""
        if self.exact_start is not None:
            return self.exact_start
        return float(self.session.start_grid[self.start_index])

    @property
    def start_s(self) -> float:
        """Start on the session clock, seconds."""
        return self.native_start - self.session.t0

    @property
    def sample_times_s(self) -> np.ndarray:
        """float64 (n_samples,): times of the response samples on the session clock."""
        return self.start_s + self.spec.sample_times_s

    @property
    def stop_s(self) -> float:
        """End on the session clock, seconds."""
        return self.start_s + self.spec.duration_s

    def with_edits(self, edits: tuple[Edit, ...]) -> "Window":
        """Return the window with these changes of video and behaviour."""
        _, _, spec, exact_start = self.place
        return Window(self.session, self.start_index, edits, spec, exact_start)

    # -- the same time for another model ------------------------------------------
    def at(self, spec: WindowSpec) -> "Window":
        """Return the same time span at the rates and sizes of another spec.

        The duration stays that of this window. The warm-up is that of `spec`.

        Raises
        ------
        ValueError
            The duration is not a whole number of samples at the rates of `spec`.
        UnsupportedRequestError
            The window has edits, and `spec` reads other frames or channels.
        """
        if spec == self.spec:
            return self
        spec = replace(
            spec, duration_s=self.spec.duration_s, align="grid", trial_offset_s=0.0
        )
        if self.edits and (spec.video, spec.behavior) != (
            self.spec.video,
            self.spec.behavior,
        ):
            raise UnsupportedRequestError(
                "Changes of video and behaviour are counted in frames of the model for "
                "which they were made; this model reads other frames. Undo the changes "
                "to predict this window."
            )
        return Window(
            self.session, self.start_index, self.edits, spec, self.exact_start
        )

    @property
    def warmup(self) -> "Window | None":
        """The time before the window that a model reads and that is never scored.

        None for a spec without warm-up. Frames before the first recorded one hold 0
        and are False in `valid`.
        """
        seconds = self.spec.warmup_s
        if not seconds:
            return None
        if "warmup" not in self._cache:
            spec = replace(
                self.spec,
                duration_s=seconds,
                warmup_s=0.0,
                align="grid",
                trial_offset_s=0.0,
            )
            start = self.native_start - seconds
            grid = self.session.start_grid
            nearest = int(np.clip(np.searchsorted(grid, start), 0, len(grid) - 1))
            self._cache["warmup"] = Window(self.session, nearest, (), spec, start)
        before: Window = self._cache["warmup"]
        return before

    # -- input of the model -------------------------------------------------------
    @property
    def responses(self) -> Float32[np.ndarray, "time neuron"]:
        """float32 (n_samples, P): responses / max(std, 1), or counts per bin."""
        return self.stream("responses")[0]

    @property
    def video(self) -> Shaped[np.ndarray, "time height width"]:
        """float32 (n_frames, height, width): (gray - 113) / 59.

        uint8 gray where the spec asks for raw video, (0, 0, 0) where it has none.
        """
        if self.spec.video is None:
            return np.zeros((0, 0, 0), np.float32)
        if self.spec.video.is_raw:
            return self.frames_u8
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
    def behavior(self) -> Float32[np.ndarray, "time channel"]:
        """float32 (n_behavior, C): the channels of the spec, z-scored or raw.

        A spec in stored order gets every channel of the session: eye tracker, then
        running. A channel that the session lacks holds 0; see `missing_channels`.
        """
        if "behavior" not in self._cache:
            parts = [self.stream(name)[0] for name in self._behavior_streams()]
            empty = np.zeros((self.spec.n_behavior, 0), np.float32)
            stored = np.concatenate([empty, *parts], axis=1)
            self._cache["behavior"] = self._in_order(stored)
        behavior: np.ndarray = self._cache["behavior"]
        return behavior

    @property
    def has_video(self) -> bool:
        """Whether there are frames to show."""
        return self.session.stimulus is not None

    @property
    def behavior_names(self) -> tuple[str, ...]:
        """Name of each column of `behavior`."""
        wanted = self.spec.behavior
        if wanted is None:
            return ()
        return self.session.behavior_names if wanted.stored_order else wanted.channels

    @property
    def missing_channels(self) -> tuple[str, ...]:
        """Channels of the spec that the session does not have."""
        has = set(self.session.behavior_names)
        return tuple(name for name in self.behavior_names if name not in has)

    def _in_order(self, stored: np.ndarray) -> np.ndarray:
        """Put the session's columns of behaviour into the order of the spec."""
        wanted, names = self.spec.behavior, self.session.behavior_names
        if wanted is None or wanted.stored_order:
            return stored
        ordered = np.zeros((len(stored), len(wanted.channels)), np.float32)
        for column, name in enumerate(wanted.channels):
            if name in names:
                ordered[:, column] = stored[:, names.index(name)]
        return ordered

    @property
    def valid(self) -> dict[str, Bool[np.ndarray, " time"]]:
        """bool over time for "responses", "video" and "behavior"."""
        streams = self._behavior_streams()
        behavior = np.full(self.spec.n_behavior, bool(streams))
        for name in streams:
            behavior &= self.stream(name)[1]
        return {
            "responses": self.stream("responses")[1],
            "video": self._frames()[1],
            "behavior": behavior,
        }

    @property
    def timestamps(self) -> dict[str, Float32[np.ndarray, " time"]]:
        """float32 seconds since the first response sample, per stream that is read."""
        zero = self.session.t0
        return {
            name: (self.times(name) - zero).astype(np.float32)
            for name in self.session.streams
            if self._sampling(name)[1]
        }

    @property
    def frames_u8(self) -> UInt8[np.ndarray, "time height width"]:
        """uint8 (n_frames, height, width): gray frames, for display and raw input."""
        return _grays(self._frames()[0])

    def frames_at(
        self, positions: Int64[np.ndarray, " time"]
    ) -> tuple[UInt8[np.ndarray, "time height width"], Bool[np.ndarray, " time"]]:
        """Read frames for display as recorded, at positions in the window and beyond.

        Returns
        -------
        frames uint8 (n, height, width) and valid bool (n,); frames outside the video
        are 0.
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
        rate, count = self._sampling(stream)
        key = f"times {rate} {count}"
        if key not in self._cache:
            self._cache[key] = window_times(self.native_start, rate, count)
        times: np.ndarray = self._cache[key]
        return times

    # -- reading ------------------------------------------------------------------
    def _sampling(self, stream: str) -> tuple[float, int]:
        """Rate in Hz and number of samples of a stream; 0 samples if it is not read."""
        spec = self.spec
        if stream == "responses":
            return spec.response_rate_hz, spec.n_samples
        if stream == "screen":
            rate = SCREEN_RATE_HZ if spec.video is None else spec.video.rate_hz
            return rate, spec.n_frames
        rate = BEHAVIOR_RATE_HZ if spec.behavior is None else spec.behavior.rate_hz
        return rate, spec.n_behavior

    def _behavior_streams(self) -> list[str]:
        behavior = self.session.behavior if self.spec.behavior is not None else {}
        return [n for n in ("eye_tracker", "treadmill") if behavior.get(n) is not None]

    def _normalised(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        session = self.session
        if name == "responses":
            if self.spec.responses == "count":
                return self._counted()
            times = self.times(name)
            return session.responses.window(times, session.response_scale)
        told: Read = partial(self._told, name)
        for edit in self.edits:
            if isinstance(edit, BehaviorEdit):
                told = edit.on_behavior(told, self._channels(name))
        values, valid = told(np.arange(self.spec.n_behavior))
        if self.spec.behavior is not None and self.spec.behavior.is_raw:
            mean, std = session.behavior_statistics(name)
            # a value that is not valid stays 0, which is not a z-score here
            values = np.where(valid[:, None], values * std + mean, np.float32(0.0))
        return values, valid

    def _counted(self) -> tuple[np.ndarray, np.ndarray]:
        """Counts per bin float32 (n_samples, P), and which bins were recorded."""
        spec, responses = self.spec, self.session.responses
        if not responses.has_events:
            raise UnsupportedRequestError(
                f"Session {self.session.id!r} has response traces, not spike times: "
                f"they cannot be counted in bins of {1 / spec.response_rate_hz:g} s. "
                "Choose a predictor that reads traces."
            )
        return responses.count(self.native_start, spec.response_rate_hz, spec.n_samples)

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
        return shown(np.arange(self.spec.n_frames))

    def _clip_at(self, start_s: float) -> Read:
        """What reads the frames of the window at another time, as recorded."""
        other: Read = self.session.window(start_s, self.spec)._shown
        return other

    def _times_at(self, stream: str, positions: np.ndarray) -> np.ndarray:
        rate, count = self._sampling(stream)
        at = positions.astype(np.float64)
        return times_at(at, self.native_start, rate, count)

    def _shown(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Frames as recorded at some positions."""
        stimulus, count = self.session.stimulus, len(positions)
        wanted = self.spec.video
        size = VIDEO_SIZE if wanted is None else (wanted.height, wanted.width)
        if stimulus is None or not count:
            nothing = np.zeros((count, *size), np.uint8)
            return nothing, np.zeros(count, bool)
        times = self._times_at("screen", positions)
        inside = stimulus.valid_interval().contains(times)
        slots = frame_slot(times[inside], stimulus.slot_t)
        valid = inside.copy()
        valid[inside] = stimulus.trials.readable[stimulus.slot_trial[slots]]
        shown = fit_video(stimulus.frames(slots), size)
        if shown.dtype.kind == "f":
            valid[inside] &= np.isfinite(shown).all(axis=(1, 2))
        if len(shown) == count:
            return shown, valid
        frames = np.zeros((count, *size), shown.dtype)
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
