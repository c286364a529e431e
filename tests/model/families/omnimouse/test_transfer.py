"""The share of a fine-tuning that a bar shows, with a clock of its own."""

import pytest

from omnimouse_model.families.omnimouse import START_CELLS, training_cells, transfer
from omnimouse_model.progress import STARTING, TRAINING, CallbackJob, TimeLeft

STEPS, BATCH, N_SCORED, CONTEXT, FIT_S = 60, 8, 200, 2e5, 5.0


@pytest.mark.parametrize(
    ("times", "fit_times"),
    [(0.3, 0.3), (1.0, 1.0), (10.0, 10.0), pytest.param(0.05, 1.0, id="network-on-a-gpu")],
)
def test_the_time_left_is_told_on_faster_and_slower_machines_than_the_demos(
    monkeypatch, times, fit_times
):
    now, told, texts = 0.0, [], []
    estimate = TimeLeft(lambda: now)
    monkeypatch.setattr(transfer, "monotonic", lambda: now)

    def report(done, total, text):
        told.append((now, estimate.seconds(done / total)))
        texts.append(text)

    cell_s = transfer.CELL_S * times
    trained = training_cells(100, STEPS, BATCH, N_SCORED)
    course = transfer.Course(
        CallbackJob(report), (START_CELLS, trained, CONTEXT), FIT_S, _begin_s=0.0
    )
    part = course.part(transfer.Part.START_VALUES)
    for number in range(32):
        part.progress(number / 32, 1.0, STARTING)
        now += START_CELLS * cell_s / 32
    part = course.part(transfer.Part.TRAINING)
    step_s = (training_cells(100, 1, BATCH, 0) - training_cells(100, 0, BATCH, 0)) * cell_s
    validation_s = training_cells(100, 0, BATCH, N_SCORED) * cell_s
    part.progress(0, STEPS, TRAINING)
    now += validation_s
    part.progress(0, STEPS, TRAINING)
    for step in range(1, STEPS + 1):
        now += step_s + validation_s * (step % 6 == 0)
        part.progress(step, STEPS, TRAINING)
    assert texts[-1] == f"step {STEPS} of {STEPS}"
    part = course.part(transfer.Part.CONTEXT)
    for number in range(101):
        part.progress(number, 100, "context")
        now += (CONTEXT * cell_s + FIT_S * fit_times) / 100
    found = [left / (now - at) for at, left in told if left is not None and now - at > 3]
    assert len(found) > 30
    assert sum(0.5 <= one <= 2.0 for one in found) >= 0.9 * len(found)


@pytest.mark.parametrize("first", [10, 42, 55, 58])
def test_a_run_that_goes_on_tells_its_time_after_a_tenth_of_the_rest(monkeypatch, first):
    now, told = 0.0, []
    monkeypatch.setattr(transfer, "monotonic", lambda: now)
    job = CallbackJob(lambda done, total, _: told.append((now, done / total)))
    trained = training_cells(100, STEPS, BATCH, N_SCORED)
    course = transfer.Course(job, (START_CELLS, trained, 0.0), _begin_s=0.0)
    part = course.part(transfer.Part.TRAINING)
    for step in range(first, STEPS + 1):
        part.progress(step, STEPS, TRAINING)
        now += 2.0
    end_s = told[-1][0]
    later = [(at_s, share) for at_s, share in told if at_s > 0.15 * end_s]
    assert later
    assert all(share == pytest.approx(at_s / end_s) for at_s, share in later)
