"""Contents over time: the video with its frames, and the lanes of the recording."""

from collections.abc import Callable, Sequence
from functools import partial
from math import ceil, floor
from typing import Any, Final

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QRectF, QSize, Qt, QTimer, Signal
from qtpy.QtGui import QMouseEvent, QPainter, QPaintEvent
from qtpy.QtWidgets import QGraphicsRectItem, QSizePolicy, QVBoxLayout, QWidget

from omnimouse_widgets import palette
from omnimouse_widgets.qt.style import plot_style
from omnimouse_widgets.qt.style.controls import describe
from omnimouse_widgets.qt.style.plot_style import PlotCanvas
from omnimouse_widgets.qt.style.theme import colour_on
from omnimouse_widgets.views.record import Bar, Frames, Place, Timeline

TICK_MS: Final = 33
"""About 30 ticks per second, fast enough for smooth video on most screens."""


class VideoPlayer(QWidget):
    """Draws the frames of a record, and ticks while they play.

    Attributes
    ----------
    stroke_begun, stroke_ended
        Emitted around a stroke over frames, with the name of its undo step.
    """

    stroke_begun, stroke_ended = Signal(str), Signal()

    def __init__(self, item: Frames) -> None:
        super().__init__()
        self.shown = item
        self.canvas = plot_style.canvas(item.tip)
        self.canvas.setMinimumHeight(80)
        # Video rows run downwards; pixels of the stimulus are square.
        self.view = self.canvas.addViewBox(
            enableMenu=False, enableMouse=False, lockAspect=True, invertY=True
        )
        self.frame, self.border = plot_style.image(), QGraphicsRectItem()
        self.label = plot_style.text_item("", palette.RECORDED, anchor=(0.5, 1.0))
        self.label.fill = plot_style.brush(plot_style.BACKGROUND, 215)
        self.message = plot_style.Message(self.view)
        for part in (self.frame, self.border, self.label):
            self.view.addItem(part, ignoreBounds=True)
        self.strip = FrameStrip()
        self.strip.scrubbed.connect(lambda frame: self.shown.scrub(frame))
        self.strip.paint_began.connect(lambda: self.stroke_begun.emit(self.shown.stroke))
        self.strip.painted.connect(
            lambda first, last, is_visible: self.shown.paint(first, last + 1, is_visible)
        )
        self.strip.paint_ended.connect(self.stroke_ended)
        self._timer = QTimer(self)
        self._timer.setInterval(TICK_MS)
        self._timer.timeout.connect(self.tick)
        column = QVBoxLayout(self)
        # Qt calls a widget covered that its children fill, and nothing would be drawn.
        column.setContentsMargins(1, 1, 1, 1)
        column.setSpacing(4)
        column.addWidget(self.canvas, 1)
        column.addWidget(self.strip)

    def show_item(self, item: Frames) -> None:
        """Draw another frame, or another strip."""
        self.shown = item
        self.strip.show_frames(item)
        if (item.tick is not None) != self._timer.isActive():
            self._timer.stop() if item.tick is None else self._timer.start()
        self.message.show(item.missing)
        self.border.setVisible(not item.missing)
        self.label.setVisible(bool(item.note))
        if item.missing:
            self.frame.clear()
            return
        # Without levels, which would give each frame a table of colours.
        self.frame.setImage(item.pixels, autoLevels=False)
        height, width = item.pixels.shape
        # Fit only for another frame size: a new range makes Qt redraw the view.
        rect = QRectF(0, 0, width, height)
        if self.border.rect() != rect:
            self.border.setRect(rect)
            self.view.setRange(rect, padding=0.03)
            self.label.setPos(width / 2, height)
        self.border.setPen(plot_style.pen(item.colour, 3, dashed=bool(item.note)))
        # Hidden and invalid frames are dimmed, in addition to the dashed border.
        self.frame.setOpacity(0.45 if item.note else 1.0)
        self.label.setText(f" {item.note} ")

    def tick(self) -> None:
        """Move on to the frame that is due."""
        if self.shown.tick is not None:
            self.shown.tick()


class FrameStrip(QWidget):
    """Strip that draws the frames and reports scrubbing and painting."""

    scrubbed = Signal(int)
    paint_began = Signal()
    painted = Signal(int, int, bool)
    """First frame, last frame (inclusive), and whether they become visible."""
    paint_ended = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setCursor(Qt.CursorShape.SplitHCursor)
        self._frames = np.zeros(0, np.uint8)
        self._cursor = 0
        # During a stroke: the last painted frame, and whether the stroke shows frames.
        self._last: int | None = None
        self._shows: bool | None = None

    def sizeHint(self) -> QSize:
        """Return a low height; the layout stretches the width."""
        return QSize(200, 18)

    def show_frames(self, item: Frames) -> None:
        """Set which frames are visible, and the frame at the cursor."""
        frames, cursor = item.visible, item.at
        if len(frames) != len(self._frames):
            describe(self, item.strip_tip, item.strip_label)
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


LANE_HEIGHT = 0.9
"""Height of a lane in plot units, of which each lane has one."""


class Lanes:
    """Draws a timeline of a record, and the mark of its window.

    Parameters
    ----------
    pressed
        Called with the time of a press or drag.

    Attributes
    ----------
    bars, lines
        What is drawn in each lane, by its name.
    """

    def __init__(self, pressed: Callable[[float], object]) -> None:
        self.canvas: PlotCanvas = plot_style.canvas("")
        self.box = plot_style.PressBox(lambda x, _: pressed(x), follows_drag=True)
        axes = {"bottom": plot_style.SecondsAxis("bottom")}
        self.plot = pg.PlotItem(viewBox=self.box, axisItems=axes)
        self.canvas.addItem(self.plot)
        plot_style.style_plot(self.plot)
        self.plot.getAxis("left").setWidth(52)
        self.plot.getAxis("bottom").setHeight(20)
        self.bars: dict[str, LaneBars] = {}
        self.lines: dict[str, Any] = {}
        self._heights: dict[str, float] = {}
        self.marker = pg.LinearRegionItem(movable=False)
        self.moments = LaneBars(0.0, 3.0)
        self.place = plot_style.text_item("", plot_style.HELD_TEXT)
        self.place.fill = plot_style.brush(plot_style.BACKGROUND, 200)
        self.message = plot_style.Message(self.box)
        for item in (self.moments, self.marker, self.place):
            item.setZValue(10)
            self.box.addItem(item, ignoreBounds=True)

    def show(self, item: Timeline) -> None:
        """Draw the lanes of a session."""
        describe(self.canvas, item.tip, item.label)
        self.message.show(item.missing)
        for drawn in (*self.bars.values(), *self.lines.values()):
            self.box.removeItem(drawn)
        self.bars, self.lines, ticks = {}, {}, []
        # A lane without content takes no place.
        shown = [lane for lane in item.lanes if lane.bars or np.isfinite(lane.curve).any()]
        for number, lane in enumerate(reversed(shown)):
            self._heights[lane.name] = number
            if lane.bars:
                self.bars[lane.name] = bars = LaneBars(number)
                bars.set_bars(lane.bars)
                self.box.addItem(bars, ignoreBounds=True)
            else:
                self.lines[lane.name] = line = plot_style.curve(lane.colour)
                line.setData(item.time_s, number + LANE_HEIGHT * lane.curve)
                self.box.addItem(line, ignoreBounds=True)
            ticks.append((number + LANE_HEIGHT / 2, lane.name))
        for axis in ("left", "bottom"):
            self.plot.showAxis(axis, bool(item.lanes))
        self.plot.getAxis("left").setTicks([ticks])
        top = max(len(shown), 1)
        self.plot.setRange(xRange=item.extent_s, yRange=(-0.05, top), padding=0)

    def show_place(self, place: Place) -> None:
        """Mark the window, and moments of one lane."""
        self.marker.setVisible(place.span_s is not None)
        self.place.setVisible(place.span_s is not None)
        white = palette.RECORDED
        self.moments.set_bars([Bar(at, at, "", white, 1.0) for at in place.moments])
        if place.span_s is None:
            return
        self.moments.setPos(0.0, self._heights.get(place.lane, 0.0))
        self.marker.setBrush(plot_style.tint(place.colour, 70))
        for line in self.marker.lines:
            line.setPen(plot_style.pen(place.colour, 2))
        start, stop = place.span_s
        self.marker.setRegion((start, stop))
        self.place.setText(place.text)
        # Put the label on the side of the window with more space.
        is_left = start > sum(self.box.viewRange()[0]) / 2
        self.place.setAnchor((1.0 if is_left else 0.0, 1.0))
        self.place.setPos(start if is_left else stop, 0.0)


class LaneBars(pg.GraphicsObject):  # type: ignore[misc]  # pyqtgraph is untyped
    """Bars of one lane, with letters on sufficiently wide bars.

    Parameters
    ----------
    low
        Lower edge of the lane in plot units.
    least_width
        Minimum width of a bar in pixels: a trial of a long session is narrower than a
        pixel, and a moment has no duration.
    """

    def __init__(self, low: float, least_width: float = 1.0) -> None:
        super().__init__()
        self._low, self._least_width = low, least_width
        self.bars: Sequence[Bar] = []

    def set_bars(self, bars: Sequence[Bar]) -> None:
        """Replace the bars."""
        # Moments are set after every move of the window: repaint only after a change.
        if bars != self.bars:
            self.bars = bars
            self.prepareGeometryChange()
            self.update()

    def boundingRect(self) -> QRectF:
        """Return the lane's rectangle in plot coordinates."""
        # 1 s wider than the last bar, which has a minimum width in pixels.
        stop = max((bar.stop_s for bar in self.bars), default=0.0) + 1.0
        return QRectF(0, self._low, stop, LANE_HEIGHT)

    def paint(self, painter: QPainter, *_args: object) -> None:
        """Paint in device pixels: bars stay visible and letters keep their size."""
        to_device = painter.transform()
        painter.resetTransform()
        painter.setFont(plot_style.small_font(bold=True))
        painter.setPen(plot_style.pen("#101114"))
        for bar in self.bars:
            rect = to_device.mapRect(
                QRectF(bar.start_s, self._low, bar.stop_s - bar.start_s, LANE_HEIGHT * bar.share)
            )
            # To whole pixels, outwards: a gap narrower than a pixel would be drawn or not,
            # by the width of the window, and on a white ground look like a mark.
            left, right = floor(rect.left()), ceil(rect.right())
            rect = QRectF(left, rect.top(), max(right - left, self._least_width), rect.height())
            painter.fillRect(rect, plot_style.brush(bar.colour))
            if bar.letter and rect.width() > 9:
                painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, bar.letter)
