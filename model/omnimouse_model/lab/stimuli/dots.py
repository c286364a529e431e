"""Flashed dots and sparse noise for receptive fields, and moving dots (kinematograms)."""

import numpy as np

from omnimouse_model.lab.stimuli.stimulus import (
    GRAY,
    MONITOR,
    Events,
    Monitor,
    Stimulus,
    one_event_each,
)

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
