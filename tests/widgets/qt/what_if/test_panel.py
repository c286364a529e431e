"""The panel of what-if: real presses, and the numbers on screen."""

from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from omnimouse_model.analysis.in_silico.counterfactual import NO_TRUTH
from omnimouse_model.analysis.in_silico.stimulus_edits import (
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
from omnimouse_widgets.qt.what_if.panel import WhatIfPanel
from tests.model.live.mask.test_stimulus_edits import VideoPredictor
from tests.predictors import open_controller
from tests.small_sessions import write_session
from tests.widgets.pointer import pick, press

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def controller(session):
    """A predictor that follows the video, every neuron asked, two selected."""
    with open_controller(session, VideoPredictor()) as made:
        made.editor.apply_preset("video_behavior")
        made.selection.select([7, 39])
        yield made


@pytest.fixture
def panel(controller, show):
    return show(WhatIfPanel(controller), 400, 500)


def write(box: Any, value: str) -> None:
    """Type into a box."""
    box.selectAll()
    QTest.keyClicks(box, value)
    QTest.keyClick(box, Qt.Key.Key_Return)


def test_the_prediction_under_a_pressed_mirror_is_drawn(panel, controller, redraw):
    pick(panel.controls.picture, "blank")
    press(panel.controls.mirrors["horizontal"])
    redraw()
    assert controller.stimulus_edits.edits == (Blank(), Mirror())
    expected = controller.results.what_if
    for row, neuron in enumerate((7, 39)):
        column = np.flatnonzero(expected.neurons == neuron)[0]
        on_screen = panel.stack.drawn_values(row)[:2]
        answers = [expected.before.responses, expected.after.responses]
        columns = [answer[:, column] for answer in answers]
        np.testing.assert_allclose(on_screen, columns, atol=1e-5)
        change = expected.change[column]
        assert panel.stack.labels[row] == f"{neuron} · Δ {change:.2f}"
    most, listed = expected.most_changed(8), panel.listed.text()
    assert most[0] == 39
    places = [listed.index(f"<a href='{neuron}' ") for neuron in most]
    assert places == sorted(places)
    assert f">39</a> Δ {expected.change.max():.2f}" in listed


def test_nothing_is_scored_and_a_reset_takes_all_edits_back(panel, controller, redraw):
    assert panel.status.text() == ""
    assert not panel.reset.isEnabled()
    scores = controller.results.scores.copy()
    press(panel.controls.mirrors["vertical"])
    redraw()
    assert panel.status.text() == NO_TRUTH
    np.testing.assert_array_equal(controller.results.scores, scores)
    press(panel.reset)
    redraw()
    assert controller.stimulus_edits.edits == ()
    assert panel.stack.message
    assert not panel.controls.mirrors["vertical"].isChecked()


def test_a_drag_of_the_contrast_is_one_undo_step(panel, controller, redraw):
    slider = panel.controls.contrast
    middle, third = slider.height() // 2, slider.width() // 3
    QTest.mousePress(slider, LEFT, pos=QPoint(third + 3, middle))
    for x in range(third, third // 2, -4):
        QTest.mouseMove(slider, QPoint(x, middle))
    QTest.mouseRelease(slider, LEFT, pos=QPoint(third // 2, middle))
    redraw()
    [edit] = controller.stimulus_edits.edits
    assert edit == Contrast(slider.value() / 100)
    assert edit.factor != 1
    assert f"{edit.factor:.2f}" in panel.controls.factor.text()
    QTest.keyClick(panel, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    redraw()
    assert controller.stimulus_edits.edits == ()
    assert slider.value() == 100


def test_every_edit_has_its_control(panel, controller, redraw):
    controls, edits = panel.controls, controller.stimulus_edits
    controller.navigation.set_cursor(12)
    pick(controls.picture, "freeze")
    assert edits.edits == (Freeze(12),)
    write(controls.at, "30")
    assert edits.edits == (Freeze(30),)
    pick(controls.picture, "other_clip")
    write(controls.at, "12")
    assert edits.edits == (OtherClip(12.0),)
    pick(controls.picture, "")
    assert edits.edits == ()
    for box, value in ((controls.right, 4), (controls.down, -2), (controls.later, 3)):
        write(box, str(value))
    assert edits.edits == (Shift(4, -2, 3),)
    edits.reset()
    redraw()
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


def test_the_part_moves_the_edits_and_those_to_come(panel, controller, redraw):
    controls = panel.controls
    press(controls.mirrors["horizontal"])
    press(controls.part.button("last"))
    pick(controls.channel, "running")
    pick(controls.change, "behavior_set")
    edits = (Mirror("horizontal", (30, 60)), BehaviorSet("running", 0.0, (20, 40)))
    assert controller.stimulus_edits.edits == edits
    controller.editor.undo()
    controller.editor.undo()
    redraw()
    assert controls.part.value == "all"


def test_a_press_on_a_listed_neuron_selects_it(panel, controller, redraw):
    pick(panel.controls.picture, "blank")
    redraw()
    panel.listed.linkActivated.emit("38")
    assert controller.state.selection == (7, 39, 38)


def test_a_time_of_the_session_before_is_no_edit(panel, controller, redraw, tmp_path):
    longer, shorter = (
        open_session(write_session(tmp_path / str(repeats), 20, repeats)) for repeats in (2, 1)
    )
    controller.loader.open_now(longer)
    redraw()
    pick(panel.controls.picture, "other_clip")
    panel.controls.at.setValue(30.0)
    redraw()
    assert controller.stimulus_edits.edits == (OtherClip(30.0),)
    controller.loader.open_now(shorter)
    panel.controls.at.setValue(31.0)  # the panel still shows the longer session
    assert controller.stimulus_edits.edits == ()
    assert panel.controls.at.value() < shorter.duration_s < 30
