"""Format of the store: name, version, chunks, shards and codecs."""

from typing import Any, Literal

import numpy as np

FORMAT = "omses"
VERSION = 2
"""Version 2: rows in pauses of a recording are not stored. Other stores have 1."""
SUFFIX = ".omses.zarr"

Codec = Literal["default", "fast", "none"]
CODECS: tuple[Codec, ...] = ("default", "fast", "none")

RESPONSE_CHUNK = (32, 1024)
"""Rows and neurons of a chunk; a 2-s window at 30 Hz spans three chunks in time."""
FRAME_CHUNK = 32
"""Frames of a chunk; fewer if they are large, see `frame_rows`."""
SHARD_ROWS = 4096
"""Rows of a shard (file) of responses, about 2 minutes at 30 Hz."""
FRAME_SHARD = PYRAMID_SHARD = 1024
PYRAMID_SECONDS = (1, 10)
"""Bin widths in seconds of the levels of minimum, maximum and mean."""


# Targets for frames at writing.
_CHUNK_BYTES, _SHARD_BYTES = 8 * 2**20, 256 * 2**20


def is_storable(dtype: np.dtype[Any]) -> bool:
    """Return whether a store can hold numbers of this type."""
    return dtype.kind in "iuf" and dtype.itemsize <= 8


def little(values: np.ndarray) -> np.ndarray:
    """Return the same values in little-endian byte order, that of a store."""
    return values.astype(values.dtype.newbyteorder("<"), copy=False)


def frame_rows(frame_bytes: int, most: int) -> tuple[int, int]:
    """Return the frames of a chunk and of a shard of `most` or fewer frames."""

    def within(limit: int, rows: int) -> int:
        # Halving keeps both numbers powers of two, so that chunks divide a shard
        # exactly.
        while rows > 1 and rows * frame_bytes > limit:
            rows //= 2
        return rows

    chunk = within(_CHUNK_BYTES, min(FRAME_CHUNK, most))
    return chunk, max(chunk, within(_SHARD_BYTES, most))


def compressors(codec: Codec) -> list[Any]:
    """Return the codecs of a chunk, a checksum last."""
    from zarr.codecs import BloscCodec, Crc32cCodec

    # The checksum covers the compressed bytes, so that damaged input is found before a
    # decompressor in C reads it.
    if codec == "none":
        return [Crc32cCodec()]
    if codec == "fast":
        return [BloscCodec(cname="lz4", clevel=5, shuffle="shuffle"), Crc32cCodec()]
    return [BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle"), Crc32cCodec()]
