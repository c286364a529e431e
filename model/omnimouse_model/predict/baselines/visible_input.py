"""What a naive predictor is given: the visible part of a window, and nothing else.

Withheld values are replaced before a rule runs, so that no rule can read them.
"""

from dataclasses import dataclass

import numpy as np

from omnimouse_model.data.clock import N_SAMPLES
from omnimouse_model.data.window import Window, without_missing
from omnimouse_model.masks import VISIBLE, Mask

BEHAVIOR_LAGS = (-16, -8, -3, 0, 3)
"""In behaviour samples of 50 ms: calcium is slow, and a mouse slower."""


@dataclass(frozen=True, slots=True)
class VisibleInput:
    """The visible part of a window.

    Attributes
    ----------
    visible
        bool (60, P): the responses that are seen.
    responses
        float32 (60, P), 0 where not seen.
    video
        float32 (60, 36, 64), every hidden frame holding the last visible one before
        it (the first visible one before that), or None where no frame is visible.
    behavior
        float32 (40, C), or None where it is withheld or missing.
    """

    visible: np.ndarray
    responses: np.ndarray
    video: np.ndarray | None
    behavior: np.ndarray | None

    @classmethod
    def through(
        cls, window: Window, mask: Mask, *, responses: bool = True, video: bool = False
    ) -> "VisibleInput":
        """What `mask` lets through of a window; streams not needed are not read."""
        visible = (
            mask.cells == VISIBLE if responses else np.zeros_like(mask.cells, bool)
        )
        values = np.zeros(mask.cells.shape, np.float32)
        if visible.any():
            values[visible] = without_missing(window.responses[visible])
        return cls(
            visible=visible,
            responses=values,
            video=_held_frames(window, mask.frames) if video else None,
            behavior=behavior_of(window) if mask.has_visible_behavior else None,
        )


def _held_frames(window: Window, frames: np.ndarray) -> np.ndarray | None:
    if not frames.any():
        return None
    shown = np.flatnonzero(frames)
    at_or_before = np.searchsorted(shown, np.arange(len(frames)), side="right") - 1
    held: np.ndarray = window.video[shown[np.maximum(at_or_before, 0)]]
    return np.asarray(without_missing(held))


def behavior_of(window: Window) -> np.ndarray | None:
    """Behaviour (40, C) with missing values at their mean, 0; None if there is none."""
    behavior = window.behavior
    if behavior is None or not behavior.shape[1]:
        return None
    return without_missing(np.asarray(behavior, np.float32))


def behavior_inputs(behavior: np.ndarray) -> np.ndarray:
    """Behaviour at the `BEHAVIOR_LAGS` of every response sample: (60, lags x C)."""
    now = np.arange(N_SAMPLES) * len(behavior) // N_SAMPLES
    rows = [np.clip(now + lag, 0, len(behavior) - 1) for lag in BEHAVIOR_LAGS]
    return np.concatenate([behavior[row] for row in rows], axis=1)
