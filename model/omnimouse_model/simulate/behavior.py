"""Behaviour of a head-fixed mouse: bouts of running, pupil and eye movements.

All traces are simulated on the 30-Hz clock of the responses. The devices sample them at
20 Hz and add noise. Neurons depend on `Behavior.gains`, fixed functions of the true
traces, so that a neuron is the same in every recording.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from omnimouse_model.simulate.population import (
    Purpose,
    decay,
    integrate,
    stream,
    wander,
)
from omnimouse_model.simulate.specs import DEVICE_RATE_HZ, RATE_HZ

CHANNELS = ("pupil_size", "pupil_dsize", "pupil_x", "pupil_y", "running")
GAZE_SD_PX = (2.25, 1.25)
# The limit must stay below the margin by which the retina is widened, see
# `receptive_fields`.
GAZE_LIMIT_PX = (9.0, 6.0)

# Mean and sd of the square root of speed (cm/s), and of the leaky trace that drives the
# pupil, over six simulated hours. They are constants, because statistics of a session
# would make the same neuron respond differently in another session.
_ROOT_SPEED = (1.45, 1.77)
_AROUSAL = (5.2, 6.85)


@dataclass(frozen=True, slots=True, eq=False)
class Behavior:
    """True traces (time,) at 30 Hz: cm/s, pupil in sd, gaze in pixels of the screen."""

    running: Float[np.ndarray, " time"]
    pupil: Float[np.ndarray, " time"]
    gaze_x: Float[np.ndarray, " time"]
    gaze_y: Float[np.ndarray, " time"]

    @property
    def gains(self) -> Float[np.ndarray, "time 4"]:
        """Regressors of the log rate, standardised: running, pupil, gaze x and y."""
        mean, sd = _ROOT_SPEED
        columns = (
            (np.sqrt(self.running) - mean) / sd,
            self.pupil,
            self.gaze_x / GAZE_SD_PX[0],
            self.gaze_y / GAZE_SD_PX[1],
        )
        return np.stack(columns, axis=1).astype(np.float32)


def simulate_behavior(seed: int, length: int) -> Behavior:
    """Return the behaviour over `length` samples of 30 Hz."""
    rng = stream(seed, Purpose.BEHAVIOR)
    # Time scales in seconds: one for speed within a bout, three for the pupil, two for
    # the drift of gaze x and y.
    slow = wander(rng, length, (1.5, 1.0, 8.0, 40.0, 3.0, 3.0))
    target = _bouts(rng, length) * np.exp(0.3 * slow[:, 0])
    running = _speed(target)
    pupil = _pupil(running, slow[:, 1:4])
    gaze = _gaze(rng, running > 2.0)
    drift = 0.25 * slow[:, 4:6]
    gaze = np.clip(gaze + drift, -np.array(GAZE_LIMIT_PX), GAZE_LIMIT_PX)
    x, y = gaze.astype(np.float32).T
    return Behavior(running, pupil, x, y)


def _bouts(rng: np.random.Generator, length: int) -> np.ndarray:
    """Return the target speed: zero at rest, one speed per bout, random durations."""
    target = np.zeros(length, np.float32)
    # The first rest begins before the session, so that a session does not always start
    # with the same length of rest.
    start, moving = -int(rng.uniform(0, 10) * RATE_HZ), False
    while start < length:
        median_s = 5.0 if moving else 10.0
        stop = start + 1 + int(median_s * np.exp(0.7 * rng.standard_normal()) * RATE_HZ)
        speed = 3.0 + rng.gamma(3.0, 3.5)
        if moving:
            target[max(start, 0) : max(stop, 0)] = speed
        start, moving = stop, not moving
    return target


def _speed(target: np.ndarray) -> np.ndarray:
    """Return the speed that follows a target speed, faster when it rises."""
    # Mice start fast and stop slowly: 0.25 s and 0.6 s. The time constant depends on
    # the state, so this cannot be one linear filter.
    rise, fall = float(decay(0.25)), float(decay(0.6))
    speed, trace = 0.0, np.empty_like(target)
    for t, goal in enumerate(target.tolist()):
        keep = rise if goal > speed else fall
        speed = keep * speed + (1 - keep) * goal
        trace[t] = speed
    return trace


def _pupil(running: np.ndarray, slow: np.ndarray) -> np.ndarray:
    """Return the pupil in standard deviations: delayed running plus slow noise."""
    keep = decay(np.array([1.5]))
    # Constant running passes with a gain of one. The start at the first speed avoids a
    # transient.
    pushes = (1 - keep) * running[:, None]
    arousal = integrate(pushes.astype(np.float32), keep, running[:1])[:, 0]
    mean, sd = _AROUSAL
    pupil = 0.78 * (arousal - mean) / sd + slow @ np.array([0.2, 0.5, 0.3], np.float32)
    clipped: np.ndarray = np.clip(pupil, -2.6, 3.5).astype(np.float32)
    return clipped


def _gaze(rng: np.random.Generator, moving: np.ndarray) -> np.ndarray:
    """Return gaze (time, 2) with saccades to random positions, more while running."""
    # 0.5 saccades per second at rest and 1.2 while running.
    jumps = rng.random(len(moving)) < (0.5 + 0.7 * moving) / RATE_HZ
    places = rng.standard_normal((len(moving), 2)) * GAZE_SD_PX
    # Index of the latest saccade: gaze is held until the next one. Smoothing over three
    # samples gives a saccade a duration.
    last = np.maximum.accumulate(np.where(jumps, np.arange(len(moving)), 0))
    position = places[last]
    padded = np.pad(position, ((1, 1), (0, 0)), mode="edge")
    smooth: np.ndarray = 0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:]
    return smooth


def device_traces(
    behavior: Behavior, sample_times: Float[np.ndarray, " row"], seed: int
) -> tuple[Float[np.ndarray, "row 4"], Float[np.ndarray, "row 1"]]:
    """Return what the eye camera and the treadmill record at 20 Hz.

    `sample_times` are positions in 30-Hz samples. Columns are pupil size in camera
    pixels, its change per second, and gaze x and y in camera pixels; running in cm/s.
    """
    rng = stream(seed, Purpose.DEVICE_NOISE)
    clock = np.arange(len(behavior.running))

    def at(trace: np.ndarray) -> np.ndarray:
        sampled: np.ndarray = np.interp(sample_times, clock, trace)
        return sampled

    def noise(sd: float) -> np.ndarray:
        return sd * rng.standard_normal(len(sample_times))

    # The derivative is that of the measured size: mostly noise, as in real data.
    size = 40.0 + 9.0 * at(behavior.pupil) + noise(0.6)
    eye = (
        size,
        np.gradient(size) * DEVICE_RATE_HZ + noise(1.0),
        160.0 + 3.0 * at(behavior.gaze_x) + noise(0.7),
        120.0 - 3.0 * at(behavior.gaze_y) + noise(0.4),
    )
    speed = at(behavior.running) * (1 + noise(0.04))
    return np.stack(eye, axis=1), (speed + np.abs(noise(0.05)))[:, None]
