"""Exclusive access to a file to which several processes append."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


class LockedError(OSError):
    """Another process has locked a file."""


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[BinaryIO]:
    """Open a file for reading and writing, and lock it against other processes.

    Other calls wait, or raise `LockedError` at once if `wait` is false. The system
    removes the lock when the process ends, also when it is killed.
    """
    with path.open("r+b") as file:
        _lock(file, wait)
        try:
            yield file
            # On the drive before another process may append.
            file.flush()
            os.fsync(file.fileno())
        finally:
            _unlock(file)


if os.name == "nt":  # pragma: no cover
    import msvcrt

    # Windows does not allow reads of a locked byte, so a byte far behind the end of the
    # file is locked.
    _UNUSED_BYTE = 2**62

    def _lock(file: BinaryIO, wait: bool) -> None:
        file.seek(_UNUSED_BYTE)
        # Ignored types: `msvcrt` has these names on Windows alone.
        mode = msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK  # type: ignore[attr-defined]
        try:
            msvcrt.locking(file.fileno(), mode, 1)  # type: ignore[attr-defined]
        except OSError as error:
            raise LockedError(f"{file.name} is locked.") from error
        file.seek(0)

    def _unlock(file: BinaryIO) -> None:
        file.seek(_UNUSED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined]

else:
    import fcntl

    def _lock(file: BinaryIO, wait: bool) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise LockedError(f"{file.name} is locked.") from error

    def _unlock(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)
