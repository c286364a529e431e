"""Playback steps: samples due after a wall time, and moves of the window."""

from typing import Final

from omnimouse_model.data.window_spec import OMNIMOUSE, WindowSpec
from omnimouse_model.live.controller import Controller

SPEEDS: Final = (0.25, 0.5, 1.0, 2.0)
SHORT_STRIDES_S: Final = (1.0, 0.5, 0.1)


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


def samples_due(elapsed_s: float, speed: float, rate_hz: float) -> int:
    """Return the samples that should have passed after a wall time."""
    return int(elapsed_s * rate_hz * speed)


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
