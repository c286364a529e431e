"""Timeline of a session: lanes of bars and curves, with the window marked."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QRectF, Qt
from qtpy.QtGui import QPainter

from omnimouse_widgets import palette
from omnimouse_widgets.qt.style import plot_style
from omnimouse_widgets.qt.style.controls import describe
from omnimouse_widgets.qt.style.plot_theme import PlotCanvas
from omnimouse_widgets.views.record import Bar, Place, Timeline

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
        for number, lane in enumerate(reversed(item.lanes)):
            self._heights[lane.name] = number
            has_curve = bool(np.isfinite(lane.curve).any())
            if lane.bars:
                self.bars[lane.name] = bars = LaneBars(number)
                bars.set_bars(lane.bars)
                self.box.addItem(bars, ignoreBounds=True)
            elif has_curve:
                self.lines[lane.name] = line = plot_style.curve(lane.colour)
                line.setData(item.time_s, number + LANE_HEIGHT * lane.curve)
                self.box.addItem(line, ignoreBounds=True)
            if lane.bars or has_curve:
                ticks.append((number + LANE_HEIGHT / 2, lane.name))
        for axis in ("left", "bottom"):
            self.plot.showAxis(axis, bool(item.lanes))
        self.plot.getAxis("left").setTicks([ticks])
        top = max(len(item.lanes), 1)
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
            rect.setWidth(max(rect.width(), self._least_width))
            painter.fillRect(rect, plot_style.brush(bar.colour))
            if bar.letter and rect.width() > 9:
                painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, bar.letter)
