"""What survives a restart, and a crash: where the user was, and what was asked."""

import json
import logging
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from omnimouse_model.atomic import atomic_path
from omnimouse_model.data.options import ReadOptions
from omnimouse_model.demo import is_demo
from omnimouse_model.live.analysis_file import SUFFIX

logger = logging.getLogger(__name__)

RUN = f"{os.getpid()} {uuid4().hex}"
"""This process, told from every other, also from one that had its number before."""
MOST_RECENT = 8
UNSAVED = ", unsaved "
MOST_UNSAVED = 20
"""Analyses that were left without being saved."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """Where the user was.

    Attributes
    ----------
    options
        How the session is read; see `ReadOptions`.
    analysis
        All that was on screen, as `Analysis.to_dict` gives it; may be empty.
    file, is_saved
        The file it was saved to, "" for none, and whether that holds the same.
    run, at
        Whose it is until it ends, "" after that; and when that was written.
    """

    session: str = ""
    predictor: str = ""
    preset: str = ""
    start_s: float = 0.0
    baseline: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    """How the session is read; see `ReadOptions`."""
    pins: dict[str, Any] = field(default_factory=dict)
    """Pinned conditions of the session; see `Pins.facts`."""
    analysis: dict[str, Any] = field(default_factory=dict)
    file: str = ""
    is_saved: bool = False
    run: str = ""
    at: float = 0.0

    @property
    def is_left_by_a_crash(self) -> bool:
        """Whether the process that was writing it is gone without a word."""
        return bool(self.run) and self.run != RUN and not _is_running(self.run)


def config_dir() -> Path:
    """The user's config folder: $OMNIMOUSE_CONFIG, else the system's habit."""
    if chosen := os.environ.get("OMNIMOUSE_CONFIG"):
        return Path(chosen)
    if sys.platform == "win32":
        base = os.environ.get("APPDATA", "~/AppData/Roaming")
    elif sys.platform == "darwin":
        base = "~/Library/Application Support"
    else:
        base = os.environ.get("XDG_CONFIG_HOME", "~/.config")
    return Path(base).expanduser() / "omnimouse"


def remember(what: Remembered, path: Path | None = None) -> None:
    """Write it, atomically; a folder that cannot be written is logged, not raised."""
    facts = {name.name: getattr(what, name.name) for name in fields(what)}
    _write(path or config_dir() / "live.json", facts)


def recall(path: Path | None = None) -> Remembered | None:
    """Read it back, None when there is nothing sound to read."""
    path = path or config_dir() / "live.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        known = {name.name for name in fields(Remembered)}
        what = Remembered(**{k: v for k, v in found.items() if k in known})
        return Remembered(
            str(what.session),
            str(what.predictor),
            str(what.preset),
            float(what.start_s),
            str(what.baseline),
            ReadOptions(**what.options).given(),
            dict(what.pins),
            dict(what.analysis),
            str(what.file),
            bool(what.is_saved),
            str(what.run),
            float(what.at),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        logger.warning("Where you were could not be read from %s: %s", path, error)
        return None


class Memory:
    """Where the user was: in a file, the user's `live.json` when True, or nowhere.

    Parameters
    ----------
    where
        The file, True for the user's own, False to keep nothing.
    """

    def __init__(self, where: Path | bool) -> None:
        self._is_kept = where is not False
        self._path = where if isinstance(where, Path) else None

    def recall(self) -> Remembered:
        """Where the user was; an empty `Remembered` where that is not known."""
        found = recall(self._path) if self._is_kept else None
        return found or Remembered()

    def remember(self, where: Remembered) -> None:
        """Keep it; a demo recording never takes the place of the user's own."""
        if not self._is_kept:
            return
        if is_demo(Path(where.session)):
            was = self.recall().session
            if was and not is_demo(Path(was)):
                return
        remember(replace(where, run=RUN, at=time.time()), self._path)

    def end(self) -> None:
        """All is well: what is remembered was not left by a crash."""
        was = self.recall()
        if self._is_kept and was.run and (was.run == RUN or was.is_left_by_a_crash):
            remember(replace(was, run=""), self._path)

    @property
    def is_kept(self) -> bool:
        """Whether there is a file at all."""
        return self._is_kept

    @property
    def folder(self) -> Path:
        """Where the file lies."""
        return config_dir() if self._path is None else self._path.parent

    @property
    def recent(self) -> tuple[Path, ...]:
        """Analyses that were saved or opened and are there, the newest first."""
        if not self._is_kept:
            return ()
        try:
            found = json.loads(self._recent_path.read_text(encoding="utf-8"))
            paths = [Path(path) for path in found if isinstance(path, str)]
            return tuple(path for path in paths if path.is_file())
        except (OSError, ValueError, TypeError):  # none yet, or not sound: begin anew
            return ()

    def note_recent(self, path: Path) -> None:
        """Put an analysis first among the recent ones."""
        if self._is_kept:
            paths = dict.fromkeys([str(path), *map(str, self.recent)])
            _write(self._recent_path, list(paths)[:MOST_RECENT])

    def keep_unsaved(self, name: str, write: Callable[[Path], None]) -> Path | None:
        """Write an analysis that is in no file beside the memory; the newest stay.

        It becomes the first of the recent ones. None where nothing is kept.
        """
        if not self._is_kept:
            return None
        folder = self.folder / "unsaved"
        first = (
            name.partition(UNSAVED)[0] + UNSAVED + time.strftime("%Y-%m-%d %H.%M.%S")
        )
        names = (first, *(f"{first} ({n})" for n in range(2, 1000)))
        places = (folder / f"{name}{SUFFIX}" for name in names)
        path = next(place for place in places if not place.exists())
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write(path)
        except OSError as error:
            logger.warning("What was not saved could not be kept: %s", error)
            return None
        kept = sorted(folder.glob(f"*{SUFFIX}"), key=lambda p: p.stat().st_mtime)
        for old in kept[:-MOST_UNSAVED]:
            old.unlink(missing_ok=True)
        self.note_recent(path)
        return path

    @property
    def _recent_path(self) -> Path:
        return self.folder / "recent_analyses.json"


def _write(path: Path, facts: object) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path, mode=0o600) as sibling:
            sibling.write_text(json.dumps(facts, indent=1), encoding="utf-8")
    except OSError as error:
        logger.warning("Where you were is not remembered: %s", error)


def _is_running(run: str) -> bool:
    """Whether the process of a `RUN` lives; another one with our number does not."""
    number = run.split(" ")[0]
    if not number.isdigit() or int(number) in (0, os.getpid()):
        return False
    if sys.platform == "win32":
        import ctypes

        kernel = ctypes.windll.kernel32
        handle = kernel.OpenProcess(0x1000, False, int(number))
        return bool(handle and kernel.CloseHandle(handle))
    try:
        os.kill(int(number), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
