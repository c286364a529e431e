"""Task section: mask preset and modalities."""

from typing import cast

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QWidget

from omnimouse_model.live.mask.editor import MaskEditor
from omnimouse_model.live.mask.presets import (
    name_and_region,
    regions_of,
    with_region,
)
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import BehaviorMode
from omnimouse_widgets import palette
from omnimouse_widgets.qt.style.controls import combo_box, set_items, show_text
from omnimouse_widgets.qt.style.form import Form, row_of
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.segmented_button import Choice, SegmentedButton
from omnimouse_widgets.qt.style.theme import wrapped_label
from omnimouse_widgets.views.text.controls import (
    BEHAVIOR,
    PRESET,
    REGION,
    refusals,
    video_options,
)
from omnimouse_widgets.views.text.model import (
    BY_HAND,
    caveats,
    half_text,
    task_text,
    video_name,
    video_span,
)

COLOURS = {"visible": palette.VISIBLE, "target": palette.TARGET, "hidden": palette.HIDDEN}


class TaskSection(QWidget):
    """Choices of mask preset, visible video and use of behaviour."""

    def __init__(self, state: LiveState, results: Results, editor: MaskEditor) -> None:
        super().__init__()
        self._state, self._results, self._editor = state, results, editor
        self.preset = combo_box(
            self._preset_picked,
            [(label, name) for name, label in editor.presets],
            name=PRESET[0],
            tooltip=PRESET[1],
        )
        self.preset.setPlaceholderText(BY_HAND)
        # Without a minimum, the longest preset would determine the panel's width.
        self.preset.setMinimumContentsLength(12)
        self.region = combo_box(
            self._region_picked,
            offered=lambda: regions_of(state.session),
            name=REGION[0],
            tooltip=REGION[1],
        )
        # The names of regions are short; a box this wide shows "CA1" or "VISp".
        self.region.setMinimumContentsLength(5)
        self.meaning = wrapped_label("quiet")
        self.video = SegmentedButton([Choice(*option) for option in video_options("")], "Video")
        self.video.picked.connect(self._video_picked)
        modes = [Choice(*option, COLOURS[option[0]]) for option in BEHAVIOR]
        self.behavior = SegmentedButton(modes, "Behaviour")
        self.behavior.picked.connect(lambda mode: editor.set_behavior(cast(BehaviorMode, mode)))
        self.caveat = wrapped_label("alert")
        form = Form(self)
        form.add(PRESET[0], row_of(self.preset, self.region, stretch=0))
        form.add("Video", self.video)
        form.add("Behaviour", self.behavior)
        # Last: a long explanation moves no control out of a small window.
        form.add("", self.meaning)
        form.add("", self.caveat)
        events = state.events
        self.redraw = Redraw(
            self,
            (
                self._draw_preset,
                [
                    *(events.preset, events.mask, events.session),
                    results.events.needs,
                ],
            ),
            (self._draw_modalities, [events.mask, events.session, events.window]),
            (self._draw_caveat, [events.mask, results.changed]),
        )

    def _preset_picked(self, name: str) -> None:
        is_possible = name not in self._editor.preset_problems
        if self._state.session is not None and is_possible:
            self._editor.apply_preset(name)
        # If nothing was applied, show the preset of the state again. A menu that is not
        # drawn yet offers what was possible in the last recording.
        self._draw_preset()

    def _video_picked(self, name: str) -> None:
        n_frames = self._state.spec.n_frames
        self._editor.set_frames(video_span(name, n_frames))

    def _region_picked(self, region: str) -> None:
        state = self._state
        self._editor.apply_preset(with_region(state.preset, region))

    # -- from state to screen -----------------------------------------------------
    def _draw_preset(self) -> None:
        state = self._state
        set_items(self.preset, [(text, name) for name, text in self._editor.presets])
        problems = self._editor.preset_problems
        for number in range(self.preset.count()):
            problem = problems.get(self.preset.itemData(number), "")
            self.preset.setItemData(number, problem, Qt.ItemDataRole.ToolTipRole)
            # Qt's combo boxes disable an item whose flags have this role.
            flags = 0 if problem else None
            self.preset.setItemData(number, flags, Qt.ItemDataRole.UserRole - 1)
        name = state.preset if state.mask is not None else ""
        base, region = name_and_region(name)
        # Index -1 shows the placeholder text, `BY_HAND`.
        self.preset.setCurrentIndex(self.preset.findData(base) if name else -1)
        self.region.setVisible(bool(region))
        set_items(self.region, [(text, text) for text in regions_of(state.session)])
        self.region.setCurrentIndex(self.region.findData(region))
        self.meaning.setText(task_text(self._state))

    def _draw_modalities(self) -> None:
        mask = self._state.mask
        no_video, no_behavior = refusals(self._state)
        self.preset.setEnabled(mask is not None)
        self.video.setEnabled(mask is not None and not no_video)
        self.behavior.setEnabled(mask is not None and not no_behavior)
        self.video.setToolTip(no_video)
        self.behavior.setToolTip(no_behavior)
        for name, _, tip in video_options(half_text(self._state.spec.duration_s)):
            self.video.button(name).setToolTip(tip)
        if mask is None:
            return
        # Frames painted by hand match no choice: no button is then on.
        self.video.show_value(video_name(mask.frames))
        self.behavior.show_value(mask.behavior_mode)

    def _draw_caveat(self) -> None:
        mask, needs = self._state.mask, self._results.needs
        texts = [] if mask is None or needs is None else caveats(mask, needs)
        show_text(self.caveat, "\n".join(texts))
