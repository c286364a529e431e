"""Codecs of zarr chunks by name; none returns more bytes than the chunk declares.

A codec decodes bytes to bytes. The list is short, and none of its codecs can run code.
"""

import zlib
from collections.abc import Callable, Mapping
from struct import unpack_from
from threading import local
from typing import Any, cast

import google_crc32c
import numpy as np

Unpack = Callable[[np.ndarray, int], np.ndarray]
"""Function of the stored bytes (uint8) and of the most bytes it may return."""
_CHECKSUM, _BLOSC_HEADER, _LZ4_HEADER = 4, 16, 4
_THREAD = local()
"""Memory of each thread for one chunk, packed and unpacked: new memory costs more."""


def unpack_v3(name: str) -> Unpack:
    """Return the function of a codec of format 3; raise ValueError for another name."""
    known: dict[str, Unpack] = {
        "blosc": _blosc,
        "zstd": _zstd,
        "gzip": _deflated,
        "crc32c": verified,
    }
    if name not in known:
        raise ValueError(f"a codec {name[:80]!r}; expected one of {', '.join(sorted(known))}")
    return known[name]


def unpack_v2(codec: object, dtype: np.dtype[Any]) -> Unpack:
    """Return the function of a compressor or filter of format 2, likewise."""
    settings = codec if isinstance(codec, Mapping) else {}
    name = settings.get("id")
    known: dict[object, Unpack] = {
        "blosc": _blosc,
        "zstd": _zstd,
        "gzip": _deflated,
        "zlib": _deflated,
        "lz4": _lz4,
    }
    if isinstance(name, str) and name in known:
        return known[name]
    if name == "shuffle":
        size = settings.get("elementsize", 4)
        if type(size) is not int or not 0 < size <= 2**10:
            raise ValueError(f"elements of {str(size)[:20]} bytes")
        return lambda data, most: _unshuffled(data, size)
    if name == "delta":
        stored, values = (
            np.dtype(str(settings.get(key, dtype.str))[:20]) for key in ("astype", "dtype")
        )
        if {stored.kind, values.kind} <= set("iuf") and stored.itemsize == values.itemsize:
            return lambda data, most: (
                np.cumsum(data.view(stored), dtype=values.newbyteorder("="))
                .astype(values)
                .view(np.uint8)
            )
    raise ValueError(
        f"a codec {str(name)[:80]!r}; expected one of {', '.join(sorted(map(str, known)))}, "
        "shuffle, delta of numbers of one size"
    )


def verified(data: np.ndarray, most: int = 0) -> np.ndarray:
    """Return the bytes before a CRC-32C, after comparing it with them."""
    content, checksum = data[:-_CHECKSUM], data[-_CHECKSUM:].tobytes()
    # google_crc32c takes any buffer; its types say bytes.
    found = google_crc32c.value(cast(bytes, content))
    if len(checksum) < _CHECKSUM or found != int.from_bytes(checksum, "little"):
        raise ValueError("a checksum differs")
    return content


def stored_memory(n_bytes: int) -> np.ndarray:
    """Return memory for stored bytes that is valid until this thread's next chunk."""
    return _memory("stored", n_bytes)


def _memory(name: str, n_bytes: int) -> np.ndarray:
    if len(getattr(_THREAD, name, ())) < n_bytes:
        setattr(_THREAD, name, np.empty(n_bytes, np.uint8))
    memory: np.ndarray = getattr(_THREAD, name)[:n_bytes]
    return memory


def _blosc(data: np.ndarray, most: int) -> np.ndarray:
    """Return unpacked bytes, in memory that is valid until this thread's next chunk."""
    # Imported here, so that programs start without it.
    from numcodecs import blosc

    # blosc trusts the sizes of its header.
    n_bytes, n_packed = unpack_from("<4xI4xI", data.data) if len(data) >= _BLOSC_HEADER else (0, -1)
    if n_packed != len(data) or n_bytes > most:
        raise ValueError("a piece is of another size")
    unpacked = _memory("unpacked", n_bytes)
    blosc.decompress(data, unpacked)
    return unpacked


def _zstd(data: np.ndarray, most: int) -> np.ndarray:
    from numcodecs import zstd

    # A frame that does not state its size must have the declared one.
    size = _zstd_size(data)
    if size is not None and size > most:
        raise ValueError("a piece is of another size")
    unpacked = np.empty(most if size is None else size, np.uint8)
    zstd.decompress(data, unpacked)
    return unpacked


def _zstd_size(data: np.ndarray) -> int | None:
    """Return the size that the header of the first frame states."""
    head = data[:18].tobytes()
    if len(head) < 6 or head[:4] != b"\x28\xb5\x2f\xfd":
        return None
    flags = head[4]
    is_single = bool(flags & 0x20)
    begin = 5 + (not is_single) + (0, 1, 2, 4)[flags & 3]
    length = (1 if is_single else 0, 2, 4, 8)[flags >> 6]
    if not length or len(head) < begin + length:
        return None
    value = int.from_bytes(head[begin : begin + length], "little")
    return value + 256 if length == 2 else value


def _deflated(data: np.ndarray, most: int) -> np.ndarray:
    """Return the content of one stream of gzip or zlib."""
    stream = zlib.decompressobj(32 + zlib.MAX_WBITS)
    content = stream.decompress(data.data, most + 1)
    if len(content) > most:
        raise ValueError("a piece is of another size")
    if not stream.eof or stream.unused_data:
        raise ValueError("a piece is not one whole stream")
    return np.frombuffer(content, np.uint8)


def _lz4(data: np.ndarray, most: int) -> np.ndarray:
    from numcodecs import lz4

    size = int.from_bytes(data[:_LZ4_HEADER].tobytes(), "little")
    if len(data) <= _LZ4_HEADER or not 0 < size <= most:
        raise ValueError("a piece is of another size")
    unpacked = np.empty(size, np.uint8)
    lz4.decompress(data, unpacked)
    return unpacked


def _unshuffled(data: np.ndarray, size: int) -> np.ndarray:
    whole = len(data) // size * size
    values = data[:whole].reshape(size, -1).T.reshape(-1)
    return np.concatenate([values, data[whole:]])
