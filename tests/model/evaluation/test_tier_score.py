from dataclasses import fields

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.data.window_spec import OMNIMOUSE
from omnimouse_model.errors import StoppedError
from omnimouse_model.evaluation import tier_score
from omnimouse_model.evaluation.results import Score
from omnimouse_model.evaluation.shard import TRAIN_WINDOWS
from omnimouse_model.evaluation.tier_score import TierScoring, sampled, scored_tier
from omnimouse_model.evaluation.tier_windows import (
    mean_rates,
    scored_starts,
    spread_starts,
    tiers_at,
)
from omnimouse_model.masks import scored_cells
from omnimouse_model.metrics import moments
from omnimouse_model.metrics.time_blocks import BlockSums
from tests.acceptance.live_intervals import one_window, scores_over_windows
from tests.model.context_predictor import ContextPredictor
from tests.predictors import EchoPredictor
from tests.small_sessions import simulate_mouse

pytestmark = pytest.mark.slow  # a simulated recording is evaluated many times


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sessions") / "small"
    return om.open_session(simulate_mouse(folder, 40, 1.1, times=2))


@pytest.fixture
def mask(session):
    return om.Mask.nothing(session).show(range(20)).ask(range(20, 40))


def test_after_the_last_window_it_has_the_bits_of_an_evaluation(session, mask):
    scoring = TierScoring(ContextPredictor(), session, mask)
    found = list(scoring.refine(lambda: False))
    assert found[0].n_windows == min(8, found[-1].n_total)
    assert found[-1].is_complete
    expected = om.evaluate(ContextPredictor(), session, mask).scores[0]
    score = found[-1].score
    assert score.is_centred
    assert score.value != score.pooled
    # Not the ceiling, which live scores do not have, and the groups of stimuli.
    for one in fields(Score):
        if one.name not in ("ceiling", "groups"):
            np.testing.assert_equal(getattr(score, one.name), getattr(expected, one.name))
    estimate = found[-1].estimate
    numbers = estimate.value, estimate.low, estimate.high
    np.testing.assert_equal(numbers, (expected.value, expected.ci_low, expected.ci_high))


def test_the_worlds_of_live_intervals_have_its_scores(session, mask):
    """`tests.acceptance.live_intervals` draws without windows and recordings."""

    def windows_of(starts):
        predictor, cells = ContextPredictor(), scored_cells(mask)[:, 20:]
        windows = [session.window(start) for start in starts]
        both = [(predictor.predict(w, mask).responses, w.responses) for w in windows]
        predicted, recorded = ([*map(np.float64, part)] for part in zip(*both, strict=True))
        recorded = [part[:, 20:] for part in recorded]
        return moments(np.array(predicted), np.array(recorded), 1, cells)

    scoring = TierScoring(ContextPredictor(), session, mask)
    last = list(scoring.refine(lambda: False))[-1]
    starts = spread_starts(scored_starts(session, "train"), TRAIN_WINDOWS)
    of_train, trained = windows_of(starts.tolist()), BlockSums()
    for place in range(len(starts)):
        trained.add(place, one_window(of_train, place))
    centres = trained.centres(mean_rates(session, OMNIMOUSE)[20:])
    starts = scored_starts(session)
    counts = tuple(last.steps)
    found = scores_over_windows(windows_of(starts.tolist()), starts, centres, counts)
    for count, (centred, _) in zip(counts, found, strict=True):
        for part, expected in zip(centred, last.steps[count], strict=True):
            np.testing.assert_allclose(part, expected, atol=1e-12)


def test_it_stops_in_a_batch_and_goes_on_to_the_same_numbers(session, mask):
    scoring = TierScoring(ContextPredictor(), session, mask)
    calls = iter(range(22))
    with pytest.raises(StoppedError):
        list(scoring.refine(lambda: next(calls, None) is None))
    resumed = list(scoring.refine(lambda: False))[-1]
    whole = list(TierScoring(ContextPredictor(), session, mask).refine(lambda: False))
    assert resumed.score.value == whole[-1].score.value
    assert resumed.n_windows == whole[-1].n_windows


def test_gains_are_over_the_windows_of_both(session, mask):
    main = TierScoring(EchoPredictor(), session, mask)
    other = TierScoring(ContextPredictor(), session, mask)
    first = next(iter(other.refine(lambda: False)))
    last = list(main.refine(lambda: False))[-1]
    gain, n_windows = last.gain(first)
    assert n_windows == first.n_windows
    assert gain.value == last.steps[n_windows][0] - first.score.value
    # As the score of so few windows.
    assert first.is_preliminary
    assert np.isnan([gain.low, gain.high, first.estimate.low]).all()
    assert last.gain(TierScoring(EchoPredictor(), session, mask).result())[1] == 0
    # The mean predictions are those of a sample of the train windows.
    assert np.median(last.score.slope_per_neuron) == pytest.approx(1.0, abs=0.1)
    slopes = list(other.refine(lambda: False))[-1].score
    np.testing.assert_array_equal(np.sign(slopes.slope_per_neuron), np.sign(slopes.per_neuron))


def test_a_sample_of_many_targets_is_scored_first(session, mask, monkeypatch):
    monkeypatch.setattr(tier_score, "SAMPLE", 5)
    task = sampled(mask)
    of_task, of_all = (scored_cells(one).any(axis=0) for one in (task, mask))
    assert of_task.sum() == 5
    assert not (of_task & ~of_all).any()
    assert sampled(task) is None
    # A stroke keeps what it does not touch of the sample.
    kept = scored_cells(sampled(mask.hide(np.flatnonzero(of_task)[:1]))).any(axis=0)
    assert (kept & of_task).sum() == 4
    found = list(TierScoring(ContextPredictor(), session, mask).refine(lambda: False))
    first, last = [one for one in found if one.sample], found[-1]
    assert all(one.mask is mask and not one.is_complete for one in first)
    # All targets take over where their score is no longer preliminary.
    n_all = found[-1].n_total
    expected = [(8, 0), (n_all, 0), (n_all, 8)]
    assert [(one.n_windows, one.sample.n_windows) for one in first] == expected
    assert len(found) == len(first) + 1
    assert "over 8 test windows, 5 of 20 targets, preliminary" in repr(first[0])
    alone = list(TierScoring(ContextPredictor(), session, task).refine(lambda: False))
    np.testing.assert_equal(first[1].steps, alone[1].steps)
    assert last.is_complete
    expected = om.evaluate(ContextPredictor(), session, mask).scores[0]
    assert last.score.value == expected.value
    # A gain is of the targets of both, whoever is behind.
    other = list(TierScoring(EchoPredictor(), session, mask).refine(lambda: False))
    value = alone[1].score.value
    for ahead in (other[1], other[-1]):
        gain, n_windows = first[1].gain(ahead)
        assert n_windows == n_all
        assert gain.value == value - other[1].score.value
    assert last.gain(other[-1])[0].value == last.score.value - other[-1].score.value
    # From the sums of an earlier process, too, which has few windows of all targets.
    earlier, later = (TierScoring(ContextPredictor(), session, mask) for _ in range(2))
    next(one for one in earlier.refine(lambda: False) if one.sample.n_windows)
    later.restore(*earlier.sums())
    assert later.n_added == 1
    assert not later.has_windows
    again = list(later.refine(lambda: False))
    assert [one.sample is None for one in again] == [False, False, True]
    for name in ("steps", "sample_steps"):
        np.testing.assert_equal(getattr(again[-1], name), getattr(last, name))
    # No number is of no window.
    assert 0 not in last.steps.keys() | last.sample_steps.keys()


def test_the_tiers_of_a_window_are_those_of_its_trials_or_of_its_split(session):
    assert scored_tier(session, OMNIMOUSE) == "test"
    for tier in ("train", "validation", "test"):
        start = float(session.window_starts(tier)[0])
        assert tiers_at(session, start, start + 2.0) == (tier,)
    divided = om.open_session({"responses": np.ones((3000, 5)), "rate_hz": 30.0})
    spans = {t: divided.window_starts(t)[-1] for t in ("train", "test")}
    for tier, start in spans.items():
        assert tiers_at(divided, float(start), float(start) + 2.0) == (tier,)
    middle = float(spans["train"]) + 1.0
    assert tiers_at(divided, middle, middle + 2.0) == ("train",)
    assert tiers_at(divided, -9.0, -7.0) == ()
