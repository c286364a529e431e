"""Random processes of the simulation: leaky integrators and Ornstein-Uhlenbeck noise.

Every random number of a session comes from a stream named by (seed, purpose, block), so
that no part of a simulation depends on how another one consumed its randomness.
"""

from enum import IntEnum

import numpy as np
from jaxtyping import Float

from omnimouse_model.simulate.specs import RATE_HZ


class Purpose(IntEnum):
    """What a stream of random numbers is for; numbers are frozen."""

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
    """Random numbers of one purpose and block of a session or population."""
    sequence = np.random.SeedSequence([seed, int(purpose), block])
    return np.random.Generator(np.random.PCG64(sequence))


def decay(tau_s: float | np.ndarray) -> np.ndarray:
    """What is left of an exponential after one sample of 30 Hz."""
    left = np.exp(-1.0 / (RATE_HZ * np.asarray(tau_s, np.float64)))
    return np.asarray(left, np.float32)


def integrate(
    inputs: Float[np.ndarray, "time column"],
    keep: Float[np.ndarray, " column"],
    state: Float[np.ndarray, " column"],
) -> Float[np.ndarray, "time column"]:
    """Leaky integrator per column: state = keep * state + input, from `state`."""
    outputs = np.empty_like(inputs)
    for t in range(len(inputs)):
        np.multiply(keep, state, out=outputs[t])
        outputs[t] += inputs[t]
        state = outputs[t]
    return outputs


def wander(
    rng: np.random.Generator, length: int, tau_s: tuple[float, ...]
) -> Float[np.ndarray, "time column"]:
    """Stationary Ornstein-Uhlenbeck processes of unit variance, one per time scale."""
    keep = decay(np.array(tau_s))
    state = rng.standard_normal(len(tau_s)).astype(np.float32)
    return integrate(innovations(rng, length, keep), keep, state)


def innovations(
    rng: np.random.Generator, length: int, keep: Float[np.ndarray, " column"]
) -> Float[np.ndarray, "time column"]:
    """Inputs that make `integrate` a process of unit variance."""
    noise = rng.standard_normal((length, len(keep)), dtype=np.float32)
    noise *= np.sqrt(1 - keep * keep)
    return noise
