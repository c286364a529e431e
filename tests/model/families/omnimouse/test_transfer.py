"""The share of a fine-tuning that a bar shows, with a clock of its own."""

import pytest

from omnimouse_model.families.omnimouse import CELL_S, FAMILY, START_CELLS, training_cells, transfer
from omnimouse_model.families.omnimouse.training import DEMO
from omnimouse_model.progress import STARTING, TRAINING, CallbackJob, TimeLeft

STEPS, BATCH, EVERY, CONTEXT, FIT_S = 60, 8, 6, 2e5, 5.0
STEP, VALIDATION = training_cells(100, 1, BATCH, 0), training_cells(100, 0, BATCH, 200)
TRAINED = STEPS * STEP + (1 + STEPS // EVERY) * VALIDATION


class Run:
    """A run on a machine that takes `cell_s` for a neuron of a window; all reports in `told`."""

    def __init__(self, monkeypatch, *, cell_s=CELL_S, context=CONTEXT, fit_s=FIT_S):
        self.now_s, self.cell_s, self.told = 0.0, cell_s, []
        monkeypatch.setattr(transfer, "monotonic", lambda: self.now_s)
        job = CallbackJob(
            lambda done, total, text: self.told.append((self.now_s, done / total, text))
        )
        cells = START_CELLS, TRAINED, context
        self.course = transfer.Course(job, cells, STEP, VALIDATION, EVERY, fit_s)

    def start(self):
        part = self.course.part(transfer.Part.START_VALUES)
        for number in range(32):
            part.progress(number / 32, 1.0, STARTING)
            self.now_s += START_CELLS * self.cell_s / 32
        part.progress(1.0, 1.0, STARTING)

    def validate(self, step):
        part = self.course.validation(step)
        for number in range(50):
            part.progress(number, 50, "scored")
            self.now_s += VALIDATION * self.cell_s / 50

    def train(self, first=0, last=STEPS):
        part = self.course.steps()
        part.progress(first, STEPS, TRAINING)
        if first == 0:
            self.validate(0)
            part.progress(0, STEPS, TRAINING)
        for step in range(first + 1, last + 1):
            self.now_s += STEP * self.cell_s
            if step % EVERY == 0:
                self.validate(step)
            part.progress(step, STEPS, TRAINING)

    def fit(self, seconds):
        part = self.course.part(transfer.Part.CONTEXT)
        for number in range(101):
            part.progress(number, 100, "context")
            self.now_s += seconds / 100


@pytest.mark.parametrize(
    ("times", "fit_times"),
    [(0.3, 0.3), (1.0, 1.0), (10.0, 10.0), pytest.param(0.05, 1.0, id="network-on-a-gpu")],
)
def test_the_time_left_is_told_on_faster_and_slower_machines_than_the_demos(
    monkeypatch, times, fit_times
):
    run = Run(monkeypatch, cell_s=CELL_S * times)
    run.start()
    run.train()
    assert run.told[-1][2] == f"step {STEPS} of {STEPS}"
    run.fit(CONTEXT * run.cell_s + FIT_S * fit_times)
    now_s = 0.0
    estimate = TimeLeft(lambda: now_s)
    found = []
    for now_s, share, _ in run.told:
        left_s, real_s = estimate.seconds(share), run.now_s - now_s
        if left_s is not None and real_s > 3:
            found.append(left_s / real_s)
    assert len(found) > 30
    assert sum(0.5 <= one <= 2.0 for one in found) >= 0.9 * len(found)


def test_while_held_out_windows_are_scored_this_is_told_with_the_step(monkeypatch):
    run = Run(monkeypatch)
    run.train(0, EVERY)
    texts = list(dict.fromkeys(text for _, _, text in run.told))
    steps = [f"step {step} of {STEPS}" for step in range(EVERY + 1)]
    scoring = f"{steps[EVERY]}: scoring"
    begin = [f"first of {STEPS} steps", "scoring the start values"]
    assert texts == [*begin, *steps[1:-1], scoring, steps[-1]]


def test_the_share_is_that_of_the_work_in_steps_and_in_validations(monkeypatch):
    run = Run(monkeypatch, context=0.0, fit_s=0.0)
    run.start()
    run.train()
    shares = [share for _, share, _ in run.told]
    assert shares == pytest.approx([at_s / run.now_s for at_s, *_ in run.told])
    assert shares[-1] == 1.0
    begin = {f"first of {STEPS} steps", "scoring the start values"}
    assert {text.removesuffix(": scoring") for *_, text in run.told[33:]} == begin | {
        f"step {n} of {STEPS}" for n in range(1, STEPS + 1)
    }


def test_what_a_run_leaves_out_or_misjudges_is_made_up_in_the_rest(monkeypatch):
    run = Run(monkeypatch)
    run.start()
    run.train(last=STEPS // 2)  # its score no longer rises
    before = run.told[-1][1]
    run.fit(100.0)
    shares = [share for _, share, _ in run.told]
    assert shares == sorted(shares)
    # The context part takes what is left of the bar, evenly.
    context = [share for *_, share, text in run.told if text == "context"]
    assert context == pytest.approx([before + (1 - before) * n / 100 for n in range(101)])


@pytest.mark.parametrize("first", [10, 42, 55, 58])
def test_a_run_that_goes_on_begins_with_the_share_at_which_it_stopped(monkeypatch, first):
    stopped = Run(monkeypatch, context=0.0, fit_s=0.0)
    stopped.start()
    stopped.train(last=first)
    run = Run(monkeypatch, context=0.0, fit_s=0.0)
    run.train(first)
    begin, *_ = shares = [share for _, share, _ in run.told]
    assert begin == pytest.approx(stopped.told[-1][1])
    assert shares == pytest.approx(
        [begin + (1 - begin) * at_s / run.now_s for at_s, *_ in run.told]
    )


def test_a_run_that_goes_on_after_its_last_step_has_its_context_part_left(monkeypatch):
    run = Run(monkeypatch)
    run.course.steps().progress(STEPS + 6, STEPS, TRAINING)
    run.fit(10.0)
    begin, *shares = [share for _, share, _ in run.told]
    assert 0.1 < begin < 0.9
    assert shares == pytest.approx([begin + (1 - begin) * n / 100 for n in range(101)])


def test_the_form_names_the_tasks_over_which_the_held_out_score_is_a_mean():
    scored = [one for one in DEMO if one.mask(8).target.any()]
    assert FAMILY.transfer is not None
    assert len(FAMILY.transfer.scored) == len(scored)
