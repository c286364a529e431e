"""Lazy reading of `.npz` archives; uncompressed arrays are memory-mapped."""

import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from io import BytesIO
from pathlib import Path

import numpy as np

from omnimouse_model.data.io.file_stamp import bad_file, damage_refused
from omnimouse_model.data.io.safe_files import (
    ArrayFile,
    open_binary,
    read_npy_header,
)
from omnimouse_model.errors import SessionFormatError

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
