"""Trials widget: the list, the choice of a condition, and the averages it sends."""

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.simulate.spiking import SpikingSpec, spiking_arrays
from omnimouse_widgets.drawn.neurons.trials import average_plot
from omnimouse_widgets.jupyter.trials import Trials
from tests.predictors import open_controller
from tests.toy_predictors import TOYS


@pytest.fixture
def controller():
    arrays = dict(spiking_arrays(SpikingSpec(n_trials=40)))
    arrays["trial_choice"] = np.where(np.arange(40) % 3, "right", "left")
    session = om.open_session(arrays)
    with open_controller(session, TOYS["toy-counts"]()) as made:
        made.apply_preset("co_smoothing")
        made.select([3])
        yield made


def test_the_page_lists_trials_moves_and_chooses_a_condition(controller, page):
    part = Trials(controller)
    opened = page(part, "list", "trial", "averages")
    message, _ = opened.wait_for("list")
    assert message["titles"] == ("trial", "onset", "tier", "choice", "stim_id")
    assert message["rows"][2][:4] == ("3", "9.0 s", "train", "right")
    opened.say("go", trial=2)
    message, _ = opened.wait_for("trial", lambda message, _: message["number"] == 2)
    assert message["text"].startswith("trial 3 · choice right")
    controller.requests.finish_scores()
    for condition in ("choice", "stim_id"):
        part.condition = condition
        plot = average_plot(controller)

        def is_drawn(message, buffers, wanted=plot):
            if message["labels"] != [line.label for line in wanted.lines]:
                return False
            if not message["text"].endswith("predicted for all"):
                return False
            values = np.frombuffer(buffers[1], np.float32).reshape(4, -1)
            return np.allclose(values[0], wanted.lines[0].recorded, equal_nan=True)

        opened.wait_for("averages", is_drawn)
    assert part.tier == "test"
    part.tier = "validation"
    controller.requests.finish_scores()
    opened.wait_for("averages", lambda message, _: "validation trials" in message["text"])
    opened.say("gone")
    assert not controller.state.peri_event_shown


def test_averages_follow_the_focus(controller, page):
    controller.select([3, 8])
    opened = page(Trials(controller), "averages")
    controller.requests.finish_scores()
    names = controller.state.session.units.names
    for focus in (3, 8):
        controller.neuron_info.step(1)
        assert controller.neuron_info.focus == focus
        wanted = f"neuron {names[focus]} ·"
        opened.wait_for(
            "averages", lambda message, _, text=wanted: message["text"].startswith(text)
        )
    opened.say("gone")
