"""Blocks of a stimulus on one clock, and their motion energy (Adelson and Bergen 1985).

Gabor filters in quadrature in space and in time give the energy at chosen places. It is
divided by the local contrast, so that it measures motion and not contrast. Angles: 0°
to the right, 90° up, counter-clockwise.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from omnimouse_model.data.clock import frame_slot
from omnimouse_model.data.recording import recorded_shares
from omnimouse_model.data.session import SCREEN_MEAN, SCREEN_STD, Session
from omnimouse_model.data.stimulus import Stimulus, fit_video
from omnimouse_model.data.window_spec import SCREEN_RATE_HZ, VIDEO_SIZE
from omnimouse_model.progress import QUIET, Job

# -- blocks of a session's stimulus and responses on one 30-Hz clock ------------------
# Estimates from minutes of video read it with this module. One block is in memory at a
# time. Of a long recording, a bounded number of blocks is read, spread evenly over it.
BLOCK = 600
"""Samples per block: 20 s."""
MAX_BLOCKS = 90
"""Maximum number of blocks per session: half an hour, enough for stable estimates."""


@dataclass(frozen=True, slots=True, eq=False)
class StimulusBlock:
    """Frames and responses of one part of a session.

    Attributes
    ----------
    number
        Index among the blocks that are read.
    frames, shown
        float32 (before + time, 36, 64) frames in units of contrast, 0 for unknown
        frames; and bool (before + time,), whether a frame is known.
    responses, recorded
        float32 (time + after, neuron) normalised responses, and bool (time + after,),
        whether a sample was recorded. A missing value of one neuron is NaN.
    before
        Number of frames before the first response.
    """

    number: int
    frames: Float[np.ndarray, "frame row column"]
    shown: Bool[np.ndarray, " frame"]
    responses: Float[np.ndarray, "sample neuron"]
    recorded: Bool[np.ndarray, " sample"]
    before: int

    @property
    def length(self) -> int:
        """Number of samples without the margins."""
        return len(self.frames) - self.before


def block_starts(session: Session, max_blocks: int = MAX_BLOCKS) -> np.ndarray:
    """Return the first samples of the blocks, counted from the common interval."""
    span = session.common_interval()
    n_samples = int((span.stop - span.start) * SCREEN_RATE_HZ)
    # A last block of less than half the length is dropped.
    starts = np.arange(0, max(n_samples - BLOCK // 2, 0), BLOCK)
    # So are blocks of which a pause of the responses takes more than half.
    edges = span.start + np.stack([starts, starts + BLOCK]) / SCREEN_RATE_HZ
    starts = starts[recorded_shares(session, *edges) > 0.5]
    if len(starts) > max_blocks:
        starts = starts[np.linspace(0, len(starts) - 1, max_blocks).round().astype(int)]
    return starts


def stimulus_blocks(
    session: Session,
    neurons: Int[np.ndarray, " neuron"],
    *,
    before: int = 0,
    after: int = 0,
    max_blocks: int = MAX_BLOCKS,
    job: Job = QUIET,
) -> Iterator[StimulusBlock]:
    """Yield the session in blocks of 20 s.

    Parameters
    ----------
    neurons
        Neurons whose responses are read.
    before, after
        Number of extra frames before each block, and of extra responses after it, for
        filters and lags. They overlap with the neighbouring blocks.
    """
    stimulus = session.stimulus
    if stimulus is None:
        return
    starts = block_starts(session, max_blocks)
    span = session.common_interval()
    for number, start in enumerate(starts.tolist()):
        job.progress(number / len(starts), 1.0)
        # On the sampling grid of the responses, so that lags are whole samples.
        frame_times = _times(span.start, start - before, start + BLOCK)
        sample_times = _times(span.start, start, start + BLOCK + after)
        frames, shown = _contrast(stimulus, frame_times)
        # The last block may extend past the end of the common interval.
        shown &= frame_times < span.stop
        values, recorded = session.responses.window(sample_times, session.response_scale)
        values = values[:, neurons]
        recorded = recorded & (sample_times < span.stop)
        recorded &= np.isfinite(values).any(axis=1)
        yield StimulusBlock(number, frames, shown, values, recorded, before)
    job.progress(1.0, 1.0)


def _times(begin: float, first: int, stop: int) -> np.ndarray:
    return begin + np.arange(first, stop) / SCREEN_RATE_HZ


def _contrast(stimulus: Stimulus, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return frames in units of contrast, and whether each is known."""
    # 0 is the mean gray in units of contrast: an unknown frame adds nothing.
    frames = np.zeros((len(times), *VIDEO_SIZE), np.float32)
    stored, at = stimulus.sample(times)
    shown = np.zeros(len(times), bool)
    if not len(at):
        return frames, shown
    slots = frame_slot(times[at], stimulus.slot_t)
    fitted = fit_video(stored, VIDEO_SIZE).astype(np.float32)
    fitted = (fitted - SCREEN_MEAN) / SCREEN_STD
    is_finite = np.isfinite(fitted).all(axis=(1, 2))
    is_finite &= stimulus.trials.readable[stimulus.slot_trial[slots]]
    frames[at[is_finite]] = fitted[is_finite]
    shown[at[is_finite]] = True
    return frames, shown


# -- motion energy of a video by direction (Adelson and Bergen 1985) ------------------
TAPS = 15
"""Number of frames in a temporal filter, half a second."""
N_DIRECTIONS = 16
# Temporal frequency of the filters, and rise time of their envelope.
_SPEED_HZ = 2.0
_RISE_S = 0.05
_WIDTH = 0.4
"""Envelope of a Gabor, in wavelengths."""
# Semi-saturation contrast of the divisive normalisation.
_HALF_CONTRAST = 0.2


def directions_deg() -> Float[np.ndarray, " direction"]:
    """Return the directions of all banks, in degrees."""
    return np.arange(N_DIRECTIONS) * (360.0 / N_DIRECTIONS)


def coarse(
    frames: Float[np.ndarray, "frame row column"], cell: int
) -> Float[np.ndarray, "frame coarse_row coarse_column"]:
    """Return frames averaged over blocks of `cell` × `cell` pixels, a power of two."""
    while cell > 1:
        rows = frames[:, 0::2] + frames[:, 1::2]
        frames = (rows[:, :, 0::2] + rows[:, :, 1::2]) * np.float32(0.25)
        cell //= 2
    return frames


def grid_places(step: int = 4) -> Float[np.ndarray, "place 2"]:
    """Return a grid of places (row, column) with `step` pixels spacing, row by row."""
    rows, columns = (np.arange(step / 2 - 0.5, size, step) for size in VIDEO_SIZE)
    pairs = np.meshgrid(rows, columns, indexing="ij")
    return np.stack([part.ravel() for part in pairs], axis=1)


def kernel_delay_s() -> float:
    """Return the mean delay of the temporal filters in seconds."""
    envelope = _envelope()
    return float((envelope * np.arange(TAPS)).sum() / envelope.sum() / SCREEN_RATE_HZ)


@dataclass(frozen=True, slots=True, eq=False)
class Filtered:
    """Coarse frames (frame, pixel) and their outputs of two filters in quadrature.

    The filter in time comes before that in space: there are fewer pixels than Gabors.
    """

    small: Float[np.ndarray, "frame pixel"]
    now: Float[np.ndarray, "time pixel"]
    turned: Float[np.ndarray, "time pixel"]
    step: int


def filtered(
    frames: Float[np.ndarray, "frame row column"], cell: int = 2, step: int = 1
) -> Filtered:
    """Filter frames in time, at every `step`-th frame after the first `TAPS - 1`."""
    small = coarse(frames, cell).reshape(len(frames), -1)
    now, turned = (_filtered(small, kernel, step) for kernel in _quadrature())
    return Filtered(small, now, turned, step)


class MotionBank:
    """Filters at places (row, column) of the 36 × 64 frame, for one wavelength.

    Parameters
    ----------
    places_yx
        Centres of the Gabors, in pixels.
    wavelength
        Wavelength of the Gabors, in pixels.
    cell
        Side of the pixel blocks that are averaged first, which reduces the cost.
    """

    def __init__(
        self, places_yx: Float[np.ndarray, "place 2"], wavelength: float = 18.0, cell: int = 2
    ) -> None:
        self.n_places, self._cell = len(places_yx), cell
        self._even, self._odd, self._window = _gabors(places_yx, wavelength, cell)

    def energies(
        self, frames: Float[np.ndarray, "frame row column"], step: int = 1
    ) -> Float[np.ndarray, "time direction place"]:
        """Return the motion energy of every `step`-th frame after `TAPS - 1` frames."""
        return self.energies_of(filtered(frames, self._cell, step))

    def energies_of(self, video: Filtered) -> Float[np.ndarray, "time direction _"]:
        """Return the motion energy of filtered frames, which banks may share."""
        # Local contrast: root of the windowed power, smoothed in time.
        power = np.maximum((video.small * video.small) @ self._window, 0.0)
        local = _filtered(np.sqrt(power), _envelope(), video.step)
        divisor = (_HALF_CONTRAST + local)[:, None]
        shape = (-1, N_DIRECTIONS // 2, self.n_places)
        even_now, even_turned, odd_now, odd_turned = (
            (part @ gabors).reshape(shape)
            for gabors in (self._even, self._odd)
            for part in (video.now, video.turned)
        )
        energy = np.empty((len(local), N_DIRECTIONS, self.n_places), np.float32)
        half = N_DIRECTIONS // 2
        # Sum and difference of space-time products select opposite directions of the
        # same orientation; `hypot` of a quadrature pair does not depend on phase.
        energy[:, :half] = np.hypot(even_now - odd_turned, even_turned + odd_now)
        energy[:, half:] = np.hypot(even_now + odd_turned, even_turned - odd_now)
        energy /= divisor
        return energy


def _gabors(
    places_yx: np.ndarray, wavelength: float, cell: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return even, odd Gabors (pixel, orientation · place); windows (pixel, place)."""
    rows, columns = (np.arange(cell / 2 - 0.5, size, cell) for size in VIDEO_SIZE)
    y, x = (part.reshape(-1, 1) for part in np.meshgrid(rows, columns, indexing="ij"))
    down, right = y - places_yx[:, 0], x - places_yx[:, 1]
    sd = _WIDTH * wavelength
    window = np.exp(-0.5 * (down**2 + right**2) / sd**2)
    window /= window.sum(axis=0)
    even, odd = [], []
    for theta in np.radians(directions_deg()[: N_DIRECTIONS // 2]):
        # Rows count downwards, so up is negative.
        along = right * np.cos(theta) - down * np.sin(theta)
        phase = 2 * np.pi * along / wavelength
        pair = [window * np.cos(phase), window * np.sin(phase)]
        # Zero mean: no response to uniform luminance.
        pair = [part - window * part.sum(axis=0) for part in pair]
        # One norm for the pair, so that the energy does not depend on phase.
        size = np.sqrt(sum((part**2).sum(axis=0) for part in pair) / 2)
        even.append(pair[0] / size)
        odd.append(pair[1] / size)
    joined = (np.stack(parts, axis=1).reshape(len(y), -1) for parts in (even, odd))
    first, second = (part.astype(np.float32) for part in joined)
    return first, second, window.astype(np.float32)


def _envelope() -> np.ndarray:
    lag_s = np.arange(TAPS) / SCREEN_RATE_HZ
    shape = lag_s**2 * np.exp(-lag_s / _RISE_S)
    return np.asarray(shape / shape.sum())


def _quadrature() -> tuple[np.ndarray, np.ndarray]:
    """Return two temporal filters 90° apart, both without response to a still scene."""
    envelope = _envelope()
    phase = 2 * np.pi * _SPEED_HZ * (np.arange(TAPS) / SCREEN_RATE_HZ)
    # Centre the phase on the mean delay of the envelope.
    phase -= (envelope * phase).sum()
    pair = [envelope * np.cos(phase), envelope * np.sin(phase)]
    cosine, sine = (part - envelope * part.sum() for part in pair)
    return cosine / np.linalg.norm(cosine), sine / np.linalg.norm(sine)


def _filtered(values: np.ndarray, kernel: np.ndarray, step: int) -> np.ndarray:
    """Apply a causal filter along the first axis, at every `step`-th valid entry."""
    n = (len(values) - TAPS) // step + 1
    out = np.zeros((n, values.shape[1]), np.float32)
    for lag, weight in enumerate(kernel.astype(np.float32)):
        first = TAPS - 1 - lag
        out += weight * values[first : first + (n - 1) * step + 1 : step]
    return out
