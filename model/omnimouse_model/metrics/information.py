"""Losses and information: Poisson loss, bits per spike.

Rates are per bin, never per second: the factor between the two is the commonest
mistake, and costs tens of bits.
"""

from typing import NamedTuple

import numpy as np

from omnimouse_model.metrics.correlation import Status, Valued, nanmean

ZERO_RATE = 1e-9
"""Stands for a rate of 0, as in the Neural Latents Benchmark."""


class Number(NamedTuple):
    """One float64 number, NaN where undefined, and its `Status`."""

    value: float
    status: Status


def poisson_loss(prediction: np.ndarray, target: np.ndarray, eps: float) -> Number:
    """Mean of prediction - target log(prediction + eps), no Stirling term.

    NaN targets are left out. The public Sensorium code takes an `eps` of 1e-12, torch
    1e-8 by default: say which with the value.

    Raises
    ------
    ValueError
        For a negative response, or a prediction that is not finite where it counts.
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


def bits_per_spike(rates: np.ndarray, spikes: np.ndarray) -> Number:
    """Gain over each neuron's mean rate, pooled over (trial, bin, neuron) arrays.

    NaN spikes are left out, zero rates become 1e-9 (Neural Latents Benchmark: the
    "pooled" aggregation, co-bps). NaN without spikes.
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
    flat = spikes.reshape(-1, spikes.shape[-1])
    null = np.broadcast_to(nanmean(flat, 0), spikes.shape)
    gain = _poisson_log(rates, spikes, present) - _poisson_log(null, spikes, present)
    return Number(float(gain / (total * np.log(2))), Status.OK)


def bits_per_spike_per_neuron(rates: np.ndarray, spikes: np.ndarray) -> Valued:
    """`bits_per_spike` of each neuron alone; NaN for a silent one.

    Their mean over the finite ones is the "per_neuron" aggregation of other
    benchmarks. It is another number than the pooled one: never mix the two.
    """
    rates = np.broadcast_to(rates, spikes.shape)
    found = [
        bits_per_spike(rates[..., [k]], spikes[..., [k]])
        for k in range(spikes.shape[-1])
    ]
    return Valued(
        np.array([one.value for one in found]),
        np.array([str(one.status) for one in found]),
    )


def _check_rates(rates: np.ndarray) -> None:
    if not (np.isfinite(rates) & (rates >= 0)).all():
        raise ValueError("Rates must be finite and not negative.")


def _nothing(values: np.ndarray) -> Status:
    return Status.NAN_INPUT if values.size else Status.EMPTY


def _poisson_log(rates: np.ndarray, spikes: np.ndarray, present: np.ndarray) -> float:
    rate, count = rates[present], spikes[present]
    rate = np.where(rate == 0, ZERO_RATE, rate)
    return float((count * np.log(rate) - rate).sum())
