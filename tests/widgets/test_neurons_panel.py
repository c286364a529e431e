from time import process_time
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from omnimouse_model.masks import TARGET, VISIBLE
from omnimouse_widgets.drawn.neuron_columns import COLUMNS, sorted_rows
from omnimouse_widgets.qt.neurons import NeuronsPanel

LEFT = Qt.MouseButton.LeftButton
CONTROL = Qt.KeyboardModifier.ControlModifier
NO_KEYS = Qt.KeyboardModifier.NoModifier


@pytest.fixture
def panel(controller, show):
    made: NeuronsPanel = show(NeuronsPanel(controller), 400, 420)
    return made


def cell(panel: NeuronsPanel, row: int, column: str) -> str:
    index = panel.table.index(row, COLUMNS.index(column))
    return str(panel.table.data(index, Qt.ItemDataRole.DisplayRole))


def click(panel: NeuronsPanel, row: int, keys: Any = NO_KEYS) -> None:
    place = panel.view.visualRect(panel.table.index(row, 1)).center()
    QTest.mouseClick(panel.view.viewport(), LEFT, keys, place)


def test_rows_tell_state_and_score(panel, controller, drawn):
    controller.set_active_span(30, 60)
    controller.paint_cells([2], slice(0, 60), VISIBLE)
    controller.paint_cells([5], slice(30, 60), TARGET)
    drawn()
    assert panel.table.rowCount() == 40
    assert cell(panel, 2, "state") == "visible"
    assert cell(panel, 5, "state") == "target"
    assert cell(panel, 5, "score") == f"{controller.results.scores[5]:.2f}"
    assert cell(panel, 2, "score") == "–"


def test_a_click_on_a_title_sorts_and_unknown_values_stay_last(
    panel, controller, drawn
):
    controller.paint_cells([8, 4, 6], slice(30, 60), TARGET)
    drawn()
    titles = panel.view.horizontalHeader()
    middle = titles.sectionViewportPosition(5) + titles.sectionSize(5) // 2
    for descending in (False, True):
        QTest.mouseClick(titles.viewport(), LEFT, NO_KEYS, QPoint(middle, 8))
        scores = controller.results.scores[panel.table.neurons]
        known = scores[np.isfinite(scores)]
        assert np.isfinite(scores[:3]).all()
        assert (
            (np.diff(known) <= 0).all() if descending else (np.diff(known) >= 0).all()
        )


def test_words_filter_the_rows(panel, controller, drawn):
    controller.paint_cells([3, 9], slice(0, 60), VISIBLE)
    drawn()
    panel.filter.setText("visible")
    QTest.keyClick(panel.filter, Qt.Key.Key_Return)
    assert list(panel.table.neurons) == [3, 9]
    assert panel.count.text() == "2 of 40"


def test_nonsense_is_refused_in_words_and_keeps_the_rows(panel):
    panel.filter.setText("size>3")
    QTest.keyClick(panel.filter, Qt.Key.Key_Return)
    assert len(panel.table.neurons) == 40
    assert "No column 'size'" in panel.problem.text()
    assert panel.problem.isVisible()
    assert not panel.paint.isEnabled()
    panel.filter.setText("id<3")
    QTest.keyClick(panel.filter, Qt.Key.Key_Return)
    assert panel.paint.isEnabled()


def test_clicked_rows_are_everyones_selection(panel, controller):
    click(panel, 4)
    assert controller.state.selection == (4,)
    click(panel, 2, CONTROL)
    assert controller.state.selection == (4, 2)
    click(panel, 7)
    assert controller.state.selection == (7,)


def test_everyones_selection_is_selected_in_the_table(panel, controller, drawn):
    controller.select([30, 1])
    drawn()
    assert panel.selected_neurons() == [1, 30]
    assert controller.state.selection == (30, 1)


def test_sorting_and_filtering_keep_the_selection(panel, controller, drawn):
    controller.select([30, 1])
    drawn()
    panel.view.sortByColumn(0, Qt.SortOrder.DescendingOrder)
    assert set(panel.selected_neurons()) == {1, 30}
    panel.filter.setText("id<10")
    panel.apply_filter()
    assert panel.selected_neurons() == [1]
    assert controller.state.selection == (30, 1)


def test_the_brush_paints_what_the_filter_keeps(panel, controller):
    panel.filter.setText("id>=35")
    panel.apply_filter()
    controller.set_brush(VISIBLE)
    QTest.mouseClick(panel.paint, LEFT)
    visible = np.flatnonzero(controller.state.mask.visible.all(axis=0))
    assert list(visible) == [35, 36, 37, 38, 39]
    assert controller.undo_name == "Paint 5 neurons visible"


def test_ten_thousand_rows_sort_quickly():
    values = np.random.default_rng(0).random(10_000)
    words = np.random.default_rng(0).choice(["V1", "LM", "AL"], 10_000)
    since = process_time()
    sorted_rows(values, descending=True)
    sorted_rows(words, descending=False)
    assert process_time() - since < 1.0
