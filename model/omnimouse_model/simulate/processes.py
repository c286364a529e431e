"""Random processes of the simulation: leaky integrators and Ornstein-Uhlenbeck noise.

Every random number of a session comes from a stream named by (seed, purpose, block). No
part of a simulation depends on how many random numbers another part uses.
"""

from enum import IntEnum

import numpy as np
from jaxtyping import Float

from omnimouse_model.simulate.specs import RATE_HZ


class Purpose(IntEnum):
    """Purpose of a stream of random numbers."""

    # The numbers are part of the seeds: a changed number changes every simulated
    # session, so they are fixed.
    ANATOMY = 1
    TUNING = 2
    COUPLING = 3
    IMAGING = 4
    CALIBRATION = 5
    TEXTURES = 11
    VIDEO = 12
    TIERS = 13
    BEHAVIOR = 14
    DEVICE_NOISE = 15
    LATENTS = 16
    EVENTS = 17


def stream(seed: int, purpose: Purpose, block: int = 0) -> np.random.Generator:
    """Return the generator of one purpose and block of a session or population."""
    sequence = np.random.SeedSequence([seed, int(purpose), block])
    return np.random.Generator(np.random.PCG64(sequence))


def decay(tau_s: float | np.ndarray) -> np.ndarray:
    """Return the factor by which an exponential decays within one sample of 30 Hz."""
    factor = np.exp(-1.0 / (RATE_HZ * np.asarray(tau_s, np.float64)))
    return np.asarray(factor, np.float32)


def integrate(
    inputs: Float[np.ndarray, "time column"],
    keep: Float[np.ndarray, " column"],
    state: Float[np.ndarray, " column"],
) -> Float[np.ndarray, "time column"]:
    """Integrate with a leak per column, from `state`: state = keep * state + input."""
    outputs = np.empty_like(inputs)
    # Written row by row into the output: the loop over time is needed, and this way it
    # allocates nothing.
    for t in range(len(inputs)):
        np.multiply(keep, state, out=outputs[t])
        outputs[t] += inputs[t]
        state = outputs[t]
    return outputs


def wander(
    rng: np.random.Generator, length: int, tau_s: tuple[float, ...]
) -> Float[np.ndarray, "time column"]:
    """Return Ornstein-Uhlenbeck processes of unit variance, one per time scale."""
    keep = decay(np.array(tau_s))
    # A start from the stationary distribution, so that there is no transient.
    state = rng.standard_normal(len(tau_s)).astype(np.float32)
    return integrate(innovations(rng, length, keep), keep, state)


def innovations(
    rng: np.random.Generator, length: int, keep: Float[np.ndarray, " column"]
) -> Float[np.ndarray, "time column"]:
    """Return the inputs for which `integrate` gives a process of unit variance."""
    noise = rng.standard_normal((length, len(keep)), dtype=np.float32)
    # Stationary variance of an AR(1) process: input variance / (1 - keep²).
    noise *= np.sqrt(1 - keep * keep)
    return noise
