"""Repeats of the current clip side by side, with the ceiling they imply."""

from functools import partial

from qtpy.QtWidgets import QWidget

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.neurons.repeats import clip_text, reliability_text
from omnimouse_widgets.qt.neurons.repeats_plot import CEILING_TIP, RepeatsSideBySide
from omnimouse_widgets.qt.style import plot_style, shortcuts
from omnimouse_widgets.qt.style.controls import combo_box, set_items
from omnimouse_widgets.qt.style.form import ElidedLabel, column_in, row_of
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.visibility import VisibilityMonitor

TOOLTIP = (
    "All repeats of the clip, at their times in the session. Rows: selected neurons\n"
    "(without a selection, a sample of all), from dark to yellow. Below, white: mean\n"
    "over neurons; orange: mean over repeats; frame: the window.\n"
    "Press: move the window there · ← →: same moment of the previous or next repeat"
)


class RepeatsPanel(QWidget):
    """Small rasters of all repeats; a press moves the window to that time.

    Parameters
    ----------
    controller
        Source of `state` and `clips`, and receiver of the user actions.
    """

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self.setObjectName("omnimouse-repeats")
        self._controller, self._clips = controller, controller.repeats
        tooltip = "Move the window to a clip that was presented more than once"
        self.clip = combo_box(self._clips.go_to_clip, name="Clip", tooltip=tooltip)
        self.clip.setPlaceholderText("repeated clips…")
        self.clip.setMaximumWidth(190)
        self.ceiling = ElidedLabel()
        self.canvas = plot_style.canvas(TOOLTIP)
        self.side_by_side = RepeatsSideBySide(self._clips.go_to)
        self.canvas.addItem(self.side_by_side.plot)
        head = row_of(self.clip, self.ceiling, stretch=1)
        column_in(self, head, self.canvas, stretch=1)
        self.setMinimumSize(300, 150)
        shortcuts.bind_keys(self, controller)
        shortcuts.bind(self, "Left", partial(self._clips.step, -1))
        shortcuts.bind(self, "Right", partial(self._clips.step, 1))
        events = controller.state.events
        place = [events.session, events.window]
        self.visibility = VisibilityMonitor(self, self._follow)
        self.redraw = Redraw(
            self,
            (self.visibility.update, [*place, events.selection]),
            (self._draw_clips, place),
            (self._draw_repeats, [*place, events.selection, self._clips.changed]),
        )
        # Repeats that were drawn last, compared by identity.
        self._drawn: object = None

    def _follow(self, is_visible: bool) -> None:
        """Read repeats only while the panel is visible."""
        if is_visible:
            self._clips.follow()
        else:
            self._clips.stop()

    # -- from state to screen -----------------------------------------------------
    def _draw_clips(self) -> None:
        clips, current = self._clips.clips, self._clips.clip
        set_items(self.clip, [(clip_text(c, i), i) for i, c in enumerate(clips)])
        # Index -1 shows the placeholder text.
        self.clip.setCurrentIndex(-1 if current is None else clips.index(current))
        self.clip.setVisible(bool(clips))

    def _draw_repeats(self) -> None:
        repeats, session = self._clips.responses, self._controller.state.session
        name = text = ""
        if repeats is not None and session is not None:
            name = str(session.units.names[repeats.neurons[0]])
            text = reliability_text(repeats, name)
            if self._clips.repeat is not None:
                text += f" · repeat {self._clips.repeat + 1}"
        # The window moves often; the rasters of a clip stay the same object.
        if repeats is None or repeats is not self._drawn:
            self.side_by_side.show(repeats, self._missing(), name)
            self._drawn = repeats
        self.ceiling.set_text(text)
        self.ceiling.setToolTip(f"{text}\n{CEILING_TIP}" if text else "")
        if (window := self._controller.state.window) is not None:
            span = window.start_s, window.stop_s
            self.side_by_side.frame_window(*span, self._clips.repeat)

    def _missing(self) -> str:
        """Return why no repeats are shown."""
        if self._controller.state.session is None:
            return plot_style.NO_SESSION
        if not self._clips.clips:
            return "No clip of this session was presented more than once"
        if self._clips.clip is None:
            return "This clip has no repeats; choose a repeated clip above"
        if self._clips.error is not None:
            return f"⚠ Not read: {self._clips.error}"
        return f"◌ {self._clips.message or 'Reading repeats'}"
