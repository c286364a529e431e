"""Score over a tier: computed in idle time, kept or ended by requests."""

import threading
from dataclasses import replace

import pytest

import omnimouse_model as om
from omnimouse_model.analysis.evaluate import evaluate
from omnimouse_model.analysis.stimulus_edits import Blank
from omnimouse_model.live.inference.stages import StageRunner
from omnimouse_model.live.inference.stream import LiveRequest
from tests.predictors import NoisyPredictor, open_controller

TIMEOUT_S = 60.0


@pytest.fixture
def scored(session):
    """A controller with threads, and a function that waits for the whole tier."""
    complete = threading.Event()
    with open_controller(session, NoisyPredictor("noisy"), synchronous=False) as made:

        def listen():
            found = made.results.tier_score
            if found is not None and found.is_complete:
                complete.set()

        def wait():
            assert complete.wait(TIMEOUT_S)
            complete.clear()
            return made.results.tier_score

        made.results.changed.connect(listen)
        yield made, wait


def test_it_ends_with_the_score_of_an_evaluation(scored, session):
    controller, wait = scored
    found = wait()
    assert found.mask is controller.state.mask
    expected = evaluate(NoisyPredictor("noisy"), session, found.mask).scores[0]
    assert found.score.value == expected.value


@pytest.mark.slow
def test_it_stays_in_another_window_and_ends_with_the_task(scored, session):
    controller, wait = scored
    found = wait()
    controller.navigation.step_window(1)
    assert controller.results.tier_score is not None
    controller.editor.paint([0, 1], 1)
    assert controller.results.tier_score is not found
    wait()
    controller.editor.undo()
    again = wait()
    assert again.score.value == found.score.value


@pytest.fixture
def made():
    """Predictors that the runner has loaded."""
    return []


@pytest.fixture
def runner(made):
    def load(*_):
        made.append(NoisyPredictor("noisy"))
        return made[-1]

    return StageRunner(load)


@pytest.fixture
def request_on(session):
    """Function that makes a request; on another device, it is another predictor's."""
    mask = om.Mask.from_strategy("test/video_behavior", session.n_neurons)
    task = (session, session.window(3.0), mask, (), "noisy")
    return lambda device, **more: LiveRequest(*task, device, **more)


def test_a_closed_predictor_is_not_asked_again(runner, made, request_on, monkeypatch):
    monkeypatch.setattr("omnimouse_model.evaluation.shard.BATCH", 1)
    first, second = request_on("cpu"), request_on("auto")
    list(runner(first, lambda: False))
    begun = runner.when_idle(first, lambda: False)
    assert not next(begun).tier_score.is_complete
    begun.close()
    list(runner(second, lambda: False))
    before = dict(made[0].counters)
    assert [*runner.when_idle(second, lambda: False)][-1].tier_score.is_complete
    assert len(made) == 2
    assert made[0].counters == before


def test_a_complete_score_outlives_a_change_of_the_model(runner, made, request_on):
    request = request_on("cpu", sweep=True)
    list(runner(request, lambda: False))
    last = {s.name: s for s in runner.when_idle(request, lambda: False)}
    list(runner(replace(request, device="auto"), lambda: False))
    # The same task in another object, as after a mask is painted again.
    mask = replace(request.mask, name="again")
    again = replace(request, device="auto", mask=mask)
    before = dict(made[1].counters)
    known = {s.name: s for s in runner.when_idle(again, lambda: False)}
    assert made[1].counters == before
    assert known["tier_score"].tier_score.score is last["tier_score"].tier_score.score
    assert known["tier_score"].tier_score.mask is again.mask
    assert known["tier_curves"].tier_curves is last["tier_curves"].tier_curves


@pytest.mark.parametrize("what", ["sweep", "edits"])
def test_it_goes_on_when_other_work_is_dropped(scored, what):
    controller, wait = scored
    wait()
    controller.editor.paint([0, 1, 2], 1)
    if what == "sweep":
        controller.requests.show_sweep()
        assert controller.requests.wait(TIMEOUT_S)
        controller.requests.show_sweep(False)
    else:
        controller.stimulus_edits.put_video(Blank())
        assert controller.requests.wait(TIMEOUT_S)
        controller.editor.undo()
    assert wait().mask is controller.state.mask
