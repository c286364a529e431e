"""Choice of a baseline and its comparison with the model."""

from pathlib import Path

import numpy as np
from qtpy.QtWidgets import QWidget

from omnimouse_model.inference.families import baseline_names
from omnimouse_model.live.models.choice import ModelChoice
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import LiveState
from omnimouse_model.metrics.named import Metric
from omnimouse_model.predict.predictor import is_served
from omnimouse_widgets.qt.style.controls import combo_box, show_text
from omnimouse_widgets.qt.style.form import Form
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.theme import wrapped_label
from omnimouse_widgets.views.text.model import model_text


class BaselineSection(QWidget):
    """Choice of a baseline, and the mean scores of baseline and model as text."""

    def __init__(
        self, state: LiveState, results: Results, baseline: Results, model: ModelChoice
    ) -> None:
        super().__init__()
        self._state, self._results, self._baseline = state, results, baseline
        self.choice = combo_box(
            model.choose_baseline,
            [("none", ""), *((model_text(name), name) for name in baseline_names())],
            name="Baseline",
            tooltip="Compare the model with a baseline: the traces show its curve and "
            "score.\nIt is fitted to this session once; the model never waits for it.",
        )
        self.summary = wrapped_label()
        form = Form(self)
        form.add("Baseline", self.choice)
        form.add("", self.summary)
        events = state.events
        signals = [
            *(events.baseline_name, events.predictor_name),
            baseline.changed,
        ]
        self.redraw = Redraw(self, (self._draw, signals))

    def _draw(self) -> None:
        name = self._state.baseline_name
        # Code may choose a baseline that is not in the list, e.g. a file.
        if self.choice.findData(name) < 0:
            self.choice.addItem(Path(name).name, name)
        self.choice.setCurrentIndex(self.choice.findData(name))
        metric = self._state.metric
        text = baseline_text(name, self._baseline, self._results, metric)
        needs, spec = self._baseline.needs, self._state.spec
        if name and not self._state.compared_baseline:
            text = "The model itself: choose another one to compare it with."
        elif needs is not None and not is_served(needs.spec, spec):
            text = "No common score: it predicts other windows than the model."
        show_text(self.summary, text)


def baseline_text(name: str, results: Results, model: Results, metric: Metric) -> str:
    """Return both mean scores, or the progress or the error of the baseline."""
    if not name:
        return ""
    if results.error is not None:
        return results.error
    # Both scores must be of the same task, so an old population score is not shown.
    if results.population_freshness == "fresh":
        scores = _mean_score(results), _mean_score(model)
        numbers = "baseline {}, model {}.".format(*scores)
        return f"Mean {metric.symbol} in this window: {numbers}"
    if results.is_awaited:
        return "Predicting…" if results.population is not None else "Fitting…"
    if results.was_stopped:
        older = ": an older prediction is shown" if results.is_population_old else ""
        return f"Stopped{older}."
    return "No prediction is requested."


def _mean_score(results: Results) -> str:
    if results.scores is None or not np.isfinite(results.scores).any():
        return "–"
    # Neurons without target samples have no score (NaN).
    return f"{np.nanmean(results.scores):z.2f}"
