"""Context curves over a tier: those of a sweep, whatever interrupts them."""

from dataclasses import replace

import pytest

import omnimouse_model as om
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
    assert [part.n_windows for part in partial] == [
        2 * n for n in range(1, len(partial) + 1)
    ]
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
        assert repr(replace(row, ceiling=nothing)) == repr(
            replace(other, ceiling=nothing)
        )


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
@pytest.mark.parametrize(
    ("sweep", "is_on"), [(True, True), (False, True), (True, False)]
)
def test_they_are_computed_in_idle_time_while_they_are_visible(
    session, small_batches, sweep, is_on
):
    predictor = ContextPredictor()
    mask = om.mask_from_strategy("test/video_behavior", session.n_neurons)
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
        known = next(
            s for s in runner.when_idle(painted, lambda: False) if s.tier_curves
        )
        assert known.tier_curves.is_complete
