"""Scores of one window: each neuron has that of its own traces."""

import numpy as np

import omnimouse_model as om
from omnimouse_model.evaluation import running_score as scores
from tests.small_sessions import write_session


def test_scores_do_not_depend_on_how_many_neurons_are_scored_at_once(tmp_path, monkeypatch):
    session = om.open_session(write_session(tmp_path / "mouse"))
    window = session.window(0.0)
    mask = om.Mask.nothing(session).ask(slice(1, None), slice(30, 60))
    found = om.load_predictor("mean")
    found.prepare(session)
    prediction = found.predict(window, mask)
    draw = np.random.default_rng(0)
    prediction.responses[30:60] = draw.normal(size=(30, session.n_neurons - 1))
    # One sample of one neuron has no prediction.
    prediction.responses[40, 7] = np.nan
    monkeypatch.setattr(scores, "_BLOCK_NEURONS", 16)
    values = scores.window_scores(prediction, window)
    assert np.isnan(values[0])
    predicted, recorded = prediction.responses, window.responses[:, 1:]
    for neuron in (0, 7, 20, session.n_neurons - 2):
        pairs = np.stack([predicted[:, neuron], recorded[:, neuron]])
        r = np.corrcoef(pairs[:, np.isfinite(pairs).all(axis=0)])[0, 1]
        np.testing.assert_allclose(values[neuron + 1], r, rtol=1e-5)
