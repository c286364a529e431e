"""What is selected, and what the neurons' colours mean."""

import numpy as np
from qtpy.QtCore import QRectF, QSize
from qtpy.QtGui import QColor, QLinearGradient, QPainter, QPaintEvent
from qtpy.QtWidgets import (
    QApplication,
    QHBoxLayout,
    QPushButton,
    QStackedWidget,
    QWidget,
)

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.score_words import score_words
from omnimouse_model.live.state import MAX_SELECTED
from omnimouse_widgets import palette
from omnimouse_widgets.qt import plots
from omnimouse_widgets.qt.control_counts import ORDER
from omnimouse_widgets.qt.form import Form, row_of
from omnimouse_widgets.qt.redraw import Redraw
from omnimouse_widgets.qt.segmented import Choice, Segmented
from omnimouse_widgets.qt.tone import colour_of, quiet_label, state_label

FADED = 0.45
"""Opacity of scores that answer an older question."""

COLOUR_BY = (
    Choice("state", "state", "Colour neurons by what the mask does with them (C)"),
    Choice("score", "score", "Colour neurons by how well they are predicted (C)"),
)


class ViewSection(QWidget):
    """Selected neurons, colour by, and the legend of the colours."""

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self.selection = quiet_label()
        self.selection.setToolTip(
            f"Neurons whose traces are drawn, at most {MAX_SELECTED}"
        )
        self.clear = QPushButton("Clear")
        self.clear.setToolTip("Select no neuron")
        self.clear.clicked.connect(lambda: controller.select([]))
        self.colour_by = Segmented(COLOUR_BY, "Colour by")
        self.colour_by.picked.connect(controller.set_colour_by)
        self.legend = QStackedWidget()
        self.legend.addWidget(_state_legend())
        self.score_bar = ScoreBar()
        self.legend.addWidget(self.score_bar)
        form = Form(self)
        form.add("Selected", row_of(self.selection, self.clear, stretch=0))
        form.add("Colour by", self.colour_by)
        self.copy = QPushButton("Copy score")
        self.copy.setToolTip(
            "Copy the score with its definition, condition, predictor and neurons"
        )
        self.copy.clicked.connect(lambda: copy_score(controller))
        form.add("", self.legend)
        form.add("", self.copy)
        events, results = controller.state.events, controller.results
        self.redraw = Redraw(
            self,
            [
                (self._draw_selection, [events.selection, events.session]),
                (self._draw_colour, [events.colour_by]),
                (self._draw_score, [results.changed]),
            ],
        )

    # -- from state to screen -----------------------------------------------------
    def _draw_selection(self) -> None:
        selection = self._controller.state.selection
        words = ", ".join(str(neuron) for neuron in selection)
        self.selection.setText(words or "none")
        self.clear.setEnabled(bool(selection))

    def _draw_colour(self) -> None:
        colour_by = self._controller.state.colour_by
        self.colour_by.show_value(colour_by)
        self.legend.setCurrentIndex(0 if colour_by == "state" else 1)

    def _draw_score(self) -> None:
        results = self._controller.results
        scores = results.scores
        known = np.empty(0) if scores is None else scores[np.isfinite(scores)]
        median = float(np.median(known)) if known.size else None
        self.score_bar.show_median(median, is_old=results.is_population_old)
        self.copy.setEnabled(median is not None)


def copy_score(controller: Controller) -> None:
    """Put the score on screen, and all it means, on the clipboard."""
    words = score_words(controller.state, controller.results)
    clipboard = QApplication.clipboard()
    if words and clipboard is not None:
        clipboard.setText(words)


def _state_legend() -> QWidget:
    legend = QWidget()
    row = QHBoxLayout(legend)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(4)
    for code in ORDER:
        row.addWidget(state_label(code))
    return legend


class ScoreBar(QWidget):
    """Viridis from 0 to 1, with the median of the neurons marked."""

    def __init__(self) -> None:
        super().__init__()
        self.setToolTip(
            "Single-trial correlation with the recording over the target samples of "
            "this window.\n"
            "Two seconds say little: over many windows `omnimouse evaluate` tells.\n"
            "White outline: visible · grey outline: no score"
        )
        self._median: float | None = None
        self._is_old = False
        self._table = palette.viridis_table()

    def sizeHint(self) -> QSize:
        """Bar and numbers."""
        return QSize(160, 34)

    def show_median(self, median: float | None, *, is_old: bool = False) -> None:
        """Mark this value; None marks nothing. Scores of an older question fade."""
        if (median, is_old) != (self._median, self._is_old):
            self._median, self._is_old = median, is_old
            self.update()

    @property
    def words(self) -> str:
        """What the mark says, "" without one."""
        if self._median is None:
            return ""
        return f"median {self._median:.2f}{' (older)' if self._is_old else ''}"

    def paintEvent(self, _: QPaintEvent | None) -> None:
        """Draw gradient, numbers and the median."""
        painter = QPainter(self)
        painter.setFont(plots.small_font())
        bar = QRectF(4, 2, self.width() - 8, 10)
        gradient = QLinearGradient(bar.topLeft(), bar.topRight())
        for at in np.linspace(0, 1, 17):
            gradient.setColorAt(at, QColor(*map(int, self._table[round(at * 255)])))
        painter.setOpacity(FADED if self._is_old else 1.0)
        painter.fillRect(bar, gradient)
        painter.setOpacity(1.0)
        painter.setPen(QColor(colour_of("quiet", self)))
        line = QRectF(4, 14, self.width() - 8, 18)
        painter.drawText(line, "0")
        width = painter.fontMetrics().horizontalAdvance("r = 1")
        painter.drawText(line.adjusted(line.width() - width, 0, 0, 0), "r = 1")
        if self._median is not None:
            self._draw_median(painter, bar)
        painter.end()

    def _draw_median(self, painter: QPainter, bar: QRectF) -> None:
        assert self._median is not None
        x = bar.left() + min(max(self._median, 0.0), 1.0) * bar.width()
        painter.fillRect(QRectF(x - 1.5, 0, 3, 14), QColor("black"))
        painter.fillRect(QRectF(x - 0.5, 0, 1, 14), QColor("white"))
        words = self.words
        width = painter.fontMetrics().horizontalAdvance(words)
        left = min(max(x - width / 2, bar.left() + 14), bar.right() - width - 34)
        painter.drawText(QRectF(left, 14, width + 2, 18), words)
