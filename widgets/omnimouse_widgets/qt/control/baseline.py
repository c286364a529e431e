"""Choice of a baseline and its comparison with the model."""

from pathlib import Path

import numpy as np
from qtpy.QtWidgets import QComboBox, QWidget

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.results import Results
from omnimouse_model.predict.registry import NAIVE
from omnimouse_widgets.drawn.model.text import model_words
from omnimouse_widgets.qt.style.form import Form
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.theme import quiet_label


class BesideSection(QWidget):
    """Choice of a baseline, and the mean scores of baseline and model as text."""

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self.choice = QComboBox()
        self.choice.setAccessibleName("Baseline beside")
        self.choice.setToolTip(
            "A baseline to show beside the model: its curve and score in the traces.\n"
            "Fitted to this session when first chosen; the model never waits for it."
        )
        self.choice.addItem("nothing", "")
        for name in NAIVE:
            self.choice.addItem(model_words(name), name)
        # `activated` is emitted for the user only, not when `_draw` sets the choice.
        self.choice.activated.connect(
            lambda _: self._controller.choose_baseline(self.choice.currentData())
        )
        self.words = quiet_label()
        form = Form(self)
        form.add("Beside", self.choice)
        form.add("", self.words)
        signals = [controller.state.events.baseline_name, controller.baseline.changed]
        self.redraw = Redraw(self, [(self._draw, signals)])

    def _draw(self) -> None:
        name = self._controller.state.baseline_name
        at = self.choice.findData(name)
        # Code may choose a baseline that is not in the list, e.g. a file.
        if at < 0:
            self.choice.addItem(Path(name).name, name)
            at = self.choice.findData(name)
        self.choice.setCurrentIndex(at)
        words = baseline_words(
            name, self._controller.baseline, self._controller.results
        )
        self.words.setText(words)
        self.words.setVisible(bool(words))


def baseline_words(name: str, results: Results, model: Results) -> str:
    """Return both mean scores, or the progress or the error of the baseline."""
    if not name:
        return ""
    if results.error is not None:
        return results.error
    if results.population_freshness == "fresh":
        scores = [_mean_score(results), _mean_score(model)]
        return "Here mean r is {}, the model's {}.".format(*scores)
    if results.is_awaited:
        return "Asked again…" if results.population is not None else "Fitting, asking…"
    if results.was_stopped:
        older = ": an older answer is shown" if results.is_population_old else ""
        return f"Stopped{older}."
    return "Nothing is asked."


def _mean_score(results: Results) -> str:
    if results.scores is None or not np.isfinite(results.scores).any():
        return "–"
    # Neurons without target samples have no score (NaN).
    return f"{np.nanmean(results.scores):.2f}"
