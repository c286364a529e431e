"""Real mouse events, what is waited for after them, turns of a stopped clock, pixels on screen."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QEvent, QObject, QPoint, QPointF, Qt, QTimer
from qtpy.QtGui import QMouseEvent, QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QComboBox, QWidget

from omnimouse_widgets.qt.style.redraw import Redraw, TurnTime

NO_KEYS = Qt.KeyboardModifier.NoModifier
LEFT = Qt.MouseButton.LeftButton
NO_BUTTON = Qt.MouseButton.NoButton


def canvas_position(canvas: Any, box: Any, x: float, y: float) -> QPointF:
    """Pixel of a plot's canvas at a position in data units."""
    return QPointF(canvas.mapFromScene(box.mapViewToScene(QPointF(x, y))))


def send(widget: Any, kind: Any, at: QPointF, button: Any, buttons: Any, keys: Any) -> None:
    """Send one mouse event to a widget."""
    glob = widget.mapToGlobal(at)
    QApplication.sendEvent(widget, QMouseEvent(kind, at, glob, button, buttons, keys))


def drag(widget: Any, path: list[QPointF], keys: Any = NO_KEYS) -> None:
    """Press at the first place, move along the others, release at the last."""
    send(widget, QEvent.Type.MouseMove, path[0], NO_BUTTON, NO_BUTTON, keys)
    send(widget, QEvent.Type.MouseButtonPress, path[0], LEFT, LEFT, keys)
    for at in path[1:]:
        send(widget, QEvent.Type.MouseMove, at, NO_BUTTON, LEFT, keys)
    send(widget, QEvent.Type.MouseButtonRelease, path[-1], LEFT, NO_BUTTON, keys)


def wheel(widget: Any, at: QPointF, clicks: int, keys: Any = NO_KEYS) -> bool:
    """Turn the wheel over a place; return whether the widget accepts it."""
    none, turn = Qt.ScrollPhase.NoScrollPhase, QPoint(0, 120 * clicks)
    place = widget.mapToGlobal(at)
    event = QWheelEvent(at, place, QPoint(), turn, NO_BUTTON, keys, none, False)
    QApplication.sendEvent(widget, event)
    return event.isAccepted()


def pixel(widget: Any, at: QPointF) -> np.ndarray:
    """Red, green and blue (3,) on screen at a place of a widget."""
    colour = widget.grab().toImage().pixelColor(at.toPoint())
    return np.array([colour.red(), colour.green(), colour.blue()])


def press(button: QWidget) -> None:
    """Click on the middle of a widget."""
    QTest.mouseClick(button, LEFT)


def pick(box: QComboBox, data: object) -> None:
    """Choose as a user does: `activated` is only sent for a user's choice."""
    box.setCurrentIndex(box.findData(data))
    box.activated.emit(box.currentIndex())


def wait(qtbot: QtBot, what: Callable[[], object]) -> None:
    """Until something is so, on a busy machine too."""
    qtbot.waitUntil(what, timeout=60_000)


def stop_clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time in s of panels and frames, which passes only where a test says so."""
    clock = [100.0]
    monkeypatch.setattr("omnimouse_widgets.qt.style.redraw.monotonic", lambda: clock[0])
    monkeypatch.setattr("omnimouse_widgets.qt.style.redraw.TURN_MS", 3_600_000)
    for kind in ("panels", "frames"):
        monkeypatch.setattr(Redraw, kind, TurnTime())
    return clock


def pass_time(clock: list[float], kind: TurnTime, took_s: float) -> None:
    """Let panels or frames take some seconds."""
    begin_s = clock[0]
    clock[0] += took_s
    kind.add(begin_s)


def next_turn(owner: QObject) -> None:
    """End the wait of the running timers of an object, as its next turn does."""
    for timer in owner.findChildren(QTimer):
        if timer.isActive():
            timer.stop()
            timer.timeout.emit()
