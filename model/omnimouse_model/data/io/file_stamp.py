"""Snapshot of file sizes and modification times, taken when a session is opened."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from omnimouse_model.errors import SessionFormatError


@dataclass(frozen=True, slots=True)
class FileStamp:
    """A file with its size (bytes) and modification time (ns) at opening."""

    path: Path
    size: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path, info: os.stat_result | None = None) -> "FileStamp":
        """Return a file as it is now, or as `fstat` of the open file describes it."""
        info = stat_file(path) if info is None else info
        return cls(path, info.st_size, info.st_mtime_ns)

    def check(self, info: os.stat_result | None = None) -> None:
        """Raise `SessionFormatError` if the file is missing or has changed.

        Parameters
        ----------
        info
            Result of `stat` or `fstat` if the caller already has one.
        """
        try:
            info = self.path.stat() if info is None else info
        except OSError as error:
            raise unreadable(self.path, error) from error
        if (info.st_size, info.st_mtime_ns) != (self.size, self.changed_ns):
            raise bad_file(
                self.path,
                "changed",
                "changed while the session was open",
                "open the session again",
            )


def stamped_files(folder: Path) -> dict[str, FileStamp]:
    """Return the plain files of a folder by name, without opening them.

    A missing folder gives an empty dict.
    """
    try:
        with os.scandir(folder) as entries:
            return {e.name: _stamp(e) for e in entries if e.is_file()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise unreadable(folder, error) from error


def _stamp(entry: "os.DirEntry[str]") -> FileStamp:
    # On Windows, DirEntry.stat reads the directory entry, whose size and time can
    # lag behind the file itself.
    path = Path(entry.path)
    return FileStamp.of(path, path.stat() if os.name == "nt" else entry.stat())


def stat_file(path: Path) -> os.stat_result:
    """Return `path.stat()`; raise `SessionFormatError` if the file is missing."""
    try:
        return path.stat()
    except FileNotFoundError as error:
        raise missing(path) from error
    except OSError as error:
        raise unreadable(path, error) from error


def missing(path: Path) -> SessionFormatError:
    """Return the error for a file that is not there, or a link to nothing."""
    try:
        target = path.readlink()
    except OSError:
        return bad_file(path, "missing_file", "is missing")
    if ".git/annex/objects/" in target.as_posix():
        return not_fetched(path)
    return bad_file(
        path,
        "missing_file",
        f"is a link to {target}, which is not there",
        "is its drive there? copy the file in the place of the link",
    )


def not_fetched(path: Path) -> SessionFormatError:
    """Return the error for a file whose content git-annex has not fetched."""
    return bad_file(
        path,
        "not_fetched",
        "is a pointer of git-annex: its content is not here yet",
        f"run: git annex get {path.name}, or: datalad get {path.name}",
    )


def unreadable(path: Path, error: Exception) -> SessionFormatError:
    """Return the error for a file or folder that the system cannot read."""
    reason = getattr(error, "strerror", None) or str(error)
    return bad_file(
        path,
        "unreadable",
        f"cannot be read: {reason}",
        "check permissions, and that its drive is there",
    )


def bad_file(path: Path, code: str, problem: str, hint: str = "") -> SessionFormatError:
    """Return the error for a file or folder; the message begins with its name."""
    return SessionFormatError(path, code, f"{label(path)} {problem}", hint)


@contextmanager
def damage_refused(refusal: Callable[[str], SessionFormatError]) -> Iterator[None]:
    """Turn every other error of the block into the refusal of a damaged file.

    `refusal` takes the start of the error's text. Damaged bytes fail in many ways.
    """
    try:
        yield
    except SessionFormatError:
        raise
    except Exception as error:
        raise refusal(str(error)[:200]) from error


def label(path: Path) -> str:
    """Return folder and file name for messages, such as `responses/meta.yml`."""
    return "/".join(path.parts[-2:]) if path.suffix else path.name
