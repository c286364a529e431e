"""Colours of plots in dark and light themes, and the canvas that follows the theme.

All plots set their colours for a dark background. In a light theme the canvas replaces
them before it paints: white becomes nearly black, and the other colours become darker.
Images, and boxes with a background of their own, keep their colours.
"""

import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

import pyqtgraph as pg
from qtpy.QtCore import QEvent, QSize
from qtpy.QtGui import QBrush, QColor, QPaintEvent, QPen, QShowEvent
from qtpy.QtWidgets import QGraphicsItem, QGraphicsRectItem, QWidget

from omnimouse_widgets import palette
from omnimouse_widgets.qt.style.theme import is_dark

BACKGROUND: Final = "#16181D"
AXIS: Final = palette.AXIS
TEXT: Final = "#C9CDD3"
HELD_TEXT: Final = "#FFFFFF"
PAPER: Final = "#FFFFFF"
# White curves and light greys would be invisible on white paper.
_ON_PAPER: Final = {**palette.ON_PAPER, AXIS: "#626A75", TEXT: "#1D2127"}
# Not quite white and black: every colour must differ from those of dark themes, so that
# a colour says whether it is replaced already, and by which one it is replaced back.
_LIGHT: Final = {
    **palette.ON_PAPER,
    AXIS: "#626A75",
    TEXT: "#1D2128",
    BACKGROUND: "#FAFAFA",
}
_DARK: Final = {light: dark for dark, light in _LIGHT.items()}
_CONTRAST: Final = 3.0
"""Minimum contrast of a curve with a light background."""
_HEX: Final = re.compile(r"#[0-9a-fA-F]{6}\b")
_Coloured = TypeVar("_Coloured", QPen, QBrush)


def on_paper(text: str) -> str:
    """Replace screen colours in a text by their colours on white."""
    # Qt writes colours in lower case, hence the case-insensitive search.
    for screen, paper in _ON_PAPER.items():
        text = re.sub(screen, paper, text, flags=re.IGNORECASE)
    return text


def themed_colour(colour: str, *, is_light: bool) -> str:
    """Return a colour of plots, "#RRGGBB", as it is drawn in a theme."""
    colour = colour.upper()
    if not is_light:
        return _DARK.get(colour, colour)
    if colour in _DARK:  # replaced already
        return colour
    if colour not in _LIGHT:
        _LIGHT[colour] = light = _darkened(colour)
        # A dark colour stays as it is, in both directions.
        _DARK.setdefault(light, colour)
    return _LIGHT[colour]


def themed_text(html: str, *, is_light: bool) -> str:
    """Return a text with the colours of a theme."""
    return _HEX.sub(lambda found: themed_colour(found[0], is_light=is_light), html)


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
            replace = _replacement_for(item)
            if replace is not None and not _is_in_own_box(item):
                replace(item, self.is_light)


def is_on_light(widget: QWidget) -> bool:
    """Return whether a widget that paints itself is in a light theme."""
    return not is_dark(widget.parentWidget() or widget)


def colour_on(widget: QWidget, colour: str) -> QColor:
    """Return a colour of plots as a widget that paints itself draws it."""
    return QColor(themed_colour(colour, is_light=is_on_light(widget)))


def _darkened(colour: str) -> str:
    """Return the colour, darker if it has too little contrast with white."""
    mixed = QColor(colour)
    while 1.05 / (_luminance(mixed) + 0.05) < _CONTRAST:
        mixed = mixed.darker(110)
    return mixed.name().upper()


def _luminance(colour: QColor) -> float:
    """Return the relative luminance, as WCAG 2 defines it."""
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (colour.redF(), colour.greenF(), colour.blueF())
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


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


def _theme_curve(item: Any, is_light: bool) -> None:
    _replace(pg.mkPen(item.opts["pen"]), is_light, item.setPen)


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


def _theme_line(item: Any, is_light: bool) -> None:
    _replace(item.pen, is_light, item.setPen)


def _theme_region(item: Any, is_light: bool) -> None:
    _replace(item.brush, is_light, item.setBrush)


def _theme_rectangle(item: Any, is_light: bool) -> None:
    _replace(item.pen(), is_light, item.setPen)


_REPLACE: Final[dict[type, Callable[[Any, bool], None]]] = {
    pg.PlotCurveItem: _theme_curve,
    pg.ScatterPlotItem: _theme_points,
    pg.AxisItem: _theme_axis,
    pg.TextItem: _theme_text,
    pg.LabelItem: _theme_title,
    pg.InfiniteLine: _theme_line,
    pg.LinearRegionItem: _theme_region,
    QGraphicsRectItem: _theme_rectangle,
}


def _replacement_for(item: QGraphicsItem) -> Callable[[Any, bool], None] | None:
    """Return the function that replaces the colours of an item, None for others."""
    return next((f for kind, f in _REPLACE.items() if isinstance(item, kind)), None)
