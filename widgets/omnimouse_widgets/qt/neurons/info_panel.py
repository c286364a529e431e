"""Neuron panel: score, receptive field, tuning, repeats, result of the laboratory."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QApplication,
    QFileDialog,
    QMenu,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from omnimouse_model.analysis.tuning.repeats import (
    AlignedPrediction,
    ClipRepeats,
    align_prediction,
)
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.neurons import neuron_info_text
from omnimouse_model.storage.tables import write_table
from omnimouse_widgets.drawn.traces.rows import predicted_of
from omnimouse_widgets.qt.neurons.info_plots import (
    FieldPlot,
    LagPlot,
    RepeatsPlot,
    TuningPlot,
)
from omnimouse_widgets.qt.plot import RecordPlot
from omnimouse_widgets.qt.style import plot_style, shortcuts
from omnimouse_widgets.qt.style.controls import (
    combo_box,
    push_button,
    scroll_vertically,
    set_items,
    show_text,
    tool_button,
)
from omnimouse_widgets.qt.style.form import ElidedLabel, column_in, row_of
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.theme import wrapped_label
from omnimouse_widgets.qt.style.visibility import VisibilityMonitor
from omnimouse_widgets.views import laboratory as laboratory_view
from omnimouse_widgets.views.record import Image, Message, Plot
from omnimouse_widgets.views.repeats import CEILING_TIP

NO_NEURON = "Select a neuron: Ctrl-click on the field, or a row of the table."
PENDING = "◌"
TOOLTIP = (
    "Receptive field: mean of the recording's video, weighted by the responses of the\n"
    "neuron (blue: less contrast, orange: more; or motion energy, dark to yellow).\n"
    "Direction: mean response after motion in each direction at that place; bars: one\n"
    "standard error; dotted: the mean; yellow line: the preferred direction, drawn\n"
    "only if the selectivity exceeds that of shuffled responses.\n"
    "Below: each row is a repeat of a clip; white: their mean; orange, dashed: the\n"
    "prediction of this window. Press a row to move the window there."
)
PLOTS_HEIGHT = 300
LAB_HEIGHT = 170
NEAREST = 5
"""Neurons that are listed by their barcodes."""


class NeuronInfoPanel(QWidget):
    """Information on the focused neuron; arrow keys step through the selection.

    Parameters
    ----------
    controller
        Source of `state`, `results` and `facts`; the panel only reads them.
    """

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self.setObjectName("omnimouse-neuron")
        self._controller = controller
        self._facts = controller.neuron_info
        self._build_head()
        self._build_lines()
        self._build_plots()
        self._lay_out()
        self._bind_keys()
        events, results = controller.state.events, controller.results
        facts = self._facts
        self.visibility = VisibilityMonitor(self, self._follow)
        self.redraw = Redraw(
            self,
            # A new selection needs new numbers, but only if the panel is visible.
            (self.visibility.update, [events.selection, events.session,
                                      facts.focus_changed]),
            (self._draw_head, [facts.changed, events.selection, events.session,
                               events.mask, events.active_span, results.changed]),
            (self._draw_progress, [facts.changed]),
            (self._draw_facts, [facts.changed, events.session]),
            (self._draw_prediction, [facts.changed, events.window,
                                     results.changed]),
            (self._draw_model, [facts.changed, events.session,
                                results.events.learned]),
            (self._draw_laboratory, [facts.changed, events.session,
                                     controller.laboratory.changed]),
            (self._draw_lab_image, [events.cursor, events.window]),
        )  # fmt: skip

    # -- building -----------------------------------------------------------------
    def _build_head(self) -> None:
        self.heading = ElidedLabel()
        self.heading.setStyleSheet("font-weight: 600;")
        self.previous = _button(
            "◂",
            "Previous selected neuron (← or Shift+N)",
            partial(self._facts.step, -1),
        )
        self.next = _button("▸", "Next selected neuron (→ or N)", partial(self._facts.step, 1))
        self.copy = _button("Copy", "Copy the numbers as text (Ctrl+C)", self.copy_numbers)
        self.export = _button("Export ▾", "Save the picture, or all numbers as a table")
        # The style draws its own arrow over the text.
        self.export.setStyleSheet("QToolButton::menu-indicator { image: none; }")
        self.export.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self.export)
        # Lambdas without arguments: `triggered` also sends whether it is checked.
        menu.addAction("Picture (PNG)…", lambda: self._choose_file("png"))
        menu.addAction("Numbers (CSV)…", lambda: self._choose_file("csv"))
        self.export.setMenu(menu)

    def _build_lines(self) -> None:
        self.now = wrapped_label()
        self.now.setToolTip(
            "State in the samples of the brush; score; slope of recorded on predicted "
            "responses (1: calibrated); position in the selection"
        )
        self.field_line, self.tuning_line = wrapped_label(), wrapped_label()
        self.model_line = wrapped_label()
        self.model_line.setToolTip(
            "What the model has learned of this neuron: the place of the frame that\n"
            "it reads (circle in the field), and the neurons whose weights have the\n"
            "smallest angle to its own (0: same, 0.5: unrelated)"
        )
        self.select_nearest = push_button(
            "Select nearest",
            "Select this neuron and those with the nearest barcodes",
            self._select_nearest,
        )
        self.lab_line = wrapped_label()
        self.repeats_line, self.progress = wrapped_label(), wrapped_label()
        self.repeats_line.setToolTip(CEILING_TIP)
        self.problem = wrapped_label("alert")
        self.stop = push_button("", "", self._press_stop)
        self.clip = combo_box(
            lambda _: self._draw_facts(), name="Clip", tooltip="The displayed clip"
        )

    def _build_plots(self) -> None:
        self.canvas = plot_style.canvas(TOOLTIP)
        self.canvas.setMinimumHeight(PLOTS_HEIGHT)
        self.field, self.lags, self.tuning = FieldPlot(), LagPlot(), TuningPlot()
        self.repeats = RepeatsPlot(self._go_to)
        self.lab = RecordPlot()
        self.lab.canvas.setFixedHeight(LAB_HEIGHT)
        layout = self.canvas.ci.layout
        above = (self.field.plot, self.lags.plot, self.tuning.plot)
        for column, plot in enumerate(above):
            self.canvas.addItem(plot, 0, column)
        for column, share in enumerate((5, 3, 4)):
            layout.setColumnStretchFactor(column, share)
        self.canvas.addItem(self.repeats.rows, 1, 0, 1, 3)
        self.canvas.addItem(self.repeats.means, 2, 0, 1, 3)
        # Receptive field and tuning, rasters of repeats, their mean.
        for row, share in enumerate((5, 3, 4)):
            layout.setRowStretchFactor(row, share)

    def _lay_out(self) -> None:
        head = row_of(
            self.previous, self.next, self.now, self.copy, self.export, stretch=2,
            spacing=4,
        )  # fmt: skip
        content = QWidget()
        column = QVBoxLayout(content)
        column.setContentsMargins(4, 0, 4, 4)
        column.setSpacing(2)
        column.addWidget(self.canvas, 1)
        column.addWidget(self.field_line)
        column.addWidget(self.tuning_line)
        column.addLayout(row_of(self.model_line, self.select_nearest, stretch=0))
        column.addWidget(self.lab_line)
        column.addWidget(self.lab.canvas)
        column.addLayout(row_of(self.repeats_line, self.clip, stretch=0))
        work = row_of(self.progress, self.stop, stretch=0)
        parts = (self.heading, head, work, self.problem, scroll_vertically(content))
        column_in(self, *parts, stretch=4, spacing=2)

    def _bind_keys(self) -> None:
        shortcuts.bind_keys(self, self._controller)
        shortcuts.bind(self, "Left", partial(self._facts.step, -1))
        shortcuts.bind(self, "Right", partial(self._facts.step, 1))
        shortcuts.bind(self, "Ctrl+C", self.copy_numbers)
        # The panel needs the focus for its arrow keys.
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)

    def _follow(self, is_visible: bool) -> None:
        """Compute the numbers only while the panel is visible."""
        if is_visible:
            self._facts.follow()
        else:
            self._facts.stop()

    # -- what the user does -------------------------------------------------------
    def copy_numbers(self) -> None:
        """Copy all text lines to the clipboard."""
        clipboard, text = QApplication.clipboard(), self.full_text()
        if text and clipboard is not None:
            clipboard.setText(text)

    def full_text(self) -> str:
        """Return all information on the neuron as self-contained text."""
        state, results = self._controller.state, self._controller.results
        focus, info = self._facts.focus, self._facts.current
        if focus is None:
            return ""
        return neuron_info_text.info_text(state, results, info, focus)

    def export_to(self, path: str | Path) -> None:
        """Save the picture (.png) or all numbers (.csv); show errors in the panel."""
        path = Path(path)
        session, info = self._controller.state.session, self._facts.current
        is_table = path.suffix.lower() == ".csv"
        try:
            if is_table and session is not None and info is not None:
                write_table(path, neuron_info_text.info_columns(session, info))
            elif not self.canvas.grab().save(str(path)):
                raise OSError(f"{path} cannot be written")
        except OSError as error:
            show_text(self.problem, f"⚠ Not saved: {error}")

    def _choose_file(self, ending: str) -> None:
        session, info = self._controller.state.session, self._facts.current
        if session is None or info is None:
            show_text(self.problem, "⚠ Not saved: the numbers are not computed yet")
            return
        name = f"neuron-{session.units.names[info.neuron]}.{ending}"
        path, _ = QFileDialog.getSaveFileName(
            self, "Export", name, f"{ending.upper()} (*.{ending})"
        )
        if path:
            self.export_to(Path(path).with_suffix(f".{ending}"))

    def _press_stop(self) -> None:
        if self._facts.is_busy:
            self._facts.stop_by_user()
        else:
            self._facts.retry()

    def _go_to(self, repeat: int, time_s: float) -> None:
        """Move the window so that a moment of a repeat is in its middle."""
        repeats = self.displayed_repeats()
        if repeats is not None:
            self._controller.navigation.centre_on(float(repeats.onset_s[repeat]) + time_s)

    # -- from state to screen -----------------------------------------------------
    def displayed_repeats(self) -> ClipRepeats | None:
        """Return the repeats of the chosen clip, or None."""
        info = self._facts.current
        if info is None or not info.repeats:
            return None
        # The box has index -1 while it is empty, and can still list the clips of
        # another neuron until `_draw_clips` fills it again.
        chosen = max(self.clip.currentIndex(), 0)
        return info.repeats[min(chosen, len(info.repeats) - 1)]

    def displayed_prediction(self) -> AlignedPrediction | None:
        """Return the window's prediction aligned to a repeat of the clip, or None."""
        state, repeats = self._controller.state, self.displayed_repeats()
        neuron = self._facts.focus
        if state.window is None or repeats is None or neuron is None:
            return None
        chosen = self._controller.results.selected
        predicted = predicted_of(chosen, neuron, state.window)
        if predicted is None:
            return None
        return align_prediction(repeats, state.window.timestamps["responses"], predicted)

    def _draw_head(self) -> None:
        state, neuron = self._controller.state, self._facts.focus
        session = state.session
        for button in (self.copy, self.export):
            button.setEnabled(session is not None and neuron is not None)
        for button in (self.previous, self.next):
            button.setEnabled(len(state.selection) > 1)
        if session is None or neuron is None or neuron >= session.n_neurons:
            self.heading.set_text("")
            show_text(self.now, plot_style.NO_SESSION if session is None else NO_NEURON)
            return
        heading = neuron_info_text.heading(session, neuron)
        self.heading.set_text(heading)
        self.heading.setToolTip(heading)
        now = neuron_info_text.state_text(state, self._controller.results, neuron)
        selection = state.selection
        if len(selection) > 1 and neuron in selection:
            now += f" · {selection.index(neuron) + 1}/{len(selection)}"
        show_text(self.now, now)

    def _draw_progress(self) -> None:
        facts = self._facts
        progress = f"{PENDING} {facts.message}…" if facts.is_busy else ""
        if facts.is_stopped and not facts.is_busy:
            progress = "Stopped before the end of the computation."
        show_text(self.progress, progress)
        fault = f"⚠ Not computed: {facts.error}" if facts.error else ""
        show_text(self.problem, fault)
        self.stop.setText("Stop" if facts.is_busy else "Compute")
        can_resume = facts.is_stopped or facts.error is not None
        self.stop.setVisible(facts.is_busy or can_resume)

    def _draw_facts(self) -> None:
        info = self._facts.current
        field = None if info is None else info.field
        tuning = None if info is None else info.tuning
        self.field.show(field)
        self.lags.show(field)
        self.tuning.show(tuning)
        text = "" if field is None else neuron_info_text.field_text(field)
        show_text(self.field_line, text and f"Field: {text}")
        text = "" if tuning is None else neuron_info_text.tuning_text(tuning)
        show_text(self.tuning_line, text and f"Tuning: {text}")
        clips = () if info is None or info.repeats is None else info.repeats
        names = [f"clip {i + 1} · {r.clip.tier}" for i, r in enumerate(clips)]
        set_items(self.clip, [(name, name) for name in names])
        self.clip.setVisible(len(names) > 1)
        is_known = info is not None and info.repeats is not None
        missing = "no repeats" if is_known else PENDING
        self.repeats.show(self.displayed_repeats(), missing)
        self._draw_prediction()

    def _draw_model(self) -> None:
        neuron = self._facts.focus
        session = self._controller.state.session
        learned = neuron_info_text.learned_of(self._controller.results, session)
        text, place = "", None
        if learned is not None and neuron is not None:
            text = neuron_info_text.learned_text(learned, neuron, NEAREST)
            if learned.positions is not None:
                place = learned.positions[neuron]
        show_text(self.model_line, text and f"Model: {text}")
        self.field.show_model_place(place)
        has_barcodes = learned is not None and learned.barcodes is not None
        self.select_nearest.setVisible(bool(text) and has_barcodes)

    def _draw_laboratory(self) -> None:
        """Show what the chosen experiment of the laboratory found of the neuron."""
        laboratory, neuron = self._controller.laboratory, self._facts.focus
        plot = laboratory_view.lab_content(laboratory, self._controller.state, neuron)
        found = laboratory.exciting
        is_of_neuron = found is None or neuron in found.neurons
        # A decoding is about all neurons: its matrix is no plot.
        has_plot = is_of_neuron and isinstance(plot, Plot) and not isinstance(plot, Message)
        self.lab.canvas.setVisible(has_plot)
        if not has_plot or not isinstance(plot, Plot):
            show_text(self.lab_line, "")
            return
        self.lab.show(plot)
        session = self._controller.state.session
        text = laboratory_view.neuron_text(laboratory, session, neuron)
        if found is not None:
            text = laboratory_view.summary(laboratory)
        elif laboratory.result is not None:
            text += f" · {laboratory.result.predictor_id}"
        show_text(self.lab_line, f"Laboratory: {text}")

    def _draw_lab_image(self) -> None:
        # Nothing else of it depends on the cursor.
        if self.lab.canvas.isVisible() and isinstance(self.lab.shown, Image):
            self._draw_laboratory()

    def _select_nearest(self) -> None:
        neuron, state = self._facts.focus, self._controller.state
        learned = neuron_info_text.learned_of(self._controller.results, state.session)
        if learned is not None and neuron is not None:
            nearest, _ = learned.nearest(neuron, NEAREST)
            # The neuron itself last: the last one has the focus.
            self._controller.selection.select([*nearest.tolist(), neuron])

    def _draw_prediction(self) -> None:
        info, repeats = self._facts.current, self.displayed_repeats()
        # None without a prediction, or if the window lies in no repeat of the clip.
        over = self.displayed_prediction()
        self.repeats.show_prediction(over)
        text = ""
        if repeats is not None:
            text = f"Repeats: {neuron_info_text.repeats_text(repeats)}"
            # `over.r == over.r` is False for NaN.
            if over is not None and over.r == over.r:
                text += f" · r of this window's prediction with the mean: {over.r:z.2f}"
        elif info is not None and info.repeats is not None:
            text = neuron_info_text.NO_REPEATS
        show_text(self.repeats_line, text)


def _button(text: str, tooltip: str, action: Callable[[], object] | None = None) -> QToolButton:
    return tool_button(text, tooltip, action, name=tooltip.split(" (")[0])
