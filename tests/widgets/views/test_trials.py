"""The panel *Trials*: its list, the current trial, and averages by condition."""

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.analysis.barcodes import LearnedNeurons, key_of
from omnimouse_model.simulate.spiking_laboratory import SpikingSpec, spiking_arrays
from omnimouse_widgets.views.neuron import NeuronView
from omnimouse_widgets.views.record import Curves, Message, choose, pick, record
from omnimouse_widgets.views.time import TimeView
from omnimouse_widgets.views.trials import (
    NO_TRIALS,
    READING,
    TrialsView,
    average_curves,
    condition_colours,
)
from tests.predictors import open_controller
from tests.toy_predictors import TOYS


@pytest.fixture
def controller(spiking_controller):
    return spiking_controller


@pytest.fixture
def view(controller):
    return TrialsView.of(controller)


@pytest.fixture
def follow(view):
    (found,) = (block.follow for block in view.blocks() if block.follow is not None)
    return found


def test_the_list_has_the_conditions_and_a_press_goes_to_a_trial(view, controller):
    items = record(view)
    table = items["trials"]
    assert table.titles[:3] == ("trial", "onset", "part")
    assert table.rows[2][:3] == ("3", "9.0 s", "train")
    pick(record(view)["trials"], 2)
    assert controller.navigation.trial == 2
    items = record(view)
    assert items["current"].row == 2
    assert items["trial"].text.startswith("trial 3 · ")
    assert "choice right" in items["trial"].text
    pick(record(view)["trials"], 40)  # no such row
    assert controller.navigation.trial == 2


def test_averages_are_predicted_in_sight_for_the_chosen_condition_and_tier(
    view, controller, follow
):
    assert record(view)["averages"] == Message(
        "averages", "Averages around the onsets of trials", READING
    )
    follow(True)
    controller.requests.finish_scores()
    items = record(view)
    total = len(controller.results.peri_event.trials)
    assert items["predicted"].text.endswith(f" · predicted for all {total}")
    assert items["condition"].value == "choice"
    glyphs = [(glyph, label.split(" · ")[0]) for glyph, _, label in items["legend"].signs]
    assert glyphs == [
        *(("━", "left"), ("━", "right"), ("╍", "predicted")),
        ("░", "s.e.m. over trials"),
    ]
    found, plot = controller.trial_averages.of(3), items["averages"]
    assert isinstance(plot, Curves)
    _, recorded, predicted, *_ = plot.lines
    np.testing.assert_array_equal(recorded.y, found[0].recorded[:, 0])
    np.testing.assert_array_equal(recorded.error, found[0].recorded_sem[:, 0])
    assert (recorded.dash, predicted.dash) == ("solid", "dashed")
    choose(view, "condition", "stim_id")
    assert controller.trial_averages.condition == "stim_id"
    assert items["tier"].value == "test"
    choose(view, "tier", "validation")
    controller.requests.finish_scores()
    assert "predicted for all 4" in record(view)["predicted"].text
    assert "4 validation trials" in record(view)["predicted"].tip
    follow(False)
    assert not controller.state.peri_event_shown


def test_the_text_says_where_nothing_is_predicted(view, controller, follow):
    follow(True)
    controller.editor.apply_preset("causal")
    controller.requests.finish_scores()
    items = record(view)
    predicted, times = items["averages"].lines[2], items["averages"].lines[2].x
    first_s = times[np.isfinite(predicted.y)][0]
    assert first_s > 0.5
    assert (
        f"predicted for all {len(controller.results.peri_event.trials)}, from {first_s:.2g} to"
        in items["predicted"].text
    )
    controller.editor.apply_preset("nothing")
    controller.requests.finish_scores()
    items = record(view)
    assert items["predicted"].text.endswith("no target")
    assert [glyph for glyph, *_ in items["legend"].signs] == ["━", "━", "░"]
    assert np.isfinite(items["averages"].lines[1].y).all()


@pytest.mark.parametrize(("units", "shown"), [("normalised", "s.d."), ("spikes/s", "spikes/s")])
def test_the_axis_of_averages_has_the_unit_of_the_panel_neuron(units, shown):
    assert average_curves(np.arange(2.0), [], units).up == shown


def test_averages_follow_the_focus(view, controller, follow):
    controller.selection.select([3, 8])
    follow(True)
    controller.requests.finish_scores()
    names = controller.state.session.units.names
    for focus in (3, 8):
        controller.neuron_info.step(1)
        assert controller.neuron_info.focus == focus
        assert record(view)["predicted"].text.startswith(f"unit {names[focus]} ·")


def test_the_panel_neuron_shows_a_spiking_unit(view, controller, follow):
    neuron = NeuronView.of(controller)
    for block in neuron.blocks():
        if block.follow is not None:
            block.follow(True)
    controller.requests.finish_scores()
    items, found = record(neuron), controller.neuron_info.current.spikes
    assert found.n_spikes == (spiking_arrays(SpikingSpec(n_trials=40))["spike_unit"] == 3).sum()
    np.testing.assert_allclose(items["rate"].lines[1].y, found.rate_hz)
    np.testing.assert_allclose(items["autocorrelogram"].lines[0].y, found.follow_hz)
    assert f"{found.mean_rate_hz:.2f} spikes/s" in items["spikes_text"].text
    follow(True)
    averages = record(view)["averages"]
    choose(neuron, "part", "trials")
    shown = record(neuron)["averages"]
    assert [line.y.tolist() for line in shown.lines] == [line.y.tolist() for line in averages.lines]


def test_the_part_of_the_model_replaces_that_of_the_spikes_when_it_comes(controller):
    controller.results.learned = None
    controller.selection.select([3])
    neuron, session, drawn = NeuronView.of(controller), controller.state.session, {}
    neuron.show_part("model")
    for block in neuron.blocks():
        if block.follow is not None:
            block.follow(True)

    def read_after_its_signals(number, block):
        def draw(*_):
            drawn[number] = {item.name for item in block.read()}

        draw()
        for signal in block.signals:
            signal.connect(draw)
        return draw

    # Signals hold functions weakly.
    kept = [read_after_its_signals(*pair) for pair in enumerate(neuron.blocks())]
    assert "spikes_text" in set().union(*drawn.values())
    names, codes = session.units.names, np.eye(session.n_neurons)
    controller.results.learned = LearnedNeurons(key_of(session), names, "m", codes, None)
    shown = set().union(*drawn.values())
    assert len(kept) == len(drawn)
    assert "model_row" in shown
    assert "spikes_text" not in shown


def test_trials_without_tiers_have_those_of_their_time():
    arrays = dict(spiking_arrays(SpikingSpec(n_trials=60)))
    arrays["trial_choice"] = np.where(np.arange(60) % 3, "right", "left")
    del arrays["trial_tier"]
    session = om.open_session(arrays)
    with open_controller(session, TOYS["toy-counts"]()) as controller:
        controller.editor.apply_preset("co_smoothing")
        controller.selection.select([3])
        view, time = TrialsView.of(controller), TimeView.of(controller)
        parts = [row[2] for row in record(view)["trials"].rows]
        assert parts[0] == "train"
        assert parts[-1] == "test"
        assert set(parts) <= {"train", "test", ""}
        for block in view.blocks():
            if block.follow is not None:
                block.follow(True)
        controller.requests.finish_scores()
        items = record(view)
        assert items["tier"].value == "test"
        assert {name for name, *_ in items["tier"].options} == {"train", "test"}
        assert isinstance(items["averages"], Curves)
        assert len(controller.results.peri_event.trials) == parts.count("test")
        assert record(time)["window"].text.endswith(" s · test")
        controller.navigation.seek(1.0)
        assert record(time)["window"].text.endswith(" s · train")


def test_a_failed_prediction_is_the_reason_for_no_averages(view, controller, follow):
    follow(True)
    controller.results.mark_failed(ValueError("no such model"))
    assert record(view)["averages"].text == "No prediction: no such model"
    panel = NeuronView.of(controller)
    controller.neuron_info.follow()
    choose(panel, "part", "trials")
    assert record(panel)["averages"].text == "No prediction: no such model"


def test_of_a_recording_without_trials_it_says_so():
    responses = np.arange(3600, dtype=np.float32).reshape(900, 4)
    session = om.open_session({"responses": responses, "rate_hz": 30.0})
    with open_controller(session) as controller:
        controller.selection.select([3])
        assert record(TrialsView.of(controller))["averages"].text == NO_TRIALS


def test_stimuli_that_have_names_are_a_condition():
    arrays = dict(spiking_arrays(SpikingSpec(n_trials=24)))
    arrays["trial_stim_id"] = np.array([f"dir{45 * (k % 8):03d}" for k in range(24)])
    with open_controller(om.open_session(arrays), TOYS["toy-counts"]()) as controller:
        options = record(TrialsView.of(controller))["condition"].options
        assert "stim_id" in [name for name, *_ in options]


def test_labels_of_many_directions_differ_in_colour():
    assert condition_colours(2) == ("#56B4E9", "#E69F00")
    assert len(set(condition_colours(16))) == 16
