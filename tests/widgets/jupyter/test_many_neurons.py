"""More neurons than two bytes count: ids hold, and the field says what it lacks."""

import threading

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.live.controller import Controller
from omnimouse_model.masks import HIDDEN, TARGET, VISIBLE
from omnimouse_widgets.jupyter.painter import MaskPainter
from omnimouse_widgets.jupyter.raster import Raster
from omnimouse_widgets.jupyter.table import NeuronTable

N = 70_000


@pytest.fixture(scope="module")
def session():
    responses = np.random.default_rng(0).random((120, N), np.float32)
    return om.open_session({"responses": responses, "rate_hz": 30.0})


@pytest.fixture
def controller(empty_controller, session):
    empty_controller.open_session(session)
    empty_controller.select([])
    return empty_controller


def states(controller: Controller, neurons: list[int]) -> list[int]:
    return controller.state.mask.state_in((0, 60))[neurons].tolist()


def test_the_field_says_how_many_it_shows_and_neurons_are_painted_all_the_same(
    controller, page
):
    painter = MaskPainter(controller)
    opened = page(painter)
    told = threading.Event()
    painter.observe(lambda _: told.set(), "problem")
    opened.look()
    assert told.wait(60)
    assert "65,535" in painter.problem
    neurons = np.array([4, N - 1], np.uint32)
    stroke = {"code": HIDDEN, "begin": {"code": HIDDEN}, "end": True}
    opened.say("paint", neurons.tobytes(), **stroke)
    assert states(controller, [4, N - 1]) == [HIDDEN, HIDDEN]
    assert painter.counts["hidden"] >= 2


def test_the_last_rows_of_the_raster_and_the_table_are_the_last_neurons(
    controller, page
):
    raster, table = Raster(controller), NeuronTable(controller)
    drawn, listed = page(raster), page(table)
    drawn.look()
    listed.look()
    drawn.wait_for("raster")
    raster.paint([N - 1], code=TARGET)
    assert states(controller, [N - 1]) == [TARGET]
    listed.wait_for("table", lambda m, _: m["n"] == N)
    version = listed.of("table")[-1][0]["version"]
    listed.say("rows", start=N - 3, stop=N, version=version)
    rows, _ = listed.wait_for("rows")
    assert rows["neurons"] == [N - 3, N - 2, N - 1]
    listed.say("pick", picks=[{"row": N - 1, "neuron": N - 1, "mode": "one"}])
    assert controller.state.selection == (N - 1,)
    table.paint(VISIBLE)
    assert states(controller, [0, N - 1]) == [VISIBLE, VISIBLE]
