"""How good a prediction is: correlations, ceilings, bits per spike; numpy only.

Everything is computed in float64. An undefined value is NaN and has a `Status`
saying why; the aggregation policies state what they do with it. NaN targets are
left out pairwise; NaN predictions on valid targets are an error.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

import numpy as np

Policy = Literal["sensorium", "strict"]
SENSORIUM_EPS = 1e-8
"""Added to both standard deviations by the public Sensorium code."""
_RELATIVE_ZERO = 1e-13
"""A standard deviation below this share of the mean is rounding, not signal."""


class Status(StrEnum):
    """Why a value is what it is."""

    OK = "ok"
    CONSTANT_TARGET = "constant_target"
    CONSTANT_PREDICTION = "constant_prediction"
    TOO_FEW_REPEATS = "too_few_repeats"
    NO_SIGNAL = "no_signal"
    EMPTY = "empty"
    NAN_INPUT = "nan_input"


# -- one correlation ------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Moments:
    """Counts, means and sums of squared deviations of paired samples.

    Everything a Pearson correlation needs, and what can be merged exactly.
    """

    count: np.ndarray
    mean_prediction: np.ndarray
    mean_target: np.ndarray
    square_prediction: np.ndarray
    square_target: np.ndarray
    product: np.ndarray

    def pearson(self, eps: float = 0.0) -> np.ndarray:
        """Correlation clamped to [-1, 1]; NaN where undefined.

        `eps` is added to both population standard deviations.
        """
        count = np.maximum(self.count, 1)
        sd_prediction = np.sqrt(self.square_prediction / count) + eps
        sd_target = np.sqrt(self.square_target / count) + eps
        undefined = self.status() != Status.OK
        with np.errstate(invalid="ignore", divide="ignore"):
            value = self.product / count / (sd_prediction * sd_target)
        return np.where(undefined, np.nan, np.clip(value, -1.0, 1.0))

    def status(self) -> np.ndarray:
        """One `Status` per correlation."""
        empty = self.count == 0
        flat_target = _is_flat(self.square_target, self.mean_target, self.count)
        flat_prediction = _is_flat(
            self.square_prediction, self.mean_prediction, self.count
        )
        return _first_of(
            (empty, Status.EMPTY),
            (flat_target, Status.CONSTANT_TARGET),
            (flat_prediction, Status.CONSTANT_PREDICTION),
        )


def _first_of(
    *cases: tuple[np.ndarray, Status], default: np.ndarray | str = Status.OK
) -> np.ndarray:
    """Word of the first case that holds, per entry."""
    words = [np.asarray(str(word)) for _, word in cases]
    return np.select([case for case, _ in cases], words, default=np.asarray(default))


def _is_flat(square: np.ndarray, mean: np.ndarray, count: np.ndarray) -> np.ndarray:
    sd = np.sqrt(np.maximum(square, 0.0) / np.maximum(count, 1))
    return np.asarray(sd <= _RELATIVE_ZERO * np.abs(mean))


def moments(
    prediction: np.ndarray,
    target: np.ndarray,
    axis: int | tuple[int, ...] = 0,
    valid: np.ndarray | None = None,
) -> Moments:
    """Two-pass moments over `axis`, in float64, of the valid pairs."""
    prediction, target = np.broadcast_arrays(
        np.asarray(prediction, np.float64), np.asarray(target, np.float64)
    )
    if valid is None:
        valid = np.isfinite(prediction) & np.isfinite(target)
    valid = np.broadcast_to(valid, target.shape)
    count = valid.sum(axis=axis)
    divisor = np.maximum(count, 1)

    def centred(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = np.where(valid, values, 0.0)
        mean = values.sum(axis=axis) / divisor
        spread = np.expand_dims(mean, axis)
        return mean, np.where(valid, values - spread, 0.0)

    mean_prediction, d_prediction = centred(prediction)
    mean_target, d_target = centred(target)
    return Moments(
        count,
        mean_prediction,
        mean_target,
        (d_prediction * d_prediction).sum(axis=axis),
        (d_target * d_target).sum(axis=axis),
        (d_prediction * d_target).sum(axis=axis),
    )


def correlation(
    prediction: np.ndarray, target: np.ndarray, axis: int | tuple[int, ...] = 0
) -> np.ndarray:
    """Pearson correlation over `axis`.

    Pairs with a NaN on either side are left out; NaN where nothing is left or one
    side is constant. For scores use `single_trial`, which is stricter.
    """
    return moments(prediction, target, axis).pearson()


def single_trial(
    prediction: np.ndarray, target: np.ndarray, policy: Policy = "sensorium"
) -> tuple[np.ndarray, np.ndarray]:
    """Correlation per neuron of (sample, neuron) arrays, and its status.

    "sensorium" adds 1e-8 to the standard deviations and scores an undefined neuron
    0; "strict" adds nothing and gives NaN.
    """
    missing = np.isfinite(target) & ~np.isfinite(prediction)
    if missing.any():
        raise ValueError(
            f"{int(missing.sum())} predictions are not finite where the target is; "
            "a predictor must answer every asked sample."
        )
    found = moments(prediction, target, axis=0)
    eps = SENSORIUM_EPS if policy == "sensorium" else 0.0
    value = found.pearson(eps)
    return (np.nan_to_num(value) if policy == "sensorium" else value), found.status()


def correlation_to_average(
    prediction: np.ndarray, target: np.ndarray, policy: Policy = "sensorium"
) -> np.ndarray:
    """Correlation of (repeat, time, neuron) arrays after averaging the repeats."""
    return single_trial(prediction.mean(axis=0), target.mean(axis=0), policy)[0]


# -- streaming ------------------------------------------------------------------
@dataclass(slots=True)
class StreamingCorrelation:
    """Correlation per column over blocks that come one by one, in bounded memory.

    Running mean, variance and covariance per (position in the block, column),
    merged over positions at the end: a neuron's samples are pooled over all blocks.
    """

    n_positions: int
    n_columns: int
    _sums: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._sums = np.zeros((6, self.n_positions, self.n_columns))

    def update(
        self,
        prediction: np.ndarray,
        target: np.ndarray,
        cells: np.ndarray | None = None,
        columns: np.ndarray | slice = slice(None),
    ) -> None:
        """Add one block (position, column); `cells` says which of it count.

        Non-finite targets never count; a non-finite prediction that would is an error.
        """
        counted = np.isfinite(target) & (True if cells is None else cells)
        if not np.isfinite(prediction[counted]).all():
            raise ValueError("A prediction that is to be scored is not finite.")
        x = np.where(counted, prediction, 0.0).astype(np.float64)
        y = np.where(counted, target, 0.0).astype(np.float64)
        count, mean_x, mean_y, square_x, square_y, product = self._sums[:, :, columns]
        count = count + counted
        divisor = np.maximum(count, 1)
        dx, dy = np.where(counted, x - mean_x, 0), np.where(counted, y - mean_y, 0)
        mean_x, mean_y = mean_x + dx / divisor, mean_y + dy / divisor
        rest_x = np.where(counted, x - mean_x, 0)
        rest_y = np.where(counted, y - mean_y, 0)
        self._sums[:, :, columns] = (
            count,
            mean_x,
            mean_y,
            square_x + dx * rest_x,
            square_y + dy * rest_y,
            product + dx * rest_y,
        )

    def moments(self) -> Moments:
        """Moments per column, merged over positions by the parallel formula."""
        count, mean_x, mean_y, square_x, square_y, product = self._sums
        total = count.sum(axis=0)
        divisor = np.maximum(total, 1)
        grand_x = (count * mean_x).sum(axis=0) / divisor
        grand_y = (count * mean_y).sum(axis=0) / divisor
        dx, dy = mean_x - grand_x, mean_y - grand_y
        return Moments(
            total,
            grand_x,
            grand_y,
            (square_x + count * dx * dx).sum(axis=0),
            (square_y + count * dy * dy).sum(axis=0),
            (product + count * dx * dy).sum(axis=0),
        )

    def pearson(self) -> np.ndarray:
        """Correlation per column, NaN where undefined."""
        return self.moments().pearson()


# -- aggregates -----------------------------------------------------------------
def session_score(values: np.ndarray, counts: np.ndarray) -> float:
    """Mean over neurons weighted by their scored samples (policy "omnimouse").

    An undefined neuron adds 0 and keeps its weight; NaN where nothing was scored.
    """
    total = float(np.sum(counts))
    return float(np.nan_to_num(values) @ counts / total) if total else float("nan")


def overall_score(scores: np.ndarray, n_neurons: np.ndarray) -> float:
    """Mean over sessions weighted by their neurons (policy "omnimouse")."""
    return float(np.average(scores, weights=n_neurons))


def pooled_score(per_session: list[np.ndarray]) -> float:
    """Mean over the neurons of all mice together (policy "sensorium")."""
    return float(np.nan_to_num(np.concatenate(per_session)).mean())


def mean_of_mice(per_session: list[np.ndarray]) -> float:
    """Mean over mice of each mouse's mean over neurons."""
    return float(np.mean([np.nan_to_num(values).mean() for values in per_session]))


def bootstrap_interval(
    values: np.ndarray,
    weights: np.ndarray | None = None,
    *,
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of a (weighted) mean, resampling neurons.

    Undefined neurons count as 0, as in `session_score`. It speaks of these neurons
    in this recording, not of other mice. NaN without neurons.
    """
    values = np.nan_to_num(np.asarray(values, np.float64))
    weights = np.ones(len(values)) if weights is None else np.asarray(weights, float)
    used = weights > 0
    values, weights = values[used], weights[used]
    if not len(values):
        return float("nan"), float("nan")
    generator = np.random.default_rng(seed)
    means = np.empty(n_resamples)
    for start in range(0, n_resamples, 100):
        size = (min(100, n_resamples - start), len(values))
        drawn = generator.integers(len(values), size=size)
        weight = weights[drawn]
        means[start : start + 100] = (values[drawn] * weight).sum(1) / weight.sum(1)
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(means, [tail, 100 - tail])
    return float(low), float(high)


# -- signal and noise over repeats ----------------------------------------------
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
    average = _nanmean(target, 1)
    n_effective = _effective_repeats(present)
    minus = 1 if ddof == "fnn" else 0
    total = _nanmean(_nanvar(target, 2, minus), 1)
    mean_power = _nanvar(average, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        signal = n_effective * _nanvar(average, 1, minus) - total
        signal = signal / (n_effective - 1)
        ratio = signal / mean_power
    enough, moving = n_effective >= 2 - 1e-9, mean_power > 0
    good = enough & moving & (signal > 0)
    cc_max = np.sqrt(np.where(good, ratio, np.nan))
    found = moments(_nanmean(np.asarray(prediction, np.float64), 1), average, axis=1)
    cc_abs = found.pearson()
    status = _first_of(
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


def _nanmean(values: np.ndarray, axis: int) -> np.ndarray:
    present = np.isfinite(values)
    count = present.sum(axis=axis)
    total = np.where(present, values, 0.0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _nanvar(values: np.ndarray, axis: int, ddof: int = 0) -> np.ndarray:
    spread = values - np.expand_dims(_nanmean(values, axis), axis)
    count = np.isfinite(values).sum(axis=axis)
    biased = _nanmean(spread * spread, axis)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(
            np.where(count > ddof, biased * count / (count - ddof), np.nan)
        )


def stack_clips(clips: np.ndarray, burn_in: int = 0) -> np.ndarray:
    """(clip, repeat, time, unit) to (unit, repeat, time), the first frames dropped."""
    kept = clips[:, :, burn_in:]
    return np.concatenate(list(kept), axis=1).transpose(2, 0, 1)


# -- losses and information -----------------------------------------------------
def poisson_loss(prediction: np.ndarray, target: np.ndarray, eps: float) -> float:
    """Mean of prediction - target log(prediction + eps), no Stirling term."""
    prediction = np.asarray(prediction, np.float64)
    return float(np.mean(prediction - target * np.log(prediction + eps)))


def bits_per_spike(rates: np.ndarray, spikes: np.ndarray) -> float:
    """Gain over each neuron's mean rate, pooled over (trial, bin, neuron) arrays.

    Rates are per bin, not per second. NaN spikes are left out, zero rates become
    1e-9 (Neural Latents Benchmark); NaN without spikes.
    """
    spikes = np.asarray(spikes, np.float64)
    present = np.isfinite(spikes)
    rates = np.broadcast_to(np.asarray(rates, np.float64), spikes.shape)
    if not (rates[present] >= 0).all():
        raise ValueError("Rates must be finite and not negative.")
    total = spikes[present].sum()
    if total == 0:
        return float("nan")
    flat = spikes.reshape(-1, spikes.shape[-1])
    null = np.broadcast_to(_nanmean(flat, 0), spikes.shape)
    gain = _poisson_log(rates, spikes, present) - _poisson_log(null, spikes, present)
    return float(gain / (total * np.log(2)))


def _poisson_log(rates: np.ndarray, spikes: np.ndarray, present: np.ndarray) -> float:
    rate, count = rates[present], spikes[present]
    rate = np.where(rate == 0, 1e-9, rate)
    return float((count * np.log(rate) - rate).sum())


def bits_per_spike_per_neuron(rates: np.ndarray, spikes: np.ndarray) -> np.ndarray:
    """`bits_per_spike` of each neuron alone; NaN for a silent one."""
    rates = np.broadcast_to(rates, spikes.shape)
    columns = range(spikes.shape[-1])
    return np.array(
        [bits_per_spike(rates[..., [k]], spikes[..., [k]]) for k in columns]
    )


# -- behaviour ------------------------------------------------------------------
def behavior_groups(correlations: dict[str, float]) -> dict[str, float]:
    """Average decoded channels as the paper groups them, by name.

    "location" is the mean of pupil x and y, "size" of pupil size and its change,
    "average" the mean of the three groups.
    """
    groups = {
        "location": (correlations["pupil_x"] + correlations["pupil_y"]) / 2,
        "size": (correlations["pupil_size"] + correlations["pupil_dsize"]) / 2,
        "running": correlations["running"],
    }
    return groups | {"average": sum(groups.values()) / 3}
