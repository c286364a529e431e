"""Scores of likelihood: Poisson, bits per spike, Neural Latents Benchmark, zero-inflated gamma.

Rates are per bin, never per second: with bins of 20 ms, a rate in Hz is wrong by a
factor of 50.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from math import lgamma
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int64

from omnimouse_model.metrics.correlation import Status, Valued, nanmean

ZERO_RATE = 1e-9
"""Replaces a rate of 0, as in the Neural Latents Benchmark."""


class Number(NamedTuple):
    """One float64 number, NaN where undefined, and its `Status`."""

    value: float
    status: Status


def poisson_loss(prediction: np.ndarray, target: np.ndarray, eps: float) -> Number:
    """Mean of prediction - target log(prediction + eps), without Stirling term.

    NaN targets are left out. `eps` is 1e-12 in the public Sensorium code and 1e-8 by
    default in torch: state it with the value.

    Raises
    ------
    ValueError
        For a negative response, or a prediction of a valid target that is negative or
        not finite.
    """
    prediction, target = np.broadcast_arrays(
        np.asarray(prediction, np.float64), np.asarray(target, np.float64)
    )
    present = np.isfinite(target)
    rate, response = prediction[present], target[present]
    if (response < 0).any():
        raise ValueError("Responses must not be negative under a Poisson loss.")
    _check_rates(rate)
    if not len(rate):
        return Number(float("nan"), _nothing(target))
    return Number(float(np.mean(rate - response * np.log(rate + eps))), Status.OK)


def poisson_nll(rates: np.ndarray, spikes: np.ndarray) -> float:
    """Return the negative log-likelihood of spike counts, with the factorial term.

    NaN spikes are left out, and zero rates become 1e-9.

    Raises
    ------
    ValueError
        Shapes differ, or a rate is negative or not finite where there are spikes.
    """
    rates, spikes = np.asarray(rates, np.float64), np.asarray(spikes, np.float64)
    if rates.shape != spikes.shape:
        raise ValueError(f"Rates {rates.shape} and spikes {spikes.shape} differ.")
    present = np.isfinite(spikes)
    _check_rates(rates[present])
    counts, times = np.unique(spikes[present], return_counts=True)
    factorial = sum(map(lambda n, k: k * lgamma(n + 1), counts, times))
    return float(factorial - _poisson_log(rates, spikes, present))


def bits_per_spike(rates: np.ndarray, spikes: np.ndarray) -> Number:
    """Gain over each neuron's mean rate, pooled over a (trial, bin, neuron) array.

    NaN spikes are left out, and zero rates become 1e-9. This is the pooled aggregation
    of the Neural Latents Benchmark (co-bps). NaN without spikes.
    """
    spikes = np.asarray(spikes, np.float64)
    present = np.isfinite(spikes)
    rates = np.broadcast_to(np.asarray(rates, np.float64), spikes.shape)
    _check_rates(rates[present])
    if not present.any():
        return Number(float("nan"), _nothing(spikes))
    total = spikes[present].sum()
    if total == 0:
        return Number(float("nan"), Status.NO_SIGNAL)
    # The null model knows the mean of the evaluated spikes themselves, so a constant
    # prediction can at best reach 0.
    flat = spikes.reshape(-1, spikes.shape[-1])
    null = np.broadcast_to(nanmean(flat, 0), spikes.shape)
    gain = _poisson_log(rates, spikes, present) - _poisson_log(null, spikes, present)
    return Number(float(gain / (total * np.log(2))), Status.OK)


def bits_per_spike_per_neuron(rates: np.ndarray, spikes: np.ndarray) -> Valued:
    """`bits_per_spike` of each neuron alone; NaN for a silent neuron.

    The mean of the finite values is the "per_neuron" aggregation of other benchmarks.
    It differs from the pooled value: never mix the two in one table.
    """
    sums = LikelihoodSums.of(rates, spikes)
    total = sums.spikes.sum(axis=0)
    n_bins = sums.n_bins.sum(axis=0)
    silent = np.where(n_bins > 0, str(Status.NO_SIGNAL), str(_nothing(spikes)))
    return Valued(sums.per_neuron(), np.where(total > 0, str(Status.OK), silent))


@dataclass(frozen=True, slots=True, eq=False)
class LikelihoodSums:
    """Sums over the bins of each trial, from which bits per spike follow.

    Scores of some of the trials need no rates again (intervals over trials).

    Attributes
    ----------
    model
        Poisson log likelihood of the rates, without the factorial term.
    spikes, n_bins
        Numbers of spikes and of bins; bins with NaN spikes are left out.
    """

    model: Float[np.ndarray, "trial neuron"]
    spikes: Float[np.ndarray, "trial neuron"]
    n_bins: Int64[np.ndarray, "trial neuron"]

    @classmethod
    def of(cls, rates: np.ndarray, spikes: np.ndarray) -> "LikelihoodSums":
        """Return the sums of rates and spikes (trial, ..., neuron); zero becomes 1e-9.

        Raises
        ------
        ValueError
            A rate is negative or not finite where there are spikes.
        """
        spikes = np.asarray(spikes, np.float64)
        rates = np.broadcast_to(np.asarray(rates, np.float64), spikes.shape)
        present = np.isfinite(spikes)
        _check_rates(rates[present])
        counts = np.where(present, spikes, 0.0)
        rate = np.where(present & (rates != 0), rates, ZERO_RATE)
        model = counts * np.log(rate) - np.where(present, rate, 0.0)
        bins = tuple(range(1, spikes.ndim - 1))
        return cls(*(part.sum(axis=bins) for part in (model, counts, present)))

    def of_trials(self, trials: np.ndarray) -> "LikelihoodSums":
        """Return the sums of some trials, indices or bool."""
        parts = (self.model, self.spikes, self.n_bins)
        return LikelihoodSums(*(part[trials] for part in parts))

    def per_neuron(self) -> Float[np.ndarray, " neuron"]:
        """Return the bits per spike of each neuron, NaN without spikes."""
        gain, spikes = self._gain()
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(spikes > 0, gain / (spikes * np.log(2)), np.nan)

    def pooled(self) -> float:
        """Return the bits per spike of all neurons together, NaN without spikes."""
        gain, spikes = self._gain()
        total = spikes.sum()
        return float(gain.sum() / (total * np.log(2))) if total > 0 else float("nan")

    def _gain(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the gain in log likelihood over the mean rate, and the spikes."""
        spikes, n_bins = self.spikes.sum(axis=0), self.n_bins.sum(axis=0)
        # The null model is constant, so that its sums have a closed form.
        rate = spikes / np.maximum(n_bins, 1)
        null = spikes * np.log(np.where(rate > 0, rate, 1.0)) - spikes
        return self.model.sum(axis=0) - null, spikes


def _check_rates(rates: np.ndarray) -> None:
    if not (np.isfinite(rates) & (rates >= 0)).all():
        raise ValueError("Rates must be finite and not negative.")


def _nothing(values: np.ndarray) -> Status:
    return Status.NAN_INPUT if values.size else Status.EMPTY


def _poisson_log(rates: np.ndarray, spikes: np.ndarray, present: np.ndarray) -> float:
    # Without the factorial term, which is the same in the model and in the null model
    # and cancels in their difference.
    rate, count = rates[present], spikes[present]
    rate = np.where(rate == 0, ZERO_RATE, rate)
    return float((count * np.log(rate) - rate).sum())


# -- scores of the Neural Latents Benchmark (Pei et al. 2021) -------------------------
# Co-bps and fp-bps are bits per spike, pooled over held-out neurons, or over the bins
# after a trial. Two more describe what the rates contain: the velocity of the hand, by
# ridge regression, and the average over trials of each condition (PSTH).
PENALTIES = np.logspace(-4, 0, 9)
"""Ridge penalties of which cross-validation chooses one."""
FOLDS = 5
Arrays = Mapping[str, np.ndarray]


def nlb_scores(
    target: Arrays,
    submission: Arrays,
    condition_of_trial: Int64[np.ndarray, " trial"] | None = None,
) -> dict[str, float]:
    """Return the scores of rates, with the names of the benchmark.

    Parameters
    ----------
    target
        Spikes and behaviour by the benchmark's names: `eval_spikes_heldout`
        (trial, bin, neuron); if given, `train_behavior` and `eval_behavior`
        (trial, bin, 2), `psth` (condition, bin, neuron), and the spikes
        `eval_spikes_heldin_forward` and `eval_spikes_heldout_forward`.
    submission
        Rates per bin: `train_rates_*` and `eval_rates_*` for `heldin`, `heldout`, and
        `heldin_forward` and `heldout_forward`.
    condition_of_trial
        Condition of each evaluated trial, an index of `psth`.

    Raises
    ------
    ValueError
        Rates are negative or not finite where there are spikes.
    """
    rates = _joined(submission, "eval_rates_heldin", "eval_rates_heldout")
    held_out = submission["eval_rates_heldout"]
    scores = {"co-bps": bits_per_spike(held_out, target["eval_spikes_heldout"]).value}
    if "train_behavior" in target:
        trained = _joined(submission, "train_rates_heldin", "train_rates_heldout")
        scores["vel R2"] = decoding_r2(
            _flat(trained),
            _flat(target["train_behavior"]),
            _flat(rates),
            _flat(target["eval_behavior"]),
        )
    if "psth" in target and condition_of_trial is not None:
        scores["psth R2"] = psth_r2(target["psth"], rates, condition_of_trial)
    if "eval_spikes_heldin_forward" in target:
        names = ("heldin_forward", "heldout_forward")
        scores["fp-bps"] = bits_per_spike(
            _joined(submission, *(f"eval_rates_{name}" for name in names)),
            _joined(target, *(f"eval_spikes_{name}" for name in names)),
        ).value
    return scores


def psth_r2(
    psth: Float[np.ndarray, "condition bin neuron"],
    rates: Float[np.ndarray, "trial bin neuron"],
    condition_of_trial: Int64[np.ndarray, " trial"],
) -> float:
    """Return R² of averages over trials, mean over neurons.

    Bins whose first neuron has no average are left out, as in the benchmark.
    """
    true, predicted = [], []
    for condition in np.unique(condition_of_trial):
        recorded = np.isfinite(psth[condition, :, 0])
        average = rates[condition_of_trial == condition].mean(axis=0)
        true.append(psth[condition][recorded])
        predicted.append(average[recorded])
    return r2(np.concatenate(true), np.concatenate(predicted))


def decoding_r2(
    train_rates: Float[np.ndarray, "sample neuron"],
    train_values: Float[np.ndarray, "sample channel"],
    rates: Float[np.ndarray, "other neuron"],
    values: Float[np.ndarray, "other channel"],
) -> float:
    """Return R² of a ridge regression, whose penalty is chosen by cross-validation.

    Samples whose first value is missing are left out.
    """
    train_rates, train_values = _recorded(train_rates, train_values)
    rates, values = _recorded(rates, values)
    folds = np.array_split(np.arange(len(train_rates)), FOLDS)
    scores = np.zeros(len(PENALTIES))
    for held_out in folds:
        fitted = np.ones(len(train_rates), bool)
        fitted[held_out] = False
        for k, penalty in enumerate(PENALTIES):
            found = _ridge(
                train_rates[fitted], train_values[fitted], train_rates[held_out], penalty
            )
            scores[k] += r2(train_values[held_out], found)
    best = PENALTIES[int(np.argmax(scores))]
    return r2(values, _ridge(train_rates, train_values, rates, best))


def r2(true: np.ndarray, predicted: np.ndarray) -> float:
    """Return R² of columns, mean over columns; a constant column counts 1 or 0."""
    residual = ((true - predicted) ** 2).sum(axis=0)
    total = ((true - true.mean(axis=0)) ** 2).sum(axis=0)
    is_constant = total == 0
    share = residual / np.where(is_constant, 1.0, total)
    shares = np.where(is_constant, (residual > 0).astype(float), share)
    return float(np.mean(1 - shares))


def _ridge(
    inputs: np.ndarray, outputs: np.ndarray, others: np.ndarray, penalty: float
) -> np.ndarray:
    center, middle = inputs.mean(axis=0), outputs.mean(axis=0)
    x, y = inputs - center, outputs - middle
    gram = x.T @ x + penalty * np.eye(x.shape[1])
    return (others - center) @ np.linalg.solve(gram, x.T @ y) + middle


def _recorded(rates: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    is_recorded = np.isfinite(values[:, 0])
    return rates[is_recorded], values[is_recorded]


def _joined(arrays: Arrays, *names: str) -> np.ndarray:
    return np.concatenate([np.asarray(arrays[name], float) for name in names], axis=-1)


def _flat(values: np.ndarray) -> np.ndarray:
    return values.reshape(-1, values.shape[-1])


# -- zero-inflated gamma distribution of deconvolved responses (Schmidt et al. 2025) --
# With probability 1 - q a response is uniform on [0, rho]. With probability q it is above
# `rho` and follows a gamma distribution of shape `k` and scale `theta`, shifted by `rho`.
RHO = 0.005
"""Published threshold; it is not trained."""


def zig_log_likelihood(
    target: np.ndarray, theta: np.ndarray, k: np.ndarray, q: np.ndarray, rho: float = RHO
) -> Valued:
    """Return the log density of each response; the parameters broadcast against it.

    A NaN response has the status NAN_INPUT.

    Raises
    ------
    ValueError
        A parameter is outside its range, or a response is negative.
    """
    target, theta, k, q = (np.asarray(value, np.float64) for value in (target, theta, k, q))
    if not ((theta > 0).all() and (k > 0).all() and rho > 0):
        raise ValueError("theta, k and rho of a zero-inflated gamma must be positive.")
    if not ((q >= 0) & (q <= 1)).all():
        raise ValueError("q of a zero-inflated gamma is a probability, 0 to 1.")
    if (target < 0).any():
        raise ValueError("Responses must not be negative under a zero-inflated gamma.")
    # A response of exactly rho belongs to the uniform part alone, so that the density
    # integrates to 1. The public masks assign it to both parts.
    above = target > rho
    # Below the threshold the gamma branch is not used; 1 keeps its logarithm defined.
    excess = np.where(above, target - rho, 1.0)
    with np.errstate(divide="ignore"):
        # A q of exactly 0 or 1 gives a log density of -inf, which is correct.
        zero = np.log1p(-q) - math.log(rho)
        gamma = (
            np.log(q) + (k - 1) * np.log(excess) - excess / theta - k * np.log(theta) - log_gamma(k)
        )
    missing = np.isnan(target)
    value = np.where(missing, np.nan, np.where(above, gamma, zero))
    status = np.where(missing, str(Status.NAN_INPUT), str(Status.OK))
    return Valued(value, np.broadcast_to(status, value.shape))


def zig_mean(theta: np.ndarray, k: np.ndarray, q: np.ndarray, rho: float = RHO) -> np.ndarray:
    """Return the expected response."""
    return np.asarray(q * (k * theta + rho) + (1 - q) * rho / 2)


def zig_variance(theta: np.ndarray, k: np.ndarray, q: np.ndarray, rho: float = RHO) -> np.ndarray:
    """Return the variance of the response."""
    # Law of total variance; the means of the two parts, k theta + rho and rho / 2,
    # differ by k theta + rho / 2.
    between = q * (1 - q) * (k * theta + rho / 2) ** 2
    return np.asarray(q * k * theta**2 + (1 - q) * rho**2 / 12 + between)


def log_gamma(values: np.ndarray) -> np.ndarray:
    """Return ln Γ of every entry."""
    # A loop over the standard library avoids SciPy, which is optional; there is one
    # shape per neuron, so the loop is short.
    flat = [math.lgamma(value) for value in np.ravel(values).tolist()]
    return np.reshape(np.array(flat, np.float64), np.shape(values))
