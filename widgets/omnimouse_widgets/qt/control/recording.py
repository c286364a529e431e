"""Recording section: open a recording; its contents and warnings."""

from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QInputDialog,
    QMenu,
    QPushButton,
    QToolButton,
    QWidget,
)

from omnimouse_model.data.session import Session
from omnimouse_model.errors import MISSING_RATE, SessionFormatError
from omnimouse_model.live.controller import Controller
from omnimouse_widgets.qt.style.form import ElidedLabel, Form, row_of
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.theme import quiet_label


class SessionSection(QWidget):
    """Name, contents and notes of the recording, and a button to open another one.

    The section asks for the sampling rate of the responses if the files lack it. It
    offers a choice if the files contain several kinds of responses.
    """

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self.name = ElidedLabel()
        self.name.setStyleSheet("font-weight: 600;")
        self.open = QPushButton("Open…")
        self.open.setToolTip("Open a recording (or drop one on the canvas)")
        menu = QMenu(self.open)
        # Qt's dialogs choose either files or folders, hence separate entries.
        menu.addAction("Folder…", self._choose_folder)
        menu.addAction("File (NWB, npz)…", self._choose_file)
        menu.addAction("Recordings in a folder…", self.choose_recordings)
        menu.addAction("Address (https, model hub)…", self._choose_address)
        self.open.setMenu(menu)
        self.facts = quiet_label()
        self.notes_button = QToolButton()
        self.notes_button.setCheckable(True)
        self.notes_button.setToolTip("What is missing, odd or assumed in this session")
        self.notes_button.setStyleSheet("QToolButton { border: none; padding: 0px; }")
        self.notes_button.toggled.connect(lambda _: self._draw())
        self.notes = quiet_label()
        self.problem = quiet_label("alert")
        self.dismiss = QToolButton()
        self.dismiss.setText("✕")
        self.dismiss.setAccessibleName("Dismiss")
        self.dismiss.setToolTip("Dismiss: the session above is still open")
        self.dismiss.clicked.connect(lambda: controller.opener.forget_fault())
        form = Form(self)
        form.add("", row_of(self.name, self.notes_button, self.open, stretch=0))
        self.progress = quiet_label()
        for widget in (self.facts, self.notes, self.progress):
            form.add("", widget)
        form.add("", row_of(self.problem, self.dismiss, stretch=0))
        self.rate = QDoubleSpinBox()
        self.rate.setRange(0.1, 1000.0)
        self.rate.setValue(30.0)
        self.rate.setSuffix(" Hz")
        self.rate.setAccessibleName("Responses per second")
        self.rate.setToolTip("How often the responses of each plane were sampled")
        self.use_rate = QPushButton("Open at this rate")
        self.use_rate.clicked.connect(lambda: self._open_at_rate())
        form.add("", row_of(self.rate, self.use_rate, stretch=0))
        self.series = QComboBox()
        self.series.setAccessibleName("Series")
        self.series.activated.connect(lambda _: self._choose_series())
        form.add("", self.series)
        session, changed = controller.state.events.session, controller.opener.changed
        self.redraw = Redraw(
            self,
            [
                (self._draw, [session]),
                (self._draw_series, [session, changed]),
                (self._draw_opening, [changed]),
            ],
        )

    # -- what the user does -----------------------------------------------------------
    def _choose_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Open a session", self._near())
        if folder:
            self.open_folder(folder)

    def _choose_file(self) -> None:
        kinds = "Recordings (*.nwb *.npz *.h5 *.hdf5);;All files (*)"
        found = QFileDialog.getOpenFileName(self, "Open a file", self._near(), kinds)
        if found[0]:
            self.open_folder(found[0])

    def _choose_address(self) -> None:
        words = "https://… of an NWB file, hf://… or a released recording's name:"
        address, is_given = QInputDialog.getText(self, "Open an address", words)
        if is_given and address.strip():
            self.open_folder(address.strip())

    def choose_recordings(self) -> None:
        """Choose a folder and search it for recordings."""
        title = "Recordings in a folder"
        folder = QFileDialog.getExistingDirectory(self, title, self._near())
        if folder:
            self._controller.recordings.look_in(folder)

    def _near(self) -> str:
        """Return the initial folder of dialogs: that of the open recording."""
        session = self._controller.state.session
        return str(session.path.parent) if session is not None else ""

    def _open_at_rate(self) -> None:
        # A typed rate counts although the box has not lost the focus.
        self.rate.interpretText()
        self._controller.opener.open_again(rate_hz=self.rate.value())

    def _choose_series(self) -> None:
        session = self._controller.state.session
        name = self.series.currentData()
        if session is not None and name != session.series:
            self._controller.choose_series(name)

    def open_folder(self, folder: str | Path) -> None:
        """Open a recording; errors are shown in this section."""
        self._controller.opener.open(folder)

    # -- from state to screen -----------------------------------------------------
    def _draw(self) -> None:
        session = self._controller.state.session
        self.name.set_words("No session" if session is None else session.id)
        self.name.setToolTip("" if session is None else str(session.path))
        self.facts.setText(
            "Open a session folder." if session is None else facts_of(session)
        )
        self.facts.setToolTip("" if session is None else channels_of(session))
        # Warnings first; assumptions are less urgent.
        notes = () if session is None else (*session.warnings, *session.assumptions)
        self.notes_button.setVisible(bool(notes))
        is_open = self.notes_button.isChecked()
        has_warnings = session is not None and bool(session.warnings)
        self.notes_button.setText(_notes_title(len(notes), is_open, has_warnings))
        self.notes.setVisible(bool(notes) and self.notes_button.isChecked())
        self.notes.setText("\n".join(f"• {note.message}" for note in notes))

    def _draw_series(self) -> None:
        """Show the open series, also after another series could not be read."""
        session = self._controller.state.session
        choices = {} if session is None else session.series_choices
        self.series.setVisible(len(choices) > 1)
        # No signal blocker is needed: `activated` is emitted for the user only.
        self.series.clear()
        for at, (name, words) in enumerate(choices.items()):
            self.series.addItem(f"Responses: {name}", name)
            self.series.setItemData(at, words, Qt.ItemDataRole.ToolTipRole)
        if session is not None:
            self.series.setCurrentIndex(self.series.findData(session.series))
            self.series.setToolTip(
                f"{choices.get(session.series, '')}\nAnother kind of responses can be "
                "chosen; the recording is opened again"
            )

    def _draw_opening(self) -> None:
        opener, fault = self._controller.opener, self._controller.opener.fault
        self.progress.setText(f"◌ {opener.words}…")
        self.progress.setVisible(opener.is_busy)
        # Some exceptions have no message; the name of the type is then shown.
        words = "" if fault is None else str(fault) or type(fault).__name__
        named = f"{opener.name}: {words}" if opener.name else words
        self.problem.setText(f"Not opened: {named}" if words else "")
        self.problem.setVisible(bool(words))
        self.dismiss.setVisible(bool(words))
        # Only this error can be solved with a number from the user.
        is_asked = isinstance(fault, SessionFormatError) and fault.code == MISSING_RATE
        self.rate.setVisible(is_asked)
        self.use_rate.setVisible(is_asked)


def facts_of(session: Session) -> str:
    """Return e.g. `1,000 neurons · 12.0 min · video · behaviour`."""
    words = [f"{session.n_neurons:,} neurons", f"{session.duration_s / 60:.1f} min"]
    words.append("video" if session.stimulus is not None else "no video")
    words.append("behaviour" if session.behavior_names else "no behaviour")
    return " · ".join(words)


def channels_of(session: Session) -> str:
    """Return the behaviour channels and the minutes of every tier."""
    minutes = [f"{tier} {length:.1f} min" for tier, length in session.tiers().items()]
    behavior = ", ".join(session.behavior_names) or "none"
    return f"Behaviour: {behavior}\nTiers: {', '.join(minutes)}"


def _notes_title(count: int, is_open: bool, has_warnings: bool) -> str:
    arrow, sign = "▾" if is_open else "▸", "⚠ " if has_warnings else ""
    return f"{arrow} {sign}{count} {'note' if count == 1 else 'notes'}"
