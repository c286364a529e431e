"""Inputs of the mean: motion energy of the video and behaviour at several lags."""

import numpy as np

from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.predict.gabor_features import motion_energy

LAGS_S = (-0.8, -0.4, -0.15, 0.0, 0.15)
"""Lags of behaviour: calcium is slow, and the animal slower."""


def video_inputs(frames: np.ndarray, spec: WindowSpec) -> np.ndarray:
    """Return motion energy at the response samples, float32 (n_samples, 1152).

    Parameters
    ----------
    frames
        (n_frames, height, width), normalised.
    spec
        Rates of the window.
    """
    video = spec.video
    assert video is not None
    energy = motion_energy(frames, video.rate_hz)
    return np.asarray(energy[_held(spec, video.rate_hz, len(energy))], np.float32)


def behavior_inputs(behavior: np.ndarray, spec: WindowSpec) -> np.ndarray:
    """Return behaviour at `LAGS_S`, float32 (n_samples, 5 C)."""
    assert spec.behavior is not None
    rate_hz = spec.behavior.rate_hz
    now = _held(spec, rate_hz, len(behavior))
    rows = [now + round(lag * rate_hz) for lag in LAGS_S]
    parts = [behavior[np.clip(row, 0, len(behavior) - 1)] for row in rows]
    return np.asarray(np.concatenate(parts, axis=1), np.float32)


def at_samples(behavior: np.ndarray, spec: WindowSpec) -> np.ndarray:
    """Interpolate behaviour (n_behavior, C) at the response samples, linearly."""
    assert spec.behavior is not None
    place = spec.sample_times_s * spec.behavior.rate_hz
    samples = np.arange(len(behavior))
    columns = [np.interp(place, samples, column) for column in behavior.T]
    return np.stack(columns, axis=1).astype(np.float32)


def at_behavior(values: np.ndarray, spec: WindowSpec) -> np.ndarray:
    """Interpolate columns (n_samples, C) at the samples of behaviour, linearly."""
    assert spec.behavior is not None
    place = np.arange(spec.n_behavior) / spec.behavior.rate_hz * spec.response_rate_hz
    samples = np.arange(len(values))
    columns = [np.interp(place, samples, column) for column in values.T]
    return np.stack(columns, axis=1).astype(np.float32)


def _held(spec: WindowSpec, rate_hz: float, count: int) -> np.ndarray:
    """Return the newest of `count` samples at `rate_hz` at each response sample."""
    # The small number keeps a sample of the same time from being rounded down.
    place = np.floor(spec.sample_times_s * rate_hz + 1e-6).astype(np.int64)
    return np.minimum(place, count - 1)
