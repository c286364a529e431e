"""Comparing a store with the hashes of what was written, and with its source."""

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
    """Read a store to its end and compare all of it with the hashes it keeps.

    With a source its responses, behaviour, tables, words and frames are read, too,
    and compared. `is_begun` is for one that does not say yet that it is whole.

    Raises
    ------
    SessionFormatError
        The first piece that differs.
    """
    session = (
        read(path, ReadOptions(), is_begun=True) if is_begun else open_session(path)
    )
    hashes = read_json_mapping(path / "zarr.json")["attributes"]["hashes"]
    _compare(path, "the tables", table_digest(session), hashes["tables"])
    if source is not None:
        _compare_with(path, source, table_digest(source), hashes["tables"])
    pieces = list(_pieces(path, hashes))
    for done, (name, rows, first, stop) in enumerate(pieces):
        if progress is not None:
            progress(done / len(pieces))
        _compare(path, name, _digest(rows, first, stop), hashes[name])
        if source is not None and name.startswith("responses/data/"):
            theirs = source.responses.read(first, stop)
            _compare_with(path, source, digest_of(theirs), hashes[name])
    if source is not None:
        _compare_films(path, session, source, progress)


def _pieces(
    path: Path, hashes: Mapping[str, str]
) -> Iterator[tuple[str, ShardedRows, int, int]]:
    """Name of each piece, where its rows are, and which."""
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
    """As `digest_of`, of a few rows at a time."""
    digest = blake2b()
    for begin in range(first, stop, PYRAMID_SHARD):
        digest.update(rows.read(begin, min(stop, begin + PYRAMID_SHARD)).tobytes())
    return digest.hexdigest()[:32]


def _compare_films(
    path: Path, session: Session, source: Session, progress: Progress | None
) -> None:
    ours, theirs = session.stimulus, source.stimulus
    if ours is None or theirs is None:
        return  # the tables say that both lack it
    for trial, count in enumerate(theirs.trials.n_slots.tolist()):
        if not count or not theirs.film.has(trial):
            continue
        if progress is not None:
            progress(1.0)
        frames = theirs.film.read(trial, 0, count, theirs.size)
        if not ours.film.has(trial) or not _same_frames(
            ours.film.read(trial, 0, count, ours.size), frames
        ):
            raise _differs(path, f"the film of trial {trial} is not the source's")


def _same_frames(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """To the bit, in the one type that a store has for all trials."""
    if ours.shape != theirs.shape:
        return False
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
