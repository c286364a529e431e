"""Conversion of a session to a store, piece by piece, with resumption after a stop.

A store is written to a folder beside its target. A journal in that folder lists every
finished piece. The attribute `complete` is set last, after an optional comparison with
the source; then the folder is renamed to the target.
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
from omnimouse_model.data.store.videos import distinct_videos, unstorable
from omnimouse_model.errors import SessionFormatError

Progress = Callable[[float], None]
JOURNAL = "journal.jsonl"
# A multiple of the chunk height, so that no chunk is decoded twice.
_ROWS_AT_ONCE = 32 * RESPONSE_CHUNK[0]
_GROUPS = "(responses|behaviour|stimulus|trials|units|images)"
_UNNAMED = r"\.[0-9a-f]{32}\.partial"
"""Pattern of a temporary file of zarr that a stop leaves behind."""
# Every path that an unfinished conversion can contain. A folder with any other path is
# not removed.
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
    """Write a session as a lossless store; resume an interrupted conversion.

    Parameters
    ----------
    path
        The folder of the store, which must not exist.
    codec
        "default" (zstd), "fast" (lz4) or "none".
    progress
        Called with the written share; may raise to stop, and the next call resumes.
    comparing
        If given, the store is read completely and compared with the session before it
        is renamed; called with the compared share. After a difference the next call
        writes everything again.

    Raises
    ------
    FileExistsError
        `path` exists, or the folder for the unfinished store has other contents.
    ValueError
        `path` is inside the session itself.
    SessionFormatError
        The session cannot be read completely or has values that a store cannot hold,
        the unfinished store is of another session, or the store differs from it.
    """
    path = path.absolute()
    _refuse_inside(session, path)
    part = path.with_name(f"{path.name}.part")
    tell = progress or (lambda share: None)
    writing = _Writing(session, part, codec, tell)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # NaN and infinities are stored as they are; warnings about them would mislead.
        with np.errstate(all="ignore"):
            writing.run()
            tell(1.0)
            if comparing is not None:
                writing.compare(comparing)
        writing.complete()
        part.replace(path)
        # A rename survives a power failure only after the parent folder is synced.
        _sync(path.parent)
    # A stop between the rename and the removal of the journal leaves a complete store
    # that still has its journal: only the removal remains.
    elif not writing.is_moved(path):
        raise FileExistsError(f"{path} is there already: choose another name.")
    (path / JOURNAL).unlink()
    return path


def share_written(session: Session, path: Path, codec: Codec = "default") -> float:
    """Return the share of a store that is already written; 1 only if it is complete.

    See `convert`. All videos are read to find the distinct ones.
    """
    path = path.absolute()
    writing = _Writing(
        session, path.with_name(f"{path.name}.part"), codec, lambda share: None
    )
    return 1.0 if writing.is_whole(path) else writing.share()


class _Writing:
    """One conversion, with the finished pieces."""

    def __init__(
        self, session: Session, part: Path, codec: Codec, progress: Progress
    ) -> None:
        self._session, self._part, self._codec = session, part, codec
        self._progress = progress
        # First line of the journal: identifies the source and the settings. A
        # conversion is resumed only if it is equal.
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
        """Write all missing pieces, then the attributes of the store."""
        self._refuse()
        self._begin()
        pieces = list(self._pieces())
        weight = np.cumsum([0.0, *(weight for _, weight, _ in pieces)])
        for (names, _, write), before in zip(pieces, weight[:-1], strict=True):
            self._progress(float(before / weight[-1]))
            if not self._done.keys() >= set(names):
                found = write()
                # The data must be on the drive before the journal says so; otherwise a
                # power failure leaves a listed piece without its data.
                _sync(*self._files_of(names))
                for name, digest in zip(names, found, strict=True):
                    self._note(name, digest)
        self._describe()

    def compare(self, progress: Progress) -> None:
        """Compare the store with the session; empty the journal of a damaged store."""
        try:
            verify(self._part, self._session, progress, is_begun=True)
        except SessionFormatError as error:
            # The fault is in the store and not in the source: without its journal the
            # next call begins anew.
            if error.path.is_relative_to(self._part):
                os.truncate(self._part / JOURNAL, 0)
            raise

    def complete(self) -> None:
        """Mark the store as complete."""
        import zarr

        zarr.open_group(str(self._part), mode="r+").attrs["complete"] = True
        _sync(self._part / "zarr.json", self._part)

    def is_moved(self, path: Path) -> bool:
        """Return whether the store was renamed, but its journal not yet removed."""
        return _sound_lines(path / JOURNAL)[0][:1] == [self._about]

    def is_whole(self, path: Path) -> bool:
        """Return whether the store exists, is complete and has the same source."""
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
        """Return the share of the pieces in the journal, below 1."""
        lines, _ = _sound_lines(self._part / JOURNAL)
        if lines[:1] != [self._about]:
            return 0.0
        done = {line["piece"] for line in lines[1:]}
        weights = [(done >= set(names), w) for names, w, _ in self._pieces()]
        share = sum(w for is_done, w in weights if is_done) / sum(w for _, w in weights)
        return min(0.99, share)  # the comparison and the rename are still missing

    def _refuse(self) -> None:
        """Raise for values that a store cannot hold, before anything is written."""
        session = self._session
        shown = distinct_videos(session)
        # Each entry is a type and the bytes of the smallest piece: one frame must fit
        # into a chunk; responses can always be divided.
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
        """Make the folder, or read the journal of an earlier try."""
        import zarr

        journal = self._part / JOURNAL
        lines, sound = _sound_lines(journal)
        if lines:
            # Removes a line that a stop has torn, so that the next line is not appended
            # to it.
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
        """Remove an unfinished store without journal; raise if it is something else."""
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
        # A shard spans all neurons, so that a window needs one or two files.
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
        shown = distinct_videos(session)
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
            # Otherwise zarr leaves out chunks of zeros, which the reader could not
            # distinguish from missing ones.
            config={"write_empty_chunks": True},
        )

    def _rows_of(self, seconds: int) -> int:
        return max(1, round(seconds * self._session.responses.rate_hz))

    # -- pieces -----------------------------------------------------------------
    def _pieces(self) -> Iterator[tuple[tuple[str, ...], float, Callable[[], Any]]]:
        """Yield names, weight, and a function that writes and hashes each piece."""
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
        # The pyramid is one piece, since all its levels come from one reading; tables
        # are last, because they also sync the root's metadata.
        yield levels, float(2 * rows * n), self._pyramid
        shown = distinct_videos(session)
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

        # The setting is not stored in the array, so it is needed at every opening.
        with zarr.config.set({"array.write_empty_chunks": True}):
            return zarr.open_array(str(self._part), path=name, mode="r+")

    def _files_of(self, names: tuple[str, ...]) -> Iterator[Path]:
        """Yield the files of a piece; the tables come with all other small files."""
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
        shown, parts, at = distinct_videos(self._session), [], 0
        for trial, count in shown.trials:
            low, high = max(first, at), min(stop, at + count)
            if low < high:
                parts.append(
                    stimulus.source.read(trial, low - at, high - at, stimulus.size)
                )
            at += count
        values = np.concatenate(
            [part.astype(shown.dtype, copy=False) for part in parts]
        )
        self._open("stimulus/frames")[first:stop] = values
        return [digest_of(values)]

    def _tables(self) -> list[str]:
        """Write all small arrays and attributes; return their hash."""
        import zarr

        session = self._session
        root = zarr.open_group(str(self._part), mode="r+")
        arrays = small_arrays(session)
        if session.stimulus is not None:
            arrays["stimulus/first_row"] = distinct_videos(session).first
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
        """Write the attributes of the root, except the mark that it is complete."""
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
    """Return a text that states how an earlier try differs."""
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
    """Append a line and sync it to the drive."""
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def _tree(folder: Path) -> Iterator[Path]:
    """Yield all contents of a folder, then the folder itself."""
    yield from folder.rglob("*")
    yield folder


def _sync(*paths: Path) -> None:
    """Sync files and folders to the drive."""
    for path in paths:
        if path.is_dir() and os.name == "nt":
            continue  # Windows cannot open a folder to sync it
        number = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _is_ours(part: Path) -> bool:
    """Return whether a folder has an unfinished store and nothing else."""
    if part.is_symlink() or not part.is_dir():
        return False
    names = []
    for path in part.rglob("*"):
        name = path.relative_to(part).as_posix()
        # A link could lead out of the folder that is about to be removed.
        if path.is_symlink() or not (path.is_dir() or _MADE.fullmatch(name)):
            return False
        names.append(name)
    about = part / "zarr.json"
    if not about.exists():
        # A stop before the first metadata leaves only temporary files.
        return not any(part.joinpath(name).suffix != ".partial" for name in names)
    try:
        words = read_json_mapping(about).get("attributes")
    except SessionFormatError:
        return False
    return isinstance(words, dict) and words.get("format") == FORMAT


def _sound_lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the complete lines of a journal and their total size in bytes.

    A line torn by a stop, and lines after it, are left out. No file gives no lines.
    """
    if not path.is_file():
        return [], 0
    stored, lines, sound = path.read_bytes(), [], 0
    for line in stored.splitlines(keepends=True):
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
        # Valid JSON without a newline may be the beginning of a longer line.
        if not line.endswith(b"\n"):
            lines.pop()
            break
        sound += len(line)
    return lines, sound
