"""Safe reading of MATLAB files: arrays, texts, cells and structures, nothing else.

Version 5 (also called 6 and 7) is read here and not by scipy, which takes all memory
that a damaged file claims and reads whole arrays: a plain array is mapped instead.
Version 7.3 is HDF5 and needs h5py. Objects and functions are never read.
"""

import math
import struct
import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Protocol, runtime_checkable

import numpy as np

from omnimouse_model.storage.arrays.hdf5 import Hdf5, is_hdf5
from omnimouse_model.storage.arrays.rows import ArrayFile, MemoryRows
from omnimouse_model.storage.byte_source import MAX_TABLE_BYTES, BlockFile, Budget
from omnimouse_model.storage.files import bad_file, check_most, damage_refused, open_binary

StoredArray = ArrayFile | MemoryRows
"""An array (rows, columns) in a file or in memory."""

_HEADER = 128
_MAX_BYTES = 4 * 2**30
_MAX_RATIO = 64
_SMALL_BYTES = 16 * 2**20
"""A file may unpack to this many bytes, or to `_MAX_RATIO` times its own.
Zeros of deconvolved activity pack best, to about a tenth."""
_HEAD_BYTES = 1024
"""Enough for flags, shape and name of an array."""
_MAX_NODES = 1_500_000
_MAX_MEMBERS = 10_000
_DEEPEST, _MAX_FIELDS, _MAX_AXES = 16, 10_000, 32
_LETTER_BYTES = 16
_LONGEST_TEXT = 2**20
"""Most bytes of a text: names and settings."""

_MATRIX, _PACKED = 14, 15
_TYPES = {
    **{1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4"},
    **{9: "f8", 12: "i8", 13: "u8"},
}
"""Number of a storage type -> dtype; texts have types of their own."""
_TEXTS = {1: "latin1", 2: "latin1", 4: "utf-16", 16: "utf-8", 17: "utf-16"}
_CELL, _STRUCT, _CHAR = 1, 2, 4
_NUMBERS = {
    **{6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4"},
    **{14: "i8", 15: "u8"},
}
"""Number of a class of arrays -> dtype in MATLAB."""
_IS_LOGICAL, _IS_COMPLEX = 0x0200, 0x0800


@runtime_checkable
class MatFile(Protocol):
    """The variables of a MATLAB file."""

    path: Path

    @property
    def names(self) -> Collection[str]:
        """Names of the variables in the file."""

    def array(self, name: str) -> StoredArray:
        """Return a variable that is a matrix of numbers.

        Raises
        ------
        SessionFormatError
            The variable is anything else.
        """

    def value(self, name: str, fields: Collection[str] | None = None) -> Any:
        """Return a variable as plain containers, numbers, texts and arrays.

        A cell array is a list, a structure a dict, an array of structures a list of
        dicts, one number a number, and a row or column 1-D; matrices keep their shape.

        Parameters
        ----------
        fields
            Fields of structures that are read, None for all.
        """


def open_mat(path: Path, inside: Path | None = None) -> MatFile:
    """Open a MATLAB file of version 5 to 7.3; see `open_binary` for `inside`.

    Raises
    ------
    SessionFormatError
        If it is not one, or of version 4.
    """
    with open_binary(path, inside) as stream:
        if is_hdf5(stream):
            return _Mat73(path, inside)
        head = stream.read(_HEADER)
        if not head.startswith(b"MATLAB 5") or head[126:128] not in (b"IM", b"MI"):
            raise bad_file(
                path,
                "not_mat",
                "is not a MATLAB file of version 5 to 7.3",
                "save it again in MATLAB: save(name, '-v7')",
            )
        return _Mat5(path, inside, stream, "<" if head[126:128] == b"IM" else ">")


_sound = partial(
    damage_refused, code="not_mat", problem="cannot be read", hint="is it whole? copy it again"
)


def _simple(values: np.ndarray) -> Any:
    """Return one number as a number, a row or column as 1-D, other arrays as such."""
    if values.size == 1:
        return values.reshape(-1)[0].item()
    is_row = values.ndim == 2 and 1 in values.shape
    return values.reshape(-1) if is_row else values


# -- version 5 -----------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Member:
    """A variable: its place in the file, and whether it is compressed."""

    offset: int
    n_bytes: int
    is_packed: bool


class _Mat5:
    """Variables of a file of version 5; see `MatFile`."""

    def __init__(self, path: Path, inside: Path | None, stream: BinaryIO, order: str) -> None:
        self.path, self._inside, self._order = path, inside, order
        self._members: dict[str, _Member] = {}
        self._budget = Budget(path, path.stat().st_size, _MAX_BYTES)
        size = stream.seek(0, 2)
        at = _HEADER
        with _sound(path):
            while at + 8 <= size:
                stream.seek(at)
                kind, n_bytes = struct.unpack(order + "II", stream.read(8))
                if kind not in (_MATRIX, _PACKED) or at + 8 + n_bytes > size:
                    raise ValueError(f"{n_bytes:,} bytes are claimed at {at:,}")
                member = _Member(at + 8, n_bytes, kind == _PACKED)
                head = _Elements(self._bytes(stream, member, _HEAD_BYTES), order)
                self._members[head.header().name] = member
                if len(self._members) > _MAX_MEMBERS:
                    raise ValueError("it has too many variables")
                at += 8 + n_bytes

    @property
    def names(self) -> Collection[str]:
        """Names of the variables in the file."""
        return self._members.keys()

    def array(self, name: str) -> StoredArray:
        """Return a variable that is a matrix: a memory map if it is not compressed."""
        member = self._members[name]
        with open_binary(self.path, self._inside) as stream, _sound(self.path):
            elements = _Elements(self._bytes(stream, member, _HEAD_BYTES), self._order)
            header = elements.header()
            dtype = header.dtype(self._order)
            if dtype is None or len(header.shape) != 2:
                raise bad_file(self.path, "wrong_shape", f"holds {name}, which is no matrix")
            stored, start, length = elements.tag()
            n_bytes = math.prod(header.shape) * dtype.itemsize
            is_plain = _TYPES.get(stored) == dtype.str[1:] and length == n_bytes
            if is_plain and not member.is_packed:
                offset = member.offset + start
                if offset + n_bytes > member.offset + member.n_bytes:
                    raise ValueError(f"{name} is cut off")
                return ArrayFile(self.path, dtype, header.shape, offset, True, inside=self._inside)
            self._budget.spend(name, n_bytes)
            whole = _Elements(self._bytes(stream, member, n_bytes + 4096), self._order)
            return MemoryRows(self.path, whole.numbers(whole.header()))

    def value(self, name: str, fields: Collection[str] | None = None) -> Any:
        """Return a variable as plain containers; see `MatFile`."""
        member = self._members[name]
        with open_binary(self.path, self._inside) as stream, _sound(self.path):
            limit = min(MAX_TABLE_BYTES, max(_SMALL_BYTES, _MAX_RATIO * member.n_bytes))
            data = self._bytes(stream, member, limit + 1)
            check_most(self.path, len(data), limit, f"bytes or more in {name}")
            spend = partial(self._budget.spend, name)
            return _Elements(data, self._order, spend).value(fields)

    def _bytes(self, stream: BinaryIO, member: _Member, most: int) -> bytes:
        """Return at most this many bytes of a variable, unpacked."""
        stream.seek(member.offset)
        if not member.is_packed:
            return stream.read(min(most, member.n_bytes))
        unpack, parts = zlib.decompressobj(), []
        packed, unread, left = b"", member.n_bytes, most + 8
        while left > 0 and not unpack.eof:
            packed = packed or stream.read(min(unread, 2**20))
            if not packed:
                break
            parts.append(unpack.decompress(packed, left))
            left -= len(parts[-1])
            packed = unpack.unconsumed_tail
            unread = member.n_bytes - (stream.tell() - member.offset)
        # A compressed variable has a tag of its own inside.
        return b"".join(parts)[8:]


@dataclass(frozen=True, slots=True)
class _Header:
    """Class, flags, shape and name of an array."""

    kind: int
    flags: int
    shape: tuple[int, ...]
    name: str

    def dtype(self, order: str) -> np.dtype[Any] | None:
        """Return the type of real numbers in MATLAB; None for anything else."""
        if self.kind not in _NUMBERS or self.flags & _IS_COMPLEX:
            return None
        return np.dtype(order + _NUMBERS[self.kind])


class _Elements:
    """Elements of a variable, read one after another from its bytes.

    `spend` is called with the bytes of every array of numbers in a value.
    """

    def __init__(self, data: bytes, order: str, spend: Callable[[int], None] | None = None) -> None:
        self._data, self._order, self._at = data, order, 0
        self._spend = spend
        # Every part has a tag of eight bytes; an array of structures without fields
        # could claim any number of them.
        self._left = min(_MAX_NODES, len(data) // 8 + 1)

    def tag(self) -> tuple[int, int, int]:
        """Return type, start and length of the next element, and go behind it."""
        kind, n_bytes = struct.unpack_from(self._order + "II", self._data, self._at)
        # A small element has its length in the tag and at most four bytes of data.
        if kind >> 16:
            kind, n_bytes, start = kind & 0xFFFF, kind >> 16, self._at + 4
            if n_bytes > 4:
                raise ValueError("a small element is too long")
            self._at += 8
        else:
            start = self._at + 8
            self._at = start + n_bytes + (-n_bytes % 8)
        return kind, start, n_bytes

    def header(self) -> _Header:
        """Read class, flags, shape and name of an array."""
        _, start, _ = self.tag()
        flags = struct.unpack_from(self._order + "I", self._data, start)[0]
        _, start, n_bytes = self.tag()
        n_axes = n_bytes // 4
        if n_axes > _MAX_AXES:  # before as many numbers of Python are made
            raise ValueError(f"an array of {n_axes:,} axes")
        shape = struct.unpack_from(f"{self._order}{n_axes}i", self._data, start)
        if any(n < 0 for n in shape):
            raise ValueError(f"an array of {str(shape)[:60]}")
        _, start, n_bytes = self.tag()
        name = self._data[start : start + n_bytes].decode("latin1")
        return _Header(flags & 0xFF, flags & 0xFF00, shape, name)

    def numbers(self, header: _Header) -> np.ndarray:
        """Return the values of the array that `header` describes."""
        kind, start, n_bytes = self.tag()
        stored = np.dtype(self._order + _TYPES[kind])
        if start + n_bytes > len(self._data):
            raise ValueError("an array is cut off")
        count = n_bytes // stored.itemsize
        wanted = np.dtype(bool) if header.flags & _IS_LOGICAL else header.dtype("=")
        if wanted is None or count != math.prod(header.shape):
            raise ValueError(f"{count:,} numbers for {str(header.shape)[:60]}")
        # MATLAB stores small whole numbers in one byte, whatever their type.
        if self._spend is not None:
            self._spend(count * wanted.itemsize)
        values = np.zeros(0)
        if count:  # numpy refuses an empty part
            values = np.frombuffer(self._data, stored, count, start)
        return values.astype(wanted).reshape(header.shape, order="F")

    def value(self, fields: Collection[str] | None, depth: int = 0) -> Any:
        """Read an array as plain containers; see `MatFile.value`."""
        self._left -= 1
        if self._left < 0 or depth > _DEEPEST:
            raise ValueError("it has too many parts")
        header = self.header()
        if header.dtype("=") is not None:
            return _simple(self.numbers(header))
        if header.kind == _CHAR:
            return self._text()
        count = math.prod(header.shape)
        if header.kind == _CELL:
            return [self._inner(fields, depth) for _ in range(count)]
        if header.kind == _STRUCT:
            names = self._field_names()
            items = [self._fields(names, fields, depth) for _ in range(count)]
            return items[0] if count == 1 else items
        return None

    def _text(self) -> str:
        kind, start, n_bytes = self.tag()
        encoding = _TEXTS[kind]
        if n_bytes > _LONGEST_TEXT:
            raise ValueError(f"a text of {n_bytes:,} bytes")
        if encoding == "utf-16":
            encoding += "-le" if self._order == "<" else "-be"
        return self._data[start : start + n_bytes].decode(encoding, "replace")

    def _field_names(self) -> list[str]:
        _, start, _ = self.tag()
        length = struct.unpack_from(self._order + "i", self._data, start)[0]
        _, start, n_bytes = self.tag()
        text = self._data[start : start + n_bytes]
        # Most bytes could be names: far more fields than any part of the file has.
        if length <= 0 or n_bytes > length * _MAX_FIELDS:
            raise ValueError(f"names of fields of {length:,} letters in {n_bytes:,} bytes")
        parts = [text[k : k + length] for k in range(0, len(text), length)]
        return [part.split(b"\0")[0].decode("latin1") for part in parts]

    def _fields(
        self, names: list[str], fields: Collection[str] | None, depth: int
    ) -> dict[str, Any]:
        found = {}
        for name in names:
            if fields is None or name in fields:
                found[name] = self._inner(fields, depth)
            else:
                self._inner(fields, depth, is_skipped=True)
        # An array of structures without fields takes no bytes.
        self._left -= 1
        if self._left < 0:
            raise ValueError("it has too many parts")
        return found

    def _inner(
        self, fields: Collection[str] | None, depth: int, *, is_skipped: bool = False
    ) -> Any:
        """Read or skip an array inside another one."""
        kind, start, n_bytes = self.tag()
        behind = self._at
        if kind != _MATRIX or start + n_bytes > len(self._data):
            raise ValueError("a part is cut off")
        if is_skipped:
            return None
        # MATLAB writes an empty array without a header.
        if not n_bytes:
            return np.zeros(0)
        self._at = start
        value = self.value(fields, depth + 1)
        self._at = behind
        return value


# -- version 7.3 ---------------------------------------------------------------------
class _Mat73:
    """Variables of a file of version 7.3, which is HDF5; see `MatFile`."""

    def __init__(self, path: Path, inside: Path | None) -> None:
        self.path = path
        self._file = Hdf5(BlockFile(path, inside))
        self._budget = Budget(path, path.stat().st_size, _MAX_BYTES)
        with _sound(path):
            # Only the names: what a link leads to is checked where it is read.
            # A name that is no UTF-8 is bytes: MATLAB writes none.
            names = [name for name in self._file.root if isinstance(name, str)]
            self._names = [name for name in names if not name.startswith("#")]

    @property
    def names(self) -> Collection[str]:
        """Names of the variables in the file."""
        return self._names

    def array(self, name: str) -> StoredArray:
        """Return a variable that is a matrix, read into memory."""
        dataset = self._file.dataset(name)
        if dataset.dtype.kind not in "fiu" or len(dataset.shape or ()) != 2:
            raise bad_file(self.path, "wrong_shape", f"holds {name}, which is no matrix")
        self._budget.spend(name, dataset.dtype.itemsize * math.prod(dataset.shape))
        # MATLAB stores columns first.
        return MemoryRows(self.path, self._file.read(dataset, ()).T)

    def value(self, name: str, fields: Collection[str] | None = None) -> Any:
        """Return a variable as plain containers; see `MatFile`."""
        with _sound(self.path):
            parts = _Parts(self._file, fields, partial(self._budget.spend, name), name)
            return parts.value(self._file.find(name, is_empty_kept=True))


class _Parts:
    """Parts of one variable of a file of version 7.3."""

    def __init__(
        self, file: Hdf5, fields: Collection[str] | None, spend: Callable[[int], None], name: str
    ) -> None:
        self._file, self._fields, self._spend, self._name = file, fields, spend, name
        # A part is an object of the file, or at least a reference of eight bytes.
        self._left = min(_MAX_NODES, file.path.stat().st_size // 8 + 1)
        # Address in the file -> value and number of its parts. Any number of references
        # may lead to one object, which is read once.
        self._known: dict[int, tuple[Any, int]] = {}

    def value(self, item: Any, depth: int = 0) -> Any:
        """Return an object as plain containers; see `MatFile.value`."""
        import h5py

        if item is None:
            raise ValueError("a link leads to nothing")
        address = h5py.h5o.get_info(item.id).addr
        value, n_parts = self._known.get(address, (None, 1))
        self._left -= n_parts
        if self._left < 0 or depth > _DEEPEST:
            raise ValueError("it has too many parts")
        if address in self._known:
            return value
        before = self._left
        if isinstance(item, h5py.Group):
            value = self._structure(item, depth)
        elif isinstance(item, h5py.Dataset):
            value = self._stored(self._file.referenced(item, self._name), depth)
        self._known[address] = value, 1 + before - self._left
        return value

    def _stored(self, dataset: Any, depth: int) -> Any:
        import h5py

        if "MATLAB_empty" in dataset.attrs or dataset.shape is None:
            return np.zeros(0)
        count = math.prod(dataset.shape)
        if h5py.check_ref_dtype(dataset.dtype) is not None:
            # Each reference is an object of Python.
            if count > self._left:
                raise ValueError("it has too many parts")
            root, references = self._file.root, self._file.read(dataset, (), self._name).reshape(-1)
            return [self.value(root[part], depth + 1) for part in references]
        # Objects, functions and complex numbers.
        if dataset.dtype.kind not in "fiub":
            return None
        kind = self._file.attribute(dataset, "MATLAB_class")
        is_one = np.ndim(kind) == 0  # not a list of classes
        is_text = is_one and kind == b"char"
        # Each letter is a number of Python before it is text.
        self._spend(count * (_LETTER_BYTES if is_text else dataset.dtype.itemsize))
        values = self._file.read(dataset, (), self._name)
        if is_text:
            return "".join(map(chr, values.reshape(-1).tolist()))
        if is_one and kind == b"logical":
            values = values.astype(bool)
        return _simple(values.T)

    def _structure(self, group: Any, depth: int) -> dict[str, Any] | list[dict[str, Any]]:
        wanted = self._fields
        names = [name for name in group if wanted is None or name in wanted]
        parts = {n: self._file.find(n, group, is_empty_kept=True) for n in names}
        found = {name: self.value(part, depth + 1) for name, part in parts.items()}
        # The fields of an array of structures are references to one value for each,
        # which have no class of their own.
        is_array = bool(parts) and all(
            isinstance(found[name], list) and "MATLAB_class" not in part.attrs
            for name, part in parts.items()
        )
        if not is_array:
            return found
        rows = zip(*found.values(), strict=True)
        return [dict(zip(found, row, strict=True)) for row in rows]
