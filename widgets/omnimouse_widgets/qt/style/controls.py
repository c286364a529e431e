"""Controls: text, tooltip, accessible name and action in one call; wheel and keys."""

from collections.abc import Callable, Container, Sequence
from typing import Any, Final, TypeVar

from qtpy.QtCore import QEvent, QObject, QSignalBlocker, Qt
from qtpy.QtGui import QFocusEvent, QHelpEvent, QKeyEvent, QMouseEvent, QPaintEvent, QPalette
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QDoubleSpinBox,
    QFrame,
    QLabel,
    QMenu,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QSlider,
    QSpinBox,
    QStyle,
    QStyleOptionComboBox,
    QStylePainter,
    QToolButton,
    QToolTip,
    QWidget,
)

# -- menu whose keys stay in it: letters search the list and run no shortcut ----------
WITH_MODIFIER: Final = (
    Qt.KeyboardModifier.ControlModifier
    | Qt.KeyboardModifier.AltModifier
    | Qt.KeyboardModifier.MetaModifier
)
_MARGIN: Final = 2
"""Pixels of the text's place that Qt leaves free."""


class MenuBox(QComboBox):
    """Combo box for panels whose letters and digits are shortcuts.

    The open list takes every key. The closed box with the focus takes letters and
    digits, which open the list at the first match. A click lends the focus to the box
    while the list is open; afterwards the panel has it, and the shortcuts act again.
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_clicked = False
        scroll_past(self)

    @property
    def shown_text(self) -> str:
        """The text as it fits: what explains a name, after " · ", is left to the open list."""
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        style = self.style()
        assert style is not None
        kind, part = QStyle.ComplexControl.CC_ComboBox, QStyle.SubControl.SC_ComboBoxEditField
        room = style.subControlRect(kind, option, part, self).width()
        metrics, text = self.fontMetrics(), option.currentText or ""
        for whole in (text, text.partition(" · ")[0]):
            if metrics.horizontalAdvance(whole) <= room:
                return whole
        # Ends differ: of names of files and models, such as those of several fine-tunings.
        return metrics.elidedText(text, Qt.TextElideMode.ElideMiddle, room - _MARGIN)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the box; a text that is too long has … in its middle, which Qt cuts."""
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        shown = self.shown_text
        if shown == (option.currentText or ""):
            super().paintEvent(event)
            return
        option.currentText = shown
        painter = QStylePainter(self)
        painter.setPen(self.palette().color(QPalette.ColorRole.Text))
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Open the list, by a click."""
        self._is_clicked = True
        super().mousePressEvent(event)

    def showPopup(self) -> None:
        """Open the list, which keeps its keys."""
        view = self.view()
        assert view is not None
        view.installEventFilter(self)
        super().showPopup()

    def focusInEvent(self, event: QFocusEvent | None) -> None:
        """Give the focus to the panel when a list closes that a click has opened."""
        super().focusInEvent(event)
        panel, closed = self.parentWidget(), Qt.FocusReason.PopupFocusReason
        if event is None or panel is None:
            return
        if event.reason() == closed and self._is_clicked:
            panel.setFocus()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Claim every key of the open list before Qt looks for shortcuts."""
        if event is not None and event.type() == QEvent.Type.ShortcutOverride:
            event.accept()
        # Qt closes the list at this event, if the key is Return or Escape.
        return False

    def event(self, event: QEvent | None) -> bool:
        """Claim letters and digits before Qt looks for shortcuts; tell a text that is cut."""
        if isinstance(event, QHelpEvent) and self.shown_text != (text := self.currentText()):
            tip = "\n".join(filter(None, (text, self.toolTip())))
            # Of this box, whose colours it has.
            QToolTip.showText(event.globalPos(), tip, self)
            return True
        claim = QEvent.Type.ShortcutOverride
        if isinstance(event, QKeyEvent) and event.type() == claim and _is_typed(event):
            event.accept()
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Open the list at a letter; Qt would choose the match without a signal."""
        self._is_clicked = False
        view = self.view()
        if event is None or view is None or not _is_typed(event):
            super().keyPressEvent(event)
            return
        self.showPopup()
        view.keyboardSearch(event.text())


def _is_typed(event: QKeyEvent) -> bool:
    """Whether a key is part of a word to search for; Space opens the list."""
    text = event.text()
    has_modifier = bool(event.modifiers() & WITH_MODIFIER)
    return text.isprintable() and bool(text.strip()) and not has_modifier


# -- mouse wheel over controls: it scrolls the panel, unless the control has the focus
CONTROLS_WITH_WHEEL: Final = (QAbstractSlider, QAbstractSpinBox, QComboBox)
"""The kinds of controls that change their value with the wheel."""

Control = TypeVar("Control", bound=QWidget)


class _WheelFilter(QObject):
    """Event filter that leaves the wheel to the parent of a control without focus."""

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Ignore the wheel; Qt then sends it to the parent, up to the scroll area."""
        if event is None or event.type() != QEvent.Type.Wheel:
            return False
        # With the focus, the user has chosen the control and may use the wheel on it.
        if not isinstance(watched, QWidget) or watched.hasFocus():
            return False
        event.ignore()
        return True


def scroll_past(control: Control) -> Control:
    """Let the wheel over a control without the focus scroll its panel; return it.

    Otherwise scrolling would change every slider and box under the pointer.
    """
    # Qt's default for boxes is the focus by wheel: the first turn would give it.
    control.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    control.installEventFilter(_WheelFilter(control))
    return control


# napari asks for 90 pixels, too wide for two boxes in a row of a narrow panel.
NARROW_BOX: Final = "QAbstractSpinBox { min-width: 34px; }"
TOGGLE_STYLE: Final = """
QToolButton { border: 1px solid rgba(128, 134, 145, 120); border-radius: 3px;
  padding: 3px 6px; background: rgba(128, 134, 145, 35); }
QToolButton:hover { background: rgba(128, 134, 145, 90); }
QToolButton:checked { background: #3B6EA8; color: white; }
QToolButton:disabled { color: rgba(128, 134, 145, 140); }
QToolButton:focus { border-color: #56B4E9; }
"""
"""Style of a single button, with a visible pressed state."""

Action = Callable[[], object]
NumberBox = TypeVar("NumberBox", QSpinBox, QDoubleSpinBox)


def describe(widget: QWidget, tooltip: str, name: str = "") -> None:
    """Set the tooltip and, unless empty, the name that screen readers announce."""
    widget.setToolTip(tooltip)
    if name:
        widget.setAccessibleName(name)


def push_button(text: str, tooltip: str, action: Action) -> QPushButton:
    """Return a push button."""
    button = QPushButton(text)
    _set_up(button, tooltip, action)
    return button


def tool_button(
    text: str, tooltip: str, action: Action | None = None, *, name: str = ""
) -> QToolButton:
    """Return a small button, which a click does not focus."""
    button = QToolButton()
    button.setText(text)
    # A click must not take the focus, and with it the keys, from a plot.
    button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    _set_up(button, tooltip, action, name)
    return button


def dismiss_button(action: Action, tooltip: str = "Dismiss") -> QToolButton:
    """Return the button that removes a message."""
    return tool_button("✕", tooltip, action, name="Dismiss")


def toggle_button(text: str, tooltip: str, style: str = TOGGLE_STYLE) -> QToolButton:
    """Return a single button that stays pressed until the next press."""
    button = tool_button(text, tooltip)
    button.setCheckable(True)
    button.setStyleSheet(style)
    return button


def _set_up(button: QAbstractButton, tooltip: str, action: Action | None, name: str = "") -> None:
    describe(button, tooltip, name)
    if action is not None:
        # `clicked` sends whether the button is checked, which `action` does not take.
        button.clicked.connect(lambda: action())


def combo_box(
    choose: Callable[[Any], object],
    items: Sequence[tuple[str, Any]] = (),
    *,
    offered: Callable[[], Container[Any]] | None = None,
    tooltip: str = "",
    name: str = "",
) -> QComboBox:
    """Return a menu of (text, value) pairs; `choose` receives the user's value.

    A menu of values of the recording lists those of the last recording until it is
    drawn again. A value that is not in `offered()` is dropped.
    """
    box = MenuBox()
    describe(box, tooltip, name)
    for text, value in items:
        box.addItem(text, value)

    def choose_current() -> None:
        value = box.currentData()
        if offered is None or value in offered():
            choose(value)

    # `activated` is emitted for the user only, not when code sets the choice.
    box.activated.connect(lambda _: choose_current())
    return box


def set_items(box: QComboBox, items: Sequence[tuple[str, Any]]) -> None:
    """Replace the (text, value) pairs of a menu, without a signal."""
    before = [(box.itemText(at), box.itemData(at)) for at in range(box.count())]
    # Filling a menu again would close it and lose the choice.
    if before != list(items):
        with QSignalBlocker(box):
            box.clear()
            for text, value in items:
                box.addItem(text, value)


def name_menu(menu: QMenu, title: str) -> None:
    """Give a menu its title; an empty one is disabled and says so."""
    is_empty = menu.isEmpty()
    menu.setTitle(f"{title} (none yet)" if is_empty else title)
    menu.setEnabled(not is_empty)


def number_box(
    kind: type[NumberBox],
    change: Action,
    *,
    tooltip: str = "",
    name: str = "",
    has_arrows: bool = True,
) -> NumberBox:
    """Return a narrow box for a number; `change` is called after every change."""
    box = scroll_past(kind())
    describe(box, tooltip, name)
    box.setStyleSheet(NARROW_BOX)
    # Report a typed number once it is complete, not after each digit.
    box.setKeyboardTracking(False)
    if not has_arrows:
        box.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)
    box.valueChanged.connect(lambda _: change())
    return box


def slider(top: int, *, bottom: int = 0, tooltip: str = "") -> QSlider:
    """Return a horizontal slider from `bottom` to `top`."""
    control = scroll_past(QSlider(Qt.Orientation.Horizontal))
    control.setRange(bottom, top)
    control.setToolTip(tooltip)
    return control


def progress_bar(name: str) -> QProgressBar:
    """Return a bar for `set_share`."""
    bar = QProgressBar()
    bar.setAccessibleName(name)
    set_share(bar, 0.0)
    return bar


def set_share(bar: QProgressBar, share: float | None) -> None:
    """Show a share from 0 to 1; `None` shows work of unknown length."""
    # 1,000 steps: with 100, the bar of a large file would seem to stand still. Qt shows
    # the range (0, 0) as a moving bar.
    bar.setRange(0, 0 if share is None else 1000)
    bar.setValue(round(1000 * (share or 0.0)))
    bar.setFormat(f"{100 * (share or 0.0):z.0f} %")


def show_text(label: QLabel | QAbstractButton, text: str) -> None:
    """Set the text of a label or button, and hide an empty one."""
    label.setText(text)
    label.setVisible(bool(text))


def fit_panel_width(widget: QWidget) -> None:
    """Let a long text be cut, so that it does not widen the panel."""
    widget.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)


def scroll_vertically(content: QWidget) -> QScrollArea:
    """Return a scroll area without a frame; its content adapts to the width."""
    area = QScrollArea()
    area.setWidget(content)
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    return area
