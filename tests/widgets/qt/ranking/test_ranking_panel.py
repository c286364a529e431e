"""The panel of a ranking: real presses, and what is on screen."""

import shlex

import pytest
from qtpy.QtCore import QPoint, QPointF
from qtpy.QtWidgets import QApplication

from omnimouse_model.demo import RANKING
from omnimouse_widgets.drawn.ranking import NO_FILE
from omnimouse_widgets.qt.ranking.panel import RankingPanel
from tests.widgets.pointer import pick, pixel, press


@pytest.fixture
def panel(controller, show):
    return show(RankingPanel(controller), 400, 470)


def cells(model):
    return [
        [model.item(row, column).text() for column in range(model.columnCount())]
        for row in range(model.rowCount())
    ]


def test_a_ranking_is_opened_and_looked_at(panel, controller, redraw):
    assert panel.note.text() == NO_FILE
    assert not panel.view.isVisible()
    press(panel.example)
    redraw()
    content = controller.ranking.content
    matrix = panel.matrix_model
    assert cells(matrix)[0] == ["0.348 (1)"]
    assert "spikes-5 for unseen-spikes: rank 1" in matrix.item(0, 0).toolTip()
    assert matrix.verticalHeaderItem(1).text() == "spikes"
    assert not panel.warning.isVisible()
    # The best score is yellow, the worst one purple.
    for row, is_best in ((0, True), (5, False)):
        box = panel.matrix.visualRect(matrix.index(row, 0))
        corner = QPointF(box.topLeft() + QPoint(4, 4))
        _, green, blue = pixel(panel.matrix.viewport(), corner)
        assert (green > blue) == is_best
    press(panel.view.button("table"))
    assert cells(panel.table_model)[0][:3] == ["1", "spikes-5", "0.348"]
    press(panel.view.button("gains"))
    assert cells(panel.table_model)[2][0] == "ranked"
    press(panel.view.button("curves"))
    assert panel.stack.currentWidget() is panel.curves.canvas
    ranked = panel.curves.marks[0].data
    assert list(ranked["y"]) == pytest.approx(
        [mean.mean for mean in content.stored.curve.means() if mean.order == "ranked"]
    )
    pick(panel.axis, "trials")
    assert "trials" in panel.curves.plot.getAxis("bottom").labelText
    assert panel.minimumSizeHint().width() <= 400


def test_a_wrong_file_is_told_and_the_command_is_copied(panel, controller, redraw, tmp_path):
    lines = RANKING.read_bytes().splitlines(keepends=True)
    (short := tmp_path / "short.ranking.jsonl").write_bytes(b"".join(lines[:4]))
    controller.ranking.open(short)
    redraw()
    assert "one seed" in panel.warning.text()
    (wrong := tmp_path / "wrong.ranking.jsonl").write_text("{}\n")
    controller.ranking.open(wrong)
    redraw()
    assert "not the results file of a ranking" in panel.problem.text()
    assert not panel.stack.isVisible()
    press(panel.command)
    words = shlex.split(QApplication.clipboard().text())
    assert words[:2] == ["omnimouse", "rank"]
    assert str(controller.state.session.path) in words
    press(panel.refresh)
    redraw()
    assert panel.problem.isVisible()
