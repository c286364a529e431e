"""Progress of scripts: a given callback, a bar on a terminal, nothing in a log."""

import io
import sys

from omnimouse_model import progress
from omnimouse_model.progress import shown_progress


class Terminal(io.StringIO):
    """Text that says it is a terminal."""

    def isatty(self):
        return True


def test_a_callback_is_called_as_it_is():
    calls = []
    with shown_progress(lambda *call: calls.append(call)) as report:
        report(1, 4, "first")
    assert calls == [(1, 4, "first")]


def test_a_terminal_gets_a_bar_that_is_cleared(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "DELAY_S", 0.0)
    with shown_progress(None) as report:
        report(1, 4, "first")
        report(4, 4, "last")
    assert "window" in terminal.getvalue()
    assert not terminal.getvalue().split("\r")[-1].strip()


def test_a_log_gets_nothing(capsys):
    with shown_progress(None) as report:
        report(1, 4, "first")
    assert capsys.readouterr().err == ""
