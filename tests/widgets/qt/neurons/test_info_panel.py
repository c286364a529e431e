"""The dock *Neuron*: what it says is what the library says."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from omnimouse_model.analysis.barcodes import LearnedNeurons, key_of
from omnimouse_model.analysis.tuning.direction import direction_tuning
from omnimouse_model.analysis.tuning.receptive_fields import ReceptiveField
from omnimouse_model.analysis.tuning.repeats import clip_repeats, repeated_clips
from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from omnimouse_model.live.neurons import neuron_info as live_facts
from omnimouse_model.live.neurons import neuron_info_text
from omnimouse_widgets.qt.neurons.info_panel import NeuronInfoPanel
from tests.predictors import open_controller
from tests.small_sessions import write_session
from tests.widgets.pointer import canvas_position, drag


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eighty seconds."""
    return write_session(tmp_path_factory.mktemp("facts") / "mouse", 20, repeats=4)


@pytest.fixture(scope="module")
def recording(folder):
    """Two clips: one shown five times, one three times; neuron 4 has the id 104."""
    session = open_session(folder)
    stim_id = session.trials.stim_id.astype("U8")
    stim_id[[3, 5, 7, 9, 11]], stim_id[[4, 6, 8]] = "often", "rarely"
    units = replace(session.units, unit_id=np.arange(session.n_neurons) + 100)
    trials = replace(session.trials, stim_id=stim_id)
    return replace(session, units=units, trials=trials)


@pytest.fixture(scope="module")
def tuning(recording):
    """Direction tuning of neuron 4 at the centre of its receptive field."""
    (found,) = direction_tuning(recording, np.array([4]), np.array([[13.5, 21.5]]))
    return found


@pytest.fixture
def controller(recording):
    with open_controller(recording) as made:
        made.editor.apply_preset("video_behavior")
        made.selection.select([])
        yield made


@pytest.fixture
def panel(controller, show):
    return show(NeuronInfoPanel(controller), 400, 560)


def sized_field(neuron: int) -> ReceptiveField:
    """Strongest in row 3 of 9, column 5 of 16."""
    found = np.zeros((9, 16))
    found[3, 5] = 0.2
    lags = np.arange(16) / 30
    course = np.exp(-(((lags - 0.2) / 0.1) ** 2))
    return ReceptiveField(neuron, "energy", found, lags, course, 0.2, 0.61, (13.5, 21.5), 9.0)


@pytest.fixture(autouse=True)
def estimates(monkeypatch, tuning):
    """Every neuron has that receptive field and that tuning: estimates take long."""

    def fields(session: Session, neurons: np.ndarray, **_: Any) -> Any:
        return tuple(sized_field(neuron) for neuron in neurons.tolist())

    def tunings(session: Session, neurons: np.ndarray, *_: Any, **__: Any) -> Any:
        return tuple(replace(tuning, neuron=neuron) for neuron in neurons.tolist())

    monkeypatch.setattr(live_facts, "receptive_fields", fields)
    monkeypatch.setattr(live_facts, "direction_tuning", tunings)


def test_numbers_are_the_librarys(panel, controller, recording, tuning, redraw):
    controller.selection.select([4])
    redraw()
    assert panel.heading.full_text.startswith("neuron 104 ")
    assert panel.heading.full_text.endswith("index 4")
    assert f"r = {controller.results.scores[4]:.2f}" in panel.now.text()
    clips = repeated_clips(recording)
    assert [len(clip.trials) for clip in clips] == [5, 3]
    repeats = clip_repeats(recording, clips[0], np.array([4]))
    assert neuron_info_text.repeats_text(repeats) in panel.repeats_line.text()
    np.testing.assert_allclose(panel.repeats.image.image, repeats.responses[0])
    x, y = panel.repeats.mean.getData()
    np.testing.assert_allclose(y, repeats.average[0])
    np.testing.assert_allclose(x, repeats.time_s)
    _, upper = panel.repeats.spread.curves[1].getData()
    np.testing.assert_allclose(upper, repeats.average[0] + repeats.spread[0])
    assert neuron_info_text.tuning_text(tuning) in panel.tuning_line.text()
    around = panel.tuning.curve.getData()
    np.testing.assert_allclose(np.hypot(*around)[:-1], tuning.response)
    field = sized_field(4)
    assert "row 14, column 22" in panel.field_line.text()
    assert "r = 0.61" in panel.field_line.text()
    np.testing.assert_allclose(panel.field.image.image, field.map)
    assert panel.field.centre.getData() == (22.0, 14.0)
    # The map covers the frame, in whose pixels the centre is.
    shown = panel.field.image.mapRectToParent(panel.field.image.boundingRect())
    assert (shown.width(), shown.height()) == (64, 36)
    np.testing.assert_allclose(panel.lags.curve.getData()[1], field.course)


def test_a_press_on_a_repeat_goes_there(panel, controller, redraw):
    controller.selection.select([4])
    redraw()
    place = canvas_position(panel.canvas, panel.repeats.rows_box, 3.0, 2.5)
    drag(panel.canvas.viewport(), [place])
    expected = float(panel.displayed_repeats().onset_s[2]) + 2.0
    assert controller.state.window.start_s == pytest.approx(expected, abs=0.1)


def test_a_fault_is_told_with_a_way_on(panel, controller, monkeypatch, redraw):
    def fail(*_: Any, **__: Any) -> Any:
        raise OSError("the drive is gone")

    with monkeypatch.context() as patch:
        patch.setattr(live_facts, "receptive_fields", fail)
        controller.selection.select([4])
        redraw()
        assert "the drive is gone" in panel.problem.text()
    panel.stop.click()
    redraw()
    assert not panel.problem.isVisible()
    assert controller.neuron_info.current.is_complete


def test_what_the_model_has_learned_is_told_and_its_nearest_neurons_are_selected(
    panel, controller, recording, redraw
):
    angles = np.linspace(0, 1, recording.n_neurons)
    codes = np.stack([np.cos(angles), np.sin(angles)], 1)
    places = np.full((recording.n_neurons, 2), 0.25, np.float32)
    controller.selection.select([4])
    redraw()
    assert not panel.select_nearest.isVisible()
    controller.results.learned = LearnedNeurons(
        key_of(recording), recording.units.names, "model", codes, places
    )
    redraw()
    assert "25% of the width" in panel.model_line.text()
    assert "103 (0.02)" in panel.model_line.text()
    assert panel.model_line.text().partition(": ")[2] in panel.full_text()
    assert not panel.field.message.text  # a map is drawn
    panel.field.show(replace(sized_field(4), problem="too weak"))
    assert panel.field.message.text.startswith("none found")
    assert "the model reads" in panel.field.message.text
    panel.select_nearest.click()
    assert controller.state.selection[-1] == 4
    assert {2, 3, 5, 6} <= set(controller.state.selection)
    controller.results.learned = None
    redraw()
    assert not panel.model_line.text()
    panel.field.show(replace(sized_field(4), problem="too weak"))
    assert panel.field.message.text == "none found"
