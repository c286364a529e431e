"""Stimulus panel: video frame at the cursor, visible frames, and playback."""

from functools import partial

import numpy as np
from qtpy.QtCore import QRectF
from qtpy.QtGui import QAction, QActionGroup, QHideEvent
from qtpy.QtWidgets import QGraphicsRectItem, QLabel, QMenu, QToolButton, QWidget

from omnimouse_model.live.controller import Controller
from omnimouse_widgets import palette
from omnimouse_widgets.qt.style import plot_style, shortcuts
from omnimouse_widgets.qt.style.controls import combo_box, tool_button
from omnimouse_widgets.qt.style.form import column_in, row_of
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.timeline.frame_strip import FrameStrip
from omnimouse_widgets.qt.timeline.playback import Playback
from omnimouse_widgets.views.record import NO_SESSION
from omnimouse_widgets.views.stimulus import SPEEDS, stride_text, strides
from omnimouse_widgets.views.text.model import NO_VIDEO
from omnimouse_widgets.views.time import frame_at_sample, sample_at_frame

TOOLTIP = "The video frame at the cursor. Dashed border: hidden from the model."


class StimulusPanel(QWidget):
    """Video frame, strip of the window's frames, playback and single steps.

    Parameters
    ----------
    controller
        Source of `state`, and receiver of the user actions.

    Attributes
    ----------
    playback
        The playback of the application; play keys of other views use it, too.
    """

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self.setObjectName("omnimouse-stimulus")
        self._controller = controller
        self.playback = Playback(controller, self)
        self._build_picture()
        self._build_bar()
        self._lay_out()
        shortcuts.bind_keys(self, controller)
        shortcuts.bind(self, "K", self.playback.toggle)
        events = controller.state.events
        self.redraw = Redraw(
            self,
            (self._draw_frame, [events.window, events.cursor, events.mask]),
            (self._draw_strip, [events.mask, events.window, events.cursor]),
            (self._draw_clock, [events.window, events.cursor]),
            (self._draw_strides, [events.window]),
        )
        self.playback.changed.connect(self._draw_play)
        self._draw_play()

    # -- building -----------------------------------------------------------------
    def _build_picture(self) -> None:
        self.canvas = plot_style.canvas(TOOLTIP)
        self.canvas.setMinimumHeight(80)
        # Video rows run downwards; pixels of the stimulus are square.
        self.view = self.canvas.addViewBox(
            enableMenu=False, enableMouse=False, lockAspect=True, invertY=True
        )
        self.frame = plot_style.image()
        self.border = QGraphicsRectItem()
        self.label = plot_style.text_item("", palette.RECORDED, anchor=(0.5, 1.0))
        self.label.fill = plot_style.brush(plot_style.BACKGROUND, 215)
        self.message = plot_style.Message(self.view)
        for item in (self.frame, self.border, self.label):
            self.view.addItem(item, ignoreBounds=True)

    def _build_bar(self) -> None:
        self.strip = FrameStrip()
        self.strip.scrubbed.connect(self._scrubbed)
        self.strip.paint_began.connect(lambda: self._controller.editor.begin_stroke("Paint frames"))
        self.strip.painted.connect(self._paint_frames)
        self.strip.paint_ended.connect(self._controller.editor.end_stroke)
        step = self._controller.navigation.step_cursor
        self.back = tool_button("‹", "Previous frame (,)", partial(step, -1))
        self.play = tool_button("▶", "", self.playback.toggle)
        self.next = tool_button("›", "Next frame (.)", partial(step, 1))
        for button in (self.back, self.next):
            button.setMinimumWidth(26)
        self.play.setMinimumWidth(40)  # includes the arrow of its menu
        self._build_strides()
        self.speed = combo_box(
            partial(setattr, self.playback, "speed"),
            [(f"×{speed:g}", speed) for speed in SPEEDS],
            tooltip="Session seconds per second",
        )
        self.clock = QLabel()
        self.clock.setToolTip("Session time and frame at the cursor")

    def _build_strides(self) -> None:
        """Build the menu of window steps at the play button."""
        spec = self._controller.state.spec
        self._strides_of = spec
        menu = QMenu(self)
        group = QActionGroup(menu)
        self.strides: dict[int, QAction] = {}
        for stride in strides(spec):
            action = QAction(stride_text(stride, spec), group)
            action.setCheckable(True)
            action.triggered.connect(partial(setattr, self.playback, "stride", stride))
            menu.addAction(action)
            self.strides[stride] = action
        self.play.setMenu(menu)
        self.play.setPopupMode(QToolButton.ToolButtonPopupMode.MenuButtonPopup)

    def _lay_out(self) -> None:
        bar = row_of(self.back, self.play, self.next, self.speed, spacing=4)
        bar.addStretch(1)
        bar.addWidget(self.clock)
        column_in(self, self.canvas, self.strip, bar, stretch=0)

    # -- what the user does -----------------------------------------------------------
    def hideEvent(self, event: QHideEvent | None) -> None:
        """Pause playback when the panel is hidden."""
        # Playback moves the window, and every move requests a prediction.
        self.playback.pause()
        super().hideEvent(event)

    def _scrubbed(self, frame: int) -> None:
        spec = self._controller.state.spec
        self._controller.navigation.set_cursor(sample_at_frame(spec, frame))

    def _paint_frames(self, first: int, last: int, visible: bool) -> None:
        mask = self._controller.state.mask
        if mask is not None:
            # Masks are immutable values; the controller makes a new one.
            frames = mask.frames.copy()
            frames[first : last + 1] = visible
            self._controller.editor.set_frames(frames)

    # -- from state to screen -----------------------------------------------------
    def _draw_frame(self) -> None:
        state = self._controller.state
        if state.window is None or state.mask is None:
            self._show_nothing(NO_SESSION)
            return
        if state.spec.video is None:
            self._show_nothing(NO_VIDEO)
            return
        if state.session is not None and state.session.stimulus is None:
            self._show_nothing("This session has no video")
            return
        self.message.show("")
        self.border.show()
        at = frame_at_sample(state.spec, state.cursor)
        frame = state.window.frames_u8[at]
        self.frame.setImage(frame, autoLevels=False, levels=(0, 255))
        self._fit(*frame.shape)
        if not state.window.valid["video"][at]:
            self._label_frame("no valid frame here", palette.PROBLEM, dashed=True)
        elif state.mask.frames[at]:
            self._label_frame("", palette.VISIBLE, dashed=False)
        else:
            self._label_frame("hidden from the model", plot_style.AXIS, dashed=True)

    def _show_nothing(self, why: str) -> None:
        self.frame.clear()
        self.border.hide()
        self.label.hide()
        self.message.show(why)

    def _fit(self, height: int, width: int) -> None:
        # Fit only for another frame size: a new range makes Qt redraw the view.
        rect = QRectF(0, 0, width, height)
        if self.border.rect() != rect:
            self.border.setRect(rect)
            self.view.setRange(rect, padding=0.03)
            self.label.setPos(width / 2, height)

    def _label_frame(self, text: str, colour: str, *, dashed: bool) -> None:
        self.border.setPen(plot_style.pen(colour, 3, dashed=dashed))
        # Hidden and invalid frames are dimmed, in addition to the dashed border.
        self.frame.setOpacity(0.45 if dashed else 1.0)
        self.label.setText(f" {text} " if text else "")
        self.label.setVisible(bool(text))

    def _draw_strip(self) -> None:
        state = self._controller.state
        mask, spec = state.mask, state.spec
        frames = np.zeros(spec.n_frames, bool) if mask is None else mask.frames
        self.strip.show_frames(frames, frame_at_sample(spec, state.cursor))

    def _draw_clock(self) -> None:
        state = self._controller.state
        if state.window is None:
            self.clock.setText("")
            return
        at = float(state.window.timestamps["responses"][state.cursor])
        # The cursor counts samples, which are frames where both have one rate.
        word = "frame" if state.spec.n_frames == state.spec.n_samples else "sample"
        self.clock.setText(f"{at:z.2f} s · {word} {state.cursor}")

    def _draw_strides(self) -> None:
        """Offer the strides of the window's spec."""
        if self._controller.state.spec != self._strides_of:
            self._build_strides()
            self._draw_play()

    def _draw_play(self) -> None:
        playing = self.playback.is_playing
        self.play.setText("❚❚" if playing else "▶")
        word = "Pause" if playing else "Play"
        self.play.setToolTip(f"{word} (K); the arrow: step of the window")
        self.speed.setCurrentIndex(self.speed.findData(self.playback.speed))
        self.strides[self.playback.stride].setChecked(True)
