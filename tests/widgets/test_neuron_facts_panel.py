"""The dock *Neuron*: what it says is what the library says, and only while seen."""

from dataclasses import replace
from threading import Event
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QApplication,
    QDockWidget,
    QFileDialog,
    QMainWindow,
    QTabWidget,
    QWidget,
)

from omnimouse_model.analysis.receptive_fields import ReceptiveField
from omnimouse_model.analysis.repeats import clip_repeats, repeated_clips
from omnimouse_model.analysis.tuning import direction_tuning
from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from omnimouse_model.live import facts as live_facts
from omnimouse_model.live import facts_text
from omnimouse_model.live.controller import Controller
from omnimouse_widgets.qt.hop import qt_post
from omnimouse_widgets.qt.neuron_facts import NeuronFactsPanel
from omnimouse_widgets.qt.neurons import NeuronsPanel
from tests.predictors import EchoPredictor
from tests.small_sessions import write_session
from tests.widgets.mouse import drag, place_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eighty seconds."""
    return write_session(tmp_path_factory.mktemp("facts") / "mouse", 20, repeats=4)


@pytest.fixture
def recording(folder):
    """Two clips: one shown five times, one three times; neuron 4 has the id 104."""
    session = open_session(folder)
    stim_id = session.trials.stim_id.astype("U8")
    stim_id[[3, 5, 7, 9, 11]], stim_id[[4, 6, 8]] = "often", "rarely"
    units = replace(session.units, unit_id=np.arange(session.n_neurons) + 100)
    trials = replace(session.trials, stim_id=stim_id)
    return replace(session, units=units, trials=trials)


@pytest.fixture
def controller(recording):
    made = Controller(synchronous=True)
    made.choose_predictor(EchoPredictor())
    made.open_session(recording)
    made.apply_preset("video_behavior")
    made.select([])
    yield made
    made.close()


@pytest.fixture
def panel(controller, show):
    made: NeuronFactsPanel = show(NeuronFactsPanel(controller), 400, 560)
    return made


def a_field(neuron: int) -> ReceptiveField:
    """One that was found: strongest in row 3 of 9, column 5 of 16."""
    found = np.zeros((9, 16))
    found[3, 5] = 0.2
    lags = np.arange(16) / 30
    course = np.exp(-(((lags - 0.2) / 0.1) ** 2))
    return ReceptiveField(
        neuron, "energy", found, lags, course, 0.2, 0.61, (13.5, 21.5), 9.0
    )


@pytest.fixture
def with_fields(monkeypatch):
    """Every neuron has a receptive field."""

    def found(session: Session, neurons: np.ndarray, **_: Any) -> Any:
        return tuple(a_field(neuron) for neuron in neurons.tolist())

    monkeypatch.setattr(live_facts, "receptive_fields", found)


def test_it_says_what_to_do_until_a_neuron_is_selected(panel, controller, drawn):
    assert "Select a neuron" in panel.now.text()
    assert not panel.copy.isEnabled()
    controller.select([4])
    drawn()
    assert panel.heading.words.startswith("neuron 104 · ")
    assert panel.copy.isEnabled()


def test_numbers_on_screen_are_the_librarys(
    panel, controller, recording, with_fields, drawn
):
    controller.select([4])
    drawn()
    score = controller.results.scores[4]
    assert f"r = {score:.2f} in this window" in panel.now.text()
    clips = repeated_clips(recording)
    assert [len(clip.trials) for clip in clips] == [5, 3]
    repeats = clip_repeats(recording, clips[0], np.array([4]))
    assert panel.repeats_line.text().startswith(
        f"Repeats: {facts_text.repeats_words(repeats)}"
    )
    np.testing.assert_allclose(panel.repeats.image.image, repeats.responses[0])
    x, y = panel.repeats.mean.getData()
    np.testing.assert_allclose(y, repeats.average[0])
    np.testing.assert_allclose(x, repeats.time_s)
    (tuning,) = direction_tuning(recording, np.array([4]), np.array([[13.5, 21.5]]))
    assert panel.tuning_line.text() == f"Tuning: {facts_text.tuning_words(tuning)}"
    around = panel.tuning.curve.getData()
    np.testing.assert_allclose(np.hypot(*around)[:-1], tuning.response)
    field = a_field(4)
    assert "row 14, column 22" in panel.field_line.text()
    assert "r = 0.61" in panel.field_line.text()
    np.testing.assert_allclose(panel.field.image.image, field.map)
    assert panel.field.centre.getData() == (22.0, 14.0)
    np.testing.assert_allclose(panel.lags.curve.getData()[1], field.course)


def test_what_cannot_be_estimated_is_said_and_not_drawn(panel, controller, drawn):
    """Responses of noise: no receptive field."""
    controller.select([4])
    drawn()
    found = controller.facts.found
    assert found is not None
    assert found.field.problem
    assert found.field.problem in panel.field_line.text()
    assert not panel.field.image.isVisible()
    assert not panel.lags.curve.isVisible()
    assert panel.field.message.words == "none found"
    if not found.tuning.is_direction_selective:
        assert "no preferred direction" in panel.tuning_line.text()
        assert not panel.tuning.preferred.isVisible()


def test_without_repeats_that_is_said(panel, controller, folder, drawn):
    controller.open_session(open_session(folder))
    controller.select([2])
    drawn()
    assert panel.repeats_line.text() == facts_text.NO_REPEATS
    assert panel.repeats.message.words == "no repeats"
    assert not panel.repeats.image.isVisible()


def test_the_prediction_lies_over_the_repeats_where_its_window_is(
    panel, controller, recording, drawn
):
    controller.select([4])
    drawn()
    shown = panel.shown_repeats()
    assert shown is not None
    controller.seek(float(shown.onset_s[1]) + 1.0)
    drawn()
    over = panel.shown_prediction()
    assert over is not None
    assert over.repeat == 1
    prediction = controller.results.selected
    column = list(prediction.neurons).index(4)
    time, values = panel.repeats.predicted.getData()
    np.testing.assert_allclose(values, prediction.responses[:, column])
    assert time[0] == pytest.approx(1.0, abs=0.05)
    asked = np.isfinite(values)
    average = np.interp(time[asked], shown.time_s, shown.average[0])
    expected = np.corrcoef(average, values[asked])[0, 1]
    assert f"r = {expected:.2f} with the mean" in panel.repeats_line.text()


def test_a_press_on_a_repeat_goes_there(panel, controller, drawn):
    controller.select([4])
    drawn()
    shown = panel.shown_repeats()
    assert shown is not None
    place = place_of(panel.canvas, panel.repeats.rows_box, 3.0, 2.5)
    drag(panel.canvas.viewport(), [place])
    expected = float(shown.onset_s[2]) + 2.0
    assert controller.state.window.start_s == pytest.approx(expected, abs=0.1)


def test_another_clip_can_be_chosen(panel, controller, drawn):
    controller.select([4])
    drawn()
    assert panel.clip.count() == 2
    panel.clip.setCurrentIndex(1)
    panel.clip.activated.emit(1)
    drawn()
    assert len(panel.repeats.image.image) == 3
    assert "3 × 5.0 s" in panel.repeats_line.text()


def test_arrow_keys_walk_through_the_selected_neurons(panel, controller, drawn):
    controller.select([5, 9, 2])
    drawn()
    assert panel.heading.words.startswith("neuron 102 · ")
    assert "3/3" in panel.now.text()
    panel.setFocus()
    for key, neuron in (
        (Qt.Key.Key_Right, 5),
        (Qt.Key.Key_Right, 9),
        (Qt.Key.Key_Left, 5),
    ):
        QTest.keyClick(panel, key)
        drawn()
        assert panel.heading.words.startswith(f"neuron {100 + neuron} · ")
    assert controller.state.selection == (5, 9, 2)
    QTest.mouseClick(panel.next, Qt.MouseButton.LeftButton)
    drawn()
    assert controller.facts.focus == 9


def test_a_row_of_the_table_shows_its_neuron(panel, controller, show, drawn):
    table = show(NeuronsPanel(controller), 400, 300)
    view = table.view
    at = view.visualRect(table.table.index(6, 0)).center()
    QTest.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=at)
    drawn()
    panel.redraw.flush()
    assert controller.facts.focus == int(table.table.neurons[6])
    named = panel.heading.words.split(" · ")[0]
    assert named == f"neuron {100 + controller.facts.focus}"


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []
    real = live_facts.repeated_clips

    def count(session: Session) -> Any:
        calls.append(1)
        return real(session)

    monkeypatch.setattr(live_facts, "repeated_clips", count)
    return calls


def test_a_hidden_panel_computes_nothing(panel, controller, monkeypatch, drawn):
    calls = counted(monkeypatch)
    panel.hide()
    controller.select([3, 7])
    drawn()
    assert calls == []
    controller.facts.step(2)
    drawn()
    assert calls == []
    panel.show()
    drawn()
    assert len(calls) == 1
    assert controller.facts.focus == 7


def test_a_step_to_a_neuron_not_known_yet_has_it_computed(panel, controller, drawn):
    controller.select([5, 9])
    drawn()
    controller.facts._kept.clear()
    controller.facts.step(1)
    drawn()
    assert controller.facts.focus == 5
    assert controller.facts.found is not None
    assert controller.facts.found.is_complete


def test_a_panel_behind_another_tab_computes_nothing(
    controller, show, monkeypatch, drawn
):
    calls = counted(monkeypatch)
    tabs = QTabWidget()
    panel = NeuronFactsPanel(controller)
    tabs.addTab(QWidget(), "front")
    tabs.addTab(panel, "behind")
    show(tabs, 420, 500)
    controller.select([7])
    drawn()
    assert calls == []
    tabs.setCurrentIndex(1)
    drawn()
    assert len(calls) == 1
    assert panel.heading.words.startswith("neuron 107 · ")


def test_behind_another_dock_it_computes_no_further(
    recording, show, monkeypatch, qtbot
):
    may_go_on = Event()
    monkeypatch.setattr(live_facts, "repeated_clips", lambda _: may_go_on.wait() and ())
    controller, window, docks = Controller(post=qt_post()), QMainWindow(), []
    for widget in (NeuronFactsPanel(controller), QWidget()):
        docks.append(QDockWidget("dock", window))
        docks[-1].setWidget(widget)
        window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, docks[-1])
    window.tabifyDockWidget(*docks)
    docks[0].raise_()
    show(window, 420, 500)
    controller.open_session(recording)
    controller.select([7])
    qtbot.waitUntil(lambda: controller.facts.is_busy)
    docks[1].raise_()
    qtbot.waitUntil(lambda: not controller.facts.is_busy)
    may_go_on.set()
    controller.close()


def test_numbers_are_copied_and_exported(
    panel, controller, with_fields, tmp_path, drawn, monkeypatch
):
    controller.select([4])
    drawn()
    offered: list[str] = []

    def nowhere(_: object, __: str, name: str, *___: str) -> tuple[str, str]:
        offered.append(name)
        return "", ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", nowhere)
    for action in panel.export.menu().actions():
        action.trigger()
    assert sorted(offered) == ["neuron-104.csv", "neuron-104.png"]
    panel.copy.click()
    words = QApplication.clipboard().text()
    for line in (panel.field_line, panel.tuning_line):
        assert line.text().split(": ", 1)[1] in words
    assert "clip often" in words
    panel.export_to(tmp_path / "facts.csv")
    rows = (tmp_path / "facts.csv").read_text().splitlines()
    assert rows[0] == "quantity,row,column,value"
    assert rows[1:3] == ["neuron,,,4", "unit_id,,,104"]
    assert "field reliability,,,0.61" in rows
    shown = panel.shown_repeats()
    assert shown is not None
    own = [r.split(",") for r in rows if r.startswith("clip often repeats,2,10,")]
    assert float(own[0][3]) == pytest.approx(shown.responses[0, 2, 10])
    panel.export_to(tmp_path / "facts.png")
    assert (tmp_path / "facts.png").stat().st_size > 1000
    panel.export_to(tmp_path / "nowhere" / "facts.csv")
    assert "Not saved" in panel.fault.text()


def test_a_fault_is_told_with_a_way_on(panel, controller, monkeypatch, drawn):
    def broken(*_: Any, **__: Any) -> Any:
        raise OSError("the drive is gone")

    with monkeypatch.context() as patch:
        patch.setattr(live_facts, "receptive_fields", broken)
        controller.select([4])
        drawn()
        assert "the drive is gone" in panel.fault.text()
        assert panel.stop.text() == "Compute"
    panel.stop.click()
    drawn()
    assert not panel.fault.isVisible()
    assert controller.facts.found.is_complete
