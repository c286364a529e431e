"""Intervals of scores that `evaluate` returns."""

import numpy as np
import pytest

from omnimouse_model.analysis.evaluate.results import Score, Scores
from omnimouse_model.metrics.time_blocks import jackknife


def score(session, value, per_neuron, **fields):
    """Score of four neurons without an interval of its own."""
    unknown = (np.nan,) * 3  # ends of the interval, ceiling
    scores = (value, *unknown, 20, np.arange(4), np.array(per_neuron))
    return Score(session, "half", "mean", *scores, **fields)


def test_the_interval_over_neurons_and_time_adds_the_variance_between_neurons():
    left_out = 0.4 + 0.01 * np.random.default_rng(0).standard_normal(20)
    found = score("1-1-1", 0.4, [0.2, 0.4, np.nan, 0.6], left_out=left_out)
    time, both = jackknife(0.4, left_out), found.neurons_and_time()
    assert both.error**2 == pytest.approx(time.error**2 + 0.04 / 3)
    assert (time.unit, both.unit) == ("time", "neurons and time")


def test_two_mice_have_an_interval():
    scores = (score("1-1-1", 0.3, [0.3] * 4), score("2-1-1", 0.5, [0.5] * 4))
    estimate = Scores(scores, (), "test").interval("half", ["mean"])
    assert (estimate.value, estimate.unit) == (pytest.approx(0.4), "mice")
    assert estimate.low < 0.3 < 0.5 < estimate.high
