"""Exact single-trial ceilings: the correlation that the best prediction reaches.

A ceiling is the correlation of the responses with a conditional mean. The noise of the
events is integrated out, so the ceiling depends on the rates of this session and not on
one draw of the events.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from omnimouse_model.simulate.calcium import CalciumBlock, noise_variance
from omnimouse_model.simulate.population import Calcium


@dataclass(frozen=True, slots=True, eq=False)
class Ceilings:
    """Ceiling per neuron given stimulus and behaviour, and given all fluctuations."""

    drive: Float[np.ndarray, " neuron"]
    full: Float[np.ndarray, " neuron"]


@dataclass(slots=True, eq=False)
class ResponseSums:
    """Running sums over the blocks of a session, in float64."""

    count: int = 0
    _sums: dict[str, np.ndarray] = field(default_factory=dict)

    def add(self, block: CalciumBlock) -> None:
        """Add a block."""
        responses, drive, full = (
            part.astype(np.float64) for part in (block.responses, block.drive, block.full)
        )
        self.count += len(responses)
        products = {
            "responses": responses.sum(axis=0),
            "responses²": (responses**2).sum(axis=0),
            "drive": drive.sum(axis=0),
            "drive²": (drive**2).sum(axis=0),
            "full": full.sum(axis=0),
            "full²": (full**2).sum(axis=0),
            "drive·full": (drive * full).sum(axis=0),
        }
        for name, value in products.items():
            self._sums[name] = self._sums.get(name, 0.0) + value

    def mean(self, name: str) -> Float[np.ndarray, " neuron"]:
        """Return the mean over time of `responses`, `drive` or `full`."""
        return self._sums[name] / self.count

    def variance(self, name: str) -> Float[np.ndarray, " neuron"]:
        """Return the variance over time of `responses`, `drive` or `full`."""
        second = self._sums[f"{name}²"] / self.count
        variance: np.ndarray = np.maximum(second - self.mean(name) ** 2, 0.0)
        return variance

    def ceilings(self, calcium: Calcium) -> Ceilings:
        """Return the ceilings of the blocks added so far."""
        # Responses are `full` plus independent noise. The noise adds to their variance
        # but not to their covariance with a conditional mean.
        noise = noise_variance(self.mean("full"), calcium)
        total = np.sqrt(self.variance("full") + noise)
        product = self.mean("drive·full") - self.mean("drive") * self.mean("full")
        return Ceilings(
            drive=product / np.sqrt(self.variance("drive")) / total,
            full=np.sqrt(self.variance("full")) / total,
        )
