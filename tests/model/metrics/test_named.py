import numpy as np
import pytest

from omnimouse_model.metrics.named import accuracy_interval, common_scores, score_summary

NONE = np.nan


def test_conditions_are_compared_over_the_neurons_that_all_of_them_score():
    one = np.array([0.1, 0.2, NONE, 0.9])
    other = np.array([NONE, 0.4, 0.5, 0.6])
    found = common_scores([one, other])
    np.testing.assert_array_equal(found[0], [NONE, 0.2, NONE, 0.9])
    np.testing.assert_array_equal(found[1], [NONE, 0.4, NONE, 0.6])
    assert [score_summary(scores).n for scores in found] == [2, 2]


def test_one_without_a_score_leaves_the_others_their_neurons():
    scored = np.array([0.1, NONE])
    found = common_scores([scored, None, np.array([NONE, NONE])])
    np.testing.assert_array_equal(found[0], scored)
    assert found[1] is None
    assert score_summary(found[2]).n == 0
    assert common_scores([None]) == (None,)
    apart = common_scores([np.array([0.1, NONE]), np.array([NONE, 0.1])])
    assert [score_summary(scores).n for scores in apart] == [0, 0]


@pytest.mark.parametrize(
    ("n_right", "n", "expected"),
    # Worked out by hand from the formula of Wilson (1927).
    [(30, 30, (0.8865, 1.0)), (5, 10, (0.2366, 0.7634)), (0, 4, (0.0, 0.4899))],
)
def test_an_interval_of_accuracy_has_a_width_at_the_edges_too(n_right, n, expected):
    right = np.arange(n) < n_right
    assert accuracy_interval(right) == pytest.approx(expected, abs=1e-4)
