"""Intervals of scores: the jackknife over blocks of time, the bootstrap over neurons.

The estimand of one recording is the score that these neurons would have in further
windows. Samples near in time are not independent, so that blocks of consecutive windows
are left out as a whole. A centred score also depends on windows of the train tier,
which are left out one by one. Neurons are fixed; an interval over "neurons and time"
adds the variance between neurons. The neurons of a mouse are no sample of mice: over
several recordings, mice are left out first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import accumulate

import numpy as np

from omnimouse_model.metrics.correlation import Moments

MIN_BLOCK_S = 10.0
"""Behaviour and shared fluctuations change within seconds: shorter blocks would be
dependent."""
MAX_BLOCKS = 40
"""More blocks gain nothing in coverage and cost memory: 6 numbers per neuron each."""
MIN_BLOCKS = 8
"""Fewer blocks have no interval: the variance itself is then too uncertain."""
Z_95 = 1.959964
NO_LIMITS = (-float("inf"), float("inf"))
CORRELATION_LIMITS = (-1.0, 1.0)
"""Smallest and largest possible value of scores; see `Metric.limits`."""


def time_blocks(starts_s: np.ndarray, duration_s: float) -> np.ndarray:
    """Return the block number of each window, int (n,), for ascending starts.

    Blocks hold windows in a row that cover 10 s; more where there would be more than
    40 blocks, and less, down to one window, where there would be less than 8.

    Examples
    --------
    >>> from omnimouse_model.metrics.time_blocks import time_blocks
    >>> time_blocks(np.arange(0, 40, 2.0), 2.0).tolist()[:6]
    [0, 0, 0, 1, 1, 2]
    """
    if not len(starts_s):
        return np.zeros(0, np.int64)
    gaps = np.diff(starts_s, prepend=starts_s[0] - duration_s)
    covered = np.cumsum(np.minimum(gaps, duration_s))
    least = max(min(MIN_BLOCKS, int(covered[-1] // duration_s)), 1)
    n_blocks = int(np.clip(covered[-1] // MIN_BLOCK_S, least, MAX_BLOCKS))
    place = (covered - covered[0]) / covered[-1]
    return np.asarray(np.minimum((place * n_blocks).astype(np.int64), n_blocks - 1))


def in_turns(order: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """Return an order in which the blocks of time take turns, int (n,).

    The first windows are then a sample of as many blocks as possible: a rare block of
    large responses, which determines score and interval, is not left out for long.

    Parameters
    ----------
    order
        Order of the windows within each block, and of the blocks within each turn.
    blocks
        Block number of each window.

    Examples
    --------
    >>> from omnimouse_model.metrics.time_blocks import in_turns
    >>> in_turns(np.array([1, 0, 3, 2]), np.array([0, 0, 1, 1])).tolist()
    [1, 3, 0, 2]
    """
    turns = np.zeros(len(order), np.int64)
    for block in np.unique(blocks):
        inside = order[blocks[order] == block]
        turns[inside] = np.arange(len(inside))
    return np.asarray(order[np.argsort(turns[order], kind="stable")])


@dataclass(slots=True)
class BlockSums:
    """Moments of each column, and a sum per column, in each block of windows.

    Attributes
    ----------
    blocks
        Block number -> moments of its samples, and a sum (column,) over them, for
        example of the gain in log likelihood.
    """

    blocks: dict[int, tuple[Moments, np.ndarray]] = field(default_factory=dict)

    def add(self, block: int, found: Moments, total: np.ndarray | float = 0.0) -> None:
        """Merge the moments and the sum of some samples into a block."""
        part = found, np.broadcast_to(total, found.count.shape)
        before = self.blocks.get(block)
        self.blocks[block] = part if before is None else _merged(before, part)

    def total(self) -> tuple[Moments, np.ndarray]:
        """Return the moments and the sum of all blocks."""
        return reduce(_merged, self._in_order())

    def centres(self, response: np.ndarray) -> "Centres":
        """Return the fixed means of correlations: mean predictions of these blocks.

        Parameters
        ----------
        response
            Mean response of each column.
        """
        parts = [found for found, _ in self._in_order()]
        without = [
            _mean_prediction(rest, parts[:place] + parts[place + 1 :])
            for place, (rest, _) in enumerate(self.without_each())
        ]
        mean, variance = _mean_prediction(self.total()[0], parts)
        # Of a single window there are none, but an axis of columns.
        shape = len(without), len(mean)
        means, variances = (np.array([one[k] for one in without]).reshape(shape) for k in (0, 1))
        return Centres(mean, response, variance, means, variances)

    def without_each(self) -> list[tuple[Moments, np.ndarray]]:
        """Return the moments and sums of all blocks but one, for each in turn."""
        parts = self._in_order()
        before = list(accumulate(parts, _merged))
        after = list(accumulate(reversed(parts), _merged))[::-1]
        # Merged from both sides: subtraction from the total would lose digits.
        inner = [_merged(one, other) for one, other in zip(before[:-2], after[2:], strict=True)]
        return [*after[1:2], *inner, *before[-2:-1]]

    def _in_order(self) -> list[tuple[Moments, np.ndarray]]:
        return [self.blocks[number] for number in sorted(self.blocks)]


def _merged(
    one: tuple[Moments, np.ndarray], other: tuple[Moments, np.ndarray]
) -> tuple[Moments, np.ndarray]:
    return one[0].merged(other[0]), one[1] + other[1]


def _mean_prediction(total: Moments, parts: Sequence[Moments]) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean prediction of each column, and its squared standard error.

    The error is that of independent parts; 0 for a single one.
    """
    counts = np.array([part.count for part in parts])
    means = np.array([part.mean_prediction for part in parts])
    share = counts / np.maximum(total.count, 1)
    n_parts = np.maximum((counts > 0).sum(axis=0), 2)
    square = (share**2 * (means - total.mean_prediction) ** 2).sum(axis=0)
    return total.mean_prediction, square * n_parts / (n_parts - 1)


@dataclass(frozen=True, slots=True)
class Centres:
    """Fixed means of each column about which correlations are computed.

    Attributes
    ----------
    prediction, response
        Mean prediction over a sample of train windows, and mean response (column,).
    variance
        Squared standard error of `prediction`, (column,).
    predictions, variances
        Both without each train window, (window, column).
    """

    prediction: np.ndarray
    response: np.ndarray
    variance: np.ndarray
    predictions: np.ndarray
    variances: np.ndarray

    def correlations(self, sums: Moments) -> np.ndarray:
        """Return the correlation of each column about these means."""
        return sums.centred(self.prediction, self.response, self.variance)

    def slopes(self, sums: Moments) -> np.ndarray:
        """Return the slope of responses on predictions of each column about these means."""
        return sums.centred_slope(self.prediction, self.response, self.variance)

    def without_each(self, sums: Moments) -> np.ndarray:
        """Return the correlations without each train window, (window, column)."""
        return sums.centred(self.predictions, self.response, self.variances)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A score with its standard error and 95 % interval.

    Attributes
    ----------
    value, error, low, high
        NaN where undefined; `error` is the standard error.
    n_units
        Blocks or mice that were left out in turn.
    unit
        "time", "neurons and time" or "mice": what the interval generalises to.

    The interval ends at the limits of the score, so that its length is no measure of
    the error: use `error` or `half_width`.
    """

    value: float
    error: float
    low: float
    high: float
    n_units: int
    unit: str = "time"

    @property
    def half_width(self) -> float:
        """Half of the interval without limits and extension: the number after ±."""
        return student_quantile(max(self.n_units - 1, 1)) * self.error

    def excludes(self, value: float = 0.0) -> bool:
        """Return whether the interval lies on one side of a value."""
        return self.low > value or self.high < value


def jackknife(
    value: float,
    left_out: np.ndarray | Sequence[float],
    train_left_out: np.ndarray | Sequence[float] = (),
    *,
    unit: str = "time",
    extra_variance: float = 0.0,
    min_units: int = MIN_BLOCKS,
    limits: tuple[float, float] = NO_LIMITS,
    is_extended: bool = True,
) -> Estimate:
    """Return a value with its interval from the values without each unit.

    Parameters
    ----------
    value
        Score of everything.
    left_out
        Score without each block or mouse.
    train_left_out
        Centred score without each window of the train tier.
    extra_variance
        Variance that is added, for example between neurons.
    min_units
        Below this number the interval is NaN.
    limits
        Smallest and largest possible value, where the interval ends.
    is_extended
        Whether the interval is extended by bias and skewness; see the notes.

    Notes
    -----
    The interval is that of Student's t with one degree of freedom less than there are
    units. From 8 units on it is extended, on one side, by the bias of the value and the
    skewness of its error: without a rare block of large responses, a score is both too
    low and seemingly exact. Both are estimated from `left_out`; the term of skewness is
    that of Johnson (1978), doubled, because few blocks show half of it, and at most a
    quarter of the interval, because one block among few tells its size badly.

    A centred score depends on the error of the mean predictions through a square, of
    which the jackknife gives twice the variance; half of it is therefore added.
    """
    rest = np.asarray(left_out, np.float64)
    rest = rest[np.isfinite(rest)]
    n = len(rest)
    if n < max(min_units, 2) or not np.isfinite(value):
        nothing = float("nan")
        return Estimate(float(value), nothing, nothing, nothing, n, unit)
    over_blocks = _variance(rest)
    over_train = _variance(np.asarray(train_left_out, np.float64)) / 2
    error = float(np.sqrt(over_blocks + over_train + extra_variance))
    quantile = student_quantile(n - 1)
    low, high = value - quantile * error, value + quantile * error
    if is_extended and n >= MIN_BLOCKS and over_blocks > 0:
        influence = rest.mean() - rest
        skewness = (influence**3).mean() / (influence**2).mean() ** 1.5
        longest = quantile * error / 2
        from_skewness = skewness * (1 + 2 * quantile**2) / 3 * np.sqrt(over_blocks / n)
        shift = (n - 1) * (value - rest.mean())
        shift += np.clip(from_skewness, -longest, longest)
        low, high = low + min(float(shift), 0.0), high + max(float(shift), 0.0)
    low, high = max(float(low), limits[0]), min(float(high), limits[1])
    return Estimate(float(value), error, low, high, n, unit)


def _variance(left_out: np.ndarray) -> float:
    """Return the jackknife variance of a value, 0 without parts."""
    n = len(left_out)
    return (n - 1) / n * float(((left_out - left_out.mean()) ** 2).sum()) if n else 0.0


def jackknife_errors(left_out: np.ndarray, train_left_out: np.ndarray) -> np.ndarray:
    """Return the standard error of each column from its values without each unit.

    Parameters
    ----------
    left_out, train_left_out
        (unit, column), see `jackknife`. With fewer than 8 blocks, or where a value is
        undefined, the error is NaN.
    """
    n_units, n_columns = left_out.shape
    if n_units < MIN_BLOCKS:
        return np.full(n_columns, np.nan)
    parts = [(n_units, left_out, 1.0), (len(train_left_out), train_left_out, 0.5)]
    variances = [share * (n - 1) * part.var(axis=0) for n, part, share in parts if n]
    return np.asarray(np.sqrt(np.sum(variances, axis=0)))


def jackknife_gain(
    score: Sequence[float | np.ndarray],
    other: Sequence[float | np.ndarray],
    *,
    limits: tuple[float, float] = NO_LIMITS,
) -> Estimate:
    """Return the paired difference of two scores with its interval.

    Each score is its value, its `left_out`, and its `train_left_out` if it is centred.
    Bias and skewness of the two scores cancel, so that the interval is not extended; over
    one that is the same without each block, such as the 0 of a constant prediction, it is
    that of the score. It is NaN where the scores have other blocks, or none. `limits` are
    those of the scores; their difference may be as large as the distance of the two.
    """
    (value, *parts), (of_other, *others) = score, other
    difference = float(value) - float(of_other)
    if [*map(np.size, parts)] != [*map(np.size, others)]:
        return jackknife(difference, [])
    rest = [np.asarray(one) - two for one, two in zip(parts, others, strict=True)]
    if len({float(of_other), *np.ravel(others[0]).tolist()}) == 1:
        low, high = (limit - float(of_other) for limit in limits)
        return jackknife(difference, *rest, limits=(low, high))
    widest = limits[1] - limits[0]
    return jackknife(difference, *rest, limits=(-widest, widest), is_extended=False)


def student_quantile(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t.

    The expansion of Hill (1970) about the normal quantile is exact to 0.2 % from 4
    degrees of freedom; below, the values are tabled.
    """
    if freedom < 4:
        return (12.706, 4.303, 3.182)[freedom - 1]
    z, n = Z_95, float(freedom)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / n + second / n**2 + third / n**3


# -- bootstrap intervals over the neurons of a recording ------------------------------
# They state how well the mean of neurons like these is known in the same windows. For
# further windows, and for other mice, see `time_blocks`.
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
    values = np.nan_to_num(np.asarray(values, np.float64))
    weights = np.ones(len(values)) if weights is None else np.asarray(weights, float)
    # Neurons without scored samples are removed before drawing: they would change the
    # number of drawn neurons without changing the mean.
    used = weights > 0
    values, weights = values[used], weights[used]
    if not len(values):
        return np.nan, np.nan
    means = np.empty(n_resamples)
    for start in range(0, n_resamples, _TOGETHER):
        size = (min(_TOGETHER, n_resamples - start), len(values))
        drawn = generator.integers(len(values), size=size)
        weight = weights[drawn]
        totals = (values[drawn] * weight).sum(1) / weight.sum(1)
        means[start : start + _TOGETHER] = totals
    return _percentiles(means, level)


def _percentiles(means: np.ndarray, level: float) -> tuple[float, float]:
    if np.isnan(means).any():
        return float("nan"), float("nan")
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(means, [tail, 100 - tail])
    return float(low), float(high)
