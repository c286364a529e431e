"""What reading a damaged recording comes to: a session that holds, or a typed error."""

import os
import re
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_app.cli.info import session_row
from omnimouse_model.data.hub.unpack import unpack
from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from omnimouse_model.errors import UNEXPECTED, SessionFormatError
from tests.fuzz.damage import RAN, SECRET

PATIENCE_S = 30
UNPACKED = "unpacked"
_SECRET_VALUE = 98765.25
_FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen")
_FORBIDDEN += ("socket.connect", "socket.bind", "os.remove", "os.rename", "os.mkdir")
_FORBIDDEN += ("os.rmdir", "os.symlink", "os.link", "os.chmod", "os.truncate")


class FaultError(AssertionError):
    """What must not happen when a damaged recording is read."""


class HangError(BaseException):
    """Reading went on for too long; not an `Exception`, so that nothing swallows it."""


def prepare(folder: Path) -> None:
    """Put what a recording must not reach beside it."""
    np.save(folder / SECRET, np.full((4, 4), _SECRET_VALUE))


def outcome_of(root: Path) -> str:
    """Read a recording; "session", or the code of the typed error that refused it.

    Raises
    ------
    FaultError
        It hung, wrote, executed, reached outside, raised another error, gave a
        session that does not hold together, or a message that names no file.
    """
    before = listing(root.parent)
    try:
        with _forbidden_effects(), _time_limit():
            outcome = _read(root)
    except HangError as error:
        raise FaultError(f"still reading after {PATIENCE_S} s") from error
    except (FaultError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise FaultError(f"raised {type(error).__name__}: {error}") from error
    finally:
        shutil.rmtree(root.parent / UNPACKED, ignore_errors=True)
    if (root.parent / RAN).exists():
        raise FaultError("ran what a file holds")
    if listing(root.parent) != before:
        raise FaultError("changed a file")
    return outcome


def listing(folder: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of change of everything below a folder."""
    found = []
    for path in folder.rglob("*"):
        facts = path.lstat()
        found.append((str(path), facts.st_size, facts.st_mtime_ns))
    return sorted(found)


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


def _unpacked(root: Path) -> Path:
    """The recording itself; an archive is unpacked beside it, and only there."""
    global _may_write
    if root.suffix != ".tar":
        return root
    _may_write = root.parent / UNPACKED
    try:
        return unpack(root, _may_write / "s")
    finally:
        _may_write = None


def _check_error(error: SessionFormatError, root: Path) -> None:
    words = str(error)
    if error.code == UNEXPECTED:
        raise FaultError(words) from error
    if not error.code or len(words) < 15 or len(words) > 2000:
        raise FaultError(f"says too little or too much: {words[:300]!r}")
    if error.code == "no_overlap":
        return  # names streams and their times
    named = (error.path.name, error.path.parent.name, root.name)
    if not any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", words) for name in named):
        raise FaultError(f"names no file: {words[:300]!r} of {error.path}")


def _exercise(session: Session) -> None:
    """Everything a user would do with it, and that what it yields fits together."""
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


# -- watching ------------------------------------------------------------------------
_watching: int | None = None
"""The thread that reads; others may still be at work for what ran before."""
_hooked = False
_may_write: Path | None = None
"""The one folder in which an archive may be unpacked."""


@contextmanager
def _forbidden_effects() -> Iterator[None]:
    """Let no program start, no connection be made and no file be written."""
    global _watching, _hooked
    if not _hooked:
        sys.addaudithook(_audit)
        _hooked = True
    _watching = threading.get_ident()
    try:
        yield
    finally:
        _watching = None


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if _watching != threading.get_ident() or "__pycache__" in repr(args):
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
    """End what takes too long, a blocked system call as well."""

    def end(*_: object) -> None:
        raise HangError

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
