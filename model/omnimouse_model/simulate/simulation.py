"""Simulation of a session, block by block: visual drive, behaviour, rates, responses.

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
from omnimouse_model.simulate.specs import (
    BLANK_SAMPLES,
    BLOCK_SAMPLES,
    DEMO_SHOWN,
    FRAME_SHAPE,
    RATE_HZ,
    UNSEEN,
    HeldOut,
    MouseSpec,
)
from omnimouse_model.simulate.truth import FOLDER, Truth, open_truth
from omnimouse_model.simulate.video_and_behavior import (
    Behavior,
    ahead,
    draw_textures,
    simulate_behavior,
    trial_screen,
)
from omnimouse_model.storage.arrays.npy import Npz, write_arrays
from omnimouse_model.storage.arrays.rows import ArrayFile, MemoryRows
from omnimouse_model.storage.trees import decode, read_json

# A motion-energy model (Adelson and Bergen 1985): quadrature pairs of Gabors, filtered in
# time for tuning to direction and speed, divided by the local contrast. Complex cells
# take the energy, simple cells one phase.


TAPS = 15
# Samples of a tile in `_filter`; must divide the block length of 315.
_TILE = 35
# Pixels by which frames are widened; more than the largest gaze shift of 9 and the
# extra pixel of the interpolation.
_MARGIN = 12
_BASELINE = 0.15
_CEILING = 25.0


def to_retina(
    video: UInt8[np.ndarray, "time row column"],
    gaze_x: Float[np.ndarray, " time"],
    gaze_y: Float[np.ndarray, " time"],
) -> Float[np.ndarray, "time pixel"]:
    """Return the frames shifted by the gaze (pixels), in contrast, edges repeated."""
    height, width = FRAME_SHAPE
    # Mean and standard deviation that the session stores for its screen.
    contrast = (video.astype(np.float32) - 113.0) / 59.0
    widened = np.pad(contrast, ((0, 0), (_MARGIN,) * 2, (_MARGIN,) * 2), mode="edge")
    retina = np.empty((len(video), height, width), np.float32)
    corner_y, corner_x = np.floor(gaze_y).astype(int), np.floor(gaze_x).astype(int)
    share_y = (gaze_y - corner_y).astype(np.float32).tolist()
    share_x = (gaze_x - corner_x).astype(np.float32).tolist()
    for t, (top, left) in enumerate(zip(corner_y, corner_x, strict=True)):
        top, left = top + _MARGIN, left + _MARGIN
        # Bilinear, because gaze moves by fractions of a pixel; whole-pixel steps would
        # make small eye movements invisible or too large.
        part = widened[t, top : top + height + 1, left : left + width + 1]
        rows = part[:-1] * (1 - share_y[t]) + part[1:] * share_y[t]
        retina[t] = rows[:, :-1] * (1 - share_x[t]) + rows[:, 1:] * share_x[t]
    return retina.reshape(len(video), -1)


@dataclass(frozen=True, slots=True, eq=False)
class FilterMemory:
    """Filter inputs of the samples before a block that its first outputs need."""

    even: Float[np.ndarray, "tap neuron"]
    odd: Float[np.ndarray, "tap neuron"]
    contrast: Float[np.ndarray, "tap neuron"]


class ReceptiveFields:
    """Filters of a population."""

    def __init__(self, tuning: Tuning) -> None:
        # Neurons are sorted by speed and kind, so that those with the same temporal
        # kernel are one contiguous slice instead of a copy by index.
        self._sorted = np.lexsort((tuning.is_complex, tuning.speed_hz))
        self._restore = np.argsort(self._sorted)
        self._groups = _groups(tuning, self._sorted)
        self._direction_index = tuning.direction_index[self._sorted].astype(np.float32)
        self._envelope_sd = tuning.envelope_sd[self._sorted].astype(np.float32)
        self._even, self._odd, self._window = _spatial_filters(tuning, self._sorted)

    def resting_memory(self) -> FilterMemory:
        """Return the memory after a long gray screen."""
        blank = np.zeros((TAPS - 1, len(self._sorted)), np.float32)
        return FilterMemory(blank, blank, blank)

    def respond(
        self, retina: Float[np.ndarray, "time pixel"], memory: FilterMemory
    ) -> tuple[Float[np.ndarray, "time neuron"], FilterMemory]:
        """Return the response divided by contrast, in stored order, and the memory."""
        even = np.concatenate([memory.even, retina @ self._even])
        odd = np.concatenate([memory.odd, retina @ self._odd])
        power = np.maximum((retina * retina) @ self._window, 0)
        contrast = np.concatenate([memory.contrast, np.sqrt(power)])
        envelope = _envelope_kernel()
        local = _filter(contrast, (envelope / envelope.sum())[None])[0]
        # Filters have unit energy, so the response to a grating grows with the width of
        # the envelope; this removes it. 0.25 limits the gain at low contrast.
        divisor = self._envelope_sd * (0.25 + 1.44 * local)
        drive = np.empty_like(local)
        for speed_hz, is_complex, part in self._groups:
            kernels = _quadrature_kernels(speed_hz)
            pair = _filter(even[:, part], kernels), _filter(odd[:, part], kernels)
            drive[:, part] = _combine(*pair, is_complex, self._direction_index[part])
        drive /= divisor
        keep = slice(-(TAPS - 1), None)
        after = FilterMemory(even[keep], odd[keep], contrast[keep])
        return drive[:, self._restore], after


@dataclass(frozen=True, slots=True, eq=False)
class Normalisation:
    """Constants that give every neuron a mean drive of one in the calibration."""

    mean: Float[np.ndarray, " neuron"]
    mean_power: Float[np.ndarray, " neuron"]

    def apply(
        self, response: Float[np.ndarray, "time neuron"], power: np.ndarray
    ) -> Float[np.ndarray, "time neuron"]:
        """Return a drive of mean about one, never below the baseline of 0.15."""
        shaped = _saturate(response / self.mean, power)
        shaped *= (1 - _BASELINE) / self.mean_power
        shaped += _BASELINE
        return shaped


def normalisation(response: Float[np.ndarray, "time neuron"], power: np.ndarray) -> Normalisation:
    """Return the constants from responses to a calibration video."""
    mean = response.mean(axis=0)
    return Normalisation(mean, _saturate(response / mean, power).mean(axis=0))


def _saturate(relative: np.ndarray, power: np.ndarray) -> np.ndarray:
    """Return responses raised to a power, saturating at _CEILING times the mean."""
    raised = relative ** power.astype(np.float32)
    return raised / (1 + raised / _CEILING)


def _groups(tuning: Tuning, order: np.ndarray) -> list[tuple[float, bool, slice]]:
    speed, is_complex = tuning.speed_hz[order], tuning.is_complex[order]
    groups = []
    for value in np.unique(speed):
        for kind in (False, True):
            members = np.flatnonzero((speed == value) & (is_complex == kind))
            if len(members):
                part = slice(int(members[0]), int(members[-1]) + 1)
                groups.append((float(value), kind, part))
    return groups


def _spatial_filters(
    tuning: Tuning, order: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return even and odd Gabors (pixel, neuron), and the local-contrast window."""
    # Envelope and plane wave are products of a factor of the row and one of the column:
    # exponentials of 100 rows and columns instead of 2,304 pixels.
    rows, columns = (np.arange(size, dtype=np.float64)[:, None] for size in FRAME_SHAPE)
    centre = tuning.centre_yx[order]
    down, right = rows - centre[:, 0], columns - centre[:, 1]
    sd, theta = tuning.envelope_sd[order], tuning.direction[order]
    frequency = 2 * np.pi / tuning.wavelength[order]
    envelope = _products(np.exp(-0.5 * (down / sd) ** 2), np.exp(-0.5 * (right / sd) ** 2))
    wave = _products(
        np.exp(1j * (frequency * np.sin(theta) * down + tuning.phase[order])),
        np.exp(1j * frequency * np.cos(theta) * right),
    )
    pair = [envelope * wave.real, envelope * wave.imag]
    weight = envelope / envelope.sum(axis=0)
    # Without their mean, so that a uniform change of luminance gives no response.
    pair = [part - weight * part.sum(axis=0) for part in pair]
    size = np.sqrt(sum((part**2).sum(axis=0) for part in pair) / 2)
    even, odd = ((part / size).astype(np.float32) for part in pair)
    return even, odd, weight.astype(np.float32)


def _products(of_rows: np.ndarray, of_columns: np.ndarray) -> np.ndarray:
    """Return the product for each pixel and neuron, (pixel, neuron)."""
    products: np.ndarray = of_rows[:, None] * of_columns
    return products.reshape(-1, of_rows.shape[1])


def _envelope_kernel() -> np.ndarray:
    lag_s = np.arange(TAPS) / RATE_HZ
    return (lag_s / 0.06) ** 2 * np.exp(-lag_s / 0.045)


def _quadrature_kernels(speed_hz: float) -> Float[np.ndarray, "2 tap"]:
    """Return two temporal filters a quarter of a cycle apart."""
    envelope = _envelope_kernel()
    phase = 2 * np.pi * speed_hz * (np.arange(TAPS) / RATE_HZ - 0.09)
    cosine, sine = envelope * np.cos(phase), envelope * np.sin(phase)
    # The sustained part is reduced but not removed: static patterns still give a weak
    # response.
    cosine = cosine - 0.4 * cosine.sum() * envelope / envelope.sum()
    size = np.sqrt((cosine**2 + sine**2).sum())
    return np.stack([cosine, sine]) / size


def _filter(
    padded: Float[np.ndarray, "padded neuron"], kernels: Float[np.ndarray, "kernel tap"]
) -> Float[np.ndarray, "kernel time neuron"]:
    """Apply causal filters over time, as one small matrix product per tile."""
    n_tiles, n_neurons = BLOCK_SAMPLES // _TILE, padded.shape[1]
    # A product with a banded Toeplitz matrix runs in BLAS for all neurons of a tile at
    # once; a convolution per neuron would be a slow loop.
    toeplitz = np.zeros((len(kernels), _TILE, _TILE + TAPS - 1), np.float32)
    for t in range(_TILE):
        toeplitz[:, t, t : t + TAPS] = kernels[:, ::-1]
    padded = np.ascontiguousarray(padded)
    row, column = padded.strides
    # Tiles overlap by the length of the filter; the strided view shares memory instead
    # of copying, so it must not be written to.
    tiles = np.lib.stride_tricks.as_strided(
        padded, (n_tiles, _TILE + TAPS - 1, n_neurons), (_TILE * row, row, column), writeable=False
    )
    filtered = np.matmul(toeplitz.reshape(-1, _TILE + TAPS - 1), tiles)
    parts: np.ndarray = filtered.reshape(n_tiles, len(kernels), _TILE, n_neurons)
    return parts.transpose(1, 0, 2, 3).reshape(len(kernels), BLOCK_SAMPLES, n_neurons)


def _combine(even: np.ndarray, odd: np.ndarray, is_complex: bool, index: np.ndarray) -> np.ndarray:
    """Return the response to both directions, weighted by the direction index."""
    # Sums and differences of space-time separable filters are oriented in space-time:
    # the first prefers motion against the wave vector, the other along it.
    forward, backward = even[0] + odd[1], even[0] - odd[1]
    if is_complex:
        forward = np.sqrt(forward**2 + (even[1] - odd[0]) ** 2)
        backward = np.sqrt(backward**2 + (even[1] + odd[0]) ** 2)
    else:
        forward, backward = np.maximum(forward, 0), np.maximum(backward, 0)
    return forward * (0.5 + 0.5 * index) + backward * (0.5 - 0.5 * index)


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
    return np.exp(np.clip(log_gain, -GAIN_LIMIT, GAIN_LIMIT))


def _spec(folder: str | Path) -> MouseSpec:
    path = Path(folder) / FOLDER / "meta.json"
    return decode(MouseSpec, read_json(path).get("spec"), path, "spec")


if __name__ == "__main__":
    store_normalisations()
