"""Gratings and Gabor patches, drifting or static."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from omnimouse_model.lab.events import Events
from omnimouse_model.lab.stimuli.stimulus import (
    GRAY,
    MONITOR,
    Monitor,
    Stimulus,
    one_event_each,
)

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
    >>> from omnimouse_model.lab.stimuli.gratings import drifting_gratings
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
    >>> from omnimouse_model.lab.stimuli.gratings import grating_levels
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
