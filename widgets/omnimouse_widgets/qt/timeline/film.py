"""Video frame at the cursor, above the strip of the frames of the window."""

import numpy as np
from qtpy.QtCore import QRectF
from qtpy.QtWidgets import QGraphicsRectItem, QVBoxLayout, QWidget

from omnimouse_model.live.controller import Controller
from omnimouse_widgets import palette
from omnimouse_widgets.qt.style import plot_style
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.timeline.frame_strip import FrameStrip
from omnimouse_widgets.qt.timeline.playback import Playback
from omnimouse_widgets.views.stimulus import PAINT_FRAMES, StimulusView
from omnimouse_widgets.views.time import frame_at_sample, sample_at_frame


class FilmArea(QWidget):
    """Frame and strip, which draw what the view says.

    Parameters
    ----------
    view
        Frame at the cursor, and playback.
    controller
        Source of the signals, and receiver of the moves and edits made here.
    tip
        What the picture shows.
    """

    def __init__(self, view: StimulusView, controller: Controller, tip: str) -> None:
        super().__init__()
        self._view, self._controller = view, controller
        self.playback = Playback(view, controller, self)
        self.canvas = plot_style.canvas(tip)
        self.canvas.setMinimumHeight(80)
        # Video rows run downwards; pixels of the stimulus are square.
        self.view = self.canvas.addViewBox(
            enableMenu=False, enableMouse=False, lockAspect=True, invertY=True
        )
        self.frame, self.border = plot_style.image(), QGraphicsRectItem()
        self.label = plot_style.text_item("", palette.RECORDED, anchor=(0.5, 1.0))
        self.label.fill = plot_style.brush(plot_style.BACKGROUND, 215)
        self.message = plot_style.Message(self.view)
        for item in (self.frame, self.border, self.label):
            self.view.addItem(item, ignoreBounds=True)
        editor = controller.editor
        self.strip = FrameStrip()
        self.strip.scrubbed.connect(self._scrubbed)
        self.strip.paint_began.connect(lambda: editor.begin_stroke(PAINT_FRAMES))
        self.strip.painted.connect(
            lambda first, last, is_visible: view.show_frames(first, last + 1, is_visible)
        )
        self.strip.paint_ended.connect(editor.end_stroke)
        column = QVBoxLayout(self)
        # Qt calls a widget covered that its children fill, and nothing would be drawn.
        column.setContentsMargins(1, 1, 1, 1)
        column.setSpacing(4)
        column.addWidget(self.canvas, 1)
        column.addWidget(self.strip)
        events = controller.state.events
        self.redraw = Redraw(
            self,
            (self._draw_frame, [events.window, events.cursor, events.mask]),
            (self._draw_strip, [events.mask, events.window, events.cursor]),
        )

    def _scrubbed(self, frame: int) -> None:
        spec = self._controller.state.spec
        self._controller.navigation.set_cursor(sample_at_frame(spec, frame))

    def _draw_frame(self) -> None:
        shown = self._view.frame()
        self.message.show(shown.message)
        self.border.setVisible(shown.pixels is not None)
        self.label.setVisible(bool(shown.note))
        if shown.pixels is None:
            self.frame.clear()
            return
        self.frame.setImage(shown.pixels, autoLevels=False, levels=(0, 255))
        height, width = shown.pixels.shape
        # Fit only for another frame size: a new range makes Qt redraw the view.
        rect = QRectF(0, 0, width, height)
        if self.border.rect() != rect:
            self.border.setRect(rect)
            self.view.setRange(rect, padding=0.03)
            self.label.setPos(width / 2, height)
        self.border.setPen(plot_style.pen(shown.colour, 3, dashed=bool(shown.note)))
        # Hidden and invalid frames are dimmed, in addition to the dashed border.
        self.frame.setOpacity(0.45 if shown.note else 1.0)
        self.label.setText(f" {shown.note} ")

    def _draw_strip(self) -> None:
        state = self._controller.state
        mask, spec = state.mask, state.spec
        frames = np.zeros(spec.n_frames, bool) if mask is None else mask.frames
        self.strip.show_frames(frames, frame_at_sample(spec, state.cursor))
