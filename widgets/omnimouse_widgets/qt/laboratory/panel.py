"""Laboratory panel: run experiments on the chosen model, and see what they find."""

from pathlib import Path

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QApplication, QFileDialog, QSpinBox, QVBoxLayout, QWidget

from omnimouse_model.errors import ExportError
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.laboratory_jobs import BARCODES, MAX_REPEATS
from omnimouse_model.storage.write import write_bytes
from omnimouse_widgets.drawn import laboratory as text
from omnimouse_widgets.drawn.laboratory_plots import Image, lab_plot
from omnimouse_widgets.qt.laboratory.plot import LabCanvas
from omnimouse_widgets.qt.style import shortcuts
from omnimouse_widgets.qt.style.controls import (
    combo_box,
    number_box,
    progress_bar,
    push_button,
    set_items,
    set_share,
    show_text,
)
from omnimouse_widgets.qt.style.form import ElidedLabel, Form, QuietLine, row_of
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.theme import wrapped_label

KINDS = "Table (*.csv);;Table (*.parquet);;Picture (*.png);;Drawing (*.svg)"


class LaboratoryPanel(QWidget):
    """Experiments on the chosen model: choice, run, result of one neuron and of all.

    Parameters
    ----------
    controller
        Source of `state`, `results` and `laboratory`, and receiver of requests.

    Attributes
    ----------
    what_if_shown
        Emitted after a found input became a what-if edit.
    """

    what_if_shown = Signal()

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self.setObjectName("omnimouse-laboratory")
        self._controller = controller
        laboratory = self._laboratory = controller.laboratory
        self.experiment = combo_box(
            laboratory.choose,
            text.choices(),
            tooltip=text.TIPS["experiment"],
            name="Experiment",
        )
        self.repeats = number_box(
            QSpinBox, self._set_repeats, tooltip=text.TIPS["repeats"], name="Repeats"
        )
        self.label = combo_box(
            laboratory.set_label,
            offered=lambda: laboratory.labels,
            tooltip=text.TIPS["label"],
            name="Label",
        )
        self.explanation, self.problem = wrapped_label(), wrapped_label("alert")
        self.cost, self.neuron = QuietLine(), ElidedLabel()
        self.run = push_button("Run", text.TIPS["run"], self._start)
        self.stop = push_button("Stop", text.TIPS["stop"], laboratory.stop)
        self.bar = progress_bar("Experiment")
        self.plot = LabCanvas()
        self.found = wrapped_label(is_selectable=True)
        self.colour = push_button(
            "Colour field", text.TIPS["colour"], lambda: controller.set_colour_by("lab")
        )
        self.what_if = push_button("What if", text.TIPS["what_if"], self._show_in_what_if)
        self.export = push_button("Export…", text.TIPS["export"], self._choose_file)
        self.python = push_button("Copy as Python", text.TIPS["python"], self._copy)
        self._lay_out()
        with QSignalBlocker(self.repeats):
            self.repeats.setRange(1, MAX_REPEATS)
            self.repeats.setSuffix(" ×")
            self.repeats.setMinimumWidth(78)
        # Names are cut in a narrow dock, and no hidden box widens it.
        for box, n_characters in ((self.experiment, 14), (self.label, 6)):
            box.setSizeAdjustPolicy(box.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(n_characters)
        self.label.hide()
        self.what_if.hide()
        shortcuts.bind_keys(self, controller)
        events, results = controller.state.events, controller.results
        self.redraw = Redraw(
            self,
            (
                self._draw_controls,
                [
                    *(laboratory.changed, results.changed, results.events.learned),
                    *(events.session, events.selection, events.predictor_name),
                ],
            ),
            (
                self._draw_result,
                [laboratory.changed, events.selection, controller.neuron_info.changed],
            ),
            # The frame at the cursor: under a receptive field, or of a found video.
            (self._draw_image, [events.cursor, events.window]),
        )

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 4, 4, 4)
        column.setSpacing(4)
        form = QWidget()
        choice = row_of(self.experiment, self.repeats, stretch=0)
        Form(form).add("Experiment", choice)
        column.addWidget(form)
        column.addWidget(self.explanation)
        # Beside the experiment, the label would widen the dock.
        column.addLayout(row_of(self.label, self.cost, self.run, stretch=1))
        column.addLayout(row_of(self.bar, self.stop, stretch=0))
        column.addWidget(self.problem)
        column.addWidget(self.plot.canvas, 1)
        column.addWidget(self.neuron)
        column.addWidget(self.found)
        row = row_of(self.colour, self.what_if, self.export, self.python, spacing=4)
        row.addStretch(1)
        column.addLayout(row)

    # -- what the user does -----------------------------------------------------------
    def _set_repeats(self) -> None:
        self._laboratory.set_repeats(self.repeats.value())

    def _start(self) -> None:
        # A typed number counts although the box has not lost the focus.
        self.repeats.interpretText()
        self._laboratory.start()

    def _show_in_what_if(self) -> None:
        self._controller.show_exciting()
        self.what_if_shown.emit()

    def _copy(self) -> None:
        try:
            script = self._laboratory.as_python()
        except ExportError as error:
            show_text(self.problem, str(error))
            return
        clipboard = QApplication.clipboard()
        assert clipboard is not None
        clipboard.setText(script)
        self.cost.set_text("The script is on the clipboard")

    def _choose_file(self) -> None:
        name = f"{self._laboratory.chosen}.csv"
        if self._laboratory.search is not None:
            chosen = QFileDialog.getExistingDirectory(self, "Export to a folder")
        else:
            chosen, kind = QFileDialog.getSaveFileName(self, "Export", name, KINDS)
            # A name without a suffix has that of the chosen kind.
            if chosen and not Path(chosen).suffix:
                chosen += kind.partition("*")[2].removesuffix(")")
        if chosen:
            self.save(Path(chosen))

    def save(self, path: Path) -> None:
        """Write a table, or the plot (.png, .svg); of a search, files into a folder."""
        try:
            if path.suffix.lower() in (".png", ".svg"):
                written = [self._save_plot(path)]
            else:
                written = self._laboratory.write(path)
        # A package for the format can be missing.
        except (ExportError, OSError, ImportError) as error:
            show_text(self.problem, f"Not saved: {error}")
        else:
            names = ", ".join(one.name for one in written)
            self.cost.set_text(f"Saved {names} in {written[0].parent}")

    def _save_plot(self, path: Path) -> Path:
        """Write the plot as a picture; return its path."""
        lines = (self.neuron.full_text, text.summary(self._laboratory))
        picture = self.plot.picture("\n".join(line for line in lines if line))
        is_svg = path.suffix.lower() == ".svg"
        write_bytes(path, picture.svg() if is_svg else picture.png())
        return path

    # -- from state to screen ---------------------------------------------------------
    def _draw_controls(self) -> None:
        laboratory = self._laboratory
        is_busy, has_experiment = laboratory.is_busy, laboratory.experiment is not None
        at = self.experiment.findData(laboratory.chosen)
        self.experiment.setCurrentIndex(at)
        self.repeats.setVisible(has_experiment)
        has_label = laboratory.chosen == BARCODES
        self.label.setVisible(has_label)
        if has_label:
            set_items(self.label, [(name, name) for name in laboratory.labels])
            self.label.setCurrentIndex(self.label.findData(laboratory.label))
        self.explanation.setText(f"{text.explanation(laboratory)} {text.OF_MODEL}")
        with QSignalBlocker(self.repeats):
            self.repeats.setValue(laboratory.repeats)
        self.cost.set_text(laboratory.message if is_busy else text.cost_text(laboratory))
        self.run.setEnabled(not is_busy and not laboratory.problem)
        self.bar.setVisible(is_busy)
        self.stop.setVisible(is_busy)
        if is_busy:
            set_share(self.bar, laboratory.share)
        error = laboratory.error
        show_text(self.problem, "" if error is None else f"✕ {error}")
        self.colour.setVisible(has_experiment)
        self.colour.setEnabled(laboratory.result is not None)
        self.what_if.setVisible(laboratory.search is not None)
        self.what_if.setEnabled(laboratory.exciting is not None)
        self.export.setEnabled(laboratory.chosen in laboratory.results)

    def _draw_result(self) -> None:
        neuron = text.shown_neuron(self._controller)
        show_text(self.found, text.summary(self._laboratory))
        self.neuron.set_text(text.neuron_text(self._controller, neuron))
        self._draw_plot()

    def _draw_plot(self) -> None:
        neuron = text.shown_neuron(self._controller)
        self.plot.show(lab_plot(self._controller, neuron))

    def _draw_image(self) -> None:
        # Nothing else depends on the cursor.
        if isinstance(self.plot.shown, Image):
            self._draw_plot()
