"""Behaviour panel: recorded and decoded behaviour for each channel."""

from functools import partial

from qtpy.QtWidgets import QLabel, QWidget

from omnimouse_model.live.controller import Controller
from omnimouse_widgets.drawn.traces.behavior_rows import (
    behavior_rows,
    behavior_text,
)
from omnimouse_widgets.drawn.traces.text import legend_entries
from omnimouse_widgets.drawn.traces.time_axis import cursor_s, move_cursor
from omnimouse_widgets.qt.style import plot_style, shortcuts
from omnimouse_widgets.qt.style.form import column_in
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.traces.legend import LegendLabel
from omnimouse_widgets.qt.traces.plot import TraceStack

TOOLTIP = (
    "Recorded (white) and decoded (orange, dashed) behaviour, z-scored.\n"
    "The predictor itself decodes behaviour · grey bar: 1 s.d. of the session\n"
    "Click or drag: move the cursor"
)


class BehaviorPanel(QWidget):
    """Curves of recorded and decoded behaviour, one row per channel.

    Parameters
    ----------
    controller
        Source of `state` and `results`, and receiver of the user actions.
    """

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self.setObjectName("omnimouse-behavior")
        self._controller = controller
        self.stack = TraceStack(partial(move_cursor, controller), TOOLTIP)
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.status.setFont(plot_style.small_font())
        parts = (LegendLabel(legend_entries()), self.status, self.stack.canvas)
        column_in(self, *parts, stretch=2, spacing=2)
        shortcuts.bind_keys(self, controller)
        events, results = controller.state.events, controller.results
        self.redraw = Redraw(
            self,
            (self._draw_rows, [events.window, events.mask, results.changed]),
            (self._draw_cursor, [events.cursor, events.window]),
        )

    # -- from state to screen -----------------------------------------------------
    def _draw_rows(self) -> None:
        traces, state = behavior_rows(self._controller), self._controller.state
        self.stack.set_rows(traces)
        self.status.setText(behavior_text(self._controller))
        missing = "This session has no behaviour"
        if state.window is None:
            missing = plot_style.NO_SESSION
        self.stack.set_message("" if traces else missing)

    def _draw_cursor(self) -> None:
        self.stack.set_cursor(cursor_s(self._controller))
