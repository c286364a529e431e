"""Fits of score against size: a saturating power law, and a line over log size.

Both need at least four sizes: a curve with three parameters fits any three points.
Prediction intervals need SciPy (`pip install "omnimouse-app[analysis]"`).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from omnimouse_model.extras import named_extras

MIN_SIZES = 4
EXPONENTS = (0.01, 3.0)
"""Bounds of the exponent; near 0 the power law is a line over log size."""
# Each refinement narrows the range at least 30 times; twelve reach the resolution of
# float64.
_GRID, _ZOOMS = 61, 12
"""Exponents per grid, and the number of refinements around the best one."""


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """y = limit + amplitude · x^(-exponent).

    Attributes
    ----------
    limit
        Value of y for infinite x.
    is_at_bound
        Whether the exponent lies at a bound: the points do not determine it.
    n, rss, aicc
        Number of points, residual sum of squares, corrected Akaike criterion (NaN if
        there are too few points).
    """

    limit: float
    amplitude: float
    exponent: float
    is_at_bound: bool
    n: int
    rss: float
    aicc: float

    def __call__(self, x: np.ndarray | float) -> np.ndarray:
        """Return the fitted y at sizes x."""
        size = np.asarray(x, np.float64)
        return np.asarray(self.limit + self.amplitude * size ** (-self.exponent))


@dataclass(frozen=True, slots=True)
class LogLine:
    """y = intercept + slope · ln x; other fields as in `PowerLaw`.

    `x_mean` and `x_square` are the mean of ln x and the sum of its squared deviations;
    prediction intervals need them.
    """

    intercept: float
    slope: float
    n: int
    rss: float
    aicc: float
    x_mean: float
    x_square: float

    def __call__(self, x: np.ndarray | float) -> np.ndarray:
        """Return the fitted y at sizes x."""
        return np.asarray(self.intercept + self.slope * np.log(x))

    def prediction_interval(
        self, x: float, level: float = 0.95, n_new: int = 1
    ) -> tuple[float, float]:
        """Return the prediction interval of the mean of `n_new` new points at size x.

        NaN with two points or fewer, which leave no residual variance.
        """
        degrees = self.n - 2
        if degrees < 1:
            return float("nan"), float("nan")
        # Variance of a new mean plus that of the line, which grows with the distance
        # from the fitted sizes; Student's t because the residual variance is estimated.
        far = (np.log(x) - self.x_mean) ** 2 / self.x_square
        spread = np.sqrt(self.rss / degrees * (1 / n_new + 1 / self.n + far))
        half = float(scipy_module("stats").t.ppf((1 + level) / 2, degrees) * spread)
        middle = float(self(x))
        return middle - half, middle + half


def fit_power_law(x: Float[np.ndarray, " point"], y: Float[np.ndarray, " point"]) -> PowerLaw:
    """Fit by least squares with a bounded exponent.

    For a fixed exponent, limit and amplitude are those of a straight line over x^-b.
    Only the exponent is searched: on a grid, then between the neighbours of the best
    grid point. Repeats (seeds) are points of the same x.

    Raises
    ------
    ValueError
        Fewer than four sizes, a size that is not positive, or a value not finite.
    """
    x, y = checked_points(x, y)
    low, high = EXPONENTS
    # Centred so that the powers are of order one; the amplitude is scaled back below.
    log_x = np.log(x) - np.log(x).mean()
    # A grid over the whole range does not depend on a start value, unlike a local
    # optimiser.
    grid = np.geomspace(low, high, _GRID)
    for _ in range(_ZOOMS):
        best = int(_lines(log_x, y, grid)[2].argmin())
        grid = np.linspace(grid[max(best - 1, 0)], grid[min(best + 1, _GRID - 1)], _GRID)
    exponent = float(grid[_lines(log_x, y, grid)[2].argmin()])
    limit, amplitude, rss = (float(v[0]) for v in _lines(log_x, y, np.array([exponent])))
    return PowerLaw(
        limit,
        amplitude * float(np.exp(exponent * np.log(x).mean())),
        exponent,
        not low * 1.001 < exponent < high * 0.999,
        len(y),
        rss,
        aicc(rss, len(y), 3),
    )


def _lines(
    log_x: np.ndarray, y: np.ndarray, exponents: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return limit, amplitude and squared residual of the best line over each x^-b."""
    power = np.exp(-exponents[:, None] * log_x)  # (exponent, point)
    away = power - power.mean(axis=1, keepdims=True)
    amplitude = away @ y / (away**2).sum(axis=1)
    limit = y.mean() - amplitude * power.mean(axis=1)
    residual = y - limit[:, None] - amplitude[:, None] * power
    return limit, amplitude, (residual**2).sum(axis=1)


def fit_log_line(x: Float[np.ndarray, " point"], y: Float[np.ndarray, " point"]) -> LogLine:
    """Fit y over ln x by least squares.

    Raises
    ------
    ValueError
        Fewer than four sizes, a size that is not positive, or a value not finite.
    """
    x, y = checked_points(x, y)
    log_x = np.log(x)
    mean = float(log_x.mean())
    square = float(((log_x - mean) ** 2).sum())
    slope = float(((log_x - mean) * (y - y.mean())).sum() / square)
    intercept = float(y.mean() - slope * mean)
    rss = float(((intercept + slope * log_x - y) ** 2).sum())
    return LogLine(intercept, slope, len(y), rss, aicc(rss, len(y), 2), mean, square)


def aicc(rss: float, n: int, n_parameters: int) -> float:
    """Corrected Akaike criterion of a least-squares fit; NaN with too few points.

    The residual variance counts as one more parameter.
    """
    k = n_parameters + 1
    if n - k - 1 <= 0:
        return float("nan")
    # A perfect fit has no residual, and the logarithm of 0 is not finite.
    floor = np.finfo(np.float64).tiny
    return float(n * np.log(max(rss, floor) / n) + 2 * k + 2 * k * (k + 1) / (n - k - 1))


def checked_points(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the points as float64; raise ValueError if they cannot be fitted."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"Sizes {x.shape} and values {y.shape} are not of one length.")
    if not (np.isfinite(x) & (x > 0) & np.isfinite(y)).all():
        raise ValueError("Sizes must be positive, values finite.")
    # Sizes are counted, not points: seeds of the same size add no information on the
    # shape of the curve.
    n_sizes = len(np.unique(x))
    if n_sizes < MIN_SIZES:
        raise ValueError(
            f"A fit needs {MIN_SIZES} different sizes or more, found {n_sizes}: "
            "fewer are shown as points alone."
        )
    return x, y


def scipy_module(name: str) -> Any:
    """Import a submodule of SciPy; the error names the extra to install."""
    from importlib import import_module

    with named_extras():
        return import_module(f"scipy.{name}")
