"""Text about the current task and its treatment by a predictor."""

from typing import Final

import numpy as np

from omnimouse_model.live.mask.presets import preset_named
from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import Mask
from omnimouse_model.masks.remarks import guard_text
from omnimouse_model.predict.predictor import Needs

VIDEO_NAMES: Final = ("all", "none", "first", "last")
"""Names of parts of the window's video that the model sees."""
NO_VIDEO: Final = "This model reads no video."
BY_HAND: Final = "made by hand"


def task_text(state: LiveState) -> str:
    """Return the meaning of the preset, and its adaptation to a small population."""
    if state.mask is None:
        return ""
    if not state.preset:
        return "Mask painted by hand."
    parts = [preset_named(state.preset).explanation]
    unread = {"video": state.spec.video, "behaviour": state.spec.behavior}
    if missing := [name for name, spec in unread.items() if spec is None]:
        parts.append(f"This model reads no {' and no '.join(missing)}.")
    if note := state.mask.note:
        parts.append(f"{note[0].upper()}{note[1:]}.")
    mask = state.mask
    # The guard matters where the same neuron is visible and a target.
    if (mask.visible.any(axis=0) & mask.target.any(axis=0)).any():
        parts.append(guard_text(mask))
    return " ".join(parts)


def caveats(mask: Mask, needs: Needs) -> list[str]:
    """Return warnings where a predictor ignores or leaks parts of a mask."""
    # A mask states what a predictor may see; whether the predictor reads this input, or
    # excludes hidden input, depends on the predictor (`Needs`).
    if needs.is_stored:
        return ["⚠ Predictions of a file: what this mask shows changes nothing."]
    warnings = []
    if mask.frames.any() and not needs.sees_video:
        warnings.append("⚠ This model does not read video.")
    if not needs.withholds_video and not mask.frames.all():
        warnings.append("⚠ Hidden frames can still inform this model.")
    if mask.has_visible_behavior and not needs.sees_behavior:
        warnings.append("⚠ This model does not use behaviour.")
    if mask.has_behavior_target and not needs.predicts_behavior:
        warnings.append("⚠ This model does not decode behaviour.")
    if mask.visible.any() and not needs.sees_responses:
        warnings.append("⚠ This model does not read visible neurons.")
    return warnings


def video_name(frames: np.ndarray) -> str:
    """Return which of `VIDEO_NAMES` these frames are; "" for another choice."""
    for name in VIDEO_NAMES:
        part = np.zeros(len(frames), bool)
        part[video_span(name, len(frames))] = True
        if np.array_equal(frames, part):
            return name
    return ""


def video_span(name: str, n_frames: int) -> slice:
    """Return the frames of one of `VIDEO_NAMES`: all, none, or a half."""
    half = n_frames // 2
    spans = {"all": (0, n_frames), "none": (0, 0), "first": (0, half)}
    return slice(*spans.get(name, (half, n_frames)))


def half_text(duration_s: float) -> str:
    """Return how long half a window is: "second", or such as "1.5 s"."""
    return "second" if duration_s == 2 else f"{duration_s / 2:.3g} s"
