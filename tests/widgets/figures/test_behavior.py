import numpy as np
import pytest

from omnimouse_model.evaluation.results import BehaviorScore, Scores
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
    figure = decoding_figure(scores, label=strategy_label)
    draws, trace = figure.data
    assert list(figure.layout.xaxis.ticktext) == ["64", "4"]
    assert (list(trace.x), trace.mode) == ([0, 1], "lines+markers")
    np.testing.assert_allclose(draws.y, [0.5, 0.7, 0.1, 0.3])
    np.testing.assert_allclose(trace.y, [0.6, 0.2])
    np.testing.assert_allclose(trace.error_y.array, [0.1, 0.1])
    _, apart = decoding_figure(scores, label=strategy_label, is_ordered=False).data
    assert apart.mode == "markers"


def test_each_channel_has_a_panel_and_models_lie_beside_each_other():
    scores = scored(
        behavior_score("V1", channel, 0.5, model)
        for channel in ("running", "pupil_x")
        for model in ("big", "small")
    )
    figure = decoding_figure(scores, is_ordered=False)
    places = {(t.name, t.xaxis): t.x[0] for t in figure.data}
    assert [*places] == [("big", "x"), ("small", "x"), ("big", "x2"), ("small", "x2")]
    assert places["big", "x"] < places["small", "x"]
    titles = [note.text for note in figure.layout.annotations[:2]]
    assert titles == ["running", "pupil x"]


def test_what_was_refused_is_left_out_and_nothing_is_no_figure():
    with pytest.raises(ValueError, match="0 decoded channels"):
        decoding_figure(scored([behavior_score("all", "running", float("nan"))]))
