"""Rows of a sharded zarr v3 array, decoded directly from its files.

The files are standard zarr and can be opened with any zarr library. This decoder does
not use zarr's scheduler, so the few rows of a window are read several times as fast.
"""

from itertools import product
from pathlib import Path
from threading import local
from typing import Any, cast

import google_crc32c
import numpy as np
from numcodecs import blosc

from omnimouse_model.data.io.safe_files import (
    ArrayFile,
    contained,
    label,
    read_json_mapping,
)
from omnimouse_model.data.store.layout import MOST_CHUNK_BYTES
from omnimouse_model.errors import SessionFormatError

# Bytes of an index entry (offset and length, uint64 each), of a CRC-32C, and of the
# header of a blosc buffer.
_ENTRY, _CHECKSUM, _BLOSC_HEADER = 16, 4, 16
_TYPES = {
    *("float16", "float32", "float64"),
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
}


class ShardedRows:
    """A sharded array, rows first; see `Rows`.

    Parameters
    ----------
    folder
        The array's folder, with its `zarr.json`.
    inside
        The folder of the store, which the array must not leave through links.

    Raises
    ------
    SessionFormatError
        The array has another layout than those of a store, or a shard is missing.
    """

    def __init__(self, folder: Path, inside: Path) -> None:
        self.path = folder
        about = read_json_mapping(contained(folder / "zarr.json", inside))
        try:
            self._read_layout(about)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise self._wrong(f"is no sharded array of ours: {error!r}") from error
        self._files = self._shards(inside)
        self._index: dict[tuple[int, ...], np.ndarray] = {}
        self._scratch = local()

    def __getstate__(self) -> dict[str, Any]:
        # A thread-local cannot be pickled, and each process reads the indices itself.
        return {**self.__dict__, "_index": {}, "_scratch": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._scratch = local()

    def check(self) -> None:
        """Raise if a file is missing or has changed."""
        for file in self._files.values():
            file.check()

    def read(self, first: int, stop: int) -> np.ndarray:
        """Return rows `first` to `stop`."""
        return self.part((slice(first, stop),))

    def pick(self, rows: np.ndarray, columns: slice) -> np.ndarray:
        """Return selected rows, in ascending order, of a range of columns."""
        low, high, _ = columns.indices(self.shape[1] if len(self.shape) > 1 else 1)
        parts = [np.zeros((0, max(0, high - low)), self.dtype)]
        height = self._chunk[0]
        # Rows of one chunk height are read together, so that no chunk is decoded twice.
        for block in np.split(rows, np.flatnonzero(np.diff(rows // height)) + 1):
            if len(block):
                begin, end = int(block[0]), int(block[-1]) + 1
                slab = self.part((slice(begin, end), slice(low, high)))
                parts.append(slab[block - begin])
        return np.concatenate(parts)

    def part(self, slices: tuple[slice, ...]) -> np.ndarray:
        """Return a block of the array; axes without a slice are complete."""
        bounds = []
        for axis, size in enumerate(self.shape):
            given = slices[axis] if axis < len(slices) else slice(None)
            low, high, _ = given.indices(size)
            bounds.append((low, max(low, high)))
        out = np.empty([high - low for low, high in bounds], self.dtype)
        if not out.size:
            return out
        ranges = [
            range(low // c, (high - 1) // c + 1)
            for (low, high), c in zip(bounds, self._chunk, strict=True)
        ]
        for place in product(*ranges):
            target, source = [], []
            for (low, high), c, at in zip(bounds, self._chunk, place, strict=True):
                begin, end = max(low, at * c), min(high, (at + 1) * c)
                target.append(slice(begin - low, end - low))
                source.append(slice(begin - at * c, end - at * c))
            out[tuple(target)] = self._decode(place)[tuple(source)]
        return out

    # -- chunks -----------------------------------------------------------------
    def _decode(self, place: tuple[int, ...]) -> np.ndarray:
        """Return one chunk, after its checksum and its size were checked.

        The array is valid until the next call in this thread, which reuses its memory:
        allocating memory costs more than decompression.
        """
        shard = tuple(p // n for p, n in zip(place, self._per_shard, strict=True))
        within = tuple(p % n for p, n in zip(place, self._per_shard, strict=True))
        file = self._files[shard]
        stored = file.open()
        offset, length = self._entries(shard, stored)[within].tolist()
        # An index can claim any place in the file; a slice beyond the end would be
        # shorter without an error.
        if offset + length > len(stored) or length < _CHECKSUM:
            raise self._broken(file.path, f"a piece at {offset} is not there")
        end = offset + length - _CHECKSUM
        data = stored[offset:end]
        self._compare(file.path, data, stored[end : end + _CHECKSUM])
        wanted = self._chunk_bytes
        if not self._packed:
            if len(data) != wanted:
                raise self._broken(file.path, "a piece is of another size")
            return np.frombuffer(data, self.dtype).reshape(self._chunk)
        # blosc trusts the sizes in its header, so they are compared with the buffer
        # first.
        if _unpacked_and_packed(data) != (wanted, len(data)):
            raise self._broken(file.path, "a piece is of another size")
        made: np.ndarray | None = getattr(self._scratch, "chunk", None)
        if made is None:
            made = self._scratch.chunk = np.empty(self._chunk, self.dtype)
        try:
            blosc.decompress(data, made)
        except Exception as error:  # numcodecs raises plain RuntimeError
            raise self._broken(file.path, str(error)) from error
        return made

    def _entries(self, shard: tuple[int, ...], stored: np.ndarray) -> np.ndarray:
        """Return offset and length of every chunk of a shard, after a checksum test."""
        if shard not in self._index:
            count = int(np.prod(self._per_shard))
            path = self._files[shard].path
            # The index and its checksum are at the end of the file.
            index = stored[-(count * _ENTRY + _CHECKSUM) : -_CHECKSUM]
            self._compare(path, index, stored[-_CHECKSUM:])
            entries = np.frombuffer(index.tobytes(), "<u8").reshape(*self._per_shard, 2)
            self._index[shard] = entries
        return self._index[shard]

    # -- description ------------------------------------------------------------
    def _read_layout(self, about: dict[str, Any]) -> None:
        # Only the layout that the writer produces is accepted. Other valid zarr arrays
        # are refused instead of being decoded wrongly.
        (sharding,) = about["codecs"]
        inner = sharding["configuration"]
        names = [codec["name"] for codec in inner["codecs"]]
        if sharding["name"] != "sharding_indexed" or names[0] != "bytes":
            raise ValueError(f"codecs {names}")
        if names[1:] not in (["blosc", "crc32c"], ["crc32c"]):
            raise ValueError(f"codecs {names}")
        if inner.get("index_location", "end") != "end":
            raise ValueError("an index at the start")
        if inner["codecs"][0].get("configuration", {}).get("endian") == "big":
            raise ValueError("another order of bytes")
        if about["data_type"] not in _TYPES:
            raise ValueError(f"values of {about['data_type']}")
        self._packed = "blosc" in names
        self.dtype: np.dtype[Any] = np.dtype(about["data_type"]).newbyteorder("<")
        self.shape: tuple[int, ...] = _sizes(about["shape"])
        grid = _sizes(about["chunk_grid"]["configuration"]["chunk_shape"])
        self._chunk = _sizes(inner["chunk_shape"])
        if not len(self.shape) == len(grid) == len(self._chunk) or 0 in self._chunk:
            raise ValueError("chunks of another rank")
        if any(g % c or not g for g, c in zip(grid, self._chunk, strict=True)):
            raise ValueError(f"shards {grid} of chunks {self._chunk}")
        self._chunk_bytes = (
            # Python integers (dtype object) do not overflow, whatever the metadata
            # claim.
            int(np.prod(self._chunk, dtype=object)) * self.dtype.itemsize
        )
        if self._chunk_bytes > MOST_CHUNK_BYTES:
            raise ValueError(f"chunks of {self._chunk_bytes:,} bytes")
        self._per_shard = tuple(g // c for g, c in zip(grid, self._chunk, strict=True))
        self._n_shards = tuple(
            -(-s // g) for s, g in zip(self.shape, grid, strict=True)
        )
        if int(np.prod(self._n_shards, dtype=object)) > 10**6:
            raise ValueError(f"{self._n_shards} shards")

    def _shards(self, inside: Path) -> dict[tuple[int, ...], ArrayFile]:
        found = {}
        count = int(np.prod(self._per_shard, dtype=object))
        for shard in product(*(range(n) for n in self._n_shards)):
            path = piece(self.path, shard)
            size = contained(path, inside).stat().st_size
            if size < count * _ENTRY + _CHECKSUM:
                raise self._broken(path, "it is too short for its index")
            found[shard] = ArrayFile(path, np.dtype(np.uint8), (size,))
        return found

    def _compare(self, path: Path, data: np.ndarray, checksum: np.ndarray) -> None:
        if google_crc32c.value(cast(bytes, data)) != int.from_bytes(
            checksum.tobytes(), "little"
        ):
            raise self._broken(path, "a checksum differs")

    def _wrong(self, what: str) -> SessionFormatError:
        return SessionFormatError(
            self.path, "bad_store", f"{label(self.path)} {what}", "convert it again"
        )

    def _broken(self, path: Path, what: str) -> SessionFormatError:
        return SessionFormatError(
            path,
            "checksum",
            f"{label(self.path)}/{path.name} is damaged: {what}",
            "copy the store again, or convert the session again",
        )


def _unpacked_and_packed(data: np.ndarray) -> tuple[int, int]:
    """Return uncompressed and compressed size as stated in a blosc header."""
    if len(data) < _BLOSC_HEADER:
        return 0, 0
    _, unpacked, _, packed = np.frombuffer(data[:_BLOSC_HEADER].tobytes(), "<u4")
    return int(unpacked), int(packed)


def piece(array: Path, place: tuple[int, ...]) -> Path:
    """Return the file of a shard or chunk; raise if it is missing."""
    path = array.joinpath("c", *map(str, place))
    if not path.is_file():
        raise SessionFormatError(
            path,
            "missing_shard",
            f"{array.parent.name}/{array.name}: the piece "
            f"{'/'.join(map(str, place))} is missing from the store",
            "convert the session again, or copy the store again",
        )
    return path


def _sizes(values: Any) -> tuple[int, ...]:
    # In Python True is an int, so JSON true would pass as the size 1.
    if not all(
        isinstance(v, int) and not isinstance(v, bool) and v >= 0 for v in values
    ):
        raise ValueError(f"sizes {values}")
    return tuple(values)
