"""Conversion of a session to a store, piece by piece, with resumption after a stop.

A store is written to a folder beside its target. A journal in that folder lists every
finished piece. The attribute `complete` is set last, after an optional comparison with
the source; then the folder is renamed to the target. Pieces are not synced to the drive
one by one: after a power failure the comparison finds pieces without their data. Summaries
for overviews and distinct videos, each written once, are pieces like the others, so that
the module is long.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data import store
from omnimouse_model.data.open import open_session
from omnimouse_model.data.readers.build.notes import ReadOptions
from omnimouse_model.data.recording import cached
from omnimouse_model.data.session import Session
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.progress import QUIET, Job, advance, shows_progress
from omnimouse_model.storage.arrays import zarr_arrays
from omnimouse_model.storage.arrays.zarr_arrays import ZarrArray
from omnimouse_model.storage.arrays.zarr_metadata import MAX_CHUNK_BYTES
from omnimouse_model.storage.files import bad_file, is_file, is_folder, is_there, real_path
from omnimouse_model.storage.journal import (
    JOURNAL,
    Journal,
    JsonObject,
    check_own,
    open_journal,
    read_lines,
)
from omnimouse_model.storage.trees import read_json_mapping
from omnimouse_model.storage.write import put_in_place, sole_writer, writing


class LevelWriter:
    """Writer of one level, with a fixed number of rows per bin."""

    def __init__(self, array: Any, rows_per_bin: int) -> None:
        self._array, self._step = array, rows_per_bin
        self._number, self._rest = 0, list[np.ndarray]()
        self._bins: list[np.ndarray] = []
        self._written, self._digest = 0, blake2b()

    def add(self, first: int, rows: np.ndarray) -> None:
        """Add a block of rows from row `first` of the recording on, in their order.

        Bins without any row, in pauses of the recording, are left out.
        """
        stop = first + len(rows)
        number = first // self._step
        if number != self._number:
            self._finish_bin()
        edges = range((number + 1) * self._step - first, len(rows), self._step)
        for part in np.split(rows, edges)[:-1]:
            self._rest.append(part)
            self._finish_bin()
        # Rows of a bin that the next block may complete. A copy, because a view would
        # keep the whole block in memory.
        self._number = (stop - 1) // self._step
        last = max(first, self._number * self._step) - first
        self._rest.append(rows[last:].copy())

    def finish(self) -> str:
        """Write the remaining bins; return the hash of the level."""
        self._finish_bin()
        self._write()
        return self._digest.hexdigest()[:32]

    def _finish_bin(self) -> None:
        if not self._rest:
            return
        self._bins.append(summarise(np.concatenate(self._rest)))
        self._rest = []
        # A whole shard at a time: zarr would rewrite the file for a part of it.
        if len(self._bins) == store.PYRAMID_SHARD:
            self._write()

    def _write(self) -> None:
        if not self._bins:
            return
        bins = np.concatenate(self._bins)
        self._array[self._written : self._written + len(bins)] = bins
        self._digest.update(bins.tobytes())
        self._written, self._bins = self._written + len(bins), []


def summarise(rows: np.ndarray) -> np.ndarray:
    """Return minimum, maximum and mean of one bin, float32 (1, neuron, 3).

    Missing values are left out; NaN if a neuron has no value. Values have the 11
    significant bits of a float16, which a time line does not show: noise takes two thirds of
    the bytes.
    """
    # NaN and infinities propagate to the minimum or maximum, so two small checks select
    # the fast path for most bins.
    low, high = rows.min(axis=0), rows.max(axis=0)
    if np.isfinite(low).all() and np.isfinite(high).all():
        mean = rows.sum(axis=0, dtype=np.float64) / len(rows)
    else:
        rows = rows.astype(np.float64)
        finite = np.isfinite(rows)
        count = finite.sum(axis=0)
        low = np.where(finite, rows, np.inf).min(axis=0)
        high = np.where(finite, rows, -np.inf).max(axis=0)
        # 0 / 0 gives the NaN of a neuron without values.
        with np.errstate(invalid="ignore"):
            mean = np.where(finite, rows, 0.0).sum(axis=0) / count
        low[count == 0] = high[count == 0] = np.nan
    bits = np.stack([low, high, mean], axis=1)[None].astype(np.float32).view(np.uint32)
    return ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)


@dataclass(frozen=True, slots=True)
class DistinctVideos:
    """Distinct videos of a session.

    Attributes
    ----------
    trials
        Trials whose frames are stored, with their number of frames.
    first
        First row of every trial; trials with equal videos share it; -1 without frames.
    dtype, size
        Type that holds the frames of every trial exactly, and the shape of a frame.
    """

    trials: list[tuple[int, int]]
    first: np.ndarray
    dtype: np.dtype[Any]
    size: tuple[int, ...]

    @property
    def count(self) -> int:
        """Total number of stored frames."""
        return sum(count for _, count in self.trials)

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame."""
        return int(np.prod(self.size, dtype=object)) * self.dtype.itemsize


def distinct_videos(session: Session) -> DistinctVideos:
    """Return the distinct videos of a session; they are read once and cached.

    Raises
    ------
    SessionFormatError
        No single type holds the frames of all trials exactly.
    """
    # All videos must be read to compare them, which takes long; a conversion needs the
    # result several times.
    return cached(session, "store_frames", partial(_compare_all, session))


def _compare_all(session: Session) -> DistinctVideos:
    stimulus = session.stimulus
    if stimulus is None:
        return DistinctVideos([], np.zeros(0, np.int64), np.dtype(np.uint8), ())
    first = np.full(len(stimulus.trials), -1, np.int64)
    row_of: dict[str, int] = {}
    stored: list[tuple[int, int]] = []
    kinds: set[np.dtype[Any]] = set()
    row = 0
    for trial, count in enumerate(stimulus.trials.n_slots.tolist()):
        if not stimulus.source.has(trial) or not count:
            continue
        frames = stimulus.trial_frames(trial, 0, count)
        kinds.add(frames.dtype.newbyteorder("="))
        # By contents and not by stimulus id, which a session need not have or may use
        # for videos that differ.
        key = f"{frames.dtype} {frames.shape} {store.digest_of(frames)}"
        if key not in row_of:
            row_of[key] = row
            stored.append((trial, count))
            row += count
        first[trial] = row_of[key]
    return DistinctVideos(stored, first, _one_type(session, kinds), stimulus.size)


def _one_type(session: Session, kinds: set[np.dtype[Any]]) -> np.dtype[Any]:
    if not kinds:
        return np.dtype(np.uint8)
    common = np.result_type(*kinds)
    # A float has fewer digits than an integer of the same size: int64 with float64
    # gives float64, which does not hold large integers exactly.
    wide = [k for k in kinds if k.kind in "iu" and k.itemsize == common.itemsize]
    if common.kind == "f" and wide:
        names = ", ".join(sorted(map(str, kinds)))
        raise unstorable(session, f"frames of {names}", "one type that holds them all")
    return common


def unstorable(session: Session, content: str, limit: str) -> SessionFormatError:
    """Return the error for values that a store cannot hold."""
    problem = f"has {content}; a store holds {limit}"
    return bad_file(session.path, "not_storable", problem, "convert these values first")


# A multiple of the chunk height, so that no chunk is decoded twice.
_ROWS_AT_ONCE = 32 * store.RESPONSE_CHUNK[0]
# zarr leaves out chunks of zeros by default; the reader could not distinguish them from
# missing ones. The setting is not stored, so it is needed at every opening.
_WRITE_ALL: Any = {"write_empty_chunks": True}


@shows_progress
def convert(
    session: Session,
    path: Path,
    codec: store.Codec = "default",
    job: Job = QUIET,
    *,
    compare: bool = False,
) -> Path:
    """Write a session as a lossless store; resume an interrupted conversion.

    Parameters
    ----------
    path
        The folder of the store, which must not exist.
    codec
        "default" (zstd), "fast" (lz4) or "none".
    job
        Progress and stop request; see `progress.Job`.
    compare
        Whether the store is read completely and compared with the session before it is
        renamed. After a difference the next call writes everything again.

    Raises
    ------
    FileExistsError
        `path` exists.
    OutputBusyError
        Another process writes the same store.
    ResultsFileError
        The folder for the unfinished store has other contents, or those of others.
    ValueError
        `path` is inside the session itself.
    SessionFormatError
        The session cannot be read completely or has values that a store cannot hold,
        the unfinished store is of another session, or the store differs from it.
    """
    path = path.absolute()
    if is_there(path):
        raise FileExistsError(f"{path} is there already: choose another name.")
    source = session.path
    if is_folder(source) and real_path(path).is_relative_to(real_path(source)):
        raise ValueError(f"{path} is inside the session {source} itself: choose a place beside it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path), sole_writer(path):
        _write_all(session, path, codec, job, compare)
    return path


def _write_all(session: Session, path: Path, codec: store.Codec, job: Job, compare: bool) -> None:
    """Write the store under another name, and rename it at the end."""
    part = _part_of(path)
    conversion = _Conversion(session, part, codec)
    check_own(part)
    # A stop just before the rename leaves a complete store under the other name.
    if not conversion.is_complete(part):
        conversion.check_storable()
        with (
            open_journal(part, conversion.header, conversion.check_header) as journal,
            # NaN and infinities are stored as they are; warnings about them would mislead.
            np.errstate(all="ignore"),
        ):
            conversion.run(journal, job)
            advance(job, 1.0, 1.0, "writing")
            if compare:
                conversion.compare(journal, job)
            conversion.complete()
    (part / JOURNAL).unlink(missing_ok=True)
    put_in_place(part, path)


def finished_share(session: Session, path: Path, codec: store.Codec = "default") -> float:
    """Return the share of a store that is already written; 1 only if it is complete.

    See `convert`. All videos are read to find the distinct ones.
    """
    path = path.absolute()
    conversion = _Conversion(session, _part_of(path), codec)
    return 1.0 if conversion.is_complete(path) else conversion.share()


def _part_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


class _Conversion:
    """One conversion, with the finished pieces."""

    def __init__(self, session: Session, part: Path, codec: store.Codec) -> None:
        self._session, self.part, self._codec = session, part, codec
        self._rows = store.RecordedRows(session.responses)
        # Identifies the source and the settings.
        self.header: dict[str, Any] = {
            "format": store.FORMAT,
            # Earlier versions of this program read stores without pauses.
            "version": store.VERSION if store.has_pauses(session.responses) else 1,
            "codec": codec,
            "source": {
                "uri": os.fsencode(session.path).decode("utf-8", "replace"),
                "format": session.format,
                "fingerprint": session.fingerprint,
                "options": store.plain(dict(session.options)),
            },
        }

    def run(self, journal: Journal, job: Job) -> None:
        """Write all missing pieces, then the attributes of the store."""
        done = _hashes(journal.notes)
        if done:
            zarr_arrays.check_files(self.part)
        else:
            journal.clear()
            self._create()
        pieces = list(self._pieces())
        weight = np.cumsum([0.0, *(weight for _, weight, _ in pieces)])
        for (names, _, write), before in zip(pieces, weight[:-1], strict=True):
            advance(job, float(before / weight[-1]), 1.0, "writing")
            if not done.keys() >= set(names):
                for name, digest in zip(names, write(), strict=True):
                    journal.add({"piece": name, "hash": digest})
                    done[name] = digest
        self._describe(done)

    def compare(self, journal: Journal, job: Job) -> None:
        """Compare the store with the session; reset the journal of a damaged store."""
        try:
            verify(self.part, self._session, job, is_unfinished=True)
        except SessionFormatError as error:
            # The fault is in the store and not in the source: without finished pieces
            # the next call begins anew.
            if error.path.is_relative_to(self.part):
                journal.forget()
            raise

    def complete(self) -> None:
        """Mark the store as complete."""
        # After a power failure, a complete store must have its data.
        if hasattr(os, "sync"):
            os.sync()
        zarr_arrays.update_attributes(self.part, {"complete": True})

    def is_complete(self, path: Path) -> bool:
        """Return whether a folder is a complete store of the same source."""
        if not is_file(path / "zarr.json"):
            return False
        try:
            attributes = read_json_mapping(path / "zarr.json").get("attributes")
        except SessionFormatError:
            return False
        expected = {**self.header, "complete": True}
        return isinstance(attributes, dict) and expected.items() <= attributes.items()

    def share(self) -> float:
        """Return the share of the pieces in the journal, below 1."""
        journal = self.part / JOURNAL
        lines = read_lines(journal) if is_there(journal) else []
        if lines[:1] != [self.header]:
            return 0.0
        done = _hashes(lines[1:])
        weights = [(done.keys() >= set(names), w) for names, w, _ in self._pieces()]
        share = sum(w for is_done, w in weights if is_done) / sum(w for _, w in weights)
        return min(0.99, share)  # the comparison and the rename are still missing

    def check_storable(self) -> None:
        """Raise for values that a store cannot hold, before anything is written."""
        session, videos = self._session, distinct_videos(self._session)
        # The bytes are those of the smallest piece: one frame must fit into a chunk;
        # responses can always be divided.
        pieces = [
            ("responses", session.responses.dtype, 0, MAX_CHUNK_BYTES),
            ("frames", videos.dtype, videos.frame_bytes, MAX_CHUNK_BYTES),
        ]
        pieces += [
            (name, values.dtype, values.nbytes, zarr_arrays.MAX_TABLE_BYTES)
            for name, values in store.small_arrays(session).items()
        ]
        for name, dtype, n_bytes, most in pieces:
            if not store.is_storable(dtype) or n_bytes > most:
                content = f"{name} of {n_bytes:,} bytes, {dtype}"
                limit = f"numbers up to 64 bits, {most:,} bytes at most"
                raise unstorable(session, content, limit)

    def check_header(self, earlier: dict[str, Any]) -> None:
        """Raise if an unfinished store is of another source, or has other settings."""
        if earlier != self.header:
            problem = f"was begun {_difference(earlier, self.header)}"
            hint = "remove that folder to begin anew, or choose another name"
            raise bad_file(self.part, "other_source", problem, hint)

    def _create(self) -> None:
        """Create the store with empty arrays."""
        attributes = {"format": store.FORMAT, "version": self.header["version"]}
        root = zarr_arrays.create_group(self.part, attributes)
        session, videos = self._session, distinct_videos(self._session)
        n = session.n_neurons
        make = partial(
            root.create_array,
            compressors=store.compressors(self._codec),
            fill_value=0,
            config=_WRITE_ALL,
        )
        make(
            "responses/data",
            shape=self._rows.shape,
            dtype=session.responses.dtype.newbyteorder("="),
            chunks=store.RESPONSE_CHUNK,
            # A shard spans all neurons, so that a window needs one or two files.
            shards=(store.SHARD_ROWS, -(-n // store.RESPONSE_CHUNK[1]) * store.RESPONSE_CHUNK[1]),
        )
        for seconds in store.PYRAMID_SECONDS:
            make(
                f"responses/pyramid/{seconds}s",
                shape=(len(store.recorded_bins(self._rows.runs, self._rows_of(seconds))), n, 3),
                dtype="float32",
                chunks=(128, 256, 3),
                shards=(store.PYRAMID_SHARD, -(-n // 256) * 256, 3),
            )
        if videos.trials:
            chunk, shard = store.frame_rows(videos.frame_bytes, store.FRAME_SHARD)
            make(
                "stimulus/frames",
                shape=(videos.count, *videos.size),
                dtype=videos.dtype.newbyteorder("="),
                chunks=(chunk, *videos.size),
                shards=(shard, *videos.size),
            )

    def _rows_of(self, seconds: int) -> int:
        return max(1, round(seconds * self._session.responses.rate_hz))

    # -- pieces -----------------------------------------------------------------
    def _pieces(self) -> Iterator[tuple[tuple[str, ...], float, Callable[[], Any]]]:
        """Yield names, weight, and a function that writes and hashes each piece."""
        session = self._session
        rows, n = self._rows.shape
        for first in range(0, rows, store.SHARD_ROWS):
            stop = min(rows, first + store.SHARD_ROWS)
            yield (
                (f"responses/data/{first}",),
                float((stop - first) * n * session.responses.dtype.itemsize),
                partial(self._responses, first, stop),
            )
        levels = tuple(f"responses/pyramid/{seconds}s" for seconds in store.PYRAMID_SECONDS)
        # The pyramid is one piece, since all its levels come from one reading.
        yield levels, float(2 * rows * n), self._pyramid
        videos = distinct_videos(session)
        _, height = store.frame_rows(videos.frame_bytes, store.FRAME_SHARD)
        for first in range(0, videos.count, height):
            stop = min(videos.count, first + height)
            yield (
                (f"stimulus/frames/{first}",),
                float(videos.frame_bytes * (stop - first)),
                partial(self._frames, first, stop),
            )
        yield ("tables",), 1.0, self._tables

    def _open(self, name: str) -> Any:
        return zarr_arrays.array_to_write(self.part, name, _WRITE_ALL)

    def _responses(self, first: int, stop: int) -> list[str]:
        values = self._rows.read(first, stop)
        self._open("responses/data")[first:stop] = values
        return [store.digest_of(values)]

    def _pyramid(self) -> list[str]:
        """Write all levels from one reading of the store, each chunk decoded once."""
        rows = ZarrArray(self.part / "responses" / "data", is_whole=True)
        levels = [
            LevelWriter(self._open(f"responses/pyramid/{s}s"), self._rows_of(s))
            for s in store.PYRAMID_SECONDS
        ]
        for first in range(0, rows.shape[0], _ROWS_AT_ONCE):
            block = rows.read(first, min(rows.shape[0], first + _ROWS_AT_ONCE))
            done = 0
            for begin, end in self._rows.parts(first, first + len(block)):
                for level in levels:
                    level.add(begin, block[done : done + end - begin])
                done += end - begin
        return [level.finish() for level in levels]

    def _frames(self, first: int, stop: int) -> list[str]:
        """Write rows of the frames, which are the videos of several trials in turn."""
        stimulus, videos = self._session.stimulus, distinct_videos(self._session)
        assert stimulus is not None
        parts, begin = [], 0
        for trial, count in videos.trials:
            low, high = max(first - begin, 0), min(stop - begin, count)
            if low < high:
                frames = stimulus.trial_frames(trial, low, high)
                parts.append(frames.astype(videos.dtype, copy=False))
            begin += count
        values = np.concatenate(parts)
        self._open("stimulus/frames")[first:stop] = values
        return [store.digest_of(values)]

    def _tables(self) -> list[str]:
        """Write all small arrays and attributes; return their hash."""
        session = self._session
        root = zarr_arrays.group_to_write(self.part)
        arrays = store.small_arrays(session)
        if session.stimulus is not None:
            arrays["stimulus/first_row"] = distinct_videos(session).first
        for name, values in arrays.items():
            root.create_array(
                name,
                data=values,
                compressors=store.compressors(self._codec),
                overwrite=True,
                config=_WRITE_ALL,
            )
        for group, attributes in store.group_attributes(session).items():
            zarr_arrays.update_attributes(self.part / group, attributes)
        return [store.table_digest(session)]

    def _describe(self, hashes: dict[str, str]) -> None:
        """Write the attributes of the root, except the mark that it is complete."""
        session = self._session
        content = blake2b(json.dumps(hashes, sort_keys=True).encode()).hexdigest()
        zarr_arrays.update_attributes(
            self.part,
            {
                **self.header,
                **store.identity(session),
                "assumptions": [asdict(note) for note in session.assumptions],
                "hashes": hashes,
                "content_hash": content[:32],
            },
        )


def _hashes(notes: list[JsonObject]) -> dict[str, str]:
    """Return the hash of each piece that a journal notes; a damaged note does not count."""
    found = ((note.get("piece"), note.get("hash")) for note in notes)
    return {p: h for p, h in found if isinstance(p, str) and isinstance(h, str)}


def _difference(earlier: dict[str, Any], header: dict[str, Any]) -> str:
    """Return a text that states how an earlier try differs."""
    source = earlier["source"] if isinstance(earlier["source"], dict) else {}
    old, new = {**earlier, **source}, {**header, **header["source"]}
    for name in ("uri", "format", "version", "codec", "options"):
        if old.get(name) != new[name]:
            return f"with {name} {old.get(name)}, not {new[name]}"
    return "before the files of the session changed"


# -- comparison of a store with its stored hashes and with its source
def verify(
    path: Path, source: Session | None = None, job: Job = QUIET, *, is_unfinished: bool = False
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

    def compare(problem: str, digest: str, expected: str) -> None:
        if digest != expected:
            raise _differs(path, problem)

    # `open_session` would refuse an unfinished store.
    session = (
        store.read(path, ReadOptions(), is_unfinished=True) if is_unfinished else open_session(path)
    )
    # Reading has compared the tables with their hash.
    hashes = read_json_mapping(path / "zarr.json")["attributes"]["hashes"]
    if source is not None:
        compare(f"it differs from {source.path}", store.table_digest(source), hashes["tables"])
    # Piece by piece, as they were hashed at writing, so that a long session never lies
    # in memory as a whole.
    pieces = list(_pieces(path, hashes))
    recorded = None if source is None else store.RecordedRows(source.responses)
    for done, (name, rows, first, stop) in enumerate(pieces):
        advance(job, done, len(pieces), "comparing")
        digest = _digest(rows, first, stop)
        compare(f"{name} differs from what was written", digest, hashes[name])
        if source is not None and recorded is not None and name.startswith("responses/data/"):
            digest = store.digest_of(recorded.read(first, stop))
            compare(f"it differs from {source.path}", digest, hashes[name])
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
    for begin in range(first, stop, store.PYRAMID_SHARD):
        digest.update(rows.read(begin, min(stop, begin + store.PYRAMID_SHARD)).tobytes())
    return digest.hexdigest()[:32]


def _compare_videos(path: Path, session: Session, source: Session, job: Job) -> None:
    stored, original = session.stimulus, source.stimulus
    if stored is None or original is None:
        return  # equal tables: neither has a stimulus
    for trial, count in enumerate(original.trials.n_slots.tolist()):
        if not count or not original.source.has(trial):
            continue
        advance(job, 1.0, 1.0, "comparing")
        frames = original.trial_frames(trial, 0, count)
        has_frames = stored.source.has(trial)
        found = stored.trial_frames(trial, 0, count) if has_frames else np.zeros(0)
        # As bytes, because NaN is not equal to itself and -0.0 is equal to 0.0.
        original_bytes = frames.astype(found.dtype).tobytes()
        if found.shape != frames.shape or found.tobytes() != original_bytes:
            raise _differs(path, f"the video of trial {trial} is not the source's")


def _differs(path: Path, problem: str) -> SessionFormatError:
    return bad_file(path, "differs", f"is no copy of the session: {problem}")
