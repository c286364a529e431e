import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.errors import StoppedError
from omnimouse_model.live.neurons.neuron_order import (
    order_by_similarity,
    sampled_activity,
    similarity_order,
)
from omnimouse_model.progress import CallbackJob
from tests.small_sessions import write_session


def line_of_places(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Neurons with a place each, active when something is near, and noise."""
    draw = np.random.default_rng(seed)
    places = draw.random(n)
    path = np.cumsum(draw.normal(0, 0.05, 800)) % 1.0
    activity = np.exp(-((path - places[:, None]) ** 2) / 0.02)
    return places, (activity + draw.normal(0, 0.8, activity.shape)).astype(np.float32)


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    ranks = [np.argsort(np.argsort(values)) for values in (one, other)]
    return float(np.corrcoef(*ranks)[0, 1])


@pytest.mark.parametrize("n", [60, pytest.param(3000, marks=pytest.mark.slow)])
def test_neurons_along_a_line_are_ordered_along_it(n):
    places, activity = line_of_places(n)
    order = order_by_similarity(activity)
    assert sorted(order) == list(range(n))
    assert abs(rank_correlation(places[order], np.arange(n))) > 0.9


@pytest.mark.slow
def test_neurons_that_never_change_come_last():
    _, activity = line_of_places(50)
    activity[[3, 17]] = 2.5
    assert order_by_similarity(activity)[-2:].tolist() == [3, 17]
    flat = np.ones((4, 20), np.float32)
    assert order_by_similarity(flat).tolist() == [0, 1, 2, 3]


def test_what_is_read_are_means_of_the_recording_in_bins(session):
    activity = sampled_activity(session)
    assert activity.shape == (40, 800)
    times = session.responses.valid_interval().start + np.arange(6) / 30
    values, valid = session.responses.window(times, session.response_scale)
    assert valid.all()
    np.testing.assert_allclose(activity[:, 0], values.mean(axis=0), rtol=1e-5)


def test_what_was_not_recorded_is_no_silence():
    draw = np.random.default_rng(4)
    rates = draw.gamma(2.0, 5.0, (6000, 12)).astype(np.float32)
    gone = draw.random((6000, 12)) < 0.01
    gone[:3000, :4] = True
    gone[:, 11] = True
    holey = np.where(gone, np.nan, rates)
    found = sampled_activity(om.open_session({"responses": holey, "rate_hz": 30.0}))
    whole = sampled_activity(om.open_session({"responses": rates, "rate_hz": 30.0}))
    assert np.isfinite(found).all()
    assert (found[11] == 0).all()
    missing = np.zeros(found.shape[1], bool)
    missing[: len(missing) // 2 - 10] = True
    own = found[:4, ~missing].mean(axis=1, keepdims=True)
    expected = np.repeat(own, missing.sum(), 1)
    np.testing.assert_allclose(found[:4, missing], expected, 0.1)
    # A sample less in a bin is no smaller a response.
    rest = slice(4, 11)
    ratio = found[rest].mean(axis=1) / whole[rest].mean(axis=1)
    np.testing.assert_allclose(ratio / ratio.mean(), 1.0, atol=0.02)
    spread = found[rest].std(axis=1) / found[rest].mean(axis=1)
    wanted = whole[rest].std(axis=1) / whole[rest].mean(axis=1)
    np.testing.assert_allclose(spread, wanted, rtol=0.1)


@pytest.mark.slow
def test_it_can_be_stopped_at_any_step(session):
    told: list[float] = []
    similarity_order(session, CallbackJob(lambda done, total, _: told.append(done / total)))
    assert told == sorted(told)
    assert 0.9 < told[-1] <= 1.0

    def stop(done: float, total: float, step: str) -> None:
        if done > 0.5 * total:
            raise StoppedError

    with pytest.raises(StoppedError):
        similarity_order(session, CallbackJob(stop))


@pytest.mark.slow
def test_the_controller_keeps_an_order_per_recording(controller, session, tmp_path):
    similarity = controller.neuron_order
    assert similarity.order is None
    similarity.request()
    first = similarity.order
    np.testing.assert_array_equal(first, similarity_order(session))
    controller.loader.open_now(write_session(tmp_path / "other", 12))
    assert similarity.order is None
    similarity.request()
    assert len(similarity.order) == 12
    controller.loader.open_now(session)
    assert similarity.order is first
