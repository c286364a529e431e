"""Counts of visible, target, hidden and changing neurons in the active span."""

from qtpy.QtCore import QRectF, QSize
from qtpy.QtGui import QColor, QPainter, QPaintEvent
from qtpy.QtWidgets import QGridLayout, QLabel, QWidget

from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import MIXED
from omnimouse_widgets import palette
from omnimouse_widgets.qt.style.form import Form, row_of
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.theme import glyph_label, state_label, wrapped_label
from omnimouse_widgets.views.field.text import ORDER, UNIFORM, counted


class MaskCountsSection(QWidget):
    """Bar with the share of each state, and the numbers below."""

    def __init__(self, state: LiveState) -> None:
        super().__init__()
        self._state = state
        self.bar = _Shares()
        self.numbers: dict[int, QLabel] = {}
        grid = QGridLayout()
        grid.setHorizontalSpacing(4)
        grid.setVerticalSpacing(0)
        for column, code in enumerate(UNIFORM):
            self.numbers[code] = QLabel("0")
            self.numbers[code].setStyleSheet("font-weight: 600;")
            grid.addWidget(state_label(code), 0, column)
            grid.addWidget(self.numbers[code], 1, column)
            # Equal columns: the counts stay in place when their number of digits
            # changes.
            grid.setColumnStretch(column, 1)
        self.changes, self.samples = wrapped_label(), wrapped_label()
        self._changing = QWidget()
        row = row_of(glyph_label(MIXED), self.changes, stretch=1)
        row.setContentsMargins(0, 0, 0, 0)
        self._changing.setLayout(row)
        # A form has no margins; the other sections of the panel are forms, too.
        Form(self).add_rows(self.bar, grid, self._changing, self.samples)
        self.setToolTip(
            "Number of neurons per state, in the samples that a stroke on the field "
            "sets.\nBelow: neurons whose state changes within these samples."
        )
        events = state.events
        signals = [events.mask, events.active_span, events.session]
        self.redraw = Redraw(self, (self._draw, signals))

    def _draw(self) -> None:
        state = self._state
        counts, changes = counted(state)
        start, stop = state.active_span
        for code, label in self.numbers.items():
            label.setText(f"{counts[code]:,}")
        self.bar.show_counts([int(counts[code]) for code in ORDER])
        self.changes.setText(changes)
        self._changing.setVisible(bool(changes))
        self.samples.setText(f"In samples {start}-{stop}, which are painted.")


class _Shares(QWidget):
    """Thin stacked bar."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(6)
        self._counts = [0] * len(ORDER)

    def sizeHint(self) -> QSize:
        """Return a default size; the layout stretches the width."""
        return QSize(100, 6)

    def show_counts(self, counts: list[int]) -> None:
        """Set the counts in the order of `ORDER` and repaint if they changed."""
        if counts != self._counts:
            self._counts = counts
            self.update()

    def paintEvent(self, _: QPaintEvent | None) -> None:
        """Paint the shares from left to right in the colours of the states."""
        painter = QPainter(self)
        # At least 1: without a session all counts are 0.
        total, x = max(sum(self._counts), 1), 0.0
        for code, count in zip(ORDER, self._counts, strict=True):
            width = self.width() * count / total
            colour = QColor(palette.STATE_COLOURS[code])
            painter.fillRect(QRectF(x, 0, width, self.height()), colour)
            x += width
        painter.end()
