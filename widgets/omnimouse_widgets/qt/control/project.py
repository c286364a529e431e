"""Analysis section: save, open, export and copy as Python."""

from collections.abc import Callable
from pathlib import Path

from qtpy.QtGui import QAction
from qtpy.QtWidgets import (
    QApplication,
    QFileDialog,
    QMenu,
    QMessageBox,
    QPushButton,
    QToolButton,
    QWidget,
)

from omnimouse_model.errors import ExportError
from omnimouse_model.live.analysis_file import SUFFIX
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.inference.background_task import Tell
from omnimouse_model.live.project.report_data import Reported, reported
from omnimouse_model.live.project.unsaved_backups import plain_name
from omnimouse_widgets.drawn.traces.options import Look
from omnimouse_widgets.qt.style.form import ElidedLabel, Form, row_of
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.theme import ToneLabel, quiet_label

ANALYSES = f"Analyses (*{SUFFIX});;All files (*)"
CHANGED = "●"
CHANGED_TOOLTIP = "Changed since it was saved (Ctrl+S saves it)"
TOOLTIP = (
    "Recording, window, model, mask, selection and view.\n"
    "What is on screen is also kept by itself, and here again after a restart."
)
TABLE, ARRAYS = "CSV (*.csv);;Parquet (*.parquet)", "NumPy (*.npz)"
FIGURE = "PNG (*.png);;SVG (*.svg)"
REPORT = "HTML (*.html)"
DrawReport = Callable[[Reported, Tell], bytes]
"""Function that renders the HTML page of a report."""
COPIED = "Copied as Python: {count} lines."


class AnalysisSection(QWidget):
    """Analysis name and save status, file menu, errors and differences on opening.

    Progress and result of an export replace the name until dismissed, so that no
    control moves under the pointer.
    """

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self._analyses, self._exports = controller.analyses, controller.exports
        self._copied = ""
        # The application sets these two functions: this package does not render
        # reports, and views do not communicate with each other.
        self._draw_report: DrawReport | None = None
        self._look_of_traces: Callable[[], Look] = Look
        self.mark = ToneLabel(CHANGED, "waiting")
        self.mark.setToolTip(CHANGED_TOOLTIP)
        self.mark.setAccessibleName("Unsaved changes")
        self.name = ElidedLabel()
        self.save_button = QPushButton("Save")
        self.save_button.setToolTip("Save the analysis (Ctrl+S)")
        self.save_button.clicked.connect(lambda: self.save())
        self.more = QPushButton("File")
        self.more.setToolTip("Save and open analyses, export, copy as Python")
        self.more.setMenu(self._menu())
        self.told, self.problem = quiet_label(), quiet_label("alert")
        self.dismiss = QToolButton()
        self.dismiss.setText("✕")
        self.dismiss.setAccessibleName("Dismiss")
        self.dismiss.setToolTip("Dismiss")
        self.dismiss.clicked.connect(lambda: self._dismiss())
        self.find_button = QPushButton("Find the recording…")
        self.find_button.setToolTip("Say where the recording of this analysis is now")
        self.find_button.clicked.connect(lambda: self._find_recording())
        self.stop_button = QPushButton("Stop")
        self.stop_button.setToolTip("Stop writing: the file stays as it was")
        self.stop_button.clicked.connect(lambda: self._exports.stop())
        news = (self.mark, self.name, self.stop_button, self.dismiss)
        form = Form(self)
        form.add("", row_of(*news, self.save_button, self.more, stretch=1))
        form.add("", self.problem)
        form.add("", self.find_button)
        form.add("", self.told)
        events = controller.state.events
        asked = [events.session, events.window, events.mask, events.selection,
                 events.predictor_name, events.baseline_name, events.edits,
                 events.pins]  # fmt: skip
        changed = self._analyses.changed
        self.redraw = Redraw(
            self,
            [
                (self._draw_name, [*asked, changed, self._exports.changed]),
                (self._draw_told, [changed, self._exports.changed]),
                (self._forget_copied, [events.session]),
            ],
        )

    def _menu(self) -> QMenu:
        menu = QMenu(self)
        menu.addAction("Save analysis\tCtrl+S", self.save)
        menu.addAction("Save analysis as…", self.save_as)
        menu.addAction("Open analysis…", self.open_analysis)
        self.recent = QMenu("Recent analyses", menu)
        menu.addMenu(self.recent)
        self.kept_action = QAction("Kept copies…", menu)
        self.kept_action.setToolTip("Open what was left without being saved")
        self.kept_action.triggered.connect(lambda: self.open_kept())
        menu.addAction(self.kept_action)
        menu.addSeparator()
        menu.addAction("Export table of neurons…", self.export_table)
        menu.addAction("Export arrays…", self.export_arrays)
        menu.addAction("Export figure of traces…", self.export_figure)
        self.report_action = QAction("Report…", menu)
        self.report_action.triggered.connect(lambda: self.export_report())
        self.report_action.setVisible(False)  # until `offer_report` sets a renderer
        menu.addAction(self.report_action)
        menu.addAction("Copy as Python", self.copy_as_python)
        menu.setToolTipsVisible(True)
        menu.aboutToShow.connect(lambda: self._fill_recent())
        return menu

    # -- what the user does -----------------------------------------------------------
    def save(self) -> None:
        """Save to the analysis file; open a file dialog if there is none."""
        if self._analyses.path is None:
            self.save_as()
        else:
            self._analyses.save()

    def save_as(self) -> None:
        """Choose a file and save the analysis to it."""
        # Check first: an error after the file dialog would waste the user's choice.
        if not self._analyses.can_save():
            return
        title = "Save analysis"
        session = self._controller.state.session
        name = self._analyses.name or ("analysis" if session is None else session.id)
        path = self._asked_path(title, f"{plain_name(name)}{SUFFIX}", ANALYSES)
        if path is not None:
            self._analyses.save(path)

    def open_analysis(self) -> None:
        """Choose an analysis file and open it."""
        self._open_from(self._folder(), "Open analysis")

    def open_kept(self) -> None:
        """Choose a backup of unsaved work and open it."""
        self._open_from(self._analyses.kept_folder, "Kept copies")

    def _open_from(self, folder: Path, title: str) -> None:
        found = QFileDialog.getOpenFileName(self, title, str(folder), ANALYSES)
        if found[0]:
            self.open(found[0])

    def open(self, path: str | Path) -> None:
        """Open an analysis; first offer to save unsaved changes."""
        if self._may_leave():
            self._analyses.open(path)

    def export_table(self) -> None:
        """Choose a file and write the table of neurons to it."""
        if not self._exports.is_ready():
            return
        path = self._asked_path("Export table of neurons", "neurons.csv", TABLE)
        if path is not None:
            self._exports.export(path)

    def export_arrays(self) -> None:
        """Choose a file and write the arrays to it."""
        if not self._exports.is_ready():
            return
        path = self._asked_path("Export arrays", "window.npz", ARRAYS)
        if path is not None:
            self._exports.export(path)

    def export_figure(self) -> None:
        """Choose a file and draw the traces to it."""
        if not self._exports.is_ready(self._figure_condition):
            return
        path = self._asked_path("Export figure of traces", "traces.png", FIGURE)
        if path is not None:
            self.write_figure(path)

    def write_figure(self, path: Path) -> None:
        """Draw the traces to a .png or .svg file."""
        # Imported late: pyqtgraph and QtSvg would slow down the start.
        from omnimouse_widgets.qt.traces.export import TracesFigure

        kind = path.suffix.lower()
        try:
            if kind not in (".png", ".svg"):
                raise ExportError(f"{path.name}: end it in .png or .svg.")
            condition, look = self._figure_condition(), self._look_of_traces()
            figure = TracesFigure(self._controller, condition, look)
        except ExportError as error:
            self._exports.refuse(error)
            return
        # Draw now, on the Qt thread; only the bytes go to the background task.
        content = figure.png() if kind == ".png" else figure.svg()
        figure.close()
        self._exports.write(path, lambda _: content)

    def _figure_condition(self) -> str:
        """Return the caption of a figure.

        Raises
        ------
        ExportError
            If no figure can be drawn.
        """
        condition = self._exports.condition
        if not self._controller.state.selection:
            raise ExportError("Select neurons first: there is no trace to draw.")
        return condition

    def draw_traces_as(self, look: Callable[[], Look]) -> None:
        """Set the function that returns the current look of the traces for figures."""
        self._look_of_traces = look

    def offer_report(self, draw: DrawReport) -> None:
        """Add *Report…* to the menu, rendered by `draw`."""
        self._draw_report = draw
        self.report_action.setVisible(True)

    def export_report(self) -> None:
        """Choose a file and write the report of the current analysis to it."""
        draw = self._draw_report
        if draw is None or not self._exports.is_ready(
            lambda: reported(self._controller)
        ):
            return
        name = f"{self._analyses.name or 'report'}.html"
        path = self._asked_path("Report", name, REPORT)
        if path is None:
            return
        # The state can change while the file dialog is open: collect it again.
        try:
            what = reported(self._controller)
        except ExportError as error:
            self._exports.refuse(error)
            return
        self._exports.write(path, lambda tell: draw(what, tell))

    def copy_as_python(self) -> None:
        """Copy a script that repeats the current request to the clipboard."""
        self._dismiss()
        try:
            script = self._controller.as_python()
        except ExportError as error:
            self._exports.refuse(error)
            return
        clipboard = QApplication.clipboard()
        if clipboard is not None:
            clipboard.setText(script)
            self._copied = COPIED.format(count=script.count("\n"))
            self._draw_name()
            self._draw_told()

    def _dismiss(self) -> None:
        self._copied = ""
        self._analyses.dismiss()
        self._exports.dismiss()

    def _find_recording(self) -> None:
        """Choose the recording's folder, or its file for single-file formats."""
        file = self._analyses.wanted_recording
        title = f"Where is {file.name} now?"
        # Qt's dialogs choose either files or folders.
        if file.suffix.lower() in (".nwb", ".npz", ".h5", ".hdf5"):
            kinds = f"Recordings (*{file.suffix});;All files (*)"
            found = QFileDialog.getOpenFileName(self, title, str(self._folder()), kinds)
            place = found[0]
        else:
            place = QFileDialog.getExistingDirectory(self, title, str(self._folder()))
        if place:
            self._analyses.find_recording(place)

    def _may_leave(self) -> bool:
        """Return True if the analysis may be replaced; offer to save changes first."""
        if not self._analyses.is_changed:
            return True
        button = QMessageBox.StandardButton
        said = QMessageBox.question(
            self,
            "Unsaved changes",
            f"“{self._analyses.name}” has changed since it was saved.",
            button.Save | button.Discard | button.Cancel,
            button.Save,
        )
        # Only a successful save permits leaving the analysis.
        if said == button.Save:
            return self._analyses.save()
        if said == button.Discard:
            self._analyses.discard()
        return said == button.Discard

    def _asked_path(self, title: str, name: str, kinds: str) -> Path | None:
        """Return the path chosen in a save dialog, or None if cancelled.

        If no suffix was typed, the suffix of the selected file type is added.
        """
        # Qt does not append a suffix itself on every platform, hence the code below.
        near = str(self._folder() / name)
        path, kind = QFileDialog.getSaveFileName(self, title, near, kinds)
        if not path:
            return None
        self._copied = ""
        # For example ".png" from "PNG (*.png)".
        ending = kind.partition("*")[2].rstrip(")") or Path(name).suffix
        found = Path(path)
        if not found.name.endswith(ending):
            whole = ending == SUFFIX  # compound suffix: a partly typed one is completed
            for part in reversed(Path(f"x{SUFFIX}").suffixes if whole else []):
                found = found.with_name(found.name.removesuffix(part) or found.name)
            if whole or not found.suffix:
                found = found.with_name(found.name + ending)
        return found

    def _folder(self) -> Path:
        """Return the initial folder of dialogs: the analysis's, else home."""
        path = self._analyses.path
        return Path.home() if path is None else path.parent

    # -- from state to screen -----------------------------------------------------
    def _fill_recent(self) -> None:
        self.recent.clear()
        for path in self._analyses.recent:
            # A single & would mark a keyboard shortcut in a menu entry.
            name = path.name.removesuffix(SUFFIX).replace("&", "&&")
            action = self.recent.addAction(name, lambda path=path: self.open(path))
            if action is not None:
                action.setToolTip(str(path))
        self.recent.setToolTipsVisible(True)
        self.recent.setEnabled(not self.recent.isEmpty())
        self.kept_action.setEnabled(self._analyses.kept_folder.is_dir())

    def _forget_copied(self) -> None:
        """Clear the copy message, which refers to the previous recording."""
        if self._copied:
            self._copied = ""
            self._draw_name()
            self._draw_told()

    def _draw_name(self) -> None:
        analyses = self._analyses
        is_open = self._controller.state.session is not None
        self.mark.setVisible(analyses.is_changed)
        name = analyses.name or "Analysis not saved"
        self.name.set_words(self._news() or name)
        about = f"{analyses.path or ''}\n{TOOLTIP}".strip()
        self.name.setToolTip(self._news(whole=True) or about)
        needed = is_open and (analyses.path is None or analyses.is_changed)
        self.save_button.setEnabled(needed)

    def _draw_told(self) -> None:
        analyses, exports = self._analyses, self._exports
        faults = [str(fault) for fault in (analyses.fault, exports.fault) if fault]
        self.problem.setText("\n".join(f"⚠ {words}" for words in faults))
        self.problem.setVisible(bool(faults))
        self.find_button.setVisible(analyses.is_recording_asked)
        told = [f"• {words}" for words in analyses.told]
        self.told.setText("\n".join(told))
        self.told.setVisible(bool(told))
        self.stop_button.setVisible(exports.is_busy)
        is_news = bool(told or faults or self._news())
        self.dismiss.setVisible(is_news and not exports.is_busy)

    def _news(self, *, whole: bool = False) -> str:
        """Return the progress or result of an export; with `whole`, its full path."""
        exports = self._exports
        if exports.is_busy:
            return f"◌ {exports.words}…"
        if self._copied:
            return f"✓ {self._copied}"
        if exports.written is None:
            return ""
        return f"✓ Written: {exports.written if whole else exports.written.name}"
