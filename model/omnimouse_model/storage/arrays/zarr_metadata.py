"""Metadata and codecs of zarr arrays of formats 2 and 3, without zarr.

zarr looks up the codecs that metadata name before anybody can refuse them, and some of
them run code. Here, a codec is one of a list of names, or the array is refused. A codec
decodes bytes to bytes, and returns no more of them than the chunk declares.
"""

import base64
import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from struct import unpack_from
from threading import local
from typing import Any, Literal, cast

import google_crc32c
import numpy as np

from omnimouse_model.storage.arrays.rows import MAX_LENGTH, is_possible
from omnimouse_model.storage.byte_source import zstandard_length
from omnimouse_model.storage.files import bad_file, damage_refused, is_file
from omnimouse_model.storage.trees import read_json_mapping

Unpack = Callable[[np.ndarray, int], np.ndarray]
"""Function of the stored bytes (uint8) and of the most bytes it may return."""
_CHECKSUM, _BLOSC_HEADER, _LZ4_HEADER = 4, 16, 4
_THREAD = local()
"""Memory of each thread for one chunk, packed and unpacked: new memory costs more."""


def unpack_v3(name: str) -> Unpack:
    """Return the function of a codec of format 3; raise ValueError for another name."""
    known = {"blosc": _blosc, "zstd": _zstd, "gzip": _deflated, "crc32c": verified}
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

        def unshuffled(data: np.ndarray, _: int) -> np.ndarray:
            whole = len(data) // size * size
            values = data[:whole].reshape(size, -1).T.reshape(-1)
            return np.concatenate([values, data[whole:]])

        return unshuffled
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


def thread_memory(name: str, n_bytes: int) -> np.ndarray:
    """Return memory that is valid until this thread asks for more of that name."""
    if len(getattr(_THREAD, name, ())) < n_bytes:
        setattr(_THREAD, name, np.empty(n_bytes, np.uint8))
    return getattr(_THREAD, name)[:n_bytes]


def _blosc(data: np.ndarray, most: int) -> np.ndarray:
    """Return unpacked bytes, in memory that is valid until this thread's next chunk."""
    # Imported here, so that programs start without it.
    from numcodecs import blosc

    # blosc trusts the sizes of its header.
    n_bytes, n_packed = unpack_from("<4xI4xI", data.data) if len(data) >= _BLOSC_HEADER else (0, -1)
    if n_packed != len(data) or n_bytes > most:
        raise ValueError("a piece is of another size")
    unpacked = thread_memory("unpacked", n_bytes)
    blosc.decompress(data, unpacked)
    return unpacked


def _zstd(data: np.ndarray, most: int) -> np.ndarray:
    from numcodecs import zstd

    # A frame that does not state its size must have the declared one.
    size = zstandard_length(data.data)
    if size is not None and size > most:
        raise ValueError("a piece is of another size")
    unpacked = np.empty(most if size is None else size, np.uint8)
    zstd.decompress(data, unpacked)
    return unpacked


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


Format = Literal[2, 3]
MAX_CHUNK_BYTES = 256 * 2**20
"""Largest chunk that is decoded."""
_MAX_INDEX_BYTES = 64 * 2**20
_MAX_PIECES = 1_000_000
"""Most files of one array: an array of shape 2**40 with chunks of 1 would not end."""
_NUMBERS = {"bool", *(f"{k}int{n}" for k in ("", "u") for n in (8, 16, 32, 64))} | {
    *("float16", "float32", "float64")
}
_TEXTS = {"fixed_length_utf32": "U", "null_terminated_bytes": "S"}
_V3_FIELDS = {
    *("zarr_format", "node_type", "shape", "data_type", "chunk_grid", "chunk_key_encoding"),
    *("fill_value", "codecs", "attributes", "dimension_names", "storage_transformers"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """How a shard is divided: inner chunks, and the index of their places."""

    chunk: tuple[int, ...]
    counts: tuple[int, ...]
    n_index_bytes: int
    has_checksum: bool
    is_index_first: bool


@dataclass(frozen=True, eq=False)
class Layout:
    """How an array is stored.

    Attributes
    ----------
    dtype
        Type of the stored values, with their byte order.
    fill
        Value of chunks that are not stored, 0-dimensional.
    piece
        Shape of what one file holds: a chunk or a shard.
    shard
        None for files of one chunk.
    order
        Order of the axes in a chunk.
    codecs
        Functions that decode the bytes of a chunk, in turn.
    prefix, separator
        Name of a file: the prefix, then the numbers of the piece with the separator.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fill: np.ndarray
    piece: tuple[int, ...]
    shard: Shard | None
    order: tuple[int, ...]
    codecs: tuple[Unpack, ...]
    prefix: str
    separator: str

    @cached_property
    def chunk(self) -> tuple[int, ...]:
        """Shape of what is decoded at once."""
        return self.piece if self.shard is None else self.shard.chunk

    @cached_property
    def n_chunk_bytes(self) -> int:
        """Bytes of a decoded chunk."""
        return math.prod(self.chunk) * self.dtype.itemsize

    @cached_property
    def unpack(self) -> tuple[tuple[Unpack, int], ...]:
        """The functions, and the most bytes that each may return."""
        n_bytes = self.n_chunk_bytes
        # Packing may make bytes a little longer than they were.
        between = n_bytes + n_bytes // 8 + 4096
        last = len(self.codecs) - 1
        return tuple((f, n_bytes if k == last else between) for k, f in enumerate(self.codecs))

    @cached_property
    def turned(self) -> tuple[int, ...] | None:
        """Inverse of the order; None if the axes are in order."""
        axes = range(len(self.order))
        is_plain = self.order == tuple(axes)
        return None if is_plain else tuple(self.order.index(axis) for axis in axes)

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of pieces along each axis."""
        return tuple(-(-n // c) for n, c in zip(self.shape, self.piece, strict=True))

    def name_of(self, place: tuple[int, ...]) -> str:
        """Return the name of the file of a piece."""
        # An array without axes has one piece, which format 2 calls "0".
        parts = [*([self.prefix] if self.prefix else ()), *map(str, place)] or ["0"]
        return self.separator.join(parts)


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """An array or a group: its attributes, and its fields as the file has them."""

    format: Format
    attributes: dict[str, Any]
    is_array: bool
    fields: dict[str, Any]


def read_node(folder: Path) -> Node | None:
    """Return what the metadata of a folder describe, None if it has none.

    Raises
    ------
    SessionFormatError
        They are damaged, or of two formats.
    """
    new = is_file(folder / "zarr.json")
    old = [name for name in (".zarray", ".zgroup") if is_file(folder / name)]
    if new + len(old) > 1:
        found = " and ".join([*(["zarr.json"] if new else ()), *old])
        raise bad_file(folder, "bad_store", f"has {found}; expected one of them")
    if new:
        fields = read_json_mapping(folder / "zarr.json")
        attributes = fields.get("attributes", {})
        kind, number, expected = fields.get("node_type"), fields.get("zarr_format"), 3
        is_array = kind == "array"
    elif old:
        fields = read_json_mapping(folder / old[0])
        attributes = {}
        if is_file(folder / ".zattrs"):
            attributes = read_json_mapping(folder / ".zattrs")
        is_array, kind, number, expected = old == [".zarray"], "group", fields.get("zarr_format"), 2
    else:
        return None
    if number != expected or kind not in ("array", "group") or not isinstance(attributes, Mapping):
        raise bad_file(
            folder,
            "bad_store",
            f"is of zarr format {str(number)[:20]}, type {str(kind)[:20]}; "
            f"expected format {expected}, an array or a group",
        )
    return Node(3 if new else 2, dict(attributes), is_array, fields)


def layout_of(folder: Path, node: Node) -> Layout:
    """Return how the array of a folder is stored.

    Raises
    ------
    SessionFormatError
        A field is wrong, too large, or asks for a codec that is not on the list.
    """
    hint = "numbers and short texts in chunks of blosc, zstd or gzip are read"
    with damage_refused(folder, "bad_store", "is no array that can be read", hint):
        layout = _layout_3(node.fields) if node.format == 3 else _layout_2(node.fields)
        _check_sizes(layout)
        return layout


def _check_sizes(layout: Layout) -> None:
    shape = layout.shape
    if not is_possible(shape, layout.dtype.itemsize):
        raise ValueError(f"shape {str(shape)[:80]}")
    for pieces in (layout.piece, layout.chunk):
        if len(pieces) != len(shape) or any(not 0 < n < MAX_LENGTH for n in pieces):
            raise ValueError(f"chunks {str(pieces)[:80]} of shape {str(shape)[:80]}")
    if layout.n_chunk_bytes > MAX_CHUNK_BYTES:
        raise ValueError(f"chunks of {layout.n_chunk_bytes:,} bytes; at most {MAX_CHUNK_BYTES:,}")
    if layout.shard is not None and layout.shard.n_index_bytes > _MAX_INDEX_BYTES:
        raise ValueError(f"a shard with an index of {layout.shard.n_index_bytes:,} bytes")
    if math.prod(layout.counts) > _MAX_PIECES:
        raise ValueError(f"{math.prod(layout.counts):,} chunks; at most {_MAX_PIECES:,}")


def _numbers(value: object, name: str) -> tuple[int, ...]:
    """Return a list of whole numbers, which JSON could have as anything."""
    if not isinstance(value, list) or any(type(n) is not int for n in value):
        raise ValueError(f"{name} {str(value)[:80]}; expected whole numbers")
    return tuple(value)


def _each_once(codecs: list[tuple[str, Unpack]]) -> tuple[Unpack, ...]:
    # Each has one memory for its result.
    functions = tuple(function for _, function in codecs)
    if len(set(functions)) < len(functions):
        raise ValueError(f"a codec twice: {', '.join(name for name, _ in codecs)[:80]}")
    return functions


# -- format 3 -----------------------------------------------------------------------
def _layout_3(fields: Mapping[str, Any]) -> Layout:
    for name, value in fields.items():
        # An extension may change what the other fields mean, unless it says otherwise.
        is_optional = isinstance(value, Mapping) and value.get("must_understand") is False
        if name not in _V3_FIELDS and name != "consolidated_metadata" and not is_optional:
            raise ValueError(f"a field {name[:80]!r} of no known extension")
    if fields.get("storage_transformers"):
        raise ValueError("storage transformers; expected none")
    shape, dtype = _numbers(fields["shape"], "shape"), _dtype_3(fields["data_type"])
    kind, grid = _named(fields["chunk_grid"])
    piece = _numbers(grid.get("chunk_shape"), "chunk_shape")
    if kind != "regular":
        raise ValueError(f"a chunk grid {kind[:80]!r}; expected 'regular'")
    naming, encoding = _named(fields["chunk_key_encoding"])
    separator = encoding.get("separator", "." if naming == "v2" else "/")
    if naming not in ("default", "v2") or separator not in (".", "/"):
        raise ValueError(f"a chunk_key_encoding {str(fields['chunk_key_encoding'])[:80]}")
    codecs = [_named(codec) for codec in fields["codecs"]]
    shard = None
    if codecs and codecs[0][0] == "sharding_indexed":
        if len(codecs) > 1:
            raise ValueError("codecs of whole shards; expected sharding_indexed alone")
        shard = _shard(codecs[0][1], piece)
        codecs = [_named(codec) for codec in codecs[0][1]["codecs"]]
    order = tuple(range(len(shape)))
    if codecs and codecs[0][0] == "transpose":
        order = _numbers(codecs.pop(0)[1]["order"], "order")
        if sorted(order) != list(range(len(shape))):
            raise ValueError(f"axes in the order {str(order)[:80]}")
    if not codecs or codecs[0][0] != "bytes":
        raise ValueError(f"a codec {codecs[0][0][:80] if codecs else None!r}; expected 'bytes'")
    endian = codecs[0][1].get("endian", "little")
    if endian not in ("little", "big"):
        raise ValueError(f"a byte order {str(endian)[:80]!r}")
    return Layout(
        shape,
        dtype.newbyteorder(">" if endian == "big" else "<"),
        _fill(fields["fill_value"], dtype),
        piece,
        shard,
        order,
        _each_once([(name, unpack_v3(name)) for name, _ in reversed(codecs[1:])]),
        "c" if naming == "default" else "" if shape else "0",
        separator,
    )


def _named(value: object) -> tuple[str, Mapping[str, Any]]:
    """Return name and configuration of a codec, a grid or an encoding of names."""
    if isinstance(value, str):
        return value, {}
    if isinstance(value, Mapping) and isinstance(value.get("name"), str):
        configuration = value.get("configuration", {})
        if isinstance(configuration, Mapping):
            return value["name"], configuration
    raise ValueError(f"{str(value)[:80]}; expected a name and a configuration")


def _dtype_3(value: object) -> np.dtype[Any]:
    name, settings = _named(value)
    if name in _NUMBERS:
        return np.dtype(name)
    if name in _TEXTS:
        (n_bytes,) = _numbers([settings.get("length_bytes")], "length_bytes")
        if 0 < n_bytes <= 2**20 and (name == "null_terminated_bytes" or n_bytes % 4 == 0):
            return np.dtype(f"{_TEXTS[name]}{n_bytes if _TEXTS[name] == 'S' else n_bytes // 4}")
    raise ValueError(f"a type {str(value)[:80]}; expected numbers, or texts of one length")


def _shard(settings: Mapping[str, Any], piece: tuple[int, ...]) -> Shard:
    chunk = _numbers(settings["chunk_shape"], "chunk_shape")
    if len(chunk) != len(piece) or any(c < 1 or p % c for p, c in zip(piece, chunk, strict=True)):
        raise ValueError(f"shards {str(piece)[:80]} of chunks {str(chunk)[:80]}")
    counts = tuple(p // c for p, c in zip(piece, chunk, strict=True))
    index = [_named(codec) for codec in settings["index_codecs"]]
    names = [name for name, _ in index]
    if names not in (["bytes"], ["bytes", "crc32c"]) or index[0][1].get("endian") == "big":
        raise ValueError(f"an index with codecs {str(names)[:80]}; expected bytes, crc32c")
    location = settings.get("index_location", "end")
    if location not in ("start", "end"):
        raise ValueError(f"an index at the {str(location)[:80]!r}")
    has_checksum = len(names) == 2
    n_bytes = 16 * math.prod(counts) + 4 * has_checksum
    return Shard(chunk, counts, n_bytes, has_checksum, location == "start")


# -- format 2 -----------------------------------------------------------------------
def _layout_2(fields: Mapping[str, Any]) -> Layout:
    shape, piece = _numbers(fields["shape"], "shape"), _numbers(fields["chunks"], "chunks")
    dtype = _dtype_2(fields["dtype"])
    order, separator = fields.get("order", "C"), fields.get("dimension_separator", ".")
    if order not in ("C", "F") or separator not in (".", "/"):
        raise ValueError(f"order {str(order)[:20]}, dimension_separator {str(separator)[:20]}")
    filters, compressor = fields.get("filters") or [], fields.get("compressor")
    if not isinstance(filters, list) or len(filters) > 8:
        raise ValueError(f"filters {str(filters)[:80]}")
    codecs = [*filters, *([compressor] if compressor is not None else ())]
    axes = tuple(range(len(shape)))
    return Layout(
        shape,
        dtype,
        _fill(fields.get("fill_value"), dtype, is_encoded=True),
        piece,
        None,
        axes if order == "C" else axes[::-1],
        _each_once([(str(codec), unpack_v2(codec, dtype)) for codec in reversed(codecs)]),
        "" if shape else "0",
        separator,
    )


def _dtype_2(value: object) -> np.dtype[Any]:
    # A list describes records; objects need a codec that can run code.
    if isinstance(value, str) and len(value) <= 20:
        dtype = np.dtype(value)
        if dtype.kind in "biufSU" and 0 < dtype.itemsize <= 2**20 and dtype.subdtype is None:
            return dtype
    raise ValueError(f"a type {str(value)[:80]}; expected numbers, or texts of one length")


def _fill(value: object, dtype: np.dtype[Any], *, is_encoded: bool = False) -> np.ndarray:
    """Return the value of chunks that are not stored; 0 if none is stated."""
    filled = np.zeros((), dtype)
    if value is None or value == 0:
        return filled
    if dtype.kind == "S" and isinstance(value, str):
        filled[...] = base64.b64decode(value) if is_encoded else value.encode()
    elif isinstance(value, str) and value.startswith("0x") and dtype.kind == "f":
        bits = np.array(int(value, 16), f"u{dtype.itemsize}")
        filled[...] = bits.view(dtype.newbyteorder("="))
    elif isinstance(value, bool | int | float | str):
        is_number = dtype.kind in "iufb"
        named: dict[str, Callable[[], float]] = {
            "NaN": lambda: math.nan,
            "Infinity": lambda: math.inf,
            "-Infinity": lambda: -math.inf,
        }
        if is_number and isinstance(value, str):
            value = named[value]()
        filled[...] = value
    else:
        raise ValueError(f"a fill_value {str(value)[:80]}")
    return filled
