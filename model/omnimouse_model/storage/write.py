"""Writing: a file appears under its name when it is complete, and has one writer at a time.

Also the folders in which we keep files of our own.

A file is written in a temporary folder beside its target, `.NAME.PROCESS-RANDOM.part`,
whose file `lock` is locked by its process. What nobody locks is left over from a killed
process, and the next write in that folder removes it. The lock is not on the temporary
file itself: HDF5 locks its files, too, and a library may create its file anew.

The file is long because all that keeps a writing whole, or says why it failed, is here once.
"""

import json
import logging
import os
import re
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from errno import (
    EACCES,
    EDEADLK,
    EDQUOT,
    EEXIST,
    EFBIG,
    EINVAL,
    ENOSPC,
    ENOTDIR,
    ENOTSUP,
    EPERM,
    EROFS,
)
from hashlib import blake2b
from pathlib import Path
from secrets import token_hex
from typing import Any, BinaryIO

from omnimouse_model.storage.files import expanded, real_path

# -- folders of this program on this machine: the cache, and the user's settings ------
logger = logging.getLogger(__name__)
_NAME = "omnimouse"


def cache_dir() -> Path:
    """Return the folder of generated and downloaded files; $OMNIMOUSE_CACHE names it."""
    base = "~/.cache"
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    return _user_folder("OMNIMOUSE_CACHE", base)


def remove_oldest(folder: Path, suffix: str, limit_bytes: int) -> None:
    """Remove the least recently used files of a cache above a limit of bytes."""
    entries = []
    for path in folder.glob(f"*{suffix}"):
        # Another process may remove files meanwhile.
        with suppress(FileNotFoundError):
            info = path.stat()
            entries.append((info.st_mtime_ns, info.st_size, path))
    excess = sum(size for _, size, _ in entries) - limit_bytes
    # The newest stays, even if it is larger than the limit.
    for _, size, path in sorted(entries)[:-1]:
        if excess <= 0:
            return
        path.unlink(missing_ok=True)
        excess -= size


def config_dir() -> Path:
    """Return the folder of the last session and of settings; $OMNIMOUSE_CONFIG names it."""
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    if sys.platform == "win32":
        base = os.environ.get("APPDATA") or "~/AppData/Roaming"
    elif sys.platform == "darwin":
        base = "~/Library/Application Support"
    return _user_folder("OMNIMOUSE_CONFIG", base)


def _user_folder(variable: str, base: str) -> Path:
    """Return the folder of a variable, else one in `base`, else a temporary one.

    The variable is set to a temporary folder, so that there is one note, and that all
    processes of a command share the folder.
    """
    if given := os.environ.get(variable):
        return expanded(given)
    folder = expanded(base) / _NAME
    problem = _fault_of_folder(folder, is_of_home=base.startswith("~"))
    if problem:
        temporary = _temporary_folder() / variable.removeprefix("OMNIMOUSE_").lower()
        logger.warning(
            "%s %s: files go to %s instead. To keep them, set %s to a folder of yours.",
            *(folder, problem, temporary, variable),
        )
        os.environ[variable] = str(temporary)
        return temporary
    return folder


def _fault_of_folder(folder: Path, *, is_of_home: bool) -> str:
    """Return why a folder cannot be written; "" if it can, or can be made."""
    home = expanded("~")
    # An empty HOME is the root of the drive for Python; without any, ~ stays.
    if is_of_home and (os.environ.get("HOME") == "" or not home.is_absolute()):
        return "has no home folder (HOME is not set)"
    if is_of_home and not home.is_dir():
        return "cannot be made, because the home folder is missing"
    return "" if _is_open(_nearest(folder)) else "cannot be written"


def _nearest(path: Path) -> Path:
    """Return a path, or the first above it that exists."""
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return path


def _is_open(folder: Path) -> bool:
    """Whether this user can make files in a folder."""
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def is_own(info: os.stat_result) -> bool:
    """Whether a file belongs to the user of this process."""
    return os.name == "nt" or info.st_uid == os.geteuid()


def _temporary_folder() -> Path:
    """Return a folder that only this user can read, the same in the next command."""
    folder = Path(tempfile.gettempdir(), f"{_NAME}-{getattr(os, 'geteuid', os.getpid)()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    info = folder.lstat()
    # Others may write to the folder of temporary files: it could be theirs, or a link.
    is_private = os.name == "nt" or stat.S_IMODE(info.st_mode) & 0o077 == 0
    if stat.S_ISDIR(info.st_mode) and is_own(info) and is_private:
        return folder
    return Path(tempfile.mkdtemp(prefix=f"{_NAME}-"))


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
    file = folder / blake2b(os.fsencode(real_path(path)), digest_size=12).hexdigest()
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


SUFFIX = ".part"
"""Ending of temporary folders."""
_LONGEST_NAME = 200
"""Bytes of a target's name in that of its temporary folder; file systems allow 255."""
_READERS_S = 1.0 if os.name == "nt" else 0.0
"""Seconds in which the readers of a file may close it before it is replaced."""
_TEMPORARY = re.compile(rf"\..+\.\d+-[0-9a-f]{{8}}{re.escape(SUFFIX)}")
_LOCK = "lock"
_SYSTEM = 0
"""Owner of the links of the system: /tmp is one on macOS."""


def write_text(path: Path, text: str, *, is_private: bool = False) -> None:
    """Write a text as UTF-8 in place of what the file held; see `atomic_path`."""
    write_bytes(path, text.encode(), is_private=is_private)


def write_json(path: Path, values: Any, *, is_private: bool = False) -> None:
    """Write values as JSON in place of what the file held; see `atomic_path`."""
    write_text(path, json_text(values, indent=1) + "\n", is_private=is_private)


def json_text(values: Any, **options: Any) -> str:
    """Return values as JSON; a byte of a file's name that is no UTF-8 becomes `?`."""
    text = json.dumps(values, **options)
    # As half of a pair, which readers refuse: the file would count as damaged.
    if "\\udc" in text:
        plain = json.dumps(values, ensure_ascii=False, **options)
        text = plain.encode("utf-8", "replace").decode()
    return text


def write_bytes(path: Path, content: bytes, *, is_private: bool = False) -> None:
    """Write bytes in place of what the file held; see `atomic_path`."""
    with atomic_path(path, is_private=is_private) as temporary:
        temporary.write_bytes(content)


def create_bytes(path: Path, content: bytes) -> None:
    """Write a file as a whole unless it exists, also if another process makes it now."""
    with writing(path), temporary_folder(path) as folder:
        temporary = folder / path.name
        temporary.write_bytes(content)
        _sync(temporary)
        try:
            # Unlike a rename, a link never replaces a file that another machine made.
            os.link(temporary, path)
        except FileExistsError:
            return
        except OSError:
            # File systems without hard links (FAT, some network shares).
            if not path.exists():
                temporary.replace(path)
        sync_folder(path.parent)


@contextmanager
def atomic_path(path: Path, *, is_private: bool = False) -> Iterator[Path]:
    """Yield a temporary path, which replaces `path` after success.

    The file has the mode of the one that it replaces, else that of the umask.

    Parameters
    ----------
    is_private
        Only its owner may read the file.

    Raises
    ------
    DriveError
        The drive is full or read-only, the folder is not the user's, or a link of
        another user leads to it.
    """
    path = path.absolute()
    with writing(path):
        _check_target(path)
        with temporary_folder(path) as folder:
            temporary = folder / path.name
            yield temporary
            if is_private:
                temporary.chmod(0o600)
            elif path.is_file():
                temporary.chmod(stat.S_IMODE(path.stat().st_mode) & 0o777)
            put_in_place(temporary, path)


def put_in_place(temporary: Path, path: Path) -> None:
    """Give a finished file or folder its name, when its bytes are on the drive."""
    # Otherwise a power failure could leave a name without the bytes.
    _sync(temporary)
    end_s = time.monotonic() + _READERS_S
    while True:
        try:
            temporary.replace(path)
            break
        except PermissionError:
            # Windows replaces no file that somebody reads; readers here close it soon.
            if time.monotonic() >= end_s:
                raise
            time.sleep(0.01)
    sync_folder(path.parent)


def _sync(place: Path) -> None:
    """Put the bytes of a file, or of all files of a folder, on the drive."""
    if place.is_dir():
        if hasattr(os, "sync"):  # one call for any number of files
            os.sync()
            return
        for part in place.rglob("*"):
            if part.is_file():
                _sync(part)
        return
    # Not all systems sync a file that is open for reading only, and a kept mode can
    # forbid writing.
    with place.open("rb" if os.name != "nt" else "r+b") as file:
        os.fsync(file.fileno())


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder on the drive of `path`, removed unless it was renamed."""
    remove_left_over(path.parent)
    outer, held = _locked_folder(path)
    try:
        # Only its owner can look into the outer one; this one may be given a name.
        inner = outer / "new"
        inner.mkdir()
        yield inner
    finally:
        # The lock last: what has none is empty.
        shutil.rmtree(outer / "new", ignore_errors=True)
        held.close()
        shutil.rmtree(outer, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Put the names of the files in a folder on the drive."""
    if os.name == "nt":  # pragma: no cover
        return  # Windows opens no folders
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (EINVAL, ENOTSUP):  # some network drives
            raise
    finally:
        os.close(handle)


def remove_left_over(folder: Path) -> None:
    """Remove temporary folders that killed processes of this user have left in a folder."""
    # What cannot be listed or removed does not keep a file from being written.
    with suppress(OSError), os.scandir(folder) as entries:
        for path in [Path(e.path) for e in entries if _TEMPORARY.fullmatch(e.name)]:
            with suppress(OSError):
                _remove_unless_locked(path)


def _remove_unless_locked(path: Path) -> None:
    info = path.lstat()
    if not stat.S_ISDIR(info.st_mode) or not is_own(info):
        return
    try:
        with open_without_links(path / _LOCK, "r+b") as file:
            lock(file, wait=False)
            shutil.rmtree(path / "new", ignore_errors=True)
            shutil.rmtree(path, ignore_errors=True)
    except FileNotFoundError:
        path.rmdir()  # killed before it had a lock; or the other process tries again
    else:
        shutil.rmtree(path, ignore_errors=True)  # again: Windows removes no open file


def _locked_folder(path: Path) -> tuple[Path, BinaryIO]:
    """Return a new folder beside a path, and its file `lock`, locked."""
    name = os.fsencode(path.name)[:_LONGEST_NAME].decode("utf-8", "ignore")
    while True:
        folder = path.with_name(f".{name}.{os.getpid()}-{token_hex(4)}{SUFFIX}")
        folder.mkdir(mode=0o700)
        with suppress(FileNotFoundError, LockedError):
            file = open_without_links(folder / _LOCK, "xb")
            try:
                lock(file, wait=False)
            except LockedError:
                file.close()
                raise
            except OSError:  # a drive without locks, where nothing is ever left over
                return folder, file
            if (folder / _LOCK).exists():
                return folder, file
            file.close()
        # Another process took it for left over before it was locked.


def _check_target(path: Path) -> None:
    """Raise `DriveError` unless a path is a file, or free, with no foreign link before it."""
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(path.stat().st_mode):
            raise DriveError(f"{path} is no file: choose another name.")
    for place in (path, *path.parents):
        with suppress(FileNotFoundError):
            info = place.lstat()
            if stat.S_ISLNK(info.st_mode) and not is_own(info) and info.st_uid != _SYSTEM:
                raise DriveError(
                    f"{place} is a link of another user: choose a place that is not behind it."
                )


# -- errors of the drive
FULL = (ENOSPC, EDQUOT, EFBIG)
READ_ONLY = (EROFS, EACCES, EPERM)
_NO_PERMISSION = "no permission to write here. Choose another folder."
_FULL_TEXTS = ("No space left", "requested and", "File too large", "quota exceeded")
"""Texts of errors without a code: of libraries in Rust and C, and of NumPy's files."""
_ALMOST_FULL = 64 * 1024
"""Free bytes below which a failed write of another library means a full drive."""


class DriveError(OSError):
    """A file could not be written; the message names path, bytes and the next step."""


@contextmanager
def writing(path: Path, n_bytes: int | None = None) -> Iterator[None]:
    """Raise errors of the drive in the block as `DriveError`, with the path.

    Parameters
    ----------
    path
        File or folder that the block writes.
    n_bytes
        Size of the output if it is known, for the message.

    Raises
    ------
    DriveError
        The drive is full or read-only, or the folder is not the user's.
    """
    try:
        yield
    except DriveError:
        raise
    # PyTorch, safetensors and HDF5 raise errors of their own on a full drive.
    except Exception as error:
        text = _problem(error, path, n_bytes)
        if text is None:
            raise
        raise DriveError(text) from error


def explained(error: OSError) -> str:
    """Return the message of an error, with the next step for one of the drive."""
    path = error.filename
    if error.errno in (EEXIST, ENOTDIR) and isinstance(path, str):
        return _no_folder(_nearest(Path(path)))
    text = _problem(error, Path(path) if isinstance(path, str) else None, None)
    return str(error) if text is None or isinstance(error, DriveError) else text


def check_output(path: Path, *, makes_folders: bool = True) -> None:
    """Raise `DriveError` if an output cannot be written, before the work that leads to it.

    Parameters
    ----------
    makes_folders
        False if the folder of the output must exist.
    """
    folder = path.absolute().parent
    place = _nearest(folder)
    if not place.is_dir():
        raise DriveError(_no_folder(place))
    if not makes_folders:
        _check_target(path)
        if place != folder:
            raise DriveError(f"{path}: there is no folder {folder}.")
    if not os.path.lexists(path) and not _is_open(place):
        raise DriveError(f"{path}: {_NO_PERMISSION}")


def _no_folder(place: Path) -> str:
    return f"{place}: a file, or a link to nothing, is where a folder must be. Choose another."


def _problem(error: Exception, path: Path | None, n_bytes: int | None) -> str | None:
    code = error.errno if isinstance(error, OSError) else None
    place = f"{path}: " if path is not None else ""
    if code in READ_ONLY:
        return f"{place}{_NO_PERMISSION}"
    free = _free(path)
    # PyTorch raises an error of its own after that of the drive.
    first = getattr(error.__context__, "errno", None)
    is_full = {code, first} & {*FULL} or any(text in str(error) for text in _FULL_TEXTS)
    if code is None and free is not None and free < _ALMOST_FULL:
        is_full = True
    if not is_full:
        return None
    sizes = [] if n_bytes is None else [f"{_mb(n_bytes)} needed"]
    sizes += [] if free is None else [f"{_mb(free)} free"]
    detail = f" ({', '.join(sizes)})" if sizes else ""
    has_room = free is not None and free > max(n_bytes or 0, _ALMOST_FULL)
    share = ", or your share of it" if has_room else ""
    return (
        f"{place}the drive is full{share}{detail}. Free space, or choose a folder on another "
        "drive, and run the same command again; what is finished is kept."
    )


def _free(path: Path | None) -> int | None:
    # Unlike that of `Path`, it raises nothing for a name that no system can hold.
    while path is not None and not os.path.exists(path):  # noqa: PTH110
        path = path.parent if path.parent != path else None
    return None if path is None else shutil.disk_usage(path).free


def _mb(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.1f} MB"
