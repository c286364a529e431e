"""Backups of unsaved work, and the saving of the last session."""

import logging
import re
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from omnimouse_model.live.analysis_file import SUFFIX, Analysis, write_analysis
from omnimouse_model.live.inference.engine import Execution
from omnimouse_model.live.state_store import MAX_UNSAVED, StateStore
from omnimouse_model.storage.web import web_address

logger = logging.getLogger(__name__)

MAX_NAME_BYTES: Final = 100
WRITTEN: Final = (
    "The analysis on screen was not saved. A backup was written: “{name}” "
    "(Backups of unsaved work…)."
)
NOT_WRITTEN: Final = (
    "The analysis on screen was not saved, and no backup could be written: {problem}."
)
DELETED: Final = (
    "At most {most} backups are stored. The backup “{name}”, never opened, was deleted."
)
_Key = tuple[object, ...]


class UnsavedBackups:
    """Writer of backups of unsaved work, in the background, without duplicates.

    Parameters
    ----------
    store
        Storage of the copies; if it is disabled, nothing is written.
    notify
        Receives messages for the user, on the drawing thread.
    """

    def __init__(
        self,
        store: StateStore,
        notify: Callable[[tuple[str, ...]], None],
        execution: Execution,
    ) -> None:
        self._store, self._notify, self._execution = store, notify, execution
        self._files: dict[_Key, Path] = {}
        self._threads: list[threading.Thread] = []

    def note_saved(self, analysis: Analysis, path: Path) -> None:
        """Record that a file has this analysis, so that it needs no copy."""
        self._files[_work_key(analysis)] = path

    def is_saved(self, analysis: Analysis) -> bool:
        """Whether an existing file is known to have this analysis."""
        path = self._files.get(_work_key(analysis))
        return path is not None and path.is_file()

    def write(self, name: str, analysis: Analysis) -> None:
        """Write a copy under a unique name, and send a message with the name."""
        if not self._store.is_enabled:
            return
        work = partial(self._write, plain_name(name), analysis)
        if self._execution.synchronous:
            return work()
        # A thread, not a task: a second copy must not cancel the first one.
        thread = threading.Thread(target=work, name="omnimouse-backup", daemon=True)
        self._threads = [t for t in self._threads if t.is_alive()] + [thread]
        thread.start()

    def close(self, timeout_s: float = 5.0) -> None:
        """Wait until all copies are written, at most `timeout_s` for each."""
        for thread in self._threads:
            thread.join(timeout_s)

    def _write(self, name: str, analysis: Analysis) -> None:
        try:
            path, deleted = self._store.back_up(name, partial(write_analysis, analysis=analysis))
        except Exception as error:  # the user must know that the work is lost
            logger.warning("Unsaved work could not be backed up.", exc_info=True)
            problem = getattr(error, "strerror", None) or str(error)
            messages: tuple[str, ...] = (NOT_WRITTEN.format(problem=problem),)
        else:
            self.note_saved(analysis, path)
            messages = (WRITTEN.format(name=path.name.removesuffix(SUFFIX)),)
            for old in deleted:
                old_name = old.name.removesuffix(SUFFIX)
                messages += (DELETED.format(most=MAX_UNSAVED, name=old_name),)
        self._execution.post(partial(self._notify, messages))


def has_unsaved_work(analysis: Analysis) -> bool:
    """Whether an analysis has a painted mask, pins or edits."""
    # Masks of presets or files can be made again, so they need no backup.
    by_hand = not analysis.preset and analysis.mask is not None
    return by_hand or bool(analysis.pins or analysis.edits)


def plain_name(place: str) -> str:
    """Return the last part of a path or address as a file name, without credentials."""
    if (address := web_address(place)) is not None:
        parts = urlsplit(address)
        place = unquote(parts.path.rstrip("/").rpartition("/")[2])
        place = place or parts.hostname or ""
    else:
        place = Path(place).name
    plain = re.sub(r'[\\/:*?"<>|\x00-\x1f\x7f]+', " ", place)
    # File systems limit names to 255 bytes, not characters; the time and the suffix
    # need the rest. "ignore" drops a character that is cut in half.
    short = plain.encode("utf-8", "replace")[:MAX_NAME_BYTES].decode("utf-8", "ignore")
    return short.strip(" .") or "analysis"


def _work_key(analysis: Analysis) -> _Key:
    """Return a key of the work that would be lost; equal keys need only one copy."""
    # A preset's mask can be made again; it is not work that would be lost.
    mask = None if analysis.preset or analysis.mask is None else analysis.mask.mask_id
    pins = tuple(pin.key for pin in analysis.pins)
    return analysis.recording, analysis.fingerprint, mask, analysis.edits, pins


# -- autosave of the screen's content; a crash loses at most half a second ------------
EVERY_S = 0.5
"""Minimum seconds between two writes; changes in between are written together."""


class Autosave:
    """Writer on its own thread: immediately after a change, then at most every 0.5 s.

    Parameters
    ----------
    write
        Writes the current state.
    synchronous
        Write inside `note`: for scripts and tests.
    """

    def __init__(self, write: Callable[[], None], *, synchronous: bool = False) -> None:
        self._write = write
        self._synchronous = synchronous
        self._lock = threading.Lock()
        self._changed, self._ended = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def note(self, *_: object) -> None:
        """Record a change, which is then written; any thread can call it."""
        with self._lock:
            if self._ended.is_set():
                return
            if not self._synchronous:
                self._changed.set()
                self._start_thread()
                return
        self._write()

    def close(self, timeout_s: float = 5.0) -> None:
        """End the thread and write once more; a second call does nothing."""
        with self._lock:
            if self._ended.is_set():
                return
            self._ended.set()
            self._changed.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
        self._try_to_write()

    def _start_thread(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name="omnimouse-autosave", daemon=True
            )
            self._thread.start()

    def _run(self) -> None:
        while self._changed.wait():
            self._changed.clear()
            # Checked after `clear`, because `close` sets both events: in the other
            # order, `clear` could remove the event of a close.
            if self._ended.is_set():
                return
            self._try_to_write()
            self._ended.wait(EVERY_S)

    def _try_to_write(self) -> None:
        try:
            self._write()
        except Exception:  # the thread must survive; the next change writes again
            logger.exception("The last session could not be saved.")
