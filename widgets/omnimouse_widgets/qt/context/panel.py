"""Context panel: prediction score against context size, live and saved sweeps.

Live curves are requested only while the panel is visible.
"""

from pathlib import Path

from pyqtgraph.graphicsItems.ScatterPlotItem import drawSymbol
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap, QResizeEvent
from qtpy.QtWidgets import (
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from omnimouse_model.analysis.sweep.plan import SweepPlan
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.sweep.current_point import mark_of
from omnimouse_widgets import palette
from omnimouse_widgets.drawn.context.points import DrawnSweep
from omnimouse_widgets.drawn.context.text import (
    in_the_way,
    live_words,
    mark_words,
    sweeps_on_screen,
)
from omnimouse_widgets.qt.context.form import SweepForm
from omnimouse_widgets.qt.context.legend import SweepLegend
from omnimouse_widgets.qt.context.plot import ContextPlot
from omnimouse_widgets.qt.context.saved_sweeps import KeptSweeps
from omnimouse_widgets.qt.style import plot_style, shortcuts
from omnimouse_widgets.qt.style.controls import toggle_button
from omnimouse_widgets.qt.style.form import ElidedLabel
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.theme import wrapped_label
from omnimouse_widgets.qt.style.visibility import VisibilityMonitor

TOOLTIP = (
    "Single-trial correlation against what is given: other neurons seen in the asked "
    "second, or samples of everyone's history before it.\n"
    "Bars: s.e.m. over draws of neurons. Star and dotted line: the mask on screen, at "
    "its mean score of the selected neurons;\n"
    "an open star: none of them is asked, it is the mean of those that are.\n"
    "Hover over a point for its numbers."
)
NO_ROOM = "No room for the curves too: make this dock higher"
SPARE = 6
REST_MS = 150
"""Minimum time in ms between redraws; sweep points can arrive faster."""
LEGEND = """
QToolButton { border: 1px solid transparent; border-radius: 3px; padding: 1px 3px;
  background: transparent; font-size: 8pt; }
QToolButton:hover { background: rgba(128, 134, 145, 90); }
QToolButton:!checked { color: rgba(128, 134, 145, 160); }
QToolButton:focus { border-color: #56B4E9; }
"""
KINDS = "Table (*.csv);;Picture (*.png);;Drawing (*.svg)"


class ContextPanel(QWidget):
    """Live curves, background sweeps and saved sweeps.

    Parameters
    ----------
    controller
        Source of `state`, `results` and `sweeps`, and receiver of requests.
    """

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self.setObjectName("omnimouse-context")
        self._controller = controller
        self.plot = ContextPlot()
        self.conditions = {label: _toggle(label) for label in palette.CONDITION_COLOURS}
        self.legend = SweepLegend()
        self.status, self.mark, self.no_room = (ElidedLabel() for _ in range(3))
        self.problem = wrapped_label("alert")
        self._build_progress()
        self._build_pages()
        self._lay_out()
        for button in (*self.conditions.values(), self.live):
            button.toggled.connect(lambda _: self._show_again())
        shortcuts.bind_keys(self, controller)
        # Names, line styles and hidden conditions of the last drawing, then its sweeps.
        self._drawn: list[object] = []
        events, results, sweeps = (
            controller.state.events,
            controller.results,
            controller.sweeps,
        )
        self.redraw = Redraw(
            self,
            (self._draw_curves, [events.window, events.mask, events.selection,
                                 events.predictor_name, results.changed,
                                 sweeps.changed]),
            (self._draw_mark, [events.window, events.mask, events.selection,
                               results.changed]),
            (self._draw_progress, [sweeps.changed]),
            rest_ms=REST_MS,
        )  # fmt: skip
        self.visibility = VisibilityMonitor(self, self._follow)

    def _build_progress(self) -> None:
        self.bar = QProgressBar()
        self.bar.setRange(0, 1000)
        self.bar.setTextVisible(False)
        self.bar.setMaximumHeight(8)
        self.progress = ElidedLabel()
        self.pause, self.cancel = QPushButton("Pause"), QPushButton("Cancel")
        self.cancel.setToolTip("End the sweep; its points are kept, and it can go on")
        sweeps = self._controller.sweeps
        self.pause.clicked.connect(
            lambda: sweeps.resume() if sweeps.is_paused else sweeps.pause()
        )
        self.cancel.clicked.connect(lambda: sweeps.cancel())
        self.running = QWidget()
        row = QHBoxLayout(self.running)
        row.setContentsMargins(0, 0, 0, 0)
        words = QVBoxLayout()
        words.setSpacing(1)
        words.addWidget(self.progress)
        words.addWidget(self.bar)
        row.addLayout(words, 1)
        row.addWidget(self.pause)
        row.addWidget(self.cancel)

    def _build_pages(self) -> None:
        self.form, self.kept = SweepForm(self._controller), KeptSweeps(self._controller)
        self.form.start.connect(self._start)
        scrolled = _FormArea()
        scrolled.setWidget(self.form)
        scrolled.setWidgetResizable(True)
        scrolled.setFrameShape(QFrame.Shape.NoFrame)
        # The form adapts to the width, so it only ever scrolls vertically.
        scrolled.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._pages = {self.form: scrolled, self.kept: self.kept}
        for page in self._pages.values():
            page.hide()
        self.live = toggle_button(
            "Live", "Draw the live curves of the selected neurons"
        )
        self.live.setChecked(True)
        self.sweep = toggle_button(
            "Sweep…", "A sweep over many windows, in the background"
        )
        self.keep = toggle_button(
            "Kept…", "Sweeps that were kept: compare, go on, delete"
        )
        self.export = QPushButton("Export…")
        self.export.setToolTip("Save what is drawn as CSV, PNG or SVG")
        self.sweep.clicked.connect(lambda: self._turn_to(self.form, self.sweep))
        self.keep.clicked.connect(lambda: self._turn_to(self.kept, self.keep))
        self.export.clicked.connect(lambda: self._choose_file())

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 4, 4, 4)
        column.setSpacing(2)
        legend = QHBoxLayout()
        legend.setSpacing(2)
        for button in self.conditions.values():
            legend.addWidget(button)
        legend.addStretch(1)
        buttons = QHBoxLayout()
        buttons.setSpacing(4)
        for widget in (self.live, self.sweep, self.keep, self.export):
            buttons.addWidget(widget)
        buttons.addStretch(1)
        column.addLayout(legend)
        column.addWidget(self.legend)
        column.addWidget(self.plot.canvas, 3)
        self.no_room.set_text(NO_ROOM)
        self.no_room.setToolTip(NO_ROOM)
        self.no_room.hide()
        for words in (self.no_room, self.status, self.mark):
            words.setFont(plot_style.small_font())
            column.addWidget(words)
        self.status.setToolTip(TOOLTIP)
        column.addWidget(self.problem)
        column.addWidget(self.running)
        column.addLayout(buttons)
        column.addWidget(self.kept, 2)
        column.addWidget(self._pages[self.form])

    # -- what the user does -----------------------------------------------------------
    def _follow(self, is_seen: bool) -> None:
        self._controller.show_sweep(is_seen and self.live.isChecked())
        # Read the folder unless sweeps are already listed; "Kept…" reads it again.
        if is_seen and not self._controller.sweeps.found:
            self._controller.sweeps.look()

    def _show_again(self) -> None:
        self._controller.show_sweep(
            self.visibility.is_visible and self.live.isChecked()
        )
        self._draw_curves()

    def _turn_to(self, page: QWidget, button: QToolButton) -> None:
        """Open a page, or close it if it is open."""
        for other in (self.sweep, self.keep):
            if other is not button:
                other.setChecked(False)
        for some, shown in self._pages.items():
            shown.setVisible(some is page and button.isChecked())
        self._make_room()
        for words in (self.status, self.mark):
            # An open page needs the height of these lines.
            words.setVisible(not button.isChecked())
        if self.keep.isChecked():
            self._controller.sweeps.look()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Show or hide the plots for the new height."""
        super().resizeEvent(event)
        self._make_room()

    def _make_room(self) -> None:
        """Hide the plots while the form is open if the panel is too low for both."""
        rows = (*self.conditions.values(), self.export, self.no_room)
        # Three rows besides form and plots, each as high as the highest control.
        others = 3 * (SPARE + max(row.sizeHint().height() for row in rows))
        # Size hints, not heights: hidden widgets have no valid height.
        form, canvas = self._pages[self.form], self.plot.canvas
        needed = form.sizeHint().height() + canvas.minimumHeight() + others
        has_room = not self.sweep.isChecked() or self.height() >= needed
        self.plot.canvas.setVisible(has_room)
        self.legend.set_room(has_room)
        self.no_room.setVisible(not has_room)

    def _start(self, plan: SweepPlan, name: str) -> None:
        self._controller.sweeps.start(plan, name)
        self.sweep.click()  # close the form: the new points appear in the plots

    def _choose_file(self) -> None:
        # A live sweep exists before its first point.
        if not any(drawn.sweep.rows for drawn in self.sweeps()):
            why = " ".join(self._in_the_way().split()) or "Wait for the first points"
            self.problem.setText(f"Nothing is drawn that could be saved. {why}.")
            self.problem.show()
            return
        name, _ = QFileDialog.getSaveFileName(self, "Export", "context.csv", KINDS)
        if name:
            self.save(Path(name))

    def save(self, path: Path) -> None:
        """Write the drawn sweeps as CSV (suffix .csv), otherwise as an image."""
        if path.suffix.lower() == ".csv":
            # `sweeps_on_screen` distinguishes sweeps of equal name by their start time.
            named = {drawn.name: drawn.sweep for drawn in self.sweeps()}
            self._controller.sweeps.write_csv(named, path)
            return
        try:
            self.plot.write_image(path)
        except OSError as error:
            self.problem.setText(f"Not saved: {error}")
            self.problem.show()

    # -- from state to screen ---------------------------------------------------------
    def sweeps(self) -> list[DrawnSweep]:
        """Return the sweeps to draw from state and results: live first, then saved."""
        is_live = self.live.isChecked()
        results, kept = self._controller.results, self._controller.sweeps
        return sweeps_on_screen(results, kept, is_live=is_live)

    def _draw_curves(self) -> None:
        drawn = self.sweeps()
        hidden = [k for k, button in self.conditions.items() if not button.isChecked()]
        looks: list[object] = [(d.name, d.line, d.is_old) for d in drawn]
        # Compare sweeps by identity; an unchanged one need not be drawn again.
        same = [d.sweep for d in drawn]
        before = self._drawn[2:] if self._drawn[:2] == [looks, hidden] else None
        # `before` and `same` have equal lengths, because `looks` has one entry per
        # sweep.
        if before is None or any(
            one is not other for one, other in zip(before, same, strict=True)
        ):
            self.plot.show_sweeps(drawn, hidden)
            self.legend.show_sweeps(drawn)
            self._drawn = [looks, hidden, *same]
        why = self._in_the_way()
        self.plot.set_message("" if any(d.sweep.rows for d in drawn) else why)
        self.status.set_text(self._status(why))

    def _draw_mark(self) -> None:
        mark = mark_of(self._controller.state, self._controller.results)
        self.plot.show_mark(mark)
        words = mark_words(mark)
        self.mark.set_text(words)
        self.mark.setToolTip(f"{words}\n{TOOLTIP}".strip())

    def _draw_progress(self) -> None:
        sweeps = self._controller.sweeps
        self.running.setVisible(sweeps.is_busy)
        self.progress.set_text(f"Sweep: {sweeps.words}")
        self.bar.setValue(round(1000 * sweeps.progress.share))
        self.pause.setText("Resume" if sweeps.is_paused else "Pause")
        words = "Go on with it" if sweeps.is_paused else "Hold it after this window"
        self.pause.setToolTip(words)
        fault = sweeps.fault
        self.problem.setText("" if fault is None else str(fault))
        self.problem.setVisible(fault is not None)

    def _in_the_way(self) -> str:
        state, results = self._controller.state, self._controller.results
        return in_the_way(state, results, is_live=self.live.isChecked())

    def _status(self, why: str) -> str:
        if why:
            # Reasons have line breaks for the plot; the status has one line.
            return " ".join(why.split())
        return live_words(self._controller.state, self._controller.results)


class _FormArea(QScrollArea):
    """Scroll area for a form that may be higher than the panel."""

    def sizeHint(self) -> QSize:
        """Return the form's current height; Qt caches the height of the first call."""
        form = self.widget()
        if form is None:
            return super().sizeHint()
        wrapped = form.heightForWidth(self.width())  # labels may wrap at this width
        hint = form.sizeHint()
        return QSize(hint.width(), max(hint.height(), wrapped))


def _toggle(label: str) -> QToolButton:
    """Return a legend button that shows or hides the curves of a condition."""
    button = toggle_button(label, f"Draw the curves with {label} given, or not")
    button.setStyleSheet(LEGEND)
    button.setIcon(_symbol(label))
    button.setIconSize(QSize(12, 12))
    button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
    button.setChecked(True)
    return button


def _symbol(label: str) -> QIcon:
    """Return the condition's plot symbol: filled if shown, open if hidden."""
    icon = QIcon()
    colour = palette.CONDITION_COLOURS[label]
    for state, alpha in ((QIcon.State.On, 255), (QIcon.State.Off, 0)):
        pixmap = QPixmap(12, 12)
        pixmap.fill(QColor(0, 0, 0, 0))
        painter = QPainter(pixmap)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        # pyqtgraph's symbols are centred on the origin.
        painter.translate(6, 6)
        symbol = palette.CONDITION_SYMBOLS[label]
        fill = plot_style.brush(colour, alpha)
        drawSymbol(painter, symbol, 9, plot_style.pen(colour), fill)
        painter.end()
        icon.addPixmap(pixmap, QIcon.Mode.Normal, state)
    return icon
