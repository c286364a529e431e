"""Bits per spike of held-out entries, as tests and benchmarks compare them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from omnimouse_model.metrics.information import bits_per_spike, bits_per_spike_per_neuron


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
