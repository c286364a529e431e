"""Bootstrap intervals over the neurons of a recording, or over sessions and seeds.

The neurons of one mouse are not independent samples of mice: an interval over neurons
states how well the mean of these neurons is known, not the score in another mouse. The
unit of inference is the session.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

N_RESAMPLES = 2000
_TOGETHER = 100
"""Resamples drawn at a time; limits memory."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean, its percentile interval, and the levels that were resampled.

    `levels` is ordered from the outermost level. A level with a single member adds no
    variance and is not listed.
    """

    value: float
    low: float
    high: float
    levels: tuple[str, ...]


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


def hierarchical_interval(
    values: Sequence[Sequence[np.ndarray]],
    weights: Sequence[Sequence[np.ndarray]] | None = None,
    *,
    level: float = 0.95,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Interval of the mean over sessions, resampling sessions, seeds and neurons.

    Parameters
    ----------
    values
        (neuron,) scores for every seed (of training or of drawing) of every session.
        The mean over sessions is weighted by their neurons, as in `overall_score`.
    weights
        Scored samples of each neuron; equal weights if None.

    Returns
    -------
    Interval
        NaN if there is no session, or if a session has no neurons.
    """
    if not values or not all(len(s) and all(len(n) for n in s) for s in values):
        return Interval(*(float("nan"),) * 3, ())
    if weights is None:
        weights = [[np.ones(len(n)) for n in session] for session in values]
    generator = np.random.default_rng(seed)
    sizes = np.array([len(session[0]) for session in values], np.float64)
    center = np.average(
        [_mean(v, w) for v, w in _pairs(values, weights)], weights=sizes
    )
    # (session, resample): means over resampled seeds and neurons of each session. They
    # are drawn once and reused, because the inner levels are the costly ones.
    pools = np.array(
        [
            _session_pool(session, weight, n_resamples, generator)
            for session, weight in _pairs(values, weights)
        ]
    )
    n_sessions = len(values)
    drawn = generator.integers(n_sessions, size=(n_resamples, n_sessions))
    # A session that is drawn twice takes an own member of its pool each time; the same
    # member would understate the variance of the inner levels.
    member = generator.integers(n_resamples, size=drawn.shape)
    # Weights are normalised within each resample, since the drawn sessions differ in
    # their total number of neurons.
    share = sizes[drawn] / sizes[drawn].sum(axis=1, keepdims=True)
    low, high = _percentiles((pools[drawn, member] * share).sum(axis=1), level)
    levels = ("sessions",) * (n_sessions > 1)
    levels += ("seeds",) * any(len(session) > 1 for session in values)
    return Interval(float(center), low, high, (*levels, "neurons"))


def _pairs(
    values: Sequence[Sequence[np.ndarray]], weights: Sequence[Sequence[np.ndarray]]
) -> list[tuple[Sequence[np.ndarray], Sequence[np.ndarray]]]:
    return list(zip(values, weights, strict=True))


def _mean(seeds: Sequence[np.ndarray], weights: Sequence[np.ndarray]) -> float:
    means = [
        # np.average raises an error for weights whose sum is 0.
        np.average(np.nan_to_num(v), weights=w if np.sum(w) else None)
        for v, w in zip(seeds, weights, strict=True)
    ]
    return float(np.mean(means))


def _session_pool(
    seeds: Sequence[np.ndarray],
    weights: Sequence[np.ndarray],
    n_resamples: int,
    generator: np.random.Generator,
) -> np.ndarray:
    """(resample,) means over resampled seeds of resampled neurons."""
    each = np.array(
        [
            _resampled_means(v, w, n_resamples, generator)
            for v, w in zip(seeds, weights, strict=True)
        ]
    )
    # As many seeds as there are, with replacement, anew for every resample.
    drawn = generator.integers(len(each), size=(len(each), n_resamples))
    pool: np.ndarray = each[drawn, np.arange(n_resamples)].mean(axis=0)
    return pool


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
