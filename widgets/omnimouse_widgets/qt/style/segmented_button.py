"""Row of joined buttons of which at most one is on."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap
from qtpy.QtWidgets import QButtonGroup, QHBoxLayout, QToolButton, QWidget

from omnimouse_widgets import palette
from omnimouse_widgets.qt.style.controls import fit_panel_width, tool_button

# Translucent greys fit light and dark themes. Only the first button has a left border,
# so that adjacent borders are not drawn twice.
STYLE = """
QToolButton {
  border: 1px solid rgba(128, 134, 145, 120); border-left-width: 0px;
  border-radius: 0px; margin: 0px; padding: 3px 3px;
  background: rgba(128, 134, 145, 35);
}
QToolButton[place="first"] { border-left-width: 1px;
  border-top-left-radius: 3px; border-bottom-left-radius: 3px; }
QToolButton[place="last"] {
  border-top-right-radius: 3px; border-bottom-right-radius: 3px; }
QToolButton:hover { background: rgba(128, 134, 145, 90); }
QToolButton:checked { background: #3B6EA8; color: white; font-weight: 600; }
QToolButton:disabled { color: rgba(128, 134, 145, 140); }
"""


@dataclass(frozen=True, slots=True)
class Choice:
    """One button: value, label, tooltip and, if not empty, the colour of its icon."""

    value: Hashable
    label: str
    tooltip: str
    colour: str = ""


class SegmentedButton(QWidget):
    """Joined buttons; a click emits `picked`, whereas `show_value` emits nothing.

    Parameters
    ----------
    choices
        The buttons from left to right.
    name
        Accessible name of the choice.
    """

    picked = Signal(object)

    def __init__(self, choices: Sequence[Choice], name: str) -> None:
        super().__init__()
        self.setAccessibleName(name)
        self.setStyleSheet(STYLE)
        self._group = QButtonGroup(self)
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(0)
        self._choices: tuple[Choice, ...] = ()
        self.offer(choices)
        # `idClicked` is emitted for clicks only, so `show_value` cannot cause a loop.
        self._group.idClicked.connect(lambda at: self.picked.emit(self._choices[at].value))

    def offer(self, choices: Sequence[Choice]) -> None:
        """Replace the buttons, if they differ."""
        if tuple(choices) == self._choices:
            return
        for button in self._group.buttons():
            self._group.removeButton(button)
            button.hide()
            button.deleteLater()  # one of them may be pressed at this moment
        self._choices = tuple(choices)
        for number, choice in enumerate(choices):
            button = _button(choice)
            # The style sheet rounds the outer corners by this property.
            if number in (0, len(choices) - 1):
                button.setProperty("place", "first" if number == 0 else "last")
            # The number is the identifier that `idClicked` sends.
            self._group.addButton(button, number)
            self._row.addWidget(button)

    def button(self, value: Hashable) -> QToolButton:
        """Return the button of a value."""
        button = self._group.button([choice.value for choice in self._choices].index(value))
        assert isinstance(button, QToolButton)
        return button

    @property
    def value(self) -> Hashable | None:
        """The value of the button that is on."""
        checked = self._group.checkedId()
        return self._choices[checked].value if checked >= 0 else None

    def show_value(self, value: Hashable) -> None:
        """Turn on the button of a value; none for a value without a button."""
        if any(choice.value == value for choice in self._choices):
            self.button(value).setChecked(True)
            return
        # An exclusive group does not allow its last button to be turned off.
        self._group.setExclusive(False)
        for button in self._group.buttons():
            button.setChecked(False)
        self._group.setExclusive(True)


def _button(choice: Choice) -> QToolButton:
    button = tool_button(choice.label, choice.tooltip)
    button.setCheckable(True)
    fit_panel_width(button)
    if choice.colour:
        button.setIcon(swatch(choice.colour))
        button.setIconSize(QSize(10, 10))
        button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
    return button


def swatch(colour: str, size: int = 10) -> QIcon:
    """Return a square icon with an edge that is visible on any background."""
    pixmap = QPixmap(size, size)
    pixmap.fill(QColor(colour))
    painter = QPainter(pixmap)
    painter.setPen(QColor(palette.EDGE))
    # Qt draws an outline one pixel wider and higher than the rectangle.
    painter.drawRect(0, 0, size - 1, size - 1)
    painter.end()
    return QIcon(pixmap)
