"""Panel *Stimulus*: the video frame at the cursor, frames of the window, and playback."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Self

import numpy as np
from psygnal import SignalInstance

from omnimouse_model.data.window_spec import OMNIMOUSE, WindowSpec
from omnimouse_model.live.controller import Controller
from omnimouse_widgets import palette
from omnimouse_widgets.views.record import (
    NO_SESSION,
    Action,
    Block,
    Choice,
    Frames,
    Item,
    Row,
    Switch,
    Text,
)
from omnimouse_widgets.views.text.model import NO_VIDEO
from omnimouse_widgets.views.time import frame_at_sample

SPEEDS: Final = (0.25, 0.5, 1.0, 2.0)
SHORT_STRIDES_S: Final = (1.0, 0.5, 0.1)
HAS_NO_VIDEO: Final = "This session has no video"
HIDDEN_FRAME: Final = "hidden from the model"
INVALID_FRAME: Final = "no valid frame here"
TIP: Final = "The video frame at the cursor. Dashed border: hidden from the model."
STRIP_TIP: Final = (
    "The {} frames of the window: tall = visible to the model, low = hidden.\n"
    "Drag: move the cursor · Shift+drag: show or hide frames (inverts the first one)"
)
TIPS: Final = {
    "back": "Previous frame (,)",
    "next": "Next frame (.)",
    "speed": "Session seconds per second",
    "play": "Play (K)",
    "pause": "Pause (K)",
}
"""What the controls of playback do, by name."""
STRIDE_TIP: Final = "Step of the window when the cursor passes its end"
PAINT_FRAMES: Final = "Paint frames"
"""Name of the undo step of a stroke over frames."""


@dataclass(frozen=True, slots=True, eq=False)
class ShownFrame:
    """Frame at the cursor, uint8 (height, width), or a message without one.

    Attributes
    ----------
    note
        Why it is no input of the model, "" if it is; it is then dimmed.
    colour
        Colour of the border, which is dashed with a note.
    """

    pixels: np.ndarray | None
    message: str = ""
    note: str = ""
    colour: str = palette.VISIBLE


class StimulusView:
    """Video with playback; the play keys of all panels use it.

    Attributes
    ----------
    is_playing, speed, stride
        Whether playback runs; session seconds per second; step of the window in samples
        when the cursor passes its end.
    changed
        Emitted after a change of one of them.
    """

    name = "stimulus"

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self.changed = SignalInstance()
        self.is_playing, self.speed = False, 1.0
        self._stride = controller.state.spec.n_samples

    @classmethod
    def of(cls, controller: Controller) -> Self:
        """Return the view of a controller."""
        return cls(controller)

    def blocks(self) -> Sequence[Block]:
        """Return the record: frame and strip, and the bar below them."""
        events = self._controller.state.events
        return [
            Block(tuple, [], follow=self._follow),
            Block(lambda: [Frames("frames", "Video frame at the cursor", TIP)], []),
            Block(self._bar, [self.changed, events.window, events.cursor]),
        ]

    def _follow(self, is_visible: bool) -> None:
        # Playback moves the window, and every move requests a prediction.
        if not is_visible:
            self.play(False)

    def _bar(self) -> Sequence[Item | Row]:
        state, step = self._controller.state, self._controller.navigation.step_cursor
        speeds = tuple((f"{speed:g}", f"×{speed:g}", "") for speed in SPEEDS)
        play, word = ("❚❚", "pause") if self.is_playing else ("▶", "play")
        sliding = tuple(
            Action(
                f"stride{stride}",
                f"{'✓' if stride == self.stride else '　'} {stride_text(stride, state.spec)}",
                STRIDE_TIP,
                partial(self.set_stride, stride),
            )
            for stride in strides(state.spec)
        )
        clock, is_on = clock_text(self._controller), self.is_playing
        help_text = f"{TIPS[word]}; the arrow: step of the window"
        items: tuple[Item, ...] = (
            Action("back", "‹", TIPS["back"], partial(step, -1), key=","),
            Switch("playing", play, help_text, is_on, self.play, actions=sliding, key="K"),
            Action("next", "›", TIPS["next"], partial(step, 1), key="."),
            Choice(
                "speed", "Speed", TIPS["speed"], speeds, f"{self.speed:g}",
                lambda speed: self.set_speed(float(speed)),
            ),
        )  # fmt: skip
        # A line of its own: beside the buttons it would be cut in a narrow dock.
        tip = "Session time and frame at the cursor"
        return [Row("bar", items), Text("clock", clock, tip=tip, is_line=True)]

    # -- playback ---------------------------------------------------------------------
    @property
    def stride(self) -> int:
        """A whole window if the chosen stride does not exist for the window's spec."""
        spec = self._controller.state.spec
        return self._stride if self._stride in strides(spec) else spec.n_samples

    def play(self, is_playing: bool) -> None:
        """Start playback at the cursor, or stop it there."""
        is_playing = is_playing and self._controller.state.window is not None
        if is_playing != self.is_playing:
            self.is_playing = is_playing
            self.changed.emit()

    def set_speed(self, speed: float) -> None:
        """Set the session seconds per second."""
        if speed != self.speed:
            self.speed = speed
            self.changed.emit()

    def set_stride(self, stride: int) -> None:
        """Set the step of the window; a whole window shows each sample once."""
        if stride != self._stride:
            self._stride = stride
            self.changed.emit()

    # -- frames -----------------------------------------------------------------------
    def frame(self) -> ShownFrame:
        """Return the frame at the cursor, and what the model does with it."""
        state = self._controller.state
        if state.window is None or state.mask is None:
            return ShownFrame(None, NO_SESSION)
        if state.spec.video is None:
            return ShownFrame(None, NO_VIDEO)
        if state.session is not None and state.session.stimulus is None:
            return ShownFrame(None, HAS_NO_VIDEO)
        at = frame_at_sample(state.spec, state.cursor)
        pixels = state.window.frames_u8[at]
        if not state.window.valid["video"][at]:
            return ShownFrame(pixels, note=INVALID_FRAME, colour=palette.PROBLEM)
        if state.mask.frames[at]:
            return ShownFrame(pixels)
        return ShownFrame(pixels, note=HIDDEN_FRAME, colour=palette.AXIS)

    def show_frames(self, first: int, stop: int, is_visible: bool) -> None:
        """Show frames of the window to the model, or hide them."""
        mask = self._controller.state.mask
        if mask is not None:
            # Masks are immutable values; the editor makes a new one.
            frames = mask.frames.copy()
            frames[first:stop] = is_visible
            self._controller.editor.set_frames(frames)


def clock_text(controller: Controller) -> str:
    """Return time and frame at the cursor, e.g. `4.03 s · frame 12`."""
    state = controller.state
    if state.window is None:
        return ""
    at = float(state.window.timestamps["responses"][state.cursor])
    # The cursor counts samples, which are frames where both have one rate.
    word = "frame" if state.spec.n_frames == state.spec.n_samples else "sample"
    return f"{at:z.2f} s · {word} {state.cursor}"


def strides(spec: WindowSpec) -> dict[int, str]:
    """Return the steps of the window in samples, with their lengths as text.

    The window moves by one of them when the cursor passes its end.
    """
    if spec.align == "trial":
        # Such a window begins at a trial, so it cannot slide.
        return {spec.n_samples: "1 trial"}
    strides_by_samples = {spec.n_samples: f"{spec.duration_s:.3g} s"}
    for seconds in SHORT_STRIDES_S:
        samples = round(seconds * spec.response_rate_hz)
        if 0 < samples < spec.n_samples:
            strides_by_samples[samples] = f"{seconds:g} s"
    return strides_by_samples


def advance(controller: Controller, step: int, stride: int) -> None:
    """Move the cursor by `step` samples of the session.

    The window moves by `stride` samples when the cursor passes its end.
    """
    state, spec = controller.state, controller.state.spec
    cursor, window = state.cursor + step, state.window
    if window is None or cursor < spec.n_samples or stride == spec.n_samples:
        controller.navigation.step_cursor(step)
        return
    controller.navigation.seek_nearest(window.start_s + stride / spec.response_rate_hz, 1)
    assert state.window is not None
    # The window may have moved by less at the end of the session: the cursor stays at
    # its time.
    moved = round((state.window.start_s - window.start_s) * spec.response_rate_hz)
    controller.navigation.set_cursor(cursor - moved)


def stride_text(stride: int, spec: WindowSpec = OMNIMOUSE) -> str:
    """Return what a stride does, such as `Slide the window by 1 s`."""
    verb = "Step" if stride == spec.n_samples else "Slide"
    return f"{verb} the window by {strides(spec)[stride]}"
