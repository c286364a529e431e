"""Colour bar with the values at its ends and a mark at the median."""

import numpy as np
from qtpy.QtCore import QRectF, QSize
from qtpy.QtGui import QColor, QLinearGradient, QPainter, QPaintEvent
from qtpy.QtWidgets import QWidget

from omnimouse_model.live.neurons.quantities import Scale
from omnimouse_widgets import palette
from omnimouse_widgets.qt.style import plot_style
from omnimouse_widgets.qt.style.theme import colour_of

FADED = 0.45
"""Opacity of scores of an older request."""
_GAP = 8


class ColourBar(QWidget):
    """Colour bar of a scale with the median; of an angle, both ends have one colour."""

    def __init__(self) -> None:
        super().__init__()
        self._scale: Scale | None = None
        self._is_old = False

    def sizeHint(self) -> QSize:
        """Return the size of the bar with its numbers."""
        return QSize(160, 34)

    def minimumSizeHint(self) -> QSize:
        """Return the full height and a small width."""
        return QSize(60, 34)

    def show_scale(self, scale: Scale | None, *, is_old: bool = False) -> None:
        """Show a scale; fade it if it belongs to an older request."""
        if (scale, is_old) != (self._scale, self._is_old):
            self._scale, self._is_old = scale, is_old
            self.update()

    @property
    def ends(self) -> tuple[str, str]:
        """The texts at both ends."""
        return ("", "") if self._scale is None else self._scale.ends

    @property
    def median_text(self) -> str:
        """The text at the median, or ""."""
        text = "" if self._scale is None else self._scale.middle
        return f"{text} (older)" if text and self._is_old else text

    def paintEvent(self, _: QPaintEvent | None) -> None:
        """Paint gradient, numbers and median."""
        painter = QPainter(self)
        painter.setFont(plot_style.small_font())
        bar = QRectF(4, 2, self.width() - 8, 10)
        gradient = QLinearGradient(bar.topLeft(), bar.topRight())
        # Qt interpolates linearly between stops; 17 of them follow viridis closely.
        kinds = {"is_cyclic": False}
        if self._scale is not None:
            quantity = self._scale.quantity
            kinds = {"is_cyclic": quantity.period is not None, "is_signed": quantity.is_signed}
        table = palette.scale_table(**kinds)
        for at in np.linspace(0, 1, 17):
            gradient.setColorAt(at, QColor(*map(int, table[round(at * 255)])))
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
        # Clipped: the colours of the neurons are clipped to the same ends.
        x = bar.left() + min(max(share, 0.0), 1.0) * bar.width()
        # White on black is visible on every colour of the bar.
        painter.fillRect(QRectF(x - 1.5, 0, 3, 14), QColor("black"))
        painter.fillRect(QRectF(x - 0.5, 0, 1, 14), QColor("white"))
        advance = painter.fontMetrics().horizontalAdvance
        low, high = (advance(end) for end in self.ends)
        width = advance(self.median_text)
        first, last = bar.left() + low + _GAP, bar.right() - high - _GAP - width
        # The text must not touch the numbers at the ends; without room it is left out.
        if first <= last:
            left = min(max(x - width / 2, first), last)
            painter.drawText(QRectF(left, 14, width + 2, 18), self.median_text)
