"""Random user actions of `tests.soak.window`, with their frequencies."""

import faulthandler
import sys
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt, QTimer
from qtpy.QtGui import QKeyEvent, QKeySequence
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QDialog, QWidget

from omnimouse_app.field.canvas import Canvas, all_keys
from omnimouse_app.tour.hand import Hand, settle
from omnimouse_app.window.commands import ACTIONS
from omnimouse_app.window.docks import OmniMouseDock
from tests.widgets import pointer

TIMEOUT_S = 120.0
"""Time limit of one action; after it, the stacks of all threads are printed."""
MIN_FIELD = 20
"""Minimum size of the canvas in pixels; docks can cover it in a small window."""
KEYS = tuple(
    QKeySequence(key)[0]
    for keys in all_keys()
    for key in keys.split(" ")
    if not key.endswith(("-click", "-drag"))
)
"""All keys of OmniMouse."""
SIZES = ((1440, 900), (1280, 720), (900, 600), (1600, 1000))
CONTROLS = (
    *(Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Up, Qt.Key.Key_Down),
    *(Qt.Key.Key_Space, Qt.Key.Key_Tab, Qt.Key.Key_Return, Qt.Key.Key_Escape),
    *(Qt.Key.Key_Home, Qt.Key.Key_End, Qt.Key.Key_PageDown, Qt.Key.Key_Delete),
)
MODIFIER_KEYS = (
    (Qt.KeyboardModifier.ControlModifier, Qt.Key.Key_Control),
    (Qt.KeyboardModifier.ShiftModifier, Qt.Key.Key_Shift),
    (Qt.KeyboardModifier.AltModifier, Qt.Key.Key_Alt),
)


@dataclass
class Monkey:
    """Source of random user actions on one window, with a seed."""

    dock: OmniMouseDock
    recordings: tuple[Path, ...]
    models: tuple[str, ...]
    draw: np.random.Generator
    answers: np.random.Generator
    """Separate draws for dialogs, because the time of a dialog is not fixed."""
    counts: Counter[str]
    actions: deque[str]

    def __post_init__(self) -> None:
        self.window = self.dock.main_window
        self.dialogs = QTimer(self.window)  # PySide6 never deletes objects with slots
        self.dialogs.setInterval(60)
        # Closing a dialog may open another; a timer does not fire in its own call.
        self.dialogs.timeout.connect(lambda: QTimer.singleShot(0, self.answer_dialog))
        self.dialogs.start()

    def act(self) -> None:
        """Make one random action of a user."""
        action = ACTIONS_OF_USER[int(self.draw.choice(len(ACTIONS_OF_USER), p=SHARES))]
        self.counts[action.__name__] += 1
        self.actions.append(action.__name__)
        faulthandler.dump_traceback_later(TIMEOUT_S, exit=True, file=sys.__stderr__)
        action(self)
        settle(float(self.draw.choice([0.0, 0.0, 0.01, 0.1])))

    def rest(self) -> None:
        """Close all dialogs and popups, and stop the actions."""
        for _ in range(20):
            self.close_popups()
            if QApplication.activeModalWidget() is None:
                break
            settle(0.1)
        self.dialogs.stop()
        # What was written in a field counts when the field loses the focus.
        if (focus := QApplication.focusWidget()) is not None:
            focus.clearFocus()

    # -- dialogs --------------------------------------------------------------------
    def answer_dialog(self) -> None:
        """Accept or close the open dialog or popup."""
        popup = QApplication.activePopupWidget()
        modal = QApplication.activeModalWidget()
        accepts = self.answers.random() < 0.4
        if popup is not None:
            if accepts:
                popup.close()
        elif isinstance(modal, QDialog):
            self.note(f"dialog {modal.windowTitle()!r}")
            key = Qt.Key.Key_Return if accepts else Qt.Key.Key_Escape
            self.press_key(modal, key, Qt.KeyboardModifier.NoModifier)
        elif modal is not None:
            modal.close()

    def close_popups(self) -> None:
        while (popup := QApplication.activePopupWidget()) is not None:
            popup.close()

    # -- pointing -------------------------------------------------------------------
    def chance(self, share: float) -> bool:
        return bool(self.draw.random() < share)

    def one_of(self, items: Any) -> Any:
        return items[int(self.draw.integers(len(items)))]

    def note(self, text: str) -> None:
        self.actions.append(f"… {text}")

    def widgets(self) -> list[QWidget]:
        """Return the visible widgets of this project."""
        tops = [dock.widget() for dock in self.dock.docks.values()]
        tops += [w for w in QApplication.topLevelWidgets() if w is not self.window]
        nested = [w for top in tops if top for w in (top, *top.findChildren(QWidget))]
        return [w for w in nested if w.isVisible() and not w.visibleRegion().isEmpty()]

    def widget(self) -> QWidget | None:
        visible = self.widgets()
        widget = self.one_of(visible) if visible else None
        if widget is not None:
            text = getattr(widget, "text", lambda: "")
            text = text() if callable(text) else text
            self.note(f"{type(widget).__name__} {widget.objectName()} {text!s:.30}")
        return widget

    def place(self, widget: QWidget) -> QPoint:
        visible = widget.visibleRegion().boundingRect()
        x = int(self.draw.integers(max(visible.width(), 1)))
        y = int(self.draw.integers(max(visible.height(), 1)))
        return QPoint(visible.left() + x, visible.top() + y)

    def keys(self) -> Any:
        none, many = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier
        held = (many.ControlModifier, many.ShiftModifier, many.AltModifier)
        return none if self.chance(0.7) else self.one_of(held)

    # -- actions --------------------------------------------------------------------
    def click(self) -> None:
        widget = self.widget()
        if widget is None:
            return
        right = self.chance(0.1)
        button = Qt.MouseButton.RightButton if right else Qt.MouseButton.LeftButton
        press, release = QEvent.Type.MouseButtonPress, QEvent.Type.MouseButtonRelease
        kinds = [press, release]
        if self.chance(0.1):
            kinds += [QEvent.Type.MouseButtonDblClick, release]
        keys, at = self.keys(), QPointF(self.place(widget))
        for kind in kinds:
            # A click may destroy the widget: `QTest` would go on with its address.
            if not isalive(widget):
                return
            held = Qt.MouseButton.NoButton if kind == release else button
            pointer.send(widget, kind, at, button, held, keys)

    def drag(self) -> None:
        if (widget := self.widget()) is None:
            return
        n = int(self.draw.integers(2, 8))
        places = [self.place(widget) for _ in range(n)]
        try:
            Hand(widget).drag([(at.x(), at.y()) for at in places], self.keys())
        except RuntimeError:
            # A dock that moves makes a new title with new buttons.
            if isalive(widget):
                raise

    def wheel(self) -> None:
        widget = self.widget()
        if widget is None:
            return
        at, clicks = QPointF(self.place(widget)), self.one_of((-3, -1, 1, 3))
        pointer.wheel(widget, at, clicks, self.keys())

    def write(self) -> None:
        """Press letters and control keys in the focused widget, or in another."""
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
                self.press_key(widget, self.one_of(CONTROLS), self.keys())

    def strike(self, widget: QWidget) -> None:
        """Press a key of OmniMouse, sometimes with another modifier."""
        stroke = self.one_of(KEYS)
        held = stroke.keyboardModifiers() if self.chance(0.8) else self.keys()
        self.note(f"key {QKeySequence(stroke).toString()}")
        self.press_key(widget, stroke.key(), held)

    def press_key(self, widget: QWidget, key: Qt.Key, held: Any) -> None:
        """Press and release a key with modifiers."""
        QTest.keyPress(widget, key, held)
        # The release of Space may destroy a button; `QTest` would then release the
        # modifiers at its address.
        modifiers = [code for modifier, code in MODIFIER_KEYS if held & modifier]
        for code in (key, *modifiers):
            if not isalive(widget):
                return
            event = QKeyEvent(QEvent.Type.KeyRelease, code, held)
            QApplication.sendEvent(widget, event)

    def field(self) -> QWidget | None:
        """Return the canvas, or None if the docks cover it."""
        settle(0.05)  # the layout follows after a dock was opened or closed
        widget = Canvas(self.dock.viewer, self.window).widget
        return widget if min(extent(widget)) > MIN_FIELD else None

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
        self.note(dock.windowTitle())
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
        name = self.one_of(list(ACTIONS))
        self.note(name)
        ACTIONS[name](self.dock)

    def open(self) -> None:
        path = self.one_of(self.recordings)
        self.note(path.name)
        self.dock.open_folder(str(path))

    def model(self) -> None:
        name = self.one_of(self.models)
        self.note(name)
        self.dock.controller.model.choose(name)

    def layer(self) -> None:
        """Hide, show, select or delete a layer."""
        layers = self.dock.viewer.layers
        if not len(layers):
            return
        layer = self.one_of(list(layers))
        self.note(layer.name)
        if self.chance(0.1):
            layers.remove(layer)
        elif self.chance(0.5):
            layer.visible = not layer.visible
        else:
            layers.selection.active = layer

    def dims(self) -> None:
        """Switch between 2-D and 3-D."""
        self.dock.viewer.dims.ndisplay = self.one_of((2, 2, 3))


def extent(widget: QWidget) -> np.ndarray:
    """Return width and height of a widget."""
    return np.array([widget.width(), widget.height()])


WEIGHTS: dict[Callable[[Monkey], None], float] = {
    **{Monkey.click: 30, Monkey.drag: 8, Monkey.wheel: 5, Monkey.write: 10},
    **{Monkey.stroke: 12, Monkey.field_click: 6, Monkey.field_key: 6},
    **{Monkey.toggle_dock: 6, Monkey.float_dock: 1, Monkey.bring_up: 6},
    **{Monkey.theme: 0.5, Monkey.resize: 2, Monkey.minimise: 0.5, Monkey.command: 8},
    **{Monkey.open: 1.5, Monkey.model: 1.5, Monkey.layer: 1, Monkey.dims: 0.5},
}
ACTIONS_OF_USER = tuple(WEIGHTS)
SHARES = np.array(list(WEIGHTS.values())) / sum(WEIGHTS.values())
