"""Arrays of untrusted `.npy` and `.npz` files and of images, read lazily and never unpickled.

Of images, four formats are read as grey levels, with a limit on pixels. Files of a folder
that gets its name when it is complete (see `temporary_folder`) are written here, too:
unlike those of `write`, they are neither renamed nor put on the drive one by one.
"""

import io
import json
import math
import os
import re
import zipfile
from ast import literal_eval
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache, partial
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import yaml
from jaxtyping import UInt8

from omnimouse_model.errors import SessionFormatError
from omnimouse_model.extras import named_extras
from omnimouse_model.storage import files
from omnimouse_model.storage.arrays.rows import ArrayFile, is_possible, sound_values
from omnimouse_model.storage.byte_source import LONGEST_TEXT, MAX_TEXT_BYTES, Budget
from omnimouse_model.storage.files import FileStamp
from omnimouse_model.storage.write import atomic_path

MAX_SMALL_ARRAY_BYTES = 512 * 2**20
# Limits that stop damaged or hostile files; real recordings stay far below them.
_MAX_HEADER = 1 << 16


def npy_file(path: Path, inside: Path | None = None, *, is_named: bool = False) -> ArrayFile:
    """Return the array of a `.npy` file, after checking its header, size and place."""
    with files.open_binary(path, inside, is_named=is_named) as stream:
        shape, fortran, dtype, offset = read_npy_header(stream, path)
        size = os.fstat(stream.fileno()).st_size
    # dtype=object: Python integers, so that a hostile shape cannot overflow.
    declared = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if size - offset < declared:
        raise files.bad_file(
            path,
            "wrong_size",
            f"declares {shape} {dtype}, {declared:,} bytes, but holds {max(0, size - offset):,}",
            "incomplete download? fetch it again",
        )
    return ArrayFile(path, dtype, shape, offset, fortran, inside=inside, is_named=is_named)


@lru_cache(maxsize=4096)  # training visits the files of trials in random order
def stamped_array(file: FileStamp) -> ArrayFile:
    """Return the array of a `.npy` file, which has not changed since it was stamped."""
    array = npy_file(file.path)
    # Afterwards: each reading compares the file with what was opened.
    file.check()
    return array


def load_small_array(path: Path, inside: Path, *, is_named: bool = False) -> np.ndarray:
    """Read a small `.npy` (numbers or strings) that lies in the folder `inside`."""
    file = npy_file(path, inside, is_named=is_named)
    files.check_most(path, file.n_bytes, MAX_SMALL_ARRAY_BYTES, "bytes of values")
    return file.open()


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
            found = f"begins with {head[:6]!r}" if head else "is empty"
            problem = f"is not a .npy file: it {found}"
            raise files.bad_file(path, "not_npy", problem, "copy or write it again")
        width = 2 if head[6] == 1 else 4
        length = int.from_bytes(head[8 : 8 + width], "little")
        if head[6] not in (1, 2, 3) or length > _MAX_HEADER:
            raise _bad_header(path, f"version {head[6]} with a header of {length} bytes")
        stream.seek(8 + width)
        text = stream.read(length).decode("utf-8" if head[6] == 3 else "latin-1")
        shape, fortran, dtype = _description(text, path)
    except SessionFormatError:
        raise
    except OSError as error:
        raise files.unreadable(path, error) from error
    except (ValueError, TypeError, LookupError, SyntaxError) as error:
        raise _bad_header(path, "no valid description") from error
    if not is_possible(shape, dtype.itemsize):
        raise _bad_header(path, f"shape {str(shape)[:60]}")
    if not dtype.itemsize:
        raise _bad_header(path, f"a type {str(dtype)[:60]}")
    if dtype.hasobject and not objects:
        raise _pickled(path)
    if _text_bytes(shape, dtype) > MAX_TEXT_BYTES or _text_bytes((), dtype) > 4 * LONGEST_TEXT:
        problem = f"holds texts, {str(shape)[:60]} {dtype}: more than {MAX_TEXT_BYTES:,} bytes"
        raise files.bad_file(
            path, "too_large", f"{problem}, or one of more than {LONGEST_TEXT:,} letters"
        )
    return shape, fortran, dtype, 8 + width + length


def _text_bytes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Return the bytes of an array of texts when they are decoded, 0 for numbers."""
    n_letters = {"U": dtype.itemsize // 4, "S": dtype.itemsize}.get(dtype.kind, 0)
    return 4 * n_letters * math.prod(shape)


# Python's own parser reads the description of an array after a look at its signs: without
# operators and calls, and with few brackets, no text can make it deep or large. A number has
# one end: with several, a long one would be tried in all ways.
_PLAIN = re.compile(r"""(?:'[^'\\]*'|"[^"\\]*"|\d{1,20}(?!\d)L?|True|False|[][(){},:\s])*""")
_MOST_BRACKETS = 64
_TYPE = re.compile(
    r"[<>=|]?(b1|[iu][1248]|f(2|4|8|12|16)|c(8|16|24|32)|[SUV]\d{1,9}|O\d?|[Mm]8(\[\w{1,12}\])?)"
)


def _description(text: str, path: Path) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, Fortran order and dtype of the text of a header.

    Raises
    ------
    ValueError, TypeError, LookupError, SyntaxError
        It is no description.
    """
    is_plain = _PLAIN.fullmatch(text) and sum(map(text.count, "([{")) <= _MOST_BRACKETS
    if not is_plain:
        raise ValueError("signs that describe no array")
    # Python 2 wrote whole numbers as 100L.
    values = literal_eval(re.sub(r"(?<=\d)L\b", "", text.strip()))
    if set(values) != {"descr", "fortran_order", "shape"}:
        raise ValueError("other entries")
    shape, fortran, kind = values["shape"], values["fortran_order"], values["descr"]
    is_shape = isinstance(shape, tuple) and all(type(length) is int for length in shape)
    if not is_shape or not isinstance(fortran, bool):
        raise TypeError("another shape")
    # Recordings contain only numbers and strings, no structured types.
    if isinstance(kind, list):
        fields = ", ".join(str(field[0]) for field in kind)[:60]
        problem = f"holds records with the fields {fields}; numbers or texts expected"
        raise files.bad_file(path, "not_npy", problem, "save each field as an array")
    if not isinstance(kind, str) or not _TYPE.fullmatch(kind):
        raise _bad_header(path, f"a type {str(kind)[:60]}")
    return shape, fortran, np.dtype(kind)


def _bad_header(path: Path, problem: str) -> SessionFormatError:
    return SessionFormatError(
        path, "not_npy", f"{files.label(path)}: not a valid .npy header: {problem}"
    )


def _pickled(path: Path) -> SessionFormatError:
    return files.bad_file(
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


_sound = partial(
    files.damage_refused,
    code="not_npz",
    problem="is not a valid .npz",
    hint="was it copied or downloaded whole? write it again with numpy.savez",
)


class Npz(Mapping[str, np.ndarray]):
    """Mapping from names to arrays; sizes are checked before decompression.

    Parameters
    ----------
    path
        The archive.
    most_bytes
        Limit on the decompressed size of all compressed arrays together.
    inside
        Folder in which the archive must lie; see `open_binary`.

    Attributes
    ----------
    comment
        Text that `write_arrays` was given.

    Raises
    ------
    SessionFormatError
        If the file is not a valid archive of plain arrays.
    """

    def __init__(
        self, path: Path, most_bytes: int = _MAX_BYTES, inside: Path | None = None
    ) -> None:
        self.path, self._inside = path, inside
        with files.open_binary(path, inside) as stream, _sound(path):
            archive = zipfile.ZipFile(stream)
            members = archive.infolist()
            self.comment = archive.comment
            if len(members) > _MAX_MEMBERS:
                raise _refused(path, f"holds {len(members):,} members")
            self._members = {m.filename.removesuffix(".npy"): m for m in members}
            # A ZIP file may hold two members of one name; readers would disagree on
            # which one is meant.
            if len(self._members) != len(members):
                raise _refused(path, "holds two arrays of one name")
            # Stored members cannot hold more than the file, so only compressed ones count
            # towards the limit.
            packed = [m for m in members if m.compress_type != zipfile.ZIP_STORED]
            budget = Budget(path, os.fstat(stream.fileno()).st_size, most_bytes)
            self._budget, self._charged = Budget(path, most=MAX_TEXT_BYTES), set[str]()
            for m in packed:
                budget.spend(m.filename[:80], m.file_size)
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
        file = self.file(name)
        values = self._unpacked(name) if file is None else file.open()
        if name not in self._charged:
            self._charged.add(name)
            self._budget.spend(name[:80], _text_bytes(values.shape, values.dtype))
        return values

    def _unpacked(self, name: str) -> np.ndarray:
        member = self._members[name]
        with files.open_binary(self.path, self._inside) as stream, _sound(self.path):
            with zipfile.ZipFile(stream).open(member) as packed:
                # Bounded by the size that was checked when the archive was opened.
                data = packed.read(member.file_size)
            header = read_npy_header(BytesIO(data), self.path / member.filename)
            shape, fortran, dtype, offset = header
            count = math.prod(shape)
            if len(data) - offset < count * dtype.itemsize:
                raise _refused(self.path, f"holds less of {name} than its shape {shape}")
            values = sound_values(np.frombuffer(data, dtype, count, offset), self.path)
        return values.reshape(shape, order="F" if fortran else "C")

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of an array, without its values."""
        member = self._members[name]
        with files.open_binary(self.path, self._inside) as stream, _sound(self.path):
            with zipfile.ZipFile(stream).open(member) as packed:
                header = BytesIO(packed.read(2 * _MAX_HEADER))
            return read_npy_header(header, self.path / member.filename)[0]

    def file(self, name: str) -> ArrayFile | None:
        """Return the place of an uncompressed array in the file, else None."""
        member = self._members[name]
        if member.compress_type != zipfile.ZIP_STORED:
            return None
        with files.open_binary(self.path, self._inside) as stream, _sound(self.path):
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
        return ArrayFile(self.path, dtype, shape, begin + offset, fortran, inside=self._inside)


def zip_names(path: Path) -> list[str]:
    """Return the names of the members of an archive."""
    with files.open_binary(path) as stream, _sound(path), zipfile.ZipFile(stream) as archive:
        return archive.namelist()


def _refused(path: Path, problem: str) -> SessionFormatError:
    return files.bad_file(path, "not_npz", problem, "write it again with numpy.savez")


def write_arrays(path: Path, arrays: Mapping[str, Any], comment: bytes = b"") -> None:
    """Write named arrays as an `.npz` file; see `atomic_path`."""
    with atomic_path(path) as temporary:
        with temporary.open("wb") as file:
            np.savez(file, **arrays)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.comment = comment


def packed_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return a compressed `.npz` file of named arrays."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # numpy's kwds stub
    return file.getvalue()


def fill(path: Path, content: Any) -> None:
    """Write a file by its ending: an array (.npy), named arrays (.npz), or values (.json, .yml)."""
    if path.suffix == ".npy":
        np.save(path, content)
    elif path.suffix == ".npz":
        np.savez(path, **content)
    else:
        written = json.dumps(content) if path.suffix == ".json" else yaml.safe_dump(content)
        path.write_text(written, encoding="utf-8")


@contextmanager
def rows_to_fill(
    path: Path, shape: tuple[int, ...], dtype: Any
) -> Iterator[Callable[[np.ndarray], None]]:
    """Yield a function that appends rows to an array; rows that are not written are zeros.

    The file is raw data unless its name ends with .npy. It takes no space for rows that
    are not written.
    """
    dtype = np.dtype(dtype)
    with path.open("wb") as file:
        if path.suffix == ".npy":
            header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
        end = file.tell() + int(np.prod(shape)) * dtype.itemsize

        def append(rows: np.ndarray) -> None:
            file.write(np.ascontiguousarray(rows, dtype).tobytes())

        yield append
        file.truncate(end)


_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
_MOST_PIXELS = 2**26


def read_grey_levels(path: Path, budget: Budget) -> UInt8[np.ndarray, "height width"]:
    """Return the grey levels of an image, which are charged to the budget of its folder.

    Raises
    ------
    SessionFormatError
        The file is no image, or too large.
    ModuleNotFoundError
        Pillow is missing.
    """
    with named_extras():
        from PIL import Image
    with (
        files.open_binary(path) as stream,
        files.damage_refused(path, "bad_image", "is no image"),
        # These formats alone: another of Pillow starts a program.
        Image.open(stream, formats=_FORMATS) as image,
    ):
        # Before any pixel is decoded.
        size = f"= {image.width:,} x {image.height:,} pixels"
        files.check_most(path, math.prod(image.size), _MOST_PIXELS, size)
        budget.spend(path.name, math.prod(image.size))
        return np.asarray(image.convert("L"), np.uint8)
