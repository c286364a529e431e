"""Recording of intermediate maps of a network, for comparisons and for users."""

from collections.abc import Callable

from torch import Tensor

Record = Callable[[str, Tensor], None]
"""Function that receives the name and value of an intermediate map."""


def no_record(name: str, value: Tensor) -> None:
    """Record nothing."""
