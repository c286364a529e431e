"""The metrics: reference values, formulas, pooling in parts, statistics."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnimouse_model import metrics
from omnimouse_model.metrics import StreamingCorrelation
from tests import FIXTURES
from tests.conformance import metrics as conformance
from tests.conformance.line import Line, print_lines

METRICS = FIXTURES / "metrics"


@pytest.fixture
def generator():
    return np.random.default_rng(7)


def noisy_pair(generator, samples=400, neurons=6):
    target = generator.normal(3, 2, (samples, neurons))
    return target + generator.normal(0, 2, target.shape), target


@pytest.mark.slow
def test_reference_values_are_met():
    found = {line.name: line for line in conformance.lines(METRICS)}
    assert found.keys() == conformance.COVERED.keys()
    assert not [line.text() for line in found.values() if not line.is_good]


def test_conformance_fails_on_a_wrong_value(tmp_path, capsys):
    with np.load(METRICS / "bps.npz", allow_pickle=False) as archive:
        data = dict(archive)
    data["exp_bps_pooled"] = data["exp_bps_pooled"] * (1 + 1e-6)
    np.savez(tmp_path / "bps.npz", **data)
    np.savez(tmp_path / "other.npz")
    assert print_lines(conformance.lines(tmp_path)) == 1
    said = capsys.readouterr().out
    assert "FAIL bps" in said
    assert "(bps_pooled)" in said
    assert "other (not covered" in said
    assert print_lines([]) == 1


def test_conformance_takes_any_number_of_mice(tmp_path):
    with np.load(METRICS / "single_trial.npz", allow_pickle=False) as archive:
        data = dict(archive)
    names = ("y", "r", "exp_corr_sensorium", "exp_corr_strict")
    data |= {f"{name}10": data[f"{name}1"] for name in names}
    each = [data[f"exp_corr_sensorium{k}"] for k in (0, 1, 10)]
    data["exp_pooled_mean_sensorium"] = np.concatenate(each).mean()
    data["exp_mean_of_mice_sensorium"] = np.mean([one.mean() for one in each])
    np.savez(tmp_path / "single_trial.npz", **data)
    (line,) = conformance.lines(tmp_path)
    assert line.is_good, line.text()
    assert "corr_strict10" in line.ratios


GIVEN_FIT = metrics.tuning.VonMises(1e-7, 2.0, 0.8, 3.0, 0.5, 0.2, True)


@pytest.mark.parametrize(
    ("changes", "given_mse", "is_good"),
    [
        ({"mu": 2 * np.pi - 1e-7}, 0.19, True),
        ({"mu": np.pi, "phi": 0.2}, 0.2, True),
        ({"mu": np.pi, "phi": 0.2}, 0.19, False),
        ({"mu": 1.5, "mse": 0.0}, 0.2, False),
        ({"amplitude": 15.0, "mse": 0.0}, 0.2, False),
        (dict.fromkeys(("mu", "kappa", "phi", "amplitude", "base", "mse"), np.nan), 0.2, False),
        ({"mse": 0.1}, 0.2, False),
    ],
    ids=["around 0", "same curve", "worse", "direction", "amplitude", "NaN", "reported mse"],
)
def test_conformance_takes_only_a_fit_that_is_as_good(changes, given_mse, is_good):
    theta = np.arange(16) * np.pi / 8
    response = GIVEN_FIT(theta) + np.sqrt(0.2) * (-1.0) ** np.arange(16)
    fit = dataclasses.replace(GIVEN_FIT, **changes)
    expected = np.array([[*dataclasses.astuple(GIVEN_FIT)[:5], given_mse]])
    line = Line("fit")
    for name, found, wanted, tolerance in conformance._fitted(
        "fit", [fit], response[None], theta, expected
    ):
        line.add(name, found, wanted, atol=tolerance, rtol=tolerance)
    assert line.is_good == is_good


@pytest.mark.parametrize("value", [0.7, 1 / 3, 12345.678, -2.3])
def test_constant_responses_have_no_ceiling(generator, value):
    # Their variance is not exactly 0.
    target = np.full((50, 3, 1), value)
    prediction = generator.normal(size=target.shape)
    scores = metrics.cc_scores(prediction.transpose(2, 1, 0), target.transpose(2, 1, 0))
    explainable = metrics.explainable_variance(prediction, target)
    found = [scores.cc_max, scores.cc_norm, explainable.fev, explainable.feve]
    kinds = [scores.status, explainable.status]
    for measure in (metrics.conservative_reliability, metrics.jackknife_reliability):
        reliability = measure(target)
        found.append(reliability.value)
        kinds.append(reliability.status)
    assert np.isnan(found).all()
    assert np.unique(kinds).tolist() == ["constant_target"]


def test_correlation_and_slope_are_numpys(generator):
    prediction, target = noisy_pair(generator)
    kept = np.delete(np.arange(len(target)), [3, 10])
    pairs = [*zip(prediction[kept].T, target[kept].T, strict=True)]
    # A pair with a missing value is left out.
    prediction[3], target[10] = np.nan, np.nan
    expected = [np.corrcoef(*pair)[0, 1] for pair in pairs]
    np.testing.assert_allclose(metrics.correlation(prediction, target), expected)
    found = metrics.correlation(prediction.T, target.T, axis=1)
    np.testing.assert_allclose(found, expected)
    expected = [np.polyfit(*pair, 1)[0] for pair in pairs]
    sums = metrics.moments(prediction, target)
    found = sums.centred_slope(sums.mean_prediction, sums.mean_target)
    np.testing.assert_allclose(found, expected)
    # About other means, correlation and slope have one sign.
    for shift in (-3.0, 3.0):
        means = sums.mean_prediction + shift, sums.mean_target + 2.0
        signs = [np.sign(of(*means)) for of in (sums.centred, sums.centred_slope)]
        np.testing.assert_array_equal(*signs)
        assert (signs[0] == np.sign(shift)).all()


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    offset=st.sampled_from([0.0, 1e6]),
    at_once=st.integers(1, 5),
    asks_all=st.booleans(),
)
def test_streaming_is_pooling_the_asked_finite_cells(seed, offset, at_once, asks_all):
    draw = np.random.default_rng(seed)
    prediction = draw.gamma(1.0, 1.0, (30, 10, 5)) + offset
    target = prediction + draw.normal(0, 1, prediction.shape)
    target[0, 2, 1] = np.nan
    cells = asks_all | (draw.random(prediction.shape) < 0.5)
    prediction[~cells] = np.nan
    stream, order = StreamingCorrelation(10, 5), draw.permutation(5)
    for window in zip(prediction, target, cells, strict=True):
        for some in np.split(order, range(at_once, 5, at_once)):
            p, t, asked = (part[:, some] for part in window)
            stream.update(p, t, None if asks_all else asked, columns=some)
    flat = [array.reshape(-1, 5) for array in (prediction, target)]
    np.testing.assert_allclose(stream.pearson(), metrics.correlation(*flat), rtol=1e-8)
    assert stream.moments().count.sum() == (cells & np.isfinite(target)).sum()


def test_a_prediction_that_is_not_finite_is_an_error(generator):
    prediction, target = noisy_pair(generator)
    prediction[5, 2] = np.nan
    with pytest.raises(ValueError, match="must predict every target sample"):
        metrics.single_trial(prediction, target)
    with pytest.raises(ValueError, match="not finite"):
        StreamingCorrelation(len(target), 6).update(prediction, target)


def test_scores_weigh_neurons_and_keep_the_weight_of_undefined_ones():
    values, counts = np.array([0.5, np.nan, 0.2]), np.array([10, 10, 0])
    assert metrics.session_score(values, counts) == pytest.approx(0.25)
    assert np.isnan(metrics.session_score(values, np.zeros(3)))
    score = metrics.overall_score(np.array([0.1, 0.4]), np.array([300, 100]))
    assert score == pytest.approx(0.175)


def test_epsilon_is_visible_on_tiny_traces(generator):
    trace = generator.normal(size=(5000, 1))
    trace = 1e-3 * trace / trace.std()
    value = metrics.single_trial(trace, trace)[0]
    assert value[0] == pytest.approx(1 / (1 + 1e-5) ** 2, rel=1e-9)


def test_cc_norm_obeys_its_identity(generator):
    signal = generator.normal(size=(4, 1, 500))
    target = signal + generator.normal(0, 1.5, (4, 8, 500))
    noisy = signal + generator.normal(0, 0.5, signal.shape)
    prediction = np.broadcast_to(noisy, target.shape)
    scores = metrics.cc_scores(prediction, target)
    mean_p, mean_t = prediction.mean(1), target.mean(1)
    covariance = ((mean_p - mean_p.mean(1, keepdims=True)) * mean_t).mean(1)
    identity = covariance / np.sqrt(mean_p.var(1) * scores.signal_power)
    np.testing.assert_allclose(scores.cc_norm, identity, rtol=1e-10)


def test_behavior_groups_follow_the_names():
    pupil = {"pupil_x": 0.2, "pupil_y": 0.4, "pupil_size": 0.8, "pupil_dsize": 0.0}
    groups = metrics.behavior_groups(pupil | {"running": 0.9})
    assert groups["location"] == pytest.approx(0.3)
    assert groups["size"] == pytest.approx(0.4)
    assert groups["average"] == pytest.approx((0.3 + 0.4 + 0.9) / 3)


def test_bootstrap_interval_covers_the_mean(generator):
    hits = 0
    for seed in range(100):
        values = generator.normal(0.3, 0.1, 60)
        low, high = metrics.bootstrap_interval(values, n_resamples=400, seed=seed)
        hits += low <= 0.3 <= high
    assert 0.88 <= hits / 100 <= 0.99


def test_bootstrap_is_the_same_for_the_same_seed_and_weighted(generator):
    values = generator.random(50)
    first = metrics.bootstrap_interval(values, n_resamples=205, seed=3)
    assert first == metrics.bootstrap_interval(values, n_resamples=205, seed=3)
    assert first[0] < values.mean() < first[1]
    assert np.isnan(metrics.bootstrap_interval(np.array([]))).all()
    weighted = metrics.bootstrap_interval(np.full(5, 2.0), np.array([1.0, 2, 3, 4, 5]))
    assert weighted == (2.0, 2.0)
