"""Histogram of the scores on screen: neurons per bar, selection, median.

A click on a bar selects its neurons. With the keyboard, the left and right arrows go
from bar to bar.
"""

import numpy as np
from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import (
    QFocusEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
)
from qtpy.QtWidgets import QSizePolicy, QWidget

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.neuron_scores import IN_WINDOW
from omnimouse_widgets import palette
from omnimouse_widgets.drawn.neurons.score_distribution import (
    distribution_of,
    spread,
    summary_text,
)
from omnimouse_widgets.qt.style import plot_style
from omnimouse_widgets.qt.style.colour_bar import FADED
from omnimouse_widgets.qt.style.plot_theme import colour_on

HEIGHT = 46
_AXIS_HEIGHT = 13
_STEPS = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}


class ScoreHistogram(QWidget):
    """Bars of the scores of all neurons; the selected neurons are white."""

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self._distribution = spread(np.empty(0, np.int64), np.empty(0))
        self._selected = np.empty(0)
        self._bar = -1
        self._is_old = False
        self.setAccessibleName("Histogram of the scores")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setMouseTracking(True)

    def sizeHint(self) -> QSize:
        """Return a low height; the layout stretches the width."""
        return QSize(160, HEIGHT)

    def draw(self) -> None:
        """Show the scores and the selection of the controller."""
        controller = self._controller
        self._distribution = found = distribution_of(controller)
        self._selected = found.counts_of(controller.state.selection)
        self._is_old = controller.results.are_scores_old
        self.setVisible(len(found.counts) > 0)
        self.setAccessibleDescription(summary_text(controller, found))
        self.update()

    def bar_at(self, x: float) -> int:
        """Return the bar at a horizontal position."""
        n = len(self._distribution.counts)
        return int(min(max(x / max(self.width(), 1) * n, 0), n - 1))

    def select_bar(self, number: int) -> None:
        """Select the neurons of a bar; of an empty one, none."""
        n = len(self._distribution.counts)
        if n:
            self._bar = min(max(number, 0), n - 1)
            self._controller.selection.select(self._distribution.in_bar(self._bar))
            self.setToolTip(self._distribution.bar_text(self._bar))

    # -- events -----------------------------------------------------------------------
    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Select the neurons of the bar."""
        assert event is not None
        if event.button() == Qt.MouseButton.LeftButton:
            self.select_bar(self.bar_at(event.position().x()))

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        """Describe the bar under the pointer."""
        assert event is not None
        if len(self._distribution.counts):
            bar = self.bar_at(event.position().x())
            self.setToolTip(self._distribution.bar_text(bar) + "\nClick: select them")

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Go to the next bar with neurons."""
        assert event is not None
        step = _STEPS.get(Qt.Key(event.key()))
        if step is None:
            super().keyPressEvent(event)
            return
        bars = np.flatnonzero(self._distribution.counts)
        later = bars[bars > self._bar] if step > 0 else bars[bars < self._bar][::-1]
        if len(later):
            self.select_bar(int(later[0]))

    def focusInEvent(self, _: QFocusEvent | None) -> None:
        """Show the focus."""
        self.update()

    def focusOutEvent(self, _: QFocusEvent | None) -> None:
        """Hide the focus."""
        self.update()

    # -- painting ---------------------------------------------------------------------
    def paintEvent(self, _: QPaintEvent | None) -> None:
        """Paint the bars, the selected part of each, the median and the ends."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), colour_on(self, plot_style.BACKGROUND))
        found = self._distribution
        if len(found.counts):
            painter.setOpacity(FADED if self._is_old else 1.0)
            self._paint_bars(painter, found.counts, palette.VISIBLE_RING)
            self._paint_bars(painter, self._selected, palette.SELECTED)
            painter.setOpacity(1.0)
            self._paint_axis(painter)
        if self.hasFocus():
            painter.setPen(colour_on(self, palette.VISIBLE))
            painter.drawRect(self.rect().adjusted(0, 0, -1, -1))
        painter.end()

    def _paint_bars(self, painter: QPainter, counts: np.ndarray, colour: str) -> None:
        height = self.height() - _AXIS_HEIGHT - 2
        step = self.width() / len(counts)
        most = max(int(self._distribution.counts.max()), 1)
        for bar, count in enumerate(counts.tolist()):
            # A bar of one neuron among thousands is still visible.
            tall = max(count / most * height, 1.0) if count else 0.0
            rect = QRectF(bar * step + 0.5, 2 + height - tall, max(step - 1, 1), tall)
            painter.fillRect(rect, colour_on(self, colour))

    def _paint_axis(self, painter: QPainter) -> None:
        found, metric = self._distribution, self._controller.state.metric
        low, high = float(found.edges[0]), float(found.edges[-1])
        median = float(np.median(found.scores))
        painter.setFont(plot_style.small_font())
        painter.setPen(colour_on(self, plot_style.TEXT))
        text_width = painter.fontMetrics().horizontalAdvance
        top, width = self.height() - _AXIS_HEIGHT, self.width()
        ends = f"{low:z.2f}", f"{high:z.2f}"
        painter.drawText(QRectF(3, top, width, _AXIS_HEIGHT), ends[0])
        right = width - text_width(ends[1]) - 3
        painter.drawText(QRectF(right, top, width, _AXIS_HEIGHT), ends[1])
        at = (median - low) / (high - low) * width
        painter.fillRect(QRectF(at - 0.5, 0, 1, top), colour_on(self, plot_style.TEXT))
        text = f"median {metric.text(median, equals=' ')}"
        # As in the traces: without it, the median reads as that of the tier.
        text += " here" if found.evidence == IN_WINDOW else ""
        left = 3 + text_width(ends[0]) + 6
        # Beside the ends, as near to its line as there is room.
        place = min(max(at - text_width(text) / 2, left), right - text_width(text) - 6)
        if place >= left:
            painter.drawText(QRectF(place, top, width, _AXIS_HEIGHT), text)
