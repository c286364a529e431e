import csv
import io

import numpy as np
import pytest

from omnimouse_widgets.jupyter.results import BehaviorDecoder


@pytest.fixture
def part(controller):
    return BehaviorDecoder(controller)


def traces_of(message, buffers):
    """Return the traces of a drawn block, with their two arrays."""
    (item,) = [item for item in message["items"] if item["kind"] == "traces"]
    return item, np.frombuffer(buffers[0], np.float32), np.frombuffer(buffers[1], np.uint8)


def test_recorded_and_decoded_channels_are_drawn(part, controller, page):
    controller.editor.set_behavior("target")
    item, numbers, shades = traces_of(*page(part, "block1").wait_for("block1"))
    names = ["pupil size", "change of pupil size", "pupil x", "pupil y", "running"]
    assert [row["label"] for row in item["rows"]] == [f"{name} · r = 1.00 here" for name in names]
    truth, decoded = numbers[sum(item["lengths"]) :].reshape(5, 2, 40)[4]
    window = controller.state.window
    np.testing.assert_allclose(truth, window.behavior[:, 4], rtol=1e-6)
    np.testing.assert_allclose(decoded, controller.results.behavior[:, 4], rtol=1e-6)
    assert len(shades) == 5 * 40
    assert "echo" in part.description


def test_mode_is_the_masks_both_ways(part, controller):
    assert part.mode == "hidden"
    part.mode = "visible"
    assert controller.state.mask.behavior == "visible"
    controller.editor.undo()
    assert part.mode == "hidden"
    part.set_state({"mode": "sometimes"})
    assert "sometimes" in part.problem
    assert part.mode == controller.state.mask.behavior == "hidden"


def test_a_press_moves_the_cursor_and_never_the_window(part, controller, page):
    controller.navigation.seek(4.0)
    controller.pins.choose_span("10 s")
    opened = page(part, "block2")
    opened.wait_for("block2")
    opened.say("pick", name="traces", place=[6.01])
    assert part.cursor == 59
    assert controller.state.window.start_s == pytest.approx(4.0, abs=0.05)
    # Between two samples nothing changes; the page still gets the place of the sample.
    opened.wait_for("block2")
    opened.forget()
    opened.say("pick", name="traces", place=[6.012])
    opened.wait_for("block2")
    opened.say("steps", samples=-2)
    assert part.cursor == 57


def test_the_curves_are_exported_as_numbers_and_as_a_picture(part, controller, page):
    controller.editor.set_behavior("target")
    opened = page(part, "block0")
    opened.say("press", name="csv")
    message, buffers = opened.wait_for("file")
    assert message["name"] == "behaviour.csv"
    rows = list(csv.DictReader(io.StringIO(bytes(buffers[0]).decode())))
    decoded = [float(row["running_decoded"]) for row in rows]
    np.testing.assert_allclose(decoded, controller.results.behavior[:, 4], rtol=1e-5)
    opened.say("press", name="png")
    message, _ = opened.wait_for("picture")
    assert message["content"] == "traces"
    assert controller.state.session.id in message["description"]
