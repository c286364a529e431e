"""The panel of what-if: real presses, and the numbers on screen."""

from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QSlider

from omnimouse_model.analysis.counterfactual import NO_TRUTH
from omnimouse_model.analysis.stimulus_edits import (
    BehaviorScale,
    BehaviorSet,
    BehaviorShift,
    Blank,
    Contrast,
    Freeze,
    Mirror,
    OtherClip,
    Shift,
)
from omnimouse_model.data.open import open_session
from omnimouse_model.display import number_text
from omnimouse_widgets import palette
from omnimouse_widgets.qt.panel import RecordPanel
from omnimouse_widgets.qt.style.theme import is_on_light, themed_colour
from omnimouse_widgets.views.what_if import WhatIfView
from tests.small_sessions import write_session
from tests.widgets.pointer import press


@pytest.fixture
def controller(video_controller):
    return video_controller


@pytest.fixture
def panel(controller, show):
    return show(RecordPanel.of(WhatIfView.of(controller), controller), 400, 620)


@pytest.fixture
def control(panel):
    """Return the widget of a setting by its name."""
    return lambda name: panel.widgets["settings"].controls[name].native


def write(box: Any, value: str) -> None:
    """Type into a box."""
    box.selectAll()
    QTest.keyClicks(box, value)
    QTest.keyClick(box, Qt.Key.Key_Return)


def choose(box: Any, label: str) -> None:
    """Choose an entry of a list by its text."""
    assert box.isEnabled()
    box.setCurrentIndex(box.findText(label))


def test_the_prediction_under_a_mirror_is_drawn(panel, control, controller, redraw):
    choose(control("picture"), "blank")
    choose(control("mirror"), "↔")
    redraw()
    assert controller.stimulus_edits.edits == (Blank(), Mirror())
    expected = controller.results.what_if
    stack = panel.stacks["traces"]
    for row, neuron in enumerate((7, 39)):
        column = np.flatnonzero(expected.neurons == neuron)[0]
        answers = [expected.before.responses, expected.after.responses]
        columns = [answer[:, column] for answer in answers]
        np.testing.assert_allclose(stack.drawn_values(row)[:2], columns, atol=1e-5)
        assert stack.labels[row] == f"{neuron} · Δ {number_text(expected.change[column])} s.d."
    expected_colour = themed_colour(palette.PREDICTED, is_light=is_on_light(stack.canvas))
    assert stack.truth.opts["pen"].color().name() == expected_colour.lower()
    listed = panel.content("most").model()
    shown = [listed.item(row, 0).text() for row in range(listed.rowCount())]
    assert shown == [str(neuron) for neuron in expected.most_changed(8)]
    assert shown[0] == "39"
    assert listed.item(0, 1).text() == number_text(expected.change.max())
    assert listed.horizontalHeaderItem(1).text() == "Δ (s.d.)"


def test_nothing_is_scored_and_a_reset_takes_all_edits_back(panel, control, controller, redraw):
    status, reset = panel.widgets["status"], panel.widgets["reset"]
    assert not status.isVisible()
    assert not reset.isEnabled()
    scores = controller.results.scores.copy()
    choose(control("mirror"), "↕")
    redraw()
    assert status.text() == NO_TRUTH
    np.testing.assert_array_equal(controller.results.scores, scores)
    press(reset)
    redraw()
    assert controller.stimulus_edits.edits == ()
    assert panel.stacks["traces"].message
    assert control("mirror").currentText() == "none"


def test_both_frames_at_the_cursor_are_drawn_and_hidden_ones_are_dim(panel, controller, redraw):
    controller.stimulus_edits.put(Mirror())
    controller.navigation.set_cursor(20)
    redraw()
    recorded, edited = (panel.plots[name].shown.pixels for name in ("recorded", "edited"))
    frame = controller.state.window.frames_u8[20]
    np.testing.assert_array_equal(recorded[:, :, 1], frame)
    np.testing.assert_array_equal(edited, recorded[:, ::-1])
    controller.editor.set_frames(slice(0, 0))
    redraw()
    assert panel.plots["recorded"].shown.pixels.max() < 0.5 * frame.max()


def test_a_drag_of_the_contrast_is_one_undo_step(panel, control, controller, redraw):
    slider = control("contrast")
    slider = slider if isinstance(slider, QSlider) else slider.findChild(QSlider)
    before = controller.editor.undo_name
    slider.setSliderDown(True)
    for percent in (90, 70, 40):
        slider.setValue(percent)
    slider.setSliderDown(False)
    redraw()
    assert controller.stimulus_edits.edits == (Contrast(0.4),)
    assert controller.editor.undo_name == "What if: contrast"
    QTest.keyClick(panel, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    redraw()
    assert controller.stimulus_edits.edits == ()
    assert controller.editor.undo_name == before
    assert slider.value() == 100


def test_every_edit_has_its_control(panel, control, controller, redraw):
    edits = controller.stimulus_edits
    controller.navigation.set_cursor(12)
    assert not control("at").isEnabled()
    choose(control("picture"), "freeze at")
    assert edits.edits == (Freeze(12),)
    redraw()
    write(control("at"), "30")
    assert edits.edits == (Freeze(30),)
    choose(control("picture"), "clip from")
    redraw()
    write(control("at"), "12")
    assert edits.edits == (OtherClip(12.0),)
    choose(control("picture"), "recorded")
    assert edits.edits == ()
    for name, value in (("right", 4), ("down", -2), ("later", 3)):
        write(control(name), str(value))
    assert edits.edits == (Shift(4, -2, 3),)
    edits.reset()
    redraw()
    choose(control("channel"), "running")
    choose(control("change"), "set to")
    assert edits.edits == (BehaviorSet("running", 0.0),)
    choose(control("change"), "scaled by")
    redraw()
    write(control("value"), "3")
    assert edits.edits == (BehaviorScale("running", 3.0),)
    choose(control("change"), "delayed by")
    assert edits.edits == (BehaviorShift("running", 10),)
    choose(control("channel"), "pupil size")
    redraw()
    choose(control("change"), "set to")
    assert len(edits.edits) == 2


def test_the_part_moves_the_edits_and_those_to_come(panel, control, controller, redraw):
    choose(control("mirror"), "↔")
    choose(control("part"), "end")
    choose(control("channel"), "running")
    redraw()
    choose(control("change"), "set to")
    edits = (Mirror("horizontal", (30, 60)), BehaviorSet("running", 0.0, (20, 40)))
    assert controller.stimulus_edits.edits == edits
    controller.editor.undo()
    controller.editor.undo()
    redraw()
    assert control("part").currentText() == "all"


def test_a_press_on_a_listed_neuron_selects_it(panel, control, controller, redraw):
    choose(control("picture"), "blank")
    redraw()
    table = panel.content("most")
    table.clicked.emit(table.model().index(1, 0))
    expected = int(controller.results.what_if.most_changed(2)[1])
    assert controller.state.selection == (7, 39, expected)


def test_a_time_of_the_session_before_is_no_edit(panel, control, controller, redraw, tmp_path):
    longer, shorter = (
        open_session(write_session(tmp_path / str(repeats), 20, repeats)) for repeats in (2, 1)
    )
    controller.loader.open_now(longer)
    redraw()
    choose(control("picture"), "clip from")
    redraw()
    write(control("at"), "30")
    assert controller.stimulus_edits.edits == (OtherClip(30.0),)
    controller.loader.open_now(shorter)
    panel.widgets["settings"].form.set("at", 31.0)  # the panel still shows the longer session
    assert controller.stimulus_edits.edits == ()
    assert shorter.duration_s < 30
