"""A simulated spiking recording: two probes, areas by depth, trials, spike trains.

Rates are known exactly: a baseline, a response to the stimulus of the trial, a shared
fluctuation of the population, and running. Spikes are Poisson, so that no predictor
can reach more bits per spike than the rates themselves.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from omnimouse_model.extras import named_extras

STEP_S = 0.001
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
    >>> from omnimouse_model.simulate.spiking import spiking_arrays
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
    spikes = poisson_spikes(rates, STEP_S, draw)
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
    time = np.arange(round(duration_s / STEP_S)) * STEP_S
    base = draw.lognormal(np.log(6.0), 0.5, spec.n_units)
    prefers_left = draw.random(spec.n_units) < 0.5
    gain = draw.uniform(1.0, 3.0, spec.n_units)
    latency_s = draw.uniform(0.05, 0.15, spec.n_units)
    drive = np.zeros((len(time), spec.n_units))
    for onset, left in zip(onsets, is_left, strict=True):
        rows = slice(int(onset / STEP_S), int((onset + 1.5) / STEP_S))
        since = time[rows, None] - onset - latency_s
        # gamma-shaped response that peaks 0.1 s after its latency
        shape = np.where(since > 0, since / 0.1 * np.exp(1 - since / 0.1), 0.0)
        drive[rows] += shape * gain * np.where(prefers_left == left, 1.0, 0.2)
    shared = red_noise(draw, len(time), STEP_S, 0.2)
    speed = np.maximum(5.0 + 6.0 * red_noise(draw, len(time), STEP_S, 2.0), 0.0)
    weight = draw.uniform(0.1, 0.5, spec.n_units)
    log_gain = shared[:, None] * weight + 0.02 * speed[:, None]
    step = int(1 / (_RUNNING_HZ * STEP_S))
    return base * (1 + drive) * np.exp(log_gain), speed[::step]
