from collections.abc import Sequence
from contextlib import closing

import numpy as np
import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.trials import trial_at
from tests.small_sessions import with_trials, write_session


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """Four trials of 5 s."""
    return open_session(write_session(tmp_path_factory.mktemp("trials") / "m", 5))


@pytest.fixture
def controller(session):
    with closing(Controller(synchronous=True)) as made:
        made.open_session(session)
        yield made


def test_steps_go_to_the_beginning_of_trials(controller):
    steps = controller.trials
    assert steps.count == 4
    steps.go_to(1)
    assert controller.state.window.start_s == pytest.approx(5.0, abs=0.03)
    assert steps.number == 1
    steps.step(1)
    assert controller.state.window.start_s == pytest.approx(10.0, abs=0.03)
    controller.seek(12.5)
    assert steps.number == 2
    steps.step(-1)
    assert steps.number == 1


def test_steps_stop_at_the_ends(controller):
    controller.trials.step(-99)
    assert controller.trials.number == 0
    controller.trials.step(99)
    assert controller.trials.number == 3
    assert controller.state.window.start_s == pytest.approx(15.0, abs=0.03)


def test_a_time_lies_in_its_trial_or_in_none(session):
    assert [trial_at(session, t) for t in (0.1, 7.0, 19.9, 99.0)] == [0, 1, 3, None]


def test_without_a_session_steps_do_nothing():
    controller = Controller(synchronous=True)
    controller.trials.step(1)
    controller.trials.go_to(3)
    assert (controller.trials.count, controller.trials.number) == (0, None)
    controller.close()


def open_trials(controller: Controller, t_on: Sequence[float] | np.ndarray) -> None:
    """Let trials begin at these times, each lasting until the next."""
    off = np.append(np.asarray(t_on)[1:], 20.0)
    controller.open_session(with_trials(controller.state.session, t_on, off))


@pytest.mark.parametrize("length", [0.5, 0.65, 0.8])
def test_no_trial_is_skipped_or_stuck_at_however_short(controller, length):
    starts = np.arange(0.0, 20.0 - length, length)
    open_trials(controller, starts)
    steps, n = controller.trials, len(starts)
    steps.go_to(0)
    there = []
    for number in range(n):
        assert steps.number == number
        there.append(controller.state.window.start_s)
        steps.step(1)
    assert steps.number == n - 1
    # But where the session ends, each window begins with its trial.
    inside = (starts > 0.5) & (starts < 17.4)
    np.testing.assert_allclose(np.array(there)[inside], starts[inside], atol=0.02)
    for number in reversed(range(n)):
        assert steps.number == number
        steps.step(-1)


@pytest.mark.parametrize(("step", "start_s"), [(1, 6.5), (-1, 5.5)])
def test_a_window_between_the_beginnings_goes_to_those_beside_it(
    controller, step, start_s
):
    open_trials(controller, np.arange(0.0, 19.5, 0.5))
    controller.seek(6.2)
    assert controller.trials.number == 12
    controller.trials.step(step)
    assert controller.state.window.start_s == pytest.approx(start_s, abs=0.02)


def test_before_the_first_trial_there_is_none_and_none_before_it(controller):
    open_trials(controller, [8.0, 9.0])
    controller.seek(4.0)
    at = controller.state.window
    assert controller.trials.number is None
    controller.trials.step(-1)
    assert controller.state.window is at
    controller.trials.step(1)
    assert controller.trials.number == 0
