"""Common plot style and the plot items shared by several panels.

Plots are dark in light themes too: truth is drawn white and the video beside it is
an image on black.
"""

import re
from collections.abc import Callable

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QRectF, Qt
from qtpy.QtGui import QBrush, QColor, QFont, QPen
from qtpy.QtWidgets import QFrame

from omnimouse_widgets import palette

BACKGROUND = "#16181D"
AXIS = palette.AXIS
TEXT = "#C9CDD3"
HELD_TEXT = "#FFFFFF"
PAPER = "#FFFFFF"
# White curves and light greys would be invisible on white paper.
_ON_PAPER = {**palette.ON_PAPER, AXIS: "#626A75", TEXT: "#1D2127"}
FONT_POINTS = 8


def small_font(*, bold: bool = False) -> QFont:
    """Return the font of ticks and labels inside plots."""
    font = QFont()
    font.setPointSize(FONT_POINTS)
    font.setBold(bold)
    return font


def canvas(tooltip: str) -> pg.GraphicsLayoutWidget:
    """Return an empty plot canvas without a frame."""
    widget = pg.GraphicsLayoutWidget()
    widget.setBackground(BACKGROUND)
    widget.setFrameShape(QFrame.Shape.NoFrame)
    widget.setToolTip(tooltip)
    widget.ci.layout.setContentsMargins(4, 4, 8, 2)
    widget.ci.layout.setSpacing(2)
    return widget


def style_plot(plot: pg.PlotItem, *, left: bool = True, bottom: bool = True) -> None:
    """Hide buttons, menus and unused axes; style the other axes."""
    plot.hideButtons()
    plot.setMenuEnabled(False)
    # Ranges are set explicitly; automatic ones would cost time at each update.
    plot.disableAutoRange()
    plot.setContentsMargins(0, 0, 0, 0)
    for name, shown in (("left", left), ("bottom", bottom)):
        plot.showAxis(name, shown)
        if shown:
            style_axis(plot.getAxis(name))


def style_axis(axis: pg.AxisItem, colour: str = AXIS) -> None:
    """Set small ticks and a thin line in one colour."""
    axis.setStyle(tickFont=small_font(), tickLength=-4, tickTextOffset=4)
    axis.setPen(QColor(colour))
    axis.setTextPen(QColor(colour))


def on_paper(words: str) -> str:
    """Replace screen colours in a text by their colours on white."""
    # Qt writes colours in lower case, hence the case-insensitive search.
    for screen, paper in _ON_PAPER.items():
        words = re.sub(screen, paper, words, flags=re.IGNORECASE)
    return words


class SecondsAxis(pg.AxisItem):  # type: ignore[misc]  # pyqtgraph is untyped
    """Axis with tick labels in seconds."""

    def tickStrings(
        self, values: list[float], _scale: float, _spacing: float
    ) -> list[str]:
        """Return labels such as `100 s`."""
        return [f"{value:g} s" for value in values]


def pen(
    colour: str, width: float = 1.0, *, dashed: bool = False, dotted: bool = False
) -> QPen:
    """Return a pen with constant width at any zoom; widths above 1 draw slower."""
    made = QPen(QColor(colour), width)
    # Cosmetic: the width is in pixels, not in data units.
    made.setCosmetic(True)
    if dashed:
        made.setDashPattern([3.0, 2.0])
    if dotted:
        made.setDashPattern([1.0, 2.0])
    return made


def tint(colour: str, alpha: int) -> QColor:
    """Return a colour with an opacity from 0 to 255."""
    return QColor(*palette.rgb(colour), alpha)


def image() -> pg.ImageItem:
    """Return an image item for (row, column) arrays."""
    return pg.ImageItem(axisOrder="row-major")


def lut_image(table: np.ndarray) -> pg.ImageItem:
    """Return an image item that maps uint8 codes through a colour table."""
    item = image()
    item.setLookupTable(table)
    # With levels from 0 to n and n colours, code k maps exactly to colour k.
    item.setLevels((0, len(table)))
    return item


def set_codes(item: pg.ImageItem, codes: np.ndarray, rect: QRectF, n: int) -> None:
    """Show uint8 codes (rows, columns) in a rectangle, with a table of n colours."""
    item.setImage(codes, autoLevels=False, levels=(0, n))
    item.setRect(rect)


def text(
    words: str, colour: str = TEXT, anchor: tuple[float, float] = (0, 0)
) -> pg.TextItem:
    """Return a text item in the small font."""
    item = pg.TextItem(words, color=colour, anchor=anchor)
    item.setFont(small_font())
    return item


class ScrubBox(pg.ViewBox):  # type: ignore[misc]  # pyqtgraph is untyped
    """View box that reports the position of a press or drag; no zoom or pan."""

    def __init__(self, moved: Callable[[float], None]) -> None:
        super().__init__(enableMenu=False, enableMouse=False, defaultPadding=0.0)
        self._moved = moved

    def mousePressEvent(self, event: object) -> None:
        """Report the position on press."""
        event.accept()  # type: ignore[attr-defined]
        if event.button() == Qt.MouseButton.LeftButton:  # type: ignore[attr-defined]
            self._scrub(event)

    def mouseMoveEvent(self, event: object) -> None:
        """Report the position during a drag."""
        event.accept()  # type: ignore[attr-defined]
        if event.buttons() & Qt.MouseButton.LeftButton:  # type: ignore[attr-defined]
            self._scrub(event)

    def mouseReleaseEvent(self, event: object) -> None:
        """Accept the release; the position is already reported."""
        event.accept()  # type: ignore[attr-defined]

    def _scrub(self, event: object) -> None:
        self._moved(float(self.mapSceneToView(event.scenePos()).x()))  # type: ignore[attr-defined]


class Message:
    """Message in the middle of an empty plot."""

    def __init__(self, box: pg.ViewBox) -> None:
        self._box = box
        self._item = text("", TEXT, anchor=(0.5, 0.5))
        # A child of the view box, not of its content: its position is in pixels and
        # does not depend on the data range.
        self._item.setParentItem(box)
        self._item.setZValue(100)
        box.sigResized.connect(lambda *_: self._centre())
        self.show("")

    @property
    def words(self) -> str:
        """The displayed message, or ""."""
        return str(self._item.toPlainText())

    def show(self, words: str) -> None:
        """Show a message; "" hides it."""
        self._item.setText(words)
        self._item.setVisible(bool(words))
        self._centre()

    def _centre(self) -> None:
        self._item.setPos(self._box.boundingRect().center())


def cursor_line() -> pg.InfiniteLine:
    """Return the line of the shared cursor, drawn above the other items."""
    line = pg.InfiniteLine(angle=90, pen=pen(palette.CURSOR))
    # Above all data items, below `Message`.
    line.setZValue(50)
    return line


def sample_at(position: float, n_samples: int) -> int:
    """Return the sample i with [i, i + 1) around a position, clipped to the window."""
    return int(min(max(np.floor(position), 0), n_samples - 1))


def brush(colour: str, alpha: int = 255) -> QBrush:
    """Return a brush with an opacity from 0 to 255."""
    return QBrush(tint(colour, alpha))
