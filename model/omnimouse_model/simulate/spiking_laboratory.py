"""A simulated laboratory of spiking recordings: seven animals, four regions, choices.

Each animal decides on which side a stimulus was. Three latent numbers follow linear
dynamics, `z <- A z + B u + noise`: two rotate, kicked by the stimulus, the choice and
its outcome; the third integrates evidence up to the choice. The log-rate of a unit is
linear in them, with weights of its region, so that rates are known exactly and spikes
are Poisson.

The dynamics `A` are the same in the relatives, which include the animal that no model
is trained on; each stranger has dynamics of its own. Weights are drawn for each animal.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.errors import SessionFormatError
from omnimouse_model.extras import named_extras
from omnimouse_model.storage.arrays.npy import Npz, write_arrays

# -- A simulated spiking recording: two probes, areas by depth, trials, spike trains --
# Rates are known exactly: a baseline, a response to the stimulus of the trial, a shared
# fluctuation of the population, and running. Spikes are Poisson, so that no predictor
# can reach more bits per spike than the rates themselves.
FINE_STEP_S = 0.001
TRIAL_S = 4.0
_ONSET_S = 1.0
_PROBES = ("A", "B")
_AREAS = ("V1", "HPC")
_RUNNING_HZ = 50


@dataclass(frozen=True, slots=True)
class SpikingSpec:
    """Size and seed of a simulated spiking recording.

    Attributes
    ----------
    seed
        Fixes units, behaviour and spikes.
    n_units, n_trials
        Numbers of units and trials; a trial comes every 4 s.
    """

    seed: int = 0
    n_units: int = 24
    n_trials: int = 60


def spiking_arrays(spec: SpikingSpec = SpikingSpec()) -> Mapping[str, Any]:
    """Return a spiking recording as arrays that `open_session` reads.

    Examples
    --------
    >>> from omnimouse_model.simulate.spiking_laboratory import spiking_arrays
    >>> spiking = om.open_session(spiking_arrays())
    >>> bins = om.WindowSpec(3.0, 50.0, responses="count", align="trial")
    >>> spiking.window(20.0, bins).responses.shape
    (150, 24)
    """
    draw = np.random.default_rng(spec.seed)
    onsets = _ONSET_S + TRIAL_S * np.arange(spec.n_trials)
    is_left = draw.random(spec.n_trials) < 0.5
    duration_s = TRIAL_S * spec.n_trials + _ONSET_S
    rates, running = _rates(spec, draw, onsets, is_left, duration_s)
    spikes = poisson_spikes(rates, FINE_STEP_S, draw)
    # Two of ten trials are held out, spread over the recording.
    tiers = np.array((["train"] * 8 + ["validation", "test"]) * spec.n_trials)
    probe = np.arange(spec.n_units) % len(_PROBES)
    # Units alternate between probes, so that both cross both areas.
    depth = np.linspace(0, 1400, spec.n_units)
    return {
        "id": f"spiking-{spec.seed}",
        "animal_id": "spiking",
        **spikes,
        "stop_s": duration_s,
        "unit_ids": np.arange(spec.n_units),
        "probe": np.array(_PROBES)[probe],
        "area": np.where(depth < 700, *_AREAS),
        "xyz_um": np.stack([250.0 * probe, np.zeros(spec.n_units), depth], axis=1),
        "trial_start": onsets,
        "trial_stop": onsets + TRIAL_S - 0.5,
        "trial_tier": tiers[: spec.n_trials],
        "trial_stim_id": np.where(is_left, "left", "right"),
        "running": running,
        "running_rate_hz": float(_RUNNING_HZ),
    }


def poisson_spikes(
    rates: np.ndarray, step_s: float, draw: np.random.Generator
) -> dict[str, np.ndarray]:
    """Return spike times and their units, of rates (step, unit) in spikes/s."""
    # Counts per step, then a uniform time within it: a Poisson process with constant
    # rate in each step.
    spikes = draw.poisson(rates * step_s)
    step, unit = np.nonzero(spikes)
    repeats = spikes[step, unit]
    times = (np.repeat(step, repeats) + draw.random(repeats.sum())) * step_s
    return {"spike_times": times, "spike_unit": np.repeat(unit, repeats)}


def red_noise(
    draw: np.random.Generator, n_steps: int, step_s: float, time_constant_s: float
) -> np.ndarray:
    """Return an Ornstein-Uhlenbeck process of unit variance, float64 (step,)."""
    with named_extras():
        from scipy.signal import lfilter

    keep = np.exp(-step_s / time_constant_s)
    noise = draw.normal(size=n_steps) * np.sqrt(1 - keep**2)
    return np.asarray(lfilter([1.0], [1.0, -keep], noise))


def _rates(
    spec: SpikingSpec,
    draw: np.random.Generator,
    onsets: np.ndarray,
    is_left: np.ndarray,
    duration_s: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return rates (step, unit) in spikes/s, and running (sample,) in cm/s."""
    time = np.arange(round(duration_s / FINE_STEP_S)) * FINE_STEP_S
    base = draw.lognormal(np.log(6.0), 0.5, spec.n_units)
    prefers_left = draw.random(spec.n_units) < 0.5
    gain = draw.uniform(1.0, 3.0, spec.n_units)
    latency_s = draw.uniform(0.05, 0.15, spec.n_units)
    drive = np.zeros((len(time), spec.n_units))
    for onset, left in zip(onsets, is_left, strict=True):
        rows = slice(int(onset / FINE_STEP_S), int((onset + 1.5) / FINE_STEP_S))
        since = time[rows, None] - onset - latency_s
        # gamma-shaped response that peaks 0.1 s after its latency
        shape = np.where(since > 0, since / 0.1 * np.exp(1 - since / 0.1), 0.0)
        drive[rows] += shape * gain * np.where(prefers_left == left, 1.0, 0.2)
    shared = red_noise(draw, len(time), FINE_STEP_S, 0.2)
    speed = np.maximum(5.0 + 6.0 * red_noise(draw, len(time), FINE_STEP_S, 2.0), 0.0)
    weight = draw.uniform(0.1, 0.5, spec.n_units)
    log_gain = shared[:, None] * weight + 0.02 * speed[:, None]
    step = int(1 / (_RUNNING_HZ * FINE_STEP_S))
    return base * (1 + drive) * np.exp(log_gain), speed[::step]


# -- A simulated laboratory of spiking recordings -------------------------------------
VERSION = 3
"""Raised whenever files change, so that older ones are not used."""
UNSEEN_SPIKES = "unseen-spikes"
"""The animal that no model is trained on, a relative."""
_MARK = f"omnimouse spiking laboratory {VERSION}".encode()
"""Comment of the archive; readers of arrays do not see it."""
RELATIVES = ("spikes", "spikes-3", "spikes-5")
"""Animals for training that share the dynamics of `UNSEEN_SPIKES`."""
STRANGERS = ("spikes-2", "spikes-4", "spikes-6")
"""Animals for training that have dynamics of their own."""
ANIMALS = (*sorted(RELATIVES + STRANGERS), UNSEEN_SPIKES)
"""All animals; the order numbers them, from which their random values are drawn."""
STEP_S = 0.02
"""Rates are constant in bins of this width, which begin at 0 s."""
BEFORE, AFTER = 25, 125
"""Bins of a trial before and after its onset: those of Jiang et al. 2025."""
_PERIOD, _JITTER = 180, 30
"""Smallest number of bins between onsets, and how many more there can be."""
_REGIONS: Mapping[str, tuple[float, float, float]] = {
    "VISp": (1.0, 1.0, 0.2),
    "CA1": (0.5, 0.5, 0.7),
    "LP": (0.9, 0.9, 0.4),
    "MOs": (0.3, 0.3, 1.0),
}
"""Region -> spread of its units' weights on the three latent numbers."""
_SECOND_PROBE = "MOs"
_REST = 100
"""Bins before the first onset, and after the last trial."""
_EVIDENCE, _RAMP = slice(5, 30), slice(30, 55)
"""Bins after the onset in which evidence is integrated, and the choice is prepared."""
_OUTCOME = 60
"""Bins from the onset to the outcome."""
_PUSH = 0.08
"""Change of the third latent number per bin, at full contrast."""
_SPREAD = np.array([0.4, 0.4, 0.2])
"""Standard deviation of the latent numbers without a stimulus."""
_CONTRASTS = (0.25, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class LaboratorySpec:
    """Size and seed of a simulated spiking laboratory.

    Attributes
    ----------
    seed
        Fixes everything: dynamics, units, behaviour and spikes of all animals.
    n_units, n_trials
        Numbers of units and trials of each animal.
    """

    seed: int = 0
    n_units: int = 100
    n_trials: int = 300


def laboratory_animal(name: str, spec: LaboratorySpec = LaboratorySpec()) -> Mapping[str, Any]:
    """Return the recording of an animal as arrays that `open_session` reads.

    Raises
    ------
    ValueError
        There is no such animal; the message names all.

    Examples
    --------
    >>> from omnimouse_model.simulate.spiking_laboratory import laboratory_animal
    >>> spikes = om.open_session(laboratory_animal("spikes"))
    >>> bins = om.WindowSpec(3.0, 50.0, "count", align="trial", trial_offset_s=-0.5)
    >>> spikes.window(20.0, bins).responses.shape
    (150, 100)
    """
    draw = _generator(name, spec)
    world = _world(name, spec, draw)
    n = spec.n_trials
    onset_s = world.onsets * STEP_S
    region = np.array([*_REGIONS])[world.region]
    is_second = region == _SECOND_PROBE
    depth_um = _depths(world.region)
    # Two of ten trials are held out, drawn at random.
    tiers = np.repeat(["train", "validation", "test"], [n - 2 * (n // 10), *[n // 10] * 2])
    sides = np.where(world.is_left, "left", "right")
    choices = np.where(world.chose_left, "left", "right")
    speed, paw = _movements(world, draw)
    return {
        "id": name,
        "animal_id": name,
        **poisson_spikes(world.rates, STEP_S, draw),
        "stop_s": len(world.rates) * STEP_S,
        "unit_ids": np.arange(spec.n_units),
        "probe": np.where(is_second, "probe01", "probe00"),
        "area": region,
        "quality": np.where(world.is_good, "good", "mua"),
        "xyz_um": np.stack(
            [np.where(is_second, 2000.0, 0.0), np.zeros(spec.n_units), depth_um], axis=1
        ),
        "trial_start": onset_s,
        "trial_stop": onset_s + AFTER * STEP_S,
        "trial_tier": draw.permutation(tiers),
        "trial_stim_id": np.array(
            [f"{a} {c:g}" for a, c in zip(sides, world.contrast, strict=True)]
        ),
        "trial_side": sides,
        "trial_choice": choices,
        "trial_block": np.where(world.block_is_left, "left", "right"),
        "trial_outcome": np.where(sides == choices, "reward", "error"),
        "wheel": speed,
        "wheel_rate_hz": 1 / STEP_S,
        "pose": paw,
    }


def write_animal(name: str, folder: Path) -> Path:
    """Write an animal as `name.npz` into a folder, unless it exists; return the path.

    Raises
    ------
    ValueError
        There is no such animal.
    FileExistsError
        The file is another one, such as an animal of an older version.
    """
    path = folder / f"{name}.npz"
    if path.exists():
        if not _is_current(path):
            raise FileExistsError(
                f"{path} is no animal of version {VERSION} of the spiking laboratory: "
                "delete it or choose another folder."
            )
        return path
    arrays = laboratory_animal(name)
    folder.mkdir(parents=True, exist_ok=True)
    write_arrays(path, arrays, _MARK)
    return path


def _is_current(path: Path) -> bool:
    try:
        return Npz(path).comment == _MARK
    except SessionFormatError:
        return False


def laboratory_rates(name: str, spec: LaboratorySpec = LaboratorySpec()) -> np.ndarray:
    """Return the true rates of an animal's trials: expected spikes per bin.

    No prediction can expect more bits per spike than these rates.

    Returns
    -------
    float64 (trial, 150 bins of 20 ms from 0.5 s before the onset, unit), with the
    trials in the order of the recording.
    """
    world = _world(name, spec, _generator(name, spec))
    bins = world.onsets[:, None] + np.arange(-BEFORE, AFTER)
    return world.rates[bins] * STEP_S


def dynamics(name: str, spec: LaboratorySpec = LaboratorySpec()) -> np.ndarray:
    """Return the matrix `A` of an animal, float64 (3, 3), per bin."""
    is_relative = name == UNSEEN_SPIKES or name in RELATIVES
    key = len(ANIMALS) if is_relative else ANIMALS.index(name)
    draw = np.random.default_rng([spec.seed, key, 1])
    if is_relative:
        hertz, decay_s, memory_s = draw.uniform(1.3, 1.7), 0.9, 1.2
    else:
        # Slower or faster by a factor of two and more: no linear map makes them equal.
        slow, fast = draw.uniform(0.3, 0.6), draw.uniform(3.5, 4.5)
        hertz = slow if draw.random() < 0.5 else fast
        decay_s, memory_s = draw.uniform(0.3, 0.6), draw.uniform(0.3, 0.6)
    angle = 2 * np.pi * hertz * STEP_S
    keep = np.exp(-STEP_S / decay_s)
    matrix = np.zeros((3, 3))
    matrix[:2, :2] = keep * np.array(
        [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    )
    matrix[2, 2] = np.exp(-STEP_S / memory_s)
    return matrix


# -- the world -------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, eq=False)
class _World:
    """Events and latents of a recording, before spikes are drawn.

    Attributes
    ----------
    onsets
        int64 (trial,): bin of each onset.
    is_left, contrast, block_is_left, chose_left
        (trial,): side and contrast of the stimulus, likelier side, choice.
    latents
        float64 (bin, 3).
    region, is_good
        (unit,): index of the region, in `_REGIONS`, and quality.
    rates
        float64 (bin, unit), in spikes/s.
    """

    onsets: np.ndarray
    is_left: np.ndarray
    contrast: np.ndarray
    block_is_left: np.ndarray
    chose_left: np.ndarray
    latents: np.ndarray
    region: np.ndarray
    is_good: np.ndarray
    rates: np.ndarray


def _generator(name: str, spec: LaboratorySpec) -> np.random.Generator:
    if name not in ANIMALS:
        raise ValueError(f"{name!r} is no animal; there are {', '.join(ANIMALS)}.")
    return np.random.default_rng([spec.seed, ANIMALS.index(name)])


def _world(name: str, spec: LaboratorySpec, draw: np.random.Generator) -> _World:
    n = spec.n_trials
    onsets = _REST + np.cumsum(_PERIOD + draw.integers(0, _JITTER + 1, n)) - _PERIOD
    # Blocks of 20 trials, in which one side is four times as likely.
    block_is_left = np.repeat(np.arange(n // 20 + 1) % 2 == draw.integers(2), 20)[:n]
    is_left = draw.random(n) < np.where(block_is_left, 0.8, 0.2)
    contrast = draw.choice(_CONTRASTS, n)
    latents, chose_left = _latents(
        dynamics(name, spec),
        draw,
        onsets,
        np.where(is_left, contrast, -contrast),
        np.where(block_is_left, 1.0, -1.0),
    )
    region = np.sort(np.arange(spec.n_units) % len(_REGIONS))
    spread = np.array([*_REGIONS.values()])[region]
    is_good = draw.random(spec.n_units) < 0.8
    drive = latents @ (draw.normal(size=spread.shape) * spread).T
    # Multi-unit activity mixes units that prefer different things.
    depth = draw.uniform(0.5, 1.0, spec.n_units) * np.where(is_good, 1.0, 0.6)
    drive *= depth / drive.std(axis=0)
    base = np.log(draw.lognormal(np.log(8.0), 0.5, spec.n_units))
    # The mean over time of the exponential is 1, so that `base` is the mean rate.
    rates = np.exp(base + drive - np.log(np.exp(drive).mean(axis=0)))
    return _World(
        onsets, is_left, contrast, block_is_left, chose_left, latents, region, is_good, rates
    )


def _latents(
    matrix: np.ndarray,
    draw: np.random.Generator,
    onsets: np.ndarray,
    evidence: np.ndarray,
    prior: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return latent numbers (bin, 3), and the choices (trial,) that follow from them.

    Parameters
    ----------
    evidence, prior
        (trial,): signed contrast, and +1 or -1 for the likelier side; left is positive.
    """
    stops = [*(onsets[1:] - BEFORE).tolist(), int(onsets[-1]) + AFTER + _REST]
    # Of the same spread without a stimulus, whatever the dynamics.
    keep = np.array([np.hypot(*matrix[:2, 0])] * 2 + [matrix[2, 2]])
    spread = np.sqrt(1 - keep**2) * _SPREAD
    noise = draw.normal(size=(stops[-1], 3)) * spread
    latents = np.zeros((stops[-1], 3))
    chose_left = np.zeros(len(onsets), bool)
    z, first = np.zeros(3), 0
    for trial, (onset, stop) in enumerate(zip(onsets.tolist(), stops, strict=True)):
        push = np.zeros((stop - first, 3))
        after = push[onset - first :]
        after[0, :2] = 1.2, evidence[trial]
        after[_EVIDENCE, 2] = _PUSH * (evidence[trial] + 0.2 * prior[trial])
        for t in range(first, stop):
            if t == onset + _RAMP.start:
                chose_left[trial] = z[2] > 0
                sign = 1.0 if chose_left[trial] else -1.0
                after[_RAMP, 2] = sign * _PUSH
                after[_RAMP.start, 0] = sign
                after[_OUTCOME, 1] = 1.2 * sign * np.sign(evidence[trial])
            z = matrix @ z + push[t - first] + noise[t]
            latents[t] = z
        first = stop
    return latents, chose_left


def _depths(region: np.ndarray) -> np.ndarray:
    """Return depths (unit,) in µm: regions follow each other along each probe."""
    names = np.array([*_REGIONS])[region]
    depth_um = np.zeros(len(region))
    for is_second in (False, True):
        own = (names == _SECOND_PROBE) == is_second
        depth_um[own] = np.linspace(100, 1200 if is_second else 2800, own.sum())
    return depth_um


def _movements(world: _World, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return speed of the wheel (bin,) in rad/s, and place of a paw (bin,) in px.

    The animal turns the wheel about 0.2 s after its choice; the paw moves with it.
    """
    n_bins = len(world.latents)
    velocity = red_noise(draw, n_bins, STEP_S, 0.1) * 0.2
    bins = np.arange(n_bins)
    strength = draw.lognormal(np.log(5.0), 0.3, len(world.onsets))
    for onset, left, peak in zip(world.onsets, world.chose_left, strength, strict=True):
        near = slice(onset, onset + AFTER)
        since = (bins[near] - onset - _RAMP.start - 10) / 6
        velocity[near] += (1 if left else -1) * peak * np.exp(-(since**2) / 2)
    sway = red_noise(draw, n_bins, STEP_S, 1.0)
    paw = 100 + 4 * velocity + 2 * sway + 3 * world.latents[:, 0]
    return np.abs(velocity), paw
