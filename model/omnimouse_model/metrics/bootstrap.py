"""Bootstrap intervals over the neurons of a recording.

They state how well the mean of neurons like these is known in the same windows. For
further windows, and for other mice, see `time_blocks`.
"""

import numpy as np

N_RESAMPLES = 2000
_TOGETHER = 100
"""Resamples drawn at a time; limits memory."""


def bootstrap_interval(
    values: np.ndarray,
    weights: np.ndarray | None = None,
    *,
    level: float = 0.95,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of a (weighted) mean, resampling neurons.

    Undefined neurons count as 0, as in `session_score`. The interval is valid for this
    recording, not for other mice. NaN without neurons.
    """
    generator = np.random.default_rng(seed)
    means = _resampled_means(values, weights, n_resamples, generator)
    return _percentiles(means, level)


def _resampled_means(
    values: np.ndarray,
    weights: np.ndarray | None,
    n_resamples: int,
    generator: np.random.Generator,
) -> np.ndarray:
    """(resample,) weighted means of resampled neurons; NaN without neurons."""
    values = np.nan_to_num(np.asarray(values, np.float64))
    weights = np.ones(len(values)) if weights is None else np.asarray(weights, float)
    # Neurons without scored samples are removed before drawing: they would change the
    # number of drawn neurons without changing the mean.
    used = weights > 0
    values, weights = values[used], weights[used]
    means = np.full(n_resamples, np.nan)
    if not len(values):
        return means
    for start in range(0, n_resamples, _TOGETHER):
        size = (min(_TOGETHER, n_resamples - start), len(values))
        drawn = generator.integers(len(values), size=size)
        weight = weights[drawn]
        totals = (values[drawn] * weight).sum(1) / weight.sum(1)
        means[start : start + _TOGETHER] = totals
    return means


def _percentiles(means: np.ndarray, level: float) -> tuple[float, float]:
    if np.isnan(means).any():
        return float("nan"), float("nan")
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(means, [tail, 100 - tail])
    return float(low), float(high)
