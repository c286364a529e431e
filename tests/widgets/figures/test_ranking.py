"""Figures of a ranking: the matrix with ranks, the curves with baseline and fit."""

import numpy as np
import pytest

from omnimouse_model.analysis.ranking.curve_table import CurvePoint, PretrainCurve
from omnimouse_model.analysis.ranking.rank_table import RankTable
from omnimouse_widgets.figures import pretrain_figure, ranking_figure

VALUES = np.array([[[0.1, 0.2], [0.3, 0.1], [0.2, 0.3]]])
SIZES = (1, 2, 3, 4, 5)


def table(seeds=(0,)):
    values = np.repeat(VALUES, len(seeds), axis=0)
    names = ("forward", "bits per spike")
    return RankTable(("a", "b", "c"), ("new", "other"), seeds, values, (8,) * 3, *names)


def curve(seeds=(0, 1)):
    points = tuple(
        CurvePoint(
            "new",
            order,
            0,
            tuple("abcde"[:k]),
            10 * k,
            seed,
            float(value * np.log(k + 1) + seed / 100),
        )
        for order, value in (("ranked", 0.2), ("reverse", 0.1))
        for k in SIZES
        for seed in seeds
    )
    names = ("forward", "bits per spike")
    return PretrainCurve(points, {"new": (0.1,)}, 5, 50, (0, 1), *names)


def test_the_matrix_is_sorted_by_rank_and_shows_it():
    figure = ranking_figure(table())
    (cells,) = figure.data
    # Mean ranks: c 1.5, b 2, a 2.5.
    assert list(cells.y) == ["c", "b", "a"]
    np.testing.assert_allclose(cells.z[0], [0.2, 0.3])
    assert list(cells.text[0]) == ["0.200 (2)", "0.300 (1)"]
    assert "one seed (0)" in figure.layout.annotations[0].text
    assert not ranking_figure(table((0, 1))).layout.annotations


@pytest.mark.parametrize("axis", ["k", "trials"])
def test_curves_have_means_a_baseline_and_lines_over_trials(axis):
    figure = pretrain_figure(curve(), axis=axis)
    means = [trace for trace in figure.data if trace.mode == "lines+markers"]
    lines = [trace for trace in figure.data if trace.mode == "lines"]
    assert [trace.name for trace in means] == ["ranked", "reverse"]
    np.testing.assert_allclose(means[0].x, np.array(SIZES) * (10 if axis == "trials" else 1))
    np.testing.assert_allclose(means[0].y[0], 0.2 * np.log(2) + 0.005)
    np.testing.assert_allclose(means[0].error_y.array, 0.01 / np.sqrt(2))
    assert figure.layout.shapes[0].y0 == pytest.approx(0.1)
    assert len(lines) == (2 if axis == "trials" else 0)
    if lines:
        assert lines[0].x[-1] == pytest.approx(50)
        assert "slope" in lines[0].hovertext


def test_a_curve_of_one_seed_says_so_in_the_figure():
    notes = [note.text for note in pretrain_figure(curve((0,))).layout.annotations]
    assert any("one seed (0)" in text for text in notes)
    with pytest.raises(ValueError, match="axis"):
        pretrain_figure(curve(), axis="neurons")
