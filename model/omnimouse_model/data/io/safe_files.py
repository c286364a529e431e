"""Safe reading of untrusted files: size checks before allocation, no unpickling."""

import json
import math
import mmap
import os
import re
import stat
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import yaml
from numpy.lib import format as npy_format

from omnimouse_model.data.io.file_stamp import (
    FileStamp,
    bad_file,
    not_fetched,
    stat_file,
    unreadable,
)
from omnimouse_model.data.io.file_stamp import label as label  # readers import it here
from omnimouse_model.errors import SessionFormatError

MAX_JSON_BYTES = 256 * 2**20
MAX_YAML_BYTES = 4 * 2**20
MAX_SMALL_ARRAY_BYTES = 512 * 2**20
# Limits that stop damaged or hostile files; real recordings stay far below them.
_MAX_HEADER = 1 << 16
_MAX_DIMENSIONS = 32
_MAX_NODES = 1_000_000


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


def contained(path: Path, inside: Path, *, is_named: bool = False) -> Path:
    """Return `path` if it lies in the session folder `inside`, or is a link of it.

    A link of the folder leads anywhere to a plain file, as DataLad and clusters lay
    them out, if its owner is that of the folder: nobody else can choose its target.

    Parameters
    ----------
    is_named
        Whether the content of a file names the path. Such a path never leads out.

    Raises
    ------
    SessionFormatError
        If the path leads out of the folder otherwise, or to nothing.
    """
    root, real = os.path.realpath(inside), os.path.realpath(path)
    if _is_below(real, root):
        return path
    place = Path(os.path.realpath(path.parent), path.name)
    if is_named or not place.is_symlink() or not _is_below(str(place), root):
        folder = None if is_named else _linked_folder(path, root)
        found = "" if folder is None else f": {folder.name} is a link to a folder"
        raise SessionFormatError(
            path,
            "outside",
            f"{path} points outside the session folder{found}",
            "a session may only name files of its own folder"
            if folder is None
            else f"links to files are followed; open {os.path.realpath(folder)} itself",
        )
    if not stat.S_ISREG(stat_file(path).st_mode):
        problem = f"to {real}, which is no plain file"
        raise _link_refused(path, problem, "put a plain file in its place")
    _check_owners(place, root)
    return path


def _is_below(real: str, root: str) -> bool:
    # With the separator, so that /data/a2 does not count as inside /data/a.
    return real == root or real.startswith(root.rstrip(os.sep) + os.sep)


def _linked_folder(path: Path, root: str) -> Path | None:
    """Return the folder on the way to a path that is a link out of the session."""
    for folder in path.parents:
        is_last = _is_below(os.path.realpath(folder.parent), root)
        if folder.is_symlink() and is_last:
            return folder
    return None


def _check_owners(place: Path, root: str) -> None:
    """Raise if a link of the folder belongs to another user than the folder."""
    # Windows has no numbers of users, so the owner of a link is unknown.
    if os.name == "nt":
        raise _link_refused(place, "and has no known owner on Windows", "copy the file")
    owner = Path(root).stat().st_uid
    # A link can lead to another link of the folder.
    while place.is_symlink() and _is_below(str(place), root):
        found = os.lstat(place).st_uid
        if found != owner:
            raise _link_refused(
                place,
                f"and belongs to user {found}; the session folder to user {owner}",
                "copy the file in its place, or give the link to the folder's owner",
            )
        target = place.parent / place.readlink()
        place = Path(os.path.realpath(target.parent), target.name)


def _link_refused(path: Path, problem: str, hint: str) -> SessionFormatError:
    found = f"is a link that leads out of the session folder {problem}"
    return bad_file(path, "outside", found, hint)


_POINTER_BYTES = 2**15
"""Largest pointer that git-annex writes."""
_ANNEX = re.compile(rb"(/annex/objects/|(\.\./)*\.git/annex/objects/)[^\n]+\n?")
_LFS = b"version https://git-lfs.github.com/"


def open_binary(path: Path) -> BinaryIO:
    """Open a regular file for reading; raise `SessionFormatError` if impossible.

    A file that only points to content, which git-annex or Git LFS has not fetched yet,
    is refused as well.
    """
    info = stat_file(path)
    # Opening a named pipe would wait forever.
    if not stat.S_ISREG(info.st_mode):
        raise bad_file(path, "unreadable", "is not a plain file")
    try:
        stream = path.open("rb", buffering=0)
    except OSError as error:
        raise unreadable(path, error) from error
    if info.st_size <= _POINTER_BYTES:
        try:
            _check_pointer(stream, path)
        except BaseException:
            stream.close()
            raise
    return stream


def _check_pointer(stream: BinaryIO, path: Path) -> None:
    try:
        head = stream.read(len(_LFS))
        if head.startswith((b"/annex/", b".git/", b"../")):
            head += stream.read(_POINTER_BYTES)
        stream.seek(0)
    except OSError as error:
        raise unreadable(path, error) from error
    if _ANNEX.fullmatch(head):
        raise not_fetched(path)
    if head == _LFS:
        found = "is a pointer of Git LFS: its content is not here yet"
        raise bad_file(path, "not_fetched", found, "run: git lfs pull")


def read_text(path: Path, limit: int) -> str:
    """Read a UTF-8 text file of at most `limit` bytes."""
    with open_binary(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > limit:
            raise bad_file(path, "too_large", f"has {size:,} bytes; at most {limit:,} are read")
        try:
            data = stream.read()
        except OSError as error:
            raise unreadable(path, error) from error
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise bad_file(
            path, "bad_text", f"line {line}: not UTF-8 text", "save the file as UTF-8"
        ) from error


def read_yaml_mapping(path: Path, inside: Path | None = None) -> dict[str, Any]:
    """Read a YAML mapping with the safe loader; errors contain the line.

    With `inside`, the file must lie in that folder, links resolved.
    """
    return _read_mapping(path, inside, MAX_YAML_BYTES, "YAML", _parse_yaml)


def read_json_mapping(path: Path, inside: Path | None = None) -> dict[str, Any]:
    """Read a JSON object of at most 256 MiB; errors contain the line.

    With `inside`, the file must lie in that folder, links resolved.
    """
    return _read_mapping(path, inside, MAX_JSON_BYTES, "JSON", json.loads)


def _read_mapping(
    path: Path,
    inside: Path | None,
    limit: int,
    kind: str,
    parse: Callable[[str], object],
) -> dict[str, Any]:
    text = read_text(path if inside is None else contained(path, inside), limit)
    code = f"bad_{kind.lower()}"
    try:
        value = parse(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)  # of YAML
        line = getattr(error, "lineno", None if mark is None else mark.line + 1)
        position = "" if line is None else f" line {line}"
        problem = getattr(error, "problem", None) or getattr(error, "msg", error)
        raise SessionFormatError(
            path,
            code,
            f"{label(path)}{position}: not valid {kind}: {problem}",
            "only plain keys and values are read",
        ) from error
    if not isinstance(value, Mapping):
        content = "nothing" if value is None else f"a {type(value).__name__}"
        raise SessionFormatError(
            path, code, f"{label(path)}: must hold `key: value` pairs, found {content}"
        )
    return {str(key): item for key, item in value.items()}


def _parse_yaml(text: str) -> object:
    value = yaml.load(text, Loader=_Loader)
    # Without aliases, a text cannot hold more values than it has characters.
    _check_nodes(value, max(_MAX_NODES, len(text)))
    return value


def _pickled(path: Path) -> SessionFormatError:
    return bad_file(
        path,
        "pickled",
        "contains pickled objects; refused for safety",
        "write it as a plain array of numbers or fixed-width strings",
    )


# The C loader is much faster; builds of PyYAML without libyaml lack it.
_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Safe):  # type: ignore[misc]  # chosen at run time: C if it is there
    """Safe YAML loader without merge keys (`<<`).

    A merge copies a mapping, so nested merges grow exponentially.
    """

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Raise if a mapping contains a merge key."""
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    None, None, "merge keys (<<) are not read", key.start_mark
                )


def _check_nodes(value: object, most: int) -> None:
    """Raise if the values are too many with all aliases expanded.

    Nested aliases grow exponentially ("billion laughs").
    """
    # By id, so that each object is counted once however often it is referenced.
    sizes: dict[int, int] = {}

    def size(item: object) -> int:
        if not isinstance(item, dict | list | tuple | set):
            return 1
        if id(item) not in sizes:
            sizes[id(item)] = most  # until the count is known: a cycle exceeds the limit
            inner = [*item, *item.values()] if isinstance(item, dict) else item
            sizes[id(item)] = 1 + sum(map(size, inner))
        return sizes[id(item)]

    if size(value) > most:
        raise ValueError(f"its aliases stand for more than {most:,} values")
