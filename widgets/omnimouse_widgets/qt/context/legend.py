"""Legend of the sweeps: line style, points and name of each."""

from collections.abc import Sequence

from qtpy.QtCore import QPointF, QSize, Qt
from qtpy.QtGui import QPainter, QPixmap
from qtpy.QtWidgets import QGridLayout, QLabel, QWidget

from omnimouse_model.live.sweep.live_sweeps import SELECTED_SWEEP
from omnimouse_widgets import palette
from omnimouse_widgets.drawn.context.points import DrawnSweep
from omnimouse_widgets.qt.context.plot import line_pen
from omnimouse_widgets.qt.style import plot_style
from omnimouse_widgets.qt.style.form import ElidedLabel
from omnimouse_widgets.qt.style.theme import drawn_pixmap

SAMPLE = QSize(34, 12)
COLUMNS = 2
POINT = 3.5


class SweepLegend(QWidget):
    """Legend in two columns; hidden if only curves over a tier are drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName("Sweeps in the plots")
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(4, 0, 4, 0)
        self._grid.setHorizontalSpacing(4)
        self._grid.setVerticalSpacing(0)
        for column in range(COLUMNS):
            self._grid.setColumnStretch(2 * column + 1, 1)
        # Two independent conditions; the legend is visible if both hold.
        self._is_needed, self._has_room = False, True
        self._entries: list[tuple[QLabel, ElidedLabel]] = []
        self.hide()

    def show_sweeps(self, sweeps: Sequence[DrawnSweep]) -> None:
        """Show one entry per sweep; tooltips contain the full names."""
        # Curves over a tier have line 0. Alone, they need no legend.
        self._is_needed = any(sweep.line or sweep.is_pale for sweep in sweeps)
        entries = sweeps if self._is_needed else ()
        # Entries are reused and hidden, not deleted: sweeps change often.
        while len(self._entries) < len(entries):
            self._add()
        for at, (sample, name) in enumerate(self._entries):
            is_used = at < len(entries)
            sample.setVisible(is_used)
            name.setVisible(is_used)
            if is_used:
                sample.setPixmap(line_sample(entries[at].line))
                name.set_text(entries[at].name)
                name.setToolTip(_tooltip(entries[at]))
        self.set_room(self._has_room)

    def set_room(self, has_room: bool) -> None:
        """Hide the legend together with the plots, or show it again if needed."""
        self._has_room = has_room
        self.setVisible(self._is_needed and has_room)

    def _add(self) -> None:
        sample, name = QLabel(), ElidedLabel()
        name.setFont(plot_style.small_font())
        row, column = divmod(len(self._entries), COLUMNS)
        self._grid.addWidget(sample, row, 2 * column)
        self._grid.addWidget(name, row, 2 * column + 1)
        self._entries.append((sample, name))


def line_sample(line: int) -> QPixmap:
    """Return a sample of a sweep's line with two points, on transparent ground."""
    # Leave a margin of one pixel for the outline of the points.
    middle, right = SAMPLE.height() / 2, SAMPLE.width() - POINT - 1
    ends = QPointF(POINT + 1, middle), QPointF(right, middle)

    def paint(painter: QPainter) -> None:
        painter.setPen(line_pen(palette.EDGE, line))
        painter.drawLine(*ends)
        painter.setPen(plot_style.pen(palette.EDGE, 1.5))
        if not line:
            painter.setBrush(plot_style.brush(palette.EDGE))
        else:  # erase the line inside the open points
            painter.setCompositionMode(QPainter.CompositionMode.CompositionMode_Source)
            painter.setBrush(Qt.GlobalColor.transparent)
        for end in ends:
            painter.drawEllipse(end, POINT, POINT)

    return drawn_pixmap(SAMPLE, paint)


def _tooltip(sweep: DrawnSweep) -> str:
    if sweep.is_pale:
        return "Selected neurons in this window"
    if sweep.name == SELECTED_SWEEP:
        return "Mean of the selected neurons that are held out, over the same windows"
    if not sweep.line:
        return f"Held-out neurons, {sweep.name}: solid lines, filled points"
    return f"{sweep.name}\nA saved sweep: broken lines, open points"
