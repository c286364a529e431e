"""Tables: the style of all, and the table of many rows, whose Qt model has the rows in view.

Order and filter are those of the record: a QSortFilterProxyModel takes seconds for
10,000 rows, because it calls Python for every comparison.
"""

from typing import Any, Final

import numpy as np
from qtpy.QtCore import (
    QAbstractItemModel,
    QAbstractTableModel,
    QEvent,
    QItemSelection,
    QItemSelectionModel,
    QModelIndex,
    QPersistentModelIndex,
    QSignalBlocker,
    QSize,
    Qt,
    Signal,
)
from qtpy.QtGui import QColor, QIcon, QKeyEvent, QResizeEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView

from omnimouse_widgets.qt.style.controls import describe
from omnimouse_widgets.qt.style.segmented_button import swatch
from omnimouse_widgets.views.record import ChosenRows, LongTable

SELECT: Final = (
    QItemSelectionModel.SelectionFlag.ClearAndSelect | QItemSelectionModel.SelectionFlag.Rows
)
TITLE_MARGIN: Final = 22
"""Width in pixels of the sort arrow and the margins of a title."""
SIGNED_LETTERS: Final = 19
"""Letters for which the signed column has room, with its sign."""
CHUNK: Final = 64
"""Number of rows that are read together."""
FADED: Final = QColor(128, 134, 145)
RIGHT: Final = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
Index = QModelIndex | QPersistentModelIndex
_NO_PARENT: Final = QModelIndex()


# -- style of tables: whole rows, sorted by header, without a grid ----------------------
class RowView(QTableView):
    """Table view that keeps PgUp and PgDown, which step trials in other widgets."""

    resized = Signal()

    fills_height = False
    """Whether the table takes the height that is left, instead of asking for its own."""

    def sizeHint(self) -> QSize:
        """Return the wanted size."""
        wanted = super().sizeHint()
        return QSize(wanted.width(), self.minimumHeight()) if self.fills_height else wanted

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Tell that another width is free for the columns."""
        super().resizeEvent(event)
        self.resized.emit()

    def event(self, event: QEvent | None) -> bool:
        """Claim the keys before Qt looks for shortcuts."""
        claim = QEvent.Type.ShortcutOverride
        if isinstance(event, QKeyEvent) and event.type() == claim:
            paging = (Qt.Key.Key_PageUp, Qt.Key.Key_PageDown)
            if event.key() in paging and not event.modifiers():
                # An accepted ShortcutOverride arrives as a normal key press of the
                # table.
                event.accept()
                return True
        return super().event(event)


def row_table(
    model: QAbstractItemModel, tooltip: str, row_height: int = 22
) -> tuple[RowView, QHeaderView]:
    """Return a view of a model and its horizontal header."""
    view = RowView()
    view.setModel(model)
    view.setToolTip(tooltip)
    view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    view.setShowGrid(False)
    view.setWordWrap(False)
    view.setSortingEnabled(True)
    rows, titles = view.verticalHeader(), view.horizontalHeader()
    assert rows is not None
    assert titles is not None
    # After the view's own handler: the first rows of the new order are in view.
    titles.sortIndicatorChanged.connect(lambda *_: view.scrollToTop())
    # Centred, a short title would be under its sort arrow.
    titles.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
    rows.hide()
    # A fixed height: measuring 10,000 rows would take longer than drawing them.
    rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
    rows.setDefaultSectionSize(row_height)
    return view, titles


# -- table of many rows of a record ----------------------------------------------------
class LongTableModel(QAbstractTableModel):
    """Rows of a long table, read when Qt asks for them.

    Attributes
    ----------
    order
        Key of each row.
    is_sorted_by_user
        Whether a call of `sort` is a press on a title; Qt sorts once when it makes a view.
    """

    def __init__(self, item: LongTable) -> None:
        super().__init__()
        self.item = item
        self.order = np.asarray(item.order)
        self.is_sorted_by_user = False
        self._rows: dict[int, tuple[tuple[str, ...], str]] = {}
        self._icons: dict[str, QIcon] = {}

    def show(self, item: LongTable) -> None:
        """Show other content; without other rows or columns, only cells are repainted."""
        order, names = np.asarray(item.order), [column.name for column in item.columns]
        # A reset loses scroll position and selection.
        is_same = names == [column.name for column in self.item.columns]
        is_same &= np.array_equal(order, self.order)
        if not is_same:
            self.beginResetModel()
        self.item, self.order, self._rows = item, order, {}
        if not is_same:
            self.endResetModel()
        elif len(order):
            end = self.index(len(order) - 1, len(names) - 1)
            self.dataChanged.emit(self.index(0, 0), end)
            self.headerDataChanged.emit(Qt.Orientation.Horizontal, 0, len(names) - 1)

    def rows_of(self, keys: np.ndarray) -> np.ndarray:
        """Return the rows of keys, without those that are not listed."""
        at = {int(key): row for row, key in enumerate(self.order)}
        return np.array([at[int(key)] for key in keys if int(key) in at], np.int64)

    # -- interface of QAbstractTableModel ---------------------------------------------
    def rowCount(self, parent: Index = _NO_PARENT) -> int:
        """Return the number of rows."""
        # Qt requires 0 for cells, which are not parents in a table.
        return 0 if parent.isValid() else len(self.order)

    def columnCount(self, parent: Index = _NO_PARENT) -> int:
        """Return the number of columns."""
        return 0 if parent.isValid() else len(self.item.columns)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = 0) -> Any:
        """Return the title or the tooltip of a column."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        column = self.item.columns[section]
        texts = {Qt.ItemDataRole.DisplayRole: column.title, Qt.ItemDataRole.ToolTipRole: column.tip}
        return texts.get(Qt.ItemDataRole(role))

    def data(self, index: Index, role: int = 0) -> Any:
        """Return text, alignment, colour or icon of a cell."""
        column = self.item.columns[index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return self._row(index.row())[0][index.column()]
        if role == Qt.ItemDataRole.ForegroundRole and column.is_pale:
            return FADED
        if role == Qt.ItemDataRole.TextAlignmentRole and not column.is_text:
            return RIGHT
        if role == Qt.ItemDataRole.DecorationRole and column.name == self.item.signed:
            return self._icon(self._row(index.row())[1])
        return None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column; a press on the title of the order turns it round."""
        if not self.is_sorted_by_user:
            return
        name = self.item.columns[column].name
        is_descending = order == Qt.SortOrder.DescendingOrder
        if (name, is_descending) != (self.item.sorted_by, self.item.is_descending):
            self.item.sort(name)

    def _row(self, number: int) -> tuple[tuple[str, ...], str]:
        if number not in self._rows:
            first = number - number % CHUNK
            found = self.item.read(first, first + CHUNK)
            self._rows |= {first + at: row for at, row in enumerate(found)}
        return self._rows[number]

    def _icon(self, colour: str) -> QIcon:
        # Qt asks for icons at every repaint of a cell.
        if colour not in self._icons:
            icon = swatch(colour)
            # Without one of its own, Qt would tint it in a selected row.
            for size in icon.availableSizes():
                icon.addPixmap(icon.pixmap(size), QIcon.Mode.Selected)
            self._icons[colour] = icon
        return self._icons[colour]


class LongTableView:
    """View of a long table: order by titles, and the rows that are chosen.

    Attributes
    ----------
    widget, table
        The widget, and its model.
    """

    def __init__(self, item: LongTable) -> None:
        self.table = LongTableModel(item)
        self.widget: RowView
        self.widget, self._titles = row_table(self.table, item.label)
        self.table.is_sorted_by_user = True
        describe(self.widget, item.label, item.name)
        self._titles.setMinimumSectionSize(34)
        self._chosen: tuple[int, ...] = ()
        self._fit()
        self._selection.selectionChanged.connect(lambda *_: self._on_selected())
        # Qt clears the selection of a view when its model is reset.
        self.table.modelReset.connect(self._fit)
        self.widget.resized.connect(self._fit_signed)

    def show(self, item: LongTable) -> None:
        """Show other content."""
        before = np.sort(self.table.order)
        self.table.show(item)
        # Of another filter: what was in view says nothing of these rows.
        if not np.array_equal(before, np.sort(self.table.order)):
            # The scroll bar has the range of these rows now, not later.
            self.widget.executeDelayedItemsLayout()
            self.widget.scrollToTop()
        names = [column.name for column in item.columns]
        if item.sorted_by in names:
            descending, ascending = Qt.SortOrder.DescendingOrder, Qt.SortOrder.AscendingOrder
            with QSignalBlocker(self._titles):
                order = descending if item.is_descending else ascending
                self._titles.setSortIndicator(names.index(item.sorted_by), order)

    def mark(self, mark: ChosenRows) -> None:
        """Select the chosen rows, and bring the latest one into view."""
        self._chosen = mark.keys
        rows = self.table.rows_of(np.array(mark.keys))
        if set(rows.tolist()) == self._rows():
            return
        # One call with all ranges: one signal instead of one per row.
        ranges = QItemSelection()
        for row in rows.tolist():
            left, right = (self.table.index(row, c) for c in (0, self.table.columnCount() - 1))
            ranges.select(left, right)
        self._selection.select(ranges, SELECT)
        # Not `mark.row`: a mark of before is drawn first over other rows.
        for row in self.table.rows_of(np.array(mark.keys[-1:])).tolist():
            self.widget.scrollTo(self.table.index(row, 0))

    def _on_selected(self) -> None:
        """Choose the selected rows, unless they are those of the mark."""
        rows = self._rows()
        if rows != set(self.table.rows_of(np.array(self._chosen)).tolist()):
            self.table.item.choose([int(self.table.order[row]) for row in sorted(rows)])

    def _rows(self) -> set[int]:
        return {index.row() for index in self._selection.selectedRows()}

    @property
    def _selection(self) -> QItemSelectionModel:
        # Requested each time: a wrapper that outlives the model would be invalid.
        selection = self.widget.selectionModel()
        assert selection is not None
        return selection

    def _fit(self) -> None:
        """Give each column the width of its title; the signed one takes what is left."""
        for number, column in enumerate(self.table.item.columns):
            # The margin has room for the arrow, or for the sign of a pale column's title.
            title = column.name if column.is_pale else column.title
            width = self._titles.fontMetrics().horizontalAdvance(title) + TITLE_MARGIN
            self._titles.resizeSection(number, width)
        self._fit_signed()

    def _fit_signed(self) -> None:
        """Give the signed column the width that is left, at least that of its texts."""
        titles, names = self._titles, [column.name for column in self.table.item.columns]
        signed = names.index(self.table.item.signed)
        others = sum(titles.sectionSize(n) for n in range(len(names)) if n != signed)
        least = SIGNED_LETTERS * titles.fontMetrics().averageCharWidth()
        viewport = self.widget.viewport()
        assert viewport is not None
        titles.resizeSection(signed, max(viewport.width() - others, least))
