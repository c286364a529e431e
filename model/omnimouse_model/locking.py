"""Exclusive access to a file to which several processes append."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def locked(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading and writing, and lock it against other processes.

    Other calls wait. The system removes the lock when the process ends, also when it
    is killed.
    """
    with path.open("r+b") as file:
        _lock(file)
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

    def _lock(file: BinaryIO) -> None:
        file.seek(_UNUSED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined]
        file.seek(0)

    def _unlock(file: BinaryIO) -> None:
        file.seek(_UNUSED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined]

else:
    import fcntl

    def _lock(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX)

    def _unlock(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)
