"""Export of the displayed traces as a PNG or SVG figure with its condition."""

from collections.abc import Callable
from typing import Final

import numpy as np
from qtpy.QtCore import QBuffer, QByteArray, QIODevice, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QImage, QPainter, QTextDocument
from qtpy.QtSvg import QSvgGenerator

from omnimouse_model.live.controller import Controller
from omnimouse_widgets.drawn.traces.options import Look
from omnimouse_widgets.drawn.traces.rows import shown_answers, trace_rows
from omnimouse_widgets.qt.style import plot_style
from omnimouse_widgets.qt.traces.panel import legend_words, pinned_words
from omnimouse_widgets.qt.traces.plot import TraceStack

WIDTH: Final = 820
ROW_HEIGHT: Final = 84
AXIS_HEIGHT: Final = 44
MARGIN: Final = 10
LARGE: Final = "predictions are drawn as large as the recording, to compare shapes"
SHARPNESS: Final = 2
"""Pixels of a PNG per pixel of the screen."""


class TracesFigure:
    """Figure of the panel's traces on white, independent of the panel's size.

    Parameters
    ----------
    controller
        Controller whose selected neurons are drawn in their current state.
    condition
        Text below the figure and in the description field of the file.
    look
        Scales of the rows in the panel.
    """

    def __init__(self, controller: Controller, condition: str, look: Look) -> None:
        self._condition = f"{condition}\n{LARGE}" if look.is_large else condition
        state, pins = controller.state, controller.pins
        traces = trace_rows(controller, look)
        self._stack = TraceStack(lambda _: None, "")
        height = ROW_HEIGHT * max(len(traces), 2) + AXIS_HEIGHT
        self._stack.canvas.resize(WIDTH, height)
        # Qt lays out visible widgets only; this attribute keeps the canvas off screen.
        self._stack.canvas.setAttribute(Qt.WidgetAttribute.WA_DontShowOnScreen)
        self._stack.canvas.show()
        self._stack.set_rows(traces, look.scale)
        # The cursor is a state of the application and has no meaning in a figure.
        self._stack.cursor.hide()
        for curve in (self._stack.predicted, self._stack.baseline):
            # An empty path is invalid in SVG: hide curves without a finite value.
            _, drawn = curve.getData()
            curve.setVisible(bool(np.isfinite(drawn).any()))
        self._stack.canvas.scene().prepareForPaint()
        words = legend_words(
            state.baseline_name, is_large=look.is_large, spec=state.spec
        )
        pinned = pinned_words(state.pins, shown_answers(controller), pins.why_silent)
        words += f"<br>{pinned}" if pinned else ""
        self._legend = _document(words, plot_style.TEXT)
        # The caption is set as HTML. Names of files and neurons may contain & or <.
        lines = self._condition.replace("&", "&amp;").replace("<", "&lt;").splitlines()
        self._caption = _document("<br>".join(lines), plot_style.AXIS)
        self._height = height

    @property
    def size(self) -> QSize:
        """Width and height in screen pixels."""
        texts = self._legend.size().height() + self._caption.size().height()
        return QSize(WIDTH, round(self._height + texts + 2 * MARGIN))

    def png(self) -> bytes:
        """Return a PNG with twice the resolution of the screen."""
        image = QImage(self.size * SHARPNESS, QImage.Format.Format_RGB32)
        image.setDevicePixelRatio(SHARPNESS)
        _set_dots(image, self._stack.canvas.logicalDpiX())
        self._stack.draw_for_print(SHARPNESS)
        painter = QPainter(image)
        self._paint(painter)
        painter.end()
        # After painting, because the axes are laid out for the screen's resolution.
        _set_dots(image, SHARPNESS * self._stack.canvas.logicalDpiX())
        image.setText("Description", self._condition)
        image.setText("Software", "OmniMouse Studio")
        return _bytes(lambda buffer: image.save(buffer, "PNG"))

    def svg(self) -> bytes:
        """Return an SVG with lines and text."""

        def draw(buffer: QBuffer) -> None:
            generator = QSvgGenerator()
            generator.setOutputDevice(buffer)
            # The resolution of the screen, so that fonts have the same size as in the
            # panel.
            generator.setResolution(self._stack.canvas.logicalDpiX())
            generator.setSize(self.size)
            generator.setViewBox(QRectF(0, 0, self.size.width(), self.size.height()))
            generator.setTitle("Traces, OmniMouse Studio")
            generator.setDescription(self._condition)
            self._stack.draw_for_print(1.0)
            painter = QPainter(generator)
            self._paint(painter)
            painter.end()

        return _bytes(draw)

    def close(self) -> None:
        """Delete the canvas."""
        self._stack.canvas.close()
        self._stack.canvas.deleteLater()

    def _paint(self, painter: QPainter) -> None:
        size = self.size
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.fillRect(0, 0, size.width(), size.height(), QColor(plot_style.PAPER))
        painter.translate(MARGIN, MARGIN)
        self._legend.drawContents(painter)
        painter.translate(-MARGIN, self._legend.size().height())
        place = QRectF(0, 0, WIDTH, self._height)
        canvas = self._stack.canvas
        canvas.render(painter, place, canvas.viewport().rect())
        painter.translate(MARGIN, self._height)
        self._caption.drawContents(painter)


def _document(words: str, colour: str) -> QTextDocument:
    document = QTextDocument()
    document.setDocumentMargin(0)
    document.setDefaultFont(plot_style.small_font())
    document.setTextWidth(WIDTH - 2 * MARGIN)
    html = f"<div style='color:{colour}'>{words}</div>"
    document.setHtml(plot_style.on_paper(html))
    return document


def _set_dots(image: QImage, per_inch: int) -> None:
    # One inch is 0.0254 m.
    image.setDotsPerMeterX(round(per_inch / 0.0254))
    image.setDotsPerMeterY(round(per_inch / 0.0254))


def _bytes(write: Callable[[QBuffer], object]) -> bytes:
    """Return the bytes that `write` writes to a buffer."""
    held = QByteArray()
    buffer = QBuffer(held)
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    write(buffer)
    buffer.close()
    return bytes(held.data())
