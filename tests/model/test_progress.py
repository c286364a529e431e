"""Progress of scripts: a given callback, a bar on a terminal, nothing in a log."""

import io
import sys
import threading
import time
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


def bar_at_once(monkeypatch):
    """Take the place of standard error as a terminal, where a bar comes at once."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "DELAY_S", 0.0)
    return terminal


def test_a_terminal_gets_a_bar_that_is_cleared(monkeypatch):
    terminal = bar_at_once(monkeypatch)
    with shown_job(None) as job:
        job.progress(1, 4, "first")
        job.progress(4, 4, "last")
    assert "window" in terminal.getvalue()
    assert not terminal.getvalue().split("\r")[-1].strip()


def test_work_that_reports_nothing_shows_that_it_goes_on(monkeypatch):
    terminal = bar_at_once(monkeypatch)
    monkeypatch.setattr(progress, "BEAT_S", 0.01)

    def wait_for(text):
        until_s = time.monotonic() + 10
        while text not in terminal.getvalue():
            assert time.monotonic() < until_s, terminal.getvalue()
            time.sleep(0.01)

    with shown_job(None) as job:
        wait_for("preparing:   0%")
        job.progress(1, 4, "first")
        n_drawn = terminal.getvalue().count("first")
        while terminal.getvalue().count("first") <= n_drawn:  # one long piece
            time.sleep(0.01)
    assert not terminal.getvalue().split("\r")[-1].strip()
    assert not [one for one in threading.enumerate() if one.name == "progress"]


def test_a_part_of_a_piece_has_one_decimal(monkeypatch):
    terminal = bar_at_once(monkeypatch)
    with shown_job(None, unit="draw") as job:
        job.progress(2 / 3, 5, "first")
    # The next ones come too soon to be drawn.
    assert "| 0.0/5 [" in terminal.getvalue()


def test_a_share_is_a_percentage_without_digits_of_its_own(monkeypatch):
    terminal = bar_at_once(monkeypatch)
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


def seconds_left(shares, at_s, begun_s=0.0):
    """Seconds left that are told when these shares of the work are done at these times."""
    now_s, told = begun_s, []
    time_left = TimeLeft(lambda: now_s)
    for share, at in zip(shares, at_s, strict=True):
        now_s = at
        told.append(time_left.seconds(share))
    return told


def test_time_left_is_that_of_the_work_so_far():
    # The model is loaded and fitted before the first piece ends; then another step begins.
    shares, at_s = (0.0, 0.1, 0.2, 0.0, 0.25, 0.5, 1.0), (100, 200, 210, 210, 210, 211, 211)
    found = seconds_left(shares, at_s, begun_s=100.0)
    assert found == [None, None, pytest.approx(80), None, None, pytest.approx(2), None]


@pytest.mark.parametrize(
    ("shares", "took_s", "left_s"),
    [
        # The first pieces are slow, and count no longer.
        (np.arange(1, 51) / 100, [10.0] * 10 + [1.0] * 40, 50.0),
        # It stands still for many reports: the last pace is told.
        ([0.2, 0.6], [10.0] * 2, 10.0),
        ([0.2, *[0.6] * 30], [10.0] * 31, 300.0),
        # It stands still just before its end.
        *(([0.2, *[0.9999999999999999] * n], [10.0] * (n + 1), None) for n in range(11)),
        # Batches of eight, which are reported one by one at the end of their 4 s.
        (np.arange(1, 33) / 64, [4.0, *[0.001] * 7] * 4, 16.0),
    ],
)
def test_the_pace_is_that_of_the_last_pieces(shares, took_s, left_s):
    expected = None if left_s is None else pytest.approx(left_s, rel=0.01)
    assert seconds_left(shares, np.cumsum(took_s))[-1] == expected


@pytest.mark.parametrize(("pace_s", "is_told"), [(0.5, False), (5.0, True)])
def test_short_work_has_no_time_left_before_a_tenth_is_done(pace_s, is_told):
    n_done = np.arange(1, 10)
    assert (seconds_left(n_done / 100, n_done * pace_s)[-1] is not None) == is_told


@pytest.mark.parametrize("seed", range(3))
def test_after_a_tenth_the_time_left_is_right_within_a_factor_of_two(seed):
    # Pieces that take 0.5 to 1.5 s in any order, after 30 s of loading.
    ends_s = 30.0 + np.cumsum([0.0, *np.random.default_rng(seed).uniform(0.5, 1.5, 200)])
    told = seconds_left(np.arange(201) / 200, ends_s, begun_s=30.0)
    factors = np.array(told[20:-1], float) / (ends_s[-1] - ends_s[20:-1])
    assert ((factors >= 0.5) & (factors <= 2.0)).all()


@pytest.mark.parametrize("paces_s", [(4.0, 1.0), (10.0, 1.0), (1.0, 4.0), (1.0, 10.0)])
@pytest.mark.parametrize("changed", [30, 50, 80])
def test_the_time_left_soon_follows_other_work_that_begins_or_ends(paces_s, changed):
    ends_s = np.cumsum(np.repeat(paces_s, (changed, 100 - changed)))
    told = seconds_left(np.arange(1, 101) / 100, ends_s)
    # From the change on, a quarter of what is left, or as many reports as make a pace.
    known = changed + max((100 - changed) // 4, 8)
    for left_s, at_s in zip(told[known:-1], ends_s[known:-1], strict=True):
        assert 0.5 < left_s / (ends_s[-1] - at_s) < 2


@pytest.mark.parametrize("first", [0.0, 0.6])
def test_an_estimate_is_a_guess_until_a_tenth_of_what_was_left_is_done(first):
    time_left = TimeLeft()
    guesses = []
    for percent in range(21):
        time_left.seconds(first + (1 - first) * percent / 100)
        guesses.append(time_left.is_guess)
    # Of new work, the first share that is finished begins the measure.
    n_first = 10 + (first == 0)
    assert guesses == [True] * n_first + [False] * (21 - n_first)


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


STEPS = np.arange(301)


def finetuning_ends_s(load=lambda share: 1.0):
    """Seconds at which steps of a fine-tuning end, with a validation after every thirtieth.

    `load` is how much slower the machine is after a share of the steps.
    """
    each_s = np.array([load(step / 300) for step in STEPS]) * (0.1 + 0.34 * (STEPS % 30 == 0))
    return 20.0 * load(0.0) + np.cumsum(each_s)  # after loading and start values


def finetuning_factors(ends_s):
    """Of the seconds told after each step, in parts of those that were left."""
    told = np.array(seconds_left([0.0, *STEPS / 300], [0.0, *ends_s])[1:], float)
    with np.errstate(invalid="ignore", divide="ignore"):
        return told / (ends_s[-1] - ends_s)


@pytest.mark.parametrize("slower", [1.0, 17.0, 120.0])
def test_the_time_left_of_a_finetuning_is_right_at_every_load(slower):
    ends_s = finetuning_ends_s(lambda share: slower)
    factors = finetuning_factors(ends_s)
    # The last step has a validation, which is nearly all that is left then.
    told = factors[(ends_s > ends_s[-1] / 10) & (ends_s < 0.98 * ends_s[-1]) & ~np.isnan(factors)]
    assert len(told) > 200
    assert ((told >= 0.5) & (told <= 2.0)).all()


@pytest.mark.parametrize("slower", [0.1, 10.0])
def test_the_time_left_follows_a_load_that_changes(slower):
    # Of 300 steps, half are done when another program begins, or ends.
    factors = finetuning_factors(finetuning_ends_s(lambda share: 1.0 if share < 0.5 else slower))
    assert 0.5 <= factors[200] <= 1.5
    assert 0.5 <= factors[250] <= 1.5


RATES = (28, 36, 26, 28, 29, 27, 29, 26, 27, 29, 32, 29, 26, 31, 27, 33, 35, 40, 48, 53, 63, 51, 64)
"""Percent of a core that a process of niceness 5 had in each 2 s, beside seven busy ones."""


@pytest.mark.parametrize("offset", range(0, len(RATES), 4))
@pytest.mark.parametrize("slower", [1.0, 4.0])
def test_the_time_left_is_right_at_rates_recorded_beside_other_work(offset, slower):
    rates = np.tile(np.roll(RATES, -offset), 20) / 100
    clock_s, work_s = np.arange(len(rates) + 1) * 2.0, np.concatenate([[0], np.cumsum(rates * 2)])
    # Of half a minute or two of the processor's own time, of which loading takes a fifth.
    ends_s = np.interp(slower * 0.3 * finetuning_ends_s(), work_s, clock_s)
    factors = finetuning_factors(ends_s)
    told = factors[(ends_s > ends_s[-1] / 10) & (ends_s < ends_s[-1] - 3) & ~np.isnan(factors)]
    assert len(told) > 150
    assert np.mean((told >= 0.5) & (told <= 2.0)) >= 0.95
