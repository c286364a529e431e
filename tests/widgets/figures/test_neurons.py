from dataclasses import replace

import numpy as np
import pytest

from omnimouse_model.evaluation.results import Score
from omnimouse_widgets.figures import score_histogram, score_scatter
from omnimouse_widgets.views.scores import BIN_WIDTH


def score(neurons, values, **fields):
    neurons, values = np.asarray(neurons), np.asarray(values, float)
    mean = float(np.nanmean(values))
    scores = (mean, 0.0, 1.0, 0.5, 9, neurons, values)
    made = Score("mouse", "test/video_only", "model", *scores)
    return replace(made, **fields)


def test_a_point_is_a_neuron_that_both_have_scored():
    x = score([2, 5, 7, 9], [0.1, 0.2, 0.3, np.nan])
    y = score([5, 7, 9, 11], [0.4, 0.1, 0.5, 0.6])
    (trace,) = score_scatter(x, y).data
    assert (list(trace.x), list(trace.y)) == ([0.2, 0.3], [0.4, 0.1])
    for words, neuron in zip(trace.hovertext, (5, 7), strict=True):
        assert f"neuron {neuron}<br>" in words


def test_ceilings_colour_the_neurons_that_have_one():
    x, y = score([1, 3], [0.1, 0.2]), score([1, 3], [0.2, 0.3])
    ceilings = np.array([0.9, 0.6, 0.9, np.nan])
    (trace,) = score_scatter(x, y, ceilings=ceilings).data
    assert trace.marker.color[0] == 0.6
    assert list(trace.marker.symbol) == ["circle", "circle-open"]
    assert "ceiling 0.600" in trace.hovertext[0]
    assert "ceiling" not in trace.hovertext[1]
    with pytest.raises(ValueError, match="one number for each neuron"):
        score_scatter(x, y, ceilings=ceilings[:2])


def test_neurons_of_different_sessions_or_without_scores_are_no_pairs():
    x = score([1, 3], [0.1, 0.2])
    with pytest.raises(ValueError, match="cannot be compared one by one"):
        score_scatter(x, replace(x, session="other"))
    refused = replace(x, per_neuron=np.full(2, np.nan), refusal="reads no video.")
    with pytest.raises(ValueError, match=r"reads no video\."):
        score_scatter(x, refused)


def test_counts_are_those_of_the_bins_and_the_line_is_the_score():
    values = np.random.default_rng(0).normal(0.3, 0.2, 200)
    one = score(range(200), values)
    two = score(range(200), np.where(np.arange(200) < 3, np.nan, values + 0.1))
    figure = score_histogram([one, two], names=["one", "two"])
    for trace, known in zip(figure.data, (values, values[3:] + 0.1), strict=True):
        edges = np.array(trace.x)
        np.testing.assert_allclose(np.diff(edges), BIN_WIDTH)
        np.testing.assert_array_equal(trace.y[:-1], np.histogram(known, edges)[0])
        assert sum(trace.y[:-1]) == len(known)
    assert [shape.x0 for shape in figure.layout.shapes] == [one.value, two.value]
    assert len({trace.line.dash for trace in figure.data}) == 2
