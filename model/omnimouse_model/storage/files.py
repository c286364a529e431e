"""Opening untrusted files: regular files inside their folder, with limits of size."""

import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from omnimouse_model.errors import SessionFormatError


def contained(path: Path, inside: Path, *, is_named: bool = False) -> Path:
    """Return `path` if it lies in the session folder `inside`, or is a link of it.

    A link of the folder leads anywhere to a plain file, as DataLad and clusters lay
    them out, if its owner is that of the folder: nobody else can choose its target.

    Parameters
    ----------
    is_named
        Whether the content of a file names the path. Such a path never leads out.

    Raises
    ------
    SessionFormatError
        If the path leads out of the folder otherwise, or to nothing.
    """
    root, real = os.path.realpath(inside), os.path.realpath(path)
    if _is_below(real, root):
        return path
    place = Path(os.path.realpath(path.parent), path.name)
    if is_named or not place.is_symlink() or not _is_below(str(place), root):
        folder = None if is_named else _linked_folder(path, root)
        found = "" if folder is None else f": {folder.name} is a link to a folder"
        raise SessionFormatError(
            path,
            "outside",
            f"{path} points outside the session folder{found}",
            "a session may only name files of its own folder"
            if folder is None
            else f"links to files are followed; open {os.path.realpath(folder)} itself",
        )
    if not stat.S_ISREG(stat_file(path).st_mode):
        problem = f"to {real}, which is no plain file"
        raise _link_refused(path, problem, "put a plain file in its place")
    _check_owners(place, root)
    return path


def _is_below(real: str, root: str) -> bool:
    # With the separator, so that /data/a2 does not count as inside /data/a.
    return real == root or real.startswith(root.rstrip(os.sep) + os.sep)


def _linked_folder(path: Path, root: str) -> Path | None:
    """Return the folder on the way to a path that is a link out of the session."""
    for folder in path.parents:
        is_last = _is_below(os.path.realpath(folder.parent), root)
        if folder.is_symlink() and is_last:
            return folder
    return None


def _check_owners(place: Path, root: str) -> None:
    """Raise if a link of the folder belongs to another user than the folder."""
    # Windows has no numbers of users, so the owner of a link is unknown.
    if os.name == "nt":
        raise _link_refused(place, "and has no known owner on Windows", "copy the file")
    owner = Path(root).stat().st_uid
    # A link can lead to another link of the folder.
    while place.is_symlink() and _is_below(str(place), root):
        found = os.lstat(place).st_uid
        if found != owner:
            raise _link_refused(
                place,
                f"and belongs to user {found}; the session folder to user {owner}",
                "copy the file in its place, or give the link to the folder's owner",
            )
        target = place.parent / place.readlink()
        place = Path(os.path.realpath(target.parent), target.name)


def _link_refused(path: Path, problem: str, hint: str) -> SessionFormatError:
    found = f"is a link that leads out of the session folder {problem}"
    return bad_file(path, "outside", found, hint)


_POINTER_BYTES = 2**15
"""Largest pointer that git-annex writes."""
_ANNEX = re.compile(rb"(/annex/objects/|(\.\./)*\.git/annex/objects/)[^\n]+\n?")
_LFS = b"version https://git-lfs.github.com/"


def open_binary(path: Path) -> BinaryIO:
    """Open a regular file for reading; raise `SessionFormatError` if impossible.

    A file that only points to content, which git-annex or Git LFS has not fetched yet,
    is refused as well.
    """
    info = stat_file(path)
    # Opening a named pipe would wait forever.
    if not stat.S_ISREG(info.st_mode):
        raise bad_file(path, "unreadable", "is not a plain file")
    try:
        stream = path.open("rb", buffering=0)
    except OSError as error:
        raise unreadable(path, error) from error
    if info.st_size <= _POINTER_BYTES:
        try:
            _check_pointer(stream, path)
        except BaseException:
            stream.close()
            raise
    return stream


def _check_pointer(stream: BinaryIO, path: Path) -> None:
    try:
        head = stream.read(len(_LFS))
        if head.startswith((b"/annex/", b".git/", b"../")):
            head += stream.read(_POINTER_BYTES)
        stream.seek(0)
    except OSError as error:
        raise unreadable(path, error) from error
    if _ANNEX.fullmatch(head):
        raise not_fetched(path)
    if head == _LFS:
        found = "is a pointer of Git LFS: its content is not here yet"
        raise bad_file(path, "not_fetched", found, "run: git lfs pull")


def read_text(path: Path, limit: int) -> str:
    """Read a UTF-8 text file of at most `limit` bytes."""
    with open_binary(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > limit:
            raise bad_file(path, "too_large", f"has {size:,} bytes; at most {limit:,} are read")
        try:
            data = stream.read()
        except OSError as error:
            raise unreadable(path, error) from error
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise bad_file(
            path, "bad_text", f"line {line}: not UTF-8 text", "save the file as UTF-8"
        ) from error


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
