"""Responses that were not recorded are hidden from every model, and teach none."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from omnimouse_model.analysis.evaluate.evaluate import evaluate
from omnimouse_model.data.open import open_session
from omnimouse_model.masks import HIDDEN, VISIBLE, Mask
from omnimouse_model.nets.omnimouse.initialisation import initialise
from omnimouse_model.nets.omnimouse.network import OmniMouse
from omnimouse_model.predict.baselines.predictor import RULES
from omnimouse_model.predict.omnimouse.predictor import TransformerPredictor
from omnimouse_model.predict.registry import load_predictor
from omnimouse_model.train.batches import make_batch, training_session
from omnimouse_model.train.config import Phase
from tests.model.small_net import SMALL

N = 12
RATE_HZ = 30.0
MISSING = (slice(2400, 2412), slice(3, 5))
"""Samples 10 to 21 of the window at 80 s, of two neurons."""
READERS = [name for name, rule in RULES.items() if rule.needs.sees_responses]


def _recording(fill: float = np.nan):
    """Three minutes of red noise in which two neurons miss 12 samples of a window."""
    draw = np.random.default_rng(0)
    values = np.zeros((5400, N))
    for t in range(1, len(values)):
        values[t] = 0.95 * values[t - 1] + draw.normal(size=N)
    values = np.abs(values).astype("f4")
    values[MISSING] = fill
    # A neuron without a third of its train time.
    values[1000:2000, 7] = np.nan
    return open_session({"responses": values, "rate_hz": RATE_HZ, "id": "gaps"})


@pytest.fixture(scope="module")
def session():
    return _recording()


@pytest.fixture(scope="module")
def window(session):
    found = session.window(80.0)
    assert found.start_s == pytest.approx(80.0, abs=0.02)
    assert found.missing is not None
    assert set(np.flatnonzero(found.missing.any(axis=0)).tolist()) == {3, 4}
    return found


def _transformer(session) -> TransformerPredictor:
    net = OmniMouse(
        replace(SMALL, behavior_channels=0), {session.id: N}, {session.id: "m"}
    )
    initialise(net, torch.Generator().manual_seed(1))
    with torch.no_grad():
        for parameter in net.parameters():  # large enough for every path to show
            parameter.mul_(1.5).add_(0.01)
    return TransformerPredictor(net.eval(), "small")


@pytest.fixture(scope="module", params=[*READERS, "linear-gaussian", "transformer"])
def predictor(request, session):
    if request.param == "transformer":
        return _transformer(session)
    return load_predictor(request.param, [session])


def test_a_missing_response_is_as_if_it_were_hidden(predictor, session, window):
    mask = Mask.nothing(session).show(range(8)).ask(range(8, N), slice(30, 60))
    mask = mask.show(range(8, N), slice(0, 20))
    assert (mask.cells[window.missing] == VISIBLE).any()
    hidden = np.where(window.missing, np.uint8(HIDDEN), mask.cells)
    found = predictor.predict(window, mask)
    expected = predictor.predict(window, replace(mask, cells=hidden))
    np.testing.assert_array_equal(found.neurons, expected.neurons)
    np.testing.assert_array_equal(found.responses, expected.responses)
    assert np.isfinite(found.responses[35:, :]).all()


def test_scores_leave_missing_responses_out(session):
    (score,) = evaluate("mean", session, "test/causal_response_25").scores
    assert np.isfinite(score.value)
    counts = score.counts
    assert (counts > 0).all()


def test_a_fit_is_not_moved_by_missing_responses():
    """Silence in place of missing samples would pull the mean rate down."""
    whole, gaps = _recording(1.0), _recording()
    of_gaps = load_predictor("mean", [gaps])
    window = gaps.window(10.0)
    mask = Mask.nothing(gaps).ask(range(N), slice(30, 60))
    rate = of_gaps.predict(window, mask).responses[40, 7]
    train = whole.responses.read(0, 4200)[:, 7]
    recorded = float(np.nanmean(train) / whole.response_scale[7])
    assert rate == pytest.approx(recorded, rel=0.05)
    filled = gaps.window(40.0).filled_responses
    assert np.isfinite(filled).all()


def test_no_token_of_a_training_batch_holds_a_missing_response(session):
    source = training_session(session)
    phase = Phase(name="p", steps=1, batch=3, tasks={"test/causal_response_25": 1.0})
    config = replace(SMALL, behavior_channels=0)
    # Two windows at the start of the long gap of neuron 7, one elsewhere.
    starts = np.array([32.5, 33.0, 60.0])
    rng = np.random.default_rng(0)
    batch = make_batch(source, "test/causal_response_25", phase, config, rng, starts)
    layout = batch.layout
    for row, start in enumerate(starts):
        window = session.window(float(start))
        order = batch.windows.neuron_ids[row].numpy()
        missing = ~np.isfinite(window.responses)[:, order]
        for neuron, sample in zip(
            layout.token_neurons.tolist(), layout.token_samples.tolist(), strict=True
        ):
            assert not missing[sample : sample + 10, neuron].any()
    assert len(layout.token_neurons) > 0
    assert torch.isfinite(batch.windows.responses).all()
