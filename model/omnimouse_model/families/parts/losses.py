"""Losses that several families train with."""

from torch import Tensor


def poisson_sum(rates: Tensor, responses: Tensor, eps: float = 1e-8) -> Tensor:
    """Return the sum of rates - responses log(rates + eps).

    The default is that of PyTorch, of the Sensorium baseline and of DwiseNeuro.
    """
    return (rates - responses * (rates + eps).log()).sum()
