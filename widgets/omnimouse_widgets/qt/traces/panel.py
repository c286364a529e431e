"""Traces panel: recorded and predicted responses of the selected neurons."""

from functools import partial
from html import escape

from qtpy.QtWidgets import QWidget

from omnimouse_model.live.controller import Controller
from omnimouse_widgets.drawn.traces.options import Scale, TraceOptions
from omnimouse_widgets.drawn.traces.row import Trace
from omnimouse_widgets.drawn.traces.rows import trace_rows
from omnimouse_widgets.drawn.traces.text import notice_text
from omnimouse_widgets.drawn.traces.time_axis import cursor_s, move_over_span
from omnimouse_widgets.drawn.units import bar_text
from omnimouse_widgets.qt.style import plot_style, shortcuts
from omnimouse_widgets.qt.style.controls import tool_button
from omnimouse_widgets.qt.style.form import column_in
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.traces.legend import LegendLabel, legend_html, pins_html
from omnimouse_widgets.qt.traces.pin_bar import PinBar
from omnimouse_widgets.qt.traces.plot import TraceStack

TOOLTIP = (
    "Recorded (white) and predicted (orange, dashed) responses of selected neurons;\n"
    "green, dotted: the baseline (–: no score in this window)\n"
    "Blue: samples that the model sees · light orange: samples that it predicts\n"
    "Other colours: pinned conditions, with their own correlations\n"
    "r: correlation over windows of a tier, and here: over the samples shown\n"
    "Grey bar: {bar} of the recording; orange bar: of the prediction, see the label\n"
    "A prediction is flatter than one trial, because most of a trial is not\n"
    "predictable. ≈ shape draws it as large as the recording (Shift+S: one scale).\n"
    "Click or drag: move the cursor, and the window if the cursor leaves it"
)
PROGRESS_STYLE = (
    f"QToolButton {{ color: {plot_style.TEXT}; background: #2B2E36; "
    "border-radius: 3px; padding: 1px 5px; border: 1px solid #565C66; }"
)
NO_SELECTION = "Select neurons: Ctrl-click on the field,\nor a row of the table"


class TracesPanel(QWidget):
    """Up to 64 rows of recorded, predicted and pinned curves.

    Parameters
    ----------
    controller
        Source of `state` and `results`, and receiver of the user actions.
    """

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self.setObjectName("omnimouse-traces")
        self._controller = controller
        # The tooltip names the unit of the window; see `_draw_legend`.
        self.stack = TraceStack(partial(move_over_span, controller), "")
        self.legend = LegendLabel()
        self.bar = PinBar(controller)
        tooltip = "Stop predicting the span and the pins"
        self.progress = tool_button("", tooltip, controller.pins.predictions.stop)
        # A child of the canvas, so that it lies over the plot; see `_draw_progress`.
        self.progress.setParent(self.stack.canvas)
        self.progress.setStyleSheet(PROGRESS_STYLE)
        self.progress.hide()
        parts = (self.bar, self.legend, self.stack.canvas)
        column_in(self, *parts, stretch=2, spacing=2)
        shortcuts.bind_keys(self, controller)
        events, results = controller.state.events, controller.results
        baseline, pins = controller.baseline, controller.pins
        self.redraw = Redraw(
            self,
            (self._draw_rows, [events.window, events.mask, events.selection,
                               results.changed, baseline.changed, pins.changed,
                               events.pins, events.trace_span, events.common_scale,
                               events.as_large]),
            (self._draw_legend, [events.baseline_name, events.predictor_name,
                                 events.pins, pins.changed,
                                 events.as_large, events.window,
                                 results.events.neuron_scores]),
            (self._draw_progress, [pins.changed]),
            (self._draw_cursor, [events.cursor, events.window]),
        )  # fmt: skip

    # -- from state to screen -----------------------------------------------------
    def _draw_rows(self) -> None:
        traces = self.traces()
        self.stack.set_rows(traces, self.look.scale)
        has_session = self._controller.state.window is not None
        missing = NO_SELECTION if has_session else plot_style.NO_SESSION
        self.stack.set_message("" if traces else missing)

    def _draw_legend(self) -> None:
        controller, pins = self._controller, self._controller.pins
        bar = bar_text(controller.state.spec)
        self.stack.canvas.setToolTip(TOOLTIP.format(bar=bar))
        notice = notice_text(pins)
        message = f"⚠ {escape(notice)} &nbsp;" if notice else ""
        pinned = message + pins_html(controller)
        line = f"<br>{pinned}" if pinned else ""
        self.legend.setText(legend_html(controller, self.look) + line)

    def _draw_progress(self) -> None:
        """Show the progress over a corner of the plot.

        A separate row would move the plot each time it appears.
        """
        text = self._controller.pins.predictions.message
        self.progress.setVisible(bool(text))
        if text:
            self.progress.setText(f"{text} ✕")
            # A child outside a layout does not follow the size of its text.
            self.progress.adjustSize()
            self.progress.move(self.stack.canvas.width() - self.progress.width() - 16, 4)

    def _draw_cursor(self) -> None:
        self.stack.set_cursor(cursor_s(self._controller.state))

    def traces(self) -> list[Trace]:
        """Return the rows of the selection, from state and results alone."""
        return trace_rows(self._controller, self.look)

    @property
    def look(self) -> TraceOptions:
        """Scales of the rows, from the state that the switches of the bar set."""
        scale: Scale = "common" if self._controller.state.common_scale else "own"
        return TraceOptions(self._controller.state.as_large, scale)
