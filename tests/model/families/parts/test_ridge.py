"""Ridge regressions from running sums."""

import numpy as np

from omnimouse_model.families.parts.ridge import Sums, weights


def test_inputs_that_vary_little_beside_their_means_have_weights():
    draw = np.random.default_rng(1)
    parts = draw.normal(size=(2000, 3)) @ draw.normal(size=(3, 40))
    x, y = 1.0 + 1e-3 * parts, parts[:, :1] + 0.1 * draw.normal(size=(2000, 1))
    sums = Sums(40, 1)
    sums.add(x, y)
    covariance = sums.covariance()
    predicted = (x - covariance.mean_x) @ weights(covariance, 1e-3)
    assert np.corrcoef(predicted[:, 0], y[:, 0])[0, 1] > 0.9


def test_a_constant_output_has_no_weights():
    draw = np.random.default_rng(1)
    x, y = draw.gamma(2.0, 5.0, (2000, 20)), draw.normal(size=(2000, 3))
    y[:, 1], y[:, 2] = 3.0, 0.1
    sums = Sums(20, 3)
    sums.add(x, y)
    weight = weights(sums.covariance(), 1e-2)
    assert weight[:, 0].all()
    assert not weight[:, 1:].any()
