"""Neuron panel: identity, score, receptive field, tuning and clip repeats."""

from functools import partial
from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QScrollArea,
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
from omnimouse_widgets.drawn.traces.rows import predicted_of
from omnimouse_widgets.qt.neurons.info_plots import (
    FieldPlot,
    LagPlot,
    RepeatsPlot,
    TuningPlot,
)
from omnimouse_widgets.qt.style import plot_style, shortcuts
from omnimouse_widgets.qt.style.form import ElidedLabel, column_in
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.theme import wrapped_label
from omnimouse_widgets.qt.style.visibility import VisibilityMonitor

NO_NEURON = "Select a neuron: Ctrl-click on the field, or a row of the table."
NO_SESSION = "No session is open."
COMING = "◌"
TOOLTIP = (
    "Receptive field: the session's own video averaged by the neuron's responses\n"
    "(blue less, orange more contrast; or, from dark to yellow, motion energy).\n"
    "Direction: mean response after motion in each direction at that place; bars: one\n"
    "standard error; dotted: the mean; a yellow line: the preferred direction, where\n"
    "shuffled responses are hardly ever as selective.\n"
    "Below: each repeat of a clip is a row; white: their mean; orange, dashed: the\n"
    "prediction of this window. Press a row to go there."
)
CEILING_TOOLTIP = (
    "What a perfect prediction from the clip alone correlates with: the mean over\n"
    "repeats (CC_max, Schoppe et al. 2016), or one repeat. A model that also knows\n"
    "behaviour or other neurons may come above it.\n"
    "Oracle: correlation of each repeat with the mean of the others."
)
PLOTS_HEIGHT = 300


class NeuronFactsPanel(QWidget):
    """Facts about the focused neuron; arrow keys step through the selection.

    Parameters
    ----------
    controller
        Source of `state`, `results` and `facts`; the panel only reads them.
    """

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self.setObjectName("omnimouse-neuron")
        self._controller = controller
        self._facts = controller.facts
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
            # A new selection needs new facts, but only if the panel is visible.
            (self.visibility.update, [events.selection, events.session, facts.focused]),
            (self._draw_head, [facts.changed, events.selection, events.session,
                               events.mask, events.active_span, results.changed]),
            (self._draw_progress, [facts.changed]),
            (self._draw_facts, [facts.changed, events.session]),
            (self._draw_prediction, [facts.changed, events.window,
                                     results.changed]),
        )  # fmt: skip

    # -- building -----------------------------------------------------------------
    def _build_head(self) -> None:
        self.heading = ElidedLabel()
        self.heading.setStyleSheet("font-weight: 600;")
        self.previous = _button("◂", "The selected neuron before (← or Shift+N)")
        self.next = _button("▸", "The next selected neuron (→ or N)")
        self.previous.clicked.connect(lambda: self._facts.step(-1))
        self.next.clicked.connect(lambda: self._facts.step(1))
        self.copy = _button("Copy", "Copy the numbers as text (Ctrl+C)")
        self.copy.clicked.connect(lambda: self.copy_numbers())
        self.export = _button("Export", "Save the picture, or every number as a table")
        self.export.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self.export)
        for words, ending in (("Picture (PNG)…", "png"), ("Numbers (CSV)…", "csv")):
            menu.addAction(words, partial(self._ask_where, ending))
        self.export.setMenu(menu)

    def _build_lines(self) -> None:
        self.now = wrapped_label()
        self.now.setToolTip(
            "State in the samples of the brush; score in this window; which of the "
            "selected neurons it is"
        )
        self.field_line = wrapped_label()
        self.tuning_line = wrapped_label()
        self.repeats_line = wrapped_label()
        self.repeats_line.setToolTip(CEILING_TOOLTIP)
        self.progress = wrapped_label()
        self.fault = wrapped_label("alert")
        self.stop = QPushButton()
        self.stop.clicked.connect(lambda: self._press_stop())
        self.clip = QComboBox()
        self.clip.setToolTip("Which of the repeated clips")
        self.clip.setAccessibleName("Clip")
        self.clip.activated.connect(lambda _: self._draw_facts())

    def _build_plots(self) -> None:
        self.canvas = plot_style.canvas(TOOLTIP)
        self.canvas.setMinimumHeight(PLOTS_HEIGHT)
        self.field, self.lags = FieldPlot(), LagPlot()
        self.tuning = TuningPlot()
        self.repeats = RepeatsPlot(self._go_to)
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
        head = QHBoxLayout()
        head.setSpacing(4)
        for button in (self.previous, self.next):
            head.addWidget(button)
        head.addWidget(self.now, 1)
        head.addWidget(self.copy)
        head.addWidget(self.export)
        work = QHBoxLayout()
        work.addWidget(self.progress, 1)
        work.addWidget(self.stop)
        content = QWidget()
        column = QVBoxLayout(content)
        column.setContentsMargins(4, 0, 4, 4)
        column.setSpacing(2)
        column.addWidget(self.canvas, 1)
        for line in (self.field_line, self.tuning_line):
            column.addWidget(line)
        last = QHBoxLayout()
        last.addWidget(self.repeats_line, 1)
        last.addWidget(self.clip)
        column.addLayout(last)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QScrollArea.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(content)
        parts = (self.heading, head, work, self.fault, area)
        column_in(self, *parts, stretch=4, spacing=2)

    def _bind_keys(self) -> None:
        shortcuts.bind_keys(self, self._controller)
        shortcuts.bind(self, "Left", partial(self._facts.step, -1))
        shortcuts.bind(self, "Right", partial(self._facts.step, 1))
        shortcuts.bind(self, "Ctrl+C", self.copy_numbers)
        # The panel needs the focus for its arrow keys.
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)

    def _follow(self, is_seen: bool) -> None:
        """Compute facts of the selection only while the panel is visible."""
        if is_seen:
            self._facts.follow()
        else:
            self._facts.stop()

    # -- what the user does -------------------------------------------------------
    def copy_numbers(self) -> None:
        """Copy all text lines to the clipboard."""
        clipboard = QApplication.clipboard()
        words = self.words()
        if words and clipboard is not None:
            clipboard.setText(words)

    def words(self) -> str:
        """Return all facts about the neuron as self-contained text."""
        state, focus = self._controller.state, self._facts.focus
        if focus is None:
            return ""
        found = self._facts.found
        return neuron_info_text.facts_words(
            state, self._controller.results, found, focus
        )

    def export_to(self, path: str | Path) -> None:
        """Save the picture (.png) or all numbers (.csv); show errors in the panel."""
        path = Path(path)
        session, found = self._controller.state.session, self._facts.found
        is_table = path.suffix.lower() == ".csv"
        try:
            if is_table and session is not None and found is not None:
                numbers = neuron_info_text.facts_csv(session, found)
                path.write_text(numbers, encoding="utf-8")
            elif not self.canvas.grab().save(str(path)):
                raise OSError(f"{path} cannot be written")
        except OSError as error:
            _say(self.fault, f"⚠ Not saved: {error}")

    def _ask_where(self, ending: str) -> None:
        session, found = self._controller.state.session, self._facts.found
        if session is None or found is None:
            _say(self.fault, "⚠ Not saved: nothing is known of the neuron yet")
            return
        name = f"neuron-{session.units.names[found.neuron]}.{ending}"
        path, _ = QFileDialog.getSaveFileName(
            self, "Export", name, f"{ending.upper()} (*.{ending})"
        )
        if path:
            self.export_to(Path(path).with_suffix(f".{ending}"))

    def _press_stop(self) -> None:
        if self._facts.is_busy:
            self._facts.give_up()
        else:
            self._facts.again()

    def _go_to(self, repeat: int, time_s: float) -> None:
        """Move the window so that a moment of a repeat is in its middle."""
        shown = self.shown_repeats()
        if shown is not None:
            half_s = self._controller.state.spec.duration_s / 2
            self._controller.seek(float(shown.onset_s[repeat]) + time_s - half_s)

    # -- from state to screen -----------------------------------------------------
    def shown_repeats(self) -> ClipRepeats | None:
        """Return the repeats of the chosen clip, or None."""
        found = self._facts.found
        if found is None or not found.repeats:
            return None
        # The box has index -1 while it is empty, and can still list the clips of
        # another neuron until `_draw_clips` fills it again.
        chosen = max(self.clip.currentIndex(), 0)
        return found.repeats[min(chosen, len(found.repeats) - 1)]

    def shown_prediction(self) -> AlignedPrediction | None:
        """Return the window's prediction aligned to a repeat of the clip, or None."""
        state, repeats = self._controller.state, self.shown_repeats()
        neuron = self._facts.focus
        if state.window is None or repeats is None or neuron is None:
            return None
        predicted = predicted_of(self._controller.results.selected, neuron)
        if predicted is None:
            return None
        return align_prediction(
            repeats, state.window.timestamps["responses"], predicted
        )

    def _draw_head(self) -> None:
        state, neuron = self._controller.state, self._facts.focus
        session = state.session
        is_there = session is not None and neuron is not None
        for button in (self.copy, self.export):
            button.setEnabled(is_there)
        for button in (self.previous, self.next):
            button.setEnabled(len(state.selection) > 1)
        if session is None or neuron is None or neuron >= session.n_neurons:
            self.heading.set_text("")
            _say(self.now, NO_SESSION if session is None else NO_NEURON)
            return
        words = neuron_info_text.heading(session, neuron)
        self.heading.set_text(words)
        self.heading.setToolTip(words)
        now = neuron_info_text.state_now(state, self._controller.results, neuron)
        place = self._place_in_selection(neuron)
        _say(self.now, f"{now}{place}")

    def _place_in_selection(self, neuron: int) -> str:
        selection = self._controller.state.selection
        if len(selection) < 2 or neuron not in selection:
            return ""
        return f" · {selection.index(neuron) + 1}/{len(selection)}"

    def _draw_progress(self) -> None:
        facts = self._facts
        _say(self.progress, f"{COMING} {facts.words}…" if facts.is_busy else "")
        if facts.is_given_up and not facts.is_busy:
            _say(self.progress, "Stopped before all was computed.")
        _say(self.fault, f"⚠ Not computed: {facts.fault}" if facts.fault else "")
        self.stop.setText("Stop" if facts.is_busy else "Compute")
        can_go_on = facts.is_given_up or facts.fault is not None
        self.stop.setVisible(facts.is_busy or can_go_on)

    def _draw_facts(self) -> None:
        found = self._facts.found
        field = None if found is None else found.field
        tuning = None if found is None else found.tuning
        self.field.show(field)
        self.lags.show(field)
        self.tuning.show(tuning)
        told = "" if field is None else neuron_info_text.field_words(field)
        _say(self.field_line, told and f"Field: {told}")
        told = "" if tuning is None else neuron_info_text.tuning_words(tuning)
        _say(self.tuning_line, told and f"Tuning: {told}")
        self._draw_clips()
        repeats = self.shown_repeats()
        is_known = found is not None and found.repeats is not None
        self.repeats.show(repeats, "no repeats" if is_known else COMING)
        self._draw_prediction()

    def _draw_clips(self) -> None:
        found = self._facts.found
        shown = () if found is None or found.repeats is None else found.repeats
        names = [f"clip {i + 1} · {r.clip.tier}" for i, r in enumerate(shown)]
        # Filling the box again would lose the chosen clip.
        if names != [self.clip.itemText(i) for i in range(self.clip.count())]:
            self.clip.clear()
            self.clip.addItems(names)
        self.clip.setVisible(len(names) > 1)

    def _draw_prediction(self) -> None:
        found, repeats = self._facts.found, self.shown_repeats()
        # None without a prediction, or if the window lies in no repeat of the clip.
        over = self.shown_prediction()
        self.repeats.show_prediction(over)
        told = ""
        if repeats is not None:
            told = f"Repeats: {neuron_info_text.repeats_words(repeats)}"
            # `over.r == over.r` is False for NaN.
            if over is not None and over.r == over.r:
                told += f" · prediction here r = {over.r:.2f} with the mean"
        elif found is not None and found.repeats is not None:
            told = neuron_info_text.NO_REPEATS
        _say(self.repeats_line, told)


def _button(words: str, tooltip: str) -> QToolButton:
    button = QToolButton()
    button.setText(words)
    button.setToolTip(tooltip)
    button.setAccessibleName(tooltip.split(" (")[0])
    return button


def _say(label: QLabel, words: str) -> None:
    label.setText(words)
    label.setVisible(bool(words))
