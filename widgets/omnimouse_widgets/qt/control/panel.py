"""The two columns of controls beside the field: what is asked, and the brush.

*OmniMouse* has recording, model and task; *Brush and view* has brush, counts, selection
and colours. Controls for every request are at the top, so that both are in view on a
13-inch screen. Controls for occasional use are below, in closed sections.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Self

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QAction, QInputDialog, QMenu, QPushButton, QVBoxLayout, QWidget

from omnimouse_model.live.controller import Controller, OfController
from omnimouse_model.live.session_loader import FolderIndex, SessionLoader, with_model
from omnimouse_model.live.state import LiveState
from omnimouse_model.live.state_store import StateStore
from omnimouse_model.simulate.demo import is_demo
from omnimouse_widgets.qt.control.advanced import (
    AdvancedSection,
    BaselineSection,
    ClockCheckSection,
)
from omnimouse_widgets.qt.control.brush import (
    BrushSection,
    FieldBrush,
    MaskCountsSection,
    TaskSection,
)
from omnimouse_widgets.qt.control.model import ModelSection
from omnimouse_widgets.qt.control.project import AnalysisSection, figure_maker
from omnimouse_widgets.qt.control.view import ViewSection
from omnimouse_widgets.qt.form import SettingsDialog, SettingsForm
from omnimouse_widgets.qt.style import controls, shortcuts
from omnimouse_widgets.qt.style.file_dialog import choose_file, choose_folder
from omnimouse_widgets.qt.style.form import ElidedLabel, Form, Section, row_of
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.shortcuts import KeyActions
from omnimouse_widgets.qt.style.theme import wrapped_label
from omnimouse_widgets.report import report_maker
from omnimouse_widgets.views.files import OPEN_AGAIN, FilesView
from omnimouse_widgets.views.text.recording import (
    NOTES_TIP,
    channels_of,
    name_of,
    notes_of,
    summary_of,
)
from omnimouse_widgets.views.traces import TracesView

# -- recording section: open a recording; its contents and warnings -------------------
SAMPLE_LABELS: Final = {
    "Demo mouse, with the demo model": "demo",
    "Unseen mouse, for fine-tuning": "unseen",
    "Animal with spikes, with ndt-demo": "spikes",
    "Unseen animal with spikes, for fine-tuning": "unseen-spikes",
}
NOTES_STYLE = "QToolButton { border: none; padding: 0px; }"


class RecordingSection(QWidget, OfController):
    """Name, contents and notes of the recording, and a button to open another one.

    The section asks for the sampling rate of the responses if the files lack it. It
    offers a choice if the files contain several kinds of responses.
    """

    def __init__(
        self,
        state: LiveState,
        loader: SessionLoader,
        recordings: FolderIndex,
        store: StateStore,
        files: FilesView,
    ) -> None:
        super().__init__()
        self._state, self._loader, self._recordings, self._store = state, loader, recordings, store
        self._files = files
        self.name = ElidedLabel()
        self.name.setStyleSheet("font-weight: 600;")
        self.open = QPushButton("Open…")
        self.open.setToolTip("Open a recording (or drop one on the canvas)")
        menu = QMenu(self.open)
        # Qt's dialogs choose either files or folders, hence separate entries.
        menu.addAction("Folder…", self._choose_folder)
        menu.addAction("File (NWB, npz)…", self._choose_file)
        menu.addAction("Recordings in a folder…", self.choose_recordings)
        menu.addAction("Address (https, model hub)…", self._enter_address)
        samples, self.recent = QMenu("Sample", menu), QMenu("Recent", menu)
        self.recent.setToolTipsVisible(True)
        for label, name in SAMPLE_LABELS.items():
            samples.addAction(label, partial(loader.open, with_model(name)))
        for submenu in (samples, self.recent):
            menu.addMenu(submenu)
        menu.addSeparator()
        self.join = QAction("Properties of neurons (CSV)…", menu)
        self.join.setToolTip("Join the columns of a table to the neurons by unit_id")
        self.join.triggered.connect(self._choose_table)
        menu.addAction(self.join)
        self.options = QAction("Options of the reader…", menu)
        self.options.setToolTip("Read the recording again: rate, kind of responses, units")
        self.options.triggered.connect(lambda: self.ask_options())
        menu.addAction(self.options)
        menu.aboutToShow.connect(self._list_recent)
        self.open.setMenu(menu)
        self.notes_button = controls.toggle_button("", NOTES_TIP, NOTES_STYLE)
        self.notes_button.toggled.connect(lambda _: self._draw())
        self.summary, self.notes, self.progress = (wrapped_label() for _ in range(3))
        self.problem = wrapped_label("alert")
        self.dismiss = controls.dismiss_button(
            loader.clear_error, "Dismiss: the recording above is still open"
        )
        self.rate = SettingsForm(files.rate)
        self.rate.applied.connect(files.open_at_rate)
        self.use_rate = controls.push_button("Open at this rate", "", self.rate.apply)
        self.series = controls.combo_box(
            self._choose_series, offered=self._series_choices, name="Series"
        )
        Form(self).add_rows(
            row_of(self.name, self.notes_button, self.open, stretch=0),
            self.summary,
            self.notes,
            self.progress,
            row_of(self.problem, self.dismiss, stretch=0),
            self.rate,
            self.use_rate,
            self.series,
        )
        session, changed = state.events.session, loader.changed
        self.redraw = Redraw(
            self,
            (self._draw, [session]),
            (self._draw_series, [session, changed]),
            (self._draw_summary, [changed]),
            (self._draw_opening, [changed, files.rate.changed]),
        )

    # -- what the user does -----------------------------------------------------------
    def _list_recent(self) -> None:
        for action in (self.join, self.options):
            action.setEnabled(self._state.session is not None)
        self.recent.clear()
        for place in self._store.recent_recordings:
            # "&" would mark a key of the menu.
            name = Path(place).name.replace("&", "&&")
            action = QAction(name, self.recent)
            action.setToolTip(place)
            action.triggered.connect(partial(self._open_chosen, place))
            self.recent.addAction(action)
        controls.name_menu(self.recent, "Recent")

    def _choose_folder(self) -> None:
        self._open_chosen(choose_folder(self, "recording", "Open a recording", self._near()))

    def _choose_file(self) -> None:
        kinds = "Recordings (*.nwb *.npz *.h5 *.hdf5);;All files (*)"
        self._open_chosen(choose_file(self, "recording", "Open a file", kinds, self._near()))

    def _choose_table(self) -> None:
        title, kinds = "Properties of neurons", "Tables (*.csv)"
        path = choose_file(self, "properties", title, kinds, self._near())
        if path:
            self._loader.reopen(unit_tables=str(path))

    def _enter_address(self) -> None:
        label = "https://… of an NWB file, hf://…, or the name of a released recording:"
        text, is_accepted = QInputDialog.getText(self, "Open an address", label)
        self._open_chosen(text.strip() if is_accepted else "")

    def _open_chosen(self, path: str) -> None:
        # Qt's dialogs return "" if they are cancelled.
        if path:
            self.open_folder(path)

    def choose_recordings(self) -> None:
        """Choose a folder and search it for recordings."""
        title = "Recordings in a folder"
        folder = choose_folder(self, "recordings", title, self._near())
        if folder:
            self._recordings.read_folder(folder)

    def _near(self) -> str:
        """Return the folder of the first dialog: that of the user's open recording."""
        session = self._state.session
        return "" if session is None or is_demo(session.path) else str(session.path.parent)

    def ask_options(self) -> None:
        """Ask with which options the recording is read again."""
        dialog = SettingsDialog("Options of the reader…", OPEN_AGAIN, self._files.reading, self)
        dialog.accepted.connect(self._files.open_again)
        dialog.open()

    def _choose_series(self, name: str) -> None:
        session = self._state.session
        if session is not None and name != session.series:
            self._loader.reopen(series=name)

    def _series_choices(self) -> dict[str, str]:
        """Return series -> explanation of the open recording."""
        session = self._state.session
        return {} if session is None else dict(session.series_choices)

    def open_folder(self, folder: str | Path) -> None:
        """Open a recording; errors are shown in this section."""
        self._loader.open(folder)

    # -- from state to screen -----------------------------------------------------
    def _draw(self) -> None:
        session = self._state.session
        self.name.set_text("No recording" if session is None else name_of(session))
        self.name.setToolTip("" if session is None else str(session.path))
        self._draw_summary()
        self.summary.setToolTip("" if session is None else channels_of(session))
        title, notes = ("", "") if session is None else notes_of(session)
        is_open = self.notes_button.isChecked()
        arrow = "▾" if is_open else "▸"
        controls.show_text(self.notes_button, f"{arrow} {title}" if title else "")
        controls.show_text(self.notes, notes if is_open else "")

    def _draw_summary(self) -> None:
        session = self._state.session
        # While the first one is opened, its progress stands below.
        empty = "" if self._loader.is_busy else "Open a recording."
        controls.show_text(self.summary, empty if session is None else summary_of(session))

    def _draw_series(self) -> None:
        """Show the open series, also after another series could not be read."""
        session = self._state.session
        choices = self._series_choices()
        self.series.setVisible(len(choices) > 1)
        controls.set_items(self.series, [(f"Responses: {name}", name) for name in choices])
        for at, explanation in enumerate(choices.values()):
            self.series.setItemData(at, explanation, Qt.ItemDataRole.ToolTipRole)
        if session is not None:
            self.series.setCurrentIndex(self.series.findData(session.series))
            self.series.setToolTip(
                f"{choices.get(session.series, '')}\n"
                "Choose the kind of responses; the recording is opened again."
            )

    def _draw_opening(self) -> None:
        opener = self._loader
        controls.show_text(self.progress, f"◌ {opener.message}…" if opener.is_busy else "")
        controls.show_text(self.problem, self._files.fault)
        self.dismiss.setVisible(bool(self._files.fault))
        self.rate.setVisible(self._files.lacks_rate)
        self.use_rate.setVisible(self._files.lacks_rate)
        self.use_rate.setEnabled(not self._files.rate.refusal)
        self.use_rate.setToolTip(self._files.rate.refusal)


# -- the two columns ------------------------------------------------------------------
MIN_WIDTH = 300


@dataclass(frozen=True, slots=True)
class Sections:
    """Sections of *OmniMouse*; each receives the parts that it uses."""

    recording: RecordingSection
    analysis: AnalysisSection
    model: ModelSection
    task: TaskSection
    baseline: BaselineSection
    clock_check: ClockCheckSection
    advanced: AdvancedSection

    @classmethod
    def of(cls, controller: Controller) -> Self:
        """Return the sections of a controller."""
        c = controller
        traces = partial(figure_maker, c.state, c.exports, partial(TracesView.of, c))
        files = FilesView.of(c, makers={"figure": traces, "report": partial(report_maker, c)})
        return cls(
            RecordingSection.of(c, files=files),
            AnalysisSection.of(c, files=files),
            ModelSection.of(c),
            TaskSection.of(c),
            BaselineSection.of(c),
            ClockCheckSection.of(c),
            AdvancedSection.of(c),
        )


class ScrolledColumn(QWidget):
    """Parts below each other in a scroll area; the keys that all panels share act here.

    The part `rare` stands at the lower end.
    """

    def __init__(self, keys: KeyActions) -> None:
        super().__init__()
        shortcuts.bind_keys(self, keys)
        self.setMinimumWidth(MIN_WIDTH)

    def _fill(self, *parts: QWidget, rare: QWidget | None = None) -> None:
        content = QWidget()
        column = QVBoxLayout(content)
        column.setContentsMargins(8, 3, 8, 3)
        column.setSpacing(4)
        for part in parts:
            column.addWidget(part)
        column.addStretch(1)
        if rare is not None:
            column.addWidget(rare)
        self.scroll_area = controls.scroll_vertically(content)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(self.scroll_area)


class ControlPanel(ScrolledColumn):
    """*OmniMouse*: recording, model, task and baseline.

    Parameters
    ----------
    state
        Source of the mask, on which the sections in view depend.
    keys
        What the keys do that all panels share.
    sections
        The sections, from `Sections.of`.
    """

    def __init__(self, state: LiveState, keys: KeyActions, sections: Sections) -> None:
        super().__init__(keys)
        self.setObjectName("omnimouse-control")
        self._state = state
        self.recording, self.analysis = sections.recording, sections.analysis
        self.model, self.task = sections.model, sections.task
        self.baseline, self.clock_check = sections.baseline, sections.clock_check
        self.advanced = sections.advanced
        self.clock_check_section = Section("Alignment", self.clock_check, is_open=False)
        self.advanced_section = Section("Advanced", self.advanced, is_open=False)
        self._fill(
            self.recording,
            self.analysis,
            self.model,
            Section("Task", self.task),
            self.baseline,
            self.clock_check_section,
            self.advanced_section,
        )
        self._opened: Section | None = None
        # An opened section has its height only after the next layout, hence the timer.
        # As a child of the panel, the timer is deleted with it.
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self._bring_into_view)
        for section in (self.clock_check_section, self.advanced_section):
            section.title.toggled.connect(partial(self._note_opened, section))
        events = state.events
        self.redraw = Redraw(self, (self._draw_advanced, [events.mask, events.session]))

    @classmethod
    def of(cls, controller: Controller) -> Self:
        """Return the panel of a controller."""
        sections = Sections.of(controller)
        return cls(controller.state, shortcuts.key_actions(controller), sections)

    def _draw_advanced(self) -> None:
        """Hide the section for masks without an attachment and without a guard."""
        mask = self._state.mask
        is_trace = mask is None or mask.spec.responses == "trace"
        has_layout = mask is not None and mask.attachment is not None
        self.advanced_section.setVisible(is_trace or has_layout)

    def _note_opened(self, section: Section, is_open: bool) -> None:
        if is_open:
            self._opened = section
            self._soon.start()

    def _bring_into_view(self) -> None:
        """Scroll to the section that was opened last."""
        if self._opened is not None:
            self.scroll_area.ensureWidgetVisible(self._opened)


class BrushPanel(ScrolledColumn):
    """*Brush and view*: what a stroke paints, the neurons of each state, their colours."""

    def __init__(
        self, keys: KeyActions, brush: BrushSection, counts: MaskCountsSection, view: ViewSection
    ) -> None:
        super().__init__(keys)
        self.setObjectName("omnimouse-brush")
        self.brush, self.counts, self.view = brush, counts, view
        more = QWidget()
        column = QVBoxLayout(more)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        for part in (brush.rare, view.rare):
            column.addWidget(part)
        # At the lower end: a legend of another height does not move it.
        self._fill(brush, counts, view, rare=Section("More", more))
        # In a low window, the legend of the chosen colours, with *Compute all*, is below
        # the menu. It has its height only after the next layout.
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(lambda: self.scroll_area.ensureWidgetVisible(view.legend))
        view.colour_by.activated.connect(lambda _: self._soon.start(50))

    @classmethod
    def of(cls, controller: Controller, brush: FieldBrush | None = None) -> Self:
        """Return the panel of a controller.

        `brush` is that of the field, if the application has one; it adds tool and radius.
        """
        c = controller
        return cls(
            shortcuts.key_actions(c),
            BrushSection.of(c, field=brush),
            MaskCountsSection(c.state),
            ViewSection.of(c),
        )
