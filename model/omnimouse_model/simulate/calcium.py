"""Events and the calcium-like signal they leave, with exact conditional means.

The signal is linear in the events and the events are Poisson given the rate, so the
expectation of the signal is the same filter on the rate: no sampling, no approximation.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from omnimouse_model.simulate.population import Calcium
from omnimouse_model.simulate.processes import decay, integrate
from omnimouse_model.simulate.specs import RATE_HZ

SCALE = 20.0
FLOOR = 0.05
_SIZE_SECOND_MOMENT = 1.5
_MOST_EVENTS = 200


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """A block of responses with their means given the drive, and given latents too."""

    responses: Float[np.ndarray, "time neuron"]
    drive: Float[np.ndarray, "time neuron"]
    full: Float[np.ndarray, "time neuron"]


class CalciumImaging:
    """Turns rates into signals; keeps the state of the signal between blocks."""

    def __init__(self, calcium: Calcium) -> None:
        self._event_rate = (calcium.event_hz / RATE_HZ).astype(np.float32)
        self._keep = np.tile(decay(calcium.tau_s), 3)
        self._state = np.zeros(3 * len(self._event_rate), np.float32)

    def record(
        self,
        drive: Float[np.ndarray, "time neuron"],
        full: Float[np.ndarray, "time neuron"],
        rng: np.random.Generator,
    ) -> Recorded:
        """Draw the events of a block; `drive` and `full` are relative rates."""
        expected = drive * self._event_rate
        actual = full * self._event_rate
        events = _events(actual, rng)
        inputs = np.concatenate([events, expected, actual], axis=1)
        signals = integrate(inputs, self._keep, self._state)
        self._state = signals[-1].copy()
        clean, mean_drive, mean_full = np.split(signals, 3, axis=1)
        floor = FLOOR * rng.standard_exponential(actual.shape, dtype=np.float32)
        return Recorded(
            SCALE * (clean + floor),
            SCALE * (mean_drive + FLOOR),
            SCALE * (mean_full + FLOOR),
        )


def noise_variance(
    mean_full: Float[np.ndarray, " neuron"], calcium: Calcium
) -> Float[np.ndarray, " neuron"]:
    """Variance of the responses around `full`, averaged over time, from its mean."""
    keep = decay(calcium.tau_s).astype(np.float64)
    rate = (mean_full / SCALE - FLOOR) * (1 - keep)
    shot = _SIZE_SECOND_MOMENT * rate / (1 - keep**2)
    return SCALE**2 * (shot + FLOOR**2)


def _events(rate: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Poisson counts by inversion, each event of a gamma size with mean one."""
    chance = rng.random(rate.shape, dtype=np.float32)
    where = np.flatnonzero(chance > np.exp(-rate))
    sizes = np.zeros(rate.size, np.float32)
    sizes[where] = _sizes(chance.reshape(-1)[where], rate.reshape(-1)[where], rng)
    return sizes.reshape(rate.shape)


def _sizes(
    chance: np.ndarray, rate: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Summed size of the events of each sample; `chance` decides how many there are."""
    mean = rate.astype(np.float64)
    total = np.zeros(len(mean))
    mass = np.exp(-mean)
    reached, count = mass.copy(), 0
    more = np.flatnonzero(chance > reached)
    while len(more) and count < _MOST_EVENTS:
        count += 1
        pair = 1.0 - rng.random((2, len(more)))
        total[more] -= 0.5 * np.log(pair[0] * pair[1])
        mass *= mean / count
        reached += mass
        more = more[chance[more] > reached[more]]
    return total
