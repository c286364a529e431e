"""A bar of colours with the numbers at its ends, and the median marked."""

import numpy as np
from qtpy.QtCore import QRectF, QSize
from qtpy.QtGui import QColor, QLinearGradient, QPainter, QPaintEvent
from qtpy.QtWidgets import QWidget

from omnimouse_model.live.neurons.colour_by import Scale
from omnimouse_widgets import palette
from omnimouse_widgets.qt.style import plot_style
from omnimouse_widgets.qt.style.theme import colour_of

FADED = 0.45
"""Opacity of scores that answer an older question."""
_GAP = 8


class ColourBar(QWidget):
    """Viridis from one end of a scale to the other, with the neurons' median."""

    def __init__(self) -> None:
        super().__init__()
        self._scale: Scale | None = None
        self._is_old = False
        self._table = palette.viridis_table()

    def sizeHint(self) -> QSize:
        """Bar and numbers."""
        return QSize(160, 34)

    def minimumSizeHint(self) -> QSize:
        """As high, and as narrow as the panel likes."""
        return QSize(60, 34)

    def show_scale(self, scale: Scale | None, *, is_old: bool = False) -> None:
        """Show a scale; one that answers an older question fades."""
        if (scale, is_old) != (self._scale, self._is_old):
            self._scale, self._is_old = scale, is_old
            self.update()

    @property
    def ends(self) -> tuple[str, str]:
        """What is written at both ends."""
        return ("", "") if self._scale is None else self._scale.ends

    @property
    def words(self) -> str:
        """What the mark says, "" without one."""
        said = "" if self._scale is None else self._scale.middle
        return f"{said} (older)" if said and self._is_old else said

    def paintEvent(self, _: QPaintEvent | None) -> None:
        """Draw gradient, numbers and the median."""
        painter = QPainter(self)
        painter.setFont(plot_style.small_font())
        bar = QRectF(4, 2, self.width() - 8, 10)
        gradient = QLinearGradient(bar.topLeft(), bar.topRight())
        for at in np.linspace(0, 1, 17):
            gradient.setColorAt(at, QColor(*map(int, self._table[round(at * 255)])))
        painter.setOpacity(FADED if self._is_old else 1.0)
        painter.fillRect(bar, gradient)
        painter.setOpacity(1.0)
        painter.setPen(QColor(colour_of("quiet", self)))
        low, high = self.ends
        right = painter.fontMetrics().horizontalAdvance(high)
        painter.drawText(QRectF(4, 14, bar.width(), 18), low)
        painter.drawText(QRectF(bar.right() - right, 14, right + 2, 18), high)
        self._draw_median(painter, bar)
        painter.end()

    def _draw_median(self, painter: QPainter, bar: QRectF) -> None:
        scale = self._scale
        median = None if scale is None else scale.median
        if scale is None or median is None:
            return
        share = (median - scale.low) / (scale.high - scale.low)
        x = bar.left() + min(max(share, 0.0), 1.0) * bar.width()
        painter.fillRect(QRectF(x - 1.5, 0, 3, 14), QColor("black"))
        painter.fillRect(QRectF(x - 0.5, 0, 1, 14), QColor("white"))
        advance = painter.fontMetrics().horizontalAdvance
        low, high = (advance(words) for words in self.ends)
        width = advance(self.words)
        first, last = bar.left() + low + _GAP, bar.right() - high - _GAP - width
        if first <= last:
            left = min(max(x - width / 2, first), last)
            painter.drawText(QRectF(left, 14, width + 2, 18), self.words)
