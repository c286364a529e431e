import numpy as np
import pytest

from omnimouse_model.metrics.named import accuracy_interval


@pytest.mark.parametrize(
    ("n_right", "n", "expected"),
    # Worked out by hand from the formula of Wilson (1927).
    [(30, 30, (0.8865, 1.0)), (5, 10, (0.2366, 0.7634)), (0, 4, (0.0, 0.4899))],
)
def test_an_interval_of_accuracy_has_a_width_at_the_edges_too(n_right, n, expected):
    right = np.arange(n) < n_right
    assert accuracy_interval(right) == pytest.approx(expected, abs=1e-4)
