"""Pins and spans in the traces, worked by mouse and keys, against the library."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QInputDialog, QLineEdit

from omnimouse_model.analysis.spans import predict_span
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.pins import LIVE
from omnimouse_model.live.presets import PRESETS
from omnimouse_model.metrics import correlation
from omnimouse_widgets import palette
from omnimouse_widgets.qt.hop import qt_post
from omnimouse_widgets.qt.trace_stack import LEAST_PIXELS, MOST_POINTS
from omnimouse_widgets.qt.traces import TracesPanel
from tests.model.test_pins import SloppyPredictor
from tests.predictors import GatedPredictor, RefusingPredictor
from tests.widgets.pointer import canvas_position, drag, press, wait, wheel

LEFT = Qt.MouseButton.LeftButton
SELECTED = [7, 3, 21]


@pytest.fixture
def panel(controller, show):
    controller.choose_predictor(SloppyPredictor())
    controller.apply_preset("video_behavior")
    controller.select(SELECTED)
    return show(TracesPanel(controller), 420, 420)


def assert_rows(panel: TracesPanel, live: Any, pinned: Any, scores: Any) -> None:
    """Rows on screen are predictions (time, neuron) with their scores."""
    for row, neuron in enumerate(SELECTED):
        predicted, overlay = panel.stack.drawn_values(row)[1], panel.stack.drawn_overlay
        np.testing.assert_allclose(predicted, live[:, row], atol=1e-4)
        np.testing.assert_allclose(overlay(row, 0), pinned[:, row], atol=1e-4)
        own, other = (f"{score[row]:.2f}" for score in scores)
        assert panel.stack.labels[row] == f"neuron {neuron} · r = {own} · A {other}"
        assert own != other


def test_a_pinned_condition_is_drawn_beside_the_new_one(panel, controller, redraw):
    press(panel.bar.pin)
    controller.apply_preset("responses_from_behavior")
    redraw()
    mask, window = controller.state.pins[0].mask, controller.state.window
    pinned = SloppyPredictor().predict(window, mask, np.array(SELECTED)).responses
    score = correlation(pinned, window.responses[:, SELECTED], axis=0)
    own = controller.results.scores[SELECTED]
    live = controller.results.selected.responses
    assert_rows(panel, live, pinned, (own, score))
    for words in ("A Video + behaviour", palette.PINS[0]):
        assert words in panel.legend.text()
    assert [chip.isVisible() for chip in panel.bar.chips][:2] == [True, False]


def test_shift_p_pins_and_four_are_all(panel, controller, redraw):
    for preset in PRESETS[:6]:
        controller.apply_preset(preset.name)
        QTest.keyClick(panel, Qt.Key.Key_P, Qt.KeyboardModifier.ShiftModifier)
    redraw()
    assert [pin.letter for pin in controller.state.pins] == list("ABCD")
    assert not panel.bar.pin.isEnabled()
    assert "4 conditions are pinned" in panel.legend.text()
    controller.pins.unpin(1)
    redraw()
    assert panel.bar.pin.isEnabled()
    assert "4 conditions are pinned" not in panel.legend.text()


def test_the_span_is_read_whole_in_any_style(panel, controller, redraw):
    for preset in PRESETS[:2]:
        controller.apply_preset(preset.name)
        controller.pins.pin()
    panel.setStyleSheet("QComboBox { padding: 2px 16px; }")  # napari's has more, too
    panel.resize(400, 420)
    redraw()
    assert panel.bar.span.width() >= panel.bar.span.sizeHint().width() > 66
    assert panel.width() == 400


def test_pinned_again_it_says_where_it_is(panel, controller, redraw):
    for _ in range(2):
        press(panel.bar.pin)
    redraw()
    assert [pin.letter for pin in controller.state.pins] == ["A"]
    assert "already: A Video + behaviour" in panel.legend.text()


def test_a_chip_hides_shows_renames_goes_back_and_unpins(panel, controller, redraw):
    controller.pins.pin()
    controller.apply_preset("responses_from_behavior")
    redraw()
    chip, on_text = panel.bar.chips[0], QPoint(8, 8)
    for is_shown in (False, True):
        QTest.mouseClick(chip, LEFT, Qt.KeyboardModifier.NoModifier, on_text)
        redraw()
        assert controller.pins[0].is_shown == is_shown
        assert np.isfinite(panel.stack.drawn_overlay(0, 0)).any() == is_shown
        assert ("· A" in panel.stack.labels[0]) == is_shown
    current, rename, unpin = panel.bar.chip_menu(0).actions()
    rename.trigger()
    line = panel.bar.findChild(QInputDialog).findChild(QLineEdit)
    line.selectAll()
    QTest.keyClicks(line, "first try")
    QTest.keyClick(line, Qt.Key.Key_Return)
    redraw()
    assert controller.pins[0].name == "first try"
    assert "A first try" in panel.legend.text()
    current.trigger()
    assert controller.state.preset == "video_behavior"
    controller.undo()
    assert controller.state.preset == "responses_from_behavior"
    unpin.trigger()
    redraw()
    assert not chip.isVisible()
    assert "first try" not in panel.legend.text()


def test_a_span_chosen_by_keys_is_the_librarys(panel, controller, redraw):
    controller.pins.pin()
    controller.apply_preset("responses_from_behavior")
    QTest.keyClick(panel.bar.span, Qt.Key.Key_Down)
    assert controller.state.trace_span == "10 s"
    redraw()
    page, state, stack = controller.pins.page, controller.state, panel.stack
    neurons = np.array(SELECTED)
    live, pinned = (
        predict_span(SloppyPredictor(), state.session, mask, *page, neurons=neurons)
        for mask in (state.mask, state.pins[0].mask)
    )
    scores = (live.scores, pinned.scores)
    assert_rows(panel, live.responses, pinned.responses, scores)
    np.testing.assert_allclose(stack.drawn_values(1)[0], live.truth[:, 1], atol=1e-4)
    np.testing.assert_allclose(stack.box.viewRange()[0], page, atol=1e-6)
    shaded = stack.shade.mapRectToParent(stack.shade.boundingRect())
    assert shaded.left() == pytest.approx(state.window.start_s)
    assert shaded.width() == pytest.approx(2.0)


def test_a_press_outside_the_window_brings_it_there(panel, controller, redraw):
    controller.seek(3.0)
    controller.pins.choose_span("10 s")
    redraw()
    at = canvas_position(panel.stack.canvas, panel.stack.box, 7.5, 1.5)
    drag(panel.stack.canvas.viewport(), [at])
    state = controller.state
    assert state.window.start_s == pytest.approx(6.5, abs=0.1)
    time = state.window.timestamps["responses"][state.cursor]
    assert time == pytest.approx(7.5, abs=0.1)


def test_one_scale_for_all_is_the_widest(panel, controller, redraw):
    def heights() -> np.ndarray:
        ends = panel.stack.bars.getData()[1].reshape(-1, 3)
        return np.asarray(ends[:, 1] - ends[:, 0])

    before = heights()
    assert np.ptp(before) > 1e-6
    press(panel.bar.common)
    redraw()
    np.testing.assert_allclose(heights(), before.min())
    expected = controller.state.window.responses[:, 3]
    np.testing.assert_allclose(panel.stack.drawn_values(1)[0], expected, atol=1e-4)


def test_rows_that_do_not_fit_come_by_the_wheel(panel, controller, redraw):
    controller.select(range(40))
    redraw()
    stack = panel.stack
    n_drawn = len(stack.labels)
    assert n_drawn == int(stack.box.height() // LEAST_PIXELS) < 40
    assert stack.scroll.isVisible()
    assert stack.labels[0].startswith("0 ·")
    middle = QPointF(stack.canvas.viewport().rect().center())
    for _ in range(20):
        wheel(stack.canvas.viewport(), middle, -1)
    redraw()
    assert stack.labels[-1].startswith("39 ·")
    expected = controller.state.window.responses[:, 39]
    np.testing.assert_allclose(stack.drawn_values(39)[0], expected, atol=1e-4)
    panel.resize(420, 900)
    redraw()
    assert len(stack.labels) > n_drawn


def test_no_more_is_drawn_at_once_than_a_frame_has_time_for(panel, controller, redraw):
    panel.resize(420, 1400)
    for name in "abcd":
        controller.pins.pin(name)
    controller.select(range(40))
    controller.pins.choose_span("trial")
    controller.seek(11.0)
    redraw()
    rows = panel.traces()
    assert max(row.n_points for row in rows) * len(panel.stack.labels) <= MOST_POINTS


def test_why_a_pin_is_not_predicted_is_said_in_place(panel, controller, redraw):
    controller.choose_predictor(RefusingPredictor())
    controller.set_frames(False)
    controller.pins.pin("blind")
    controller.set_frames(True)
    redraw()
    for text in (panel.legend.text(), panel.bar.chips[0].toolTip()):
        assert "needs video" in text
    assert panel.stack.labels[0].endswith("A –")


@pytest.fixture
def gate():
    return GatedPredictor()


@pytest.fixture
def threaded_controller(session, gate):
    """Answers come on a thread, once the gate is open; the first is there."""
    made = Controller(post=qt_post())
    made.choose_predictor(gate)
    gate.gate.release()
    made.open_session(session)
    yield made
    gate.gate.release(1000)
    made.close()


def test_progress_is_shown_and_can_be_stopped(threaded_controller, gate, show, qtbot):
    pins, results = threaded_controller.pins, threaded_controller.results
    panel = show(TracesPanel(threaded_controller), 420, 420)
    wait(qtbot, lambda: results.freshness == "fresh" and not results.is_awaited)
    assert not panel.progress.isVisible()
    pins.choose_span("10 s")
    wait(qtbot, panel.progress.isVisible)
    assert "10 s" in panel.progress.text()
    press(panel.progress)
    wait(qtbot, lambda: not panel.progress.isVisible())
    gate.gate.release(1000)
    assert threaded_controller.wait(30.0)
    panel.redraw.flush()
    assert LIVE not in pins.spans
    assert len(panel.stack.drawn_values(0)[0]) == 60


def test_a_pin_whose_model_is_not_here_waits_for_nothing(panel, controller, redraw):
    pin = controller.pins.pin("elsewhere")
    far = replace(pin, predictor="", predictor_name="another")
    controller.pins.replace_all((far,))
    redraw()
    assert "“another”" in panel.legend.text()
    assert panel.stack.labels[0].endswith("A –")


def test_a_pin_that_found_no_room_is_told_above_the_traces(panel, controller, redraw):
    controller.pins.pin("gone")
    controller.pins.unpin(0)
    for name in "abcd":
        controller.pins.pin(name)
    controller.undo()
    redraw()
    assert "“gone”" in panel.legend.text()
    controller.pins.unpin(3)
    redraw()
    assert "“gone”" not in panel.legend.text()
