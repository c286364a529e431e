from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from omnimouse_model.live.controller import Controller
from tests.small_sessions import with_trials


def test_steps_go_to_the_beginning_of_trials(controller):
    steps = controller.navigation
    assert steps.n_trials == 4
    steps.go_to_trial(1)
    assert controller.state.window.start_s == pytest.approx(5.0, abs=0.03)
    assert steps.trial == 1
    steps.step_trial(1)
    assert controller.state.window.start_s == pytest.approx(10.0, abs=0.03)
    controller.navigation.seek(12.5)
    assert steps.trial == 2
    steps.step_trial(-1)
    assert steps.trial == 1


def open_trials(controller: Controller, t_on: Sequence[float] | np.ndarray) -> None:
    """Let trials begin at these times, each lasting until the next."""
    off = np.append(np.asarray(t_on)[1:], 20.0)
    controller.loader.open_now(with_trials(controller.state.session, t_on, off))


def test_a_trial_without_readable_frames_is_left_out(controller):
    open_trials(controller, [0.0, 5.0, 10.0])
    session = controller.state.session
    trials = replace(session.trials, readable=np.array([True, True, False]))
    controller.loader.open_now(replace(session, trials=trials))
    assert controller.navigation.n_trials == 2
    controller.navigation.go_to_trial(2)
    assert controller.state.window.start_s == pytest.approx(5.0, abs=0.03)


@pytest.mark.parametrize("length", [0.5, 0.65, 0.8])
def test_short_trials_are_neither_skipped_nor_repeated(controller, length):
    starts = np.arange(0.0, 20.0 - length, length)
    open_trials(controller, starts)
    steps, n = controller.navigation, len(starts)
    steps.go_to_trial(0)
    there = []
    for number in range(n):
        assert steps.trial == number
        there.append(controller.state.window.start_s)
        steps.step_trial(1)
    assert steps.trial == n - 1
    # But where the session ends, each window begins with its trial.
    inside = (starts > 0.5) & (starts < 17.4)
    np.testing.assert_allclose(np.array(there)[inside], starts[inside], atol=0.02)
    for number in reversed(range(n)):
        assert steps.trial == number
        steps.step_trial(-1)
