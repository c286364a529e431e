"""Arrays of an `.npz`, where they lie: mapped if stored plainly, else unpacked once."""

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np

from omnimouse_model.data.files import (
    ArrayFile,
    label,
    open_binary,
    read_npy_header,
)
from omnimouse_model.errors import SessionFormatError

_MOST_BYTES = 4 * 2**30
_MOST_MEMBERS = 1000
_LOCAL_HEADER = 30
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError)


class Npz(Mapping[str, np.ndarray]):
    """Name -> array; sizes are compared before anything is unpacked.

    Raises
    ------
    SessionFormatError
        The file is no sound archive of plain arrays.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with open_binary(path) as stream, _sound(path):
            archive = zipfile.ZipFile(stream)
            members = archive.infolist()
            if len(members) > _MOST_MEMBERS:
                raise _refused(path, f"holds {len(members):,} members")
            self._members = {m.filename.removesuffix(".npy"): m for m in members}
            if len(self._members) != len(members):
                raise _refused(path, "holds two arrays of one name")

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, name: str) -> np.ndarray:
        member = self._members[name]
        if member.file_size > _MOST_BYTES:
            raise _refused(self.path, f"{name} has {member.file_size:,} bytes")
        file = self.file(name)
        if file is not None:
            return file.open()
        with open_binary(self.path) as stream, _sound(self.path):
            data = zipfile.ZipFile(stream).read(member)
        shape, fortran, dtype, offset = read_npy_header(BytesIO(data), self.path)
        count = int(np.prod(shape, dtype=object))
        if len(data) - offset < count * dtype.itemsize:
            raise _refused(self.path, f"{name} is shorter than its shape {shape}")
        values = np.frombuffer(data, dtype, count, offset)
        return values.reshape(shape, order="F" if fortran else "C")

    def file(self, name: str) -> ArrayFile | None:
        """Where an array lies that is stored plainly; None of a compressed one."""
        member = self._members[name]
        if member.compress_type != zipfile.ZIP_STORED:
            return None
        with open_binary(self.path) as stream, _sound(self.path):
            stream.seek(member.header_offset)
            head = stream.read(_LOCAL_HEADER)
            named = int.from_bytes(head[26:28], "little")
            extra = int.from_bytes(head[28:30], "little")
            begin = member.header_offset + _LOCAL_HEADER + named + extra
            stream.seek(begin)
            inner = BytesIO(stream.read(1 << 17))
            shape, fortran, dtype, offset = read_npy_header(inner, self.path)
        wanted = int(np.prod(shape, dtype=object)) * dtype.itemsize
        size = self.path.stat().st_size
        if wanted + offset > member.file_size or begin + offset + wanted > size:
            raise _refused(self.path, f"{member.filename} is shorter than {shape}")
        return ArrayFile(self.path, dtype, shape, begin + offset, fortran)


@contextmanager
def _sound(path: Path) -> Iterator[None]:
    """Turn what damaged archives raise into the typed error."""
    try:
        yield
    except SessionFormatError:
        raise
    except (*_DAMAGED, RuntimeError, OSError, ValueError) as error:
        raise _refused(path, f"is no sound .npz: {error}") from error


def _refused(path: Path, what: str) -> SessionFormatError:
    return SessionFormatError(
        path, "not_npz", f"{label(path)}: {what}", "write it again with numpy.savez"
    )
