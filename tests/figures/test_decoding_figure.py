"""Decoded behaviour on a figure: means over draws, told apart by channel and model."""

import numpy as np
import pytest

pytest.importorskip("plotly")

from omnimouse_model.analysis.scores import BehaviorScore, Scores
from omnimouse_widgets.figures import decoding_figure


def decoded(strategy, channel, value, predictor="big"):
    return BehaviorScore("a", strategy, predictor, channel, value, 40)


def before_hash(strategy):
    return strategy.partition(" #")[0]


def test_draws_of_one_condition_are_averaged_in_the_conditions_order():
    values = {"64 #0": 0.5, "64 #1": 0.7, "4 #0": 0.1, "4 #1": 0.3}
    scores = Scores(
        (), tuple(decoded(s, "running", v) for s, v in values.items()), "test"
    )
    figure = decoding_figure(scores, given=before_hash)
    (trace,) = figure.data
    assert list(trace.x) == ["64", "4"]
    assert list(figure.layout.xaxis.categoryarray) == ["64", "4"]
    np.testing.assert_allclose(trace.y, [0.6, 0.2])
    np.testing.assert_allclose(trace.error_y.array, [0.1, 0.1])
    apart = decoding_figure(scores, given=before_hash, is_ordered=False)
    assert (trace.mode, apart.data[0].mode) == ("lines+markers", "markers")


def test_channels_and_models_are_told_apart_by_more_than_colour():
    names = ("running", "pupil_size")
    scores = Scores(
        (),
        tuple(decoded("all", c, 0.5, m) for m in ("big", "small") for c in names),
        "test",
    )
    figure = decoding_figure(scores)
    looks = [(t.line.dash, t.marker.symbol) for t in figure.data]
    assert looks == [
        ("solid", "circle"),
        ("solid", "square"),
        ("dash", "circle-open"),
        ("dash", "square-open"),
    ]
    assert len({t.name for t in figure.data}) == 4


def test_what_was_refused_is_left_out_and_nothing_is_no_figure():
    scores = Scores((), (decoded("all", "running", float("nan")),), "test")
    with pytest.raises(ValueError, match="Found 0 decoded channels"):
        decoding_figure(scores)
