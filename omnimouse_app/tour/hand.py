"""Simulated mouse and keyboard: real Qt events sent to real windows.

The demo report, the live benchmark and the end-to-end tests operate the instrument
through this module, so they exercise the same code as a user's input.
"""

from collections.abc import Callable, Iterable, Sequence
from time import perf_counter, sleep
from typing import Any

import numpy as np
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt, QTimer
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QWidget

from omnimouse_app.sigint import check_interrupt

Place = Sequence[float] | np.ndarray
"""(x, y) in pixels of a widget."""

NO_KEYS = Qt.KeyboardModifier.NoModifier
_LEFT = Qt.MouseButton.LeftButton
_NONE = Qt.MouseButton.NoButton
_MOUSE_MS = 12
"""Milliseconds between two moves of a drag: VisPy drops some of those within 10 ms, and
napari passes on only the last of those within 5 ms of its timer.
"""


def settle(seconds: float = 0.0) -> None:
    """Process Qt events for a time, and at least once.

    Raises KeyboardInterrupt after a Ctrl-C that a handler of Qt has received.
    """
    until = perf_counter() + seconds
    QApplication.processEvents()
    while perf_counter() < until:
        # Leaves the processor to the worker threads and processes.
        sleep(0.001)
        QApplication.processEvents()
    check_interrupt()


def _rest(milliseconds: int) -> None:
    """Process Qt events until a timer of this length, and every shorter one, fires.

    On a busy machine, time passes while timers wait; a sleep of this length would not
    be sufficient.
    """
    timer = QTimer()
    timer.setSingleShot(True)
    timer.setTimerType(Qt.TimerType.PreciseTimer)
    timer.start(milliseconds)
    while timer.isActive():
        sleep(0.001)
        QApplication.processEvents()


def wait_for(condition: Callable[[], bool], description: str, timeout_s: float = 60.0) -> float:
    """Process Qt events until the condition holds; return the seconds that it took."""
    since = perf_counter()
    while not condition():
        if perf_counter() - since > timeout_s:
            raise TimeoutError(f"Waited {timeout_s:z.0f} s for {description}.")
        settle()
        sleep(0.001)
    return perf_counter() - since


class Hand:
    """Mouse and keys over one widget; positions are its pixels (x, y)."""

    def __init__(self, widget: QWidget) -> None:
        self.widget = widget

    def press(self, at: Place, keys: Any = NO_KEYS) -> None:
        """Press the left button."""
        self._send(QEvent.Type.MouseButtonPress, at, _LEFT, _LEFT, keys)

    def move(self, at: Place, keys: Any = NO_KEYS, *, held: bool = True) -> None:
        """Move the pointer, with the left button held or not."""
        buttons = _LEFT if held else _NONE
        self._send(QEvent.Type.MouseMove, at, _NONE, buttons, keys)

    def release(self, at: Place, keys: Any = NO_KEYS) -> None:
        """Release the left button."""
        self._send(QEvent.Type.MouseButtonRelease, at, _LEFT, _NONE, keys)

    def click(self, at: Place, keys: Any = NO_KEYS) -> None:
        """Press and release at one position."""
        # As with a real mouse, a move comes before the press.
        self.move(at, keys, held=False)
        self.press(at, keys)
        self.release(at, keys)

    def drag(self, path: Iterable[Place], keys: Any = NO_KEYS) -> None:
        """Press at the first position, move along the path, release at the last."""
        places = [np.asarray(place, float) for place in path]
        self.move(places[0], keys, held=False)
        _rest(_MOUSE_MS)
        self.press(places[0], keys)
        for place in places[1:]:
            self.move(place, keys)
            _rest(_MOUSE_MS)
        self.release(places[-1], keys)

    def key(self, key: Qt.Key, modifier: Qt.KeyboardModifier = NO_KEYS) -> None:
        """Press and release a key."""
        # PyQt's type stubs declare its static functions as methods.
        QTest.keyClick(self.widget, key, modifier)  # type: ignore[call-overload]

    def _send(self, kind: QEvent.Type, at: Place, button: Any, buttons: Any, keys: Any) -> None:
        local = QPointF(float(at[0]), float(at[1]))
        on_screen = QPointF(self.widget.mapToGlobal(QPoint(0, 0))) + local
        event = QMouseEvent(kind, local, on_screen, button, buttons, keys)
        QApplication.sendEvent(self.widget, event)


def arc(
    centre: Sequence[float],
    radii: Sequence[float],
    turn: tuple[float, float] = (0.0, 5.0),
    steps: int = 40,
) -> np.ndarray:
    """Return positions (steps, 2) along an ellipse, for curved strokes."""
    angle = np.linspace(*turn, steps)
    unit = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.asarray(np.asarray(centre) + unit * np.asarray(radii))
