"""The zero-inflated gamma distribution, its moments, and the losses of the latent model.

A response is uniform on [0, rho] with probability 1 - q, and otherwise rho plus a gamma
variable of shape k and scale theta.

`variant="public"` reproduces the public scripts, whose values are no likelihood: they
apply the gamma term to zeros, too, count y = rho twice, and exchange the two Gaussians of
the divergence. Published numbers can be compared with them only.

Source: Schmidt et al. 2025 and its public code.
"""

from typing import Literal

import torch
from torch import Tensor

Variant = Literal["correct", "public"]
THRESHOLD = 0.005
"""rho of the published model."""


def log_likelihood(
    responses: Tensor,
    theta: Tensor,
    k: Tensor,
    q: Tensor,
    rho: float | Tensor = THRESHOLD,
    variant: Variant = "correct",
) -> Tensor:
    """Return the log-likelihood of each response, in nats.

    A response of exactly `rho`, and a negative one, belongs to the uniform part.
    """
    rho = torch.as_tensor(rho, dtype=responses.dtype, device=responses.device)
    above, below = responses > rho, responses <= rho
    # 1 keeps the logarithm defined where the gamma part is not used.
    excess = torch.where(above, responses - rho, 1.0)
    shape = k * theta.log() + torch.lgamma(k)
    gamma = q.log() + (k - 1) * excess.log() - excess / theta - shape
    if variant == "correct":
        return torch.where(above, gamma, (1 - q).log() - rho.log())
    # The logarithms of the scripts have 1 - q + mask and q + mask as arguments.
    uniform = (1 - q).log() - shape
    both = (2 - q).log() + (1 + q).log() - shape
    return torch.where(above, gamma, torch.where(below & (responses >= rho), both, uniform))


def mean(theta: Tensor, k: Tensor, q: Tensor, rho: float = THRESHOLD) -> Tensor:
    """Return the mean of the distribution."""
    return q * (k * theta + rho) + (1 - q) * rho / 2


def variance(theta: Tensor, k: Tensor, q: Tensor, rho: float = THRESHOLD) -> Tensor:
    """Return the variance of the distribution."""
    between = q * (1 - q) * (k * theta + rho / 2) ** 2
    return q * k * theta**2 + (1 - q) * rho**2 / 12 + between


def divergence(means: Tensor, spread: Tensor, variant: Variant = "correct") -> Tensor:
    """Return the sum of KL(posterior || standard normal) over all latents.

    Parameters
    ----------
    means
        Posterior means, any shape.
    spread
        Posterior variance, (1,), the same for all.
    """
    n = means.numel()
    squares = means.square().sum()
    if variant == "public":
        return ((n + squares) / spread - n + n * spread.log()) / 2
    return (n * spread + squares - n - n * spread.log()) / 2


def fit_shape(responses: Tensor) -> Tensor:
    """Return the maximum-likelihood shape k (N,) of the gamma part of each neuron.

    Parameters
    ----------
    responses
        (T, N); NaN where missing. Responses of at least `THRESHOLD` are used, at most
        80 each.

    A neuron with fewer than two different such responses gets k = 1.
    """
    values = responses.double().clamp(max=80.0) - THRESHOLD
    used = values > 0
    n = used.sum(0).clamp(min=1)
    total = torch.where(used, values, 0.0).sum(0)
    logs = torch.where(used, values.clamp(min=1e-12).log(), 0.0).sum(0)
    gap = (total / n).log() - logs / n
    is_known = (used.sum(0) > 1) & (gap > 1e-9)
    gap = torch.where(is_known, gap, 0.5772)
    # Minka's start, then Newton steps on log k - digamma(k) = gap.
    k = (3 - gap + ((gap - 3) ** 2 + 24 * gap).sqrt()) / (12 * gap)
    for _ in range(8):
        slope = 1 / k - torch.polygamma(1, k)
        k = (k - (k.log() - torch.digamma(k) - gap) / slope).clamp(1e-3, 1e4)
    return torch.where(is_known, k, 1.0).float()
