"""Selected neurons: recorded against predicted, on the session's clock."""

from html import escape
from pathlib import Path

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.results import Results
from omnimouse_model.masks import TARGET
from omnimouse_model.predict.predictor import Prediction
from omnimouse_widgets import palette
from omnimouse_widgets.qt import keys, plots
from omnimouse_widgets.qt.redraw import Redraw
from omnimouse_widgets.qt.trace_stack import Trace, TraceStack, cursor_sample

TOOLTIP = (
    "Recorded (white) and predicted (orange, dashed) responses of selected neurons;\n"
    "green, dotted: the baseline that is compared with (–: it has no score here)\n"
    "Blue: samples the model sees · light orange: samples it must predict\n"
    "r: correlation over the asked samples of this window · grey bar: 1 s.d.\n"
    "Click or drag: move the cursor"
)
LEAST = (0.0, 3.0)
"""A row spans three standard deviations of a neuron's responses at least."""
NO_SELECTION = "Select neurons: Ctrl-click on the field,\nor a row of the table"


class TracesPanel(QWidget):
    """Up to 16 rows of two curves.

    Parameters
    ----------
    controller
        The verbs; the panel only reads its `state` and `results`.
    """

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self.setObjectName("omnimouse-traces")
        self._controller = controller
        self.stack = TraceStack(self._move_cursor, TOOLTIP)
        self.legend = legend()
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 4, 4, 4)
        column.setSpacing(2)
        column.addWidget(self.legend)
        column.addWidget(self.stack.canvas, 1)
        keys.bind_keys(self, controller)
        events, results = controller.state.events, controller.results
        baseline = controller.baseline
        self.redraw = Redraw(
            self,
            [
                (self._draw_rows, [events.window, events.mask, events.selection,
                                   results.changed, baseline.changed]),
                (self._draw_legend, [events.baseline_name]),
                (self._draw_cursor, [events.cursor, events.window]),
            ],
        )  # fmt: skip

    def _move_cursor(self, time_s: float) -> None:
        window = self._controller.state.window
        if window is not None:
            time = window.timestamps["responses"]
            self._controller.set_cursor(cursor_sample(time_s, time))

    # -- from state to screen -----------------------------------------------------
    def _draw_rows(self) -> None:
        traces = self.traces()
        self.stack.set_rows(traces)
        has_session = self._controller.state.window is not None
        missing = NO_SELECTION if has_session else "No session is open"
        self.stack.set_message("" if traces else missing)

    def _draw_legend(self) -> None:
        self.legend.setText(legend_words(self._controller.state.baseline_name))

    def _draw_cursor(self) -> None:
        state = self._controller.state
        if state.window is not None:
            times = state.window.timestamps["responses"]
            self.stack.set_cursor(float(times[state.cursor]))

    def traces(self) -> list[Trace]:
        """Rows of the selection, from state and results alone."""
        return traces_of(self._controller)

    def label(self, neuron: int, *, short: bool = False) -> str:
        """Such as `neuron 412 · V1 · r = 0.43`, as far as known."""
        return label_of(self._controller, neuron, short=short)


def traces_of(controller: Controller) -> list[Trace]:
    """Rows of the selection, from state and results alone."""
    state, results = controller.state, controller.results
    baseline = controller.baseline
    window, mask = state.window, state.mask
    if window is None or mask is None or state.session is None:
        return []
    time = window.timestamps["responses"]
    return [
        Trace(
            label_of(controller, neuron),
            label_of(controller, neuron, short=True),
            time,
            window.responses[:, neuron],
            predicted_of(results.selected, neuron),
            mask.cells[:, neuron],
            results.is_old,
            LEAST,
            predicted_of(baseline.population, neuron),
            baseline.is_population_old,
        )
        for neuron in state.selection
        if neuron < mask.n_neurons
    ]


def label_of(controller: Controller, neuron: int, *, short: bool = False) -> str:
    """Such as `neuron 412 · V1 · r = 0.43`, as far as known."""
    state, results = controller.state, controller.results
    words = [str(neuron) if short else f"neuron {neuron}"]
    if state.session is not None and state.session.units.area is not None:
        words.append(str(state.session.units.area[neuron]))
    own = score_of(results, neuron)
    other = _baseline_score(controller, neuron)
    if short:
        scores = [score or "–" for score in (own, other)] if other else [own]
        words += [" / ".join(scores)] if any(scores) else []
    else:
        words += [f"r = {own}"] if own else []
        words += [f"{Path(state.baseline_name).name} {other}"] if other else []
    return " · ".join(words)


def _baseline_score(controller: Controller, neuron: int) -> str:
    """Its score; "…" while it is awaited, "–" where there is none; "" not asked."""
    state, baseline = controller.state, controller.baseline
    mask = state.mask
    if not state.baseline_name or mask is None:
        return ""
    if score := score_of(baseline, neuron):
        return score
    if not (mask.cells[:, neuron] == TARGET).any():
        return ""
    return "…" if baseline.is_awaited else "–"


def score_of(results: Results, neuron: int) -> str:
    """Such as `0.43` or `0.43 (older)`, "" where the neuron has no score."""
    if results.scores is None or not np.isfinite(results.scores[neuron]):
        return ""
    score = f"{results.scores[neuron]:.2f}"
    return f"{score} (older)" if results.is_population_old else score


def predicted_of(prediction: Prediction | None, neuron: int) -> np.ndarray | None:
    """One neuron's predicted samples (60,), None where it was not asked."""
    if prediction is None:
        return None
    columns = np.flatnonzero(prediction.neurons == neuron)
    return prediction.responses[:, columns[0]] if len(columns) else None


def legend_words(baseline: str = "") -> str:
    """What the colours and lines mean; a baseline takes the scale bar's place."""
    last = f"<span style='color:{plots.AXIS}'>┃</span> 1 s.d."
    if baseline:
        name = escape(Path(baseline).name)
        last = f"<span style='color:{palette.BASELINE}'>┅</span> {name}"
    return (
        f"<span style='color:{palette.HELD}'>━</span> recorded &nbsp;"
        f"<span style='color:{palette.PREDICTED}'>╍</span> predicted &nbsp;"
        f"<span style='color:{palette.VISIBLE}'>▇</span> visible &nbsp;"
        f"<span style='color:{palette.TARGET}'>▒</span> target &nbsp;"
        f"{last}"
    )


def legend() -> QLabel:
    """`legend_words` on the plots' own ground."""
    label = QLabel(legend_words())
    label.setTextFormat(Qt.TextFormat.RichText)
    label.setFont(plots.small_font())
    label.setMinimumWidth(1)
    # On the plots' own ground: the recording is drawn white in light themes too.
    label.setStyleSheet(
        f"color: {plots.TEXT}; background: {plots.BACKGROUND}; padding: 1px 4px;"
    )
    return label
