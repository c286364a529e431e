"""The keys every panel answers to while the focus is in it; listed for help too."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QKeyEvent, QKeySequence, QShortcut
from qtpy.QtWidgets import QWidget

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.pin import LETTERS, MAX_PINS
from omnimouse_model.masks import HIDDEN, TARGET, VISIBLE


@dataclass(frozen=True, slots=True)
class Key:
    """A key, what it does in words, and the doing of it."""

    key: str
    words: str
    press: Callable[[Controller], object]


def toggle_pin(slot: int, controller: Controller) -> None:
    """Draw a pinned condition, or do not; nothing where there is none."""
    for pin in controller.state.pins:
        if pin.slot == slot:
            controller.pins.show(slot, not pin.is_shown)


KEYS: Final = (
    Key("1", "paint visible", lambda c: c.set_brush(VISIBLE)),
    Key("2", "paint hidden", lambda c: c.set_brush(HIDDEN)),
    Key("3", "paint target", lambda c: c.set_brush(TARGET)),
    Key(",", "one frame back", lambda c: c.step_cursor(-1)),
    Key(".", "one frame on", lambda c: c.step_cursor(1)),
    Key("PgUp", "the trial before; in a table a page up", lambda c: c.trials.step(-1)),
    Key("PgDown", "the next trial; in a table a page down", lambda c: c.trials.step(1)),
    Key("Alt+PgUp", "the imaging plane before, or all", lambda c: c.planes.step(-1)),
    Key("Alt+PgDown", "the next imaging plane, or all", lambda c: c.planes.step(1)),
    Key(
        "C",
        "colour by state, or as chosen last",
        lambda c: c.colouring.toggle(),
    ),
    Key(
        "A",
        "outline the brain areas, or not",
        lambda c: c.colouring.outline_areas(not c.state.areas_shown),
    ),
    Key(
        "Shift+D",
        "neurons in 3-D, or on the field",
        lambda c: c.planes.show_in_space(not c.state.in_space),
    ),
    Key("G", "grow what is painted, by a distance", lambda c: c.reaching.grow()),
    Key(
        "Shift+G",
        "shrink what is painted, by a distance",
        lambda c: c.reaching.shrink(),
    ),
    Key("Shift+P", "pin this condition", lambda c: c.pins.pin_or_tell()),
    *(
        Key(
            f"Alt+{n}", f"show or hide pin {LETTERS[n - 1]}", partial(toggle_pin, n - 1)
        )
        for n in range(1, MAX_PINS + 1)
    ),
    Key("N", "facts of the next selected neuron", lambda c: c.facts.step(1)),
    Key("Shift+N", "facts of the neuron before", lambda c: c.facts.step(-1)),
    Key("Shift+W", "what if: all as recorded", lambda c: c.what_if.reset()),
    Key("Ctrl+Z", "undo", lambda c: c.undo()),
    Key("Ctrl+Shift+Z", "redo", lambda c: c.redo()),
)


def bind_keys(panel: QWidget, controller: Controller) -> None:
    """Let a panel and everything in it answer to `KEYS`."""
    for key in KEYS:
        bind(panel, key.key, partial(key.press, controller))


def bind(panel: QWidget, key: str, act: Callable[[], object]) -> QShortcut:
    """Let one key act while the focus is in a panel.

    A key that the window uses as well would make Qt answer neither: ours acts then.
    """
    shortcut = QShortcut(QKeySequence(key), panel)
    shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
    shortcut.activated.connect(lambda: act())
    shortcut.activatedAmbiguously.connect(lambda: act())
    return shortcut


class OwnKey(QObject):
    """A key that the window uses as well, taken by a panel while the focus is in it.

    Of two shortcuts that are the same Qt lets one and the other act in turn, so this
    is none: the key is claimed before Qt looks for shortcuts.

    Parameters
    ----------
    panel
        The panel; it owns this.
    key, act
        Such as "Ctrl+S", and what it does.
    """

    def __init__(self, panel: QWidget, key: str, act: Callable[[], object]) -> None:
        super().__init__(panel)
        self._key, self._act = QKeySequence(key), act
        panel.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Claim the key, then act on it."""
        if not isinstance(event, QKeyEvent):
            return False
        if QKeySequence(event.keyCombination()) != self._key:
            return False
        if event.type() == QEvent.Type.ShortcutOverride:
            event.accept()
            return True
        if event.type() == QEvent.Type.KeyPress:
            self._act()
            return True
        return False
