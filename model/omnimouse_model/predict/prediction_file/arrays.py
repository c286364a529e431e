"""The arrays of a file of predictions, in zarr or NWB, behind one interface.

Files come from other programs and other machines: only numbers are read, only with
codecs that cannot run code, and no array may claim more memory than a limit.
"""

import os
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from omnimouse_model.errors import PredictionsFileError, SessionFormatError
from omnimouse_model.predict.prediction_file.metadata import FORMAT
from omnimouse_model.storage.arrays.hdf5 import SIGNATURE, Hdf5, Hdf5Rows
from omnimouse_model.storage.arrays.zarr_arrays import ZarrGroup
from omnimouse_model.storage.byte_source import LocalFile
from omnimouse_model.storage.files import begins_with, read_bytes
from omnimouse_model.storage.fingerprint import file_fingerprint
from omnimouse_model.storage.trees import MAX_JSON_BYTES, decode_json, read_json_mapping

NWB_MODULE = "processing/predictions"
NWB_METADATA = "scratch/omnimouse_predictions"
NWB_NAMES = {
    "responses": f"{NWB_MODULE}/responses/data",
    "times_s": f"{NWB_MODULE}/responses/timestamps",
    "valid": f"{NWB_MODULE}/valid/data",
    "window": f"{NWB_MODULE}/window/data",
    "neurons": f"{NWB_MODULE}/neurons/neuron",
    "unit_ids": f"{NWB_MODULE}/neurons/unit_id",
    "positions_um": f"{NWB_MODULE}/neurons/position_um",
    "scale": f"{NWB_MODULE}/neurons/scale",
    "behavior": f"{NWB_MODULE}/behavior/data",
    "behavior_times_s": f"{NWB_MODULE}/behavior/timestamps",
    "behavior_window": f"{NWB_MODULE}/behavior_window/data",
    "window_starts_s": "intervals/prediction_windows/start_time",
}
"""Place of each array in an NWB file; the names of the arrays in a zarr group."""


@runtime_checkable
class StoredRows(Protocol):
    """An array that is read by ranges of rows."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def read(self, first: int, stop: int) -> np.ndarray:
        """Return rows `first` to `stop` (exclusive)."""
        ...


@runtime_checkable
class StoredArrays(Protocol):
    """Arrays and metadata of an open file of predictions, in zarr or NWB."""

    path: Path
    metadata: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """Hash that changes with the contents."""
        ...

    def has(self, name: str) -> bool:
        """Whether the file has an array."""
        ...

    def rows(self, name: str) -> StoredRows:
        """Return an array that is read by ranges of rows."""
        ...

    def table(self, name: str) -> np.ndarray:
        """Return a small array."""
        ...


def open_arrays(path: Path) -> StoredArrays:
    """Open a folder as zarr, a file as NWB.

    Raises
    ------
    PredictionsFileError
        There is no such file, or it is neither.
    """
    if not path.exists():
        raise PredictionsFileError("missing", f"{path} does not exist.")
    try:
        return _ZarrArrays(path) if path.is_dir() else _NwbArrays(path)
    except SessionFormatError as error:
        raise PredictionsFileError("foreign", f"{path}: {error}") from error


def has_predictions(path: Path) -> bool:
    """Whether a path is a file of predictions; reads only names and small text."""
    try:
        if path.is_dir():
            if path.suffix != ".zarr" or not (path / "zarr.json").is_file():
                return False
            attributes = read_json_mapping(path / "zarr.json").get("attributes")
            return isinstance(attributes, dict) and attributes.get("format") == FORMAT
        if path.suffix != ".nwb" or not begins_with(path, SIGNATURE):
            return False
        return Hdf5(LocalFile(path)).find(NWB_METADATA) is not None
    except (OSError, SessionFormatError):
        return False


class _ZarrArrays:
    """A zarr group of format 3."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._group = ZarrGroup(path)
        self.metadata: dict[str, Any] = self._group.attributes

    @property
    def fingerprint(self) -> str:
        """Hash of the metadata, and of the files if the metadata lack their hash."""
        digest = blake2b(read_bytes(self.path / "zarr.json", MAX_JSON_BYTES), digest_size=12)
        if "content_hash" not in self.metadata:
            for path in sorted(self.path.rglob("*")):
                info = path.stat()
                fields = f"{path.name}\0{info.st_size}\0{info.st_mtime_ns}\n"
                digest.update(os.fsencode(fields))
        return digest.hexdigest()

    def has(self, name: str) -> bool:
        return self._group.has(name)

    def rows(self, name: str) -> StoredRows:
        return _ZarrRows(self._group, name)

    def table(self, name: str) -> np.ndarray:
        rows = _ZarrRows(self._group, name)
        return rows.read(0, rows.shape[0])


class _ZarrRows:
    """One array of numbers of a zarr group."""

    def __init__(self, group: ZarrGroup, name: str) -> None:
        self._path, self._name = group.path, name
        try:
            self._array = group.array(name)
        except SessionFormatError as error:
            raise self._wrong(str(error)) from error
        self.shape, self.dtype = self._array.shape, self._array.dtype
        if self.dtype.kind not in "iufb" or not self.shape:
            raise self._wrong(f"{self.shape} {self.dtype}; expected an array of numbers")

    def read(self, first: int, stop: int) -> np.ndarray:
        try:
            return self._array.read(first, stop)
        except SessionFormatError as error:
            raise self._wrong(str(error)) from error

    def _wrong(self, problem: str) -> PredictionsFileError:
        return PredictionsFileError("array", f"{self._path}: array {self._name!r}: {problem}")


class _NwbArrays:
    """Arrays and metadata of predictions in an NWB file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = Hdf5(LocalFile(path))
        for _ in self._file.objects():  # refuses links to other files
            pass
        if self._file.find(NWB_METADATA) is None:
            raise PredictionsFileError(
                "foreign", f"{path} has no {NWB_METADATA}: it holds no predictions."
            )
        text = self._file.table(NWB_METADATA).item()
        try:
            metadata = decode_json(text, f"{path.name}: {NWB_METADATA}", nan=True)
        except (SessionFormatError, TypeError) as error:
            raise PredictionsFileError("field", str(error)) from error
        self.metadata: dict[str, Any] = metadata if isinstance(metadata, dict) else {}

    @property
    def fingerprint(self) -> str:
        """Hash of the arrays if the metadata have it, else of the whole file."""
        content = self.metadata.get("content_hash")
        return content if isinstance(content, str) else file_fingerprint(self.path)

    def has(self, name: str) -> bool:
        return self._file.find(NWB_NAMES[name]) is not None

    def rows(self, name: str) -> StoredRows:
        if not self.has(name):
            raise PredictionsFileError("array", f"{self.path} has no dataset {NWB_NAMES[name]!r}.")
        return Hdf5Rows(self._file, NWB_NAMES[name])

    def table(self, name: str) -> np.ndarray:
        self.rows(name)
        return self._file.table(NWB_NAMES[name])
