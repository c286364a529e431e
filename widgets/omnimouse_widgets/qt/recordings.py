"""Table of the recordings in a folder; a double click or Enter opens one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from qtpy.QtCore import QModelIndex, QPersistentModelIndex, QSortFilterProxyModel, Qt
from qtpy.QtGui import QColor, QHideEvent, QKeySequence, QStandardItem, QStandardItemModel
from qtpy.QtWidgets import (
    QAbstractItemView,
    QLabel,
    QLineEdit,
    QMainWindow,
    QShortcut,
    QVBoxLayout,
    QWidget,
)

from omnimouse_model.data.session_index import Catalogue, Entry, row_text
from omnimouse_model.live.session_loader import FolderIndex, SessionLoader
from omnimouse_model.live.state import LiveState
from omnimouse_widgets.qt.long_table import row_table
from omnimouse_widgets.qt.style.controls import push_button, show_text
from omnimouse_widgets.qt.style.form import ElidedLabel, row_of
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.theme import wrapped_label

SIZE = (1240, 420)
# Widths in pixels of the columns up to the last, which takes the rest.
WIDTHS = (190, 100, 70, 110, 210, 140, 170)
ROW_HEIGHT = 22
ENTER = (Qt.Key.Key_Return, Qt.Key.Key_Enter)


class RecordingsPanel(QWidget):
    """Table with sorting and filter, which fills while the folder is searched.

    Parameters
    ----------
    state, loader, recordings
        What is open, what opens a row, and the recordings of the folder.
    parent
        Parent widget.
    """

    def __init__(
        self,
        state: LiveState,
        loader: SessionLoader,
        recordings: FolderIndex,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setObjectName("omnimouse-recordings")
        self.setWindowTitle("Recordings")
        self._state, self._loader, self._recordings = state, loader, recordings
        self.table = RecordingsTable()
        self.rows = FilteredRecordings(self.table)
        self._build_top()
        self._build_view()
        self.progress, self.problem = ElidedLabel(), wrapped_label("alert")
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 4, 4, 4)
        column.setSpacing(4)
        column.addLayout(row_of(self.filter, self.count, self.stop, stretch=0))
        column.addWidget(self.problem)
        column.addWidget(self.view, 1)
        column.addWidget(self.progress)
        self.resize(*SIZE)
        search, opening = recordings.changed, loader.changed
        session = state.events.session
        self.redraw = Redraw(
            self,
            (self._draw_rows, [search]),
            (self._draw_progress, [search, opening]),
            (self._draw_open, [session]),
        )

    def _build_top(self) -> None:
        self.filter = QLineEdit()
        self.filter.setPlaceholderText("Words that a row must contain: nwb V1 running")
        self.filter.setClearButtonEnabled(True)
        self.filter.textChanged.connect(self._apply_filter)
        self.filter.returnPressed.connect(lambda: self._go_to_table())
        self.count = QLabel()
        self.count.setToolTip("Recordings that match the filter")
        self.stop = push_button(
            "Stop", "Stop the search; the recordings found so far remain", self._recordings.stop
        )

    def _build_view(self) -> None:
        tooltip = "Double click or Enter opens a recording"
        self.view, titles = row_table(self.rows, tooltip, ROW_HEIGHT)
        self.view.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.view.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        # Tab leaves the table instead of stepping through its cells.
        self.view.setTabKeyNavigation(False)
        titles.setStretchLastSection(True)
        for column, width in enumerate(WIDTHS):
            titles.resizeSection(column, width)
        self.view.sortByColumn(TITLES.index("path"), Qt.SortOrder.AscendingOrder)
        self.view.doubleClicked.connect(self._open)
        # `doubleClicked` has no key, and `activated` may need only one click.
        for key in ENTER:
            shortcut = QShortcut(QKeySequence(key), self.view)
            shortcut.setContext(Qt.ShortcutContext.WidgetShortcut)
            shortcut.activated.connect(lambda: self._open(self.view.currentIndex()))

    def hideEvent(self, event: QHideEvent | None) -> None:
        """Stop the search of the folder."""
        # A hidden panel must not keep reading folders, e.g. on a network drive.
        super().hideEvent(event)
        self._recordings.stop()

    # -- what the user does -----------------------------------------------------------
    def _apply_filter(self, text: str) -> None:
        self.rows.set_filter(text)
        self._draw_count()

    def _go_to_table(self) -> None:
        """Focus the first row that passes the filter, so that Enter opens it."""
        if self.rows.rowCount():
            self.view.setFocus()
            self.view.selectRow(0)

    def _open(self, index: QModelIndex) -> None:
        if index.isValid():
            # The index belongs to the sorted and filtered rows.
            entry = self.table.entries[self.rows.mapToSource(index).row()]
            self._loader.open(entry.path)

    # -- from state to screen ---------------------------------------------------------
    def _draw_rows(self) -> None:
        index = self._recordings.index
        self.table.show_index(index)
        self._draw_count()
        place = "" if index is None else f" in {index.folder}"
        self.setWindowTitle(f"Recordings{place}")

    def _draw_count(self) -> None:
        self.count.setText(f"{self.rows.rowCount():,} of {self.table.rowCount():,}")

    def _draw_progress(self) -> None:
        recordings, opener = self._recordings, self._loader
        # Opening a recording is a direct request of the user and has priority.
        text = opener.message or recordings.message
        self.progress.set_text(f"◌ {text}…" if text else "")
        self.stop.setVisible(recordings.is_busy)
        show_text(self.problem, self._problem())

    def _problem(self) -> str:
        recordings, opener = self._recordings, self._loader
        if opener.error is not None:
            return f"Not opened: {opener.name}: {opener.error}"
        if recordings.error is not None:
            return str(recordings.error)
        is_empty = recordings.index is not None and not recordings.index
        if is_empty and not recordings.is_busy:
            return "No recording in this folder or three levels below it."
        return ""

    def _draw_open(self) -> None:
        session = self._state.session
        self.table.mark_open(None if session is None else session.path)


def show_recordings(
    state: LiveState, loader: SessionLoader, recordings: FolderIndex, window: QMainWindow
) -> RecordingsPanel:
    """Show the recordings table of a window; it is closed with the window."""
    # One table per window: it keeps the last search.
    panel: RecordingsPanel | None = window.findChild(RecordingsPanel)
    if panel is None:
        panel = RecordingsPanel(state, loader, recordings, window)
        panel.setWindowFlag(Qt.WindowType.Dialog)
    panel.show()
    panel.raise_()
    panel.activateWindow()
    return panel


TITLES: Final = (
    "path",
    "animal",
    "format",
    "neurons",
    "areas",
    "minutes",
    "by part",
    "by stimulus",
    "behaviour",
    "problems",
)
KEYS: Final[dict[str, Callable[[Entry], Any]]] = {
    "neurons": lambda entry: entry.neurons,
    "minutes": lambda entry: entry.total_minutes,
    "by part": lambda entry: entry.total_minutes,
    "by stimulus": lambda entry: sum(entry.stimulus_minutes.values()),
    "problems": lambda entry: len(entry.problems) if entry.is_read else 1_000_000,
}
"""Sort keys of the columns that are not sorted by their texts.

Recordings that could not be read are last by problems."""
FADED: Final = QColor(128, 134, 145)
SORT_ROLE: Final = int(Qt.ItemDataRole.UserRole)
_RIGHT: Final = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


class RecordingsTable(QStandardItemModel):
    """Rows of a folder's index; recordings found later are appended.

    Attributes
    ----------
    entries
        The recordings, in the order of the index.
    filter_texts
        Text of each row that the filter searches, in lower case.
    """

    def __init__(self) -> None:
        super().__init__(0, len(TITLES))
        self.setHorizontalHeaderLabels(TITLES)
        self._index: Catalogue | None = None
        self._open: Path | None = None
        self.entries: tuple[Entry, ...] = ()
        self.filter_texts: list[str] = []

    def show_index(self, index: Catalogue | None) -> None:
        """Show an index; append rows if it extends the current one."""
        if index is self._index:
            return
        n_rows, entries = len(self.entries), () if index is None else index.entries
        # Appending keeps selection and scroll position. Texts contain paths relative to
        # the folder, so another folder changes every row.
        is_same_folder = _folder(self._index) == _folder(index)
        if not is_same_folder or entries[:n_rows] != self.entries:
            self.removeRows(0, n_rows)
            self.filter_texts.clear()
            n_rows = 0
        self._index, self.entries = index, entries
        for entry in entries[n_rows:]:
            texts = row_text(entry, _folder(index))
            # Before the row: the filter reads it as soon as the row is added.
            searched = (*texts.values(), *entry.problems, entry.id)
            self.filter_texts.append("\n".join(searched).lower())
            self.appendRow([_item(entry, title, texts[title]) for title in TITLES])
        self._mark_rows()

    def mark_open(self, path: Path | None) -> None:
        """Show the row of the open recording in bold."""
        if path != self._open:
            self._open = path
            self._mark_rows()

    def _mark_rows(self) -> None:
        for row, entry in enumerate(self.entries):
            for column in range(len(TITLES)):
                item = self.item(row, column)
                assert item is not None
                # A new font for each item: fonts are values in Qt.
                font = item.font()
                font.setBold(entry.path == self._open)
                item.setFont(font)


def _folder(index: Catalogue | None) -> Path:
    return Path() if index is None else index.folder


def _item(entry: Entry, title: str, text: str) -> QStandardItem:
    item = QStandardItem(text)
    # Texts such as "1,000" and "90" would sort in the wrong order.
    item.setData(KEYS[title](entry) if title in KEYS else text.lower(), SORT_ROLE)
    lists = {"problems": entry.problems, "behaviour": entry.behavior}
    item.setToolTip("\n".join(lists[title]) if title in lists else text)
    if title in ("neurons", "minutes"):
        item.setTextAlignment(_RIGHT)
    if not entry.is_read:
        item.setForeground(FADED)
    return item


class FilteredRecordings(QSortFilterProxyModel):
    """Rows that contain all words of the filter, sorted by `SORT_ROLE`."""

    def __init__(self, table: RecordingsTable) -> None:
        super().__init__()
        self._table = table
        self._filter_words: tuple[str, ...] = ()
        self.setSourceModel(table)
        self.setSortRole(SORT_ROLE)

    def set_filter(self, text: str) -> None:
        """Set the words of the filter."""
        self._filter_words = tuple(text.lower().split())
        # invalidateFilter is deprecated, and older Qt versions lack its replacement.
        self.invalidate()

    def filterAcceptsRow(
        self, source_row: int, source_parent: QModelIndex | QPersistentModelIndex
    ) -> bool:
        """Return whether a row contains every word, in any column."""
        text = self._table.filter_texts[source_row]
        return all(word in text for word in self._filter_words)
