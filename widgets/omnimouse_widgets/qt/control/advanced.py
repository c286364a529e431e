"""Advanced section: cuts, context span and guard of the mask.

Cuts and context span are values of OmniMouse's attachment; masks of other models have
none, and their rows are hidden.
"""

from dataclasses import replace
from typing import Any

from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QLabel,
    QLineEdit,
    QSpinBox,
    QWidget,
)

from omnimouse_model.live.mask.editor import MaskEditor
from omnimouse_model.live.recording.loader import SessionLoader
from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import UNGUARDED
from omnimouse_model.masks.cells import recording_rate
from omnimouse_model.masks.remarks import guard_text
from omnimouse_widgets.qt.style.controls import describe, number_box, show_text
from omnimouse_widgets.qt.style.form import Form, row_of
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.theme import wrapped_label


class AdvancedSection(QWidget):
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
        self.width_text = wrapped_label()
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
