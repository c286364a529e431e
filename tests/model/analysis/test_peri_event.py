"""Peri-event averages: conditions, recorded means, and predictions of trials."""

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.analysis.peri_event import (
    PeriEvent,
    PeriEventResponses,
    conditions,
    event_windows,
)
from omnimouse_model.errors import StoppedError
from omnimouse_model.predict.predictor import Needs
from omnimouse_model.simulate.spiking_laboratory import SpikingSpec, spiking_arrays
from tests.predictors import EchoPredictor
from tests.toy_predictors import COUNTS, ToyPredictor

NEURONS = np.array([3, 8])


class TruthPredictor(ToyPredictor):
    """Predicts the recorded counts, as rates."""

    needs = Needs(spec=COUNTS)

    def rates(self, window, mask):
        return window.responses * COUNTS.response_rate_hz


@pytest.fixture(scope="module")
def arrays():
    return spiking_arrays(SpikingSpec(n_trials=40))


@pytest.fixture(scope="module")
def session(arrays):
    return om.open_session(arrays)


@pytest.fixture(scope="module")
def mask(session):
    """Neuron 3 is a target in all bins, neuron 8 is visible."""
    nothing = om.Mask.nothing(session, COUNTS)
    return nothing.ask([3], slice(None)).show([8], slice(None))


def events(session, mask, tier="train"):
    return PeriEvent(TruthPredictor(), session, mask, NEURONS, tier)


def test_averages_are_those_of_the_trials_of_each_label(arrays, session, mask):
    *_, found = events(session, mask).refine(lambda: False)
    assert found.is_complete
    averages = found.averages(conditions(session)["stim_id"])
    assert [average.label for average in averages] == ["left", "right"]
    is_train = arrays["trial_tier"] == "train"
    own = arrays["spike_times"][arrays["spike_unit"] == 3]
    for average in averages:
        of_label = is_train & (arrays["trial_stim_id"] == average.label)
        onsets = arrays["trial_start"][of_label]
        assert average.n_trials == average.n_predicted == len(onsets)
        edges = np.arange(51) * 0.06
        counts = np.array([np.histogram(own - onset, edges)[0] for onset in onsets])
        rates = counts / 0.06
        # An onset is rounded to a sample, so that a spike can change its bin.
        np.testing.assert_allclose(average.recorded[:, 0].mean(), rates.mean(), rtol=0.02)
        assert np.corrcoef(average.recorded[:, 0], rates.mean(axis=0))[0, 1] > 0.98
        np.testing.assert_allclose(average.predicted[:, 0], average.recorded[:, 0])
        np.testing.assert_allclose(average.recorded_sem[:, 0], average.predicted_sem[:, 0])
        assert np.isnan(average.predicted[:, 1]).all()
    np.testing.assert_allclose(found.bin_s[0], 0.03)


@pytest.mark.parametrize("n_before", [24, 25, 26])
def test_a_response_that_begins_at_the_onset_has_no_bin_before_it(mask, n_before):
    time_s = (np.arange(100) - n_before + 0.5) * 0.02
    step = np.tile((time_s > 0).astype(np.float32)[:, None], (4, 1, 1))
    found = PeriEventResponses(*(mask, "test", np.arange(4), NEURONS[:1], time_s, step, step, 4))
    (average,) = found.averages(np.full(4, "left"))
    np.testing.assert_array_equal(average.recorded[:, 0], found.bin_s > 0)
    np.testing.assert_allclose(found.bin_s[found.bin_s > 0][0], 0.03)


def test_an_interrupted_computation_continues(session, mask):
    once = list(events(session, mask).refine(lambda: False))[-1]
    run, calls = events(session, mask), iter(range(10_000))
    stops = {5, 40, 44}
    parts = []
    for _ in range(len(stops) + 1):
        try:
            parts += run.refine(lambda: next(calls) in stops)
        except StoppedError:
            continue
    assert parts[-1].is_complete
    assert not parts[0].n_predicted
    np.testing.assert_array_equal(parts[-1].predicted, once.predicted)
    np.testing.assert_array_equal(parts[-1].recorded, once.recorded)


def test_conditions_have_few_labels(arrays):
    block = np.repeat(["a", "", "b"], (10, 10, 20))
    choice = np.where(np.arange(40) % 2, 1.0, np.nan)
    columns = {"trial_block": block, "trial_choice": choice}
    found = conditions(om.open_session({**arrays, **columns}))
    assert list(found) == ["block", "stim_id"]
    assert set(found["block"]) == {"a", "b", ""}
    columns = {"trial_block": np.arange(40) % 17, "trial_stim_id": np.arange(40) % 16}
    assert list(conditions(om.open_session({**arrays, **columns}))) == ["stim_id"]


def test_windows_of_a_grid_begin_before_the_onset(session):
    mask = om.Mask.nothing(session).ask(NEURONS)
    run = PeriEvent(EchoPredictor(), session, mask, NEURONS, "test")
    *_, found = run.refine(lambda: False)
    assert found.time_s[0] == -0.5
    assert len(found.trials) == 4
    is_asked = np.isfinite(found.predicted[0, :, 0])
    assert is_asked[30:].all()
    assert not is_asked[:30].any()
    np.testing.assert_allclose(found.predicted[:, 30:], found.recorded[:, 30:] + 1, rtol=1e-5)


@pytest.mark.parametrize("spec", [COUNTS, om.OMNIMOUSE])
def test_all_trials_have_windows_unless_few_are_asked_for(session, monkeypatch, spec):
    monkeypatch.setattr("omnimouse_model.analysis.peri_event.MAX_TRIALS", 3)
    assert len(event_windows(session, spec, "train")[0]) > 3
    trials, windows = event_windows(session, spec, "train", 2)
    assert len(trials) == len(windows) == 2
