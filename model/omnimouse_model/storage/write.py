"""Atomic writing: a file appears under its name only when it is complete."""

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EACCES, EDQUOT, EFBIG, ENOSPC, EPERM, EROFS
from pathlib import Path

SUFFIX = ".part"
"""Ending of temporary files."""
_ABANDONED_S = 3600.0
"""Age of a temporary file whose process must have been killed."""
_LONGEST_NAME = 200
"""Bytes of a target's name in that of its temporary file; file systems allow 255."""


@contextmanager
def atomic_path(path: Path, mode: int = 0o644, *, is_sole: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which replaces it after success.

    By default, other users of the machine may read the file. Temporary files of
    killed processes are removed an hour later by the next write of `path`.

    Parameters
    ----------
    is_sole
        No other process writes this file meanwhile, so that they are removed at once.

    Raises
    ------
    DriveError
        The drive is full or read-only, or the folder is not the user's.
    """
    with writing(path):
        remove_abandoned(path.parent, path.name, 0.0 if is_sole else _ABANDONED_S)
        # Beside the target, because a rename is atomic only within one file system.
        handle, name = tempfile.mkstemp(SUFFIX, _prefix(path.name), path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            # mkstemp gives access to its owner only; a writer may recreate the file.
            temporary.chmod(mode)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`, removed at the end unless it was renamed.

    Folders of killed processes are removed first: the caller must be the only process
    that writes `path`.
    """
    remove_abandoned(path.parent, path.name, 0.0)
    folder = Path(tempfile.mkdtemp(SUFFIX, _prefix(path.name), path.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned(folder: Path, name: str | None = None, older_s: float = _ABANDONED_S) -> None:
    """Remove temporary files and folders that killed processes left in a folder.

    Parameters
    ----------
    name
        Name of their target; None for all targets.
    older_s
        Least time since their last change, in seconds.
    """
    begin = r"\..+\." if name is None else re.escape(_prefix(name))
    # The names of `tempfile`, so that no file of a user is removed.
    pattern = re.compile(rf"{begin}[a-z0-9_]{{8}}{re.escape(SUFFIX)}")
    # What cannot be listed or removed does not keep a file from being written.
    with suppress(OSError):
        for path in folder.iterdir():
            if not pattern.fullmatch(path.name):
                continue
            with suppress(OSError):
                if time.time() - path.lstat().st_mtime < older_s:
                    continue
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()


def _prefix(name: str) -> str:
    return f".{os.fsencode(name)[:_LONGEST_NAME].decode('utf-8', 'ignore')}."


# -- errors of the drive
FULL = (ENOSPC, EDQUOT, EFBIG)
READ_ONLY = (EROFS, EACCES, EPERM)
_FULL_TEXTS = ("No space left", "requested and")
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
    text = _problem(error, Path(path) if isinstance(path, str) else None, None)
    return str(error) if text is None or isinstance(error, DriveError) else text


def _problem(error: Exception, path: Path | None, n_bytes: int | None) -> str | None:
    code = error.errno if isinstance(error, OSError) else None
    place = f"{path}: " if path is not None else ""
    if code in READ_ONLY:
        return f"{place}no permission to write here. Choose another folder."
    free = _free(path)
    is_full = code in FULL or any(text in str(error) for text in _FULL_TEXTS)
    if code is None and free is not None and free < _ALMOST_FULL:
        is_full = True
    if not is_full:
        return None
    sizes = [] if n_bytes is None else [f"{_mb(n_bytes)} needed"]
    sizes += [] if free is None else [f"{_mb(free)} free"]
    detail = f" ({', '.join(sizes)})" if sizes else ""
    return (
        f"{place}the drive is full{detail}. Free space, or choose a folder on another "
        "drive, and run the same command again; what is finished is kept."
    )


def _free(path: Path | None) -> int | None:
    while path is not None and not path.exists():
        path = path.parent if path.parent != path else None
    return None if path is None else shutil.disk_usage(path).free


def _mb(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.1f} MB"
