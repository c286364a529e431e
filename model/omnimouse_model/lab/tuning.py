"""Tuning of neurons in a model: directions, levels of a quantity, receptive fields."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from omnimouse_model.errors import StoppedError
from omnimouse_model.lab.stimuli.stimulus import MONITOR, Stimulus, responses_by_value
from omnimouse_model.metrics.tuning import (
    N_SHUFFLES,
    dot_average,
    dot_masks,
    fit_gaussian,
    selectivity_index,
    spatial_selectivity,
)
from omnimouse_model.progress import QUIET, Job, shows_progress

_MAX_STEPS = 100
"""Limit of the fit of a field; those with a peak need fewer."""
_MAP_SIZE = (36, 64)
"""Rows and columns of an average at which dots of the usual size are smooth."""
_GROUP = 16
"""Neurons whose averages are computed together."""
_SMOOTHING = 0.7
"""Standard deviation, in places, with which maps of squares are smoothed for a fit."""


@dataclass(frozen=True, slots=True, eq=False)
class ModelDirections:
    """Direction tuning of neurons in a model.

    Attributes
    ----------
    directions_deg
        0 to the right, 90 up.
    response
        Mean over the events of a direction.
    osi, dsi
        Global indices: length of the vector sum over the sum of responses.
    orientation_deg
        Axis of the motion, 0 to 180: half the angle of the vector sum of orientations.
    preferred_deg
        The end of this axis with the larger response; for a neuron that is more
        selective for direction than for orientation, the angle of the vector sum of
        directions. All are NaN, as the indices, without any response.
    p_orientation, p_direction
        Share of shuffles of the directions over the events with at least this OSI, DSI.
    """

    directions_deg: Float[np.ndarray, " direction"]
    response: Float[np.ndarray, "neuron direction"]
    osi: Float[np.ndarray, " neuron"]
    dsi: Float[np.ndarray, " neuron"]
    preferred_deg: Float[np.ndarray, " neuron"]
    orientation_deg: Float[np.ndarray, " neuron"]
    p_orientation: Float[np.ndarray, " neuron"]
    p_direction: Float[np.ndarray, " neuron"]


def directions_of(
    responses: Float[np.ndarray, "event neuron"], directions_deg: Float[np.ndarray, " event"]
) -> ModelDirections:
    """Return the tuning to the directions of events."""
    grouped = responses_by_value(responses, directions_deg)
    theta, mean = np.radians(grouped.values), np.maximum(grouped.response, 0)
    sums = [mean @ np.exp(1j * harmonic * theta) for harmonic in (1, 2)]
    is_silent = ~(mean.sum(axis=1) > 0)
    angles = [np.where(is_silent, np.nan, np.degrees(np.angle(one))) for one in sums]
    osi, dsi = _selectivity(mean, theta)
    # The observed value counts as one shuffle, so that p is never 0.
    n_above, draw = np.ones((2, len(mean))), np.random.default_rng(0)
    for _ in range(N_SHUFFLES):
        shuffled = responses_by_value(responses, draw.permutation(directions_deg))
        n_above += _selectivity(np.maximum(shuffled.response, 0), theta) >= (osi, dsi)
    p_orientation, p_direction = np.where(is_silent, np.nan, n_above / (N_SHUFFLES + 1))
    axis = angles[1] / 2 % 180
    # The vector sum of directions says little of a neuron whose two directions cancel:
    # only on which side of the axis it lies.
    is_beyond = np.cos(np.radians(angles[0] - axis)) < 0
    by_axis = np.where(is_beyond, axis + 180, axis)
    preferred = np.where(dsi > osi, angles[0] % 360, by_axis)
    return ModelDirections(
        grouped.values, mean, osi, dsi, preferred, axis, p_orientation, p_direction
    )


def _selectivity(
    mean: Float[np.ndarray, "neuron direction"], theta: Float[np.ndarray, " direction"]
) -> Float[np.ndarray, "2 neuron"]:
    """Return OSI and DSI."""
    return np.stack([selectivity_index(mean, theta, k).value for k in (2, 1)])


@dataclass(frozen=True, slots=True, eq=False)
class LevelTuning:
    """Tuning to levels of a quantity, such as contrast, at the preferred direction.

    Attributes
    ----------
    levels
        Values of the quantity, sorted.
    response
        Mean response to each level.
    preferred
        Level of the largest response.
    direction_deg
        Direction with the largest mean response over the levels.
    """

    levels: Float[np.ndarray, " level"]
    response: Float[np.ndarray, "neuron level"]
    preferred: Float[np.ndarray, " neuron"]
    direction_deg: Float[np.ndarray, " neuron"]


def levels_of(responses: Float[np.ndarray, "event neuron"], stimulus: Stimulus) -> LevelTuning:
    """Return the tuning to the levels of `grating_levels`."""
    directions = stimulus.table["direction_deg"]
    shown = np.unique(directions)
    curves = []
    for direction in shown:
        is_shown = directions == direction
        grouped = responses_by_value(responses[is_shown], stimulus.values[is_shown])
        curves.append(grouped.response)
    by_direction = np.stack(curves)  # (direction, neuron, level)
    best = by_direction.mean(axis=2).argmax(axis=0)
    response = by_direction[best, np.arange(len(best))]
    levels = np.unique(stimulus.values)
    return LevelTuning(levels, response, levels[response.argmax(axis=1)], shown[best])


@dataclass(frozen=True, slots=True, eq=False)
class ReceptiveFields:
    """Receptive fields of neurons in a model, from flashed dots.

    Attributes
    ----------
    average
        Average of the dots, weighted by what each neuron responds beyond its weakest
        response. Its grid covers the frame, and may be coarser.
    center_px
        Row and column of the centre of a Gaussian that is fitted to the responses to
        the places of the dots. Unlike the average, they are not drawn inwards at the
        edges of the frame. NaN without any response, and further beyond the frame, where
        no dot was shown, than two dots are apart.
    covariance_px
        Covariance of this Gaussian, rows first; it includes the width of a dot.
    selectivity
        Spatial selectivity index (SSI): -ln det of the covariance; larger is narrower.
    """

    average: Float32[np.ndarray, "neuron row column"]
    center_px: Float[np.ndarray, "neuron 2"]
    covariance_px: Float[np.ndarray, "neuron 2 2"]
    selectivity: Float[np.ndarray, " neuron"]


@shows_progress
def receptive_fields(
    responses: Float[np.ndarray, "event neuron"],
    stimulus: Stimulus,
    size: tuple[int, int],
    job: Job = QUIET,
) -> ReceptiveFields:
    """Return the receptive fields from responses to `gaussian_dots`.

    Raises
    ------
    StoppedError
        The job is cancelled.
    ModuleNotFoundError
        SciPy is missing.
    """
    sd_px = float(stimulus.parameters["sd_deg"]) / MONITOR.degrees_per_pixel(size[1])
    rows, columns = stimulus.table["row_px"], stimulus.table["column_px"]
    places, shown = np.unique(np.stack([columns, rows], 1), axis=0, return_inverse=True)
    shown = shown.reshape(-1)
    n_rows, n_columns = grid = _map_grid(size, sd_px)
    per_px, side = n_columns / size[1], max(grid)
    centres = places * (per_px, n_rows / size[0]) - 0.5
    masks = dot_masks(centres / side, sd_px * per_px / side, n_rows, n_columns)
    beyond = (responses - np.nanmin(responses, axis=0)).T
    above = np.empty((len(beyond), *grid), np.float32)
    selectivity = np.empty(len(beyond))
    for some in _groups(len(beyond)):
        average = dot_average(masks, shown, beyond[some], "density")
        # What all dots share says nothing about the place.
        above[some] = average - np.median(average, axis=(1, 2), keepdims=True)
        selectivity[some] = spatial_selectivity(above[some]).value
    by_place = responses_by_value(responses, shown.astype(float))
    row, column = np.unique(rows), np.unique(columns)
    # `np.unique` sorts the places by column, then row.
    maps = by_place.response.reshape(-1, len(column), len(row)).transpose(0, 2, 1)
    center_px, covariance_px = _fitted(maps, size, job)
    return ReceptiveFields(above, center_px, covariance_px, selectivity)


def _map_grid(size: tuple[int, int], sd_px: float) -> tuple[int, int]:
    """Return rows and columns of the averages of dots: no finer than they can show."""
    step = min(size[0] // _MAP_SIZE[0], size[1] // _MAP_SIZE[1], int(sd_px))
    return round(size[0] / max(step, 1)), round(size[1] / max(step, 1))


def _groups(n_neurons: int) -> Iterator[slice]:
    """Yield groups of neurons whose maps fit in little memory."""
    for first in range(0, n_neurons, _GROUP):
        yield slice(first, first + _GROUP)


@dataclass(frozen=True, slots=True, eq=False)
class OnOffFields:
    """Receptive fields of neurons in a model, from sparse noise.

    Attributes
    ----------
    field
        Of the map with the clearest place of each neuron, smoothed for the fit: on,
        off, their sum (a neuron that responds to both) or their difference (one that
        responds to light minus dark). Its peak is positive.
    on, off
        Average response to a white, and to a black square at each place of the grid,
        minus the median over the places.
    """

    field: ReceptiveFields
    on: Float[np.ndarray, "neuron row column"]
    off: Float[np.ndarray, "neuron row column"]


@shows_progress
def on_off_fields(
    responses: Float[np.ndarray, "event neuron"],
    stimulus: Stimulus,
    size: tuple[int, int],
    job: Job = QUIET,
) -> OnOffFields:
    """Return the receptive fields from responses to `sparse_noise`.

    At each place, the responses to the flashes with a white, or a black, square there
    are averaged.

    Raises
    ------
    StoppedError
        The job is cancelled.
    ModuleNotFoundError
        SciPy is missing.
    """
    n_rows, n_columns = (int(stimulus.parameters[k]) for k in ("rows", "columns"))
    n_squares = int(stimulus.parameters["n_squares"])
    is_known = np.isfinite(responses)
    known = np.where(is_known, responses, 0.0)
    maps = []
    for first in (0, 1):  # white squares have even numbers
        has_square = np.zeros((len(responses), n_rows * n_columns))
        for square in range(first, n_squares, 2):
            at = stimulus.table[f"place_{square}"]
            has_square[np.arange(len(responses)), at] = 1.0
        with np.errstate(invalid="ignore"):
            mean = (known.T @ has_square) / (is_known.T @ has_square)
        found = mean.reshape(-1, n_rows, n_columns)
        maps.append(found - np.nanmedian(found, axis=(1, 2), keepdims=True))
    on, off = maps
    clearest = _clearest(on, off)
    center_px, covariance_px = _fitted(_smoothed(clearest), size, job)
    # The pixels of each place, as in the stimulus.
    row = np.arange(size[0]) * n_rows // size[0]
    column = np.arange(size[1]) * n_columns // size[1]
    average = clearest.astype(np.float32)
    selectivity = np.empty(len(average))
    for some in _groups(len(average)):
        in_frame = average[some][:, row][:, :, column]
        selectivity[some] = spatial_selectivity(in_frame).value
    fields = ReceptiveFields(average, center_px, covariance_px, selectivity)
    return OnOffFields(fields, on, off)


def _smoothed(
    maps: Float[np.ndarray, "neuron row column"],
) -> Float[np.ndarray, "neuron row column"]:
    """Return maps that are as smooth as those of Gaussian dots.

    The peak of a neuron that reads less than a square is one place: nothing would hold
    the centre of a Gaussian within it.
    """
    rows, columns = (_gaussian_weights(n) for n in maps.shape[1:])
    return np.asarray(rows @ maps @ columns.T)


def _gaussian_weights(n: int) -> Float[np.ndarray, "n n"]:
    away = np.arange(n)[:, None] - np.arange(n)[None, :]
    weights = np.exp(-(away**2) / (2 * _SMOOTHING**2))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _clearest(
    on: Float[np.ndarray, "neuron row column"], off: Float[np.ndarray, "neuron row column"]
) -> Float[np.ndarray, "neuron row column"]:
    """Return the map of each neuron whose peak exceeds its other values most."""
    candidates = np.stack([on, off, on + off, on - off])
    flat = np.nan_to_num(candidates.reshape(*candidates.shape[:2], -1))
    # A mean absolute value instead of a median one, which can be 0.
    spread = np.abs(flat).mean(axis=2)
    peak = np.abs(flat).max(axis=2)
    clear = np.where(spread > 0, peak / np.maximum(spread, 1e-30), 0.0)
    best, neurons = clear.argmax(axis=0), np.arange(len(on))
    chosen = candidates[best, neurons]
    peaks = np.abs(flat[best, neurons]).argmax(axis=1)
    sign = np.where(flat[best, neurons, peaks] < 0, -1.0, 1.0)
    return np.asarray(chosen * sign[:, None, None])


def _fitted(
    maps: Float[np.ndarray, "neuron row column"], size: tuple[int, int], job: Job
) -> tuple[Float[np.ndarray, "neuron 2"], Float[np.ndarray, "neuron 2 2"]]:
    """Return centre and covariance, in pixels, of a Gaussian fitted to each map."""
    n_rows, n_columns = maps.shape[1:]
    # Pixels per step of the grid, rows first.
    step = np.array([size[0] / n_rows, size[1] / n_columns])
    side = max(n_rows, n_columns)
    center_px = np.full((len(maps), 2), np.nan)
    covariance_px = np.full((len(maps), 2, 2), np.nan)
    for neuron, one in enumerate(maps):
        if job.cancelled():
            raise StoppedError(f"Stopped after {neuron} of {len(maps)} fits.")
        # No place is preferred, or a place was never shown.
        if not np.ptp(one) > 1e-9 * np.abs(one).max():
            continue
        fit = fit_gaussian(one, _MAX_STEPS)
        # The fit counts (x, y) over the larger side of the map.
        centre = (fit.centre[::-1] * side + 0.5) * step
        # Far beyond the places that were shown, it is an extrapolation.
        if (centre < -step).any() or (centre > np.add(size, step)).any():
            continue
        center_px[neuron] = centre
        covariance = fit.covariance[::-1, ::-1] * side**2
        covariance_px[neuron] = covariance * np.outer(step, step)
    return center_px, covariance_px


def axes_of(
    covariance: Float[np.ndarray, "neuron 2 2"],
) -> tuple[
    Float[np.ndarray, " neuron"],
    Float[np.ndarray, " neuron"],
    Float[np.ndarray, " neuron"],
]:
    """Return the standard deviations along both axes of ellipses, and their angle.

    Returns
    -------
    The longer axis, the shorter axis, and the angle of the longer one in degrees, 0 to
    180: 0 to the right, 90 up. NaN where the covariance is.
    """
    is_known = np.isfinite(covariance).all(axis=(1, 2))
    spread, axes = np.linalg.eigh(np.where(is_known[:, None, None], covariance, 0.0))
    # Eigenvalues are sorted from small to large; rows count downwards.
    angle = np.degrees(np.arctan2(-axes[:, 0, 1], axes[:, 1, 1])) % 180
    sd = np.sqrt(np.maximum(spread, 0.0))
    return (
        np.where(is_known, sd[:, 1], np.nan),
        np.where(is_known, sd[:, 0], np.nan),
        np.where(is_known, angle, np.nan),
    )
