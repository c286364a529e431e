"""The Sensorium-2023 baseline: what changes its rates, checkpoints, exact resume."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.errors import CheckpointError
from omnimouse_model.families.parts.factorised import CoreConfig, ReadoutConfig
from omnimouse_model.families.sensorium_factorised.network import (
    FactorisedCheckpoint,
    FactorisedConfig,
    FactorisedNetwork,
    FactorisedTrainConfig,
    FactorisedTraining,
)
from omnimouse_model.training.loop import train
from omnimouse_model.training.sessions import training_session
from tests.model.families.clips import check_resumed, written

CONFIG = FactorisedConfig(
    core=CoreConfig(3, (2, 3), ((7, 7), (5, 5)), (11, 9)), readout=ReadoutConfig(places=None)
)


def small_model(session, folder):
    make = partial(FactorisedNetwork, CONFIG, {session.id: session.n_neurons})
    return om.load_predictor(written(FactorisedCheckpoint, make, folder), device="cpu")


@pytest.fixture(scope="module")
def predictor(session, tmp_path_factory):
    return small_model(session, tmp_path_factory.mktemp("factorised"))


def test_visible_responses_are_not_read_and_it_is_said(predictor, window, mask):
    assert "visible responses are not read" in predictor.predict(window, mask.show([0])).status


def test_samples_whose_frames_were_not_recorded_are_invalid(predictor, session, mask):
    first = predictor.predict(session.window(0.0, predictor.needs.spec), mask)
    later = predictor.predict(session.window(10.0, predictor.needs.spec), mask)
    assert later.valid.all()
    assert not first.valid.all()
    assert np.isnan(first.responses[~first.valid]).all()
    assert np.isfinite(first.responses[first.valid]).all()


def test_a_damaged_checkpoint_is_refused(session, tmp_path):
    small_model(session, tmp_path)
    text = (tmp_path / "small.json").read_text()
    (tmp_path / "small.json").write_text(text.replace('"std": 40.0', '"std": "wide"'))
    with pytest.raises(CheckpointError, match="std"):
        om.load_predictor(tmp_path / "small.safetensors", device="cpu")


@pytest.mark.slow
def test_a_resumed_training_is_the_uninterrupted_one(session, tmp_path):
    config = FactorisedTrainConfig(
        seed=1,
        model=CONFIG,
        clips=2,
        frames=24,
        total_steps=4,
        validate_every=2,
        validation_windows=2,
        save_every_s=None,
    )
    check_resumed(FactorisedTraining, config, session, tmp_path)
    sessions = [training_session(session)]
    with pytest.raises(ValueError, match="model"):
        train(
            FactorisedTraining,
            replace(config, model=replace(CONFIG, offset=1.0)),
            sessions,
            tmp_path / "parts",
        )
