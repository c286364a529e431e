"""The notebook's laboratory: what the page starts and is told, and what code reads."""

import io

import numpy as np
import pyarrow.parquet
import pytest

from omnimouse_model.live import laboratory_jobs
from omnimouse_widgets.jupyter.laboratory import Laboratory
from tests.model.lab.energy_neurons import energy_controller
from tests.predictors import open_controller
from tests.toy_predictors import FramePredictor

LONG_S = 120.0


@pytest.fixture
def controller(session, tmp_path):
    with energy_controller(session, tmp_path) as made:
        yield made


@pytest.fixture
def part(controller):
    return Laboratory(controller, repeats=1)


def test_the_page_runs_an_experiment_and_draws_the_selected_neuron(part, controller, page):
    opened = page(part, "view", "plot")
    message, _ = opened.wait_for("view")
    assert "16 predictions" in message["cost"]
    assert not message["has_result"]
    opened.say("start")
    opened.wait_for("view", lambda message, _: message["has_columns"])
    curves = part.result.findings.curves
    for neuron in (7, 3):
        controller.select([neuron])

        def is_drawn(_, buffers, wanted=curves[neuron]):
            if len(buffers) != 2:
                return False
            return np.allclose(np.frombuffer(buffers[1], np.float32), wanted)

        message, buffers = opened.wait_for("plot", is_drawn)
        assert message["kind"] == "around"
        assert np.frombuffer(buffers[0], np.float32)[1] == 22.5
    assert part.progress == 1.0
    assert "40 neurons" in part.found
    opened.say("colour")
    assert controller.state.colour_by == "lab"


@pytest.mark.parametrize(("name", "kind"), [("size", "curve"), ("fields", "image")])
def test_levels_and_fields_are_sent(part, controller, page, name, kind):
    part.experiment, part.repeats = name, 1
    part.start().wait(LONG_S)
    opened = page(part, "plot")
    message, buffers = opened.wait_for("plot", lambda message, _: "kind" in message)
    assert message["kind"] == kind
    if kind == "image":
        assert len(buffers[0]) == 36 * 64 * 3
        columns = part.result.findings.columns
        expected = [columns["column_px"][7], columns["row_px"][7]]
        np.testing.assert_allclose(message["place"], expected)


def test_tables_are_downloaded_and_faults_are_told(part, controller, page):
    opened = page(part, "view")
    opened.say("export")
    assert "Run it first" in part.problem
    part.start().wait(LONG_S)
    opened.say("export")
    _, (table,) = opened.wait_for("file")
    assert bytes(table).count(b"\n") == 41
    opened.forget()
    opened.say("export", format="parquet")
    message, (table,) = opened.wait_for("file")
    assert message["name"] == "directions.parquet"
    read = pyarrow.parquet.read_table(io.BytesIO(table))
    values = part.result.findings.columns["osi"]
    np.testing.assert_array_equal(read["osi"].to_numpy(), values)
    opened.say("export", format="xls")
    assert "'xls'" in part.problem
    opened.say("python")
    assert "by name" in part.problem
    part.experiment = "exciting"
    assert Laboratory(controller).experiment == "exciting"
    with pytest.raises(ValueError, match="gradient"):
        part.start().wait(LONG_S)


@pytest.mark.slow
def test_a_found_image_is_shown_in_place_of_the_video(session, page, monkeypatch):
    monkeypatch.setattr(laboratory_jobs, "STEPS", 2)
    with open_controller(session, FramePredictor()) as controller:
        controller.select([3])
        part = Laboratory(controller, experiment="exciting")
        opened = page(part, "view")
        assert opened.wait_for("view")[0]["is_search"]
        part.start().wait(LONG_S)
        opened.wait_for("view", lambda message, _: message["has_result"])
        opened.say("what_if")
        opened.wait_for("view", lambda message, _: message["is_shown"])
        shown = controller.stimulus_edits.window.frames_u8
        np.testing.assert_array_equal(shown, part.result.videos[0])
        opened.say("what_if")
        opened.wait_for("view", lambda message, _: not message["is_shown"])
        assert controller.stimulus_edits.edits == ()
        opened.say("export", format="csv")
        opened.wait_for("file", lambda message, _: message["name"] == "exciting.png")


def test_an_experiment_is_chosen_here_or_elsewhere(controller):
    part = Laboratory(controller, experiment="fields", repeats=3)
    laboratory = controller.laboratory
    assert (laboratory.chosen, laboratory.repeats) == ("fields", 3)
    laboratory.choose("contrast")
    assert (part.experiment, part.repeats) == ("contrast", 2)
    part.repeats = 1
    part.start().wait(LONG_S)
    assert part.result.experiment.name == "contrast"
