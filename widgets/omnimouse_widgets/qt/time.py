"""The whole session in one strip: trials, running, pupil, activity; click to go."""

from functools import partial
from typing import Final

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QRectF, Qt
from qtpy.QtGui import QPainter
from qtpy.QtWidgets import QVBoxLayout, QWidget

from omnimouse_model.data.overview import Overview
from omnimouse_model.live.answering import WINDOW_S
from omnimouse_model.live.controller import Controller
from omnimouse_widgets import palette
from omnimouse_widgets.qt import keys, plots
from omnimouse_widgets.qt.redraw import Redraw
from omnimouse_widgets.qt.tier_band import TierBar, tier_at, tier_bars

TOOLTIP = (
    "The whole session. Click or drag: move the window · ← →: step it by 2 s · "
    "Shift+← →: by 20 s\nBars: trials by tier, T test, V validation, O oracle, "
    "low grey: train"
)
N_BINS: Final = 1000
LANES: Final = (
    ("trials", 3.0, 0.9),
    ("pupil", 2.0, 0.9),
    ("running", 1.0, 0.9),
    ("activity", 0.0, 0.9),
)
LINE_COLOURS: Final = {"pupil": "#B8A1D9", "running": "#8FC7A6", "activity": "#C9CDD3"}


class TimePanel(QWidget):
    """A thin strip over the whole session with the window marked on it.

    Parameters
    ----------
    controller
        The verbs; the panel only reads its `state`.
    """

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self.setObjectName("omnimouse-time")
        self._controller = controller
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.canvas = plots.canvas(TOOLTIP)
        self.canvas.setMinimumHeight(84)
        self.box = plots.ScrubBox(self._go)
        axes = {"bottom": plots.SecondsAxis("bottom")}
        self.plot = pg.PlotItem(viewBox=self.box, axisItems=axes)
        self.canvas.addItem(self.plot)
        self.bars = _Bars()
        self.lines = {name: pg.PlotCurveItem(connect="finite") for name in LINE_COLOURS}
        self.marker = pg.LinearRegionItem(movable=False)
        self.place = plots.text("", plots.HELD_TEXT)
        self.place.fill = plots.brush(plots.BACKGROUND, 200)
        self.message = plots.Message(self.box)
        self._build_plot()
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 4, 4, 4)
        column.addWidget(self.canvas)
        self._bind_keys()
        events = controller.state.events
        self.redraw = Redraw(
            self,
            [
                (self._draw_session, [events.session]),
                (self._draw_window, [events.window, events.session]),
            ],
        )

    def _build_plot(self) -> None:
        plots.style_plot(self.plot)
        self.plot.getAxis("left").setWidth(52)
        self.plot.getAxis("bottom").setHeight(20)
        self.marker.setBrush(plots.tint(palette.CURSOR, 70))
        for line in self.marker.lines:
            line.setPen(plots.pen(palette.CURSOR, 2))
        for name, line in self.lines.items():
            line.setPen(plots.pen(LINE_COLOURS[name]))
        items = (self.bars, *self.lines.values(), self.marker, self.place)
        for depth, item in enumerate(items):
            item.setZValue(depth)
            self.box.addItem(item, ignoreBounds=True)

    def _bind_keys(self) -> None:
        keys.bind_keys(self, self._controller)
        steps = {"Left": -1, "Right": 1, "Shift+Left": -10, "Shift+Right": 10}
        for key, step in steps.items():
            keys.bind(self, key, partial(self._step, step))

    # -- what the user does -----------------------------------------------------------
    def _step(self, windows: int) -> None:
        if self._controller.state.window is not None:
            self._controller.step_window(windows)

    def _go(self, time_s: float) -> None:
        """Bring the window's middle to a time."""
        self.setFocus()
        if self._controller.state.session is not None:
            self._controller.seek(time_s - WINDOW_S / 2)

    # -- from state to screen -----------------------------------------------------
    def _overview(self) -> Overview | None:
        session = self._controller.state.session
        return None if session is None else session.overview(N_BINS)

    def _draw_session(self) -> None:
        overview = self._overview()
        self.message.show("" if overview is not None else "No session is open")
        for axis in ("left", "bottom"):
            self.plot.showAxis(axis, overview is not None)
        if overview is None:
            self.bars.set_bars([])
            for line in self.lines.values():
                line.setData([], [])
            return
        self.bars.set_bars(tier_bars(overview))
        values = {
            "pupil": overview.pupil_size,
            "running": overview.running,
            "activity": overview.population,
        }
        names = {} if overview.has_trials else {"trials": "tiers"}
        ticks = [
            (low + height / 2, names.get(name, name))
            for name, low, height in LANES
            if name not in values or np.isfinite(values[name]).any()
        ]
        self.plot.getAxis("left").setTicks([ticks])
        for name, low, height in LANES[1:]:
            drawn = low + height * in_unit(values[name])
            self.lines[name].setData(overview.centers_s, drawn)
        self.plot.setRange(
            xRange=(overview.edges_s[0], overview.edges_s[-1]),
            yRange=(-0.05, 4.0),
            padding=0,
        )

    def _draw_window(self) -> None:
        window = self._controller.state.window
        self.marker.setVisible(window is not None)
        self.place.setVisible(window is not None)
        if window is None:
            return
        start = window.start_s
        self.marker.setRegion((start, start + WINDOW_S))
        tier = tier_at(self.bars.bars, start + WINDOW_S / 2)
        overview = self._overview()
        if not tier and overview is not None and overview.has_trials:
            tier = "between trials"
        self.place.setText(f"{start:.1f} s · {tier}" if tier else f"{start:.1f} s")
        # Beside the window, on the side with more room.
        is_left = start > sum(self.box.viewRange()[0]) / 2
        self.place.setAnchor((1.0 if is_left else 0.0, 1.0))
        self.place.setPos(start if is_left else start + WINDOW_S, 0.0)


class _Bars(pg.GraphicsObject):  # type: ignore[misc]  # pyqtgraph is untyped
    """The trials' bars, letters on those wide enough."""

    def __init__(self) -> None:
        super().__init__()
        self.bars: list[TierBar] = []

    def set_bars(self, bars: list[TierBar]) -> None:
        """Replace them."""
        self.bars = bars
        self.prepareGeometryChange()
        self.update()

    def boundingRect(self) -> QRectF:
        """The lane of the trials."""
        _, low, height = LANES[0]
        stop = self.bars[-1].stop_s if self.bars else 0.0
        return QRectF(0, low, stop, height)

    def paint(self, painter: QPainter, *_args: object) -> None:
        """Bars in device pixels: none is too thin to be seen, letters keep size."""
        to_device = painter.transform()
        painter.resetTransform()
        painter.setFont(plots.small_font(bold=True))
        painter.setPen(plots.pen("#101114"))
        _, low, height = LANES[0]
        for bar in self.bars:
            rect = to_device.mapRect(
                QRectF(bar.start_s, low, bar.stop_s - bar.start_s, height * bar.height)
            )
            rect.setWidth(max(rect.width(), 1.0))
            painter.fillRect(rect, plots.brush(bar.colour))
            if bar.letter and rect.width() > 9:
                painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, bar.letter)


def in_unit(values: np.ndarray) -> np.ndarray:
    """Values between their 1st and 99.5th percentile as 0 to 1; NaN stays."""
    known = values[np.isfinite(values)]
    if not known.size:
        return values
    low, high = np.percentile(known, (1, 99.5))
    scaled: np.ndarray = np.clip((values - low) / max(high - low, 1e-9), 0, 1)
    return scaled
