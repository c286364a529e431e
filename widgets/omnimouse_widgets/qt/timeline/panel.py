"""Session timeline: stimuli, trials, pupil, running and population activity."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QRectF, QSignalBlocker, Qt
from qtpy.QtGui import QPainter
from qtpy.QtWidgets import QHBoxLayout, QSpinBox, QVBoxLayout, QWidget

from omnimouse_model.data.overview import Overview
from omnimouse_model.live.controller import Controller
from omnimouse_widgets import palette
from omnimouse_widgets.qt.style import plot_style, shortcuts
from omnimouse_widgets.qt.style.controls import number_box, tool_button
from omnimouse_widgets.qt.style.form import row_of
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.theme import wrapped_label
from omnimouse_widgets.views.record import NO_SESSION
from omnimouse_widgets.views.time import (
    LANE_HEIGHT,
    LANES,
    LINE_COLOURS,
    N_BINS,
    TRIAL_TIP,
    KindBar,
    TierBar,
    in_unit,
    kind_bars,
    letters_in,
    place_text,
    step_text,
    tier_bars,
    tooltip,
)

# napari's style sheet reserves space for buttons on both sides.
PLAIN_BOX = "QSpinBox { min-width: 100px; padding: 1px 4px; }"


class TimePanel(QWidget):
    """Strip over the whole session with the current window marked.

    Parameters
    ----------
    controller
        Source of `state`, and receiver of the moves made here.
    """

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self.setObjectName("omnimouse-time")
        self._controller = controller
        self._tiers: list[TierBar] = []
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.canvas = plot_style.canvas(tooltip(controller.state.spec))
        self.canvas.setMinimumHeight(84)
        self.box = plot_style.PressBox(lambda x, _: self._go(x), follows_drag=True)
        axes = {"bottom": plot_style.SecondsAxis("bottom")}
        self.plot = pg.PlotItem(viewBox=self.box, axisItems=axes)
        self.canvas.addItem(self.plot)
        self.bars, self.kinds, self.repeats = _Bars(3.0), _Bars(4.0), _Bars(4.0, 3.0)
        self.lines = {name: plot_style.curve(c) for name, c in LINE_COLOURS.items()}
        self.marker = pg.LinearRegionItem(movable=False)
        self.place = plot_style.text_item("", plot_style.HELD_TEXT)
        self.place.fill = plot_style.brush(plot_style.BACKGROUND, 200)
        self.message = plot_style.Message(self.box)
        self._build_plot()
        self._build_steps()
        row = QHBoxLayout(self)
        row.setContentsMargins(4, 4, 4, 4)
        row.addWidget(self.canvas, 1)
        row.addLayout(self._steps)
        self._bind_keys()
        events = controller.state.events
        window = [events.window, events.session]
        self.redraw = Redraw(
            self,
            (self._draw_session, [events.session]),
            (self._draw_window, window),
            (self._draw_trial, [*window, controller.navigation.trial_changed]),
        )

    def _build_steps(self) -> None:
        """Build the trial box and the window step buttons beside the strip."""
        navigation = self._controller.navigation
        self.trial = number_box(
            QSpinBox,
            lambda: navigation.go_to_trial(self.trial.value() - 1),
            tooltip=TRIAL_TIP,
            name="Trial",
            has_arrows=False,
        )
        self.trial.setPrefix("trial ")
        self.trial.setStyleSheet(PLAIN_BOX)
        self.back = tool_button("", "Previous window (←)", partial(self._step, -1))
        self.next = tool_button("", "Next window (→)", partial(self._step, 1))
        self._name_steps()
        self._steps = QVBoxLayout()
        self._steps.setSpacing(2)
        self._steps.addWidget(self.trial)
        self._steps.addLayout(row_of(self.back, self.next))
        # Legend of the letters on the bars.
        self.tiers = wrapped_label()
        self.tiers.setFont(plot_style.small_font())
        self._steps.addWidget(self.tiers)
        self._steps.addStretch(1)

    def _name_steps(self) -> None:
        """Name the step of the window, which depends on its spec."""
        spec = self._controller.state.spec
        step = step_text(spec)
        self.back.setText(f"◂ {step}")
        self.next.setText(f"{step} ▸")
        self.canvas.setToolTip(tooltip(spec))

    def _build_plot(self) -> None:
        plot_style.style_plot(self.plot)
        self.plot.getAxis("left").setWidth(52)
        self.plot.getAxis("bottom").setHeight(20)
        self.marker.setBrush(plot_style.tint(palette.CURSOR, 70))
        for line in self.marker.lines:
            line.setPen(plot_style.pen(palette.CURSOR, 2))
        items = (self.bars, self.kinds, self.repeats, *self.lines.values(), self.marker,
                 self.place)  # fmt: skip
        for depth, item in enumerate(items):
            item.setZValue(depth)
            self.box.addItem(item, ignoreBounds=True)

    def _bind_keys(self) -> None:
        shortcuts.bind_keys(self, self._controller)
        steps = {"Left": -1, "Right": 1, "Shift+Left": -10, "Shift+Right": 10}
        for key, step in steps.items():
            shortcuts.bind(self, key, partial(self._step, step))

    # -- what the user does -----------------------------------------------------------
    def _step(self, windows: int) -> None:
        if self._controller.state.window is not None:
            self._controller.navigation.step_window(windows)

    def _go(self, time_s: float) -> None:
        """Centre the window on a time in seconds."""
        # A click on the plot gives the focus to the panel, so that its arrow keys work.
        self.setFocus()
        if self._controller.state.session is not None:
            self._controller.navigation.centre_on(time_s)

    # -- from state to screen -----------------------------------------------------
    def _overview(self) -> Overview | None:
        session = self._controller.state.session
        return None if session is None else session.overview(N_BINS)

    def _draw_session(self) -> None:
        overview = self._overview()
        self.message.show("" if overview is not None else NO_SESSION)
        for axis in ("left", "bottom"):
            self.plot.showAxis(axis, overview is not None)
        if overview is None:
            self.bars.set_bars([])
            self.tiers.setText("")
            self.kinds.set_bars([])
            for line in self.lines.values():
                line.setData([], [])
            return
        self._tiers = tier_bars(overview)
        self.bars.set_bars(self._tiers)
        self.tiers.setText(letters_in(self._tiers))
        self.kinds.set_bars(kind_bars(overview) if overview.has_trials else [])
        values = {
            "pupil": overview.pupil_size,
            "running": overview.running,
            "activity": overview.population,
        }
        # Without trials, the bars show the tiers of time spans.
        names = {} if overview.has_trials else {"trials": "tiers"}
        ticks = [
            (low + height / 2, names.get(name, name))
            for name, low, height in LANES
            if name not in values or np.isfinite(values[name]).any()
            if name != "stimulus" or overview.has_trials
        ]
        self.plot.getAxis("left").setTicks([ticks])
        # The first two lanes, stimulus and trials, are bars.
        for name, low, height in LANES[2:]:
            heights = low + height * in_unit(values[name])
            self.lines[name].setData(overview.centers_s, heights)
        extent = overview.edges_s[0], overview.edges_s[-1]
        self.plot.setRange(xRange=extent, yRange=(-0.05, 5.0), padding=0)

    def _draw_window(self) -> None:
        window = self._controller.state.window
        self.marker.setVisible(window is not None)
        self.place.setVisible(window is not None)
        if window is None:
            return
        self._name_steps()
        start, stop = window.start_s, window.stop_s
        self.marker.setRegion((start, stop))
        self.place.setText(place_text(window, self._tiers))
        # Put the label on the side of the window with more space.
        is_left = start > sum(self.box.viewRange()[0]) / 2
        self.place.setAnchor((1.0 if is_left else 0.0, 1.0))
        self.place.setPos(start if is_left else stop, 0.0)

    def _draw_trial(self) -> None:
        navigation, clip = self._controller.navigation, self._controller.repeats.clip
        session = self._controller.state.session
        for widget in (self.trial, self.back, self.next):
            widget.setEnabled(session is not None)
        self.trial.setVisible(navigation.n_trials > 0)
        # `setRange` and `setValue` would otherwise move the window.
        with QSignalBlocker(self.trial):
            number = 0 if navigation.trial is None else 1 + navigation.trial
            # Qt shows the special value text at the minimum: 0 stands for no trial and
            # is in the range only then.
            self.trial.setRange(min(number, 1), max(navigation.n_trials, 1))
            self.trial.setSuffix(f" / {navigation.n_trials}")
            self.trial.setSpecialValueText("" if number else f"trial – / {navigation.n_trials}")
            self.trial.setValue(number)
        repeats = () if clip is None or session is None else clip.trials
        starts = [] if session is None else session.trials.t_on[list(repeats)].tolist()
        self.repeats.set_bars([_Mark(start, start) for start in starts])


@dataclass(frozen=True, slots=True)
class _Mark:
    """White mark at a time in seconds, on top of the bars of a lane."""

    start_s: float
    stop_s: float
    colour: str = palette.RECORDED
    height: float = 1.0
    letter: str = ""


class _Bars(pg.GraphicsObject):  # type: ignore[misc]  # pyqtgraph is untyped
    """Bars of one lane, with letters on sufficiently wide bars.

    Parameters
    ----------
    low
        Lower edge of the lane in plot units.
    least_width
        Minimum width of a bar in pixels: a trial of a long session is narrower than a
        pixel, and a mark has no duration.
    """

    def __init__(self, low: float, least_width: float = 1.0) -> None:
        super().__init__()
        self._low, self._least_width = low, least_width
        self.bars: Sequence[TierBar | KindBar | _Mark] = []

    def set_bars(self, bars: Sequence[TierBar | KindBar | _Mark]) -> None:
        """Replace the bars."""
        # Marks are set after every move of the window: repaint only after a change.
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
        low, height = self._low, LANE_HEIGHT
        for bar in self.bars:
            rect = to_device.mapRect(
                QRectF(bar.start_s, low, bar.stop_s - bar.start_s, height * bar.height)
            )
            rect.setWidth(max(rect.width(), self._least_width))
            painter.fillRect(rect, plot_style.brush(bar.colour))
            if bar.letter and rect.width() > 9:
                painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, bar.letter)
