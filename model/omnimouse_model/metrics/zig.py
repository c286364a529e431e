"""Zero-inflated gamma distribution of deconvolved responses (Schmidt et al. 2025).

With probability 1 - q a response is uniform on [0, rho]. With probability q it is above
`rho` and follows a gamma distribution of shape `k` and scale `theta`, shifted by `rho`.
"""

import math

import numpy as np

from omnimouse_model.metrics.correlation import Status, Valued

RHO = 0.005
"""Published threshold; it is not trained."""


def zig_log_likelihood(
    target: np.ndarray,
    theta: np.ndarray,
    k: np.ndarray,
    q: np.ndarray,
    rho: float = RHO,
) -> Valued:
    """Return the log density of each response; the parameters broadcast against it.

    A NaN response has the status NAN_INPUT.

    Raises
    ------
    ValueError
        A parameter is outside its range, or a response is negative.
    """
    target, theta, k, q = (np.asarray(value, np.float64) for value in (target, theta, k, q))
    if not ((theta > 0).all() and (k > 0).all() and rho > 0):
        raise ValueError("theta, k and rho of a zero-inflated gamma must be positive.")
    if not ((q >= 0) & (q <= 1)).all():
        raise ValueError("q of a zero-inflated gamma is a probability, 0 to 1.")
    if (target < 0).any():
        raise ValueError("Responses must not be negative under a zero-inflated gamma.")
    # A response of exactly rho belongs to the uniform part alone, so that the density
    # integrates to 1. The public masks assign it to both parts.
    above = target > rho
    # Below the threshold the gamma branch is not used; 1 keeps its logarithm defined.
    excess = np.where(above, target - rho, 1.0)
    with np.errstate(divide="ignore"):
        # A q of exactly 0 or 1 gives a log density of -inf, which is correct.
        zero = np.log1p(-q) - math.log(rho)
        gamma = (
            np.log(q) + (k - 1) * np.log(excess) - excess / theta - k * np.log(theta) - log_gamma(k)
        )
    missing = np.isnan(target)
    value = np.where(missing, np.nan, np.where(above, gamma, zero))
    status = np.where(missing, str(Status.NAN_INPUT), str(Status.OK))
    return Valued(value, np.broadcast_to(status, value.shape))


def zig_mean(theta: np.ndarray, k: np.ndarray, q: np.ndarray, rho: float = RHO) -> np.ndarray:
    """Return the expected response."""
    return np.asarray(q * (k * theta + rho) + (1 - q) * rho / 2)


def zig_variance(theta: np.ndarray, k: np.ndarray, q: np.ndarray, rho: float = RHO) -> np.ndarray:
    """Return the variance of the response."""
    # Law of total variance; the means of the two parts, k theta + rho and rho / 2,
    # differ by k theta + rho / 2.
    between = q * (1 - q) * (k * theta + rho / 2) ** 2
    return np.asarray(q * k * theta**2 + (1 - q) * rho**2 / 12 + between)


def log_gamma(values: np.ndarray) -> np.ndarray:
    """Return ln Γ of every entry."""
    # A loop over the standard library avoids SciPy, which is optional; there is one
    # shape per neuron, so the loop is short.
    flat = [math.lgamma(value) for value in np.ravel(values).tolist()]
    return np.reshape(np.array(flat, np.float64), np.shape(values))
