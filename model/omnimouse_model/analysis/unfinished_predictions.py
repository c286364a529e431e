"""The unfinished file of predictions: a zarr group and the journal of its batches.

It is a folder beside its target, `x.zarr.part` (see `storage.journal`). A batch is a range
of rows that no other batch touches, and is noted in the journal after its rows are written;
a later run checks the rows of a noted batch against its hash and predicts the others. The
folder is renamed when all batches are there.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.session import Session
from omnimouse_model.data.store import RESPONSE_CHUNK, compressors
from omnimouse_model.errors import PredictionsFileError, ResultsFileError, SessionFormatError
from omnimouse_model.evaluation.running_score import CHANNELS
from omnimouse_model.masks import Mask
from omnimouse_model.predict.prediction_file import Metadata, open_file, unfinished_path
from omnimouse_model.storage.arrays.zarr_arrays import (
    ZarrArray,
    array_to_write,
    check_files,
    create_group,
    update_attributes,
)
from omnimouse_model.storage.journal import JOURNAL, Journal, check_own, open_journal

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
    """Remove what a run that was killed at its end has left of its unfinished file."""
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
        self.folder.replace(path)
        # Last: a folder without a journal would not be continued.
        (path / JOURNAL).unlink(missing_ok=True)

    # -- arrays -----------------------------------------------------------------------
    def _make_arrays(self, n_channels: int) -> None:
        """Make all arrays; those that do not depend on predictions are complete."""
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
    """Yield array, rows and values of a batch."""
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
    differences = [
        f"{name} is {stored.get(name)} in the file, {value} here"
        for name, value in question.items()
        if stored.get(name) != value
    ]
    if differences:
        raise ResultsFileError(
            f"{path} has other predictions: {'; '.join(differences)}. Choose another path."
        )
