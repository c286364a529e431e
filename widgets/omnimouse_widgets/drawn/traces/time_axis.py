"""Moves of the cursor and the window by a press on a time axis."""

from omnimouse_model.data.clock import WINDOW_S
from omnimouse_model.live.controller import Controller
from omnimouse_widgets.drawn.traces.row import cursor_sample


def cursor_s(controller: Controller) -> float | None:
    """Return the cursor time on the session clock; None without a window."""
    state = controller.state
    if state.window is None:
        return None
    return float(state.window.timestamps["responses"][state.cursor])


def move_cursor(controller: Controller, time_s: float) -> None:
    """Move the cursor to the sample of the window nearest to a time."""
    window = controller.state.window
    if window is not None:
        time = window.timestamps["responses"]
        controller.set_cursor(cursor_sample(time_s, time))


def move_over_span(controller: Controller, time_s: float) -> None:
    """Move the cursor to a time of the shown span.

    If the time is outside the window, the window is centred on it first.
    """
    window = controller.state.window
    if window is None:
        return
    is_within = window.start_s <= time_s < window.start_s + WINDOW_S
    if controller.pins.page is not None and not is_within:
        controller.seek(time_s - WINDOW_S / 2)
    move_cursor(controller, time_s)
