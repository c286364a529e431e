"""How playing moves on: wall time as samples, and the window at the cursor's end."""

from typing import Final

from omnimouse_model.live.controller import Controller
from omnimouse_model.masks import N_SAMPLES

SAMPLE_HZ: Final = 30.0
SPEEDS: Final = (0.25, 0.5, 1.0, 2.0)
STRIDES: Final = {N_SAMPLES: "2 s", 30: "1 s", 15: "0.5 s", 3: "0.1 s"}
"""Samples that the window moves by when the cursor passes its end, and their words."""


def samples_due(elapsed_s: float, speed: float) -> int:
    """Samples that should have passed after so much wall time."""
    return int(elapsed_s * SAMPLE_HZ * speed)


def advance(controller: Controller, step: int, stride: int) -> None:
    """On by some samples of the session, whichever window they come to lie in.

    The window steps by `stride` samples where the cursor passes its end.
    """
    state = controller.state
    cursor, window = state.cursor + step, state.window
    if window is None or cursor < N_SAMPLES or stride == N_SAMPLES:
        controller.step_cursor(step)
        return
    controller.seek(window.start_s + stride / SAMPLE_HZ)
    assert state.window is not None
    moved = round((state.window.start_s - window.start_s) * SAMPLE_HZ)
    controller.set_cursor(cursor - moved)


def stride_words(stride: int) -> str:
    """What a stride does, such as `Slide the window by 1 s`."""
    verb = "Step" if stride == N_SAMPLES else "Slide"
    return f"{verb} the window by {STRIDES[stride]}"
