"""Direction of motion in a video: pairs of Gabors in quadrature, in space and in time.

Adelson and Bergen's energies at chosen places, divided by the contrast there, so that a
place of strong contrast does not count for more than its motion says. Angles are those
of the whole project: 0° to the right, 90° up, counter-clockwise.
"""

import numpy as np
from jaxtyping import Float

from omnimouse_model.data.clock import SCREEN_RATE_HZ
from omnimouse_model.data.frames import VIDEO_SIZE

TAPS = 15
"""Frames that a temporal filter reaches back, half a second."""
N_DIRECTIONS = 16
_SPEED_HZ = 2.0
_RISE_S = 0.05
_WIDTH = 0.4
"""Envelope of a Gabor, in wavelengths."""
_HALF_CONTRAST = 0.2
_TILE = 40


def directions_deg() -> Float[np.ndarray, " direction"]:
    """The directions of every bank."""
    found: np.ndarray = np.arange(N_DIRECTIONS) * (360.0 / N_DIRECTIONS)
    return found


def coarse(
    frames: Float[np.ndarray, "frame row column"], cell: int
) -> Float[np.ndarray, "frame coarse_row coarse_column"]:
    """Frames of which each pixel is the mean of `cell` × `cell`."""
    n, rows, columns = frames.shape
    parts = frames.reshape(n, rows // cell, cell, columns // cell, cell)
    mean: np.ndarray = np.einsum("nricj->nrc", parts, optimize=True) / cell**2
    return mean


def grid_places(step: int = 4) -> Float[np.ndarray, "place 2"]:
    """Places (row, column) all over the frame, `step` pixels apart, row by row."""
    rows, columns = (np.arange(step / 2 - 0.5, size, step) for size in VIDEO_SIZE)
    pairs = np.meshgrid(rows, columns, indexing="ij")
    return np.stack([part.ravel() for part in pairs], axis=1)


def kernel_delay_s() -> float:
    """How far back the filters look on average."""
    envelope = _envelope()
    return float((envelope * np.arange(TAPS)).sum() / envelope.sum() / SCREEN_RATE_HZ)


class MotionBank:
    """Filters at places (row, column) of the 36 × 64 frame, for one wavelength.

    Parameters
    ----------
    places_yx
        Where, in pixels.
    wavelength
        Of the Gabors, in pixels.
    cell
        The frames are brought to pixels of this size first: coarse ones cost less.
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
        """Motion energy of every `step`-th frame; the first `TAPS - 1` lead in."""
        small = coarse(frames, self._cell).reshape(len(frames), -1)
        envelope = _envelope()
        power = np.maximum((small * small) @ self._window, 0.0)
        local = _filtered(np.sqrt(power), envelope, step)
        divisor = (_HALF_CONTRAST + local)[:, None]
        shape = (-1, N_DIRECTIONS // 2, self.n_places)
        even, odd = ((small @ part).reshape(shape) for part in (self._even, self._odd))
        cosine, sine = _quadrature()
        even_now, even_turned, odd_now, odd_turned = (
            _filtered(part, kernel, step)
            for part in (even, odd)
            for kernel in (cosine, sine)
        )
        found = np.empty((len(local), N_DIRECTIONS, self.n_places), np.float32)
        half = N_DIRECTIONS // 2
        found[:, :half] = np.hypot(even_now - odd_turned, even_turned + odd_now)
        found[:, half:] = np.hypot(even_now + odd_turned, even_turned - odd_now)
        found /= divisor
        return found


def _gabors(
    places_yx: np.ndarray, wavelength: float, cell: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(pixel, orientation · place) even and odd, and (pixel, place) windows."""
    rows, columns = (np.arange(cell / 2 - 0.5, size, cell) for size in VIDEO_SIZE)
    y, x = (part.reshape(-1, 1) for part in np.meshgrid(rows, columns, indexing="ij"))
    down, right = y - places_yx[:, 0], x - places_yx[:, 1]
    sd = _WIDTH * wavelength
    window = np.exp(-0.5 * (down**2 + right**2) / sd**2)
    window /= window.sum(axis=0)
    even, odd = [], []
    for theta in np.radians(directions_deg()[: N_DIRECTIONS // 2]):
        along = right * np.cos(theta) - down * np.sin(theta)
        phase = 2 * np.pi * along / wavelength
        pair = [window * np.cos(phase), window * np.sin(phase)]
        pair = [part - window * part.sum(axis=0) for part in pair]
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
    """Two temporal filters a quarter cycle apart; neither answers to a still scene."""
    envelope = _envelope()
    phase = 2 * np.pi * _SPEED_HZ * (np.arange(TAPS) / SCREEN_RATE_HZ)
    phase -= (envelope * phase).sum()
    pair = [envelope * np.cos(phase), envelope * np.sin(phase)]
    cosine, sine = (part - envelope * part.sum() for part in pair)
    return cosine / np.linalg.norm(cosine), sine / np.linalg.norm(sine)


def _filtered(values: np.ndarray, kernel: np.ndarray, step: int) -> np.ndarray:
    """Causal filter over the first axis, at every `step`-th entry after the lead-in.

    One small matrix product per tile of samples, many times faster than tap by tap.
    """
    n = (len(values) - TAPS) // step + 1
    flat = values.reshape(len(values), -1)
    rows = np.zeros((_TILE, (_TILE - 1) * step + TAPS), np.float32)
    for i in range(_TILE):
        rows[i, i * step : i * step + TAPS] = kernel[::-1]
    out = np.empty((n, flat.shape[1]), np.float32)
    for first in range(0, n, _TILE):
        count = min(_TILE, n - first)
        reach = (count - 1) * step + TAPS
        part = flat[first * step : first * step + reach]
        out[first : first + count] = rows[:count, :reach] @ part
    return out.reshape(n, *values.shape[1:])
