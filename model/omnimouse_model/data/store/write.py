"""Converting a session to our store: piece by piece, so that it can go on after a stop.

A store is made in a folder beside its place. Every piece that is whole is told in a
journal there, and `complete` is said last; then the folder is moved into place.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.session import Session
from omnimouse_model.data.store.layout import (
    FORMAT,
    FRAME_SHARD,
    MOST_CHUNK_BYTES,
    MOST_TABLE_BYTES,
    PYRAMID_SECONDS,
    PYRAMID_SHARD,
    RESPONSE_CHUNK,
    SHARD_ROWS,
    VERSION,
    Codec,
    compressors,
    frame_rows,
    is_storable,
)
from omnimouse_model.data.store.pyramid import summarised
from omnimouse_model.data.store.sharded import ShardedRows
from omnimouse_model.data.store.tables import (
    digest_of,
    identity,
    plain,
    small_arrays,
    table_digest,
    words_of,
)
from omnimouse_model.errors import SessionFormatError

Progress = Callable[[float], None]
JOURNAL = "journal.jsonl"


def convert(
    session: Session,
    path: Path,
    codec: Codec = "default",
    progress: Progress | None = None,
) -> Path:
    """Write a session as a store, exactly; goes on where an earlier try stopped.

    Parameters
    ----------
    path
        The store's folder, which must not be there yet.
    codec
        "default" (zstd), "fast" (lz4) or "none".
    progress
        Told the share that is written; may raise to stop, and the next call goes on.

    Raises
    ------
    FileExistsError
        There is something at `path`.
    SessionFormatError
        The session cannot be read to its end, or what was begun is of another one.
    """
    path = path.absolute()
    if path.exists():
        raise FileExistsError(f"{path} is there already: choose another name.")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    tell = progress or (lambda share: None)
    with np.errstate(all="ignore"):
        _Writing(session, part, codec, tell).run()
    part.replace(path)
    (path / JOURNAL).unlink()
    tell(1.0)
    return path


class _Writing:
    """One conversion, with what is done already."""

    def __init__(
        self, session: Session, part: Path, codec: Codec, progress: Progress
    ) -> None:
        self._session, self._part, self._codec = session, part, codec
        self._progress = progress
        self._about: dict[str, Any] = {
            "format": FORMAT,
            "version": VERSION,
            "codec": codec,
            "source": {
                "uri": str(session.path),
                "format": session.format,
                "fingerprint": session.fingerprint,
                "options": plain(dict(session.options)),
            },
        }
        self._done: dict[str, str] = {}

    def run(self) -> None:
        """Write what is not written yet, then say that it is whole."""
        self._refuse()
        self._begin()
        pieces = list(self._pieces())
        weight = np.cumsum([0.0, *(weight for _, weight, _ in pieces)])
        for (name, _, write), before in zip(pieces, weight[:-1], strict=True):
            self._progress(float(before / weight[-1]))
            if name not in self._done:
                self._note(name, write())
        self._finish()

    def _refuse(self) -> None:
        """Raise for what a store cannot hold, before anything is written."""
        session = self._session
        shown = _distinct(session)
        many = {
            "responses": (session.responses.dtype, 0),
            "frames": (shown.dtype, shown.frame_bytes),
        }
        for name, (dtype, one) in many.items():
            if not is_storable(dtype):
                raise _unstorable(
                    session, f"{name} of {dtype}", "numbers up to 64 bits"
                )
            if one > MOST_CHUNK_BYTES:
                limit = f"{MOST_CHUNK_BYTES:,} at most"
                raise _unstorable(session, f"{name} of {one:,} bytes each", limit)
        for name, values in small_arrays(session).items():
            if not is_storable(values.dtype) or values.nbytes > MOST_TABLE_BYTES:
                found = f"{name} of {values.nbytes:,} bytes, {values.dtype}"
                limit = f"numbers, {MOST_TABLE_BYTES:,} bytes at most"
                raise _unstorable(session, found, limit)

    def _begin(self) -> None:
        """Make the folder, or find out what an earlier try has left in it."""
        import zarr

        journal = self._part / JOURNAL
        lines = _sound_lines(journal)
        if lines:
            if lines[0] != self._about:
                raise SessionFormatError(
                    self._part,
                    "other_source",
                    f"{self._part.name} was begun from another session, codec or "
                    "version",
                    "remove that folder to begin anew",
                )
            self._done = {line["piece"]: line["hash"] for line in lines[1:]}
            return
        self._remove_begun()
        root = zarr.create_group(str(self._part), zarr_format=3)
        self._make_arrays(root)
        _append(journal, self._about)

    def _remove_begun(self) -> None:
        """Remove what was killed before its journal began, and nothing else."""
        if not self._part.exists():
            return
        names = {path.name.split(".")[0] for path in self._part.iterdir()}
        if names - {"zarr", "journal", "responses", "stimulus"}:
            raise FileExistsError(
                f"{self._part} is there already and is no store that was begun: "
                "move it away."
            )
        shutil.rmtree(self._part)

    def _note(self, name: str, digest: str) -> None:
        _append(self._part / JOURNAL, {"piece": name, "hash": digest})
        self._done[name] = digest

    # -- arrays -----------------------------------------------------------------
    def _make_arrays(self, root: Any) -> None:
        session, packed = self._session, compressors(self._codec)
        n = session.n_neurons
        wide = -(-n // RESPONSE_CHUNK[1]) * RESPONSE_CHUNK[1]
        self._array(
            root,
            "responses/data",
            (session.responses.n_samples, n),
            session.responses.dtype,
            RESPONSE_CHUNK,
            (SHARD_ROWS, wide),
            packed,
        )
        for seconds in PYRAMID_SECONDS:
            rows = -(-session.responses.n_samples // self._rows_of(seconds))
            self._array(
                root,
                f"responses/pyramid/{seconds}s",
                (rows, n, 3),
                np.dtype(np.float32),
                (128, 256, 3),
                (PYRAMID_SHARD, -(-n // 256) * 256, 3),
                packed,
            )
        shown = _distinct(session)
        if shown.trials:
            chunk, shard = frame_rows(shown.frame_bytes, FRAME_SHARD)
            self._array(
                root,
                "stimulus/frames",
                (shown.count, *shown.size),
                shown.dtype,
                (chunk, *shown.size),
                (shard, *shown.size),
                packed,
            )

    def _array(
        self,
        root: Any,
        name: str,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        chunks: tuple[int, ...],
        shards: tuple[int, ...],
        packed: list[Any],
    ) -> None:
        root.create_array(
            name,
            shape=shape,
            dtype=dtype.newbyteorder("="),
            chunks=chunks,
            shards=shards,
            compressors=packed,
            fill_value=0,
            config={"write_empty_chunks": True},
        )

    def _rows_of(self, seconds: int) -> int:
        return max(1, round(seconds * self._session.responses.rate_hz))

    # -- pieces -----------------------------------------------------------------
    def _pieces(self) -> Iterator[tuple[str, float, Callable[[], str]]]:
        """Name of each piece, its weight, and what writes it and gives its hash."""
        session = self._session
        rows, n = session.responses.n_samples, session.n_neurons
        for first in range(0, rows, SHARD_ROWS):
            stop = min(rows, first + SHARD_ROWS)
            yield (
                f"responses/data/{first}",
                float((stop - first) * n * session.responses.dtype.itemsize),
                partial(self._responses, first, stop),
            )
        for seconds in PYRAMID_SECONDS:
            weight = float(rows * n)
            yield (
                f"responses/pyramid/{seconds}s",
                weight,
                partial(self._pyramid, seconds),
            )
        shown = _distinct(session)
        _, height = frame_rows(shown.frame_bytes, FRAME_SHARD)
        for first in range(0, shown.count, height):
            stop = min(shown.count, first + height)
            yield (
                f"stimulus/frames/{first}",
                float(shown.frame_bytes * (stop - first)),
                partial(self._frames, first, stop),
            )
        yield "tables", 1.0, self._tables

    def _open(self, name: str) -> Any:
        import zarr

        return zarr.open_array(str(self._part), path=name, mode="r+")

    def _responses(self, first: int, stop: int) -> str:
        values = self._session.responses.read(first, stop)
        self._open("responses/data")[first:stop] = values
        return digest_of(values)

    def _pyramid(self, seconds: int) -> str:
        array, digest = self._open(f"responses/pyramid/{seconds}s"), blake2b()
        # From what is written: the source may be slow to read, and is read once.
        rows = ShardedRows(self._part / "responses" / "data", self._part)
        step = self._rows_of(seconds)
        for first in range(0, array.shape[0], PYRAMID_SHARD):
            stop = min(array.shape[0], first + PYRAMID_SHARD)
            values = np.concatenate(
                [
                    summarised(rows.read(begin, min(rows.shape[0], begin + step)))
                    for begin in range(first * step, stop * step, step)
                ]
            )
            array[first:stop] = values
            digest.update(values.tobytes())
        return digest.hexdigest()[:32]

    def _frames(self, first: int, stop: int) -> str:
        stimulus = self._session.stimulus
        assert stimulus is not None
        shown, parts, at = _distinct(self._session), [], 0
        for trial, count in shown.trials:
            low, high = max(first, at), min(stop, at + count)
            if low < high:
                parts.append(
                    stimulus.film.read(trial, low - at, high - at, stimulus.size)
                )
            at += count
        values = np.concatenate(
            [part.astype(shown.dtype, copy=False) for part in parts]
        )
        self._open("stimulus/frames")[first:stop] = values
        return digest_of(values)

    def _tables(self) -> str:
        """Everything small, as arrays and attributes."""
        import zarr

        session = self._session
        root = zarr.open_group(str(self._part), mode="r+")
        arrays = small_arrays(session)
        if session.stimulus is not None:
            arrays["stimulus/first_row"] = _distinct(session).first
        for name, values in arrays.items():
            root.create_array(
                name,
                data=values,
                compressors=compressors(self._codec),
                overwrite=True,
                config={"write_empty_chunks": True},
            )
        for group, words in words_of(session).items():
            root[group].attrs.update(words)
        return table_digest(session)

    def _finish(self) -> None:
        """Say what the whole is; `complete` comes with it, in one write."""
        import zarr

        session = self._session
        whole = blake2b(json.dumps(self._done, sort_keys=True).encode()).hexdigest()[
            :32
        ]
        root = zarr.open_group(str(self._part), mode="r+")
        root.attrs.update(
            {
                **self._about,
                **identity(session),
                "assumptions": [asdict(note) for note in session.assumptions],
                "hashes": self._done,
                "content_hash": whole,
            }
        )
        root.attrs["complete"] = True


@dataclass(frozen=True, slots=True)
class _Distinct:
    """The frames of a session, each distinct film once.

    Attributes
    ----------
    trials
        Trials whose frames are stored, with how many.
    first
        First row of every trial; those that show the same share it, -1 has none.
    dtype, size
        One type that holds the frames of every trial exactly; the shape of a frame.
    """

    trials: list[tuple[int, int]]
    first: np.ndarray
    dtype: np.dtype[Any]
    size: tuple[int, ...]

    @property
    def count(self) -> int:
        """Frames in all."""
        return sum(count for _, count in self.trials)

    @property
    def frame_bytes(self) -> int:
        """Bytes of one."""
        return int(np.prod(self.size, dtype=object)) * self.dtype.itemsize


def _distinct(session: Session) -> _Distinct:
    """See there; the films are read for it once."""
    if "store_frames" not in session._cache:
        session._cache["store_frames"] = _find_distinct(session)
    found: _Distinct = session._cache["store_frames"]
    return found


def _find_distinct(session: Session) -> _Distinct:
    stimulus = session.stimulus
    if stimulus is None:
        return _Distinct([], np.zeros(0, np.int64), np.dtype(np.uint8), ())
    first = np.full(len(stimulus.trials), -1, np.int64)
    known: dict[str, int] = {}
    stored: list[tuple[int, int]] = []
    kinds: set[np.dtype[Any]] = set()
    row = 0
    for trial, count in enumerate(stimulus.trials.n_slots.tolist()):
        if not stimulus.film.has(trial) or not count:
            continue
        frames = stimulus.film.read(trial, 0, count, stimulus.size)
        kinds.add(frames.dtype.newbyteorder("="))
        key = f"{frames.dtype} {frames.shape} {digest_of(frames)}"
        if key not in known:
            known[key] = row
            stored.append((trial, count))
            row += count
        first[trial] = known[key]
    return _Distinct(stored, first, _one_type(session, kinds), stimulus.size)


def _one_type(session: Session, kinds: set[np.dtype[Any]]) -> np.dtype[Any]:
    if not kinds:
        return np.dtype(np.uint8)
    found = np.result_type(*kinds)
    wide = [k for k in kinds if k.kind in "iu" and k.itemsize == found.itemsize]
    if found.kind == "f" and wide:
        names = ", ".join(sorted(map(str, kinds)))
        raise _unstorable(session, f"frames of {names}", "one type that holds them all")
    return found


def _unstorable(session: Session, found: str, limit: str) -> SessionFormatError:
    return SessionFormatError(
        session.path,
        "not_storable",
        f"session '{session.id}' has {found}; a store holds {limit}",
        "convert these values first",
    )


def _append(path: Path, line: dict[str, Any]) -> None:
    """Add a line that is on the disk when this returns."""
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def _sound_lines(path: Path) -> list[dict[str, Any]]:
    """Lines up to one that a stop has torn, which is cut off; none without a file."""
    if not path.exists():
        return []
    stored, lines, sound = path.read_bytes(), [], 0
    for line in stored.splitlines(keepends=True):
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
        if not line.endswith(b"\n"):
            lines.pop()
            break
        sound += len(line)
    if sound < len(stored):
        os.truncate(path, sound)
    return lines
