"""Frames of a whole session at the rate of a model, for the notebook's video."""

from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import Final

import numpy as np

from omnimouse_model.data.clock import GRID_RATE_HZ
from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import WindowSpec

CHUNK_BYTES: Final = 589_824
"""Size of a message of frames: 256 frames of OmniMouse, 8.5 s."""
_READ: Final = 64
"""Frames read at once; limits the memory for large frames before they are scaled."""
_ROUNDING: Final = 1e-6
"""A sample at the onset of a frame belongs to it in spite of rounding."""


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
        return int(last * self._rate_hz / GRID_RATE_HZ + _ROUNDING) + 1

    @property
    def per_chunk(self) -> int:
        """Frames of a message."""
        video = self.spec.video
        size = 1 if video is None else video.height * video.width
        return max(1, CHUNK_BYTES // size)

    @property
    def step(self) -> int:
        """Frames from one response sample to the next; at least 1."""
        return max(1, round(self._rate_hz / self.spec.response_rate_hz))

    def start_of(self, window: Window) -> int:
        """Return the frame at which a window begins."""
        grid = self.session.start_grid
        # A window that is aligned to a trial begins between two points of the grid.
        offset_s = window.native_start - float(grid[window.start_index])
        place = window.start_index + offset_s * GRID_RATE_HZ
        return round(place * self._rate_hz / GRID_RATE_HZ)

    def frame_at(self, sample: int) -> int:
        """Return the frame of the window on screen at a response sample."""
        return int(sample * self._rate_hz / self.spec.response_rate_hz + _ROUNDING)

    def sample_at(self, frame: int) -> int:
        """Return the first response sample at which a frame is on screen."""
        return ceil(frame * self.spec.response_rate_hz / self._rate_hz - _ROUNDING)

    @property
    def pauses(self) -> tuple[tuple[int, float], ...]:
        """First frame after each pause of the recording, and seconds of all so far."""
        if self.session.responses.recorded_spans is None:
            return ()
        steps = np.diff(self.session.start_grid)
        before = np.flatnonzero(steps > 1.5 / GRID_RATE_HZ)
        frames = np.ceil((before + 1) * self._rate_hz / GRID_RATE_HZ - _ROUNDING)
        lost_s = np.cumsum(steps[before] - 1.0 / GRID_RATE_HZ).round(4)
        return tuple(zip(frames.astype(int).tolist(), lost_s.tolist(), strict=True))

    def frame_near(self, time_s: float) -> int:
        """Return the frame nearest to a time on the session clock."""
        since_s, before_s = time_s - self.seconds(0), 0.0
        for first, lost_s in self.pauses:
            # A time in a pause is next to the frame on its nearer side.
            if since_s - before_s < (first / self._rate_hz) + (lost_s - before_s) / 2:
                return min(round((since_s - before_s) * self._rate_hz), first - 1)
            before_s = lost_s
            if since_s - lost_s < first / self._rate_hz:
                return first
        return round((since_s - before_s) * self._rate_hz)

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
        grid, place = self.session.start_grid, frame * GRID_RATE_HZ / self._rate_hz
        point = int(place)
        return float(grid[point] + (place - point) / GRID_RATE_HZ)

    @property
    def _rate_hz(self) -> float:
        return frame_rate(self.spec)


def frame_rate(spec: WindowSpec) -> float:
    """Return the frames per second; without video, the response samples."""
    return spec.response_rate_hz if spec.video is None else spec.video.rate_hz
