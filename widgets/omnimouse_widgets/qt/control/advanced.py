"""Advanced section: cuts, context span and guard of the mask."""

from dataclasses import replace
from typing import Any, Final

from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import (
    QCheckBox,
    QLabel,
    QLineEdit,
    QSpinBox,
    QWidget,
)

from omnimouse_model.data.window_spec import OMNIMOUSE
from omnimouse_model.live.controller import Controller
from omnimouse_model.masks import UNGUARDED
from omnimouse_widgets.qt.style.form import NARROW_BOX, Form, row_of
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.theme import quiet_label

# Cuts and context exist only in windows of OmniMouse.
N_SAMPLES: Final = OMNIMOUSE.n_samples


class AdvancedSection(QWidget):
    """Fields for cuts, the span of context latents, and the guard of targets."""

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self.cuts = QLineEdit()
        self.cuts.setPlaceholderText("none")
        self.cuts.setToolTip("Samples that no response token crosses, such as: 20, 40")
        self.cuts.editingFinished.connect(self._cuts_edited)
        self.start, self.stop = QSpinBox(), QSpinBox()
        for box, words in ((self.start, "First"), (self.stop, "After the last")):
            box.setRange(0, N_SAMPLES)
            # Report a typed number once it is complete, not after each digit.
            box.setKeyboardTracking(False)
            box.setStyleSheet(NARROW_BOX)
            box.setButtonSymbols(QSpinBox.ButtonSymbols.NoButtons)
            box.setToolTip(
                f"{words} sample in which context latents exist (0-{N_SAMPLES})"
            )
            box.setAccessibleName(f"Context: {words.lower()} sample")
            box.valueChanged.connect(lambda _: self._span_edited())
        self.guarded = QCheckBox("skip targets beside visible samples")
        self.guarded.setToolTip(
            "The official rule: the first 5 samples, and the 5 after a visible run, "
            "are not asked"
        )
        self.guarded.toggled.connect(lambda on: self._change(guarded=on))
        self.warning = quiet_label("alert")
        span = row_of(self.start, QLabel("to"), self.stop)
        for column in (0, 2):
            span.setStretch(column, 1)
        form = Form(self)
        form.add("Cuts", self.cuts)
        form.add("Context", span)
        form.add("", self.guarded)
        form.add("", self.warning)
        events = controller.state.events
        self.redraw = Redraw(self, [(self._draw, [events.mask, events.session])])

    # -- what the user does -----------------------------------------------------------
    def _cuts_edited(self) -> None:
        words = self.cuts.text().replace(",", " ").split()
        if not all(word.isdigit() and int(word) < N_SAMPLES for word in words):
            last = N_SAMPLES - 1
            self._warn(f"✕ Cuts are samples from 0 to {last}, such as: 20, 40")
            return
        self._change_layout(cuts=tuple(sorted({int(word) for word in words})))
        self._draw()

    def _span_edited(self) -> None:
        start, stop = self.start.value(), self.stop.value()
        # Equal ends are valid: there are then no context latents.
        if start > stop:
            self._warn("✕ The context must start before it stops")
            return
        self._change_layout(context_span=(start, stop))
        self._draw()

    def _change_layout(self, **changes: Any) -> None:
        mask = self._controller.state.mask
        if mask is not None and mask.token_layout is not None:
            # All official strategies have query phase 0.
            layout = replace(mask.token_layout, query_phase=0, **changes)
            if layout.values[:2] != mask.token_layout.values[:2]:
                self._change(token_layout=layout)

    def _change(self, **changes: Any) -> None:
        mask = self._controller.state.mask
        if mask is None or all(getattr(mask, k) == v for k, v in changes.items()):
            return
        # A changed mask is no longer the named preset.
        changed = replace(mask, name="", note="", **changes)
        self._controller.set_mask(changed, "Advanced settings")

    # -- from state to screen -----------------------------------------------------
    def _draw(self) -> None:
        mask = self._controller.state.mask
        self.setEnabled(mask is not None)
        if mask is None:
            return
        layout = mask.token_layout
        # Only OmniMouse has tokens. The rows stay, so that the form does not jump.
        for part in (self.cuts, self.start, self.stop):
            part.setEnabled(layout is not None)
        if layout is not None:
            # Do not replace a text while the user types.
            if not self.cuts.hasFocus():
                self.cuts.setText(", ".join(str(cut) for cut in layout.cuts))
            boxes = zip((self.start, self.stop), layout.context_span, strict=True)
            # Showing the state must not act as an edit, hence the blockers.
            for box, value in boxes:
                with QSignalBlocker(box):
                    box.setValue(value)
        with QSignalBlocker(self.guarded):
            self.guarded.setChecked(mask.guarded)
        self._warn("" if mask.guarded else f"⚠ {UNGUARDED}")

    def _warn(self, words: str) -> None:
        self.warning.setText(words)
        self.warning.setVisible(bool(words))
