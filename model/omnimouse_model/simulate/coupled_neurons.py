"""Simulated recordings in which it is known what drives a neuron.

Responses are traces at 8 Hz, as two-photon recordings are. The signal of a neuron has unit
variance: shared factors, a common drive by running, and a private process. Some neurons
have planted drivers, and some a single source. Observation noise is added, and responses
are squares, so that their spread grows with the rate as that of shot noise.

This world has its own spec; the mice of the demo do not depend on it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from omnimouse_model.simulate.spiking_laboratory import red_noise

RATE_HZ = 8.0
TRIAL_S = 10.0
FACTOR_TAUS_S = (0.3, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0)
PRIVATE_TAU_S = 0.3
FAST_TAU_S = 0.15
"""Time constant of single sources: the past of a neuron tells little of its present."""
SLOW_TAU_S = 2.0
"""Time constant of neurons whose only source is their own past."""
RUNNING_TAU_S, SMOOTH_S = 2.0, 0.5
DEVICE_RATE_HZ = 20
VIDEO_RATE_HZ = 30
FRAME_SHAPE = (36, 64)
_REST = 5.0
"""Square root of the response at rest, in standard deviations of the signal."""
Single = Literal["video", "behavior", "history", "same area", "other areas"]
SINGLE: tuple[Single, ...] = ("video", "behavior", "history", "same area", "other areas")
_PARTNERS = 6
"""Neurons that carry the signal of a neuron whose only source are other neurons."""


@dataclass(frozen=True, slots=True)
class CoupledSpec:
    """Size, seed and couplings of a simulated world.

    Attributes
    ----------
    n_neurons, minutes
        Size; neurons are halved between V1 and LM.
    n_driven, n_drivers
        Neurons with planted drivers, all in V1, and drivers of each.
    strengths
        Smallest and largest share of a driver in the variance of its target.
    largest_lag_s
        Delays of drivers are between 0 and this.
    shared
        Share of the factors in the variance of a signal.
    driven_by_running
        Share of a drive by running, common to all neurons: no coupling.
    singles
        Neurons with a single source: of each kind in `kinds`, this many.
    noise
        Variance of observation noise; that of the signal is 1.
    has_video
        Whether there is a video; needed for neurons whose source it is.
    """

    seed: int = 0
    n_neurons: int = 200
    minutes: float = 20.0
    n_driven: int = 0
    n_drivers: int = 5
    strengths: tuple[float, float] = (0.02, 0.10)
    largest_lag_s: float = 0.3
    shared: float = 0.3
    driven_by_running: float = 0.0
    singles: int = 0
    kinds: tuple[Single, ...] = SINGLE
    noise: float = 1.0
    has_video: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class CoupledNeurons:
    """A world, as arrays that `open_session` reads, and what drives its neurons.

    Examples
    --------
    >>> from omnimouse_model.simulate.coupled_neurons import CoupledSpec, simulate_coupled
    >>> world = simulate_coupled(CoupledSpec(n_neurons=40, minutes=2, n_driven=3))
    >>> om.open_session(world.arrays).n_neurons, world.drivers.sum(axis=1).tolist()
    (40, [5, 5, 5])

    Attributes
    ----------
    drivers, strength
        bool and float (driven, P): drivers of the first neurons, and their shares.
    single
        Single source of each neuron that has one, by its index.
    """

    spec: CoupledSpec
    arrays: Mapping[str, Any]
    drivers: np.ndarray
    strength: np.ndarray
    single: Mapping[int, Single] = field(default_factory=dict)


def simulate_coupled(spec: CoupledSpec = CoupledSpec()) -> CoupledNeurons:
    """Simulate a world; equal specs give equal bits on one version of NumPy and SciPy."""
    draw = np.random.default_rng([spec.seed, 65])
    n_samples = round(spec.minutes * 60 * RATE_HZ)
    area = np.where(np.arange(spec.n_neurons) < spec.n_neurons / 2, "V1", "LM")
    running = _running(draw, n_samples)
    signal = _signals(spec, draw, n_samples, running)
    drivers, strength = _plant(spec, draw, signal)
    pupil = np.stack([red_noise(draw, n_samples, 1 / RATE_HZ, FAST_TAU_S) for _ in range(3)])
    contrast = draw.uniform(0, 1, (-(-n_samples // 4), max(spec.singles, 1))) ** 0.5
    single = _plant_singles(spec, draw, signal, area, pupil, contrast)
    # A single source is seen as well as the others.
    noise = np.sqrt(spec.noise) * draw.standard_normal(signal.shape)
    noise[:, list(single)] *= 0.5
    responses = np.maximum(_REST + signal + noise, 0) ** 2
    seconds = n_samples / RATE_HZ
    starts = np.arange(0, seconds - TRIAL_S + 1e-9, TRIAL_S)
    tiers = np.array(["train", "train", "test", "train", "train"])
    arrays: dict[str, Any] = {
        "id": f"coupled-{spec.seed}",
        "animal_id": "coupled",
        "responses": responses.astype(np.float32),
        "rate_hz": RATE_HZ,
        "area": area,
        "unit_ids": np.arange(spec.n_neurons),
        "xyz_um": draw.uniform(0, 800, (spec.n_neurons, 3)),
        "running": _at_device(running),
        "running_rate_hz": float(DEVICE_RATE_HZ),
        "pupil_size": _at_device(pupil[0]),
        "pupil_x": _at_device(pupil[1]),
        "pupil_y": _at_device(pupil[2]),
        "pupil_rate_hz": float(DEVICE_RATE_HZ),
        "trial_start": starts,
        "trial_stop": starts + TRIAL_S,
        "trial_tier": tiers[np.arange(len(starts)) % len(tiers)],
    }
    if spec.has_video:
        arrays["video"] = _video(seconds, contrast)
        arrays["video_rate_hz"] = float(VIDEO_RATE_HZ)
    return CoupledNeurons(spec, arrays, drivers, strength, single)


def shifted(world: CoupledNeurons, source: Literal["behavior", "LM"]) -> Mapping[str, Any]:
    """Return the arrays of a world with one source shifted circularly by half its length.

    The source then tells nothing, and has the statistics that it had.
    """
    arrays = dict(world.arrays)
    if source == "behavior":
        for name in ("running", "pupil_size", "pupil_x", "pupil_y"):
            arrays[name] = np.roll(arrays[name], len(arrays[name]) // 2)
    else:
        responses, inside = arrays["responses"].copy(), arrays["area"] == source
        responses[:, inside] = np.roll(responses[:, inside], len(responses) // 2, axis=0)
        arrays["responses"] = responses
    return arrays | {"id": f"{arrays['id']}-{source}-shifted"}


def _running(draw: np.random.Generator, n_samples: int) -> np.ndarray:
    """Return a smooth process of unit variance: sampling it at 20 Hz loses nothing."""
    values = red_noise(draw, n_samples, 1 / RATE_HZ, RUNNING_TAU_S)
    width = np.arange(-int(3 * RATE_HZ), int(3 * RATE_HZ) + 1) / RATE_HZ
    kernel = np.exp(-0.5 * (width / SMOOTH_S) ** 2)
    smooth = np.convolve(values, kernel / kernel.sum(), "same")
    return np.asarray((smooth - smooth.mean()) / smooth.std())


def _signals(
    spec: CoupledSpec, draw: np.random.Generator, n_samples: int, running: np.ndarray
) -> np.ndarray:
    """Return signals (time, neuron) of unit variance without planted drivers."""
    step_s, n = 1 / RATE_HZ, spec.n_neurons
    factors = np.stack([red_noise(draw, n_samples, step_s, tau) for tau in FACTOR_TAUS_S], 1)
    loadings = draw.standard_normal((n, len(FACTOR_TAUS_S)))
    loadings /= np.linalg.norm(loadings, axis=1, keepdims=True)
    private = np.stack([red_noise(draw, n_samples, step_s, PRIVATE_TAU_S) for _ in range(n)], 1)
    sign = draw.choice([-1.0, 1.0], n)
    rest = 1 - spec.shared - spec.driven_by_running
    return np.asarray(
        np.sqrt(spec.shared) * factors @ loadings.T
        + np.sqrt(spec.driven_by_running) * running[:, None] * sign
        + np.sqrt(rest) * private
    )


def _plant(
    spec: CoupledSpec, draw: np.random.Generator, signal: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Add drivers to the first neurons in place; return who they are, and their shares."""
    n = signal.shape[1]
    strength = np.zeros((spec.n_driven, n))
    most = int(spec.largest_lag_s * RATE_HZ)
    before = signal.copy()
    for target in range(spec.n_driven):
        chosen = draw.choice(np.arange(spec.n_driven, n), spec.n_drivers, replace=False)
        share = draw.uniform(*spec.strengths, spec.n_drivers)
        share *= min(1, 0.9 / share.sum())
        added = np.zeros(len(signal))
        for driver, part in zip(chosen, share, strict=True):
            delayed = np.roll(before[:, driver], draw.integers(0, most + 1))
            added += np.sqrt(part) * draw.choice([-1.0, 1.0]) * delayed
        signal[:, target] = np.sqrt(1 - share.sum()) * before[:, target] + added
        strength[target, chosen] = share
    return strength > 0, strength


def _plant_singles(
    spec: CoupledSpec,
    draw: np.random.Generator,
    signal: np.ndarray,
    area: np.ndarray,
    pupil: np.ndarray,
    contrast: np.ndarray,
) -> Mapping[int, Single]:
    """Replace signals by those of a single source in place; return the neurons."""
    step_s, n_samples = 1 / RATE_HZ, len(signal)
    free = {name: iter(np.flatnonzero(area == name)[spec.n_driven :]) for name in ("V1", "LM")}
    single: dict[int, Single] = {}
    for kind in spec.kinds:
        for number in range(spec.singles):
            target = int(next(free["V1"]))
            single[target] = kind
            fast = red_noise(draw, n_samples, step_s, FAST_TAU_S)
            if kind == "video":
                held = np.repeat(contrast[:, number], 4)[:n_samples]
                signal[:, target] = 2 * (held - held.mean()) / held.std()
            elif kind == "behavior":
                signal[:, target] = 2 * pupil[number % 3]
            elif kind == "history":
                signal[:, target] = 2 * red_noise(draw, n_samples, step_s, SLOW_TAU_S)
            else:
                place = "V1" if kind == "same area" else "LM"
                signal[:, target] = 2 * fast
                for _ in range(_PARTNERS):
                    signal[:, int(next(free[place]))] = 2 * fast
    return single


def _at_device(values: np.ndarray) -> np.ndarray:
    """Return values at the rate of the devices."""
    n = int(len(values) / RATE_HZ * DEVICE_RATE_HZ)
    times_s = np.arange(n) / DEVICE_RATE_HZ
    return np.asarray(np.interp(times_s, np.arange(len(values)) / RATE_HZ, values))


def _video(seconds: float, contrast: np.ndarray) -> np.ndarray:
    """Return drifting gratings in columns of the screen, uint8 (frame, row, column).

    The contrast of each is that of one neuron, and changes twice a second.
    """
    height, width = FRAME_SHAPE
    n_frames, n_columns = int(seconds * VIDEO_RATE_HZ), contrast.shape[1]
    time_s = np.arange(n_frames) / VIDEO_RATE_HZ
    now = np.minimum((time_s * RATE_HZ / 4).astype(int), len(contrast) - 1)
    column = np.minimum(np.arange(width) * n_columns // width, n_columns - 1)
    phase = 2 * np.pi * (np.arange(height)[:, None] / 12.0 + 0 * column)
    video = np.empty((n_frames, height, width), np.uint8)
    for frame in range(n_frames):
        wave = np.sin(phase - 2 * np.pi * 2.0 * time_s[frame])
        video[frame] = 113 + 100 * wave * contrast[now[frame]][column]
    return video
