"""What our store is called, and in which pieces and codecs its arrays lie."""

from typing import Any, Literal

FORMAT = "omses"
VERSION = 1
SUFFIX = ".omses.zarr"

Codec = Literal["default", "fast", "none"]
CODECS: tuple[Codec, ...] = ("default", "fast", "none")

RESPONSE_CHUNK = (32, 1024)
"""Rows and neurons decoded at once: a 2-s window touches three of them in height."""
FRAME_CHUNK = 32
SHARD_ROWS = 4096
"""Rows of a file of responses, some 2 minutes at 30 Hz."""
FRAME_SHARD = PYRAMID_SHARD = 1024
PYRAMID_SECONDS = (1, 10)
"""Bins of the levels that hold minimum, maximum and mean."""


def compressors(codec: Codec) -> list[Any]:
    """Codecs of a chunk, a checksum last."""
    from zarr.codecs import BloscCodec, Crc32cCodec

    if codec == "none":
        return [Crc32cCodec()]
    if codec == "fast":
        return [BloscCodec(cname="lz4", clevel=1, shuffle="shuffle"), Crc32cCodec()]
    return [BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle"), Crc32cCodec()]
