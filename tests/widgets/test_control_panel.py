from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from psygnal import Signal
from qtpy.QtCore import QPointF, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QAbstractButton, QComboBox, QSpinBox, QWidget

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.opener import Opening
from omnimouse_model.live.presets import preset_named
from omnimouse_model.masks import HIDDEN, TARGET, VISIBLE
from omnimouse_model.predict.predictor import Needs
from omnimouse_widgets.drawn.question import caveats
from omnimouse_widgets.qt.control import ControlPanel
from omnimouse_widgets.qt.hop import qt_post
from tests.predictors import EchoPredictor, FaultyPredictor, GatedPredictor
from tests.small_sessions import write_session
from tests.widgets.mouse import wheel

LEFT = Qt.MouseButton.LeftButton


class FieldBrush:
    """As the face with a field of neurons has one."""

    tool_changed = Signal(str)
    radius_changed = Signal(float)

    def __init__(self) -> None:
        self._tool, self._radius = "brush", 14.0

    @property
    def tool(self) -> str:
        return self._tool

    @tool.setter
    def tool(self, tool: str) -> None:
        self._tool = tool
        self.tool_changed.emit(tool)

    @property
    def radius(self) -> float:
        return self._radius

    @radius.setter
    def radius(self, radius: float) -> None:
        self._radius = radius
        self.radius_changed.emit(radius)


@pytest.fixture
def brush():
    return FieldBrush()


@pytest.fixture
def panel(controller, brush, show):
    made: ControlPanel = show(ControlPanel(controller, brush), 400, 1000)
    return made


def press(button: QWidget) -> None:
    QTest.mouseClick(button, LEFT)


def pick(box: QComboBox, data: object) -> None:
    """Choose as a user does: `activated` is only sent for a user's choice."""
    box.setCurrentIndex(box.findData(data))
    box.activated.emit(box.currentIndex())


# -- session ----------------------------------------------------------------------
def test_the_session_is_named_with_what_it_holds(panel):
    assert panel.session.name.words == "mouse"
    words = panel.session.facts.text()
    assert "40 neurons" in words
    assert "video" in words
    assert "behaviour" in words


def test_notes_are_counted_and_open_on_a_click(panel, controller):
    session = controller.state.session
    notes = [*session.warnings, *session.assumptions]
    assert f"{len(notes)} note" in panel.session.notes_button.text()
    assert not panel.session.notes.isVisible()
    press(panel.session.notes_button)
    assert panel.session.notes.isVisible()
    assert notes[0].message in panel.session.notes.text()


def test_a_folder_that_is_no_session_is_refused_in_place(
    panel, controller, tmp_path, drawn
):
    before = controller.state.session
    panel.session.open_folder(tmp_path)
    drawn()
    assert "Not opened" in panel.session.problem.text()
    assert panel.session.problem.isVisible()
    assert controller.state.session is before


def test_a_folder_that_is_a_session_is_opened(empty, session_folder, show, drawn):
    panel = show(ControlPanel(empty), 400, 800)
    assert panel.session.name.words == "No session"
    panel.session.open_folder(session_folder)
    drawn()
    assert empty.state.session.n_neurons == 40
    assert panel.session.name.words == "mouse"


def test_a_problem_is_gone_once_a_session_is_opened_from_anywhere(
    panel, controller, session_folder, tmp_path, drawn
):
    panel.session.open_folder(tmp_path)
    drawn()
    assert panel.session.problem.isVisible()
    controller.open_session(session_folder)
    drawn()
    assert not panel.session.problem.isVisible()


def test_a_view_that_cannot_draw_a_session_is_told_in_place(
    panel, controller, tmp_path, drawn
):
    before = controller.state.session

    def fail(session: Any) -> None:
        if session is not before:
            raise KeyError("outlines")

    controller.state.events.session.connect(fail)
    panel.session.open_folder(write_session(tmp_path / "other", 9))
    drawn()
    assert "outlines" in panel.session.problem.text()
    assert panel.session.problem.isVisible()
    assert panel.session.name.words == "mouse"


def test_what_is_being_opened_is_told_until_it_is_there(
    panel, controller, drawn, session_folder
):
    def made(tell: Callable[[float], None]) -> Path:
        tell(0.4)
        drawn()
        assert "Simulating the demo mouse: 40 %" in panel.session.progress.text()
        assert panel.session.progress.isVisible()
        return session_folder

    controller.opener.open(Opening(made, words="Simulating the demo mouse"))
    assert controller.opener.fault is None
    drawn()
    assert not panel.session.progress.isVisible()


def test_how_an_answer_came_about_is_told_beside_it(panel, controller, drawn):
    drawn()
    assert not panel.model.notice.isVisible()
    controller.apply_preset("video_behavior")
    results = controller.results
    results.selected = results.selected.with_notice("memory was full: in bf16")
    results.changed.emit()
    drawn()
    assert "memory was full: in bf16" in panel.model.notice.text()
    assert panel.model.notice.isVisible()


# -- predictor --------------------------------------------------------------------
def test_the_model_on_screen_is_the_chosen_one(panel, controller, drawn):
    assert panel.model.model.currentText() == "echo"
    pick(panel.model.model, "mean")
    assert controller.state.predictor_name == "mean"
    controller.choose_predictor("last")
    drawn()
    assert panel.model.model.currentData() == "last"


def test_a_baseline_is_a_choice_and_its_refusal_is_read_in_full(
    panel, controller, drawn
):
    assert panel.beside.choice.currentText() == "nothing"
    assert not panel.beside.words.isVisible()
    controller.apply_preset("video_behavior")
    pick(panel.beside.choice, "video-ridge")
    drawn()
    assert controller.state.baseline_name == "video-ridge"
    mean = np.nanmean(controller.baseline.scores)
    own = np.nanmean(controller.results.scores)
    assert panel.beside.words.text() == (
        f"Here mean r is {mean:.2f}, the model's {own:.2f}."
    )
    controller.choose_baseline("last")
    drawn()
    assert panel.beside.choice.currentData() == "last"
    assert panel.beside.words.text() == controller.baseline.error
    assert panel.model.error.text() == ""
    pick(panel.beside.choice, "")
    drawn()
    assert not panel.beside.words.isVisible()


def test_the_device_is_a_choice(panel, controller, drawn):
    pick(panel.model.device, "cpu")
    assert controller.state.device == "cpu"
    controller.choose_device("auto")
    drawn()
    assert panel.model.device.currentData() == "auto"


def test_only_devices_that_are_there_are_offered(panel, controller, drawn):
    def offered() -> list[str]:
        device = panel.model.device
        return [device.itemText(at) for at in range(device.count())]

    controller.results.devices = ("auto", "cpu")
    drawn()
    assert offered() == ["auto", "cpu"]
    controller.results.devices = ("auto", "cpu", "cuda")
    drawn()
    assert offered() == ["auto", "cpu", "cuda"]
    assert panel.model.device.currentText() == "auto"


def test_every_box_has_a_name_of_its_own(panel):
    boxes = panel.findChildren(QComboBox) + panel.findChildren(QSpinBox)
    names = [box.accessibleName() for box in boxes]
    assert all(names)
    assert len(set(names)) == len(names)


def test_what_a_model_makes_of_a_question_is_told(panel, controller, drawn):
    controller.apply_preset("video_behavior")
    drawn()
    assert panel.question.caveat.text() == ""
    mask = controller.state.mask
    official = Needs(sees_video=True, sees_behavior=True, withholds_video=False)
    assert caveats(mask, official) == []
    assert caveats(mask.with_frames(False), official) == [
        "⚠ Hidden frames can still inform this model."
    ]
    assert len(caveats(mask, Needs())) == 2


def test_a_fresh_answer_says_so_with_its_time(panel, controller, drawn):
    controller.paint_cells(slice(None), slice(30, 60), TARGET)
    drawn()
    assert controller.results.freshness == "fresh"
    assert panel.model.words.text().startswith("fresh · ")
    assert "●" in panel.model.dot.text()


def test_an_error_is_told_in_place_with_a_way_on(panel, controller, drawn):
    controller.choose_predictor(FaultyPredictor())
    controller.paint_cells(slice(None), slice(30, 60), TARGET)
    drawn()
    assert "a fault in the model" in panel.model.error.text()
    assert "✕" in panel.model.dot.text()
    asked = controller.results.asked
    press(panel.model.again)
    assert controller.results.asked == asked + 1


def test_a_slow_answer_is_predicting_until_it_is_there_or_stopped(session, show, qtbot):
    gated = GatedPredictor()
    controller = Controller(post=qt_post())
    controller.choose_predictor(gated)
    controller.open_session(session)
    panel = show(ControlPanel(controller), 400, 800)
    assert gated.entered.acquire(timeout=10)
    qtbot.waitUntil(lambda: panel.model.words.text() == "predicting…")
    assert "◌" in panel.model.dot.text()
    assert not panel.model.again.isVisible()
    press(panel.model.cancel)
    qtbot.waitUntil(lambda: panel.model.words.text() == "stopped")
    assert not panel.model.cancel.isVisible()
    assert panel.model.again.isVisible()
    gated.gate.release(2)
    press(panel.model.again)
    qtbot.waitUntil(lambda: panel.model.words.text().startswith("fresh"))
    assert not panel.model.again.isVisible()
    controller.close()


def test_a_slow_baseline_can_be_stopped_and_asked_again(session, show, qtbot):
    beside = GatedPredictor("beside")
    controller = Controller(post=qt_post(), load=lambda *_: beside)
    controller.choose_predictor(EchoPredictor())
    controller.open_session(session)
    panel = show(ControlPanel(controller), 400, 800)
    controller.choose_baseline("beside")
    qtbot.waitUntil(lambda: panel.model.cancel.isVisible())
    assert panel.model.words.text().startswith("fresh")
    press(panel.model.cancel)
    qtbot.waitUntil(lambda: panel.beside.words.text() == "Stopped.")
    assert not panel.model.cancel.isVisible()
    beside.gate.release(4)
    press(panel.model.again)
    qtbot.waitUntil(lambda: panel.beside.words.text().startswith("Here mean r"))
    assert not panel.model.again.isVisible()
    controller.close()


# -- question ---------------------------------------------------------------------
def test_choosing_a_preset_asks_its_question_and_says_what_it_means(
    panel, controller, drawn
):
    pick(panel.question.preset, "random_half_video_behavior")
    drawn()
    preset = preset_named("random_half_video_behavior")
    assert controller.state.mask == preset.make(
        controller.state.session, controller.state.selection
    )
    assert preset.explanation in panel.question.meaning.words


def test_painting_makes_the_question_the_users_own(panel, controller, drawn):
    controller.apply_preset("video_behavior")
    controller.paint_cells([0], slice(0, 60), VISIBLE)
    drawn()
    assert panel.question.preset.currentIndex() == -1
    assert "your own" in panel.question.meaning.words.lower()


def test_an_adapted_strategy_says_so(panel, controller, drawn):
    controller.apply_preset("population_1024_response_video_behavior")
    drawn()
    assert controller.state.mask.note
    assert controller.state.mask.note in panel.question.meaning.words


def test_video_is_switched_and_shown(panel, controller, drawn):
    press(panel.question.video.button("first"))
    frames = controller.state.mask.frames
    assert frames[:30].all()
    assert not frames[30:].any()
    controller.set_frames(True)
    drawn()
    assert panel.question.video.value == "all"
    controller.set_frames(slice(3, 9))
    drawn()
    assert panel.question.video.value is None


def test_behaviour_is_switched_and_shown(panel, controller, drawn):
    press(panel.question.behavior.button("target"))
    assert controller.state.mask.behavior == "target"
    controller.set_behavior("visible")
    drawn()
    assert panel.question.behavior.value == "visible"


# -- brush ------------------------------------------------------------------------
def test_the_brush_and_its_span_follow_each_other(panel, controller, drawn):
    press(panel.brush.code.button(TARGET))
    drawn()
    assert controller.state.brush_code == TARGET
    assert (panel.brush.start.value(), panel.brush.stop.value()) == (30, 60)
    panel.brush.start.setValue(40)
    assert controller.state.active_span == (40, 60)
    panel.brush.start.setValue(59)
    panel.brush.stop.setValue(20)
    assert controller.state.active_span == (19, 20)
    press(panel.brush.code.button(VISIBLE))
    drawn()
    assert (panel.brush.start.value(), panel.brush.stop.value()) == (0, 60)
    assert controller.state.active_span == (0, 60)


def test_tool_and_radius_are_those_of_the_field(panel, brush, drawn):
    press(panel.brush.tool.button("lasso"))
    assert brush.tool == "lasso"
    brush.tool = "select"
    brush.radius = 33.0
    drawn()
    assert panel.brush.tool.value == "select"
    assert panel.brush.radius.value() == 33
    panel.brush.radius.setValue(20)
    assert brush.radius == 20.0


def test_undo_names_what_it_undoes_at_once(panel, controller, drawn):
    with controller.stroke():
        controller.paint_cells([1, 2, 3], slice(0, 60), VISIBLE)
    drawn()
    assert "paint 3 neurons visible" in panel.brush.undo.text()
    press(panel.brush.undo)
    drawn()
    assert (controller.state.mask.cells == HIDDEN).all()
    assert "paint 3 neurons visible" in panel.brush.redo.text()
    press(panel.brush.redo)
    assert (controller.state.mask.cells[:, 1:4] == VISIBLE).all()


def test_counts_are_those_of_the_active_span(panel, controller, drawn):
    controller.paint_cells(range(10), slice(0, 60), VISIBLE)
    controller.paint_cells(range(10, 15), slice(30, 60), TARGET)
    drawn()
    shown = {code: label.text() for code, label in panel.counts.numbers.items()}
    assert shown == {VISIBLE: "10", TARGET: "0", HIDDEN: "25", 3: "5"}
    controller.set_active_span(30, 60)
    drawn()
    assert panel.counts.numbers[TARGET].text() == "5"


# -- view and advanced --------------------------------------------------------------
def test_selection_is_listed_and_cleared(panel, controller, drawn):
    controller.select([7, 3])
    drawn()
    assert panel.view.selection.text() == "7, 3"
    press(panel.view.clear)
    assert controller.state.selection == ()


def test_colours_are_by_state_or_score_with_their_legend(panel, controller, drawn):
    pick(panel.view.colour_by, "score")
    drawn()
    assert controller.state.colour_by == "score"
    assert panel.view.legend.bar.isVisible()
    QTest.keyClick(panel, Qt.Key.Key_C)
    assert controller.state.colour_by == "state"


def test_cuts_context_and_guard_can_be_edited(panel, controller, drawn):
    press(panel.advanced_section.title)
    advanced = panel.advanced
    advanced.cuts.setText("20, 40")
    advanced.cuts.editingFinished.emit()
    advanced.start.setValue(10)
    advanced.guarded.setChecked(False)
    drawn()
    mask = controller.state.mask
    assert mask.cuts == (20, 40)
    assert mask.context_span == (10, 60)
    assert not mask.guarded
    assert "too good" in advanced.warning.text()
    advanced.cuts.setText("twenty")
    advanced.cuts.editingFinished.emit()
    assert "0 to 59" in advanced.warning.text()
    assert controller.state.mask.cuts == (20, 40)


def test_what_is_wrong_with_an_advanced_setting_is_seen_until_it_is_right(
    panel, controller, drawn
):
    press(panel.advanced_section.title)
    advanced = panel.advanced
    drawn()
    assert controller.state.mask.guarded
    assert not advanced.warning.isVisible()
    advanced.cuts.setText("twenty")
    advanced.cuts.editingFinished.emit()
    assert "0 to 59" in advanced.warning.text()
    assert advanced.warning.isVisible()
    advanced.cuts.setText("20")
    advanced.cuts.editingFinished.emit()
    drawn()
    assert not advanced.warning.isVisible()
    advanced.stop.setValue(20)
    advanced.start.setValue(30)
    assert "before it stops" in advanced.warning.text()
    assert advanced.warning.isVisible()
    advanced.start.setValue(0)
    drawn()
    assert not advanced.warning.isVisible()


# -- the panel as a whole -------------------------------------------------------------
def test_every_control_has_a_tooltip(panel):
    buttons = panel.findChildren(QAbstractButton)
    named = [b for b in buttons if b.isVisible() and b.text()]
    titles = {"Question", "Brush", "View"}
    missing = [b.text() for b in named if not b.toolTip() and b.text() not in titles]
    assert missing == []
    assert all(box.toolTip() for box in panel.findChildren(QComboBox))


def test_the_panel_fits_a_narrow_column(panel):
    assert panel.minimumSizeHint().width() <= 320
    panel.resize(320, 500)
    inner = panel.scroll_area.widget()
    assert inner.minimumSizeHint().width() <= panel.scroll_area.viewport().width()


def test_drawing_twice_changes_nothing(panel, drawn):
    before = panel.grab().toImage()
    for section in (panel.session, panel.model, panel.question, panel.brush):
        section.redraw.start()
    drawn()
    assert panel.grab().toImage() == before


def test_the_empty_panel_shows_and_refuses_nothing_with_an_error(empty, show):
    panel = show(ControlPanel(empty), 400, 800)
    for key in (Qt.Key.Key_1, Qt.Key.Key_Period, Qt.Key.Key_C):
        QTest.keyClick(panel, key)
    for _ in range(3):
        QTest.keyClick(panel, Qt.Key.Key_Comma)
    control = Qt.KeyboardModifier.ControlModifier
    QTest.keyClick(panel, Qt.Key.Key_Z, control)
    QTest.keyClick(panel, Qt.Key.Key_Z, control | Qt.KeyboardModifier.ShiftModifier)
    assert empty.state.cursor == 0
    assert not panel.question.video.isEnabled()
    assert np.all([label.text() == "0" for label in panel.counts.numbers.values()])


def test_the_wheel_scrolls_past_a_control_and_turns_the_one_in_use(show, controller):
    panel = show(ControlPanel(controller, FieldBrush()), 320, 260)
    box, bar = panel.question.preset, panel.scroll_area.verticalScrollBar()
    panel.scroll_area.setFocus()
    before, middle = box.currentIndex(), QPointF(box.rect().center())
    wheel(box, middle, -1)
    assert box.currentIndex() == before
    assert bar.value() > 0
    box.setFocus()
    wheel(box, middle, 1)
    assert box.currentIndex() != before


def test_neurons_whose_state_changes_are_told_in_words(show, controller):
    controller.set_active_span(0, 60)
    controller.paint_cells([1, 2, 3], slice(30, 60), TARGET)
    panel = show(ControlPanel(controller), 320, 700)
    assert panel.counts.changes.text() == "Mixed in samples 0-60: 3 hidden → target."
    controller.set_active_span(30, 60)
    panel.counts.redraw.flush()
    span = controller.state.active_span
    told = f"In samples {span[0]}-{span[1]}, those of the brush."
    assert panel.counts.changes.text() == told
    assert panel.counts.numbers[TARGET].text() == "3"
