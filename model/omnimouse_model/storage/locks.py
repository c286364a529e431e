"""Exclusive access to files and outputs that several processes may write."""

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from errno import EDEADLK
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

from omnimouse_model.storage.cache import cache_dir, is_own


class LockedError(OSError):
    """Another process has locked a file."""


def open_without_links(path: Path, mode: str) -> BinaryIO:
    """Open a file in a binary mode; raise `OSError` for links and for what is no file."""

    def opener(name: str, flags: int) -> int:
        # Non-blocking: opening a pipe waits for its other end.
        flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        handle = os.open(name, flags, 0o666)
        # Before Python makes a file object, which fails for a pipe without its name.
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise OSError(f"{path} is no file: choose another path.")
        return handle

    try:
        # Ignored type: a mode that is not written here gives no binary file for mypy.
        file: BinaryIO = open(path, mode, opener=opener)  # type: ignore[assignment]  # noqa: SIM115
    except OSError as error:
        if path.is_symlink():
            raise OSError(f"{path} is a link: choose another path.") from error
        raise
    if not hasattr(os, "O_NOFOLLOW") and path.is_symlink():
        file.close()
        raise OSError(f"{path} is a link: choose another path.")
    return file


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[BinaryIO]:
    """Open a file for reading and writing, and lock it against other processes.

    Other calls wait, or raise `LockedError` at once if `wait` is false. The system
    removes the lock when the process ends, also when it is killed.

    Raises
    ------
    OSError
        The path is a link, no file, or of another user.
    """
    with open_without_links(path, "r+b") as file:
        if not is_own(os.fstat(file.fileno())):
            raise OSError(f"{path} belongs to another user: choose another path.")
        lock(file, wait)
        try:
            yield file
            # On the drive before another process may append.
            file.flush()
            os.fsync(file.fileno())
        finally:
            unlock(file)


_HELD: ContextVar[frozenset[str]] = ContextVar("_HELD", default=frozenset())
"""Outputs that this thread has reserved."""


class OutputBusyError(OSError):
    """Another process of this machine writes the same output."""


@contextmanager
def sole_writer(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Keep other processes of this user from writing an output meanwhile.

    Within the block, the same thread may enter it again for the same output.

    Parameters
    ----------
    path
        File or folder that is written; it need not exist.
    wait
        Wait for another process instead of raising an error.

    Raises
    ------
    OutputBusyError
        Another process writes it.
    """
    lock_file = _lock_file(path)
    if lock_file.name in _HELD.get():
        yield
        return
    with claimed(path, wait=wait) as stack:
        stack.callback(_HELD.reset, _HELD.set(_HELD.get() | {lock_file.name}))
        yield


def claimed(path: Path, *, wait: bool = False) -> ExitStack:
    """Return the sole right to write an output, which ends with `close` or the process.

    Unlike `sole_writer`, it also keeps other parts of this process from the output.

    Raises
    ------
    OutputBusyError
        It is claimed already, and `wait` is false.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(_lock_file(path), wait=wait))
        except LockedError:
            raise OutputBusyError(
                f"Another process writes {path}: wait until it ends, stop it, or "
                "choose another output."
            ) from None
        return stack.pop_all()


def _lock_file(path: Path) -> Path:
    """Return the file that is locked for an output; make it if it is missing.

    In the cache and not beside the output: a lock file would remain there, and removing
    one that another process holds is not safe.
    """
    folder = cache_dir() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / blake2b(os.fsencode(path.resolve()), digest_size=12).hexdigest()
    # Unlike `touch`, it changes nothing behind a link.
    open_without_links(file, "ab").close()
    return file


if os.name == "nt":  # pragma: no cover
    import msvcrt

    # Windows does not allow reads of a locked byte, so a byte far behind the end of the
    # file is locked. Its C library locks no byte beyond 2 GiB.
    _UNUSED_BYTE = 2**31 - 2

    def lock(file: BinaryIO, wait: bool) -> None:
        """Lock an open file; raise `LockedError` if another process has it and `wait` is false."""
        file.seek(_UNUSED_BYTE)
        # Ignored types: `msvcrt` has these names on Windows alone.
        mode = msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK  # type: ignore[attr-defined]
        while True:
            try:
                msvcrt.locking(file.fileno(), mode, 1)  # type: ignore[attr-defined]
            except OSError as error:
                if wait and error.errno == EDEADLK:  # after ten seconds
                    continue
                raise LockedError(f"{file.name} is locked.") from error
            break
        file.seek(0)

    def unlock(file: BinaryIO) -> None:
        """Give an open file free."""
        file.seek(_UNUSED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined]

else:
    import fcntl

    def lock(file: BinaryIO, wait: bool) -> None:
        """Lock an open file; raise `LockedError` if another process has it and `wait` is false."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise LockedError(f"{file.name} is locked.") from error

    def unlock(file: BinaryIO) -> None:
        """Give an open file free."""
        fcntl.flock(file, fcntl.LOCK_UN)
