"""The panel of the laboratory: real presses, and what is on screen."""

import csv

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from omnimouse_widgets.qt.laboratory.panel import LaboratoryPanel
from omnimouse_widgets.qt.neurons.panel import NeuronsPanel
from tests.model.lab.energy_neurons import EnergyNeurons, energy_controller
from tests.predictors import open_controller
from tests.widgets.pointer import pick, press

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def controller(session, tmp_path):
    with energy_controller(session, tmp_path) as made:
        yield made


@pytest.fixture
def panel(controller, show):
    return show(LaboratoryPanel(controller), 400, 560)


def run(panel, redraw, repeats=1):
    panel.repeats.setValue(repeats)
    redraw()
    press(panel.run)
    redraw()


def test_a_run_draws_the_tuning_of_the_selected_neuron(panel, controller, redraw):
    assert "predictions" in panel.cost.text()
    assert not panel.colour.isEnabled()
    run(panel, redraw)
    result = controller.laboratory.result
    x, y = panel.plot.curve.getData()
    radii = np.hypot(x, y)[:-1]
    np.testing.assert_allclose(radii, result.findings.curves[7], rtol=1e-4, atol=1e-9)
    preferred = result.findings.columns["preferred_deg"][7]
    assert f"{preferred:.0f}°" in panel.neuron.text()
    assert "40 neurons" in panel.found.text()
    controller.select([3])
    redraw()
    other = np.hypot(*panel.plot.curve.getData())[:-1]
    np.testing.assert_allclose(other, result.findings.curves[3], rtol=1e-4, atol=1e-9)
    press(panel.colour)
    assert controller.state.colour_by == "lab"


@pytest.mark.parametrize("name", ["size", "fields"])
def test_levels_and_fields_are_drawn(panel, controller, redraw, name):
    pick(panel.experiment, name)
    redraw()
    run(panel, redraw)
    findings = controller.laboratory.result.findings
    if name == "size":
        _, y = panel.plot.curve.getData()
        np.testing.assert_allclose(y, findings.curves[7])
        assert panel.plot.plot.getAxis("bottom").isVisible()
    else:
        np.testing.assert_allclose(panel.plot.image.image, findings.average[7])
        assert panel.plot.centre.isVisible()
        assert not panel.plot.curve.isVisible()


def test_what_cannot_run_is_told_and_a_table_is_saved(
    panel, controller, redraw, tmp_path
):
    pick(panel.experiment, "exciting")
    redraw()
    assert "gradient" in panel.cost.text()
    assert not panel.run.isEnabled()
    assert not panel.repeats.isVisible()
    pick(panel.experiment, "directions")
    redraw()
    panel.save(tmp_path / "nothing.csv")
    assert "Run the experiment" in panel.problem.text()
    run(panel, redraw)
    panel.save(tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 40
    QTest.mouseClick(panel.python, LEFT)
    assert "by name" in panel.problem.text()


def test_results_are_columns_of_the_table_of_neurons(session, show, redraw, tmp_path):
    with open_controller(session, EnergyNeurons(reads_places=True)) as controller:
        controller.laboratory.folder = tmp_path
        panel = show(NeuronsPanel(controller), 500, 400)
        n_columns = panel.table.columnCount()
        controller.laboratory.choose("fields")
        controller.laboratory.set_repeats(1)
        controller.laboratory.start()
        redraw()
        assert panel.table.columnCount() == n_columns + 3
        panel.filter.setText("fields_column_px>30")
        panel.apply_filter()
        column = controller.laboratory.result.findings.columns["column_px"]
        assert 0 < panel.table.rowCount() == (column > 30).sum() < 40
