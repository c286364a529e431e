"""Playback: the playhead of a recording, its frames, and how the window follows it.

Both front ends move the playhead here. The napari window calls `tick` for the sample that
is due. A page of a notebook keeps frames and counts their time itself, so that it does not
wait for the kernel, and calls `move_to` with the frame that it shows.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from time import perf_counter
from typing import Final

import numpy as np
from psygnal import SignalInstance

from omnimouse_model.data.clock import GRID_RATE_HZ
from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.live.navigation import Navigation
from omnimouse_model.live.state import LiveState

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
