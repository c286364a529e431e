"""A file of predictions: metadata, and arrays whose rows are samples of windows."""

import os
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from omnimouse_model.errors import PredictionsFileError, SessionFormatError
from omnimouse_model.predict.prediction_file.metadata import FORMAT, Metadata
from omnimouse_model.storage.arrays.hdf5 import SIGNATURE, Hdf5, Hdf5Rows
from omnimouse_model.storage.arrays.zarr_arrays import ZarrGroup
from omnimouse_model.storage.byte_source import LocalFile
from omnimouse_model.storage.files import begins_with, read_bytes
from omnimouse_model.storage.fingerprint import file_fingerprint
from omnimouse_model.storage.journal import JOURNAL, read_lines
from omnimouse_model.storage.trees import MAX_JSON_BYTES, decode_json, read_json_mapping

# -- the arrays of a file of predictions, in zarr or NWB, behind one interface --------
# Files come from other programs and other machines: only numbers are read, only with
# codecs that cannot run code, and no array may claim more memory than a limit.
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


# -- A file of predictions: metadata, and arrays whose rows are samples of windows ----
PART_SUFFIX = ".part"
_SAME_START_S = 1e-4
"""Two windows whose starts differ by less begin at the same time."""


def unfinished_path(path: Path) -> Path:
    """Return the folder of an unfinished file of predictions."""
    return path.with_name(f"{path.name}{PART_SUFFIX}")


def saved_windows(part: Path) -> tuple[int, int]:
    """Return how many windows of an unfinished file are saved, and how many planned."""
    try:
        values, *notes = read_lines(part / JOURNAL)
        planned = int(values["n_windows"])
        return min(planned, len(notes) * int(values["n_in_batch"])), planned
    except (OSError, ValueError, KeyError, TypeError):
        return 0, 0


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Samples over time: rows of windows, in the order of the windows.

    Attributes
    ----------
    values
        (row, column), read by ranges of rows.
    times_s
        float64 (row,): times on the session clock.
    window
        int64 (row,): the window of each row, -1 if the file does not state it.
    """

    values: StoredRows
    times_s: np.ndarray
    window: np.ndarray
    _order: np.ndarray = field(init=False, repr=False)
    _sorted_s: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Rounded, so that equal times of several windows stay equal; the sort is
        # stable, so that the first window comes first.
        rounded = np.round(self.times_s, 6)
        order = np.argsort(rounded, kind="stable")
        object.__setattr__(self, "_order", order)
        object.__setattr__(self, "_sorted_s", rounded[order])

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.values.shape[0]), int(self.values.shape[1])

    def rows_at(self, times_s: np.ndarray, window: int, tolerance_s: float) -> np.ndarray:
        """Return the row of each time, int64, -1 for times that are not stored.

        Parameters
        ----------
        window
            Number of the window whose rows are used, -1 to use those of any window:
            then the first window that has the sample.
        """
        order, stored = self._order, self._sorted_s
        if window >= 0:
            rows = np.flatnonzero(self.window == window)
            at = np.argsort(self.times_s[rows], kind="stable")
            order, stored = rows[at], self.times_s[rows][at]
        if not len(stored):
            return np.full(len(times_s), -1, np.int64)
        times_s = np.round(times_s, 6)
        after = np.searchsorted(stored, times_s)
        before = np.searchsorted(stored, stored[np.maximum(after - 1, 0)])
        after = np.minimum(after, len(stored) - 1)
        is_before = np.abs(stored[before] - times_s) <= np.abs(stored[after] - times_s)
        nearest = np.where(is_before, before, after)
        is_near = np.abs(stored[nearest] - times_s) < tolerance_s
        return np.where(is_near, order[nearest], -1).astype(np.int64)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Return the values of rows, float32; NaN for row -1."""
        values = np.full((len(rows), self.shape[1]), np.nan, np.float32)
        present = np.flatnonzero(rows >= 0)
        # Neighbouring rows are read together: a window is one range, or a few.
        breaks = np.flatnonzero(np.diff(rows[present]) != 1) + 1
        for run in np.split(present, breaks):
            if len(run):
                first = int(rows[run[0]])
                values[run] = self.values.read(first, first + len(run))
        return values


@dataclass(frozen=True, slots=True, eq=False)
class PredictionsFile:
    """Predictions of a recording in an open file: metadata, responses, behaviour.

    Attributes
    ----------
    neurons
        int64 (n,): the recording's neuron of each column of the responses.
    responses
        Predicted responses in `metadata.units`; NaN where the mask has no target.
    valid
        bool (row,): False for samples that the predictor could not compute.
    window_starts_s
        float64 (n_windows,): start of each window on the session clock.
    behavior
        Decoded behaviour, or None.
    fingerprint
        Hash that changes with the contents.
    """

    path: Path
    metadata: Metadata
    neurons: np.ndarray = field(repr=False)
    responses: Series = field(repr=False)
    valid: np.ndarray = field(repr=False)
    window_starts_s: np.ndarray = field(repr=False)
    behavior: Series | None = field(repr=False)
    fingerprint: str

    @property
    def span_s(self) -> tuple[float, float]:
        """First and last time of a stored sample, (NaN, NaN) without any."""
        series = [self.responses, *([self.behavior] if self.behavior else [])]
        times = [one.times_s for one in series if len(one.times_s)]
        if not times:
            return float("nan"), float("nan")
        return min(float(t.min()) for t in times), max(float(t.max()) for t in times)

    def window_at(self, start_s: float) -> int:
        """Return the number of the stored window that begins at a time, else -1."""
        near = np.flatnonzero(np.abs(self.window_starts_s - start_s) < _SAME_START_S)
        return int(near[0]) if len(near) else -1


def open_file(path: str | Path) -> PredictionsFile:
    """Open a file of predictions; its large arrays are read when they are needed.

    Raises
    ------
    PredictionsFileError
        The file is missing, unfinished, of another format or version, or a field or an
        array is wrong.
    """
    path = Path(path)
    _refuse_unfinished(path)
    arrays = open_arrays(path)
    metadata = Metadata.from_dict(path, arrays.metadata)
    if arrays.metadata.get("complete", True) is not True:
        raise PredictionsFileError("unfinished", f"{path} was not written to its end.")
    reader = _Arrays(arrays)
    responses = reader.series("responses", "times_s", "window")
    n_rows, n_columns = responses.shape
    neurons = reader.column("neurons", n_columns, np.arange(n_columns), "iu")
    _check_neurons(path, neurons, metadata)
    valid = reader.column("valid", n_rows, np.ones(n_rows, bool), "biu") != 0
    starts = np.zeros(0)
    if arrays.has("window_starts_s"):
        starts = reader.numbers("window_starts_s", "iuf").astype(np.float64)
    behavior = None
    if arrays.has("behavior"):
        behavior = reader.series("behavior", "behavior_times_s", "behavior_window")
        names = metadata.behavior_names
        if len(names) != behavior.shape[1]:
            raise PredictionsFileError(
                "field",
                f"{path}: behavior_names has {len(names)} names; expected "
                f"{behavior.shape[1]}, one per column of behavior.",
            )
    return PredictionsFile(
        path, metadata, neurons, responses, valid, starts, behavior, arrays.fingerprint
    )


def _refuse_unfinished(path: Path) -> None:
    """Raise if a path is an unfinished file, or only its unfinished file exists."""
    part = path if path.name.endswith(PART_SUFFIX) else unfinished_path(path)
    if (path.exists() and path != part) or not (part / JOURNAL).is_file():
        return
    done, planned = saved_windows(part)
    raise PredictionsFileError(
        "unfinished",
        f"{path} is unfinished: {done} of {planned} windows are saved in {part}. Run "
        "the same command again to continue.",
    )


def _check_neurons(path: Path, neurons: np.ndarray, metadata: Metadata) -> None:
    n = metadata.n_neurons
    is_inside = (neurons >= 0) & (neurons < n)
    if not is_inside.all() or len(np.unique(neurons)) != len(neurons):
        raise PredictionsFileError(
            "array",
            f"{path}: array 'neurons' holds {len(neurons)} numbers; expected each at "
            f"most once, from 0 to {n - 1}.",
        )


@dataclass(frozen=True, slots=True)
class _Arrays:
    """Arrays of a file, with checks of their shapes."""

    arrays: StoredArrays

    def series(self, name: str, times: str, window: str) -> Series:
        values = self.arrays.rows(name)
        if len(values.shape) != 2 or values.dtype.kind != "f":
            raise self._wrong(name, f"{values.shape} {values.dtype}", "floats (time, column)")
        n_rows = int(values.shape[0])
        times_s = self.numbers(times, "iuf").astype(np.float64)
        if times_s.shape != (n_rows,) or not np.isfinite(times_s).all():
            raise self._wrong(times, f"{times_s.shape} numbers", f"{n_rows} finite numbers")
        unknown = np.full(n_rows, -1, np.int64)
        return Series(values, times_s, self.column(window, n_rows, unknown, "iu"))

    def column(self, name: str, length: int, otherwise: np.ndarray, kinds: str) -> np.ndarray:
        """Return an optional array of a length; unsigned numbers become signed."""
        if not self.arrays.has(name):
            return otherwise
        values = self.numbers(name, kinds)
        if values.shape != (length,):
            raise self._wrong(name, f"{values.shape}", f"({length},)")
        return values.astype(np.int64)

    def numbers(self, name: str, kinds: str) -> np.ndarray:
        values = self.arrays.table(name)
        if values.dtype.kind not in kinds or values.ndim != 1:
            raise self._wrong(name, f"{values.shape} {values.dtype}", "one column")
        return values

    def _wrong(self, name: str, found: Any, expected: str) -> PredictionsFileError:
        return PredictionsFileError(
            "array",
            f"{self.arrays.path}: array {name!r} is {found}; expected {expected}.",
        )
