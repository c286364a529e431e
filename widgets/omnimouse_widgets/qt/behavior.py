"""Behaviour: what was recorded against the predictor's own decode, per channel."""

import numpy as np
from qtpy.QtWidgets import QLabel, QWidget

from omnimouse_model.live.controller import Controller
from omnimouse_model.masks import HIDDEN, TARGET, VISIBLE
from omnimouse_widgets.qt import keys, plots
from omnimouse_widgets.qt.form import column_in
from omnimouse_widgets.qt.redraw import Redraw
from omnimouse_widgets.qt.trace_stack import Trace, TraceStack, cursor_sample
from omnimouse_widgets.qt.traces import legend

TOOLTIP = (
    "Recorded (white) and decoded (orange, dashed) behaviour, z-scored.\n"
    "The decode is the predictor's own · grey bar: 1 s.d. of the session\n"
    "Click or drag: move the cursor"
)
NO_SESSION = "No session is open"
LEAST = (-1.5, 1.5)
"""A row spans three standard deviations of a channel at least."""
MODE_CODES = {"visible": VISIBLE, "target": TARGET, "hidden": HIDDEN}


class BehaviorPanel(QWidget):
    """One row per channel of behaviour, by its name.

    Parameters
    ----------
    controller
        The verbs; the panel only reads its `state` and `results`.
    """

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self.setObjectName("omnimouse-behavior")
        self._controller = controller
        self.stack = TraceStack(self._move_cursor, TOOLTIP)
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.status.setFont(plots.small_font())
        parts = (legend(), self.status, self.stack.canvas)
        column_in(self, *parts, stretch=2, spacing=2)
        keys.bind_keys(self, controller)
        events, results = controller.state.events, controller.results
        self.redraw = Redraw(
            self,
            [
                (self._draw_rows, [events.window, events.mask, results.changed]),
                (self._draw_cursor, [events.cursor, events.window]),
            ],
        )

    def _move_cursor(self, time_s: float) -> None:
        window = self._controller.state.window
        if window is not None:
            time = window.timestamps["responses"]
            self._controller.set_cursor(cursor_sample(time_s, time))

    # -- from state to screen -----------------------------------------------------
    def _draw_rows(self) -> None:
        traces = self.traces()
        self.stack.set_rows(traces)
        self.status.setText(self.status_words())
        has_session = self._controller.state.window is not None
        missing = "This session has no behaviour" if has_session else NO_SESSION
        self.stack.set_message("" if traces else missing)

    def _draw_cursor(self) -> None:
        state = self._controller.state
        if state.window is not None:
            times = state.window.timestamps["responses"]
            self.stack.set_cursor(float(times[state.cursor]))

    def traces(self) -> list[Trace]:
        """Rows of the channels, from state and results alone."""
        state, results = self._controller.state, self._controller.results
        window, mask = state.window, state.mask
        if window is None or mask is None or state.session is None:
            return []
        truth = np.where(window.valid["behavior"][:, None], window.behavior, np.nan)
        decoded = results.behavior if mask.behavior == "target" else None
        if decoded is not None and decoded.shape != truth.shape:
            decoded = None
        shade = np.full(len(truth), MODE_CODES[mask.behavior], np.uint8)
        return [
            Trace(
                words_of(name),
                words_of(name),
                self._times(name),
                truth[:, channel],
                None if decoded is None else decoded[:, channel],
                shade,
                results.is_old,
                LEAST,
            )
            for channel, name in enumerate(state.session.behavior_names)
        ]

    def _times(self, name: str) -> np.ndarray:
        """Sample times of the stream that a channel belongs to."""
        window = self._controller.state.window
        assert window is not None
        times = window.timestamps
        is_running = name == self._names()[-1] and "treadmill" in times
        stream = "treadmill" if is_running else "eye_tracker"
        return times.get(stream, times.get("treadmill", times["responses"]))

    def _names(self) -> tuple[str, ...]:
        session = self._controller.state.session
        return session.behavior_names if session is not None else ()

    def status_words(self) -> str:
        """What was done with behaviour in this question."""
        state, results = self._controller.state, self._controller.results
        if state.mask is None:
            return ""
        if state.mask.behavior == "visible":
            return "Given to the model: nothing to decode."
        if state.mask.behavior == "hidden":
            return "Not asked: behaviour is hidden from the model."
        if results.freshness == "error":
            return f"Not available: {results.error}"
        if results.behavior is not None:
            stale = " (of an older question)" if results.is_old else ""
            return f"Decoded by {state.predictor_name}{stale}."
        if results.freshness == "running":
            return "Asked; predicting…"
        if results.freshness == "stopped":
            return "Asked, and stopped."
        return f"Not available: {state.predictor_name or 'no model'} gave no decode."


def words_of(name: str) -> str:
    """A channel's name for people: `pupil_dsize` is `pupil d-size`."""
    return name.replace("_dsize", " d-size").replace("_", " ")
