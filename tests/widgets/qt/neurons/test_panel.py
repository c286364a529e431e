import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from omnimouse_model.masks import TARGET, VISIBLE
from omnimouse_widgets.qt.neurons.panel import NeuronsPanel
from omnimouse_widgets.views.neurons import COLUMNS
from tests.widgets.pointer import press

LEFT = Qt.MouseButton.LeftButton
NO_KEYS = Qt.KeyboardModifier.NoModifier


@pytest.fixture
def panel(controller, show):
    return show(NeuronsPanel(controller), 400, 420)


def cell(panel: NeuronsPanel, row: int, column: str) -> str:
    index = panel.table.index(row, COLUMNS.index(column))
    return str(panel.table.data(index, Qt.ItemDataRole.DisplayRole))


def test_rows_tell_state_and_score(panel, controller, redraw):
    controller.editor.set_active_span(30, 60)
    controller.editor.paint_cells([2], slice(0, 60), VISIBLE)
    controller.editor.paint_cells([5], slice(30, 60), TARGET)
    redraw()
    assert panel.table.rowCount() == 40
    assert cell(panel, 2, "state") == "visible"
    assert cell(panel, 5, "state") == "target"
    assert cell(panel, 5, "score") == f"{controller.results.scores[5]:.2f}"
    assert cell(panel, 2, "score") == "–"


def test_a_click_on_a_row_selects_its_neuron(panel, controller):
    row = panel.table.index(int(panel.table.rows_of(np.array([20]))[0]), 0)
    panel.view.scrollTo(row)
    place = panel.view.visualRect(row).center()
    QTest.mouseClick(panel.view.viewport(), LEFT, NO_KEYS, place)
    assert controller.state.selection == (20,)


def test_a_title_sorts_and_unknown_values_stay_last(panel, controller, redraw):
    controller.editor.paint_cells([8, 4, 6], slice(30, 60), TARGET)
    redraw()
    titles = panel.view.horizontalHeader()
    middle = titles.sectionViewportPosition(5) + titles.sectionSize(5) // 2
    for sign in (1, -1):
        panel.view.scrollToBottom()
        assert panel.view.verticalScrollBar().value() > 0
        QTest.mouseClick(titles.viewport(), LEFT, NO_KEYS, QPoint(middle, 8))
        assert panel.view.verticalScrollBar().value() == 0
        scores = sign * controller.results.scores[panel.table.neurons]
        assert np.isfinite(scores[:3]).all()
        assert (np.diff(scores[np.isfinite(scores)]) >= 0).all()


@pytest.mark.parametrize(("words", "n_rows"), [("size>3", 40), ("id<3", 3)])
def test_nonsense_is_refused_in_words_and_keeps_the_rows(panel, words, n_rows):
    panel.filter.setText(words)
    QTest.keyClick(panel.filter, Qt.Key.Key_Return)
    assert panel.problem.isVisible() == ("'size'" in panel.problem.text())
    assert panel.problem.isVisible() == (n_rows == 40)
    assert panel.paint.isEnabled() == (n_rows == 3)
    assert len(panel.table.neurons) == n_rows


def test_the_brush_paints_what_the_filter_keeps(panel, controller):
    panel.filter.setText("id>=35")
    panel.apply_filter()
    controller.editor.set_brush(VISIBLE)
    press(panel.paint)
    visible = np.flatnonzero(controller.state.mask.visible.all(axis=0))
    assert list(visible) == [35, 36, 37, 38, 39]
    assert controller.editor.undo_name == "Paint 5 neurons visible"


def test_properties_of_unit_tables_are_columns(controller, show, redraw, tmp_path):
    path = tmp_path / "units.csv"
    ids = controller.state.session.units.unit_id
    rows = [f"{unit},{0.125 * k},L{k % 5}" for k, unit in enumerate(ids)]
    path.write_text("\n".join(["unit_id,osi,layer", *rows]))
    panel = show(NeuronsPanel(controller), 500, 420)
    assert panel.table.columnCount() == len(COLUMNS)
    controller.loader.reopen(unit_tables=str(path))
    redraw()
    assert panel.table.columnCount() == len(COLUMNS) + 2
    index = panel.table.index(3, len(COLUMNS))
    assert panel.table.data(index, Qt.ItemDataRole.DisplayRole) == "0.375"
    panel.filter.setText("osi>1 L2")
    panel.apply_filter()
    assert panel.table.neurons[:2].tolist() == [12, 17]
