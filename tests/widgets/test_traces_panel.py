from dataclasses import replace

import numpy as np
import pytest

from omnimouse_model.masks import TARGET, VISIBLE
from omnimouse_widgets import palette
from omnimouse_widgets.drawn.trace import Trace
from omnimouse_widgets.drawn.trace_rows import trace_label
from omnimouse_widgets.qt.behavior import BehaviorPanel
from omnimouse_widgets.qt.trace_stack import FILL, TraceStack
from omnimouse_widgets.qt.traces import TracesPanel
from tests.predictors import RefusingPredictor
from tests.widgets.pointer import canvas_position, drag, pixel


@pytest.fixture
def panel(controller, show):
    controller.select([7, 3, 21])
    return show(TracesPanel(controller), 420, 420)


def test_rows_are_the_selection_with_truth_and_prediction(panel, controller, redraw):
    controller.paint_cells(slice(None), slice(30, 60), TARGET)
    controller.seek(8.0)
    redraw()
    window, selected = controller.state.window, controller.results.selected
    assert list(selected.neurons) == [7, 3, 21]
    for row, neuron in enumerate((7, 3, 21)):
        truth, predicted, _ = panel.stack.drawn_values(row)
        np.testing.assert_allclose(truth, window.responses[:, neuron], atol=1e-4)
        np.testing.assert_allclose(predicted, selected.responses[:, row], atol=1e-4)
    score = controller.results.scores[7]
    assert panel.stack.labels[0] == f"neuron 7 · r = {score:.2f}"
    times = window.timestamps["responses"]
    np.testing.assert_allclose(panel.stack.truth.getData()[0][:60], times)
    assert np.ptp(panel.stack.box.viewRange()[0]) == pytest.approx(2.0, abs=0.01)


def test_shapes_are_drawn_as_large_as_the_recording(panel, controller, redraw):
    controller.paint_cells(slice(None), slice(30, 60), TARGET)
    redraw()
    before = [panel.stack.drawn_values(row)[1] for row in range(3)]
    panel.bar.shape.click()
    redraw()
    for row, was in enumerate(before):
        truth, shown, _ = panel.stack.drawn_values(row)
        known = np.isfinite(was)
        assert (np.isfinite(shown) == known).all()
        truth, shown, was = truth[known], shown[known], was[known]
        assert shown.mean() == pytest.approx(truth.mean(), abs=1e-3)
        if was.std() > 1e-6:
            assert shown.std() == pytest.approx(truth.std(), rel=1e-3)
            assert np.corrcoef(was, shown)[0, 1] == pytest.approx(1)
    assert "≈" in panel.legend.text()
    assert controller.state.as_large
    controller.set_traces(common_scale=False, as_large=False)  # as after a restart
    redraw()
    for row, was in enumerate(before):
        np.testing.assert_allclose(panel.stack.drawn_values(row)[1], was, atol=1e-4)
    assert "≈" not in panel.legend.text()
    assert not panel.bar.shape.isChecked()


def test_visible_and_target_spans_are_shaded(panel, controller, redraw):
    controller.set_cursor(0)
    controller.select([7])
    redraw()
    times = controller.state.window.timestamps["responses"]

    def under(sample: int) -> np.ndarray:
        place = canvas_position(panel.stack.canvas, panel.stack.box, times[sample], 0.9)
        return pixel(panel.stack.canvas.viewport(), place).astype(int)

    plain = under(50)
    controller.paint_cells([7], slice(0, 40), VISIBLE)
    controller.paint_cells([7], slice(40, 60), TARGET)
    redraw()
    blue, orange = under(36) - plain, under(50) - plain
    assert blue[2] > blue[0]
    assert orange[0] > orange[2]


@pytest.mark.parametrize("is_stale", [False, True])
def test_a_stale_prediction_is_fainter(panel, is_stale):
    rows = [replace(trace, is_stale=is_stale) for trace in panel.traces()]
    panel.stack.set_rows(rows)
    assert (panel.stack.predicted.opacity() < 1.0) == is_stale


def test_the_cursor_is_shared_both_ways(panel, controller, redraw):
    times, stack = controller.state.window.timestamps["responses"], panel.stack
    controller.set_cursor(42)
    redraw()
    assert stack.cursor.value() == pytest.approx(float(times[42]))
    for samples in ((42, 35, 30, 25, 20), (51,)):
        path = [
            canvas_position(stack.canvas, stack.box, times[k], 1.5) for k in samples
        ]
        drag(stack.canvas.viewport(), path)
        redraw()
        assert controller.state.cursor == samples[-1]


def test_rows_come_and_go_with_the_selection(panel, controller, redraw):
    for n_neurons in (16, 0):
        controller.select(range(n_neurons))
        redraw()
        assert len(panel.stack.labels) == n_neurons
        assert bool(panel.stack.message) == (n_neurons == 0)
    panel.hide()
    controller.select([1])
    assert not panel.redraw.is_live
    assert len(panel.stack.labels) == 0
    panel.show()
    assert len(panel.stack.labels) == 1


def test_a_baseline_is_drawn_beside_with_its_own_score_and_name(
    panel, controller, redraw
):
    def is_drawn() -> bool:
        known = np.isfinite(panel.stack.baseline.getData()[1]).any()
        assert (palette.BASELINE in panel.legend.text()) == known
        return bool(known)

    controller.apply_preset("random_half_video_behavior")
    asked = np.flatnonzero((controller.state.mask.cells == TARGET).any(axis=0))[:2]
    controller.select(asked)
    redraw()
    assert not is_drawn()
    controller.choose_baseline("mean")
    redraw()
    found = controller.baseline.population
    for row, neuron in enumerate(asked):
        expected = found.responses[:, list(found.neurons).index(neuron)]
        on_screen = panel.stack.drawn_values(row)[2]
        np.testing.assert_allclose(on_screen, expected, atol=1e-4)
    assert is_drawn()
    assert "mean" in panel.legend.text()
    controller.choose_baseline("")
    redraw()
    assert not is_drawn()


@pytest.mark.parametrize("baseline", ["video-ridge", "last"])
def test_a_label_has_both_scores_or_a_dash(panel, controller, redraw, baseline):
    controller.apply_preset("video_behavior")
    controller.choose_baseline(baseline)
    redraw()
    own = f"{controller.results.scores[7]:.2f}"
    scored = baseline == "video-ridge"
    assert (controller.baseline.error is None) == scored
    other = f"{controller.baseline.scores[7]:.2f}" if scored else "–"
    assert panel.stack.labels[0] == f"neuron 7 · r = {own} · {baseline} {other}"
    assert trace_label(controller, 7, short=True) == f"7 · {own} / {other}"
    controller.apply_preset("nothing")
    redraw()
    assert panel.stack.labels[0] == "neuron 7"


# -- behaviour --------------------------------------------------------------------
@pytest.fixture
def behavior(controller, show):
    return show(BehaviorPanel(controller), 420, 420)


def test_channels_are_named_and_drawn_against_the_decode(behavior, controller, redraw):
    assert behavior.stack.labels[0] == "pupil size"  # not asked
    unasked = behavior.status.text()
    controller.set_behavior("target")
    redraw()
    names = ["pupil size", "pupil d-size", "pupil x", "pupil y", "running"]
    assert behavior.stack.labels == [f"{name} · r = 1.00" for name in names]
    truth, decoded, _ = behavior.stack.drawn_values(4)
    window = controller.state.window
    np.testing.assert_allclose(truth, window.behavior[:, 4], atol=1e-4)
    np.testing.assert_allclose(decoded, controller.results.behavior[:, 4], atol=1e-4)
    assert "echo" in behavior.status.text()
    controller.set_behavior("visible")
    redraw()
    assert np.isnan(behavior.stack.drawn_values(0)[1]).all()
    assert behavior.status.text() != unasked


def test_the_panel_says_why_there_is_no_decode(behavior, controller, redraw):
    controller.choose_predictor(RefusingPredictor())
    controller.set_behavior("target")
    redraw()
    assert "needs video" in behavior.status.text()


def test_a_quiet_row_looks_quiet(qtbot):
    time = np.linspace(0, 2, 60)
    truth = 0.1 * np.sin(time)
    stack = TraceStack(lambda _: None, "")
    qtbot.addWidget(stack.canvas)
    shade = np.zeros(60, np.uint8)
    stack.set_rows([Trace("a", "a", time, truth, None, shade, least=(-1.5, 1.5))])
    redraw = stack.truth.getData()[1]
    height = np.nanmax(redraw) - np.nanmin(redraw)
    assert height == pytest.approx(np.ptp(truth) / 3 * FILL, rel=1e-6)
    bar = stack.bars.getData()[1]
    assert bar[1] - bar[0] == pytest.approx(FILL / 3)
    np.testing.assert_allclose(stack.drawn_values(0)[0], truth, atol=1e-9)
