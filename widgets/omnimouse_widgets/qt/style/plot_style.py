"""Common plot style, the plot items shared by several panels, their canvas, and pictures.

All plots set their colours for a dark background. In a light theme the canvas replaces
them before it paints: white becomes nearly black, and the other colours become darker.
Images, and boxes with a background of their own, keep their colours.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QBuffer, QByteArray, QEvent, QIODevice, QRectF, QSize, Qt
from qtpy.QtGui import QBrush, QColor, QImage, QPainter, QPaintEvent, QPen, QShowEvent
from qtpy.QtWidgets import QFrame, QGraphicsItem, QGraphicsRectItem, QGraphicsSimpleTextItem

from omnimouse_widgets import palette
from omnimouse_widgets.qt.style.theme import AXIS as AXIS
from omnimouse_widgets.qt.style.theme import BACKGROUND as BACKGROUND
from omnimouse_widgets.qt.style.theme import HELD_TEXT as HELD_TEXT
from omnimouse_widgets.qt.style.theme import PAPER as PAPER
from omnimouse_widgets.qt.style.theme import TEXT as TEXT
from omnimouse_widgets.qt.style.theme import is_dark, themed_colour, themed_text
from omnimouse_widgets.qt.style.theme import on_paper as on_paper
from omnimouse_widgets.qt.style.theme import small_font as small_font

_Coloured = TypeVar("_Coloured", QPen, QBrush)


def canvas(tooltip: str) -> "PlotCanvas":
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


class NumbersAxis(pg.AxisItem):  # type: ignore[misc]  # pyqtgraph is untyped
    """Axis whose numbers have a minus sign as in texts."""

    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:
        """Return the numbers at the ticks."""
        texts = super().tickStrings(values, scale, spacing)
        return [text.replace("-", "−") for text in texts]


class SecondsAxis(pg.AxisItem):  # type: ignore[misc]  # pyqtgraph is untyped
    """Axis with tick labels in seconds."""

    def tickStrings(self, values: list[float], _scale: float, _spacing: float) -> list[str]:
        """Return labels such as `100 s`."""
        return [f"{value:g} s".replace("-", "−") for value in values]


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
    """Message in the middle of an empty plot.

    Attributes
    ----------
    text
        The displayed message, or "".
    """

    def __init__(self, box: pg.ViewBox) -> None:
        self._box = box
        self._item = text_item("", TEXT, anchor=(0.5, 0.5))
        # A child of the view box, not of its content: its position is in pixels and
        # does not depend on the data range.
        self._item.setParentItem(box)
        self._item.setZValue(100)
        box.sigResized.connect(lambda *_: self._centre())
        self.text = ""
        self._item.hide()

    def show(self, text: str) -> None:
        """Show a message; "" hides it."""
        # Plots call this for every drawing, and to set a text lays it out again.
        if text == self.text:
            return
        self.text = text
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


# -- the canvas and its colours in light themes ------------------------------------------
class PlotCanvas(pg.GraphicsLayoutWidget):  # type: ignore[misc]  # pyqtgraph is untyped
    """Canvas of plots with the colours of the theme, also after a change of theme."""

    is_light = False
    """Whether the theme is light. A class attribute, because Qt sends palettes before
    the constructor has ended."""

    fills_height = False
    """Whether the canvas takes the height that is left, instead of asking for its own."""

    def __init__(self) -> None:
        super().__init__()
        self.setBackground(BACKGROUND)

    def sizeHint(self) -> QSize:
        """Return the wanted size; that of pyqtgraph is too large for a dock."""
        wanted: QSize = super().sizeHint()
        return QSize(wanted.width(), self.minimumHeight()) if self.fills_height else wanted

    def showEvent(self, event: QShowEvent | None) -> None:
        """Update the colours: a new parent may have got its theme after the canvas."""
        super().showEvent(event)
        self._follow()

    def changeEvent(self, event: QEvent | None) -> None:
        """Update the colours: a change of the palette can be a change of the theme."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.PaletteChange:
            self._follow()

    def _follow(self) -> None:
        # A canvas without a panel is drawn for a picture.
        panel = self.parentWidget()
        is_light = panel is not None and not is_dark(panel)
        if is_light != self.is_light:
            self.is_light = is_light
            self.setBackground(themed_colour(BACKGROUND, is_light=is_light))
            self._replace_colours()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Replace the colours of what was drawn since the last time, then paint."""
        # Here and not where the panels draw: they set colours in many places.
        if self.is_light:
            self._replace_colours()
        super().paintEvent(event)

    def _replace_colours(self) -> None:
        for item in self.scene().items():
            replace = next((f for kind, f in _REPLACE.items() if isinstance(item, kind)), None)
            if replace is not None and not _is_in_own_box(item):
                replace(item, self.is_light)


def _is_in_own_box(item: QGraphicsItem) -> bool:
    """Return whether an item is in a box with a background of its own."""
    parent: QGraphicsItem | None = item
    while parent is not None:
        if isinstance(parent, pg.ViewBox) and parent.state["background"] is not None:
            return True
        parent = parent.parentItem()
    return False


def _themed(value: _Coloured, is_light: bool) -> _Coloured:
    """Return a pen or a brush with its colour of the theme; itself if it has it."""
    before = value.color()
    after = QColor(themed_colour(before.name(), is_light=is_light))
    after.setAlpha(before.alpha())
    if after == before:
        return value
    copy = type(value)(value)
    copy.setColor(after)
    return copy


def _replace(value: _Coloured, is_light: bool, change: Callable[[_Coloured], object]) -> None:
    new = _themed(value, is_light)
    # A call without a change would repaint the item without end.
    if new is not value:
        change(new)


def _theme_points(item: Any, is_light: bool) -> None:
    for name, change in (("pen", item.setPen), ("brush", item.setBrush)):
        if isinstance(item.opts[name], QPen | QBrush):
            _replace(item.opts[name], is_light, change)
        values = [value for value in item.data[name] if value is not None]
        new = [_themed(value, is_light) for value in values]
        is_changed = any(a is not b for a, b in zip(new, values, strict=True))
        if is_changed and len(new) == len(item.data):
            change(new)


def _theme_axis(item: Any, is_light: bool) -> None:
    _replace(item.pen(), is_light, item.setPen)
    _replace(item.textPen(), is_light, item.setTextPen)


def _theme_text(item: Any, is_light: bool) -> None:
    _replace(QPen(item.color), is_light, lambda new: item.setColor(new.color()))
    item.fill = _themed(item.fill, is_light)
    # Reading the HTML of a text is slow: only after a change.
    done = item.textItem.document().revision(), is_light
    if done != getattr(item, "omnimouse_theme", None):
        html = item.toHtml()
        if (new := themed_text(html, is_light=is_light)) != html:
            item.setHtml(new)
        item.omnimouse_theme = item.textItem.document().revision(), is_light


def _theme_title(item: Any, is_light: bool) -> None:
    # A plot without a title has an empty one without a colour.
    if item.opts["color"] is not None:
        pen = QPen(pg.mkColor(item.opts["color"]))
        _replace(pen, is_light, lambda new: item.setText(item.text, color=new.color()))


_REPLACE: Final[dict[type, Callable[[Any, bool], None]]] = {
    pg.PlotCurveItem: lambda item, is_light: _replace(
        pg.mkPen(item.opts["pen"]), is_light, item.setPen
    ),
    pg.FillBetweenItem: lambda item, is_light: _replace(item.brush(), is_light, item.setBrush),
    pg.ScatterPlotItem: _theme_points,
    pg.AxisItem: _theme_axis,
    pg.TextItem: _theme_text,
    pg.LabelItem: _theme_title,
    pg.InfiniteLine: lambda item, is_light: _replace(item.pen, is_light, item.setPen),
    pg.LinearRegionItem: lambda item, is_light: _replace(item.brush, is_light, item.setBrush),
    QGraphicsRectItem: lambda item, is_light: _replace(item.pen(), is_light, item.setPen),
    QGraphicsSimpleTextItem: lambda item, is_light: _replace(item.brush(), is_light, item.setBrush),
}


# -- pictures of what a function paints, as PNG or SVG ----------------------------------
SHARPNESS = 2
"""Pixels of a PNG per pixel of the screen."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What is painted, its size in screen pixels, and what the file says about it.

    `dpi` is the resolution of the screen: with it, fonts have their size on screen.
    """

    size: QSize
    dpi: int
    background: str
    title: str
    description: str
    paint: Callable[[QPainter], None]

    def png(self) -> bytes:
        """Return a PNG with `SHARPNESS` times the resolution of the screen."""
        image = QImage(self.size * SHARPNESS, QImage.Format.Format_RGB32)
        image.setDevicePixelRatio(SHARPNESS)
        _set_dpi(image, self.dpi)
        painter = QPainter(image)
        self._paint(painter)
        painter.end()
        # After painting, because the axes are laid out for the screen's resolution.
        _set_dpi(image, SHARPNESS * self.dpi)
        image.setText("Title", self.title)
        image.setText("Description", self.description)
        image.setText("Software", "OmniMouse Studio")
        return _bytes(lambda buffer: image.save(buffer, "PNG"))

    def svg(self) -> bytes:
        """Return an SVG with lines and text."""
        # Imported here: it would slow down the start.
        from qtpy.QtSvg import QSvgGenerator

        def write(buffer: QBuffer) -> None:
            generator = QSvgGenerator()
            generator.setOutputDevice(buffer)
            generator.setResolution(self.dpi)
            generator.setSize(self.size)
            generator.setViewBox(QRectF(0, 0, self.size.width(), self.size.height()))
            generator.setTitle(self.title)
            generator.setDescription(self.description)
            painter = QPainter(generator)
            self._paint(painter)
            painter.end()

        return _bytes(write)

    def _paint(self, painter: QPainter) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        size = self.size
        painter.fillRect(0, 0, size.width(), size.height(), QColor(self.background))
        self.paint(painter)


def _set_dpi(image: QImage, per_inch: int) -> None:
    # One inch is 0.0254 m.
    image.setDotsPerMeterX(round(per_inch / 0.0254))
    image.setDotsPerMeterY(round(per_inch / 0.0254))


def _bytes(write: Callable[[QBuffer], object]) -> bytes:
    """Return the bytes that `write` writes to a buffer."""
    content = QByteArray()
    buffer = QBuffer(content)
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    write(buffer)
    buffer.close()
    return bytes(content.data())
