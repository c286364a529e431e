from dataclasses import replace

import numpy as np
import pytest

from omnimouse_model.evaluation.results import Score, Scores
from omnimouse_model.metrics.time_blocks import jackknife


def score(session, value, per_neuron, **fields):
    """Score of four neurons without an interval of its own."""
    unknown = (np.nan,) * 3  # ends of the interval, ceiling
    scores = (value, *unknown, 20, np.arange(4), np.array(per_neuron))
    return Score(session, "half", "mean", *scores, **fields)


def test_intervals_over_neurons_add_their_variance_and_two_mice_have_one():
    left_out = 0.4 + 0.01 * np.random.default_rng(0).standard_normal(20)
    found = score("1-1-1", 0.4, [0.2, 0.4, np.nan, 0.6], left_out=left_out)
    time, both = jackknife(0.4, left_out), found.neurons_and_time()
    assert both.error**2 == pytest.approx(time.error**2 + 0.04 / 3)
    assert (time.unit, both.unit) == ("time", "neurons and time")
    scores = (score("1-1-1", 0.3, [0.3] * 4), score("2-1-1", 0.5, [0.5] * 4))
    estimate = Scores(scores, (), "test").interval("half", ["mean"])
    assert (estimate.value, estimate.unit) == (pytest.approx(0.4), "mice")
    assert estimate.low < 0.3 < 0.5 < estimate.high


def test_a_gain_over_a_name_without_scores_is_refused_with_the_names():
    found = score("1-1-1", 0.4, [0.4])
    scores = Scores((found, replace(found, predictor="other", strategy="all")), (), "test")
    assert np.isnan(scores.gain(found, "other").value)  # has no score of this condition
    with pytest.raises(KeyError, match=f"'demo'.*{found.predictor}, other"):
        scores.gain(found, "demo")


def test_no_interval_of_a_score_goes_beyond_the_limits_of_its_metric():
    rest = np.linspace(0.9, 0.999, 10)
    found = score("1-1-1", 0.97, [0.9, 1.0, 1.0, 1.0], left_out=rest)
    worse = replace(found, predictor="worse", value=-0.97, left_out=-rest)
    scores = Scores((found, worse), (), "test")
    assert found.neurons_and_time().high == 1.0
    assert scores.interval("half", ["mean"]).high == 1.0
    assert scores.gain(found, "worse").high == 2.0
    # FVE has no lower limit.
    far = replace(found, value=-3.0, left_out=-3 - rest, metric="fve")
    assert far.neurons_and_time().low < -3.0
    far = Scores((far,), (), "test", "fve").interval("half", ["mean"])
    assert far.low < -3.0
