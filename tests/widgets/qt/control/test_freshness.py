"""Predictions for an older task are marked, in the model section and the raster."""

from typing import Any

import pytest

from omnimouse_model.live.controller import Controller
from omnimouse_model.masks import HIDDEN
from omnimouse_widgets.qt.raster.panel import RasterPanel
from omnimouse_widgets.qt.style.ui_thread import qt_post
from tests.predictors import GatedPopulationPredictor
from tests.widgets.pointer import wait


class OlderPopulation:
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

        wait(self.qtbot, is_there)


@pytest.fixture
def older_population(session, qtbot):
    made = OlderPopulation(session, qtbot)
    yield made
    made.predictor.gate.release(50)
    made.controller.close()


def test_an_old_prediction_is_darker_in_the_raster_and_the_status_changes(
    older_population, show, redraw
):
    panel = show(RasterPanel(older_population.controller), 800, 300)
    panel.set_view("beside")
    older_population.ask()
    redraw()
    faded = {shown for shown, picture in panel.pictures.items() if picture.is_faded}
    assert faded == {"prediction", "residual"}
    status = panel.status.full_text
    old = panel.canvas.grab().toImage()
    older_population.answer()
    redraw()
    assert not any(p.is_faded for p in panel.pictures.values())
    assert panel.status.full_text != status
    assert panel.canvas.grab().toImage() != old
