"""Expected responses of a simulated session, given only what a mask shows.

A ceiling of a condition is the correlation of the responses with such a mean. Video and
behaviour that the mask hides are averaged out, and the private fluctuations of a neuron
are unknown unless its own responses are visible. Visible responses of other neurons can
inform about the stimulus, behaviour and shared fluctuations, so that these count as
known. The gaze shifts the stimulus on the retina and always counts as known. If these
assumptions are not met, the mean is an upper limit of what a prediction can reach.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from omnimouse_model.simulate.population import FLOOR, SCALE, decay, integrate
from omnimouse_model.simulate.simulation import GAIN_LIMIT, LEAD_SAMPLES, Simulation
from omnimouse_model.simulate.specs import MouseSpec
from omnimouse_model.simulate.truth import FOLDER, Truth, open_truth
from omnimouse_model.storage.arrays.array_file import ArrayFile
from omnimouse_model.storage.arrays.row_source import MemoryRows
from omnimouse_model.storage.trees import read_json
from omnimouse_model.storage.typed import decode


@dataclass(frozen=True, slots=True)
class Given:
    """What is known of a session when its responses are predicted.

    Attributes
    ----------
    video, behavior
        The stimulus; pupil and running.
    shared
        The fluctuations that neurons share.
    private
        Those of each neuron, as far as its own responses carry them; implies the rest.
    """

    video: bool
    behavior: bool
    shared: bool = False
    private: bool = False


def conditional_mean(folder: str | Path, truth: Truth, given: Given) -> ArrayFile | MemoryRows:
    """Return the expected responses (T, P), float32, in raw response units.

    Parameters
    ----------
    folder
        The simulated session.
    truth
        Its ground truth.
    given
        What is known.
    """
    if given.private:
        return truth.full
    if given == Given(video=True, behavior=True):
        return truth.drive
    return _computed_mean(str(folder), _spec(folder), given)


# A sweep asks for the same two means in turn, and each takes seconds.
@lru_cache(maxsize=2)
def _computed_mean(folder: str, spec: MouseSpec, given: Given) -> MemoryRows:
    """Return the mean of a condition that is not stored, which is read-only."""
    truth, simulation = open_truth(folder), Simulation(spec)
    keep = decay(simulation.population.calcium.tau_s)
    rates = _rates(truth.drive.open(), keep)
    gain = _behavior_gain(simulation, len(rates))
    # The stimulus alone: the rate without the gain of behaviour.
    rates /= gain
    if not given.video:
        rates[:] = rates.mean(axis=0)
    rates *= gain if given.behavior else gain.mean(axis=0)
    if given.shared:
        # Half of the variance makes the mean of the log-normal gain one.
        log_gain = truth.latents.open() @ truth.loadings.T
        rates *= np.exp(log_gain - 0.5 * (truth.loadings**2).sum(axis=1))
    # The filter before the first sample is at rest: at the mean rate.
    rest = rates.mean(axis=0) / (1 - keep)
    mean = SCALE * (integrate(rates, keep, rest.astype(np.float32)) + FLOOR)
    mean.flags.writeable = False  # the next caller gets the same array
    return MemoryRows(Path(folder), mean)


def _rates(mean: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Return the event rates (time, neuron) that the filter made into a mean."""
    signal = np.asarray(mean, np.float32) / SCALE - FLOOR
    before = np.concatenate([signal[:1], signal[:-1]])
    return np.asarray(np.maximum(signal - keep * before, 0.0))


def _behavior_gain(simulation: Simulation, n_samples: int) -> np.ndarray:
    weights = simulation.population.tuning.behavior_gain.T.astype(np.float32)
    span = slice(LEAD_SAMPLES, LEAD_SAMPLES + n_samples)
    log_gain = simulation.behavior.gains[span] @ weights
    gain: np.ndarray = np.exp(np.clip(log_gain, -GAIN_LIMIT, GAIN_LIMIT))
    return gain


def _spec(folder: str | Path) -> MouseSpec:
    path = Path(folder) / FOLDER / "meta.json"
    return decode(MouseSpec, read_json(path).get("spec"), path, "spec")
