"""Keyboard shortcuts of all panels, also listed in the help."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QKeyEvent, QKeySequence, QShortcut
from qtpy.QtWidgets import QApplication, QWidget

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.pin import LETTERS, MAX_PINS
from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import HIDDEN, TARGET, VISIBLE


@dataclass(frozen=True, slots=True)
class Key:
    """Keyboard shortcut: key, description and action."""

    key: str
    description: str
    action: Callable[[Controller], object]


KeyActions = Mapping[str, Callable[[], object]]
"""Key -> what it does; made by `key_actions`."""


def _pin_switch(slot: int) -> Callable[[Controller], object]:
    return lambda controller: controller.pins.toggle(slot)


def _switch_scale(state: LiveState) -> None:
    """Switch traces between scales that show the shapes and one scale for all."""
    state.common_scale, state.as_large = state.as_large, not state.as_large


KEYS: Final = (
    Key("1", "paint visible", lambda c: c.editor.set_brush(VISIBLE)),
    Key("2", "paint hidden", lambda c: c.editor.set_brush(HIDDEN)),
    Key("3", "paint target", lambda c: c.editor.set_brush(TARGET)),
    Key(",", "previous frame", lambda c: c.navigation.step_cursor(-1)),
    Key(".", "next frame", lambda c: c.navigation.step_cursor(1)),
    Key("PgUp", "previous trial; in a table: page up", lambda c: c.navigation.step_trial(-1)),
    Key("PgDown", "next trial; in a table: page down", lambda c: c.navigation.step_trial(1)),
    Key("Alt+PgUp", "previous imaging plane, or all", lambda c: c.planes.step(-1)),
    Key("Alt+PgDown", "next imaging plane, or all", lambda c: c.planes.step(1)),
    Key("C", "colour by state or by the last quantity", lambda c: c.colouring.toggle()),
    Key(
        "A",
        "show or hide the outlines of brain areas",
        lambda c: c.colouring.outline_areas(not c.state.areas_shown),
    ),
    Key(
        "Shift+D",
        "show the neurons in 3-D or on the field",
        lambda c: c.planes.show_in_space(not c.state.in_space),
    ),
    Key("G", "grow the painted region by a distance", lambda c: c.painted_region.grow()),
    Key("Shift+G", "shrink the painted region by a distance", lambda c: c.painted_region.shrink()),
    Key(
        "Shift+S",
        "traces: as large as the recording, or one scale",
        lambda c: _switch_scale(c.state),
    ),
    Key("Shift+P", "pin the current condition", lambda c: c.pins.pin_or_notify()),
    *(
        Key(f"Alt+{n}", f"show or hide pin {LETTERS[n - 1]}", _pin_switch(n - 1))
        for n in range(1, MAX_PINS + 1)
    ),
    Key("N", "information on the next selected neuron", lambda c: c.neuron_info.step(1)),
    Key("Shift+N", "information on the previous neuron", lambda c: c.neuron_info.step(-1)),
    Key("Shift+W", "what if: remove all edits", lambda c: c.stimulus_edits.reset()),
    Key("Ctrl+Z", "undo", lambda c: c.editor.undo()),
    Key("Ctrl+Shift+Z", "redo", lambda c: c.editor.redo()),
)


SHARED: Final = {key.key for key in KEYS}
"""Keys of all panels, which `bind_keys` adds."""


def key_actions(controller: Controller) -> KeyActions:
    """Return the actions of `KEYS`, which panels and the field bind."""
    return {key.key: partial(key.action, controller) for key in KEYS}


def bind_keys(panel: QWidget, keys: KeyActions) -> None:
    """Add keys to a panel and all its widgets."""
    for key, action in keys.items():
        bind(panel, key, action)


def bind(panel: QWidget, key: str, action: Callable[[], object]) -> QShortcut:
    """Add a shortcut that is active while the focus is in a panel.

    If the window has the same shortcut, Qt runs neither and reports an ambiguity; this
    shortcut then acts.
    """
    shortcut = QShortcut(QKeySequence(key), panel)
    # Several panels have the same keys, so a shortcut must not apply to the window.
    shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
    shortcut.activated.connect(lambda: action())
    shortcut.activatedAmbiguously.connect(lambda: action())
    return shortcut


class PanelKey(QObject):
    """Key of a panel that overrides the same shortcut of the window.

    Qt alternates between two equal shortcuts. This class therefore uses no shortcut; an
    event filter claims the key before Qt looks for shortcuts.

    Parameters
    ----------
    panel
        The panel, which becomes the parent of this object.
    key, action
        The key, e.g. "Ctrl+S", and its action.
    """

    def __init__(self, panel: QWidget, key: str, action: Callable[[], object]) -> None:
        super().__init__(panel)
        self._key, self._action = QKeySequence(key), action
        panel.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Claim the key, then run its action."""
        if not isinstance(event, QKeyEvent):
            return False
        # Compare key and modifiers together: Ctrl+S must not match Ctrl+Shift+S.
        if QKeySequence(event.keyCombination()) != self._key:
            return False
        # Qt first asks with ShortcutOverride. If it is accepted, the key arrives as a
        # KeyPress instead of a shortcut: at the widget with the focus, which could take
        # it for itself, as a menu does with letters.
        if event.type() == QEvent.Type.ShortcutOverride:
            if (focus := QApplication.focusWidget()) is not None:
                focus.installEventFilter(self)
            event.accept()
            return True
        if event.type() == QEvent.Type.KeyPress:
            self._action()
            return True
        return False
