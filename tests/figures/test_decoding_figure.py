"""Decoded behaviour on a figure: means over draws, told apart by channel and model."""

from itertools import combinations

import numpy as np
import pytest

pytest.importorskip("plotly")

from omnimouse_model.analysis.scores import BehaviorScore, Scores
from omnimouse_widgets.figures import decoding_figure
from omnimouse_widgets.palette import rgb


def behavior_score(strategy, channel, value, predictor="big"):
    return BehaviorScore("a", strategy, predictor, channel, value, 40)


def strategy_label(strategy):
    return strategy.partition(" #")[0]


def scored(behavior):
    return Scores((), tuple(behavior), "test")


def test_draws_of_one_condition_are_averaged_in_the_conditions_order():
    values = {"64 #0": 0.5, "64 #1": 0.7, "4 #0": 0.1, "4 #1": 0.3}
    scores = scored(behavior_score(s, "running", value) for s, value in values.items())
    (trace,) = decoding_figure(scores, given=strategy_label).data
    assert (list(trace.x), trace.mode) == (["64", "4"], "lines+markers")
    np.testing.assert_allclose(trace.y, [0.6, 0.2])
    np.testing.assert_allclose(trace.error_y.array, [0.1, 0.1])
    (apart,) = decoding_figure(scores, given=strategy_label, is_ordered=False).data
    assert apart.mode == "markers"


def test_channels_and_models_are_told_apart_by_more_than_colour():
    figure = decoding_figure(
        scored(
            behavior_score("all", channel, 0.5, model)
            for model in ("big", "small")
            for channel in ("running", "pupil_size")
        )
    )
    looks = [(t.line.dash, t.marker.symbol) for t in figure.data]
    assert looks == [
        ("solid", "circle"),
        ("solid", "square"),
        ("dash", "circle-open"),
        ("dash", "square-open"),
    ]
    assert len({t.name for t in figure.data}) == 4


def test_what_was_refused_is_left_out_and_nothing_is_no_figure():
    with pytest.raises(ValueError, match="0 decoded channels"):
        decoding_figure(scored([behavior_score("all", "running", float("nan"))]))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_colours_of_five_channels_are_far_apart(theme):
    names = ("pupil_size", "pupil_d_size", "pupil_x", "pupil_y", "running")
    scores = scored(behavior_score("all", name, 0.5) for name in names)
    found = [rgb(t.line.color) for t in decoding_figure(scores, theme=theme).data]
    apart = [np.linalg.norm(np.subtract(a, b)) for a, b in combinations(found, 2)]
    assert min(apart) > 70
