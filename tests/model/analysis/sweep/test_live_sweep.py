from contextlib import closing
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.analysis.sweep.contexts import Context, context_mask
from omnimouse_model.analysis.sweep.live_sweep import (
    TierSweep,
    live_draw,
    live_plan,
    live_sweep,
    tier_plan,
)
from omnimouse_model.analysis.sweep.run import planned_cells
from omnimouse_model.data.window_spec import OMNIMOUSE
from omnimouse_model.errors import StoppedError
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.inference.stages import Stage, StageRunner
from omnimouse_model.live.inference.stream import LiveRequest
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import LiveState
from omnimouse_model.metrics import correlation
from omnimouse_model.predict.predictor import Encoded
from omnimouse_model.progress import Cancelled, never
from tests.model.context_predictor import ContextPredictor
from tests.predictors import EchoPredictor, GatedPredictor, RefusingPredictor, tiny_transformer

TIMEOUT = 60.0
SELECTED = np.array([3, 11, 30])
N_POINTS = 8  # none, 16 neurons, 10 and 25 samples, each without and with video
N_LIVE = 2 * N_POINTS + 2 * 4
"""Computed by the engine: with and without behaviour, 16 neurons twice more."""


@pytest.fixture
def window(session):
    return session.window(17.0)


class RecordingPredictor(EchoPredictor):
    """Remembers what it was asked, adding noise of its own."""

    def __init__(self) -> None:
        EchoPredictor.__init__(self, "listening")
        self.asked: list[om.Mask] = []

    def encode(self, window: om.Window, mask: om.Mask, cancelled: Cancelled = never) -> Encoded:
        self.asked.append(mask)
        draw = np.random.default_rng(len(self.asked))
        return Encoded(window, mask, window.responses + draw.random((60, 40)))


def test_contexts_are_those_of_the_contract():
    contexts = live_plan(2000, 4).contexts
    pairs = [(c.neurons, c.history_samples) for c in contexts if c.video]
    assert pairs == [(0, 0), (16, 0), (64, 0), (256, 0), (1024, 0), (0, 10), (0, 25)]
    without = [c for c in contexts if not c.video]
    assert without == [Context(*pair, video=False) for pair in pairs]
    for n_neurons, counts in ((68, {0, 16, 64}), (67, {0, 16})):
        contexts = live_plan(n_neurons, 4).contexts
        assert {context.neurons for context in contexts} == counts


def test_a_point_is_the_mean_correlation_of_the_selected(window):
    predictor = RecordingPredictor()
    *_, found = live_sweep(predictor, window, SELECTED)
    for number, (row, mask) in enumerate(zip(found.rows, predictor.asked, strict=True)):
        draw = np.random.default_rng(number + 1)
        rates = window.responses + draw.random((60, 40))
        truth = window.responses[30:, SELECTED]
        expected = correlation(rates[30:, SELECTED], truth).mean()
        assert row.score == pytest.approx(expected, abs=1e-6)
        assert row.ci_low < row.score < row.ci_high
        assert np.flatnonzero(mask.target.any(axis=0)).tolist() == SELECTED.tolist()
        assert not mask.visible[25:, SELECTED].any()
        assert mask.behavior == "visible"
        assert mask == context_mask(row.context, live_draw(window.session, SELECTED))


def test_behavior_is_given_as_in_the_question(window):
    predictor = RecordingPredictor()
    *_, found = live_sweep(predictor, window, SELECTED, behavior=False)
    assert {mask.behavior for mask in predictor.asked} == {"target"}
    assert found.curve("neurons", behavior=False).label == "video"
    assert "tier" not in repr(found)  # one window is of no tier


def test_it_stops_between_points_and_goes_on_where_it_was(window):
    seen: list[om.ContextSweep] = []
    predictor = RecordingPredictor()
    points = live_sweep(predictor, window, SELECTED, cancelled=lambda: len(seen) == 3)
    with pytest.raises(StoppedError):
        seen.extend(points)
    assert len(predictor.asked) == 3
    rest = list(live_sweep(predictor, window, SELECTED, finished=seen[-1]))
    assert [len(sweep.rows) for sweep in rest] == [3, 4, 5, 6, 7, 8]
    assert len(predictor.asked) == N_POINTS
    assert rest[-1].rows[:3] == seen[-1].rows


@pytest.mark.slow
def test_a_mask_is_made_when_it_is_asked_for(window, monkeypatch):
    # All of them take seconds for thousands of neurons: the thread of a closed window went on.
    made = []

    def noted(*about):
        made.append(about)
        return context_mask(*about)

    monkeypatch.setattr("omnimouse_model.analysis.sweep.live_sweep.context_mask", noted)
    with pytest.raises(StoppedError):
        next(live_sweep(EchoPredictor(), window, SELECTED, cancelled=lambda: bool(made)))
    assert len(made) == 1


class AheadPredictor(RefusingPredictor):
    """Takes three requests before it answers the first."""

    def predict_many(self, requests, cancelled=never):
        requests = iter(requests)
        while batch := list(islice(requests, 3)):
            for request in batch:
                yield self.predict(*request, cancelled)


def test_a_refused_mask_is_left_out_of_those_that_are_computed_together(window):
    *_, found = live_sweep(AheadPredictor(), window, SELECTED)
    *_, alone = live_sweep(RefusingPredictor(), window, SELECTED)
    for row, expected in zip(found.rows, alone.rows, strict=True):
        assert (row.context, row.refusal) == (expected.context, expected.refusal)
        assert row.refusal or row.score == expected.score
    assert {bool(row.refusal) for row in found.rows} == {True, False}


class RefusesAtOnce(EchoPredictor):
    """Refuses many requests before it reads the first one."""

    def predict_many(self, requests, cancelled=never):
        raise om.UnsupportedRequestError("never together")


def test_a_predictor_may_refuse_before_it_reads_a_request(window):
    *_, found = live_sweep(RefusesAtOnce(), window, SELECTED)
    assert found.is_complete
    assert {row.refusal for row in found.rows} == {"never together"}


def test_the_windows_video_is_encoded_once_and_points_are_as_if_asked_alone(window):
    predictor = tiny_transformer()
    *_, found = live_sweep(predictor, window, SELECTED)
    assert predictor.counters["video_encodings"] == 1
    for number in (1, 6):
        row = found.rows[number]
        mask = context_mask(row.context, live_draw(40, SELECTED))
        rates = tiny_transformer().predict(window, mask, SELECTED).responses
        truth = window.responses[:, SELECTED]
        expected = correlation(rates[30:], truth[30:], axis=0).mean()
        assert row.score == pytest.approx(expected, abs=1e-5)


def test_draws_differ_in_the_neurons_given_and_repeat_what_has_none(window):
    predictor = RecordingPredictor()
    *_, found = live_sweep(predictor, window, SELECTED, seeds=(0, 1, 2))
    assert found.is_complete
    assert len(predictor.asked) == N_POINTS + 2 * 2
    sixteen = [m for m in predictor.asked if m.visible[30:].any() and m.frames.any()]
    given = [tuple(np.flatnonzero(m.visible[40])) for m in sixteen]
    assert len(set(given)) == 3
    scores = {(r.seed, r.context): r.score for r in found.rows}
    history = Context(history_samples=10)
    assert scores[0, history] == scores[1, history] == scores[2, history]
    point = found.point(Context(16))
    drawn = [scores[seed, Context(16)] for seed in range(3)]
    assert point.score == pytest.approx(np.mean(drawn))
    assert point.sem == pytest.approx(np.std(drawn, ddof=1) / np.sqrt(3))


def live_request(session: om.Session, window: om.Window, **changes: object) -> LiveRequest:
    mask = om.Mask.from_strategy("test/video_behavior", session)
    request = {"mask": mask, "selection": (3, 11, 30), "sweep": True} | changes
    return LiveRequest(session, window, predictor=EchoPredictor(), **request)


def stages_of(answering: StageRunner, request: LiveRequest) -> list[Stage]:
    return list(answering(request, lambda: False))


def no_load(name: str, device: str) -> EchoPredictor:
    raise AssertionError("nothing is loaded by name here")


@pytest.mark.slow
def test_another_question_begins_it_again_and_another_mask_does_not(session, window):
    answering = StageRunner(no_load)
    first = stages_of(answering, live_request(session, window))
    other = om.Mask.from_strategy("test/causal_response_25_behavior", session)
    again = stages_of(answering, live_request(session, window, mask=other))
    assert [stage.name for stage in again] == ["selected", "population", "sweep"]
    assert again[-1].sweep is first[-1].sweep
    new = live_request(session, session.window(18.0))
    assert len(stages_of(answering, new)) == 2 + N_LIVE + 1
    new = live_request(session, session.window(18.0), selection=(3, 11))
    assert len(stages_of(answering, new)) == 2 + N_LIVE + 1


def test_a_stroke_stops_it_and_it_goes_on_afterwards(session):
    predictor = GatedPredictor()
    with closing(Controller(LiveState(trace_span="window"))) as controller:
        controller.loader.open_now(session)
        controller.requests.show_sweep()
        controller.model.choose(predictor)
        predictor.gate.release(1 + 3)  # the answer, and three points
        for _ in range(1 + 3 + 1):  # and a fourth has begun
            assert predictor.entered.acquire(timeout=TIMEOUT)
        results = controller.results
        assert len(results.sweep.rows) == 3
        assert results.sweep_freshness == "fresh"
        controller.editor.paint([1, 2], 2)
        assert results.sweep_freshness == "stale"
        predictor.gate.release(1 + 1 + N_LIVE)
        assert controller.requests.wait(TIMEOUT)
        assert results.sweep.is_complete
        assert results.sweep_freshness == "fresh"
        assert predictor.counters["encodings"] == 2 + N_LIVE


# -- context curves over a tier: those of a sweep, whatever interrupts them ----------
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
