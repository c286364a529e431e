"""Rows of a sharded zarr v3 array, decoded directly from its files.

Any zarr reader opens these files. This decoder exists because plain zarr takes several
times as long for a window, most of it in its scheduler (`docs/performance.md`, rows
`store-default` and `store-default-zarr` of `omnimouse bench read`).
"""

from itertools import product
from pathlib import Path
from struct import unpack_from
from threading import local
from typing import Any, cast

import google_crc32c
import numpy as np

from omnimouse_model.data.store.layout import MAX_CHUNK_BYTES, is_storable
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.files import bad_file, label
from omnimouse_model.storage.npy import ArrayFile
from omnimouse_model.storage.row_source import pick_in_blocks

# Bytes of an index entry (offset and length, uint64 each), of a CRC-32C, and of the
# header of a blosc buffer.
_ENTRY, _CHECKSUM, _BLOSC_HEADER = 16, 4, 16
_PLAIN, _PACKED = ["bytes", "crc32c"], ["bytes", "blosc", "crc32c"]
_THREAD = local()
"""Memory of each thread for one chunk: new memory costs more than unpacking."""


class ShardedRows:
    """A sharded array, rows first; see `Rows`. Every shard is as wide as the array.

    Parameters
    ----------
    folder
        The array's folder, with its `zarr.json`.

    Raises
    ------
    SessionFormatError
        The array does not have the layout of a store, or a shard is missing.
    """

    def __init__(self, folder: Path) -> None:
        import zarr

        self.path = folder
        try:
            self._read_layout(zarr.open_array(str(folder), mode="r"))
        except Exception as error:  # zarr raises many types for malformed metadata
            raise bad_file(
                folder,
                "bad_store",
                f"is not a sharded array of this format: {str(error)[:200]}",
                "convert it again",
            ) from error
        self._files = [self._shard(n) for n in range(-(-self.shape[0] // self._height))]
        self._index: dict[int, np.ndarray] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_index": {}}

    def check(self) -> None:
        """Raise an error if a file is missing or has changed."""
        for file in self._files:
            file.check()

    def read(self, first: int, stop: int) -> np.ndarray:
        """Return rows `first` to `stop`."""
        return self.part((slice(first, stop),))

    def pick(self, rows: np.ndarray, columns: slice) -> np.ndarray:
        """Return scattered rows, ascending."""
        # Only the chunks of these columns are decoded.
        return pick_in_blocks(
            lambda first, stop: self.part((slice(first, stop), columns)),
            rows,
            self._chunk[0],
        )

    def part(self, slices: tuple[slice, ...]) -> np.ndarray:
        """Return a block of the array; axes without a slice are whole."""
        slices += (slice(None),) * (len(self.shape) - len(slices))
        bounds = [s.indices(n)[:2] for s, n in zip(slices, self.shape, strict=True)]
        out = np.empty([max(0, high - low) for low, high in bounds], self.dtype)
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
        """Return one chunk, valid until this thread's next one.

        Checksum and sizes are compared before blosc unpacks, since blosc trusts them.
        """
        # Imported here, so that programs start without it.
        from numcodecs import blosc

        shard, row = divmod(place[0], self._per_shard[0])
        file = self._files[shard]
        stored = file.open()
        offset, length = self._entries(shard, stored)[(row, *place[1:])].tolist()
        if offset + length > len(stored) or length < _CHECKSUM:
            raise self._broken(file.path, f"a piece at {offset} is not there")
        data = self._verified(file.path, stored[offset : offset + length])
        n_bytes = self._chunk_bytes
        if not self._is_packed:
            if len(data) != n_bytes:
                raise self._broken(file.path, "a piece is of another size")
            return np.frombuffer(data, self.dtype).reshape(self._chunk)
        sizes = unpack_from("<4xI4xI", data.data) if len(data) >= _BLOSC_HEADER else ()
        if sizes != (n_bytes, len(data)):
            raise self._broken(file.path, "a piece is of another size")
        if len(getattr(_THREAD, "memory", ())) < n_bytes:
            _THREAD.memory = np.empty(n_bytes, np.uint8)
        chunk: np.ndarray = _THREAD.memory[:n_bytes]
        try:
            blosc.decompress(data, chunk)
        except Exception as error:  # numcodecs raises plain RuntimeError
            raise self._broken(file.path, str(error)) from error
        return chunk.view(self.dtype).reshape(self._chunk)

    def _entries(self, shard: int, stored: np.ndarray) -> np.ndarray:
        """Return offset and length of every chunk of a shard."""
        if shard not in self._index:
            path = self._files[shard].path
            index = self._verified(path, stored[-self._index_bytes :]).tobytes()
            self._index[shard] = np.frombuffer(index, "<u8").reshape(*self._per_shard, 2)
        return self._index[shard]

    # -- description ------------------------------------------------------------
    def _read_layout(self, array: Any) -> None:
        codecs = (*array.filters, array.serializer, *array.compressors)
        names = [codec.to_dict()["name"] for codec in codecs]
        if names not in (_PACKED, _PLAIN) or "big" in str(array.serializer.to_dict()):
            raise ValueError(f"codecs {codecs}")
        self._is_packed = names == _PACKED
        self.shape: tuple[int, ...] = array.shape
        self.dtype: np.dtype[Any] = array.dtype.newbyteorder("<")
        shard, self._chunk = array.shards, array.chunks
        if not shard or not self.shape or any(map(int.__lt__, shard[1:], self.shape[1:])):
            raise ValueError(f"shards {shard} of {self.shape}")
        self._chunk_bytes = (
            # Python integers (dtype object) do not overflow, whatever the metadata
            # claim.
            int(np.prod(self._chunk, dtype=object)) * self.dtype.itemsize
        )
        if self._chunk_bytes > MAX_CHUNK_BYTES or not is_storable(self.dtype):
            raise ValueError(f"chunks of {self._chunk_bytes:,} bytes, {self.dtype}")
        self._height = shard[0]
        self._per_shard = tuple(s // c for s, c in zip(shard, self._chunk, strict=True))
        count = int(np.prod(self._per_shard, dtype=object))
        self._index_bytes = count * _ENTRY + _CHECKSUM

    def _shard(self, number: int) -> ArrayFile:
        path = piece(self.path, (number, *(0 for _ in self.shape[1:])))
        size = path.stat().st_size
        if size < self._index_bytes:
            raise self._broken(path, "it is too short for its index")
        return ArrayFile(path, np.dtype(np.uint8), (size,))

    def _verified(self, path: Path, stored: np.ndarray) -> np.ndarray:
        """Return the bytes before a checksum, after comparing it with them."""
        data, checksum = stored[:-_CHECKSUM], stored[-_CHECKSUM:].tobytes()
        if google_crc32c.value(cast(bytes, data)) != int.from_bytes(checksum, "little"):
            raise self._broken(path, "a checksum differs")
        return data

    def _broken(self, path: Path, problem: str) -> SessionFormatError:
        return SessionFormatError(
            path,
            "checksum",
            f"{label(self.path)}/{path.name} is damaged: {problem}",
            "copy the store again, or convert the session again",
        )


def piece(array: Path, place: tuple[int, ...]) -> Path:
    """Return the file of a shard or chunk of an array, which must exist."""
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
