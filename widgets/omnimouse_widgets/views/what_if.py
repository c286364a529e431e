"""Panel *What if*: edits of stimulus and behaviour, and the predictions with them.

The settings are live: the state has their values, and each of them makes or removes one
edit. Functions of the settings receive the view.

The file is long because a panel is one file: its content, actions, form and texts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, cast

import numpy as np
from psygnal import SignalInstance

from omnimouse_model.analysis.counterfactual import NO_TRUTH
from omnimouse_model.analysis.stimulus_edits import (
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
    Span,
)
from omnimouse_model.data.session import Window
from omnimouse_model.data.window_spec import BehaviorEdit, Edit, WindowSpec
from omnimouse_model.display import channel_text, number_text
from omnimouse_model.live.controller import OfController
from omnimouse_model.live.laboratory import Laboratory
from omnimouse_model.live.mask.stimulus_edits import StimulusEdits
from omnimouse_model.live.navigation import Navigation, frame_at_sample
from omnimouse_model.live.neurons.planes import Selection
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import LiveState
from omnimouse_widgets import palette
from omnimouse_widgets.views import record
from omnimouse_widgets.views.form import Form, Options, setting
from omnimouse_widgets.views.rows.traces import Trace
from omnimouse_widgets.views.text.model import (
    HAS_NO_VIDEO,
    HAS_NONE,
    NO_BEHAVIOR,
    NO_VIDEO,
    half_text,
)
from omnimouse_widgets.views.text.units import bar_height, bar_text, unit_text
from omnimouse_widgets.views.time import cursor_block, move_cursor
from omnimouse_widgets.views.traces import least_span, predicted_of

TIP: Final = (
    "Predictions for the selected neurons: without the edits (orange) and with them\n"
    "(blue, dashed). There is no recording with the edits, so there is no score.\n"
    "Δ: root mean square of the difference over the target samples"
)
SIGNS: Final = (
    ("━", palette.PREDICTED, "without edits"),
    ("╍", palette.EDITED, "with edits"),
    ("Δ", palette.AXIS, "difference (r.m.s.)"),
)
NO_EDITS: Final = "No edits: change a control below"
FIXED: Final = "Nothing can be edited"
EDIT_FIRST: Final = "Edit the video or behaviour\nto see the new prediction"
SELECT_FIRST: Final = "Select neurons with target samples\n(a row of the table)"
AGES: Final = {
    "running": "◌ predicting…",
    "stale": "◌ older…",
    "stopped": "stopped",
    "error": "not predicted",
}
FRAME_TIP: Final = "The frame at the cursor: as recorded, and edited"
MOST_LABEL: Final = (
    "Neurons with the largest change of the prediction (root mean square); press one to select it"
)
N_LISTED: Final = 8
# The keys are the kinds of `live.mask.stimulus_edits`; "" stands for no edit.
PICTURES: Final = {
    "": "recorded",
    "blank": "blank",
    "freeze": "freeze at",
    "other_clip": "clip from",
    "picture": "found",
}
MIRRORS: Final = {
    "": ("none", "Not mirrored"),
    "horizontal": ("↔", "Mirror the video: horizontal"),
    "vertical": ("↕", "Mirror the video: vertical"),
    "both": ("↔ ↕", "Mirror the video: horizontal and vertical"),
}
CHANGES: Final = {
    "": "none",
    "behavior_set": "set to",
    "behavior_scale": "scaled by",
    "behavior_shift": "delayed by",
}
# Initial values. A factor of 1 or a delay of 0 s would have no visible effect.
INITIAL: Final = {"behavior_set": 0.0, "behavior_scale": 2.0, "behavior_shift": 0.5}
MAX_CONTRAST: Final = 300
"""Percent. Beyond it, nearly all pixels are clipped to black or white."""
DIMMED: Final = 0.45
"""Brightness of hidden frames, as in the stimulus panel."""


def _shift_setting(name: str, label: str, help_text: Any, most: Any, unit: str) -> Any:
    return setting(
        label, help_text, 0, unit=unit,
        low=lambda view: -most(view.spec), high=lambda view: most(view.spec),
        initial=lambda view: getattr(view.shift, name),
        apply=lambda value, view: view.put_shift(replace(view.shift, **{name: value})),
        refusal=lambda view: view.no_video,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class EditSettings:
    """Controls of every kind of edit, in the order in which they are drawn."""

    picture: str = setting(
        "Video",
        "Edit of the video",
        "",
        options=lambda view: view.pictures,
        initial=lambda view: view.picture,
        apply=lambda kind, view: view.put_picture(kind),
        refusal=lambda view: view.no_video,
    )
    at: float = setting(
        "At",
        "Frame of the window at which the video is frozen, or start of the clip in the recording",
        0.0,
        unit=lambda view: "s" if view.picture == "other_clip" else "frame",
        step=lambda view: 0.1 if view.picture == "other_clip" else 1.0,
        low=0,
        high=lambda view: view.last_place,
        initial=lambda view: view.place,
        apply=lambda at, view: view.put_picture(view.picture, at),
        refusal=lambda view: "" if view.has_place else "Choose “freeze at” or “clip from” first",
    )
    mirror: str = setting(
        "Mirror",
        "Mirror the video",
        "",
        options=tuple((axis, *texts) for axis, texts in MIRRORS.items()),
        initial=lambda view: view.mirror,
        apply=lambda axis, view: view.put_mirror(axis),
        refusal=lambda view: view.no_video,
    )
    contrast: int = setting(
        "Contrast",
        "Contrast about the screen's mean gray",
        100,
        unit="%",
        low=0,
        high=MAX_CONTRAST,
        initial=lambda view: view.contrast,
        apply=lambda percent, view: view.put_contrast(percent),
        refusal=lambda view: view.no_video,
        stroke="What if: contrast",
    )
    right: int = _shift_setting(
        "right",
        "Right",
        "Shift of the video to the right in pixels",
        lambda spec: spec.video.width if spec.video else 0,
        "px",
    )
    down: int = _shift_setting(
        "down",
        "Down",
        "Shift of the video down in pixels",
        lambda spec: spec.video.height if spec.video else 0,
        "px",
    )
    later: int = _shift_setting(
        "later",
        "Delay",
        lambda view: f"Delay of the video in frames (fr) of the model's video{view.each_frame}",
        lambda spec: spec.n_frames,
        # Short: a wider label cuts the values of both columns in a dock.
        "fr",
    )
    part: str = setting(
        "Where",
        "Part of the window that is edited",
        "all",
        options=lambda view: view.part_options,
        initial=lambda view: view.part,
        apply=lambda part, view: view.move_to(part),
    )
    channel: str = setting(
        "Behaviour",
        "Behaviour channel to edit",
        "",
        options=lambda view: [(name, channel_text(name), "") for name in view.channels],
        initial=lambda view: view.channel,
        apply=lambda name, view: view.choose_channel(name),
        refusal=lambda view: view.no_behavior,
    )
    change: str = setting(
        "Edit",
        "Edit of the channel",
        "",
        options=tuple((kind, text, "") for kind, text in CHANGES.items()),
        initial=lambda view: view.change[0],
        apply=lambda kind, view: view.put_change(kind, INITIAL.get(kind, 0.0)),
        refusal=lambda view: view.no_behavior,
    )
    value: float = setting(
        "Value",
        "Value in the units of the recording, factor, or seconds",
        0.0,
        unit=lambda view: "s" if view.change[0] == "behavior_shift" else "",
        step=lambda view: view.sample_s if view.change[0] == "behavior_shift" else 0.5,
        low=-1e4,
        high=1e4,
        initial=lambda view: view.change[1],
        apply=lambda value, view: view.put_change(view.change[0], value),
        refusal=lambda view: "" if view.change[0] else "Choose an edit of the channel first",
    )


class WhatIfView(OfController):
    """Edits, both frames, both predictions, and the most changed neurons.

    Attributes
    ----------
    form
        One setting per kind of edit.
    """

    name = "what-if"

    def __init__(
        self,
        state: LiveState,
        results: Results,
        stimulus_edits: StimulusEdits,
        laboratory: Laboratory,
        navigation: Navigation,
        selection: Selection,
    ) -> None:
        self._state, self._results, self._edits = state, results, stimulus_edits
        self._laboratory, self._navigation, self._selection = laboratory, navigation, selection
        self._part, self._channel = "all", ""
        self.form = Form(EditSettings, lambda: self)

    def blocks(self) -> Sequence[record.Block]:
        """Return the record: edits, settings, frames and neurons, and predictions."""
        events, changed = self._state.events, self._results.changed
        window, edits, cursor = events.window, events.edits, events.cursor
        found: list[SignalInstance] = [self._laboratory.measured, self.form.changed]
        return [
            record.Block(self._head, [edits, events.mask, window, changed]),
            record.Block(self._settings, [edits, events.session, window, *found]),
            record.Block(self._frames, [edits, window, cursor, events.mask, changed]),
            record.Block(self._rows, [window, events.selection, edits, changed]),
            cursor_block(self._state),
        ]

    # -- values of the settings -------------------------------------------------------
    @property
    def spec(self) -> WindowSpec:
        """Sizes of the window on screen."""
        return self._state.spec

    @property
    def no_video(self) -> str:
        """Why the video cannot be edited, "" if it can."""
        session = self._state.session
        if session is None:
            return record.NO_SESSION
        if session.stimulus is None:
            return HAS_NO_VIDEO
        return "" if self.spec.video is not None else NO_VIDEO

    @property
    def no_behavior(self) -> str:
        """Why behaviour cannot be edited, "" if it can."""
        if self._state.session is None:
            return record.NO_SESSION
        if not self.channels:
            return HAS_NONE
        return "" if self.spec.behavior is not None else NO_BEHAVIOR

    @property
    def _is_fixed(self) -> bool:
        """Whether neither video nor behaviour can be edited."""
        return bool(self.no_video and self.no_behavior)

    @property
    def pictures(self) -> Options:
        """Edits that replace the video; a found picture only if there is one."""
        kinds = [kind for kind in PICTURES if kind != "picture" or self._known_picture is not None]
        return [(kind, PICTURES[kind], "") for kind in kinds]

    @property
    def picture(self) -> str:
        """Kind of the edit that replaces the video, or ""."""
        kinds = (kind for kind in PICTURES if kind and self._edits.get(kind) is not None)
        return next(kinds, "")

    @property
    def _known_picture(self) -> Any:
        """The picture on screen, else the one that the laboratory has found."""
        shown = self._edits.get("picture")
        return shown if shown is not None else self._laboratory.picture()

    @property
    def has_place(self) -> bool:
        """Whether the edit of the video has a frame or a time."""
        return self.picture in ("freeze", "other_clip")

    @property
    def place(self) -> float:
        """Frame of a frozen video, or start of another clip in seconds."""
        edit = self._edits.get(self.picture)
        if isinstance(edit, OtherClip):
            return edit.start_s
        return float(edit.at) if isinstance(edit, Freeze) else 0.0

    @property
    def last_place(self) -> float:
        """Largest frame or time for `place`."""
        if self.picture != "other_clip":
            return max(self.spec.n_frames - 1, 0)  # without video
        return 0.0 if self._state.session is None else self._state.session.duration_s

    @property
    def mirror(self) -> str:
        """Axis of the mirror: one of `MIRRORS`."""
        axes = [axis for axis in ("horizontal", "vertical") if self._edits.get("mirror", axis)]
        return "both" if len(axes) == 2 else "".join(axes)

    @property
    def contrast(self) -> int:
        """Contrast in percent."""
        edit = self._edits.get("contrast")
        return round(100 * edit.factor) if isinstance(edit, Contrast) else 100

    @property
    def shift(self) -> Shift:
        """Shift of the video; of nothing without an edit."""
        edit = self._edits.get("shift")
        return edit if isinstance(edit, Shift) else Shift()

    @property
    def each_frame(self) -> str:
        """Duration of a frame of the model's video, after a comma; "" without video."""
        video = self.spec.video
        return "" if video is None else f", {1000 / video.rate_hz:z.0f} ms each"

    @property
    def channels(self) -> Sequence[str]:
        """Names of the behaviour channels."""
        return () if self._state.session is None else self._state.session.behavior_names

    @property
    def channel(self) -> str:
        """Channel that is edited: the last one at first."""
        if self._channel in self.channels:
            return self._channel
        return self.channels[-1] if self.channels else ""

    @property
    def sample_s(self) -> float:
        """Time between two behaviour samples; 1 s without behaviour."""
        behavior = self.spec.behavior
        return 1.0 if behavior is None else 1 / behavior.rate_hz

    @property
    def change(self) -> tuple[str, float]:
        """Kind of the edit of the channel, or "", and its value."""
        for kind in filter(None, CHANGES):
            edit = self._edits.get(kind, self.channel)
            if isinstance(edit, BehaviorSet):
                return kind, edit.value
            if isinstance(edit, BehaviorScale):
                return kind, edit.factor
            if isinstance(edit, BehaviorShift):
                # Stored in samples and shown in seconds.
                return kind, edit.later * self.sample_s
        return "", 0.0

    @property
    def part(self) -> str:
        """Part of the window that the edits use; without edits, the last chosen one."""
        spans = {getattr(edit, "span", None) for edit in self._edits.edits}
        for part, both in parts_of(self.spec).items():
            if spans and spans <= set(both):
                self._part = part
        return self._part

    @property
    def part_options(self) -> Options:
        """Parts of the window, with the length of half of it."""
        half = half_text(self.spec.duration_s)
        return (
            ("all", "all", "Edit the whole window"),
            ("first", "start", f"Edit the first {half}"),
            ("last", "end", f"Edit the last {half}"),
        )

    @property
    def _spans(self) -> tuple[Span | None, Span | None]:
        return parts_of(self.spec)[self.part]

    # -- what the user does -----------------------------------------------------------
    def put_picture(self, kind: str, at: float | None = None) -> None:
        """Replace the video; freeze at the cursor, or begin a clip with the window."""
        window, span = self._state.window, self._spans[0]
        if window is None:
            return
        made: dict[str, Callable[[], Edit]] = {
            "blank": lambda: Blank(span),
            "freeze": lambda: Freeze(round(self._state.cursor if at is None else at), span),
            "other_clip": lambda: OtherClip(window.start_s if at is None else at, span),
            "picture": lambda: replace(self._known_picture, span=span),
        }
        self._edits.put_video(*([made[kind]()] if kind else []))

    def put_mirror(self, axis: str) -> None:
        """Mirror the video on one of `MIRRORS`."""
        axes: tuple[MirrorAxis, ...] = ("horizontal", "vertical")
        made = [Mirror(each, self._spans[0]) for each in axes if axis in (each, "both")]
        self._put(made, [("mirror", each) for each in axes])

    def put_contrast(self, percent: int) -> None:
        """Set the contrast; 100 % is the recording, so there is no edit to keep."""
        made = [] if percent == 100 else [Contrast(percent / 100, self._spans[0])]
        self._put(made, [("contrast", "")])

    def put_shift(self, shift: Shift) -> None:
        """Shift the video in space and time."""
        made = [replace(shift, span=self._spans[0])]
        self._put(made if shift.right or shift.down or shift.later else [], [("shift", "")])

    def choose_channel(self, name: str) -> None:
        """Choose the channel that is edited."""
        self._channel = name

    def put_change(self, kind: str, value: float) -> None:
        """Apply an edit to the chosen behaviour channel, in place of its earlier edit."""
        name, span = self.channel, self._spans[1]
        made: dict[str, Callable[[], Edit]] = {
            "behavior_set": lambda: BehaviorSet(name, value, span),
            "behavior_scale": lambda: BehaviorScale(name, value, span),
            "behavior_shift": lambda: BehaviorShift(name, round(value / self.sample_s), span),
        }
        self._put([made[kind]()] if kind else [], [(each, name) for each in CHANGES if each])

    def move_to(self, part: str) -> None:
        """Move all edits to a part of the window; later edits use this part too."""
        self._part = part
        spans = parts_of(self.spec)[part]
        # One call for all edits, so that the change is one undo step.
        edits = [
            # Index 0 is the span in frames, 1 the span in behaviour samples.
            replace(cast(Any, edit), span=spans[isinstance(edit, BehaviorEdit)])
            for edit in self._edits.edits
        ]
        self._edits.set(edits, "What if: another part")

    def _put(self, made: Sequence[Edit], replaced: Sequence[tuple[str, str]]) -> None:
        if made:
            self._edits.put(*made, instead=replaced)
        else:
            self._edits.remove(*replaced)

    # -- content ----------------------------------------------------------------------
    @property
    def status(self) -> str:
        """Freshness of the result, or that it has no score."""
        if not self._edits.edits:
            return ""
        return AGES.get(self._results.what_if_freshness, NO_TRUTH)

    def _head(self) -> Sequence[record.Item | record.Row]:
        text = self._edits.text if self._edits.edits else FIXED if self._is_fixed else NO_EDITS
        remarks = [f"⚠ {remark}" for remark in self._edits.remarks]
        if error := self._results.what_if_error:
            remarks.insert(0, f"⚠ Not predicted: {error}")
        reset = record.Action(
            "reset",
            "Reset",
            "Remove all edits (Shift+W; Ctrl+Z restores them)",
            self._edits.reset,
            "" if self._edits.edits else NO_EDITS,
        )
        return [
            record.Row(
                "head", (record.Text("edits", text, is_line=True, tip=text), reset), "edits"
            ),
            record.Text("status", self.status, "warning", "There is no recording with the edits"),
            record.Text("remarks", "\n".join(remarks), "warning"),
        ]

    def _settings(self) -> Sequence[record.Item]:
        return [record.Settings("settings", self.form)]

    def _frames(self) -> Sequence[record.Row]:
        """Return both frames at the cursor, and the most changed neurons."""
        state, mask = self._state, self._state.mask
        items: list[record.Item] = []
        if state.window is not None and mask is not None and not self.no_video:
            at = frame_at_sample(state.spec, state.cursor)
            light = 1.0 if mask.frames[at] else DIMMED
            edited = self._edits.window or state.window
            items += [
                _frame("recorded", palette.RECORDED, state.window, at, light),
                _frame("edited", palette.EDITED, edited, at, light),
            ]
        return [record.Row("frames", (*items, self._most_changed()))]

    def _most_changed(self) -> record.Table:
        session, result = self._state.session, self._results.what_if
        most = () if result is None else result.most_changed(N_LISTED).tolist()
        changes = self._changes()
        names = () if session is None else session.units.names
        rows = tuple((f"{names[n]}", number_text(changes[n])) for n in most)
        pick = partial(self._pick, tuple(most))
        delta = "Δ" if result is None else f"Δ ({unit_text(result.before.units)})"
        return record.Table("most", MOST_LABEL, ("unit", delta), rows, pick)

    def _pick(self, neurons: Sequence[int], row: int) -> None:
        self._selection.select([neurons[row]], add=True)

    def _changes(self) -> dict[int, float]:
        """Return the change of each predicted neuron."""
        result = self._results.what_if
        if result is None:
            return {}
        return dict(zip(result.neurons.tolist(), result.change.tolist(), strict=True))

    def _rows(self) -> Sequence[record.Item]:
        rows = tuple(self.traces())
        return [
            record.Legend("legend", (*SIGNS, ("┃", palette.AXIS, bar_text(self._state.spec)))),
            record.Traces(
                "traces",
                "Predictions without and with the edits",
                rows,
                "" if rows else self._missing(),
                TIP,
                lambda time_s: move_cursor(self._state, self._navigation, time_s),
                (palette.PREDICTED, palette.EDITED),
            ),
        ]

    def _missing(self) -> str:
        if self._state.window is None:
            return record.NO_SESSION
        if not self._state.edits:
            return f"{self.no_video}\n{self.no_behavior}" if self._is_fixed else EDIT_FIRST
        return self.status if self._results.what_if is None else SELECT_FIRST

    def traces(self) -> list[Trace]:
        """Return rows of the selected neurons that have a prediction."""
        state, result = self._state, self._results.what_if
        if state.session is None or state.window is None or result is None:
            return []
        time = state.window.timestamps["responses"]
        is_old = self._results.what_if_freshness != "fresh"
        changes, rows, least = self._changes(), [], least_span(state.spec)
        for neuron in state.selection:
            # Only target samples are predicted; other neurons have nothing to compare.
            before = predicted_of(result.before, neuron, state.window)
            if before is None or not np.isfinite(before).any():
                continue
            # Δ, not r: there is no recording under edited input, so a score is not
            # defined.
            unit = unit_text(result.before.units)
            label = f"{state.session.units.names[neuron]} · Δ {number_text(changes[neuron])} {unit}"
            # No shading: both curves exist in the target samples only.
            shade = np.zeros(len(time), np.uint8)
            after = predicted_of(result.after, neuron, state.window)
            row = Trace(label, label, time, before, after, shade, is_old, least)
            rows.append(replace(row, bar=bar_height(state.spec)))
        return rows


def parts_of(spec: WindowSpec) -> dict[str, tuple[Span | None, Span | None]]:
    """Return frames and behaviour samples of each part of a window, None for all."""
    frames, samples = spec.n_frames, spec.n_behavior
    return {
        "all": (None, None),
        "first": ((0, frames // 2), (0, samples // 2)),
        "last": ((frames // 2, frames), (samples // 2, samples)),
    }


def _frame(name: str, colour: str, window: Window, at: int, light: float) -> record.Image:
    """Return a frame in gray; hidden frames are dimmed."""
    gray = (light * window.frames_u8[at]).astype(np.uint8)
    pixels = np.repeat(gray[:, :, None], 3, axis=2)
    return record.Image(name, f"Frame, {name}", pixels, colour, title=name, tip=FRAME_TIP)
