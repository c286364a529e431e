"""The seeded hand of `tests.soak.window`: what a user may do, and how often."""

import faulthandler
import sys
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.compat import isalive
from qtpy.QtCore import QPoint, QPointF, Qt, QTimer
from qtpy.QtGui import QKeySequence, QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QDialog, QWidget

from omnimouse_app.field.canvas import Canvas
from omnimouse_app.field.keys import all_keys
from omnimouse_app.tour.hand import Hand, settle
from omnimouse_app.window.commands import ACTIONS
from omnimouse_app.window.docks import OmniMouseDock

HANGS_S = 120.0
"""An act that takes so long never ends: every thread's stack is told."""
LEAST_FIELD = 20
"""Pixels of the canvas: a small window full of docks leaves none, and none to click."""
KEYS = tuple(
    QKeySequence(key)[0]
    for keys in all_keys()
    for key in keys.split(" ")
    if not key.endswith(("-click", "-drag"))
)
"""Every key that OmniMouse answers to."""
SIZES = ((1440, 900), (1280, 720), (900, 600), (1600, 1000))
CONTROLS = (
    *(Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Up, Qt.Key.Key_Down),
    *(Qt.Key.Key_Space, Qt.Key.Key_Tab, Qt.Key.Key_Return, Qt.Key.Key_Escape),
    *(Qt.Key.Key_Home, Qt.Key.Key_End, Qt.Key.Key_PageDown, Qt.Key.Key_Delete),
)


@dataclass
class Monkey:
    """A seeded hand on one window."""

    dock: OmniMouseDock
    recordings: tuple[Path, ...]
    models: tuple[str, ...]
    draw: np.random.Generator
    answers: np.random.Generator
    """Dialogs come when they come: what is answered moves no later act."""
    counts: Counter[str]
    acts: deque[str]

    def __post_init__(self) -> None:
        self.window = self.dock.main_window
        self.dialogs = QTimer(self.window)  # PySide6 never collects what has slots
        self.dialogs.setInterval(60)
        # An answer may bring the next dialog, and a timer waits for its own call's end.
        self.dialogs.timeout.connect(lambda: QTimer.singleShot(0, self.answer_dialog))
        self.dialogs.start()

    def act(self) -> None:
        """One random thing that a user does."""
        chosen = ACTS[int(self.draw.choice(len(ACTS), p=SHARES))]
        self.counts[chosen.__name__] += 1
        self.acts.append(chosen.__name__)
        faulthandler.dump_traceback_later(HANGS_S, exit=True, file=sys.__stderr__)
        chosen(self)
        settle(float(self.draw.choice([0.0, 0.0, 0.01, 0.1])))

    def rest(self) -> None:
        """Leave every dialog and popup, and touch nothing any more."""
        for _ in range(20):
            self.close_popups()
            if QApplication.activeModalWidget() is None:
                break
            settle(0.1)
        self.dialogs.stop()

    # -- dialogs --------------------------------------------------------------------
    def answer_dialog(self) -> None:
        """Accept or leave whatever waits for an answer, sooner or later."""
        popup = QApplication.activePopupWidget()
        modal = QApplication.activeModalWidget()
        accepts = self.answers.random() < 0.4
        if popup is not None:
            if accepts:
                popup.close()
        elif isinstance(modal, QDialog):
            self.say(f"dialog {modal.windowTitle()!r}")
            QTest.keyClick(modal, Qt.Key.Key_Return if accepts else Qt.Key.Key_Escape)
        elif modal is not None:
            modal.close()

    def close_popups(self) -> None:
        """Close menus and lists that are open."""
        while (popup := QApplication.activePopupWidget()) is not None:
            popup.close()

    # -- pointing -------------------------------------------------------------------
    def chance(self, share: float) -> bool:
        return bool(self.draw.random() < share)

    def one_of(self, some: Any) -> Any:
        return some[int(self.draw.integers(len(some)))]

    def say(self, what: str) -> None:
        self.acts.append(f"… {what}")

    def widgets(self) -> list[QWidget]:
        """Everything of ours that is seen."""
        tops = [dock.widget() for dock in self.dock.docks.values()]
        tops += [w for w in QApplication.topLevelWidgets() if w is not self.window]
        found = [w for top in tops if top for w in (top, *top.findChildren(QWidget))]
        return [w for w in found if w.isVisible() and not w.visibleRegion().isEmpty()]

    def widget(self) -> QWidget | None:
        seen = self.widgets()
        chosen = self.one_of(seen) if seen else None
        if chosen is not None:
            words = getattr(chosen, "text", lambda: "")
            words = words() if callable(words) else words
            self.say(f"{type(chosen).__name__} {chosen.objectName()} {words!s:.30}")
        return chosen

    def place(self, widget: QWidget) -> QPoint:
        seen = widget.visibleRegion().boundingRect()
        x = seen.left() + int(self.draw.integers(max(seen.width(), 1)))
        return QPoint(x, seen.top() + int(self.draw.integers(max(seen.height(), 1))))

    def keys(self) -> Any:
        none, many = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier
        held = (many.ControlModifier, many.ShiftModifier, many.AltModifier)
        return none if self.chance(0.7) else self.one_of(held)

    # -- acts -----------------------------------------------------------------------
    def click(self) -> None:
        widget = self.widget()
        if widget is None:
            return
        right = self.chance(0.1)
        button = Qt.MouseButton.RightButton if right else Qt.MouseButton.LeftButton
        strike = QTest.mouseDClick if self.chance(0.1) else QTest.mouseClick
        strike(widget, button, self.keys(), self.place(widget))

    def drag(self) -> None:
        if (widget := self.widget()) is not None:
            n = int(self.draw.integers(2, 8))
            places = [self.place(widget) for _ in range(n)]
            Hand(widget).drag([(at.x(), at.y()) for at in places], self.keys())

    def wheel(self) -> None:
        widget = self.widget()
        if widget is None:
            return
        at, turn = QPointF(self.place(widget)), 120 * self.one_of((-3, -1, 1, 3))
        glob = widget.mapToGlobal(at)
        event = QWheelEvent(
            at,
            glob,
            QPoint(),
            QPoint(0, turn),
            Qt.MouseButton.NoButton,
            self.keys(),
            Qt.ScrollPhase.NoScrollPhase,
            False,
        )
        QApplication.sendEvent(widget, event)

    def write(self) -> None:
        """Letters and control keys into what has the focus, or in a widget."""
        focus = QApplication.focusWidget()
        widget = focus if focus is not None and self.chance(0.7) else self.widget()
        if widget is None:
            return
        for _ in range(int(self.draw.integers(1, 5))):
            if not isalive(widget):
                return
            if self.chance(0.5):
                self.strike(widget)
            else:
                QTest.keyClick(widget, self.one_of(CONTROLS), self.keys())

    def strike(self, widget: QWidget) -> None:
        """One of OmniMouse's keys, now and then with another modifier than its own."""
        stroke = self.one_of(KEYS)
        held = stroke.keyboardModifiers() if self.chance(0.8) else self.keys()
        self.say(f"key {QKeySequence(stroke).toString()}")
        QTest.keyClick(widget, stroke.key(), held)

    def field(self) -> QWidget | None:
        """The canvas, where the docks have left any of it to point at."""
        settle(0.05)  # a dock that came or went is laid out late
        widget = Canvas(self.dock.viewer, self.window).widget
        return widget if min(extent(widget)) > LEAST_FIELD else None

    def stroke(self) -> None:
        if (widget := self.field()) is not None:
            n = int(self.draw.integers(2, 12))
            ends = self.draw.uniform(-0.1, 1.1, (n, 2)) * extent(widget)
            Hand(widget).drag(ends, self.keys())

    def field_click(self) -> None:
        if (widget := self.field()) is not None:
            at = self.draw.uniform(0, 1, 2) * extent(widget)
            Hand(widget).click(at, self.keys())

    def field_key(self) -> None:
        if (widget := self.field()) is not None:
            self.strike(widget)

    def toggle_dock(self) -> None:
        dock = self.one_of(list(self.dock.docks.values()))
        self.say(dock.windowTitle())
        self.one_of((dock.close, dock.toggleViewAction().trigger, dock.raise_))()

    def float_dock(self) -> None:
        dock = self.one_of(list(self.dock.docks.values()))
        dock.setFloating(not dock.isFloating())

    def bring_up(self) -> None:
        self.dock.bring_up(self.one_of(list(self.dock.docks)))

    def theme(self) -> None:
        self.dock.viewer.theme = self.one_of(("dark", "light", "system"))

    def resize(self) -> None:
        self.window.resize(*self.one_of(SIZES))

    def minimise(self) -> None:
        self.window.showMinimized()
        settle(0.05)
        self.window.showNormal()

    def command(self) -> None:
        """Something of the command palette."""
        name = self.one_of(list(ACTIONS))
        self.say(name)
        ACTIONS[name].act(self.dock)

    def open(self) -> None:
        path = self.one_of(self.recordings)
        self.say(path.name)
        self.dock.open_folder(str(path))

    def model(self) -> None:
        name = self.one_of(self.models)
        self.say(name)
        self.dock.controller.choose_predictor(name)

    def layer(self) -> None:
        """Hide, show, rename or delete a layer, as napari's list does."""
        layers = self.dock.viewer.layers
        if not len(layers):
            return
        layer = self.one_of(list(layers))
        self.say(layer.name)
        if self.chance(0.1):
            layers.remove(layer)
        elif self.chance(0.5):
            layer.visible = not layer.visible
        else:
            layers.selection.active = layer

    def dims(self) -> None:
        """3-D and back."""
        self.dock.viewer.dims.ndisplay = self.one_of((2, 2, 3))


def extent(widget: QWidget) -> np.ndarray:
    """Its width and height."""
    return np.array([widget.width(), widget.height()])


WEIGHTS: dict[Callable[[Monkey], None], float] = {
    **{Monkey.click: 30, Monkey.drag: 8, Monkey.wheel: 5, Monkey.write: 10},
    **{Monkey.stroke: 12, Monkey.field_click: 6, Monkey.field_key: 6},
    **{Monkey.toggle_dock: 6, Monkey.float_dock: 1, Monkey.bring_up: 6},
    **{Monkey.theme: 0.5, Monkey.resize: 2, Monkey.minimise: 0.5, Monkey.command: 8},
    **{Monkey.open: 1.5, Monkey.model: 1.5, Monkey.layer: 1, Monkey.dims: 0.5},
}
ACTS = tuple(WEIGHTS)
SHARES = np.array(list(WEIGHTS.values())) / sum(WEIGHTS.values())
