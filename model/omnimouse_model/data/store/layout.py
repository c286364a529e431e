"""What our store is called, and in which pieces and codecs its arrays lie."""

from typing import Any, Literal

import numpy as np

FORMAT = "omses"
VERSION = 1
SUFFIX = ".omses.zarr"

Codec = Literal["default", "fast", "none"]
CODECS: tuple[Codec, ...] = ("default", "fast", "none")

RESPONSE_CHUNK = (32, 1024)
"""Rows and neurons decoded at once: a 2-s window touches three of them in height."""
FRAME_CHUNK = 32
"""Frames decoded at once; fewer where they are large, see `frame_rows`."""
SHARD_ROWS = 4096
"""Rows of a file of responses, some 2 minutes at 30 Hz."""
FRAME_SHARD = PYRAMID_SHARD = 1024
PYRAMID_SECONDS = (1, 10)
"""Bins of the levels that hold minimum, maximum and mean."""


MOST_CHUNK_BYTES = 256 * 2**20
"""What a reader of ours will unpack at once."""
MOST_TABLE_BYTES = 2 * 2**30
"""The same of an array that is read whole."""
_CHUNK_BYTES, _SHARD_BYTES = 8 * 2**20, 256 * 2**20


def is_storable(dtype: np.dtype[Any]) -> bool:
    """Whether it is one of the types of numbers that a store has."""
    return dtype.kind in "iuf" and dtype.itemsize <= 8


def little(values: np.ndarray) -> np.ndarray:
    """The same values in the order of bytes that a store has."""
    return values.astype(values.dtype.newbyteorder("<"), copy=False)


def frame_rows(frame_bytes: int, most: int) -> tuple[int, int]:
    """Frames of a chunk, and of a file, which is `most` or less: powers of two."""

    def within(limit: int, rows: int) -> int:
        while rows > 1 and rows * frame_bytes > limit:
            rows //= 2
        return rows

    chunk = within(_CHUNK_BYTES, min(FRAME_CHUNK, most))
    return chunk, max(chunk, within(_SHARD_BYTES, most))


def compressors(codec: Codec) -> list[Any]:
    """Codecs of a chunk, a checksum last."""
    from zarr.codecs import BloscCodec, Crc32cCodec

    if codec == "none":
        return [Crc32cCodec()]
    if codec == "fast":
        return [BloscCodec(cname="lz4", clevel=5, shuffle="shuffle"), Crc32cCodec()]
    return [BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle"), Crc32cCodec()]
