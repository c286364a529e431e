"""Outline of the lasso: a widget over the canvas records the pointer and draws it."""

import numpy as np
from qtpy.QtCore import QCoreApplication, QEvent, QObject, QPointF, Qt
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QWidget

_COMPRESSION = Qt.ApplicationAttribute.AA_CompressHighFrequencyEvents
_EDGE, _LINE = QPen(QColor(0, 0, 0, 160), 3.5), QPen(QColor("white"), 1.5)


class LassoOutline(QWidget):
    """Transparent widget over the canvas that follows one drag of the pointer.

    It takes every movement from Qt. napari receives only some of them: VisPy drops
    those within 10 ms of another, and Qt replaces all that arrive while the window is
    busy by the last one. A fast drag would become a few straight lines.

    Parameters
    ----------
    canvas
        The canvas widget, which receives the pointer; it is also the Qt parent.
    start
        Position (x, y) of the press, in pixels of the canvas.
    """

    def __init__(self, canvas: QWidget, start: np.ndarray) -> None:
        super().__init__(canvas)
        self._canvas = canvas
        self._points = [QPointF(*map(float, start))]
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.resize(canvas.size())
        self.show()
        self._is_compressed = QCoreApplication.testAttribute(_COMPRESSION)
        QCoreApplication.setAttribute(_COMPRESSION, False)
        canvas.installEventFilter(self)

    @property
    def places(self) -> np.ndarray:
        """Recorded positions (n, 2) of the pointer: x and y in pixels of the canvas."""
        return np.array([(point.x(), point.y()) for point in self._points])

    def end(self) -> None:
        """Stop following the pointer, and disappear."""
        QCoreApplication.setAttribute(_COMPRESSION, self._is_compressed)
        self._canvas.removeEventFilter(self)
        self.hide()
        self.deleteLater()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Add a movement, and the release, to the outline; the canvas gets both."""
        kinds = (QEvent.Type.MouseMove, QEvent.Type.MouseButtonRelease)
        if isinstance(event, QMouseEvent) and event.type() in kinds:
            self._points.append(event.position())
            self.update()
        return False

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the outline, white with a dark edge."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for pen in (_EDGE, _LINE):
            painter.setPen(pen)
            painter.drawPolyline(QPolygonF(self._points))
        painter.end()
