"""Values that are computed at their first use."""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

Value = TypeVar("Value")


def cached(cache: dict[Any, Any], key: Hashable, compute: Callable[[], Value]) -> Value:
    """Return the value of a key; compute and store it at the first call."""
    # `functools.cached_property` needs a `__dict__`, which slotted classes lack.
    if key not in cache:
        cache[key] = compute()
    value: Value = cache[key]
    return value
