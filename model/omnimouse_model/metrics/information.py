"""Losses and information: Poisson loss, bits per spike."""

import numpy as np

from omnimouse_model.metrics.correlation import nanmean


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
    null = np.broadcast_to(nanmean(flat, 0), spikes.shape)
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
