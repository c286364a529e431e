"""Context curves over a tier: those of a sweep, whatever interrupts them."""

from dataclasses import replace

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.analysis.sweep.cells import planned_cells
from omnimouse_model.analysis.sweep.tier_sweep import TierSweep, tier_plan
from omnimouse_model.data.window_spec import OMNIMOUSE
from omnimouse_model.errors import StoppedError
from omnimouse_model.live.inference.request import LiveRequest
from omnimouse_model.live.inference.stages import StageRunner
from tests.model.context_predictor import ContextPredictor


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr("omnimouse_model.analysis.evaluate.shard.BATCH", 2)


@pytest.fixture
def curves(session, small_batches):
    plan = tier_plan(session, OMNIMOUSE, "test", "correlation")
    return TierSweep(ContextPredictor(), session, plan)


def stop_after(n):
    """Return a function that is true from the call after the n-th on."""
    calls = iter(range(n))
    return lambda: next(calls, None) is None


@pytest.mark.slow
def test_after_the_last_window_they_are_those_of_a_sweep(curves, session):
    *partial, found = curves.refine(lambda: False)
    assert [part.n_windows for part in partial] == [2 * n for n in range(1, len(partial) + 1)]
    plan = found.sweep.plan
    expected = om.context_sweep(
        ContextPredictor(),
        session,
        neurons=plan.neurons,
        history_samples=plan.history_samples,
        video=plan.video,
        behavior=plan.behavior,
        seeds=plan.seeds,
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
    chosen = [*held_out[[1, 4]], visible[0]]
    cell = next(planned_cells(plan, [session]))
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


@pytest.mark.slow
def test_they_continue_where_they_were_stopped(curves, session):
    whole = [*curves.refine(lambda: False)][-1]
    again = TierSweep(ContextPredictor(), session, whole.sweep.plan)
    n_stops = 0
    while True:
        try:
            found = [*again.refine(stop_after(7))][-1:]
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
        # Painting does not change the contexts: the curves return at once.
        painted = replace(request, mask=mask.ask([0], (40, 50)))
        known = next(s for s in runner.when_idle(painted, lambda: False) if s.tier_curves)
        assert known.tier_curves.is_complete
