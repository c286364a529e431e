"""Ranking panel: matrix, table, curves and gains of a stored ranking of sessions."""

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtGui import QBrush, QColor, QStandardItem, QStandardItemModel
from qtpy.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QFileDialog,
    QStackedWidget,
    QTableView,
    QWidget,
)

from omnimouse_model.analysis.ranking.scores import SUFFIX
from omnimouse_model.demo import RANKING
from omnimouse_model.live.controller import Controller
from omnimouse_widgets import palette
from omnimouse_widgets.drawn import ranking as text
from omnimouse_widgets.drawn.ranking import Matrix, Table
from omnimouse_widgets.qt.ranking.plot import CurvesPlot
from omnimouse_widgets.qt.style import shortcuts
from omnimouse_widgets.qt.style.controls import (
    combo_box,
    plain_tip,
    push_button,
    set_items,
    show_text,
)
from omnimouse_widgets.qt.style.form import ElidedLabel, column_in, row_of
from omnimouse_widgets.qt.style.plot_style import small_font
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.row_table import row_table
from omnimouse_widgets.qt.style.segmented_button import Choice, SegmentedButton
from omnimouse_widgets.qt.style.theme import wrapped_label

KINDS = f"Rankings (*{SUFFIX});;All files (*)"
DARK, BRIGHT = "#101010", "#F0F0F0"
"""Colours of texts on bright and on dark cells."""
BRIGHT_SHARE = 0.55
"""Share of the largest score above which a cell is bright."""


class RankingPanel(QWidget):
    """Results file of a ranking: which sessions to train on for a new session.

    Parameters
    ----------
    controller
        Source of `ranking` and of the open recording, and receiver of the user actions.
    """

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self.setObjectName("omnimouse-ranking")
        self._controller, self._ranking = controller, controller.ranking
        self._view: text.View = "matrix"
        self._axis: text.Axis = "k"
        self._heldout = ""
        self.open = push_button("Open…", text.TIPS["open"], self._choose_file)
        self.example = push_button(
            "Example", text.TIPS["example"], lambda: self._ranking.open(RANKING)
        )
        self.refresh = push_button("Refresh", text.TIPS["refresh"], self._ranking.read_again)
        self.command = push_button("Copy command", text.TIPS["command"], self._copy_command)
        self.name, self.status = ElidedLabel(), wrapped_label()
        self.problem = wrapped_label("alert", is_selectable=True)
        self.warning = wrapped_label("alert")
        self.note = wrapped_label()
        self.view = SegmentedButton(
            [Choice(name, *label) for name, label in text.VIEWS.items()], "View"
        )
        self.view.picked.connect(self._choose_view)
        self.heldout = combo_box(
            self._choose_heldout, tooltip=text.TIPS["heldout"], name="Held-out session"
        )
        self.axis = combo_box(
            self._choose_axis,
            [(label, name) for name, label in text.AXES.items()],
            tooltip=text.TIPS["axis"],
            name="Horizontal axis",
        )
        self._make_results()
        column_in(
            self,
            row_of(self.open, self.example, self.refresh, self.command, stretch=3),
            self.name,
            self.problem,
            self.status,
            self.warning,
            self.view,
            row_of(self.heldout, self.axis),
            self.stack,
            self.note,
            stretch=7,
        )
        shortcuts.bind_keys(self, controller)
        self.redraw = Redraw(self, (self._draw, [self._ranking.changed]))

    def _make_results(self) -> None:
        self.matrix_model, self.table_model = QStandardItemModel(), QStandardItemModel()
        self.matrix = QTableView()
        self.matrix.setModel(self.matrix_model)
        self.matrix.setToolTip(text.VIEWS["matrix"][1])
        self.matrix.setAccessibleName("Matrix")
        self.table, titles = row_table(self.table_model, text.VIEWS["table"][1])
        self.table.setAccessibleName("Table")
        # Rows are in the order of the ranking, and of the sizes of the curves.
        self.table.setSortingEnabled(False)
        titles.setFont(small_font())
        self.table.setFont(small_font())
        for view in (self.matrix, self.table):
            view.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
            view.setTabKeyNavigation(False)
        self.curves = CurvesPlot()
        self.stack = QStackedWidget()
        for part in (self.matrix, self.table, self.curves.canvas):
            self.stack.addWidget(part)

    # -- what the user does -----------------------------------------------------------
    def _choose_file(self) -> None:
        session = self._controller.state.session
        near = self._ranking.path or (None if session is None else session.path)
        folder = "" if near is None else str(near.parent)
        path = QFileDialog.getOpenFileName(self, "Open a ranking", folder, KINDS)[0]
        if path:
            self._ranking.open(path)

    def _choose_view(self, view: text.View) -> None:
        self._view = view
        self._draw()

    def _choose_heldout(self, heldout: str) -> None:
        self._heldout = heldout
        self._draw()

    def _choose_axis(self, axis: text.Axis) -> None:
        self._axis = axis
        self._draw()

    def _copy_command(self) -> None:
        command = text.rank_command(self._controller)
        clipboard = QApplication.clipboard()
        assert clipboard is not None
        clipboard.setText(command)
        show_text(self.note, f"On the clipboard: {command}")

    # -- from state to screen ---------------------------------------------------------
    def _draw(self) -> None:
        ranking, content = self._ranking, self._ranking.content
        self.name.set_text(ranking.message or ("" if ranking.path is None else ranking.path.name))
        self.name.setToolTip("" if ranking.path is None else str(ranking.path))
        self.refresh.setEnabled(ranking.path is not None and not ranking.is_busy)
        show_text(self.problem, "" if ranking.error is None else f"✕ {ranking.error}")
        show_text(self.status, "" if content is None else text.summary(content))
        warnings = () if content is None else text.warnings_of(content)
        show_text(self.warning, "\n".join(f"⚠ {warning}" for warning in warnings))
        show_text(self.note, text.note(content, self._view))
        self.view.show_value(self._view)
        for part in (self.view, self.stack):
            part.setVisible(content is not None)
        is_one = self._view != "matrix" and content is not None
        self.heldout.setVisible(is_one)
        self.axis.setVisible(is_one and self._view == "curves")
        if content is None:
            return
        heldout = text.shown_heldout(content, self._heldout)
        names = content.stored.ranking.heldout
        set_items(self.heldout, [(name, name) for name in names])
        self.heldout.setCurrentIndex(names.index(heldout))
        if self._view == "matrix":
            self._draw_matrix(text.ranking_matrix(content.stored.ranking))
        elif self._view == "curves":
            self.curves.show(text.curve_plot(content, heldout, self._axis))
            self.stack.setCurrentWidget(self.curves.canvas)
        else:
            self._draw_table(text.shown_table(content, self._view, heldout))

    def _draw_matrix(self, matrix: Matrix) -> None:
        self.matrix_model.clear()
        self.matrix_model.setHorizontalHeaderLabels(matrix.heldout)
        self.matrix_model.setVerticalHeaderLabels(matrix.sessions)
        colours = palette.viridis_table()
        for (row, column), share in np.ndenumerate(matrix.shares):
            item = QStandardItem(matrix.texts[row][column])
            item.setToolTip(plain_tip(matrix.tips[row][column]))
            item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
            if np.isfinite(share):
                red, green, blue = colours[round(255 * share)].tolist()
                item.setBackground(QBrush(QColor(red, green, blue)))
                ink = DARK if share > BRIGHT_SHARE else BRIGHT
                item.setForeground(QBrush(QColor(ink)))
            self.matrix_model.setItem(row, column, item)
        self.matrix.resizeColumnsToContents()
        self.stack.setCurrentWidget(self.matrix)

    def _draw_table(self, table: Table) -> None:
        self.table_model.clear()
        self.table_model.setHorizontalHeaderLabels(table.titles)
        for row in table.rows:
            self.table_model.appendRow([QStandardItem(cell) for cell in row])
        self.table.resizeColumnsToContents()
        self.stack.setCurrentWidget(self.table)
