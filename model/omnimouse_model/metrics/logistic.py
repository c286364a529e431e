"""Multinomial logistic regression with an L2 penalty."""

from collections.abc import Callable

import torch
from torch import Tensor


def fit_logistic(
    x: Tensor,
    y: Tensor,
    penalty: float,
    n_classes: int,
    *,
    weights: Tensor | None = None,
    max_steps: int = 500,
) -> Callable[[Tensor], Tensor]:
    """Fit a regression to standardised features; return a function to logits.

    Parameters
    ----------
    x, y
        float64 (sample, feature), and the class of each sample.
    penalty
        Weight of the sum of squared coefficients, beside the mean log loss.
    weights
        Weight of each class; equal by default.
    """
    mean, sd = x.mean(0), x.std(0, correction=0)
    sd = torch.where(sd > 0, sd, torch.ones_like(sd))
    z = (x - mean) / sd
    slopes = torch.zeros(x.shape[1], n_classes, dtype=torch.float64)
    bias = torch.zeros(n_classes, dtype=torch.float64)
    optimiser = torch.optim.LBFGS(
        [slopes.requires_grad_(), bias.requires_grad_()],
        max_iter=max_steps,
        line_search_fn="strong_wolfe",
        tolerance_change=1e-7,
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        value: Tensor = torch.nn.functional.cross_entropy(z @ slopes + bias, y, weights)
        value = value + penalty * (slopes**2).sum()
        torch.autograd.backward(value)
        return value

    optimiser.step(loss)
    w, b = slopes.detach(), bias.detach()
    return lambda other: (other - mean) / sd @ w + b
