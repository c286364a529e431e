"""Last saved session: the screen's content, kept across restarts and crashes."""

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from omnimouse_model.atomic import atomic_path
from omnimouse_model.data.read_options import ReadOptions
from omnimouse_model.demo import is_demo
from omnimouse_model.live.analysis_file import SUFFIX

logger = logging.getLogger(__name__)

RUN = f"{os.getpid()} {uuid4().hex}"
"""Id of this process; the random part distinguishes processes with a reused number."""
MOST_RECENT = 8
UNSAVED = ", unsaved "
MOST_UNSAVED = 20
"""Maximum number of copies of unsaved analyses that were never opened."""


@dataclass(frozen=True, slots=True)
class LastSession:
    """Last saved session.

    Attributes
    ----------
    options
        Options that the session is read with; see `ReadOptions`.
    analysis
        The screen's content as `Analysis.to_dict` returns it; may be empty.
    file, is_saved
        File of the analysis, "" for none, and whether it has the same content.
    brush_radius
        Radius of the field's brush in screen pixels, 0 if not known.
    run, at
        Id of the process that wrote this, "" after a normal end; time in seconds since
        the epoch.
    """

    session: str = ""
    predictor: str = ""
    preset: str = ""
    start_s: float = 0.0
    baseline: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    """Options that the session is read with; see `ReadOptions`."""
    pins: dict[str, Any] = field(default_factory=dict)
    """Pinned conditions of the session; see `Pins.facts`."""
    analysis: dict[str, Any] = field(default_factory=dict)
    file: str = ""
    is_saved: bool = False
    run: str = ""
    at: float = 0.0
    brush_radius: float = 0.0

    @property
    def is_after_crash(self) -> bool:
        """Whether the process that wrote this ended without a normal end."""
        return bool(self.run) and self.run != RUN and not _is_running(self.run)


def config_dir() -> Path:
    """Return the config folder: $OMNIMOUSE_CONFIG, else the system's default."""
    # Tests and notebooks must not write to the user's folder.
    if chosen := os.environ.get("OMNIMOUSE_CONFIG"):
        return Path(chosen)
    if sys.platform == "win32":
        base = os.environ.get("APPDATA", "~/AppData/Roaming")
    elif sys.platform == "darwin":
        base = "~/Library/Application Support"
    else:
        base = os.environ.get("XDG_CONFIG_HOME", "~/.config")
    return Path(base).expanduser() / "omnimouse"


def write_last_session(last: LastSession, path: Path | None = None) -> None:
    """Write the session atomically; log, and do not raise, if it cannot be written."""
    values = {field.name: getattr(last, field.name) for field in fields(last)}
    _write(path or config_dir() / "live.json", values)


def read_last_session(path: Path | None = None) -> LastSession | None:
    """Return the last saved session, None if there is none or it is damaged."""
    path = path or config_dir() / "live.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        # Ignore unknown fields: a newer version may have written the file.
        names = {field.name for field in fields(LastSession)}
        last = LastSession(**{k: v for k, v in values.items() if k in names})
        # Each value is converted, because the file may have been edited by hand.
        return LastSession(
            str(last.session),
            str(last.predictor),
            str(last.preset),
            float(last.start_s),
            str(last.baseline),
            ReadOptions(**last.options).changed(),
            dict(last.pins),
            dict(last.analysis),
            str(last.file),
            bool(last.is_saved),
            str(last.run),
            float(last.at),
            float(last.brush_radius),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        logger.warning("The last session could not be read from %s: %s", path, error)
        return None


class StateStore:
    """Storage of the last session, recent analyses and copies of unsaved analyses.

    Parameters
    ----------
    path
        File of the last session; True for the user's `live.json`, False to store
        nothing.
    """

    def __init__(self, path: Path | bool) -> None:
        self._is_enabled = path is not False
        self._path = path if isinstance(path, Path) else None
        # Copies are written on threads of their own.
        self._lock = threading.Lock()

    def load(self) -> LastSession:
        """Return the last saved session, an empty one if there is none."""
        last = read_last_session(self._path) if self._is_enabled else None
        return last or LastSession()

    def save(self, last: LastSession) -> None:
        """Save the session, unless a demo would replace the user's own recording."""
        if not self._is_enabled:
            return
        # A look at the demo must not hide the user's own work at the next start.
        if is_demo(Path(last.session)):
            saved = self.load().session
            if saved and not is_demo(Path(saved)):
                return
        write_last_session(replace(last, run=RUN, at=time.time()), self._path)

    def end(self) -> None:
        """Mark the saved session as ended normally."""
        last = self.load()
        # Do not touch the entry of another running process.
        is_own = last.run == RUN or last.is_after_crash
        if self._is_enabled and last.run and is_own:
            write_last_session(replace(last, run=""), self._path)

    @property
    def is_enabled(self) -> bool:
        """Whether anything is stored."""
        return self._is_enabled

    @property
    def folder(self) -> Path:
        """Folder of the stored files."""
        return config_dir() if self._path is None else self._path.parent

    @property
    def recent(self) -> tuple[Path, ...]:
        """Existing files of recently saved or opened analyses, newest first."""
        if not self._is_enabled:
            return ()
        try:
            paths = map(Path, _texts(self._recent_path))
            return tuple(path for path in paths if path.is_file())
        except (OSError, ValueError):  # not a valid path
            return ()

    def note_recent(self, path: Path) -> None:
        """Put a saved or opened analysis first in the list of recent ones.

        A copy of an unsaved analysis is then never deleted automatically.
        """
        if not self._is_enabled:
            return
        with self._lock:
            self._put_first(path)
            # A copy that was opened is in use, even if it was not saved under another
            # name.
            if path.parent == self.unsaved_folder and path.name not in self._in_use:
                _write(self._in_use_path, sorted({*self._in_use, path.name}))

    @property
    def unsaved_folder(self) -> Path:
        """Folder of copies of unsaved analyses."""
        return self.folder / "unsaved"

    def back_up(
        self, name: str, write: Callable[[Path], None]
    ) -> tuple[Path, tuple[Path, ...]]:
        """Write a copy of an unsaved analysis and put it first in the recent list.

        Return its path, and the paths of deleted older copies: of copies that were
        never opened, the newest `MOST_UNSAVED` stay.

        Raises
        ------
        OSError
            The copy cannot be written.
        """
        with self._lock:
            folder = self.unsaved_folder
            folder.mkdir(parents=True, exist_ok=True)
            at = time.strftime("%Y-%m-%d %H.%M.%S")
            stem = name.partition(UNSAVED)[0] + UNSAVED + at
            path, n = folder / f"{stem}{SUFFIX}", 1
            while path.exists():
                n += 1
                path = folder / f"{stem} ({n}){SUFFIX}"
            write(path)
            self._put_first(path)
            return path, self._prune(path)

    def _prune(self, newest: Path) -> tuple[Path, ...]:
        """Delete the oldest copies that were never opened; return their paths."""
        try:
            copies = self.unsaved_folder.glob(f"*{SUFFIX}")
            others = [p for p in copies if p.name not in self._in_use and p != newest]
            others.sort(key=lambda p: p.stat().st_mtime)
            old = others[: max(len(others) + 1 - MOST_UNSAVED, 0)]
        except OSError as error:
            logger.warning("Older copies are not deleted: %s", error)
            return ()
        deleted = []
        for path in old:
            try:
                path.unlink()
                deleted.append(path)
            except OSError as error:
                logger.warning("%s is not deleted: %s", path.name, error)
        return tuple(deleted)

    def _put_first(self, path: Path) -> None:
        paths = dict.fromkeys([str(path), *map(str, self.recent)])
        _write(self._recent_path, list(paths)[:MOST_RECENT])

    @property
    def _in_use(self) -> tuple[str, ...]:
        """Names of copies that were opened or saved again."""
        return _texts(self._in_use_path)

    @property
    def _in_use_path(self) -> Path:
        return self.folder / "unsaved_in_use.json"

    @property
    def _recent_path(self) -> Path:
        return self.folder / "recent_analyses.json"


def _write(path: Path, values: object) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Readable by the user only: paths and addresses can be private.
        with atomic_path(path, mode=0o600) as sibling:
            sibling.write_text(json.dumps(values, indent=1), encoding="utf-8")
    except OSError as error:
        logger.warning("The last session is not saved: %s", error)


def _texts(path: Path) -> tuple[str, ...]:
    """Return the strings of a JSON list; empty if it is missing or damaged."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return tuple(text for text in values if isinstance(text, str))
    except (OSError, ValueError, TypeError):
        return ()


def _is_running(run: str) -> bool:
    """Whether the process of a `RUN` id is running.

    A `RUN` with the number of this process is of an earlier process.
    """
    number = run.split(" ")[0]
    # Process numbers are reused: the random part of `RUN` tells such a process apart
    # from this one.
    if not number.isdigit() or int(number) in (0, os.getpid()):
        return False
    if sys.platform == "win32":
        import ctypes

        # 0x1000 is PROCESS_QUERY_LIMITED_INFORMATION. `os.kill(pid, 0)` is no
        # alternative: on Windows it terminates the process.
        kernel = ctypes.windll.kernel32
        handle = kernel.OpenProcess(0x1000, False, int(number))
        return bool(handle and kernel.CloseHandle(handle))
    try:
        os.kill(int(number), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it exists and belongs to another user
        return True
    return True
