"""Traces panel: recorded and predicted responses of the selected neurons."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QToolButton, QWidget

from omnimouse_model.data.window_spec import OMNIMOUSE, WindowSpec
from omnimouse_model.live.compare.pins import PinAnswer
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.pin import Pin
from omnimouse_widgets.drawn.traces.options import Look, Scale
from omnimouse_widgets.drawn.traces.row import Trace
from omnimouse_widgets.drawn.traces.rows import shown_answers, trace_rows
from omnimouse_widgets.drawn.traces.text import Sign, legend_signs, pinned_signs
from omnimouse_widgets.drawn.traces.time_axis import cursor_s, move_over_span
from omnimouse_widgets.drawn.units import bar_words
from omnimouse_widgets.qt.style import plot_style, shortcuts
from omnimouse_widgets.qt.style.form import column_in
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.traces.pin_bar import PinBar
from omnimouse_widgets.qt.traces.plot import TraceStack

TOOLTIP = (
    "Recorded (white) and predicted (orange, dashed) responses of selected neurons;\n"
    "green, dotted: the baseline that is compared with (–: it has no score here)\n"
    "Blue: samples the model sees · light orange: samples it must predict\n"
    "Other colours: pinned conditions, with their own correlations\n"
    "r: correlation over the predicted samples shown · grey bar: {bar}\n"
    "A prediction is flatter than one trial, most of which nothing tells of: ≈ shape\n"
    "draws it as large as what was recorded\n"
    "Click or drag: move the cursor, and the window where it is outside"
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
        self.stack = TraceStack(
            partial(move_over_span, controller), tooltip(controller)
        )
        self.legend = legend()
        self.bar = PinBar(controller)
        # A child of the canvas, so that it lies over the plot; see `_draw_progress`.
        self.progress = QToolButton(self.stack.canvas)
        self.progress.setToolTip("Stop predicting the span and the pins")
        self.progress.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.progress.setStyleSheet(PROGRESS_STYLE)
        self.progress.clicked.connect(lambda: controller.pins.stop())
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
                               events.pins, events.trace_span,
                               events.common_scale, events.as_large]),
            (self._draw_legend, [events.baseline_name, events.pins, pins.changed,
                                 events.as_large, events.window]),
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
        controller = self._controller
        is_large = controller.state.as_large
        state = controller.state
        self.stack.canvas.setToolTip(tooltip(controller))
        words = legend_words(state.baseline_name, is_large=is_large, spec=state.spec)
        pins = controller.pins
        said = f"⚠ {escape(pins.told)} &nbsp;" if pins.told else ""
        pinned = said + pinned_words(
            controller.state.pins, shown_answers(controller), pins.why_silent
        )
        # Not wrapped, but cut at the edge: a third line would take a row of curves.
        line = f"<br><span style='white-space:nowrap'>{pinned}</span>"
        self.legend.setText(words + line if pinned else words)
        # The whole text, because the line may be cut.
        self.legend.setToolTip(pinned and f"<p>{pinned}</p>")

    def _draw_progress(self) -> None:
        """Show the progress over a corner of the plot.

        A separate row would move the plot each time it appears.
        """
        words = self._controller.pins.words
        self.progress.setVisible(bool(words))
        if words:
            self.progress.setText(f"{words} ✕")
            # A child outside a layout does not follow the size of its text.
            self.progress.adjustSize()
            self.progress.move(
                self.stack.canvas.width() - self.progress.width() - 16, 4
            )

    def _draw_cursor(self) -> None:
        time_s = cursor_s(self._controller)
        if time_s is not None:
            self.stack.set_cursor(time_s)

    def traces(self) -> list[Trace]:
        """Return the rows of the selection, from state and results alone."""
        return trace_rows(self._controller, self.look)

    @property
    def look(self) -> Look:
        """Scales of the rows, from the state that the switches of the bar set."""
        scale: Scale = "common" if self._controller.state.common_scale else "own"
        return Look(self._controller.state.as_large, scale)


def tooltip(controller: Controller) -> str:
    """Return the tooltip of the traces, with the unit of the scale bar."""
    return TOOLTIP.format(bar=bar_words(controller.state.spec))


def legend_words(
    baseline: str = "", *, is_large: bool = False, spec: WindowSpec = OMNIMOUSE
) -> str:
    """Return the legend of colours and lines as HTML; see `legend_signs`."""
    return _in_html(legend_signs(baseline, is_large=is_large, spec=spec))


def pinned_words(
    pins: Sequence[Pin],
    answers: Mapping[int, PinAnswer],
    why_silent: Callable[[Pin], str],
) -> str:
    """Return the legend of the shown pins as HTML, with reasons for missing ones."""
    return _in_html(pinned_signs(pins, answers, why_silent))


def _in_html(signs: Sequence[Sign]) -> str:
    return " &nbsp;".join(
        # Names of pins are typed by the user and may contain & or <.
        f"<span style='color:{sign.colour}'>{sign.glyph}</span> {escape(sign.words)}"
        for sign in signs
    )


def legend() -> QLabel:
    """Return a label with `legend_words` on the background of the plots."""
    label = QLabel(legend_words())
    label.setTextFormat(Qt.TextFormat.RichText)
    label.setFont(plot_style.small_font())
    label.setMinimumWidth(1)
    # Plots are dark in light themes, too, because the recording is drawn in white.
    label.setStyleSheet(
        f"color: {plot_style.TEXT}; background: {plot_style.BACKGROUND};"
        " padding: 1px 4px;"
    )
    return label
