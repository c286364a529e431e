"""Fine-tuning section: start, progress, stop and use of the result."""

from typing import cast

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QToolButton,
    QWidget,
)

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.models.finetuned_models import Trained
from omnimouse_widgets.drawn.model import finetune as finetune_view
from omnimouse_widgets.drawn.model.finetune import STEPS, TIPS, TRAINED, score_words
from omnimouse_widgets.qt.control.finetune_plot import FinetunePlot
from omnimouse_widgets.qt.style.form import NARROW_BOX, Form, QuietLine, row_of
from omnimouse_widgets.qt.style.theme import quiet_label

MOST_STEPS = 100_000


class FinetuneSection(QWidget):
    """Fine-tuning controls, opened by a button if the model lacks the recording."""

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self._finetuning = controller.finetuning
        self._is_open = False
        self.open = QPushButton("Fine-tune…")
        self.open.setToolTip(TIPS["open"])
        self.open.clicked.connect(lambda: self.open_up())
        self.title, self.words = quiet_label(), quiet_label()
        self.problem = quiet_label("alert")
        self.problem.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse
        )
        self.train = QComboBox()
        for name, words in TRAINED.items():
            self.train.addItem(words, name)
        self.train.setAccessibleName("What is learned")
        self.train.setToolTip(TIPS["train"])
        self.train.activated.connect(lambda _: self.draw())
        self.steps = QSpinBox()
        self.steps.setStyleSheet(NARROW_BOX)
        self.steps.setRange(0, MOST_STEPS)
        self.steps.setSingleStep(50)
        self.steps.setValue(STEPS)
        self.steps.setSuffix(" steps")
        self.steps.setAccessibleName("Steps")
        self.steps.setToolTip(TIPS["steps"])
        self.steps.editingFinished.connect(self.draw)
        self.bar = QProgressBar()
        self.bar.setRange(0, 1000)
        self.bar.setAccessibleName("Fine-tuned")
        self.stop = QPushButton("Stop")
        self.stop.setToolTip(TIPS["stop"])
        self.stop.clicked.connect(lambda: self._finetuning.stop())
        self.plot = FinetunePlot()
        self.score = QuietLine()
        self.start, self.use = QPushButton(), QPushButton()
        self.start.setToolTip(TIPS["start"])
        self.start.clicked.connect(lambda: self._start())
        self.use.setToolTip(TIPS["use"])
        self.use.clicked.connect(
            lambda: finetune_view.use(self._controller, self._trained)
        )
        self.dismiss = QToolButton()
        self.dismiss.setText("✕")
        self.dismiss.setAccessibleName("Dismiss")
        self.dismiss.setToolTip(TIPS["dismiss"])
        self.dismiss.clicked.connect(lambda: self._dismiss())
        form = Form(self)
        form.add("", self.open)
        form.add("", row_of(self.title, self.dismiss, stretch=0))
        form.add("", row_of(self.train, self.steps, stretch=0))
        form.add("", self.words)
        form.add("", row_of(self.bar, self.stop, stretch=0))
        form.add("", self.plot.canvas)
        form.add("", self.score)
        form.add("", self.problem)
        form.add("", row_of(self.start, self.use, stretch=0))

    @property
    def _trained(self) -> Trained:
        return cast(Trained, self.train.currentData())

    # -- what the user does -----------------------------------------------------------
    def open_up(self) -> None:
        """Open the section and focus the start button."""
        self._is_open = True
        self.draw()
        self.start.setFocus()

    def _start(self) -> None:
        # A typed number counts although the box has not lost the focus.
        self.steps.interpretText()
        finetune_view.start(self._controller, self._trained, self.steps.value())

    def _dismiss(self) -> None:
        self._is_open = False
        self._finetuning.forget()
        self.draw()

    # -- from state to screen ---------------------------------------------------------
    def draw(self) -> None:
        """Show the current fine-tuning.

        The panel calls this: an empty section is not visible and would not redraw.
        """
        found = finetune_view.finetune_view(
            self._controller, self._trained, self.steps.value()
        )
        # A run is always shown; an offer is shown after the button was pressed.
        is_open = found.is_shown and (self._is_open or not found.has_choices)
        finetuning = self._finetuning
        has_curve = is_open and not found.has_choices and bool(finetuning.validations)
        self.open.setVisible(found.is_shown and not is_open)
        self.title.setText(f"{found.title}:")
        self.words.setText(found.words)
        self.problem.setText(f"✕ {found.fault}")
        self.start.setText(found.start)
        self.use.setText(found.use)
        self.score.set_words(score_words(finetuning))
        self.title.setToolTip(found.folder and f"It lies in {found.folder}")
        # Only training has a known length. A range of 0 makes Qt show a busy bar.
        is_counted = finetuning.stage == "training"
        self.bar.setRange(0, 1000 if is_counted else 0)
        self.bar.setValue(round(1000 * finetuning.share))
        self.bar.setFormat(f"{100 * finetuning.share:.0f} %")
        if has_curve:
            # A run can end early; the axis then ends at its last step.
            of = finetuning.step if found.is_finished else finetuning.of
            self.plot.show(finetuning.losses, finetuning.validations, of)
        # One table of all conditions: each widget's visibility is set in one place.
        for widget, is_shown in (
            (self.title, is_open),
            (self.train, is_open and found.has_choices),
            (self.steps, is_open and found.has_choices),
            (self.words, is_open and bool(found.words)),
            (self.bar, is_open and found.is_busy),
            (self.stop, is_open and found.is_busy),
            (self.plot.canvas, has_curve),
            (self.score, has_curve and found.is_busy),
            (self.problem, is_open and bool(found.fault)),
            (self.start, is_open and bool(found.start)),
            (self.use, is_open and bool(found.use)),
            (self.dismiss, is_open and not found.is_busy),
        ):
            widget.setVisible(is_shown)
