"""Colours, labels, legends and glyphs that are readable in light and dark themes.

The contrast with the panel is at least 4.5 for text and at least 3 for marks. The theme
is determined from the palette, because style sheets set the palette, too. This module
does not import pyqtgraph, which a window needs with its first recording only.
"""

import re
from collections.abc import Callable, Sequence
from html import escape
from typing import Final

from qtpy.QtCore import QEvent, QPointF, QSize, Qt
from qtpy.QtGui import QColor, QFont, QPainter, QPaintEvent, QPalette, QPen, QPixmap
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QWidget

from omnimouse_widgets import palette
from omnimouse_widgets.palette import Tone

ON_DARK: Final[dict[Tone, str]] = {
    "quiet": "#A0A6B0",
    "alert": palette.TARGET,
    "good": palette.GOOD,
    "waiting": palette.TARGET,
    "problem": palette.PROBLEM,
}
# Darker variants of the same hues, because orange and green of the palette have too
# little contrast on a light background.
ON_LIGHT: Final[dict[Tone, str]] = {
    "quiet": "#565C66",
    "alert": "#8A4B00",
    "good": "#00785A",
    "waiting": "#A86400",
    "problem": "#B84A00",
}
GLYPH_SIZE: Final = 11


def is_dark(widget: QWidget) -> bool:
    """Return whether a widget has a dark background."""
    return widget.palette().color(QPalette.ColorRole.Window).lightness() < 128


def colour_of(tone: Tone, widget: QWidget) -> str:
    """Return the colour of a tone on the background of a widget."""
    return (ON_DARK if is_dark(widget) else ON_LIGHT)[tone]


class ToneLabel(QLabel):
    """Label with the text colour of a tone, None for that of the window; follows the theme."""

    def __init__(self, text: str = "", tone: Tone | None = "quiet") -> None:
        super().__init__(text)
        # Names of a file that look like HTML are shown as they are.
        self.setTextFormat(Qt.TextFormat.PlainText)
        self._tone = tone
        self._tint()

    def set_tone(self, tone: Tone | None) -> None:
        """Set the tone."""
        self._tone = tone
        self._tint()

    def changeEvent(self, event: QEvent | None) -> None:
        """Update the colour, because a new palette can be a new theme."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.PaletteChange:
            self._tint()

    def _tint(self) -> None:
        # Use the parent's palette: the label's own one changes while its style sheet is
        # being applied.
        widget = self.parentWidget() or self
        style = f"color: {colour_of(self._tone, widget)};" if self._tone is not None else ""
        # Setting a style sheet changes the palette, which calls this again.
        if style != self.styleSheet():
            self.setStyleSheet(style)


def wrapped_label(tone: Tone | None = None, *, is_selectable: bool = False) -> ToneLabel:
    """Return a wrapped label that does not widen its panel."""
    label = ToneLabel(tone=tone)
    label.setWordWrap(True)
    label.setMinimumWidth(1)
    # Error messages can be copied, e.g. into a search or a report.
    if is_selectable:
        label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


def breakable(text: str) -> str:
    """Return a text in which a long word, such as a path, can go on in the next line.

    Qt breaks lines at spaces, but not within a word.
    """
    return re.sub(r"\S{30,}", lambda word: re.sub(r"([/\\_.-])", "\\1\u200b", word[0]), text)


class SteadyLabel(ToneLabel):
    """Wrapped label with the height of a number of lines, also while it has fewer.

    A text that needs more lines increases the height until `reserve` is called with
    another number. Controls below do not move while the text changes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setMinimumWidth(1)
        self.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        self._n_lines = 0

    def reserve(self, n_lines: int) -> None:
        """Take the height of this number of lines."""
        if n_lines != self._n_lines:
            self._n_lines = n_lines
            self.setMinimumHeight(0)
            self.set_text("\n" * (n_lines - 1))

    def set_text(self, text: str) -> None:
        """Show a text, of which no line is cut."""
        self.setText(text)
        needed = self.heightForWidth(self.width())
        if needed > self.minimumHeight():
            self.setMinimumHeight(needed)


def glyph_label(code: int) -> QLabel:
    """Return the glyph of a mask state."""
    label = QLabel()
    label.setPixmap(state_glyph(code))
    return label


def state_label(code: int) -> QWidget:
    """Return the glyph and the name of a mask state."""
    return icon_label(state_glyph(code), palette.STATE_NAMES[code])


def ring_label(colour: str, text: str) -> QWidget:
    """Return a ring on black, as on the field, and its meaning."""
    return icon_label(_ring_glyph(colour), text)


def disk_label(colour: str, text: str, rim: str = "") -> QWidget:
    """Return a legend entry: a disk on black, as on the field, with its meaning."""
    return icon_label(_ring_glyph(rim or colour, colour), text)


def icon_label(picture: QPixmap, text: str) -> QWidget:
    """Return a picture with a text beside it."""
    icon, label = QLabel(), ToneLabel(text)
    icon.setPixmap(picture)
    pair = QWidget()
    row = QHBoxLayout(pair)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(4)
    row.addWidget(icon)
    # The text may be cut, so that legends do not determine the width of the panel.
    label.setMinimumWidth(1)
    row.addWidget(label, 1)
    return pair


def _ring_glyph(colour: str, fill: str = "") -> QPixmap:
    def paint(painter: QPainter) -> None:
        # Black as on the field: a white ring is not visible on a light panel.
        painter.fillRect(0, 0, GLYPH_SIZE, GLYPH_SIZE, QColor("black"))
        painter.setPen(QPen(QColor(colour), 2))
        if fill:
            painter.setBrush(QColor(fill))
        painter.drawEllipse(QPointF(GLYPH_SIZE / 2, GLYPH_SIZE / 2), 3.5, 3.5)

    return drawn_pixmap(QSize(GLYPH_SIZE, GLYPH_SIZE), paint)


def state_glyph(code: int) -> QPixmap:
    """Return the glyph of a mask state, with an edge visible on any background.

    Hidden and visible are a full disk, target is a ring, mixed is half full.
    """
    state = palette.STATE_NAMES[code]
    middle, radius = QPointF(GLYPH_SIZE / 2, GLYPH_SIZE / 2), GLYPH_SIZE / 2 - 0.5

    def paint(painter: QPainter) -> None:
        painter.setPen(QPen(QColor(palette.EDGE), 1))
        painter.setBrush(QColor(palette.STATE_COLOURS[code]))
        painter.drawEllipse(middle, radius, radius)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(palette.HIDDEN))
        if state == "target":
            painter.drawEllipse(middle, radius - 2.5, radius - 2.5)
        elif state == "mixed":
            # Qt measures angles in 1/16 degree: the left half.
            painter.drawPie(1, 1, GLYPH_SIZE - 2, GLYPH_SIZE - 2, 90 * 16, 180 * 16)

    return drawn_pixmap(QSize(GLYPH_SIZE, GLYPH_SIZE), paint)


def drawn_pixmap(size: QSize, paint: Callable[[QPainter], None]) -> QPixmap:
    """Return a picture with a transparent background that `paint` has painted."""
    pixmap = QPixmap(size)
    pixmap.fill(QColor(0, 0, 0, 0))
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    paint(painter)
    # Qt requires the end of the painter before its pixmap is used.
    painter.end()
    return pixmap


# -- colours of plots, which are set for a dark background ------------------------------
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


FONT_POINTS: Final = 8


class EmptyPlot(QWidget):
    """Text in place of a plot that has no data yet."""

    def __init__(self) -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self._text = ""

    def show_text(self, text: str) -> None:
        """Show why there are no data."""
        self._text = text
        self.setAccessibleName(text)
        self.update()

    def paintEvent(self, _: QPaintEvent | None) -> None:
        """Paint the text as plots do."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), colour_on(self, BACKGROUND))
        painter.setPen(colour_on(self, TEXT))
        painter.setFont(small_font())
        flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
        painter.drawText(self.rect(), int(flags), self._text)
        painter.end()


def small_font(*, bold: bool = False) -> QFont:
    """Return the font of ticks and labels inside plots."""
    font = QFont()
    font.setPointSize(FONT_POINTS)
    font.setBold(bold)
    return font


# -- legends of plots, as HTML ---------------------------------------------------------
UNBROKEN = str.maketrans(
    {
        "/": "/\N{WORD JOINER}",
        "-": "\N{NON-BREAKING HYPHEN}",
        **{dash: f"\N{WORD JOINER}{dash}\N{WORD JOINER}" for dash in "–—"},
    }
)
"""Signs beside which Qt would break a line, as in spikes/s -> signs without a break."""


def signs_html(signs: Sequence[tuple[str, str, str]]) -> str:
    """Return coloured glyphs with their meanings; lines break between them alone."""
    return "&nbsp; ".join(
        "<span style='white-space:nowrap'>"
        f"<span style='color:{colour}'>{glyph.translate(UNBROKEN)}</span>&nbsp;"
        # Names of pins are typed by the user and may contain & or <.
        f"{escape(text).translate(UNBROKEN)}</span>"
        for glyph, colour, text in signs
    )


class LegendLabel(QLabel):
    """Legend on the background of the plots, in the colours of the theme."""

    def __init__(self) -> None:
        super().__init__()
        # First, because a change of the palette draws it.
        self._html = ""
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setFont(small_font())
        # A panel may be narrower than the legend, which then takes another line.
        self.setMinimumWidth(1)
        self.setWordWrap(True)
        self.setText("")

    def setText(self, text: str | None) -> None:
        """Set the text, with colours on a dark background."""
        self._html = text or ""
        self._draw()

    def changeEvent(self, event: QEvent | None) -> None:
        """Update the colours: a change of the palette can be a change of the theme."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.PaletteChange:
            self._draw()

    def _draw(self) -> None:
        is_light = is_on_light(self)
        super().setText(themed_text(self._html, is_light=is_light))
        text, background = (
            themed_colour(colour, is_light=is_light) for colour in (TEXT, BACKGROUND)
        )
        style = f"color: {text}; background: {background}; padding: 1px 4px;"
        # Setting a style sheet changes the palette, which calls this again.
        if style != self.styleSheet():
            self.setStyleSheet(style)
