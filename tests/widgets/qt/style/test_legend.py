"""Legends of plots."""

import pytest
from qtpy.QtGui import QTextDocument

from omnimouse_widgets.qt.style.theme import signs_html, small_font


@pytest.mark.parametrize("glyph", ["──", "– –", "···", "–·–", "— —", "—·—"])
def test_a_line_breaks_between_entries_only(qapp: object, glyph: str) -> None:
    """The sign of a line stays beside its name in a panel of any width."""
    document = QTextDocument()
    document.setDefaultFont(small_font())
    document.setHtml(signs_html([("──", "#fff", "first"), (glyph, "#fff", "LM")]))
    block = document.firstBlock()
    layout = block.layout()
    for width in range(64, 200, 4):
        document.setTextWidth(width)
        document.size()
        lines = [layout.lineAt(number) for number in range(layout.lineCount())]
        starts = [
            block.text()[line.textStart() :].strip("\N{NO-BREAK SPACE} \N{WORD JOINER}")
            for line in lines
        ]
        assert all(start[:1] in ("─", glyph[0]) for start in starts), (width, starts)
