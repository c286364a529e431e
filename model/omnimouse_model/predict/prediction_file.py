"""A file of predictions: its metadata, its arrays, and the predictor that looks them up.

The metadata are the attributes of the root of a zarr group, or JSON text in an NWB file:

    {"format": "omnimouse-predictions", "version": 1, "session": "a-1-1",
     "n_neurons": 1000, "units": "normalised", "spec": {"duration_s": 2.0, …}, …}

Rows of the arrays are samples of windows. Files come from other programs too, so every
value is checked. The module is long because the format is read in it from the bytes to the
prediction.
"""

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.display import HasSummary
from omnimouse_model.errors import (
    MaskError,
    NotStoredError,
    PredictionsFileError,
    SessionFormatError,
    UnsupportedRequestError,
)
from omnimouse_model.masks import Mask, scored_cells
from omnimouse_model.predict.predictor import (
    UNITS,
    Encoded,
    Needs,
    Prediction,
    Predictor,
    check_request,
    take_neurons,
)
from omnimouse_model.progress import Cancelled, never
from omnimouse_model.storage.arrays.hdf5 import SIGNATURE, Hdf5, Hdf5Rows
from omnimouse_model.storage.arrays.zarr_arrays import ZarrArray, ZarrGroup
from omnimouse_model.storage.byte_source import BlockFile, fingerprint_of
from omnimouse_model.storage.files import begins_with, read_bytes
from omnimouse_model.storage.journal import JOURNAL, read_lines
from omnimouse_model.storage.trees import (
    MAX_JSON_BYTES,
    Within,
    decode,
    decode_json,
    read_json_mapping,
    refused_as,
    shown,
)

FORMAT, VERSION = "omnimouse-predictions", 1
_MAX_NEURONS = 10**7
BEHAVIOR_UNITS = ("z-score", "recorded")


# -- metadata: session, predictor, spec, mask and units ---------------------------------
@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What the arrays of a file of predictions are.

    Attributes
    ----------
    session, fingerprint
        Id of the recording, and the hash of its contents; "" if unknown.
    n_neurons
        Neurons of the recording, of which the file may hold some.
    units
        `Prediction.units` of the responses.
    spec
        Windows for which the predictions were made.
    predictor
        Name and weights hash of the predictor; "" if unknown.
    mask
        The mask of every window; None if unknown.
    tier
        Tier of the windows; None for the whole recording.
    behavior_names, behavior_units
        Channels of decoded behaviour, and "z-score" or "recorded".
    remarks
        Remarks of the predictor on windows, each once.
    question
        Everything that determines the predictions, for comparison with another run.
    written_by
        Program and version.
    """

    session: str
    n_neurons: Annotated[int, Within(1, _MAX_NEURONS)]
    units: str
    spec: WindowSpec
    predictor: str = ""
    fingerprint: str = ""
    mask: Mask | None = None
    tier: str | None = None
    behavior_names: tuple[str, ...] = ()
    behavior_units: str = "z-score"
    remarks: tuple[str, ...] = ()
    question: dict[str, Any] = field(default_factory=dict, repr=False)
    written_by: str = ""

    def __post_init__(self) -> None:
        for name, choices in (("units", UNITS), ("behavior_units", BEHAVIOR_UNITS)):
            if getattr(self, name) not in choices:
                found = shown(getattr(self, name))
                raise ValueError(f"{name}: found {found}, expected {' or '.join(choices)}")
        if self.mask is not None and self.mask.n_neurons != self.n_neurons:
            raise ValueError(
                f"the mask has {self.mask.n_neurons} neurons; expected n_neurons, {self.n_neurons}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as JSON values, with format and version."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        mask = None if self.mask is None else self.mask.to_dict()
        values |= {"spec": asdict(self.spec), "mask": mask}
        return {"format": FORMAT, "version": VERSION, **values}

    @classmethod
    def from_dict(cls, path: Path, values: Mapping[str, Any]) -> "Metadata":
        """Return the metadata of `to_dict`; optional values may be absent.

        Raises
        ------
        PredictionsFileError
            A value is missing or wrong; the message names it.
        """
        if values.get("format") != FORMAT:
            raise PredictionsFileError(
                "foreign",
                f"{path} is no file of predictions: format is {shown(values.get('format'))}; "
                f"expected {FORMAT!r}.",
            )
        if (version := values.get("version")) != VERSION:
            raise PredictionsFileError(
                "newer",
                f"{path} has version {shown(version)} of the format; this package reads "
                f"version {VERSION}.",
            )
        given = {name: value for name, value in values.items() if value is not None}
        mask = given.pop("mask", None)
        with refused_as(partial(PredictionsFileError, "field")):
            stored = decode(cls, given, str(path), is_open=True)
        try:
            return stored if mask is None else replace(stored, mask=Mask.from_dict(mask))
        except (MaskError, ValueError) as error:
            raise PredictionsFileError("field", f"{path}: mask: {error}") from error


# -- the arrays of a file of predictions, in zarr or NWB -------------------------------
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
        return Hdf5(BlockFile(path)).find(NWB_METADATA) is not None
    except (OSError, SessionFormatError):
        return False


class ZarrPredictions:
    """Arrays and metadata of predictions in a zarr group of format 3."""

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
        """Whether the file has an array."""
        return self._group.has(name)

    def rows(self, name: str) -> ZarrArray:
        """Return an array that is read by ranges of rows."""
        with _wrong_array(self.path, name):
            return self._group.array(name)

    def table(self, name: str) -> np.ndarray:
        """Return a small array."""
        rows = self.rows(name)
        with _wrong_array(self.path, name):
            return rows.read(0, rows.shape[0]) if rows.shape else np.empty(())


def _wrong_array(path: Path, name: str) -> AbstractContextManager[None]:
    """Turn errors of the block into one that names an array."""
    return refused_as(lambda why: PredictionsFileError("array", f"{path}: array {name!r}: {why}"))


class NwbPredictions:
    """Arrays and metadata of predictions in an NWB file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = Hdf5(BlockFile(path))
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
        return content if isinstance(content, str) else fingerprint_of(self.path)

    def has(self, name: str) -> bool:
        """Whether the file has an array."""
        return self._file.find(NWB_NAMES[name]) is not None

    def rows(self, name: str) -> Hdf5Rows:
        """Return an array that is read by ranges of rows."""
        if not self.has(name):
            raise PredictionsFileError("array", f"{self.path} has no dataset {NWB_NAMES[name]!r}.")
        return Hdf5Rows(self._file, NWB_NAMES[name])

    def table(self, name: str) -> np.ndarray:
        """Return a small array."""
        self.rows(name)
        return self._file.table(NWB_NAMES[name])


StoredArrays = ZarrPredictions | NwbPredictions


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
        return ZarrPredictions(path) if path.is_dir() else NwbPredictions(path)
    except SessionFormatError as error:
        raise PredictionsFileError("foreign", f"{path}: {error}") from error


# -- arrays whose rows are samples of windows -------------------------------------------
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

    values: ZarrArray | Hdf5Rows
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
            then the first window that has the sample. Those of any window also if the
            file does not state the window of its rows.
        """
        order, stored = self._order, self._sorted_s
        # A file may state starts of windows without the window of each row.
        if window >= 0 and (self.window >= 0).any():
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
                with refused_as(partial(PredictionsFileError, "array")):
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
    part = path if path.name.endswith(PART_SUFFIX) else unfinished_path(path)
    if (path == part or not path.exists()) and (part / JOURNAL).is_file():
        done, planned = saved_windows(part)
        raise PredictionsFileError(
            "unfinished",
            f"{path} is unfinished: {done} of {planned} windows are saved in {part}. Run "
            "the same command again to continue.",
        )
    arrays = open_arrays(path)
    metadata = Metadata.from_dict(path, arrays.metadata)
    if arrays.metadata.get("complete", True) is not True:
        raise PredictionsFileError("unfinished", f"{path} was not written to its end.")
    responses = _series(arrays, "responses", "times_s", "window")
    n_rows, n_columns = responses.shape
    neurons = _column(arrays, "neurons", n_columns, np.arange(n_columns), "iu")
    is_inside = (neurons >= 0) & (neurons < metadata.n_neurons)
    if not is_inside.all() or len(np.unique(neurons)) != n_columns:
        raise PredictionsFileError(
            "array",
            f"{path}: array 'neurons' holds {n_columns} numbers; expected each at "
            f"most once, from 0 to {metadata.n_neurons - 1}.",
        )
    valid = _column(arrays, "valid", n_rows, np.ones(n_rows, bool), "biu") != 0
    starts = np.zeros(0)
    if arrays.has("window_starts_s"):
        starts = _numbers(arrays, "window_starts_s", "iuf").astype(np.float64)
    behavior = None
    if arrays.has("behavior"):
        behavior = _series(arrays, "behavior", "behavior_times_s", "behavior_window")
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


def _series(arrays: StoredArrays, name: str, times: str, window: str) -> Series:
    values = arrays.rows(name)
    if len(values.shape) != 2 or values.dtype.kind != "f":
        found = f"{values.shape} {values.dtype}"
        raise _wrong(arrays, name, found, "floats (time, column)")
    n_rows = int(values.shape[0])
    times_s = _numbers(arrays, times, "iuf").astype(np.float64)
    if times_s.shape != (n_rows,) or not np.isfinite(times_s).all():
        raise _wrong(arrays, times, f"{times_s.shape} numbers", f"{n_rows} finite numbers")
    unknown = np.full(n_rows, -1, np.int64)
    return Series(values, times_s, _column(arrays, window, n_rows, unknown, "iu"))


def _column(
    arrays: StoredArrays, name: str, length: int, otherwise: np.ndarray, kinds: str
) -> np.ndarray:
    """Return an optional array of a length; unsigned numbers become signed."""
    if not arrays.has(name):
        return otherwise
    values = _numbers(arrays, name, kinds)
    if values.shape != (length,):
        raise _wrong(arrays, name, f"{values.shape}", f"({length},)")
    return values.astype(np.int64)


def _numbers(arrays: StoredArrays, name: str, kinds: str) -> np.ndarray:
    values = arrays.table(name)
    if values.dtype.kind not in kinds or values.ndim != 1:
        raise _wrong(arrays, name, f"{values.shape} {values.dtype}", "one column")
    return values


def _wrong(arrays: StoredArrays, name: str, found: str, expected: str) -> PredictionsFileError:
    text = f"{arrays.path}: array {name!r} is {found}; expected {expected}."
    return PredictionsFileError("array", text)


# -- the predictor of a file: it looks windows up and computes nothing ------------------
@dataclass(slots=True, eq=False, repr=False)
class StoredPredictions(HasSummary, Predictor):
    """Predictions of a file: the asked mask chooses cells, and changes no value.

    A window that begins where a stored one begins gets the samples of that window. Any
    other window gets, for each of its samples, the nearest stored sample within half a
    sample; the first of several windows that have it.

    Attributes
    ----------
    file
        The open file, with its metadata and arrays.
    """

    file: PredictionsFile
    predictor_id: str = field(init=False)
    needs: Needs = field(init=False)
    _column: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        file, metadata = self.file, self.file.metadata
        name = metadata.predictor or "unknown predictor"
        self.predictor_id = f"{name} from {file.path.name} ({file.fingerprint[:8]})"
        self.needs = Needs(
            sees_responses=False,
            predicts_behavior=file.behavior is not None,
            spec=metadata.spec,
            sessions=frozenset({metadata.session}),
            n_neurons={metadata.session: metadata.n_neurons},
            is_stored=True,
        )
        self._column = np.full(metadata.n_neurons, -1, np.int64)
        self._column[file.neurons] = np.arange(len(file.neurons))

    def _facts(self) -> dict[str, str]:
        first, last = self.file.span_s
        return {
            "predictor": self.file.metadata.predictor or "unknown",
            "session": self.file.metadata.session,
            "neurons": f"{len(self.file.neurons):,}",
            "windows": f"{len(self.file.window_starts_s):,}",
            "span": f"{first:.1f} to {last:.1f} s",
            "file": str(self.file.path),
        }

    @property
    def path(self) -> Path:
        """Path of the file."""
        return self.file.path

    def prepare(self, session: Session) -> None:
        """Check that the file is of this session."""
        metadata = self.file.metadata
        if (session.id, session.n_neurons) != (metadata.session, metadata.n_neurons):
            raise UnsupportedRequestError(
                f"{self.path} has predictions for session {metadata.session!r} of "
                f"{metadata.n_neurons:,} neurons, not for {session.id!r} of "
                f"{session.n_neurons:,}."
            )

    def encode(self, window: Window, mask: Mask, cancelled: Cancelled = never) -> Encoded:
        """Look up a window."""
        self.prepare(window.session)
        check_request(self.predictor_id, self.needs, window, mask)
        # A constructed clip is not a time of the recording.
        if not isinstance(window, Window) or window.edits:
            raise UnsupportedRequestError(
                f"{self.path} has predictions for the recorded input only: they do not "
                "answer edits or constructed clips."
            )
        return Encoded(window, mask, self._find(window, mask))

    def decode(
        self, encoded: Encoded, neurons: np.ndarray | None = None, cancelled: Cancelled = never
    ) -> Prediction:
        """Return the stored samples of those of the neurons that the file has."""
        found: Prediction = encoded.state
        if neurons is None:
            return found
        asked = np.asarray(neurons, np.int64)
        chosen = take_neurons(found, asked[np.isin(asked, found.neurons)])
        assert chosen is not None  # the others are left out
        return chosen

    # -- looking up -------------------------------------------------------------------
    def _find(self, window: Window, mask: Mask) -> Prediction:
        """Return what the file holds of the targets; NaN where nothing is stored."""
        file, spec = self.file, self.file.metadata.spec
        number = file.window_at(window.start_s)
        tolerance_s = 0.5 / spec.response_rate_hz
        rows = file.responses.rows_at(window.sample_times_s, number, tolerance_s)
        responses = file.responses.read(rows)
        cells = scored_cells(mask)
        asked = np.flatnonzero(cells.any(axis=0))
        stored = asked[self._column[asked] >= 0]
        wanted = cells[:, stored]
        has_value = np.isfinite(responses[:, self._column[stored]])
        is_found = (wanted & has_value).any(axis=0)
        # Neurons without any value here were not asked when the file was written.
        stored, wanted = stored[is_found], wanted[:, is_found]
        valid = (has_value[:, is_found] | ~wanted).all(axis=1) & (rows >= 0)
        valid[rows >= 0] &= file.valid[rows[rows >= 0]]
        behavior = self._behavior(window, number) if mask.has_behavior_target else None
        if not len(stored) and behavior is None:
            first_s, last_s = file.span_s
            tier = f", tier {file.metadata.tier}" if file.metadata.tier else ""
            raise NotStoredError(
                f"{self.path} has no prediction of these targets from {window.start_s:.2f} "
                f"to {window.stop_s:.2f} s: it has {len(file.neurons):,} neurons and "
                f"windows between {first_s:.2f} and {last_s:.2f} s{tier}. Go to one of "
                "them."
            )
        remarks = self._remarks(window, mask, rows)
        if len(stored) < len(asked):
            remarks += (f"the file has {len(stored):,} of {len(asked):,} neurons",)
        units = file.metadata.units
        values = np.where(wanted, responses[:, self._column[stored]], np.nan)
        return Prediction(
            responses=values.astype(np.float32),
            neurons=stored,
            behavior=behavior,
            mask_id=mask.mask_id,
            predictor_id=self.predictor_id,
            status="; ".join(remarks) or "ok",
            scale=window.session.response_scale[stored] if units == "normalised" else None,
            units=units,
            times_s=window.sample_times_s,
            valid=valid,
        )

    def _behavior(self, window: Window, number: int) -> np.ndarray | None:
        """Return decoded behaviour of a window, None unless all of it is stored."""
        series, spec = self.file.behavior, self.file.metadata.spec.behavior
        if series is None or spec is None:
            return None
        times_s = window.start_s + np.arange(window.spec.n_behavior) / spec.rate_hz
        rows = series.rows_at(times_s, number, 0.5 / spec.rate_hz)
        return None if (rows < 0).any() else series.read(rows)

    def _remarks(self, window: Window, mask: Mask, rows: np.ndarray) -> tuple[str, ...]:
        file, metadata = self.file, self.file.metadata
        remarks = list(metadata.remarks)
        if metadata.mask is None:
            remarks.append("from a file: this mask changes no prediction")
        elif metadata.mask.mask_id != mask.mask_id:
            name = metadata.mask.name or f"mask {metadata.mask.mask_id[:8]}"
            remarks.append(f"from a file, predicted under {name}, not under this mask")
        if metadata.fingerprint not in ("", window.session.fingerprint):
            remarks.append("predicted from another copy of this recording")
        windows = np.unique(file.responses.window[rows[rows >= 0]])
        if file.window_at(window.start_s) < 0 and (windows >= 0).any():
            remarks.append("joined from windows that begin at other times")
        return tuple(remarks)
