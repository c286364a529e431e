"""Signal power, ceiling and oracle of repeats, from running sums."""

import numpy as np
from jaxtyping import Float

from omnimouse_model.metrics.correlation import (
    SENSORIUM_EPS,
    Moments,
    Status,
    first_of,
)

_BLOCK = 512
"""Units processed at a time; limits the memory of intermediate arrays."""
_ROUNDING = 1e-12
"""A variance below this fraction of the squared mean is rounding error."""


class RunningRepeats:
    """Running sums over (repeat, time, unit) responses, added in pieces of time.

    Signal power and oracle agree with `cc_scores` and `jackknife_reliability` of all
    pieces joined along time, so clips of any length can be pooled. The oracle agrees
    only if no repeat is missing.

    Parameters
    ----------
    n_repeats, n_units
        Size of the first and last axis of every piece.
    """

    def __init__(self, n_repeats: int, n_units: int) -> None:
        self._n_repeats = n_repeats
        each, unit = (n_repeats, n_units), (n_units,)
        self._by_repeat = np.zeros((3, *each))  # count, sum, sum of squares
        # Count, sum and sum of squares over time of the mean over repeats.
        self._average = np.zeros((3, *unit))
        # Numerator and denominator of the effective number of repeats, as in `repeats`.
        self._excess, self._share = np.zeros(unit), np.zeros(unit)
        # Count and sums of own, others, own², others², own times others.
        self._pairs = np.zeros((6, *unit))

    def add(self, responses: Float[np.ndarray, "repeat time unit"]) -> None:
        """Add a piece; NaN is a missing response."""
        for first in range(0, responses.shape[2], _BLOCK):
            part = slice(first, first + _BLOCK)
            self._add(part, responses[:, :, part].astype(np.float64))

    @property
    def status(self) -> np.ndarray:
        """Reason why a unit has no ceiling, or `Status.OK`."""
        _, average, enough, signal = self._powers()
        return first_of(
            (self._by_repeat[0].sum(axis=0) == 0, Status.EMPTY),
            (~(average > 0), Status.CONSTANT_TARGET),
            (~enough, Status.TOO_FEW_REPEATS),
            (~(signal > 0), Status.NO_SIGNAL),
        )

    @property
    def single_trial_max(self) -> Float[np.ndarray, " unit"]:
        """Correlation of a perfect prediction with single repeats; NaN if undefined."""
        total, *_, signal = self._powers()
        with np.errstate(invalid="ignore", divide="ignore"):
            # Signal power over the power of single repeats: the ceiling of a
            # single-trial score. CC_max is for the mean over repeats and is higher.
            single = np.sqrt(np.maximum(signal, 0.0) / total)
        return np.where(self.status == Status.OK, single, np.nan)

    @property
    def oracle(self) -> Float[np.ndarray, " unit"]:
        """Correlation of each repeat with the mean of the others; NaN if undefined.

        Only samples without a missing repeat count.
        """
        count, own, others, own_2, others_2, product = self._pairs
        n = np.maximum(count, 1)
        value = Moments(
            count,
            others / n,
            own / n,
            # Sums of squares about the mean from raw sums. Their difference can be
            # slightly negative by rounding.
            np.maximum(others_2 - others**2 / n, 0.0),
            np.maximum(own_2 - own**2 / n, 0.0),
            product - own * others / n,
        ).pearson(SENSORIUM_EPS)
        # Checked with a wider tolerance than in `Moments`, because raw sums of squares
        # lose more digits than centred ones.
        is_still = _variance(self._pairs[[0, 1, 3]]) <= 0
        # Every complete sample adds one pair per repeat, so this is one sample at most.
        is_short = count <= self._n_repeats
        return np.where(is_still | is_short, np.nan, value)

    def _powers(self) -> tuple[np.ndarray, ...]:
        """Return total power, power of the mean, enough repeats, signal power."""
        each = _variance(self._by_repeat)
        is_present = np.isfinite(each)
        n_present = np.maximum(is_present.sum(axis=0), 1)
        total = np.where(is_present, each, 0.0).sum(axis=0) / n_present
        average = _variance(self._average)
        with np.errstate(invalid="ignore", divide="ignore"):
            n = np.sqrt(self._excess / self._share)
            n = np.where(self._share > 0, n, 1.0)
            signal = (n * average - total) / (n - 1)
        return total, average, n >= 2 - 1e-9, signal

    def _add(self, part: slice, values: np.ndarray) -> None:
        present = np.isfinite(values)
        filled = np.where(present, values, 0.0)
        for of, added in zip(self._by_repeat, (present, filled, filled**2), strict=True):
            of[:, part] += added.sum(axis=1)
        repeats, total = present.sum(axis=0), filled.sum(axis=0)
        average = total / np.maximum(repeats, 1)
        for of, added in zip(self._average, (repeats > 0, average, average**2), strict=True):
            of[part] += added.sum(axis=0)
        excess = np.maximum(repeats - 1, 0)
        self._excess[part] += excess.sum(axis=0)
        self._share[part] += (excess / np.maximum(repeats, 1) ** 2).sum(axis=0)
        # A single repeat has no others to correlate with; the status says so.
        if self._n_repeats < 2:
            return
        # Where a repeat is missing, the mean of the others has more noise than
        # elsewhere; such samples are left out of the oracle.
        is_complete = repeats == self._n_repeats
        own = np.where(is_complete, filled, 0.0)
        others = np.where(is_complete, (total - filled) / (self._n_repeats - 1), 0.0)
        self._pairs[0, part] += self._n_repeats * is_complete.sum(axis=0)
        for of, added in zip(
            self._pairs[1:],
            (own, others, own**2, others**2, own * others),
            strict=True,
        ):
            of[part] += added.sum(axis=(0, 1))


def _variance(sums: np.ndarray) -> np.ndarray:
    """Variance from (count, sum, sum of squares); 0 if rounding, NaN if no samples."""
    count, total, squares = sums
    n = np.maximum(count, 1)
    mean = total / n
    value = squares / n - mean**2
    value = np.where(value > _ROUNDING * mean**2, value, 0.0)
    return np.where(count > 0, value, np.nan)
