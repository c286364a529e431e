"""Intervals of scores over further time: the jackknife over blocks of windows.

The estimand of one recording is the score that these neurons would have in further
windows. Samples near in time are not independent, so that blocks of consecutive windows
are left out as a whole. Neurons are fixed; an interval over "neurons and time" adds the
variance between neurons. The neurons of a mouse are no sample of mice: over several
recordings, mice are left out first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
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


def time_blocks(starts_s: np.ndarray, duration_s: float) -> np.ndarray:
    """Return the block number of each window, int (n,), for ascending starts.

    Blocks hold windows in a row that span at least 10 s, and more where there would be
    more than 40 blocks. A pause longer than a block does not begin a new one.

    Examples
    --------
    >>> from omnimouse_model.metrics.time_blocks import time_blocks
    >>> time_blocks(np.arange(0, 40, 2.0), 2.0).tolist()[:6]
    [0, 0, 0, 0, 0, 1]
    """
    if not len(starts_s):
        return np.zeros(0, np.int64)
    gaps = np.diff(starts_s, prepend=starts_s[0] - duration_s)
    covered = np.cumsum(np.minimum(gaps, duration_s))
    n_blocks = int(np.clip(covered[-1] // MIN_BLOCK_S, 1, MAX_BLOCKS))
    place = (covered - covered[0]) / covered[-1]
    return np.asarray(np.minimum((place * n_blocks).astype(np.int64), n_blocks - 1))


@dataclass(slots=True)
class BlockMoments:
    """Moments of each column in each block of windows.

    Attributes
    ----------
    blocks
        Block number -> moments of its samples.
    """

    blocks: dict[int, Moments] = field(default_factory=dict)

    def add(self, block: int, found: Moments) -> None:
        """Merge the moments of a window into its block."""
        before = self.blocks.get(block)
        self.blocks[block] = found if before is None else before.merged(found)

    def without_each(self) -> list[Moments]:
        """Return the moments of all blocks but one, for each block in turn."""
        parts = [self.blocks[number] for number in sorted(self.blocks)]
        before = list(accumulate(parts, Moments.merged))
        after = list(accumulate(reversed(parts), Moments.merged))[::-1]
        # Merged from both sides: subtraction from the total would lose digits.
        inner = [
            one.merged(other) for one, other in zip(before[:-2], after[2:], strict=True)
        ]
        return [*after[1:2], *inner, *before[-2:-1]]


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
        "time", "neurons and time" or "mice": over what the interval generalises.
    """

    value: float
    error: float
    low: float
    high: float
    n_units: int
    unit: str = "time"

    def excludes(self, value: float = 0.0) -> bool:
        """Return whether the interval lies on one side of a value."""
        return self.low > value or self.high < value


def jackknife(
    value: float,
    left_out: np.ndarray | Sequence[float],
    *,
    unit: str = "time",
    extra_variance: float = 0.0,
    min_units: int = MIN_BLOCKS,
) -> Estimate:
    """Return a value with its interval from the values without each unit.

    Parameters
    ----------
    value
        Score of everything.
    left_out
        Score without each block or mouse. For a paired difference, the difference of
        two scores without the same blocks.
    extra_variance
        Variance that is added, for example between neurons.
    min_units
        Below this number the interval is NaN.

    Notes
    -----
    The interval is that of Student's t with one degree of freedom less than there are
    units; the mean over many neurons of correlations is close to normal.
    """
    rest = np.asarray(left_out, np.float64)
    rest = rest[np.isfinite(rest)]
    n = len(rest)
    if n < max(min_units, 2) or not np.isfinite(value):
        nothing = float("nan")
        return Estimate(float(value), nothing, nothing, nothing, n, unit)
    variance = (n - 1) / n * float(((rest - rest.mean()) ** 2).sum()) + extra_variance
    error = float(np.sqrt(variance))
    half = student_quantile(n - 1) * error
    return Estimate(float(value), error, value - half, value + half, n, unit)


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
