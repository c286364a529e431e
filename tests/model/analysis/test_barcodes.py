"""Barcodes: distances by angle, nearest neurons, and what models offer."""

from dataclasses import replace

import numpy as np

from omnimouse_model.analysis.barcodes import LearnedNeurons, learned_neurons
from omnimouse_model.inference.registry import load_predictor
from tests.predictors import tiny_transformer


def test_the_nearest_neurons_are_others_in_order(session):
    angles = np.linspace(0, 1, 6)
    codes = np.stack([np.cos(angles), np.sin(angles)], 1)
    codes[5] = 0
    about = ("s", "f"), session.units.names, "model"
    learned = LearnedNeurons(*about, codes)
    found, distance = learned.nearest(1, 3)
    assert set(found[:2]) == {0, 2}
    assert found[2] == 3
    assert (np.diff(distance) >= -1e-9).all()
    assert len(learned.nearest(1, 99)[0]) == 4
    assert not len(LearnedNeurons(*about).nearest(1, 3)[0])


def test_a_transformer_has_barcodes_and_a_baseline_has_none(session):
    learned = learned_neurons(tiny_transformer(), replace(session, id="small"))
    assert len(learned.barcodes) == 40
    assert learned.positions is None
    learned = learned_neurons(load_predictor("mean"), session)
    assert learned.is_empty
    assert learned.predictor_id == "mean"
