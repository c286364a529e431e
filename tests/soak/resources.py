"""Checks of `tests.soak.window`: errors during the run, and leaks after it."""

import faulthandler
import gc
import logging
import sys
import threading
import traceback
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from qtpy.QtCore import QThreadPool, qInstallMessageHandler
from qtpy.QtWidgets import QApplication

from omnimouse_app.tour.hand import settle
from omnimouse_app.window.memory import return_free_memory
from omnimouse_model.storage.arrays.npy import stamped_array

MAX_GROWTH_MIB = 32.0
"""Maximum growth per session of the window, after the second one."""
WARM_UP_S = 600.0
MAX_LATE_GROWTH_MIB = 64.0
"""Maximum growth in total, after the warm-up."""
LAST_ACTIONS = 25
"""Number of actions that are printed with an error."""
QUIET_QT = (
    "propagateSizeHints",  # the offscreen platform has none
    "QXcbConnection: XCB error",  # a window that closed before the reply of the server
    "libEGL",
)
"""Messages of Qt about the display, which are no errors of this project."""

NAPARI_ANSWERS = (
    "OSError: Nothing to save",  # Ctrl+S on the canvas while no layer is selected
    "preferences_dialog.py",  # values that napari's own dialog offers and refuses
)
"""Parts of the error messages of napari itself; they are no errors of this project."""


# -- errors ---------------------------------------------------------------------------
class _ErrorLog(logging.Handler):
    """Log handler that records errors."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self._messages.append(logging.Formatter().format(record))


class Faults:
    """Recorder of all errors: exceptions, Qt messages, logs, napari notifications."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.actions: deque[str] = deque(maxlen=LAST_ACTIONS)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record the errors of Python, its threads, Qt, the logs and napari."""
        from napari.utils.notifications import notification_manager

        log = _ErrorLog(self.messages)
        notified = notification_manager.notification_ready
        with ExitStack() as stack:
            for module, name, hook in (
                (sys, "excepthook", self._on_exception),
                (threading, "excepthook", lambda a: self._on_exception(*a[:3])),
                (sys, "unraisablehook", lambda a: self._on_exception(*a[:3])),
            ):
                stack.callback(setattr, module, name, getattr(module, name))
                setattr(module, name, hook)
            stack.callback(qInstallMessageHandler, qInstallMessageHandler(self._on_qt))
            stack.callback(logging.getLogger().removeHandler, log)
            logging.getLogger().addHandler(log)
            stack.callback(notified.disconnect, self._on_napari)
            notified.connect(self._on_napari)
            yield
            faulthandler.cancel_dump_traceback_later()

    def check(self) -> None:
        """Raise an error with all messages and the last actions, if there are any."""
        if self.messages:
            actions = "\n  ".join(self.actions)
            messages = "\n".join(self.messages)
            raise AssertionError(f"{messages}\nafter\n  {actions}")

    def _on_exception(self, kind: Any, error: Any, trace: Any) -> None:
        text = "".join(traceback.format_exception(kind, error, trace))
        if not any(answer in text for answer in NAPARI_ANSWERS):
            self.messages.append(text)

    def _on_qt(self, kind: Any, _context: Any, text: str | None) -> None:
        if not any(quiet in (text or "") for quiet in QUIET_QT):
            self.messages.append(f"Qt: {text}")

    def _on_napari(self, notification: Any) -> None:
        if notification.severity >= "error":
            self.messages.append(f"napari: {notification.message}")


# -- leaks ----------------------------------------------------------------------------
@dataclass(frozen=True)
class Resources:
    """Resources of this process while no window is open; `mib` is memory in use."""

    objects: Counter[str]
    widgets: Counter[str]
    threads: list[str]
    files: list[str]
    mib: float


ZARR_THREADS = ("zarr_io", "asyncio_")
WINDOW_PARTS = ("omnimouse_app", "omnimouse_widgets", "omnimouse_model.live")
"""Packages whose objects must be deleted when their window closes."""


def count_resources() -> Resources:
    """Run the garbage collector, and count the resources."""
    # The process keeps files of trials for the next reading, at most 32 of them open.
    stamped_array.cache_clear()
    # An idle thread of Qt's pool holds a file for half a minute; this ends it.
    QThreadPool.globalInstance().waitForDone()
    for _ in range(3):
        settle(0.05)
        gc.collect()
    classes = (type(item) for item in gc.get_objects())
    names = (f"{k.__module__}.{k.__qualname__}" for k in classes if is_own(k))
    widgets = (type(w) for w in QApplication.allWidgets())
    return_free_memory()
    return Resources(
        objects=Counter(names),
        widgets=Counter(k.__qualname__ for k in widgets if is_own(k)),
        threads=sorted(t.name for t in threading.enumerate()),
        files=open_files(),
        mib=psutil.Process().memory_info().rss / 2**20,
    )


def open_files() -> list[str]:
    """Return the targets of all open files of this process (Linux only)."""
    names = []
    for link in Path("/proc/self/fd").glob("*"):
        with suppress(OSError):  # the file of the listing is closed again
            names.append(str(link.readlink()).split(":")[0])
    return sorted(names)


def is_own(kind: type) -> bool:
    """Whether a class belongs to a window of this project."""
    return str(getattr(kind, "__module__", "")).startswith(WINDOW_PARTS)


def check_leaks(before: Resources, after: Resources) -> None:
    """Check that no objects, widgets, threads or files have been added."""
    grown = after.objects - before.objects
    assert not grown, f"objects left: {grown}"
    assert not after.widgets, f"widgets left: {after.widgets}"
    new = Counter(after.threads) - Counter(before.threads)
    # zarr starts its threads when they are first needed, and keeps them.
    left = [name for name in new if not name.startswith(ZARR_THREADS)]
    assert not left, left
    opened = Counter(after.files) - Counter(before.files)
    opened = {name: n for name, n in opened.items() if not name.startswith("/usr/")}
    assert not opened, f"files left open: {opened}"


def check_memory(mib: list[float]) -> None:
    """Check the growth of memory after the second window; the first two warm up."""
    if len(mib) > 2:
        growth = (mib[-1] - mib[1]) / (len(mib) - 2)
        assert growth < MAX_GROWTH_MIB, f"{growth:.0f} MiB per window: {mib}"


def check_growth(ends_s: list[float], mib: list[float]) -> None:
    """Check the growth of memory from the first window that ends after the warm-up."""
    late = [each for end_s, each in zip(ends_s, mib, strict=True) if end_s >= WARM_UP_S]
    if late:
        growth = max(late) - late[0]
        assert growth < MAX_LATE_GROWTH_MIB, f"{growth:.0f} MiB: {mib}"
