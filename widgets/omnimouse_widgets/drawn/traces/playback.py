"""Playback steps: samples due after a wall time, and moves of the window."""

from typing import Final

from omnimouse_model.live.controller import Controller
from omnimouse_model.masks import N_SAMPLES

SAMPLE_HZ: Final = 30.0
SPEEDS: Final = (0.25, 0.5, 1.0, 2.0)
STRIDES: Final = {N_SAMPLES: "2 s", 30: "1 s", 15: "0.5 s", 3: "0.1 s"}
"""Step of the window in samples when the cursor passes its end, with labels."""


def samples_due(elapsed_s: float, speed: float) -> int:
    """Return the number of samples due after a wall time in seconds."""
    return int(elapsed_s * SAMPLE_HZ * speed)


def advance(controller: Controller, step: int, stride: int) -> None:
    """Move the cursor by `step` samples of the session.

    The window moves by `stride` samples when the cursor passes its end.
    """
    state = controller.state
    cursor, window = state.cursor + step, state.window
    if window is None or cursor < N_SAMPLES or stride == N_SAMPLES:
        controller.step_cursor(step)
        return
    controller.seek(window.start_s + stride / SAMPLE_HZ)
    # `seek` snaps to the grid and stops at the end of the session, so the move that
    # took place can differ from the stride.
    assert state.window is not None
    moved = round((state.window.start_s - window.start_s) * SAMPLE_HZ)
    controller.set_cursor(cursor - moved)


def stride_words(stride: int) -> str:
    """Return the description of a stride, e.g. `Slide the window by 1 s`."""
    verb = "Step" if stride == N_SAMPLES else "Slide"
    return f"{verb} the window by {STRIDES[stride]}"
