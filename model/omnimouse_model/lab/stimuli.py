"""Stimuli of the laboratory: drifting gratings and flashed dots on a described monitor.

Angles are those of the motion: 0° to the right, 90° up, counter-clockwise. Sizes in
degrees hold at the centre of the monitor, which is flat: towards its edges, the same
pixels cover a smaller angle. Every stimulus is a function of its seed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, UInt8

GRAY = 128
"""Grey level of the background."""


@dataclass(frozen=True, slots=True)
class Monitor:
    """A flat monitor in front of the animal; the default is that of Wang et al. 2025.

    Parameters
    ----------
    width_cm, height_cm, distance_cm
        Size, and distance of its nearest point from the eye.

    Examples
    --------
    >>> from omnimouse_model.lab.stimuli import Monitor
    >>> round(Monitor().degrees_per_pixel(256), 2)
    0.82
    """

    width_cm: float = 55.2
    height_cm: float = 31.0
    distance_cm: float = 15.0

    def degrees_per_pixel(self, width: int) -> float:
        """Return the angle of a pixel at the centre, of a frame of some width."""
        return float(np.degrees(self.width_cm / width / self.distance_cm))


@dataclass(frozen=True, slots=True, eq=False)
class StimulusTrials:
    """Videos of the trials of a stimulus, and the stimulus value of each.

    Attributes
    ----------
    name, parameters
        Name and settings of the stimulus, for tables and files.
    values
        Stimulus value of each trial, such as a direction in degrees.
    rate_hz
        Frames per second.
    frames_of
        Returns the frames uint8 (frame, height, width) of a trial.
    table
        Further columns, one value per trial.
    """

    name: str
    parameters: dict[str, float | str]
    values: Float[np.ndarray, " trial"]
    rate_hz: float
    frames_of: Callable[[int], UInt8[np.ndarray, "frame height width"]]
    table: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.values)


def drifting_gratings(
    size: tuple[int, int],
    n_directions: int = 16,
    repeats: int = 10,
    *,
    periods_deg: Sequence[float] = (40.0, 60.0, 80.0),
    temporal_hz: Sequence[float] = (1.0, 2.0, 4.0),
    contrast: float = 0.8,
    duration_s: float = 2.0,
    rate_hz: float = 30.0,
    monitor: Monitor = Monitor(),
    seed: int = 0,
) -> StimulusTrials:
    """Return trials of full-field gratings that drift in different directions.

    Parameters
    ----------
    size
        Height and width of a frame in pixels.
    repeats
        Trials of each direction. Spatial periods and temporal frequencies take turns,
        in all combinations; phases are drawn.
    contrast
        (max - min) / (max + min) of the luminance in grey levels.

    Examples
    --------
    >>> from omnimouse_model.lab.stimuli import drifting_gratings
    >>> gratings = drifting_gratings((36, 64), n_directions=4, repeats=2)
    >>> len(gratings), gratings.frames_of(0).shape
    (8, (60, 36, 64))
    """
    rng = np.random.default_rng(seed)
    directions = np.tile(np.arange(n_directions) * 360 / n_directions, repeats)
    pairs = [(period, hz) for hz in temporal_hz for period in periods_deg]
    of_repeat = [pairs[k % len(pairs)] for k in range(repeats)]
    period, hz = (np.repeat(x, n_directions) for x in zip(*of_repeat, strict=True))
    phase = rng.uniform(0, 2 * np.pi, len(directions))
    height, width = size
    pixel_deg = monitor.degrees_per_pixel(width)
    rows, columns = np.mgrid[:height, :width] * pixel_deg
    times = np.arange(round(duration_s * rate_hz)) / rate_hz

    def frames_of(trial: int) -> np.ndarray:
        angle = np.radians(directions[trial])
        # Rows count downwards, angles upwards.
        along = columns * np.cos(angle) - rows * np.sin(angle)
        cycles = along / period[trial] - hz[trial] * times[:, None, None]
        wave = np.cos(2 * np.pi * cycles + phase[trial])
        return np.asarray(np.round(GRAY * (1 + contrast * wave)).clip(0, 255), np.uint8)

    return StimulusTrials(
        "drifting gratings",
        {"contrast": contrast, "duration_s": duration_s, "seed": seed},
        directions,
        rate_hz,
        frames_of,
        {"period_deg": period, "temporal_hz": hz},
    )


def gaussian_dots(
    size: tuple[int, int],
    grid: tuple[int, int] = (9, 15),
    repeats: int = 4,
    *,
    sd_deg: float = 8.0,
    on_s: float = 0.3,
    duration_s: float = 2.0,
    rate_hz: float = 30.0,
    monitor: Monitor = Monitor(),
    is_on: bool = True,
    seed: int = 0,
) -> StimulusTrials:
    """Return trials of one Gaussian dot each, flashed near the end of the trial.

    Parameters
    ----------
    grid
        Rows and columns of the places of dots, which cover the frame.
    on_s
        Duration of the dot, which ends 0.1 s before the trial.
    is_on
        White dots, else black ones.
    seed
        Unused by the places, which are complete; of the order of the trials.

    `values` is the number of the place; the table has its row and column in pixels.
    """
    height, width = size
    n_rows, n_columns = grid
    row = (np.arange(n_rows) + 0.5) * height / n_rows
    column = (np.arange(n_columns) + 0.5) * width / n_columns
    places = np.stack(np.meshgrid(row, column, indexing="ij"), -1).reshape(-1, 2)
    order = np.concatenate(
        [
            np.random.default_rng([seed, k]).permutation(len(places))
            for k in range(repeats)
        ]
    )
    sd = sd_deg / monitor.degrees_per_pixel(width)
    rows, columns = np.mgrid[:height, :width] + 0.5
    n_frames = round(duration_s * rate_hz)
    stop = n_frames - round(0.1 * rate_hz)
    start = stop - round(on_s * rate_hz)
    amplitude = 127 if is_on else -128

    def frames_of(trial: int) -> np.ndarray:
        y, x = places[order[trial]]
        dot = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * sd**2))
        frames = np.full((n_frames, height, width), GRAY, np.uint8)
        frames[start:stop] = np.round(GRAY + amplitude * dot)
        return frames

    return StimulusTrials(
        "gaussian dots",
        {"sd_deg": sd_deg, "on_s": on_s, "is_on": str(is_on), "seed": seed},
        order.astype(np.float64),
        rate_hz,
        frames_of,
        {"row_px": places[order, 0], "column_px": places[order, 1]},
    )
