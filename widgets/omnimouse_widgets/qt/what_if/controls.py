"""Controls for every kind of stimulus and behaviour edit; they show the state."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Final, cast

from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QSpinBox,
    QWidget,
)

from omnimouse_model.analysis.in_silico.read_functions import Span
from omnimouse_model.analysis.in_silico.stimulus_edits import (
    BehaviorScale,
    BehaviorSet,
    BehaviorShift,
    Blank,
    Contrast,
    Freeze,
    Mirror,
    MirrorAxis,
    OtherClip,
    Shift,
    channel_label,
)
from omnimouse_model.data.edit_protocol import BehaviorEdit, Edit
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.live.controller import Controller
from omnimouse_widgets.qt.style.controls import (
    combo_box,
    describe,
    number_box,
    set_items,
    slider,
    toggle_button,
)
from omnimouse_widgets.qt.style.form import Form, row_of
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.segmented_button import Choice, SegmentedButton
from omnimouse_widgets.qt.style.theme import ToneLabel
from omnimouse_widgets.views.model import half_text

# The keys are the kinds of `live.mask.stimulus_edits`; "" stands for no edit.
PICTURES: Final = {
    "": "as recorded",
    "blank": "blank",
    "freeze": "freeze at",
    "other_clip": "clip from",
    "picture": "picture found",
}
CHANGES: Final = {
    "": "as recorded",
    "behavior_set": "set to",
    "behavior_scale": "scaled by",
    "behavior_shift": "delayed by",
}
# Initial values. A factor of 1 or a delay of 0 s would have no visible effect.
INITIAL: Final = {"behavior_set": 0.0, "behavior_scale": 2.0, "behavior_shift": 0.5}
PART_CHOICES: Final = (
    Choice("all", "all", "Edit the whole window"),
    # Their tooltips name the length of half a window; see `_draw_part`.
    Choice("first", "start", ""),
    Choice("last", "end", ""),
)
MIRRORS: Final[dict[MirrorAxis, str]] = {"horizontal": "↔", "vertical": "↕"}
# Percent. Beyond it, nearly all pixels are clipped to black or white.
MAX_CONTRAST: Final = 300


class WhatIfControls(QWidget):
    """One row of controls per kind of edit.

    Parameters
    ----------
    controller
        Source of the state; edits are applied through `controller.stimulus_edits`.
    """

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self._edits = controller.stimulus_edits
        self._part = "all"
        self._drawn: tuple[Session | None, WindowSpec] | None = None
        form = Form(self)
        self._build_video(form)
        self._build_behavior(form)
        # An empty last row takes the free height, so that the rows stay together.
        form.setRowStretch(form.rowCount(), 1)
        # Widgets that also report a change when they are set from the state.
        self._inputs: tuple[QWidget, ...] = (
            self.at, *self.mirrors.values(), self.contrast, *self._shifts, self.value
        )  # fmt: skip
        events = controller.state.events
        self.redraw = Redraw(
            self,
            (self._draw_channels, [events.session]),
            (
                self._draw,
                [
                    events.edits,
                    events.session,
                    events.window,
                    controller.laboratory.measured,
                ],
            ),
        )

    # -- building -----------------------------------------------------------------
    def _build_video(self, form: Form) -> None:
        self.picture = _menu(PICTURES, "Edit of the video", self._picture_picked)
        self.at = number_box(QDoubleSpinBox, self._put_picture)
        form.add("Video", row_of(self.picture, self.at, stretch=0))
        self.mirrors = {
            axis: toggle_button(text, f"Mirror the video: {axis}") for axis, text in MIRRORS.items()
        }
        for axis, button in self.mirrors.items():
            button.setAccessibleName(button.toolTip())
            button.setMinimumWidth(44)
            # The two axes are independent, hence two buttons instead of one choice.
            button.toggled.connect(partial(self._mirror, axis))
        row = row_of(*self.mirrors.values())
        row.addStretch(1)
        form.add("Mirror", row)
        tooltip = "Contrast about the screen's mean gray, in percent"
        self.contrast = slider(MAX_CONTRAST, tooltip=tooltip)
        self.contrast.setPageStep(25)
        # Without a minimum, the frames beside the controls would leave it no width.
        self.contrast.setMinimumWidth(60)
        # A drag of the slider is one undo step.
        self.contrast.sliderPressed.connect(
            lambda: self._controller.editor.begin_stroke("What if: contrast")
        )
        self.contrast.sliderReleased.connect(self._controller.editor.end_stroke)
        self.contrast.valueChanged.connect(self._put_contrast)
        self.factor = ToneLabel()
        form.add("Contrast", row_of(self.contrast, self.factor, stretch=0))
        self._shifts = tuple(number_box(QSpinBox, self._put_shift) for _ in range(3))
        self.right, self.down, self.later = self._shifts
        self.later.setSuffix(" frames")
        form.add("Shift → ↓", row_of(self.right, self.down))
        form.add("Delay", self.later)

    def _build_behavior(self, form: Form) -> None:
        self.channel = _menu({}, "Behaviour channel to edit", self._channel_picked)
        form.add("Behaviour", self.channel)
        self.change = _menu(CHANGES, "Edit of the channel", self._change_picked)
        self.value = number_box(
            QDoubleSpinBox,
            self._put_change,
            tooltip="Value in the units of the recording, factor, or seconds",
        )
        self.value.setRange(-1e4, 1e4)
        form.add("Edit", row_of(self.change, self.value, stretch=0))
        self.part = SegmentedButton(PART_CHOICES, "Part of the window that is edited")
        self.part.picked.connect(lambda part: self._pick_part(str(part)))
        form.add("Where", self.part)

    # -- what the user does ---------------------------------------------------------
    @property
    def _spec(self) -> WindowSpec:
        return self._controller.state.spec

    @property
    def _sample_s(self) -> float:
        """Time between two behaviour samples."""
        behavior = self._spec.behavior
        # Without behaviour the boxes are disabled; any positive number will do.
        return 1.0 if behavior is None else 1 / behavior.rate_hz

    @property
    def _spans(self) -> tuple[Span | None, Span | None]:
        return parts_of(self._spec)[self._part]

    def _picture_picked(self) -> None:
        """Start a freeze at the cursor, or a clip at the start of the window."""
        kind, state = self.picture.currentData(), self._controller.state
        if state.window is not None:
            with self._quietly():
                self._range_at(kind)
                is_frame = kind == "freeze"
                self.at.setValue(state.cursor if is_frame else state.window.start_s)
        self._put_picture()

    def _put_picture(self) -> None:
        if self._is_outdated():
            return
        kind, span = self.picture.currentData(), self._spans[0]
        made: dict[str, Callable[[], Edit]] = {
            "blank": lambda: Blank(span),
            "freeze": lambda: Freeze(int(self.at.value()), span),
            "other_clip": lambda: OtherClip(self.at.value(), span),
            "picture": lambda: replace(self._known_picture, span=span),
        }
        self._edits.put_video(*([made[kind]()] if kind else []))

    @property
    def _known_picture(self) -> Any:
        """The picture on screen, else the one that the laboratory has found."""
        shown = self._edits.get("picture")
        return shown if shown is not None else self._controller.laboratory.picture()

    def _mirror(self, axis: MirrorAxis, is_on: bool) -> None:
        self._put([Mirror(axis, self._spans[0])] if is_on else [], [("mirror", axis)])

    def _put_contrast(self, percent: int) -> None:
        # 100 % is the recording, so there is no edit to keep.
        made = [] if percent == 100 else [Contrast(percent / 100, self._spans[0])]
        self._put(made, [("contrast", "")])

    def _put_shift(self) -> None:
        right, down, later = (box.value() for box in self._shifts)
        made = [Shift(right, down, later, self._spans[0])]
        self._put(made if right or down or later else [], [("shift", "")])

    def _channel_picked(self) -> None:
        if not self._is_outdated():
            self._draw()

    def _change_picked(self) -> None:
        with self._quietly():
            self.value.setValue(INITIAL.get(self.change.currentData(), 0.0))
        self._put_change()

    def _put_change(self) -> None:
        name, span = self.channel.currentData(), self._spans[1]
        value, kind = self.value.value(), self.change.currentData()
        made: dict[str, Callable[[], Edit]] = {
            "behavior_set": lambda: BehaviorSet(name, value, span),
            "behavior_scale": lambda: BehaviorScale(name, value, span),
            "behavior_shift": lambda: BehaviorShift(name, round(value / self._sample_s), span),
        }
        # A channel has at most one kind of edit: a new one replaces the others.
        replaced = [(k, name) for k in CHANGES if k]
        self._put([made[kind]()] if kind else [], replaced)

    def _pick_part(self, part: str) -> None:
        """Move all edits to a part of the window; later edits use this part too."""
        self._part = part
        # One call for all edits, so that the change is one undo step.
        edits = [
            # Index 0 is the span in frames, 1 the span in behaviour samples.
            replace(cast(Any, edit), span=self._spans[isinstance(edit, BehaviorEdit)])
            for edit in self._edits.edits
        ]
        self._edits.set(edits, "What if: another part")

    def _put(self, made: Sequence[Edit], replaced: Sequence[tuple[str, str]]) -> None:
        if self._is_outdated():
            return
        if made:
            self._edits.put(*made, instead=replaced)
        else:
            self._edits.remove(*replaced)

    def _is_outdated(self) -> bool:
        """Redraw controls that show an earlier session; return whether they did.

        A session can open between a drawing and the user's press. Times and channels of
        the session before may not exist in it.
        """
        is_outdated = self._drawn != self._source
        if is_outdated:
            self.redraw.flush()
            self._drawn = self._source
        return is_outdated

    # -- from state to screen -----------------------------------------------------
    @property
    def _source(self) -> tuple[Session | None, WindowSpec]:
        """Session and window spec from which the controls take their values."""
        return self._controller.state.session, self._spec

    def _draw_channels(self) -> None:
        session, chosen = self._controller.state.session, self.channel.currentData()
        names = () if session is None else session.behavior_names
        set_items(self.channel, [(channel_label(name), name) for name in names])
        # Keep the channel if the new session has it, too.
        at = self.channel.findData(chosen)
        self.channel.setCurrentIndex(at if at >= 0 else len(names) - 1)

    def _draw(self) -> None:
        session = self._controller.state.session
        has_video = session is not None and session.stimulus is not None
        has_video &= self._spec.video is not None
        # Both the session and the model must have the modality.
        has_behavior = self.channel.count() > 0 and self._spec.behavior is not None
        for widget in (self.picture, *self._inputs):
            widget.setEnabled(has_video)
        for widget in (self.channel, self.change, self.value):
            widget.setEnabled(has_behavior)
        with self._quietly():
            self._fit_shift()
            self._draw_video()
            self._draw_change()
            self._draw_part()
        self._drawn = self._source

    def _draw_video(self) -> None:
        get = self._edits.get
        kind = next((k for k in PICTURES if k and get(k) is not None), "")
        has_picture = self._known_picture is not None
        items = [(text, k) for k, text in PICTURES.items()]
        set_items(self.picture, [i for i in items if i[1] != "picture" or has_picture])
        self.picture.setCurrentIndex(self.picture.findData(kind))
        self._range_at(kind)
        edit = get(kind)
        if isinstance(edit, Freeze | OtherClip):
            self.at.setValue(edit.at if isinstance(edit, Freeze) else edit.start_s)
        for axis, button in self.mirrors.items():
            button.setChecked(get("mirror", axis) is not None)
        contrast, shift = get("contrast"), get("shift")
        factor = contrast.factor if isinstance(contrast, Contrast) else 1.0
        self.contrast.setValue(round(100 * factor))
        self.factor.setText(f"× {factor:z.2f}")
        current = shift if isinstance(shift, Shift) else Shift()
        self.right.setValue(current.right)
        self.down.setValue(current.down)
        self.later.setValue(current.later)

    def _range_at(self, kind: str) -> None:
        """Set unit and range of the number box: frames, or session time in seconds."""
        session = self._controller.state.session
        is_frame = kind == "freeze"
        self.at.setVisible(kind in ("freeze", "other_clip"))
        self.at.setDecimals(0 if is_frame else 1)
        self.at.setSuffix("" if is_frame else " s")
        self.at.setToolTip("Frame of the window" if is_frame else "Session time")
        most = session.duration_s if session is not None else 0.0
        self.at.setRange(0, self._spec.n_frames - 1 if is_frame else most)

    def _fit_shift(self) -> None:
        """Limit shifts to the frame, and delays to the window."""
        if (video := self._spec.video) is None:
            return
        delay = f"Frames later ({video.rate_hz:g} per second)"
        for box, tooltip, most in (
            (self.right, f"Pixels to the right (of {video.width})", video.width),
            (self.down, f"Pixels down (of {video.height})", video.height),
            (self.later, delay, self._spec.n_frames),
        ):
            box.setRange(-most, most)
            describe(box, tooltip, tooltip)

    def _draw_change(self) -> None:
        name = self.channel.currentData() or ""
        edits = [(k, self._edits.get(k, name)) for k in CHANGES if k]
        kind, edit = next(((k, e) for k, e in edits if e is not None), ("", None))
        self.change.setCurrentIndex(self.change.findData(kind))
        self.value.setVisible(bool(kind))
        # A shift is stored in samples and shown in seconds.
        self.value.setSuffix(" s" if kind == "behavior_shift" else "")
        self.value.setSingleStep(self._sample_s if kind == "behavior_shift" else 0.5)
        if isinstance(edit, BehaviorSet):
            self.value.setValue(edit.value)
        elif isinstance(edit, BehaviorScale):
            self.value.setValue(edit.factor)
        elif isinstance(edit, BehaviorShift):
            self.value.setValue(edit.later * self._sample_s)

    def _draw_part(self) -> None:
        """Show the part used by the edits; without edits, the last chosen part."""
        spans = {getattr(edit, "span", None) for edit in self._edits.edits}
        for part, both in parts_of(self._spec).items():
            if spans and spans <= set(both):
                self._part = part
        self.part.show_value(self._part)
        half = half_text(self._spec.duration_s)
        for part in ("first", "last"):
            self.part.button(part).setToolTip(f"Edit the {part} {half}")

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        """Suppress edits while the widgets are set from the state."""
        with ExitStack() as blockers:
            for widget in self._inputs:
                blockers.enter_context(QSignalBlocker(widget))
            yield


def _menu(items: Mapping[str, str], tooltip: str, action: Callable[[], object]) -> QComboBox:
    pairs = [(text, value) for value, text in items.items()]
    box = combo_box(lambda _: action(), pairs, tooltip=tooltip, name=tooltip)
    box.setMinimumContentsLength(6)
    return box


def parts_of(spec: WindowSpec) -> dict[str, tuple[Span | None, Span | None]]:
    """Return frames and behaviour samples of each part of a window, None for all."""
    frames, samples = spec.n_frames, spec.n_behavior
    return {
        "all": (None, None),
        "first": ((0, frames // 2), (0, samples // 2)),
        "last": ((frames // 2, frames), (samples // 2, samples)),
    }
