"""Motion energy of a video by direction (Adelson and Bergen 1985).

Gabor filters in quadrature in space and in time give the energy at chosen places. It is
divided by the local contrast, so that it measures motion and not contrast. Angles: 0°
to the right, 90° up, counter-clockwise.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from omnimouse_model.data.window_spec import SCREEN_RATE_HZ, VIDEO_SIZE

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
    degrees: np.ndarray = np.arange(N_DIRECTIONS) * (360.0 / N_DIRECTIONS)
    return degrees


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
        self,
        places_yx: Float[np.ndarray, "place 2"],
        wavelength: float = 18.0,
        cell: int = 2,
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
