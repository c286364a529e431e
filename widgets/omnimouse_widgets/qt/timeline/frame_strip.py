"""Strip of the frames of the window: visible frames of the mask, and cursor."""

from functools import partial

import numpy as np
from qtpy.QtCore import QRectF, QSize, Qt, Signal
from qtpy.QtGui import QMouseEvent, QPainter, QPaintEvent
from qtpy.QtWidgets import QSizePolicy, QWidget

from omnimouse_widgets import palette
from omnimouse_widgets.qt.style import plot_style
from omnimouse_widgets.qt.style.plot_theme import colour_on
from omnimouse_widgets.views.stimulus import STRIP_TIP


class FrameStrip(QWidget):
    """Strip that draws the frames and reports scrubbing and painting."""

    scrubbed = Signal(int)
    paint_began = Signal()
    painted = Signal(int, int, bool)
    """First frame, last frame (inclusive), and whether they become visible."""
    paint_ended = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName("Frames of the window")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setCursor(Qt.CursorShape.SplitHCursor)
        self._frames = np.zeros(0, bool)
        self._cursor = 0
        # During a stroke: the last painted frame, and whether the stroke shows frames.
        self._last: int | None = None
        self._shows: bool | None = None

    def sizeHint(self) -> QSize:
        """Return a low height; the layout stretches the width."""
        return QSize(200, 18)

    def show_frames(self, frames: np.ndarray, cursor: int) -> None:
        """Set bool (n_frames,) visible frames and the frame at the cursor."""
        if len(frames) != len(self._frames):
            self.setToolTip(STRIP_TIP.format(len(frames)))
        self.setVisible(len(frames) > 0)
        # Repaint after a change only: playback calls this for every frame.
        if cursor != self._cursor or not np.array_equal(frames, self._frames):
            self._frames, self._cursor = frames, cursor
            self.update()

    def frame_at(self, x: float) -> int:
        """Return the frame at a horizontal position, limited to those of the window."""
        count = len(self._frames)
        return int(min(max(x / max(self.width(), 1) * count, 0), count - 1))

    def paintEvent(self, _: QPaintEvent | None) -> None:
        """Paint the frames (tall bar visible, low bar hidden) and the cursor."""
        painter = QPainter(self)
        colour = partial(colour_on, self)
        painter.fillRect(self.rect(), colour(plot_style.BACKGROUND))
        step, height = self.width() / max(len(self._frames), 1), self.height()
        for frame, is_visible in enumerate(self._frames):
            x = frame * step
            if is_visible:
                bar = QRectF(x + 0.5, 4, step - 1, height - 8)
                painter.fillRect(bar, colour(palette.VISIBLE))
            else:
                bar = QRectF(x + 0.5, height / 2 - 1, step - 1, 2)
                painter.fillRect(bar, colour(plot_style.AXIS))
        # The cursor stands in the middle of its frame.
        at = (self._cursor + 0.5) * step
        painter.fillRect(QRectF(at - 1, 0, 2, height), colour(palette.CURSOR))
        painter.end()

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Move the cursor; with Shift, begin to show or hide frames."""
        assert event is not None
        if event.button() != Qt.MouseButton.LeftButton:
            return
        frame = self.frame_at(event.position().x())
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            # The first frame determines the stroke: it inverts that frame, and all
            # others get the same value.
            self._last, self._shows = frame, not bool(self._frames[frame])
            self.paint_began.emit()
            self.painted.emit(frame, frame, self._shows)
        else:
            self.scrubbed.emit(frame)

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        """Continue to scrub or to paint."""
        assert event is not None
        if not event.buttons() & Qt.MouseButton.LeftButton:
            return
        frame = self.frame_at(event.position().x())
        # No stroke has begun, so this is a drag of the cursor.
        if self._last is None or self._shows is None:
            self.scrubbed.emit(frame)
        elif frame != self._last:
            # A fast pointer skips frames: paint all of them up to the last position.
            first, last = sorted((self._last, frame))
            self._last = frame
            self.painted.emit(first, last, self._shows)

    def mouseReleaseEvent(self, _: QMouseEvent | None) -> None:
        """End a stroke over frames."""
        if self._last is not None:
            self._last = self._shows = None
            self.paint_ended.emit()
