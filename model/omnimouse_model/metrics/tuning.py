"""Orientation and direction tuning: indices, a double von Mises fit, distances.

Angles are in radians; 0 is motion to the right, π/2 upward. The indices are based on
circular variance (0 for equal responses, 1 for a single direction), not on the peak and
the response to its opposite.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from omnimouse_model.metrics.correlation import Status, Valued, first_of
from omnimouse_model.metrics.fits import scipy_module

Convention = Literal["paper", "properties"]
# Start values: turns of the best direction, and two widths. For small κ the curve is
# nearly flat, and a single start may end there.
_STARTS = (0.0, np.pi / 2, np.pi, 3 * np.pi / 2)
_KAPPAS = (1.0, 4.0)


@dataclass(frozen=True, slots=True)
class VonMises:
    """f(θ) = base + amplitude [φ e^{κ(cos(θ-μ)-1)} + (1-φ) e^{κ(cos(θ-μ+π)-1)}].

    Attributes
    ----------
    mu
        Preferred direction in [0, 2π).
    kappa, phi
        Sharpness of both peaks, and the share of the preferred peak, 0.5 to 1.
    mse
        Mean squared residual.
    is_converged
        Whether the optimiser converged before its limit of evaluations.
    """

    mu: float
    kappa: float
    phi: float
    amplitude: float
    base: float
    mse: float
    is_converged: bool

    def __call__(self, theta: np.ndarray) -> np.ndarray:
        """Return the fitted response to directions."""
        return _curve(np.array([self.mu, self.kappa, self.phi, self.amplitude, self.base]), theta)


def event_means(
    response: Float[np.ndarray, "unit event"], theta: Float[np.ndarray, " event"]
) -> tuple[np.ndarray, np.ndarray]:
    """Return sorted directions (d,) and the mean response (unit, d) to each.

    NaN events are left out; a direction without events is NaN.
    """
    angles, group = np.unique(theta, return_inverse=True)
    present = np.isfinite(response)
    member = np.eye(len(angles))[group]  # (event, direction)
    total = np.where(present, response, 0.0) @ member
    count = present @ member
    return angles, np.where(count > 0, total / np.maximum(count, 1), np.nan)


def selectivity_index(
    response: Float[np.ndarray, "*unit direction"],
    theta: Float[np.ndarray, " direction"],
    harmonic: Literal[1, 2],
) -> Valued:
    """Return |Σ r e^{ihθ}| / Σ r along the last axis: DSI for harmonic 1, OSI for 2.

    NaN if the responses sum to 0 or if one is missing.
    """
    response = np.asarray(response, np.float64)
    # A missing direction unbalances the vector sum, which then has a length even for
    # equal responses.
    missing = np.isnan(response).any(axis=-1)
    total = response.sum(axis=-1)
    vector = np.abs(response @ np.exp(1j * harmonic * theta))
    status = first_of((missing, Status.NAN_INPUT), (total == 0, Status.NO_SIGNAL))
    with np.errstate(invalid="ignore", divide="ignore"):
        value = vector / total
    return Valued(np.where(status == Status.OK, value, np.nan), status)


def fit_von_mises(
    response: Float[np.ndarray, " direction"], theta: Float[np.ndarray, " direction"]
) -> VonMises:
    """Fit a double von Mises curve by least squares, from several start values.

    Raises
    ------
    ValueError
        Fewer than five finite responses: the curve has five parameters.
    ModuleNotFoundError
        SciPy is missing.
    """
    is_known = np.isfinite(response)
    angle, value = theta[is_known], np.asarray(response, np.float64)[is_known]
    if len(value) < 5:
        raise ValueError(f"A tuning curve needs 5 directions, found {len(value)}.")
    optimize = scipy_module("optimize")
    top = float(value.max())
    base = max(float(value.min()), top / 100, 0.0)
    # μ is not bounded, since a bound at 0 or 2π would stop a fit at the seam.
    bounds = ([-np.inf, 0, 0, 0, 0], [np.inf, np.inf, 1, np.inf, np.inf])
    fits = []
    for turn in _STARTS:
        for kappa in _KAPPAS:
            mu = float(angle[value.argmax()]) + turn
            start = [mu, kappa, 0.5, max(2 * (top - base), 1e-6), base]
            fits.append(
                optimize.least_squares(
                    lambda parameters: _curve(parameters, angle) - value,
                    start,
                    jac=lambda parameters: _slopes(parameters, angle),
                    bounds=bounds,
                    x_scale="jac",
                    max_nfev=2000,
                    **dict.fromkeys(("xtol", "ftol", "gtol"), 1e-14),
                )
            )
    best = min(fits, key=lambda fit: float(fit.cost))
    mu, kappa, phi, amplitude, base = (float(number) for number in best.x)
    # The curve is the same with the peaks exchanged; μ names the larger one.
    if phi < 0.5:
        mu, phi = mu + np.pi, 1 - phi
    # SciPy's cost is half the sum of squared residuals.
    mse = 2 * float(best.cost) / len(value)
    turned = float(mu % (2 * np.pi))
    return VonMises(turned, kappa, phi, amplitude, base, mse, bool(best.success))


def _curve(parameters: np.ndarray, theta: np.ndarray) -> np.ndarray:
    mu, kappa, phi, amplitude, base = parameters
    # e^{κ(cos - 1)} instead of e^{κ cos}: it never exceeds 1, so a large κ does not
    # overflow, and the amplitude stays that of the response.
    cosine = np.cos(theta - mu)
    peaks = phi * np.exp(kappa * (cosine - 1))
    peaks = peaks + (1 - phi) * np.exp(kappa * (-cosine - 1))
    return np.asarray(base + amplitude * peaks)


def _slopes(parameters: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Return the derivatives (direction, parameter) of the curve."""
    mu, kappa, phi, amplitude, _ = parameters
    cosine, sine = np.cos(theta - mu), np.sin(theta - mu)
    near = np.exp(kappa * (cosine - 1))
    far = np.exp(kappa * (-cosine - 1))
    first, second = phi * near, (1 - phi) * far
    slopes = (
        amplitude * kappa * sine * (first - second),
        amplitude * (first * (cosine - 1) - second * (cosine + 1)),
        amplitude * (near - far),
        first + second,
        np.ones_like(theta),
    )
    return np.stack(slopes, axis=1)


def preferred_orientation(
    direction: Float[np.ndarray, "*unit"], convention: Convention = "paper"
) -> np.ndarray:
    """Return the orientation in [0, π) of a preferred direction.

    "paper" is the orientation of the contour, at right angles to its motion.
    "properties" is the axis of motion, as in the released property files.
    """
    turn = np.pi / 2 if convention == "paper" else 0.0
    return np.asarray((direction + turn) % np.pi)


def direction_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the angle between directions, 0 to π."""
    return np.asarray(np.arccos(np.clip(np.cos(first - second), -1, 1)))


def orientation_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the angle between orientations, 0 to π/2."""
    # Orientations repeat after π; doubled angles repeat after 2π like directions.
    return direction_distance(2 * np.asarray(first), 2 * np.asarray(second)) / 2


def angular_distance(
    first: Float[np.ndarray, "*unit feature"],
    second: Float[np.ndarray, "*unit feature"],
) -> np.ndarray:
    """Return the angle between vectors along the last axis, divided by π (0 to 1)."""
    lengths = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = (first * second).sum(axis=-1) / lengths
    # Rounding can lead to a cosine just above 1, for which arccos is NaN.
    return np.asarray(np.arccos(np.clip(cosine, -1, 1)) / np.pi)
