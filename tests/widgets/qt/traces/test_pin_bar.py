"""Pins and spans in the traces, worked by mouse and keys."""

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.mask.presets import PRESETS
from omnimouse_model.live.pin import LIVE
from omnimouse_model.live.state import LiveState
from omnimouse_widgets.qt.panel import RecordPanel
from omnimouse_widgets.qt.style.ui_thread import qt_post
from omnimouse_widgets.views.traces import TracesView
from tests.model.live.test_pins import SloppyPredictor
from tests.predictors import GatedPredictor, RefusingPredictor
from tests.widgets.pointer import press, wait

SELECTED = [7, 3, 21]


@pytest.fixture
def panel(controller, show):
    controller.model.choose(SloppyPredictor())
    controller.editor.apply_preset("video_behavior")
    controller.selection.select(SELECTED)
    return show(RecordPanel.of(TracesView.of(controller), controller), 420, 420)


def test_shift_p_pins_and_four_are_all(panel, controller, redraw):
    for preset in PRESETS[:6]:
        controller.editor.apply_preset(preset.name)
        QTest.keyClick(panel, Qt.Key.Key_P, Qt.KeyboardModifier.ShiftModifier)
    redraw()
    assert [pin.letter for pin in controller.state.pins] == list("ABCD")
    assert not panel.widgets["pin"].isEnabled()
    notice = controller.pins.notice
    assert notice
    assert notice in panel.widgets["notice"].text()
    controller.pins.unpin(1)
    redraw()
    assert panel.widgets["pin"].isEnabled()
    assert notice not in panel.widgets["notice"].text()


def test_four_pins_and_the_switches_beside_them_are_in_view_in_a_narrow_dock(
    panel, controller, redraw
):
    for preset in PRESETS[:4]:
        controller.editor.apply_preset(preset.name)
        controller.pins.pin()
    redraw()
    panel.resize(394, 420)  # the dock at 1280 x 720
    redraw()
    for name in ("pin", "pin0", "pin3", "span", "common_scale", "as_large"):
        one = panel.widgets[name]
        assert one.mapTo(panel, one.rect().topRight()).x() < panel.width(), name


def test_a_pin_is_compared_over_ten_seconds_and_removed(panel, controller, redraw):
    pins, state, stack = controller.pins, controller.state, panel.stacks["traces"]
    pinned = pins.pin().mask
    controller.state.common_scale, controller.state.as_large = False, False
    controller.editor.apply_preset("random_half_video_behavior")
    QTest.keyClick(panel.widgets["span"], Qt.Key.Key_Down)
    redraw()
    assert state.trace_span == "10 s"
    spans = {slot: found.span for slot, found in pins.predictions.spans.items()}
    for row in range(len(SELECTED)):
        drawn = {LIVE: stack.drawn_values(row)[1], 0: stack.drawn_overlay(row, 0)}
        for slot, span in spans.items():
            expected = span.responses[:, row]
            np.testing.assert_allclose(drawn[slot], expected, atol=1e-4)
            score = span.scores[row]
            assert (f"{score:.2f}" if np.isfinite(score) else "–") in stack.labels[row]
    panel.widgets["pin0"].menu().actions()[0].trigger()
    assert state.mask is pinned
    panel.widgets["pin0"].menu().actions()[2].trigger()
    QTest.keyClick(panel.widgets["span"], Qt.Key.Key_Up)
    redraw()
    assert (state.pins, state.trace_span) == ((), "window")
    assert stack.drawn_values(0)[0].shape == (60,)


def test_one_scale_for_all_is_the_widest(panel, controller, redraw):
    def heights() -> np.ndarray:
        ends = panel.stacks["traces"].bars.getData()[1].reshape(-1, 3)
        return np.asarray(ends[:, 1] - ends[:, 0])

    before = heights()
    assert np.ptp(before) > 1e-6
    press(panel.widgets["common_scale"])
    redraw()
    np.testing.assert_allclose(heights(), before.min())
    expected = controller.state.window.responses[:, 3]
    np.testing.assert_allclose(panel.stacks["traces"].drawn_values(1)[0], expected, atol=1e-4)


def test_why_a_pin_is_not_predicted_is_said_in_place(panel, controller, redraw):
    controller.model.choose(RefusingPredictor())
    controller.editor.set_frames(False)
    controller.pins.pin("blind")
    controller.editor.set_frames(True)
    redraw()
    for text in (panel.widgets["pins"].text(), panel.widgets["pin0"].toolTip()):
        assert "needs video" in text
    assert panel.stacks["traces"].labels[0].endswith("A –")


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
    panel = show(RecordPanel.of(TracesView.of(threaded_controller), threaded_controller), 420, 420)
    wait(qtbot, lambda: results.freshness == "fresh" and not results.is_awaited)
    assert "stop" not in panel.widgets
    pins.choose_span("10 s")
    wait(qtbot, lambda: "stop" in panel.widgets and panel.widgets["stop"].isVisible())
    stop, stack = panel.widgets["stop"], panel.stacks["traces"].canvas
    assert "10 s" in stop.text()
    assert stack.rect().contains(stop.geometry())
    press(stop)
    wait(qtbot, lambda: not stop.isVisible())
    gate.gate.release(1000)
    assert threaded_controller.requests.wait(30.0)
    panel.redraw.flush()
    assert LIVE not in pins.predictions.spans
    assert len(panel.stacks["traces"].drawn_values(0)[0]) == 60


@pytest.mark.parametrize("width", [420, 320, 900])
def test_no_score_of_a_pin_is_cut(panel, controller, redraw, width):
    for preset in ("video_behavior", "video_only", "causal_response_25_behavior"):
        controller.editor.apply_preset(preset)
        controller.pins.pin()
    panel.resize(width, 420)
    redraw()
    stack = panel.stacks["traces"]
    for number, label in enumerate(stack._labels):
        assert label.textItem.boundingRect().width() <= stack.box.width()
        marks = stack._traces[number].marks
        assert len(marks) == 3
        assert all(score in stack.labels[number] for _, score, _ in marks)


def test_labels_without_room_have_the_shortest_form_in_all_rows(panel, controller, monkeypatch):
    for preset in ("video_behavior", "video_only"):
        controller.editor.apply_preset(preset)
        controller.pins.pin()
    panel.redraw.flush()
    stack = panel.stacks["traces"]
    monkeypatch.setattr(stack.box, "width", lambda: 20.0)
    stack._fit()
    assert not any("A " in label or "B " in label for label in stack.labels)
