"""Qt model of the recordings table: one row per recording, sorted by Qt."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from qtpy.QtCore import (
    QModelIndex,
    QPersistentModelIndex,
    QSortFilterProxyModel,
    Qt,
)
from qtpy.QtGui import QColor, QStandardItem, QStandardItemModel

from omnimouse_model.data.session_index import Catalogue, Entry, row_text

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
