"""Prediction of a whole recording or a tier into one file, batch by batch.

The file is long because the unfinished file and what is written into it are one thing.
"""

import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import blake2b
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from omnimouse_model.data.clock import GRID_RATE_HZ, grid_points
from omnimouse_model.data.session import Session
from omnimouse_model.data.store import RESPONSE_CHUNK, compressors
from omnimouse_model.errors import (
    MaskError,
    PredictionsFileError,
    ResultsFileError,
    SessionFormatError,
    StoppedError,
)
from omnimouse_model.evaluation.conditions import Condition
from omnimouse_model.evaluation.results_store import check_fits
from omnimouse_model.evaluation.running_score import CHANNELS
from omnimouse_model.evaluation.shard import centring_starts
from omnimouse_model.evaluation.tier_windows import scored_starts
from omnimouse_model.extras import named_extras
from omnimouse_model.inference.dask_map import TaskPredictor, map_pieces
from omnimouse_model.inference.registry import Source, resolve_predictor
from omnimouse_model.masks import Mask, scored_cells
from omnimouse_model.masks.remarks import lost_all_targets
from omnimouse_model.predict.prediction_file import (
    NWB_METADATA,
    NWB_MODULE,
    Metadata,
    StoredArrays,
    StoredPredictions,
    open_arrays,
    open_file,
    unfinished_path,
)
from omnimouse_model.predict.predictor import Predictor, fits_of, predictions_of
from omnimouse_model.progress import CallbackJob, Job, shown_job
from omnimouse_model.simulate.demo import opened
from omnimouse_model.storage.arrays.hdf5 import hdf5_to_write
from omnimouse_model.storage.arrays.zarr_arrays import (
    ZarrArray,
    array_to_write,
    check_files,
    create_group,
    update_attributes,
)
from omnimouse_model.storage.journal import JOURNAL, Journal, check_own, open_journal
from omnimouse_model.storage.write import put_in_place, sole_writer, writing

# -- the unfinished file of predictions: a zarr group and the journal of its batches --
# It is a folder beside its target, `x.zarr.part` (see `storage.journal`). A batch is a range
# of rows that no other batch touches, and is noted in the journal after its rows are written;
# a later run checks the rows of a noted batch against its hash and predicts the others. The
# folder is renamed when all batches are there.
BATCH = 8
"""Windows in a batch, all of which are in memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What a file of predictions will hold.

    Attributes
    ----------
    starts
        float64 (n_windows,) s on the session clock.
    samples
        int64: samples of a window with a target of any neuron; one row each.
    neurons
        int64: neurons with a target; one column each.
    """

    session: Session
    mask: Mask
    metadata: Metadata
    starts: np.ndarray
    samples: np.ndarray
    neurons: np.ndarray

    @property
    def n_batches(self) -> int:
        """Number of batches."""
        return -(-len(self.starts) // BATCH)

    @property
    def n_decoded(self) -> int:
        """Number of behaviour samples decoded per window; 0 if none is a target."""
        return self.mask.spec.n_behavior if self.mask.has_behavior_target else 0

    def starts_of(self, number: int) -> np.ndarray:
        """Return the starts of the windows of a batch."""
        return self.starts[number * BATCH : (number + 1) * BATCH]


@dataclass(frozen=True, slots=True, eq=False)
class FileBatch:
    """Predicted responses and decoded behaviour of a batch of windows.

    Attributes
    ----------
    responses
        float32 (rows, neurons); NaN where the mask has no target.
    valid
        bool (rows,).
    behavior
        float32 (rows, channels), (0, channels) without decoded behaviour.
    units
        `Prediction.units`.
    remarks
        `Prediction.status` of the windows other than "ok", each once.
    """

    responses: np.ndarray
    valid: np.ndarray
    behavior: np.ndarray
    units: str
    remarks: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Hash of the arrays."""
        digest = blake2b(digest_size=12)
        for array in (self.responses, self.valid, self.behavior):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def is_finished(path: Path, question: Mapping[str, Any]) -> bool:
    """Return whether a path holds the finished predictions of a question.

    Raises
    ------
    ResultsFileError
        The path holds something else.
    """
    if not path.exists():
        return False
    try:
        stored = open_file(path).metadata.question
    except PredictionsFileError as error:
        raise ResultsFileError(f"{error} Choose another path.") from error
    _compare(path, stored, question)
    return True


def remove_rest(path: Path) -> None:
    """Remove the rest of an unfinished file after a run that was killed at its end."""
    part = unfinished_path(path)
    if (part / JOURNAL).is_file():
        check_own(part)
        shutil.rmtree(part, ignore_errors=True)
    if path.is_dir():
        (path / JOURNAL).unlink(missing_ok=True)


@contextmanager
def open_unfinished(path: Path, plan: Plan) -> Iterator["UnfinishedFile"]:
    """Create or resume the unfinished file of a path, locked against other processes.

    It is removed if the first batch fails.

    Raises
    ------
    ResultsFileError
        Another machine writes it, or it is of another question.
    """
    folder = unfinished_path(path)
    header = {
        "question": dict(plan.metadata.question),
        "n_windows": len(plan.starts),
        "n_in_batch": BATCH,
    }

    def check(stored: Mapping[str, Any]) -> None:
        _compare(folder, _flat(stored), _flat(header))

    with open_journal(folder, header, check) as journal:
        part = UnfinishedFile(folder, plan, journal, _sound_notes(journal, plan))
        if not part.done:
            # The arrays may have been stopped half-made: they are made again.
            journal.clear()
        try:
            yield part
        finally:
            if not part.done:
                journal.remove()


@dataclass(slots=True, eq=False)
class UnfinishedFile:
    """An unfinished file of predictions, open and locked.

    Attributes
    ----------
    done
        Note in the journal by number of each finished batch.
    """

    folder: Path
    plan: Plan
    journal: Journal
    done: dict[int, dict[str, Any]]

    def missing(self) -> list[int]:
        """Return the numbers of the batches that are not finished."""
        return [n for n in range(self.plan.n_batches) if n not in self.done]

    def add(self, number: int, batch: FileBatch) -> None:
        """Write a batch, then note it in the journal."""
        channels = batch.behavior.shape[1]
        if not self.done:
            self._make_arrays(channels)
        elif {note["channels"] for note in self.done.values()} != {channels}:
            raise ValueError(
                f"{self.plan.metadata.predictor} decoded {channels} channels of "
                "behaviour in some windows and another number in others."
            )
        for name, rows, values in _pieces(self.plan, number, batch):
            array_to_write(self.folder, name)[rows] = values
        note = {
            "batch": number,
            "hash": batch.digest,
            "units": batch.units,
            "remarks": list(batch.remarks),
            "channels": channels,
        }
        self.journal.add(note)
        self.done[number] = note

    def complete(self) -> None:
        """Write the metadata, and the mark that the file is complete."""
        notes = [self.done[number] for number in range(self.plan.n_batches)]
        hashes = json.dumps([note["hash"] for note in notes])
        remarks = dict.fromkeys(str(remark) for note in notes for remark in note["remarks"])
        metadata = replace(
            self.plan.metadata,
            units=str(notes[0]["units"]),
            remarks=tuple(remarks),
            behavior_names=_channel_names(self.plan, int(notes[0]["channels"])),
        )
        if hasattr(os, "sync"):
            os.sync()  # after a power failure, a complete file must have its data
        update_attributes(
            self.folder,
            {
                **metadata.to_dict(),
                "content_hash": blake2b(hashes.encode(), digest_size=12).hexdigest(),
                "complete": True,
            },
        )

    def rename(self, path: Path) -> None:
        """Give the complete folder its name."""
        self.journal.close()
        put_in_place(self.folder, path)
        # Last: a folder without a journal would not be continued.
        (path / JOURNAL).unlink(missing_ok=True)

    # -- arrays -----------------------------------------------------------------------
    def _make_arrays(self, n_channels: int) -> None:
        """Create all arrays of the file, and fill those that need no predictions."""
        plan, spec = self.plan, self.plan.mask.spec
        attributes = {**plan.metadata.to_dict(), "complete": False}
        root = create_group(self.folder, attributes)
        windows = np.arange(len(plan.starts))
        _make_rows(root, "responses", plan.samples, len(plan.neurons), plan.starts)
        times_s = plan.starts[:, None] + plan.samples / spec.response_rate_hz
        units = plan.session.units
        tables = {
            "times_s": times_s.reshape(-1),
            "window": np.repeat(windows, len(plan.samples)),
            "valid": np.zeros(times_s.size, bool),
            "window_starts_s": plan.starts,
            "neurons": plan.neurons,
            "unit_ids": np.asarray(units.unit_id)[plan.neurons],
            "positions_um": np.asarray(units.xyz_um)[plan.neurons],
            "scale": plan.session.response_scale[plan.neurons],
        }
        if plan.n_decoded and spec.behavior is not None and n_channels:
            decoded = np.arange(plan.n_decoded)
            times_s = plan.starts[:, None] + decoded / spec.behavior.rate_hz
            tables["behavior_times_s"] = times_s.reshape(-1)
            tables["behavior_window"] = np.repeat(windows, plan.n_decoded)
            _make_rows(root, "behavior", decoded, n_channels, plan.starts)
        for name, values in tables.items():
            # `valid` is written batch by batch: its chunks must not cross batches.
            chunk = BATCH * len(plan.samples) if name == "valid" else len(values)
            root.create_array(
                name,
                data=values,
                chunks=(max(1, chunk), *values.shape[1:]),
                compressors=compressors("default"),
            )


def _channel_names(plan: Plan, n_channels: int) -> tuple[str, ...]:
    """Return the names of the channels of decoded behaviour.

    Their number tells whether they are those of the session or of the model, as in
    `evaluate`.
    """
    names = plan.mask.spec.behavior_names(plan.session.behavior_names)
    for known in (names, CHANNELS):
        if len(known) == n_channels:
            return known
    return tuple(f"channel {k}" for k in range(n_channels))


def _make_rows(
    root: Any, name: str, samples: np.ndarray, n_columns: int, starts: np.ndarray
) -> None:
    # Chunks end where batches end, so that a batch never changes rows of another one.
    root.create_array(
        name,
        shape=(len(samples) * len(starts), n_columns),
        dtype=np.float32,
        chunks=(
            max(1, BATCH * len(samples)),
            max(1, min(n_columns, RESPONSE_CHUNK[1])),
        ),
        compressors=compressors("default"),
        fill_value=float("nan"),
    )


def _pieces(plan: Plan, number: int, batch: FileBatch) -> Iterator[tuple[str, slice, np.ndarray]]:
    """Yield the array, its rows and their values for each part of a batch to write."""
    first, count = number * BATCH, len(plan.starts_of(number))
    height = len(plan.samples)
    rows = slice(first * height, (first + count) * height)
    yield "responses", rows, batch.responses
    yield "valid", rows, batch.valid
    if len(batch.behavior):
        height = plan.n_decoded
        yield (
            "behavior",
            slice(first * height, (first + count) * height),
            batch.behavior,
        )


# -- journal ------------------------------------------------------------------------
def _sound_notes(journal: Journal, plan: Plan) -> dict[int, dict[str, Any]]:
    """Return the notes of the batches whose rows are those that were written."""
    try:
        check_files(journal.folder)
        notes = {int(note["batch"]): note for note in journal.notes}
        return {n: note for n, note in notes.items() if _is_sound(journal.folder, plan, n, note)}
    except SessionFormatError as error:
        raise ResultsFileError(f"{journal.folder}: {error}. Choose another path.") from error
    except (KeyError, TypeError, ValueError):
        return {}


def _flat(header: Mapping[str, Any]) -> dict[str, Any]:
    question = header["question"] if isinstance(header["question"], dict) else {}
    return {**question, "n_in_batch": header["n_in_batch"]}


def _is_sound(folder: Path, plan: Plan, number: int, note: Mapping[str, Any]) -> bool:
    """Return whether the rows of a batch have the hash of its note."""
    count, channels = len(plan.starts_of(number)), int(note["channels"])
    first = number * BATCH
    if not isinstance(note["units"], str) or not isinstance(note["remarks"], list):
        raise TypeError("units or remarks of another kind")

    def rows(name: str, height: int) -> np.ndarray:
        return ZarrArray(folder / name).read(first * height, (first + count) * height)

    try:
        height = len(plan.samples)
        behavior = np.zeros((0, channels), np.float32)
        if plan.n_decoded and channels:
            behavior = rows("behavior", plan.n_decoded)
        batch = FileBatch(rows("responses", height), rows("valid", height), behavior, "", ())
    except SessionFormatError:
        return False
    return bool(batch.digest == note["hash"])


def _compare(path: Path, stored: Mapping[str, Any], question: Mapping[str, Any]) -> None:
    """Raise if two questions differ."""
    check_fits(path, stored, question)
    differences = [
        f"{name} is {stored.get(name)} in the file, {value} here"
        for name, value in question.items()
        if name != "fits" and stored.get(name) != value
    ]
    if differences:
        raise ResultsFileError(
            f"{path} has other predictions: {'; '.join(differences)}. Choose another path."
        )


if TYPE_CHECKING:
    import h5py

SUFFIXES = (".zarr", ".nwb")


def predict_session(
    predictor: Predictor | Source | Path,
    session: Session | str | Path,
    mask: str | Mask,
    path: str | Path,
    *,
    tier: str | None = None,
    scheduler: str | None = None,
    device: str = "auto",
    connect: Collection[str] = (),
    job: Job | None = None,
) -> StoredPredictions:
    """Predict a whole recording or a tier, and write the predictions to one file.

    Examples
    --------
    >>> stored = om.predict_session("mean", session, "test/video_behavior", "m.zarr")
    >>> window = session.window(20.0)
    >>> mask = om.Mask.from_strategy("test/video_behavior", session)
    >>> prediction = stored.predict(window, mask)
    >>> prediction.responses.shape, prediction.units
    ((60, 40), 'normalised')

    Notes
    -----
    An interrupted call is continued by the same call. At most 8 windows are in memory,
    and as many per piece of work of a scheduler.

    Parameters
    ----------
    predictor
        Name, path or factory; a predictor object only without a scheduler.
    session
        An open session, or its name or path.
    mask
        The mask of every window, or the name of a strategy. A mask of another spec is
        stretched to the windows of the predictor.
    path
        A zarr folder (`.zarr`) or an NWB file (`.nwb`); see docs/families.md.
    tier
        Predict the windows of a tier that `evaluate` scores, and the train windows that
        its centred scores need; by default consecutive windows over the whole
        recording, so that every sample is a target once.
    scheduler
        Predict on workers of a scheduler; see `dask_map.map_pieces`.
    connect
        Hosts from which members of an ensemble may be downloaded; see `load_predictor`.
    job
        Progress and stop request; see `progress.Job`.

    Returns
    -------
    StoredPredictions
        The finished file as a predictor.

    Raises
    ------
    ResultsFileError
        The path has other predictions, or another machine writes them.
    OutputBusyError
        Another process writes them.
    UnsupportedRequestError
        The predictor refuses the mask or the session.
    StoppedError
        `job.cancelled()` returned true; the finished batches are saved.
    """
    path = Path(path).absolute()
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path.name} must end in {' or '.join(SUFFIXES)}.")
    if path.suffix == ".nwb":
        with named_extras():  # before hours of predictions
            import_module("h5py")
    session, loaded = opened(session), resolve_predictor(predictor, device, connect)
    plan = _plan(loaded, session, mask, tier)
    model = TaskPredictor.of(predictor, device, loaded, scheduler, connect)
    path.parent.mkdir(parents=True, exist_ok=True)
    with sole_writer(path):
        if is_finished(path, plan.metadata.question):
            remove_rest(path)
        else:
            with shown_job(job) as shown:
                _write(path, plan, model, scheduler, shown)
    return StoredPredictions(open_file(path))


def _write(path: Path, plan: Plan, model: TaskPredictor, scheduler: str | None, job: Job) -> None:
    """Write the file of a plan, or what a stopped run has left to write."""
    spec, n_neurons = plan.metadata.spec, plan.session.n_neurons
    n_bytes = 4 * len(plan.starts) * spec.n_samples * n_neurons
    with writing(path, n_bytes), open_unfinished(path, plan) as part:
        _fill(part, model, scheduler, job)
        part.complete()
        if path.suffix == ".nwb":
            write_nwb(part.folder, path, plan.session)
            part.journal.remove()
        else:
            part.rename(path)


def _fill(part: UnfinishedFile, model: TaskPredictor, scheduler: str | None, job: Job) -> None:
    """Add all missing batches."""
    plan, missing = part.plan, part.missing()
    total = len(plan.starts)
    done = total - sum(len(plan.starts_of(number)) for number in missing)
    job.progress(done, total, f"{plan.session.id}: predicting")
    pieces = [(model, plan, number) for number in missing]
    for place, batch in map_pieces(
        _predict, pieces, scheduler, CallbackJob(cancelled=job.cancelled)
    ):
        number = missing[place]
        part.add(number, batch)
        done += len(plan.starts_of(number))
        job.progress(done, total, f"{plan.session.id}: predicting")
    if part.missing():
        raise StoppedError("The prediction was cancelled.")


def _plan(predictor: Predictor, session: Session, mask: str | Mask, tier: str | None) -> Plan:
    condition = Condition.of(mask)
    fitted = condition.mask(session).stretched(predictor.needs.spec)
    cells = scored_cells(fitted)
    decodes = fitted.has_behavior_target and bool(session.behavior_names)
    if not cells.any() and not decodes:
        reason = f": {fitted.note}" if lost_all_targets(fitted) else ""
        raise MaskError(f"{condition.name!r} has no target to predict{reason}.")
    starts = prediction_starts(session, fitted, tier)
    spec = fitted.spec
    metadata = Metadata(
        session=session.id,
        n_neurons=session.n_neurons,
        units="spikes/s" if spec.responses == "count" else "normalised",
        spec=spec,
        predictor=predictor.predictor_id,
        fingerprint=session.fingerprint,
        mask=fitted,
        tier=tier,
        behavior_units="recorded"
        if spec.behavior is not None and spec.behavior.is_raw
        else "z-score",
        question={
            "session": session.id,
            "fingerprint": session.fingerprint,
            "predictor": predictor.predictor_id,
            **fits_of(predictor),
            "mask": fitted.mask_id,
            "tier": tier,
            "windows": blake2b(starts.tobytes(), digest_size=12).hexdigest(),
        },
        written_by=f"omnimouse {_package_version()}",
    )
    return Plan(
        session,
        fitted,
        metadata,
        starts,
        np.flatnonzero(cells.any(axis=1)),
        np.flatnonzero(cells.any(axis=0)),
    )


def _package_version() -> str:
    try:
        return version("omnimouse-app")
    except PackageNotFoundError:  # a checkout that is not installed
        return "(unknown version)"


# -- predictions --------------------------------------------------------------------
def _predict(piece: tuple[TaskPredictor, Plan, int], job: Job) -> FileBatch:
    """Predict the windows of a batch, here or on a worker."""
    model, plan, number = piece
    mask, samples, neurons = plan.mask, plan.samples, plan.neurons
    starts = plan.starts_of(number)
    with model.loaded(plan.session) as (predictor, session):
        windows = [session.window(float(start), mask.spec) for start in starts]
        requests = ((window, mask, neurons) for window in windows)
        found = list(predictions_of(predictor, requests, job.cancelled))
    responses = np.full((len(starts), len(samples), len(neurons)), np.nan, np.float32)
    valid = np.zeros((len(starts), len(samples)), bool)
    decoded = []
    for place, prediction in enumerate(found):
        columns = np.searchsorted(neurons, prediction.neurons)
        responses[place][:, columns] = prediction.responses[samples]
        valid[place] = prediction.valid[samples]
        if prediction.behavior is not None and mask.has_behavior_target:
            decoded.append(prediction.behavior)
    behavior = np.zeros((0, 0), np.float32)
    if len(decoded) == len(found):
        behavior = np.concatenate(decoded).astype(np.float32)
    remarks = dict.fromkeys(p.status for p in found if p.status != "ok")
    return FileBatch(
        responses.reshape(valid.size, len(neurons)),
        valid.reshape(-1),
        behavior,
        found[0].units,
        tuple(remarks),
    )


# -- windows that cover a recording or a tier under one mask
def prediction_starts(session: Session, mask: Mask, tier: str | None) -> np.ndarray:
    """Return the starts (n,) of the windows to predict, s on the session clock.

    Those of a tier are the windows that `evaluate` scores, and the train windows that
    its centred scores need. Without a tier, consecutive windows cover all valid times:
    each begins where the targets of the one before end, so that every sample is
    predicted once. The last window of a stretch of valid times ends with it, and may
    repeat samples of the window before.

    Raises
    ------
    ValueError
        There is no valid window.
    """
    spec = mask.spec
    if tier is not None:
        scored = scored_starts(session, tier, None, spec)
        return np.union1d(scored, centring_starts(session, spec))
    if spec.align == "trial":
        starts = session.window_starts(None, spec=spec)
    else:
        indices = session.window_indices(None, spec=spec)
        chosen = _consecutive(indices, target_points(mask))
        starts = np.asarray(session.start_grid[chosen] - session.t0)
    if not len(starts):
        raise ValueError(f"Session {session.id!r} has no valid window of {spec.duration_s:g} s.")
    return starts


def target_points(mask: Mask) -> int:
    """Return the points of the start grid from the first to the last target sample."""
    rows = np.flatnonzero(scored_cells(mask).any(axis=1))
    if not len(rows):  # decoded behaviour is predicted for the whole window
        return grid_points(mask.spec.duration_s)
    span_s = (rows[-1] + 1 - rows[0]) / mask.spec.response_rate_hz
    return max(1, int(np.floor(span_s * GRID_RATE_HZ + 1e-6)))


def _consecutive(indices: np.ndarray, stride: int) -> np.ndarray:
    """Return every `stride`-th index of each run of indices, and the last of a run."""
    chosen = [np.zeros(0, np.int64)]
    for run in np.split(indices, np.flatnonzero(np.diff(indices) > 1) + 1):
        part = run[::stride]
        if len(run) and part[-1] != run[-1]:
            part = np.append(part, run[-1])
        chosen.append(part)
    return np.concatenate(chosen)


# -- finished predictions as an NWB file, with HDF5 alone
_NWB_VERSION = "2.7.0"
_NEURONS = {
    "neuron": ("neurons", "column of the recording's responses"),
    "unit_id": ("unit_ids", "id of the neuron in the recording"),
    "position_um": ("positions_um", "x, y, z in micrometres, NaN unknown"),
    "scale": ("scale", "units of the recording per unit of normalised responses"),
}
_BLOCK_BYTES = 32 * 2**20
# NWB requires a date, which a session does not have.
_NO_DATE = "1970-01-01T00:00:00+00:00"


def write_nwb(folder: Path, path: Path, session: Session) -> None:
    """Copy the predictions of a complete zarr group into an NWB file, atomically.

    No other process may write it meanwhile.
    """
    arrays = open_arrays(folder)
    with hdf5_to_write(path) as file:
        _write_root(file, arrays.metadata, session)
        metadata = file.create_dataset(NWB_METADATA, data=json.dumps(arrays.metadata))
        _label(metadata, "core", "ScratchData", notes="metadata of the predictions, JSON")
        module = file.create_group(NWB_MODULE)
        _label(module, "core", "ProcessingModule", description="Predictions")
        unit = str(arrays.metadata["units"])
        _write_series(module, arrays, "responses", "times_s", unit)
        for name in ("valid", "window"):
            _write_series(module, arrays, name, "", "n.a.")
        if arrays.has("behavior"):
            unit = str(arrays.metadata["behavior_units"])
            _write_series(module, arrays, "behavior", "behavior_times_s", unit)
            _write_series(module, arrays, "behavior_window", "", "n.a.")
            names = ", ".join(arrays.metadata["behavior_names"])
            module["behavior"].attrs["comments"] = f"channels: {names}"
        columns = {name: (arrays.table(source), text) for name, (source, text) in _NEURONS.items()}
        _write_table(module, "neurons", columns, "predicted neurons", "hdmf-common/DynamicTable")
        starts = arrays.table("window_starts_s")
        duration_s = float(arrays.metadata["spec"]["duration_s"])
        spans = {
            "start_time": (starts, "start of the window in s"),
            "stop_time": (starts + duration_s, "end of the window in s"),
        }
        text = "windows that were predicted, one after the other"
        intervals = file.create_group("intervals")
        _write_table(intervals, "prediction_windows", spans, text, "core/TimeIntervals")


def _write_root(file: "h5py.File", metadata: Mapping[str, Any], session: Session) -> None:
    _label(file, "core", "NWBFile", nwb_version=_NWB_VERSION)
    now = datetime.now(UTC).isoformat()
    tier = metadata["tier"] or "all"
    texts = {
        "identifier": str(uuid4()),
        "session_description": f"Predictions of {metadata['predictor']} for session "
        f"{session.id}, tier {tier}. Times are s since its first response sample; the "
        "date of the recording is not known.",
        "session_start_time": _NO_DATE,
        "timestamps_reference_time": _NO_DATE,
    }
    for name, text in texts.items():
        file.create_dataset(name, data=text)
    import h5py

    file.create_dataset("file_create_date", data=[now], dtype=h5py.string_dtype())
    for name in ("acquisition", "analysis", "stimulus/presentation"):
        file.create_group(name)
    file.create_group("stimulus/templates")
    file.create_dataset("general/session_id", data=session.id)
    file.create_dataset("general/source_script", data=str(metadata["written_by"]))
    file["general/source_script"].attrs["file_name"] = "omnimouse predict"


def _write_series(
    module: "h5py.Group", arrays: StoredArrays, name: str, times: str, unit: str
) -> None:
    """Write a time series; without `times`, with those of the series it belongs to."""
    import h5py

    rows = arrays.rows(name)
    series = module.create_group(name)
    text = f"{name.replace('_', ' ')} of each predicted sample"
    _label(series, "core", "TimeSeries", description=text, comments="")
    dtype = np.dtype(np.int8) if rows.dtype.kind == "b" else rows.dtype
    # HDF5 has no chunks of an array without values.
    settings: dict[str, Any] = {}
    if all(rows.shape):
        settings = {"chunks": True, "compression": "gzip", "compression_opts": 1}
    data = series.create_dataset("data", rows.shape, dtype, **settings)
    for key, value in {"unit": unit, "conversion": 1.0, "resolution": -1.0}.items():
        data.attrs[key] = value
    row_bytes = int(np.prod(rows.shape[1:])) * rows.dtype.itemsize
    height = max(1, _BLOCK_BYTES // max(1, row_bytes))
    for first in range(0, rows.shape[0], height):
        stop = min(rows.shape[0], first + height)
        data[first:stop] = rows.read(first, stop)
    if times:
        stamps = series.create_dataset("timestamps", data=arrays.table(times))
        stamps.attrs["interval"] = np.int32(1)
        stamps.attrs["unit"] = "seconds"
    else:
        owner = "behavior" if name.startswith("behavior") else "responses"
        series["timestamps"] = h5py.SoftLink(f"/{NWB_MODULE}/{owner}/timestamps")


def _write_table(
    parent: "h5py.Group",
    name: str,
    columns: Mapping[str, tuple[np.ndarray, str]],
    text: str,
    kind: str,
) -> None:
    table = parent.create_group(name)
    namespace, _, kind = kind.partition("/")
    names: Sequence[str] = list(columns)
    _label(table, namespace, kind, description=text, colnames=names)
    n_rows = len(next(iter(columns.values()))[0])
    ids = table.create_dataset("id", data=np.arange(n_rows))
    _label(ids, "hdmf-common", "ElementIdentifiers")
    for column, (values, description) in columns.items():
        data = table.create_dataset(column, data=values)
        _label(data, "hdmf-common", "VectorData", description=description)


def _label(item: Any, namespace: str, kind: str, **attributes: Any) -> None:
    """Give a group or dataset its type in the NWB schema."""
    attributes |= {"namespace": namespace, "neurodata_type": kind}
    for name, value in {**attributes, "object_id": str(uuid4())}.items():
        item.attrs[name] = value
