"""Poisson loss and bits per spike.

Rates are per bin, never per second: with bins of 20 ms, a rate in Hz is wrong by a
factor of 50.
"""

from math import lgamma
from typing import NamedTuple

import numpy as np

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
    shape = spikes.shape
    spikes = np.asarray(spikes, np.float64)
    count = spikes.shape[-1]
    spikes = spikes.reshape(-1, count)
    rates = np.broadcast_to(np.asarray(rates, np.float64), shape).reshape(-1, count)
    present = np.isfinite(spikes)
    _check_rates(rates[present])
    counts = np.where(present, spikes, 0.0)
    rate = np.where(present & (rates != 0), rates, ZERO_RATE)
    model = (counts * np.log(rate) - np.where(present, rate, 0.0)).sum(axis=0)
    total = counts.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        # The null model is constant: its sums have a closed form.
        null = total * np.log(total / present.sum(axis=0)) - total
        values = np.where(total > 0, (model - null) / (total * np.log(2)), np.nan)
    silent = np.where(present.any(axis=0), str(Status.NO_SIGNAL), str(_nothing(spikes)))
    return Valued(values, np.where(total > 0, str(Status.OK), silent))


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
