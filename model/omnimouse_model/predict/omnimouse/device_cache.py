"""What is kept on the device between requests: newest used last, bounded by bytes."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class DeviceCache(Generic[T]):
    """Values by key; the ones not used for longest go when there are too many bytes.

    Parameters
    ----------
    limit_bytes
        Held at most; the newest value stays even where it alone is more.
    bytes_of
        Memory of one value.
    """

    def __init__(self, limit_bytes: int, bytes_of: Callable[[T], int]) -> None:
        self._limit_bytes = limit_bytes
        self._bytes_of = bytes_of
        self._values: OrderedDict[Hashable, T] = OrderedDict()
        self._n_bytes = 0

    @property
    def n_bytes(self) -> int:
        """Bytes held."""
        return self._n_bytes

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._values

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of a key; made now where it is not held."""
        if key not in self._values:
            self._add(key, make())
        self._values.move_to_end(key)
        return self._values[key]

    def clear(self) -> None:
        """Let everything go."""
        self._values.clear()
        self._n_bytes = 0

    def _add(self, key: Hashable, value: T) -> None:
        self._values[key] = value
        self._n_bytes += self._bytes_of(value)
        while self._n_bytes > self._limit_bytes and len(self._values) > 1:
            _, oldest = self._values.popitem(last=False)
            self._n_bytes -= self._bytes_of(oldest)
