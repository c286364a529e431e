"""Trials panel: a click goes to a trial, the menu compares another condition."""

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

import omnimouse_model as om
from omnimouse_model.simulate.spiking import SpikingSpec, spiking_arrays
from omnimouse_widgets.qt.neurons.trials_panel import TrialsPanel
from tests.predictors import open_controller
from tests.toy_predictors import TOYS
from tests.widgets.pointer import pick

pytestmark = pytest.mark.slow


@pytest.fixture
def controller():
    arrays = dict(spiking_arrays(SpikingSpec(n_trials=40)))
    # The panel opens with the choice, although it is not the first column.
    arrays["trial_side"] = np.where(np.arange(40) < 20, "left", "right")
    arrays["trial_choice"] = np.where(np.arange(40) % 3, "right", "left")
    session = om.open_session(arrays)
    with open_controller(session, TOYS["toy-counts"]()) as made:
        made.apply_preset("co_smoothing")
        made.select([3])
        yield made


def test_trials_and_conditions_are_chosen(controller, show, redraw):
    panel = show(TrialsPanel(controller), 700, 260)
    redraw()
    controller.requests.finish_scores()
    redraw()
    assert panel.plot.shown.text.endswith("predicted for all")
    assert panel.plot.shown.lines[0].label.startswith("left · ")
    assert "left" in panel.legend.text()
    assert "predicted" in panel.legend.text()
    assert panel.condition.currentText() == "choice"
    index = panel.model.index(2, 0)
    panel.table.scrollTo(index)
    place = panel.table.visualRect(index).center()
    QTest.mouseClick(panel.table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    redraw()
    assert controller.navigation.trial == 2
    assert "choice right" in panel.trial.full_text
    panel.condition.showPopup()
    QTest.keyClick(panel.condition.view(), Qt.Key.Key_Down)
    QTest.keyClick(panel.condition.view(), Qt.Key.Key_Return)
    redraw()
    assert controller.trial_averages.condition == "stim_id"
    assert panel.tier.currentText() == "test"
    pick(panel.tier, "validation")
    controller.requests.finish_scores()
    redraw()
    assert "4 validation trials" in panel.plot.shown.text
    controller.apply_preset("causal")
    controller.requests.finish_scores()
    redraw()
    is_known = np.isfinite(panel.plot.shown.lines[0].predicted)
    first_s = panel.plot.shown.time_s[is_known][0]
    assert first_s > 0.5
    assert f"target from {first_s:.2g} to" in panel.plot.shown.text
    controller.apply_preset("nothing")
    controller.requests.finish_scores()
    redraw()
    assert panel.plot.shown.text.endswith("no target")
    assert np.isfinite(panel.plot.shown.lines[0].recorded).all()
