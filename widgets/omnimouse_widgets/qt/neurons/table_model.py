"""The table's model: one row per neuron, sorted and filtered as index arrays.

Sorting 10,000 rows through a proxy that calls Python for every comparison takes
seconds; here it is one argsort.
"""

from typing import Any, Final

import numpy as np
from qtpy.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt
from qtpy.QtGui import QColor, QIcon

from omnimouse_model.live.controller import Controller
from omnimouse_model.masks.neuron_table import kept_rows
from omnimouse_widgets import palette
from omnimouse_widgets.drawn.neurons.columns import (
    COLUMNS,
    OLDER,
    TITLES,
    TOOLTIPS,
    columns_of,
    sorted_rows,
    state_code,
    words_of,
)
from omnimouse_widgets.qt.style.segmented_button import swatch

SCORE: Final = COLUMNS.index("score")
FADED: Final = QColor(128, 134, 145)
Index = QModelIndex | QPersistentModelIndex
_NO_PARENT: Final = QModelIndex()
RIGHT: Final = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


class NeuronTable(QAbstractTableModel):
    """Shows `columns_of(state, results)`; keeps only order and filter of its own."""

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self._columns = columns_of(controller)
        self._text = ""
        self._sorted_by = (0, Qt.SortOrder.AscendingOrder)
        self._icons: dict[str, QIcon] = {}
        self.neurons = np.empty(0, np.int64)
        """Neuron of each row."""

    # -- what Qt asks ---------------------------------------------------------------
    def rowCount(self, parent: Index = _NO_PARENT) -> int:
        """Neurons kept by the filter."""
        return 0 if parent.isValid() else len(self.neurons)

    def columnCount(self, parent: Index = _NO_PARENT) -> int:
        """Fixed."""
        return 0 if parent.isValid() else len(COLUMNS)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = 0
    ) -> Any:
        """Titles and what they mean."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        is_old = section == SCORE and self._controller.results.is_population_old
        if role == Qt.ItemDataRole.DisplayRole:
            return f"{TITLES[section]} {OLDER}" if is_old else TITLES[section]
        if role == Qt.ItemDataRole.ToolTipRole:
            older = f"\n{OLDER} Of an older question" if is_old else ""
            return TOOLTIPS[section] + older
        return None

    def data(self, index: Index, role: int = 0) -> Any:
        """Words of a cell, its side, and a colour for states."""
        name = COLUMNS[index.column()]
        value = self._columns[name][self.neurons[index.row()]]
        if role == Qt.ItemDataRole.DisplayRole:
            return words_of(name, value)
        if role == Qt.ItemDataRole.ForegroundRole and name == "score":
            return FADED if self._controller.results.is_population_old else None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return None if name in ("area", "state") else RIGHT
        if role == Qt.ItemDataRole.DecorationRole and name == "state":
            return self._icon(str(value))
        return None

    def sort(
        self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder
    ) -> None:
        """Sort by a column; unknown values go last either way."""
        self._sorted_by = (column, order)
        self._arrange()

    # -- what the panel asks ----------------------------------------------------------
    def refresh(self) -> None:
        """Read everything again from state and results."""
        self._columns = columns_of(self._controller)
        self._arrange()

    def refresh_values(self) -> None:
        """Read state and score again; rows move only if they are sorted by them."""
        before, self._columns = self._columns, columns_of(self._controller)
        moved = COLUMNS[self._sorted_by[0]] in ("state", "score") or bool(self._text)
        if len(before["id"]) != len(self._columns["id"]) or moved:
            self._arrange()
        elif len(self.neurons):
            last = self.index(len(self.neurons) - 1, len(COLUMNS) - 1)
            self.dataChanged.emit(self.index(0, COLUMNS.index("state")), last)

    def refresh_age(self) -> None:
        """Scores became older, or fresh again."""
        self.headerDataChanged.emit(Qt.Orientation.Horizontal, SCORE, SCORE)
        if len(self.neurons):
            last = self.index(len(self.neurons) - 1, SCORE)
            self.dataChanged.emit(self.index(0, SCORE), last)

    def filter(self, text: str) -> None:
        """Keep the neurons that satisfy the words; raises `ValueError` on nonsense."""
        kept_rows(text, self._columns)
        self._text = text
        self._arrange()

    def rows_of(self, neurons: np.ndarray) -> np.ndarray:
        """Rows at which neurons are shown; those filtered away have none."""
        place = np.full(len(self._columns["id"]), -1)
        place[self.neurons] = np.arange(len(self.neurons))
        rows: np.ndarray = place[neurons]
        return np.asarray(rows[rows >= 0])

    def _arrange(self) -> None:
        kept = kept_rows(self._text, self._columns)
        name, order = COLUMNS[self._sorted_by[0]], self._sorted_by[1]
        descending = order == Qt.SortOrder.DescendingOrder
        arranged = kept[sorted_rows(self._columns[name][kept], descending=descending)]
        if not np.array_equal(arranged, self.neurons):
            self.beginResetModel()
            self.neurons = arranged
            self.endResetModel()
        elif len(arranged):
            last = self.index(len(arranged) - 1, len(COLUMNS) - 1)
            self.dataChanged.emit(self.index(0, 0), last)

    def _icon(self, state: str) -> QIcon:
        if state not in self._icons:
            colour = palette.STATE_COLOURS[state_code(state)]
            self._icons[state] = swatch(colour)
        return self._icons[state]
