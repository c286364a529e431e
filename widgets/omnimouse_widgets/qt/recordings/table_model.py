"""Qt model of the recordings table: one row per recording, sorted by Qt."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from qtpy.QtCore import (
    QAbstractTableModel,
    QModelIndex,
    QPersistentModelIndex,
    QSortFilterProxyModel,
    Qt,
)
from qtpy.QtGui import QColor, QFont

from omnimouse_model.data.session_index import Catalogue, Entry
from omnimouse_model.data.session_index_text import row_words

TITLES: Final = (
    "path",
    "animal",
    "format",
    "neurons",
    "areas",
    "minutes",
    "by tier",
    "by stimulus",
    "behaviour",
    "problems",
)
KEYS: Final[dict[str, Callable[[Entry], Any]]] = {
    "neurons": lambda entry: entry.neurons,
    "minutes": lambda entry: entry.total_minutes,
    "by tier": lambda entry: entry.total_minutes,
    "by stimulus": lambda entry: sum(entry.shown.values()),
    "problems": lambda entry: len(entry.problems) if entry.is_read else 1_000_000,
}
"""Sort keys of the columns that are not sorted by their texts.

Recordings that could not be read are last by problems."""
FADED: Final = QColor(128, 134, 145)
SORT_ROLE: Final = int(Qt.ItemDataRole.UserRole)
Index = QModelIndex | QPersistentModelIndex
_NO_PARENT: Final = QModelIndex()
_RIGHT: Final = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


class RecordingsTable(QAbstractTableModel):
    """Model of a folder's index; recordings found later are appended."""

    def __init__(self) -> None:
        super().__init__()
        self._index: Catalogue | None = None
        self._texts: list[dict[str, str]] = []
        """Texts of each row, by column title."""
        self._open: Path | None = None
        self.entries: tuple[Entry, ...] = ()

    # -- interface of QAbstractTableModel ---------------------------------------------
    def rowCount(self, parent: Index = _NO_PARENT) -> int:
        """Return the number of recordings found so far."""
        # Qt requires 0 for cells, which are not parents in a table.
        return 0 if parent.isValid() else len(self.entries)

    def columnCount(self, parent: Index = _NO_PARENT) -> int:
        """Return the number of columns."""
        return 0 if parent.isValid() else len(TITLES)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = 0
    ) -> Any:
        """Return the title of a column."""
        is_title = orientation == Qt.Orientation.Horizontal
        return TITLES[section] if is_title and role == 0 else None

    def data(self, index: Index, role: int = 0) -> Any:
        """Return text, sort key, tooltip or appearance of a cell."""
        entry, title = self.entries[index.row()], TITLES[index.column()]
        text = self._texts[index.row()][title]
        if role == Qt.ItemDataRole.DisplayRole:
            return text
        if role == SORT_ROLE:
            # Texts such as "1,000" and "90" would sort in the wrong order.
            return KEYS[title](entry) if title in KEYS else text.lower()
        if role == Qt.ItemDataRole.ToolTipRole:
            lists = {"problems": entry.problems, "behaviour": entry.behavior}
            return "\n".join(lists[title]) if title in lists else text
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _RIGHT if title in ("neurons", "minutes") else None
        if role == Qt.ItemDataRole.ForegroundRole:
            return None if entry.is_read else FADED
        if role == Qt.ItemDataRole.FontRole and entry.path == self._open:
            font = QFont()
            font.setBold(True)
            return font
        return None

    # -- interface for the panel ------------------------------------------------------
    def show_index(self, index: Catalogue | None) -> None:
        """Show an index; append rows if it extends the current one."""
        # Appending keeps selection and scroll position; a reset would not.
        if index is self._index:
            return
        before, entries = self.entries, () if index is None else index.entries
        # Texts contain paths relative to the folder, so another folder changes every
        # row.
        is_same_folder = self._folder(self._index) == self._folder(index)
        self._index = index
        if is_same_folder and before and entries[: len(before)] == before:
            self._add(entries[len(before) :])
        else:
            self.beginResetModel()
            self.entries, self._texts = entries, self._texts_of(entries)
            self.endResetModel()

    def mark_open(self, path: Path | None) -> None:
        """Show the row of the open recording in bold."""
        if path != self._open:
            self._open = path
            if self.entries:
                # Repaint all rows: the previous open recording loses its bold font.
                last = self.index(len(self.entries) - 1, len(TITLES) - 1)
                self.dataChanged.emit(self.index(0, 0), last)

    def texts_of(self, row: int) -> dict[str, str]:
        """Return the texts of a row by column title."""
        return self._texts[row]

    def _add(self, more: tuple[Entry, ...]) -> None:
        if more:
            first = len(self.entries)
            self.beginInsertRows(QModelIndex(), first, first + len(more) - 1)
            self.entries += more
            self._texts += self._texts_of(more)
            self.endInsertRows()

    def _texts_of(self, entries: tuple[Entry, ...]) -> list[dict[str, str]]:
        folder = self._folder(self._index)
        return [row_words(entry, folder) for entry in entries]

    @staticmethod
    def _folder(index: Catalogue | None) -> Path:
        return Path() if index is None else index.folder


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

    def filterAcceptsRow(self, source_row: int, source_parent: Index) -> bool:
        """Return whether a row contains every word, in any column."""
        entry = self._table.entries[source_row]
        texts = (*self._table.texts_of(source_row).values(), *entry.problems, entry.id)
        text = "\n".join(texts).lower()
        return all(word in text for word in self._filter_words)
