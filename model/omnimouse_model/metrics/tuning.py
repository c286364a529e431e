"""Tuning to orientation, direction and place: indices, fits, distances, gaze on a monitor.

Angles are in radians; 0 is motion to the right, π/2 upward. The indices are based on
circular variance (0 for equal responses, 1 for a single direction), not on the peak and
the response to its opposite.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from omnimouse_model.metrics.correlation import Status, Valued, first_of
from omnimouse_model.metrics.fits import scipy_module

Convention = Literal["paper", "properties"]
SIGNIFICANCE_LEVEL = 0.05
"""Significance level of the shuffle tests of selectivity."""
N_SHUFFLES = 200
"""Number of shuffles of the tests. The observed value counts as one more: no p is 0."""
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
    first: Float[np.ndarray, "*unit feature"], second: Float[np.ndarray, "*unit feature"]
) -> np.ndarray:
    """Return the angle between vectors along the last axis, divided by π (0 to 1)."""
    lengths = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = (first * second).sum(axis=-1) / lengths
    # Rounding can lead to a cosine just above 1, for which arccos is NaN.
    return np.asarray(np.arccos(np.clip(cosine, -1, 1)) / np.pi)


# -- spatial tuning: averages of dots, their spread, a Gaussian fit; gaze on a monitor
# Positions are (x, y) in pixels divided by the larger side of the image, so that 1 is the
# width of the monitor.
AverageKind = Literal["paper", "density"]


def pixel_places(height: int, width: int) -> Float[np.ndarray, "height width 2"]:
    """Return the position (x, y) of every pixel: its index over the larger side."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    return np.stack([x, y], axis=-1)


def dot_masks(
    centres: Float[np.ndarray, "dot 2"], sd: float, height: int, width: int
) -> Float[np.ndarray, "dot height width"]:
    """Return Gaussian dots of standard deviation `sd`, 1 at their centres."""
    places = pixel_places(height, width)
    away = places[None] - np.asarray(centres)[:, None, None]
    return np.asarray(np.exp(-(away**2).sum(axis=-1) / (2 * sd**2)))


def area_average(
    images: Float[np.ndarray, "image height width"], height: int, width: int
) -> Float[np.ndarray, "image row column"]:
    """Return images of another size, whose pixels average the area that they cover."""
    rows, columns = (
        _overlaps(size, new) for size, new in zip(images.shape[1:], (height, width), strict=True)
    )
    return np.asarray(rows @ np.asarray(images, np.float64) @ columns.T)


def _overlaps(size: int, new: int) -> Float[np.ndarray, "new size"]:
    """Return the share of each pixel in each new one; rows sum to 1."""
    edges = np.arange(new + 1) * size / new
    first = np.maximum(edges[:-1, None], np.arange(size))
    last = np.minimum(edges[1:, None], np.arange(size) + 1)
    share: np.ndarray = np.clip(last - first, 0, None)
    return share * new / size


def dot_average(
    masks: Float[np.ndarray, "dot height width"],
    shown: Int[np.ndarray, " event"],
    response: Float[np.ndarray, "unit event"],
    kind: AverageKind = "paper",
) -> Float[np.ndarray, "unit height width"]:
    """Return the average of the dots, weighted by the response to each.

    "paper" divides by the sum of responses. "density" divides by the coverage of each
    pixel, so that positions shown more often do not count more, as in the released
    code. Events with a NaN response are left out.
    """
    is_known = np.isfinite(response)
    # Events are summed per dot first, so that the large product is over the distinct
    # dots instead of all events.
    member = np.zeros((len(shown), len(masks)))
    member[np.arange(len(shown)), shown] = 1.0
    weight = np.where(is_known, response, 0.0) @ member  # (unit, dot)
    total = np.tensordot(weight, masks, axes=1)
    if kind == "paper":
        divisor = weight.sum(axis=1)[:, None, None]
    else:
        divisor = np.tensordot(is_known @ member, masks, axes=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(total / divisor)


def spatial_selectivity(
    average: Float[np.ndarray, "unit height width"], *, clips: bool = True
) -> Valued:
    """Return -ln det of the spatial covariance of each average; larger is narrower.

    Negative pixels count as 0, unless `clips` is False, as in the released code. NaN
    without positive pixels, or if they form a line or a point.
    """
    _, spread, mass = _first_moments(average, clips)
    determinant = np.linalg.det(np.nan_to_num(spread))
    good = (mass > 0) & (determinant > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.where(good, -np.log(np.where(good, determinant, 1.0)), np.nan)
    status = np.where(good, str(Status.OK), str(Status.NO_SIGNAL))
    return Valued(value, status)


def centroids(average: Float[np.ndarray, "unit height width"]) -> Float[np.ndarray, "unit 2"]:
    """Return the centre of mass (x, y) of each average; negative pixels count as 0."""
    return _first_moments(average)[0]


def _first_moments(
    average: np.ndarray, clips: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return centre (unit, 2), covariance (unit, 2, 2) and mass (unit,)."""
    # A covariance needs weights of one sign; with negative pixels the determinant can
    # be negative.
    weight = np.nan_to_num(np.asarray(average, np.float64))
    if clips:
        weight = np.clip(weight, 0, None)
    places = pixel_places(*weight.shape[1:]).reshape(-1, 2)
    flat = weight.reshape(len(weight), -1)
    mass = flat.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = flat / mass[:, None]
    centre = share @ places
    away = places[None] - centre[:, None]  # (unit, pixel, 2)
    spread = np.einsum("up,upi,upj->uij", share, away, away)
    return centre, spread, mass


@dataclass(frozen=True, slots=True, eq=False)
class GaussianFit:
    """Gaussian that is fitted to an average.

    Attributes
    ----------
    centre
        (x, y).
    covariance
        Covariance of x and y; without a peak it can be of any size.
    """

    centre: Float[np.ndarray, " 2"]
    covariance: Float[np.ndarray, "2 2"]


def fit_gaussian(
    average: Float[np.ndarray, "height width"], max_steps: int | None = None
) -> GaussianFit:
    """Fit a Gaussian of any covariance by least squares.

    The fit starts at the largest pixel and keeps negative pixels.

    Parameters
    ----------
    max_steps
        Limit for averages without a peak, whose fit does not converge.

    Raises
    ------
    ModuleNotFoundError
        SciPy is missing.
    """
    values = np.asarray(average, np.float64)
    places = pixel_places(*values.shape).reshape(-1, 2)
    flat = values.ravel()
    start = places[flat.argmax()]

    def residual(parameters: np.ndarray) -> np.ndarray:
        height, base, x, y, a, b, c = parameters
        away = places - (x, y)
        first, second = a * away[:, 0] + b * away[:, 1], c * away[:, 1]
        shape = np.exp(-(first**2 + second**2) / 2)
        return np.asarray(height * shape + base - flat)

    def slopes(parameters: np.ndarray) -> np.ndarray:
        """Return the derivative of the residual for each parameter, (pixel, 7)."""
        height, _, x, y, a, b, c = parameters
        dx, dy = (places - (x, y)).T
        first, second = a * dx + b * dy, c * dy
        shape = np.exp(-(first**2 + second**2) / 2)
        peak = height * shape
        towards = peak * first * a, peak * (first * b + second * c)
        wider = -peak * first * dx, -peak * first * dy, -peak * second * dy
        return np.stack([shape, np.ones_like(shape), *towards, *wider], axis=1)

    spread = flat.max() - np.median(flat)
    # The inverse covariance is given by its Cholesky factor (a, b, c), so that it stays
    # positive. 10 is the inverse of the initial width, a tenth of the monitor.
    fit = scipy_module("optimize").least_squares(
        residual,
        [spread, np.median(flat), *start, 10.0, 0.0, 10.0],
        slopes,
        x_scale="jac",
        max_nfev=max_steps,
        **dict.fromkeys(("xtol", "ftol", "gtol"), 1e-12),
    )
    a, b, c = fit.x[4:7]
    factor = np.array([[a, b], [0.0, c]])
    # A factor without an inverse belongs to a fit without a peak.
    inverse = np.linalg.pinv(factor)
    return GaussianFit(np.asarray(fit.x[2:4]), inverse @ inverse.T)


# -- gaze on a monitor: rotations, viewing rays, and their hits on the monitor plane --
# Distances are in half widths of the monitor, angles in radians; x is along its width.
# A ray parallel to the monitor or away from it has no hit. The limit keeps the point
# finite and far outside instead of mirrored through the eye.
_MIN_FORWARD = 1e-5
"""Lower limit of a unit ray's component towards the monitor."""


def rotation(angles: Float[np.ndarray, " 3"]) -> Float[np.ndarray, "3 3"]:
    """Return R = Rz Ry Rx for the angles about x, y and z."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x, np.float64)


def ray(
    polar: Float[np.ndarray, "*ray"], azimuth: Float[np.ndarray, "*ray"]
) -> Float[np.ndarray, "*ray 3"]:
    """Return unit vectors at a polar angle from z (straight ahead), azimuth from x."""
    across = np.sin(polar)
    return np.stack([across * np.cos(azimuth), across * np.sin(azimuth), np.cos(polar)], axis=-1)


def monitor_hit(
    rays: Float[np.ndarray, "*ray 3"],
    centre: Float[np.ndarray, " 3"],
    angles: Float[np.ndarray, " 3"],
) -> Float[np.ndarray, "*ray 2"]:
    """Return where rays from the eye meet the monitor plane, (x, y) from its centre."""
    # The columns of the rotation are the monitor's own axes; a point of the plane
    # differs from the centre by a vector at right angles to the normal.
    along_x, along_y, normal = rotation(angles).T
    forward = np.maximum(rays @ normal, _MIN_FORWARD)
    away = rays * (centre @ normal / forward)[..., None] - centre
    return np.stack([away @ along_x, away @ along_y], axis=-1)
