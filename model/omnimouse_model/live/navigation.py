"""Navigation in a recording: window, cursor and trials, and playback.

While no session is open, steps do nothing and other methods raise `ValueError`.
"""

import threading
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from time import perf_counter
from typing import Final

import numpy as np
from psygnal import Signal, SignalInstance

from omnimouse_model.data.clock import GRID_RATE_HZ
from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.live.inference.client import Requests
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import LiveState

_NEARLY_S = 0.05
"""Tolerance in seconds: a window moved to a trial may start slightly before it."""


class Navigation:
    """Moves of the window and of the cursor; trials in order of time, from 0.

    Attributes
    ----------
    trial_changed
        Emitted by `go_to_trial`, even if the window cannot move.
    """

    trial_changed = Signal()

    def __init__(
        self, state: LiveState, results: Results, requests: Requests, lock: threading.RLock
    ) -> None:
        self._state, self._results = state, results
        self._requests, self._lock = requests, lock
        self._target: tuple[Window | None, int] = (None, 0)

    # -- the window -------------------------------------------------------------------
    def seek(self, start_s: float) -> None:
        """Move the window to a time on the session clock, snapped to the grid.

        Raises
        ------
        TimeRangeError
            The time is outside the recording.
        """
        with self._lock:
            self._show(self._state.open_session.window(start_s, self._state.spec))

    def seek_nearest(self, start_s: float, direction: int = 0) -> None:
        """Move the window to a time as far as the recording allows, for steps.

        `direction` 1 or -1 leads over a pause, see `Session.nearest_window`.
        """
        with self._lock:
            spec = self._state.spec
            self._show(self._state.open_session.nearest_window(start_s, spec, direction))

    def centre_on(self, time_s: float) -> None:
        """Centre the window on a time, as far as the recording allows."""
        self.seek_nearest(time_s - self._state.spec.duration_s / 2)

    def step_window(self, n: int) -> None:
        """Move the window by `n` windows, or by `n` trials; stops at the ends."""
        with self._lock:
            if self._state.window is not None:
                self._show(_next_window(self._state.window, n))

    def _show(self, new: Window) -> None:
        window, client = self._state.window, self._requests.client
        if window is not None and new.key == window.key:
            return
        client.step_s = _step_between(window, new)
        moved = client.moved_predictions(new)
        # Clear results first: a listener of `window` must never draw predictions
        # of the previous window at the samples of the new one.
        self._results.clear(keeps_tier_scores=True)
        self._state.window = new
        self._results.selected, self._results.population = moved
        self._requests.send()

    # -- the cursor -------------------------------------------------------------------
    def set_cursor(self, i: int) -> None:
        """Move the cursor to a sample of the window."""
        self._state.cursor = int(min(max(i, 0), self._state.spec.n_samples - 1))

    def step_cursor(self, n: int) -> None:
        """Move the cursor by `n` samples; crossing an end steps the window."""
        state, n_samples = self._state, self._state.spec.n_samples
        # `divmod` rounds down, so that a step before sample 0 goes to the previous
        # window.
        windows, cursor = divmod(state.cursor + n, n_samples)
        if windows:
            before = state.window
            self.step_window(windows)
            # The session ends here: clamp the cursor instead of wrapping it around.
            if state.window is before:
                cursor = 0 if windows < 0 else n_samples - 1
        self.set_cursor(cursor)

    # -- trials -----------------------------------------------------------------------
    @property
    def n_trials(self) -> int:
        """Number of trials of the session whose frames can be read."""
        return len(self._onsets())

    @property
    def trial(self) -> int | None:
        """Number of the current trial; None before the first and without a session.

        This is the target of the latest `go_to_trial` until the window moves, else the
        last trial that starts at or before the window. A window that is aligned to a
        trial can begin before its onset.
        """
        window = self._state.window
        if window is None:
            return None
        if self._target[0] is window:
            return self._target[1]
        start = window.start_s - window.spec.trial_offset_s + _NEARLY_S
        before = int(np.searchsorted(self._onsets(), start, side="right"))
        return before - 1 if before else None

    def go_to_trial(self, number: int) -> None:
        """Move the window to the start of a trial, as far as the session allows."""
        onsets = self._onsets()
        if len(onsets):
            # Clamped: holding the key at the last trial must not fail.
            number = min(max(number, 0), len(onsets) - 1)
            self.seek_nearest(float(onsets[number]) + self._state.spec.trial_offset_s)
            # Windows stop at the session's ends, where several trials share one window:
            # the target must be stored, or a step would not get past the first of them.
            self._target = (self._state.window, number)
            self.trial_changed.emit()

    def step_trial(self, n: int) -> None:
        """Move by `n` trials, at most to the first or last."""
        if self._state.window is None:
            return
        number = self.trial
        if number is not None or n > 0:
            self.go_to_trial((-1 if number is None else number) + n)

    def _onsets(self) -> np.ndarray:
        session = self._state.session
        if session is None:
            return np.zeros(0)
        # No window may touch the others, such as the time after the last frame of a video.
        # Files may list trials in another order.
        return np.sort(session.trials.t_on[session.trials.readable])


def trial_at(session: Session, time_s: float) -> int | None:
    """Return the row of the trial that contains a time, None between trials."""
    trials = session.trials
    inside = np.flatnonzero((trials.t_on <= time_s) & (time_s < trials.t_off))
    return int(inside[0]) if len(inside) else None


def _step_between(before: Window | None, after: Window) -> float:
    """Return the signed step in seconds; a jump counts as one window forward."""
    # A jump says nothing about the next window: the user will most likely play on.
    longest_s = after.spec.duration_s
    if before is None or before.session is not after.session:
        return longest_s
    step_s = after.start_s - before.start_s
    return step_s if round(abs(step_s), 2) <= longest_s else longest_s


def _next_window(window: Window, n: int) -> Window:
    """Return the window `n` steps on, beyond a pause if there is one.

    A step is the duration of the window, or a trial for windows aligned to trials.
    """
    session, spec = window.session, window.spec
    if spec.align == "grid":
        start_s = window.start_s + n * spec.duration_s
        return session.nearest_window(start_s, spec, direction=n)
    starts = session.window_starts(None, spec=spec)
    # The nearest start, because the window's own start is rounded to a sample.
    current = int(np.argmin(np.abs(starts - window.start_s)))
    start_s = float(starts[min(max(current + n, 0), len(starts) - 1)])
    return session.nearest_window(start_s, spec)


# -- playback: the playhead of a recording, its frames, and how the window follows it -
# Both front ends move the playhead here. The napari window calls `tick` for the sample that
# is due. A page of a notebook keeps frames and counts their time itself, so that it does not
# wait for the kernel, and calls `move_to` with the frame that it shows.
CHUNK_BYTES: Final = 589_824
"""Size of a chunk of frames: 256 frames of OmniMouse, 8.5 s."""
_READ: Final = 64
"""Frames read at once; limits the memory for large frames before they are scaled."""
_ROUNDING: Final = 1e-6
"""A sample at the onset of a frame belongs to it in spite of rounding."""


class Playback:
    """Playhead of the open recording: it plays, steps, and takes the window along.

    Attributes
    ----------
    is_playing, speed
        Whether playback runs; session seconds per second.
    changed
        Emitted after a change of `is_playing`, `speed` or `stride`.
    """

    def __init__(self, state: LiveState, navigation: Navigation) -> None:
        self._state, self._navigation = state, navigation
        self.changed = SignalInstance()
        self.is_playing, self.speed = False, 1.0
        self._stride = state.spec, state.spec.n_samples
        # Time at which playback began, and samples by which it has moved since.
        self._began_s, self._moved = 0.0, 0

    @property
    def film(self) -> "Film | None":
        """Frames of the open session; None without one."""
        session = self._state.session
        return None if session is None else Film(session, self._state.spec)

    @property
    def time_s(self) -> float:
        """Time of the frame at the cursor on the session clock; 0 without a window."""
        state = self._state
        if state.window is None:
            return 0.0
        film = Film(state.window.session, state.spec)
        at = frame_at_sample(state.spec, state.cursor)
        return film.seconds(film.start_of(state.window) + at)

    @property
    def stride(self) -> int:
        """Step of the window in samples when the cursor passes its end.

        A whole window after the model reads other windows.
        """
        spec, stride = self._stride
        whole = self._state.spec.n_samples
        return min(stride, whole) if spec == self._state.spec else whole

    def set_stride(self, stride: int) -> None:
        """Set the step of the window; a whole window shows each sample once."""
        if stride != self.stride:
            self._stride = self._state.spec, stride
            self.changed.emit()

    def set_speed(self, speed: float) -> None:
        """Set the session seconds per second."""
        if speed != self.speed:
            self.speed = speed
            # The samples due are counted from a start at constant speed.
            self._began_s, self._moved = perf_counter(), 0
            self.changed.emit()

    def play(self, is_playing: bool) -> None:
        """Start playback at the cursor, or stop it there."""
        is_playing = is_playing and self._state.window is not None
        if is_playing != self.is_playing:
            self.is_playing = is_playing
            self._began_s, self._moved = perf_counter(), 0
            self.changed.emit()

    def tick(self) -> None:
        """Move the cursor to the sample that is due since the start of playback.

        After a late tick, playback skips frames and keeps its speed.
        """
        state = self._state
        elapsed_s = perf_counter() - self._began_s
        due = int(elapsed_s * state.spec.response_rate_hz * self.speed)
        if due > self._moved:
            # Counting from the start, not from the last tick, avoids rounding drift.
            step, self._moved = due - self._moved, due
            before = state.window, state.cursor
            self._advance(step)
            if (state.window, state.cursor) == before:
                self.play(False)  # the end of the session

    def move_to(self, frame: int, *, is_played: bool = False) -> None:
        """Move the playhead to a frame of the session.

        A frame behind the end of the window moves the window by `stride` if it is played;
        any other frame beyond the window takes the window along.
        """
        state, film = self._state, self.film
        if film is None or state.window is None:
            return
        spec, n_frames = film.spec, window_frames(film.spec)
        frame = min(max(frame, 0), film.n_frames - 1)
        at = frame - film.start_of(state.window)
        if is_played and at >= n_frames:
            self._advance(sample_at_frame(spec, at) - state.cursor)
            return
        if not 0 <= at < n_frames:
            # Keep the cursor at its position in the window. Near an end of the session
            # the window cannot move as far, so compute the cursor from its real start.
            start = max(frame - frame_at_sample(spec, state.cursor), 0)
            self._navigation.seek_nearest(film.seconds(start))
            at = frame - film.start_of(state.window)
        self._navigation.set_cursor(sample_at_frame(spec, at))

    def _advance(self, step: int) -> None:
        """Move the cursor by `step` samples of the session, over the end of the window."""
        state, spec, stride = self._state, self._state.spec, self.stride
        cursor, window = state.cursor + step, state.window
        if window is None or cursor < spec.n_samples or stride == spec.n_samples:
            self._navigation.step_cursor(step)
            return
        self._navigation.seek_nearest(window.start_s + stride / spec.response_rate_hz, 1)
        assert state.window is not None
        # The window may have moved by less at the end of the session: the cursor stays at
        # its time.
        moved = round((state.window.start_s - window.start_s) * spec.response_rate_hz)
        self._navigation.set_cursor(cursor - moved)


@dataclass(frozen=True, slots=True)
class Film:
    """Frames of a session, counted from the first point of its start grid.

    For a model without video, response samples take the place of frames.

    Parameters
    ----------
    session
        The recording.
    spec
        Rates and sizes of the windows.
    """

    session: Session
    spec: WindowSpec

    @property
    def name(self) -> str:
        """Text that differs for films of another session, or of other windows."""
        spec = self.spec
        window = f"{spec.n_samples} {spec.response_rate_hz:g} {spec.video}"
        return f"{self.session.fingerprint} {window}"

    @property
    def n_frames(self) -> int:
        """Frames of the session."""
        last = len(self.session.start_grid) - 1
        return int(last * frame_rate(self.spec) / GRID_RATE_HZ + _ROUNDING) + 1

    @property
    def per_chunk(self) -> int:
        """Frames of a chunk."""
        video = self.spec.video
        size = 1 if video is None else video.height * video.width
        return max(1, CHUNK_BYTES // size)

    @property
    def step(self) -> int:
        """Frames from one response sample to the next; at least 1."""
        return max(1, round(frame_rate(self.spec) / self.spec.response_rate_hz))

    def start_of(self, window: Window) -> int:
        """Return the frame at which a window begins."""
        grid = self.session.start_grid
        # A window that is aligned to a trial begins between two points of the grid.
        offset_s = window.native_start - float(grid[window.start_index])
        place = window.start_index + offset_s * GRID_RATE_HZ
        return round(place * frame_rate(self.spec) / GRID_RATE_HZ)

    @property
    def pauses(self) -> tuple[tuple[int, float], ...]:
        """First frame after each pause of the recording, and seconds of all so far."""
        if self.session.responses.recorded_spans is None:
            return ()
        steps = np.diff(self.session.start_grid)
        before = np.flatnonzero(steps > 1.5 / GRID_RATE_HZ)
        frames = np.ceil((before + 1) * frame_rate(self.spec) / GRID_RATE_HZ - _ROUNDING)
        lost_s = np.cumsum(steps[before] - 1.0 / GRID_RATE_HZ).round(4)
        return tuple(zip(frames.astype(int).tolist(), lost_s.tolist(), strict=True))

    def frame_near(self, time_s: float) -> int:
        """Return the frame nearest to a time on the session clock."""
        rate_hz = frame_rate(self.spec)
        since_s, before_s = time_s - self.seconds(0), 0.0
        for first, lost_s in self.pauses:
            # A time in a pause is next to the frame on its nearer side.
            if since_s - before_s < (first / rate_hz) + (lost_s - before_s) / 2:
                return min(round((since_s - before_s) * rate_hz), first - 1)
            before_s = lost_s
            if since_s - lost_s < first / rate_hz:
                return first
        return round((since_s - before_s) * rate_hz)

    def seconds(self, frame: int) -> float:
        """Return the time of a frame on the session clock, in seconds."""
        # 0.1 ms: rounding removes float noise, so that equal times compare equal.
        return round(self._native(frame) - self.session.t0, 4)

    def read(self, first: int) -> tuple[np.ndarray, np.ndarray]:
        """Return uint8 (n, height, width) frames of a chunk, and bool (n,) validity."""
        stop = min(first + self.per_chunk, self.n_frames)
        begins = [first, *(k for k, _ in self.pauses if first < k < stop)]
        blocks = []
        for begin, end in pairwise([*begins, stop]):
            window = Window(self.session, 0, (), self.spec, self._native(begin))
            blocks += [
                window.frames_at(np.arange(start, min(start + _READ, end - begin)))
                for start in range(0, end - begin, _READ)
            ]
        frames, valid = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
        return frames, valid

    def _native(self, frame: int) -> float:
        """Return the time of a frame in the session's native clock."""
        # The grid has a point for each screen frame of the recording, which may drift.
        grid, place = self.session.start_grid, frame * GRID_RATE_HZ / frame_rate(self.spec)
        point = int(place)
        return float(grid[point] + (place - point) / GRID_RATE_HZ)


def frame_rate(spec: WindowSpec) -> float:
    """Return the frames per second; without video, the response samples."""
    return spec.response_rate_hz if spec.video is None else spec.video.rate_hz


def window_frames(spec: WindowSpec) -> int:
    """Return the frames of a window; without video, its samples."""
    return spec.n_samples if spec.video is None else spec.n_frames


def frame_at_sample(spec: WindowSpec, sample: int) -> int:
    """Return the frame of the window on screen at a response sample."""
    frame = int(sample * frame_rate(spec) / spec.response_rate_hz + _ROUNDING)
    return min(frame, window_frames(spec) - 1)


def sample_at_frame(spec: WindowSpec, frame: int) -> int:
    """Return the first response sample at which a frame of the window is on screen."""
    return ceil(frame * spec.response_rate_hz / frame_rate(spec) - _ROUNDING)
