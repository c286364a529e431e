"""Arrays of untrusted `.npy` and `.npz` files, read lazily and never unpickled."""

import math
import mmap
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy_format

from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.files import (
    FileStamp,
    bad_file,
    contained,
    damage_refused,
    label,
    open_binary,
    unreadable,
)

MAX_SMALL_ARRAY_BYTES = 512 * 2**20
# Limits that stop damaged or hostile files; real recordings stay far below them.
_MAX_HEADER = 1 << 16
_MAX_DIMENSIONS = 32


class ArrayFile:
    """One array in one file, mapped at the first read; the map is not pickled.

    Parameters
    ----------
    path
        The file.
    dtype, shape, offset, fortran
        Layout of the array, from the file's header or the session's metadata.
        `offset` is in bytes.
    """

    def __init__(
        self,
        path: Path,
        dtype: np.dtype[Any],
        shape: tuple[int, ...],
        offset: int = 0,
        fortran: bool = False,
    ) -> None:
        self.path = path
        self.dtype = dtype
        self.shape = shape
        self.offset = offset
        self.fortran = fortran
        self._stamp = FileStamp.of(path)
        self._map: np.ndarray | None = None

    # Pickling a map would copy the whole file.
    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_map": None}

    @property
    def n_bytes(self) -> int:
        """Size of the array in bytes, without the header."""
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize

    def open(self) -> np.ndarray:
        """Return the mapped array; raise if the file is missing or has changed."""
        self.check()
        if self._map is None:
            self._map = np.asarray(self._mapped())
        return self._map

    def read(self, first: int, stop: int) -> np.ndarray:
        """Return mapped rows `first` to `stop`; see `Rows`."""
        return self.open()[first:stop]

    def pick(self, rows: np.ndarray, columns: slice) -> np.ndarray:
        """Return scattered rows; read-ahead is off if only some columns are read."""
        if columns == slice(None):
            rows_read: np.ndarray = self.open().reshape(self.shape[0], -1)[rows]
            return rows_read
        self.check()
        # A map of its own: the advice must not slow down sequential reads of `open`.
        mapped = self._mapped()
        memory = getattr(mapped, "_mmap", None)
        if memory is not None and hasattr(mmap, "MADV_RANDOM"):
            memory.madvise(mmap.MADV_RANDOM)
        picked: np.ndarray = np.asarray(mapped).reshape(len(mapped), -1)[rows, columns]
        return picked

    def check(self) -> None:
        """Raise `SessionFormatError` if the file is missing or has changed.

        This runs before every read: access beyond the end of a mapped file that has
        become shorter kills the process (SIGBUS).
        """
        self._stamp.check()

    def _mapped(self) -> np.ndarray:
        # An empty array cannot be mapped.
        if 0 in self.shape:
            return np.zeros(self.shape, self.dtype)
        try:
            return np.memmap(
                self.path,
                dtype=self.dtype,
                mode="r",
                offset=self.offset,
                shape=self.shape,
                order="F" if self.fortran else "C",
            )
        except (OSError, ValueError) as error:
            raise unreadable(self.path, error) from error


def npy_file(path: Path) -> ArrayFile:
    """Return the array of a `.npy` file, after checking its header and size."""
    with open_binary(path) as stream:
        shape, fortran, dtype, offset = read_npy_header(stream, path)
        size = os.fstat(stream.fileno()).st_size
    # dtype=object: Python integers, so that a hostile shape cannot overflow.
    declared = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if size - offset < declared:
        raise bad_file(
            path,
            "wrong_size",
            f"declares {shape} {dtype}, {declared:,} bytes, but holds {max(0, size - offset):,}",
            "incomplete download? fetch it again",
        )
    return ArrayFile(path, dtype, shape, offset, fortran)


def load_small_array(path: Path, inside: Path) -> np.ndarray:
    """Read a small `.npy` (numbers or strings) that lies in the folder `inside`."""
    file = npy_file(contained(path, inside))
    if file.n_bytes > MAX_SMALL_ARRAY_BYTES:
        raise bad_file(
            path,
            "too_large",
            f"holds {file.shape} values, too many for what it should be",
        )
    # A copy, so that the small file does not stay mapped.
    return np.array(file.open())


def read_npy_header(
    stream: BinaryIO | BytesIO, path: Path, *, objects: bool = False
) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Return shape, Fortran order, dtype and the offset of the data in bytes.

    Object arrays raise `SessionFormatError` unless `objects` is true.
    """
    try:
        head = stream.read(12)
        if len(head) < 10 or head[:6] != b"\x93NUMPY":
            # 0x80 is the first byte of a pickle (protocol 2 or later).
            if head[:1] == b"\x80":
                raise _pickled(path)
            raise bad_file(path, "not_npy", "is not a .npy file", "write it again")
        # numpy reads a header of any length before it compares it with a limit.
        length = int.from_bytes(head[8:10] if head[6] == 1 else head[8:12], "little")
        if length > _MAX_HEADER:
            raise _bad_header(path, f"a header of {length} bytes")
        stream.seek(0)
        shape, fortran, dtype = _npy_description(stream)
    except SessionFormatError:
        raise
    except OSError as error:
        raise unreadable(path, error) from error
    except Exception as error:  # Python and numpy refuse text in many ways
        raise _bad_header(path, "no valid description") from error
    # max(1, n): numpy multiplies the other axes even if one of them is empty.
    is_sound = all(0 <= n < 2**48 for n in shape) and len(shape) <= _MAX_DIMENSIONS
    if not is_sound or math.prod(max(1, n) for n in shape) * dtype.itemsize >= 2**62:
        raise _bad_header(path, f"shape {str(shape)[:60]}")
    # Recordings contain only numbers and strings, no structured types.
    if dtype.names is not None:
        fields = ", ".join(dtype.names)[:60]
        problem = f"holds records with the fields {fields}; numbers or texts expected"
        raise bad_file(path, "not_npy", problem, "save each field as an array")
    if dtype.subdtype is not None or not dtype.itemsize:
        raise _bad_header(path, f"a type {str(dtype)[:60]}")
    if dtype.hasobject and not objects:
        raise _pickled(path)
    return shape, fortran, dtype, stream.tell()


def _npy_description(
    stream: BinaryIO | BytesIO,
) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy_format.read_magic(stream)
    # Versions 2 and 3 differ only in the encoding of the names of structured types.
    if version == (1, 0):
        return npy_format.read_array_header_1_0(stream, max_header_size=_MAX_HEADER)
    return npy_format.read_array_header_2_0(stream, max_header_size=_MAX_HEADER)


def _bad_header(path: Path, problem: str) -> SessionFormatError:
    return SessionFormatError(path, "not_npy", f"{label(path)}: not a valid .npy header: {problem}")


def _pickled(path: Path) -> SessionFormatError:
    return bad_file(
        path,
        "pickled",
        "contains pickled objects; refused for safety",
        "write it as a plain array of numbers or fixed-width strings",
    )


_MAX_BYTES = 4 * 2**30
_MAX_MEMBERS = 1000
_LOCAL_HEADER = 30
"""Bytes of the fixed part of a ZIP local file header."""
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Methods that numpy writes; other methods can expand to any size in one step."""
_ENCRYPTED = 1


class Npz(Mapping[str, np.ndarray]):
    """Mapping from names to arrays; sizes are checked before decompression.

    Parameters
    ----------
    path
        The archive.
    most_bytes
        Limit on the decompressed size of all compressed arrays together.

    Raises
    ------
    SessionFormatError
        If the file is not a valid archive of plain arrays.
    """

    def __init__(self, path: Path, most_bytes: int = _MAX_BYTES) -> None:
        self.path = path
        with open_binary(path) as stream, _sound(path):
            archive = zipfile.ZipFile(stream)
            members = archive.infolist()
            if len(members) > _MAX_MEMBERS:
                raise _refused(path, f"holds {len(members):,} members")
            self._members = {m.filename.removesuffix(".npy"): m for m in members}
            # A ZIP file may hold two members of one name; readers would disagree on
            # which one is meant.
            if len(self._members) != len(members):
                raise _refused(path, "holds two arrays of one name")
            # Stored members are mapped and take no memory, so only compressed ones
            # count towards the limit.
            packed = [m for m in members if m.compress_type != zipfile.ZIP_STORED]
            total = sum(m.file_size for m in packed)
            if total > most_bytes:
                raise _refused(path, f"unpacks to {total:,} bytes")
            for m in members:
                if m.compress_type not in _METHODS or m.flag_bits & _ENCRYPTED:
                    raise _refused(path, f"packs {m.filename} in a way that numpy does not")

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    # That of `Mapping` would read the array.
    def __contains__(self, name: object) -> bool:
        return name in self._members

    def __getitem__(self, name: str) -> np.ndarray:
        member = self._members[name]
        file = self.file(name)
        if file is not None:
            return file.open()
        with open_binary(self.path) as stream, _sound(self.path):
            with zipfile.ZipFile(stream).open(member) as packed:
                # Bounded by the size that was checked when the archive was opened.
                data = packed.read(member.file_size)
            header = read_npy_header(BytesIO(data), self.path / member.filename)
            shape, fortran, dtype, offset = header
            count = math.prod(shape)
            if len(data) - offset < count * dtype.itemsize:
                raise _refused(self.path, f"holds less of {name} than its shape {shape}")
            values = np.frombuffer(data, dtype, count, offset)
        return values.reshape(shape, order="F" if fortran else "C")

    def file(self, name: str) -> ArrayFile | None:
        """Return the place of an uncompressed array in the file, else None."""
        member = self._members[name]
        if member.compress_type != zipfile.ZIP_STORED:
            return None
        with open_binary(self.path) as stream, _sound(self.path):
            stream.seek(member.header_offset)
            head = stream.read(_LOCAL_HEADER)
            # Lengths of name and extra field come from the local header: the extra
            # field of the central directory can have another length.
            named = int.from_bytes(head[26:28], "little")
            extra = int.from_bytes(head[28:30], "little")
            begin = member.header_offset + _LOCAL_HEADER + named + extra
            stream.seek(begin)
            # 128 KiB: more than the largest header that `read_npy_header` accepts.
            inner = BytesIO(stream.read(1 << 17))
            header = read_npy_header(inner, self.path / member.filename)
            shape, fortran, dtype, offset = header
        n_bytes = math.prod(shape) * dtype.itemsize
        size = self.path.stat().st_size
        if n_bytes + offset > member.file_size or begin + offset + n_bytes > size:
            raise _refused(self.path, f"holds less of {member.filename} than its shape {shape}")
        return ArrayFile(self.path, dtype, shape, begin + offset, fortran)


def _sound(path: Path) -> AbstractContextManager[None]:
    return damage_refused(lambda problem: _refused(path, f"is not a valid .npz: {problem}"))


def _refused(path: Path, problem: str) -> SessionFormatError:
    return bad_file(path, "not_npz", problem, "write it again with numpy.savez")
