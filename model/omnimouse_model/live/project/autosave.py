"""Autosave of the screen's content; a crash loses at most half a second."""

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)

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
