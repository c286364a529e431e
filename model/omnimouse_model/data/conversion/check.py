"""Comparison of a store with its stored hashes and with its source."""

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path

import numpy as np

from omnimouse_model.data.open import open_session
from omnimouse_model.data.read_options import ReadOptions
from omnimouse_model.data.session import Session
from omnimouse_model.data.store.layout import PYRAMID_SHARD
from omnimouse_model.data.store.reader import read
from omnimouse_model.data.store.recorded_rows import RecordedRows
from omnimouse_model.data.store.tables import digest_of, table_digest
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.progress import QUIET, Job, advance
from omnimouse_model.storage.arrays.zarr_arrays import ZarrArray
from omnimouse_model.storage.trees import read_json_mapping


def verify(
    path: Path,
    source: Session | None = None,
    job: Job = QUIET,
    *,
    is_unfinished: bool = False,
) -> None:
    """Read a store completely and compare it with its stored hashes.

    With a source, the responses, behaviour, tables, texts and frames of the source are
    read and compared as well. `is_unfinished` allows a store that is not marked as
    complete.

    Raises
    ------
    SessionFormatError
        A piece differs; the error names the first one.
    """
    # `open_session` would refuse an unfinished store.
    session = read(path, ReadOptions(), is_unfinished=True) if is_unfinished else open_session(path)
    # Reading has compared the tables with their hash.
    hashes = read_json_mapping(path / "zarr.json")["attributes"]["hashes"]
    if source is not None:
        _compare_with(source, path, table_digest(source), hashes["tables"])
    # Piece by piece, as they were hashed at writing, so that a long session never lies
    # in memory as a whole.
    pieces = list(_pieces(path, hashes))
    recorded = None if source is None else RecordedRows(source.responses)
    for done, (name, rows, first, stop) in enumerate(pieces):
        advance(job, done, len(pieces), "comparing")
        _compare(path, name, _digest(rows, first, stop), hashes[name])
        if source is not None and recorded is not None and name.startswith("responses/data/"):
            digest = digest_of(recorded.read(first, stop))
            _compare_with(source, path, digest, hashes[name])
    if source is not None:
        # Frames are compared through the reader, not by hash: a store holds each
        # distinct video once, so its pieces do not correspond to trials of the source.
        _compare_videos(path, session, source, job)


def _pieces(path: Path, hashes: Mapping[str, str]) -> Iterator[tuple[str, ZarrArray, int, int]]:
    """Yield name, array, first and last row of each piece."""
    arrays: dict[str, list[int]] = {}
    for name in hashes:
        array, _, first = name.rpartition("/")
        if first.isdigit():
            arrays.setdefault(array, []).append(int(first))
        elif name != "tables":
            rows = ZarrArray(path / name, is_whole=True)
            yield name, rows, 0, rows.shape[0]
    for array, firsts in arrays.items():
        rows = ZarrArray(path / array, is_whole=True)
        for begin, end in pairwise([*sorted(firsts), rows.shape[0]]):
            yield f"{array}/{begin}", rows, begin, end


def _digest(rows: ZarrArray, first: int, stop: int) -> str:
    """Return `digest_of` of a range of rows, read in blocks."""
    digest = blake2b()
    for begin in range(first, stop, PYRAMID_SHARD):
        digest.update(rows.read(begin, min(stop, begin + PYRAMID_SHARD)).tobytes())
    return digest.hexdigest()[:32]


def _compare_videos(path: Path, session: Session, source: Session, job: Job) -> None:
    stored, original = session.stimulus, source.stimulus
    if stored is None or original is None:
        return  # equal tables: neither has a stimulus
    for trial, count in enumerate(original.trials.n_slots.tolist()):
        if not count or not original.source.has(trial):
            continue
        advance(job, 1.0, 1.0, "comparing")
        frames = original.source.read(trial, 0, count, original.size)
        if not stored.source.has(trial) or not _same_frames(
            stored.source.read(trial, 0, count, stored.size), frames
        ):
            raise _differs(path, f"the video of trial {trial} is not the source's")


def _same_frames(stored: np.ndarray, original: np.ndarray) -> bool:
    """Return whether frames are equal bit by bit in the type of the store."""
    if stored.shape != original.shape:
        return False
    # As bytes, because NaN is not equal to itself and -0.0 is equal to 0.0.
    return stored.tobytes() == original.astype(stored.dtype).tobytes()


def _compare(path: Path, name: str, digest: str, expected: str) -> None:
    if digest != expected:
        raise _differs(path, f"{name} differs from what was written")


def _compare_with(source: Session, path: Path, digest: str, stored: str) -> None:
    if digest != stored:
        raise _differs(path, f"it differs from {source.path}")


def _differs(path: Path, problem: str) -> SessionFormatError:
    return SessionFormatError(
        path, "differs", f"{path.name}: {problem}", "convert the session again"
    )
