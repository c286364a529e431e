"""Bytes of a recording: in one file, local or at a URL; their limit, and their fingerprint."""

import os
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import blake2b
from io import FileIO
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from weakref import ref

from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.files import (
    FileStamp,
    bad_file,
    entry_is,
    is_of_mac,
    open_binary,
    read_bytes,
    unreadable,
)

MAX_BYTES = 8 * 2**30
MAX_TABLE_BYTES = 512 * 2**20
"""Bytes of one array that is read as a whole."""
MAX_TEXT_BYTES = 256 * 2**20
"""Bytes of all texts of a file in memory."""
LONGEST_TEXT = 2**20
"""Most bytes of a text in a list of texts."""
_MAX_RATIO = 64
_SMALL_BYTES = 16 * 2**20


class Budget:
    """Decoded bytes that a file may still give.

    A file may become 16 MiB, or 64 times its own bytes, and never more than `most`.

    Parameters
    ----------
    n_stored
        Bytes of the file; None if unknown.
    """

    def __init__(self, path: Path, n_stored: int | None = None, most: int = MAX_BYTES) -> None:
        self._path = path
        stored = most if n_stored is None else max(_SMALL_BYTES, _MAX_RATIO * n_stored)
        self._most = self._left = min(stored, most)

    def spend(self, name: str, n_bytes: int) -> None:
        """Subtract the bytes of a part.

        Raises
        ------
        SessionFormatError
            They are more than what is left.
        """
        if n_bytes > self._left:
            problem = f"{name} unpacks to {n_bytes:,} bytes"
            if n_bytes <= self._most:
                problem = f"{name} and the parts read before it unpack to more"
            problem += f"; at most {self._most:,} bytes are read"
            raise bad_file(self._path, "too_large", problem)
        self._left -= n_bytes


def zstandard_length(data: bytes | memoryview) -> int | None:
    """Return the length that the first frame of Zstandard states; None if it does not.

    Raises
    ------
    ValueError
        The bytes are no frame of Zstandard.
    """
    head = bytes(data[:18])
    if len(head) < 6 or head[:4] != b"\x28\xb5\x2f\xfd":
        raise ValueError("a piece that is not of Zstandard")
    is_single = bool(head[4] & 0x20)
    begin = 5 + (not is_single) + (0, 1, 2, 4)[head[4] & 3]
    length = (int(is_single), 2, 4, 8)[head[4] >> 6]
    stated = int.from_bytes(head[begin : begin + length], "little")
    if not length or len(head) < begin + length:
        return None
    return stated + 256 if length == 2 else stated


@runtime_checkable
class Source(Protocol):
    """Source of a file's bytes; can be pickled."""

    @property
    def path(self) -> Path:
        """Path of the file, for messages."""

    def open(self) -> Any:
        """Return a binary file object, for libraries such as h5py."""

    def check(self, *, now: bool = False) -> None:
        """Raise `SessionFormatError` if the file is missing or has changed.

        The check can be slow (a request to a server). Without `now`, the result of a
        recent check may be used again.
        """


_KEEPS_OPEN = hasattr(os, "preadv")
"""Not on Windows, where an open file cannot be removed."""


def _read_at(file: int, offset: int, view: memoryview) -> int:
    """Return how many bytes from an offset on were read into a view."""
    if _KEEPS_OPEN:
        return os.preadv(file, [view], offset)
    os.lseek(file, offset, os.SEEK_SET)
    data = os.read(file, len(view))
    view[: len(data)] = data
    return len(data)


_MOST_OPEN = 32
_OPEN_SHARE = 8
"""At most one of so many files that a process may open."""
_open_files: "deque[ref[BlockFile]]" = deque()
"""Files that stay open between two readings, the next one to be closed first.

Each step is one call of a `deque`, which threads and forks cannot interrupt.
"""


@cache
def _most_open() -> int:
    try:
        from resource import RLIMIT_NOFILE, getrlimit
    except ImportError:
        return _MOST_OPEN
    limit = getrlimit(RLIMIT_NOFILE)[0]
    return min(_MOST_OPEN, limit // _OPEN_SHARE) if limit > 0 else _MOST_OPEN


class BlockFile:
    """A file that is read in blocks; the last ones that were read stay open.

    A map would be faster to write, but access beyond the end of a mapped file that has
    become shorter kills the process (SIGBUS).

    Parameters
    ----------
    inside
        Session folder in which the file must lie; see `open_binary`, also for `is_named`.
    follow
        Whether a link may stand for the file.
    """

    def __init__(
        self, path: Path, inside: Path | None = None, *, is_named: bool = False, follow: bool = True
    ) -> None:
        self.path = path
        self._place: dict[str, Any] = {"inside": inside, "is_named": is_named, "follows": follow}
        self._begin()
        file = self._handle()
        self._stamp = FileStamp.of(path, os.fstat(file))
        self._keep(file)

    def _begin(self) -> None:
        # The number of the file while it is open and nobody reads.
        self._idle: deque[int] = deque()
        self._is_listed = False

    @property
    def size(self) -> int:
        """Bytes of the file when it was first opened."""
        return self._stamp.size

    def open(self) -> FileIO:
        """Return the file, after a check, for a library that reads it."""
        stream = FileIO(self._taken())
        stream.seek(0)
        return stream

    def check(self, *, now: bool = False) -> None:
        """Raise `SessionFormatError` if the file is missing or has changed."""
        self._stamp.check()

    # The number of an open file means nothing to another process or object.
    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_idle": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def __del__(self) -> None:
        self._close_idle()

    def _close_idle(self) -> None:
        with suppress(AttributeError, IndexError):  # not opened, or read by a thread
            # Threads that finish at once can have left two.
            while True:
                os.close(self._idle.pop())

    @contextmanager
    def opened(self) -> Iterator[int]:
        """Yield the number of the open file, which is the one of the first opening."""
        file = self._taken()
        try:
            yield file
        except BaseException:
            os.close(file)
            raise
        self._keep(file)

    def read(self, offset: int, into: memoryview) -> None:
        """Fill memory with the bytes from an offset on; see `opened` and `fill`."""
        # Without the context manager, which takes as long as the reading.
        file = self._taken()
        try:
            self.fill(file, offset, into)
        except BaseException:
            os.close(file)
            raise
        self._keep(file)

    def _taken(self) -> int:
        """Return the number of the open file, which nobody else reads, after all checks."""
        try:
            file = self._idle.pop()
        except IndexError:
            file = self._handle()
        try:
            info = os.fstat(file)
            # No name: it belongs to another file now.
            is_lost = not info.st_nlink
        except OSError:  # a drive on the network may have forgotten it
            is_lost = True
        if is_lost:
            os.close(file)
            file = self._handle()
            info = os.fstat(file)
        try:
            self._stamp.check(info)
        except BaseException:
            os.close(file)
            raise
        return file

    def _keep(self, file: int) -> None:
        """Keep a file open for the next reading, and close the one that is open longest."""
        if not _KEEPS_OPEN or self._idle:  # another thread's number is there
            os.close(file)
            return
        self._idle.append(file)
        if self._is_listed:
            return
        self._is_listed = True
        _open_files.append(ref(self))
        while len(_open_files) > _most_open():
            if (oldest := _open_files.popleft()()) is not None:
                oldest._is_listed = False
                oldest._close_idle()

    def _handle(self) -> int:
        with open_binary(self.path, **self._place) as stream:
            return os.dup(stream.fileno())

    def fill(self, file: int, offset: int, into: memoryview) -> None:
        """Fill memory with the bytes of an open file from an offset on.

        Raises
        ------
        SessionFormatError
            The file ends before, or the drive fails.
        """
        try:
            # Long readings and drives on the network can return less than is asked.
            while count := _read_at(file, offset, into):
                if count == len(into):
                    return
                into, offset = into[count:], offset + count
        except OSError as error:
            raise unreadable(self.path, error) from error
        if len(into):
            found = f"ends {len(into):,} bytes before its values do"
            raise bad_file(self.path, "changed", found, "was it copied completely?")


# -- fingerprints of recordings: hashes that change when a file changes ---------------
# Only files of at most this size, in folders of at most this many files, are hashed
# by content. Reading more would make opening a session slow.
_HASHED_BYTES = 2**20
_FEW_FILES = 256
_CHANGE_VALUES = (
    *("rate_hz", "series", "cells_only", "quality", "min_rate_hz", "min_presence"),
    *("trial_event", "split_seed"),
)
"""Reading options that change the values which are read, not only labels."""


def folder_fingerprint(root: Path, not_read: Collection[str] = ()) -> str:
    """Return a hash of file names, sizes, small contents and times of large files.

    Parameters
    ----------
    not_read
        Names of sub-folders that are skipped.
    """
    digest = blake2b(digest_size=12)
    folders = [""]
    while folders:
        inner = folders.pop()
        with os.scandir(f"{root}{inner}") as listed:
            # scandir gives no fixed order; the hash needs one.
            entries = sorted(listed, key=lambda entry: entry.name)
        files = [e for e in entries if entry_is(os.DirEntry.is_file, e) and not is_of_mac(e.name)]
        for entry in files:
            info, name = entry.stat(), f"{inner}/{entry.name}"
            # Contents instead of times where possible: times change when a session
            # is copied or extracted again, and tools may keep them after an edit.
            small = info.st_size <= _HASHED_BYTES and len(files) <= _FEW_FILES
            # NUL cannot occur in a file name, so the fields cannot run together.
            fields = f"{name}\0{info.st_size}\0{0 if small else info.st_mtime_ns}\n"
            digest.update(os.fsencode(fields))
            if small:
                digest.update(_content(Path(entry.path)))
        # Linked folders are skipped: a link to a parent would never end.
        folders += [
            f"{inner}/{e.name}"
            for e in entries
            if e.is_dir(follow_symlinks=False) and e.name not in not_read
        ]
    return digest.hexdigest()


def _content(path: Path) -> bytes:
    try:
        return read_bytes(path, _HASHED_BYTES)
    except SessionFormatError:  # not fetched yet, or exchanged: name and size must do
        return b""


def fingerprint_of(path: Path) -> str:
    """Return a hash of a folder, or of a file's name, size and modification time."""
    if path.is_dir():
        return folder_fingerprint(path)
    info = path.stat()
    fields = f"{path.name}\0{info.st_size}\0{info.st_mtime_ns}"
    return blake2b(os.fsencode(fields), digest_size=12).hexdigest()


def combine_options(fingerprint: str, options: Mapping[str, Any]) -> str:
    """Return the fingerprint combined with the options that change the values.

    Without such options, return `fingerprint` itself. A cached fit to one kind of
    responses must not be used for another kind.
    """
    value_options = {name: options[name] for name in _CHANGE_VALUES if name in options}
    if not value_options:
        return fingerprint
    fields = f"{fingerprint}\0{sorted(value_options.items())}"
    return blake2b(fields.encode(), digest_size=12).hexdigest()
