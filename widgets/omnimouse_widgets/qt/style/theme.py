"""Labels and glyphs that are readable in light and dark themes.

The contrast with the panel is at least 4.5 for text and at least 3 for marks. The theme
is determined from the palette, because style sheets set the palette, too.
"""

from collections.abc import Callable
from typing import Final

from qtpy.QtCore import QEvent, QPointF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPalette, QPen, QPixmap
from qtpy.QtWidgets import QHBoxLayout, QLabel, QWidget

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


def _ring_glyph(colour: str) -> QPixmap:
    def paint(painter: QPainter) -> None:
        # Black as on the field: a white ring is not visible on a light panel.
        painter.fillRect(0, 0, GLYPH_SIZE, GLYPH_SIZE, QColor("black"))
        painter.setPen(QPen(QColor(colour), 2))
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
