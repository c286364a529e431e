"""A drive that is full, read-only or not the user's: one message with the next step."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EACCES, EDQUOT, EFBIG, ENOSPC, EPERM, EROFS
from pathlib import Path

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
