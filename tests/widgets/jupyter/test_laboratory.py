"""The notebook's laboratory: what the page presses, and what code sets and reads."""

import pytest

from omnimouse_widgets.jupyter.jobs import Laboratory
from tests.model.lab.energy_neurons import energy_controller
from tests.small_sessions import write_session

LONG_S = 120.0


@pytest.fixture
def controller(session, tmp_path):
    with energy_controller(session, tmp_path) as made:
        yield made


def test_the_page_runs_an_experiment_and_gets_its_table(controller, page, tmp_path):
    part = Laboratory(controller, repeats=1)
    opened = page(part, "block1")
    opened.say("press", name="csv")
    assert "Run it first" in part.problem
    opened.say("press", name="run")
    opened.wait_for("block1", lambda message, _: message["items"][0]["kind"] == "polar")
    assert part.progress == 1.0
    assert "40 neurons" in part.found
    opened.say("press", name="csv")
    message, (table,) = opened.wait_for("file")
    assert message["name"] == "directions.csv"
    assert bytes(table).count(b"\n") == 41
    opened.say("press", name="python")
    assert "by name" in part.problem
    controller.loader.open_now(write_session(tmp_path / "other", 12))
    opened.wait_for("block1", lambda message, _: message["items"][0]["kind"] == "message")
    assert part.found == ""


def test_an_experiment_is_chosen_here_or_elsewhere(controller):
    part = Laboratory(controller, experiment="fields", repeats=3)
    laboratory = controller.laboratory
    assert (laboratory.chosen, laboratory.repeats) == ("fields", 3)
    laboratory.choose("contrast")
    assert (part.experiment, part.repeats) == ("contrast", 2)
    part.repeats = 1
    part.start().wait(LONG_S)
    assert part.result.experiment.name == "contrast"
    part.experiment = "exciting"
    with pytest.raises(ValueError, match="gradient"):
        part.start().wait(LONG_S)
