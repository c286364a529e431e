"""Fit of the linear-Gaussian baseline for one set of visible inputs."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.families.parts.linear_gaussian.posterior import (
    FactorModel,
    blocks_of,
    fit_factors,
)
from omnimouse_model.families.parts.linear_gaussian.series import TrainSeries
from omnimouse_model.progress import QUIET, Job, part_of, stop_if

VIDEO_PENALTY, BEHAVIOR_PENALTY = 10.0, 1.0
"""Ridge penalties relative to the variance of an input."""
ALONE = 2.0
"""Factor on the video penalty where no behaviour is visible."""
FLOOR_QUANTILE = 0.01
_ROWS, _COLUMNS = 256, 1024
_MEAN_SHARE = 0.2
"""Share of the time of a fit for the mean from the inputs."""

Check = Callable[[], None]


@dataclass(frozen=True, slots=True)
class LinearGaussianFit:
    """Everything that is fitted for one set of visible inputs.

    Columns are the P neurons, then C channels of behaviour if it is not an input.

    Attributes
    ----------
    floor
        float32 (P,): lowest response, subtracted before the square root and added back.
    weights, intercept
        float32 (n, columns) and (columns,): the mean from the inputs.
    scale
        float32 (columns,): standard deviation of the residuals.
    factors
        Covariance of residuals / scale.
    """

    floor: np.ndarray
    weights: np.ndarray
    intercept: np.ndarray
    scale: np.ndarray
    factors: FactorModel

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the fit as named arrays, for a file."""
        return {
            "floor": self.floor,
            "weights": self.weights,
            "intercept": self.intercept,
            "scale": self.scale,
            "loadings": self.factors.loadings,
            "shared": self.factors.shared,
            "private_variance": self.factors.private_variance,
            "private": self.factors.private,
            "inflation": np.array(self.factors.inflation),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> "LinearGaussianFit":
        """Return a fit from `arrays`."""
        return cls(
            arrays["floor"],
            arrays["weights"],
            arrays["intercept"],
            arrays["scale"],
            FactorModel(
                arrays["loadings"],
                arrays["shared"],
                arrays["private_variance"],
                arrays["private"],
                float(arrays["inflation"]),
            ),
        )


def to_fitted(responses: np.ndarray, floor: np.ndarray, *, is_count: bool) -> np.ndarray:
    """Return responses as they are fitted: square roots above the floor, or counts.

    The square root makes the variance of shot noise the same at all rates. Counts per
    bin are mostly 0 and 1, where it changes nothing; they are fitted as they are.
    """
    if is_count:
        return np.asarray(responses, np.float32)
    return np.asarray(np.sqrt(np.maximum(responses - floor, 0)), np.float32)


def from_fitted(
    values: np.ndarray,
    variance: np.ndarray | float,
    floor: np.ndarray,
    *,
    is_count: bool,
) -> np.ndarray:
    """Return expected responses from the mean and variance of fitted values.

    The mean of a square is the squared mean plus the variance.
    """
    positive = np.maximum(values, 0)
    return np.asarray(positive if is_count else positive**2 + variance + floor)


def fit(
    series: TrainSeries,
    rate_hz: float,
    *,
    is_count: bool,
    fixed_mean: np.ndarray | None = None,
    video_penalty: float = VIDEO_PENALTY,
    job: Job = QUIET,
) -> LinearGaussianFit:
    """Fit mean and covariance to a series, with the inputs that it has.

    Parameters
    ----------
    series
        Train tier. Behaviour is a column to predict unless it is an input.
    rate_hz
        Response samples per second.
    is_count
        Whether responses are counts.
    fixed_mean
        float32 (N, P), in fitted units: a part of the mean that is known, for example
        from a network. The inputs predict the rest.
    video_penalty
        Ridge penalty of video inputs, relative to their variance.
    job
        Progress; asked every few milliseconds whether to stop.

    Raises
    ------
    UnsupportedRequestError
        The fit is not finite, for example because the series is too short.
    """
    check = partial(stop_if, job.cancelled)
    floor = lowest_responses(series.responses, is_count=is_count)
    n_behavior = 0
    if series.behavior_inputs is None:
        n_behavior = series.behavior.shape[1]
    columns = _columns(series, floor, n_behavior, check, is_count=is_count)
    if fixed_mean is not None:
        columns[:, : fixed_mean.shape[1]] -= fixed_mean
    share = _fill(columns, check)
    inputs, penalty = _inputs(series, video_penalty)
    weights, intercept = _ridge(inputs, columns, penalty, check)
    residuals, scale = _residuals(inputs, columns, weights, intercept, share, check)
    blocks = blocks_of(series.run, rate_hz)
    factors = fit_factors(
        residuals, blocks, rate_hz, n_behavior=n_behavior, job=part_of(job, _MEAN_SHARE, 1.0)
    )
    fitted = LinearGaussianFit(floor, weights, intercept, scale, factors)
    if not all(np.isfinite(array).all() for array in fitted.arrays().values()):
        raise UnsupportedRequestError(
            f"The linear-Gaussian fit is not finite with {len(series.run)} samples of "
            f"{series.responses.shape[1]} neurons. Record longer, or name more trials "
            "'train'."
        )
    return fitted


def _columns(
    series: TrainSeries,
    floor: np.ndarray,
    n_behavior: int,
    check: Check,
    *,
    is_count: bool,
) -> np.ndarray:
    """Return float32 (N, P + C): fitted responses, then channels of behaviour."""
    n_samples, n_neurons = series.responses.shape
    columns = np.empty((n_samples, n_neurons + n_behavior), np.float32)
    # In pieces: copies of all responses would take most of the memory of a fit.
    for first in range(0, n_samples, _ROWS):
        rows = slice(first, first + _ROWS)
        columns[rows, :n_neurons] = to_fitted(series.responses[rows], floor, is_count=is_count)
        check()
    columns[:, n_neurons:] = series.behavior[:, :n_behavior]
    return columns


def _fill(columns: np.ndarray, check: Check) -> np.ndarray:
    """Put the mean of a column in place of missing values; return recorded shares.

    Values at the mean add nothing to covariances.
    """
    n = len(columns)
    total, count = np.zeros(columns.shape[1]), np.zeros(columns.shape[1])
    for first in range(0, n, _ROWS):
        part = columns[first : first + _ROWS]
        recorded = np.isfinite(part)
        total += np.where(recorded, part, 0).sum(axis=0, dtype=np.float64)
        count += recorded.sum(axis=0)
        check()
    if (count == n).all():
        return np.ones(columns.shape[1])
    mean = (total / np.maximum(count, 1)).astype(np.float32)
    for first in range(0, n, _ROWS):
        part = columns[first : first + _ROWS]
        np.copyto(part, mean, where=~np.isfinite(part))
        check()
    return np.maximum(count, 1) / n


def lowest_responses(responses: np.ndarray, *, is_count: bool) -> np.ndarray:
    """Return the first percentile of each neuron where it is negative, else 0."""
    floor = np.zeros(responses.shape[1], np.float32)
    if not is_count:
        for neuron in np.flatnonzero(np.fmin.reduce(responses, axis=0) < 0):
            lowest = np.nanquantile(responses[:, neuron], FLOOR_QUANTILE)
            floor[neuron] = min(lowest, 0)
    return floor


def _inputs(series: TrainSeries, video_penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs (N, n) and the penalty of each."""
    parts, penalties = [np.zeros((len(series.run), 0), np.float32)], [np.zeros(0)]
    if series.video_inputs is not None:
        factor = ALONE if series.behavior_inputs is None else 1.0
        parts.append(series.video_inputs)
        penalties.append(np.full(series.video_inputs.shape[1], video_penalty * factor))
    if series.behavior_inputs is not None:
        parts.append(series.behavior_inputs)
        penalties.append(np.full(series.behavior_inputs.shape[1], BEHAVIOR_PENALTY))
    return np.concatenate(parts, axis=1), np.concatenate(penalties)


def _ridge(
    inputs: np.ndarray, columns: np.ndarray, penalty: np.ndarray, check: Check
) -> tuple[np.ndarray, np.ndarray]:
    """Return weights (n, columns) and intercept of a ridge regression."""
    mean_x = inputs.mean(axis=0, dtype=np.float64).astype(np.float32)
    mean_y = columns.mean(axis=0, dtype=np.float64).astype(np.float32)
    n, n_inputs = inputs.shape
    weights = np.zeros((n_inputs, columns.shape[1]), np.float32)
    if not n_inputs:
        return weights, mean_y
    centred = inputs - mean_x
    gram = np.zeros((n_inputs, n_inputs))
    cross = np.zeros((n_inputs, columns.shape[1]), np.float32)
    for first in range(0, n, _ROWS):
        part = centred[first : first + _ROWS]
        gram += part.T @ part
        for left in range(0, columns.shape[1], _COLUMNS):
            some = slice(left, left + _COLUMNS)
            cross[:, some] += part.T @ columns[first : first + _ROWS, some]
            check()
    gram /= n
    gram[np.diag_indices(n_inputs)] += penalty * np.diag(gram) + 1e-6
    # The inverse once, so that the columns can be divided into short steps.
    inverse = np.linalg.inv(gram).astype(np.float32)
    for left in range(0, columns.shape[1], _COLUMNS):
        some = slice(left, left + _COLUMNS)
        weights[:, some] = inverse @ (cross[:, some] / n)
        check()
    return weights, mean_y - mean_x @ weights


def _residuals(
    inputs: np.ndarray,
    columns: np.ndarray,
    weights: np.ndarray,
    intercept: np.ndarray,
    share: np.ndarray,
    check: Check,
) -> tuple[np.ndarray, np.ndarray]:
    """Return residuals of unit variance, which overwrite `columns`, and their scale.

    `share` (columns,) is the share of values that were recorded.
    """
    for first in range(0, len(columns), _ROWS):
        part = slice(first, first + _ROWS)
        columns[part] -= intercept
        if len(weights):
            columns[part] -= inputs[part] @ weights
        check()
    # Values that were filled in do not vary.
    std = columns.std(axis=0, dtype=np.float64) / np.sqrt(share)
    scale = np.maximum(std, 1e-3).astype(np.float32)
    columns /= scale
    return columns, scale
