import numpy as np
import pytest

from omnimouse_widgets.jupyter.behavior import BehaviorDecoder


@pytest.fixture
def part(controller):
    return BehaviorDecoder(controller)


def test_recorded_and_decoded_channels_are_drawn(part, controller, page):
    controller.editor.set_behavior("target")
    fields, buffers = page(part, "rows").wait_for("rows")
    names = ["pupil size", "pupil d-size", "pupil x", "pupil y", "running"]
    assert [row["label"] for row in fields["rows"]] == [f"{name} · r = 1.00 here" for name in names]
    numbers = np.frombuffer(buffers[0], np.float32)[sum(fields["lengths"]) :]
    truth, decoded = numbers.reshape(5, 2, 40)[4]
    window = controller.state.window
    np.testing.assert_allclose(truth, window.behavior[:, 4], rtol=1e-6)
    np.testing.assert_allclose(decoded, controller.results.behavior[:, 4], rtol=1e-6)
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
    page(part).say("move", time_s=6.01)
    assert part.cursor == 59
    assert controller.state.window.start_s == pytest.approx(4.0, abs=0.05)
