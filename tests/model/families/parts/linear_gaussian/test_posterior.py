"""Posterior mean and variance against a dense solution."""

import numpy as np
import pytest

from omnimouse_model.families.parts.linear_gaussian import posterior
from omnimouse_model.families.parts.linear_gaussian.posterior import (
    FactorModel,
    Posterior,
    Prior,
    block_slice,
    blocks_of,
    fit_factors,
)

N_SAMPLES, N_NEURONS, N_FACTORS = 12, 9, 3
TIMES_S = np.arange(N_SAMPLES) / 30


@pytest.fixture
def model():
    rng = np.random.default_rng(1)
    loadings = rng.standard_normal((N_NEURONS, N_FACTORS))
    loadings /= np.linalg.norm(loadings, axis=0)
    return FactorModel(
        loadings=loadings.astype(np.float32),
        shared=rng.gamma(1.0, 0.5, (7, N_FACTORS)),
        private_variance=rng.uniform(0.3, 1.0, N_NEURONS).astype(np.float32),
        private=np.array([0.3, 0.1, 0.2, 0.1, 0.1, 0.1, 0.1]),
    )


def dense_covariance(model):
    """Covariance over (neuron, sample) as one matrix."""
    loadings, factors = model.loadings, model.shared_covariance(TIMES_S)
    shared = np.einsum("nk,mk,ktu->ntmu", loadings, loadings, factors)
    private = model.private_covariance(TIMES_S)
    for neuron, variance in enumerate(model.private_variance):
        shared[neuron, :, neuron] += variance * private
    return shared.reshape(N_NEURONS * N_SAMPLES, -1)


@pytest.fixture(params=["half", "forecast", "random", "nothing"])
def visible(request):
    mask = np.zeros((N_SAMPLES, N_NEURONS), bool)
    if request.param == "half":
        mask[:, ::2] = True
    elif request.param == "forecast":
        mask[:5] = True
    elif request.param == "random":
        mask = np.random.default_rng(2).random(mask.shape) < 0.6
    return mask


def predicted(posterior, values):
    """Conditional mean and variance of all columns, from values at visible cells."""
    columns = np.arange(N_NEURONS)
    residuals = np.where(posterior.visible, values, 0).astype(np.float32)
    projections = [
        posterior.projection(number, residuals[:, block_slice(number)])
        for number in range(len(posterior.blocks))
    ]
    factors = posterior.factors(projections)
    return posterior.mean(factors, columns, residuals), posterior.variance(columns)


@pytest.mark.parametrize("few_patterns", [128, 0])
def test_it_equals_the_dense_solution(model, visible, few_patterns, monkeypatch):
    monkeypatch.setattr(posterior, "_FEW_PATTERNS", few_patterns)
    monkeypatch.setattr(posterior, "BLOCK", 4)
    values = np.random.default_rng(3).standard_normal(visible.shape)
    found = predicted(Posterior(Prior.of(model, TIMES_S), visible), values)
    covariance, known = dense_covariance(model), visible.T.ravel()
    gain = covariance[:, known] @ np.linalg.inv(covariance[np.ix_(known, known)])
    mean = (gain @ values.T.ravel()[known]).reshape(N_NEURONS, -1).T
    variance = np.diag(covariance) - np.einsum("ij,ji->i", gain, covariance[known])
    np.testing.assert_allclose(found[0], mean, atol=2e-3)
    expected = variance.reshape(N_NEURONS, -1).T
    if few_patterns:
        np.testing.assert_allclose(found[1], expected, atol=2e-3)
    else:
        assert (found[1] > expected - 2e-3).all()


@pytest.mark.parametrize("few_patterns", [128, 3])
def test_bits_depend_on_the_visible_cells_alone(model, few_patterns, monkeypatch):
    monkeypatch.setattr(posterior, "_FEW_PATTERNS", few_patterns)
    monkeypatch.setattr(posterior, "BLOCK", 2)
    rng, prior = np.random.default_rng(4), Prior.of(model, TIMES_S)
    values, before = rng.standard_normal((N_SAMPLES, N_NEURONS)), None
    visible = np.zeros(values.shape, bool)
    for _ in range(20):
        visible = visible.copy()
        span = slice(*sorted(rng.integers(0, N_SAMPLES + 1, 2)))
        visible[span, rng.integers(0, N_NEURONS, 2)] ^= True
        before = Posterior(prior, visible, before)
        for found, alone in zip(
            predicted(before, values), predicted(Posterior(prior, visible), values), strict=True
        ):
            assert np.array_equal(found, alone)


def test_what_a_few_neurons_share_within_one_sample_is_predicted():
    """Of unit variance; half of it is common to four neurons and new in each sample."""
    rng = np.random.default_rng(5)
    residuals = rng.standard_normal((6000, 9)).astype(np.float32)
    residuals[:, :4] = np.sqrt(0.5) * (residuals[:, :4] + rng.standard_normal((6000, 1)))
    times_s = np.arange(60) / 30
    model = fit_factors(residuals, blocks_of(np.zeros(6000, int), 30.0), 30.0)
    prior = Prior.of(model, times_s)
    visible = np.ones((60, 9), bool)
    visible[:, 0] = False
    posterior, error = Posterior(prior, visible), 0.0
    for start in range(0, 6000, 60):
        values = residuals[start : start + 60]
        factors = posterior.factors([posterior.projection(0, np.where(visible, values, 0))])
        found = posterior.mean(factors, np.array([0]), np.zeros((60, 1), np.float32))
        error += float(((found[:, 0] - values[:, 0]) ** 2).sum())
    # The best prediction explains 3/8.
    assert 1 - error / (residuals[:, 0] ** 2).sum() > 0.33


def test_nearly_equal_neurons_share_no_more_than_their_variance():
    """Two have the same rare bursts, less so in the last fifth; three have half of them."""
    rng = np.random.default_rng(0)
    residuals = rng.standard_normal((9000, 25)).astype(np.float32)
    bursts = np.repeat(rng.gamma(0.03, 5.0, 900), 10)
    residuals[:, 0] = bursts + 0.05 * residuals[:, 0]
    residuals[:, 1] = bursts * rng.uniform(0.6, 1.4, 9000)
    residuals[:, 2:5] += 0.5 * bursts[:, None] * (rng.random((9000, 3)) < 0.5)
    residuals[np.arange(9000) // 600 % 5 == 4, 1] *= 0.3
    residuals = (residuals - residuals.mean(axis=0)) / residuals.std(axis=0)
    model = fit_factors(residuals, blocks_of(np.zeros(9000, int), 30.0), 30.0)
    unseen = Posterior(Prior.of(model, np.arange(60) / 30), np.zeros((60, 25), bool))
    assert unseen.variance(np.arange(25)) == pytest.approx(1.0, abs=0.05)


@pytest.mark.slow
def test_bands_of_many_groups_hold_what_they_state():
    """40 groups of 10 share .4 of their variance within a sample and .3 over a second."""
    rng = np.random.default_rng(6)
    slow = rng.standard_normal((8000, 40))
    for sample in range(1, 8000):
        slow[sample] = 0.967 * slow[sample - 1] + 0.255 * slow[sample]
    groups = np.sqrt(0.4) * rng.standard_normal((8000, 40)) + np.sqrt(0.3) * slow
    own = np.sqrt(0.3) * rng.standard_normal((8000, 400))
    residuals = (np.repeat(groups, 10, axis=1) + own)[:, rng.permutation(400)].astype(np.float32)
    model = fit_factors(residuals[:6000], blocks_of(np.zeros(6000, int), 30.0), 30.0)
    prior, visible = Prior.of(model, np.arange(60) / 30), np.zeros((60, 400), bool)
    unseen = Posterior(prior, visible).variance(np.arange(400)) / model.inflation
    assert unseen.mean() == pytest.approx(1.0, abs=0.05)
    visible[:, ::2] = True
    posterior, hidden, held = Posterior(prior, visible), np.arange(1, 400, 2), []
    half_width = 1.96 * np.sqrt(posterior.variance(hidden))
    for start in range(6000, 7980, 60):
        values = np.where(visible, residuals[start : start + 60], 0)
        parts = [posterior.projection(k, values[:, block_slice(k)]) for k in range(2)]
        found = posterior.mean(posterior.factors(parts), hidden, values[:, hidden])
        held.append(np.abs(residuals[start : start + 60, hidden] - found) < half_width)
    assert 0.94 < np.mean(held) < 0.97


@pytest.mark.parametrize(("shared", "n_samples", "rows"), [(0, 60, 120), (0.5, 90, 450)])
def test_rows_of_the_inverse_are_those_that_tell_something(shared, n_samples, rows):
    """Groups of four, or nothing, are common to 20 neurons, and new in each sample."""
    rng = np.random.default_rng(3)
    groups = np.repeat(rng.standard_normal((6000, 5)), 4, axis=1)
    residuals = np.sqrt(shared) * groups + np.sqrt(1 - shared) * rng.standard_normal((6000, 20))
    model = fit_factors(residuals.astype(np.float32), blocks_of(np.zeros(6000, int), 30.0), 30.0)
    prior = Prior.of(model, np.arange(n_samples) / 30)
    assert len(prior.root) * prior.basis.shape[1] <= rows
    assert prior.basis.shape[1] == (n_samples if shared else 12)
