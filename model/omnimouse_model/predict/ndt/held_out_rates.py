"""Rates of held-out entries: single neurons, windows of bins, regions.

Each function hides entries of trials, predicts them, and returns the rates of the
hidden entries, from which bits per spike follow (`bits_of`). Many neurons are predicted
in one batch.

Source: Jiang et al. 2025 and the public code of Zhang et al. 2024.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from omnimouse_model.metrics.information import (
    bits_per_spike,
    bits_per_spike_per_neuron,
)
from omnimouse_model.nets.ndt.network import Ndt

Trials = Float32[Tensor, "trial bin neuron"]
ONSET, WINDOW, N_WINDOWS = 25, 10, 11
"""First bin, width and number of the windows of forward prediction (Jiang et al.)."""
LAST = 10
"""Bins at the end of a trial that the public code predicts."""
SEQUENCES = 256
"""Trials that are predicted at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Bits:
    """Bits per spike of held-out entries.

    Attributes
    ----------
    per_neuron
        float64 (N,), NaN for neurons without spikes, which are excluded.
    mean, pooled
        Mean over the other neurons; value of all neurons together.
    n_excluded
        Neurons without a value.
    """

    per_neuron: Float[np.ndarray, " neuron"]
    mean: float
    pooled: float
    n_excluded: int


def bits_of(rates: np.ndarray, spikes: np.ndarray) -> Bits:
    """Return the bits per spike of rates (trial, bin, neuron)."""
    values = np.asarray(bits_per_spike_per_neuron(rates, spikes).value)
    known = values[np.isfinite(values)]
    return Bits(
        values,
        float(known.mean()) if len(known) else float("nan"),
        bits_per_spike(rates, spikes).value,
        len(values) - len(known),
    )


def one_neuron_out(net: Ndt, session: str, spikes: Trials) -> np.ndarray:
    """Predict each neuron from all other neurons (co-smoothing)."""

    def hide(neuron: int) -> Tensor:
        hidden = torch.zeros_like(spikes[:1], dtype=torch.bool)
        hidden[..., neuron] = True
        return hidden

    return _neuron_by_neuron(net, session, spikes, "neuron", hide)


def inter_region(
    net: Ndt, session: str, spikes: Trials, regions: Sequence[str]
) -> np.ndarray:
    """Predict the neurons of each region from all other regions."""
    names = np.asarray(regions)
    rates = np.zeros(tuple(spikes.shape), np.float32)
    for region in np.unique(names):
        inside = np.flatnonzero(names == region)
        seen = spikes.clone()
        seen[..., inside] = 0
        found = predicted_rates(net, session, seen, "inter-region")
        rates[..., inside] = found[..., inside]
    return rates


def intra_region(
    net: Ndt, session: str, spikes: Trials, regions: Sequence[str]
) -> np.ndarray:
    """Predict each neuron from the other neurons of its region only."""
    names = np.asarray(regions)

    def hide(neuron: int) -> Tensor:
        outside = torch.from_numpy(names != names[neuron])
        outside[neuron] = True
        return outside.to(spikes.device).expand(1, spikes.shape[1], -1)

    return _neuron_by_neuron(net, session, spikes, "intra-region", hide)


def forward_windows(
    net: Ndt,
    session: str,
    spikes: Trials,
    *,
    onset: int = ONSET,
    width: int = WINDOW,
    n_windows: int = N_WINDOWS,
    hides_future: bool = True,
) -> np.ndarray:
    """Predict consecutive windows of bins, each from all bins before it.

    Parameters
    ----------
    onset, width, n_windows
        First bin, width and number of the windows.
    hides_future
        Hide all bins from a window's start on; otherwise the window alone, which a
        causal network cannot see anyway, unless it leaks.

    Returns
    -------
    float32 (trial, n_windows * width, neuron).

    Raises
    ------
    ValueError
        The trials end before the last window.
    """
    stop = onset + n_windows * width
    if stop > spikes.shape[1]:
        raise ValueError(f"The windows end at bin {stop}, trials at {spikes.shape[1]}.")
    parts = []
    for number in range(n_windows):
        start = onset + number * width
        stop = start + width
        seen = spikes.clone()
        seen[:, start : None if hides_future else stop] = 0
        found = predicted_rates(net, session, seen, "causal")
        parts.append(found[:, start:stop])
    return np.concatenate(parts, axis=1)


def last_bins(net: Ndt, session: str, spikes: Trials, n_bins: int = LAST) -> np.ndarray:
    """Predict the last bins of each trial from the bins before them."""
    seen = spikes.clone()
    seen[:, -n_bins:] = 0
    return predicted_rates(net, session, seen, "causal")[:, -n_bins:]


@torch.inference_mode()
def predicted_rates(net: Ndt, session: str, seen: Trials, scheme: str) -> np.ndarray:
    """Return the rates per bin (trial, bin, neuron) of masked counts."""
    was_training = net.training
    net.eval()
    try:
        parts = [
            net(part, session, scheme).log_rates.exp().cpu().numpy()
            for part in seen.split(SEQUENCES)
        ]
    finally:
        net.train(was_training)
    return np.concatenate(parts)


def _neuron_by_neuron(
    net: Ndt,
    session: str,
    spikes: Trials,
    scheme: str,
    hide: Callable[[int], Tensor],
) -> np.ndarray:
    """Predict each neuron under its own mask; one batch has several neurons."""
    n_trials, n_bins, n_neurons = spikes.shape
    rates = np.zeros((n_trials, n_bins, n_neurons), np.float32)
    for neurons in _parts(n_neurons, max(1, SEQUENCES // n_trials)):
        seen = torch.cat([spikes.masked_fill(hide(k), 0) for k in neurons])
        found = predicted_rates(net, session, seen, scheme)
        found = found.reshape(len(neurons), n_trials, n_bins, n_neurons)
        for own, neuron in zip(found, neurons, strict=True):
            rates[..., neuron] = own[..., neuron]
    return rates


def _parts(count: int, size: int) -> Iterator[range]:
    for start in range(0, count, size):
        yield range(start, min(start + size, count))
