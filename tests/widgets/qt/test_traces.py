import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from omnimouse_model.display import number_text
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.mask.presets import PRESETS
from omnimouse_model.live.pin import LIVE
from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import TARGET
from omnimouse_widgets.qt.panel import RecordPanel
from omnimouse_widgets.qt.style.redraw import qt_post
from omnimouse_widgets.qt.traces import GUTTER_SHARE
from omnimouse_widgets.views.traces import TracesView
from tests.model.live.test_pins import SloppyPredictor
from tests.predictors import GatedPredictor, RefusingPredictor
from tests.widgets.pointer import canvas_position, drag, press, wait


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
        truth, predicted, *_ = panel.stacks["traces"].drawn_values(row)
        np.testing.assert_allclose(truth, window.responses[:, neuron], atol=1e-4)
        np.testing.assert_allclose(predicted, selected.responses[:, row], atol=1e-4)
    assert panel.stacks["traces"].labels[0] == "unit 7 · scoring…"
    times = window.timestamps["responses"]
    np.testing.assert_allclose(panel.stacks["traces"].truth.getData()[0][:60], times)
    assert np.ptp(panel.stacks["traces"].box.viewRange()[0]) == pytest.approx(2.0, abs=0.01)


def test_a_label_ends_with_the_scale_bar_of_a_scaled_prediction(panel, controller, redraw):
    controller.editor.apply_preset("video_behavior")
    controller.state.as_large = True
    panel.resize(900, 420)
    redraw()
    stack = panel.stacks["traces"]
    for label, trace in zip(stack.labels, stack._traces, strict=True):
        assert trace.predicted_bar_text
        assert trace.predicted_bar_text in label


def test_the_line_of_the_cursor_is_below_the_labels(panel):
    stack = panel.stacks["traces"]
    assert stack._labels
    assert all(label.zValue() > stack.cursor.zValue() for label in stack._labels)


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
        is_visible = bool(panel.stacks["traces"].baseline.isVisible())
        assert ("┅" in panel.widgets["legend"].text()) == is_visible
        return is_visible

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


# -- pins and spans in the traces, worked by mouse and keys --------------------------
SELECTED = [7, 3, 21]


@pytest.fixture
def pinned_panel(controller, show):
    controller.model.choose(SloppyPredictor())
    controller.editor.apply_preset("video_behavior")
    controller.selection.select(SELECTED)
    return show(RecordPanel.of(TracesView.of(controller), controller), 420, 420)


def test_shift_p_pins_and_four_are_all(pinned_panel, controller, redraw):
    for preset in PRESETS[:6]:
        controller.editor.apply_preset(preset.name)
        QTest.keyClick(pinned_panel, Qt.Key.Key_P, Qt.KeyboardModifier.ShiftModifier)
    redraw()
    assert [pin.letter for pin in controller.state.pins] == list("ABCD")
    assert not pinned_panel.widgets["pin"].isEnabled()
    notice = controller.pins.notice
    assert notice
    assert notice in pinned_panel.widgets["notice"].text()
    controller.pins.unpin(1)
    redraw()
    assert pinned_panel.widgets["pin"].isEnabled()
    assert notice not in pinned_panel.widgets["notice"].text()


def test_four_pins_and_the_switches_beside_them_are_in_view_in_a_narrow_dock(
    pinned_panel, controller, redraw
):
    for preset in PRESETS[:4]:
        controller.editor.apply_preset(preset.name)
        controller.pins.pin()
    redraw()
    pinned_panel.resize(394, 420)  # the dock at 1280 x 720
    redraw()
    for name in ("pin", "pin0", "pin3", "span", "common_scale", "as_large"):
        one = pinned_panel.widgets[name]
        assert one.mapTo(pinned_panel, one.rect().topRight()).x() < pinned_panel.width(), name


def test_a_pin_is_compared_over_ten_seconds_and_removed(pinned_panel, controller, redraw):
    pins, state, stack = controller.pins, controller.state, pinned_panel.stacks["traces"]
    pinned = pins.pin().mask
    controller.state.common_scale, controller.state.as_large = False, False
    controller.editor.apply_preset("random_half_video_behavior")
    QTest.keyClick(pinned_panel.widgets["span"], Qt.Key.Key_Down)
    redraw()
    assert state.trace_span == "10 s"
    spans = {slot: found.span for slot, found in pins.predictions.spans.items()}
    for row in range(len(SELECTED)):
        _, live, _, first, *_ = stack.drawn_values(row)
        drawn = {LIVE: live, 0: first}
        for slot, span in spans.items():
            expected = span.responses[:, row]
            np.testing.assert_allclose(drawn[slot], expected, atol=1e-4)
            score = span.scores[row]
            assert number_text(score) in stack.labels[row]
    pinned_panel.widgets["pin0"].menu().actions()[0].trigger()
    assert state.mask is pinned
    pinned_panel.widgets["pin0"].menu().actions()[2].trigger()
    QTest.keyClick(pinned_panel.widgets["span"], Qt.Key.Key_Up)
    redraw()
    assert (state.pins, state.trace_span) == ((), "window")
    assert stack.drawn_values(0)[0].shape == (60,)


def test_one_scale_for_all_is_the_widest(pinned_panel, controller, redraw):
    def heights() -> np.ndarray:
        ends = pinned_panel.stacks["traces"].bars.getData()[1].reshape(-1, 3)
        return np.asarray(ends[:, 1] - ends[:, 0])

    before = heights()
    assert np.ptp(before) > 1e-6
    press(pinned_panel.widgets["common_scale"])
    redraw()
    np.testing.assert_allclose(heights(), before.min())
    expected = controller.state.window.responses[:, 3]
    np.testing.assert_allclose(
        pinned_panel.stacks["traces"].drawn_values(1)[0], expected, atol=1e-4
    )


def test_why_a_pin_is_not_predicted_is_said_in_place(pinned_panel, controller, redraw):
    controller.model.choose(RefusingPredictor())
    controller.editor.set_frames(False)
    controller.pins.pin("blind")
    controller.editor.set_frames(True)
    redraw()
    for text in (pinned_panel.widgets["pins"].text(), pinned_panel.widgets["pin0"].toolTip()):
        assert "needs video" in text
    assert pinned_panel.stacks["traces"].labels[0].endswith("A –")


@pytest.fixture
def gate():
    return GatedPredictor()


@pytest.fixture
def threaded_controller(session, gate):
    """A controller with a threaded predictor; its first prediction has arrived."""
    made = Controller(LiveState(trace_span="window"), post=qt_post())
    made.model.choose(gate)
    gate.gate.release()
    made.loader.open_now(session)
    yield made
    gate.gate.release(1000)
    made.close()


def test_progress_is_shown_and_can_be_stopped(threaded_controller, gate, show, qtbot):
    pins, results = threaded_controller.pins, threaded_controller.results
    pinned_panel = show(
        RecordPanel.of(TracesView.of(threaded_controller), threaded_controller), 420, 420
    )
    wait(qtbot, lambda: results.freshness == "fresh" and not results.is_awaited)
    assert "stop" not in pinned_panel.widgets
    pins.choose_span("10 s")
    wait(qtbot, lambda: "stop" in pinned_panel.widgets and pinned_panel.widgets["stop"].isVisible())
    stop, stack = pinned_panel.widgets["stop"], pinned_panel.stacks["traces"].canvas
    assert "10 s" in stop.text()
    assert stack.rect().contains(stop.geometry())
    press(stop)
    wait(qtbot, lambda: not stop.isVisible())
    gate.gate.release(1000)
    assert threaded_controller.requests.wait(30.0)
    pinned_panel.redraw.flush()
    assert LIVE not in pins.predictions.spans
    assert len(pinned_panel.stacks["traces"].drawn_values(0)[0]) == 60


@pytest.mark.parametrize("width", [420, 320, 900])
def test_no_score_of_a_pin_is_cut(pinned_panel, controller, redraw, width):
    for preset in ("video_behavior", "video_only", "causal_response_25_behavior"):
        controller.editor.apply_preset(preset)
        controller.pins.pin()
    pinned_panel.resize(width, 420)
    redraw()
    stack = pinned_panel.stacks["traces"]
    for number, label in enumerate(stack._labels):
        assert label.textItem.boundingRect().width() <= stack.box.width()
        marks = stack._traces[number].marks
        assert len(marks) == 3
        assert all(score in stack.labels[number] for _, score, _ in marks)


def test_labels_without_room_have_the_shortest_form_in_all_rows(
    pinned_panel, controller, monkeypatch
):
    for preset in ("video_behavior", "video_only"):
        controller.editor.apply_preset(preset)
        controller.pins.pin()
    pinned_panel.redraw.flush()
    stack = pinned_panel.stacks["traces"]
    monkeypatch.setattr(stack.box, "width", lambda: 20.0)
    stack._fit()
    assert not any("A " in label or "B " in label for label in stack.labels)


def test_labels_of_low_rows_hide_no_curve(pinned_panel, controller, monkeypatch):
    for preset in ("video_behavior", "video_only"):
        controller.editor.apply_preset(preset)
        controller.pins.pin()
    pinned_panel.redraw.flush()
    stack = pinned_panel.stacks["traces"]
    monkeypatch.setattr(type(stack), "_is_low", True)
    stack._fit()
    assert all(trace.marks for trace in stack._traces)
    widths = [label.textItem.boundingRect().width() for label in stack._labels]
    room = GUTTER_SHARE * stack.box.width()
    monkeypatch.setattr(stack.box, "width", lambda: (max(widths) - 1) / GUTTER_SHARE)
    stack._fit()
    shorter = [label.textItem.boundingRect().width() for label in stack._labels]
    assert max(shorter) < max(widths) <= room
