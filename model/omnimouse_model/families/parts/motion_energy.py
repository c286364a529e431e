"""Motion energy of a video, as features of a regression: fixed Gabor filters.

1,152 features: 36 places x 4 orientations x 2 wavelengths x 2 speeds x 2 directions,
smoothed as calcium would be. Nothing of the stimulus is fitted but how each neuron
weighs the features. Places and wavelengths scale with the width of the frame.
"""

from functools import lru_cache

import numpy as np

from omnimouse_model.data.session import Window, without_missing
from omnimouse_model.data.window_spec import SCREEN_RATE_HZ, default_spec
from omnimouse_model.families.parts.ridge import Sums, weights
from omnimouse_model.training.sessions import TrainingSession

PLACES = (4, 9)
ORIENTATIONS = 4
REFERENCE_WIDTH = 64
WAVELENGTHS_PX = (12.0, 22.0)
"""In pixels of a frame of `REFERENCE_WIDTH`."""
SPEEDS_HZ = (1.5, 4.0)
N_FEATURES = PLACES[0] * PLACES[1] * ORIENTATIONS * len(WAVELENGTHS_PX) * len(SPEEDS_HZ) * 2
CALCIUM_DECAY_S = 0.22
_TAPS_S = 0.5


@lru_cache(maxsize=2)
def spatial_filters(height: int, width: int) -> np.ndarray:
    """Return quadrature pairs (pixel, 2, place x orientation x wavelength), float32."""
    rows, columns = np.mgrid[:height, :width].reshape(2, -1, 1)
    pairs = []
    for wavelength in np.array(WAVELENGTHS_PX) * width / REFERENCE_WIDTH:
        for orientation in np.arange(ORIENTATIONS) * np.pi / ORIENTATIONS:
            y, x = _places(height, width)
            dy, dx = rows - y, columns - x
            envelope = np.exp(-0.5 * (dx**2 + dy**2) / (0.42 * wavelength) ** 2)
            along = dx * np.cos(orientation) + dy * np.sin(orientation)
            phase = 2 * np.pi * along / wavelength
            pair = np.stack([envelope * np.cos(phase), envelope * np.sin(phase)], 1)
            # Blind to uniform light, and of unit energy.
            shape = envelope[:, None]
            pair -= shape * (pair.sum(axis=0) / shape.sum(axis=0))
            pair /= np.sqrt((pair**2).sum(axis=(0, 1)) / 2)
            pairs.append(pair)
    return np.concatenate(pairs, axis=2).astype(np.float32)


def _places(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    y = (np.arange(PLACES[0]) + 0.5) * height / PLACES[0]
    x = (np.arange(PLACES[1]) + 0.5) * width / PLACES[1]
    grid_y, grid_x = np.meshgrid(y, x, indexing="ij")
    return grid_y.reshape(1, -1), grid_x.reshape(1, -1)


@lru_cache(maxsize=4)
def temporal_filters(n_frames: int, rate_hz: float) -> np.ndarray:
    """Return causal quadrature pairs in time (speed, 2, frame, frame), float32.

    The first frame of the window is taken to have been on screen before it.
    """
    delay = np.arange(round(_TAPS_S * rate_hz)) / rate_hz
    envelope = (delay / 0.06) ** 2 * np.exp(-delay / 0.045)
    pairs = []
    for speed in SPEEDS_HZ:
        phase = 2 * np.pi * speed * (delay - 0.09)
        pair = np.stack([envelope * np.cos(phase), envelope * np.sin(phase)])
        pair -= pair.sum(axis=1, keepdims=True) * envelope / envelope.sum()
        pair /= np.sqrt((pair**2).sum())
        pairs.append([_causal(kernel, n_frames) for kernel in pair])
    return np.array(pairs, dtype=np.float32)


@lru_cache(maxsize=4)
def _calcium(n_frames: int, rate_hz: float) -> np.ndarray:
    kernel = np.exp(-np.arange(n_frames) / rate_hz / CALCIUM_DECAY_S)
    return _causal(kernel / kernel.sum(), n_frames).astype(np.float32)


def _causal(kernel: np.ndarray, n_frames: int) -> np.ndarray:
    """Return a causal filter as a matrix (frame, frame); it holds the first frame."""
    matrix = np.zeros((n_frames, n_frames))
    for frame in range(n_frames):
        before = np.maximum(frame - np.arange(len(kernel)), 0)
        np.add.at(matrix[frame], before, kernel)
    return matrix


def motion_energy(video: np.ndarray, rate_hz: float) -> np.ndarray:
    """Return features (n_frames, 1152) of a normalised video.

    Parameters
    ----------
    video
        (n_frames, height, width), normalised.
    rate_hz
        Frames per second.
    """
    n_frames, height, width = video.shape
    filters = spatial_filters(height, width)
    flat = video.reshape(n_frames, -1).astype(np.float32)
    filtered = flat @ filters.reshape(len(filters), -1)
    features = []
    for slow, fast in temporal_filters(n_frames, rate_hz):
        even_slow, odd_slow = np.split(slow @ filtered, 2, axis=1)
        even_fast, odd_fast = np.split(fast @ filtered, 2, axis=1)
        features.append(np.hypot(even_slow + odd_fast, odd_slow - even_fast))
        features.append(np.hypot(even_slow - odd_fast, odd_slow + even_fast))
    smooth = _calcium(n_frames, rate_hz)
    return np.asarray(smooth @ np.concatenate(features, axis=1))


_PENALTY = 20.0
"""Ridge penalty; at this value, weights are close to covariances. On a simulated mouse
the position of the largest weight correlates .95 and .90 with the true receptive field
(x, y), and .70 and .63 at a penalty of 0.1."""


WINDOWS = 1000


# The second half of a window, where the filters have enough preceding video.
SCORED = slice(30, 60)


def some_starts(source: TrainingSession) -> np.ndarray:
    """Return starts of at most `WINDOWS` windows spread over a session."""
    count = min(WINDOWS, len(source.starts))
    indices = np.linspace(0, len(source.starts) - 1, count).astype(int)
    return np.asarray(source.starts[indices])


def tuning_weights(source: TrainingSession, targets: str) -> np.ndarray:
    """Return ridge weights (N, 1152) for standardised features and targets."""
    session = source.session
    sums: Sums | None = None
    for start in some_starts(source):
        window = session.window(float(start), default_spec())
        # Only sums of products are kept, so memory does not grow with the windows.
        features = motion_energy(without_missing(window.video), SCREEN_RATE_HZ)[SCORED]
        rates = without_missing(source.target_rates(window, targets, False))[SCORED]
        if sums is None:
            sums = Sums(features.shape[1], rates.shape[1])
        sums.add(features, rates)
    assert sums is not None
    covariance = sums.covariance()
    weight = weights(covariance, _PENALTY)
    # From units of the features to standard deviations, then the same for the targets:
    # neurons with high rates must not dominate the shared basis.
    weight *= np.sqrt(np.diagonal(covariance.xx))[:, None]
    spread: np.ndarray = np.sqrt(np.maximum(covariance.variance_y, 1e-12))
    return np.asarray((weight / spread).T)


def receptive_field_centers(source: TrainingSession, targets: str) -> np.ndarray:
    """Return the center (P, 2) of each receptive field: x and y from 0 to 1.

    It is the center of mass of the largest weights of a ridge regression on the motion
    energy at 4 x 9 places.
    """
    weights = tuning_weights(source, targets)
    energy = (weights.reshape(len(weights), -1, np.prod(PLACES)) ** 2).sum(1)
    # Places with average weights tell nothing about the position.
    energy = np.maximum(energy - energy.mean(axis=1, keepdims=True), 0) ** 2
    energy /= energy.sum(axis=1, keepdims=True) + 1e-30
    rows, columns = PLACES
    y, x = np.divmod(np.arange(rows * columns), columns)
    places = np.stack([(x + 0.5) / columns, (y + 0.5) / rows], 1)
    return np.asarray(energy @ places)


def held_frames(window: Window, frames: np.ndarray) -> np.ndarray | None:
    """Return the video in which each hidden frame is the last visible one, or None."""
    if not frames.any():
        return None
    # A held frame has no motion energy; a gray one would add a flash at each border.
    visible = np.flatnonzero(frames)
    at_or_before = np.searchsorted(visible, np.arange(len(frames)), side="right") - 1
    held: np.ndarray = window.video[visible[np.maximum(at_or_before, 0)]]
    return without_missing(held)
