"""The panel of what-if: real presses, and numbers that are the library's."""

from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QLabel, QWidget

from omnimouse_model.analysis.edits import (
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
from omnimouse_model.analysis.what_if import NO_TRUTH, what_if
from omnimouse_model.live.controller import Controller
from omnimouse_widgets.qt.what_if import WhatIfPanel
from tests.model.test_live_what_if import VideoPredictor

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def predictor():
    return VideoPredictor()


@pytest.fixture
def driven(session, predictor):
    """A predictor that follows the video, every neuron asked, two selected."""
    made = Controller(synchronous=True)
    made.choose_predictor(predictor)
    made.open_session(session)
    made.apply_preset("video_behavior")
    made.select([7, 39])
    yield made
    made.close()


@pytest.fixture
def panel(driven, show):
    return show(WhatIfPanel(driven), 400, 500)


def click(widget: QWidget) -> None:
    QTest.mouseClick(widget, LEFT)


def pick(box: QWidget, value: str) -> None:
    """Choose in a list with the keys, as a hand would."""
    box.setFocus()
    at = box.findData(value)
    while box.currentIndex() != at:
        down = box.currentIndex() < at
        QTest.keyClick(box, Qt.Key.Key_Down if down else Qt.Key.Key_Up)


def write(box: Any, value: str) -> None:
    """Type into a box."""
    box.setFocus()
    box.selectAll()
    QTest.keyClicks(box, value)
    QTest.keyClick(box, Qt.Key.Key_Return)


def test_a_pressed_mirror_is_predicted_as_the_library_does(
    panel, driven, predictor, drawn
):
    pick(panel.controls.picture, "blank")
    click(panel.controls.mirrors["horizontal"])
    drawn()
    assert driven.what_if.edits == (Blank(), Mirror())
    state = driven.state
    expected = what_if(predictor, state.window, state.mask, (Blank(), Mirror()))
    for row, neuron in enumerate((7, 39)):
        before, after, _ = panel.stack.drawn_values(row)
        column = np.flatnonzero(expected.neurons == neuron)[0]
        truth = (
            expected.before.responses[:, column],
            expected.after.responses[:, column],
        )
        np.testing.assert_allclose(before, truth[0], atol=1e-5)
        np.testing.assert_allclose(after, truth[1], atol=1e-5)
        change = expected.change[column]
        assert panel.stack.labels[row] == f"{neuron} · Δ {change:.2f}"
    most = expected.most_changed(8)
    assert most[0] == 39
    listed = panel.listed.text()
    places = [listed.index(f"<a href='{neuron}' ") for neuron in most]
    assert places == sorted(places)
    assert f">39</a> Δ {expected.change.max():.2f}" in listed


def test_it_says_that_nothing_is_scored(panel, driven, drawn):
    assert panel.status.text() == ""
    assert not panel.reset.isEnabled()
    click(panel.controls.mirrors["vertical"])
    drawn()
    assert panel.status.text() == NO_TRUTH == "no truth: not scored"
    assert panel.words.words == "upside down"
    scores = driven.results.scores.copy()
    click(panel.reset)
    drawn()
    assert driven.what_if.edits == ()
    assert panel.stack.message.startswith("Edit the video")
    assert not panel.controls.mirrors["vertical"].isChecked()
    np.testing.assert_array_equal(driven.results.scores, scores)


def test_both_frames_are_shown_at_the_cursor(panel, driven, drawn):
    click(panel.controls.mirrors["horizontal"])
    driven.set_cursor(17)
    drawn()
    frame = driven.state.window.frames_u8[17]
    np.testing.assert_array_equal(panel.recorded.image, frame)
    np.testing.assert_array_equal(panel.edited.image, frame[:, ::-1])


def test_a_drag_of_the_contrast_is_one_undo_step(panel, driven, drawn):
    slider = panel.controls.contrast
    middle, third = slider.height() // 2, slider.width() // 3
    start = QPoint(third + 3, middle)
    QTest.mousePress(slider, LEFT, pos=start)
    for x in range(third, third // 2, -4):
        QTest.mouseMove(slider, QPoint(x, middle))
    QTest.mouseRelease(slider, LEFT, pos=QPoint(third // 2, middle))
    drawn()
    [edit] = driven.what_if.edits
    assert isinstance(edit, Contrast)
    assert edit.factor == slider.value() / 100 != 1
    assert panel.controls.factor.text() == f"× {edit.factor:.2f}"
    QTest.keyClick(panel, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    drawn()
    assert driven.what_if.edits == ()
    assert slider.value() == 100


def test_every_edit_has_its_control(panel, driven, drawn):
    controls, edits = panel.controls, driven.what_if
    driven.set_cursor(12)
    pick(controls.picture, "freeze")
    assert edits.edits == (Freeze(12),)
    write(controls.at, "30")
    assert edits.edits == (Freeze(30),)
    pick(controls.picture, "other_clip")
    write(controls.at, "12")
    assert edits.edits == (OtherClip(12.0),)
    pick(controls.picture, "")
    assert edits.edits == ()
    write(controls.right, "4")
    write(controls.down, "-2")
    write(controls.later, "3")
    assert edits.edits == (Shift(4, -2, 3),)
    edits.reset()
    drawn()
    pick(controls.channel, "running")
    pick(controls.change, "behavior_set")
    assert edits.edits == (BehaviorSet("running", 0.0),)
    pick(controls.change, "behavior_scale")
    write(controls.value, "3")
    assert edits.edits == (BehaviorScale("running", 3.0),)
    pick(controls.change, "behavior_shift")
    assert edits.edits == (BehaviorShift("running", 10),)
    pick(controls.channel, "pupil_size")
    pick(controls.change, "behavior_set")
    assert len(edits.edits) == 2


def test_the_part_moves_the_edits_and_those_to_come(panel, driven, drawn):
    controls, edits = panel.controls, driven.what_if
    click(controls.mirrors["horizontal"])
    click(controls.part.button("last"))
    pick(controls.channel, "running")
    pick(controls.change, "behavior_set")
    drawn()
    span = (30, 60)
    assert edits.edits == (
        Mirror("horizontal", span),
        BehaviorSet("running", 0.0, (20, 40)),
    )
    driven.undo()
    driven.undo()
    drawn()
    assert controls.part.value == "all"


def test_a_press_on_a_listed_neuron_selects_it(panel, driven, drawn):
    pick(panel.controls.picture, "blank")
    drawn()
    assert isinstance(panel.listed, QLabel)
    panel.listed.setFocus()
    QTest.keyClick(panel.listed, Qt.Key.Key_Tab)
    panel.listed.linkActivated.emit("38")
    assert driven.state.selection == (7, 39, 38)


def test_what_the_model_does_not_see_is_said(panel, driven, drawn):
    pick(panel.controls.picture, "blank")
    driven.set_frames(False)
    drawn()
    assert "hidden: that edit changes nothing" in panel.remarks.text()
    assert panel.listed.text() == "No prediction changes."


def test_without_a_session_it_says_so(empty, show):
    panel = show(WhatIfPanel(empty), 400, 500)
    assert panel.stack.message == "No session is open"
    assert not panel.controls.picture.isEnabled()
    assert not panel.controls.change.isEnabled()
