"""Lazy reading of untrusted HDF5 files: no links to other files, limited sizes.

h5py is imported only when an HDF5 file is opened. The file is long because every way to a
value, by name, attribute or rows, goes through the same limits.
"""

import atexit
import math
import os
import re
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np

from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage import byte_source
from omnimouse_model.storage.arrays.hdf5_chunks import VALUE, WHOLE, Chunks, has_lengths
from omnimouse_model.storage.arrays.hdf5_heads import TooManyAttributes, attribute_values
from omnimouse_model.storage.arrays.rows import runs_of
from omnimouse_model.storage.byte_source import Budget, Source
from omnimouse_model.storage.files import OWN_FILE, WRITTEN, bad_file, check_most, missing_package
from omnimouse_model.storage.write import atomic_path

if TYPE_CHECKING:
    import h5py

    from omnimouse_model.storage.arrays.zarr_file import ZarrFile

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SLAB = 2**24
"""Largest read of scattered rows, in bytes."""
_HOLE = 2**18
"""A gap between two rows that is larger than this (bytes) is not read."""
# Limits that stop damaged or hostile files; real recordings stay far below them.
SCALAR_BYTES = 2**20
_MAX_OBJECTS = 20_000
_DEEPEST = 100
_MAX_VALUES = 1024
_MOST_TEXTS, _TEXT_BYTES, _TEXT_HEAD = 4096, 64 * 2**20, 16
"""Texts that are read at once, their bytes, and what each takes in memory besides."""
_MAX_LINKS = 16
"""Soft links that one name may lead through."""
_SCHEMAS = "specifications"
"""Group in which NWB caches its schemas; it is not part of the recording."""
_LONG_PIECE = 2**25
"""Bytes that may be missing on the drive, and that HDF5 gets at once where more are."""
_USER_BLOCK = 512
"""Bytes before the HDF5 part of a MATLAB file."""


def is_hdf5(stream: FileIO) -> bool:
    """Return whether an open file begins as HDF5 does, alone or in a MATLAB file."""
    heads = []
    for at in (_USER_BLOCK, 0):
        stream.seek(at)
        heads.append(stream.read(len(SIGNATURE)))
    stream.seek(0)
    return SIGNATURE in heads


@contextmanager
def hdf5_to_write(path: Path) -> Iterator["h5py.File"]:
    """Yield a new HDF5 file; see `atomic_path`."""
    import h5py

    with atomic_path(path) as temporary, _Output(temporary, "w+b") as output:
        with h5py.File(output, "w") as file:
            yield file
        if output.problem is not None:
            raise output.problem


class _Output(FileIO):
    """A file that keeps the first error of the drive, and lets HDF5 go on to its end.

    HDF5 cannot close a file whose writing failed, and ends the process (SIGSEGV).
    """

    problem: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all bytes, or keep the error."""
        left = memoryview(data).cast("B")
        try:
            while len(left):
                left = left[super().write(left) :]
        except OSError as error:
            self.problem = self.problem or error
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        """Change the length, or keep the error."""
        try:
            return super().truncate(size)
        except OSError as error:
            self.problem = self.problem or error
            return size or 0

    def readinto(self, into: Any) -> int:
        """Read bytes; those that could not be written are 0."""
        view = memoryview(into).cast("B")
        n_bytes = super().readinto(view)
        view[n_bytes:] = bytes(len(view) - n_bytes)
        return len(view)


class _Pieces(FileIO):
    """A file with large holes, which gives HDF5 only pieces of a size that it can need.

    HDF5 takes twice the memory that a heap or a head states before it looks at it. Where
    the drive has the bytes, they bound that; gigabytes of holes cost nothing.
    """

    most = _LONG_PIECE

    def readinto(self, into: Any) -> int:
        """Read bytes; raise OSError if there are too many."""
        view, at = memoryview(into).cast("B"), 0
        if len(view) > self.most:
            raise OSError(f"a part states {len(view):,} bytes; at most {self.most:,} are read")
        while at < len(view) and (n_read := super().readinto(view[at:])):
            at += n_read
        return at

    def __del__(self) -> None:
        # HDF5 lets go of it when it closes the file, which nobody may do by name.
        self.close()


class Hdf5:
    """One HDF5 file, opened at the first read; only its source is pickled.

    Links to other files are never followed: what lies behind one is missing, and a
    name that leads through one is refused.

    Parameters
    ----------
    source
        Source of the file's bytes.

    Attributes
    ----------
    outside
        Full name of each link to another file -> that file, after `objects`.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.outside: dict[str, str] = {}
        self._open()

    def _open(self) -> None:
        self._file: h5py.File | None = None
        self._lock = Lock()
        self._budget = Budget(self.path)
        self._stream: Any = None
        self._chunks = Chunks(self.path)
        self._charged: set[str] = set()
        self._texts_budget = Budget(self.path, most=byte_source.MAX_TEXT_BYTES)
        self._charged_texts: set[object] = set()

    # Locks and open files cannot be pickled; worker processes open the file again.
    def __getstate__(self) -> dict[str, Any]:
        return {"source": self.source, "outside": self.outside}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    @property
    def path(self) -> Path:
        """Path of the file, for messages."""
        return self.source.path

    @property
    def root(self) -> "h5py.File":
        """The open file.

        Raises
        ------
        SessionFormatError
            If the file cannot be read, is not HDF5, or h5py is not installed.
        """
        # Several threads can ask first; the file must be opened only once.
        with self._lock:
            if self._file is None:
                self._file, self._stream = _opened(self.source.open(), self.path)
            return self._file

    def _read_at(self, place: int, n_bytes: int) -> bytes:
        """Return stored bytes of the open file."""
        from h5py._objects import phil

        if self._stream is None:
            return os.pread(self.root.id.get_vfd_handle(), n_bytes, place)
        with phil:  # h5py reads from the same stream
            self._stream.seek(place)
            return bytes(self._stream.read(n_bytes))

    def objects(self) -> Iterator["h5py.Group | h5py.Dataset"]:
        """Yield every group and dataset of this file once, except cached schemas.

        Raises
        ------
        SessionFormatError
            If there are far too many objects.
        """
        import h5py

        # Hard links can form cycles; an object's address in the file identifies it.
        visited: set[int] = set()
        waiting: deque[tuple[Any, int, bool]] = deque([(self.root, 0, True)])
        while waiting:
            group, depth, is_data = waiting.popleft()
            for name, item, address in self._members(group):
                if address in visited:
                    continue
                visited.add(address)
                # Below the schemas, objects are still visited (they count towards the
                # limit) but not yielded.
                is_yielded = is_data and (depth > 0 or name != _SCHEMAS)
                if is_yielded:
                    yield item
                if isinstance(item, h5py.Group):
                    waiting.append((item, depth + 1, is_yielded))
                check_most(self.path, len(visited), _MAX_OBJECTS, "objects", is_all=False)
                check_most(self.path, depth, _DEEPEST, "levels of groups", is_all=False)

    def _members(self, group: Any) -> list[tuple[str, Any, int]]:
        """Return name, object and address of the hard links of a group."""
        import h5py

        members = []
        with self.typed_errors(group.name):
            for name in sorted(group):
                target = _target(group, name)
                if target is None:
                    item = group[name]
                    members.append((name, item, h5py.h5o.get_info(item.id).addr))
                # The target of a soft link is visited at its own path.
                elif not isinstance(target, str):
                    self.outside[f"{group.name.rstrip('/')}/{name}"] = target[0]
        return members

    def find(self, name: str, within: Any = None, *, is_empty_kept: bool = False) -> Any:
        """Return the object of a name, from the root or a group; None if missing.

        Parameters
        ----------
        is_empty_kept
            Whether a dataset of no shape (a null dataspace), which programs store in place
            of nothing, is returned; otherwise it counts as missing.

        Raises
        ------
        SessionFormatError
            If the object cannot be read, or it or its values lie in other files.
        """
        import h5py

        with self.typed_errors(name):
            item = self._resolved(name, self.root if within is None else within)
            # Before the shape is read: that of a virtual dataset may open other files.
            if isinstance(item, h5py.Dataset) and (item.is_virtual or item.external):
                raise self._leads_out(item.name, "another file")
            is_empty = isinstance(item, h5py.Dataset) and item.shape is None
        return None if is_empty and not is_empty_kept else item

    def _resolved(self, name: str, within: Any) -> Any:
        """Return the object of a name, None if missing.

        Each part of the name is looked up alone: HDF5 would open the other file of an
        external link, also behind a soft link.
        """
        import h5py

        item = self.root if name.startswith("/") else within
        parts, n_links = name.split("/")[::-1], 0
        while parts:
            part = parts.pop()
            if part in ("", "."):
                continue
            if not isinstance(item, h5py.Group) or not item.id.links.exists(_encoded(part)):
                return None
            target = _target(item, part)
            if target is None:
                item = item[part]
            elif isinstance(target, str):
                n_links += 1
                if n_links > _MAX_LINKS:
                    raise ValueError("too many links")
                item = self.root if target.startswith("/") else item
                parts += target.split("/")[::-1]
            else:
                raise self._leads_out(f"{item.name.rstrip('/')}/{part}", target[0])
        return item

    def dataset(self, name: str) -> "h5py.Dataset":
        """Return a dataset by its full name, after checks of its storage.

        Raises
        ------
        SessionFormatError
            If there is no such dataset, its values lie outside this file, its chunks
            are too large, or they are compressed with a filter that is not installed.
        """
        import h5py

        self.source.check()
        item = self.find(name)
        if not isinstance(item, h5py.Dataset):
            raise bad_file(self.path, "missing_data", f"has no dataset {name}", WRITTEN)
        self._check_storage(name, item)
        return item

    def referenced(self, item: "h5py.Dataset", name: str) -> "h5py.Dataset":
        """Return a dataset that a reference leads to, after the checks of `dataset`.

        `name` is for messages: HDF5 searches the whole file for that of the dataset.
        """
        with self.typed_errors(name):
            if item.is_virtual or item.external:
                raise self._leads_out(name, "another file")
        self._check_storage(name, item)
        return item

    def _check_storage(self, name: str, item: "h5py.Dataset") -> None:
        """Raise if the chunks of a dataset are too large, or no filter can decompress them."""
        with self.typed_errors(name):
            if item.dtype.subdtype is not None:
                raise ValueError(f"each of its values is an array, {str(item.dtype)[:80]}")
            _check_parts(item.dtype)
            self._chunks.check(name, item)

    def table(self, name: str, most_bytes: int = byte_source.MAX_TABLE_BYTES) -> np.ndarray:
        """Return all values of a small dataset.

        Raises
        ------
        SessionFormatError
            If the dataset is missing, has more than `most_bytes` (at 8 bytes per
            number), or cannot be read.
        """
        dataset = self.dataset(name)
        if _count(dataset.shape) * max(8, dataset.dtype.itemsize) > most_bytes:
            raise self._too_large(name, f"is {dataset.shape} {dataset.dtype}")
        if name not in self._charged:
            self._charged.add(name)
            self._budget.spend(name, _count(dataset.shape) * dataset.dtype.itemsize)
        return self.read(dataset, ())

    def read(self, dataset: "h5py.Dataset", part: Any, name: str | None = None) -> np.ndarray:
        """Return a part of a dataset; all errors become `SessionFormatError`.

        `name` is for messages: HDF5 searches the whole file for that of the dataset.
        """
        try:
            if isinstance(self._stream, _Pieces):
                needed = self._chunks.longest_piece(dataset, part)
                self._stream.most = max(self._stream.most, needed)
            # The type last: h5py makes it anew at each call.
            if isinstance(part, tuple) and not part and has_lengths(dataset.dtype):
                return self._texts(dataset)
            return self._chunks.read(dataset, part)
        except Exception:
            with self.typed_errors(name or dataset):
                # A changed or missing file is the more useful message.
                self.source.check(now=True)
                raise

    def _texts(self, dataset: "h5py.Dataset") -> np.ndarray:
        """Return texts of any length, equal ones as one object."""
        name, count = str(dataset.name), _count(dataset.shape)
        # Those of a table that is read again are charged once.
        is_new = dataset.name not in self._charged_texts
        self._charged_texts.add(dataset.name)
        if is_new:
            self._texts_budget.spend(name, count * _TEXT_HEAD)
        n_bytes = self._checked(dataset.dtype, self._chunks.lengths(dataset, self._read_at), name)
        # Any number of rows may refer to one text of the file.
        if is_new:
            self._texts_budget.spend(name, int(n_bytes.sum()))
        if not dataset.shape:
            return np.asarray(dataset[()])
        texts = np.empty(dataset.shape, object)
        known: dict[str | bytes, str | bytes] = {}
        ends = n_bytes.reshape(len(texts), -1).sum(1).cumsum()
        first = 0
        while first < len(texts):
            most = _TEXT_BYTES + (ends[first - 1] if first else 0)
            stop = min(int(np.searchsorted(ends, most, "right")), first + _MOST_TEXTS)
            stop = max(first + 1, stop)
            block = self._chunks.read(dataset, slice(first, stop))
            flat = texts[first:stop].reshape(-1)
            for place, text in enumerate(block.reshape(-1)):
                is_text = isinstance(text, str | bytes)
                flat[place] = known.setdefault(text, text) if is_text else text
            first = stop
        return texts

    def _checked(self, dtype: np.dtype[Any], lengths: np.ndarray, name: str) -> np.ndarray:
        """Return the bytes of values of any length; raise if one is too long."""
        import h5py

        base = h5py.check_vlen_dtype(dtype)
        size = 1 if h5py.check_string_dtype(dtype) or base is None else np.dtype(base).itemsize
        n_bytes = np.atleast_1d(lengths.astype(np.int64) * size)
        if (longest := n_bytes.max(initial=0)) > byte_source.LONGEST_TEXT:
            raise self._too_large(name, f"has a text of {longest:,} bytes")
        return n_bytes

    def attribute(self, item: Any, name: str, otherwise: Any = None) -> Any:
        """Return an attribute of a group or dataset, or `otherwise` if missing."""
        import h5py

        with self.typed_errors(item, f" ({name})"):
            if not h5py.h5a.exists(item.id, _encoded(name)):
                return otherwise
            # Check the shape before the values are read into memory.
            stored = h5py.h5a.open(item.id, _encoded(name))
            dtype, n_values = stored.dtype, _count(stored.shape)
            # A damaged type has any size, which is taken before the values are looked at.
            if n_values > _MAX_VALUES or n_values * dtype.itemsize > SCALAR_BYTES:
                found = f"is {stored.shape} {str(dtype)[:80]}"
                raise self._too_large(f"{item.name} ({name})", found)
            _check_parts(dtype)
            if has_lengths(dtype):
                problem = "beside attributes that are not read, or has two of that name"
                try:
                    values = attribute_values(item, _encoded(name), self._read_at)
                except TooManyAttributes:
                    values, problem = None, "among more attributes than are read, about 14,000"
                if values is None:
                    problem = f"has its {name[:80]} {problem}"
                    hint = "write it again for older versions: h5py.File(…, libver='earliest')"
                    raise bad_file(self.path, "unreadable", problem, hint, item.name)
                lengths = np.frombuffer(values, VALUE, n_values)["length"]
                n_bytes = self._checked(dtype, lengths, f"{item.name} ({name})")
                if n_bytes.sum() > SCALAR_BYTES:
                    found = f"has texts of {n_bytes.sum():,} bytes"
                    raise self._too_large(f"{item.name} ({name})", found)
            return item.attrs[name]

    @contextmanager
    def typed_errors(self, name: object, part: str = "") -> Iterator[None]:
        """Turn all errors of reading a part of the file into `SessionFormatError`.

        `name` may be an object, whose name is looked up for a message only.
        """
        try:
            yield
        except SessionFormatError:
            raise
        except Exception as error:  # a damaged file fails in many ways
            name = getattr(name, "name", name)
            problem = f"cannot be read: {str(error)[:200]}"
            raise bad_file(self.path, "unreadable", problem, WHOLE, f"{name}{part}") from error

    def _too_large(self, name: object, problem: str) -> SessionFormatError:
        problem += ", too many values for what it should be"
        return bad_file(self.path, "too_large", problem, part=str(name))

    def _leads_out(self, name: object, target: object) -> SessionFormatError:
        problem = f"lies in {target}, outside the file; refused"
        return bad_file(self.path, "outside", problem, OWN_FILE, str(name))


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _target(group: Any, name: str) -> str | tuple[str, str] | None:
    """Return what a link of a group points to, without opening it.

    None for an object of the group, a path for a soft link, file and path for another
    link.
    """
    import h5py

    kind = group.id.links.get_info(_encoded(name)).type
    if kind == h5py.h5l.TYPE_HARD:
        return None
    value = group.id.links.get_val(_encoded(name))
    if kind == h5py.h5l.TYPE_SOFT:
        return str(value.decode("utf-8", "surrogateescape"))
    file, path = value if isinstance(value, tuple) else (b"another file", b"")
    return file.decode("utf-8", "replace"), path.decode("utf-8", "replace")


def _check_parts(dtype: np.dtype[Any]) -> None:
    """Raise ValueError for records and lists whose parts have any length themselves."""
    import h5py

    base = h5py.check_vlen_dtype(dtype)
    parts = [kind for kind, *_ in (dtype.fields or {}).values()]
    parts += [] if base is None or h5py.check_string_dtype(dtype) else [np.dtype(base)]
    for part in parts:
        if part.subdtype is not None or part.names or has_lengths(part):
            raise ValueError(f"its values have parts that are not read, {str(dtype)[:80]}")


def _count(shape: tuple[int, ...] | None) -> int:
    """Return the number of values of a shape; 1 for a scalar."""
    return math.prod(shape or (1,))


def _opened(stream: Any, path: Path) -> "tuple[h5py.File, Any]":
    """Return the file, and the stream from which h5py reads; None if it reads by itself."""
    try:
        import h5py
    except ImportError as error:
        raise missing_package(path, "an HDF5 file", "h5py", "nwb") from error
    try:
        # By the number of the open file: h5py reads slowly from an object of Python, and
        # another file could have the name by now. Windows has no such place, and holes
        # need the look at sizes.
        file = None
        if isinstance(stream, FileIO):
            with stream:
                place, info = Path(f"/dev/fd/{stream.fileno()}"), os.fstat(stream.fileno())
                if place.exists() and info.st_size - 512 * info.st_blocks <= _LONG_PIECE:
                    file = h5py.File(place, "r")
                stream = None if file else _Pieces(os.dup(stream.fileno()))
        file = file or h5py.File(stream, "r")
    except Exception as error:
        # The library knows the length from the beginning of the file.
        sizes = re.search(r"truncated file: eof = (\d+).*stored_eof = (\d+)", str(error))
        if sizes:
            ends = f"after {int(sizes[1]):,} of {int(sizes[2]):,} bytes"
            problem, hint = f"is truncated: it is cut off {ends}", "copy or download it again"
            raise bad_file(path, "not_hdf5", problem, hint) from error
        problem = f"is not a valid HDF5 file: {str(error)[:200]}"
        hint = "is it whole, and not open for writing elsewhere?"
        raise bad_file(path, "not_hdf5", problem, hint) from error
    _OPEN[id(file)] = file
    return file, stream


# Weak references: the list must not keep files open that are no longer used.
_OPEN: "WeakValueDictionary[int, h5py.File]" = WeakValueDictionary()


@atexit.register
def _close_all() -> None:
    """Close all files at exit.

    HDF5 calls the Python stream when it closes a file. After the interpreter has shut
    down, this call crashes.
    """
    for file in list(_OPEN.values()):
        file.close()


class Hdf5Rows:
    """Samples of one dataset, as float32, as stored floats, or wider ones as float64; see `Rows`.

    Parameters
    ----------
    file, name
        File and full name of the dataset, (T, C) or (T,).
    columns
        int64 (c,) columns that are read, or None for all.
    gain, offset
        Sample = stored value · gain + offset.
    is_transposed
        Whether the dataset is stored as (C, T).
    """

    def __init__(
        self,
        file: "Hdf5 | ZarrFile",
        name: str,
        columns: np.ndarray | None = None,
        gain: float = 1.0,
        offset: float = 0.0,
        *,
        is_transposed: bool = False,
    ) -> None:
        dataset = file.dataset(name)
        self.path = file.path
        self._file, self._name, self._columns = file, name, columns
        self._gain, self._offset = gain, offset
        self._is_transposed = is_transposed
        self._dataset: Any = None
        stored = dataset.dtype
        # Wider numbers than float64 fit into no store.
        is_wide = stored.kind == "f" and stored.itemsize > 8
        is_float = stored.kind == "f" and not is_wide
        self._is_plain = is_float and gain == 1.0 and offset == 0.0
        made = np.dtype(np.float64 if is_wide else np.float32)
        self.dtype: np.dtype[Any] = stored if self._is_plain else made
        shape = dataset.shape[::-1] if is_transposed else dataset.shape
        n_columns = int(shape[1]) if len(shape) == 2 else 1
        n_columns = n_columns if columns is None else len(columns)
        self.shape: tuple[int, ...] = (int(shape[0]), n_columns)

    # An open h5py dataset cannot be pickled.
    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_dataset": None}

    def check(self) -> None:
        """Raise `SessionFormatError` if the file is missing or has changed."""
        self._file.source.check()

    def read(self, first: int, stop: int) -> np.ndarray:
        """Return rows `first` to `stop` (exclusive)."""
        self.check()
        if self._dataset is None:
            self._dataset = self._file.dataset(self._name)
        part = slice(first, stop)
        if self._is_transposed:
            stored = self._file.read(self._dataset, (slice(None), part)).T
        else:
            stored = self._file.read(self._dataset, part)
        return self._values(stored.reshape(len(stored), -1))

    def pick(self, rows: np.ndarray, columns: slice) -> np.ndarray:
        """Return scattered rows (ascending), read in contiguous runs."""
        row_bytes = max(1, self.shape[1] * 4)  # as float32
        height, gap = max(1, _SLAB // row_bytes), max(1, _HOLE // row_bytes)
        runs = runs_of(rows, height, gap)
        return np.concatenate([self.read(a, b)[inner, columns] for a, b, inner in runs])

    def _values(self, stored: np.ndarray) -> np.ndarray:
        if self._columns is not None:
            stored = stored[:, self._columns]
        if self._is_plain:
            return stored
        # In float64, because a large offset would cost precision in float32.
        values = stored.astype(np.float64) * self._gain + self._offset
        return values.astype(self.dtype)
