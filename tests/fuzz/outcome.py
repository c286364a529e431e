"""Outcome of reading a damaged recording: a valid session, or a typed error."""

import os
import re
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_app.cli.info.command import session_row
from omnimouse_model.cache import cache_dir
from omnimouse_model.data.hub.unpack import unpack
from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from omnimouse_model.errors import UNEXPECTED, SessionFormatError
from tests.fuzz.damage import RAN, SECRET

PATIENCE_S = 20
UNPACKED = "unpacked"
_SECRET_VALUE = 98765.25
_FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen")
_FORBIDDEN += ("socket.connect", "socket.bind", "os.remove", "os.rename", "os.mkdir")
_FORBIDDEN += ("os.rmdir", "os.symlink", "os.link", "os.chmod", "os.truncate")


class FaultError(AssertionError):
    """Fault of a reader: anything except a valid session or a typed error."""


class HangError(BaseException):
    """Reading took too long; not an `Exception`, so that no reader catches it."""


def prepare(folder: Path) -> None:
    """Write the file that readers must not access, next to the recording."""
    np.save(folder / SECRET, np.full((4, 4), _SECRET_VALUE))


def outcome_of(root: Path, read: Callable[[Path], object] | None = None) -> str:
    """Read a recording; return "session", or the code of the typed error.

    Another file is read by `read`; the outcome is "read", or the type of the error.

    Raises
    ------
    FaultError
        The reader did not end, wrote a file, executed code, read a file outside, raised
        another error, or returned an inconsistent session, or the message of its error
        names no file.
    """
    before = listing(root.parent)
    try:
        with _forbidden_effects(), _time_limit():
            outcome = _read(root) if read is None else _read_other(root, read)
    except HangError as error:
        raise FaultError(f"still reading after {PATIENCE_S} s") from error
    except (FaultError, KeyboardInterrupt):
        raise
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
    except ValueError as error:
        message = str(error)
        if not 15 <= len(message) <= 2000:
            raise FaultError(f"message: {message[:300]!r}") from error
        names = [root.name, *(path.name for path in root.iterdir())]
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
    if error.code == "no_overlap":
        return  # its message names streams and times
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
_audited_thread: int | None = None
"""The thread that reads. Other threads may still run for an earlier recording."""
_has_hook = False
_may_write: Path | None = None
"""The only folder in which files may be written."""


@contextmanager
def _forbidden_effects() -> Iterator[None]:
    """Raise an error if code starts a program, connects or opens a file to write."""
    global _audited_thread, _has_hook
    if not _has_hook:
        sys.addaudithook(_audit)
        _has_hook = True
    _audited_thread = threading.get_ident()
    try:
        yield
    finally:
        _audited_thread = None


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if _audited_thread != threading.get_ident() or "__pycache__" in repr(args):
        return
    # Locks lie in the cache, not beside the files.
    if event != "socket.connect" and str(args[0]).startswith(str(cache_dir())):
        return
    if _may_write is not None and event != "socket.connect":
        paths = map(str, args[: 2 if event == "os.rename" else 1])
        by_folder = event in ("os.remove", "os.rmdir") and args[1] != -1
        if by_folder or all(p.startswith(str(_may_write)) for p in paths):
            return
    if event in _FORBIDDEN:
        raise FaultError(f"did {event} {args!r}"[:300])
    if event == "open" and isinstance(args[0], str | bytes):
        path, writes = str(args[0]), os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
        if args[2] & writes:
            raise FaultError(f"opened {path!r} to write")


@contextmanager
def _time_limit() -> Iterator[None]:
    """Raise HangError after the time limit, also during a blocked system call."""

    def end(*_: object) -> None:
        raise HangError

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
