"""Intervals of scores that `evaluate` returns."""

import numpy as np
import pytest

from omnimouse_model.analysis.evaluate.results import Score, Scores
from omnimouse_model.metrics.time_blocks import jackknife


def test_the_interval_over_neurons_and_time_adds_the_variance_between_neurons():
    left_out = 0.4 + 0.01 * np.random.default_rng(0).standard_normal(20)
    score = Score(
        session="1-1-1",
        strategy="half",
        predictor="mean",
        value=0.4,
        ci_low=0.3,
        ci_high=0.5,
        ceiling=np.nan,
        n_windows=20,
        neurons=np.arange(4),
        per_neuron=np.array([0.2, 0.4, np.nan, 0.6]),
        left_out=left_out,
    )
    time, both = jackknife(0.4, left_out), score.neurons_and_time()
    assert both.error**2 == pytest.approx(time.error**2 + 0.04 / 3)
    assert (time.unit, both.unit) == ("time", "neurons and time")


def test_two_mice_have_an_interval():
    scores = [
        Score(
            session=f"{mouse}-1-1",
            strategy="half",
            predictor="mean",
            value=value,
            ci_low=np.nan,
            ci_high=np.nan,
            ceiling=np.nan,
            n_windows=1,
            neurons=np.arange(4),
            per_neuron=np.full(4, value),
        )
        for mouse, value in ((1, 0.3), (2, 0.5))
    ]
    estimate = Scores(tuple(scores), (), "test").interval("half", ["mean"])
    assert (estimate.value, estimate.unit) == (pytest.approx(0.4), "mice")
    assert estimate.low < 0.3 < 0.5 < estimate.high
