import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QIcon
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog

from omnimouse_model.analysis.direction_tuning import RECORDED
from omnimouse_model.display import number_text
from omnimouse_model.masks import TARGET, VISIBLE
from omnimouse_model.masks.neuron_table import P_VALUES
from omnimouse_widgets.qt.form import SettingsDialog
from omnimouse_widgets.qt.panel import RecordPanel
from omnimouse_widgets.views.neurons import COLUMNS, LISTED, TUNED_TO, NeuronsView
from tests.small_sessions import write_session

LEFT = Qt.MouseButton.LeftButton
NO_KEYS = Qt.KeyboardModifier.NoModifier


@pytest.fixture
def panel(controller, show):
    return show(RecordPanel.of(NeuronsView.of(controller), controller), 400, 420)


def table_of(panel):
    return panel.tables["rows"].table


def cell(panel: RecordPanel, row: int, column: str) -> str:
    index = table_of(panel).index(row, COLUMNS.index(column))
    return str(table_of(panel).data(index, Qt.ItemDataRole.DisplayRole))


def test_rows_tell_state_and_score(panel, controller, redraw):
    controller.editor.set_active_span(30, 60)
    controller.editor.paint_cells([2], slice(0, 60), VISIBLE)
    controller.editor.paint_cells([5], slice(30, 60), TARGET)
    redraw()
    assert table_of(panel).rowCount() == 40
    assert table_of(panel).headerData(0, Qt.Orientation.Horizontal) == "unit"
    assert cell(panel, 2, "state") == "visible"
    assert cell(panel, 5, "state") == "target"
    assert cell(panel, 5, "score") == number_text(controller.results.scores[5])
    assert cell(panel, 2, "score") == "–"
    # Of the window alone: elsewhere on screen, the same mask has its score over the tier.
    last = COLUMNS.index("score")
    assert table_of(panel).headerData(last, Qt.Orientation.Horizontal) == "score here"
    controller.editor.apply_preset("video_behavior")
    controller.requests.finish_scores()
    redraw()
    assert table_of(panel).headerData(last, Qt.Orientation.Horizontal) == "score"


def test_a_click_on_a_row_selects_its_neuron(panel, controller):
    view = panel.tables["rows"].widget
    row = table_of(panel).index(int(table_of(panel).rows_of(np.array([20]))[0]), 0)
    view.scrollTo(row)
    place = view.visualRect(row).center()
    QTest.mouseClick(view.viewport(), LEFT, NO_KEYS, place)
    assert controller.state.selection == (20,)


def test_a_click_on_a_row_of_the_recording_before_changes_nothing(panel, controller, tmp_path):
    # The table is drawn again in a later turn of the event loop than the recording opens.
    row = int(table_of(panel).rows_of(np.array([20]))[0])
    controller.loader.open_now(write_session(tmp_path / "smaller", 12))
    before = controller.state.selection
    panel.tables["rows"].widget.selectRow(row)
    assert controller.state.selection == before


def test_the_filter_is_cleared_for_another_recording(panel, controller, redraw, tmp_path):
    type_filter(panel, "id<5", redraw)
    controller.loader.reopen()  # the same one
    assert panel.widgets["count"].full_text == "5 of 40 neurons"
    controller.loader.open_now(write_session(tmp_path / "smaller", 12))
    redraw()
    assert panel.widgets["count"].full_text == "12 of 12 neurons"
    assert panel.widgets["filter"].controls["text"].value == ""


def test_another_filter_shows_its_first_row_or_the_selected_neuron(panel, controller, redraw):
    view = panel.tables["rows"].widget
    view.scrollToBottom()
    type_filter(panel, "id>10", redraw)
    assert view.rowAt(0) == 0
    controller.selection.select([38])
    type_filter(panel, "id>5", redraw)
    [row] = table_of(panel).rows_of(np.array([38]))
    assert view.viewport().rect().contains(view.visualRect(table_of(panel).index(int(row), 0)))


def test_a_title_sorts_and_unknown_values_stay_last(panel, controller, redraw):
    controller.editor.paint_cells([8, 4, 6], slice(30, 60), TARGET)
    redraw()
    view = panel.tables["rows"].widget
    titles = view.horizontalHeader()
    column = COLUMNS.index("score")
    middle = titles.sectionViewportPosition(column) + titles.sectionSize(column) // 2
    for sign in (1, -1):
        view.scrollToBottom()
        assert view.verticalScrollBar().value() > 0
        QTest.mouseClick(titles.viewport(), LEFT, NO_KEYS, QPoint(middle, 8))
        redraw()
        assert view.verticalScrollBar().value() == 0
        scores = sign * controller.results.scores[table_of(panel).order]
        assert np.isfinite(scores[:3]).all()
        assert (np.diff(scores[np.isfinite(scores)]) >= 0).all()


def test_the_colour_of_a_state_is_the_same_in_a_selected_row(panel, redraw):
    redraw()
    model = table_of(panel)
    column = [one.name for one in model.item.columns].index(model.item.signed)
    icon = model.data(model.index(0, column), Qt.ItemDataRole.DecorationRole)
    plain, selected = (
        icon.pixmap(10, mode).toImage().pixelColor(5, 5).name()
        for mode in (QIcon.Mode.Normal, QIcon.Mode.Selected)
    )
    assert plain == selected


def type_filter(panel, words, redraw):
    panel.widgets["filter"].controls["text"].native.setText(words)
    redraw()


def test_a_column_that_is_not_computed_says_how_it_is(panel, redraw):
    type_filter(panel, "recorded_p_orientation<0.01", redraw)
    assert "Compute all" in panel.widgets["filter"].reasons["text"].text()


def test_a_filter_by_what_is_being_computed_says_so(panel, controller, redraw, monkeypatch):
    type_filter(panel, "tuned", redraw)
    reason = panel.widgets["filter"].reasons["text"]
    assert "Compute all" in reason.text()
    monkeypatch.setattr(type(controller.colouring), "n_so_far", 3)
    controller.colouring.changed.emit()
    redraw()
    assert reason.text() == "◌ 'tuned' is being computed; the filter waits"  # no problem
    assert reason._tone == "quiet"
    monkeypatch.undo()
    controller.colouring.changed.emit()
    redraw()
    assert "Compute all" in reason.text()


def test_the_count_says_of_how_many_neurons_the_tuning_is_known(
    panel, controller, redraw, monkeypatch
):
    computed = {name: np.full(40, np.nan) for name in RECORDED}
    for name in P_VALUES:
        computed[name][:4] = 0.01, 0.01, 0.2, 0.3
    monkeypatch.setattr(type(controller.colouring), "measured_columns", lambda _: computed)
    controller.colouring.changed.emit()
    count = panel.widgets["count"]
    for words in ("tuned", "!tuned"):
        type_filter(panel, words, redraw)
        assert count.full_text == f"2 of 40 · tuning known of 4 · {TUNED_TO}"
        assert "Compute all" in count.toolTip()
    type_filter(panel, "tuned depth<-1", redraw)
    none = f"0 of 40 · tuning known of 4 · {TUNED_TO}: point here for all columns"
    assert count.full_text == none
    type_filter(panel, "depth>0", redraw)
    assert "tuning" not in count.full_text


def test_a_filter_that_no_neuron_passes_shows_the_columns(panel, redraw):
    type_filter(panel, "nowhere", redraw)
    count = panel.widgets["count"]
    assert count.full_text == "0 of 40 neurons: point here for all columns"
    for name in ("depth", "state", "recorded_p_orientation<0.01"):
        assert name in count.toolTip()


def test_properties_of_unit_tables_are_columns(controller, show, redraw, tmp_path):
    path = tmp_path / "units.csv"
    ids = controller.state.session.units.unit_id
    rows = [f"{unit},{0.125 * k},L{k % 5}" for k, unit in enumerate(ids)]
    path.write_text("\n".join(["unit_id,osi,layer", *rows]))
    panel = show(RecordPanel.of(NeuronsView.of(controller), controller), 500, 420)
    assert table_of(panel).columnCount() == len(COLUMNS)
    controller.loader.reopen(unit_tables=str(path))
    redraw()
    assert table_of(panel).columnCount() == len(COLUMNS) + 2
    added = table_of(panel).item.columns[len(COLUMNS) :]
    assert [(one.name, one.is_text) for one in added] == [("osi", False), ("layer", True)]
    assert all(one.tip for one in added)
    index = table_of(panel).index(3, len(COLUMNS))
    assert table_of(panel).data(index, Qt.ItemDataRole.DisplayRole) == "0.375"
    type_filter(panel, "osi>1 L2", redraw)
    assert table_of(panel).order[:2].tolist() == [12, 17]
    # Beside the unit, also where the table is narrow.
    shown = [one.name for one in table_of(panel).item.columns]
    assert shown == ["id", "osi", *COLUMNS[1:], "layer"]
    assert table_of(panel).data(table_of(panel).index(0, 1), Qt.ItemDataRole.DisplayRole) == "1.5"
    # Qt may read cells of a record after a change of the columns.
    shown = table_of(panel).item
    controller.loader.reopen(unit_tables=None)
    assert {len(texts) for texts, _ in shown.read(0, 6)} == {len(shown.columns)}


def test_an_export_asks_for_its_settings_first(panel, controller, redraw, monkeypatch, tmp_path):
    path = tmp_path / "listed.csv"
    asked = (str(path), "")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: asked)
    type_filter(panel, "id>=35", redraw)
    panel.press("export")
    (dialog,) = panel.findChildren(SettingsDialog)
    assert not path.exists()
    dialog.settings.form.set("rows", LISTED)
    dialog.button.click()
    lines = [line for line in path.read_text("utf-8").splitlines() if not line.startswith("#")]
    assert [line.split(",")[0] for line in lines[1:]] == ["35", "36", "37", "38", "39"]


@pytest.mark.parametrize("width", [260, 400, 900])
def test_the_state_of_a_neuron_is_not_cut(panel, redraw, width):
    panel.resize(width, 420)
    redraw()
    view, titles = panel.tables["rows"].widget, panel.tables["rows"]._titles
    state = titles.sectionSize(COLUMNS.index("state"))
    assert state > view.fontMetrics().horizontalAdvance("hidden → target") + 16
    # Without a gap at the right of a wide table.
    assert titles.length() >= view.viewport().width()
