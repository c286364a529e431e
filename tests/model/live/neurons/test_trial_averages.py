"""Averages around trials are predicted while they are shown, for the selection."""

from dataclasses import replace

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.simulate.spiking_laboratory import SpikingSpec, spiking_arrays
from tests.predictors import open_controller
from tests.toy_predictors import TOYS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def session():
    return om.open_session(spiking_arrays(SpikingSpec(n_trials=40)))


@pytest.fixture
def controller(session):
    with open_controller(session, TOYS["toy-counts"]()) as made:
        made.editor.apply_preset("co_smoothing")
        made.selection.select([3, 8])
        yield made


def test_they_are_predicted_only_while_a_view_shows_them(controller):
    averages = controller.trial_averages
    controller.requests.finish_scores()
    assert averages.of(3) == ()
    averages.show(True, "view")
    controller.requests.finish_scores()
    asked = controller.state.mask.target.any(axis=0)
    for neuron in (3, 8):
        found = averages.of(neuron)
        assert [one.label for one in found] == ["left", "right"]
        assert sum(one.n_trials for one in found) == 4
        known = [np.isfinite(one.predicted).all() for one in found]
        assert known == [asked[neuron]] * 2
    averages.show(False, "view")
    assert not controller.state.peri_event_shown


def test_they_follow_the_selection_and_the_task(controller):
    averages = controller.trial_averages
    averages.show(True, "view")
    controller.requests.finish_scores()
    before = averages.of(3)[0].predicted
    controller.selection.select([5])
    controller.requests.finish_scores()
    assert averages.of(3) == ()
    assert averages.of(5)
    controller.selection.select([3])
    controller.editor.apply_preset("causal")
    assert averages.of(3) == ()
    controller.requests.finish_scores()
    after = averages.of(3)[0].predicted
    assert np.isnan(after[0]).all()
    assert np.isfinite(after[-1]).all()
    assert before.shape == after.shape


def test_an_equal_task_keeps_them(controller):
    averages = controller.trial_averages
    averages.show(True, "view")
    controller.requests.finish_scores()
    first = controller.state.mask
    controller.editor.apply_preset("causal")
    controller.requests.finish_scores()
    again = replace(first, name="again")
    controller.editor.set_mask(again)
    controller.requests.finish_scores()
    assert controller.results.peri_event.mask is controller.state.mask is again


def test_trials_of_another_tier_are_predicted(controller):
    averages, tiers = controller.trial_averages, controller.state.session.trials.tier
    averages.show(True, "view")
    controller.requests.finish_scores()
    assert (averages.tier, averages.tiers) == ("test", ("test", "train", "validation"))
    averages.choose_tier("train")
    controller.requests.finish_scores()
    found = controller.results.peri_event
    assert found.is_complete
    assert set(tiers[found.trials]) == {"train"}
    assert sum(one.n_trials for one in averages.of(3)) == (tiers == "train").sum()
    with pytest.raises(ValueError, match="'oracle'"):
        averages.choose_tier("oracle")
    with pytest.raises(ValueError, match="stim_id"):
        averages.choose("choice")
    controller.loader.open_now(om.open_session(spiking_arrays(SpikingSpec(n_trials=20))))
    assert averages.tier == "test"
