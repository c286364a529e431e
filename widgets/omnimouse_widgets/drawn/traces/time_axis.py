"""Time axis: positions of the cursor, and which frame is shown at a sample."""

from math import ceil

from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.navigation import Navigation
from omnimouse_model.live.state import LiveState
from omnimouse_widgets.drawn.traces.row import cursor_sample


def cursor_s(state: LiveState) -> float | None:
    """Return the cursor time on the session clock; None without a window."""
    if state.window is None:
        return None
    return float(state.window.timestamps["responses"][state.cursor])


def move_cursor(state: LiveState, navigation: Navigation, time_s: float) -> None:
    """Move the cursor to the sample of the window nearest to a time."""
    if state.window is not None:
        time = state.window.timestamps["responses"]
        navigation.set_cursor(cursor_sample(time_s, time))


def move_over_span(controller: Controller, time_s: float) -> None:
    """Move the cursor to a time of the shown span.

    If the time is outside the window, the window is centred on it first.
    """
    window = controller.state.window
    if window is None:
        return
    is_within = window.start_s <= time_s < window.stop_s
    if controller.pins.predictions.page is not None and not is_within:
        controller.navigation.centre_on(time_s)
    move_cursor(controller.state, controller.navigation, time_s)


def frame_at_sample(spec: WindowSpec, sample: int) -> int:
    """Return the video frame on screen at a response sample; 0 without video."""
    if spec.video is None:
        return 0
    # 1e-6: a sample at the onset of a frame belongs to it in spite of rounding.
    frame = int(sample * spec.video.rate_hz / spec.response_rate_hz + 1e-6)
    return min(frame, spec.n_frames - 1)


def sample_at_frame(spec: WindowSpec, frame: int) -> int:
    """Return the first response sample at which a video frame is on screen."""
    if spec.video is None:
        return 0
    sample = ceil(frame * spec.response_rate_hz / spec.video.rate_hz - 1e-6)
    return min(sample, spec.n_samples - 1)
