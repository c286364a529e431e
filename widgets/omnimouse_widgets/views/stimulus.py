"""Panel *Stimulus*: the video frame at the cursor, frames of the window, and playback."""

from collections.abc import Sequence
from functools import partial
from typing import Final

import numpy as np

from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.display import number_text
from omnimouse_model.live.controller import OfController
from omnimouse_model.live.mask.editor import MaskEditor
from omnimouse_model.live.navigation import Navigation, Playback, frame_at_sample, sample_at_frame
from omnimouse_model.live.state import LiveState
from omnimouse_widgets import palette
from omnimouse_widgets.views import record
from omnimouse_widgets.views.text.model import HAS_NO_VIDEO, NO_VIDEO
from omnimouse_widgets.views.time import BETWEEN_TRIALS

SPEEDS: Final = (0.25, 0.5, 1.0, 2.0)
SHORT_STRIDES_S: Final = (1.0, 0.5, 0.1)
HIDDEN_FRAME: Final = "hidden from the model"
INVALID_FRAME: Final = "no valid frame at this time"
TIP: Final = "The video frame at the cursor. Dashed border: hidden from the model."
STRIP_TIP: Final = (
    "The {} frames of the window: tall = visible to the model, low = hidden.\n"
    "Drag: move the cursor · Shift+drag: show or hide frames (inverts the first one)"
)
PLAY_TIPS: Final = ("Play (K)", "Pause (K)")
"""What the play button does while the video stands, and while it plays."""
LABEL: Final = "Video frame at the cursor"
STRIP_LABEL: Final = "Frames of the window"
STRIDE_TIP: Final = "Step of the window when the cursor passes its end"
PAGE_TEXTS: Final = {
    "loading": "loading…",
    "recorded": "recorded",
    "edited": "edited: {}",
    "visible": "visible to the model",
    "hidden": HIDDEN_FRAME,
    "invalid": INVALID_FRAME,
    "no_video": NO_VIDEO,
    "has_no_video": HAS_NO_VIDEO,
    "between": BETWEEN_TRIALS,
    "play": PLAY_TIPS,
    "stride": STRIDE_TIP,
    "frame": "frame {}",
    "paint": "Show / hide",
    "paint_tip": "Drag over the frames of the window to show them to the model or to hide them",
    "fine": "Frame in the window",
    "coarse": "Time in the recording",
    "picture": "Video frame at the playhead. Arrows step a frame, Shift+arrows a window of {}, "
    "Page keys a trial, K plays.",
    "strip_tip": STRIP_TIP,
    "strip": "The {} frames of the window: tall if visible to the model, low if hidden. "
    "Arrows move, Space shows or hides the frame.",
}
"""What a page says about the frames that it keeps and plays itself."""
PAINT_FRAMES: Final = "Paint frames"
"""Name of the undo step of a stroke over frames."""


class StimulusView(OfController):
    """Video with its playback.

    Attributes
    ----------
    playback
        The playhead; the play keys of all panels use it.
    """

    name = "stimulus"

    def __init__(self, state: LiveState, navigation: Navigation, editor: MaskEditor) -> None:
        self._state, self._navigation, self._editor = state, navigation, editor
        self.playback = Playback(state, navigation)

    def blocks(self) -> Sequence[record.Block]:
        """Return the record: frame and strip, and the bar below them."""
        events, changed = self._state.events, self.playback.changed
        frames = [changed, events.window, events.cursor, events.mask]
        return [
            record.Block(tuple, [], follow=self._follow),
            record.Block(self._frames, frames),
            record.Block(self.bar, [changed, events.window, events.cursor]),
        ]

    def _follow(self, is_visible: bool) -> None:
        # Playback moves the window, and every move requests a prediction.
        if not is_visible:
            self.playback.play(False)

    def bar(self) -> Sequence[record.Item | record.Row]:
        """Return the controls of playback, and the time at the cursor."""
        state, step, playback = self._state, self._navigation.step_cursor, self.playback
        speeds = tuple((f"{speed:g}", f"×{speed:g}", "") for speed in SPEEDS)
        is_on = playback.is_playing
        play = "❚❚" if is_on else "▶"
        sliding = tuple(
            record.Action(
                f"stride{stride}",
                f"{'✓' if stride == playback.stride else '　'} {stride_text(stride, state.spec)}",
                STRIDE_TIP,
                partial(playback.set_stride, stride),
            )
            for stride in strides(state.spec)
        )
        help_text = f"{PLAY_TIPS[is_on]}; the arrow: step of the window"
        items: tuple[record.Item, ...] = (
            record.Action("back", "‹", "Previous frame (,)", partial(step, -1), key=","),
            record.Switch(
                "playing", play, help_text, is_on, playback.play, actions=sliding, key="K",
            ),
            record.Action("next", "›", "Next frame (.)", partial(step, 1), key="."),
            record.Choice(
                "speed", "Speed", "Recorded seconds per second", speeds, f"{playback.speed:g}",
                lambda speed: playback.set_speed(float(speed)),
            ),
        )  # fmt: skip
        # A line of its own: beside the buttons it would be cut in a narrow dock.
        tip = "Time in the recording and frame at the cursor"
        return [
            record.Row("bar", items),
            record.Text("clock", clock_text(state), tip=tip, is_line=True),
        ]

    # -- frames -----------------------------------------------------------------------
    def _frames(self) -> Sequence[record.Item]:
        """Return the frame at the cursor, and what the model does with it."""
        state = self._state
        mask, window, spec = state.mask, state.window, state.spec
        visible = np.zeros(spec.n_frames, np.uint8)
        visible[:] = 0 if mask is None else mask.frames
        at = frame_at_sample(spec, state.cursor)
        pixels, missing = np.zeros((0, 0), np.uint8), no_video_text(state)
        note, colour = "", palette.VISIBLE
        if window is not None and not missing:
            pixels = window.frames_u8[at]
            if not window.valid["video"][at]:
                note, colour = INVALID_FRAME, palette.PROBLEM
            elif not visible[at]:
                note, colour = HIDDEN_FRAME, palette.AXIS
        tick = self.playback.tick if self.playback.is_playing else None
        return [
            record.Frames(
                "frames", LABEL, TIP, pixels, missing, note, colour, visible, at,
                STRIP_LABEL, STRIP_TIP.format(len(visible)), PAINT_FRAMES,
                self._scrub, self.show_frames, tick,
            )
        ]  # fmt: skip

    def _scrub(self, frame: int) -> None:
        self._navigation.set_cursor(sample_at_frame(self._state.spec, frame))

    def show_frames(self, first: int, stop: int, is_visible: bool) -> None:
        """Show frames of the window to the model, or hide them."""
        mask = self._state.mask
        if mask is not None:
            # Masks are immutable values; the editor makes a new one.
            frames = mask.frames.copy()
            frames[first:stop] = is_visible
            self._editor.set_frames(frames)


def no_video_text(state: LiveState) -> str:
    """Return why there is no frame, "" if there is one."""
    if state.window is None or state.mask is None:
        return record.NO_SESSION
    # The recording first: windows of one without video have none for any model.
    if state.session is not None and state.session.stimulus is None:
        return HAS_NO_VIDEO
    return NO_VIDEO if state.spec.video is None else ""


def clock_text(state: LiveState) -> str:
    """Return time and frame at the cursor, e.g. `4.03 s · frame 12`."""
    if state.window is None:
        return ""
    at = float(state.window.timestamps["responses"][state.cursor])
    # The cursor counts samples, which are frames where both have one rate.
    word = "frame" if state.spec.n_frames == state.spec.n_samples else "sample"
    return f"{number_text(at)} s · {word} {state.cursor}"


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


def stride_text(stride: int, spec: WindowSpec) -> str:
    """Return what a stride does, such as `Slide the window by 1 s`."""
    verb = "Step" if stride == spec.n_samples else "Slide"
    return f"{verb} the window by {strides(spec)[stride]}"
