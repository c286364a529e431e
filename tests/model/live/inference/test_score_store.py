"""Complete scores on disk: the same bits, bounded, and never a question's neighbour."""

import os
import pickle
from dataclasses import dataclass, fields, replace
from itertools import count, islice

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.evaluation import shard, tier_score
from omnimouse_model.evaluation.running_score import RunningScore
from omnimouse_model.live.inference import tier_results
from omnimouse_model.live.inference.stages import StageRunner
from omnimouse_model.live.inference.stream import LiveRequest
from omnimouse_model.live.inference.tier_results import ScoreStore
from omnimouse_model.predict.predictor import Needs
from tests.predictors import NoisyPredictor


@dataclass
class VideoModel(NoisyPredictor):
    """Reads video and behaviour, and no responses."""

    name: str = "of video"

    @property
    def needs(self):
        return Needs(sees_responses=False, sees_video=True, sees_behavior=True)


@pytest.fixture
def mask(session):
    mask = om.Mask.nothing(session).show(range(10)).ask(range(10, 40))
    return mask.with_frames(True).with_behavior("target")


@pytest.fixture
def request_of(session, mask):
    window = session.window(3.0)
    return LiveRequest(session, window, mask, (10,), "noisy", "cpu", sweep=True)


def final_stages(request, store, kind=NoisyPredictor):
    """Score and curves of a new runner, as after a restart; windows it predicted."""
    made = request.predictor
    predictor = kind() if isinstance(made, str) else made
    runner = StageRunner(lambda *_: predictor, store)
    list(runner(request, lambda: False))
    before = predictor.counters["encodings"]
    found = {stage.name: stage for stage in runner.when_idle(request, lambda: False)}
    curves = found["tier_curves"].tier_curves if request.sweep else None
    n_predicted = predictor.counters["encodings"] - before
    return found["tier_score"].tier_score, curves, n_predicted


def assert_same(one, other):
    assert (one.tier, one.n_windows, one.n_total) == (
        *(other.tier, other.n_windows, other.n_total),
    )
    for field in fields(one.score):
        values = (getattr(score.score, field.name) for score in (one, other))
        np.testing.assert_array_equal(*values, strict=True)
    np.testing.assert_equal(*([*map(repr, found.behavior)] for found in (one, other)))
    np.testing.assert_equal(one.steps, other.steps)
    np.testing.assert_equal(one.sample_steps, other.sample_steps)
    np.testing.assert_equal(one.window_scores, other.window_scores)


@pytest.mark.slow
@pytest.mark.parametrize("n_sampled", [tier_score.SAMPLE, 10])
def test_after_a_restart_it_has_the_bits_of_a_fresh_computation(
    request_of, tmp_path, monkeypatch, n_sampled
):
    monkeypatch.setattr(tier_score, "SAMPLE", n_sampled)
    store = ScoreStore(tmp_path)
    fresh, fresh_curves, n_predicted = final_stages(request_of, None)
    assert bool(fresh.sample_steps) == (n_sampled == 10)
    assert n_predicted > 0
    final_stages(request_of, store)
    again = replace(request_of, mask=replace(request_of.mask, name="again"))
    score, curves, n_predicted = final_stages(again, ScoreStore(tmp_path))
    assert n_predicted == 0
    assert score.is_complete
    assert score.mask is again.mask
    assert_same(score, fresh)
    assert repr(curves.sweep.rows) == repr(fresh_curves.sweep.rows)
    assert curves.sweep.plan == fresh_curves.sweep.plan
    assert (curves.n_windows, curves.n_total) == (fresh.n_windows, fresh.n_total)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_stages", "end"), [(2, "closed"), (4, "closed"), (2, "killed"), (2, "damaged")]
)
def test_an_unfinished_refinement_goes_on_after_a_restart(
    request_of, tmp_path, monkeypatch, n_stages, end
):
    monkeypatch.setattr(shard, "BATCH", 1)
    monkeypatch.setattr(tier_results, "STORE_EVERY_S", 0.0 if end == "killed" else 1e9)
    whole, whole_curves, n_predicted = final_stages(request_of, None)
    predictor = NoisyPredictor()
    runner = StageRunner(lambda *_: predictor, ScoreStore(tmp_path))
    list(runner(request_of, lambda: False))
    before = predictor.counters["encodings"]
    # Three batches of the score, then three of the curves.
    stages = runner.when_idle(request_of, lambda: False)
    assert len([*islice(stages, n_stages)]) == n_stages
    stages.close()
    if end != "killed":
        runner.close()
    n_first = predictor.counters["encodings"] - before
    (path,) = (tmp_path / "unfinished").glob("*.npz")
    if end == "damaged":
        path.write_bytes(path.read_bytes()[:-100])
    score, curves, n_second = final_stages(request_of, ScoreStore(tmp_path))
    # A kill loses the last batch, damage all of them.
    n_again = {"closed": 0, "killed": 1, "damaged": n_first}[end]
    assert n_first + n_second == n_predicted + n_again
    assert_same(score, whole)
    assert repr(curves.sweep.rows) == repr(whole_curves.sweep.rows)
    assert not list((tmp_path / "unfinished").glob("*.npz"))


@pytest.mark.slow
@pytest.mark.parametrize("n_sampled", [tier_score.SAMPLE, 10])
@pytest.mark.parametrize("is_closed", [True, False])
def test_an_interrupted_addition_counts_no_window_twice(
    request_of, tmp_path, monkeypatch, is_closed, n_sampled
):
    """Ctrl-C while a batch is added, then another process, or the same one."""
    monkeypatch.setattr(tier_score, "SAMPLE", n_sampled)
    monkeypatch.setattr(shard, "BATCH", 2)
    request = replace(request_of, sweep=False)
    whole, *_ = final_stages(request, None)
    predictor, store = NoisyPredictor(), ScoreStore(tmp_path)
    runner = StageRunner(lambda *_: predictor, store)
    list(runner(request, lambda: False))
    add, additions = RunningScore.add, count(1)

    def interrupted(score, *arguments):
        add(score, *arguments)
        if score.by_window is not None and next(additions) == 3:
            raise KeyboardInterrupt  # in the second batch

    with monkeypatch.context() as patch:
        patch.setattr(RunningScore, "add", interrupted)
        with pytest.raises(KeyboardInterrupt):
            list(runner.when_idle(request, lambda: False))
    if is_closed:
        runner.close()
        score, *_ = final_stages(request, store)
    else:
        score = list(runner.when_idle(request, lambda: False))[-1].tier_score
    assert_same(score, whole)


@pytest.mark.parametrize("damage", ["cut", "pickle", "foreign", "bomb", "another question"])
def test_a_file_that_cannot_be_read_is_scored_again(request_of, tmp_path, caplog, damage):
    request = replace(request_of, sweep=False)
    store = ScoreStore(tmp_path)
    fresh, *_ = final_stages(request, store)
    (path,) = tmp_path.glob("*.npz")
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "pickle":
        np.savez(path, facts=np.array([print], dtype=object))
    elif damage == "bomb":
        np.savez_compressed(path, facts=np.zeros(2**24))
    elif damage == "foreign":
        path.write_bytes(pickle.dumps(print))
    else:
        final_stages(replace(request, metric="fve"), store)
        (other,) = set(tmp_path.glob("*.npz")) - {path}
        other.replace(path)
    found, _, n_predicted = final_stages(request, store)
    assert n_predicted > 0
    assert str(path) in caplog.text
    assert_same(found, fresh)
    assert final_stages(request, store)[2] == 0


def test_files_are_bounded_and_the_least_recently_used_are_removed(request_of, tmp_path, mask):
    store = ScoreStore(tmp_path)
    final_stages(replace(request_of, sweep=False), store)
    (first,) = tmp_path.glob("*.npz")
    os.utime(first, (1, 1))
    small = ScoreStore(tmp_path, limit_bytes=int(2.5 * first.stat().st_size))
    requests = [replace(request_of, sweep=False, mask=mask.hide([neuron])) for neuron in (20, 21)]
    final_stages(requests[0], small)
    assert first.exists()
    # It is used again, so that it is no longer the oldest.
    final_stages(replace(request_of, sweep=False), small)
    (second,) = set(tmp_path.glob("*.npz")) - {first}
    os.utime(second, (2, 2))
    final_stages(requests[1], small)
    assert first.exists()
    assert not second.exists()


def test_objects_that_a_user_made_are_not_stored(request_of, tmp_path):
    request = replace(request_of, predictor=NoisyPredictor("noisy"), sweep=False)
    final_stages(request, ScoreStore(tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_score_of_other_fits_is_computed_again(request_of, tmp_path, monkeypatch):
    store, request = ScoreStore(tmp_path), replace(request_of, sweep=False)
    for fits, is_known in ((1, False), (1, True), (2, False)):
        monkeypatch.setattr(NoisyPredictor, "needs", Needs(fits=fits))
        assert (final_stages(request, store)[2] == 0) is is_known


def test_masks_that_a_model_of_video_cannot_tell_apart_share_a_score(request_of, tmp_path, mask):
    store, kind = ScoreStore(tmp_path), VideoModel
    request = replace(request_of, sweep=False, mask=mask.with_behavior("visible"))
    first, *_ = final_stages(request, store, kind)
    for change, is_known in (
        (request.mask.hide(range(10)), True),
        (request.mask.hide([20]), False),
        (request.mask.with_frames(False), False),
    ):
        other = replace(request, mask=change)
        found, _, n_predicted = final_stages(other, store, kind)
        assert (n_predicted == 0) == is_known
        assert found.mask is change
        assert np.array_equal(found.score.neurons, first.score.neurons) == (
            20 in found.score.neurons
        )
