"""Qt model of the neuron table, with sorting and filter as index arrays.

Sorting 10,000 rows with a QSortFilterProxyModel takes seconds, because it calls Python
for every comparison. Here it is one argsort.
"""

from typing import Any, Final

import numpy as np
from qtpy.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt
from qtpy.QtGui import QColor, QIcon

from omnimouse_model.live.controller import Controller
from omnimouse_model.masks.neuron_table import matching_neurons
from omnimouse_widgets import palette
from omnimouse_widgets.qt.style.segmented_button import swatch
from omnimouse_widgets.views.neurons import (
    COLUMNS,
    OLDER,
    cell_text,
    columns_of,
    property_names,
    property_tooltip,
    sorted_rows,
    state_code,
    titles_of,
    tooltips_of,
)

SCORE: Final = COLUMNS.index("score")
FADED: Final = QColor(128, 134, 145)
Index = QModelIndex | QPersistentModelIndex
_NO_PARENT: Final = QModelIndex()
RIGHT: Final = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


class NeuronTableModel(QAbstractTableModel):
    """Model of `columns_of(controller)`; its own state is only order and filter."""

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self._columns = columns_of(controller)
        self._properties = property_names(controller)
        self._text = ""
        self._sorted_by = (0, Qt.SortOrder.AscendingOrder)
        self._icons: dict[str, QIcon] = {}
        self.neurons = np.empty(0, np.int64)
        """Neuron of each row."""

    # -- interface of QAbstractTableModel ---------------------------------------------
    def rowCount(self, parent: Index = _NO_PARENT) -> int:
        """Return the number of neurons that pass the filter."""
        # Qt requires 0 for cells, which are not parents in a table.
        return 0 if parent.isValid() else len(self.neurons)

    def columnCount(self, parent: Index = _NO_PARENT) -> int:
        """Return the number of columns."""
        return 0 if parent.isValid() else len(COLUMNS) + len(self._properties)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = 0) -> Any:
        """Return the title or the tooltip of a column."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        is_old = section == SCORE and self._controller.results.are_scores_old
        if role == Qt.ItemDataRole.DisplayRole:
            title = self._name(section)
            return f"{title} {OLDER}" if is_old else title
        if role == Qt.ItemDataRole.ToolTipRole:
            older = f"\n{OLDER} Scores of an older task" if is_old else ""
            if section >= len(COLUMNS):
                return property_tooltip(self._controller, self._name(section))
            return tooltips_of(self._controller)[section] + older
        return None

    def data(self, index: Index, role: int = 0) -> Any:
        """Return text, alignment, colour or icon of a cell."""
        name = self._name(index.column())
        value = self._columns[name][self.neurons[index.row()]]
        if role == Qt.ItemDataRole.DisplayRole:
            return cell_text(name, value)
        if role == Qt.ItemDataRole.ForegroundRole and name == "score":
            return FADED if self._controller.results.are_scores_old else None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return None if isinstance(value, str) else RIGHT
        if role == Qt.ItemDataRole.DecorationRole and name == "state":
            return self._icon(str(value))
        return None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column; unknown values are last in both directions."""
        self._sorted_by = (column, order)
        self._arrange()

    # -- interface for the panel ------------------------------------------------------
    def refresh(self) -> None:
        """Read all columns again from state and results."""
        properties = property_names(self._controller)
        # Before the reset, whose listeners look for the rows of neurons.
        self._columns = columns_of(self._controller)
        if properties != self._properties:
            self.beginResetModel()
            self._properties, self.neurons = properties, np.empty(0, np.int64)
            self._sorted_by = (0, Qt.SortOrder.AscendingOrder)
            self.endResetModel()
        self._arrange()

    def refresh_values(self) -> None:
        """Read state and score again; reorder the rows only if they depend on them."""
        # A stroke calls this often: without a new order, Qt repaints only the cells.
        before, self._columns = self._columns, columns_of(self._controller)
        # A filter can contain state and score, so it may keep other rows now.
        name = self._name(self._sorted_by[0])
        moved = name in ("state", "score") or bool(self._text)
        if len(before["id"]) != len(self._columns["id"]) or moved:
            self._arrange()
        else:
            self._repaint(COLUMNS.index("state"), len(COLUMNS) - 1)

    def refresh_age(self) -> None:
        """Repaint the scores and their title after a change of their age."""
        self.headerDataChanged.emit(Qt.Orientation.Horizontal, SCORE, SCORE)
        self._repaint(SCORE, SCORE)

    def filter(self, text: str) -> None:
        """Set the filter.

        Raises
        ------
        ValueError
            If the filter is invalid; the rows do not change.
        """
        matching_neurons(text, self._columns)  # raises before the filter is stored
        self._text = text
        self._arrange()

    def rows_of(self, neurons: np.ndarray) -> np.ndarray:
        """Return the rows of neurons, without those that the filter hides."""
        # Inverse of `neurons`: the row of each neuron, -1 without a row.
        place = np.full(len(self._columns["id"]), -1)
        place[self.neurons] = np.arange(len(self.neurons))
        rows: np.ndarray = place[neurons]
        return np.asarray(rows[rows >= 0])

    def _arrange(self) -> None:
        rows = matching_neurons(self._text, self._columns)
        name, order = self._name(self._sorted_by[0]), self._sorted_by[1]
        descending = order == Qt.SortOrder.DescendingOrder
        arranged = rows[sorted_rows(self._columns[name][rows], descending=descending)]
        # A reset loses scroll position and selection: only if the rows changed.
        if not np.array_equal(arranged, self.neurons):
            self.beginResetModel()
            self.neurons = arranged
            self.endResetModel()
        else:
            self._repaint(0, self.columnCount() - 1)

    def _name(self, section: int) -> str:
        """Return the key of the values of a column, which is its title."""
        return (*titles_of(self._controller), *self._properties)[section]

    def _repaint(self, first: int, last: int) -> None:
        """Repaint a range of columns in all rows."""
        if len(self.neurons):
            end = self.index(len(self.neurons) - 1, last)
            self.dataChanged.emit(self.index(0, first), end)

    def _icon(self, state: str) -> QIcon:
        # Qt asks for icons at every repaint of a cell.
        if state not in self._icons:
            colour = palette.STATE_COLOURS[state_code(state)]
            self._icons[state] = swatch(colour)
        return self._icons[state]
