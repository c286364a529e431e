"""Menu whose keys stay in it: letters search the list and run no shortcut."""

from typing import Final

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QFocusEvent, QKeyEvent, QMouseEvent, QPaintEvent, QPalette
from qtpy.QtWidgets import QComboBox, QStyle, QStyleOptionComboBox, QStylePainter

from omnimouse_widgets.qt.style.wheel import scroll_past

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

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the box; a text that is too long ends with …, which Qt cuts."""
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        kind, style = QStyle.ComplexControl.CC_ComboBox, self.style()
        assert style is not None
        part = QStyle.SubControl.SC_ComboBoxEditField
        room = style.subControlRect(kind, option, part, self).width()
        metrics, text = self.fontMetrics(), option.currentText or ""
        if metrics.horizontalAdvance(text) <= room:
            super().paintEvent(event)
            return
        option.currentText = metrics.elidedText(text, Qt.TextElideMode.ElideRight, room - _MARGIN)
        painter = QStylePainter(self)
        painter.setPen(self.palette().color(QPalette.ColorRole.Text))
        painter.drawComplexControl(kind, option)
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
        """Claim letters and digits before Qt looks for shortcuts."""
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
