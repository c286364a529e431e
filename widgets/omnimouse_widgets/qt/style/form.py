"""Aligned sections and label columns of the control panel."""

from qtpy.QtCore import Qt
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLayout,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from omnimouse_widgets.qt.style.controls import fit_panel_width
from omnimouse_widgets.qt.style.theme import ToneLabel

LABEL_WIDTH = 77


class Form(QGridLayout):
    """Grid with rows of label and control; all forms have the same label width."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setContentsMargins(0, 0, 0, 0)
        self.setHorizontalSpacing(8)
        self.setVerticalSpacing(4)
        self.setColumnMinimumWidth(0, LABEL_WIDTH)
        self.setColumnStretch(1, 1)

    def add(self, text: str, control: QWidget | QLayout) -> None:
        """Add a row; without a label the control takes the whole width."""
        # rowCount of an empty grid is 1, so the first row stays empty with height 0.
        row = self.rowCount()
        if text:
            label = ToneLabel(text)
            # Beside a wrapped text, the label stands at its first line.
            is_tall = isinstance(control, QLabel) and control.wordWrap()
            edge = Qt.AlignmentFlag.AlignTop if is_tall else Qt.AlignmentFlag.AlignVCenter
            self.addWidget(label, row, 0, edge)
            if isinstance(control, QWidget) and not control.accessibleName():
                control.setAccessibleName(text)
        # (row, column, row span, column span).
        place = (row, 1, 1, 1) if text else (row, 0, 1, 2)
        if isinstance(control, QLayout):
            self.addLayout(control, *place)
        else:
            self.addWidget(control, *place)

    def add_rows(self, *controls: QWidget | QLayout) -> None:
        """Add rows without labels."""
        for control in controls:
            self.add("", control)


class Section(QFrame):
    """Titled part of the panel; with `is_open`, a click on the title toggles it."""

    def __init__(self, title: str, content: QWidget, *, is_open: bool | None = None) -> None:
        super().__init__()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        self.title = QToolButton()
        self.title.setText(title)
        self.title.setStyleSheet(
            "QToolButton { border: none; font-weight: 600; padding: 0px; "
            "background: transparent; text-align: left; }"
        )
        self.title.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(self.title)
        row.addWidget(_rule(), 1)
        column.addLayout(row)
        column.addWidget(content)
        self.content = content
        # A section that cannot be closed is no stop for the Tab key.
        if is_open is None:
            self.title.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        else:
            self.title.setCheckable(True)
            self.title.setToolTip("Open or close")
            self.title.toggled.connect(self._set_open)
            self.title.setChecked(is_open)
            self._set_open(is_open)

    def _set_open(self, is_open: bool) -> None:
        arrow = Qt.ArrowType.DownArrow if is_open else Qt.ArrowType.RightArrow
        self.title.setArrowType(arrow)
        self.content.setVisible(is_open)


class ElidedLabel(QLabel):
    """One line of text, cut with … to fit; `full_text` is the uncut text.

    The uncut text is the tooltip, unless there is another one.
    """

    def __init__(self) -> None:
        super().__init__()
        fit_panel_width(self)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.full_text = self._tooltip = ""

    def set_text(self, text: str) -> None:
        """Set the text and cut it to the width."""
        if text != self.full_text:
            self.full_text = text
            self._fit()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Cut the text to the new width."""
        super().resizeEvent(event)
        self._fit()

    def setToolTip(self, text: str | None) -> None:
        """Set another tooltip than the uncut text; "" for none."""
        if (text or "") != self._tooltip:
            self._tooltip = text or ""
            self._fit()

    def _fit(self) -> None:
        room = self.contentsRect().width() - 8
        shown = self.fontMetrics().elidedText(
            self.full_text, Qt.TextElideMode.ElideRight, max(room, 0)
        )
        self.setText(shown)
        is_cut = shown != self.full_text
        tip = self._tooltip or (self.full_text if is_cut else "")
        super().setToolTip(tip)


class QuietLine(ElidedLabel, ToneLabel):
    """`ElidedLabel` in the quiet tone of explanations."""


def reserve_space(control: QWidget) -> None:
    """Reserve the place of a hidden control, so that no other control moves."""
    policy = control.sizePolicy()
    policy.setRetainSizeWhenHidden(True)
    control.setSizePolicy(policy)


def row_of(*widgets: QWidget, stretch: int = -1, spacing: int = 6) -> QHBoxLayout:
    """Return a row of widgets; the one at index `stretch` takes the free width."""
    row = QHBoxLayout()
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(spacing)
    for number, widget in enumerate(widgets):
        row.addWidget(widget, 1 if number == stretch else 0)
    return row


def _rule() -> QFrame:
    rule = QFrame()
    rule.setFixedHeight(1)
    rule.setStyleSheet("background: rgba(128, 134, 145, 90);")
    return rule
