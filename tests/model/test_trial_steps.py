from pathlib import Path

import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.trials import trial_at
from tests.model.live_sessions import write_session


@pytest.fixture
def controller(tmp_path: Path):
    """Four trials of 5 s."""
    made = Controller(synchronous=True)
    made.open_session(open_session(write_session(tmp_path / "m", 5)))
    yield made
    made.close()


def test_steps_go_to_the_beginning_of_trials(controller: Controller) -> None:
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


def test_steps_stop_at_the_ends(controller: Controller) -> None:
    controller.trials.step(-99)
    assert controller.trials.number == 0
    controller.trials.step(99)
    assert controller.trials.number == 3
    assert controller.state.window.start_s == pytest.approx(15.0, abs=0.03)


def test_a_time_lies_in_its_trial_or_in_none(controller: Controller) -> None:
    session = controller.state.session
    assert [trial_at(session, t) for t in (0.1, 7.0, 19.9, 99.0)] == [0, 1, 3, None]


def test_without_a_session_steps_do_nothing() -> None:
    controller = Controller(synchronous=True)
    controller.trials.step(1)
    controller.trials.go_to(3)
    assert (controller.trials.count, controller.trials.number) == (0, None)
    controller.close()
