"""Arrays of an `.npz`, where they lie: mapped if stored plainly, else unpacked once."""

import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np

from omnimouse_model.data.io.safe_files import (
    ArrayFile,
    label,
    open_binary,
    read_npy_header,
)
from omnimouse_model.errors import SessionFormatError

_MOST_BYTES = 4 * 2**30
_MOST_MEMBERS = 1000
_LOCAL_HEADER = 30
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How numpy stores; pieces of other methods unpack to any size at once."""
_ENCRYPTED = 1


class Npz(Mapping[str, np.ndarray]):
    """Name -> array; sizes are compared before anything is unpacked.

    Parameters
    ----------
    path
        The archive.
    most_bytes
        What all compressed arrays together may take.

    Raises
    ------
    SessionFormatError
        The file is no sound archive of plain arrays.
    """

    def __init__(self, path: Path, most_bytes: int = _MOST_BYTES) -> None:
        self.path = path
        with open_binary(path) as stream, _sound(path):
            archive = zipfile.ZipFile(stream)
            members = archive.infolist()
            if len(members) > _MOST_MEMBERS:
                raise _refused(path, f"holds {len(members):,} members")
            self._members = {m.filename.removesuffix(".npy"): m for m in members}
            if len(self._members) != len(members):
                raise _refused(path, "holds two arrays of one name")
            packed = [m for m in members if m.compress_type != zipfile.ZIP_STORED]
            total = sum(m.file_size for m in packed)
            if total > most_bytes:
                raise _refused(path, f"unpacks to {total:,} bytes")
            for m in members:
                if m.compress_type not in _METHODS or m.flag_bits & _ENCRYPTED:
                    raise _refused(path, f"{m.filename} is packed as numpy packs none")

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, name: str) -> np.ndarray:
        member = self._members[name]
        file = self.file(name)
        if file is not None:
            return file.open()
        with open_binary(self.path) as stream, _sound(self.path):
            with zipfile.ZipFile(stream).open(member) as packed:
                data = packed.read(member.file_size)
            shape, fortran, dtype, offset = read_npy_header(BytesIO(data), self.path)
            count = math.prod(shape)
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
        wanted = math.prod(shape) * dtype.itemsize
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
    except Exception as error:  # a damaged archive fails in many ways
        raise _refused(path, f"is no sound .npz: {str(error)[:200]}") from error


def _refused(path: Path, what: str) -> SessionFormatError:
    return SessionFormatError(
        path, "not_npz", f"{label(path)}: {what}", "write it again with numpy.savez"
    )
