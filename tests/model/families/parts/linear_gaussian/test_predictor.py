"""The linear-Gaussian baseline: any mask, any spec, honest bands."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings

import omnimouse_model as om
from omnimouse_model.errors import StoppedError, UnsupportedRequestError
from omnimouse_model.evaluation import stored_fits
from omnimouse_model.evaluation.conditions import Condition
from omnimouse_model.evaluation.tier_windows import mean_rates
from omnimouse_model.families.classical.predictor import naive_predictor
from omnimouse_model.families.ensemble import Ensemble
from omnimouse_model.families.parts.linear_gaussian.fit import train_windows
from omnimouse_model.families.parts.linear_gaussian.predictor import LinearGaussian
from omnimouse_model.masks import scored_cells
from omnimouse_model.predict.compatibility import predict_same_span
from omnimouse_model.predict.predictor import take_neurons
from omnimouse_model.progress import CallbackJob
from omnimouse_model.simulate.spiking_laboratory import SpikingSpec, spiking_arrays
from tests.model.families.classical.test_predictor import red_noise
from tests.model.known_sessions import write_known_session
from tests.model.other_windows import window_with_withheld
from tests.model.random_masks import masks
from tests.toy_predictors import COUNTS

N_NEURONS = 24


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """Four minutes: two shared processes, private ones, and behaviour that matters."""
    generator = np.random.default_rng(3)
    samples = 30 * 240
    behavior = red_noise(generator, samples * 2 // 3, 5, 0.95)
    running = np.repeat(behavior[:, 4:], 3, axis=0)[::2]
    shared = red_noise(generator, samples, 2, 0.9)
    shared = shared @ generator.normal(0, 1, (2, N_NEURONS))
    private = red_noise(generator, samples, N_NEURONS, 0.95)
    noise = generator.normal(size=private.shape)
    loading = generator.normal(0.5, 0.2, (1, N_NEURONS))
    responses = 40 + 4 * (shared + private + noise + running * loading)
    folder = tmp_path_factory.mktemp("world") / "session"
    tiers = ["train", "train", "train", "final_test_1"]
    return om.open_session(write_known_session(folder, responses, behavior=behavior, tiers=tiers))


@pytest.fixture(scope="module")
def predictor(session):
    predictor = LinearGaussian()
    predictor.fit_all(session)
    return predictor


def test_a_fit_reports_its_share_of_the_time(session, monkeypatch):
    shares = []
    predictor = LinearGaussian()
    predictor.job = CallbackJob(lambda done, total, _: shares.append(done / total))
    monkeypatch.setattr(stored_fits, "_read", lambda path: None)
    predictor.fit_all(session)
    assert shares[-1] == 1.0
    first = shares[: shares.index(1.0) + 1]
    assert first == sorted(first)
    assert len(set(first)) > 10


def test_a_long_recording_is_read_in_blocks_that_cover_it(session):
    spec = LinearGaussian().needs.spec
    for most_s in (60.0, 120.0):
        parts = train_windows(session, spec, most_s)
        lengths = [len(range(*part.samples.indices(spec.n_samples))) for part in parts]
        # Blocks have 20 s: a recording a little longer than the limit loses a little.
        assert most_s - 20 <= sum(lengths) / spec.response_rate_hz <= most_s + 2
        assert parts[-1].start_s > 100.0


def test_a_fit_to_a_part_has_the_level_of_the_whole_tier(monkeypatch):
    """Of the blocks of 20 s, those that are read have other rates than the others."""
    draw = np.random.default_rng(0)
    rates = np.where(np.arange(30 * 300) // 600 % 2, 3.0, 1.0)[:, None]
    responses = rates * draw.gamma(2.0, 0.5, (30 * 300, N_NEURONS))
    session = om.open_session({"responses": responses, "rate_hz": 30.0})
    monkeypatch.setattr("omnimouse_model.families.parts.linear_gaussian.predictor.MOST_S", 100.0)
    mask = om.Mask.nothing(session).ask(range(N_NEURONS))
    found = LinearGaussian().predict(session.window(10.0), mask).responses
    level = mean_rates(session, om.OMNIMOUSE)
    np.testing.assert_allclose(np.nanmean(found, axis=0), level, rtol=0.05)


def test_without_anything_visible_the_mean_prediction_is_that_of_the_tier():
    """Rates drift, so that a level which differs would be a value of every source."""
    draw = np.random.default_rng(0)
    events = draw.poisson(0.02, (30 * 100, N_NEURONS)) * draw.gamma(2.0, 0.5, (30 * 100, N_NEURONS))
    session = om.open_session({"responses": events, "rate_hz": 30.0})
    mask = om.Mask.nothing(session).ask(range(N_NEURONS))
    found = LinearGaussian().predict(session.window(10.0), mask).responses
    level = mean_rates(session, om.OMNIMOUSE)
    np.testing.assert_allclose(np.nanmean(found, axis=0), level, rtol=0.01)


def windows_of(session, predictor, tier="test"):
    spec = predictor.needs.spec
    starts = session.window_starts(tier, stride=60, spec=spec)
    return [session.window(float(start), spec) for start in starts]


def correlations(predictor, session, mask):
    """Correlation of each asked neuron over the test tier."""
    found, recorded = [], []
    for window in windows_of(session, predictor):
        prediction = predictor.predict(window, mask)
        rows = np.isfinite(prediction.responses).all(axis=1)
        found.append(prediction.responses[rows])
        recorded.append(window.responses[rows][:, prediction.neurons])
    pairs = zip(np.concatenate(found).T, np.concatenate(recorded).T, strict=True)
    return np.array([np.corrcoef(one, other)[0, 1] for one, other in pairs])


@pytest.mark.slow
@settings(max_examples=25)
@given(mask=masks(N_NEURONS))
def test_any_mask_is_answered_from_what_it_shows_alone(session, predictor, mask):
    if not (mask.target.any() or mask.has_behavior_target):
        return
    window = session.window(31.0)
    plain = predictor.predict(window, mask)
    asked = scored_cells(mask)[:, plain.neurons]
    np.testing.assert_array_equal(np.isfinite(plain.responses), asked)
    np.testing.assert_array_equal(np.isfinite(plain.band), [asked, asked])
    for value in (np.nan, 1e6):
        altered = predictor.predict(window_with_withheld(window, mask, value), mask)
        np.testing.assert_array_equal(altered.responses, plain.responses)
        np.testing.assert_array_equal(altered.behavior, plain.behavior)
    encoded = predictor.encode(window, mask)
    parts = [predictor.decode(encoded, p) for p in np.array_split(plain.neurons, 2)]
    together = np.concatenate([part.responses for part in parts], axis=1)
    np.testing.assert_allclose(together, plain.responses, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_more_context_predicts_better(session, predictor):
    asked = slice(12, 24)
    alone = om.Mask.nothing(session).ask(asked)
    half = alone.show(slice(0, 12))
    history = half.show(asked, (0, 25))
    scores = [correlations(predictor, session, mask) for mask in (half, history)]
    with_behavior = correlations(predictor, session, alone.with_behavior("visible"))
    assert with_behavior.mean() > 0.15
    assert 0.4 < scores[0].mean() < scores[1].mean()


def test_the_band_holds_95_percent(session, predictor):
    mask = om.Mask.nothing(session).show(slice(0, 12)).ask(slice(12, 24), (0, 60))
    inside = []
    for window in windows_of(session, predictor):
        prediction = predictor.predict(window, mask)
        lower, upper = prediction.band
        recorded = window.responses[:, prediction.neurons]
        asked = np.isfinite(lower)
        inside.append((recorded >= lower)[asked] & (recorded <= upper)[asked])
    assert 0.92 <= np.concatenate(inside).mean() <= 0.97


def test_the_band_stays_with_its_neurons_and_samples(session, predictor):
    mask = om.Mask.nothing(session).show(slice(0, 12)).ask(slice(12, 24), (30, 60))
    window, neurons = session.window(31.0), np.arange(12, 24)
    complete = predictor.predict(window, mask)
    parts = [predictor.predict(window, mask, part) for part in np.split(neurons, 2)]
    bands = np.concatenate([part.band for part in parts], axis=2)
    np.testing.assert_allclose(bands, complete.band, rtol=1e-5, atol=1e-5)
    two = take_neurons(complete, np.array([20, 13]))
    np.testing.assert_array_equal(two.band, complete.band[:, :, [8, 1]])
    both = Ensemble((predictor, naive_predictor("mean")))
    both.prepare(session)
    assert both.predict(window, mask).band is None
    long = session.window(31.0, predictor.needs.spec.with_duration(4.0))
    stretched = predict_same_span(predictor, long, mask)
    assert stretched.band.shape == (2, 120, 12)
    assert np.array_equal(np.isnan(stretched.band[0]), np.isnan(stretched.responses))


@pytest.mark.slow
def test_one_channel_may_be_visible_while_another_is_decoded(session, predictor):
    modes = ("target", "target", "target", "target", "visible")
    mask = om.Mask.nothing(session).show(slice(None)).with_behavior(modes)
    window = session.window(31.0)
    decoded = predictor.predict(window, mask).behavior
    assert decoded.shape == (40, 5)
    assert np.isfinite(decoded).all()
    # The visible channel informs about the responses.
    blind = om.Mask.nothing(session).ask(slice(None)).with_behavior("hidden")
    seen = blind.with_behavior(("hidden",) * 4 + ("visible",))
    # Without it, a prediction may be constant, which has no correlation.
    without = np.nan_to_num(correlations(predictor, session, blind)).mean()
    assert correlations(predictor, session, seen).mean() > without + 0.1


def test_predictors_of_other_windows_have_other_ids():
    for build in (LinearGaussian, partial(naive_predictor, "mean")):
        ids = [
            build(spec).predictor_id
            for spec in (om.OMNIMOUSE, COUNTS, replace(COUNTS, warmup_s=0.5))
        ]
        assert "-" not in ids[0].removeprefix("linear-")
        assert len(set(ids)) == len(ids)


@pytest.mark.slow
def test_counts_of_trials_are_scored_in_bits_per_spike():
    spiking = om.open_session(spiking_arrays(SpikingSpec(n_trials=60)))
    mask = om.Mask.nothing(spiking, COUNTS).show(slice(0, 12))
    mask = mask.ask(slice(12, 24), slice(None))
    predictors = [LinearGaussian(COUNTS), naive_predictor("mean", COUNTS)]
    condition = Condition("half", lambda session: mask)
    scores = om.evaluate(predictors, [spiking], [condition], metric="bits_per_spike")
    ours, mean = (score.value for score in scores.scores)
    assert ours > mean + 0.02


@pytest.mark.slow
def test_series_with_negative_values_have_no_lower_limit_of_0():
    generator = np.random.default_rng(0)
    latent = red_noise(generator, 30 * 120, 1, 0.97)
    values = latent + 0.3 * generator.normal(size=(len(latent), 6))
    session = om.open_session({"responses": values, "rate_hz": 30.0})
    mask = om.Mask.nothing(session).show(slice(0, 3)).ask(slice(3, 6))
    predictor = LinearGaussian()
    found = np.concatenate(
        [predictor.predict(w, mask).responses for w in windows_of(session, predictor)]
    )
    assert np.nanmin(found) < 0
    assert correlations(predictor, session, mask).mean() > 0.9


def test_a_short_recording_is_refused_and_one_neuron_is_not():
    values = np.random.default_rng(0).gamma(2.0, 1.0, (30 * 15, 3))
    short = om.open_session({"responses": values[:150], "rate_hz": 30.0})
    mask = om.Mask.nothing(short).show([0]).ask([1])
    with pytest.raises(UnsupportedRequestError, match=r"'train'.*it lasts 5 s"):
        LinearGaussian().predict(short.window(1.0), mask)
    repeated = np.tile(values[:, :1], (6, 1))
    one = om.open_session({"responses": repeated, "rate_hz": 30.0})
    mask = om.Mask.nothing(one).show([0], (0, 25)).ask([0])
    found = LinearGaussian().predict(one.window(3.0), mask)
    assert np.isfinite(found.responses[30:]).all()


@pytest.mark.slow
def test_a_fit_stops_and_starts_again(session, tmp_path, monkeypatch):
    monkeypatch.setenv("OMNIMOUSE_CACHE", str(tmp_path))
    predictor, calls = LinearGaussian(), []

    def cancelled():
        calls.append(None)
        return len(calls) > 100

    mask = om.Mask.nothing(session).show(slice(0, 12)).ask(slice(12, 24))
    with pytest.raises(StoppedError):
        predictor.predict(session.window(31.0), mask, cancelled=cancelled)
    assert predictor.predict(session.window(31.0), mask).status == "ok"
