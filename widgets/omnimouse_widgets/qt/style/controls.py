"""Constructors of controls: text, tooltip, accessible name and action in one call."""

from collections.abc import Callable, Container, Sequence
from typing import Any, Final, TypeVar

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import (
    QAbstractButton,
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
    QToolButton,
    QWidget,
)

from omnimouse_widgets.qt.style.menu_box import MenuBox
from omnimouse_widgets.qt.style.wheel import scroll_past

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


def scroll_vertically(content: QWidget, area: QScrollArea | None = None) -> QScrollArea:
    """Return a scroll area without a frame; its content adapts to the width."""
    area = area or QScrollArea()
    area.setWidget(content)
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    return area
