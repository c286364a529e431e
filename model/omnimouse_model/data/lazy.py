"""Values of an object that are computed at their first use."""

from collections.abc import Callable, Hashable
from typing import Any, Protocol, TypeVar, runtime_checkable

Value = TypeVar("Value")


@runtime_checkable
class HasCache(Protocol):
    """A session, a window or another object that stores values once they are computed."""

    @property
    def _cache(self) -> dict[Any, Any]: ...


def cached(owner: HasCache, key: Hashable, compute: Callable[[], Value]) -> Value:
    """Return the value that an object keeps under a key; compute it at the first call."""
    # `functools.cached_property` needs a `__dict__`, which slotted classes lack.
    if key not in owner._cache:
        owner._cache[key] = compute()
    value: Value = owner._cache[key]
    return value
