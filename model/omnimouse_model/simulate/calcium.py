"""Events and their calcium-like signal, with exact conditional means.

The signal is linear in the events, and the events are Poisson given the rate. The
expectation of the signal is therefore the same filter applied to the rate, without
sampling or approximation.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from omnimouse_model.simulate.population import Calcium
from omnimouse_model.simulate.processes import decay, integrate
from omnimouse_model.simulate.specs import RATE_HZ

# Responses are divided by their standard deviation, but by at least 1. The scale lifts
# the standard deviations of all neurons well above 1.
SCALE = 20.0
# Mean of the exponential measurement noise, which keeps responses positive.
FLOOR = 0.05
# Event sizes are gamma of shape 2 and mean 1: variance 0.5, second moment 1.5.
_SIZE_SECOND_MOMENT = 1.5
# Ends the inversion of `_sizes` where rounding keeps the cumulative probability below
# the drawn number.
_MAX_EVENTS = 200


@dataclass(frozen=True, slots=True, eq=False)
class CalciumBlock:
    """Responses of a block, and their means given the drive, and given all latents."""

    responses: Float[np.ndarray, "time neuron"]
    drive: Float[np.ndarray, "time neuron"]
    full: Float[np.ndarray, "time neuron"]


class CalciumImaging:
    """Convert rates to signals; the state of the signal is kept between blocks."""

    def __init__(self, calcium: Calcium) -> None:
        self._event_rate = (calcium.event_hz / RATE_HZ).astype(np.float32)
        self._keep = np.tile(decay(calcium.tau_s), 3)
        self._state = np.zeros(3 * len(self._event_rate), np.float32)

    def record(
        self,
        drive: Float[np.ndarray, "time neuron"],
        full: Float[np.ndarray, "time neuron"],
        rng: np.random.Generator,
    ) -> CalciumBlock:
        """Draw the events of a block and filter them; inputs are relative rates."""
        expected = drive * self._event_rate
        actual = full * self._event_rate
        events = _events(actual, rng)
        # Signal and both conditional means pass the same integrator side by side, so
        # that they cannot differ in their filter or their state.
        inputs = np.concatenate([events, expected, actual], axis=1)
        signals = integrate(inputs, self._keep, self._state)
        # A view would keep the signals of the whole block in memory.
        self._state = signals[-1].copy()
        clean, mean_drive, mean_full = np.split(signals, 3, axis=1)
        floor = FLOOR * rng.standard_exponential(actual.shape, dtype=np.float32)
        return CalciumBlock(
            SCALE * (clean + floor),
            SCALE * (mean_drive + FLOOR),
            SCALE * (mean_full + FLOOR),
        )


def noise_variance(
    mean_full: Float[np.ndarray, " neuron"], calcium: Calcium
) -> Float[np.ndarray, " neuron"]:
    """Return the variance of the responses around `full`, averaged over time."""
    keep = decay(calcium.tau_s).astype(np.float64)
    # Campbell's theorem for a leaky integrator: mean rate / (1 - keep), variance rate
    # E[size²] / (1 - keep²). It is linear in the rate, so its average over time needs
    # the mean of `full` alone.
    rate = (mean_full / SCALE - FLOOR) * (1 - keep)
    shot = _SIZE_SECOND_MOMENT * rate / (1 - keep**2)
    return SCALE**2 * (shot + FLOOR**2)


def _events(rate: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return summed event sizes: Poisson counts, each event of gamma size, mean one."""
    # One uniform number per cell decides the count (inversion). Most cells have no
    # event at 30 Hz, so sizes are drawn only for the few others.
    chance = rng.random(rate.shape, dtype=np.float32)
    events = np.flatnonzero(chance > np.exp(-rate))
    sizes = np.zeros(rate.size, np.float32)
    sizes[events] = _sizes(chance.reshape(-1)[events], rate.reshape(-1)[events], rng)
    return sizes.reshape(rate.shape)


def _sizes(chance: np.ndarray, rate: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the summed event size of each sample; `chance` decides the count."""
    mean = rate.astype(np.float64)
    total = np.zeros(len(mean))
    mass = np.exp(-mean)
    reached, count = mass.copy(), 0
    more = np.flatnonzero(chance > reached)
    while len(more) and count < _MAX_EVENTS:
        count += 1
        # In (0, 1], so that the logarithm is finite. A gamma of shape 2 is the sum of
        # two exponentials.
        pair = 1.0 - rng.random((2, len(more)))
        total[more] -= 0.5 * np.log(pair[0] * pair[1])
        mass *= mean / count
        reached += mass
        more = more[chance[more] > reached[more]]
    return total
