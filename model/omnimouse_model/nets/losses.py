"""Training losses of OmniMouse (spec §12)."""

import torch
from jaxtyping import Float
from torch import Tensor


def poisson_loss(
    rates: Float[Tensor, "*shape"],
    targets: Float[Tensor, "*shape"],
    eps: float = 1e-5,
    clamp: float = 100.0,
) -> Float[Tensor, ""]:
    """Poisson negative log likelihood without the Stirling term, clamped, averaged."""
    loss = rates - targets * torch.log(rates + eps)
    return loss.clamp(-clamp, clamp).mean()


def behavior_loss(
    predicted: Float[Tensor, "batch channel time"],
    targets: Float[Tensor, "batch channel time"],
    clamp: float = 10.0,
) -> Float[Tensor, ""]:
    """Squared error, clamped per element, averaged."""
    return (predicted - targets).square().clamp(max=clamp).mean()
