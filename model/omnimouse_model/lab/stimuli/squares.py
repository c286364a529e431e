"""Sparse noise: white and black squares that flash at random places."""

import numpy as np

from omnimouse_model.lab.events import Events
from omnimouse_model.lab.stimuli.stimulus import GRAY, Stimulus


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
