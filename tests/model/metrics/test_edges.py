"""The edge table of the metrics: each case has its status, and none warns."""

import warnings

import numpy as np
import pytest

from omnimouse_model import metrics
from omnimouse_model.metrics import Moments, Status
from omnimouse_model.metrics.tuning import fit_von_mises, selectivity_index, spatial_selectivity


@pytest.fixture
def generator():
    return np.random.default_rng(17)


@pytest.fixture(autouse=True)
def warnings_as_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_single_trial_correlation_says_why_it_is_undefined(generator):
    target = generator.normal(size=(50, 5))
    prediction = generator.normal(size=(50, 5))
    target[:, 1] = 2.0
    prediction[:, 2] = 1.0
    target[:, 3] = np.nan
    expected = ["ok", "constant_target", "constant_prediction", "nan_input", "ok"]
    strict = metrics.single_trial(prediction, target, "strict")
    pooled = metrics.single_trial(prediction, target, "sensorium")
    assert strict.status.tolist() == pooled.status.tolist() == expected
    assert np.isnan(strict.value).tolist() == [False, True, True, True, False]
    assert pooled.value[[1, 2]].tolist() == [0, 0]
    assert np.isnan(pooled.value[3])


@pytest.mark.parametrize(("samples", "status"), [(0, "empty"), (1, "constant_target")])
def test_no_sample_and_a_single_one(samples, status):
    found = metrics.single_trial(np.ones((samples, 2)), np.ones((samples, 2)), "strict")
    assert found.status.tolist() == [status] * 2
    assert np.isnan(found.value).all()


def test_aggregates_leave_out_what_they_say(generator):
    values = [np.array([0.4, np.nan, np.nan]), np.array([0.1])]
    counts = [np.array([30, 10, 0]), np.array([5])]  # constant, then never scored
    found = {p: metrics.aggregate(values, counts, p) for p in metrics.POLICIES}
    assert found["sensorium"].value == pytest.approx((0.4 + 0 + 0.1) / 3)
    assert found["strict"].value == pytest.approx((0.4 + 0.1) / 2)
    assert found["mice"].value == pytest.approx((0.2 + 0.1) / 2)
    assert found["omnimouse"].value == pytest.approx((2 * 0.3 + 0.1) / 3)
    left_out = {policy: one.n_excluded for policy, one in found.items()}
    assert left_out == {"omnimouse": 1, "sensorium": 1, "strict": 2, "mice": 1}
    assert "2 neurons left out" in found["strict"].definition
    assert np.isnan(metrics.aggregate([np.array([np.nan])], policy="strict").value)


def test_cc_family_says_why_it_is_undefined(generator):
    signal = generator.normal(size=(4, 1, 80))
    target = signal + generator.normal(size=(4, 6, 80))
    target[1] = 3.0
    target[2] = np.nan
    prediction = np.broadcast_to(signal, target.shape).copy()
    prediction[3] = 1.0
    found = metrics.cc_scores(prediction, target)
    expected = ["ok", "constant_target", "nan_input", "constant_prediction"]
    assert found.status.tolist() == expected
    assert np.isfinite(found.cc_max).tolist() == [True, False, False, True]
    assert np.isfinite(found.cc_norm).tolist() == [True, False, False, False]
    once = metrics.cc_scores(prediction[:1, :1], target[:1, :1])
    assert once.status.tolist() == ["too_few_repeats"]


def test_repeats_that_cancel_have_no_signal(generator):
    target = generator.normal(size=(2, 6, 200))
    target[1] += 3 * generator.normal(size=200)
    # The repeats of unit 0 cancel: less power in the mean than noise alone gives.
    target[0, 3:] = -target[0, :3]
    noise = np.broadcast_to(generator.normal(size=(2, 1, 200)), target.shape)
    scores = metrics.cc_scores(noise, target)
    assert scores.status.tolist() == ["no_signal", "ok"]
    assert np.isnan(scores.cc_max).tolist() == [True, False]


def test_reliability_says_why_it_is_undefined(generator):
    target = generator.normal(size=(30, 4, 3))
    target[:, :, 1] = 5.0
    target[:, :, 2] = np.nan
    expected = ["ok", "constant_target", "nan_input"]
    once = target[:, :1, :1]
    both = (metrics.conservative_reliability, metrics.jackknife_reliability)
    for reliability in both:
        found = reliability(target)
        assert found.status.tolist() == expected
        assert np.isfinite(found.value).tolist() == [True, False, False]
    singles = [reliability(once) for reliability in both]
    for single in (*singles, metrics.explainable_variance(once, once)):
        assert np.isnan(single[0]).all()
        assert (single.status == Status.TOO_FEW_REPEATS).all()


def test_unequal_repeats_are_told_once(generator):
    target = generator.normal(size=(30, 4, 2))
    target[:10, 3] = np.nan
    with pytest.warns(UserWarning, match="unequal numbers of repeats") as told:
        found = metrics.conservative_reliability(target)
    assert len(told) == 1
    assert np.isfinite(found.value).all()


def test_bits_of_what_never_spikes(generator):
    spikes = generator.poisson(0.5, (4, 20, 3)).astype(float)
    spikes[..., 1] = 0
    spikes[..., 2] = np.nan
    found = metrics.bits_per_spike_per_neuron(np.full_like(spikes, 0.5), spikes)
    assert found.status.tolist() == ["ok", "no_signal", "nan_input"]
    assert np.isfinite(found.value).tolist() == [True, False, False]
    nothing = np.ones((0, 5, 2))
    assert metrics.bits_per_spike(nothing, nothing).status == Status.EMPTY
    with pytest.raises(ValueError, match="finite"):
        metrics.bits_per_spike(np.full_like(spikes, np.nan), spikes)
    with pytest.raises(ValueError, match="not negative"):
        metrics.bits_per_spike(spikes[..., :1] - 5, spikes[..., :1])


def test_poisson_loss_leaves_out_what_is_missing():
    target = np.array([[1.0, np.nan], [2.0, 0.0]])
    rate = np.array([[1.0, np.nan], [2.0, 0.5]])
    found = metrics.poisson_loss(rate, target, 1e-8)
    parts = [1 - np.log(1 + 1e-8), 2 - 2 * np.log(2 + 1e-8), 0.5]
    assert found.value == pytest.approx(np.mean(parts))
    assert metrics.poisson_loss(rate[:0], target[:0], 1e-8).status == Status.EMPTY
    with pytest.raises(ValueError, match="finite"):
        metrics.poisson_loss(target, np.ones((2, 2)), 1e-8)
    with pytest.raises(ValueError, match="Responses must not be negative"):
        metrics.poisson_loss(np.ones(2), -np.ones(2), 1e-8)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"q": 2.0}, "probability"),
        ({"theta": np.array([1.0, 0.0])}, "must be positive"),
        ({"k": np.array([1.0, 0.0])}, "must be positive"),
        ({"target": -1.0}, "not be negative"),
    ],
)
def test_gamma_likelihood_refuses_what_it_cannot_be(change, words):
    good = {"target": np.ones(2), "theta": np.ones(2), "k": np.ones(2), "q": np.full(2, 0.5)}
    missing = metrics.zig_log_likelihood(**good | {"target": np.full(2, np.nan)})
    assert missing.status.tolist() == ["nan_input"] * 2
    with pytest.raises(ValueError, match=words):
        metrics.zig_log_likelihood(**good | {k: v * np.ones(2) for k, v in change.items()})


def test_decoding_of_a_still_channel_is_undefined(generator):
    target = generator.normal(size=(40, 3))
    target[:, 1], target[:, 2] = 1.0, np.nan
    found = metrics.explained_variance(target.copy() * 0 + 0.3, target[:, :3])
    assert found.status.tolist() == ["ok", "constant_target", "nan_input"]
    perfect = metrics.explained_variance(target[:, :1], target[:, :1])
    assert perfect.value[0] == pytest.approx(1)
    mean = np.full((40, 1), target[:, 0].mean())
    assert metrics.explained_variance(mean, target[:, :1]).value[0] == pytest.approx(0)


def test_balanced_accuracy_is_not_won_by_the_common_choice():
    target, chosen = np.array([0] * 9 + [1]), np.zeros(10, int)
    assert metrics.accuracy(chosen, target, balanced=False).value == 0.9
    assert metrics.accuracy(chosen, target, balanced=True).value == 0.5
    empty = metrics.accuracy(chosen[:0], target[:0], balanced=True)
    assert empty.status == Status.EMPTY


def test_psth_compares_means_of_conditions(generator):
    condition = np.repeat([0, 1], 200)
    rate = np.where(condition == 0, 1.0, 4.0)[:, None, None] * np.ones((400, 6, 1))
    spikes = generator.poisson(rate).astype(float)
    found = metrics.psth_explained_variance(rate, spikes, condition)
    assert found.value[0] > 0.98


def test_tuning_of_nothing_is_undefined_in_one_unit_and_in_many():
    theta = np.arange(8) * np.pi / 4
    response = np.ones((4, 8))
    response[1], response[2, 0], response[3] = 0.0, np.nan, np.exp(np.cos(theta))
    many = selectivity_index(response, theta, 1)
    assert many.status.tolist() == ["ok", "no_signal", "nan_input", "ok"]
    assert many.value[0] == pytest.approx(0, abs=1e-12)
    for unit, value, status in zip(response, *many, strict=True):
        one = selectivity_index(unit, theta, 1)
        assert one.status.item() == status
        np.testing.assert_allclose(one.value, value, rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="5 directions"):
        fit_von_mises(response[2][:5], theta[:5])


def test_a_spot_without_extent_has_no_selectivity():
    average = np.zeros((2, 6, 8))
    average[0, 2, 3] = 1.0
    found = spatial_selectivity(average)
    assert found.status.tolist() == ["no_signal", "no_signal"]
    assert np.isnan(found.value).all()


def test_merged_moments_are_those_of_all_samples(generator):
    x, y = generator.normal(3, 2, (2, 90, 4))
    y[5, 1] = np.nan
    parts = [metrics.moments(x[a:b], y[a:b]) for a, b in ((0, 0), (0, 40), (40, 90))]
    merged: Moments = parts[0].merged(parts[1]).merged(parts[2])
    np.testing.assert_allclose(merged.pearson(), metrics.correlation(x, y), rtol=1e-12)
    np.testing.assert_array_equal(merged.count, [90, 89, 90, 90])
    still = np.array([[1.0, 0.1], [1.0, 0.2], [1.0, 0.7]])
    found = metrics.moments(still + np.arange(3)[:, None], still)
    assert found.status().tolist() == ["constant_target", "ok"]


def test_missing_samples_and_unused_repeats_change_no_score(generator):
    target = generator.normal(size=(50, 2))
    prediction = target + 0.5
    whole = metrics.explained_variance(prediction, target).value
    more = np.concatenate([target, np.full((9, 2), np.nan)])
    longer = np.concatenate([prediction, np.ones((9, 2))])
    np.testing.assert_allclose(metrics.explained_variance(longer, more).value, whole)
    repeats = generator.normal(size=(1, 5, 100))
    repeats[:, 3:, :50] = np.nan
    padded = np.concatenate([repeats, np.full((1, 5, 9), np.nan)], axis=2)
    effective = [metrics.cc_scores(r, r).n_effective for r in (repeats, padded)]
    np.testing.assert_allclose(*effective)


def test_noise_as_large_as_the_variance_leaves_nothing_to_explain():
    target = np.array([[-3.0, 3.0], [1.0, 9.0]])[:, :, None]  # both variances are 25
    found = metrics.explainable_variance(np.ones_like(target), target)
    assert found.fev.item() == 0
    assert np.isnan(found.feve).all()
