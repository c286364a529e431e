"""What `tests.soak.window` looks for: faults while it works, and what is left."""

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
from qtpy.QtCore import qInstallMessageHandler
from qtpy.QtWidgets import QApplication

from omnimouse_app.tour.hand import settle

MAX_GROWTH_MIB = 32.0
"""For each life between the second's end and the last one's."""
REMEMBERED = 25
"""Acts told beside a fault."""
QUIET_QT = (
    "propagateSizeHints",  # the offscreen platform has none
    "QXcbConnection: XCB error",  # a window that closed before its answer came
    "libEGL",
)
"""What Qt says of the display, not of us."""


# -- what must not happen -------------------------------------------------------------
class _ErrorLog(logging.Handler):
    """Writes down what is logged as an error."""

    def __init__(self, found: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._found = found

    def emit(self, record: logging.LogRecord) -> None:
        self._found.append(logging.Formatter().format(record))


class Faults:
    """Everything that is raised or complained of while it watches."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.acts: deque[str] = deque(maxlen=REMEMBERED)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Listen to Python, its threads, Qt, the logs and napari."""
        from napari.utils.notifications import notification_manager

        log = _ErrorLog(self.found)
        told = notification_manager.notification_ready
        with ExitStack() as stack:
            for module, name, hook in (
                (sys, "excepthook", self._raised),
                (threading, "excepthook", lambda a: self._raised(*a[:3])),
                (sys, "unraisablehook", lambda a: self._raised(*a[:3])),
            ):
                stack.callback(setattr, module, name, getattr(module, name))
                setattr(module, name, hook)
            stack.callback(
                qInstallMessageHandler, qInstallMessageHandler(self._qt_said)
            )
            stack.callback(logging.getLogger().removeHandler, log)
            logging.getLogger().addHandler(log)
            stack.callback(told.disconnect, self._napari_told)
            told.connect(self._napari_told)
            yield
            faulthandler.cancel_dump_traceback_later()

    def check(self) -> None:
        """Raise what was found, with the acts before it."""
        if self.found:
            acts = "\n  ".join(self.acts)
            found = "\n".join(self.found)
            raise AssertionError(f"{found}\nafter\n  {acts}")

    def _raised(self, kind: Any, error: Any, trace: Any) -> None:
        self.found.append("".join(traceback.format_exception(kind, error, trace)))

    def _qt_said(self, kind: Any, _context: Any, words: str | None) -> None:
        if not any(quiet in (words or "") for quiet in QUIET_QT):
            self.found.append(f"Qt: {words}")

    def _napari_told(self, notification: Any) -> None:
        if notification.severity >= "error":
            self.found.append(f"napari: {notification.message}")


# -- what is left ---------------------------------------------------------------------
@dataclass(frozen=True)
class Resources:
    """What this process holds between lives."""

    objects: Counter[str]
    widgets: Counter[str]
    threads: list[str]
    files: list[str]
    mib: float


WINDOW_PARTS = ("omnimouse_app", "omnimouse_widgets", "omnimouse_model.live")
"""Where whatever belongs to one window is written: nothing of it may outlive it."""


def count_resources() -> Resources:
    """Collect, and count what is left."""
    for _ in range(3):
        settle(0.05)
        gc.collect()
    here = psutil.Process()
    kinds = (type(one) for one in gc.get_objects())
    ours = (f"{k.__module__}.{k.__qualname__}" for k in kinds if is_ours(k))
    widgets = (type(w) for w in QApplication.allWidgets())
    return Resources(
        objects=Counter(ours),
        widgets=Counter(k.__qualname__ for k in widgets if is_ours(k)),
        threads=sorted(t.name for t in threading.enumerate()),
        files=open_files(),
        mib=here.memory_info().rss / 2**20,
    )


def open_files() -> list[str]:
    """What every open file of this process is, where the system tells."""
    found = []
    for link in Path("/proc/self/fd").glob("*"):
        with suppress(OSError):  # the listing's own
            found.append(str(link.readlink()).split(":")[0])
    return sorted(found)


def is_ours(kind: type) -> bool:
    """Whether a class belongs to a window of ours."""
    return str(getattr(kind, "__module__", "")).startswith(WINDOW_PARTS)


def check_left(before: Resources, after: Resources) -> None:
    """Nothing of ours is there that was not."""
    grown = after.objects - before.objects
    assert not grown, f"objects left: {grown}"
    assert not after.widgets, f"widgets left: {after.widgets}"
    begun = Counter(after.threads) - Counter(before.threads)
    assert not [name for name in begun if name.startswith("omnimouse")], begun
    assert len(after.threads) <= len(before.threads), (before.threads, after.threads)
    opened = Counter(after.files) - Counter(before.files)
    opened = {name: n for name, n in opened.items() if not name.startswith("/usr/")}
    assert not opened, f"files left open: {opened}"


def check_memory(mib: list[float]) -> None:
    """Lives after the second need little more; the first two import and warm up."""
    if len(mib) > 2:
        growth = (mib[-1] - mib[1]) / (len(mib) - 2)
        assert growth < MAX_GROWTH_MIB, f"{growth:.0f} MiB for every life: {mib}"
