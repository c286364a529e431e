"""Resampling of traces to a fixed period, as the digital twin's recordings are made.

Source: the public data pipeline of Wang et al. 2025.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64

Filter = Literal["linear", "hamming", "lowpass"]
MIN_SCALE = 1e-4
"""Divisors of a standardisation are at least this."""


def n_samples(start_s: float, end_s: float, period_s: float) -> int:
    """Return the number of samples from start to end, including both ends."""
    return int(_sample_of(end_s - start_s, period_s)) + 1


def resample(
    times_s: Float[np.ndarray, " source"],
    values: Float[np.ndarray, " value"],
    start_s: float,
    end_s: float,
    period_s: float,
    *,
    kind: Filter = "hamming",
    offset_s: float = 0.0,
    lowpass_s: float = 0.4,
) -> Float32[np.ndarray, " sample"]:
    """Resample a trace to a fixed period; NaN outside the time of the source.

    Sample i is at `start_s` + i · `period_s` + `offset_s`.

    Parameters
    ----------
    times_s, values
        Source; NaN in both are filled along straight lines. `missing_samples` tells
        which samples they touch.
    kind
        "linear" interpolates alone. "hamming" first filters a source that is sampled
        faster than the target, and "lowpass" one that is sampled faster than
        `lowpass_s`.

    Raises
    ------
    ValueError
        Shapes differ, times do not increase, or all values are missing.
    """
    times, trace = _checked(times_s, values)
    # Times since 1970 and large offsets would lose digits.
    middle, level = np.nanmedian(times), np.nanmedian(trace)
    filled = _filled(trace - level)
    source_s = float(np.nanmedian(np.diff(times)))
    width_s = {"linear": 0.0, "hamming": period_s, "lowpass": lowpass_s}[kind]
    if width_s > source_s:
        window = np.hamming(2 * round(width_s / source_s) + 1)
        half = len(window) // 2
        smooth = np.convolve(filled, window / window.sum())
        filled = smooth[half : half + len(filled)]
    at = _targets(start_s - middle, end_s - middle, period_s) + offset_s
    found = np.interp(at, _filled(times - middle), filled, left=np.nan, right=np.nan)
    return np.asarray(found + level, np.float32)


def missing_samples(
    times_s: Float[np.ndarray, " source"],
    values: Float[np.ndarray, " value"],
    start_s: float,
    end_s: float,
    period_s: float,
    *,
    offset_s: float = 0.0,
) -> Bool[np.ndarray, " sample"]:
    """Return which samples of `resample` depend on a missing value."""
    times, trace = _checked(times_s, values)
    middle = np.nanmedian(times)
    is_missing = (np.isnan(times) | np.isnan(trace)).astype(float)
    at = _targets(start_s - middle, end_s - middle, period_s) + offset_s
    share = np.interp(at, _filled(times - middle), is_missing, left=np.nan, right=np.nan)
    return np.asarray(share > 0)


def flip_index(
    flips_s: Float[np.ndarray, " flip"], period_s: float
) -> Int64[np.ndarray, " sample"]:
    """Return the index of the screen flip that each sample shows.

    A flip is the moment at which the monitor changes to a new frame. The flip of a
    sample is the first flip of the sample, or that of the sample before; further flips
    within one period are skipped.

    Parameters
    ----------
    flips_s
        Seconds from the start of a trial; the first is 0.

    Raises
    ------
    ValueError
        Flips do not begin at 0, or do not increase.
    """
    flips = np.asarray(flips_s, np.float64)
    if not len(flips) or flips[0] != 0 or not (np.diff(flips) > 0).all():
        raise ValueError("Flips must begin at 0 and increase.")
    sample = _sample_of(flips, period_s)
    first = np.flatnonzero(np.diff(sample, prepend=-1) > 0)
    at = np.searchsorted(sample[first], np.arange(sample[-1] + 1), side="right") - 1
    return first[at].astype(np.int64)


def standardise(
    values: Float[np.ndarray, "sample channel"],
    scale: Float[np.ndarray, " channel"],
    shift: Float[np.ndarray, " channel"] | None = None,
    is_homogeneous: Sequence[bool] | np.ndarray | None = None,
    *,
    inverse: bool = False,
) -> Float[np.ndarray, "sample channel"]:
    """Standardise channels: (value - shift) / scale, or the inverse.

    Homogeneous channels, such as responses and running, are never shifted: their 0 has
    a meaning.
    """
    divisor = np.maximum(np.asarray(scale, np.float64), MIN_SCALE)
    moved = np.zeros_like(divisor) if shift is None else np.asarray(shift, np.float64)
    if is_homogeneous is not None:
        moved = np.where(np.asarray(is_homogeneous, bool), 0.0, moved)
    if inverse:
        return np.asarray(values * divisor + moved)
    return np.asarray((values - moved) / divisor)


def _sample_of(seconds: np.ndarray | float, period_s: float) -> np.ndarray:
    # Rounded first: a flip a hair before its sample belongs to it.
    return np.asarray(np.floor(np.round(np.asarray(seconds) / period_s, 1)), np.int64)


def _targets(start_s: float, end_s: float, period_s: float) -> np.ndarray:
    return np.arange(n_samples(start_s, end_s, period_s)) * period_s + start_s


def _checked(times_s: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    times, trace = np.asarray(times_s, np.float64), np.asarray(values, np.float64)
    if times.shape != trace.shape or times.ndim != 1:
        raise ValueError(f"Times {times.shape} and values {trace.shape} differ.")
    if np.isnan(times).all() or np.isnan(trace).all():
        raise ValueError("All times or all values are missing.")
    known = times[~np.isnan(times)]
    if len(known) > 1 and not (np.diff(known) > 0).all():
        raise ValueError("Times must increase.")
    return times, trace


def _filled(trace: np.ndarray) -> np.ndarray:
    """Return a trace with missing values interpolated linearly."""
    known = np.flatnonzero(~np.isnan(trace))
    return np.interp(np.arange(len(trace)), known, trace[known])
