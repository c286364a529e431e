"""Text about the current task and its treatment by a predictor."""

from typing import Final

import numpy as np

from omnimouse_model.live.mask.presets import preset_named
from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import N_FRAMES, Mask
from omnimouse_model.predict.predictor import Needs

HALF: Final = N_FRAMES // 2
SPANS: Final = {
    "all": slice(0, N_FRAMES),
    "none": slice(0, 0),
    "first": slice(0, HALF),
    "last": slice(HALF, N_FRAMES),
}
"""Visible video frames of the window for each named choice."""
BY_HAND: Final = "made by hand"


def meaning_words(state: LiveState) -> str:
    """Return the meaning of the preset, and its adaptation to a small population."""
    if state.mask is None:
        return ""
    if not state.preset:
        return "Your own question, painted by hand."
    words = [preset_named(state.preset).explanation]
    if state.mask.note:
        words.append(f"Adapted: {state.mask.note}")
    return " ".join(words)


def caveats(mask: Mask, needs: Needs) -> list[str]:
    """Return warnings where a predictor ignores or leaks parts of a mask."""
    # A mask states what a predictor may see; whether the predictor reads this input, or
    # excludes hidden input, depends on the predictor (`Needs`).
    found = []
    if mask.frames.any() and not needs.sees_video:
        found.append("⚠ This model does not look at video.")
    if not needs.withholds_video and not mask.frames.all():
        found.append("⚠ Hidden frames can still inform this model.")
    if mask.shows_behavior and not needs.sees_behavior:
        found.append("⚠ This model does not use behaviour.")
    if mask.asks_behavior and not needs.predicts_behavior:
        found.append("⚠ This model does not decode behaviour.")
    if mask.visible.any() and not needs.sees_responses:
        found.append("⚠ This model does not look at visible neurons.")
    return found


def video_name(frames: np.ndarray) -> str:
    """Return the key in `SPANS` that equals these frames, or ""."""
    for name, span in SPANS.items():
        wanted = np.zeros(N_FRAMES, bool)
        wanted[span] = True
        if np.array_equal(frames, wanted):
            return name
    return ""
