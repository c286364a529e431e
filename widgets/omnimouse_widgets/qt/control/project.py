"""Analysis section: save, open, export and copy as Python."""

from collections.abc import Callable
from pathlib import Path

from qtpy.QtGui import QAction
from qtpy.QtWidgets import QApplication, QMenu, QMessageBox, QPushButton, QWidget

from omnimouse_model.errors import ExportError
from omnimouse_model.live.analysis_file import SUFFIX
from omnimouse_model.live.controller import OfController
from omnimouse_model.live.project.exports import Exports, MakeContent
from omnimouse_model.live.project.project import Project
from omnimouse_model.live.project.saved_screen import plain_name
from omnimouse_model.live.state import LiveState
from omnimouse_model.storage.files import expanded
from omnimouse_widgets.qt.form import SettingsDialog
from omnimouse_widgets.qt.style import controls
from omnimouse_widgets.qt.style.file_dialog import choose_file, choose_folder, choose_new_file
from omnimouse_widgets.qt.style.form import ElidedLabel, Form, row_of
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.theme import ToneLabel, wrapped_label
from omnimouse_widgets.views.files import CONTENTS, KINDS, SAVE, STOP_TIP, FilesView
from omnimouse_widgets.views.traces import TracesView

ANALYSES = f"Analyses (*{SUFFIX});;All files (*)"
TOOLTIP = (
    "An analysis contains recording, window, model, mask, selection and view.\n"
    "The screen's content is saved automatically and restored after a restart."
)
KEY = "Ctrl+S in a panel of OmniMouse; on the canvas it saves layers of napari"


class AnalysisSection(QWidget, OfController):
    """Analysis name and save status, file menu, errors and differences on opening.

    Progress and result of an export replace the name until dismissed, so that no
    control moves under the pointer.

    Parameters
    ----------
    files
        Form of exports, and what makes their contents.
    """

    def __init__(
        self, state: LiveState, exports: Exports, project: Project, files: FilesView
    ) -> None:
        super().__init__()
        self._state, self._exports, self._analyses = state, exports, project
        self._files = files
        self._copied = ""
        self.mark = ToneLabel("●", "waiting")
        controls.describe(self.mark, f"Changed since the last save ({KEY})", "Unsaved changes")
        self.name = ElidedLabel()
        self.save_button = controls.push_button("Save", f"Save the analysis ({KEY})", self.save)
        self.more = QPushButton("File")
        self.more.setToolTip("Save and open analyses, export, copy as Python")
        self.more.setMenu(self._menu())
        self.messages, self.problem = wrapped_label(), wrapped_label("alert")
        self.dismiss = controls.dismiss_button(self._dismiss)
        self.find_button = controls.push_button(
            "Find the recording…",
            "Choose the current location of the recording of this analysis",
            self._find_recording,
        )
        self.connect_button = controls.push_button(
            "Connect",
            "Connect to the server of the recording, which the analysis names",
            self._analyses.connect,
        )
        self.stop_button = controls.push_button("Stop", STOP_TIP, self._exports.stop)
        status = (self.mark, self.name, self.stop_button, self.dismiss)
        Form(self).add_rows(
            row_of(*status, self.save_button, self.more, stretch=1),
            self.problem,
            self.find_button,
            self.connect_button,
            self.messages,
        )
        events = state.events
        signals = [events.session, events.window, events.mask, events.selection,
                   events.predictor_name, events.baseline_name, events.edits,
                   events.pins, self._analyses.changed,
                   self._exports.changed]  # fmt: skip
        self.redraw = Redraw(self, (self._forget_copy, [events.session]), (self._draw, signals))

    def _menu(self) -> QMenu:
        menu = QMenu(self)
        save = menu.addAction("Save analysis\tCtrl+S", self.save)
        assert save is not None
        save.setToolTip(KEY)
        menu.addAction("Save analysis as…", self.save_as)
        menu.addAction("Open analysis…", self.open_analysis)
        self.recent = QMenu("Recent analyses", menu)
        menu.addMenu(self.recent)
        self.backups_action = QAction("Backups of unsaved work…", menu)
        self.backups_action.setToolTip("Open work that was closed without saving")
        self.backups_action.triggered.connect(lambda: self.open_backup())
        menu.addAction(self.backups_action)
        menu.addSeparator()
        menu.addAction("Export…", self.ask_export)
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
        session = self._state.session
        name = self._analyses.name or ("analysis" if session is None else session.id)
        path = self._choose_path(title, f"{plain_name(name)}{SUFFIX}", ANALYSES)
        if path is not None:
            self._analyses.save(path)

    def open_analysis(self) -> None:
        """Choose an analysis file and open it."""
        self._open_from("analysis", self._folder(), "Open analysis")

    def open_backup(self) -> None:
        """Choose a backup of unsaved work and open it."""
        self._open_from("backup", self._analyses.backup_folder, "Backups of unsaved work")

    def _open_from(self, kind: str, folder: Path, title: str) -> None:
        path = choose_file(self, kind, title, ANALYSES, str(folder))
        if path:
            self.open(path)

    def open(self, path: str | Path) -> None:
        """Open an analysis; first offer to save unsaved changes."""
        if self._may_leave():
            self._analyses.open(path)

    def ask_export(self) -> None:
        """Ask what is exported, and then for its file."""
        dialog = SettingsDialog("Export…", SAVE, self._files.export, self)
        dialog.accepted.connect(self._export_chosen)
        dialog.open()

    def _export_chosen(self) -> None:
        settings = self._files.export.read()
        self.export(settings.content, settings.kind)

    def export(self, content: str, kind: str = "") -> None:
        """Choose a file, by default of any kind of the content, and write it."""
        kinds = {ending: name for ending, name in KINDS[content] if kind in ("", ending)}
        first = next(iter(kinds))
        # Taken, or drawn, once: a dialog for what cannot be exported would be in vain.
        made: list[MakeContent] = []
        if not self._exports.is_ready(lambda: made.append(self._files.makers[content](first))):
            return
        label, _, name = CONTENTS[content]
        name = self._analyses.name or name if content == "report" else name
        choices = ";;".join(f"{text} (*.{ending})" for ending, text in kinds.items())
        path = self._choose_path(f"Export: {label}", f"{name}.{first}", choices)
        if path is None:
            return
        if path.suffix.lower() == f".{first}":
            self._exports.write(path, made[0])
        else:
            self.write(content, path)

    def write(self, content: str, path: Path) -> None:
        """Write a content to a file, whose kind is that of its ending."""
        kind, endings = path.suffix.lower().removeprefix("."), dict(KINDS[content])
        try:
            if kind not in endings:
                known = " or ".join(f".{ending}" for ending in endings)
                raise ExportError(f"{path.name}: end it in {known}.")
            make = self._files.makers[content](kind)
        except ExportError as error:
            self._exports.refuse(error)
            return
        self._exports.write(path, make)

    def copy_as_python(self) -> None:
        """Copy a script that repeats the current request to the clipboard."""
        self._dismiss()
        try:
            script = self._analyses.script()
        except ExportError as error:
            self._exports.refuse(error)
            return
        clipboard = QApplication.clipboard()
        if clipboard is not None:
            clipboard.setText(script)
            self._copied = f"Copied as Python: {script.count(chr(10))} lines."
            self._draw()

    def _dismiss(self) -> None:
        self._copied = ""
        self._analyses.dismiss()
        self._exports.dismiss()

    def _find_recording(self) -> None:
        """Choose the recording's folder, or its file for single-file formats."""
        file = self._analyses.missing_recording
        title, folder = f"Find {file.name}", str(self._folder())
        # Qt's dialogs choose either files or folders.
        if file.suffix.lower() in (".nwb", ".npz", ".h5", ".hdf5"):
            kinds = f"Recordings (*{file.suffix});;All files (*)"
            path = choose_file(self, "recording", title, kinds, folder)
        else:
            path = choose_folder(self, "recording", title, folder)
        if path:
            self._analyses.find_recording(path)

    def _may_leave(self) -> bool:
        """Return True if the analysis may be replaced; offer to save changes first."""
        if not self._analyses.is_changed:
            return True
        button = QMessageBox.StandardButton
        choice = QMessageBox.question(
            self,
            "Unsaved changes",
            f"“{self._analyses.name}” has changed since it was saved.",
            button.Save | button.Discard | button.Cancel,
            button.Save,
        )
        # Only a successful save permits leaving the analysis.
        if choice == button.Save:
            return self._analyses.save()
        if choice == button.Discard:
            self._analyses.discard()
        return choice == button.Discard

    def _choose_path(self, title: str, name: str, kinds: str) -> Path | None:
        """Return the path chosen in a save dialog, or None if cancelled.

        If no suffix was typed, the suffix of the selected file type is added.
        """
        # Qt does not append a suffix itself on every platform, hence the code below.
        what = "analysis" if name.endswith(SUFFIX) else "export"
        text, kind = choose_new_file(self, what, title, name, kinds, str(self._folder()))
        if not text:
            return None
        self._copied = ""
        # For example ".png" from "PNG (*.png)".
        ending = kind.partition("*")[2].rstrip(")") or Path(name).suffix
        path, is_compound = Path(text), ending == SUFFIX
        if path.name.endswith(ending) or (path.suffix and not is_compound):
            return path
        # A partly typed compound suffix is completed.
        for part in reversed(Path(f"x{SUFFIX}").suffixes if is_compound else []):
            path = path.with_name(path.name.removesuffix(part) or path.name)
        return path.with_name(path.name + ending)

    def _folder(self) -> Path:
        """Return the folder of the first dialog: the analysis's, else home."""
        path = self._analyses.path
        # `Path.home` raises where there is none.
        return expanded("~") if path is None else path.parent

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
        controls.name_menu(self.recent, "Recent analyses")
        self.backups_action.setEnabled(self._analyses.backup_folder.is_dir())

    def _forget_copy(self) -> None:
        # The copy message refers to the previous recording.
        self._copied = ""

    def _draw(self) -> None:
        analyses, exports = self._analyses, self._exports
        is_open = self._state.session is not None
        status = self._export_status()
        self.mark.setVisible(analyses.is_changed)
        self.name.set_text(status or analyses.name or "Analysis not saved")
        about = f"{analyses.path or ''}\n{TOOLTIP}".strip()
        self.name.setToolTip(self._export_status(full_path=True) or about)
        is_unsaved = analyses.path is None or analyses.is_changed
        self.save_button.setEnabled(is_open and is_unsaved)
        faults = [str(fault) for fault in (analyses.error, exports.error) if fault]
        controls.show_text(self.problem, "\n".join(f"⚠ {text}" for text in faults))
        controls.show_text(self.messages, "\n".join(f"• {text}" for text in analyses.messages))
        self.find_button.setVisible(analyses.is_recording_missing)
        host = analyses.asked_host
        self.connect_button.setText(f"Connect to {host}")
        self.connect_button.setVisible(bool(host))
        self.stop_button.setVisible(exports.is_busy)
        has_text = bool(analyses.messages or faults or status)
        self.dismiss.setVisible(has_text and not exports.is_busy)

    def _export_status(self, *, full_path: bool = False) -> str:
        """Return the progress or result of an export or a copy, or ""."""
        exports = self._exports
        if exports.is_busy:
            return f"◌ {exports.message}…"
        if self._copied:
            return f"✓ {self._copied}"
        if (path := exports.written_path) is None:
            return ""
        return f"✓ Written: {path if full_path else path.name}"


def figure_maker(
    state: LiveState, exports: Exports, traces: Callable[[], TracesView], kind: str
) -> MakeContent:
    """Return the drawn traces of the selected neurons.

    Raises
    ------
    ExportError
        No figure can be drawn.
    """
    # Imported here: pyqtgraph would slow down the start.
    from omnimouse_widgets.qt.traces import traces_figure

    condition = exports.condition
    if not state.selection:
        raise ExportError("Select neurons first: there is no trace to draw.")
    # Drawn now, on the Qt thread; only the bytes go to the background task.
    content = traces_figure(traces(), condition, is_svg=kind == "svg")
    return lambda _: content
