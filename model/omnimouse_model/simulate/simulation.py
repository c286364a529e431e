"""Simulation of a session, block by block: stimulus, behaviour, rates, responses.

A block is half a second of gray and a video of 10 s (315 samples). Memory does not grow
with the length of the session, except for the behaviour. The video of the next block is
made in a thread meanwhile. All matrix products are in one thread: BLAS has its own.

The drive of a population is normalised by videos that no session shows. The statistics
of the sample recordings are stored, because computing them takes a fifth of a
simulation. After a change of the simulated world, `python -m omnimouse_model.simulate.simulation`
renews them.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float, UInt8

from omnimouse_model.simulate.behavior import Behavior, simulate_behavior
from omnimouse_model.simulate.population import (
    FLOOR,
    SCALE,
    CalciumBlock,
    CalciumImaging,
    Coupling,
    Population,
    Purpose,
    Tuning,
    decay,
    draw_population,
    innovations,
    integrate,
    stream,
)
from omnimouse_model.simulate.receptive_fields import (
    Normalisation,
    ReceptiveFields,
    normalisation,
    to_retina,
)
from omnimouse_model.simulate.specs import (
    BLANK_SAMPLES,
    BLOCK_SAMPLES,
    DEMO_SHOWN,
    RATE_HZ,
    UNSEEN,
    HeldOut,
    MouseSpec,
)
from omnimouse_model.simulate.stimuli import ahead, draw_textures, trial_screen
from omnimouse_model.simulate.truth import FOLDER, Truth, open_truth
from omnimouse_model.storage.arrays.npy import Npz, write_arrays
from omnimouse_model.storage.arrays.rows import ArrayFile, MemoryRows
from omnimouse_model.storage.trees import decode, read_json

# -- normalisation of the drive of a population ---------------------------------------
N_BLOCKS = 18
STORED: Final = Path(__file__).with_name("calibration.npz")
"""Normalisations (2, neuron) of the populations that `omnimouse demo` simulates."""


def population_normalisation(fields: ReceptiveFields, tuning: Tuning, seed: int) -> Normalisation:
    """Return the stored normalisation of a population, or compute it."""
    stored, name = Npz(STORED), _name(seed, len(tuning.power))
    if name in stored:
        return Normalisation(*stored[name])
    return calibrate(fields, tuning, seed)


def calibrate(fields: ReceptiveFields, tuning: Tuning, seed: int) -> Normalisation:
    """Return the normalisation of a population from its responses to 18 videos."""
    # The constants depend on the population alone: with those of a session, the same
    # neuron would have another drive in another recording.
    hidden_seed = int(stream(seed, Purpose.CALIBRATION).integers(2**31))
    textures = draw_textures(hidden_seed, count=8)
    memory = fields.resting_memory()
    straight = np.zeros(BLOCK_SAMPLES, np.float32)

    def retina_of(number: int) -> np.ndarray:
        screen = trial_screen(hidden_seed, number, textures)
        return to_retina(screen, straight, straight)

    responses = []
    for retina in ahead(retina_of, range(N_BLOCKS)):
        response, memory = fields.respond(retina, memory)
        responses.append(response)
    return normalisation(np.concatenate(responses), tuning.power)


def store_normalisations() -> None:
    """Compute and store the normalisations of the sample recordings."""
    found = {}
    for spec in (DEMO_SHOWN, UNSEEN):
        tuning = draw_population(spec.population_seed, spec.n_neurons).tuning
        constants = calibrate(ReceptiveFields(tuning), tuning, spec.population_seed)
        name = _name(spec.population_seed, spec.n_neurons)
        found[name] = np.stack([constants.mean, constants.mean_power])
    write_arrays(STORED, found)


def _name(seed: int, n_neurons: int) -> str:
    return f"population-{seed}-{n_neurons}"


# -- trials and their blocks ----------------------------------------------------------
LEAD_SAMPLES = BLOCK_SAMPLES
"""Samples before the recording starts, in which filters and signal settle."""

# The devices record a little longer than the responses, so behaviour needs a tail.
TAIL_SAMPLES = 2 * RATE_HZ
# Limit of the log gain of behaviour, against rare extreme rates.
GAIN_LIMIT = 2.0


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial of the session: its tier and the number of its video."""

    tier: str
    video: int


@dataclass(frozen=True, slots=True, eq=False)
class TrialBlock:
    """Video, responses and latents of one trial with the gray before it."""

    trial: Trial
    video: UInt8[np.ndarray, "frame row column"]
    recorded: CalciumBlock
    latents: Float[np.ndarray, "time latent"]


def plan_trials(seed: int, n_trials: int, held_out: HeldOut) -> tuple[Trial, ...]:
    """Return the trials, with evenly spread tiers and repeated oracle videos."""
    rng = stream(seed, Purpose.TIERS)
    counts = {
        "train": n_trials - held_out.total,
        "validation": held_out.validation,
        "oracle": held_out.oracle,
        "final_test_1": held_out.final_test_1,
    }
    tiers = [tier for tier, count in counts.items() for _ in range(count)]
    place = [
        # One position per equal part of the session and tier: held-out trials then
        # sample slow changes of state evenly, unlike a random permutation.
        (np.arange(count) + rng.uniform(0.1, 0.9, count)) / max(count, 1)
        for count in counts.values()
    ]
    order = np.argsort(np.concatenate(place), kind="stable")
    trials, repeats = [], 0
    for position, tier in enumerate(tiers[i] for i in order):
        video = position
        if tier == "oracle":
            # Numbers above those of all other trials, so that no other tier shows an
            # oracle video.
            video = n_trials + repeats % held_out.oracle_clips
            repeats += 1
        trials.append(Trial(tier, video))
    return tuple(trials)


class Simulation:
    """One session of one mouse."""

    def __init__(self, spec: MouseSpec) -> None:
        self.spec = spec
        self.population = draw_population(spec.population_seed, spec.n_neurons)
        self.trials = plan_trials(spec.session_seed, spec.n_trials, spec.held_out)
        length = LEAD_SAMPLES + spec.n_samples + TAIL_SAMPLES
        self.behavior = simulate_behavior(spec.session_seed, length)

    def blocks(self) -> Iterator[TrialBlock]:
        """Yield the session in time order, after a lead-in that is not recorded."""
        with ThreadPoolExecutor(1, "omnimouse-video") as pool:
            pictures = pool.submit(draw_textures, self.spec.session_seed)
            rates = _Rates(self.population, self.behavior, self.spec.session_seed)
            textures = pictures.result()
        imaging = CalciumImaging(self.population.calcium)
        trials = (Trial("lead", -1), *self.trials)

        def video(number: int) -> tuple[np.ndarray, np.ndarray]:
            screen = trial_screen(self.spec.session_seed, trials[number].video, textures)
            return screen, rates.retina(number, screen)

        for number, (screen, retina) in enumerate(ahead(video, range(len(trials)))):
            drive, full, latents = rates.block(number, retina)
            rng = stream(self.spec.session_seed, Purpose.EVENTS, number)
            recorded = imaging.record(drive, full, rng)
            if number > 0:
                yield TrialBlock(trials[number], screen[BLANK_SAMPLES:], recorded, latents)


class _Rates:
    """Relative event rates of a population in a session; filter states are kept."""

    def __init__(self, population: Population, behavior: Behavior, seed: int) -> None:
        tuning = population.tuning
        self._behavior, self._seed, self._tuning = behavior, seed, tuning
        self._fields = ReceptiveFields(tuning)
        self._normalisation = population_normalisation(self._fields, tuning, population.seed)
        self._memory = self._fields.resting_memory()
        self._gain = tuning.behavior_gain.T.astype(np.float32)
        self._fluctuations = _Fluctuations(population.coupling, seed)

    def retina(self, number: int, screen: np.ndarray) -> np.ndarray:
        """Return the video of a block on the retina; needs no other block."""
        span = _span(number)
        return to_retina(screen, self._behavior.gaze_x[span], self._behavior.gaze_y[span])

    def block(self, number: int, retina: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return drive, drive with fluctuations, and latents of the next block."""
        response, self._memory = self._fields.respond(retina, self._memory)
        drive = self._normalisation.apply(response, self._tuning.power)
        log_gain = self._behavior.gains[_span(number)] @ self._gain
        drive *= np.exp(np.clip(log_gain, -GAIN_LIMIT, GAIN_LIMIT))
        gain, latents = self._fluctuations.block(number)
        return drive, drive * gain, latents


class _Fluctuations:
    """Shared and private log-normal gains with mean one."""

    def __init__(self, coupling: Coupling, seed: int) -> None:
        self._coupling, self._seed = coupling, seed
        tau = np.concatenate([np.array(coupling.tau_s), coupling.private_tau_s])
        self._keep = decay(tau)
        start = stream(seed, Purpose.LATENTS)
        self._state = start.standard_normal(len(tau)).astype(np.float32)

    def block(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return gain (time, neuron) and shared latents (time, latent) of a block."""
        # Stream 0 is used for the start values.
        rng = stream(self._seed, Purpose.LATENTS, 1 + number)
        noise = innovations(rng, BLOCK_SAMPLES, self._keep)
        process = integrate(noise, self._keep, self._state)
        self._state = process[-1].copy()
        loadings = self._coupling.loadings
        shared, private = np.split(process, [loadings.shape[1]], axis=1)
        variance = (loadings**2).sum(axis=1) + self._coupling.private_sd**2
        log_gain = shared @ loadings.T
        log_gain += private * self._coupling.private_sd
        # The mean of exp(x) is exp(variance / 2) for a normal x of mean 0. Subtracting
        # it gives gains of mean one, so `drive` is the exact conditional mean rate.
        log_gain -= 0.5 * variance
        return np.exp(log_gain), shared.copy()


def _span(number: int) -> slice:
    start = number * BLOCK_SAMPLES
    return slice(start, start + BLOCK_SAMPLES)


# -- expected responses, given only what a mask shows ---------------------------------
# A ceiling of a condition is the correlation of the responses with such a mean. Video and
# behaviour that the mask hides are averaged out, and the private fluctuations of a neuron
# are unknown unless its own responses are visible. Visible responses of other neurons can
# inform about the stimulus, behaviour and shared fluctuations, so that these count as
# known. The gaze shifts the stimulus on the retina and always counts as known. If these
# assumptions are not met, the mean is an upper limit of what a prediction can reach.
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


if __name__ == "__main__":
    store_normalisations()
