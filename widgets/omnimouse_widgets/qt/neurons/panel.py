"""Table of neurons with sorting, filter and the shared selection."""

import numpy as np
from qtpy.QtCore import QItemSelection, QItemSelectionModel, Qt, QTimer
from qtpy.QtWidgets import QHeaderView, QLabel, QLineEdit, QWidget

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.state import MAX_SELECTED
from omnimouse_widgets import palette
from omnimouse_widgets.qt.neurons.table_model import NeuronTableModel
from omnimouse_widgets.qt.style import shortcuts
from omnimouse_widgets.qt.style.controls import push_button, show_text
from omnimouse_widgets.qt.style.form import column_in, row_of
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.row_table import row_table
from omnimouse_widgets.qt.style.theme import wrapped_label
from omnimouse_widgets.views.neurons import COLUMNS, FILTER_TIP

SELECT = QItemSelectionModel.SelectionFlag.ClearAndSelect | QItemSelectionModel.SelectionFlag.Rows

TITLE_MARGIN = 22
"""Width in pixels of the sort arrow and the margins of a column title."""


class NeuronsPanel(QWidget):
    """Table of the neurons, with sorting and a filter.

    Parameters
    ----------
    controller
        Source of `state` and `results`, and receiver of the user actions.
    """

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self.setObjectName("omnimouse-neurons")
        self._controller = controller
        self.table = NeuronTableModel(controller)
        self._build_filter()
        self._build_view()
        top = row_of(self.filter, self.count, self.paint, stretch=0)
        column_in(self, top, self.problem, self.view, stretch=2)
        shortcuts.bind_keys(self, controller)
        events, results = controller.state.events, controller.results
        self.redraw = Redraw(
            self,
            (self._draw_table, [events.session, controller.laboratory.measured,
                                controller.neuron_info.measured]),
            (self._draw_values, [events.mask, events.active_span,
                                 results.events.neuron_scores]),
            (self.table.refresh_age, [results.events.population_freshness]),
            (self._draw_selection, [events.selection, events.session]),
        )  # fmt: skip

    def _build_filter(self) -> None:
        self.filter = QLineEdit()
        self.filter.setPlaceholderText("V1 target depth<250 score>0.3")
        self.filter.setToolTip(FILTER_TIP)
        self.filter.setClearButtonEnabled(True)
        self.problem = wrapped_label("alert")
        self.problem.hide()
        self.count = QLabel()
        self.count.setToolTip("Neurons that match the filter")
        tooltip = "Paint the neurons listed below with the brush"
        self.paint = push_button("Paint", tooltip, self._paint)
        # Filter once the user pauses, not at every letter of a word.
        self._typing = QTimer(self)
        self._typing.setSingleShot(True)
        self._typing.setInterval(120)
        self._typing.timeout.connect(self.apply_filter)
        self.filter.textChanged.connect(lambda _: self._typing.start())
        self.filter.returnPressed.connect(self.apply_filter)

    def _build_view(self) -> None:
        self.view, titles = row_table(
            self.table,
            f"Select rows to see their traces (the last {MAX_SELECTED})\nClick a title to sort",
        )
        titles.setMinimumSectionSize(34)
        # The state has the longest texts: it takes the width that the numbers leave.
        for column, title in enumerate(COLUMNS):
            width = titles.fontMetrics().horizontalAdvance(title) + TITLE_MARGIN
            titles.resizeSection(column, width)
        stretch = QHeaderView.ResizeMode.Stretch
        titles.setSectionResizeMode(COLUMNS.index("state"), stretch)
        self.view.sortByColumn(0, Qt.SortOrder.AscendingOrder)
        self._selection_model.selectionChanged.connect(lambda *_: self._selected())
        # Qt clears the selection of a view when its model is reset.
        self.table.modelReset.connect(self._draw_selection)

    # -- what the user does -----------------------------------------------------------
    def apply_filter(self) -> None:
        """Apply the filter; an invalid one shows an error and changes no rows."""
        self._typing.stop()
        try:
            self.table.filter(self.filter.text().strip())
        except ValueError as error:
            self.filter.setToolTip(f"{error}\n{FILTER_TIP}")
            self.filter.setStyleSheet(f"border: 1px solid {palette.PROBLEM};")
            show_text(self.problem, str(error))
            self.paint.setEnabled(False)  # the rows are those of the last filter
            return
        self.problem.hide()
        self.paint.setEnabled(True)
        self.filter.setToolTip(FILTER_TIP)
        self.filter.setStyleSheet("")
        self._draw_count()

    def _paint(self) -> None:
        """Paint every neuron that passes the filter, as one undo step."""
        if len(self.table.neurons):
            self._controller.editor.paint(self.table.neurons)

    def _selected(self) -> None:
        """Write the selected rows to the state; earlier neurons keep their order."""
        # Equal sets: this is the echo of `_draw_selection`, not a user action. Selected
        # neurons that the filter hides have no row, so they are not compared.
        in_table, before = self.selected_neurons(), self._controller.state.selection
        if set(in_table) == set(before) & set(self.table.neurons.tolist()):
            return
        # The state keeps the latest MAX_SELECTED neurons, so new ones go last.
        still = [neuron for neuron in before if neuron in set(in_table)]
        new = [neuron for neuron in in_table if neuron not in set(before)]
        self._controller.selection.select([*still, *new])

    def selected_neurons(self) -> list[int]:
        """Return the neurons of the selected rows."""
        rows = sorted({i.row() for i in self._selection_model.selectedRows()})
        return [int(self.table.neurons[row]) for row in rows]

    @property
    def _selection_model(self) -> QItemSelectionModel:
        # Requested each time: a wrapper that outlives the model would be invalid.
        selection = self.view.selectionModel()
        assert selection is not None
        return selection

    # -- from state to screen -----------------------------------------------------
    def _draw_table(self) -> None:
        self.table.refresh()
        self._draw_count()

    def _draw_values(self) -> None:
        self.table.refresh_values()
        self._draw_count()

    def _draw_count(self) -> None:
        session = self._controller.state.session
        total = 0 if session is None else session.n_neurons
        self.count.setText(f"{len(self.table.neurons):,} of {total:,}")

    def _draw_selection(self) -> None:
        """Select the rows of the state's selection and scroll to the latest one."""
        selection = np.array(self._controller.state.selection, np.int64)
        rows = self.table.rows_of(selection)
        if set(self.table.neurons[rows].tolist()) == set(self.selected_neurons()):
            return
        # One call with all ranges: one signal instead of one per row.
        ranges = QItemSelection()
        for row in rows.tolist():
            left, right = (self.table.index(row, c) for c in (0, self.table.columnCount() - 1))
            ranges.select(left, right)
        self._selection_model.select(ranges, SELECT)
        if len(rows):
            self.view.scrollTo(self.table.index(int(rows[-1]), 0))
