"""The panel of the laboratory: real presses, and what is on screen."""

import csv

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage
from qtpy.QtTest import QTest

from omnimouse_model.live import laboratory_jobs
from omnimouse_widgets.qt.laboratory.panel import LaboratoryPanel
from omnimouse_widgets.qt.neurons.info_panel import NeuronInfoPanel
from omnimouse_widgets.qt.neurons.panel import NeuronsPanel
from omnimouse_widgets.qt.what_if.controls import WhatIfControls
from tests.model.lab.energy_neurons import EnergyNeurons, energy_controller
from tests.model.live.test_laboratory import AreaCodes, with_areas
from tests.predictors import open_controller
from tests.toy_predictors import FramePredictor
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
        assert panel.plot.image.image.shape == (36, 64, 3)
        assert panel.plot.centre.isVisible()
        assert not panel.plot.curve.isVisible()


def test_what_cannot_run_is_told_and_a_table_is_saved(panel, controller, redraw, tmp_path):
    pick(panel.experiment, "exciting")
    redraw()
    assert "gradient" in panel.cost.text()
    assert not panel.run.isEnabled()
    assert not panel.repeats.isVisible()
    pick(panel.experiment, "directions")
    redraw()
    panel.save(tmp_path / "nothing.csv")
    assert "Run it first" in panel.problem.text()
    run(panel, redraw)
    panel.save(tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 40
    for name in ("plot.png", "plot.svg"):
        panel.save(tmp_path / name)
        assert name in panel.cost.text()
    image = QImage(str(tmp_path / "plot.png"))
    assert image.width() == 2 * panel.plot.canvas.viewport().width()
    assert "preferred" in image.text("Description")
    assert "<path" in (tmp_path / "plot.svg").read_text()
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
        assert panel.table.columnCount() == n_columns + len(
            controller.laboratory.result.findings.columns
        )
        panel.filter.setText("fields_column_px>30")
        panel.apply_filter()
        column = controller.laboratory.result.findings.columns["column_px"]
        assert 0 < panel.table.rowCount() == (column > 30).sum() < 40


@pytest.mark.slow
def test_a_found_image_is_shown_and_becomes_a_what_if_edit(session, show, redraw, monkeypatch):
    monkeypatch.setattr(laboratory_jobs, "STEPS", 2)
    with open_controller(session, FramePredictor()) as controller:
        controller.select([3])
        panel = show(LaboratoryPanel(controller), 400, 560)
        requests = []
        panel.what_if_shown.connect(lambda: requests.append("what if"))
        pick(panel.experiment, "exciting")
        redraw()
        assert panel.what_if.isVisible()
        assert not panel.what_if.isEnabled()
        assert not panel.colour.isVisible()
        press(panel.run)
        redraw()
        found = controller.laboratory.exciting
        np.testing.assert_array_equal(panel.plot.image.image[..., 0], found.videos[0, 0])
        press(panel.what_if)
        assert requests == ["what if"]
        assert len(controller.state.edits) == 1
        controls = show(WhatIfControls(controller), 400, 400)
        redraw()
        assert controls.picture.currentData() == "picture"
        pick(controls.picture, "")
        redraw()
        assert controller.state.edits == ()
        pick(controls.picture, "picture")  # still offered
        assert len(controller.state.edits) == 1


def test_a_confusion_matrix_is_drawn(session, show, redraw):
    with open_controller(with_areas(session), AreaCodes()) as controller:
        panel = show(LaboratoryPanel(controller), 400, 560)
        pick(panel.experiment, "barcodes")
        redraw()
        assert panel.label.isVisible()
        assert panel.label.currentData() == "area"
        press(panel.run)
        redraw()
        found = controller.laboratory.decoding.found
        np.testing.assert_array_equal(panel.plot.image.image, found.confusion)
        assert "balanced accuracy 100 %" in panel.found.text()


def test_the_neuron_panel_shows_the_result_of_its_neuron(panel, controller, show, redraw):
    neuron = show(NeuronInfoPanel(controller), 420, 900)
    redraw()
    assert not neuron.lab.canvas.isVisible()
    run(panel, redraw)
    redraw()
    assert neuron.lab.canvas.isVisible()
    preferred = controller.laboratory.result.findings.columns["preferred_deg"][7]
    assert f"preferred {preferred:.0f}°" in neuron.lab_line.text()
