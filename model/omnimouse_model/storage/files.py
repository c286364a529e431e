"""Opening untrusted files: regular files inside their folder, with limits of size.

A file is opened first, without waiting, and then looked at: its kind by `fstat`, its place
by the folders that led to it, each opened from the one before. So nobody can exchange a
name between a check and the opening. On systems where a file cannot be opened from an open
folder (Windows), the substitute opens the file by its path, resolves the path afterwards
and compares the result with the open file; links that lead out are refused there.

The file is long because the one door has all checks, and the looks that go with them.
"""

import math
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from errno import ELOOP, EMFILE, EMLINK, ENFILE, ENOTDIR, ENXIO
from functools import partial
from io import FileIO
from itertools import islice
from pathlib import Path
from typing import BinaryIO, ParamSpec, TypeVar

from omnimouse_model.errors import MISSING_RATE, SessionFormatError, without_controls

# O_NONBLOCK: opening a named pipe would otherwise wait forever. The names that Windows
# lacks are 0; O_BINARY exists on Windows alone.
_NAMES = ("O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY", "O_BINARY")
_FILE = os.O_RDONLY | sum(getattr(os, name, 0) for name in _NAMES)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
# Not on macOS and Windows, where a look goes by the name.
_LOOK = os.O_PATH | os.O_CLOEXEC if hasattr(os, "O_PATH") else 0
_OPENS_FROM_FOLDERS = bool(_NO_LINK) and os.open in os.supports_dir_fd
_MAX_LINKS = 40
T = TypeVar("T")
Arguments = ParamSpec("Arguments")
_BLOCK = 2**20


def open_binary(
    path: Path, inside: Path | None = None, *, is_named: bool = False, follows: bool = True
) -> FileIO:
    """Open a regular file for reading, unbuffered.

    A file that only points to content, which git-annex or Git LFS has not fetched yet,
    is refused as well.

    Parameters
    ----------
    inside
        Session folder in which the file must lie. A link of the folder leads anywhere to
        a plain file, as DataLad and clusters lay them out, if its owner is that of the
        folder: nobody else can choose its target.
    is_named
        Whether the content of a file names the path. Such a path never leads out.
    follows
        Whether links are followed at all; not in folders that are continued.

    Raises
    ------
    SessionFormatError
        The file is missing, no plain file, or leads out of the folder.
    """
    try:
        handle = _open(path, inside, is_named, follows)
    except SessionFormatError:
        raise
    except FileNotFoundError as error:
        raise missing(path) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        if getattr(error, "errno", None) == ENXIO:
            raise _no_plain_file(path) from error
        raise unreadable(path, error) from error
    try:
        info = os.fstat(handle)
        if not stat.S_ISREG(info.st_mode):
            raise _no_plain_file(path)
        # The caller closes it.
        stream = open(path, "rb", buffering=0, opener=lambda *_: handle)  # noqa: SIM115
    except BaseException:
        os.close(handle)
        raise
    if info.st_size <= _POINTER_BYTES:
        try:
            _check_pointer(stream, path)
        except BaseException:
            stream.close()
            raise
    return stream


# -- names of places ------------------------------------------------------------------
def expanded(path: str | Path) -> Path:
    """Return a path of the user with the home folder for ~, which stays if none is known."""
    # Unlike that of `Path`, it raises nothing where nobody knows the home folder.
    return Path(os.path.expanduser(path))  # noqa: PTH111


def real_path(path: str | Path) -> Path:
    """Return the absolute path behind all links; a link to itself stays."""
    # `Path.resolve` raises an error without a type for a link to itself.
    return Path(os.path.realpath(path))


# -- looks, which choose what to do next and never allow an opening -------------------
def look(path: Path | str, *, follows: bool = True) -> os.stat_result | None:
    """Return what lies at a path, which is not opened; None for nothing.

    What is opened afterwards can be something else: opening checks it again.

    Parameters
    ----------
    follows
        Whether a link stands for what it leads to, and one to nothing for nothing.

    Raises
    ------
    SessionFormatError
        A folder on the way may not be entered, or too many files are open.
    """
    try:
        if not _LOOK:
            return Path(path).stat(follow_symlinks=follows)
        handle = os.open(path, _LOOK | (0 if follows else _NO_LINK))
    except PermissionError as error:
        raise unreadable(Path(path), error) from error
    except (OSError, ValueError) as error:  # also of names that no system can hold
        if getattr(error, "errno", None) in (EMFILE, ENFILE):
            raise unreadable(Path(path), error) from error
        return None
    try:
        return os.fstat(handle)
    finally:
        os.close(handle)


def is_there(path: Path | str, *, follows: bool = True) -> bool:
    """Return whether anything lies at a path; see `look`."""
    return look(path, follows=follows) is not None


def exists(path: Path | str) -> bool:
    """Return whether anything lies at a path; False also where nobody may look."""
    try:
        return Path(path).exists()
    except OSError:  # also of names that no system can hold
        return False


def is_file(path: Path) -> bool:
    """Return whether a plain file, or a link to one, lies at a path; see `look`."""
    info = look(path)
    return info is not None and stat.S_ISREG(info.st_mode)


def is_folder(path: Path, *, follows: bool = True) -> bool:
    """Return whether a folder, or a link to one, lies at a path; see `look`."""
    info = look(path, follows=follows)
    return info is not None and stat.S_ISDIR(info.st_mode)


def size_of(path: Path) -> int:
    """Return the bytes of a file; 0 if there is none; see `look`."""
    info = look(path)
    return 0 if info is None else info.st_size


def is_link(path: Path | str) -> bool:
    """Return whether a link lies at a path; see `look`."""
    info = look(path, follows=False)
    return info is not None and stat.S_ISLNK(info.st_mode)


def paths_in(folder: Path, most: int | None = None) -> list[Path]:
    """Return the sorted paths in a folder; none if there is no folder.

    Raises
    ------
    SessionFormatError
        It cannot be listed, or has more than `most` entries.
    """
    return sorted(Path(entry.path) for entry in _listed(folder, most))


def folders_in(folder: Path, most: int | None = None, *, follows: bool = True) -> list[Path]:
    """Return the sorted folders in a folder, as `paths_in` does; only links are asked."""
    found = _listed(folder, most)
    kind = partial(os.DirEntry.is_dir, follow_symlinks=follows)
    return sorted(Path(entry.path) for entry in found if entry_is(kind, entry))


def entry_is(kind: "Callable[[os.DirEntry[str]], bool]", entry: "os.DirEntry[str]") -> bool:
    """Return whether an entry of a folder is of a kind; a link to itself is of none."""
    try:
        return kind(entry)
    except OSError as error:
        if error.errno != ELOOP:
            raise unreadable(Path(entry.path), error) from error
        return False


def _listed(folder: Path, most: int | None) -> "list[os.DirEntry[str]]":
    try:
        with os.scandir(folder) as entries:
            named = (entry for entry in entries if not is_of_mac(entry.name))
            found = list(islice(named, most and most + 1))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError) as error:
        raise unreadable(folder, error) from error
    check_most(folder, len(found), most or len(found), "entries", is_all=False)
    return found


def newest_first(paths: Iterable[Path]) -> list[Path]:
    """Return paths by their last change; one that is gone, or leads to nothing, is last."""

    def changed_s(path: Path) -> float:
        with suppress(OSError):
            return path.stat().st_mtime
        return -math.inf

    return sorted(paths, key=changed_s, reverse=True)


def is_of_mac(name: str) -> bool:
    """Whether a file is what macOS leaves beside each other one on drives of other systems."""
    return name.startswith("._")


def unless_missing(
    read: Callable[Arguments, T], *arguments: Arguments.args, **options: Arguments.kwargs
) -> T | None:
    """Return what a function reads; None if its file is not there, or a link to nothing."""
    try:
        return read(*arguments, **options)
    except SessionFormatError as error:
        # A file that only points to content is there: without it, values would differ.
        is_link_to_nothing = error.code == "not_fetched" and error.path.is_symlink()
        if error.code != "missing_file" and not is_link_to_nothing:
            raise
        return None


def head_of(path: Path, n_bytes: int) -> bytes:
    """Return the first bytes of a plain file; none if it cannot be opened."""
    try:
        with open_binary(path) as stream:
            return stream.read(n_bytes)
    except (OSError, SessionFormatError):
        return b""


def begins_with(path: Path, magic: bytes) -> bool:
    """Return whether a plain file begins with these bytes; no if it cannot be opened."""
    return head_of(path, len(magic)) == magic


def _no_plain_file(path: Path) -> SessionFormatError:
    if path.is_symlink():
        found = f"is a link to {os.path.realpath(path)}, which is no plain file"
        return bad_file(path, "unreadable", found, "put a plain file in its place")
    return bad_file(path, "unreadable", "is not a plain file")


def _open(path: Path, inside: Path | None, is_named: bool, follows: bool) -> int:
    if inside is None:
        return os.open(path, _FILE | (0 if follows else _NO_LINK))
    # Names only, unlike `resolve`: links are looked at on the way.
    root, whole = (Path(os.path.normpath(p.absolute())) for p in (inside, path))
    if root not in whole.parents:
        raise _outside(path)
    parts = whole.relative_to(root).parts
    if not _OPENS_FROM_FOLDERS:
        return _open_and_compare(path, root)
    walk = _Walk(path, root, is_named, follows)
    try:
        return walk.open(parts)
    finally:
        walk.close()


class _Walk:
    """The way from a session folder to a file, one open folder after the other."""

    def __init__(self, path: Path, root: Path, is_named: bool, follows: bool) -> None:
        self._path = path
        self._is_named = is_named
        self._follows = follows
        self._root = os.path.realpath(root)
        self._folders = [os.open(root, _FOLDER)]
        self._names: list[str] = []  # of the open folders below the root
        self._owner = os.fstat(self._folders[0]).st_uid

    def close(self) -> None:
        """Close the folders."""
        self._up_to(0)
        os.close(self._folders.pop())

    def _up_to(self, depth: int) -> None:
        while len(self._names) > depth:
            os.close(self._folders.pop())
            self._names.pop()

    def open(self, parts: tuple[str, ...]) -> int:
        """Return the open file at the names below the root."""
        left, n_links = list(reversed(parts)), 0
        while left:
            name = left.pop()
            if name == "..":
                if not self._names:
                    raise _outside(self._path)
                self._up_to(len(self._names) - 1)
                continue
            try:
                flags = _FOLDER if left else _FILE
                handle = os.open(name, flags | _NO_LINK, dir_fd=self._folders[-1])
            except OSError as error:
                # Of links: Linux and macOS, FreeBSD, and folders that are links.
                if error.errno not in (ELOOP, EMLINK, ENOTDIR):
                    raise
                target = self._target(name)
                n_links += 1
                if target is None or n_links > _MAX_LINKS:
                    raise
                inner = self._inner(target)
                if inner is None:
                    return self._open_outside(name, target, is_last=not left)
                left += reversed(inner)
                continue
            if not left:
                return handle
            self._folders.append(handle)
            self._names.append(name)
        raise _no_plain_file(self._path)

    def _target(self, name: str) -> str | None:
        """Return where a name of the last folder leads, None if it is no link."""
        folder = self._folders[-1]
        before = os.lstat(name, dir_fd=folder)
        if not stat.S_ISLNK(before.st_mode):
            return None
        if not self._follows:
            raise bad_file(self._path, "outside", "is a link", "put the file in its place")
        if before.st_uid != self._owner:
            raise _link_refused(
                self._path,
                f"{name} belongs to user {before.st_uid}; the session folder to user {self._owner}",
                "copy the file in its place, or give the link to the folder's owner",
            )
        target = os.readlink(name, dir_fd=folder)
        after = os.lstat(name, dir_fd=folder)
        # Another user of the folder may have exchanged it after its owner was read.
        if (before.st_ino, before.st_ctime_ns) != (after.st_ino, after.st_ctime_ns):
            raise bad_file(self._path, "changed", "changed while it was opened", "try again")
        return target

    def _inner(self, target: str) -> tuple[str, ...] | None:
        """Return the names of a target from the last folder, None if it leads out."""
        names = tuple(part for part in target.split("/") if part not in ("", "."))
        depth = lowest = len(self._names)
        for name in names:
            depth += -1 if name == ".." else 1
            lowest = min(lowest, depth)
        if not target.startswith("/") and lowest >= 0:
            return names
        # By another way, it may lead back into the folder.
        place = self._place(target)
        if Path(self._root) not in place.parents:
            return None
        self._up_to(0)
        return place.relative_to(self._root).parts

    def _place(self, target: str) -> Path:
        return Path(os.path.normpath(Path(self._root, *self._names, target)))

    def _open_outside(self, name: str, target: str, *, is_last: bool) -> int:
        """Open the file outside the session folder at which a link of its owner ends."""
        if self._is_named:
            raise _outside(self._path)
        if not is_last:
            hint = f"links to files are followed; open {self._place(target)} itself"
            raise _outside(self._path, f": {name} is a link to a folder", hint)
        return os.open(target, _FILE, dir_fd=self._folders[-1])


def _open_and_compare(path: Path, root: Path) -> int:
    """Open a file, and compare it with what its resolved path names afterwards."""
    handle = os.open(path, _FILE)
    try:
        place = Path(os.path.realpath(path))
        if Path(os.path.realpath(root)) not in place.parents:
            raise _link_refused(path, "its owner is not known on this system", "copy the file")
        if not os.path.samestat(place.stat(), os.fstat(handle)):
            raise bad_file(path, "changed", "changed while it was opened", "try again")
    except BaseException:
        os.close(handle)
        raise
    return handle


def _outside(path: Path, found: str = "", hint: str = "") -> SessionFormatError:
    return bad_file(path, "outside", f"points outside the session folder{found}", hint)


def _link_refused(path: Path, problem: str, hint: str) -> SessionFormatError:
    return bad_file(path, "outside", f"is a link, and is not followed: {problem}", hint)


_POINTER_BYTES = 2**15
"""Largest pointer that git-annex writes."""
_ANNEX = re.compile(rb"(/annex/objects/|(\.\./)*\.git/annex/objects/)[^\n]+\n?")
_LFS = b"version https://git-lfs.github.com/"


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


def read_bytes(path: Path, limit: int, inside: Path | None = None) -> bytes:
    """Return the content of a file of at most `limit` bytes; see `open_binary`."""
    with open_binary(path, inside) as stream:
        # The size is a guess: a file can grow while it is read.
        size = os.fstat(stream.fileno()).st_size
        data = bytearray()
        try:
            while size <= limit and (block := stream.read(min(_BLOCK, limit + 1 - len(data)))):
                data += block
                size = max(size, len(data))
        except OSError as error:
            raise unreadable(path, error) from error
    check_most(path, size, limit, "bytes")
    return bytes(data)


_AS_UTF8 = "save it as UTF-8"
_NO_TEXT = {
    b"PK\x03\x04": ("a workbook of Excel or an archive", "export it as CSV, or unpack it"),
    b"\xd0\xcf\x11\xe0": ("a workbook of Excel", "export it as CSV"),
    b"\x1f\x8b": ("compressed (gzip)", "unpack it"),
    b"PAR1": ("a table of Parquet", "export it as CSV"),
    # Before UTF-16, which begins with the same two bytes.
    b"\xff\xfe\0\0": ("text in UTF-32", _AS_UTF8),
    b"\0\0\xfe\xff": ("text in UTF-32", _AS_UTF8),
    b"\xff\xfe": ("text in UTF-16", _AS_UTF8),
    b"\xfe\xff": ("text in UTF-16", _AS_UTF8),
}
"""First bytes of files that are given in place of text -> what they are, and the remedy."""


def read_text(path: Path, limit: int, inside: Path | None = None) -> str:
    """Return the text of a UTF-8 file of at most `limit` bytes, without a mark of order."""
    data = read_bytes(path, limit, inside)
    for begin, (kind, remedy) in _NO_TEXT.items():
        if data.startswith(begin):
            raise bad_file(path, "bad_text", f"is {kind}, not UTF-8 text", remedy)
    try:
        return data.decode("utf-8-sig")
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
            raise bad_file(self.path, "changed", "changed while the session was open")


def stamped_files(folder: Path) -> dict[str, FileStamp]:
    """Return the plain files of a folder by name, without opening them.

    A missing folder gives an empty dict.
    """
    try:
        with os.scandir(folder) as entries:
            files = [e for e in entries if entry_is(os.DirEntry.is_file, e)]
            return {e.name: _stamp(e) for e in files if not is_of_mac(e.name)}
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
    named = getattr(error, "filename", None)
    # The error of a folder can be that of a file in it.
    if isinstance(named, str) and Path(named).is_relative_to(path):
        path = Path(named)
    return bad_file(
        path,
        "unreadable",
        f"cannot be read: {reason}",
        "check permissions, and that its drive is there",
    )


OWN_FILE = "links to other files are never followed: copy the values into this file"
WRITTEN = "was the file written to its end?"
_COMPLETE = "was the download complete?"
_HINTS = {
    **dict.fromkeys(("missing_data", "missing_meta", "missing_trials"), _COMPLETE),
    **dict.fromkeys(("bad_json", "bad_yaml"), "only plain keys and values are read"),
    "broken_archive": "fetch it again",
    "differs": "convert the session again",
    "missing_filter": "write the file again with gzip",
    "newer_version": "update this program",
    "unfinished": "run omnimouse convert again: it continues where it stopped",
    "changed": "open the session again",
    "no_series": "choose one of these with series=, or --series",
    "outside": "a session may only name files of its own folder",
    MISSING_RATE: "state it: rate_hz=…, or --rate-hz",
}
"""The usual solution of each kind of problem."""


def bad_file(
    path: Path, code: str, problem: str, hint: str = "", part: str = ""
) -> SessionFormatError:
    """Return the error for a file or folder; the message begins with its name, and a part."""
    name = f"{label(path)}: {part}" if part else label(path)
    return SessionFormatError(path, code, f"{name} {problem}", hint or _HINTS.get(code, ""))


def missing_package(path: Path, content: str, package: str, extra: str) -> SessionFormatError:
    """Return the error for a file that needs a package of an extra of this program."""
    problem = f"is {content}, and {package} is not installed"
    return bad_file(path, "missing_package", problem, f"pip install 'omnimouse-app[{extra}]'")


def check_most(
    path: Path, n: int, most: int, what: str, hint: str = "", *, is_all: bool = True
) -> None:
    """Raise `SessionFormatError` if a file has more of something than is read of it.

    Unless `n` `is_all` of it, because counting stopped, the message does not tell it.
    """
    if n > most:
        found = (
            f"{n:,} {what}; at most {most:,} are read" if is_all else f"more than {most:,} {what}"
        )
        raise bad_file(path, "too_large", f"has {found}", hint)


def check_some(path: Path, n: int, what: str, hint: str = "") -> None:
    """Raise `SessionFormatError` if a file or folder has nothing of what it must have."""
    if not n:
        raise bad_file(path, "empty", f"has no {what}", hint)


def check_length(path: Path, n: int, what: str, expected: int, of: str, hint: str = "") -> None:
    """Raise `SessionFormatError` unless a file has as many `what` as there are `of`."""
    if n != expected:
        raise bad_file(path, "wrong_length", f"has {n:,} {what} for {expected:,} {of}", hint)


@contextmanager
def damage_refused(path: Path, code: str, problem: str, hint: str = "") -> Iterator[None]:
    """Turn every other error of the block into that of a damaged file, with its text.

    Damaged bytes fail in many ways.
    """
    try:
        yield
    except SessionFormatError:
        raise
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        found = plain_text(f"it lacks {text}" if isinstance(error, KeyError) else text, 200)
        raise bad_file(path, code, f"{problem}: {found}", hint) from error


_IN_STORE = re.compile(r"[^/]*\.zarr(\.part)?/.+|[^/]+/c(/\d+)+$")
"""A place in a folder of zarr: from the folder on, or array and indices of a chunk."""


def label(path: Path) -> str:
    """Return folder and file name for messages, such as `responses/meta.yml`."""
    # Names in a store are those of arrays, `data` and numbers: where they are is told, too.
    inner = _IN_STORE.search(path.as_posix())
    named = inner[0] if inner else "/".join(path.parts[-2:] if path.suffix else path.parts[-1:])
    return plain_text(named)


def plain_text(text: str, most: int = 300) -> str:
    """Return text of any origin for a message: short, without signs that control a terminal."""
    return without_controls(text if len(text) <= most else f"{text[:most]}…")


def name_of(place: str | Path) -> str:
    """Return the name of a file, or the words for what is no file."""
    return label(place) if isinstance(place, Path) else place
