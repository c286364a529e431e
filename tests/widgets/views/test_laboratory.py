"""The panel *Laboratory* without a toolkit: what it shows of each result, and its actions."""

import csv
from dataclasses import replace

import numpy as np
import pyarrow.parquet
import pytest

from omnimouse_model.errors import ExportError
from omnimouse_widgets import palette
from omnimouse_widgets.views.laboratory import NO_NEURON, NO_RESULT, NOT_RUN, LaboratoryView
from omnimouse_widgets.views.neuron import NeuronView
from omnimouse_widgets.views.neurons import NeuronsView
from omnimouse_widgets.views.record import (
    Curves,
    Image,
    Matrix,
    Message,
    Polar,
    Row,
    choose,
    press,
    record,
)
from tests.model.lab.energy_neurons import EnergyNeurons, energy_controller
from tests.model.live.test_laboratory import AreaCodes, with_areas
from tests.predictors import open_controller
from tests.small_sessions import write_session
from tests.widgets.views.test_neuron import follow


@pytest.fixture
def controller(session, tmp_path):
    with energy_controller(session, tmp_path) as made:
        yield made


@pytest.fixture
def view(controller):
    made = LaboratoryView.of(controller)
    choose(made, "repeats", 1)
    return made


def test_a_run_gives_the_tuning_of_the_selected_neuron(view, controller):
    assert record(view)["repeats"].unit == " repeat"
    items = record(view)
    assert "16 predictions" in items["cost"].text
    assert items["content"].text == NOT_RUN
    for name in ("colour", "csv", "png"):
        with pytest.raises(ValueError, match=NO_RESULT):
            press(view, name)
    said = []
    controller.laboratory.changed.connect(lambda: said.append(record(view)["cost"].text))
    press(view, "run")
    assert said[0].startswith("Loading, then about ")
    result = controller.laboratory.result
    for neuron in (7, 3):
        controller.selection.select([neuron])
        items, at = record(view), result.findings.columns["preferred_deg"][neuron]
        plot = items["content"]
        assert isinstance(plot, Polar)
        np.testing.assert_array_equal(plot.values, result.findings.curves[neuron])
        assert plot.degrees[1] == 22.5
        assert plot.spokes[0][0] == pytest.approx(float(at))
        assert f"preferred {at:.0f}°" in items["neuron"].text
        colours = [colour for _, colour, _ in items["signs"].signs]
        assert colours == [plot.colour, *(colour for _, colour, _ in plot.spokes)]
    assert "40 neurons" in items["found"].text
    press(view, "colour")
    assert controller.state.colour_by == "lab"
    controller.selection.select([])
    controller.neuron_info.focus = None
    assert record(view)["content"].text == NO_NEURON


def test_a_neuron_that_is_not_selective_for_direction_has_no_angle(view, controller):
    press(view, "run")
    result = controller.laboratory.result
    # Of neuron 7, shuffles are as selective.
    result.findings.columns["p_direction"][7] = 1.0
    press(view, "colour")
    controller.selection.select([7])
    items = record(view)
    assert " no preferred direction (p ≥ 0.05), OSI " in items["neuron"].text
    # The spoke of the true direction has another colour.
    assert palette.CURSOR not in [colour for _, colour, _ in items["content"].spokes]
    assert np.isnan(controller.colouring.scale.values[7])
    n_unselective = int(result.is_unselective.sum())
    assert controller.colouring.unknown_text == f"empty: {n_unselective} not selective"


def test_a_model_that_does_not_know_the_recording_says_so_before_the_run(view, controller):
    results = controller.results
    results.needs = replace(results.needs, sessions=frozenset({"another"}), n_neurons={})
    items = record(view)
    assert items["content"].text.startswith("The model does not know this recording")
    assert items["run"].refusal == items["content"].text
    assert not items["cost"].text.strip()


def test_what_a_model_cannot_do_is_refused_as_soon_as_it_is_known(view, controller):
    shown = []
    # A page draws a block again after the signals of that block alone.
    for block in view.blocks():
        for signal in block.signals:
            signal.connect(lambda *_, read=block.read: shown.append(read()), check_nargs=False)
    results = controller.results
    results.needs = replace(results.needs, sees_video=False)
    rows = [item for items in shown for item in items if isinstance(item, Row)]
    (python,) = [one for row in rows for one in row.items if one.name == "python"]
    assert python.refusal == "This model sees no video: choose one that does."
    with pytest.raises(ExportError, match="sees no video"):
        controller.laboratory.as_python()


@pytest.mark.parametrize("name", ["size", "fields"])
def test_levels_and_fields_are_plots(view, controller, name):
    choose(view, "experiment", name)
    choose(view, "repeats", 1)
    press(view, "run")
    findings, plot = controller.laboratory.result.findings, record(view)["content"]
    if name == "size":
        assert isinstance(plot, Curves)
        np.testing.assert_array_equal(plot.lines[0].y, findings.curves[7])
        assert [text for _, text in plot.ticks] == [f"{level:g}" for level in findings.levels]
    else:
        assert isinstance(plot, Image)
        assert plot.pixels.shape == (36, 64, 3)
        # The fitted places of this small recording lie far beyond the frame.
        assert np.isnan(findings.columns["column_px"][7])
        assert plot.place is None


def test_a_receptive_field_lies_over_the_frame_at_the_cursor(view, controller):
    choose(view, "experiment", "fields")
    choose(view, "repeats", 1)
    press(view, "run")
    first = record(view)["content"].pixels
    controller.navigation.set_cursor(controller.state.spec.n_samples - 1)
    assert not np.array_equal(record(view)["content"].pixels, first)


def test_what_cannot_run_is_told_and_tables_are_saved(view, controller, tmp_path):
    choose(view, "experiment", "exciting")
    items = record(view)
    assert "gradient" in items["content"].text
    assert items["run"].refusal == items["content"].text
    assert "repeats" not in items
    choose(view, "experiment", "directions")
    choose(view, "repeats", 1)
    press(view, "run")
    saved = press(view, "csv")
    (written,) = saved.write(tmp_path / saved.name)
    with written.open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 40
    saved = press(view, "parquet")
    (written,) = saved.write(tmp_path / saved.name)
    values = controller.laboratory.result.findings.columns["osi"]
    np.testing.assert_array_equal(pyarrow.parquet.read_table(written)["osi"].to_numpy(), values)
    picture = press(view, "svg")
    assert picture.name == "directions.svg"
    assert "preferred" in picture.description
    assert "40 neurons" in picture.description
    session, result = controller.state.session, controller.laboratory.result
    first, second = picture.description.split("\n")[:2]
    assert first.endswith(f", session: {session.id}")
    assert second == f"model: {result.predictor_id}"
    found = record(view)["found"]
    assert found.text.endswith(f". {result.predictor_id.partition('@')[0]}")
    assert found.tip == second
    with pytest.raises(ValueError, match="by name"):
        press(view, "python")


def test_the_labels_of_a_decoding_are_a_matrix(session):
    with open_controller(with_areas(session), AreaCodes()) as controller:
        view = LaboratoryView.of(controller)
        choose(view, "experiment", "barcodes")
        items = record(view)
        assert items["label"].value == "area"
        assert "repeats" not in items
        press(view, "run")
        matrix, found = record(view)["content"], controller.laboratory.decoding.found
        assert isinstance(matrix, Matrix)
        assert matrix.rows == matrix.columns == found.classes
        np.testing.assert_array_equal(matrix.values, found.confusion)
        assert "100 % of" in matrix.tips[0][0]
        assert "balanced accuracy 100 %" in record(view)["found"].text
        assert "each true area (row) per predicted one (column)" in record(view)["neuron"].text


def test_results_are_columns_of_the_table_of_neurons(session, tmp_path):
    with open_controller(session, EnergyNeurons(reads_places=True)) as controller:
        laboratory, table = controller.laboratory, NeuronsView.of(controller)
        laboratory.folder = tmp_path
        n_columns = len(record(table)["rows"].columns)
        laboratory.choose("fields")
        laboratory.set_repeats(1)
        laboratory.start()
        found = laboratory.result.findings.columns
        assert len(record(table)["rows"].columns) == n_columns + len(found)
        table.set_filter("fields_column_px>30")
        assert 0 < record(table)["rows"].n_rows == (found["column_px"] > 30).sum() < 40


def test_results_leave_with_their_recording(view, controller, tmp_path):
    press(view, "run")
    assert record(view)["found"].text
    controller.loader.open_now(write_session(tmp_path / "other", 12))
    items = record(view)
    assert isinstance(items["content"], Message)
    assert items["found"].text == items["neuron"].text == ""
    with pytest.raises(ValueError, match=NO_RESULT):
        press(view, "csv")


def test_the_panel_neuron_shows_the_result_of_its_neuron(view, controller):
    neuron = NeuronView.of(controller)
    follow(neuron, True)
    assert "found_plot" not in record(neuron)
    press(view, "run")
    neuron.show_part("laboratory")
    items = record(neuron)
    (preferred, *_), *_ = items["found_plot"].spokes
    expected = controller.laboratory.result.findings.columns["preferred_deg"][7]
    np.testing.assert_allclose(preferred, expected)
    assert f"preferred {preferred:.0f}°" in items["found"].text
