"""Trials panel: the table of trials, and averages around their onsets by condition."""

from html import escape

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QModelIndex, QSignalBlocker
from qtpy.QtGui import QStandardItem, QStandardItemModel
from qtpy.QtWidgets import QAbstractItemView, QHBoxLayout, QVBoxLayout, QWidget

from omnimouse_model.live.controller import Controller
from omnimouse_widgets import palette
from omnimouse_widgets.drawn.neurons.trials import (
    PLOT_TIP,
    TABLE_TIP,
    TIER_TIP,
    AveragePlot,
    TrialTable,
    average_plot,
    current_trial,
    trial_table,
)
from omnimouse_widgets.drawn.traces.text import LegendEntry
from omnimouse_widgets.qt.style import plot_style, shortcuts
from omnimouse_widgets.qt.style.controls import combo_box, set_items
from omnimouse_widgets.qt.style.form import ElidedLabel, QuietLine, row_of
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.row_table import row_table
from omnimouse_widgets.qt.style.visibility import VisibilityMonitor
from omnimouse_widgets.qt.traces.legend import LegendLabel, signs_html

TABLE_WIDTH = 150
RECORDED_ALPHA, PREDICTED_ALPHA = 55, 30
"""Opacities of the standard errors."""


class TrialsPanel(QWidget):
    """Table of trials on the left; on the right, averages of the neuron in focus.

    Parameters
    ----------
    controller
        Source of the trials and averages, and receiver of the moves made here.
    """

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self.setObjectName("omnimouse-trials")
        self._controller, self._averages = controller, controller.trial_averages
        self._drawn = TrialTable((), ())
        self.condition = combo_box(
            self._averages.choose,
            offered=lambda: self._averages.conditions,
            name="Condition",
            tooltip="Column of the trials whose labels are compared",
        )
        self.tier = combo_box(
            self._averages.choose_tier,
            offered=lambda: self._averages.tiers,
            name="Tier",
            tooltip=TIER_TIP,
        )
        self.text, self.trial, self.legend = QuietLine(), ElidedLabel(), LegendLabel()
        self.model = QStandardItemModel()
        self.table, titles = row_table(self.model, TABLE_TIP)
        # Rows are in the order of time, as the steps between trials.
        self.table.setSortingEnabled(False)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setMinimumWidth(TABLE_WIDTH)
        titles.setStretchLastSection(True)
        self.plot = AveragesPlot()
        self._lay_out()
        self.table.clicked.connect(self._go)
        shortcuts.bind_keys(self, controller)
        events, results = controller.state.events, controller.results
        self.visibility = VisibilityMonitor(self, self._follow)
        place = [events.session, events.window, controller.navigation.trial_changed]
        self.redraw = Redraw(
            self,
            (self.visibility.update, [events.session]),
            (self._draw_table, [events.session]),
            (self._draw_trial, place),
            (self._draw_averages, [events.session, events.selection,
                                   controller.neuron_info.focus_changed,
                                   self._averages.changed, results.changed]),
        )  # fmt: skip

    def _lay_out(self) -> None:
        right = QVBoxLayout()
        right.setSpacing(2)
        right.addLayout(row_of(self.condition, self.tier, stretch=1))
        for part in (self.text, self.legend):
            right.addWidget(part)
        right.addWidget(self.plot.canvas, 1)
        left = QVBoxLayout()
        left.setSpacing(2)
        left.addWidget(self.trial)
        left.addWidget(self.table, 1)
        row = QHBoxLayout(self)
        row.setContentsMargins(4, 4, 4, 4)
        row.addLayout(left, 2)
        row.addLayout(right, 3)
        self.setMinimumSize(300, 150)

    def _follow(self, is_visible: bool) -> None:
        """Predict trials only while the panel is visible."""
        self._averages.show(is_visible, self)

    def _go(self, index: QModelIndex) -> None:
        self._controller.navigation.go_to_trial(index.row())

    # -- from state to screen -----------------------------------------------------
    def _draw_table(self) -> None:
        table = trial_table(self._controller)
        if table == self._drawn:
            return
        self._drawn = table
        self.model.clear()
        self.model.setHorizontalHeaderLabels(table.titles)
        for row in table.rows:
            self.model.appendRow([QStandardItem(text) for text in row])
        self.table.resizeColumnsToContents()
        conditions = self._averages.conditions
        set_items(self.condition, [(name, name) for name in conditions])
        tiers = self._averages.tiers
        set_items(self.tier, [(name, name) for name in tiers])
        for box in (self.condition, self.tier):
            box.setVisible(bool(conditions))

    def _draw_trial(self) -> None:
        number, text = current_trial(self._controller)
        self.trial.set_text(text)
        self.trial.setToolTip(text)
        if number is None:
            self.table.clearSelection()
            return
        with QSignalBlocker(self.table):
            self.table.selectRow(number)
            self.table.scrollTo(self.model.index(number, 0))

    def _draw_averages(self) -> None:
        name = self._averages.condition
        self.condition.setCurrentIndex(self.condition.findData(name))
        self.tier.setCurrentIndex(self.tier.findData(self._averages.tier))
        plot = average_plot(self._controller)
        self.text.set_text(plot.text if plot.lines else "")
        signs = [LegendEntry("━", line.colour, line.label) for line in plot.lines]
        if any(np.isfinite(line.predicted).any() for line in plot.lines):
            signs.append(LegendEntry("╍", palette.AXIS, "predicted"))
        self.legend.setText(signs_html(signs))
        self.legend.setVisible(bool(signs))
        self.plot.show(plot)


class AveragesPlot:
    """Lines of the averages: recorded solid with its error, predicted dashed."""

    def __init__(self) -> None:
        self.canvas = plot_style.canvas(PLOT_TIP)
        self.box = pg.ViewBox(enableMenu=False, enableMouse=False)
        self.plot = pg.PlotItem(viewBox=self.box)
        self.canvas.addItem(self.plot)
        plot_style.style_plot(self.plot)
        self.onset = pg.InfiniteLine(0, angle=90, pen=plot_style.pen(palette.AXIS, dotted=True))
        self.box.addItem(self.onset, ignoreBounds=True)
        self.message = plot_style.Message(self.box)
        self._items: list[pg.GraphicsObject] = []
        self.shown = AveragePlot(np.zeros(0), (), "")

    def show(self, plot: AveragePlot) -> None:
        """Draw averages in place of those before, or the text that says why not."""
        self.shown = plot
        for item in self._items:
            self.plot.removeItem(item)
        self._items = []
        self.message.show("" if plot.lines else plot.text)
        for axis in ("left", "bottom"):
            self.plot.showAxis(axis, bool(plot.lines))
        self.onset.setVisible(bool(plot.lines))
        if not plot.lines:
            return
        low, high = plot.limits
        for line in plot.lines:
            parts = (
                (line.recorded, line.recorded_sem, RECORDED_ALPHA, False),
                (line.predicted, line.predicted_sem, PREDICTED_ALPHA, True),
            )
            for mean, error, alpha, is_dashed in parts:
                self._add_error(plot.time_s, mean, error, line.colour, alpha)
                curve = plot_style.curve(line.colour, 1.5, dashed=is_dashed)
                curve.setData(plot.time_s, mean)
                self._add(curve)
        for side, label in (
            ("left", plot.unit),
            ("bottom", "time from the onset (s)"),
        ):
            self.plot.setLabel(side, escape(label), color=plot_style.AXIS)
            self.plot.getAxis(side).label.setFont(plot_style.small_font())
        ends = (float(plot.time_s[0]), float(plot.time_s[-1]))
        self.plot.setRange(xRange=ends, yRange=(low, 1.05 * high), padding=0)

    def _add_error(
        self,
        time_s: np.ndarray,
        mean: np.ndarray,
        error: np.ndarray,
        colour: str,
        alpha: int,
    ) -> None:
        is_known = np.isfinite(error)
        if is_known.any():
            limits = [
                pg.PlotCurveItem(time_s[is_known], (mean + sign * error)[is_known])
                for sign in (-1, 1)
            ]
            brush = plot_style.brush(colour, alpha)
            self._add(pg.FillBetweenItem(*limits, brush=brush))

    def _add(self, item: pg.GraphicsObject) -> None:
        self.plot.addItem(item)
        self._items.append(item)
