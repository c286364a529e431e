"""The zero-inflated gamma of deconvolved responses (Schmidt et al. 2025).

A response of at most `rho` is uniform on [0, rho] with probability 1 - q; above it
stands, with probability q, a gamma of shape `k` and scale `theta` shifted by `rho`.
"""

import math

import numpy as np

from omnimouse_model.metrics.correlation import Status, Valued

RHO = 0.005
"""The published threshold, fixed in training."""


def zig_log_likelihood(
    target: np.ndarray,
    theta: np.ndarray,
    k: np.ndarray,
    q: np.ndarray,
    rho: float = RHO,
) -> Valued:
    """Log density of each response; the other arrays broadcast against it.

    NaN responses are NaN_INPUT.

    Raises
    ------
    ValueError
        For parameters outside their range, or negative responses.
    """
    target, theta, k, q = (
        np.asarray(value, np.float64) for value in (target, theta, k, q)
    )
    if not ((theta > 0).all() and (k > 0).all() and rho > 0):
        raise ValueError("theta, k and rho of a zero-inflated gamma must be positive.")
    if not ((q >= 0) & (q <= 1)).all():
        raise ValueError("q of a zero-inflated gamma is a probability, 0 to 1.")
    if (target < 0).any():
        raise ValueError("Responses must not be negative under a zero-inflated gamma.")
    above = target > rho
    excess = np.where(above, target - rho, 1.0)
    with np.errstate(divide="ignore"):
        zero = np.log1p(-q) - math.log(rho)
        gamma = (
            np.log(q)
            + (k - 1) * np.log(excess)
            - excess / theta
            - k * np.log(theta)
            - log_gamma(k)
        )
    missing = np.isnan(target)
    value = np.where(missing, np.nan, np.where(above, gamma, zero))
    status = np.where(missing, str(Status.NAN_INPUT), str(Status.OK))
    return Valued(value, np.broadcast_to(status, value.shape))


def zig_mean(
    theta: np.ndarray, k: np.ndarray, q: np.ndarray, rho: float = RHO
) -> np.ndarray:
    """Expected response."""
    return np.asarray(q * (k * theta + rho) + (1 - q) * rho / 2)


def zig_variance(
    theta: np.ndarray, k: np.ndarray, q: np.ndarray, rho: float = RHO
) -> np.ndarray:
    """Variance of the response."""
    between = q * (1 - q) * (k * theta + rho / 2) ** 2
    return np.asarray(q * k * theta**2 + (1 - q) * rho**2 / 12 + between)


def log_gamma(values: np.ndarray) -> np.ndarray:
    """ln Γ of every entry; shapes are few (one per neuron), so a loop will do."""
    flat = [math.lgamma(value) for value in np.ravel(values).tolist()]
    return np.reshape(np.array(flat, np.float64), np.shape(values))
