"""Signal and noise over repeats of a stimulus, and ceilings of prediction scores."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from omnimouse_model.metrics.correlation import (
    SENSORIUM_EPS,
    Moments,
    Status,
    Valued,
    first_of,
    is_flat,
    moments,
    nanmean,
    nanvar,
)


@dataclass(frozen=True, slots=True)
class CCScores:
    """The CC family of Schoppe et al. 2016, one value per unit."""

    cc_abs: np.ndarray
    cc_max: np.ndarray
    cc_norm: np.ndarray
    n_effective: np.ndarray
    total_power: np.ndarray
    mean_power: np.ndarray
    signal_power: np.ndarray
    status: np.ndarray


def cc_scores(
    prediction: np.ndarray, target: np.ndarray, ddof: Literal["paper", "fnn"] = "paper"
) -> CCScores:
    """CC_abs, CC_max and CC_norm of (unit, repeat, time) arrays.

    Missing repeats are NaN in the target. With "fnn", the signal power has ddof 1 and
    the variance of the mean ddof 0, as in the released digital-twin code. Values are
    not clipped: CC_norm may exceed 1.
    """
    target = np.asarray(target, np.float64)
    present = np.isfinite(target)
    average = nanmean(target, 1)
    n_effective = _effective_repeats(present)
    # With "paper" the normalisation cancels in the ratio; with "fnn" CC_max is larger
    # by sqrt(T / (T - 1)).
    minus = 1 if ddof == "fnn" else 0
    total = nanmean(nanvar(target, 2, minus), 1)
    mean_power = nanvar(average, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        # SP = (N P - TP) / (N - 1): the power of the mean over repeats contains the
        # noise power divided by N, which this removes without bias.
        signal = n_effective * nanvar(average, 1, minus) - total
        signal = signal / (n_effective - 1)
        ratio = signal / mean_power
    # The tolerance is for the square root in the effective number of repeats. A signal
    # power of 0 or less (noise exceeds the estimate) leaves CC_max undefined, not 0.
    enough = n_effective >= 2 - 1e-9
    moving = (mean_power > 0) & ~is_flat(mean_power, nanmean(average, 1))
    good = enough & moving & (signal > 0)
    cc_max = np.sqrt(np.where(good, ratio, np.nan))
    sums = moments(nanmean(np.asarray(prediction, np.float64), 1), average, axis=1)
    cc_abs = sums.pearson()
    n_samples = present.sum(axis=(1, 2))
    status = first_of(
        (np.full(len(target), target.size == 0), Status.EMPTY),
        (n_samples == 0, Status.NAN_INPUT),
        (~moving, Status.CONSTANT_TARGET),
        (~enough, Status.TOO_FEW_REPEATS),
        (~good, Status.NO_SIGNAL),
        default=sums.status(),
    )
    signal = np.where(enough, signal, np.nan)
    return CCScores(cc_abs, cc_max, cc_abs / cc_max, n_effective, total, mean_power, signal, status)


def _effective_repeats(present: np.ndarray) -> np.ndarray:
    """Return the number of repeats, or its effective value for unequal repeats."""
    repeats = present.sum(axis=1).astype(np.float64)  # (unit, time)
    used = repeats > 0
    # sqrt((sum t - T) / sum((t - 1) / t²)) with t repeats at each of T samples; it
    # equals N where all t are N. Samples without repeats are left out of both sums.
    excess = np.where(used, repeats - 1, 0.0)
    share = np.where(used, excess / np.maximum(repeats, 1) ** 2, 0.0).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.sqrt(excess.sum(axis=1) / share)
    return np.where(share > 0, value, 1.0)


def stack_clips(clips: np.ndarray, burn_in: int = 0) -> np.ndarray:
    """Join (clip, repeat, time, unit) to (unit, repeat, time), without burn-in."""
    scored = clips[:, :, burn_in:]
    return np.concatenate(list(scored), axis=1).transpose(2, 0, 1)


def join_trials(
    clips: Sequence[Sequence[np.ndarray]], burn_in: int = 0, tolerance: int = 1
) -> Float[np.ndarray, "repeat time"]:
    """Join the trials of clips one after the other, without burn-in.

    Parameters
    ----------
    clips
        Trials (time,) of each clip. Trials of a clip are cut to the shortest; clips
        with fewer trials than others get NaN for the missing ones.
    tolerance
        Samples by which trials of a clip may differ in length.

    Raises
    ------
    ValueError
        The trials of a clip differ by more.
    """
    most = max(len(trials) for trials in clips)
    joined = []
    for number, trials in enumerate(clips):
        lengths = [len(trial) for trial in trials]
        if max(lengths) - min(lengths) > tolerance:
            raise ValueError(
                f"The trials of clip {number} have {min(lengths)} to {max(lengths)} "
                f"samples; expected a difference of at most {tolerance}."
            )
        values = np.full((most, min(lengths) - burn_in), np.nan)
        for row, trial in zip(values, trials, strict=False):
            row[:] = trial[burn_in : min(lengths)]
        joined.append(values)
    return np.concatenate(joined, axis=1)


# -- reliability of (stimulus, repeat, unit) arrays -------------------------------
# Each frame of a repeated clip is a stimulus. NaN is a missing repeat; unequal numbers
# of repeats bias all three measures, so they give a warning.


class Explainable(NamedTuple):
    """FEV and FEVE (unit,), and the `Status` of each unit."""

    fev: np.ndarray
    feve: np.ndarray
    status: np.ndarray


def conservative_reliability(target: Float[np.ndarray, "stimulus repeat unit"]) -> Valued:
    """sqrt(V_m / (V_m + V_n)), V_m the variance of means, V_n the mean variance.

    V_m is over stimuli, of the mean over repeats; V_n is over the repeats of a
    stimulus. The value is too high with few repeats; that of `jackknife_reliability` is
    too low.
    """
    target, status = _repeated(target)
    between = nanvar(nanmean(target, 1), 0)
    within = nanmean(nanvar(target, 1), 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.sqrt(between / (between + within))
    return Valued(np.where(status == Status.OK, value, np.nan), status)


def jackknife_reliability(target: Float[np.ndarray, "stimulus repeat unit"]) -> Valued:
    """Correlation of each repeat with the mean of the others, over all samples."""
    target, status = _repeated(target)
    present = np.isfinite(target)
    filled = np.where(present, target, 0.0)
    # The sum over all repeats minus each one gives all means of the others at once,
    # without a loop over repeats.
    n_others = present.sum(axis=1, keepdims=True) - present
    total = filled.sum(axis=1, keepdims=True) - filled
    others = np.where(n_others > 0, total / np.maximum(n_others, 1), np.nan)
    # The public code adds its epsilon here too, so values agree to rounding.
    value = moments(others, target, axis=(0, 1)).pearson(SENSORIUM_EPS)
    return Valued(np.where(status == Status.OK, value, np.nan), status)


def explainable_variance(
    prediction: Float[np.ndarray, "stimulus repeat unit"],
    target: Float[np.ndarray, "stimulus repeat unit"],
) -> Explainable:
    """Fraction of explainable variance (FEV), and the explained share of it (FEVE).

    (V_tot - V_n) / V_tot and 1 - (MSE - V_n) / (V_tot - V_n), variances with ddof 1.
    """
    target, status = _repeated(target)
    # ddof 1: with the few repeats that are usual, ddof 0 underestimates the noise.
    noise = nanmean(nanvar(target, 1, 1), 0)
    flat = target.reshape(-1, target.shape[2])
    total = nanvar(flat, 0, 1)
    error = nanmean((flat - np.reshape(prediction, flat.shape)) ** 2, 0)
    is_ok = status == Status.OK
    with np.errstate(invalid="ignore", divide="ignore"):
        fev = np.where(is_ok, (total - noise) / total, np.nan)
        feve = np.where(is_ok & (total > noise), 1 - (error - noise) / (total - noise), np.nan)
    status = first_of((is_ok & ~(total > noise), Status.NO_SIGNAL), default=status)
    return Explainable(fev, feve, status)


def _repeated(target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the target as float64 and a status per unit; warn of unequal repeats."""
    target = np.asarray(target, np.float64)
    repeats = np.isfinite(target).sum(axis=1)  # (stimulus, unit)
    most = repeats.max(axis=0, initial=0)
    # A stimulus without any repeat of a unit is left out and biases nothing.
    if ((repeats > 0) & (repeats < most)).any():
        warnings.warn(
            "Stimuli have unequal numbers of repeats, which biases reliability and "
            "explainable variance.",
            stacklevel=3,
        )
    flat = target.reshape(-1, target.shape[2])
    spread = nanvar(flat, 0)
    is_moving = (spread > 0) & ~is_flat(spread, nanmean(flat, 0))
    status = first_of(
        (np.full(most.shape, target.size == 0), Status.EMPTY),
        (most == 0, Status.NAN_INPUT),
        (most < 2, Status.TOO_FEW_REPEATS),
        (~is_moving, Status.CONSTANT_TARGET),
    )
    return target, status


# -- signal power, ceiling and oracle of repeats, from running sums -------------------
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
            self._pairs[1:], (own, others, own**2, others**2, own * others), strict=True
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
