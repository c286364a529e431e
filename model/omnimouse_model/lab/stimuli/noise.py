"""Directional pink noise ("Monet2"): noise with epochs of one direction of motion.

Source: Wang et al. 2025 and the generator of the MICrONS recordings.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np

from omnimouse_model.lab.events import Events
from omnimouse_model.lab.stimuli.stimulus import Stimulus
from omnimouse_model.metrics.spatial import area_average

SpeedConvention = Literal["release", "nominal"]
_UPSAMPLING = 3
_MARGIN = 3
"""Pixels of noise beyond the pattern, before upsampling."""
_CONTRAST = 2.5


def pink_noise(
    size: tuple[int, int],
    n_videos: int = 15,
    n_directions: int = 16,
    *,
    duration_s: float = 15.0,
    pattern_width: int = 80,
    aspect: float = 1.7,
    coherence: float = 1.5,
    fraction: float = 0.4,
    mix: float = 1.0,
    speed: float = 0.25,
    bandwidth_hz: float = 4.0,
    rate_hz: float = 30.0,
    speed_convention: SpeedConvention = "release",
    seed: int = 0,
) -> Stimulus:
    """Return videos of pink noise with an epoch of motion in each direction.

    Parameters
    ----------
    size
        Height and width of the frames, to which the noise is averaged.
    n_videos, n_directions, duration_s
        Videos, directions in each, and its length; directions are in a drawn order.
    pattern_width, aspect
        Width of the noise before it is upsampled three times, and width over height.
    coherence, mix
        Sharpness of the orientation during an epoch, and its share.
    fraction
        Part of the time of a direction, in its middle, in which the pattern moves.
    speed
        In widths per second. The public generator shifts upsampled pixels by what
        would be right for the pattern before upsampling, and so moves at a third of
        this speed.
    speed_convention
        "release" for the speed of the public generator, "nominal" for the stated one.
    bandwidth_hz
        Of the temporal filter.

    Examples
    --------
    >>> from omnimouse_model.lab.stimuli.noise import pink_noise
    >>> noise = pink_noise((36, 64), n_videos=1, n_directions=2, duration_s=2.0)
    >>> noise.frames_of(0).shape, noise.events.onset.tolist()
    ((60, 36, 64), [0.3, 1.3])
    """
    rng = np.random.default_rng(seed)
    steps = np.concatenate([rng.permutation(n_directions) for _ in range(n_videos)])
    direction = steps * 360 / n_directions
    video, place = np.divmod(np.arange(len(steps)), n_directions)
    period_s = duration_s / n_directions
    onset = (place + 0.5 - fraction / 2) * period_s
    events = Events(video, onset, onset + fraction * period_s, direction)
    n_frames = round(duration_s * rate_hz)
    shift = pattern_width * speed / rate_hz
    if speed_convention == "nominal":
        shift *= _UPSAMPLING
    shape = (int(pattern_width / aspect) + _MARGIN, pattern_width + _MARGIN)

    def frames_of(number: int) -> np.ndarray:
        own = np.random.default_rng([seed, number])
        is_own = video == number
        moving = np.full(n_frames, np.nan)
        for begin, angle in zip(onset[is_own], direction[is_own], strict=True):
            first = round(begin * rate_hz)
            length = round(fraction * period_s * rate_hz)
            moving[first : first + length] = np.radians(angle)
        noise = _filtered(own, shape, n_frames, rate_hz, bandwidth_hz)
        moved = _moved(noise, moving, shift, (coherence, mix))
        gray = [np.clip(frame * _CONTRAST + 0.5, 0, 1) * 255 for frame in moved]
        fitted = area_average(np.stack(gray), *size)
        return np.asarray(np.round(fitted), np.uint8)

    return Stimulus(
        "pink noise",
        {"speed": speed, "speed_convention": speed_convention, "seed": seed},
        rate_hz,
        n_videos,
        n_frames,
        frames_of,
        events,
    )


def _filtered(
    rng: np.random.Generator,
    shape: tuple[int, int],
    n_frames: int,
    rate_hz: float,
    bandwidth_hz: float,
) -> Iterator[np.ndarray]:
    """Yield frames of white noise after a causal filter in time."""
    half = round(2 * rate_hz / bandwidth_hz)
    kernel = np.hamming(2 * half + 1)[half:]
    kernel /= kernel.sum() * np.sqrt(bandwidth_hz / 4)
    recent = [rng.standard_normal(shape) for _ in range(len(kernel) - 1)]
    for _ in range(n_frames):
        recent.append(rng.standard_normal(shape))
        # The newest frame has the largest weight.
        yield np.tensordot(kernel, np.stack(recent[::-1]), axes=1)
        recent.pop(0)


def _moved(
    noise: Iterator[np.ndarray],
    moving: np.ndarray,
    shift: float,
    orientation: tuple[float, float],
) -> Iterator[np.ndarray]:
    """Yield upsampled frames that move while a direction (radians) is set."""
    place = np.zeros(2)
    grid: tuple[np.ndarray, np.ndarray] | None = None
    gains: dict[float | None, np.ndarray] = {}
    for frame, direction in zip(noise, moving.tolist(), strict=True):
        angle = direction if np.isfinite(direction) else None
        full = (_UPSAMPLING * frame.shape[0], _UPSAMPLING * frame.shape[1])
        if grid is None:
            grid = _frequencies(*full)
        fx, fy = grid
        # Zeros between the pixels repeat the spectrum of the frame.
        spectrum = np.tile(np.fft.fft2(frame), (_UPSAMPLING, _UPSAMPLING))
        spectrum = spectrum[:, : fx.shape[1]] * _UPSAMPLING**2
        if angle not in gains:
            smooth = np.exp(-(fx**2 + fy**2) * _UPSAMPLING**2 / 2)
            if angle is not None:
                smooth = smooth * _orientation_filter(fx, fy, angle, *orientation)
            gains[angle] = smooth
        if angle is not None:
            # Rows count downwards, angles upwards.
            place += shift * np.array([np.cos(angle), -np.sin(angle)])
        spectrum *= gains[angle]
        spectrum *= np.exp(-1j * fx * place[0]) * np.exp(-1j * fy * place[1])
        height, width = (_UPSAMPLING * (n - _MARGIN) // 2 * 2 for n in frame.shape)
        # The smoothing leaves nothing at the highest frequency, so that half of the
        # spectrum determines the frame.
        yield np.fft.irfft2(spectrum, full)[:height, :width]


def _frequencies(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return fx (1, n) and fy (height, 1) of the half spectrum, radians per pixel."""
    fx = 2 * np.pi * np.fft.rfftfreq(width)[None, :]
    fy = 2 * np.pi * np.fft.fftfreq(height)[:, None]
    return fx, fy


def _orientation_filter(
    fx: np.ndarray, fy: np.ndarray, angle: float, coherence: float, mix: float
) -> np.ndarray:
    """Return the gain of spatial frequencies, large along the axis of motion."""
    apart = np.arctan2(-fy, fx) - angle
    # An axis has no sign: angles repeat after π.
    apart = (apart + np.pi / 2) % np.pi - np.pi / 2
    phase = coherence * apart
    hann = np.where(np.abs(phase) < np.pi, 0.5 + 0.5 * np.cos(phase), 0.0)
    return np.asarray(1 - mix + mix * np.sqrt(coherence) * hann)
