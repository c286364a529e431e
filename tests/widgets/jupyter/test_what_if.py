"""What if in a page: settings, a drag of a slider, and the rows of both predictions."""

import numpy as np
import pytest

from omnimouse_model.analysis.stimulus_edits import Contrast, Mirror
from omnimouse_widgets.jupyter.results import WhatIf
from tests.model.live.mask.test_stimulus_edits import VideoPredictor
from tests.predictors import open_controller


@pytest.fixture
def controller(session):
    with open_controller(session, VideoPredictor()) as made:
        made.editor.apply_preset("video_behavior")
        made.selection.select([7, 39])
        yield made


@pytest.fixture
def part(controller):
    return WhatIf(controller)


def test_a_field_edits_the_video_and_both_predictions_are_drawn(part, controller, page):
    opened = page(part, "block1", "block3")
    mirror = 1  # the number of the choice
    opened.say("fill", name="settings", field="mirror", typed=mirror)
    assert controller.stimulus_edits.edits == (Mirror(),)
    assert part.edits == "mirrored"
    message, buffers = opened.wait_for(
        "block3", lambda message, _: message["items"][1].get("rows", ())
    )
    traces = message["items"][1]
    assert traces["curves"] == ["truth", "predicted"]
    expected = controller.results.what_if
    column = np.flatnonzero(expected.neurons == 39)[0]
    assert traces["rows"][1]["label"] == f"39 · Δ {expected.change[column]:.2f}"
    numbers = np.frombuffer(buffers[0], np.float32)[sum(traces["lengths"]) :]
    after = numbers.reshape(2, 2, -1)[1, 1]
    np.testing.assert_allclose(after, expected.after.responses[:, column], atol=1e-5)
    opened.say("press", name="reset")
    assert part.edits == "nothing"


def test_a_drag_of_a_slider_is_one_undo_step_also_if_its_page_goes(part, controller, page):
    opened, before = page(part, "block1"), controller.editor.undo_name
    field = {"name": "settings", "field": "contrast"}
    begin = {"stroke": "What if: contrast"}
    opened.say("fill", seq=1, **field, typed="80", begin=begin)
    opened.say("fill", seq=2, **field, typed="60")
    opened.say("fill", seq=3, **field, typed="40", end=True)
    assert controller.stimulus_edits.edits == (Contrast(0.4),)
    assert controller.editor.undo_name == "What if: contrast"
    controller.editor.undo()
    assert controller.stimulus_edits.edits == ()
    assert controller.editor.undo_name == before
    opened.say("fill", seq=4, **field, typed="80", begin=begin)
    opened.say("gone")
    opened.say("fill", seq=5, **field, typed="50")
    controller.editor.undo()
    assert controller.stimulus_edits.edits == (Contrast(0.8),)


def test_a_value_that_is_not_possible_stays_with_its_reason(part, controller, page):
    opened = page(part, "block1")
    opened.say("fill", name="settings", field="right", typed="900")

    def right(message):
        return next(each for each in message["items"][0]["form"] if each["name"] == "right")

    message, _ = opened.wait_for("block1", lambda message, _: right(message)["value"] == "900")
    field = right(message)
    assert "-64 to 64" in field["reason"]
    assert controller.stimulus_edits.edits == ()
