"""Repeats of the current clip side by side, with the ceiling they imply."""

from functools import partial

from qtpy.QtWidgets import QComboBox, QWidget

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.neurons.repeats import ceiling_words, clip_words
from omnimouse_widgets.qt.neurons.repeats_plot import RepeatsSideBySide
from omnimouse_widgets.qt.style import plot_style, shortcuts
from omnimouse_widgets.qt.style.form import ElidedLabel, column_in, row_of
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.visibility import VisibilityMonitor

TOOLTIP = (
    "Each showing of the clip, at its time in the session: the selected neurons\n"
    "(rows; without any a sample of all), from dark to yellow; below, white: their\n"
    "mean; orange: the mean over repeats; framed: the window.\n"
    "Press: go there · ← →: the same moment of the repeat before or after"
)
CEILING_TIP = (
    "What a perfect prediction from the clip alone correlates with: the mean over\n"
    "repeats (CC_max, Schoppe et al. 2016), or one repeat. A model that also knows\n"
    "behaviour or other neurons may come above it.\n"
    "Oracle: correlation of each repeat with the mean of the others."
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
        self._controller, self._clips = controller, controller.clips
        self.clip = QComboBox()
        self.clip.setAccessibleName("Clip")
        self.clip.setMaximumWidth(190)
        self.clip.setToolTip("Clips that were shown more than once: go to one")
        # `activated` is emitted for the user only, not when `_draw_clips` sets it.
        self.clip.activated.connect(self._clips.go_to_clip)
        self.words = ElidedLabel()
        self.canvas = plot_style.canvas(TOOLTIP)
        self.side_by_side = RepeatsSideBySide(self._clips.go_to)
        self.canvas.addItem(self.side_by_side.plot)
        head = row_of(self.clip, self.words, stretch=1)
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

    def _follow(self, is_seen: bool) -> None:
        """Read repeats only while the panel is visible."""
        if is_seen:
            self._clips.follow()
        else:
            self._clips.stop()

    # -- from state to screen -----------------------------------------------------
    def _draw_clips(self) -> None:
        names = [clip_words(clip, i) for i, clip in enumerate(self._clips.all)]
        if names != [self.clip.itemText(i) for i in range(self.clip.count())]:
            self.clip.clear()
            self.clip.addItems(names)
        shown = self._clips.shown
        # Index -1 shows the placeholder text.
        at = -1 if shown is None else self._clips.all.index(shown)
        self.clip.setPlaceholderText("repeated clips…")
        self.clip.setCurrentIndex(at)
        self.clip.setVisible(bool(names))

    def _draw_repeats(self) -> None:
        found, session = self._clips.found, self._controller.state.session
        name = ""
        if found is not None and session is not None:
            name = str(session.units.names[found.neurons[0]])
        # The window moves often; the rasters of a clip stay the same object.
        if found is None or found is not self._drawn:
            self.side_by_side.show(found, self._missing(), name)
            self._drawn = found
        words = "" if found is None else ceiling_words(found, name)
        if found is not None and self._clips.repeat is not None:
            words += f" · repeat {self._clips.repeat + 1}"
        self.words.set_text(words)
        self.words.setToolTip(f"{words}\n{CEILING_TIP}" if words else "")
        if (window := self._controller.state.window) is not None:
            span = window.start_s, window.stop_s
            self.side_by_side.frame_window(*span, self._clips.repeat)

    def _missing(self) -> str:
        """Return why no repeats are shown."""
        if self._controller.state.session is None:
            return plot_style.NO_SESSION
        if not self._clips.all:
            return "No clip of this session was shown more than once"
        if self._clips.shown is None:
            return "This was shown once; the box above goes to a clip with repeats"
        if self._clips.fault is not None:
            return f"⚠ Not read: {self._clips.fault}"
        return f"◌ {self._clips.words or 'Reading repeats'}"
