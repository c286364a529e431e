"""Pins and spans in the traces, worked by mouse and keys, against the library."""

from dataclasses import replace

import numpy as np
import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QInputDialog, QLineEdit

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
from tests.widgets.mouse import drag, place_of

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def panel(controller, show):
    controller.choose_predictor(SloppyPredictor())
    controller.apply_preset("video_behavior")
    controller.select([7, 3, 21])
    made: TracesPanel = show(TracesPanel(controller), 420, 420)
    return made


def test_a_pinned_condition_is_drawn_beside_the_new_one(panel, controller, drawn):
    QTest.mouseClick(panel.bar.pin, LEFT)
    controller.apply_preset("responses_from_behavior")
    drawn()
    mask, window = controller.state.pins[0].mask, controller.state.window
    expected = SloppyPredictor().predict(window, mask, np.array([7, 3, 21]))
    scores = correlation(expected.responses, window.responses[:, [7, 3, 21]], axis=0)
    for row, neuron in enumerate((7, 3, 21)):
        curve = panel.stack.drawn_overlay(row, 0)
        np.testing.assert_allclose(curve, expected.responses[:, row], atol=1e-4)
        score, own = scores[row], controller.results.scores[neuron]
        label = f"neuron {neuron} · r = {own:.2f} · A {score:.2f}"
        assert panel.stack.labels[row] == label
        assert f"{own:.2f}" != f"{score:.2f}"
    assert "A Video + behaviour" in panel.legend.text()
    assert palette.PINS[0] in panel.legend.text()
    assert panel.bar.chips[0].isVisible()
    assert not panel.bar.chips[1].isVisible()


def test_shift_p_pins_and_four_are_all(panel, controller, drawn):
    panel.stack.canvas.setFocus()
    for preset in PRESETS[:6]:
        controller.apply_preset(preset.name)
        QTest.keyClick(panel, Qt.Key.Key_P, Qt.KeyboardModifier.ShiftModifier)
    drawn()
    assert [pin.letter for pin in controller.state.pins] == list("ABCD")
    assert not panel.bar.pin.isEnabled()
    assert "unpin one first" in panel.bar.pin.toolTip()
    assert "4 conditions are pinned: unpin one first." in panel.legend.text()
    controller.pins.unpin(1)
    drawn()
    assert "unpin one first" not in panel.legend.text()


def test_the_span_is_read_whole_in_any_style(panel, controller, drawn):
    for preset in PRESETS[:2]:
        controller.apply_preset(preset.name)
        controller.pins.pin()
    panel.setStyleSheet("QComboBox { padding: 2px 16px; }")  # napari's has more, too
    panel.resize(400, 420)
    drawn()
    assert panel.bar.span.width() >= panel.bar.span.sizeHint().width() > 66
    assert panel.width() == 400


def test_pinned_again_it_says_where_it_is(panel, controller, drawn):
    for _ in range(2):
        QTest.mouseClick(panel.bar.pin, LEFT)
    drawn()
    assert [pin.letter for pin in controller.state.pins] == ["A"]
    assert "Pinned already: A Video + behaviour" in panel.legend.text()


def test_a_chip_hides_shows_renames_goes_back_and_unpins(
    panel, controller, drawn, qtbot
):
    controller.pins.pin()
    controller.apply_preset("responses_from_behavior")
    drawn()
    chip, on_text = panel.bar.chips[0], QPoint(8, 8)
    QTest.mouseClick(chip, LEFT, Qt.KeyboardModifier.NoModifier, on_text)
    drawn()
    assert not controller.pins[0].is_shown
    assert np.isnan(panel.stack.drawn_overlay(0, 0)).all()
    assert "· A" not in panel.stack.labels[0]
    QTest.mouseClick(chip, LEFT, Qt.KeyboardModifier.NoModifier, on_text)
    drawn()
    assert np.isfinite(panel.stack.drawn_overlay(0, 0)).any()
    current, rename, unpin = panel.bar.chip_menu(0).actions()
    rename.trigger()
    dialog = panel.bar.findChild(QInputDialog)
    line = dialog.findChild(QLineEdit)
    line.selectAll()
    QTest.keyClicks(line, "first try")
    QTest.keyClick(line, Qt.Key.Key_Return)
    drawn()
    assert controller.pins[0].name == "first try"
    assert "A first try" in panel.legend.text()
    current.trigger()
    assert controller.state.preset == "video_behavior"
    controller.undo()
    assert controller.state.preset == "responses_from_behavior"
    unpin.trigger()
    drawn()
    assert not chip.isVisible()
    assert "first try" not in panel.legend.text()


def test_a_span_chosen_by_keys_is_the_librarys(panel, controller, drawn):
    controller.pins.pin()
    controller.apply_preset("responses_from_behavior")
    panel.bar.span.setFocus()
    QTest.keyClick(panel.bar.span, Qt.Key.Key_Down)
    assert controller.state.trace_span == "10 s"
    drawn()
    page, session = controller.pins.page, controller.state.session
    neurons = np.array([7, 3, 21])
    masks = (controller.state.mask, controller.state.pins[0].mask)
    live, pinned = (
        predict_span(SloppyPredictor(), session, mask, *page, neurons=neurons)
        for mask in masks
    )
    for row, neuron in enumerate(neurons):
        truth, predicted, _ = panel.stack.drawn_values(row)
        np.testing.assert_allclose(truth, live.truth[:, row], atol=1e-4)
        np.testing.assert_allclose(predicted, live.responses[:, row], atol=1e-4)
        overlay = panel.stack.drawn_overlay(row, 0)
        np.testing.assert_allclose(overlay, pinned.responses[:, row], atol=1e-4)
        own, other = live.scores[row], pinned.scores[row]
        label = f"neuron {neuron} · r = {own:.2f} · A {other:.2f}"
        assert panel.stack.labels[row] == label
    np.testing.assert_allclose(panel.stack.box.viewRange()[0], page, atol=1e-6)
    window = controller.state.window
    shaded = panel.stack.shade.mapRectToParent(panel.stack.shade.boundingRect())
    assert shaded.left() == pytest.approx(window.start_s)
    assert shaded.width() == pytest.approx(2.0)


def test_a_press_outside_the_window_brings_it_there(panel, controller, drawn):
    controller.seek(3.0)
    controller.pins.choose_span("10 s")
    drawn()
    at = place_of(panel.stack.canvas, panel.stack.box, 7.5, 1.5)
    drag(panel.stack.canvas.viewport(), [at])
    window = controller.state.window
    assert window.start_s == pytest.approx(6.5, abs=0.1)
    time = window.timestamps["responses"][controller.state.cursor]
    assert time == pytest.approx(7.5, abs=0.1)


def test_one_scale_for_all_is_the_widest(panel, controller, drawn):
    before = panel.stack.bars.getData()[1].reshape(-1, 3)
    assert len(set(np.round(before[:, 1] - before[:, 0], 6))) > 1
    QTest.mouseClick(panel.bar.common, LEFT)
    drawn()
    after = panel.stack.bars.getData()[1].reshape(-1, 3)
    heights = after[:, 1] - after[:, 0]
    np.testing.assert_allclose(heights, (before[:, 1] - before[:, 0]).min())
    truth = panel.stack.drawn_values(1)[0]
    expected = controller.state.window.responses[:, 3]
    np.testing.assert_allclose(truth, expected, atol=1e-4)


def test_rows_that_do_not_fit_come_by_the_wheel(panel, controller, drawn):
    controller.select(range(40))
    drawn()
    stack = panel.stack
    n_drawn = len(stack.labels)
    assert n_drawn == int(stack.box.height() // LEAST_PIXELS) < 40
    assert stack.scroll.isVisible()
    assert stack.labels[0].startswith("0 ·")
    middle = QPointF(stack.canvas.viewport().rect().center())
    for _ in range(20):
        event = QWheelEvent(
            middle,
            QPointF(stack.canvas.mapToGlobal(middle.toPoint())),
            QPoint(),
            QPoint(0, -120),
            Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        )
        QApplication.sendEvent(stack.canvas.viewport(), event)
    drawn()
    assert stack.labels[-1].startswith("39 ·")
    truth = stack.drawn_values(39)[0]
    expected = controller.state.window.responses[:, 39]
    np.testing.assert_allclose(truth, expected, atol=1e-4)
    panel.resize(420, 900)
    drawn()
    assert len(stack.labels) > n_drawn


def test_no_more_is_drawn_at_once_than_a_frame_has_time_for(panel, controller, drawn):
    panel.resize(420, 1400)
    for name in "abcd":
        controller.pins.pin(name)
    controller.select(range(40))
    controller.pins.choose_span("trial")
    controller.seek(11.0)
    drawn()
    rows = panel.traces()
    assert max(row.n_points for row in rows) * len(panel.stack.labels) <= MOST_POINTS


def test_why_a_pin_is_not_predicted_is_said_in_place(panel, controller, drawn):
    controller.choose_predictor(RefusingPredictor())
    controller.set_frames(False)
    controller.pins.pin("blind")
    controller.set_frames(True)
    drawn()
    assert "A blind: This one needs video; switch it on." in panel.legend.text()
    assert panel.stack.labels[0].endswith("A –")
    assert "needs video" in panel.bar.chips[0].toolTip()


@pytest.fixture
def gated(session):
    predictor = GatedPredictor()
    made = Controller(post=qt_post())
    made.choose_predictor(predictor)
    predictor.gate.release()
    made.open_session(session)
    yield made, predictor
    predictor.gate.release(1000)
    made.close()


def test_progress_is_shown_and_can_be_stopped(gated, show, qtbot):
    controller, predictor = gated
    panel = show(TracesPanel(controller), 420, 420)
    qtbot.waitUntil(lambda: controller.results.freshness == "fresh")
    qtbot.waitUntil(lambda: not controller.results.is_awaited)
    assert not panel.progress.isVisible()
    controller.pins.choose_span("10 s")
    qtbot.waitUntil(panel.progress.isVisible)
    assert panel.progress.text().startswith("Predicting 10 s")
    QTest.mouseClick(panel.progress, LEFT)
    qtbot.waitUntil(lambda: not panel.progress.isVisible())
    predictor.gate.release(1000)
    assert controller.wait(10.0)
    qtbot.wait(30)
    assert LIVE not in controller.pins.spans
    span = controller.state.window.timestamps["responses"]
    assert len(panel.stack.drawn_values(0)[0]) == len(span)


def test_a_pin_whose_model_is_not_here_waits_for_nothing(panel, controller, drawn):
    pin = controller.pins.pin("elsewhere")
    far = replace(pin, predictor="", predictor_name="another")
    controller.pins.replace_all((far,))
    drawn()
    assert "“another” is not the model chosen" in panel.legend.text()
    assert "Not predicted" in panel.bar.chips[0].toolTip()
    assert panel.stack.labels[0].endswith("A –")


def test_a_pin_that_found_no_room_is_told_above_the_traces(panel, controller, drawn):
    controller.pins.pin("gone")
    controller.pins.unpin(0)
    for name in "abcd":
        controller.pins.pin(name)
    controller.undo()
    drawn()
    assert "⚠ “gone” is not pinned again" in panel.legend.text()
    controller.pins.unpin(3)
    drawn()
    assert "not pinned again" not in panel.legend.text()
