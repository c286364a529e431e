"""Gratings, Gabor patches and directional pink noise; dots that flash or move.

The file is long because each stimulus is one function with the constants of its paper.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from omnimouse_model.lab.stimuli.stimulus import (
    GRAY,
    MONITOR,
    Events,
    Monitor,
    Stimulus,
    one_event_each,
)
from omnimouse_model.metrics.tuning import area_average

Level = Literal["period_deg", "temporal_hz", "contrast", "diameter_deg"]
"""What changes between the gratings of `grating_levels`."""
_DEFAULTS: Mapping[str, float] = {
    "period_deg": 60.0,
    "temporal_hz": 2.0,
    "contrast": 0.8,
    "diameter_deg": np.inf,
}


def drifting_gratings(
    size: tuple[int, int],
    n_directions: int = 16,
    repeats: int = 10,
    *,
    periods_deg: Sequence[float] = (40.0, 60.0, 80.0),
    temporal_hz: Sequence[float] = (1.0, 2.0, 4.0),
    contrast: float = 0.8,
    duration_s: float = 2.0,
    scored_s: float = 1.0,
    rate_hz: float = 30.0,
    monitor: Monitor = MONITOR,
    seed: int = 0,
) -> Stimulus:
    """Return full-field gratings that drift in different directions.

    Parameters
    ----------
    size
        Height and width of a frame in pixels.
    repeats
        Videos of each direction. Spatial periods and temporal frequencies take turns,
        in all combinations; phases are drawn. A frequency of 0 is a static grating.
    contrast
        (max - min) / (max + min) of the luminance in grey levels.
    scored_s
        Last part of each video, which is its event.

    Examples
    --------
    >>> from omnimouse_model.lab.stimuli.gratings_and_dots import drifting_gratings
    >>> gratings = drifting_gratings((36, 64), n_directions=4, repeats=2)
    >>> gratings.n_videos, gratings.frames_of(0).shape
    (8, (60, 36, 64))
    """
    directions = np.tile(np.arange(n_directions) * 360 / n_directions, repeats)
    pairs = [(period, hz) for hz in temporal_hz for period in periods_deg]
    of_repeat = [pairs[k % len(pairs)] for k in range(repeats)]
    period, hz = (np.repeat(x, n_directions) for x in zip(*of_repeat, strict=True))
    table = {"direction_deg": directions, "period_deg": period, "temporal_hz": hz}
    return _gratings(
        "drifting gratings",
        directions,
        table | {"contrast": np.full(len(directions), contrast)},
        size,
        (duration_s, scored_s, rate_hz),
        monitor,
        seed,
    )


def grating_levels(
    size: tuple[int, int],
    quantity: Level,
    levels: Sequence[float],
    n_directions: int = 8,
    repeats: int = 2,
    *,
    center: tuple[float, float] | None = None,
    duration_s: float = 2.0,
    scored_s: float = 1.0,
    rate_hz: float = 30.0,
    monitor: Monitor = MONITOR,
    seed: int = 0,
) -> Stimulus:
    """Return gratings of different periods, frequencies, contrasts or diameters.

    Each level is shown in every direction, because neurons prefer different ones.

    Parameters
    ----------
    quantity
        What changes: the spatial period in degrees, the temporal frequency in Hz, the
        contrast, or the diameter of a disc in degrees outside of which all is grey.
    center
        Row and column (pixels) of the disc; the centre of the frame by default.

    Examples
    --------
    >>> from omnimouse_model.lab.stimuli.gratings_and_dots import grating_levels
    >>> shown = grating_levels((36, 64), "contrast", (0.1, 0.5), 4, 1)
    >>> shown.n_videos, shown.values.tolist()
    (8, [0.1, 0.1, 0.1, 0.1, 0.5, 0.5, 0.5, 0.5])
    """
    directions = np.arange(n_directions) * 360 / n_directions
    value = np.tile(np.repeat(np.asarray(levels, np.float64), n_directions), repeats)
    table = {"direction_deg": np.tile(directions, len(levels) * repeats)}
    table |= {name: np.full(len(value), x) for name, x in _DEFAULTS.items()}
    table[quantity] = value
    times = (duration_s, scored_s, rate_hz)
    name = f"gratings by {quantity}"
    return _gratings(name, value, table, size, times, monitor, seed, center)


def _gratings(
    name: str,
    values: np.ndarray,
    table: Mapping[str, np.ndarray],
    size: tuple[int, int],
    times: tuple[float, float, float],
    monitor: Monitor,
    seed: int,
    center: tuple[float, float] | None = None,
) -> Stimulus:
    """Return one grating per video, with a drawn phase."""
    duration_s, scored_s, rate_hz = times
    height, width = size
    row, column = center or (height / 2, width / 2)
    pixel_deg = monitor.degrees_per_pixel(width)
    rows, columns = np.mgrid[:height, :width] * pixel_deg
    away = np.hypot(rows - row * pixel_deg, columns - column * pixel_deg)
    phase = np.random.default_rng(seed).uniform(0, 2 * np.pi, len(values))
    t = np.arange(round(duration_s * rate_hz)) / rate_hz

    def frames_of(video: int) -> np.ndarray:
        shown: dict[str, Any] = {k: float(v[video]) for k, v in table.items()}
        angle = np.radians(shown["direction_deg"])
        # Rows count downwards, angles upwards.
        along = columns * np.cos(angle) - rows * np.sin(angle)
        cycles = along / shown["period_deg"] - shown["temporal_hz"] * t[:, None, None]
        wave = shown["contrast"] * np.cos(2 * np.pi * cycles + phase[video])
        wave = wave * (away <= shown.get("diameter_deg", np.inf) / 2)
        return _gray_levels(wave)

    parameters: dict[str, float | str] = {"duration_s": duration_s, "seed": seed}
    events = one_event_each(values, duration_s - scored_s, duration_s)
    n_frames = round(duration_s * rate_hz)
    shape = (len(values), n_frames)
    return Stimulus(name, parameters, rate_hz, *shape, frames_of, events, table)


def drifting_gabors(
    size: tuple[int, int],
    n_videos: int = 6,
    n_patches: int = 10,
    *,
    sd_deg: float = 16.4,
    patch_s: float = 1.0,
    periods_deg: tuple[float, float] = (20.0, 80.0),
    temporal_hz: tuple[float, float] = (0.5, 4.0),
    rate_hz: float = 30.0,
    monitor: Monitor = MONITOR,
    seed: int = 0,
) -> Stimulus:
    """Return videos of Gabor patches one after the other, each at a drawn place.

    Direction, phase, spatial period and temporal frequency are drawn, too (log-uniform
    between the given ends). The value of an event is its direction.
    """
    rng = np.random.default_rng(seed)
    n = n_videos * n_patches
    height, width = size
    direction = rng.uniform(0, 360, n)
    phase = rng.uniform(0, 2 * np.pi, n)
    row, column = rng.uniform(0, height, n), rng.uniform(0, width, n)
    period, hz = (
        low * (high / low) ** rng.uniform(0, 1, n) for low, high in (periods_deg, temporal_hz)
    )
    pixel_deg = monitor.degrees_per_pixel(width)
    rows, columns = np.mgrid[:height, :width] + 0.5
    t = np.arange(round(patch_s * rate_hz)) / rate_hz

    def frames_of(video: int) -> np.ndarray:
        parts = []
        for k in range(video * n_patches, (video + 1) * n_patches):
            y, x = (rows - row[k]) * pixel_deg, (columns - column[k]) * pixel_deg
            angle = np.radians(direction[k])
            along = (x * np.cos(angle) - y * np.sin(angle)) / period[k]
            wave = np.cos(2 * np.pi * (along - hz[k] * t[:, None, None]) + phase[k])
            parts.append(wave * np.exp(-(x**2 + y**2) / (2 * sd_deg**2)))
        return _gray_levels(np.concatenate(parts))

    video, patch = np.divmod(np.arange(n), n_patches)
    events = Events(video, patch * patch_s, (patch + 1) * patch_s - 1e-6, direction)
    table = {"row_px": row, "column_px": column, "period_deg": period}
    return Stimulus(
        "drifting Gabors",
        {"sd_deg": sd_deg, "patch_s": patch_s, "seed": seed},
        rate_hz,
        n_videos,
        n_patches * round(patch_s * rate_hz),
        frames_of,
        events,
        table | {"temporal_hz": hz},
    )


def _gray_levels(wave: np.ndarray) -> np.ndarray:
    """Return uint8 grey levels of a wave from -1 to 1 around the background."""
    return np.asarray(np.round(GRAY * (1 + wave)).clip(0, 255), np.uint8)


# -- directional pink noise ("Monet2"): noise with epochs of one direction of motion --
# Source: Wang et al. 2025 and the generator of the MICrONS recordings.
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
    >>> from omnimouse_model.lab.stimuli.gratings_and_dots import pink_noise
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
    noise: Iterator[np.ndarray], moving: np.ndarray, shift: float, orientation: tuple[float, float]
) -> Iterator[np.ndarray]:
    """Yield upsampled frames that move while a direction (radians) is set."""
    place = np.zeros(2)
    grid: tuple[np.ndarray, np.ndarray] | None = None
    gains: dict[float | None, np.ndarray] = {}
    for frame, direction in zip(noise, moving.tolist(), strict=True):
        angle = direction if np.isfinite(direction) else None
        full = (_UPSAMPLING * frame.shape[0], _UPSAMPLING * frame.shape[1])
        if grid is None:
            # (1, n) and (height, 1) of the half spectrum, radians per pixel.
            fx = 2 * np.pi * np.fft.rfftfreq(full[1])[None, :]
            grid = fx, 2 * np.pi * np.fft.fftfreq(full[0])[:, None]
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


PATTERNS = (
    "right", "up", "left", "down", "outwards", "inwards", "clockwise",
    "counter-clockwise",
)  # fmt: skip
"""Coherent motions of a kinematogram; the value of an event is the number of one."""


def gaussian_dots(
    size: tuple[int, int],
    grid: tuple[int, int] = (9, 15),
    repeats: int = 4,
    *,
    sd_deg: float = 8.0,
    on_s: float = 0.3,
    duration_s: float = 2.0,
    rate_hz: float = 30.0,
    monitor: Monitor = MONITOR,
    is_on: bool = True,
    seed: int = 0,
) -> Stimulus:
    """Return videos of one Gaussian dot each, flashed near the end.

    Parameters
    ----------
    grid
        Rows and columns of the places of dots, which cover the frame.
    on_s
        Duration of the dot, which ends 0.1 s before the video.
    is_on
        White dots, else black ones.
    seed
        Unused by the places, which are complete; of the order of the videos.

    The value of an event is the number of its place; the table has row and column in
    pixels.
    """
    height, width = size
    n_rows, n_columns = grid
    row = (np.arange(n_rows) + 0.5) * height / n_rows
    column = (np.arange(n_columns) + 0.5) * width / n_columns
    places = np.stack(np.meshgrid(row, column, indexing="ij"), -1).reshape(-1, 2)
    order = np.concatenate(
        [np.random.default_rng([seed, k]).permutation(len(places)) for k in range(repeats)]
    )
    sd = sd_deg / monitor.degrees_per_pixel(width)
    rows, columns = np.mgrid[:height, :width] + 0.5
    n_frames = round(duration_s * rate_hz)
    stop = n_frames - round(0.1 * rate_hz)
    start = stop - round(on_s * rate_hz)
    amplitude = 127 if is_on else -128

    def frames_of(video: int) -> np.ndarray:
        y, x = places[order[video]]
        dot = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * sd**2))
        frames = np.full((n_frames, height, width), GRAY, np.uint8)
        frames[start:stop] = np.round(GRAY + amplitude * dot)
        return frames

    return Stimulus(
        "gaussian dots",
        {"sd_deg": sd_deg, "on_s": on_s, "is_on": str(is_on), "seed": seed},
        rate_hz,
        len(order),
        n_frames,
        frames_of,
        one_event_each(order, start / rate_hz, stop / rate_hz),
        {"row_px": places[order, 0], "column_px": places[order, 1]},
    )


def kinematograms(
    size: tuple[int, int],
    n_videos: int = 8,
    n_patterns: int = 5,
    *,
    radius_deg: float = 2.6,
    n_dots: int = 80,
    speed_deg_s: float = 40.0,
    pattern_s: float = 2.0,
    coherences: tuple[float, ...] = (0.5, 1.0),
    rate_hz: float = 30.0,
    monitor: Monitor = MONITOR,
    seed: int = 0,
) -> Stimulus:
    """Return videos of moving dots: each pattern is a coherent motion for some time.

    Translation in four directions, motion outwards and inwards, and rotation take
    turns in a drawn order, with each coherence. Dots that do not move coherently move
    straight, each in its own direction. A dot that leaves the frame comes back at a
    drawn place.

    Parameters
    ----------
    size
        Height and width of a frame in pixels.
    n_videos, n_patterns
        Videos, and patterns in each.
    radius_deg, n_dots, speed_deg_s
        Of the dots; rotation and radial motion have this speed at a quarter of the
        width from the centre.
    coherences
        Shares of the dots that move coherently.
    """
    rng = np.random.default_rng(seed)
    n = n_videos * n_patterns
    kinds = [(k, c) for k in range(len(PATTERNS)) for c in coherences]
    cycles = [rng.permutation(len(kinds)) for _ in range(-(-n // len(kinds)))]
    order = np.concatenate(cycles)[:n]
    pattern = np.array([kinds[k][0] for k in order])
    coherence = np.array([kinds[k][1] for k in order])
    frames_per_pattern = round(pattern_s * rate_hz)
    pixel_deg = monitor.degrees_per_pixel(size[1])
    step = speed_deg_s / pixel_deg / rate_hz
    radius = radius_deg / pixel_deg

    def frames_of(video: int) -> np.ndarray:
        own = np.random.default_rng([seed, video])
        dots = own.uniform(0, 1, (n_dots, 2)) * size
        frames = []
        for k in range(video * n_patterns, (video + 1) * n_patterns):
            is_coherent = own.permutation(n_dots) < coherence[k] * n_dots
            away = own.uniform(0, 2 * np.pi, n_dots)
            apart = step * np.stack([np.sin(away), np.cos(away)], axis=1)
            for _ in range(frames_per_pattern):
                frames.append(_drawn(dots, size, radius))
                moved = step * _flow(PATTERNS[pattern[k]], dots, size)
                dots = dots + np.where(is_coherent[:, None], moved, apart)
                has_left = ((dots < 0) | (dots >= size)).any(axis=1)
                dots[has_left] = own.uniform(0, 1, (has_left.sum(), 2)) * size
        return np.stack(frames)

    video, place = np.divmod(np.arange(n), n_patterns)
    onset = place * pattern_s
    events = Events(video, onset, onset + pattern_s - 1e-6, pattern.astype(float))
    names = np.array([PATTERNS[k] for k in pattern])
    return Stimulus(
        "random-dot kinematograms",
        {"radius_deg": radius_deg, "speed_deg_s": speed_deg_s, "seed": seed},
        rate_hz,
        n_videos,
        n_patterns * round(pattern_s * rate_hz),
        frames_of,
        events,
        {"pattern": names, "coherence": coherence},
    )


def _flow(pattern: str, dots: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the velocity (row, column) at each dot, in units of the nominal speed."""
    straight = {"right": (0, 1), "left": (0, -1), "up": (-1, 0), "down": (1, 0)}
    if pattern in straight:
        return np.broadcast_to(np.array(straight[pattern], float), dots.shape)
    away = (dots - np.array(size) / 2) / (size[1] / 4)
    if pattern in ("outwards", "inwards"):
        return away if pattern == "outwards" else -away
    # On the screen, rows count downwards: right of the centre, clockwise goes down.
    turned = np.stack([away[:, 1], -away[:, 0]], axis=1)
    return turned if pattern == "clockwise" else -turned


def _drawn(dots: np.ndarray, size: tuple[int, int], radius: float) -> np.ndarray:
    """Draw dots on a grey frame: one half of them white, the other half black."""
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    frame = np.full(size, GRAY, np.uint8)
    for number, (y, x) in enumerate(dots):
        frame[(rows - y) ** 2 + (columns - x) ** 2 <= radius**2] = 255 * (number % 2)
    return frame


# -- sparse noise: white and black squares that flash at random places ----------------
def sparse_noise(
    size: tuple[int, int],
    grid: tuple[int, int] = (9, 15),
    n_videos: int = 12,
    *,
    n_squares: int = 10,
    flash_s: float = 0.3,
    duration_s: float = 10.0,
    rate_hz: float = 30.0,
    seed: int = 0,
) -> Stimulus:
    """Return videos of flashes; each flash shows some squares at once.

    Parameters
    ----------
    size
        Height and width of a frame in pixels.
    grid
        Rows and columns of the places of squares, which cover the frame.
    n_squares
        Squares of a flash, at different places: every other one is white, the others
        are black.
    flash_s
        Duration of a flash; the next one follows at once.

    The value of an event is the number of its flash. The table has the number of the
    place of each square (`place_0` …), row by row; even numbers of squares are white.

    Raises
    ------
    ValueError
        There are more squares than places.
    """
    n_places = grid[0] * grid[1]
    if not 2 <= n_squares <= n_places:
        raise ValueError(
            f"{n_squares} squares in a flash; 2 to {n_places}, one per place, expected."
        )
    frames_per_flash = round(flash_s * rate_hz)
    n_flashes = round(duration_s * rate_hz) // frames_per_flash
    n = n_videos * n_flashes
    draw = np.random.default_rng(seed)
    places = np.stack([draw.permutation(n_places)[:n_squares] for _ in range(n)])
    # The cell of the grid in which each pixel lies.
    row = np.arange(size[0]) * grid[0] // size[0]
    column = np.arange(size[1]) * grid[1] // size[1]
    place_of_pixel = row[:, None] * grid[1] + column

    def frames_of(video: int) -> np.ndarray:
        frames = []
        for flash in places[video * n_flashes : (video + 1) * n_flashes]:
            levels = np.full(n_places, GRAY, np.uint8)
            levels[flash[::2]], levels[flash[1::2]] = 255, 0
            frames.append(levels[place_of_pixel])
        return np.repeat(np.stack(frames), frames_per_flash, axis=0)

    video, flash = np.divmod(np.arange(n), n_flashes)
    step_s = frames_per_flash / rate_hz
    onset = flash * step_s
    return Stimulus(
        "sparse noise",
        {
            "rows": grid[0],
            "columns": grid[1],
            "n_squares": n_squares,
            "flash_s": step_s,
            "seed": seed,
        },
        rate_hz,
        n_videos,
        n_flashes * frames_per_flash,
        frames_of,
        # Slightly shorter than a flash: a sample at its end belongs to the next one.
        Events(video, onset, onset + step_s - 1e-6, np.arange(n, dtype=float)),
        {f"place_{k}": places[:, k] for k in range(n_squares)},
    )
