"""The run-time checks of the suite find wrong types and sizes."""

from collections.abc import Iterator

import numpy as np
import pytest
from beartype import beartype
from jaxtyping import Float, TypeCheckError

from tests.shape_checks import jaxtyped


@jaxtyped(typechecker=beartype)
def product(left: Float[np.ndarray, "m n"], right: Float[np.ndarray, "n k"]) -> object:
    """Product of matrices."""
    return left @ right


# The second type is imported nowhere, like one under TYPE_CHECKING.
@jaxtyped(typechecker=beartype)
def doubled(values: "list[int]", name: "Unknown | None" = None) -> int:  # noqa: F821
    """Sum of twice the values; wrong for no values."""
    return sum(2 * value for value in values) if values else ""


@jaxtyped(typechecker=beartype)
def numbers(stop: int) -> Iterator[int]:
    """Numbers below another."""
    yield from range(stop)


def test_sizes_of_one_name_are_equal():
    assert product(np.ones((2, 3)), np.ones((3, 4))).shape == (2, 4)
    with pytest.raises(TypeCheckError):
        product(np.ones((2, 3)), np.ones((2, 3)))


def test_parameters_and_results_have_their_types():
    assert doubled([2], name=3) == 4
    assert list(numbers(2)) == [0, 1]
    for call in (lambda: doubled(["a"]), lambda: doubled([]), lambda: numbers("a")):
        with pytest.raises(TypeCheckError):
            call()
