"""Context panel: prediction score against context size, live and saved sweeps.

Live curves are requested only while the panel is visible.
"""

from pathlib import Path

from pyqtgraph.graphicsItems.ScatterPlotItem import drawSymbol
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QIcon, QPainter, QResizeEvent
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QScrollArea,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from omnimouse_model.analysis.sweep.plan import SweepPlan
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.sweep.current_point import current_point
from omnimouse_model.storage.write import write_bytes
from omnimouse_widgets import palette
from omnimouse_widgets.drawn.context.points import DrawnSweep
from omnimouse_widgets.drawn.context.text import (
    live_problem,
    live_text,
    point_text,
    sweeps_on_screen,
)
from omnimouse_widgets.qt.context.form import SweepForm
from omnimouse_widgets.qt.context.legend import SweepLegend
from omnimouse_widgets.qt.context.plot import ContextPlot
from omnimouse_widgets.qt.context.saved_sweeps import SavedSweeps
from omnimouse_widgets.qt.style import plot_style, shortcuts
from omnimouse_widgets.qt.style.controls import (
    progress_bar,
    push_button,
    scroll_vertically,
    set_share,
    show_text,
    toggle_button,
)
from omnimouse_widgets.qt.style.form import ElidedLabel, row_of
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.theme import drawn_pixmap, wrapped_label
from omnimouse_widgets.qt.style.visibility import VisibilityMonitor

TOOLTIP = (
    "Score against the size of the context: the number of other\n"
    "neurons visible in the target samples, or the samples of history of all neurons.\n"
    "Bars: s.e.m. over draws of neurons; with one draw, the 95 % interval over time.\n"
    "Solid lines: the mask's target neurons over the test tier, from 24 windows; broken\n"
    "lines: the selected ones of them. Before, pale lines: the selected neurons in\n"
    "this window. Star and dotted line: the current mask, over the tier, too; before,\n"
    "at the mean score of the selected neurons in this window (open star: none of\n"
    "them is a target; the mean is over the targets).\n"
    "Point at a marker to see its numbers."
)
NO_ROOM = "Increase the height of this dock to see the curves, too"
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
        self.no_room = ElidedLabel()
        self.status, self.mark = wrapped_label(), wrapped_label()
        self.problem = wrapped_label("alert")
        self._build_progress()
        self._build_pages()
        self._lay_out()
        for button in (*self.conditions.values(), self.live):
            button.toggled.connect(lambda _: self._follow(self.visibility.is_visible))
            button.toggled.connect(lambda _: self._draw_curves())
        shortcuts.bind_keys(self, controller)
        # Names, line styles and hidden conditions of the last drawing, then its sweeps.
        self._drawn: list[object] = []
        events, results = controller.state.events, controller.results
        sweeps = controller.sweeps
        mask = [events.window, events.mask, events.selection, results.changed]
        self.redraw = Redraw(
            self,
            (self._draw_curves, [*mask, events.predictor_name, sweeps.changed]),
            (self._draw_mark, mask),
            (self._draw_progress, [sweeps.changed]),
            rest_ms=REST_MS,
        )
        self.visibility = VisibilityMonitor(self, self._follow)

    def _build_progress(self) -> None:
        sweeps = self._controller.sweeps
        self.bar = progress_bar("Sweep")
        self.bar.setTextVisible(False)
        self.bar.setMaximumHeight(8)
        self.progress = ElidedLabel()
        self.pause = push_button(
            "Pause", "", lambda: sweeps.resume() if sweeps.is_paused else sweeps.pause()
        )
        tooltip = "Stop the sweep; its points are saved, and it can be resumed"
        self.cancel = push_button("Cancel", tooltip, sweeps.cancel)
        self.running = QWidget()
        row = QHBoxLayout(self.running)
        row.setContentsMargins(0, 0, 0, 0)
        column = QVBoxLayout()
        column.setSpacing(1)
        column.addWidget(self.progress)
        column.addWidget(self.bar)
        row.addLayout(column, 1)
        row.addWidget(self.pause)
        row.addWidget(self.cancel)

    def _build_pages(self) -> None:
        self.form = SweepForm(self._controller)
        self.saved = SavedSweeps(self._controller)
        self.form.start.connect(self._start)
        scrolled = scroll_vertically(self.form, _FormArea())
        self._pages: dict[QWidget, QWidget] = {
            self.form: scrolled,
            self.saved: self.saved,
        }
        for page in self._pages.values():
            page.hide()
        self.live = toggle_button(
            "Live",
            "Show the curves of held-out and of selected neurons over the tier",
        )
        self.live.setChecked(True)
        self.sweep = toggle_button("Sweep…", "Sweep over many windows in the background")
        self.show_saved = toggle_button("Saved…", "Compare, resume or delete sweeps")
        self.sweep.clicked.connect(lambda: self._turn_to(self.form, self.sweep))
        self.show_saved.clicked.connect(lambda: self._turn_to(self.saved, self.show_saved))
        tooltip = "Save the displayed sweeps as CSV, PNG or SVG"
        self.export = push_button("Export…", tooltip, self._choose_file)

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 4, 4, 4)
        column.setSpacing(2)
        legend = row_of(*self.conditions.values(), spacing=2)
        buttons = row_of(self.live, self.sweep, self.show_saved, self.export, spacing=4)
        for row in (legend, buttons):
            row.addStretch(1)
        column.addLayout(legend)
        column.addWidget(self.legend)
        column.addWidget(self.plot.canvas, 3)
        self.no_room.set_text(NO_ROOM)
        self.no_room.setToolTip(NO_ROOM)
        self.no_room.hide()
        for label in (self.no_room, self.status, self.mark):
            label.setFont(plot_style.small_font())
            column.addWidget(label)
        self.status.setToolTip(TOOLTIP)
        column.addWidget(self.problem)
        column.addWidget(self.running)
        column.addLayout(buttons)
        column.addWidget(self.saved, 2)
        column.addWidget(self._pages[self.form])

    # -- what the user does -----------------------------------------------------------
    def _follow(self, is_visible: bool) -> None:
        self._controller.requests.show_sweep(is_visible and self.live.isChecked())
        # Read the folder unless sweeps are already listed; "Saved…" reads it again.
        if is_visible and not self._controller.sweeps.entries:
            self._controller.sweeps.reload_folder()

    def _turn_to(self, page: QWidget, button: QToolButton) -> None:
        """Open a page, or close it if it is open."""
        for other in (self.sweep, self.show_saved):
            if other is not button:
                other.setChecked(False)
        for key, widget in self._pages.items():
            widget.setVisible(key is page and button.isChecked())
        self._make_room()
        for label in (self.status, self.mark):
            # An open page needs the height of these lines.
            label.setVisible(not button.isChecked())
        if self.show_saved.isChecked():
            self._controller.sweeps.reload_folder()

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
        if not any(sweep.sweep.rows for sweep in self.sweeps()):
            reason = " ".join(self._missing().split()) or "Wait for the first points"
            show_text(self.problem, f"There is nothing to save. {reason}.")
            return
        name, _ = QFileDialog.getSaveFileName(self, "Export", "context.csv", KINDS)
        if name:
            self.save(Path(name))

    def save(self, path: Path) -> None:
        """Write the drawn sweeps as CSV (suffix .csv), otherwise as an image."""
        suffix = path.suffix.lower()
        if suffix == ".csv":
            # `sweeps_on_screen` distinguishes sweeps of equal name by their start time.
            named = {sweep.name: sweep.sweep for sweep in self.sweeps()}
            self._controller.sweeps.write_csv(named, path)
            return
        picture = self.plot.picture()
        try:
            write_bytes(path, picture.svg() if suffix == ".svg" else picture.png())
        except OSError as error:
            show_text(self.problem, f"Not saved: {error}")

    # -- from state to screen ---------------------------------------------------------
    def sweeps(self) -> list[DrawnSweep]:
        """Return the sweeps to draw from state and results: live first, then saved."""
        controller, is_live = self._controller, self.live.isChecked()
        state, results, saved = controller.state, controller.results, controller.sweeps
        return sweeps_on_screen(state, results, saved, is_live=is_live)

    def _draw_curves(self) -> None:
        drawn = self.sweeps()
        hidden = [k for k, button in self.conditions.items() if not button.isChecked()]
        looks: list[object] = [(d.name, d.line, d.is_pale) for d in drawn]
        # Compare sweeps by identity; an unchanged one need not be drawn again.
        same = [d.sweep for d in drawn]
        before = self._drawn[2:] if self._drawn[:2] == [looks, hidden] else None
        # `before` and `same` have equal lengths, because `looks` has one entry per
        # sweep.
        if before is None or any(one is not other for one, other in zip(before, same, strict=True)):
            self.plot.show_sweeps(drawn, hidden)
            self.legend.show_sweeps(drawn)
            self._drawn = [looks, hidden, *same]
        missing = self._missing()
        self.plot.set_message("" if any(d.sweep.rows for d in drawn) else missing)
        # The line breaks of reasons are for the plot.
        live = live_text(self._controller.state, self._controller.results)
        self.status.setText(" ".join(missing.split()) or live)

    def _draw_mark(self) -> None:
        mark = current_point(self._controller.state, self._controller.results)
        self.plot.show_mark(mark)
        show_text(self.mark, point_text(mark))
        self.mark.setToolTip(TOOLTIP)

    def _draw_progress(self) -> None:
        sweeps = self._controller.sweeps
        self.running.setVisible(sweeps.is_busy)
        self.progress.set_text(f"Sweep: {sweeps.message}")
        set_share(self.bar, sweeps.progress.share)
        self.pause.setText("Resume" if sweeps.is_paused else "Pause")
        self.pause.setToolTip(
            "Continue the sweep" if sweeps.is_paused else "Pause after this window"
        )
        show_text(self.problem, "" if sweeps.error is None else str(sweeps.error))

    def _missing(self) -> str:
        """Return why there are no live curves, or ""."""
        state, results = self._controller.state, self._controller.results
        return live_problem(state, results, is_live=self.live.isChecked())


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
    button = toggle_button(label, f"Show or hide the curves with {label}", LEGEND)
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

        def paint(painter: QPainter, alpha: int = alpha) -> None:
            # pyqtgraph's symbols are centred on the origin.
            painter.translate(6, 6)
            symbol, fill = (
                palette.CONDITION_SYMBOLS[label],
                plot_style.brush(colour, alpha),
            )
            drawSymbol(painter, symbol, 9, plot_style.pen(colour), fill)

        pixmap = drawn_pixmap(QSize(12, 12), paint)
        icon.addPixmap(pixmap, QIcon.Mode.Normal, state)
    return icon
