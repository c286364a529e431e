"""Worlds whose best possible score is known: evaluations find it, and no more."""

import shutil
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch

from omnimouse_model.analysis.conditions import Condition
from omnimouse_model.analysis.contexts import Context, context_mask, held_out_draw
from omnimouse_model.analysis.evaluate import evaluate
from omnimouse_model.data.open import open_session
from omnimouse_model.masks import Mask
from omnimouse_model.nets.start import initialise, set_neuron_embeddings
from omnimouse_model.predict.loading import weights_hash
from omnimouse_model.predict.naive import naive_predictor
from omnimouse_model.predict.predictor import Encoded, Needs, Prediction
from omnimouse_model.predict.transformer import TransformerPredictor
from omnimouse_model.strategies import half_population_mask, mask_from_strategy
from omnimouse_model.train.config import Group, Phase, TrainConfig
from omnimouse_model.train.finetune import finetune
from omnimouse_model.train.held_out import hold_out
from omnimouse_model.train.loop import train
from omnimouse_model.train.run import Origin
from tests.conformance.metrics import factor_ceiling
from tests.model.small_net import SMALL
from tests.model.worlds import write_world

FORECAST = "test/causal_response_25_behavior"
GAP_END = 30
"""First asked sample; the last visible one is 24."""


def opened(folder, responses, tiers):
    still = np.random.default_rng(9).normal(size=(len(responses) * 2 // 3, 5))
    video = np.zeros((len(responses), 36, 64), np.uint8)
    place = folder / "session"
    write_world(place, responses, tiers=tiers, behavior=still, video=video)
    return open_session(place)


# -- a shared factor ------------------------------------------------------------------
@pytest.fixture(scope="module")
def factor(tmp_path_factory):
    """y = z + noise, variances 1 and 4, in the model's units; 20 minutes."""
    draw = np.random.default_rng(4)
    z = draw.normal(size=(36000, 1))
    y = z + 2 * draw.normal(size=(36000, 84))
    # Responses are divided by their s.d., which does not change a correlation.
    responses = (50 + 3 * y).astype(np.float32)
    tiers = ["train", "final_test_1"]
    return opened(tmp_path_factory.mktemp("factor"), responses, tiers)


def test_context_neurons_reach_the_factors_ceiling_and_no_more(factor):
    draw = held_out_draw(factor.n_neurons, 64, seed=0)
    asked = [
        Condition(str(n), lambda _, n=n: context_mask(Context(n, video=False), draw))
        for n in (16, 64)
    ]
    found = evaluate(naive_predictor("context-ridge"), factor, asked)
    for score in found.scores:
        ceiling = float(factor_ceiling(np.array([float(score.strategy)]))[0])
        assert score.value == pytest.approx(ceiling, abs=0.01)


def test_the_factors_ceiling_is_the_published_one():
    ceilings = factor_ceiling(np.array([16.0, 64, 256, np.inf]))
    np.testing.assert_allclose(ceilings, [0.400, 0.434, 0.444, 0.447], atol=5e-4)


# -- a new mouse of a shared backbone -------------------------------------------------
LONG, SHORT = 200, 60
"""Steps from scratch, and of fine-tuning."""


def signed(folder, key, seed, minutes=2, neurons=16):
    """Poisson counts under one slow factor that half of the neurons follow inversely.

    With the signs (P,); responses alone.
    """
    draw = np.random.default_rng(seed)
    decay = np.exp(-np.arange(90) / 15)
    samples = minutes * 60 * 30
    noise = draw.normal(size=samples + len(decay) - 1)
    factor = np.convolve(noise, decay / np.linalg.norm(decay), "valid")
    signs = draw.permutation(np.where(np.arange(neurons) % 2, 1, -1))
    rates = 4 * np.exp(0.7 * factor[:, None] * signs)
    video = np.zeros((samples, 36, 64), np.uint8)
    write_world(folder, draw.poisson(rates), video=video, key=key)
    shutil.rmtree(folder / "screen")
    return open_session(folder), signs


def half_score(predictor, session):
    half = Condition("half", partial(half_population_mask, video=False))
    return evaluate(predictor, session, half, max_windows=30).scores[0].value


def test_embeddings_on_a_frozen_core_do_as_well_as_training_with_the_mouse(tmp_path):
    """The core learns with embeddings that tell the signs; the new mouse's do not."""
    known, new = signed(tmp_path / "a", "1-1-1", 1), signed(tmp_path / "b", "2-1-1", 2)
    config = TrainConfig(
        seed=1,
        model=SMALL,
        phases=(Phase("all", LONG, 8, {"half": 1.0}, warmup=20, decay=0.5),),
        core=Group(3e-3, 0.1),
        session=Group(3e-3, 0.001),
        sampling="balanced",
        validate_every=LONG + 1,
        validation="held-out",
        precision="fp32",
    )

    def trained(name, *worlds):
        def fill(net):
            initialise(net, torch.Generator().manual_seed(1))
            for session, signs in worlds:
                told = np.repeat(signs[:, None], SMALL.d_embedding, axis=1)
                set_neuron_embeddings(net, session.id, 0.3 * told.astype(np.float32))

        sources = [hold_out(session, 0) for session, _ in worlds]
        animals = {s.id: s.animal_id or s.id for s, _ in worlds}
        origin = Origin(animals, fill)
        net = train(config, sources, tmp_path / name, origin=origin).eval()
        return TransformerPredictor(net, name)

    base = trained("without", known)
    best = half_score(trained("with", known, new), new[0])
    mine = finetune(base, new[0], tmp_path / "mine", steps=SHORT)
    core = {
        name: value
        for name, value in base.net.state_dict().items()
        if not name.startswith("sess_params.")
    }
    kept = {name: mine.net.state_dict()[name] for name in core}
    assert weights_hash(kept) == weights_hash(core)
    assert best > 0.5
    assert half_score(mine, new[0]) >= 0.95 * best


# -- a forecast -----------------------------------------------------------------------
PHI = 0.9


@dataclass(slots=True)
class LastVisible:
    """Answers with the last visible sample, for every asked one."""

    predictor_id: str = "last visible"
    needs = Needs()

    def prepare(self, session):
        pass

    def encode(self, window, mask):
        seen = mask.visible[:, 0]
        last = int(np.flatnonzero(seen)[-1])
        return Encoded(window, mask, window.responses[last])

    def decode(self, encoded, neurons=None):
        mask = encoded.mask
        neurons = np.arange(mask.n_neurons) if neurons is None else neurons
        rates = np.where(mask.target, encoded.state[None], np.nan)[:, neurons]
        return Prediction(
            rates.astype(np.float32),
            np.asarray(neurons),
            None,
            mask.mask_id,
            self.predictor_id,
        )

    def predict(self, window, mask, neurons=None):
        return self.decode(self.encode(window, mask), neurons)

    def predict_many(self, requests, cancelled=lambda: False):
        for request in requests:
            yield self.predict(*request)


def only(strategy, sample, session):
    """A strategy's mask that asks for one sample alone."""
    mask = mask_from_strategy(strategy, session)
    return mask.hide(slice(None), slice(30, 60)).ask(
        slice(None), slice(sample, sample + 1)
    )


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """AR(1), correlating 0.9 from sample to sample, seen without noise."""
    draw = np.random.default_rng(5)
    z = np.zeros((18000, 60))
    steps = np.sqrt(1 - PHI**2) * draw.normal(size=z.shape)
    for k in range(1, len(z)):
        z[k] = PHI * z[k - 1] + steps[k]
    tiers = ["final_test_1"]
    return opened(tmp_path_factory.mktemp("walk"), 50 + 5 * z, tiers)


def test_a_forecast_at_a_lag_correlates_as_the_process_does(walk):
    asked = [
        Condition(str(sample), partial(only, FORECAST, sample))
        for sample in (30, 33, 40)
    ]
    found = evaluate(LastVisible(), walk, asked)
    for score in found.scores:
        lag = int(score.strategy) - 24
        assert score.value == pytest.approx(PHI**lag, abs=0.02)


def test_the_first_target_lies_six_samples_after_the_last_visible(walk):
    mask = mask_from_strategy(FORECAST, walk)
    assert np.flatnonzero(mask.visible[:, 0])[-1] == 24
    assert np.flatnonzero(mask.target[:, 0])[0] == GAP_END


# -- the gap --------------------------------------------------------------------------
FACTOR = 4
"""Samples that repeat one original value: 7.5 Hz upsampled to 30."""


@pytest.fixture(scope="module")
def upsampled(tmp_path_factory):
    white = np.random.default_rng(6).normal(size=(9000 // FACTOR, 60))
    responses = 50 + 5 * np.repeat(white, FACTOR, axis=0)
    # Windows begin every 30 samples: a length that 4 does not divide moves the phase.
    return opened(tmp_path_factory.mktemp("white"), responses, ["final_test_1"])


def without_gap(session):
    """The first target right after the last visible sample, the guard switched off."""
    return (
        Mask.nothing(session)
        .show(slice(None), slice(0, 30))
        .ask(slice(None), slice(30, 31))
        .with_guard(False)
    )


def test_upsampled_noise_is_foretold_only_without_the_gap(upsampled):
    asked = [
        Condition("with the gap", partial(only, FORECAST, GAP_END)),
        Condition("without", without_gap),
    ]
    with pytest.warns(UserWarning, match="visible"):
        found = evaluate(LastVisible(), upsampled, asked)
    assert abs(found.find("with the gap", "last visible").value) < 0.02
    assert found.find("without", "last visible").value > 0.4
