"""The stimulus scrub bar: 60 frames, which of them the model sees, and the cursor."""

import numpy as np
from qtpy.QtCore import QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent
from qtpy.QtWidgets import QSizePolicy, QWidget

from omnimouse_model.masks import N_FRAMES
from omnimouse_widgets import palette
from omnimouse_widgets.qt.style import plot_style

TOOLTIP = (
    "The 60 frames of the window: filled = given to the model, hollow = hidden.\n"
    "Drag: move the cursor · Shift+drag: give or hide frames (the first decides)"
)


class FrameStrip(QWidget):
    """Draws the frames it was last told of; reports scrubbing and painting."""

    scrubbed = Signal(int)
    paint_began = Signal()
    painted = Signal(int, int, bool)
    """First and last frame, and whether they become visible."""
    paint_ended = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setToolTip(TOOLTIP)
        self.setAccessibleName("Frames of the window")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setCursor(Qt.CursorShape.SplitHCursor)
        self._frames = np.zeros(N_FRAMES, bool)
        self._cursor = 0
        self._last: int | None = None
        self._shows: bool | None = None

    def sizeHint(self) -> QSize:
        """One slim line."""
        return QSize(200, 18)

    def show_frames(self, frames: np.ndarray, cursor: int) -> None:
        """Draw these."""
        if cursor != self._cursor or not np.array_equal(frames, self._frames):
            self._frames, self._cursor = frames, cursor
            self.update()

    def frame_at(self, x: float) -> int:
        """Frame under a horizontal position."""
        return int(min(max(x / max(self.width(), 1) * N_FRAMES, 0), N_FRAMES - 1))

    def paintEvent(self, _: QPaintEvent | None) -> None:
        """Bars from state: tall and filled if visible, low and hollow if hidden."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(plot_style.BACKGROUND))
        step, height = self.width() / N_FRAMES, self.height()
        for frame, is_visible in enumerate(self._frames):
            x = frame * step
            if is_visible:
                bar = QRectF(x + 0.5, 4, step - 1, height - 8)
                painter.fillRect(bar, QColor(palette.VISIBLE))
            else:
                bar = QRectF(x + 0.5, height / 2 - 1, step - 1, 2)
                painter.fillRect(bar, QColor(plot_style.AXIS))
        at = (self._cursor + 0.5) * step
        painter.fillRect(QRectF(at - 1, 0, 2, height), QColor(palette.CURSOR))
        painter.end()

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Scrub, or with Shift begin to give or hide frames."""
        assert event is not None
        if event.button() != Qt.MouseButton.LeftButton:
            return
        frame = self.frame_at(event.position().x())
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            self._last, self._shows = frame, not bool(self._frames[frame])
            self.paint_began.emit()
            self.painted.emit(frame, frame, self._shows)
        else:
            self.scrubbed.emit(frame)

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        """Go on."""
        assert event is not None
        if not event.buttons() & Qt.MouseButton.LeftButton:
            return
        frame = self.frame_at(event.position().x())
        if self._last is None or self._shows is None:
            self.scrubbed.emit(frame)
        elif frame != self._last:
            first, last = sorted((self._last, frame))
            self._last = frame
            self.painted.emit(first, last, self._shows)

    def mouseReleaseEvent(self, _: QMouseEvent | None) -> None:
        """End a stroke over frames."""
        if self._last is not None:
            self._last = self._shows = None
            self.paint_ended.emit()
