"""The panel *Neuron*: what it says is what the library says."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from omnimouse_model.analysis.barcodes import LearnedNeurons, key_of
from omnimouse_model.analysis.direction_tuning import direction_tuning, share_above
from omnimouse_model.analysis.receptive_fields import ReceptiveField
from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from omnimouse_model.display import number_text
from omnimouse_model.evaluation.repeats import AlignedPrediction, clip_repeats, repeated_clips
from omnimouse_model.live.neurons import neuron_info as live_facts
from omnimouse_model.masks import VISIBLE
from omnimouse_model.metrics.tuning import N_SHUFFLES
from omnimouse_model.simulate.spiking_laboratory import SpikingSpec, spiking_arrays
from omnimouse_widgets import palette
from omnimouse_widgets.views import neuron as text
from omnimouse_widgets.views.neuron import NeuronView
from omnimouse_widgets.views.neurons import cell_text
from omnimouse_widgets.views.record import choose, pick, press, record
from tests.predictors import open_controller
from tests.small_sessions import write_session
from tests.toy_predictors import TOYS


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
def view(controller):
    """The view while it is in sight, which computes the numbers."""
    made = NeuronView.of(controller)
    follow(made, True)
    yield made
    follow(made, False)


def follow(view, is_visible):
    for block in view.blocks():
        if block.follow is not None:
            block.follow(is_visible)


def select(view, controller, *neurons):
    """Select neurons as a panel in sight follows it; return the record of all parts."""
    controller.selection.select(neurons)
    follow(view, True)
    return all_parts(view)


def all_parts(view):
    items = record(view)
    for name, *_ in items["part"].options if "part" in items else ():
        choose(view, "part", name)
        items |= record(view)
    return items


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


def test_numbers_are_the_librarys(view, controller, recording, tuning):
    items = select(view, controller, 4)
    assert items["heading"].text == "unit 104"
    assert items["heading"].tip.endswith("index 4")
    assert f"r = {number_text(controller.results.scores[4])}" in items["now"].text
    clips = repeated_clips(recording)
    assert [len(clip.trials) for clip in clips] == [5, 3]
    repeats = clip_repeats(recording, clips[0], np.array([4]))
    assert text.repeats_text(repeats) in items["repeats_text"].text
    assert items["repeats"].raster.pixels.shape[0] == 5
    assert items["repeats_text"].tip.endswith(f"others. It is {number_text(repeats.oracle[0])}.")
    # The scale of the colours of the rows.
    *_, (sign, _, scale) = items["mean_signs"].signs
    assert sign == "yellow:"
    yellow = (items["repeats"].raster.pixels[..., :3] == palette.viridis_table()[-1]).all(axis=-1)
    assert float(scale.partition(" ")[0]) == pytest.approx(repeats.responses[0][yellow].min(), 0.05)
    mean = items["mean"].lines[0]
    np.testing.assert_allclose(mean.y, repeats.average[0])
    np.testing.assert_allclose(mean.x, repeats.time_s)
    np.testing.assert_allclose(mean.error, repeats.spread[0])
    assert text.tuning_text(tuning) in items["tuning_text"].text
    assert "vector sum" in items["tuning_text"].tip
    curve = items["tuning"].lines[1]
    np.testing.assert_allclose(curve.x, [*tuning.directions_deg, tuning.directions_deg[0] + 360])
    np.testing.assert_allclose(curve.y, [*tuning.response, tuning.response[0]])
    np.testing.assert_allclose(curve.sd[:-1], tuning.error)
    assert (90.0, "90°") in items["tuning"].ticks
    field, shown = sized_field(4), items["field"]
    assert "row 14, column 22" in items["field_text"].text
    assert "r = 0.61" in items["field_text"].text
    assert shown.pixels.shape == (36, 64, 3)
    assert shown.place == (22.0, 14.0)
    # The strongest cell of the map covers 4 x 4 pixels of the frame.
    brightest = (shown.pixels == palette.viridis_table()[255]).all(axis=2)
    assert brightest.sum() == 16
    assert brightest[3 * 4 + 1, 5 * 4 + 1]
    np.testing.assert_allclose(items["lag"].lines[1].y, field.course)
    assert items["lag"].up_ticks == ((0.0, "0"), (field.course.max(), "most"))
    less = text.lag_plot(replace(field, kind="plain", course=-field.course))
    assert (less.up, less.up_ticks) == ("contrast", ((0.0, "0"), (-field.course.max(), "less")))


def test_a_neuron_with_two_peaks_has_an_orientation_and_no_direction(tuning):
    found = replace(tuning, preferred_orientation_deg=45.0, p_orientation=0.01, p_direction=0.5)
    assert text.tuning_text(found).startswith("orientation 45°, no direction · ")
    untuned = replace(found, p_orientation=0.5)
    assert text.tuning_text(untuned).startswith("no preferred direction · ")
    of_axes = replace(untuned, has_directions=False)
    assert text.tuning_text(of_axes).startswith("no preferred orientation · ")


def test_a_neuron_that_is_no_target_says_so_in_place_of_a_score(view, controller):
    controller.editor.paint_cells([4], slice(0, 60), VISIBLE)
    assert select(view, controller, 4)["now"].text == "visible · not a target of this mask"


def test_a_press_on_a_repeat_goes_there_and_another_clip_is_shown(view, controller):
    select(view, controller, 4)
    choose(view, "part", "repeats")
    items = record(view)
    repeats = controller.neuron_info.current.repeats[0]
    pick(record(view)["repeats"], 3.0, 2.5)  # five rows: the third from above
    expected = float(repeats.onset_s[2]) + 2.0
    assert controller.state.window.start_s == pytest.approx(expected, abs=0.1)
    frame = record(view)["window"]
    assert (frame.y.min(), frame.y.max()) == (2.0, 3.0)
    assert items["clip"].value == "0"
    assert [name for _, name, _ in items["clip"].options] == [
        "clip often · 5 × 5.0 s · 3 test, 2 train",
        "clip rarely · 3 × 5.0 s · 2 train, 1 validation",
    ]
    choose(view, "clip", "1")
    assert record(view)["repeats"].raster.pixels.shape[0] == 3


def test_responses_have_a_unit_which_is_that_of_the_prediction(view, controller, tuning):
    select(view, controller, 4)
    choose(view, "part", "repeats")
    items = record(view)
    assert items["mean"].up == "s.d."
    assert items["mean"].up_ticks is None
    colours = [colour for _, colour, _ in items["mean_signs"].signs]
    assert colours[:-1] == [line.colour for line in items["mean"].lines]
    plot = text.tuning_plot(tuning)
    assert plot.up == "s.d."
    assert all(line.label for line in plot.lines)
    # A spiking recording: repeats are in s.d., predictions in spikes per second.
    repeats = controller.neuron_info.current.repeats[0]
    over = AlignedPrediction(0, repeats.time_s, 30.0 * repeats.average[0], 1.0)
    plot = text.mean_plot(repeats, over, 30.0, "spikes/s")
    assert plot.up == "spikes/s"
    np.testing.assert_allclose(plot.lines[0].y, plot.lines[1].y)
    np.testing.assert_allclose(plot.lines[0].error, 30.0 * repeats.spread[0])


def test_repeats_of_spikes_are_as_many_per_second_as_were_recorded():
    arrays = spiking_arrays(SpikingSpec(n_trials=40))
    session = open_session(arrays)
    trials = replace(session.trials, kind=np.full(40, "video"))
    with open_controller(replace(session, trials=trials), TOYS["toy-counts"]()) as made:
        made.editor.apply_preset("co_smoothing")
        mean = select(NeuronView.of(made), made, 3)["mean"]
    assert mean.up == "spikes/s"
    clip = repeated_clips(replace(session, trials=trials))[0]
    starts = arrays["trial_start"][list(clip.trials)]
    since = arrays["spike_times"][arrays["spike_unit"] == 3] - starts[:, None]
    n_spikes = ((since >= 0) & (since < clip.duration_s)).sum()
    rate = n_spikes / (len(starts) * clip.duration_s)
    assert np.nanmean(mean.lines[0].y) == pytest.approx(rate, rel=0.02)


def test_the_focus_steps_and_the_numbers_are_copied_and_saved(view, controller, tmp_path):
    items = select(view, controller)
    assert items["now"].text == text.NO_NEURON
    assert items["copy"].refusal == text.NO_NEURON
    select(view, controller, 4, 7)
    assert controller.neuron_info.focus == 7
    assert press(view, "previous") is None
    follow(view, True)
    assert record(view)["heading"].text.startswith("unit 104")
    copied = press(view, "copy").text
    assert "receptive field: row 14" in copied
    assert "om.recorded_tuning(session, [4])" in press(view, "python").text
    result = press(view, "numbers")
    assert result.name == "unit-104.csv"
    (path,) = result.write(tmp_path / result.name)
    assert path.read_text().startswith("quantity,row,column,value")
    assert press(view, "picture").content == ""
    select(view, controller, 4)
    with pytest.raises(ValueError, match="Select several neurons"):
        press(view, "next")


def test_a_fault_is_told_with_a_way_on(view, controller, monkeypatch):
    def fail(*_: Any, **__: Any) -> Any:
        raise OSError("the drive is gone")

    with monkeypatch.context() as patch:
        patch.setattr(live_facts, "receptive_fields", fail)
        items = select(view, controller, 4)
        assert "the drive is gone" in items["problem"].text
        assert items["stop"].label == "Compute"
    press(view, "stop")
    assert record(view)["problem"].text == ""
    assert "stop" not in record(view)
    assert controller.neuron_info.current.is_complete


def test_nothing_is_computed_out_of_sight(controller):
    view = NeuronView.of(controller)
    controller.selection.select([4])
    assert controller.neuron_info.current is None
    follow(view, True)
    assert controller.neuron_info.current.is_complete
    follow(view, False)


def test_what_the_model_has_learned_is_told_and_its_nearest_neurons_are_selected(
    view, controller, recording, monkeypatch
):
    angles = np.linspace(0, 1, recording.n_neurons)
    codes = np.stack([np.cos(angles), np.sin(angles)], 1)
    places = np.full((recording.n_neurons, 2), 0.25, np.float32)
    assert "nearest" not in select(view, controller, 4)
    controller.results.learned = LearnedNeurons(
        key_of(recording), recording.units.names, "model", codes, places
    )
    choose(view, "part", "model")
    asked, nearest = [], LearnedNeurons.nearest
    monkeypatch.setattr(
        LearnedNeurons, "nearest", lambda *args: asked.append(args) or nearest(*args)
    )
    items = record(view)
    assert len(asked) == 1
    assert "25 % of the width" in items["model"].text
    assert "103 (0.02)" in items["model"].text
    assert items["field_text"].text == controller.neuron_info.current.field.problem
    assert items["model"].text in press(view, "copy").text
    assert items["field"].circle[:2] == (16.0, 9.0)
    assert "Circle" in items["model"].tip
    assert text.field_plot(sized_field(4), places[4]).title.startswith("of the recording")
    weak = replace(sized_field(4), problem="too weak")
    assert text.field_plot(weak, places[4]).title.startswith("none found")
    assert text.field_plot(weak).text == "none found"
    press(view, "nearest")
    assert controller.state.selection[-1] == 4
    # Without a place of the model, the field of the recording is none of its part.
    controller.results.learned = replace(controller.results.learned, positions=None)
    items = record(view)
    assert not {"field", "lag"} & set(items)
    assert "Circle" not in items["model"].tip
    assert {2, 3, 5, 6} <= set(controller.state.selection)
    controller.results.learned = None
    items = record(view)
    assert "model" not in items
    assert items["part"].value == "field"


def test_without_video_no_empty_field_stands_beside_what_the_model_has_learned(recording):
    blind = replace(recording, stimulus=None)
    codes = np.eye(blind.n_neurons)
    with open_controller(blind) as made:
        view = NeuronView.of(made)
        select(view, made, 4)
        made.results.learned = LearnedNeurons(key_of(blind), blind.units.names, "m", codes, None)
        choose(view, "part", "model")
        items = record(view)
    assert {"model", "nearest"} <= set(items)
    assert not {"field", "lag"} & set(items)


def test_a_part_is_offered_if_there_is_something_to_show(view, controller, recording):
    assert "part" not in select(view, controller)
    items = select(view, controller, 4)
    assert [name for name, *_ in items["part"].options] == ["field", "tuning", "repeats"]
    choose(view, "part", "tuning")
    assert "tuning" in (items := record(view))
    assert not {"field", "repeats", "spikes"} & set(items)


def test_a_p_value_that_no_shuffle_reached_says_so(tuning):
    least = share_above(1.0, np.zeros(N_SHUFFLES))
    found = text.tuning_text(replace(tuning, p_orientation=least, p_direction=2 * least))
    assert "(p ≤ 0.00498)" in found
    assert "(p = 0.00995)" in found
    texts = [cell_text("recorded_p_direction", p) for p in (least, 0.5, np.nan)]
    assert texts == ["≤ 0.00498", "0.500", "–"]
