"""Converting a session to our store: piece by piece, so that it can go on after a stop.

A store is made in a folder beside its place. Every piece that is whole is told in a
journal there, and `complete` is said last, after all of it was compared with its
source; then the folder is moved into place.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.conversion.check import verify
from omnimouse_model.data.io.safe_files import read_json_mapping
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
from omnimouse_model.data.store.pyramid import Level
from omnimouse_model.data.store.sharded import ShardedRows
from omnimouse_model.data.store.tables import (
    digest_of,
    identity,
    plain,
    small_arrays,
    table_digest,
    words_of,
)
from omnimouse_model.data.store.videos import distinct_films, unstorable
from omnimouse_model.errors import SessionFormatError

Progress = Callable[[float], None]
JOURNAL = "journal.jsonl"
_ROWS_AT_ONCE = 32 * RESPONSE_CHUNK[0]
_GROUPS = "(responses|behaviour|stimulus|trials|units|images)"
_UNNAMED = r"\.[0-9a-f]{32}\.partial"
"""What a stop leaves of a file that zarr had not named yet."""
_MADE = re.compile(
    rf"journal\.jsonl|zarr(\.json|{_UNNAMED})"
    rf"|{_GROUPS}(/[^/]+)*/(zarr(\.json|{_UNNAMED})|c(/\d+)*({_UNNAMED})?)"
)


def convert(
    session: Session,
    path: Path,
    codec: Codec = "default",
    progress: Progress | None = None,
    comparing: Progress | None = None,
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
    comparing
        Have the store read to its end and compared with the session before it is moved
        into place; told the share. What differs is written anew by the next call.

    Raises
    ------
    FileExistsError
        There is something at `path`, or a folder of others where it is to be made.
    ValueError
        `path` is inside the session itself.
    SessionFormatError
        The session cannot be read to its end or holds what no store can, what was begun
        is of another one, or the store differs from it.
    """
    path = path.absolute()
    _refuse_inside(session, path)
    part = path.with_name(f"{path.name}.part")
    tell = progress or (lambda share: None)
    writing = _Writing(session, part, codec, tell)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with np.errstate(all="ignore"):
            writing.run()
            tell(1.0)
            if comparing is not None:
                writing.compare(comparing)
        writing.complete()
        part.replace(path)
        _sync(path.parent)
    elif not writing.is_moved(path):
        raise FileExistsError(f"{path} is there already: choose another name.")
    (path / JOURNAL).unlink()
    return path


def share_written(session: Session, path: Path, codec: Codec = "default") -> float:
    """How much of a store an earlier try has written; 1 only where it is whole.

    See `convert`. The films are looked through for it.
    """
    path = path.absolute()
    writing = _Writing(
        session, path.with_name(f"{path.name}.part"), codec, lambda share: None
    )
    return 1.0 if writing.is_whole(path) else writing.share()


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
        for (names, _, write), before in zip(pieces, weight[:-1], strict=True):
            self._progress(float(before / weight[-1]))
            if not self._done.keys() >= set(names):
                found = write()
                _sync(*self._files_of(names))
                for name, digest in zip(names, found, strict=True):
                    self._note(name, digest)
        self._describe()

    def compare(self, progress: Progress) -> None:
        """Read it to its end and compare; what is damaged is begun anew next time."""
        try:
            verify(self._part, self._session, progress, is_begun=True)
        except SessionFormatError as error:
            if error.path.is_relative_to(self._part):
                os.truncate(self._part / JOURNAL, 0)
            raise

    def complete(self) -> None:
        """Say that it is whole."""
        import zarr

        zarr.open_group(str(self._part), mode="r+").attrs["complete"] = True
        _sync(self._part / "zarr.json", self._part)

    def is_moved(self, path: Path) -> bool:
        """Whether a stop came after the last move, and nothing is left to do."""
        return _sound_lines(path / JOURNAL)[0][:1] == [self._about]

    def is_whole(self, path: Path) -> bool:
        """Whether the store is there already, complete and of this very session."""
        about = path / "zarr.json"
        if not about.is_file() or (path / JOURNAL).exists():
            return False
        try:
            words = read_json_mapping(about).get("attributes")
        except SessionFormatError:
            return False
        if not isinstance(words, dict) or words.get("complete") is not True:
            return False
        return {key: words.get(key) for key in self._about} == self._about

    def share(self) -> float:
        """What the journal tells of, as a share of the whole, below 1."""
        lines, _ = _sound_lines(self._part / JOURNAL)
        if lines[:1] != [self._about]:
            return 0.0
        done = {line["piece"] for line in lines[1:]}
        weights = [(done >= set(names), w) for names, w, _ in self._pieces()]
        share = sum(w for is_done, w in weights if is_done) / sum(w for _, w in weights)
        return min(0.99, share)  # it is still to be compared and moved

    def _refuse(self) -> None:
        """Raise for what a store cannot hold, before anything is written."""
        session = self._session
        shown = distinct_films(session)
        many = {
            "responses": (session.responses.dtype, 0),
            "frames": (shown.dtype, shown.frame_bytes),
        }
        for name, (dtype, one) in many.items():
            if not is_storable(dtype):
                raise unstorable(session, f"{name} of {dtype}", "numbers up to 64 bits")
            if one > MOST_CHUNK_BYTES:
                limit = f"{MOST_CHUNK_BYTES:,} at most"
                raise unstorable(session, f"{name} of {one:,} bytes each", limit)
        for name, values in small_arrays(session).items():
            if not is_storable(values.dtype) or values.nbytes > MOST_TABLE_BYTES:
                found = f"{name} of {values.nbytes:,} bytes, {values.dtype}"
                limit = f"numbers, {MOST_TABLE_BYTES:,} bytes at most"
                raise unstorable(session, found, limit)

    def _begin(self) -> None:
        """Make the folder, or find out what an earlier try has left in it."""
        import zarr

        journal = self._part / JOURNAL
        lines, sound = _sound_lines(journal)
        if lines:
            os.truncate(journal, sound)
            if lines[0] != self._about:
                raise SessionFormatError(
                    self._part,
                    "other_source",
                    f"{self._part.name} was begun "
                    f"{_begun_otherwise(lines[0], self._about)}",
                    "remove that folder to begin anew, or choose another name",
                )
            self._done = {line["piece"]: line["hash"] for line in lines[1:]}
            for path in self._part.rglob("*.partial"):
                path.unlink()
            return
        self._remove_begun()
        words = {"format": FORMAT, "version": VERSION}
        root = zarr.create_group(str(self._part), zarr_format=3, attributes=words)
        self._make_arrays(root)
        _append(journal, self._about)

    def _remove_begun(self) -> None:
        """Remove what has no journal, and nothing that is not ours."""
        if not os.path.lexists(self._part):
            return
        if not _is_ours(self._part):
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
        shown = distinct_films(session)
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
    def _pieces(self) -> Iterator[tuple[tuple[str, ...], float, Callable[[], Any]]]:
        """Names of each piece, its weight, and what writes it and gives its hashes."""
        session = self._session
        rows, n = session.responses.n_samples, session.n_neurons
        for first in range(0, rows, SHARD_ROWS):
            stop = min(rows, first + SHARD_ROWS)
            yield (
                (f"responses/data/{first}",),
                float((stop - first) * n * session.responses.dtype.itemsize),
                partial(self._responses, first, stop),
            )
        levels = tuple(f"responses/pyramid/{seconds}s" for seconds in PYRAMID_SECONDS)
        yield levels, float(2 * rows * n), self._pyramid
        shown = distinct_films(session)
        _, height = frame_rows(shown.frame_bytes, FRAME_SHARD)
        for first in range(0, shown.count, height):
            stop = min(shown.count, first + height)
            yield (
                (f"stimulus/frames/{first}",),
                float(shown.frame_bytes * (stop - first)),
                partial(self._frames, first, stop),
            )
        yield ("tables",), 1.0, self._tables

    def _open(self, name: str) -> Any:
        import zarr

        with zarr.config.set({"array.write_empty_chunks": True}):
            return zarr.open_array(str(self._part), path=name, mode="r+")

    def _files_of(self, names: tuple[str, ...]) -> Iterator[Path]:
        """Files of a piece; its tables are written last, with all that is small."""
        for name in names:
            array, _, first = name.rpartition("/")
            if first.isdigit():
                height = self._open(array).shards[0]
                yield from _tree(self._part / array / "c" / str(int(first) // height))
            else:
                yield from _tree(self._part if name == "tables" else self._part / name)

    def _responses(self, first: int, stop: int) -> list[str]:
        values = self._session.responses.read(first, stop)
        self._open("responses/data")[first:stop] = values
        return [digest_of(values)]

    def _pyramid(self) -> list[str]:
        """All levels from one reading of what is written, each chunk unpacked once."""
        rows = ShardedRows(self._part / "responses" / "data")
        levels = [
            Level(self._open(f"responses/pyramid/{seconds}s"), self._rows_of(seconds))
            for seconds in PYRAMID_SECONDS
        ]
        for first in range(0, rows.shape[0], _ROWS_AT_ONCE):
            block = rows.read(first, min(rows.shape[0], first + _ROWS_AT_ONCE))
            for level in levels:
                level.add(block)
        return [level.finish() for level in levels]

    def _frames(self, first: int, stop: int) -> list[str]:
        stimulus = self._session.stimulus
        assert stimulus is not None
        shown, parts, at = distinct_films(self._session), [], 0
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
        return [digest_of(values)]

    def _tables(self) -> list[str]:
        """Everything small, as arrays and attributes."""
        import zarr

        session = self._session
        root = zarr.open_group(str(self._part), mode="r+")
        arrays = small_arrays(session)
        if session.stimulus is not None:
            arrays["stimulus/first_row"] = distinct_films(session).first
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
        return [table_digest(session)]

    def _describe(self) -> None:
        """Say what the whole is, but not yet that it is whole."""
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


def _refuse_inside(session: Session, path: Path) -> None:
    source = session.path
    if source.is_dir() and path.resolve().is_relative_to(source.resolve()):
        if path.exists():
            raise FileExistsError(f"{path} is there already: choose another name.")
        raise ValueError(
            f"{path} is inside the session {source} itself: choose a place beside it."
        )


def _begun_otherwise(begun: dict[str, Any], wanted: dict[str, Any]) -> str:
    """What is not the same as in an earlier try, in words."""
    theirs, ours = begun.get("source"), wanted["source"]
    if not isinstance(theirs, dict):
        return "by another program"
    for key in ("format", "version"):
        if begun.get(key) != wanted[key]:
            return f"by another version ({begun.get(key)}, this is {wanted[key]})"
    if theirs.get("fingerprint") != ours["fingerprint"]:
        same = theirs.get("uri") == ours["uri"]
        changed = f"from {ours['uri']} before its files changed"
        return changed if same else f"from another session, {theirs.get('uri')}"
    if begun.get("codec") != wanted["codec"]:
        return f"with codec {begun.get('codec')}, not {wanted['codec']}"
    if theirs.get("options") != ours["options"]:
        return f"with other options: {theirs.get('options') or 'none'}"
    return f"when the session was at {theirs.get('uri')}"


def _append(path: Path, line: dict[str, Any]) -> None:
    """Add a line that is on the disk when this returns."""
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def _tree(folder: Path) -> Iterator[Path]:
    """A folder with all that is in it, the folder last."""
    yield from folder.rglob("*")
    yield folder


def _sync(*paths: Path) -> None:
    """Have files and the names in folders on the disk when this returns."""
    for path in paths:
        if path.is_dir() and os.name == "nt":
            continue  # Windows keeps names itself
        number = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _is_ours(part: Path) -> bool:
    """Whether a folder holds a store that was begun, and nothing else."""
    if part.is_symlink() or not part.is_dir():
        return False
    names = []
    for path in part.rglob("*"):
        name = path.relative_to(part).as_posix()
        if path.is_symlink() or not (path.is_dir() or _MADE.fullmatch(name)):
            return False
        names.append(name)
    about = part / "zarr.json"
    if not about.exists():
        return not any(part.joinpath(name).suffix != ".partial" for name in names)
    try:
        words = read_json_mapping(about).get("attributes")
    except SessionFormatError:
        return False
    return isinstance(words, dict) and words.get("format") == FORMAT


def _sound_lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Lines up to one that a stop has torn, and their bytes; none without a file."""
    if not path.is_file():
        return [], 0
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
    return lines, sound
