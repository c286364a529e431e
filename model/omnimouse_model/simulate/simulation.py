"""Simulation of a session, block by block: stimulus, behaviour, rates, responses.

A block is half a second of gray and a video of 10 s (315 samples). Memory does not grow
with the length of the session, except for the behaviour. The video of the next block is
made in a thread meanwhile. All matrix products are in one thread: BLAS has its own.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from omnimouse_model.simulate.behavior import Behavior, simulate_behavior
from omnimouse_model.simulate.calibration import population_normalisation
from omnimouse_model.simulate.population import (
    CalciumBlock,
    CalciumImaging,
    Coupling,
    Population,
    Purpose,
    decay,
    draw_population,
    innovations,
    integrate,
    stream,
)
from omnimouse_model.simulate.receptive_fields import ReceptiveFields, to_retina
from omnimouse_model.simulate.specs import (
    BLANK_SAMPLES,
    BLOCK_SAMPLES,
    RATE_HZ,
    HeldOut,
    MouseSpec,
)
from omnimouse_model.simulate.stimuli import ahead, draw_textures, trial_screen

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
