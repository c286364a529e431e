from typing import Any

import numpy as np
import pytest

from omnimouse_model.masks import TARGET, VISIBLE
from omnimouse_widgets import palette
from omnimouse_widgets.jupyter.panel import rows_message
from omnimouse_widgets.jupyter.results import Traces
from omnimouse_widgets.views.rows.traces import Trace


class RowsMessage:
    """What a page reads out of a message of rows."""

    def __init__(self, message: tuple[dict[str, Any], list[bytes]]) -> None:
        self.fields, buffers = message
        self.rows = self.fields["rows"]
        self.labels = [row["label"] for row in self.rows]
        lengths, names = self.fields["lengths"], self.fields["curves"]
        numbers = np.frombuffer(buffers[0], np.float32) if buffers else np.empty(0)
        parts = np.split(numbers, np.cumsum(lengths)[:-1]) if lengths else []
        self.times, rest = parts, numbers[sum(lengths) :]
        if parts:
            self.times = [*parts[:-1], parts[-1][: lengths[-1]]]
        self.curves: list[dict[str, np.ndarray]] = []
        for row in self.rows:
            n = lengths[row["axis"]]
            of = {name: rest[k * n : (k + 1) * n] for k, name in enumerate(names)}
            self.curves.append(of)
            rest = rest[len(names) * n :]
        assert not len(rest)
        shades = np.frombuffer(buffers[1], np.uint8) if buffers else np.empty(0)
        self.shades = shades.reshape(len(self.rows), -1) if buffers else shades


def item_of(message: dict[str, Any], kind: str, name: str = "") -> dict[str, Any]:
    """Return the item of a kind in a drawn block."""
    (item,) = [i for i in message["items"] if i["kind"] == kind and (not name or i["name"] == name)]
    return item


def signs_of(message: dict[str, Any], name: str) -> list[list[str]]:
    return item_of(message, "legend", name)["signs"]


def rows_of(message: dict[str, Any], buffers: list[bytes]) -> RowsMessage:
    return RowsMessage((item_of(message, "traces"), buffers))


@pytest.fixture
def part(controller):
    controller.selection.select([7, 3, 21])
    return Traces(controller)


def test_rows_are_the_selection_with_truth_and_prediction(part, controller, page):
    controller.editor.paint_cells(slice(None), slice(30, 60), TARGET)
    controller.editor.paint_cells([3], slice(0, 30), VISIBLE)
    found = rows_of(*page(part, "block2").wait_for("block2"))
    window, selected = controller.state.window, controller.results.selected
    score = controller.results.scores[7]
    assert found.labels[0] == f"unit 7 · scoring… (here {score:.2f})"
    for row, neuron in enumerate((7, 3, 21)):
        truth = window.responses[:, neuron]
        np.testing.assert_allclose(found.curves[row]["truth"], truth, rtol=1e-6)
        predicted = selected.responses[:, row]
        np.testing.assert_allclose(found.curves[row]["predicted"], predicted, rtol=1e-6)
        mask = controller.state.mask.cells[:, neuron]
        np.testing.assert_array_equal(found.shades[row], mask)
    assert np.isnan(found.curves[0]["predicted"][:30]).all()
    times = found.times[0] + found.fields["start_s"]
    np.testing.assert_allclose(times, window.timestamps["responses"], atol=1e-4)


def test_selection_is_everyones_both_ways(part, controller):
    assert part.selection == (7, 3, 21)
    controller.selection.select([5])
    assert part.selection == (5,)
    part.selection = [9, 2]
    assert controller.state.selection == (9, 2)
    with pytest.raises(ValueError, match=r"0\.\.39"):
        part.selection = [40]
    assert part.selection == (9, 2)
    part.set_state({"selection": [99]})  # a page is told, not raised at
    assert "0..39" in part.problem
    assert part.selection == controller.state.selection == (9, 2)


def test_presses_and_keys_move_the_cursor(part, controller, page):
    controller.navigation.seek(4.0)
    seen = page(part, "block2")
    seen.wait_for("block2")
    times = controller.state.window.timestamps["responses"]
    seen.say("pick", seq=1, name="traces", place=[float(times[20]) + 0.004])
    assert controller.state.cursor == part.cursor == 20
    assert seen.of("ack") == [({"op": "ack", "seq": 1, "view": "page"}, [])]
    at = pytest.approx(float(times[20]))
    seen.wait_for("block4", lambda _, arrays: np.frombuffer(arrays[0], np.float32) == at)
    seen.say("steps", samples=-3)
    assert part.cursor == 17
    start_s = controller.state.window.start_s
    seen.say("step", n=1)
    assert part.cursor == 18
    seen.say("steps", windows=1)
    assert controller.state.window.start_s == pytest.approx(start_s + 2)
    part.cursor = 44
    assert controller.state.cursor == 44


def test_a_press_outside_the_window_takes_the_window_there(part, controller, page):
    controller.navigation.seek(4.0)
    seen = page(part, "block2")
    seen.wait_for("block2")
    seen.say("pick", name="traces", place=[9.0])  # the window is all that is shown
    assert controller.state.window.start_s == pytest.approx(4.0, abs=0.05)
    part.span = "10 s"
    seen.say("pick", name="traces", place=[7.5])
    assert controller.state.window.start_s == pytest.approx(6.5, abs=0.05)
    times = controller.state.window.timestamps["responses"]
    assert float(times[part.cursor]) == pytest.approx(7.5, abs=0.02)


def test_a_pinned_condition_is_overlaid(part, controller, page):
    controller.editor.paint_cells(slice(None), slice(30, 60), TARGET)
    seen = page(part, "block2")
    seen.say("press", name="pin")
    assert [pin.letter for pin in controller.state.pins] == ["A"]
    found = rows_of(
        *seen.wait_for("block2", lambda m, _: "0" in item_of(m, "traces").get("curves", ()))
    )
    letter, score, colour = found.rows[0]["marks"][0]
    assert (letter, colour) == ("A", palette.PINS[0])
    assert score == f"{controller.results.scores[7]:.2f}"
    np.testing.assert_array_equal(found.curves[0]["0"], found.curves[0]["predicted"])
    message, _ = seen.wait_for("block1", lambda m, _: signs_of(m, "pins"))
    assert signs_of(message, "pins")[0][2] == f"A {controller.state.pins[0].name}"
    seen.say("press", name="rename0")
    assert seen.wait_for("ask_text")[0]["value"] == controller.state.pins[0].name
    seen.say("take", text="half")
    seen.say("choose", name="pin0", value=False)
    assert controller.state.pins[0].name == "half"
    assert not controller.state.pins[0].is_shown
    seen.say("press", name="pin")  # it is pinned already: shown again, and told so
    message, _ = seen.wait_for("block1", lambda m, _: item_of(m, "text")["text"])
    assert "A half" in item_of(message, "text")["text"]
    controller.editor.apply_preset("nothing")
    seen.say("press", name="restore0")
    assert (controller.state.mask.cells[30:] == TARGET).all()
    seen.say("press", name="unpin0")
    assert controller.state.pins == ()


def test_a_baseline_is_drawn_beside_and_named(part, controller, page):
    controller.editor.paint_cells(slice(None), slice(30, 60), TARGET)
    controller.model.choose_baseline("mean")
    seen = page(part, "block2")
    found = rows_of(*seen.wait_for("block2"))
    other = controller.baseline.population
    column = list(other.neurons).index(7)
    np.testing.assert_allclose(found.curves[0]["baseline"], other.responses[:, column], rtol=1e-6)
    assert "┅" in found.labels[0]
    legend = signs_of(seen.wait_for("block1")[0], "legend")
    assert ("┅", "mean") in [(sign, text) for sign, _, text in legend]


def test_rows_of_different_axes_keep_their_own():
    shade = np.zeros(3, np.uint8)
    fast, slow = np.arange(4.0), np.arange(3.0) + 0.5
    rows = [
        Trace("a", "a", fast, fast, None, shade),
        Trace("b", "b", slow, slow, slow + 1, shade, band=np.stack([slow, slow + 2])),
    ]
    found = RowsMessage(rows_message(rows, "own"))
    assert [row["axis"] for row in found.rows] == [0, 1]
    np.testing.assert_allclose(found.times[1] + found.fields["start_s"], slow)
    assert np.isnan(found.curves[0]["predicted"]).all()
    np.testing.assert_allclose(found.curves[1]["predicted"], slow + 1)
    np.testing.assert_allclose(found.curves[1]["high"], slow + 2)
    assert np.isnan(found.curves[0]["low"]).all()
