"""Comparison of a store with its stored hashes and with its source."""

from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path

import numpy as np

from omnimouse_model.data.io.safe_files import read_json_mapping
from omnimouse_model.data.open import open_session
from omnimouse_model.data.read_options import ReadOptions
from omnimouse_model.data.session import Session
from omnimouse_model.data.store.layout import PYRAMID_SHARD
from omnimouse_model.data.store.reader import read
from omnimouse_model.data.store.sharded import ShardedRows
from omnimouse_model.data.store.tables import digest_of, table_digest
from omnimouse_model.errors import SessionFormatError

Progress = Callable[[float], None]


def verify(
    path: Path,
    source: Session | None = None,
    progress: Progress | None = None,
    *,
    is_begun: bool = False,
) -> None:
    """Read a store completely and compare it with its stored hashes.

    With a source, the responses, behaviour, tables, texts and frames of the source are
    read and compared as well. `is_begun` allows a store not yet marked as complete.

    Raises
    ------
    SessionFormatError
        A piece differs; the error names the first one.
    """
    session = (
        read(path, ReadOptions(), is_begun=True) if is_begun else open_session(path)
    )
    hashes = read_json_mapping(path / "zarr.json")["attributes"]["hashes"]
    _compare(path, "the tables", table_digest(session), hashes["tables"])
    if source is not None:
        _compare_with(path, source, table_digest(source), hashes["tables"])
    # Piece by piece, as they were hashed at writing, so that a long session never lies
    # in memory as a whole.
    pieces = list(_pieces(path, hashes))
    for done, (name, rows, first, stop) in enumerate(pieces):
        if progress is not None:
            progress(done / len(pieces))
        _compare(path, name, _digest(rows, first, stop), hashes[name])
        if source is not None and name.startswith("responses/data/"):
            theirs = source.responses.read(first, stop)
            _compare_with(path, source, digest_of(theirs), hashes[name])
    if source is not None:
        # Frames are compared through the reader, not by hash: a store holds each
        # distinct video once, so its pieces do not correspond to trials of the source.
        _compare_videos(path, session, source, progress)


def _pieces(
    path: Path, hashes: Mapping[str, str]
) -> Iterator[tuple[str, ShardedRows, int, int]]:
    """Yield name, array, first and last row of each piece."""
    for array in ("responses/data", "stimulus/frames"):
        named = sorted(
            int(name.rsplit("/", 1)[1])
            for name in hashes
            if name.rsplit("/", 1)[0] == array
        )
        if named:
            rows = ShardedRows(path.joinpath(*array.split("/")))
            for first, stop in pairwise([*named, rows.shape[0]]):
                yield f"{array}/{first}", rows, first, stop
    for name in hashes:
        if name.startswith("responses/pyramid/"):
            rows = ShardedRows(path.joinpath(*name.split("/")))
            yield name, rows, 0, rows.shape[0]


def _digest(rows: ShardedRows, first: int, stop: int) -> str:
    """Return `digest_of` of a range of rows, read in blocks."""
    digest = blake2b()
    for begin in range(first, stop, PYRAMID_SHARD):
        digest.update(rows.read(begin, min(stop, begin + PYRAMID_SHARD)).tobytes())
    return digest.hexdigest()[:32]


def _compare_videos(
    path: Path, session: Session, source: Session, progress: Progress | None
) -> None:
    ours, theirs = session.stimulus, source.stimulus
    if ours is None or theirs is None:
        return  # equal tables: neither has a stimulus
    for trial, count in enumerate(theirs.trials.n_slots.tolist()):
        if not count or not theirs.source.has(trial):
            continue
        if progress is not None:
            progress(1.0)
        frames = theirs.source.read(trial, 0, count, theirs.size)
        if not ours.source.has(trial) or not _same_frames(
            ours.source.read(trial, 0, count, ours.size), frames
        ):
            raise _differs(path, f"the video of trial {trial} is not the source's")


def _same_frames(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Return whether frames are equal bit by bit in the type of the store."""
    if ours.shape != theirs.shape:
        return False
    # As bytes, because NaN is not equal to itself and -0.0 is equal to 0.0.
    return ours.tobytes() == theirs.astype(ours.dtype).tobytes()


def _compare(path: Path, name: str, found: str, told: str) -> None:
    if found != told:
        raise _differs(path, f"{name}: not what was written")


def _compare_with(path: Path, source: Session, theirs: str, ours: str) -> None:
    if theirs != ours:
        raise _differs(path, f"it is not what {source.path} holds")


def _differs(path: Path, what: str) -> SessionFormatError:
    return SessionFormatError(
        path, "differs", f"{path.name}: {what}", "convert the session again"
    )
