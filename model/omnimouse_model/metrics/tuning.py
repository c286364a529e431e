"""Orientation and direction tuning: indices, a double von Mises fit, distances.

Angles are radians unless a name says degrees; 0 is motion to the right, π/2 up. The
indices are those of circular variance (0 for equal responses, 1 for one direction),
not the ones made of a peak and its opposite.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from omnimouse_model.metrics.correlation import Status, Valued, first_of
from omnimouse_model.metrics.fits import scipy_module

Convention = Literal["paper", "properties"]
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
        Sharpness, and the preferred peak's share, 0.5 to 1.
    mse
        Mean squared residual.
    is_converged
        Whether the fit ended by itself.
    """

    mu: float
    kappa: float
    phi: float
    amplitude: float
    base: float
    mse: float
    is_converged: bool

    def __call__(self, theta: np.ndarray) -> np.ndarray:
        """Fitted response to directions."""
        return _curve(
            np.array([self.mu, self.kappa, self.phi, self.amplitude, self.base]), theta
        )


def event_means(
    response: Float[np.ndarray, "unit event"], theta: Float[np.ndarray, " event"]
) -> tuple[np.ndarray, np.ndarray]:
    """Directions (d,) in order, and the mean response (unit, d) to each.

    NaN events are left out; a direction without any is NaN.
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
    """|Σ r e^{ihθ}| / Σ r: DSI for harmonic 1, OSI for 2, along the last axis.

    NaN where the responses sum to 0, or one is missing.
    """
    response = np.asarray(response, np.float64)
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
    """Least squares from several starts, since a small κ makes it flat.

    Raises
    ------
    ValueError
        Fewer than five finite responses: the curve has five parameters.
    ModuleNotFoundError
        SciPy is missing.
    """
    known = np.isfinite(response)
    angle, value = theta[known], np.asarray(response, np.float64)[known]
    if len(value) < 5:
        raise ValueError(f"A tuning curve needs 5 directions, found {len(value)}.")
    optimize = scipy_module("optimize")
    top = float(value.max())
    base = max(float(value.min()), top / 100, 0.0)
    bounds = ([-np.inf, 0, 0, 0, 0], [np.inf, np.inf, 1, np.inf, np.inf])
    found = []
    for turn in _STARTS:
        for kappa in _KAPPAS:
            mu = float(angle[value.argmax()]) + turn
            start = [mu, kappa, 0.5, max(2 * (top - base), 1e-6), base]
            found.append(
                optimize.least_squares(
                    lambda parameters: _curve(parameters, angle) - value,
                    start,
                    bounds=bounds,
                    x_scale="jac",
                    max_nfev=2000,
                    **dict.fromkeys(("xtol", "ftol", "gtol"), 1e-14),
                )
            )
    best = min(found, key=lambda one: float(one.cost))
    mu, kappa, phi, amplitude, base = (float(number) for number in best.x)
    if phi < 0.5:
        mu, phi = mu + np.pi, 1 - phi
    mse = 2 * float(best.cost) / len(value)
    turned = float(mu % (2 * np.pi))
    return VonMises(turned, kappa, phi, amplitude, base, mse, bool(best.success))


def _curve(parameters: np.ndarray, theta: np.ndarray) -> np.ndarray:
    mu, kappa, phi, amplitude, base = parameters
    cosine = np.cos(theta - mu)
    peaks = phi * np.exp(kappa * (cosine - 1))
    peaks = peaks + (1 - phi) * np.exp(kappa * (-cosine - 1))
    return np.asarray(base + amplitude * peaks)


def preferred_orientation(
    direction: Float[np.ndarray, "*unit"], convention: Convention = "paper"
) -> np.ndarray:
    """Orientation in [0, π) of a preferred direction.

    "paper": that of the contour, at right angles to its motion; "properties": that of
    the motion itself, as the released property files have it.
    """
    turn = np.pi / 2 if convention == "paper" else 0.0
    return np.asarray((direction + turn) % np.pi)


def direction_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Angle between directions, 0 to π."""
    return np.asarray(np.arccos(np.clip(np.cos(first - second), -1, 1)))


def orientation_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Angle between orientations, 0 to π/2."""
    return direction_distance(2 * np.asarray(first), 2 * np.asarray(second)) / 2


def angular_distance(
    first: Float[np.ndarray, "*unit feature"],
    second: Float[np.ndarray, "*unit feature"],
) -> np.ndarray:
    """Angle between vectors along the last axis over π, 0 to 1: barcodes' distance."""
    lengths = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = (first * second).sum(axis=-1) / lengths
    return np.asarray(np.arccos(np.clip(cosine, -1, 1)) / np.pi)
