"""A session, as every reader yields it, and its windows: lazy streams on one clock.

Times in public calls are seconds on the session clock, 0 at the first response
sample; indices are computed in the native clock (see `clock`).

The module is longer than usual because a session makes windows and a window reads its
session: in two modules, they would import each other.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, Shaped, UInt8

from omnimouse_model.data import clock, recording
from omnimouse_model.data.recording import Overview, Recording
from omnimouse_model.data.signal import Signal
from omnimouse_model.data.stimulus import BLANK_TIER, COMMON_TIERS, MEAN_GRAY
from omnimouse_model.data.window_spec import (
    BehaviorEdit,
    Channel,
    Edit,
    Read,
    VideoEdit,
    WindowSpec,
    default_spec,
)
from omnimouse_model.display import HasSummary, data_frame
from omnimouse_model.errors import TimeRangeError, UnsupportedRequestError

if TYPE_CHECKING:
    import pandas

Tiers = str | Sequence[str] | None
SCREEN_MEAN = np.float32(MEAN_GRAY)
SCREEN_STD = np.float32(59.0)
"""Normalisation of video: one constant for all sessions, as in OmniMouse's training."""


@dataclass(frozen=True, slots=True, eq=False, repr=False, weakref_slot=True)
class Session(Recording):
    """One recording. Opening reads no large data; a pickle contains only the path.

    Examples
    --------
    >>> session.n_neurons, session.duration_s, list(session.streams)
    (40, 94.5, ['responses', 'eye_tracker', 'treadmill', 'screen'])

    Notes
    -----
    The attributes are those of `Recording`.
    """

    # -- windows ----------------------------------------------------------------
    def window(self, start_s: float, spec: WindowSpec | None = None) -> "Window":
        """Return the window that begins nearest to a time of the recording.

        Parameters
        ----------
        start_s
            Seconds on the session clock, 0 to `duration_s`.
        spec
            Duration, rates and sizes. Windows that are aligned to trials begin at the
            spec's offset to the onset of a trial, all others on `start_grid`.

        Raises
        ------
        TimeRangeError
            The time is outside the recording, or in a pause.
        ValueError
            The session is shorter than a window, has no trial to align one to, or has
            traces where the spec counts events.

        Examples
        --------
        >>> session.window(12.0).responses.shape
        (60, 40)
        >>> session.window(100.0)
        Traceback (most recent call last):
        omnimouse_model.errors.TimeRangeError: start_s is 100 s; session '90009-1-1' \
was recorded from 0 to 94.5 s.
        """
        spec = spec or default_spec()
        # Also refuses NaN, which compares false.
        if not 0 <= start_s <= self.duration_s:
            raise TimeRangeError(
                f"start_s is {start_s:g} s; session {self.id!r} was recorded from 0 to "
                f"{self.duration_s:g} s."
            )
        window = self.nearest_window(start_s, spec)
        self._check_pause(start_s, window)
        return window

    def _check_pause(self, start_s: float, window: "Window") -> None:
        """Raise `TimeRangeError` if a time is in a pause, far from its window."""
        spans, far_s = self.responses.recorded_spans, window.spec.duration_s + 1.0
        if spans is None or abs(window.start_s - start_s) <= far_s:
            return
        first, last = (spans - self.t0).T
        number = int(np.searchsorted(first, start_s, side="right"))
        if 0 < number < len(first) and start_s > last[number - 1]:
            raise TimeRangeError(
                f"start_s is {start_s:g} s; nothing was recorded from {last[number - 1]:g} to "
                f"{first[number]:g} s. nearest_window finds the window beside this pause."
            )

    def nearest_window(
        self, start_s: float, spec: WindowSpec | None = None, direction: int = 0
    ) -> "Window":
        """Return the window nearest to a time, which may be outside the recording.

        For a step or a click near an end of the recording, or in a pause. A step from
        one side of a pause ends on the other: `direction` 1 finds the next window, -1
        the previous one, if a pause is at the time.

        Examples
        --------
        >>> float(round(session.nearest_window(1000.0).stop_s, 1))
        94.0
        """
        spec = spec or default_spec()
        require_events(self, spec)
        if spec.align == "trial":
            return self._trial_window(start_s, spec)
        grid = self.start_grid
        last = len(grid) - clock.grid_points(spec.duration_s)
        if last < 0:
            raise ValueError(
                f"Session {self.id!r} has {len(grid) / clock.GRID_RATE_HZ:.3g} s that all "
                f"streams cover, less than a window of {spec.duration_s:g} s."
            )
        starts, begins = None, grid[: last + 1]
        if self.responses.recorded_spans is not None:
            starts, begins = self._starts_without_pauses(spec)
        near = int(np.searchsorted(begins, self.t0 + start_s))
        near = min(near, len(begins) - 1)
        # The point before can be nearer.
        if near:
            before = abs(float(begins[near - 1]) - self.t0 - start_s)
            after = abs(float(begins[near]) - self.t0 - start_s)
            in_pause = after + before > 1.5 / clock.GRID_RATE_HZ
            is_before = direction < 0 if direction and in_pause else before < after
            near -= int(is_before)
        return Window(self, near if starts is None else int(starts[near]), spec=spec)

    def _starts_without_pauses(self, spec: WindowSpec) -> tuple[np.ndarray, np.ndarray]:
        """Return grid indices and native times of windows that touch no pause."""
        length = clock.grid_points(spec.duration_s)

        def find() -> tuple[np.ndarray, np.ndarray]:
            recorded = clock.points_inside(self.start_grid, self.without_pauses())
            starts = clock.full_window_starts(recorded, length)
            return starts, self.start_grid[starts]

        starts, begins = recording.cached(self, ("without pauses", length), find)
        if not len(starts):
            raise ValueError(
                f"Session {self.id!r} was recorded in {len(self.without_pauses())} "
                f"stretches, all shorter than a window of {spec.duration_s:g} s."
            )
        return starts, begins

    def _trial_window(self, start_s: float, spec: WindowSpec) -> "Window":
        """Return the window of the trial that begins nearest to a time."""
        starts = self.window_starts(None, spec=spec)
        if not len(starts):
            raise ValueError(
                f"Session {self.id!r} has no trial with a whole window of "
                f"{spec.duration_s:g} s, {spec.trial_offset_s:+g} s from its onset."
            )
        start = float(starts[np.argmin(np.abs(starts - start_s))]) + self.t0
        # Trials begin at any time; the grid point only gives the approximate position.
        nearest = int(np.searchsorted(self.start_grid, start))
        nearest = min(nearest, len(self.start_grid) - 1)
        return Window(self, nearest, spec=spec, exact_start=start)

    def window_starts(
        self,
        tier: Tiers = None,
        stride: int = 1,
        include_blanks: bool = False,
        spec: WindowSpec | None = None,
    ) -> np.ndarray:
        """Starts of whole valid windows, float64 (n,) seconds on the session clock.

        Parameters
        ----------
        tier
            A tier's name, several, "test" for every held-out test tier, or None for
            any trial at all.
        stride
            Keep every n-th start of the 30-per-second grid, or every n-th trial for
            windows that are aligned to trials.
        include_blanks
            Windows may reach into trials without a tier.
        spec
            Duration and alignment of the windows. The warm-up may lie in any tier: it
            is read, never scored. Without behaviour in the spec, windows may touch
            missing samples of behaviour.

        Raises
        ------
        ValueError
            The tier is neither a common one nor one of the session; the message names
            those of the session.

        Examples
        --------
        >>> starts = session.window_starts("validation", stride=60)
        >>> len(starts), float(round(starts[1] - starts[0], 2))
        (5, 2.0)
        """
        spec = spec or default_spec()
        if spec.align == "trial":
            tiers = self._tier_names(tier, include_blanks)
            return recording.trial_starts(self, tiers, spec)[::stride]
        chosen = self.window_indices(tier, stride, include_blanks, spec)
        return np.asarray(self.start_grid[chosen] - self.t0)

    def window_indices(
        self,
        tier: Tiers = None,
        stride: int = 1,
        include_blanks: bool = False,
        spec: WindowSpec | None = None,
    ) -> np.ndarray:
        """Return the starts on the grid as indices into `start_grid`, int64 (n,)."""
        spec = spec or default_spec()
        chosen = self._tier_names(tier, include_blanks)
        length, reads_behavior = clock.grid_points(spec.duration_s), spec.behavior is not None

        def find() -> np.ndarray:
            allowed = recording.allowed_times(self, chosen, reads_behavior)
            return clock.full_window_starts(allowed, length)

        starts = recording.cached(self, ("starts", chosen, length, reads_behavior), find)
        return starts[::stride]

    def _tier_names(self, tier: Tiers, include_blanks: bool) -> frozenset[str] | None:
        """Return the names of tiers, None for any; refuse a tier of no session."""
        chosen = None if tier is None else frozenset(self.named_tiers(tier))
        # A misspelled tier would otherwise select no windows without an error.
        present = {*self.trials.tier.tolist(), *self.split, *COMMON_TIERS}
        if chosen is not None and chosen.isdisjoint(present):
            raise ValueError(
                f"Session {self.id!r} has no window of tier {tier!r}; {self.tiers_text()}."
            )
        if chosen is not None and include_blanks:
            chosen = chosen | {BLANK_TIER}
        return chosen

    def overview(self, n_bins: int = 1000) -> Overview:
        """Binned running, pupil size, population mean and trials, for a time line.

        Examples
        --------
        >>> session.overview(n_bins=100).population.shape
        (100,)
        """
        return recording.cached(
            self, ("overview", n_bins), lambda: recording.summarise(self, n_bins)
        )


@dataclass(frozen=True, slots=True, eq=False, repr=False, weakref_slot=True)
class Window(HasSummary):
    """Responses, video and behaviour of a session over one time span.

    Examples
    --------
    >>> window = session.window(start_s=12.0)
    >>> window.responses.shape, window.video.shape
    ((60, 40), (60, 36, 64))
    >>> window.to_dataframe().columns.tolist()
    ['sample', 'time_s', 'neuron', 'response_normalised', 'is_valid']

    Notes
    -----
    The spec gives rates, sizes and channels. Arrays are read at their first use and
    then cached; they must not be written to. Positions outside a stream hold 0 and
    are False in `valid`. Missing values of behaviour, and frames with missing values,
    also hold 0 and are False; a missing (NaN) response stays NaN.

    Parameters
    ----------
    session
        The recording.
    start_index
        Point of `session.start_grid` at which the window begins, or the nearest point
        if `exact_start` is set.
    edits
        Changes of video and behaviour, applied in this order; none by default. The
        responses were recorded without them.
    spec
        Duration, rates and sizes.
    exact_start
        Start in native time of a window that does not begin on the grid: one that is
        aligned to a trial, and the warm-up before a window.
    """

    session: "Session"
    start_index: int
    edits: tuple[Edit, ...] = ()
    spec: WindowSpec = field(default_factory=default_spec)
    exact_start: float | None = None
    _cache: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        # Without the cached arrays: another process reads them from the session.
        return partial(type(self), session=self.session, **self.arguments), ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Window) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of the class without the session: small enough for a message."""
        names = ("start_index", "edits", "spec", "exact_start")
        return {name: getattr(self, name) for name in names}

    @property
    def key(self) -> Hashable:
        """Identity of the window, equal in every process."""
        return (self.session.id, self.session.fingerprint, *self.arguments.values())

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
        return replace(self, edits=edits)

    def _facts(self) -> dict[str, str]:
        spec, session = self.spec, self.session
        kind = "counts" if spec.responses == "count" else "samples"
        facts = {
            "session": session.id,
            "time": f"{self.start_s:.2f} to {self.stop_s:.2f} s",
            "responses": f"{spec.n_samples} {kind} at {spec.response_rate_hz:g} Hz x "
            f"{session.n_neurons:,} neurons",
        }
        if spec.video is not None:
            video = spec.video
            facts["video"] = (
                f"{spec.n_frames} frames of {video.height} x {video.width} at {video.rate_hz:g} Hz"
                if self.has_video
                else "not recorded"
            )
        if spec.behavior is not None:
            names = ", ".join(session.behavior_names)
            facts["behaviour"] = (
                f"{spec.n_behavior} samples at {spec.behavior.rate_hz:g} Hz of {names}"
                if names
                else "not recorded"
            )
        if self.edits:
            facts["edits"] = str(len(self.edits))
        return facts

    def to_dataframe(
        self, stream: Literal["responses", "behavior"] = "responses"
    ) -> "pandas.DataFrame":
        """Return a pandas table with one row per sample and neuron, or channel.

        Parameters
        ----------
        stream
            "responses": `neuron` and `response_normalised` or `response_count`;
            "behavior": `channel` and `value_z_scored` or `value_raw`. Both have
            `sample`, `time_s` on the session clock, and `is_valid`.

        Examples
        --------
        >>> table = session.window(12.0).to_dataframe("behavior")
        >>> len(table), sorted(set(table.channel))[0]
        (200, 'pupil_dsize')
        """
        spec = self.spec
        if stream == "responses":
            values, rate_hz = self.responses, spec.response_rate_hz
            columns = np.arange(values.shape[1])
            unit = "count" if spec.responses == "count" else "normalised"
            names = ("neuron", f"response_{unit}")
        elif spec.behavior is None:
            raise UnsupportedRequestError("The spec of this window reads no behaviour.")
        else:
            values, rate_hz = self.behavior, spec.behavior.rate_hz
            columns = np.array(self.behavior_names)
            names = ("channel", "value_raw" if spec.behavior.is_raw else "value_z_scored")
        samples, of_column = np.indices(values.shape)
        return data_frame(
            {
                "sample": samples.ravel(),
                "time_s": self.start_s + samples.ravel() / rate_hz,
                names[0]: columns[of_column.ravel()],
                names[1]: values.ravel(),
                "is_valid": self.valid[stream][samples.ravel()],
            }
        )

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

        Examples
        --------
        >>> spec = om.WindowSpec(duration_s=2.0, response_rate_hz=10.0)
        >>> session.window(12.0).at(spec).responses.shape
        (20, 40)
        """
        if spec == self.spec:
            return self
        own = self.spec
        # The time is given by this window: the alignment of `spec` does not apply.
        spec = spec.with_duration(own.duration_s)
        if self.edits and (spec.video, spec.behavior) != (own.video, own.behavior):
            raise UnsupportedRequestError(
                "Changes of video and behaviour are counted in frames of the model for which they "
                "were made; this model reads other frames. Undo the changes to predict this window."
            )
        return replace(self, spec=spec)

    @property
    def warmup(self) -> "Window | None":
        """The time before the window that a model reads and that is never scored.

        None for a spec without warm-up. Frames before the first recorded one hold 0
        and are False in `valid`.
        """
        if not self.spec.warmup_s:
            return None
        return recording.cached(self, "warmup", self._make_warmup)

    def _make_warmup(self) -> "Window":
        # Edits are counted from the first frame of the window and do not reach back.
        start = self.native_start - self.spec.warmup_s
        return self._part(start, self.spec.of_warmup)

    def last_samples(self, n: int) -> "Window":
        """Return the last samples as a window of its own, without warm-up or edits."""
        rate_hz = self.spec.response_rate_hz
        spec = replace(self.spec.with_duration(n / rate_hz), warmup_s=0.0)
        start = self.native_start + (self.spec.n_samples - n) / rate_hz
        return self._part(start, spec)

    def _part(self, start: float, spec: WindowSpec) -> "Window":
        grid = self.session.start_grid
        nearest = int(np.clip(np.searchsorted(grid, start), 0, len(grid) - 1))
        return Window(self.session, nearest, (), spec, start)

    # -- input of the model -------------------------------------------------------
    @property
    def responses(self) -> Float32[np.ndarray, "time neuron"]:
        """float32 (n_samples, P): responses / max(std, 1), or counts per bin."""
        return self.stream("responses")[0]

    @property
    def missing(self) -> Bool[np.ndarray, "time neuron"] | None:
        """bool (n_samples, P): responses that were not recorded; None if all were."""
        return recording.cached(self, "missing", self._find_missing)

    def _find_missing(self) -> np.ndarray | None:
        responses = self.responses
        # The sum of a recording without missing values is finite: one fast pass.
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(responses.sum()):
                return None
        missing = ~np.isfinite(responses)
        return missing if missing.any() else None

    @property
    def filled_responses(self) -> Float32[np.ndarray, "time neuron"]:
        """Responses with a neuron's mean over train time where they are missing.

        For fits by sums of products, to which a value at the mean adds nothing.
        """
        if self.missing is None:
            return self.responses
        signal, session = self.session.responses, self.session
        assert signal.mean is not None  # readers compute it
        mean = signal.mean
        if signal.has_events:
            mean = mean * (signal.rate_hz / self.spec.response_rate_hz)
        if self.spec.responses != "count":
            mean = mean / session.response_scale
        return np.where(self.missing, mean.astype(np.float32), self.responses)

    @property
    def video(self) -> Shaped[np.ndarray, "time height width"]:
        """float32 (n_frames, height, width): (gray - 113) / 59.

        uint8 gray if the spec requests raw video, (0, 0, 0) if it requests none.
        """
        if self.spec.video is None:
            return np.zeros((0, 0, 0), np.float32)
        if self.spec.video.is_raw:
            return self.frames_u8
        return recording.cached(self, "video", self._normalised_video)

    @property
    def behavior(self) -> Float32[np.ndarray, "time channel"]:
        """float32 (n_behavior, C): the channels of the spec, z-scored or raw.

        A spec in stored order gets every channel of the session: eye tracker, then
        running. A channel that the session lacks holds 0; see `missing_channels`.
        """
        return recording.cached(self, "behavior", self._ordered_behavior)

    @property
    def has_video(self) -> bool:
        """Whether there are recorded frames."""
        return self.session.stimulus is not None

    @property
    def behavior_names(self) -> tuple[str, ...]:
        """Name of each column of `behavior`."""
        return self.spec.behavior_names(self.session.behavior_names)

    @property
    def missing_channels(self) -> tuple[str, ...]:
        """Channels of the spec that the session does not have."""
        recorded = set(self.session.behavior_names)
        return tuple(name for name in self.behavior_names if name not in recorded)

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
        return _rounded_grays(self._frames()[0])

    def frames_at(
        self, positions: Int64[np.ndarray, " time"]
    ) -> tuple[UInt8[np.ndarray, "time height width"], Bool[np.ndarray, " time"]]:
        """Read frames for display as recorded, at positions in the window and beyond.

        Returns
        -------
        frames uint8 (n, height, width) and valid bool (n,); frames outside the video
        are 0. Without video in the spec, frames are (n, 0, 0).
        """
        frames, valid = self._frames_at(positions)
        return _rounded_grays(frames), valid

    def stream(
        self, name: str
    ) -> tuple[Float32[np.ndarray, "time column"], Bool[np.ndarray, " time"]]:
        """Normalised values (time, column) of one sampled stream, and bool (time,).

        Streams are "responses", "eye_tracker" and "treadmill".

        Examples
        --------
        >>> values, valid = session.window(12.0).stream("treadmill")
        >>> values.shape, bool(valid.all())
        ((40, 1), True)
        """
        if name not in self._cache:
            is_responses = name == "responses"
            read = self._read_responses if is_responses else partial(self._read_behavior, name)
            self._cache[name] = read()
        return self._cache[name]

    def times(self, stream: str) -> Float64[np.ndarray, " time"]:
        """Native sample times of a stream in this window, float64."""
        rate_hz, count = self._sampling(stream)
        if not count:
            return np.zeros(0)
        read = partial(clock.window_times, self.native_start, rate_hz, count)
        # Streams of one rate share their times.
        return recording.cached(self, f"times {rate_hz} {count}", read)

    # -- responses ----------------------------------------------------------------
    def _read_responses(self) -> tuple[np.ndarray, np.ndarray]:
        """Responses float32 (n_samples, P), and which samples are valid."""
        spec, session = self.spec, self.session
        signal, scale = session.responses, session.response_scale
        bins = self.native_start, spec.response_rate_hz, spec.n_samples
        if spec.responses == "count":
            require_events(session, spec)
            return signal.count(*bins)
        # At another rate, samples of the counts would leave out or repeat spikes:
        # spikes are counted in bins of this rate.
        if signal.has_events and signal.rate_hz != spec.response_rate_hz:
            counts, valid = signal.count(*bins)
            return counts / scale, valid
        return signal.window(self.times("responses"), scale)

    # -- behaviour ----------------------------------------------------------------
    def _behavior_streams(self) -> dict[str, Signal]:
        """Streams of the session with a channel that the spec reads, by name."""
        spec = self.spec.behavior
        if spec is None:
            return {}
        return {
            name: signal
            for name in ("eye_tracker", "treadmill")
            if (signal := self.session.behavior.get(name)) is not None
            and (spec.stored_order or set(signal.names) & set(spec.channels))
        }

    def _ordered_behavior(self) -> np.ndarray:
        """Columns of all streams, in the order of the spec."""
        spec, streams = self.spec.behavior, self._behavior_streams()
        empty = np.zeros((self.spec.n_behavior, 0), np.float32)
        stored = np.concatenate([empty, *(self.stream(n)[0] for n in streams)], axis=1)
        if spec is None or spec.stored_order:
            return stored
        names = [name for signal in streams.values() for name in signal.names]
        ordered = np.zeros((len(stored), len(spec.channels)), np.float32)
        for column, name in enumerate(spec.channels):
            if name in names:
                ordered[:, column] = stored[:, names.index(name)]
        return ordered

    def _read_behavior(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        read: Read = partial(self._behavior_at, name)
        for edit in self.edits:
            if isinstance(edit, BehaviorEdit):
                read = edit.on_behavior(read, self._channels(name))
        values, valid = read(np.arange(self.spec.n_behavior))
        if self.spec.behavior is not None and self.spec.behavior.is_raw:
            # Edits are defined on z-scores, so raw values are made from those.
            mean, std = self.session.behavior_statistics(name)
            # A value that is not valid stays 0, which is not a z-score here.
            values = np.where(valid[:, None], values * std + mean, np.float32(0.0))
        return values, valid

    def _channels(self, name: str) -> tuple[Channel, ...]:
        """Channels of one stream of behaviour, with their statistics."""
        signal = self.session.behavior[name]
        names = () if signal is None else signal.names
        rows = zip(names, *self.session.behavior_statistics(name), strict=True)
        return tuple(Channel(n, float(mean), float(std)) for n, mean, std in rows)

    @np.errstate(over="ignore", invalid="ignore")
    def _behavior_at(self, name: str, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Behaviour as recorded at some positions, z-scored, and its validity."""
        mean, std = self.session.behavior_statistics(name)
        signal = self.session.behavior[name]
        assert signal is not None  # it has statistics
        values, inside = signal.window(self._times_at(name, positions))
        values -= mean
        values /= std
        valid = np.isfinite(values).all(axis=1) & inside
        if not valid.all():
            values = without_missing(values)
            values[~inside] = 0.0
        return values, valid

    # -- video --------------------------------------------------------------------
    def _normalised_video(self) -> np.ndarray:
        frames, valid = self._frames()
        with np.errstate(over="ignore"):
            video = frames.astype(np.float32)
        video -= SCREEN_MEAN
        video /= SCREEN_STD
        # Mean gray (0) and not black where nothing is known of the screen.
        if not valid.all():
            video[~valid] = 0.0
        return video

    def _frames(self) -> tuple[np.ndarray, np.ndarray]:
        return recording.cached(self, "frames", self._read_frames)

    def _read_frames(self) -> tuple[np.ndarray, np.ndarray]:
        read: Read = self._frames_at
        for edit in self.edits:
            if isinstance(edit, VideoEdit):
                # Reader of the recorded frames of the window at another time.
                read = edit.on_video(
                    read, lambda start_s: self.session.window(start_s, self.spec)._frames_at
                )
        return read(np.arange(self.spec.n_frames))

    def _frames_at(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Frames as recorded at some positions, and which of them are valid."""
        stimulus, count, spec = self.session.stimulus, len(positions), self.spec.video
        size = (0, 0) if spec is None else (spec.height, spec.width)
        if stimulus is None or spec is None or not count:
            return np.zeros((count, *size), np.uint8), np.zeros(count, bool)
        times = self._times_at("screen", positions)
        inside = stimulus.valid_interval().contains(times)
        slots = clock.frame_slot(times[inside], stimulus.slot_t)
        valid = inside.copy()
        valid[inside] = stimulus.trials.readable[stimulus.slot_trial[slots]]
        recorded = stimulus.frames(slots, size)
        if recorded.dtype.kind == "f":
            valid[inside] &= np.isfinite(recorded).all(axis=(1, 2))
        if len(recorded) == count:
            return recorded, valid
        frames = np.zeros((count, *size), recorded.dtype)
        frames[inside] = recorded
        return frames, valid

    # -- clock --------------------------------------------------------------------
    def _sampling(self, stream: str) -> tuple[float, int]:
        """Rate in Hz and number of samples of a stream; 0 samples if it is not read."""
        spec = self.spec
        if stream == "responses":
            return spec.response_rate_hz, spec.n_samples
        part = spec.video if stream == "screen" else spec.behavior
        count = spec.n_frames if stream == "screen" else spec.n_behavior
        return (0.0, 0) if part is None else (part.rate_hz, count)

    def _times_at(self, stream: str, positions: np.ndarray) -> np.ndarray:
        rate_hz, count = self._sampling(stream)
        at = positions.astype(np.float64)
        return clock.times_at(at, self.native_start, rate_hz, count)


def require_events(session: Recording, spec: WindowSpec) -> None:
    """Refuse a spec of counts for a session with response traces.

    Raises
    ------
    UnsupportedRequestError
        Traces cannot be counted.
    """
    if spec.responses == "count" and not session.responses.has_events:
        raise UnsupportedRequestError(
            f"Session {session.id!r} has response traces, not spike times: they cannot be counted "
            f"in bins of {1 / spec.response_rate_hz:g} s. Choose a predictor that reads traces."
        )


def require_trials(session: Recording, spec: WindowSpec) -> None:
    """Refuse windows that are aligned to trials for a session without trials.

    Raises
    ------
    UnsupportedRequestError
        There is nothing to align to.
    """
    if spec.align == "trial" and not len(session.trials):
        raise UnsupportedRequestError(
            f"Session {session.id!r} has no trials; models of spikes need them. Add a "
            "table of trials to the recording; trial_event (--trial-event) names the "
            "column at whose times they begin."
        )


def _rounded_grays(frames: np.ndarray) -> np.ndarray:
    """Frames rounded to whole grays, 0 to 255."""
    if frames.dtype == np.uint8:
        return frames
    finite = np.nan_to_num(frames, nan=0.0, posinf=255.0, neginf=0.0)
    return np.asarray(np.clip(np.rint(finite), 0, 255), np.uint8)


def without_missing(values: np.ndarray) -> np.ndarray:
    """Put 0 in place of values that are missing (NaN or infinite), in a copy."""
    return np.asarray(np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0))
