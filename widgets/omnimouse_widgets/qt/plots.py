"""The look of every plot, in one place, and the few items several panels share.

Plots are dark in light themes too: truth is drawn white and the video beside it is
an image on black.
"""

from collections.abc import Callable

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QRectF, Qt
from qtpy.QtGui import QBrush, QColor, QFont, QPen
from qtpy.QtWidgets import QFrame

from omnimouse_model.masks import N_SAMPLES
from omnimouse_widgets import palette

BACKGROUND = "#16181D"
AXIS = "#8B919A"
TEXT = "#C9CDD3"
HELD_TEXT = "#FFFFFF"
FONT_POINTS = 8


def small_font(*, bold: bool = False) -> QFont:
    """The font of ticks and labels inside plots."""
    font = QFont()
    font.setPointSize(FONT_POINTS)
    font.setBold(bold)
    return font


def canvas(tooltip: str) -> pg.GraphicsLayoutWidget:
    """An empty, quiet plotting surface."""
    widget = pg.GraphicsLayoutWidget()
    widget.setBackground(BACKGROUND)
    widget.setFrameShape(QFrame.Shape.NoFrame)
    widget.setToolTip(tooltip)
    widget.ci.layout.setContentsMargins(4, 4, 8, 2)
    widget.ci.layout.setSpacing(2)
    return widget


def style_plot(plot: pg.PlotItem, *, left: bool = True, bottom: bool = True) -> None:
    """Hide buttons, menus and whatever axis is not wanted; calm the others."""
    plot.hideButtons()
    plot.setMenuEnabled(False)
    plot.disableAutoRange()
    plot.setContentsMargins(0, 0, 0, 0)
    for name, shown in (("left", left), ("bottom", bottom)):
        plot.showAxis(name, shown)
        if shown:
            style_axis(plot.getAxis(name))


def style_axis(axis: pg.AxisItem) -> None:
    """Small grey ticks, no heavy line."""
    axis.setStyle(tickFont=small_font(), tickLength=-4, tickTextOffset=4)
    axis.setPen(QColor(AXIS))
    axis.setTextPen(QColor(AXIS))


def pen(colour: str, width: float = 1.0, *, dashed: bool = False) -> QPen:
    """A line that keeps its width at any zoom; widths above 1 draw slower."""
    made = QPen(QColor(colour), width)
    made.setCosmetic(True)
    if dashed:
        made.setDashPattern([3.0, 2.0])
    return made


def tint(colour: str, alpha: int) -> QColor:
    """A colour with an opacity from 0 to 255."""
    return QColor(*palette.rgb(colour), alpha)


def image() -> pg.ImageItem:
    """An image whose rows are rows."""
    return pg.ImageItem(axisOrder="row-major")


def lut_image(table: np.ndarray) -> pg.ImageItem:
    """An image of uint8 codes drawn through a table of colours."""
    item = image()
    item.setLookupTable(table)
    item.setLevels((0, len(table)))
    return item


def set_codes(item: pg.ImageItem, codes: np.ndarray, rect: QRectF, n: int) -> None:
    """Show uint8 codes (rows, columns) over a rectangle, looked up in n colours."""
    item.setImage(codes, autoLevels=False, levels=(0, n))
    item.setRect(rect)


def text(
    words: str, colour: str = TEXT, anchor: tuple[float, float] = (0, 0)
) -> pg.TextItem:
    """Words inside a plot, in the small font."""
    item = pg.TextItem(words, color=colour, anchor=anchor)
    item.setFont(small_font())
    return item


class CursorLine(pg.InfiniteLine):  # type: ignore[misc]  # pyqtgraph is untyped
    """The shared cursor: a vertical line that can be dragged.

    Parameters
    ----------
    moved
        Called with the position a drag asks for. The line itself only moves when
        `place` is called, so it always shows the state.
    """

    def __init__(self, moved: Callable[[float], None]) -> None:
        super().__init__(angle=90, movable=True, pen=pen(palette.CURSOR))
        self.setHoverPen(pen(palette.CURSOR, 3))
        self.setZValue(50)
        self._moved = moved
        self.setCursor(Qt.CursorShape.SplitHCursor)

    def place(self, position: float) -> None:
        """Put the line where the state says."""
        if self.value() != position:
            self.setValue(position)

    def mouseDragEvent(self, event: object) -> None:
        """Ask for the position under the pointer instead of moving there."""
        if event.button() != Qt.MouseButton.LeftButton:  # type: ignore[attr-defined]
            return
        event.accept()  # type: ignore[attr-defined]
        self._moved(float(self.getViewBox().mapSceneToView(event.scenePos()).x()))  # type: ignore[attr-defined]


def sample_at(position: float) -> int:
    """The sample whose cell [i, i + 1) holds a position, kept within the window."""
    return int(min(max(np.floor(position), 0), N_SAMPLES - 1))


def brush(colour: str, alpha: int = 255) -> QBrush:
    """Fill with a colour and an opacity from 0 to 255."""
    return QBrush(tint(colour, alpha))
