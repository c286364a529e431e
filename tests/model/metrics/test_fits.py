"""Curves of score over size: what they recover, prefer, foretell and refuse."""

import numpy as np
import pytest

from omnimouse_model.metrics import fit_log_line, fit_power_law

SIZES = np.repeat([8.0, 16, 32, 64, 323], 3)
TRUTH = 0.5 + 2 * SIZES**-0.3


def noisy(sd, seed):
    return TRUTH + sd * np.random.default_rng(seed).normal(size=SIZES.shape)


def test_a_power_law_is_recovered_from_little_noise():
    fits = [fit_power_law(SIZES, noisy(0.005, seed)) for seed in range(200)]
    off = np.abs([fit.exponent - 0.3 for fit in fits])
    assert np.mean(off <= 0.03) >= 0.9
    assert abs(np.mean([fit.exponent for fit in fits]) - 0.3) < 0.01


def test_a_power_law_is_recovered_from_more_noise():
    fits = [fit_power_law(SIZES, noisy(0.02, seed)) for seed in range(200)]
    inside = [0.23 <= fit.exponent <= 0.37 for fit in fits]
    assert np.mean(inside) >= 0.9


def test_noise_in_proportion_to_the_scores_costs_little():
    draws = [
        np.random.default_rng(seed).normal(size=SIZES.shape) for seed in range(200)
    ]
    fits = [fit_power_law(SIZES, TRUTH * (1 + 0.02 * draw)) for draw in draws]
    inside = [0.23 <= fit.exponent <= 0.37 for fit in fits]
    assert np.mean(inside) >= 0.85
    assert abs(np.median([fit.exponent for fit in fits]) - 0.3) < 0.02


def test_the_criterion_prefers_the_law_the_points_come_from():
    prefers = [
        fit_power_law(SIZES, y).aicc < fit_log_line(SIZES, y).aicc
        for y in (noisy(0.02, seed) for seed in range(200))
    ]
    assert np.mean(prefers) >= 0.95
    line = 0.2 + 0.03 * np.log(SIZES)
    y = line * (1 + 0.02 * np.random.default_rng(1).normal(size=SIZES.shape))
    assert fit_log_line(SIZES, y).aicc < fit_power_law(SIZES, y).aicc


def test_scores_that_rise_are_fitted_too():
    fit = fit_power_law(SIZES, 0.4 - 0.6 * SIZES**-0.5)
    assert fit.limit == pytest.approx(0.4, abs=1e-6)
    assert fit.amplitude == pytest.approx(-0.6, abs=1e-5)
    assert not fit.is_at_bound


def test_points_that_tell_no_exponent_are_said_to():
    assert fit_power_law(SIZES, 0.2 + 0.03 * np.log(SIZES)).is_at_bound


def test_large_sizes_do_not_hurt():
    sizes = 1e15 * SIZES
    fit = fit_power_law(sizes, TRUTH)
    assert fit.exponent == pytest.approx(0.3, abs=1e-5)
    np.testing.assert_allclose(fit(sizes), TRUTH, rtol=1e-8)


def test_a_line_foretells_what_lies_beyond():
    y = 0.2 + 0.03 * np.log(SIZES)
    inside = 0
    for seed in range(200):
        told = y + 0.01 * np.random.default_rng(seed).normal(size=y.shape)
        line = fit_log_line(SIZES[:12], told[:12])
        low, high = line.prediction_interval(323.0)
        inside += low <= told[12] <= high
    assert 0.9 <= inside / 200 <= 0.99


def test_three_sizes_are_refused_however_many_points():
    few = np.repeat([8.0, 16, 32], 5)
    for fit in (fit_power_law, fit_log_line):
        with pytest.raises(ValueError, match=r"4 different sizes or more, found 3"):
            fit(few, 0.1 * few)
        with pytest.raises(ValueError, match="must be positive"):
            fit(np.array([0.0, 1, 2, 3]), np.ones(4))
        with pytest.raises(ValueError, match="values finite"):
            fit(np.array([1.0, 2, 3, 4]), np.array([1, 2, np.nan, 3]))


def test_too_few_points_have_no_criterion():
    assert np.isnan(fit_power_law(SIZES[::3], TRUTH[::3]).aicc)
