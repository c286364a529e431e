"""Progress of scripts: a given callback, a bar on a terminal, nothing in a log."""

import io
import sys

from omnimouse_model import progress
from omnimouse_model.progress import CallbackJob, part_of, shown_job


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


def test_a_log_gets_nothing(capsys):
    with shown_job(None) as job:
        job.progress(1, 4, "first")
    assert capsys.readouterr().err == ""


def test_a_part_of_a_job_reports_its_share_of_the_whole():
    calls, texts = [], []
    whole = CallbackJob(lambda *call: calls.append(call), lambda: True, texts.append, "cpu")
    part = part_of(whole, 0.5, 1.0)
    part.progress(1, 4, "first")
    part.message("a note")
    assert calls == [(0.625, 1.0, "first")]
    assert texts == ["a note"]
    assert (part.cancelled(), part.device) == (True, "cpu")
