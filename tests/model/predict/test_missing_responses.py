"""Responses that were not recorded are hidden from every model, and teach none."""

from copy import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from omnimouse_model.analysis.evaluate import evaluate
from omnimouse_model.data.open import open_session
from omnimouse_model.data.spike_trains import Observed
from omnimouse_model.data.window_spec import OMNIMOUSE, WindowSpec
from omnimouse_model.families.classical.predictor import RULES
from omnimouse_model.families.omnimouse.batches import Phase, make_batch
from omnimouse_model.families.omnimouse.predictor import TransformerPredictor
from omnimouse_model.families.parts.linear_gaussian.fit import fit, train_series
from omnimouse_model.inference.registry import load_predictor
from omnimouse_model.masks import HIDDEN, VISIBLE, Mask
from omnimouse_model.training.sessions import training_session
from tests.model.small_net import SMALL, small_net

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
    net = small_net({session.id: N}, replace(SMALL, behavior_channels=0))
    return TransformerPredictor(net, "small")


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


def test_windows_of_one_mask_with_other_missing_responses_have_their_own_tokens(session):
    """Neighbouring requests share a batch; a missing response of one is no token."""
    transformer = _transformer(session)
    mask = Mask.nothing(session).show(range(8)).ask(range(8, N), slice(30, 60))
    # The first window misses responses of neurons 3 and 4, the second of neuron 7, the
    # third none.
    windows = [session.window(start_s) for start_s in (80.0, 32.5, 100.0)]
    missing = [window.missing for window in windows]
    assert missing[0] is not None
    assert missing[1] is not None
    assert missing[2] is None
    together = transformer.predict_many((window, mask, None) for window in windows)
    for window, found in zip(windows, together, strict=True):
        alone = _transformer(session).predict(window, mask)
        np.testing.assert_allclose(found.responses, alone.responses, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("name", ["ridge", "context-ridge", "linear-gaussian"])
def test_fits_take_a_missing_response_as_the_mean_and_not_as_silence(name):
    """A third of one neuron's train time is missing, in which it would be high."""
    draw = np.random.default_rng(1)
    values = 5.0 + 0.2 * draw.normal(size=(5400, N)).astype("f4")
    values[:1500, 7] = np.nan
    gaps = open_session({"responses": values, "rate_hz": RATE_HZ, "id": name})
    mask = Mask.nothing(gaps).show(range(N), slice(0, 30)).ask([7], slice(40, 60))
    if name == "context-ridge":
        mask = Mask.nothing(gaps).show(range(7)).ask([7], slice(40, 60))
    rates = load_predictor(name, [gaps]).predict(gaps.window(100.0), mask)
    mean = 5.0 / gaps.response_scale[7]
    assert rates.responses[45, 0] == pytest.approx(mean, rel=0.05)


def test_missing_counts_have_the_mean_of_their_own_bins():
    times = np.sort(np.random.default_rng(2).uniform(0, 100, 4000))
    spikes = {"spike_times": times, "spike_unit": np.arange(4000) % 2, "stop_s": 100.0}
    session = open_session(spikes)
    trains = copy(session.responses.file)
    trains.observed = Observed(np.array([[0.0, 40.0], [0.0, 100.0]]), np.arange(3))
    responses = replace(session.responses, file=trains)
    session = replace(session, responses=responses)
    spec = WindowSpec(1.0, 10.0, "count")
    window = session.window(60.0, spec)
    assert np.isnan(window.responses[:, 0]).all()
    # 20 spikes per second of each unit, in bins of a tenth of a second.
    assert window.filled_responses[:, 0] == pytest.approx(2.0, rel=0.05)


def test_a_training_batch_of_a_slow_recording_has_no_target_that_is_revealed():
    draw = np.random.default_rng(3).gamma(1.0, 1.0, (600, N)).astype("f4")
    slow = open_session({"responses": draw, "rate_hz": 3.0, "id": "slow"})
    config = replace(SMALL, behavior_channels=0)
    task, rng = "test/causal_response_25", np.random.default_rng(0)
    phase = Phase(name="p", steps=1, batch=2, tasks={task: 1.0})
    batch = make_batch(training_session(slow), task, phase, config, rng)
    samples = batch.layout.query_samples[batch.scored[0].any(dim=1)]
    # Targets begin 20 samples, two recorded ones, after the 25 visible samples.
    assert int(samples.min()) >= 45


def test_tokens_of_neurons_without_missing_samples_are_kept_in_training(session):
    source, config = training_session(session), replace(SMALL, behavior_channels=0)
    task = "test/population_1024_response"
    phase = Phase(name="p", steps=1, batch=4, tasks={task: 1.0})
    visible = Mask.from_strategy(task, N).visible.any(axis=0).sum()
    for seed in range(4):
        rng = np.random.default_rng(seed)
        # All windows miss responses of neuron 7, which is never among the visible.
        starts = np.array([40.0, 41.0, 42.0, 43.0])
        batch = make_batch(source, task, phase, config, rng, starts)
        assert len(set(batch.layout.token_neurons.tolist())) == visible


def test_the_scale_of_a_neuron_is_that_of_its_recorded_samples(session):
    values = session.responses.data.copy()
    values[1000:2000, 7] = session.responses.data[2000:3000, 7]
    spec = OMNIMOUSE
    whole = open_session({"responses": values, "rate_hz": RATE_HZ, "id": "whole"})
    of_gaps, of_whole = (
        fit(train_series(s, spec), RATE_HZ, is_count=False).scale for s in (session, whole)
    )
    assert of_gaps[7] == pytest.approx(of_whole[7], rel=0.1)
