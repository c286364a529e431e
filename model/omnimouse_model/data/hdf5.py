"""Reading HDF5 files lazily and safely: nothing outside the file, nothing unbounded.

h5py is imported when such a file is opened, never before.
"""

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from omnimouse_model.data.source import Source
from omnimouse_model.errors import SessionFormatError

if TYPE_CHECKING:
    import h5py

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MAX_TABLE_BYTES = 512 * 2**20
_MAX_CHUNK_BYTES = 512 * 2**20
_SLAB = 2**24
"""Bytes that are read at once, at most."""
_HOLE = 2**18
"""Bytes between wanted rows that are left out rather than read."""
_MOST_OBJECTS = 200_000
_DEEPEST = 24


class Hdf5:
    """One HDF5 file, opened when first read; only its place is pickled.

    Parameters
    ----------
    source
        Where its bytes are.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self._file: h5py.File | None = None
        self._stream: Any = None
        self._lock = Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"source": self.source}

    def __setstate__(self, state: dict[str, Any]) -> None:
        Hdf5.__init__(self, state["source"])

    @property
    def path(self) -> Path:
        """The file, for messages."""
        return self.source.path

    @property
    def root(self) -> "h5py.File":
        """The open file.

        Raises
        ------
        SessionFormatError
            It cannot be read, is no HDF5, or h5py is missing.
        """
        with self._lock:
            if self._file is None:
                self._stream = self.source.open()
                self._file = _opened(self._stream, self.path)
            return self._file

    def dataset(self, name: str) -> "h5py.Dataset":
        """A dataset by its full name, checked: its values are in this file.

        Raises
        ------
        SessionFormatError
            There is none, or its values are elsewhere or in too large pieces.
        """
        import h5py

        self.source.check()
        try:
            found = self.root.get(name)
        except Exception as error:
            raise self.broken(name, error) from error
        if not isinstance(found, h5py.Dataset):
            raise SessionFormatError(
                self.path,
                "missing_data",
                f"{self.path.name} has no dataset {name}",
                "was the file written to its end?",
            )
        self._check_place(found)
        return found

    def table(self, name: str) -> np.ndarray:
        """All values of a small dataset.

        Raises
        ------
        SessionFormatError
            It is missing, too large, or cannot be read.
        """
        dataset = self.dataset(name)
        size = (
            int(np.prod(dataset.shape or (1,), dtype=object)) * dataset.dtype.itemsize
        )
        if size > MAX_TABLE_BYTES:
            raise SessionFormatError(
                self.path,
                "too_large",
                f"{self.path.name}: {name} is {dataset.shape}, too many values for "
                "what it should be",
            )
        return self.read(dataset, ())

    def read(self, dataset: "h5py.Dataset", part: Any) -> np.ndarray:
        """A part of a dataset, errors of the file told as such."""
        try:
            return np.asarray(dataset[part])
        except Exception as error:  # a damaged file fails in many ways
            raise self.broken(dataset.name, error) from error

    def broken(self, name: object, error: Exception) -> SessionFormatError:
        """The error for a part of the file that cannot be read."""
        return SessionFormatError(
            self.path,
            "unreadable",
            f"{self.path.name}: {name} cannot be read: {str(error)[:200]}",
            "is the file whole? copy or fetch it again",
        )

    def objects(self) -> Iterator["h5py.Group | h5py.Dataset"]:
        """Every group and dataset, each once, cached specifications left out.

        Raises
        ------
        SessionFormatError
            There are links that lead out of the file, or far too many objects.
        """
        import h5py

        seen: set[int] = set()
        waiting: deque[tuple[Any, int]] = deque([(self.root, 0)])
        while waiting:
            group, depth = waiting.popleft()
            try:
                names = sorted(group)
            except Exception as error:
                raise self.broken(group.name, error) from error
            for name in names:
                found = self._linked(group, name)
                if found is None or name == "specifications":
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
                yield found
                if isinstance(found, h5py.Group) and depth < _DEEPEST:
                    waiting.append((found, depth + 1))

    def _address(self, item: Any) -> int:
        import h5py

        try:
            return int(h5py.h5o.get_info(item.id).addr)
        except Exception as error:
            raise self.broken(item.name, error) from error

    def attribute(self, item: Any, name: str, otherwise: Any = None) -> Any:
        """An attribute of a group or dataset."""
        try:
            return item.attrs.get(name, otherwise)
        except Exception as error:
            raise self.broken(f"{item.name} ({name})", error) from error

    def _linked(self, group: Any, name: str) -> Any:
        import h5py

        try:
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise self._leads_out(f"{group.name}/{name}", link.filename)
            if isinstance(link, h5py.SoftLink):
                return None  # what it names is met where it is
            return group.get(name)
        except SessionFormatError:
            raise
        except Exception as error:
            raise self.broken(f"{group.name}/{name}", error) from error

    def _check_place(self, dataset: "h5py.Dataset") -> None:
        """Values must be in this file, and in pieces that fit into memory."""
        try:
            outside = dataset.external or dataset.is_virtual
            chunks = dataset.chunks
        except Exception as error:
            raise self.broken(dataset.name, error) from error
        if outside:
            raise self._leads_out(dataset.name, "another file")
        if Path(dataset.file.filename) != Path(self.root.filename):
            raise self._leads_out(dataset.name, dataset.file.filename)
        piece = int(np.prod(chunks or (0,), dtype=object)) * dataset.dtype.itemsize
        if piece > _MAX_CHUNK_BYTES:
            raise SessionFormatError(
                self.path,
                "too_large",
                f"{self.path.name}: {dataset.name} is stored in pieces of {piece:,} "
                "bytes",
                "write it again in smaller chunks",
            )

    def _leads_out(self, name: object, where: object) -> SessionFormatError:
        return SessionFormatError(
            self.path,
            "outside",
            f"{self.path.name}: {name} lies in {where}, outside the file; refused",
            "a session may only name what is in its own file",
        )


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
        return h5py.File(stream, "r")
    except Exception as error:
        raise SessionFormatError(
            path,
            "not_hdf5",
            f"{path.name} is not a sound HDF5 file: {str(error)[:200]}",
            "is it whole, and not open for writing elsewhere?",
        ) from error


class Hdf5Rows:
    """Samples of one dataset as float32 or as stored; see `Rows`.

    Parameters
    ----------
    file, name
        Which dataset, (T, C) or (T,).
    columns
        int64 (c,) columns that are read, or None for all.
    gain, offset
        Stored values times the gain plus the offset are the samples.
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

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_known": None}

    def check(self) -> None:
        """Raise where the file is gone or changed."""
        self._file.source.check()

    def read(self, first: int, stop: int) -> np.ndarray:
        """Rows `first` to `stop`."""
        self.check()
        if self._known is None:
            self._known = self._file.dataset(self._name)
        stored = self._file.read(self._known, slice(first, stop))
        return self._values(stored.reshape(len(stored), -1))

    def pick(self, rows: np.ndarray, columns: slice) -> np.ndarray:
        """Rows here and there, ascending: read in runs that hold them."""
        parts = [np.zeros((0, self.shape[1]), self.dtype)[:, columns]]
        wide = max(1, self.shape[1] * 4)
        ends = np.diff(rows // max(1, _SLAB // wide)) > 0
        ends |= np.diff(rows) > max(1, _HOLE // wide)
        for block in np.split(rows, np.flatnonzero(ends) + 1):
            if len(block):
                slab = self.read(int(block[0]), int(block[-1]) + 1)
                parts.append(slab[block - block[0], columns])
        return np.concatenate(parts)

    def _values(self, stored: np.ndarray) -> np.ndarray:
        if self._columns is not None:
            stored = stored[:, self._columns]
        if self._is_plain:
            return stored
        values = stored.astype(np.float64) * self._gain + self._offset
        return values.astype(np.float32)
