"""What ships as the demo: small, live, and honest about itself."""

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.analysis.spike_scores import trial_counts
from omnimouse_model.families.ndt import DEMO as NDT_DEMO
from omnimouse_model.families.ndt.predictor import TRIALS, NdtCheckpoint
from omnimouse_model.families.omnimouse import DEMO
from omnimouse_model.families.omnimouse.checkpoint import read_checkpoint
from omnimouse_model.inference.families import training_plan
from omnimouse_model.simulate import TRAINING_MICE
from omnimouse_model.simulate.demo import DEMO_SHOWN, UNSEEN
from omnimouse_model.simulate.spiking_laboratory import (
    ANIMALS,
    UNSEEN_SPIKES,
    laboratory_animal,
    laboratory_rates,
)
from tests.held_out_bits import bits_of


def test_the_checkpoint_is_small_of_the_shipped_config_and_knows_its_mice():
    read = read_checkpoint(DEMO)
    assert DEMO.stat().st_size <= 20e6
    assert read.sessions[DEMO_SHOWN.data_key] == DEMO_SHOWN.n_neurons >= 1000
    assert len(read.sessions) == len(TRAINING_MICE) >= 8
    assert UNSEEN.data_key not in read.sessions
    assert read.config == training_plan("demo").config.model
    assert read.config.hidden_video == "blank"
    assert {key.split(".")[0] for key in read.context} == {DEMO_SHOWN.data_key}


def test_the_transformer_of_spikes_is_small_and_of_the_shipped_config():
    read = NdtCheckpoint.read(NDT_DEMO)
    assert NDT_DEMO.stat().st_size <= 5e6
    assert read.config == training_plan("ndt-demo").config.model
    assert set(read.sessions) == {*ANIMALS} - {UNSEEN_SPIKES}
    assert read.card is not None
    assert read.card["trained_on"] == [*read.sessions]


@pytest.mark.slow
def test_the_transformer_of_spikes_predicts_regions_and_the_future():
    session = om.open_session(laboratory_animal("spikes"))
    model = om.load_predictor("ndt-demo", device="cpu")
    starts = session.window_starts("test", spec=TRIALS)[:4]
    counts = trial_counts(session, model, starts)
    places = np.searchsorted(session.trials.t_on - 0.5, starts - 1e-6)
    oracle = bits_of(laboratory_rates("spikes")[places], counts).pooled
    for condition, share in (("inter-region", 0.8), ("forward", 0.5)):
        rates, spikes = model.held_out_rates(condition, session, counts)
        assert bits_of(rates, spikes).pooled > share * oracle
