"""Task section: mask preset and modalities."""

from typing import cast

from qtpy.QtWidgets import QComboBox, QWidget

from omnimouse_model.live.controller import Controller
from omnimouse_model.masks import BehaviorMode
from omnimouse_widgets import palette
from omnimouse_widgets.drawn.model.task import (
    BY_HAND,
    NO_VIDEO,
    caveats,
    half_words,
    meaning_words,
    video_name,
    video_span,
)
from omnimouse_widgets.drawn.traces.behavior_rows import NO_BEHAVIOR
from omnimouse_widgets.qt.style.form import Form, QuietLine
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.segmented_button import Choice, Segmented
from omnimouse_widgets.qt.style.theme import quiet_label

VIDEO = (
    Choice("all", "all", "The model sees every frame"),
    Choice("none", "none", "The model sees no frame"),
    Choice("first", "start", "The model sees the first second"),
    Choice("last", "end", "The model sees the last second"),
)
BEHAVIOR = (
    Choice("visible", "visible", "Running and pupil are given", palette.VISIBLE),
    Choice("target", "target", "Running and pupil are to be decoded", palette.TARGET),
    Choice("hidden", "hidden", "Neither given nor asked", palette.HIDDEN),
)


class QuestionSection(QWidget):
    """Choices of mask preset, visible video and use of behaviour."""

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self.preset = QComboBox()
        self.preset.setToolTip("A ready-made question; painting makes it your own")
        for name, label in controller.presets:
            self.preset.addItem(label, name)
        self.preset.setPlaceholderText(BY_HAND)
        self.preset.setMinimumContentsLength(12)
        # `activated` is emitted for the user only, not when `_draw_preset` sets it.
        self.preset.activated.connect(self._preset_picked)
        self.meaning = QuietLine()
        self.video = Segmented(VIDEO, "Video")
        self.video.picked.connect(self._video_picked)
        self.behavior = Segmented(BEHAVIOR, "Behaviour")
        self.behavior.picked.connect(
            lambda mode: controller.set_behavior(cast(BehaviorMode, mode))
        )
        self.caveat = quiet_label("alert")
        form = Form(self)
        form.add("Preset", self.preset)
        form.add("", self.meaning)
        form.add("Video", self.video)
        form.add("Behaviour", self.behavior)
        form.add("", self.caveat)
        events = controller.state.events
        self.redraw = Redraw(
            self,
            [
                (self._draw_preset, [events.preset, events.mask, events.session]),
                (self._draw_modalities, [events.mask, events.session, events.window]),
                (self._draw_caveat, [events.mask, controller.results.changed]),
            ],
        )

    def _preset_picked(self, _: int) -> None:
        if self._controller.state.session is not None:
            self._controller.apply_preset(self.preset.currentData())
        # Without a session nothing was applied: show the preset of the state again.
        self._draw_preset()

    def _video_picked(self, name: str) -> None:
        n_frames = self._controller.state.spec.n_frames
        self._controller.set_frames(video_span(name, n_frames))

    # -- from state to screen -----------------------------------------------------
    def _draw_preset(self) -> None:
        state = self._controller.state
        name = state.preset if state.mask is not None else ""
        # Index -1 shows the placeholder text, `BY_HAND`.
        self.preset.setCurrentIndex(self.preset.findData(name) if name else -1)
        self.meaning.set_words(meaning_words(self._controller.state))
        self.meaning.setToolTip(self.meaning.words)

    def _draw_modalities(self) -> None:
        mask, session = self._controller.state.mask, self._controller.state.session
        spec = self._controller.state.spec
        no_video = no_behavior = ""
        if session is None or session.stimulus is None:
            no_video = "This session has no video"
        if session is None or not session.behavior_names:
            no_behavior = "This session has no behaviour"
        if spec.video is None:
            no_video = NO_VIDEO
        if spec.behavior is None:
            no_behavior = NO_BEHAVIOR
        self.preset.setEnabled(mask is not None)
        self.video.setEnabled(mask is not None and not no_video)
        self.behavior.setEnabled(mask is not None and not no_behavior)
        self.video.setToolTip(no_video)
        self.behavior.setToolTip(no_behavior)
        half = half_words(spec.duration_s)
        for name, words in (("first", "first"), ("last", "last")):
            self.video.button(name).setToolTip(f"The model sees the {words} {half}")
        if mask is None:
            return
        # Frames painted by hand match no choice: no button is then on.
        self.video.show_value(video_name(mask.frames))
        self.behavior.show_value(mask.behavior_word)

    def _draw_caveat(self) -> None:
        mask, needs = self._controller.state.mask, self._controller.results.needs
        words = [] if mask is None or needs is None else caveats(mask, needs)
        self.caveat.setText("\n".join(words))
        self.caveat.setVisible(bool(self.caveat.text()))
