"""What answers an older question says so, in every view that draws it."""

from typing import Any

import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from omnimouse_model.live.controller import Controller
from omnimouse_model.masks import HIDDEN
from omnimouse_widgets.qt.control import ControlPanel
from omnimouse_widgets.qt.hop import qt_post
from omnimouse_widgets.qt.neurons import NeuronsPanel
from omnimouse_widgets.qt.raster import RasterPanel
from omnimouse_widgets.qt.traces import TracesPanel
from tests.predictors import GatedPopulationPredictor


class Held:
    """A controller whose population is held back while its selection is answered."""

    def __init__(self, session: Any, qtbot: Any) -> None:
        self.qtbot = qtbot
        self.predictor = GatedPopulationPredictor()
        self.predictor.gate.release(2)  # both stages of the first question
        self.controller = Controller(post=qt_post())
        self.controller.choose_predictor(self.predictor)
        self.controller.open_session(session)
        self.wait_for("fresh")

    def ask(self) -> None:
        """Ask again: the selected neurons become fresh, scores and the rest do not."""
        self.controller.paint_cells([0], slice(30, 35), HIDDEN)
        self.predictor.gate.release()
        self.wait_for("stale")

    def answer(self) -> None:
        """Let the population come."""
        self.predictor.gate.release()
        self.wait_for("fresh")

    def wait_for(self, population: str) -> None:
        """Wait until the selected neurons are fresh and the population is that."""
        results = self.controller.results

        def is_there() -> bool:
            found = (results.freshness, results.population_freshness)
            return found == ("fresh", population)

        self.qtbot.waitUntil(is_there)


@pytest.fixture
def held(session, qtbot):
    made = Held(session, qtbot)
    yield made
    made.predictor.gate.release(50)
    made.controller.close()


def test_the_answer_line_tells_selected_from_population_and_can_be_stopped(
    held, show, qtbot
):
    panel = show(ControlPanel(held.controller), 400, 800)
    model = panel.model
    held.ask()
    line = "selected fresh, population older"
    qtbot.waitUntil(lambda: model.words.words == line)
    qtbot.waitUntil(model.cancel.isVisible)
    QTest.mouseClick(model.cancel, Qt.MouseButton.LeftButton)
    line = "selected fresh, population stopped"
    qtbot.waitUntil(lambda: model.words.words == line)
    assert not model.cancel.isVisible()
    assert model.again.isVisible()
    held.predictor.gate.release(3)
    QTest.mouseClick(model.again, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: model.words.words.startswith("fresh"))
    assert not model.again.isVisible()


def test_old_scores_are_marked_beside_the_traces(held, show, drawn):
    panel = show(TracesPanel(held.controller), 420, 420)
    held.ask()
    drawn()
    assert all(label.endswith("(older)") for label in panel.stack.labels)
    assert panel.stack.predicted.opacity() == 1.0
    held.answer()
    drawn()
    assert not any("older" in label for label in panel.stack.labels)


def test_old_scores_are_faint_in_the_table_and_marked_in_its_title(held, show, drawn):
    panel = show(NeuronsPanel(held.controller), 420, 420)
    table = panel.table
    titles = []
    table.headerDataChanged.connect(lambda *_: titles.append(title()))
    score = table.columnCount() - 1

    def title() -> Any:
        return table.headerData(
            score, Qt.Orientation.Horizontal, Qt.ItemDataRole.DisplayRole
        )

    def colour() -> Any:
        return table.data(table.index(1, score), Qt.ItemDataRole.ForegroundRole)

    assert (title(), colour()) == ("score", None)
    held.ask()
    drawn()
    assert titles[-1] == title() == "score ◐"
    assert colour() is not None
    held.answer()
    drawn()
    assert (titles[-1], colour()) == ("score", None)


def test_an_old_prediction_is_darker_in_the_raster_and_said_to_be_old(
    held, show, drawn
):
    panel = show(RasterPanel(held.controller), 800, 300)
    panel.set_view("beside")
    held.ask()
    drawn()
    is_faded = {shown: p.is_faded for shown, p in panel.pictures.items()}
    assert is_faded == {"truth": False, "prediction": True, "residual": True}
    assert "older" in panel.status.words
    old = panel.canvas.grab().toImage()
    held.answer()
    drawn()
    assert not any(p.is_faded for p in panel.pictures.values())
    assert "older" not in panel.status.words
    assert panel.canvas.grab().toImage() != old


def test_old_scores_are_faint_in_the_colour_bar(held, show, drawn):
    panel = show(ControlPanel(held.controller), 400, 900)
    bar = panel.view.legend.bar
    held.controller.set_colour_by("score")
    held.ask()
    drawn()
    assert bar.words.endswith("(older)")
    held.answer()
    drawn()
    assert bar.words.startswith("median")
    assert "older" not in bar.words
