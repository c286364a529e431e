"""Worlds whose best possible score is known: evaluations find it, and no more."""

from functools import partial

import numpy as np
import pytest

from omnimouse_model.analysis.evaluate import evaluate
from omnimouse_model.analysis.sweep.contexts import Context, context_mask, held_out_draw
from omnimouse_model.data.open import open_session
from omnimouse_model.evaluation.conditions import Condition
from omnimouse_model.families.classical.predictor import naive_predictor
from omnimouse_model.masks import Mask
from omnimouse_model.predict.predictor import Encoded
from omnimouse_model.progress import never
from tests.acceptance.frozen_core import checks
from tests.acceptance.published import check_answer, noise_session, trained
from tests.acceptance.time_left import Told, compared
from tests.acceptance.white_noise import noise_scores, white_noise
from tests.conformance.metrics import factor_ceiling
from tests.model.known_sessions import write_known_session
from tests.predictors import EchoPredictor

FORECAST = "test/causal_response_25_behavior"


def open_world(folder, responses, tiers):
    still = np.random.default_rng(9).normal(size=(len(responses) * 2 // 3, 5))
    video = np.zeros((len(responses), 36, 64), np.uint8)
    place = folder / "session"
    write_known_session(place, responses, tiers=tiers, behavior=still, video=video)
    return open_session(place)


@pytest.fixture(scope="module")
def factor(tmp_path_factory):
    """y = z + noise, variances 1 and 4, in the model's units; 14 minutes."""
    draw = np.random.default_rng(4)
    z = draw.normal(size=(25200, 1))
    y = z + 2 * draw.normal(size=(25200, 84))
    # Responses are divided by their s.d., which does not change a correlation.
    responses = (50 + 3 * y).astype(np.float32)
    tiers = ["train", "final_test_1"]
    return open_world(tmp_path_factory.mktemp("factor"), responses, tiers)


@pytest.mark.slow
def test_context_neurons_reach_the_factors_ceiling_and_no_more(factor):
    draw = held_out_draw(factor.n_neurons, 64, seed=0)
    conditions = [
        Condition(str(n), lambda _, n=n: context_mask(Context(n, video=False), draw))
        for n in (16, 64)
    ]
    found = evaluate(naive_predictor("context-ridge"), factor, conditions)
    for score in found.scores:
        ceiling = float(factor_ceiling(np.array([float(score.strategy)]))[0])
        assert score.value == pytest.approx(ceiling, abs=0.01)


@pytest.mark.slow
def test_embeddings_are_learned_on_a_frozen_core(tmp_path):
    """How well needs more steps: `python -m tests.acceptance.frozen_core`."""
    (is_frozen, *scores) = checks(tmp_path, steps=4, tuned_steps=2)
    assert is_frozen[1]
    assert len(scores) == 2


@pytest.mark.slow
@pytest.mark.parametrize("config", ["mtm", "poyo_calcium", "sensorium_factorised"])
def test_a_published_config_is_trained_and_asked(config, tmp_path):
    """Of 8,000 neurons, and the others: `python -m tests.acceptance.published`."""
    session = noise_session(tmp_path, 12)
    assert check_answer(trained(config, session, tmp_path / "run"), session)


PHI = 0.9


class LastVisible(EchoPredictor):
    """Answers with the last visible sample, for every asked one."""

    def encode(self, window, mask, cancelled=never):
        last = np.flatnonzero(mask.visible[:, 0])[-1]
        state = np.broadcast_to(window.responses[last], window.responses.shape)
        return Encoded(window, mask, state)


def single_sample_mask(strategy, sample, session):
    """A strategy's mask that asks for one sample alone."""
    mask = Mask.from_strategy(strategy, session)
    mask = mask.hide(slice(None), slice(30, 60))
    return mask.ask(slice(None), slice(sample, sample + 1))


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """AR(1), correlating 0.9 from sample to sample, seen without noise."""
    draw = np.random.default_rng(5)
    z = np.zeros((9000, 60))
    steps = np.sqrt(1 - PHI**2) * draw.normal(size=z.shape)
    for k in range(1, len(z)):
        z[k] = PHI * z[k - 1] + steps[k]
    tiers = ["final_test_1"]
    return open_world(tmp_path_factory.mktemp("walk"), 50 + 5 * z, tiers)


@pytest.mark.slow
def test_a_forecast_at_a_lag_correlates_as_the_process_does(walk):
    conditions = [
        Condition(str(sample), partial(single_sample_mask, FORECAST, sample))
        for sample in (30, 33, 36, 40)
    ]
    found = evaluate(LastVisible("last visible"), walk, conditions)
    # An unknown rate of recording is taken as 8 Hz: 8 samples are not scored.
    guarded, *scores = found.scores
    assert np.isnan(guarded.value)
    assert "beside visible samples" in guarded.refusal
    assert len(scores) == 3
    for score in scores:
        lag = int(score.strategy) - 24
        assert score.value == pytest.approx(PHI**lag, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("rate_hz", [1.0, 2.0, 3.0])
def test_nothing_forecasts_white_noise_of_slow_recordings(rate_hz):
    """With more rates, tasks and samples: `python -m tests.acceptance.white_noise`.

    With the official guard, interpolation gave scores of .48, .20 and .11.
    """
    noise = white_noise(rate_hz, seed=0, n_test=100, n_neurons=60)
    scores = [*noise_scores(noise, ["ridge", "linear-gaussian"], [FORECAST])]
    # At 1 Hz, no target is left; the standard error of 60 neurons is about .013.
    # Of both predictors, centred and pooled.
    assert len(scores) == (0 if rate_hz == 1.0 else 4)
    for score in scores:
        assert abs(score.value) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("name", ["context-ridge", "linear-gaussian"])
def test_the_score_of_white_noise_at_1_hz_has_an_interval_that_contains_0(name):
    draw = np.random.default_rng(0).gamma(1.0, 1.0, (900, 20)).astype("f4")
    noise = open_session({"responses": draw, "rate_hz": 1.0})
    (score,) = evaluate(name, noise, "test/population_1024_response").scores
    assert score.ci_low < 0 < score.ci_high
    assert score.pooled_ci_low < 0 < score.pooled_ci_high


@pytest.mark.parametrize("times", [1.0, 10.0])
def test_times_left_of_a_training_that_ends_early_are_compared_at_its_pace(times):
    # Two seconds per step, 30 of 100 steps: after step 20, 160 s are left at that pace.
    told = [Told(times * 2.0 * (100 - step), 2.0 * step, step) for step in (1, 10, 20, 30)]
    assert compared(told, 60.0, 30, 100) == [times, times]
    done = [Told(times * (60.0 - at_s), at_s, 0) for at_s in (1.0, 10.0, 59.0)]
    assert compared(done, 60.0, 0, 0) == [times]
