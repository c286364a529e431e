"""Sections for occasional use: comparison with a baseline, alignment of clocks, the mask.

Cuts and context span are values of OmniMouse's attachment; masks of other models have
none, and their rows are hidden.
"""

from dataclasses import replace
from typing import Any, Final

import numpy as np
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QLabel, QLineEdit, QSpinBox, QWidget

from omnimouse_model.analysis.clock_check import AlignmentReport
from omnimouse_model.display import number_text
from omnimouse_model.inference.families import baseline_names
from omnimouse_model.live.controller import OfController
from omnimouse_model.live.mask.editor import MaskEditor
from omnimouse_model.live.models.choice import ModelChoice
from omnimouse_model.live.models.finetune import model_name
from omnimouse_model.live.results import Results, windows_text
from omnimouse_model.live.session_loader import ClockCheck, SessionLoader
from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import UNGUARDED
from omnimouse_model.masks.cells import recording_rate
from omnimouse_model.masks.remarks import guard_text
from omnimouse_model.metrics.named import Metric
from omnimouse_model.predict.predictor import is_served
from omnimouse_widgets.qt.style.controls import (
    combo_box,
    describe,
    number_box,
    push_button,
    show_text,
)
from omnimouse_widgets.qt.style.form import Form, row_of
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.theme import wrapped_label
from omnimouse_widgets.views.text.model import BASELINE_NOT_FITTED, is_unfitted, model_text

CHECK_TIP = (
    "Estimate the lags between screen, responses and behaviour from the recording, and "
    "check its clocks. This takes some seconds."
)
OTHER_WINDOWS: Final = (
    "It predicts other windows than the model: only scores over the test part can be compared."
)
OTHER_RESPONSES: Final = "No common score: traces against spike counts."


class AdvancedSection(QWidget, OfController):
    """Fields for cuts, the span of context latents, and the guard of targets."""

    def __init__(self, state: LiveState, editor: MaskEditor, loader: SessionLoader) -> None:
        super().__init__()
        self._state, self._editor = state, editor
        self.cuts = QLineEdit()
        self.cuts.setPlaceholderText("none")
        self.cuts.setToolTip("Samples that no response token crosses, e.g. 20, 40")
        self.cuts.editingFinished.connect(self._cuts_edited)
        self.start, self.stop = (
            number_box(QSpinBox, self._span_edited, name=name, has_arrows=False)
            for name in ("Context: first sample", "Context: sample after the last")
        )
        self.guarded = QCheckBox("skip targets beside visible samples")
        self.guarded.setToolTip(
            "Exclude targets at the start of the window and next to visible samples, "
            "because upsampled responses reveal their neighbours."
        )
        self.guarded.toggled.connect(lambda on: self._change(guarded=on))
        self.rate = number_box(
            QDoubleSpinBox,
            lambda: loader.reopen(recording_rate_hz=self.rate.value()),
            name="Recorded at",
            tooltip="Samples per second before the responses were upsampled: slow\n"
            "recordings have a wider guard. The recording is opened again.",
            has_arrows=False,
        )
        # A range that excludes the value changes it.
        with QSignalBlocker(self.rate):
            self.rate.setRange(0.1, 1000.0)
        self.rate.setSuffix(" Hz")
        self.width_text = wrapped_label("quiet")
        self.warning = wrapped_label("alert")
        span = row_of(self.start, QLabel("to"), self.stop)
        for column in (0, 2):
            span.setStretch(column, 1)
        self.layout_rows, guard_rows = QWidget(), QWidget()
        form = Form(self.layout_rows)
        form.add("Cuts", self.cuts)
        form.add("Context", span)
        guard_form = Form(guard_rows)
        guard_form.add_rows(self.guarded)
        guard_form.add("Recorded at", self.rate)
        guard_form.add_rows(self.width_text, self.warning)
        Form(self).add_rows(self.layout_rows, guard_rows)
        events = state.events
        self.redraw = Redraw(self, (self._draw, [events.mask, events.session]))

    # -- what the user does -----------------------------------------------------------
    @property
    def _n_samples(self) -> int:
        return self._state.spec.n_samples

    def _cuts_edited(self) -> None:
        numbers = self.cuts.text().replace(",", " ").split()
        if not all(text.isdigit() and int(text) < self._n_samples for text in numbers):
            last = self._n_samples - 1
            show_text(self.warning, f"✕ Cuts are samples from 0 to {last}, e.g. 20, 40.")
            return
        self._change_layout(cuts=tuple(sorted({int(text) for text in numbers})))
        self._draw()

    def _span_edited(self) -> None:
        start, stop = self.start.value(), self.stop.value()
        # Equal ends are valid: there are then no context latents.
        if start > stop:
            show_text(self.warning, "✕ The context must start before it stops.")
            return
        self._change_layout(context_span=(start, stop))
        self._draw()

    def _change_layout(self, **changes: Any) -> None:
        mask = self._state.mask
        if mask is not None:
            self._change(attachment=mask.with_attachment(**changes).attachment)

    def _change(self, **changes: Any) -> None:
        mask = self._state.mask
        if mask is None or all(getattr(mask, k) == v for k, v in changes.items()):
            return
        # A changed mask is no longer the named preset.
        changed = replace(mask, name="", note="", **changes)
        self._editor.set_mask(changed, "Advanced settings")

    # -- from state to screen -----------------------------------------------------
    def _draw(self) -> None:
        mask = self._state.mask
        self.setEnabled(mask is not None)
        if mask is None:
            return
        layout = {} if mask.attachment is None else mask.attachment.to_json()
        has_layout = {"cuts", "context_span"} <= layout.keys()
        self.layout_rows.setVisible(has_layout)
        if has_layout:
            start, stop = layout["context_span"]
            # Do not replace a text while the user types.
            if not self.cuts.hasFocus():
                self.cuts.setText(", ".join(str(cut) for cut in layout["cuts"]))
            for box, value, end in (
                (self.start, start, "First"),
                (self.stop, stop, "After the last"),
            ):
                # Showing the state must not act as an edit, hence the blocker.
                with QSignalBlocker(box):
                    box.setRange(0, self._n_samples)
                    box.setValue(value)
                describe(box, f"{end} sample that has context latents (0-{self._n_samples})")
        with QSignalBlocker(self.guarded):
            self.guarded.setChecked(mask.guarded)
        # Counts are not upsampled, so they need no guard.
        self.guarded.setVisible(mask.spec.responses == "trace")
        with QSignalBlocker(self.rate):
            self.rate.setValue(recording_rate(self._state.session))
        show_text(self.width_text, guard_text(mask))
        show_text(self.warning, "" if mask.guarded else f"⚠ {UNGUARDED}")


class BaselineSection(QWidget, OfController):
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
            "score.\nIt is fitted to this recording once; the model never waits for it.",
        )
        self.summary = wrapped_label()
        form = Form(self)
        form.add("Baseline", self.choice)
        form.add("", self.summary)
        events = state.events
        signals = [
            *(events.baseline_name, events.predictor_name),
            *(baseline.changed, results.changed),
        ]
        self.redraw = Redraw(self, (self._draw, signals))

    def _draw(self) -> None:
        name = self._state.baseline_name
        # Code may choose a baseline that is not in the list, e.g. a file.
        if self.choice.findData(name) < 0:
            self.choice.addItem(model_name(name), name)
        self.choice.setCurrentIndex(self.choice.findData(name))
        metric = self._state.metric
        text = baseline_text(name, self._baseline, self._results, metric)
        needs, spec = self._baseline.needs, self._state.spec
        if name and not self._state.compared_baseline:
            text = "This is the model itself: choose another."
        elif needs is not None and needs.spec.responses != spec.responses:
            text = OTHER_RESPONSES
        elif needs is not None and not is_served(needs.spec, spec):
            # It has no prediction of the window, but scores over the same seconds.
            text = _common_text(self._baseline, self._results, metric) or OTHER_WINDOWS
        show_text(self.summary, text)


def baseline_text(name: str, results: Results, model: Results, metric: Metric) -> str:
    """Return both mean scores, or the progress or the error of the baseline."""
    if not name:
        return ""
    if is_unfitted(name, results):
        return BASELINE_NOT_FITTED
    if results.error is not None:
        return results.error
    # Over many windows where both are known: one window says little.
    if common := _common_text(results, model, metric):
        return common
    # Both scores must be of the same task, so an old population score is not shown.
    if results.population_freshness == "fresh":
        scores = _mean_score(results), _mean_score(model)
        numbers = "baseline {}, model {}.".format(*scores)
        return f"Mean {metric.symbol} in this window: {numbers}"
    if results.is_awaited:
        # A predictor is fitted before it says what it needs.
        return "Predicting…" if results.needs is not None else "Fitting…"
    if results.was_stopped:
        older = ": an older prediction is shown" if results.is_population_old else ""
        return f"Stopped{older}."
    return "No prediction is requested."


def _common_text(results: Results, model: Results, metric: Metric) -> str:
    """Return both scores over the windows of a tier; "" until both are known for all."""
    found, other = model.tier_score, results.tier_score
    if found is None or other is None or found.mask is not other.mask:
        return ""
    gain, n_windows = found.gain(other)
    is_known = n_windows == found.n_windows and np.isfinite(gain.value)
    if not is_known or found.is_ahead_of(other):
        return ""
    value = found.estimate.value
    numbers = f"baseline {number_text(value - gain.value)}, model {number_text(value)}."
    return f"{metric.symbol} over {windows_text(found)}: {numbers}"


def _mean_score(results: Results) -> str:
    if results.scores is None or not np.isfinite(results.scores).any():
        return "–"
    # Neurons without target samples have no score (NaN).
    return number_text(np.nanmean(results.scores))


class ClockCheckSection(QWidget, OfController):
    """Button to check, stop or hide; lags with confidence, and warnings, as text."""

    def __init__(self, state: LiveState, clock_check: ClockCheck) -> None:
        super().__init__()
        self._check = clock_check
        self._state = state
        self.button = push_button("", CHECK_TIP, self._press)
        self.progress, self.lags = wrapped_label(), wrapped_label()
        self.warnings = wrapped_label("alert")
        Form(self).add_rows(self.button, self.progress, self.warnings, self.lags)
        signals = [self._check.changed, state.events.session]
        self.redraw = Redraw(self, (self._draw, signals))

    def _press(self) -> None:
        # `forget` stops a running check and removes a finished report.
        if self._check.is_busy or self._check.report is not None:
            self._check.clear()
        else:
            self._check.check()

    def _draw(self) -> None:
        check, report = self._check, self._check.report
        self.button.setEnabled(self._state.session is not None)
        # One button with three actions, because only one of them is possible at a time.
        text = "Check alignment" if report is None else "Hide alignment"
        self.button.setText("Stop" if check.is_busy else text)
        self.button.setToolTip("" if check.is_busy or report is not None else CHECK_TIP)
        show_text(self.progress, f"◌ {check.message}…" if check.is_busy else "")
        quiet, alert = ([], []) if report is None else report_lines(report)
        if check.error is not None:
            alert = [f"Not checked: {check.error}"]
        show_text(self.lags, "\n".join(f"• {line}" for line in quiet))
        show_text(self.warnings, "\n".join(f"⚠ {line}" for line in alert))


def report_lines(report: AlignmentReport) -> tuple[list[str], list[str]]:
    """Return the lines without and with a need for attention, with confidence."""
    # A warning can be the text of a lag: it is then shown only among the warnings.
    lines = {lag.describe(): f"{lag.describe()} ({lag.confidence()})" for lag in report.lags}
    alert = [lines.get(text, text) for text in report.warnings]
    quiet = [line for text, line in lines.items() if text not in report.warnings]
    return [report.remark] if report.remark else quiet, alert
