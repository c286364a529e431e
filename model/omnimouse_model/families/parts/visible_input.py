"""The visible part of a window: the only input of a naive prediction.

Withheld values are replaced before a rule runs, so that no rule can read them.
"""

from dataclasses import dataclass

import numpy as np

from omnimouse_model.data.session import Window, without_missing
from omnimouse_model.data.window_spec import N_SAMPLES
from omnimouse_model.masks import VISIBLE, Mask

# Withheld values are replaced before a rule runs, so that no rule can read them.
BEHAVIOR_LAGS = (-16, -8, -3, 0, 3)
"""In behaviour samples of 50 ms: responses follow behaviour by up to a second."""


N_BEHAVIOR = 40


SCORED = slice(30, 60)
"""Samples of a window that the ridges are fitted to: those that most masks ask for."""


@dataclass(frozen=True, slots=True)
class VisibleInput:
    """The visible part of a window.

    Attributes
    ----------
    visible
        bool (60, P): the visible responses.
    responses
        float32 (60, P), 0 where not visible.
    video
        float32 (60, 36, 64), each hidden frame replaced by the last visible one before
        it (by the first visible one at the start), or None if no frame is visible.
    behavior
        float32 (40, C), or None if it is withheld or missing.
    """

    visible: np.ndarray
    responses: np.ndarray
    video: np.ndarray | None
    behavior: np.ndarray | None

    @classmethod
    def from_window(
        cls, window: Window, mask: Mask, *, responses: bool = True, video: bool = False
    ) -> "VisibleInput":
        """Read the visible part of a window, of the streams that a rule needs."""
        visible = mask.cells == VISIBLE
        if not responses:
            visible = np.zeros_like(visible)
        values = np.zeros(mask.cells.shape, np.float32)
        # Reading responses costs time, and a clip has none.
        if visible.any():
            # Responses that were not recorded are hidden.
            if window.missing is not None:
                visible &= ~window.missing
            values[visible] = window.responses[visible]
        behavior = behavior_of(window) if mask.has_visible_behavior else None
        return cls(
            visible=visible,
            responses=values,
            video=held_frames(window, mask.frames) if video else None,
            behavior=behavior if behavior is not None and behavior.size else None,
        )


def held_frames(window: Window, frames: np.ndarray) -> np.ndarray | None:
    """Return the video in which each hidden frame is the last visible one, or None."""
    if not frames.any():
        return None
    # A held frame has no motion energy; a gray one would add a flash at each border.
    visible = np.flatnonzero(frames)
    at_or_before = np.searchsorted(visible, np.arange(len(frames)), side="right") - 1
    held: np.ndarray = window.video[visible[np.maximum(at_or_before, 0)]]
    return without_missing(held)


def behavior_of(window: Window) -> np.ndarray:
    """Return behaviour (40, C), C 0 without behaviour, missing values at the mean 0."""
    return without_missing(np.asarray(window.behavior, np.float32))


def behavior_inputs(behavior: np.ndarray) -> np.ndarray:
    """Return behaviour at the `BEHAVIOR_LAGS` of every response sample, (60, lags x C).

    Samples outside the window are replaced by its first or last one.
    """
    now = behavior_rows(len(behavior))
    rows = [np.clip(now + lag, 0, len(behavior) - 1) for lag in BEHAVIOR_LAGS]
    return np.concatenate([behavior[row] for row in rows], axis=1)


def behavior_rows(n_behavior: int) -> np.ndarray:
    """Return the behaviour sample at each response sample, int (60,)."""
    return np.arange(N_SAMPLES) * n_behavior // N_SAMPLES
