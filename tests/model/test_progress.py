"""Progress of scripts: a given callback, a bar on a terminal, nothing in a log."""

import io
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from omnimouse_model import progress
from omnimouse_model.progress import (
    QUIET,
    TRAINING,
    CallbackJob,
    LimitedJob,
    TimeLeft,
    part_of,
    shown_job,
    shows_progress,
)


class Terminal(io.StringIO):
    """Text that says it is a terminal."""

    def isatty(self):
        return True


def test_a_callback_is_called_as_it_is():
    calls = []
    with shown_job(CallbackJob(lambda *call: calls.append(call))) as job:
        job.progress(1, 4, "first")
    assert calls == [(1, 4, "first")]


def test_a_terminal_gets_a_bar_that_is_cleared(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "DELAY_S", 0.0)
    with shown_job(None) as job:
        job.progress(1, 4, "first")
        job.progress(4, 4, "last")
    assert "window" in terminal.getvalue()
    assert not terminal.getvalue().split("\r")[-1].strip()


def test_a_share_is_a_percentage_without_digits_of_its_own(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "DELAY_S", 0.0)
    with shown_job(None) as job:
        job.progress(0.10424640058319666, 1.0, "fitting")
    assert "fitting:   0%|" in terminal.getvalue()
    assert "/" not in terminal.getvalue()
    assert "1.0" not in terminal.getvalue()


def test_a_log_gets_nothing(capsys):
    assert counted(3) == 3
    assert capsys.readouterr().err == ""


@shows_progress
def counted(n, job=QUIET):
    for done in range(n):
        job.progress(done + 1, n, "counting")
    return n


@pytest.mark.parametrize("is_looked_at", [True, False])
def test_a_notebook_gets_a_bar_if_a_user_runs_it(monkeypatch, capsys, is_looked_at):
    # A program that runs a notebook allows no questions to its user.
    kernel = SimpleNamespace(_allow_stdin=is_looked_at)
    shell = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=kernel))
    monkeypatch.setitem(sys.modules, "IPython", shell)
    monkeypatch.setattr(progress, "DELAY_S", 0.0)
    counted(3)
    assert ("counting" in capsys.readouterr().err) == is_looked_at


def test_the_bar_of_a_notebook_leaves_nothing_in_the_saved_file(monkeypatch):
    told = []

    def display(shown, display_id):
        told.append(type(shown).__name__)
        return SimpleNamespace(update=lambda data, raw: told.append((data, raw)))

    monkeypatch.setattr("tqdm.auto.tqdm", pytest.importorskip("tqdm.notebook").tqdm)
    monkeypatch.setattr("IPython.display.display", display)
    monkeypatch.setattr("tqdm.notebook.display", told.append)
    monkeypatch.setattr(progress, "DELAY_S", 0.0)
    monkeypatch.setattr(progress, "_is_notebook", lambda: True)
    with shown_job(None) as job:
        job.progress(1, 4, "first")
        job.progress(4, 4, "last")
        job.progress(1, 2, "another bar")
    assert told == ["TqdmHBox", ({}, True), "TqdmHBox", ({}, True)]


def test_time_left_is_that_of_the_work_so_far():
    now_s = 100.0
    time_left = TimeLeft(lambda: now_s)
    assert time_left.seconds(0.0) is None
    # The model is loaded and fitted before the first piece ends.
    now_s = 200.0
    assert time_left.seconds(0.1) is None
    now_s = 210.0
    assert time_left.seconds(0.2) == pytest.approx(80.0)
    # Another step begins, and its own work counts.
    assert time_left.seconds(0.0) is None
    assert time_left.seconds(0.25) is None
    now_s = 211.0
    assert time_left.seconds(0.5) == pytest.approx(2.0)
    assert time_left.seconds(1.0) is None


def test_the_first_pieces_of_work_count_no_longer_when_later_ones_are_fast():
    now_s = 0.0
    time_left = TimeLeft(lambda: now_s)
    for n_done in range(1, 51):
        now_s += 10.0 if n_done <= 10 else 1.0
        left_s = time_left.seconds(n_done / 100)
    assert left_s == pytest.approx(50.0)


def test_work_that_stands_still_for_many_reports_has_its_last_pace():
    now_s, told = 0.0, []
    time_left = TimeLeft(lambda: now_s)
    for share in (0.2, *[0.6] * 30):
        now_s += 10.0
        told.append(time_left.seconds(share))
    assert told[1] == pytest.approx(10.0)
    assert told[-1] == pytest.approx(300.0)


def test_work_that_stands_still_just_before_its_end_has_no_time_left():
    now_s, told = 0.0, []
    time_left = TimeLeft(lambda: now_s)
    for share in (0.2, *[0.9999999999999999] * 10):
        now_s += 10.0
        told.append(time_left.seconds(share))
    assert told == [None] * 11


def test_pieces_that_are_computed_together_count_as_one():
    now_s, left_s = 0.0, None
    time_left = TimeLeft(lambda: now_s)
    for n_done in range(1, 33):
        # Batches of eight, which are reported one by one at the end of their 4 s.
        now_s += 4.0 if n_done % 8 == 1 else 0.001
        left_s = time_left.seconds(n_done / 64)
    assert left_s == pytest.approx(16.0, rel=0.01)


@pytest.mark.parametrize(("pace_s", "is_told"), [(0.5, False), (5.0, True)])
def test_short_work_has_no_time_left_before_a_tenth_is_done(pace_s, is_told):
    now_s, told = 0.0, []
    time_left = TimeLeft(lambda: now_s)
    for n_done in range(1, 10):
        now_s = n_done * pace_s
        told.append(time_left.seconds(n_done / 100))
    assert (told[-1] is not None) == is_told


@pytest.mark.parametrize("seed", range(3))
def test_after_a_tenth_the_time_left_is_right_within_a_factor_of_two(seed):
    # Pieces that take 0.5 to 1.5 s in any order, after 30 s of loading.
    draw, now_s = np.random.default_rng(seed), 30.0
    ends_s = now_s + np.cumsum(draw.uniform(0.5, 1.5, 200))
    time_left = TimeLeft(lambda: now_s)
    time_left.seconds(0.0)
    for n_done, now_s in enumerate(ends_s, 1):
        left_s = time_left.seconds(n_done / len(ends_s))
        if 20 <= n_done < len(ends_s):
            assert left_s is not None
            assert 0.5 <= left_s / (ends_s[-1] - now_s) <= 2.0


def test_a_part_of_a_job_reports_its_share_of_the_whole():
    calls, texts = [], []
    whole = CallbackJob(lambda *call: calls.append(call), lambda: True, texts.append, "cpu")
    part = part_of(whole, 0.5, 1.0)
    part.progress(1, 4, "first")
    part.message("a note")
    assert calls == [(0.625, 1.0, "first")]
    assert texts == ["a note"]
    assert (part.cancelled(), part.device) == (True, "cpu")


def test_a_limited_job_counts_the_steps_that_it_does():
    calls = []
    job = LimitedJob(CallbackJob(lambda *call: calls.append(call)), 60)
    for done in (100, 101, 160):
        job.progress(done, 400, TRAINING)
    assert calls == [(100, 160, TRAINING), (101, 160, TRAINING), (160, 160, TRAINING)]
    assert job.is_reached


def finetuning_ends_s(load):
    """Seconds at which steps of a fine-tuning end, with a validation after every thirtieth.

    `load` is how much slower the machine is after a share of the steps.
    """
    now_s = 20.0 * load(0.0)  # loading and start values
    for step in range(301):
        now_s += load(step / 300) * (0.1 + (0.34 if step % 30 == 0 else 0.0))
        yield step, now_s


@pytest.mark.parametrize("slower", [1.0, 17.0, 120.0])
def test_the_time_left_of_a_finetuning_is_right_at_every_load(slower):
    now_s = 0.0
    time_left = TimeLeft(lambda: now_s)
    time_left.seconds(0.0)
    steps = list(finetuning_ends_s(lambda share: slower))
    (_, end_s), told = steps[-1], 0
    for step, now_s in steps:
        left_s = time_left.seconds(step / 300)
        # The last step has a validation, which is nearly all that is left then.
        if end_s / 10 < now_s < 0.98 * end_s and left_s is not None:
            told += 1
            assert 0.5 <= left_s / (end_s - now_s) <= 2.0
    assert told > 200


@pytest.mark.parametrize("slower", [0.1, 10.0])
def test_the_time_left_follows_a_load_that_changes(slower):
    # Of 300 steps, half are done when another program begins, or ends.
    now_s = 0.0
    time_left = TimeLeft(lambda: now_s)
    steps = list(finetuning_ends_s(lambda share: 1.0 if share < 0.5 else slower))
    for step, now_s in steps:
        left_s = time_left.seconds(step / 300)
        if step in (200, 250):
            factor = left_s / (steps[-1][1] - now_s)
            # Of one that ends, the far pace is still that of beside it after 50 steps.
            assert 0.5 <= factor <= (2.5 if step == 200 else 1.5)


RATES = (28, 36, 26, 28, 29, 27, 29, 26, 27, 29, 32, 29, 26, 31, 27, 33, 35, 40, 48, 53, 63, 51, 64)
"""Percent of a core that a process of niceness 5 had in each 2 s, beside seven busy ones."""


@pytest.mark.parametrize("offset", range(0, len(RATES), 4))
@pytest.mark.parametrize("slower", [1.0, 4.0])
def test_the_time_left_is_right_at_rates_recorded_beside_other_work(offset, slower):
    rates = np.tile(np.roll(RATES, -offset), 20) / 100
    clock_s, work_s = np.arange(len(rates) + 1) * 2.0, np.concatenate([[0], np.cumsum(rates * 2)])
    now_s, right = 0.0, []
    time_left = TimeLeft(lambda: now_s)
    time_left.seconds(0.0)
    # Of half a minute or two of the processor's own time, of which loading takes a fifth.
    steps = [(step, slower * 0.3 * own_s) for step, own_s in finetuning_ends_s(lambda share: 1.0)]
    end_s = np.interp(steps[-1][1], work_s, clock_s)
    for step, own_s in steps:
        now_s = float(np.interp(own_s, work_s, clock_s))
        left_s = time_left.seconds(step / 300)
        if end_s / 10 < now_s < end_s - 3 and left_s is not None:
            right.append(0.5 <= left_s / (end_s - now_s) <= 2.0)
    assert len(right) > 150
    assert np.mean(right) >= 0.95
