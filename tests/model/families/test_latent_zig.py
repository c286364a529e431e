"""The latent model: what its latents read, its prior, and exact resume."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.data.session import Window
from omnimouse_model.families.latent_zig.network import (
    LATENT_ZIG,
    LatentConfig,
    ZigConfig,
    ZigNetwork,
)
from omnimouse_model.families.latent_zig.training import ZigTrainConfig, ZigTraining
from omnimouse_model.families.parts.factorised import CoreConfig, ReadoutConfig
from tests.model.families.clip_models import check_parts, check_resumed, written

CONFIG = ZigConfig(
    core=CoreConfig(1, (2, 3), ((7, 7), (5, 5)), (11, 9)),
    readout=ReadoutConfig(places=None, has_bias=False),
    kernel=(3, 3),
    latent=LatentConfig(3, 6, 5),
)


@pytest.fixture(scope="module")
def predictor(session, tmp_path_factory):
    make = partial(ZigNetwork, CONFIG, {session.id: session.n_neurons})
    path = written(LATENT_ZIG, make, tmp_path_factory.mktemp("zig"), spread=0.3)
    return om.load_predictor(path, device="cpu")


@pytest.fixture
def mask(session, predictor):
    made = om.Mask.nothing(session, predictor.needs.spec).with_frames(True)
    return made.ask(np.arange(10), slice(None)).with_guard(guarded=False)


@pytest.fixture
def window(session, predictor):
    return session.window(10.0, predictor.needs.spec)


def test_rates_follow_visible_responses_and_no_hidden_ones(predictor, window, mask, monkeypatch):
    shown = mask.show(np.arange(10, 20), slice(0, 30))
    given, recorded = predictor.predict(window, shown).responses, window.responses
    assert not np.allclose(predictor.predict(window, mask).responses, given)
    values = np.where(shown.visible, recorded, np.float32(9))
    monkeypatch.setattr(Window, "responses", property(lambda _: values))
    # Another predictor: the first one has the window in its cache.
    np.testing.assert_array_equal(replace(predictor).predict(window, shown).responses, given)
    values = np.where(shown.visible, recorded + 1, recorded)
    assert not np.allclose(replace(predictor).predict(window, shown).responses, given)


def test_the_prior_has_no_chance_in_it(predictor, window, mask):
    one, two = (predictor.predict(window, mask).responses for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert (one > 0).all()


def test_parts_and_batches_are_the_whole(predictor, window, mask, session):
    hidden = session.window(14.0, predictor.needs.spec)
    check_parts(predictor, window, mask.show(np.arange(10, 20)), session)
    # Beside one with visible responses, a window without any has the prior, too.
    both = [(hidden, mask, None), (window, mask.show(np.arange(10, 20)), None)]
    found = next(predictor.predict_many(both)).responses
    alone = predictor.predict(hidden, mask).responses
    np.testing.assert_allclose(found, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_resumed_training_is_the_uninterrupted_one(session, tmp_path):
    config = ZigTrainConfig(
        seed=1,
        model=CONFIG,
        clips=2,
        frames=24,
        video_steps=2,
        draws=2,
        total_steps=4,
        validate_every=2,
        validation_windows=2,
        save_every_s=None,
    )
    check_resumed(ZigTraining, config, session, tmp_path)
