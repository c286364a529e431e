"""Visual drive of each neuron from the video on the retina, block by block.

A motion-energy model (Adelson and Bergen 1985): quadrature pairs of Gabors, filtered in
time for tuning to direction and speed, divided by the local contrast. Complex cells
take the energy, simple cells one phase.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from omnimouse_model.simulate.population import Tuning
from omnimouse_model.simulate.specs import BLOCK_SAMPLES, FRAME_SHAPE, RATE_HZ

TAPS = 15
# Samples of a tile in `_filter`; must divide the block length of 315.
_TILE = 35
# Pixels by which frames are widened; more than the largest gaze shift of 9 and the
# extra pixel of the interpolation.
_MARGIN = 12
_BASELINE = 0.15
_CEILING = 25.0


def to_retina(
    video: UInt8[np.ndarray, "time row column"],
    gaze_x: Float[np.ndarray, " time"],
    gaze_y: Float[np.ndarray, " time"],
) -> Float[np.ndarray, "time pixel"]:
    """Return the frames shifted by the gaze (pixels), in contrast, edges repeated."""
    height, width = FRAME_SHAPE
    # Mean and standard deviation that the session stores for its screen.
    contrast = (video.astype(np.float32) - 113.0) / 59.0
    widened = np.pad(contrast, ((0, 0), (_MARGIN,) * 2, (_MARGIN,) * 2), mode="edge")
    retina = np.empty((len(video), height, width), np.float32)
    corner_y, corner_x = np.floor(gaze_y).astype(int), np.floor(gaze_x).astype(int)
    share_y = (gaze_y - corner_y).astype(np.float32).tolist()
    share_x = (gaze_x - corner_x).astype(np.float32).tolist()
    for t, (top, left) in enumerate(zip(corner_y, corner_x, strict=True)):
        top, left = top + _MARGIN, left + _MARGIN
        # Bilinear, because gaze moves by fractions of a pixel; whole-pixel steps would
        # make small eye movements invisible or too large.
        part = widened[t, top : top + height + 1, left : left + width + 1]
        rows = part[:-1] * (1 - share_y[t]) + part[1:] * share_y[t]
        retina[t] = rows[:, :-1] * (1 - share_x[t]) + rows[:, 1:] * share_x[t]
    return retina.reshape(len(video), -1)


@dataclass(frozen=True, slots=True, eq=False)
class FilterMemory:
    """Filter inputs of the samples before a block that its first outputs need."""

    even: Float[np.ndarray, "tap neuron"]
    odd: Float[np.ndarray, "tap neuron"]
    contrast: Float[np.ndarray, "tap neuron"]


class ReceptiveFields:
    """Filters of a population."""

    def __init__(self, tuning: Tuning) -> None:
        # Neurons are sorted by speed and kind, so that those with the same temporal
        # kernel are one contiguous slice instead of a copy by index.
        self._sorted = np.lexsort((tuning.is_complex, tuning.speed_hz))
        self._restore = np.argsort(self._sorted)
        self._groups = _groups(tuning, self._sorted)
        self._direction_index = tuning.direction_index[self._sorted].astype(np.float32)
        self._envelope_sd = tuning.envelope_sd[self._sorted].astype(np.float32)
        self._even, self._odd, self._window = _spatial_filters(tuning, self._sorted)

    def resting_memory(self) -> FilterMemory:
        """Return the memory after a long gray screen."""
        blank = np.zeros((TAPS - 1, len(self._sorted)), np.float32)
        return FilterMemory(blank, blank, blank)

    def respond(
        self, retina: Float[np.ndarray, "time pixel"], memory: FilterMemory
    ) -> tuple[Float[np.ndarray, "time neuron"], FilterMemory]:
        """Return the response divided by contrast, in stored order, and the memory."""
        even = np.concatenate([memory.even, retina @ self._even])
        odd = np.concatenate([memory.odd, retina @ self._odd])
        power = np.maximum((retina * retina) @ self._window, 0)
        contrast = np.concatenate([memory.contrast, np.sqrt(power)])
        envelope = _envelope_kernel()
        local = _filter(contrast, (envelope / envelope.sum())[None])[0]
        # Filters have unit energy, so the response to a grating grows with the width of
        # the envelope; this removes it. 0.25 limits the gain at low contrast.
        divisor = self._envelope_sd * (0.25 + 1.44 * local)
        drive = np.empty_like(local)
        for speed_hz, is_complex, part in self._groups:
            kernels = _quadrature_kernels(speed_hz)
            pair = _filter(even[:, part], kernels), _filter(odd[:, part], kernels)
            drive[:, part] = _combine(*pair, is_complex, self._direction_index[part])
        drive /= divisor
        keep = slice(-(TAPS - 1), None)
        after = FilterMemory(even[keep], odd[keep], contrast[keep])
        return drive[:, self._restore], after


@dataclass(frozen=True, slots=True, eq=False)
class Normalisation:
    """Constants that give every neuron a mean drive of one in the calibration."""

    mean: Float[np.ndarray, " neuron"]
    mean_power: Float[np.ndarray, " neuron"]

    def apply(
        self, response: Float[np.ndarray, "time neuron"], power: np.ndarray
    ) -> Float[np.ndarray, "time neuron"]:
        """Return a drive of mean about one, never below the baseline of 0.15."""
        shaped = _saturate(response / self.mean, power)
        shaped *= (1 - _BASELINE) / self.mean_power
        shaped += _BASELINE
        return shaped


def normalisation(response: Float[np.ndarray, "time neuron"], power: np.ndarray) -> Normalisation:
    """Return the constants from responses to a calibration video."""
    mean = response.mean(axis=0)
    return Normalisation(mean, _saturate(response / mean, power).mean(axis=0))


def _saturate(relative: np.ndarray, power: np.ndarray) -> np.ndarray:
    """Return responses raised to a power, saturating at _CEILING times the mean."""
    raised = relative ** power.astype(np.float32)
    return raised / (1 + raised / _CEILING)


def _groups(tuning: Tuning, order: np.ndarray) -> list[tuple[float, bool, slice]]:
    speed, is_complex = tuning.speed_hz[order], tuning.is_complex[order]
    groups = []
    for value in np.unique(speed):
        for kind in (False, True):
            members = np.flatnonzero((speed == value) & (is_complex == kind))
            if len(members):
                part = slice(int(members[0]), int(members[-1]) + 1)
                groups.append((float(value), kind, part))
    return groups


def _spatial_filters(
    tuning: Tuning, order: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return even and odd Gabors (pixel, neuron), and the local-contrast window."""
    # Envelope and plane wave are products of a factor of the row and one of the column:
    # exponentials of 100 rows and columns instead of 2,304 pixels.
    rows, columns = (np.arange(size, dtype=np.float64)[:, None] for size in FRAME_SHAPE)
    centre = tuning.centre_yx[order]
    down, right = rows - centre[:, 0], columns - centre[:, 1]
    sd, theta = tuning.envelope_sd[order], tuning.direction[order]
    frequency = 2 * np.pi / tuning.wavelength[order]
    envelope = _products(np.exp(-0.5 * (down / sd) ** 2), np.exp(-0.5 * (right / sd) ** 2))
    wave = _products(
        np.exp(1j * (frequency * np.sin(theta) * down + tuning.phase[order])),
        np.exp(1j * frequency * np.cos(theta) * right),
    )
    pair = [envelope * wave.real, envelope * wave.imag]
    weight = envelope / envelope.sum(axis=0)
    # Without their mean, so that a uniform change of luminance gives no response.
    pair = [part - weight * part.sum(axis=0) for part in pair]
    size = np.sqrt(sum((part**2).sum(axis=0) for part in pair) / 2)
    even, odd = ((part / size).astype(np.float32) for part in pair)
    return even, odd, weight.astype(np.float32)


def _products(of_rows: np.ndarray, of_columns: np.ndarray) -> np.ndarray:
    """Return the product for each pixel and neuron, (pixel, neuron)."""
    products: np.ndarray = of_rows[:, None] * of_columns
    return products.reshape(-1, of_rows.shape[1])


def _envelope_kernel() -> np.ndarray:
    lag_s = np.arange(TAPS) / RATE_HZ
    return (lag_s / 0.06) ** 2 * np.exp(-lag_s / 0.045)


def _quadrature_kernels(speed_hz: float) -> Float[np.ndarray, "2 tap"]:
    """Return two temporal filters a quarter of a cycle apart."""
    envelope = _envelope_kernel()
    phase = 2 * np.pi * speed_hz * (np.arange(TAPS) / RATE_HZ - 0.09)
    cosine, sine = envelope * np.cos(phase), envelope * np.sin(phase)
    # The sustained part is reduced but not removed: static patterns still give a weak
    # response.
    cosine = cosine - 0.4 * cosine.sum() * envelope / envelope.sum()
    size = np.sqrt((cosine**2 + sine**2).sum())
    kernels: np.ndarray = np.stack([cosine, sine]) / size
    return kernels


def _filter(
    padded: Float[np.ndarray, "padded neuron"], kernels: Float[np.ndarray, "kernel tap"]
) -> Float[np.ndarray, "kernel time neuron"]:
    """Apply causal filters over time, as one small matrix product per tile."""
    n_tiles, n_neurons = BLOCK_SAMPLES // _TILE, padded.shape[1]
    # A product with a banded Toeplitz matrix runs in BLAS for all neurons of a tile at
    # once; a convolution per neuron would be a slow loop.
    toeplitz = np.zeros((len(kernels), _TILE, _TILE + TAPS - 1), np.float32)
    for t in range(_TILE):
        toeplitz[:, t, t : t + TAPS] = kernels[:, ::-1]
    padded = np.ascontiguousarray(padded)
    row, column = padded.strides
    # Tiles overlap by the length of the filter; the strided view shares memory instead
    # of copying, so it must not be written to.
    tiles = np.lib.stride_tricks.as_strided(
        padded,
        (n_tiles, _TILE + TAPS - 1, n_neurons),
        (_TILE * row, row, column),
        writeable=False,
    )
    filtered = np.matmul(toeplitz.reshape(-1, _TILE + TAPS - 1), tiles)
    parts: np.ndarray = filtered.reshape(n_tiles, len(kernels), _TILE, n_neurons)
    return parts.transpose(1, 0, 2, 3).reshape(len(kernels), BLOCK_SAMPLES, n_neurons)


def _combine(even: np.ndarray, odd: np.ndarray, is_complex: bool, index: np.ndarray) -> np.ndarray:
    """Return the response to both directions, weighted by the direction index."""
    # Sums and differences of space-time separable filters are oriented in space-time:
    # the first prefers motion against the wave vector, the other along it.
    forward, backward = even[0] + odd[1], even[0] - odd[1]
    if is_complex:
        forward = np.sqrt(forward**2 + (even[1] - odd[0]) ** 2)
        backward = np.sqrt(backward**2 + (even[1] + odd[0]) ** 2)
    else:
        forward, backward = np.maximum(forward, 0), np.maximum(backward, 0)
    both: np.ndarray = forward * (0.5 + 0.5 * index) + backward * (0.5 - 0.5 * index)
    return both
