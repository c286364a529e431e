"""Signal and noise over repeats of a stimulus: what the best prediction can reach."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from omnimouse_model.metrics.correlation import (
    SENSORIUM_EPS,
    Status,
    first_of,
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
    prediction: np.ndarray,
    target: np.ndarray,
    ddof: Literal["paper", "fnn"] = "paper",
) -> CCScores:
    """CC_abs, CC_max and CC_norm of (unit, repeat, time) arrays.

    Missing repeats are NaN in the target. "fnn" takes the signal power with ddof 1
    and the variance of the mean with ddof 0, as the released digital-twin code does.
    Nothing is clipped: CC_norm may exceed 1.
    """
    target = np.asarray(target, np.float64)
    present = np.isfinite(target)
    average = nanmean(target, 1)
    n_effective = _effective_repeats(present)
    minus = 1 if ddof == "fnn" else 0
    total = nanmean(nanvar(target, 2, minus), 1)
    mean_power = nanvar(average, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        signal = n_effective * nanvar(average, 1, minus) - total
        signal = signal / (n_effective - 1)
        ratio = signal / mean_power
    enough, moving = n_effective >= 2 - 1e-9, mean_power > 0
    good = enough & moving & (signal > 0)
    cc_max = np.sqrt(np.where(good, ratio, np.nan))
    found = moments(nanmean(np.asarray(prediction, np.float64), 1), average, axis=1)
    cc_abs = found.pearson()
    status = first_of(
        (~moving, Status.CONSTANT_TARGET),
        (~enough, Status.TOO_FEW_REPEATS),
        (~good, Status.NO_SIGNAL),
        default=found.status(),
    )
    signal = np.where(enough, signal, np.nan)
    return CCScores(
        cc_abs,
        cc_max,
        cc_abs / cc_max,
        n_effective,
        total,
        mean_power,
        signal,
        status,
    )


def _effective_repeats(present: np.ndarray) -> np.ndarray:
    """Number of repeats, or its effective value where samples have unequal ones."""
    repeats = present.sum(axis=1).astype(np.float64)  # (unit, time)
    used = repeats > 0
    excess = np.where(used, repeats - 1, 0.0)
    share = np.where(used, excess / np.maximum(repeats, 1) ** 2, 0.0).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.sqrt(excess.sum(axis=1) / share)
    return np.where(share > 0, value, 1.0)


def stack_clips(clips: np.ndarray, burn_in: int = 0) -> np.ndarray:
    """(clip, repeat, time, unit) to (unit, repeat, time), the first frames dropped."""
    kept = clips[:, :, burn_in:]
    return np.concatenate(list(kept), axis=1).transpose(2, 0, 1)


# -- reliability of (stimulus, repeat, unit) arrays -------------------------------
def conservative_reliability(target: np.ndarray) -> np.ndarray:
    """sqrt(V_m / (V_m + V_n)): variance of repeat means, mean variance within.

    It overestimates with few repeats; `jackknife_reliability` underestimates.
    """
    if target.shape[1] < 2:
        return np.full(target.shape[2], np.nan)
    between = target.mean(axis=1).var(axis=0)
    within = target.var(axis=1).mean(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.sqrt(between / (between + within)))


def jackknife_reliability(target: np.ndarray) -> np.ndarray:
    """Correlation of each repeat with the mean of the others, over all samples."""
    repeats = target.shape[1]
    if repeats < 2:
        return np.full(target.shape[2], np.nan)
    others = (target.sum(axis=1, keepdims=True) - target) / (repeats - 1)
    # The public code adds its epsilon here too.
    return moments(others, target, axis=(0, 1)).pearson(SENSORIUM_EPS)


def explainable_variance(
    prediction: np.ndarray, target: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """FEV and FEVE: what share is explainable, and what share of that is explained."""
    if target.shape[1] < 2:
        nothing = np.full(target.shape[2], np.nan)
        return nothing, nothing
    noise = target.var(axis=1, ddof=1).mean(axis=0)
    total = target.var(axis=(0, 1), ddof=1)
    error = ((target - prediction) ** 2).mean(axis=(0, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        explained = 1 - (error - noise) / (total - noise)
        return (total - noise) / total, explained
