"""Common plot style and the plot items shared by several panels.

Colours are those on a dark background; `plot_theme` replaces them in light themes.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QRectF, Qt
from qtpy.QtGui import QBrush, QColor, QFont, QPen
from qtpy.QtWidgets import QFrame

from omnimouse_widgets import palette
from omnimouse_widgets.qt.style.plot_theme import AXIS as AXIS
from omnimouse_widgets.qt.style.plot_theme import BACKGROUND as BACKGROUND
from omnimouse_widgets.qt.style.plot_theme import HELD_TEXT as HELD_TEXT
from omnimouse_widgets.qt.style.plot_theme import PAPER as PAPER
from omnimouse_widgets.qt.style.plot_theme import TEXT as TEXT
from omnimouse_widgets.qt.style.plot_theme import PlotCanvas
from omnimouse_widgets.qt.style.plot_theme import on_paper as on_paper

FONT_POINTS = 8


def small_font(*, bold: bool = False) -> QFont:
    """Return the font of ticks and labels inside plots."""
    font = QFont()
    font.setPointSize(FONT_POINTS)
    font.setBold(bold)
    return font


def canvas(tooltip: str) -> PlotCanvas:
    """Return an empty plot canvas without a frame."""
    widget = PlotCanvas()
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
    for name, is_shown in (("left", left), ("bottom", bottom)):
        plot.showAxis(name, is_shown)
        if is_shown:
            style_axis(plot.getAxis(name))


def style_axis(axis: pg.AxisItem, colour: str = AXIS) -> None:
    """Set small ticks and a thin line in one colour."""
    axis.setStyle(tickFont=small_font(), tickLength=-4, tickTextOffset=4)
    axis.setPen(QColor(colour))
    axis.setTextPen(QColor(colour))


class SecondsAxis(pg.AxisItem):  # type: ignore[misc]  # pyqtgraph is untyped
    """Axis with tick labels in seconds."""

    def tickStrings(self, values: list[float], _scale: float, _spacing: float) -> list[str]:
        """Return labels such as `100 s`."""
        return [f"{value:g} s" for value in values]


def pen(colour: str, width: float = 1.0, *, dashed: bool = False, dotted: bool = False) -> QPen:
    """Return a pen with constant width at any zoom; widths above 1 draw slower."""
    pen = QPen(QColor(colour), width)
    # Cosmetic: the width is in pixels, not in data units.
    pen.setCosmetic(True)
    if dashed:
        pen.setDashPattern([3.0, 2.0])
    if dotted:
        pen.setDashPattern([1.0, 2.0])
    return pen


def curve(colour: str, width: float = 1.0, **style: bool) -> pg.PlotCurveItem:
    """Return an empty curve with gaps at NaN; `style` is that of `pen`."""
    return pg.PlotCurveItem(pen=pen(colour, width, **style), connect="finite")


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


def text_item(text: str, colour: str = TEXT, anchor: tuple[float, float] = (0, 0)) -> pg.TextItem:
    """Return a text item in the small font."""
    item = pg.TextItem(text, color=colour, anchor=anchor)
    item.setFont(small_font())
    return item


class PressBox(pg.ViewBox):  # type: ignore[misc]  # pyqtgraph is untyped
    """View box that reports the position of a left press; no zoom or pan.

    Parameters
    ----------
    pressed
        Called with the position (x, y) in the units of the axes.
    follows_drag
        Whether the positions of a drag are reported, too.
    """

    def __init__(
        self, pressed: Callable[[float, float], object], *, follows_drag: bool = False
    ) -> None:
        super().__init__(enableMenu=False, enableMouse=False, defaultPadding=0.0)
        self._pressed, self._follows_drag = pressed, follows_drag

    def mousePressEvent(self, event: Any) -> None:
        """Report the position on press."""
        event.accept()
        if event.button() == Qt.MouseButton.LeftButton:
            self._report(event)

    def mouseMoveEvent(self, event: Any) -> None:
        """Report the position during a drag."""
        event.accept()
        if self._follows_drag and event.buttons() & Qt.MouseButton.LeftButton:
            self._report(event)

    def mouseReleaseEvent(self, event: Any) -> None:
        """Accept the release; the position is already reported."""
        event.accept()

    def _report(self, event: Any) -> None:
        place = self.mapSceneToView(event.scenePos())
        self._pressed(float(place.x()), float(place.y()))


MESSAGE_MARGIN: Final = 16
"""Free width in pixels beside a message."""


class Message:
    """Message in the middle of an empty plot."""

    def __init__(self, box: pg.ViewBox) -> None:
        self._box = box
        self._item = text_item("", TEXT, anchor=(0.5, 0.5))
        # A child of the view box, not of its content: its position is in pixels and
        # does not depend on the data range.
        self._item.setParentItem(box)
        self._item.setZValue(100)
        box.sigResized.connect(lambda *_: self._centre())
        self.show("")

    @property
    def text(self) -> str:
        """The displayed message, or ""."""
        return str(self._item.toPlainText())

    def show(self, text: str) -> None:
        """Show a message; "" hides it."""
        self._item.setText(text)
        self._item.setVisible(bool(text))
        self._centre()

    def _centre(self) -> None:
        place = self._box.boundingRect()
        # -1: no limit, to measure the text.
        self._item.setTextWidth(-1)
        if self._item.boundingRect().width() > place.width() > MESSAGE_MARGIN:
            self._item.setTextWidth(place.width() - MESSAGE_MARGIN)
        self._item.setPos(place.center())


def response_levels(values: np.ndarray) -> tuple[float, float]:
    """Return the limits of a colour scale of responses; NaN is unknown."""
    finite = values[np.isfinite(values)]
    # The 99th percentile keeps single large responses from darkening the rest.
    most = float(np.percentile(finite, 99)) if len(finite) else 1.0
    return 0.0, max(most, 1e-6)


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
