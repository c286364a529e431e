"""Legends of the trace plots, as HTML."""

from collections.abc import Sequence
from html import escape

from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import QLabel

from omnimouse_widgets.qt.style.theme import (
    BACKGROUND,
    TEXT,
    is_on_light,
    small_font,
    themed_colour,
    themed_text,
)

UNBROKEN = str.maketrans({"/": "/\N{WORD JOINER}", "-": "\N{NON-BREAKING HYPHEN}"})
"""Signs after which Qt would break a line, as in spikes/s -> signs without a break."""


def signs_html(signs: Sequence[tuple[str, str, str]]) -> str:
    """Return coloured glyphs with their meanings; lines break between them alone."""
    return "&nbsp; ".join(
        "<span style='white-space:nowrap'>"
        f"<span style='color:{colour}'>{glyph}</span> "
        # Names of pins are typed by the user and may contain & or <.
        f"{escape(text).translate(UNBROKEN)}</span>"
        for glyph, colour, text in signs
    )


class LegendLabel(QLabel):
    """Legend on the background of the plots, in the colours of the theme."""

    def __init__(self, signs: Sequence[tuple[str, str, str]] = ()) -> None:
        super().__init__()
        self._html = ""
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setFont(small_font())
        # A panel may be narrower than the legend, which then takes another line.
        self.setMinimumWidth(1)
        self.setWordWrap(True)
        self.setText(signs_html(signs))

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
