"""Export of the displayed traces as a PNG or SVG figure with its condition."""

from html import escape
from typing import Final

import numpy as np
from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QPainter, QTextDocument

from omnimouse_widgets.qt.style import plot_style
from omnimouse_widgets.qt.style.picture import SHARPNESS, Picture
from omnimouse_widgets.qt.style.theme import signs_html
from omnimouse_widgets.qt.traces.plot import TraceStack
from omnimouse_widgets.views.record import Legend, Switch, Traces, record
from omnimouse_widgets.views.traces import LARGE, TracesView

WIDTH: Final = 820
ROW_HEIGHT: Final = 84
AXIS_HEIGHT: Final = 44
MARGIN: Final = 10


def traces_figure(view: TracesView, condition: str, *, is_svg: bool) -> bytes:
    """Return a figure of the traces on white, independent of the panel's size.

    Parameters
    ----------
    view
        The traces as they are shown now.
    condition
        Text below the figure and in the description field of the file.
    is_svg
        Return an SVG; otherwise a PNG.
    """
    found = record(view)
    items, as_large = found.values(), found["as_large"]
    (traces,) = (item for item in items if isinstance(item, Traces))
    if isinstance(as_large, Switch) and as_large.is_on:
        condition = f"{condition}\n{LARGE}"
    legends = [item.signs for item in items if isinstance(item, Legend) and item.signs]
    stack = _drawn_stack(traces)
    canvas = stack.canvas
    texts = [_document("<br>".join(map(signs_html, legends)), plot_style.TEXT)]
    # The caption is set as HTML. Names of files and neurons may contain & or <.
    caption = "<br>".join(map(escape, condition.splitlines()))
    texts.append(_document(caption, plot_style.AXIS))

    def paint(painter: QPainter) -> None:
        painter.translate(MARGIN, MARGIN)
        texts[0].drawContents(painter)
        painter.translate(-MARGIN, texts[0].size().height())
        place = QRectF(0, 0, WIDTH, canvas.height())
        canvas.render(painter, place, canvas.viewport().rect())
        painter.translate(MARGIN, canvas.height())
        texts[1].drawContents(painter)

    height = canvas.height() + sum(text.size().height() for text in texts)
    picture = Picture(
        QSize(WIDTH, round(height + 2 * MARGIN)),
        canvas.logicalDpiX(),
        plot_style.PAPER,
        "Traces, OmniMouse Studio",
        condition,
        paint,
    )
    stack.draw_for_print(1.0 if is_svg else SHARPNESS)
    content = picture.svg() if is_svg else picture.png()
    canvas.close()
    canvas.deleteLater()
    return content


def _drawn_stack(traces: Traces) -> TraceStack:
    """Return a canvas with the traces, laid out but not on screen."""
    stack = TraceStack(lambda _: None)
    stack.canvas.resize(WIDTH, ROW_HEIGHT * max(len(traces.rows), 2) + AXIS_HEIGHT)
    # Qt lays out visible widgets only; this attribute keeps the canvas off screen.
    stack.canvas.setAttribute(Qt.WidgetAttribute.WA_DontShowOnScreen)
    stack.canvas.show()
    stack.set_rows(traces.rows, traces.scale)
    # The cursor is a state of the application and has no meaning in a figure.
    stack.cursor.hide()
    for curve in (stack.predicted, stack.baseline):
        # An empty path is invalid in SVG: hide curves without a finite value.
        _, values = curve.getData()
        curve.setVisible(bool(np.isfinite(values).any()))
    stack.canvas.scene().prepareForPaint()
    return stack


def _document(text: str, colour: str) -> QTextDocument:
    document = QTextDocument()
    document.setDocumentMargin(0)
    document.setDefaultFont(plot_style.small_font())
    document.setTextWidth(WIDTH - 2 * MARGIN)
    html = f"<div style='color:{colour}'>{text}</div>"
    document.setHtml(plot_style.on_paper(html))
    return document
