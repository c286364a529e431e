"""Values of a network that its config determines and no training changes."""

from collections.abc import Callable

import torch
from torch import Tensor


def constant_values(
    shape: tuple[int, ...], make: Callable[[], Tensor], dtype: torch.dtype
) -> Tensor:
    """Return the values that `make` computes, for a buffer of a network.

    A network that is made to take the weights of a file has tensors without memory
    ("meta"). It gets no values here: the file has them, and for arithmetic with such
    tensors PyTorch imports its compiler, which takes two seconds.
    """
    empty = torch.empty(shape, dtype=dtype)
    return empty if empty.is_meta else make()
