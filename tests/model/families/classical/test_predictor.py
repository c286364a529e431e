"""Naive predictors: rules that are fitted to the train tier of a session."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnimouse_model.data.open import open_session
from omnimouse_model.data.window_spec import OMNIMOUSE
from omnimouse_model.errors import StoppedError, UnsupportedRequestError
from omnimouse_model.evaluation import tier_windows
from omnimouse_model.families.classical.predictor import (
    RULES,
    SPANS,
    System,
    VisibleInput,
    _Sums,
    naive_predictor,
)
from omnimouse_model.families.parts.motion_energy import N_FEATURES, motion_energy
from omnimouse_model.masks import Mask, scored_cells
from omnimouse_model.masks.selection import half_population_mask
from omnimouse_model.predict.predictor import take_neurons
from tests.model.experanto_folder import Folder, Trial, write_folder
from tests.model.known_sessions import write_known_session
from tests.model.other_windows import window_with_withheld
from tests.model.random_masks import masks

N_NEURONS = 24
TIERS = ["train", "train", "train", "final_test_1"]


def red_noise(generator, samples, columns, keep):
    values = np.empty((samples, columns))
    values[0] = generator.normal(size=columns)
    for sample in range(1, samples):
        step = generator.normal(size=columns) * np.sqrt(1 - keep**2)
        values[sample] = keep * values[sample - 1] + step
    return values


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """Two minutes: a shared latent, private red noise, and behaviour that matters."""
    generator = np.random.default_rng(3)
    samples = 3600
    behavior = red_noise(generator, samples * 2 // 3, 5, 0.95)
    latent = red_noise(generator, samples, 1, 0.9)
    private = red_noise(generator, samples, N_NEURONS, 0.95)
    running = np.repeat(behavior[:, 4:], 3, axis=0)[::2]
    loading = generator.normal(0.5, 0.2, (1, N_NEURONS))
    responses = 100 + 10 * (latent + private + running * loading)
    assert responses.min() > 0
    folder = tmp_path_factory.mktemp("world") / "session"
    write_known_session(folder, responses, behavior=behavior, tiers=TIERS)
    return open_session(folder)


@pytest.fixture(scope="module")
def predictors(session):
    made = {name: naive_predictor(name) for name in RULES}
    for predictor in made.values():
        predictor.prepare(session)
    return made


def assert_same(found, expected):
    """The same prediction bit for bit, or none twice."""
    assert (found is None) == (expected is None)
    if found is not None:
        np.testing.assert_array_equal(found.responses, expected.responses)
        np.testing.assert_array_equal(found.behavior, expected.behavior)


def answer(predictor, window, mask):
    """The prediction, or None where it is refused."""
    try:
        return predictor.predict(window, mask)
    except UnsupportedRequestError:
        return None


every_rule = pytest.mark.parametrize("name", RULES)


@every_rule
@settings(max_examples=15)
@given(mask=masks(N_NEURONS))
def test_withheld_values_change_nothing(session, predictors, name, mask):
    window = session.window(31.0)
    plain = answer(predictors[name], window, mask)
    for value in (np.nan, 1e6):
        altered = window_with_withheld(window, mask, value)
        assert_same(answer(predictors[name], altered, mask), plain)


@every_rule
@settings(max_examples=15)
@given(mask=masks(N_NEURONS))
def test_rates_are_finite_exactly_where_asked(session, predictors, name, mask):
    prediction = answer(predictors[name], session.window(33.0), mask)
    if prediction is None:
        return
    asked = scored_cells(mask)[:, prediction.neurons]
    assert np.isfinite(prediction.responses[asked]).all()
    assert (prediction.responses[asked] >= 0).all()
    assert np.isnan(prediction.responses[~asked]).all()
    assert prediction.responses.dtype == np.float32
    if prediction.behavior is not None:
        assert mask.behavior == "target"
        assert np.isfinite(prediction.behavior).all()


@every_rule
@settings(max_examples=15)
@given(mask=masks(N_NEURONS), seed=st.integers(0, 99))
def test_the_order_of_neurons_changes_nothing(session, predictors, name, mask, seed):
    places = np.random.default_rng(seed).permutation(len(mask.attachment.order))
    turned = mask.with_attachment(order=mask.attachment.order[places])
    window = session.window(35.0)
    plain = answer(predictors[name], window, mask)
    assert_same(answer(predictors[name], window, turned), plain)


@every_rule
def test_decoding_in_parts_equals_predicting(session, predictors, name):
    mask = Mask.from_strategy("test/causal_response_25_video_behavior", session)
    if name == "context-ridge":
        mask = half_population_mask(session)
    window = session.window(12.0)
    whole = predictors[name].predict(window, mask)
    encoded = predictors[name].encode(window, mask)
    for some in (whole.neurons[:5], whole.neurons[5:]):
        part = predictors[name].decode(encoded, some)
        columns = np.searchsorted(whole.neurons, some)
        np.testing.assert_array_equal(part.responses, whole.responses[:, columns])


REFUSED = {
    ("mean", "all_response_only"): "predicts responses, not behaviour",
    ("last", "video_behavior"): "needs visible samples of a neuron before",
    ("ridge", "population_1024_response_behavior"): "needs visible samples",
    ("context-ridge", "causal_response_25_behavior"): "needs neurons that are visible",
    ("video-ridge", "causal_response_25"): "needs visible video frames or visible beh",
}


@pytest.mark.parametrize(("name", "strategy"), REFUSED)
def test_what_cannot_be_served_is_refused(session, predictors, name, strategy):
    mask = Mask.from_strategy(strategy, session)
    with pytest.raises(UnsupportedRequestError, match=REFUSED[name, strategy]):
        predictors[name].predict(session.window(10.0), mask)


def test_a_mask_without_targets_is_refused(session, predictors):
    with pytest.raises(UnsupportedRequestError, match="nothing to predict"):
        predictors["mean"].encode(session.window(10.0), Mask.nothing(session))


def test_last_holds_the_last_visible_sample(session, predictors):
    window = session.window(21.0)
    mask = Mask.from_strategy("causal_response_25_behavior", session)
    prediction = predictors["last"].predict(window, mask)
    held = np.broadcast_to(np.maximum(window.responses[24], 0), (30, N_NEURONS))
    np.testing.assert_array_equal(prediction.responses[30:], held)


def test_neurons_without_history_get_their_mean_and_it_is_said(session, predictors):
    mask = Mask.nothing(session).ask([0, 1], slice(40, 60)).show([0], slice(0, 30))
    window = session.window(21.0)
    mean = predictors["mean"].predict(window, mask)
    for name in ("last", "ridge"):
        prediction = predictors[name].predict(window, mask)
        assert prediction.status == "mean rate for 1 neurons without input"
        np.testing.assert_array_equal(prediction.responses[:, 1], mean.responses[:, 1])


def test_mean_is_the_mean_of_the_train_tier_also_of_many_windows(session, predictors):
    mask = Mask.from_strategy("video_only", session)
    rates = predictors["mean"].predict(session.window(10.0), mask).responses[45]
    trials = session.responses.data.reshape(-1, 300, N_NEURONS)
    train = np.array([k for k in range(len(trials)) if TIERS[k % 4] == "train"])
    expected = trials[train].mean(axis=(0, 1)) / session.response_scale
    np.testing.assert_allclose(rates, expected, rtol=0.02)
    requests = [(session.window(10.0), mask, None)] * 3
    mean = predictors["mean"]
    with pytest.raises(StoppedError):
        next(mean.predict_many(requests, cancelled=lambda: True))
    assert len(list(mean.predict_many(requests))) == 3


def test_rates_have_no_bound_of_zero_in_a_recording_with_negative_responses():
    traces = np.random.default_rng(0).normal(size=(900, 2))
    session = open_session({"responses": traces, "rate_hz": 30.0})
    mask = Mask.nothing(session).show([0, 1], slice(0, 30)).ask([0, 1], slice(40, 60))
    window = session.window(20.0)
    assert (window.responses[29] < 0).any()
    found = naive_predictor("last").predict(window, mask).responses[45]
    np.testing.assert_array_equal(found, window.responses[29])


def test_missing_responses_do_not_count_in_a_mean(tmp_path):
    responses = np.full((900, 2), 30.0)
    responses[::2, 1] = np.nan
    session = open_session({"responses": responses, "rate_hz": 30.0})
    rates = tier_windows.mean_rates(session, OMNIMOUSE) * session.response_scale
    np.testing.assert_allclose(rates, 30.0, rtol=1e-6)


def test_needs_say_what_a_rule_reads_and_predicts():
    blind, all_of_it = (False, False, False), (True, True, True)
    expected = {
        "mean": blind,
        "last": (True, False, False),
        "ridge": (True, True, False),
        "context-ridge": all_of_it,
        "video-ridge": (False, True, False),
    }
    for name, words in expected.items():
        needs = naive_predictor(name).needs
        found = needs.sees_responses, needs.sees_behavior, needs.predicts_behavior
        assert found == words, name


def test_a_horizon_between_fitted_ones_is_interpolated(session, predictors):
    """Horizons 15 and 20 are fitted: 17 lies two fifths of the way."""
    fit = dict(predictors["ridge"]._fits[session.fingerprint])
    weight = np.zeros_like(fit["alone_weight"])
    weight[:, :, 0] = 1.0 + np.arange(len(weight))[:, None]
    fit |= {"alone_weight": weight, "alone_intercept": 0 * fit["alone_intercept"]}
    mask = Mask.nothing(session).show([0], slice(0, 30)).ask([0], slice(30, 60))
    seen = VisibleInput.from_window(session.window(3.0), mask, responses=True, video=False)
    found = RULES["ridge"]().predict(fit, seen, mask).responses[:, 0]
    last = seen.responses[29, 0]
    np.testing.assert_allclose(found[[44, 46, 49]], last * np.array([8, 8.4, 9]))


def test_sums_of_windows_give_variances_and_correlations():
    draw = np.random.default_rng(0)
    history, sums = draw.normal(3, 1, (500, len(SPANS), 1)), _Sums()
    target = np.repeat(0.1 * history[:, :1], 12, axis=1)
    sums.add(history, target, np.zeros((500, 12, 0)))
    system: System = sums.system(2, behavior=False)
    np.testing.assert_allclose(system.yy, target[:, 2].var(axis=0))
    weight = np.array([[0.1, 0, 0, 0]])
    np.testing.assert_allclose(system.correlation(weight), 1.0, rtol=1e-9)


def test_the_penalty_without_behavior_is_its_own(session, predictors):
    ridge, fit = RULES["context-ridge"](), None
    fit = dict(predictors["context-ridge"]._fits[session.fingerprint])
    mask = half_population_mask(session, behavior=False)
    seen = VisibleInput.from_window(session.window(3.0), mask, responses=True, video=False)
    before = ridge.predict(fit, seen, mask).responses
    with_behavior = fit["penalties"] * np.array([1.0, 1e6])
    after = ridge.predict(fit | {"penalties": with_behavior}, seen, mask).responses
    np.testing.assert_array_equal(before, after)


def correlations(predictor, session, mask):
    """Correlation per (sample, neuron) over the test windows."""
    starts = session.window_starts("test", stride=10)
    windows = [session.window(float(start)) for start in starts]
    found = np.stack([predictor.predict(w, mask).responses for w in windows])
    neurons = predictor.predict(windows[0], mask).neurons
    truth = np.stack([w.responses[:, neurons] for w in windows])
    found, truth = found[:, 30:], truth[:, 30:]
    found, truth = found - found.mean(0), truth - truth.mean(0)
    scale = np.sqrt((found**2).sum(0) * (truth**2).sum(0))
    return (found * truth).sum(0) / scale


@pytest.mark.slow
def test_history_ridge_reaches_the_forecast_of_an_autoregression(tmp_path):
    # An AR(1) seen without noise: lag k correlates keep^k, and the first asked
    # sample, 30, lies 6 after the last visible one, 24.
    generator = np.random.default_rng(0)
    keep = 0.95
    values = 50 + 10 * red_noise(generator, 30 * 320, 40, keep)
    world = open_session(write_known_session(tmp_path / "ar", values, tiers=TIERS))
    mask = Mask.from_strategy("causal_response_25", world)
    found = correlations(naive_predictor("ridge"), world, mask).mean(axis=1)
    expected = keep ** np.arange(6, 36)
    np.testing.assert_allclose(found, expected, atol=0.05)


def test_behavior_helps_the_history_ridge(session, predictors):
    with_it = Mask.from_strategy("causal_response_25_behavior", session)
    without = Mask.from_strategy("causal_response_25", session)
    ridge = predictors["ridge"]
    gain = correlations(ridge, session, with_it) - correlations(ridge, session, without)
    assert gain.mean() > 0.02


def test_context_ridge_decodes_behavior(session, predictors):
    mask = Mask.from_strategy("all_response_only", session)
    starts = session.window_starts("test", stride=30)
    windows = [session.window(float(start)) for start in starts]
    found = [predictors["context-ridge"].predict(w, mask).behavior for w in windows]
    running = np.concatenate([decoded[:, 4] for decoded in found])
    truth = np.concatenate([w.behavior[:, 4] for w in windows])
    assert np.corrcoef(running, truth)[0, 1] > 0.4


def grating(angle, samples):
    rows, columns = np.mgrid[:36, :64]
    along = columns * np.cos(angle) + rows * np.sin(angle)
    phase = 2 * np.pi * (along / 14 - 2.0 * np.arange(samples)[:, None, None] / 30)
    return (113 + 60 * np.sin(phase)).astype(np.uint8)


def test_motion_energy_tells_directions_apart():
    right = motion_energy((grating(0.0, 60) - 113.0) / 59, 30.0)
    left = motion_energy((grating(np.pi, 60) - 113.0) / 59, 30.0)
    assert right.shape == (60, N_FEATURES) == (60, 1152)
    still = motion_energy(np.ones((60, 36, 64), np.float32), 30.0)
    assert np.abs(still).max() < 1e-3
    moved = np.abs(right[30:].mean(0) - left[30:].mean(0)).max()
    assert moved > 0.4 * right[30:].mean(0).max()


@pytest.mark.slow
def test_video_ridge_learns_a_direction_cell(tmp_path):
    generator = np.random.default_rng(2)
    leftward = np.repeat(generator.random(120) < 0.5, 30)
    angles = np.where(leftward[::30], np.pi, 0.0)
    video = np.concatenate([grating(angle, 30) for angle in angles])
    rate = np.convolve(leftward, np.exp(-np.arange(30) / 6) / 6)[: len(leftward)]
    values = 10 + 20 * rate[:, None] + generator.normal(0, 3, (len(rate), 3))
    world = write_known_session(tmp_path / "video", values, video=video, tiers=TIERS)
    world = open_session(world)
    mask = Mask.from_strategy("video_only", world)
    found = correlations(naive_predictor("video-ridge"), world, mask)
    assert found.mean() > 0.5


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OMNIMOUSE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "naive"


def test_a_fit_is_made_once(session, own_cache, monkeypatch):
    naive_predictor("mean").prepare(session)
    assert [path.suffix for path in own_cache.iterdir()] == [".npz"]

    monkeypatch.setattr(tier_windows, "training_windows", None)  # not fitted again
    naive_predictor("mean").prepare(session)


def test_a_broken_fit_is_made_again(session, own_cache):
    naive_predictor("mean").prepare(session)
    (path,) = own_cache.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    mask = Mask.from_strategy("video_only", session)
    naive_predictor("mean").predict(session.window(10.0), mask)
    assert path.read_bytes()[:2] == whole[:2]
    assert len(path.read_bytes()) == len(whole)


def test_a_session_without_train_tier_is_refused(tmp_path):
    ones, tiers = np.ones((900, 3)), ["final_test_1"]
    folder = write_known_session(tmp_path / "s", ones, tiers=tiers)
    with pytest.raises(UnsupportedRequestError, match="no window of tier 'train'"):
        naive_predictor("mean").prepare(open_session(folder))


def test_sessions_of_one_name_have_fits_of_their_own(tmp_path):
    mean = naive_predictor("mean")
    noise = np.random.default_rng(1).normal(size=(900, 3))
    for place, rate in (("first", 20.0), ("second", 60.0)):
        world = open_session(write_known_session(tmp_path / place, rate + noise))
        mask = Mask.from_strategy("video_only", world)
        prediction = mean.predict(world.window(5.0), mask)
        assert prediction.to_session_units()[45] == pytest.approx(rate, abs=1)


@pytest.mark.parametrize("stride", [6, 30])
def test_held_out_windows_lie_apart_from_those_fitted(session, stride):
    starts = {0: [], 1: [], 2: []}
    for fold, window in tier_windows.training_windows(
        session, stride=stride, most=4000, spec=OMNIMOUSE
    ):
        starts[fold].append(window.start_s)
    apart = np.abs(np.subtract.outer(starts[0], starts[1])).min()
    assert apart >= 4.0 - 1e-6  # a window's length, and as long between them
    assert len(starts[1]) > 0.1 * len(starts[0])
    assert len(starts[2]) < 0.2 * len(starts[0])


def test_training_windows_reach_into_blanks_between_training_trials(tmp_path):
    trials = (Trial("image", "train"), Trial("blank")) * 12
    session = open_session(write_folder(tmp_path / "a", Folder(trials=trials)))
    found = list(tier_windows.training_windows(session, stride=5, most=1000, spec=OMNIMOUSE))
    assert len(found) == len(session.window_starts("train", 5, include_blanks=True))
    assert not len(session.window_starts("train"))


def test_predictors_travel_to_other_processes(session, predictors):
    mask = half_population_mask(session)
    for name in ("mean", "context-ridge", "video-ridge"):
        copy = pickle.loads(pickle.dumps(predictors[name]))
        plain = predictors[name].predict(session.window(9.0), mask)
        assert_same(copy.predict(session.window(9.0), mask), plain)


def test_parts_of_a_prediction_have_their_scale(session, predictors):
    mask = Mask.from_strategy("video_only", session)
    encoded = predictors["mean"].encode(session.window(3.0), mask)
    whole = predictors["mean"].decode(encoded)
    parts = [predictors["mean"].decode(encoded, part) for part in
             np.array_split(whole.neurons, 3)]  # fmt: skip
    np.testing.assert_array_equal(np.concatenate([part.scale for part in parts]), whole.scale)
    found = take_neurons(whole, whole.neurons)
    np.testing.assert_array_equal(found.responses, whole.responses)
    np.testing.assert_array_equal(found.neurons, whole.neurons)
    np.testing.assert_array_equal(found.scale, whole.scale)
    few = take_neurons(whole, whole.neurons[[2, 0]])
    np.testing.assert_array_equal(few.scale, whole.scale[[2, 0]])
    assert take_neurons(replace(whole, scale=None), whole.neurons[:1]).scale is None
    assert take_neurons(whole, np.array([-1])) is None
