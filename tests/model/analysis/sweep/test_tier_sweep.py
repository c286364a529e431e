"""Context curves over a tier: those of a sweep, whatever interrupts them."""

from dataclasses import replace

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.analysis.sweep.live_sweep import TierSweep, tier_plan
from omnimouse_model.analysis.sweep.run import planned_cells
from omnimouse_model.data.window_spec import OMNIMOUSE
from omnimouse_model.errors import StoppedError
from omnimouse_model.live.inference.stages import StageRunner
from omnimouse_model.live.inference.stream import LiveRequest
from omnimouse_model.live.results import Results
from tests.model.context_predictor import ContextPredictor


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr("omnimouse_model.evaluation.shard.BATCH", 10)


@pytest.fixture
def curves(session, small_batches):
    mask = om.Mask.nothing(session).ask(range(20, session.n_neurons)).show(range(18))
    plan = tier_plan(session, OMNIMOUSE, "test", "correlation", mask)
    return TierSweep(ContextPredictor(), session, plan)


def stop_after(n):
    """Return a function that is true from the call after the n-th on."""
    calls = iter(range(n))
    return lambda: next(calls, None) is None


@pytest.mark.slow
def test_after_the_last_window_they_are_those_of_a_sweep(curves, session):
    *partial, found = curves.refine(lambda: False)
    assert [part.n_windows for part in partial] == [10 * n for n in range(1, len(partial) + 1)]
    plan = found.sweep.plan
    expected = om.context_sweep(
        ContextPredictor(),
        session,
        neurons=plan.neurons,
        history_samples=plan.history_samples,
        video=plan.video,
        behavior=plan.behavior,
        seeds=plan.seeds,
        targets=plan.targets,
        pool=plan.pool,
    )
    assert found.is_complete
    assert len(found.sweep.rows) > 4
    # Live curves have no ceilings.
    nothing = float("nan")
    for row, other in zip(found.sweep.rows, expected.rows, strict=True):
        assert repr(replace(row, ceiling=nothing)) == repr(replace(other, ceiling=nothing))


@pytest.mark.slow
def test_curves_of_some_neurons_are_means_of_their_scores(curves, session):
    found = [*curves.refine(lambda: False)][-1]
    plan = found.sweep.plan
    held_out = np.flatnonzero(np.isfinite(found.per_neuron).any(axis=0))
    assert len(held_out) == found.sweep.rows[0].n_neurons
    visible = np.setdiff1d(np.arange(session.n_neurons), held_out)
    chosen = [*held_out[[1, 4]].tolist(), int(visible[0])]
    cell = next(planned_cells(plan, [session], OMNIMOUSE))
    (score,) = om.evaluate(ContextPredictor(), session, [cell.condition]).scores
    at = [list(score.neurons).index(n) for n in held_out[[1, 4]]]
    selected = found.of_neurons(chosen)
    assert selected.plan == plan
    assert [row.n_neurons for row in selected.rows] == [2] * len(selected.rows)
    assert selected.rows[0].score == pytest.approx(score.per_neuron[at].mean())
    everyone = found.of_neurons(range(session.n_neurons))
    for row, other in zip(everyone.rows, found.sweep.rows, strict=True):
        assert row.score == pytest.approx(other.score, abs=1e-6)
    assert found.of_neurons(visible[:2].tolist()) is None
    assert found.of_neurons([]) is None


def test_they_are_of_the_targets_and_the_visible_neurons_of_the_mask(session):
    def plan_of(mask):
        return tier_plan(session, OMNIMOUSE, "test", "correlation", mask)

    nothing, n = om.Mask.nothing(session), session.n_neurons
    asked = plan_of(nothing.ask([3, 4]).show(range(10, 30), (30, 60)))
    assert (asked.targets.indices(session).tolist(), len(asked.pool.ids)) == ([3, 4], 20)
    assert asked.neurons == (0, 16)
    # Without visible neurons all others may be shown, and without others held-out
    # neurons are predicted.
    from_video = plan_of(nothing.ask([3, 4]).with_frames(True))
    assert (len(from_video.targets.ids), len(from_video.pool.ids)) == (2, n)
    everyone = plan_of(nothing.ask(slice(None)).with_frames(True))
    assert (everyone.targets, everyone.pool) == (None, None)
    assert everyone.targets_name == "held-out neurons"


def test_curves_of_other_neurons_leave_with_a_stroke(curves, session):
    found = next(iter(curves.refine(lambda: False)))
    mask = om.Mask.nothing(session).ask(range(20, session.n_neurons)).show(range(18))
    results = Results()
    results.tier_curves = found
    # The same neurons at other samples, and without video.
    results.mark_requested(1, mask=mask.hide(range(18), (0, 10)).with_frames(False))
    assert results.tier_curves is found
    results.mark_requested(2, mask=mask.hide([0], (0, 60)))
    assert results.tier_curves is None


@pytest.mark.slow
def test_they_continue_where_they_were_stopped(curves, session):
    whole = [*curves.refine(lambda: False)][-1]
    again = TierSweep(ContextPredictor(), session, whole.sweep.plan)
    n_stops = 0
    while True:
        try:
            found = [*again.refine(stop_after(25))][-1:]
        except StoppedError:
            n_stops += 1
            continue
        break
    assert n_stops > 2
    assert repr(again.result().sweep.rows) == repr(whole.sweep.rows)
    assert found[0].is_complete


@pytest.mark.slow
@pytest.mark.parametrize(("sweep", "is_on"), [(True, True), (False, True), (True, False)])
def test_they_are_computed_in_idle_time_while_they_are_visible(
    session, small_batches, sweep, is_on
):
    predictor = ContextPredictor()
    mask = om.Mask.from_strategy("test/video_behavior", session.n_neurons)
    request = LiveRequest(
        session, session.window(3.0), mask, (), predictor, sweep=sweep,
        scores_tier=is_on,
    )  # fmt: skip
    runner = StageRunner(lambda *_: predictor)
    list(runner(request, lambda: False))
    stages = [*runner.when_idle(request, lambda: False)]
    assert bool(stages) == is_on  # the score over the tier, too
    first = [stage for stage in stages if stage.tier_curves]
    assert bool(first) == (sweep and is_on)
    if first:
        # The same targets and pool: the curves return at once.
        painted = replace(request, mask=mask.ask([0], (40, 50)))
        known = next(s for s in runner.when_idle(painted, lambda: False) if s.tier_curves)
        assert known.tier_curves.is_complete
