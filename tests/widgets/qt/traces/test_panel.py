import numpy as np
import pytest

from omnimouse_model.masks import TARGET
from omnimouse_widgets.qt.panel import RecordPanel
from omnimouse_widgets.views.behavior import BehaviorView
from omnimouse_widgets.views.traces import TracesView
from tests.widgets.pointer import canvas_position, drag


@pytest.fixture
def panel(controller, show):
    controller.selection.select([7, 3, 21])
    return show(RecordPanel.of(TracesView.of(controller), controller), 420, 420)


def test_rows_are_the_selection_with_truth_and_prediction(panel, controller, redraw):
    controller.editor.paint_cells(slice(None), slice(30, 60), TARGET)
    controller.navigation.seek(8.0)
    redraw()
    window, selected = controller.state.window, controller.results.selected
    assert list(selected.neurons) == [7, 3, 21]
    for row, neuron in enumerate((7, 3, 21)):
        truth, predicted, _ = panel.stacks["traces"].drawn_values(row)
        np.testing.assert_allclose(truth, window.responses[:, neuron], atol=1e-4)
        np.testing.assert_allclose(predicted, selected.responses[:, row], atol=1e-4)
    score = controller.results.scores[7]
    assert panel.stacks["traces"].labels[0] == f"unit 7 · scoring… (here {score:.2f})"
    times = window.timestamps["responses"]
    np.testing.assert_allclose(panel.stacks["traces"].truth.getData()[0][:60], times)
    assert np.ptp(panel.stacks["traces"].box.viewRange()[0]) == pytest.approx(2.0, abs=0.01)


def test_rows_that_are_drawn_already_are_not_drawn_again(panel, controller, redraw, monkeypatch):
    stack, drawn = panel.stacks["traces"], []
    controller.editor.apply_preset("video_behavior")
    redraw()
    monkeypatch.setattr(stack, "_draw", lambda draw=stack._draw: drawn.append(draw()))
    controller.results.changed.emit()
    redraw()
    assert not drawn
    for change in (
        lambda: controller.selection.select([7, 3]),
        lambda: controller.navigation.seek(8.0),
        lambda: controller.editor.paint([3]),
    ):
        drawn.clear()
        change()
        redraw()
        assert drawn


def test_the_cursor_is_shared_both_ways(panel, controller, redraw):
    times, stack = controller.state.window.timestamps["responses"], panel.stacks["traces"]
    controller.navigation.set_cursor(42)
    redraw()
    assert stack.cursor.value() == pytest.approx(float(times[42]))
    for samples in ((42, 35, 30, 25, 20), (51,)):
        path = [canvas_position(stack.canvas, stack.box, times[k], 1.5) for k in samples]
        drag(stack.canvas.viewport(), path)
        redraw()
        assert controller.state.cursor == samples[-1]


def test_a_baseline_is_drawn_with_its_score_and_name(panel, controller, redraw):
    def is_drawn() -> bool:
        known = np.isfinite(panel.stacks["traces"].baseline.getData()[1]).any()
        assert ("┅" in panel.widgets["legend"].text()) == known
        return bool(known)

    controller.editor.apply_preset("random_half_video_behavior")
    asked = np.flatnonzero((controller.state.mask.cells == TARGET).any(axis=0))[:2]
    controller.selection.select(asked)
    redraw()
    assert not is_drawn()
    controller.model.choose_baseline("mean")
    redraw()
    found = controller.baseline.population
    for row, neuron in enumerate(asked):
        expected = found.responses[:, list(found.neurons).index(neuron)]
        on_screen = panel.stacks["traces"].drawn_values(row)[2]
        np.testing.assert_allclose(on_screen, expected, atol=1e-4)
    assert is_drawn()
    assert "mean" in panel.widgets["legend"].text()
    controller.model.choose_baseline("")
    redraw()
    assert not is_drawn()


@pytest.fixture
def behavior(controller, show):
    return show(RecordPanel.of(BehaviorView.of(controller), controller), 420, 420)


def test_channels_are_named_and_drawn_against_the_decode(behavior, controller, redraw):
    assert behavior.stacks["traces"].labels[0] == "pupil size"  # not asked
    unasked = behavior.widgets["status"].text()
    controller.editor.set_behavior("target")
    redraw()
    names = ["pupil size", "change of pupil size", "pupil x", "pupil y", "running"]
    assert behavior.stacks["traces"].labels == [f"{name} · r = 1.00 here" for name in names]
    truth, decoded, _ = behavior.stacks["traces"].drawn_values(4)
    window = controller.state.window
    np.testing.assert_allclose(truth, window.behavior[:, 4], atol=1e-4)
    np.testing.assert_allclose(decoded, controller.results.behavior[:, 4], atol=1e-4)
    assert "echo" in behavior.widgets["status"].text()
    controller.editor.set_behavior("visible")
    redraw()
    assert np.isnan(behavior.stacks["traces"].drawn_values(0)[1]).all()
    assert behavior.widgets["status"].text() != unasked
