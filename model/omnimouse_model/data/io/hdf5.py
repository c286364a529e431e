"""Lazy reading of untrusted HDF5 files: no links to other files, limited sizes.

h5py is imported only when an HDF5 file is opened.
"""

import atexit
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np

from omnimouse_model.data.io.byte_source import Source
from omnimouse_model.data.io.row_source import pick_in_blocks
from omnimouse_model.errors import SessionFormatError

if TYPE_CHECKING:
    import h5py

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MAX_TABLE_BYTES = 512 * 2**20
_MAX_CHUNK_BYTES = 512 * 2**20
_SLAB = 2**24
"""Largest read of scattered rows, in bytes."""
_HOLE = 2**18
"""A gap between wanted rows that is larger than this (bytes) is not read."""
# Limits that stop damaged or hostile files; real recordings stay far below them.
_MOST_OBJECTS = 200_000
_DEEPEST = 24
_MOST_STEPS = 1000
_MOST_VALUES = 1024
_MOST_SCALAR_BYTES = 2**20
_APART = "specifications"
"""Group in which NWB caches its schemas; it is not part of the recording."""


class Hdf5:
    """One HDF5 file, opened at the first read; only its source is pickled.

    Parameters
    ----------
    source
        Source of the file's bytes.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self._file: h5py.File | None = None
        self._stream: Any = None
        self._lock = Lock()

    # Locks and open files cannot be pickled; worker processes open the file again.
    def __getstate__(self) -> dict[str, Any]:
        return {"source": self.source}

    def __setstate__(self, state: dict[str, Any]) -> None:
        Hdf5.__init__(self, state["source"])

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
                self._stream = self.source.open()
                self._file = _opened(self._stream, self.path)
            return self._file

    def dataset(self, name: str) -> "h5py.Dataset":
        """Return a dataset by its full name, after checks of its storage.

        Raises
        ------
        SessionFormatError
            If there is no such dataset, its values lie outside this file, or its
            chunks are too large.
        """
        import h5py

        self.source.check()
        found = self.find(name)
        if not isinstance(found, h5py.Dataset):
            raise SessionFormatError(
                self.path,
                "missing_data",
                f"{self.path.name} has no dataset {name}",
                "was the file written to its end?",
            )
        self._check_chunks(found)
        return found

    def find(self, name: str, within: Any = None) -> Any:
        """Return the object of a name, from the root or a group; None if missing.

        HDF5 itself follows links into any file, so each link of the path is checked
        before it is followed.

        Raises
        ------
        SessionFormatError
            If the name leads out of the file, or its links form a cycle.
        """
        import h5py

        at = self.root if within is None or name.startswith("/") else within
        waiting = deque(_steps(name))
        try:
            for _ in range(_MOST_STEPS):
                if not waiting:
                    return at
                if not isinstance(at, h5py.Group):
                    return None
                step = waiting.popleft()
                target = self._target(at, step)
                if target is None:
                    return None
                # A soft link: its path replaces this step, and the remaining steps
                # follow after it.
                if isinstance(target, str):
                    at = self.root if target.startswith("/") else at
                    waiting.extendleft(reversed(_steps(target)))
                else:
                    at = target
        except SessionFormatError:
            raise
        except Exception as error:
            raise self.broken(name, error) from error
        raise self.broken(name, RecursionError("its links go round in circles"))

    def table(self, name: str) -> np.ndarray:
        """Return all values of a small dataset.

        Raises
        ------
        SessionFormatError
            If the dataset is missing, too large, or cannot be read.
        """
        dataset = self.dataset(name)
        # dtype=object: Python integers, so that a hostile shape cannot overflow.
        count = int(np.prod(dataset.shape or (1,), dtype=object))
        if count * max(8, dataset.dtype.itemsize) > MAX_TABLE_BYTES:  # as float64
            raise self._too_large(name, f"is {dataset.shape}")
        return self.read(dataset, ())

    def scalar(self, name: str) -> Any:
        """Return the value of a dataset that should hold one value.

        Raises
        ------
        SessionFormatError
            If the dataset is missing, is far too large, or cannot be read.
        """
        dataset = self.dataset(name)
        count = int(np.prod(dataset.shape or (1,), dtype=object))
        too_many = count > _MOST_VALUES
        if too_many or count * dataset.dtype.itemsize > _MOST_SCALAR_BYTES:
            raise self._too_large(name, f"is {dataset.shape} {dataset.dtype}")
        return self.read(dataset, ())

    def read(self, dataset: "h5py.Dataset", part: Any) -> np.ndarray:
        """Return a part of a dataset; all errors become `SessionFormatError`."""
        try:
            return np.asarray(dataset[part])
        except Exception as error:  # a damaged file fails in many ways
            # A changed or missing file is the more useful message.
            self.source.check(now=True)
            raise self.broken(dataset.name, error) from error

    def broken(self, name: object, error: Exception) -> SessionFormatError:
        """Return the error for a part of the file that cannot be read."""
        return SessionFormatError(
            self.path,
            "unreadable",
            f"{self.path.name}: {name} cannot be read: {str(error)[:200]}",
            "is the file whole? copy or fetch it again",
        )

    def objects(self) -> Iterator["h5py.Group | h5py.Dataset"]:
        """Yield every group and dataset once, except cached specifications.

        Raises
        ------
        SessionFormatError
            If a link leads out of the file, or there are far too many objects.
        """
        import h5py

        # Hard links can form cycles; an object's address in the file identifies it.
        seen: set[int] = set()
        waiting: deque[tuple[Any, int, bool]] = deque([(self.root, 0, True)])
        while waiting:
            group, depth, is_told = waiting.popleft()
            try:
                names = sorted(group)
            except Exception as error:
                raise self.broken(group.name, error) from error
            for name in names:
                found = self._linked(group, name)
                if found is None:
                    continue
                address = self._address(found)
                if address in seen:
                    continue
                seen.add(address)
                if len(seen) > _MOST_OBJECTS:
                    raise SessionFormatError(
                        self.path,
                        "too_large",
                        f"{self.path.name} holds more than {_MOST_OBJECTS:,} objects",
                    )
                # Below `specifications`, objects are still visited (their links are
                # checked and they count towards the limit) but not yielded.
                told = is_told and (depth > 0 or name != _APART)
                if told:
                    yield found
                if isinstance(found, h5py.Group) and depth < _DEEPEST:
                    waiting.append((found, depth + 1, told))

    def _address(self, item: Any) -> int:
        import h5py

        try:
            return int(h5py.h5o.get_info(item.id).addr)
        except Exception as error:
            raise self.broken(item.name, error) from error

    def attribute(self, item: Any, name: str, otherwise: Any = None) -> Any:
        """Return an attribute of a group or dataset, or `otherwise` if missing."""
        try:
            if name not in item.attrs:
                return otherwise
            # Check the shape before the values are read into memory.
            shape = item.attrs.get_id(name).shape
            if int(np.prod(shape or (1,), dtype=object)) > _MOST_VALUES:
                raise self._too_large(f"{item.name} ({name})", f"is {shape}")
            return item.attrs[name]
        except SessionFormatError:
            raise
        except Exception as error:
            raise self.broken(f"{item.name} ({name})", error) from error

    def _linked(self, group: Any, name: str) -> Any:
        """Return a part of a group if its link is a hard link, else None."""
        try:
            found = self._target(group, name, anywhere=True)
        except SessionFormatError:
            raise
        except Exception as error:
            raise self.broken(f"{group.name}/{name}", error) from error
        return None if isinstance(found, str) else found  # visited at its own path

    def _target(self, group: Any, name: str, *, anywhere: bool = False) -> Any:
        """Return the target of a link: an object, or the path in a soft link.

        No other file is opened. Datasets whose values lie in other files are refused,
        unless `anywhere` is true (for a walk that reads no values).
        """
        import h5py

        # Link names are bytes in HDF5; surrogateescape keeps invalid UTF-8 intact.
        step = name.encode("utf-8", "surrogateescape")
        links = group.id.links
        if not links.exists(step):
            return None
        kind = links.get_info(step).type
        if kind == h5py.h5l.TYPE_SOFT:
            return links.get_val(step).decode("utf-8", "surrogateescape")
        # External links, and types defined by plugins.
        if kind != h5py.h5l.TYPE_HARD:
            where = links.get_val(step)[0].decode("utf-8", "replace")
            raise self._leads_out(f"{group.name}/{name}", where)
        found = group[step]
        if isinstance(found, h5py.Dataset) and not anywhere:
            self._check_place(found)
        return found

    def _check_place(self, dataset: "h5py.Dataset") -> None:
        """Raise if a dataset's values lie in other files.

        This comes before its shape is read: the shape of a virtual dataset may open
        other files.
        """
        try:
            outside = dataset.is_virtual or dataset.external
        except Exception as error:
            raise self.broken(dataset.name, error) from error
        if outside:
            raise self._leads_out(dataset.name, "another file")

    def _check_chunks(self, dataset: "h5py.Dataset") -> None:
        """Raise if a dataset's chunks are too large for memory.

        HDF5 decompresses a whole chunk even if one value is read.
        """
        try:
            chunks = dataset.chunks
        except Exception as error:
            raise self.broken(dataset.name, error) from error
        # Contiguous data sets have no chunks and are read in parts of any size.
        piece = int(np.prod(chunks or (0,), dtype=object)) * dataset.dtype.itemsize
        if piece > _MAX_CHUNK_BYTES:
            raise SessionFormatError(
                self.path,
                "too_large",
                f"{self.path.name}: {dataset.name} is stored in pieces of {piece:,} "
                "bytes",
                "write it again in smaller chunks",
            )

    def _too_large(self, name: object, found: str) -> SessionFormatError:
        return SessionFormatError(
            self.path,
            "too_large",
            f"{self.path.name}: {name} {found}, too many values for what it should be",
        )

    def _leads_out(self, name: object, where: object) -> SessionFormatError:
        return SessionFormatError(
            self.path,
            "outside",
            f"{self.path.name}: {name} lies in {where}, outside the file; refused",
            "a session may only name what is in its own file",
        )


def _steps(name: str) -> list[str]:
    return [part for part in name.split("/") if part not in ("", ".")]


def _opened(stream: Any, path: Path) -> "h5py.File":
    try:
        import h5py
    except ImportError as error:
        raise SessionFormatError(
            path,
            "missing_package",
            f"{path.name} is an HDF5 file, and h5py is not installed",
            "pip install 'omnimouse-app[nwb]'",
        ) from error
    try:
        file = h5py.File(stream, "r")
    except Exception as error:
        raise SessionFormatError(
            path,
            "not_hdf5",
            f"{path.name} is not a sound HDF5 file: {str(error)[:200]}",
            "is it whole, and not open for writing elsewhere?",
        ) from error
    _OPEN[id(file)] = file
    return file


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
    """Samples of one dataset, as float32 or as stored floats; see `Rows`.

    Parameters
    ----------
    file, name
        File and full name of the dataset, (T, C) or (T,).
    columns
        int64 (c,) columns that are read, or None for all.
    gain, offset
        Sample = stored value · gain + offset.
    """

    def __init__(
        self,
        file: Hdf5,
        name: str,
        columns: np.ndarray | None = None,
        gain: float = 1.0,
        offset: float = 0.0,
    ) -> None:
        dataset = file.dataset(name)
        self.path = file.path
        self._file, self._name, self._columns = file, name, columns
        self._gain, self._offset = gain, offset
        self._known: Any = None
        stored = dataset.dtype
        self._is_plain = gain == 1.0 and offset == 0.0 and stored.kind == "f"
        self.dtype: np.dtype[Any] = stored if self._is_plain else np.dtype(np.float32)
        wide = int(dataset.shape[1]) if len(dataset.shape) == 2 else 1
        count = wide if columns is None else len(columns)
        self.shape: tuple[int, ...] = (int(dataset.shape[0]), count)

    # An open h5py dataset cannot be pickled.
    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_known": None}

    def check(self) -> None:
        """Raise `SessionFormatError` if the file is missing or has changed."""
        self._file.source.check()

    def read(self, first: int, stop: int) -> np.ndarray:
        """Return rows `first` to `stop` (exclusive)."""
        self.check()
        if self._known is None:
            self._known = self._file.dataset(self._name)
        stored = self._file.read(self._known, slice(first, stop))
        return self._values(stored.reshape(len(stored), -1))

    def pick(self, rows: np.ndarray, columns: slice) -> np.ndarray:
        """Return scattered rows (ascending), read in contiguous runs."""
        row_bytes = max(1, self.shape[1] * 4)  # as float32
        height, gap = max(1, _SLAB // row_bytes), max(1, _HOLE // row_bytes)
        return pick_in_blocks(
            lambda first, stop: self.read(first, stop)[:, columns], rows, height, gap
        )

    def _values(self, stored: np.ndarray) -> np.ndarray:
        if self._columns is not None:
            stored = stored[:, self._columns]
        if self._is_plain:
            return stored
        # In float64, because a large offset would cost precision in float32.
        values = stored.astype(np.float64) * self._gain + self._offset
        return values.astype(np.float32)
