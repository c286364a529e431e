"""Fine-tuning section: start, progress, stop and use of the result."""

from functools import cached_property

from qtpy.QtWidgets import QVBoxLayout, QWidget

from omnimouse_model.live.controller import Controller
from omnimouse_widgets.qt.control.finetune_plot import FinetunePlot
from omnimouse_widgets.qt.form import SettingsForm
from omnimouse_widgets.qt.style.controls import (
    dismiss_button,
    progress_bar,
    push_button,
    set_share,
)
from omnimouse_widgets.qt.style.form import Form, QuietLine, row_of
from omnimouse_widgets.qt.style.theme import wrapped_label
from omnimouse_widgets.views import finetune as finetune_view
from omnimouse_widgets.views.finetune import TIPS, FinetuneSettings, score_text
from omnimouse_widgets.views.form import Form as Settings


class FinetuneSection(QWidget):
    """Fine-tuning controls, opened by a button if the model lacks the recording."""

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self._finetuning = controller.finetuning
        self._is_open = False
        self.open = push_button("Fine-tune…", TIPS["open"], self.open_up)
        self.title, self.message = wrapped_label(), wrapped_label()
        self.problem = wrapped_label("alert", is_selectable=True)
        self._settings = Settings(FinetuneSettings)
        self._settings.changed.connect(self.draw)
        self.bar = progress_bar("Fine-tuned")
        self.stop = push_button("Stop", TIPS["stop"], self._finetuning.stop)
        self._plot_place, self._settings_place = QVBoxLayout(), QVBoxLayout()
        self.score = QuietLine()
        self.start = push_button("", TIPS["start"], self._start)
        self.use = push_button("", TIPS["use"], self._use)
        self.dismiss = dismiss_button(self._dismiss, TIPS["dismiss"])
        Form(self).add_rows(
            self.open,
            row_of(self.title, self.dismiss, stretch=0),
            self._settings_place,
            self.message,
            row_of(self.bar, self.stop, stretch=0),
            self._plot_place,
            self.score,
            self.problem,
            row_of(self.start, self.use, stretch=0),
        )

    @cached_property
    def settings(self) -> SettingsForm:
        """The form; made when the section is first opened."""
        form = SettingsForm(self._settings)
        form.applied.connect(self._start)
        self._settings_place.addWidget(form)
        return form

    @cached_property
    def plot(self) -> FinetunePlot:
        """The curves of a run; made at the first run, because plots are slow."""
        plot = FinetunePlot()
        self._plot_place.addWidget(plot.canvas)
        return plot

    # -- what the user does -----------------------------------------------------------
    def open_up(self) -> None:
        """Open the section and focus the start button."""
        self._is_open = True
        self.draw()
        self.start.setFocus()

    def _start(self) -> None:
        finetune_view.start(self._controller, self._settings)

    def _use(self) -> None:
        finetune_view.use(self._controller, self._settings.value("train"))

    def _dismiss(self) -> None:
        self._is_open = False
        self._finetuning.clear()
        self.draw()

    # -- from state to screen ---------------------------------------------------------
    def draw(self) -> None:
        """Show the current fine-tuning.

        The panel calls this: an empty section is not visible and would not redraw.
        """
        finetuning = self._finetuning
        view = finetune_view.finetune_view(self._controller, self._settings)
        # A run is always shown; an offer is shown after the button was pressed.
        is_open = view.is_shown and (self._is_open or not view.has_choices)
        has_curve = is_open and not view.has_choices and bool(finetuning.validations)
        self.open.setVisible(view.is_shown and not is_open)
        self.title.setText(f"{view.title}:")
        self.message.setText(view.text)
        self.problem.setText(f"✕ {view.error}")
        self.start.setText(view.start)
        self.start.setEnabled(self._settings.is_valid or not view.has_choices)
        self.use.setText(view.use)
        self.score.set_text(score_text(finetuning))
        self.title.setToolTip(view.folder and f"Folder: {view.folder}")
        # Only training has a known length.
        is_counted = finetuning.stage == "training"
        set_share(self.bar, finetuning.share if is_counted else None)
        if has_curve:
            # A run can end early; the axis then ends at its last step.
            n_steps = finetuning.step if view.is_finished else finetuning.n_steps
            self.plot.show(finetuning.losses, finetuning.validations, n_steps)
        if "settings" in self.__dict__ or (is_open and view.has_choices):
            self.settings.setVisible(is_open and view.has_choices)
        if "plot" in self.__dict__:
            self.plot.canvas.setVisible(has_curve)
        # One table of all conditions: each widget's visibility is set in one place.
        for widget, is_shown in (
            (self.title, True),
            (self.message, bool(view.text)),
            (self.bar, view.is_busy),
            (self.stop, view.is_busy),
            (self.score, has_curve and view.is_busy),
            (self.problem, bool(view.error)),
            (self.start, bool(view.start)),
            (self.use, bool(view.use)),
            (self.dismiss, not view.is_busy),
        ):
            widget.setVisible(is_open and is_shown)
