"""Zarr arrays and groups, opened from metadata that this package has parsed itself.

Reading does not use zarr: the metadata of an untrusted store could make it run code,
chunks could unpack to any size, and its scheduler takes several times as long for a
window (`docs/performance.md`, rows `store-default` and `store-default-zarr` of
`omnimouse bench read`). Writing uses zarr, on arrays whose metadata were checked here.
"""

import json
import math
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.arrays import zarr_metadata
from omnimouse_model.storage.arrays.rows import pieces_of, runs_of
from omnimouse_model.storage.arrays.zarr_metadata import Format, Node
from omnimouse_model.storage.byte_source import BlockFile
from omnimouse_model.storage.files import bad_file, check_most, is_file, plain_text, unreadable
from omnimouse_model.storage.write import atomic_path

MAX_TABLE_BYTES = 2 * 2**30
"""Most bytes of an array, or of a part of one, that are read at once."""
COPY = "copy the store again, or convert the session again"
_MAX_FILES = 2_000_000
_NOT_STORED = 2**64 - 1
_RUN_BYTES = 2**20
"""Most bytes of several chunks that are read at once: they stay in a processor's cache."""
_OLD = (".zarray", ".zgroup", ".zattrs", ".zmetadata")
"""Metadata of format 2."""


class ZarrGroup:
    """A group of arrays that is only read.

    Parameters
    ----------
    path
        Its folder.
    formats
        Formats that may be there; a store of this project has format 3.
    is_whole
        Whether a missing chunk is an error; else its values are the fill value.

    Raises
    ------
    SessionFormatError
        The folder holds links, pipes, metadata of two formats, or is no group.
    """

    def __init__(
        self, path: Path, *, formats: tuple[Format, ...] = (3,), is_whole: bool = False
    ) -> None:
        self.path = path
        self._formats, self._is_whole = formats, is_whole
        check_files(path, formats)
        node = _node(path, formats)
        if node is None or node.is_array:
            raise bad_file(path, "bad_store", "is no group of zarr arrays")
        self.attributes = node.attributes

    def has(self, name: str) -> bool:
        """Return whether there is an array or a group of a name."""
        folder = _below(self.path, name)
        return any(is_file(folder / file) for file in ("zarr.json", ".zarray", ".zgroup"))

    def attributes_of(self, name: str) -> dict[str, Any]:
        """Return the attributes of an array or a group; raise if there is none."""
        folder = _below(self.path, name)
        node = _node(folder, self._formats)
        if node is None:
            raise bad_file(folder, "bad_store", "has no metadata")
        return node.attributes

    def array(self, name: str) -> "ZarrArray":
        """Return an array; raise if there is none."""
        folder = _below(self.path, name)
        return ZarrArray(folder, formats=self._formats, is_whole=self._is_whole)

    def names(self, name: str = "") -> tuple[list[str], list[str]]:
        """Return the names of the arrays and of the groups in a group, sorted."""
        folder = _below(self.path, name) if name else self.path
        arrays: list[str] = []
        groups: list[str] = []
        for path in sorted(path for path in folder.iterdir() if path.is_dir()):
            node = _node(path, self._formats)
            if node is not None:
                (arrays if node.is_array else groups).append(path.name)
        return arrays, groups


def _node(folder: Path, formats: tuple[Format, ...]) -> Node | None:
    node = zarr_metadata.read_node(folder)
    if node is not None and node.format not in formats:
        raise _other_format(folder, node.format)
    return node


def _array_node(path: Path, formats: tuple[Format, ...]) -> Node:
    node = _node(path, formats)
    if node is None or not node.is_array:
        raise bad_file(path, "bad_store", "is no zarr array")
    return node


def _other_format(path: Path, found: int) -> SessionFormatError:
    problem = f"has metadata of zarr format {found}"
    return bad_file(path, "bad_store", problem, "copy the store again, or write it again")


def _below(folder: Path, name: str) -> Path:
    """Return the folder of a name, which cannot lead outside."""
    parts = name.split("/")
    if any(part in ("", ".", "..") or os.sep in part or "\\" in part for part in parts):
        raise bad_file(folder, "outside", f"has no array of the name {name[:80]!r}")
    return folder.joinpath(*parts)


def check_files(path: Path, formats: tuple[Format, ...] = (3,)) -> None:
    """Raise if a store contains anything but plain files and folders of its formats.

    A link in a copied store could make the reader open any file of the user.
    """
    waiting, count = [path], 0
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                items = list(entries)
        except OSError as error:
            raise unreadable(path, error) from error
        count += len(items)
        check_most(path, count, _MAX_FILES, "files", is_all=False)
        for item in items:
            # Does not follow links.
            mode = item.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                waiting.append(Path(item.path))
            elif not stat.S_ISREG(mode):
                problem = f"of {path.name} is no plain file; refused"
                hint = "a store holds files of its own only: copy it again"
                raise bad_file(Path(item.path), "outside", problem, hint)
            elif item.name in _OLD and 2 not in formats:
                raise _other_format(Path(item.path), 2)


_Place = tuple[BlockFile, int, int]
"""File of a chunk, its first byte, and the byte after its last."""


def _stored(places: Sequence[_Place | None]) -> Iterator[np.ndarray | None]:
    """Yield the stored bytes of chunks, each valid until the next one."""
    at = 0
    while at < len(places):
        if (place := places[at]) is None:
            yield None
            at += 1
            continue
        # Chunks that follow each other in a file, as those of a window do, are read at once.
        file, begin, end = place
        run = [slice(0, end - begin)]
        for other in places[at + 1 :]:
            if other is None or other[:2] != (file, end) or other[2] - begin > _RUN_BYTES:
                break
            run.append(slice(end - begin, other[2] - begin))
            end = other[2]
        memory = zarr_metadata.thread_memory("stored", end - begin)
        file.read(begin, memory.data)
        for part in run:
            yield memory[part]
        at += len(run)


class ZarrArray:
    """An array that is only read; see `Rows`. Chunks are decoded directly.

    Parameters
    ----------
    path, formats, is_whole
        See `ZarrGroup`, which has checked the files of its arrays.

    Raises
    ------
    SessionFormatError
        Its metadata ask for what is not read, or a file is missing or too short.
    """

    def __init__(
        self, path: Path, *, formats: tuple[Format, ...] = (3,), is_whole: bool = False
    ) -> None:
        node = _array_node(path, formats)
        self.path = path
        self.node = node
        self._layout = layout = zarr_metadata.layout_of(path, node)
        self._is_whole = is_whole
        self.shape = layout.shape
        self.dtype: np.dtype[Any] = layout.dtype
        self.chunk = layout.chunk
        self._files: dict[tuple[int, ...], BlockFile | None] = {}
        self._index: dict[tuple[int, ...], memoryview] = {}
        if is_whole:
            self.require(product(*map(range, layout.counts)))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_index": {}}

    def check(self) -> None:
        """Raise an error if a file that was opened is missing or has changed."""
        for file in self._files.values():
            if file is not None:
                file.check()

    def read(self, first: int, stop: int) -> np.ndarray:
        """Return rows `first` to `stop`."""
        return self.part((slice(first, stop),))

    def pick(self, rows: np.ndarray, columns: slice) -> np.ndarray:
        """Return scattered rows, ascending."""
        # Only the chunks of these columns are decoded.
        runs = runs_of(rows, self.chunk[0])
        return np.concatenate([self.part((slice(a, b), columns))[inner] for a, b, inner in runs])

    def part(self, slices: tuple[slice, ...] = ()) -> np.ndarray:
        """Return a block of the array; axes without a slice are whole."""
        slices += (slice(None),) * (len(self.shape) - len(slices))
        bounds = [s.indices(n)[:2] for s, n in zip(slices, self.shape, strict=True)]
        size = [max(0, high - low) for low, high in bounds]
        n_bytes = math.prod(size) * self.dtype.itemsize
        check_most(self.path, n_bytes, MAX_TABLE_BYTES, "bytes in this part")
        out = np.empty(size, self.dtype)
        if not out.size:
            return out
        shard = self._layout.shard
        counts = (1,) * len(size) if shard is None else shard.counts
        # Of each chunk on an axis: its file, its place in that, in the block, in itself.
        axes: list[list[tuple[int, int, slice, slice]]] = []
        step = 1
        for (low, high), n, count in reversed([*zip(bounds, self.chunk, counts, strict=True)]):
            pieces = pieces_of(low, high, n)
            axes.insert(0, [(k // count, k % count * step, *parts) for k, *parts in pieces])
            step *= count
        # An array without axes has one value.
        chunks = [tuple(zip(*parts, strict=True)) or ((),) * 4 for parts in product(*axes)]
        places = [self._place(piece, sum(numbers)) for piece, numbers, *_ in chunks]
        for (piece, _, target, source), stored in zip(chunks, _stored(places), strict=True):
            out[target] = self._decoded(piece, stored)[source]
        return out

    def require(self, pieces: Iterable[tuple[int, ...]]) -> None:
        """Raise unless these pieces are stored; one that is not reads as the fill value."""
        for piece in pieces:
            if self._file(piece) is None:
                raise self._missing(piece)

    # -- chunks -----------------------------------------------------------------
    def _decoded(self, piece: tuple[int, ...], stored: np.ndarray | None) -> np.ndarray:
        """Return a chunk from its stored bytes, valid until this thread's next one."""
        layout = self._layout
        if stored is None:
            if self._is_whole:
                raise self._missing(piece)
            return np.broadcast_to(layout.fill, layout.chunk)
        try:
            for unpack, most in layout.unpack:
                stored = unpack(stored, most)
            if stored.nbytes != layout.n_chunk_bytes:
                raise ValueError("a piece is of another size")
        except Exception as error:  # decoders raise errors of many types
            raise self._broken(piece, str(error)[:200]) from error
        values = stored.view(layout.dtype)
        if layout.dtype.kind == "b":
            values = values.view(np.uint8) != 0
        if layout.dtype.kind == "U" and (values.view(f"{layout.dtype.str[0]}u4") > 0x10FFFF).any():
            raise self._broken(piece, "a text holds what is no character")
        if layout.turned is None:
            return values.reshape(layout.chunk)
        turned = values.reshape([layout.chunk[axis] for axis in layout.order])
        return turned.transpose(layout.turned)

    def _place(self, piece: tuple[int, ...], number: int) -> _Place | None:
        """Return the place of the chunk of a number in a file, None if it is not stored."""
        source = self._file(piece)
        if source is None:
            return None
        offset, length = 0, source.size
        if self._layout.shard is not None:
            entries = self._entries(piece, source)
            offset, length = entries[2 * number], entries[2 * number + 1]
            if offset == length == _NOT_STORED:
                return None
        most = 2 * self._layout.n_chunk_bytes + 2**16
        if offset + length > source.size or length > most:
            raise self._broken(piece, f"a piece at {offset} is not there")
        return source, offset, offset + length

    def _entries(self, piece: tuple[int, ...], source: BlockFile) -> memoryview:
        """Return offset and length of every chunk of a shard, one after the other."""
        shard = self._layout.shard
        assert shard is not None
        if piece not in self._index:
            begin = 0 if shard.is_index_first else source.size - shard.n_index_bytes
            if source.size < shard.n_index_bytes:
                raise self._broken(piece, "it is too short for its index")
            index = np.empty(shard.n_index_bytes, np.uint8)
            source.read(begin, index.data)
            try:
                entries = zarr_metadata.verified(index) if shard.has_checksum else index
            except ValueError as error:
                raise self._broken(piece, str(error)) from error
            numbers = entries.view("<u8").astype(np.uint64, copy=False)
            self._index[piece] = memoryview(numbers.data).cast("B").cast("Q")
        return self._index[piece]

    def _file(self, piece: tuple[int, ...]) -> BlockFile | None:
        """Return the file of a piece; None if there is none and none is needed."""
        if piece not in self._files:
            path = self.path.joinpath(*self._layout.name_of(piece).split("/"))
            if not os.path.lexists(path):
                return None
            self._files[piece] = BlockFile(path, follow=False)
        return self._files[piece]

    def _missing(self, piece: tuple[int, ...]) -> SessionFormatError:
        problem = f"the piece {self._layout.name_of(piece)} is missing"
        return bad_file(self.path.parent, "missing_shard", problem, COPY, f"{self.path.name}:")

    def _broken(self, piece: tuple[int, ...], problem: str) -> SessionFormatError:
        problem = f"the piece {self._layout.name_of(piece)} is damaged: {problem}"
        return bad_file(self.path.parent, "checksum", problem, COPY, f"{self.path.name}:")


# -- writing ------------------------------------------------------------------------
def create_group(path: Path, attributes: Mapping[str, Any]) -> Any:
    """Create a group of format 3 in a new folder; return it as zarr's group."""
    # Imported where it is used: programs start without zarr.
    import zarr

    return zarr.create_group(str(path), zarr_format=3, attributes=dict(attributes))


def group_to_write(path: Path) -> Any:
    """Return a group as zarr's, for making arrays in it, after checking its files."""
    import zarr
    from zarr.core.group import AsyncGroup, GroupMetadata
    from zarr.storage import LocalStore, StorePath

    group = ZarrGroup(path)
    # zarr itself reads the metadata of an array that is there already.
    for found in path.rglob("zarr.json"):
        zarr_metadata.read_node(found.parent)
    metadata = GroupMetadata(attributes=group.attributes, zarr_format=3)
    return zarr.Group(AsyncGroup(metadata, StorePath(LocalStore(path))))


def array_to_write(group: Path, name: str, config: Any = None) -> Any:
    """Return an array of a group as zarr's, for writing, from its checked metadata.

    The caller has checked the files of the group, see `check_files`.
    """
    import zarr
    from zarr.storage import LocalStore, StorePath

    node = _array_node(_below(group, name), (3,))
    zarr_metadata.layout_of(group / name, node)
    fields: Any = {k: v for k, v in node.fields.items() if k != "consolidated_metadata"}
    place = StorePath(LocalStore(group), name)
    try:
        return zarr.Array(zarr.AsyncArray(fields, place, config))
    except (ValueError, TypeError, KeyError) as error:
        # zarr asks for more than reading needs, such as the configuration of a codec.
        problem = f"is refused by zarr: {plain_text(str(error))}"
        raise bad_file(group / name / "zarr.json", "bad_store", problem) from error


def update_attributes(folder: Path, attributes: Mapping[str, Any]) -> None:
    """Change attributes of an array or a group of format 3, atomically."""
    node = zarr_metadata.read_node(folder)
    if node is None or node.format != 3:
        raise bad_file(folder, "bad_store", "is no zarr array or group of format 3")
    fields = {**node.fields, "attributes": {**node.attributes, **attributes}}
    with atomic_path(folder / "zarr.json") as temporary:
        temporary.write_text(json.dumps(fields, indent=2))
