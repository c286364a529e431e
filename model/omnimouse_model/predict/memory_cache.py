"""Cache with a byte limit, for tensors on the device and arrays in memory."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class MemoryCache(Generic[T]):
    """Values by key; the least recently used are dropped above a limit of bytes.

    Parameters
    ----------
    limit_bytes
        Maximum size; the newest value stays even if it is larger.
    bytes_of
        Function from a value to its memory.
    """

    def __init__(self, limit_bytes: int, bytes_of: Callable[[T], int]) -> None:
        self._limit_bytes = limit_bytes
        self._bytes_of = bytes_of
        self._values: OrderedDict[Hashable, T] = OrderedDict()
        self._n_bytes = 0

    @property
    def n_bytes(self) -> int:
        """Bytes in the cache."""
        return self._n_bytes

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._values

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the value of a key, made now if it is not in the cache."""
        if key not in self._values:
            self._values[key] = value = make()
            self._n_bytes += self._bytes_of(value)
        # The order of the dict is that of the last use.
        self._values.move_to_end(key)
        # The value itself stays: the caller is about to use it.
        while self._n_bytes > self._limit_bytes and len(self._values) > 1:
            _, oldest = self._values.popitem(last=False)
            self._n_bytes -= self._bytes_of(oldest)
        return self._values[key]

    def peek(self, key: Hashable) -> T | None:
        """Return the value of a key, None without one; it counts as no use."""
        return self._values.get(key)

    def drop(self, key: Hashable) -> None:
        """Drop the value of a key that is in the cache."""
        self._n_bytes -= self._bytes_of(self._values.pop(key))

    def clear(self) -> None:
        """Drop all values."""
        self._values.clear()
        self._n_bytes = 0
