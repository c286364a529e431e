"""Repeats and trials in a page: what it is sent, what it presses, and its traits."""

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.simulate.spiking_laboratory import SpikingSpec, spiking_arrays
from omnimouse_widgets.jupyter.results import Neuron, Repeats, Trials
from omnimouse_widgets.views.repeats import NO_CLIPS
from tests.predictors import open_controller
from tests.small_sessions import simulate_mouse
from tests.toy_predictors import TOYS


@pytest.fixture
def controller():
    arrays = dict(spiking_arrays(SpikingSpec(n_trials=40)))
    arrays["trial_choice"] = np.where(np.arange(40) % 3, "right", "left")
    session = om.open_session(arrays)
    with open_controller(session, TOYS["toy-counts"]()) as made:
        made.editor.apply_preset("co_smoothing")
        made.selection.select([3])
        yield made


def item(message, name):
    return next(one for one in message["items"] if one["name"] == name)


def test_the_trait_says_which_part_of_the_neuron_is_shown(controller, page):
    part = Neuron(controller)
    assert part.part == ""
    page(part, "block1")
    controller.neuron_info.follow()
    assert part.part == "spikes"
    with pytest.raises(ValueError, match="repeats, model, laboratory, not 'fields'"):
        part.part = "fields"
    part.part = "tuning"
    assert part.part == "tuning"
    # No model has learned of this recording.
    part.part = "model"
    assert part.part == "spikes"


def test_the_page_presses_a_trial_and_code_chooses_a_condition(controller, page):
    part = Trials(controller)
    opened = page(part, "block1", "block2", "block3")
    assert part._constants["columns"] == [0, 0, 0, 1]
    message, _ = opened.wait_for("block2")
    table = item(message, "trials")
    assert table["titles"] == ["trial", "onset", "part", "choice", "stim_id"]
    assert "pick" not in table
    opened.say("pick", name="trials", place=[2])
    message, _ = opened.wait_for("block1", lambda one, _: item(one, "current")["row"] == 2)
    assert item(message, "trial")["text"].startswith("trial 3 · choice right")
    controller.requests.finish_scores()
    for condition in ("choice", "stim_id"):
        part.condition = condition
        wanted = controller.trial_averages.of(3)[0].recorded[:, 0]

        def is_drawn(message, buffers, wanted=wanted):
            names = [one["name"] for one in message["items"]]
            if "predicted" not in names:
                return False
            if "predicted for all" not in item(message, "predicted")["text"]:
                return False
            arrays = [np.frombuffer(buffer, np.float32) for buffer in buffers]
            return any(len(a) == len(wanted) and np.allclose(a, wanted) for a in arrays)

        opened.wait_for("block3", is_drawn)
    assert part.tier == "test"
    part.tier = "validation"
    with pytest.raises(ValueError, match="No trial of a tier"):
        part.tier = "other"
    assert part.tier == "validation"
    opened.say("gone")
    assert not controller.state.peri_event_shown


def test_a_recording_without_repeats_says_so(controller, page):
    part = Repeats(controller)
    opened = page(part, "block1")
    message, _ = opened.wait_for("block1")
    assert item(message, "repeats")["text"] == NO_CLIPS
    assert (part.clip, part.repeat) == (None, None)
    with pytest.raises(IndexError):
        part.clip = 0
    assert part.clip is None


@pytest.mark.slow
def test_code_goes_to_a_repeat(tmp_path, page):
    mouse = simulate_mouse(tmp_path / "mouse", 9, 1.6, times=3)
    with open_controller(mouse) as controller:
        part = Repeats(controller)
        part.clip = 0
        assert (controller.repeats.clip, controller.repeats.repeat) == (
            controller.repeats.clips[0],
            0,
        )
        part.repeat = 1
        assert controller.repeats.repeat == 1
        controller.repeats.step(-1)
        assert part.repeat == 0
        opened = page(part, "block1")
        message, _ = opened.wait_for(
            "block1", lambda one, _: item(one, "repeats")["kind"] == "curves"
        )
        assert item(message, "window")["kind"] == "overlay"
        part.close()
