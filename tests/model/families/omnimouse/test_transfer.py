"""The share of a fine-tuning that a bar shows, with a clock of its own."""

import pytest

from omnimouse_model.families.omnimouse import CELL_S, START_CELLS, training_cells
from omnimouse_model.families.omnimouse.transfer import jobs_of_parts
from omnimouse_model.progress import STARTING, TRAINING, CallbackJob, TimeLeft

STEPS, BATCH, N_SCORED, CONTEXT_S = 60, 8, 200, 20.0
PARTS_S = [START_CELLS * CELL_S, training_cells(100, STEPS, BATCH, N_SCORED) * CELL_S, CONTEXT_S]


class Clock:
    """Time in seconds, and the time left that was told at some times."""

    def __init__(self) -> None:
        self.now = 0.0
        self.told: list[tuple[float, float]] = []
        self.steps: list[str] = []
        self._estimate = TimeLeft(lambda: self.now)

    def report(self, done: float, total: float, step: str) -> None:
        self.steps.append(step)
        if (left := self._estimate.seconds(done / total)) is not None:
            self.told.append((self.now, left))


@pytest.mark.parametrize("times", [0.3, 1.0, 10.0])
def test_the_time_left_is_told_on_faster_and_slower_machines_than_the_demos(times):
    clock = Clock()
    starting, training, context = jobs_of_parts(CallbackJob(clock.report), PARTS_S)
    for number in range(32):
        starting.progress(number / 32, 1.0, STARTING)
        clock.now += PARTS_S[0] * times / 32
    cell_s = CELL_S * times
    step_s = (training_cells(100, 1, BATCH, 0) - training_cells(100, 0, BATCH, 0)) * cell_s
    validation_s = training_cells(100, 0, BATCH, N_SCORED) * cell_s
    training.progress(0, STEPS, TRAINING)
    clock.now += validation_s
    training.progress(0, STEPS, TRAINING)
    for step in range(1, STEPS + 1):
        clock.now += step_s + validation_s * (step % 6 == 0)
        training.progress(step, STEPS, TRAINING)
    assert clock.steps[-1] == f"step {STEPS} of {STEPS}"
    for number in range(101):
        context.progress(number, 100, "context")
        clock.now += CONTEXT_S * times / 100
    found = [left / (clock.now - at) for at, left in clock.told if clock.now - at > 3]
    assert len(found) > 30
    assert sum(0.5 <= one <= 2.0 for one in found) >= 0.9 * len(found)


@pytest.mark.parametrize("first", [10, 42, 55])
def test_a_run_that_goes_on_tells_its_time_after_a_tenth_of_the_rest(first):
    clock = Clock()
    _, training, _ = jobs_of_parts(CallbackJob(clock.report), [*PARTS_S[:2], 0.0])
    for step in range(first, STEPS + 1):
        training.progress(step, STEPS, TRAINING)
        clock.now += 2.0
    end_s = clock.now - 2.0
    later = [(at_s, left) for at_s, left in clock.told if at_s > 0.15 * end_s and at_s < end_s]
    assert later
    assert all(left == pytest.approx(end_s - at_s) for at_s, left in later)
