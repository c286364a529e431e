"""Curves of score over size: what they recover, prefer, foretell and refuse."""

import numpy as np
import pytest

from omnimouse_model.metrics import fit_log_line, fit_power_law
from omnimouse_model.metrics.fits import aicc

SIZES = np.repeat([8.0, 16, 32, 64, 323], 3)
TRUTH = 0.5 + 2 * SIZES**-0.3


DRAWS = np.random.default_rng(0).normal(size=(200, *SIZES.shape))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("noise", "off", "share", "bias"),
    [
        (0.005 * DRAWS, 0.03, 0.9, 0.01),
        (0.02 * DRAWS, 0.07, 0.9, 0.02),
        (0.02 * DRAWS * TRUTH, 0.07, 0.85, 0.02),
    ],
    ids=["little", "more", "in proportion"],
)
def test_a_power_law_is_recovered_from_noise(noise, off, share, bias):
    exponents = np.array([fit_power_law(SIZES, TRUTH + e).exponent for e in noise])
    assert np.mean(np.abs(exponents - 0.3) <= off) >= share
    assert abs(np.median(exponents) - 0.3) < bias


@pytest.mark.slow
def test_the_criterion_prefers_the_law_the_points_come_from():
    prefers = [
        fit_power_law(SIZES, y).aicc < fit_log_line(SIZES, y).aicc for y in TRUTH + 0.02 * DRAWS
    ]
    assert np.mean(prefers) >= 0.95
    y = (0.2 + 0.03 * np.log(SIZES)) * (1 + 0.02 * DRAWS[1])
    assert fit_log_line(SIZES, y).aicc < fit_power_law(SIZES, y).aicc


def test_rising_scores_and_large_sizes_are_fitted_too():
    fit = fit_power_law(SIZES, 0.4 - 0.6 * SIZES**-0.5)
    assert fit.limit == pytest.approx(0.4, abs=1e-6)
    assert fit.amplitude == pytest.approx(-0.6, abs=1e-5)
    assert not fit.is_at_bound
    assert fit_power_law(SIZES, 0.2 + 0.03 * np.log(SIZES)).is_at_bound
    sizes = 1e15 * SIZES
    fit = fit_power_law(sizes, TRUTH)
    assert fit.exponent == pytest.approx(0.3, abs=1e-5)
    np.testing.assert_allclose(fit(sizes), TRUTH, rtol=1e-8)


@pytest.mark.slow
def test_a_line_foretells_what_lies_beyond():
    inside = 0
    for told in 0.2 + 0.03 * np.log(SIZES) + 0.01 * DRAWS:
        line = fit_log_line(SIZES[:12], told[:12])
        low, high = line.prediction_interval(323.0)
        inside += low <= told[12] <= high
    assert 0.9 <= inside / len(DRAWS) <= 0.99


def test_three_sizes_are_refused_however_many_points():
    few = np.repeat([8.0, 16, 32], 5)
    for fit in (fit_power_law, fit_log_line):
        with pytest.raises(ValueError, match=r"4 different sizes or more, found 3"):
            fit(few, 0.1 * few)
        with pytest.raises(ValueError, match="must be positive"):
            fit(np.array([0.0, 1, 2, 3]), np.ones(4))
        with pytest.raises(ValueError, match="values finite"):
            fit(np.array([1.0, 2, 3, 4]), np.array([1, 2, np.nan, 3]))


def test_the_criterion_counts_the_parameters_of_each_fit():
    for fit, n_parameters in ((fit_power_law, 3), (fit_log_line, 2)):
        found = fit(SIZES, TRUTH + 0.02 * DRAWS[0])
        assert found.aicc == aicc(found.rss, found.n, n_parameters)
    # It needs two points more than parameters.
    assert np.isfinite(aicc(1.0, 6, 3))
    assert np.isnan(aicc(1.0, 5, 3))
    assert np.isnan(fit_power_law(SIZES[::3], TRUTH[::3]).aicc)
