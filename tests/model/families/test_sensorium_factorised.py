"""The Sensorium-2023 baseline: what changes its rates, checkpoints, exact resume."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.errors import CheckpointError, UnsupportedRequestError
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
from tests.model.families.clip_models import (
    check_hidden_inputs,
    check_parts,
    check_resumed,
    mask_of_all,
    written,
)

CONFIG = FactorisedConfig(
    core=CoreConfig(3, (2, 3), ((7, 7), (5, 5)), (11, 9)),
    readout=ReadoutConfig(places=None),
)


@pytest.fixture(scope="module")
def path(session, tmp_path_factory):
    make = partial(FactorisedNetwork, CONFIG, {session.id: session.n_neurons})
    return written(FactorisedCheckpoint, make, tmp_path_factory.mktemp("factorised"))


@pytest.fixture(scope="module")
def predictor(path):
    return om.load_predictor(path, device="cpu")


@pytest.fixture
def mask(session, predictor):
    return mask_of_all(session, predictor)


@pytest.fixture
def window(session, predictor):
    return session.window(10.0, predictor.needs.spec)


def test_rates_do_not_depend_on_recorded_responses(predictor, window, mask, session):
    whole = predictor.predict(window, mask)
    assert np.isfinite(whole.responses).all()
    assert (whole.responses >= 0).all()
    shown = predictor.predict(window, mask.show(slice(None), slice(10, 20)))
    asked = np.isfinite(shown.responses)
    np.testing.assert_array_equal(shown.responses[asked], whole.responses[:, shown.neurons][asked])


def test_hidden_video_and_behaviour_change_nothing(predictor, window, mask, session):
    check_hidden_inputs(predictor, window, mask, session)


def test_samples_whose_frames_were_not_recorded_are_invalid(predictor, session, mask):
    first = predictor.predict(session.window(0.0, predictor.needs.spec), mask)
    later = predictor.predict(session.window(10.0, predictor.needs.spec), mask)
    assert later.valid.all()
    assert not first.valid.all()
    assert np.isnan(first.responses[~first.valid]).all()
    assert np.isfinite(first.responses[first.valid]).all()


def test_parts_and_batches_are_the_whole(predictor, window, mask, session):
    check_parts(predictor, window, mask, session)


def test_an_unknown_session_is_refused(predictor, session):
    with pytest.raises(UnsupportedRequestError, match="omnimouse fit"):
        predictor.prepare(replace(session, id="nobody"))


def test_a_damaged_checkpoint_is_refused(path, tmp_path):
    for file in (path, path.with_suffix(".json")):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    text = (tmp_path / "small.json").read_text()
    (tmp_path / "small.json").write_text(text.replace('"std": 40.0', '"std": "wide"'))
    with pytest.raises(CheckpointError, match="std"):
        om.load_predictor(tmp_path / path.name, device="cpu")


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
