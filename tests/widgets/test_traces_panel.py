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
from tests.widgets.mouse import drag, pixel, place_of


@pytest.fixture
def panel(controller, show):
    controller.select([7, 3, 21])
    made: TracesPanel = show(TracesPanel(controller), 420, 420)
    return made


def test_rows_are_the_selection_with_truth_and_prediction(panel, controller, drawn):
    controller.paint_cells(slice(None), slice(30, 60), TARGET)
    drawn()
    window, selected = controller.state.window, controller.results.selected
    assert list(selected.neurons) == [7, 3, 21]
    for row, neuron in enumerate((7, 3, 21)):
        truth, predicted, _ = panel.stack.drawn_values(row)
        np.testing.assert_allclose(truth, window.responses[:, neuron], atol=1e-4)
        np.testing.assert_allclose(predicted, selected.responses[:, row], atol=1e-4)
    score = controller.results.scores[7]
    assert panel.stack.labels[0] == f"neuron 7 · r = {score:.2f}"


def test_shapes_are_drawn_as_large_as_the_recording(panel, controller, drawn):
    controller.paint_cells(slice(None), slice(30, 60), TARGET)
    drawn()
    before = [panel.stack.drawn_values(row)[1] for row in range(3)]
    panel.bar.shape.click()
    drawn()
    for row, was in enumerate(before):
        truth, shown, _ = panel.stack.drawn_values(row)
        known = np.isfinite(was)
        assert (np.isfinite(shown) == known).all()
        assert shown[known].mean() == pytest.approx(truth[known].mean(), abs=1e-3)
        if was[known].std() > 1e-6:
            assert shown[known].std() == pytest.approx(truth[known].std(), rel=1e-3)
            assert np.corrcoef(was[known], shown[known])[0, 1] == pytest.approx(1)
    assert "predicted ≈" in panel.legend.text()
    assert controller.state.as_large
    controller.set_traces(common_scale=False, as_large=False)  # as after a restart
    drawn()
    for row, was in enumerate(before):
        np.testing.assert_allclose(panel.stack.drawn_values(row)[1], was, atol=1e-4)
    assert "≈" not in panel.legend.text()
    assert not panel.bar.shape.isChecked()


def test_time_is_that_of_the_session(panel, controller, drawn):
    controller.seek(8.0)
    drawn()
    times = controller.state.window.timestamps["responses"]
    np.testing.assert_allclose(panel.stack.truth.getData()[0][:60], times)
    low, high = panel.stack.box.viewRange()[0]
    assert high - low == pytest.approx(2.0, abs=0.01)


def test_visible_and_target_spans_are_shaded(panel, controller, drawn):
    controller.set_cursor(0)
    controller.select([7])
    drawn()
    times = controller.state.window.timestamps["responses"]

    def under(sample: int) -> np.ndarray:
        place = place_of(panel.stack.canvas, panel.stack.box, times[sample], 0.9)
        return pixel(panel.stack.canvas.viewport(), place).astype(int)

    plain = under(50)
    controller.paint_cells([7], slice(0, 40), VISIBLE)
    controller.paint_cells([7], slice(40, 60), TARGET)
    drawn()
    blue, orange = under(36) - plain, under(50) - plain
    assert blue[2] > blue[0]
    assert orange[0] > orange[2]


def test_a_stale_prediction_is_fainter(panel):
    panel.stack.set_rows(panel.traces())
    assert panel.stack.predicted.opacity() == 1.0
    stale = [
        type(trace)(
            trace.label,
            trace.short_label,
            trace.time,
            trace.truth,
            trace.predicted,
            trace.shade,
            True,
        )
        for trace in panel.traces()
    ]
    panel.stack.set_rows(stale)
    assert panel.stack.predicted.opacity() < 1.0


def test_the_cursor_is_shared_both_ways(panel, controller, drawn):
    times = controller.state.window.timestamps["responses"]
    controller.set_cursor(42)
    drawn()
    assert panel.stack.cursor.value() == pytest.approx(float(times[42]))
    path = [
        place_of(panel.stack.canvas, panel.stack.box, times[k], 1.5)
        for k in (42, 35, 30, 25, 20)
    ]
    drag(panel.stack.canvas.viewport(), path)
    drawn()
    assert controller.state.cursor == 20
    click = place_of(panel.stack.canvas, panel.stack.box, times[51], 1.5)
    drag(panel.stack.canvas.viewport(), [click])
    assert controller.state.cursor == 51


def test_rows_come_and_go_with_the_selection(panel, controller, drawn):
    controller.select(range(16))
    drawn()
    assert len(panel.stack.labels) == 16
    controller.select([])
    drawn()
    assert panel.stack.labels == []
    assert "Select neurons" in panel.stack.message


def test_a_hidden_panel_does_nothing(panel, controller):
    panel.hide()
    controller.select([1])
    assert not panel.redraw.is_live
    assert len(panel.stack.labels) == 3
    panel.show()
    assert len(panel.stack.labels) == 1


def test_a_baseline_is_drawn_beside_with_its_own_score_and_name(
    panel, controller, drawn
):
    controller.apply_preset("random_half_video_behavior")
    asked = np.flatnonzero((controller.state.mask.cells == TARGET).any(axis=0))[:2]
    controller.select(asked)
    assert np.isnan(panel.stack.baseline.getData()[1]).all()
    controller.choose_baseline("mean")
    drawn()
    found = controller.baseline.population
    assert controller.baseline.error is None
    columns = [list(found.neurons).index(neuron) for neuron in asked]
    for row, column in enumerate(columns):
        baseline = panel.stack.drawn_values(row)[2]
        np.testing.assert_allclose(baseline, found.responses[:, column], atol=1e-4)
        assert np.isfinite(baseline).any()
    assert "mean" in panel.legend.text()
    assert palette.BASELINE in panel.legend.text()
    controller.choose_baseline("")
    drawn()
    assert np.isnan(panel.stack.baseline.getData()[1]).all()
    assert palette.BASELINE not in panel.legend.text()


def test_a_label_has_both_scores(panel, controller, drawn):
    controller.apply_preset("video_behavior")
    controller.choose_baseline("video-ridge")
    drawn()
    own, other = controller.results.scores[7], controller.baseline.scores[7]
    assert (
        trace_label(controller, 7)
        == f"neuron 7 · r = {own:.2f} · video-ridge {other:.2f}"
    )
    assert trace_label(controller, 7, short=True) == f"7 · {own:.2f} / {other:.2f}"


def test_a_baseline_without_a_score_is_told_where_one_was_asked_for(
    panel, controller, drawn
):
    controller.apply_preset("video_behavior")
    controller.choose_baseline("last")
    drawn()
    assert controller.baseline.error is not None
    own = controller.results.scores[7]
    assert panel.stack.labels[0] == f"neuron 7 · r = {own:.2f} · last –"
    assert trace_label(controller, 7, short=True) == f"7 · {own:.2f} / –"
    controller.apply_preset("nothing")
    drawn()
    assert panel.stack.labels[0] == "neuron 7"


# -- behaviour --------------------------------------------------------------------
@pytest.fixture
def behavior(controller, show):
    made: BehaviorPanel = show(BehaviorPanel(controller), 420, 420)
    return made


def test_channels_are_named_and_drawn_against_the_decode(behavior, controller, drawn):
    controller.set_behavior("target")
    drawn()
    names = ["pupil size", "pupil d-size", "pupil x", "pupil y", "running"]
    assert behavior.stack.labels == [f"{name} · r = 1.00" for name in names]
    truth, decoded, _ = behavior.stack.drawn_values(4)
    window = controller.state.window
    np.testing.assert_allclose(truth, window.behavior[:, 4], atol=1e-4)
    np.testing.assert_allclose(decoded, controller.results.behavior[:, 4], atol=1e-4)
    assert behavior.status.text() == "Decoded by echo."


def test_the_panel_says_when_behaviour_is_given_or_not_asked(
    behavior, controller, drawn
):
    assert "Not asked" in behavior.status.text()
    assert behavior.stack.labels[0] == "pupil size"
    controller.set_behavior("visible")
    drawn()
    assert "Given to the model" in behavior.status.text()
    assert np.isnan(behavior.stack.drawn_values(0)[1]).all()


def test_the_panel_says_why_there_is_no_decode(behavior, controller, drawn):
    controller.choose_predictor(RefusingPredictor())
    controller.set_behavior("target")
    drawn()
    assert "needs video" in behavior.status.text()


def test_colours_of_truth_and_prediction_are_those_of_the_palette(panel):
    truth, predicted = panel.stack.truth, panel.stack.predicted
    assert truth.opts["pen"].color().name().upper() == palette.HELD
    assert predicted.opts["pen"].color().name().upper() == palette.PREDICTED
    assert predicted.opts["pen"].dashPattern() != []


def test_a_quiet_row_looks_quiet(qtbot):
    time = np.linspace(0, 2, 60)
    truth = 0.1 * np.sin(time)
    stack = TraceStack(lambda _: None, "")
    qtbot.addWidget(stack.canvas)
    shade = np.zeros(60, np.uint8)
    stack.set_rows([Trace("a", "a", time, truth, None, shade, least=(-1.5, 1.5))])
    drawn = stack.truth.getData()[1]
    height = np.nanmax(drawn) - np.nanmin(drawn)
    assert height == pytest.approx(np.ptp(truth) / 3 * FILL, rel=1e-6)
    bar = stack.bars.getData()[1]
    assert bar[1] - bar[0] == pytest.approx(FILL / 3)
    np.testing.assert_allclose(stack.drawn_values(0)[0], truth, atol=1e-9)
