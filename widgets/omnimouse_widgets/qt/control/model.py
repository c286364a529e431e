"""Model section: predictor, device and freshness of the prediction."""

from functools import partial
from pathlib import Path
from typing import Final

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QInputDialog,
    QPushButton,
    QWidget,
)

from omnimouse_model.data.hub.names import CHECKPOINTS
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.results import Results
from omnimouse_model.predict.registry import (
    must_be_fetched,
    predictor_names,
)
from omnimouse_widgets.drawn.model.freshness import freshness_words
from omnimouse_widgets.drawn.model.text import MEANINGS, model_words
from omnimouse_widgets.qt.control.download import FetchSection
from omnimouse_widgets.qt.control.finetune import FinetuneSection
from omnimouse_widgets.qt.control.model_info import KnowsSection
from omnimouse_widgets.qt.style.form import ElidedLabel, Form, keep_room, row_of
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.theme import ToneLabel, quiet_label

PATIENCE_MS: Final = 150
"""Delay before "predicting…" is shown; for faster results it would only flicker."""
FILE, FOLDER, ADDRESS = "file…", "folder…", "address…"
"""Model choices that open a dialog."""


class Patience(QTimer):
    """Timer that sets `is_long` once a request is pending for `PATIENCE_MS`."""

    def __init__(self, results: Results, parent: QWidget) -> None:
        super().__init__(parent)
        self._results = results
        self.is_long = False
        self.setSingleShot(True)
        self.setInterval(PATIENCE_MS)

    def follow(self) -> None:
        """Start or stop the timer for the current request."""
        # A timer that is running continues: restarting it at every partial result would
        # never let it end.
        if not self._results.is_awaited:
            self.stop()
            self.is_long = False
        elif not self.is_long and not self.isActive():
            self.start()


class ModelSection(QWidget):
    """Predictor and device choice, and freshness of the displayed prediction."""

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self._patience = Patience(controller.results, self)
        self._baseline_patience = Patience(controller.baseline, self)
        for patience in (self._patience, self._baseline_patience):
            patience.timeout.connect(partial(self._out_of_patience, patience))
        self._build()
        form = Form(self)
        form.add("Model", row_of(self.model, self.device, stretch=0))
        form.add("", self.fetch)
        form.add("", self.knows)
        form.add("", self.finetune)
        form.add("Answer", row_of(self.dot, self.words, self.cancel, stretch=1))
        form.add("", self.notice)
        form.add("", self.error)
        form.add("", self.again)
        events, finetuning = controller.state.events, controller.finetuning
        learned = [events.session, controller.results.changed, finetuning.changed]
        self.redraw = Redraw(
            self,
            [
                (
                    self._draw_model,
                    [
                        events.predictor_name,
                        controller.models.changed,
                        finetuning.finished,
                    ],
                ),
                (self._draw_device, [events.device, controller.results.events.devices]),
                (
                    self._draw_freshness,
                    [controller.results.changed, controller.baseline.changed],
                ),
                (self.fetch.draw, [controller.models.changed]),
                (self.knows.draw, learned),
                (self.finetune.draw, learned),
            ],
        )

    def _build(self) -> None:
        self.model = QComboBox()
        self.model.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.model.setMinimumContentsLength(10)
        # Three groups: predictors without files, checkpoints of the hub, local
        # checkpoints.
        for name in predictor_names():
            self.model.addItem(model_words(name), name)
        self.model.insertSeparator(self.model.count())
        for name in CHECKPOINTS:
            self.model.addItem(name, name)
        self.model.addItem("other model of the hub…", ADDRESS)
        self.model.insertSeparator(self.model.count())
        self.model.addItem("checkpoint file…", FILE)
        self.model.addItem("checkpoint folder…", FOLDER)
        self.model.activated.connect(self._picked)
        self.model.setAccessibleName("Model")
        self.device = QComboBox()
        self.device.setAccessibleName("Device")
        self.device.setToolTip("Where the model computes; auto: the fastest there is")
        self.device.setMaximumWidth(76)
        self.device.activated.connect(
            lambda _: self._controller.choose_device(self.device.currentData())
        )
        self.fetch = FetchSection(self._controller)
        self.knows = KnowsSection(self._controller)
        self.finetune = FinetuneSection(self._controller)
        self.dot = ToneLabel()
        self.words = ElidedLabel()
        self.cancel = QPushButton("Stop")
        self.cancel.setToolTip("Stop what is being predicted, by the baseline too")
        self.cancel.clicked.connect(lambda: self._controller.cancel())
        keep_room(self.cancel)
        self.notice = quiet_label()
        self.notice.setToolTip("How this prediction came about")
        self.error = quiet_label("alert")
        self.again = QPushButton("Ask again")
        self.again.setToolTip("Ask the same question again")
        self.again.clicked.connect(lambda: self._controller.ask_again())

    # -- what the user does -----------------------------------------------------------
    def _picked(self, _: int) -> None:
        name = self.model.currentData()
        asked = {FILE: _ask_file, FOLDER: _ask_folder, ADDRESS: _ask_address}
        chosen = asked[name](self) if name in asked else name
        if chosen:
            self._controller.choose_predictor(chosen)
        # After a cancelled dialog the box must show the current model again.
        self._draw_model()

    def _out_of_patience(self, patience: Patience) -> None:
        patience.is_long = True
        self._draw_freshness()

    # -- from state to screen -----------------------------------------------------
    def _draw_model(self) -> None:
        name = self._controller.state.predictor_name
        # A download changes "hub" to "fetched".
        for released in CHECKPOINTS:
            place = "fetched" if not must_be_fetched(released) else "hub"
            self.model.setItemText(
                self.model.findData(released), f"{released} · {place}"
            )
        for tuned in self._controller.finetuning.results:
            # Runs can finish while the application is open: add only new results.
            if self.model.findData(str(tuned.path)) < 0:
                self.model.insertItem(0, tuned.words, str(tuned.path))
        at = self.model.findData(name)
        if at < 0 and name:
            self.model.insertItem(0, Path(name).name, name)
            at = 0
        self.model.setCurrentIndex(at)
        self.model.setToolTip(
            f"Who predicts: {MEANINGS.get(name, name or 'nobody')}\n"
            "The demo model, a baseline, a model of the hub (fetched once), a "
            "checkpoint's file or folder"
        )

    def _draw_device(self) -> None:
        """List the available devices and the chosen one, which may be unavailable."""
        chosen = self._controller.state.device
        offered = dict.fromkeys((*self._controller.results.devices, chosen))
        self.device.clear()
        for device in offered:
            self.device.addItem(device, device)
        self.device.setCurrentIndex(self.device.findData(chosen))

    def _draw_freshness(self) -> None:
        results, baseline = self._controller.results, self._controller.baseline
        self._patience.follow()
        self._baseline_patience.follow()
        sign, tone, words = freshness_words(results, is_long=self._patience.is_long)
        self.dot.setText(sign)
        self.dot.set_tone(tone)
        self.words.set_words(words)
        self.words.setToolTip(f"How fresh the prediction on screen is: {words}")
        is_long = self._patience.is_long or self._baseline_patience.is_long
        self.cancel.setVisible(is_long)
        self.notice.setText(f"⚠ {results.notice}")
        self.notice.setVisible(bool(results.notice))
        knowledge = self.knows.knowledge
        is_unknown = knowledge is not None and not knowledge.is_answered
        # `KnowsSection` explains a model that does not know the neurons, with a remedy.
        is_wrong = results.error is not None and not is_unknown
        self.error.setText(results.error or "")
        self.error.setVisible(is_wrong)
        was_stopped = results.was_stopped or baseline.was_stopped
        self.again.setVisible(is_wrong or was_stopped)


def _ask_file(parent: QWidget) -> str:
    kinds = "Checkpoints (*.safetensors *.ckpt)"
    return QFileDialog.getOpenFileName(parent, "Open a checkpoint", "", kinds)[0]


def _ask_folder(parent: QWidget) -> str:
    return QFileDialog.getExistingDirectory(parent, "Open a checkpoint's folder")


def _ask_address(parent: QWidget) -> str:
    words = "hf://owner/model, or omnimouse-1M … omnimouse-300M:"
    found, is_given = QInputDialog.getText(parent, "A model of the hub", words)
    return found.strip() if is_given else ""
