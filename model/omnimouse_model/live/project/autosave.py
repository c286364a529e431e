"""Keeps what is on screen while it changes, so that a crash costs half a second."""

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)

EVERY_S = 0.5
"""Changes in this time are written together."""


class Autosave:
    """Writes after changes, in a thread of its own: at once, then every half second.

    Parameters
    ----------
    write
        Writes what is on screen now.
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
        """Something has changed; callable from any thread."""
        with self._lock:
            if self._ended.is_set():
                return
            if not self._synchronous:
                self._changed.set()
                self._start_thread()
                return
        self._write()

    def close(self, timeout_s: float = 5.0) -> None:
        """Write for the last time; calling it again does nothing."""
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
            if self._ended.is_set():  # looked at after the clear: no end is missed
                return
            self._try_to_write()
            self._ended.wait(EVERY_S)

    def _try_to_write(self) -> None:
        try:
            self._write()
        except Exception:  # whatever it is, the next change is tried again
            logger.exception("What is on screen could not be kept.")
