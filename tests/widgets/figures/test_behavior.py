"""Decoded behaviour on a figure: means over draws, told apart by channel and model."""

import numpy as np
import pytest

pytest.importorskip("plotly")

from omnimouse_model.analysis.evaluate.results import BehaviorScore, Scores
from omnimouse_widgets.figures import decoding_figure


def behavior_score(strategy, channel, value, predictor="big"):
    return BehaviorScore("a", strategy, predictor, channel, value, 40)


def strategy_label(strategy):
    return strategy.partition(" #")[0]


def scored(behavior):
    return Scores((), tuple(behavior), "test")


def test_draws_of_one_condition_are_averaged_in_the_conditions_order():
    values = {"64 #0": 0.5, "64 #1": 0.7, "4 #0": 0.1, "4 #1": 0.3}
    scores = scored(behavior_score(s, "running", value) for s, value in values.items())
    (trace,) = decoding_figure(scores, label=strategy_label).data
    assert (list(trace.x), trace.mode) == (["64", "4"], "lines+markers")
    np.testing.assert_allclose(trace.y, [0.6, 0.2])
    np.testing.assert_allclose(trace.error_y.array, [0.1, 0.1])
    (apart,) = decoding_figure(scores, label=strategy_label, is_ordered=False).data
    assert apart.mode == "markers"


def test_what_was_refused_is_left_out_and_nothing_is_no_figure():
    with pytest.raises(ValueError, match="0 decoded channels"):
        decoding_figure(scored([behavior_score("all", "running", float("nan"))]))
