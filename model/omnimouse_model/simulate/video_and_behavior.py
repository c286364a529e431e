"""Video (short moving clips of six kinds, joined to trials of 10 s) and behaviour of a mouse.

Clips last 0.7-2 s, so that a session contains many independent stimuli. With clips of
2.5-6 s a model learns far less from a session (study of the demo model).
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Float, UInt8

from omnimouse_model.simulate.population import Purpose, decay, integrate, stream, wander
from omnimouse_model.simulate.specs import (
    BLANK_SAMPLES,
    BLOCK_SAMPLES,
    DEVICE_RATE_HZ,
    FRAME_SHAPE,
    RATE_HZ,
    VIDEO_FRAMES,
)

T = TypeVar("T")

# A power of two: `_look_up` wraps indices with a bit mask.
TEXTURE_SIZE = 256
CLIP_S = (0.7, 2.0)
GRAY = 113.0
CONTRAST = 50.0

_ROWS, _COLUMNS = (
    grid.astype(np.float32)
    for grid in np.mgrid[
        -FRAME_SHAPE[0] / 2 : FRAME_SHAPE[0] / 2,
        -FRAME_SHAPE[1] / 2 : FRAME_SHAPE[1] / 2,
    ]
)


@dataclass(frozen=True, slots=True, eq=False)
class Textures:
    """Periodic images (n, 256, 256) of each kind, with zero mean and unit variance."""

    pink: Float[np.ndarray, "picture row column"]
    leaves: Float[np.ndarray, "picture row column"]
    band: Float[np.ndarray, "picture row column"]


def draw_textures(seed: int, count: int = 16) -> Textures:
    """Draw the images from which the clips of a session are cut."""
    makers: tuple[Callable[[np.random.Generator], np.ndarray], ...] = (_pink, _leaves, _band)
    banks = [
        np.stack([make(stream(seed, Purpose.TEXTURES, 100 * kind + i)) for i in range(count)])
        for kind, make in enumerate(makers)
    ]
    return Textures(*banks)


def trial_video(seed: int, video: int, textures: Textures) -> UInt8[np.ndarray, "frame row column"]:
    """Return video number `video` of a session: 300 frames of clips with hard cuts."""
    rng = stream(seed, Purpose.VIDEO, video)
    frames = np.empty((VIDEO_FRAMES, *FRAME_SHAPE), np.uint8)
    start = 0
    while start < VIDEO_FRAMES:
        length = int(rng.uniform(*CLIP_S) * RATE_HZ)
        # The last clip takes the rest, so that no clip is shorter than the minimum.
        if VIDEO_FRAMES - start - length < CLIP_S[0] * RATE_HZ:
            length = VIDEO_FRAMES - start
        frames[start : start + length] = _clip(rng, length, textures)
        start += length
    return frames


def trial_screen(
    seed: int, video: int, textures: Textures
) -> UInt8[np.ndarray, "frame row column"]:
    """Return the frames of a block: gray, then the video (number -1: gray only)."""
    frames = np.full((BLOCK_SAMPLES, *FRAME_SHAPE), round(GRAY), np.uint8)
    if video >= 0:
        frames[BLANK_SAMPLES:] = trial_video(seed, video, textures)
    return frames


def ahead(make: Callable[[int], T], numbers: Iterable[int]) -> Iterator[T]:
    """Yield `make(number)` in order; the next is made in a thread meanwhile."""
    with ThreadPoolExecutor(1, "omnimouse-video") as pool:
        made: Future[T] | None = None
        for number in numbers:
            following = pool.submit(make, number)
            if made is not None:
                yield made.result()
            made = following
        if made is not None:
            yield made.result()


def _standardise(picture: np.ndarray) -> np.ndarray:
    centred = picture - picture.mean()
    return (centred / centred.std()).astype(np.float32)


def _spectrum() -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.meshgrid(
        np.fft.fftfreq(TEXTURE_SIZE), np.fft.fftfreq(TEXTURE_SIZE), indexing="ij"
    )
    frequency = np.hypot(rows, columns)
    # Avoids a division by 0; the mean is removed afterwards in any case.
    frequency[0, 0] = 1.0
    return frequency, np.arctan2(rows, columns)


def _white(rng: np.random.Generator) -> np.ndarray:
    shape = (TEXTURE_SIZE, TEXTURE_SIZE)
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def _pink(rng: np.random.Generator) -> np.ndarray:
    """Return noise with the 1/f amplitude spectrum of natural scenes."""
    frequency, _ = _spectrum()
    # Filters in the Fourier domain make the image periodic, which the camera needs.
    amplitude = _white(rng) / frequency ** rng.uniform(1.0, 1.4)
    return _standardise(np.real(np.fft.ifft2(amplitude)))


def _band(rng: np.random.Generator) -> np.ndarray:
    """Return noise around one spatial frequency and orientation."""
    frequency, angle = _spectrum()
    theta = rng.uniform(0, np.pi)
    centre = np.exp(rng.uniform(np.log(1 / 28), np.log(1 / 9)))
    envelope = np.exp(-0.5 * (np.log(frequency / centre) / 0.35) ** 2)
    envelope *= np.exp((np.cos(2 * (angle - theta)) - 1) / 0.15)
    return _standardise(np.real(np.fft.ifft2(_white(rng) * envelope)))


def _leaves(rng: np.random.Generator) -> np.ndarray:
    """Return a dead-leaves image: occluding ellipses of all sizes, large ones first."""
    picture = np.zeros((TEXTURE_SIZE, TEXTURE_SIZE), np.float32)
    radii = np.clip(rng.pareto(1.8, 420) * 5 + 4, 4, 60)
    # Large ellipses first: in another order they would cover the small ones.
    for radius in np.sort(radii)[::-1]:
        y, x = rng.integers(0, TEXTURE_SIZE, 2)
        theta, aspect = rng.uniform(0, np.pi), rng.uniform(0.3, 1.0)
        reach = np.arange(-int(radius) - 1, int(radius) + 2)
        along = reach * np.cos(theta) + reach[:, None] * np.sin(theta)
        across = -reach * np.sin(theta) + reach[:, None] * np.cos(theta)
        inside = (along / radius) ** 2 + (across / (radius * aspect)) ** 2 < 1
        rows, columns = np.nonzero(inside)
        picture[(y + reach[rows]) % TEXTURE_SIZE, (x + reach[columns]) % TEXTURE_SIZE] = (
            rng.standard_normal()
        )
    return _standardise(picture + 0.25 * _pink(rng))


def _look_up(texture: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return bilinearly interpolated values of a periodic texture."""
    top, left = np.floor(y).astype(np.int32), np.floor(x).astype(np.int32)
    below, right = y - top, x - left
    edge = TEXTURE_SIZE - 1
    flat = texture.reshape(-1)
    row, next_row = (top & edge) * TEXTURE_SIZE, ((top + 1) & edge) * TEXTURE_SIZE
    column, next_column = left & edge, (left + 1) & edge
    upper = flat[row + column] * (1 - right) + flat[row + next_column] * right
    lower = flat[next_row + column] * (1 - right) + flat[next_row + next_column] * right
    return upper * (1 - below) + lower * below


def _column_vector(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float32)[:, None, None]


def _camera(rng: np.random.Generator, length: int, texture: np.ndarray) -> np.ndarray:
    """Return an image seen by a camera that drifts, turns and zooms."""
    time_s = np.arange(length) / RATE_HZ
    speed = np.exp(rng.uniform(np.log(6), np.log(60)))
    heading = rng.uniform(0, 2 * np.pi) + rng.uniform(0, 0.08) * np.cumsum(
        rng.standard_normal(length)
    )
    x = rng.uniform(0, TEXTURE_SIZE) + np.cumsum(speed * np.cos(heading)) / RATE_HZ
    y = rng.uniform(0, TEXTURE_SIZE) + np.cumsum(speed * np.sin(heading)) / RATE_HZ
    # Half of the clips do not zoom, and half do not turn.
    zoom_rate = rng.choice([0, 0, 1, -1]) * rng.uniform(0.1, 0.5)
    zoom = np.exp(zoom_rate * time_s + rng.uniform(-0.2, 0.3))
    turn_rate = rng.choice([0, 0, 1, -1]) * rng.uniform(0.1, 0.8)
    angle = rng.uniform(0, 2 * np.pi) + turn_rate * time_s
    cosine = _column_vector(np.cos(angle) / zoom)
    sine = _column_vector(np.sin(angle) / zoom)
    return _look_up(
        texture,
        _column_vector(y) - sine * _COLUMNS + cosine * _ROWS,
        _column_vector(x) + cosine * _COLUMNS + sine * _ROWS,
    )


def _flashes(rng: np.random.Generator, length: int, texture: np.ndarray) -> np.ndarray:
    """Return a new still image every half second."""
    shot = np.arange(length) // (RATE_HZ // 2)
    y, x = rng.uniform(0, TEXTURE_SIZE, (2, shot[-1] + 1))
    return _look_up(texture, _column_vector(y[shot]) + _ROWS, _column_vector(x[shot]) + _COLUMNS)


def _grating(rng: np.random.Generator, length: int) -> np.ndarray:
    """Return a drifting sine grating."""
    theta = rng.uniform(0, 2 * np.pi)
    wavelength = np.exp(rng.uniform(np.log(8), np.log(28)))
    cycles_hz = rng.uniform(0.5, 5)
    place = (_COLUMNS * np.cos(theta) + _ROWS * np.sin(theta)) / wavelength
    phase = place - _column_vector(cycles_hz * np.arange(length) / RATE_HZ)
    # The factor gives unit variance, like that of the textures.
    return np.sin(2 * np.pi * phase) * np.sqrt(2)


def _object(
    rng: np.random.Generator, length: int, behind: np.ndarray, texture: np.ndarray
) -> np.ndarray:
    """Return a patterned ellipse that crosses a moving scene."""
    scene = _camera(rng, length, behind)
    angle, speed = rng.uniform(0, 2 * np.pi), rng.uniform(15, 60)
    # Time is 0 in the middle of the clip, when the ellipse is near the centre.
    time_s = _column_vector(np.arange(length) / RATE_HZ - length / RATE_HZ / 2)
    y = _ROWS - rng.uniform(-10, 10) - speed * np.sin(angle) * time_s
    x = _COLUMNS - rng.uniform(-16, 16) - speed * np.cos(angle) * time_s
    height, width = rng.uniform(5, 14, 2)
    surface = _look_up(texture, y + rng.uniform(0, 256), x + rng.uniform(0, 256))
    inside = (y / height) ** 2 + (x / width) ** 2 < 1
    # An offset in luminance makes the ellipse visible against any scene.
    return np.where(inside, surface + rng.choice([-1.2, 1.2]), scene)


def _clip(
    rng: np.random.Generator, length: int, textures: Textures
) -> UInt8[np.ndarray, "frame row column"]:
    kinds = ("pink", "leaves", "band", "flash", "grating", "object")
    kind = rng.choice(kinds, p=(0.3, 0.25, 0.12, 0.11, 0.11, 0.11))
    bank = {"leaves": textures.leaves, "band": textures.band}.get(kind, textures.pink)
    texture = bank[rng.integers(len(bank))]
    if kind == "grating":
        contrast = _grating(rng, length)
    elif kind == "flash":
        contrast = _flashes(rng, length, texture)
    elif kind == "object":
        front = textures.leaves[rng.integers(len(textures.leaves))]
        contrast = _object(rng, length, texture, front)
    else:
        contrast = _camera(rng, length, texture)
    luminance = GRAY + CONTRAST * rng.uniform(0.6, 1.1) * contrast
    return np.clip(luminance, 0, 255).astype(np.uint8)


# All traces are simulated on the 30-Hz clock of the responses. The devices sample them at
# 20 Hz and add noise. Neurons depend on `Behavior.gains`, fixed functions of the true
# traces, so that a neuron is the same in every recording.


CHANNELS = ("pupil_size", "pupil_dsize", "pupil_x", "pupil_y", "running")
GAZE_SD_PX = (2.25, 1.25)
# The limit must stay below the margin by which the retina is widened, see
# `simulation.ReceptiveFields`.
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
    return np.clip(pupil, -2.6, 3.5).astype(np.float32)


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
    return 0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:]


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
        return np.interp(sample_times, clock, trace)

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
