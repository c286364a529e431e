"""Outcome of reading a damaged recording: a valid session, or a typed error."""

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_app.cli.info import session_row
from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from omnimouse_model.errors import UNEXPECTED, SessionFormatError
from omnimouse_model.storage.archives import unpack
from omnimouse_model.storage.write import cache_dir
from tests.fuzz.damage import RAN, SECRET
from tests.fuzz.process import FaultError

UNPACKED = "unpacked"
UNFINISHED = "continued"
"""Name of the copy of a folder that is continued."""
LOOPBACK = ("127.0.0.1", "::1", "localhost")
_SECRET_VALUE = 98765.25
_FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen")
_FORBIDDEN += ("os.remove", "os.rename", "os.mkdir")
_FORBIDDEN += ("os.rmdir", "os.symlink", "os.link", "os.chmod", "os.truncate")


def prepare(folder: Path) -> None:
    """Write the file that readers must not access, next to the recording."""
    np.save(folder / SECRET, np.full((4, 4), _SECRET_VALUE))


def outcome_of(root: Path, read: Callable[[Path], object] | None = None) -> str:
    """Read a recording; return "session", or the code of the typed error.

    Another file is read by `read`; the outcome is "read", or the type of the error.

    Raises
    ------
    FaultError
        The reader wrote a file, executed code, read a file outside, raised another
        error, or returned an inconsistent session, or the message of its error names no
        file.
    """
    before = listing(root.parent)
    try:
        with _forbidden_effects():
            outcome = _read(root) if read is None else _read_other(root, read)
    except Exception as error:
        raise FaultError(f"raised {type(error).__name__}: {error}") from error
    finally:
        shutil.rmtree(root.parent / UNPACKED, ignore_errors=True)
    if (root.parent / RAN).exists():
        raise FaultError("executed the content of a file")
    if listing(root.parent) != before:
        raise FaultError("changed a file")
    return outcome


def listing(folder: Path) -> list[tuple[str, int, int]]:
    """Return name, size and modification time of all files below a folder."""
    entries = []
    for path in folder.rglob("*"):
        status = path.lstat()
        entries.append((str(path), status.st_size, status.st_mtime_ns))
    return sorted(entries)


def _read(root: Path) -> str:
    try:
        folder = _unpacked(root)
        session = open_session(folder)
        _exercise(session)
        session_row(folder)
    except SessionFormatError as error:
        _check_error(error, root)
        return error.code
    return "session"


def _read_other(root: Path, read: Callable[[Path], object]) -> str:
    try:
        read(root)
    # Errors of the system are those of a file that the user names.
    except (ValueError, OSError) as error:
        message = str(error)
        if isinstance(error, UnicodeError):
            raise FaultError(f"raised {type(error).__name__}: {error}") from error
        if not 15 <= len(message) <= 2000:
            raise FaultError(f"message: {message[:300]!r}") from error
        # Inner names of one sign, such as those of chunks, would be part of any message.
        inner = (path.name for path in root.rglob("*") if len(path.name) > 1)
        names = [root.name, UNFINISHED, "hf://", *(p.name for p in root.glob("*")), *inner]
        if not any(name in message for name in names):
            raise FaultError(f"message names no file: {message[:300]!r}") from error
        return type(error).__name__
    return "read"


def _unpacked(root: Path) -> Path:
    """Return the recording; an archive may be unpacked into one folder next to it."""
    global _may_write
    if root.suffix != ".tar":
        return root
    _may_write = root.parent / UNPACKED
    try:
        return unpack(root, _may_write / "s")
    finally:
        _may_write = None


def _check_error(error: SessionFormatError, root: Path) -> None:
    message = str(error)
    if error.code == UNEXPECTED:
        raise FaultError(message) from error
    if not error.code or len(message) < 15 or len(message) > 2000:
        raise FaultError(f"message is too short or too long: {message[:300]!r}")
    names = (error.path.name, error.path.parent.name, root.name)
    patterns = [rf"(?<!\w){re.escape(name)}(?!\w)" for name in names]
    if not any(re.search(pattern, message) for pattern in patterns):
        raise FaultError(f"message names no file: {message[:300]!r} of {error.path}")


def _exercise(session: Session) -> None:
    """Use a session as a user would, and check that its parts are consistent."""
    n = session.n_neurons
    units = session.units
    columns = (units.unit_id, units.plane, units.xyz_um, units.xy_px, units.scale)
    _check(all(len(c) == n for c in columns), "unit columns differ in length")
    _check(units.area is None or len(units.area) == n, "areas differ in number")
    _check(bool(np.isfinite(session.response_scale).all()), "scale is not finite")
    _check(bool((session.response_scale > 0).all()), "scale is not positive")
    starts = session.window_starts()
    session.window_starts("train", include_blanks=True)
    session.overview(10)
    if session.stimulus is not None:
        _check(bool((np.diff(session.stimulus.slot_t) > 0).all()), "slots out of order")
        session.stimulus.frames(np.arange(min(3, len(session.stimulus.slot_t))))
    places = [0.0, session.duration_s / 2, *starts[:1], *starts[-1:]]
    for place in places if len(session.start_grid) >= 60 else ():
        window = session.window(float(place))
        _check(window.responses.shape == (60, n), "responses of another shape")
        _check(window.video.shape == (60, 36, 64), "video of another shape")
        _check(window.frames_u8.dtype == np.uint8, "frames of another kind")
        _check(bool(np.isfinite(window.video).all()), "video is not finite")
        _check(bool(np.isfinite(window.behavior).all()), "behaviour is not finite")
        _check(not bool((window.responses == _SECRET_VALUE).any()), "reached outside")
        _check(set(window.valid) == {"responses", "video", "behavior"}, "valid differs")


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise FaultError(f"a session whose {otherwise}")


# -- audit of forbidden actions ------------------------------------------------------
_is_watched = False
_has_hook = False
_may_write: Path | None = None
"""The only folder in which files may be written."""
_may_connect = False
"""Whether connections within this machine are allowed."""


@contextmanager
def network_and_folder(folder: Path) -> Iterator[None]:
    """Allow connections within this machine, and writing into a folder."""
    global _may_write, _may_connect
    _may_write, _may_connect = folder, True
    try:
        yield
    finally:
        _may_write, _may_connect = None, False


@contextmanager
def _forbidden_effects() -> Iterator[None]:
    """Raise an error if code starts a program, connects or opens a file to write."""
    global _is_watched, _has_hook
    if not _has_hook:
        sys.addaudithook(_audit)
        _has_hook = True
    _is_watched = True
    try:
        yield
    finally:
        _is_watched = False


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not _is_watched or "__pycache__" in repr(args):
        return
    if event in ("socket.connect", "socket.bind"):
        if not _may_connect or args[1][0] not in LOOPBACK:
            raise FaultError(f"did {event} {args[1]!r}")
    elif event in _FORBIDDEN:
        if not _is_allowed(event, args):
            raise FaultError(f"did {event} {args!r}"[:300])
    elif event == "open" and isinstance(args[0], str | bytes):
        writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
        if args[2] & writes and not _is_inside(args[0]):
            raise FaultError(f"opened {args[0]!r} to write")


def _is_allowed(event: str, args: tuple[Any, ...]) -> bool:
    # Removal by name, in a folder that is open.
    if event in ("os.remove", "os.rmdir") and args[1] != -1:
        opened = Path(f"/proc/self/fd/{args[1]}")  # on Linux
        if not opened.exists():
            return _may_write is not None
        return _is_inside(opened)
    places = {"os.rename": args[:2], "os.symlink": args[1:2]}.get(event, args[:1])
    # It fails, wherever the link leads.
    if event == "os.mkdir" and Path(os.fsdecode(args[0])).is_symlink():
        return True
    if event in ("os.remove", "os.symlink"):  # a link, not what it leads to
        places = tuple(Path(os.fsdecode(place)).parent for place in places)
    return all(map(_is_inside, places))


def _is_inside(path: object) -> bool:
    """Whether a path lies in the folder for writing, or in the cache with its locks."""
    if not isinstance(path, str | bytes | Path):
        return False  # an open folder
    # Unlike `resolve`, it raises nothing for a circle of links.
    place = Path(os.path.realpath(os.fsdecode(path)))
    folders = (cache_dir(), _may_write)
    return any(f is not None and place.is_relative_to(os.path.realpath(f)) for f in folders)
