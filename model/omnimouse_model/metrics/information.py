"""Poisson loss and bits per spike.

Rates are per bin, never per second: with bins of 20 ms, a rate in Hz is wrong by a
factor of 50.
"""

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
