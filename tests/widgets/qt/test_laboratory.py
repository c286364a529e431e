"""Results of the laboratory on screen: its panel, the table of neurons, the neuron panel."""

import numpy as np
import pytest

from omnimouse_widgets.qt.panel import RecordPanel
from omnimouse_widgets.views.laboratory import LaboratoryView
from omnimouse_widgets.views.neuron import NeuronView
from omnimouse_widgets.views.neurons import NeuronsView
from omnimouse_widgets.views.record import Image, Message, Polar
from tests.model.lab.energy_neurons import EnergyNeurons, energy_controller
from tests.model.live.test_laboratory import AreaCodes, with_areas
from tests.predictors import open_controller
from tests.small_sessions import write_session
from tests.widgets.pointer import pick, press


@pytest.fixture
def controller(session, tmp_path):
    with energy_controller(session, tmp_path) as made:
        yield made


def panel_of(controller, show):
    return show(RecordPanel.of(LaboratoryView.of(controller), controller), 400, 560)


def run(panel, redraw):
    panel.widgets["repeats"].setValue(1)
    redraw()
    press(panel.widgets["run"])
    redraw()


def test_what_can_be_pressed_follows_the_experiment(controller, show, redraw):
    panel = panel_of(controller, show)
    widgets = panel.widgets
    assert not widgets["colour"].isEnabled()
    assert not widgets["export"].isEnabled()
    run(panel, redraw)
    assert isinstance(panel.plots["content"].shown, Polar)
    assert "preferred" in widgets["neuron"].text()
    press(widgets["colour"])
    assert controller.state.colour_by == "lab"
    pick(widgets["experiment"], "fields")
    redraw()
    run(panel, redraw)
    assert isinstance(panel.plots["content"].shown, Image)
    pick(widgets["experiment"], "exciting")
    redraw()
    assert not widgets["repeats"].isVisible()
    assert not widgets["colour"].isVisible()
    assert not widgets["run"].isEnabled()
    assert "gradient" in widgets["run"].toolTip()
    assert panel.minimumSizeHint().width() <= 400


def test_results_leave_with_their_recording(controller, tmp_path, show, redraw):
    panel = panel_of(controller, show)
    run(panel, redraw)
    assert panel.widgets["found"].text()
    controller.loader.open_now(write_session(tmp_path / "other", 12))
    redraw()
    assert isinstance(panel.plots["content"].shown, Message)
    assert panel.widgets["found"].text() == panel.widgets["neuron"].text() == ""
    assert not panel.widgets["export"].isEnabled()


def test_a_confusion_matrix_is_drawn(session, show, redraw):
    with open_controller(with_areas(session), AreaCodes()) as controller:
        panel = panel_of(controller, show)
        pick(panel.widgets["experiment"], "barcodes")
        redraw()
        assert panel.widgets["label"].currentData() == "area"
        press(panel.widgets["run"])
        redraw()
        matrix, found = panel.content("content"), controller.laboratory.decoding.found
        assert matrix.model().rowCount() == len(found.classes)
        assert matrix.model().item(0, 0).text() == "100 %"


def test_results_are_columns_of_the_table_of_neurons(session, show, redraw, tmp_path):
    with open_controller(session, EnergyNeurons(reads_places=True)) as controller:
        laboratory = controller.laboratory
        laboratory.folder = tmp_path
        panel = show(RecordPanel.of(NeuronsView.of(controller), controller), 500, 400)
        table = panel.tables["rows"].table
        n_columns = table.columnCount()
        laboratory.choose("fields")
        laboratory.set_repeats(1)
        laboratory.start()
        redraw()
        found = laboratory.result.findings.columns
        assert table.columnCount() == n_columns + len(found)
        panel.view.set_filter("fields_column_px>30")
        redraw()
        column = found["column_px"]
        assert 0 < table.rowCount() == (column > 30).sum() < 40


def test_the_neuron_panel_shows_the_result_of_its_neuron(controller, show, redraw):
    neuron = show(RecordPanel.of(NeuronView.of(controller), controller), 420, 900)
    redraw()
    assert "found_plot" not in neuron.plots
    run(panel_of(controller, show), redraw)
    neuron.view.show_part("laboratory")
    redraw()
    assert neuron.content("found_plot").isVisible()
    (preferred, *_), *_ = neuron.plots["found_plot"].shown.spokes
    expected = controller.laboratory.result.findings.columns["preferred_deg"][7]
    np.testing.assert_allclose(preferred, expected)
    assert f"preferred {preferred:.0f}°" in neuron.widgets["found"].text()
