"""One writer at a time of a file that several processes add to."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def locked(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading and writing, alone among all who use this function.

    Others wait. The lock goes with the process: one that is killed keeps nobody out.
    """
    with path.open("r+b") as file:
        _lock(file)
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
        finally:
            _unlock(file)


if os.name == "nt":  # pragma: no cover
    import msvcrt

    _FAR = 2**62
    """A byte beyond any file: locking one that is read would keep readers out."""

    def _lock(file: BinaryIO) -> None:
        file.seek(_FAR)
        msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined]
        file.seek(0)

    def _unlock(file: BinaryIO) -> None:
        file.seek(_FAR)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined]

else:
    import fcntl

    def _lock(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX)

    def _unlock(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)
