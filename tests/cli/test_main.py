"""Ends of the command line: one line, with a status that says what happened."""

import json
import os
import signal
import sys
from contextlib import nullcontext
from errno import ENOMEM, ENOSPC, EROFS
from importlib.metadata import EntryPoint

import click
import pytest
from torch import OutOfMemoryError

from omnimouse_app import __main__, cli
from omnimouse_app.cli import group
from omnimouse_app.cli.terminal import answers, emit, interruptible
from omnimouse_app.window import screen
from omnimouse_model.data.hub.servers import VARIABLE
from omnimouse_model.errors import WorkerError


def end_of(capsys, *words):
    """Return exit status and lines of standard error of a command."""
    with pytest.raises(SystemExit) as end:
        cli.main(list(words))
    # click ends the line of a Ctrl-C first.
    return end.value.code, capsys.readouterr().err.strip().splitlines()


@pytest.fixture
def failing(monkeypatch):
    """Have every command end with an exception."""

    def fail_with(error):
        def fail(*_, **__):
            raise error

        monkeypatch.setattr(group, "invoke", fail)

    return fail_with


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (ValueError("mask is empty"), 1, "mask is empty"),
        (WorkerError("no scheduler"), 1, "omnimouse: no scheduler"),
        (TypeError("two\nlines"), 1, "internal error (TypeError: two lines)"),
        (KeyboardInterrupt(), 130, "stopped"),
        (OutOfMemoryError("CUDA"), 1, "smaller `batch`"),
        (RuntimeError("CUDA error: out of memory\nCompile"), 1, "smaller `batch`"),
        (OSError(ENOMEM, "Cannot allocate memory"), 1, "smaller `batch`"),
        (WorkerError("killed: out of memory? Fewer neurons"), 1, "killed: out of"),
        (OSError(ENOSPC, "no space", "/out/a.zarr"), 1, "/out/a.zarr: the drive is"),
        (OSError(EROFS, "read-only", "/out"), 1, "/out: no permission to write"),
    ],
)
def test_every_error_ends_with_one_line(failing, capsys, error, status, words):
    failing(error)
    code, lines = end_of(capsys, "info", "demo")
    assert (code, len(lines)) == (status, 1)
    assert words in lines[0]


class NoText(Exception):
    def __str__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (SystemExit(0), "SystemExit"),
        (SystemExit(), "SystemExit"),
        (GeneratorExit(), "GeneratorExit"),
        (BaseExceptionGroup("g", [GeneratorExit()]), "g (1 sub-exception)"),
        (NoText(), "NoText"),
        (TypeError("x" * 10**6), "TypeError"),
        (BrokenPipeError(), "BrokenPipeError"),
    ],
)
def test_what_a_package_of_models_raises_never_looks_like_success(
    failing, capsys, monkeypatch, error, words
):
    monkeypatch.setattr(cli, "family_points", lambda: [EntryPoint("x", "tests.x:FAMILY", "g")])
    failing(error)
    code, lines = end_of(capsys, "info", "demo")
    assert (code, len(lines)) == (1, 1)
    assert words in lines[0]
    assert len(lines[0]) < 2500


def test_a_package_whose_error_ends_a_generator_is_named(failing, capsys, monkeypatch):
    monkeypatch.setattr(cli, "family_points", lambda: [EntryPoint("x", "foreign:FAMILY", "g")])
    foreign = {"__name__": "foreign"}
    exec("def predict(): raise StopIteration", foreign)
    with pytest.raises(RuntimeError) as ended:
        next(foreign["predict"]() for _ in "1")
    failing(ended.value)
    _, (line,) = end_of(capsys, "info", "demo")
    assert line.startswith("omnimouse: foreign, a package of models, failed")


def test_what_models_print_is_not_in_the_json(monkeypatch, capfd):
    def printing(*_, **__):
        print("loading weights")
        os.write(1, b"a library in C\n")
        emit([], as_json=True)

    monkeypatch.setattr(group, "invoke", printing)
    with pytest.raises(SystemExit):
        cli.main(["info", "demo", "--json"])
    out, err = capfd.readouterr()
    assert json.loads(out)["rows"] == []
    assert "loading weights" in err
    assert "a library in C" in err
    print("after")
    assert capfd.readouterr().out == "after\n"


def test_a_process_that_answers_instead_prints_to_standard_output(monkeypatch, capfd):
    monkeypatch.setattr(screen, "virtual_display", lambda: nullcontext({}))
    words = ["info", "mean", "--json"]

    def again(*_, **__):
        raise click.exceptions.Exit(screen.run_on_virtual_display(words, answers()))

    monkeypatch.setattr(group, "invoke", again)
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 0
    assert json.loads(capfd.readouterr().out)["rows"]


def test_debug_shows_where(failing):
    failing(TypeError("two"))
    with pytest.raises(TypeError):
        cli.main(["info", "demo", "--debug"])


def test_an_interrupt_that_an_import_swallows_or_replaces_ends_the_command(
    failing, monkeypatch, capsys
):
    monkeypatch.setattr("omnimouse_app.sigint._is_received", True)
    with pytest.raises(KeyboardInterrupt), interruptible():
        pass
    failing(TypeError("no serializer: KeyboardInterrupt"))
    assert end_of(capsys, "info", "demo") == (130, ["omnimouse: stopped"])


def test_an_interrupt_of_the_imports_ends_with_one_line(monkeypatch, capsys):
    class Interrupted:
        def __getattr__(self, name):
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "omnimouse_app.cli", Interrupted())
    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit) as end:
            __main__.main()
    finally:
        signal.signal(signal.SIGINT, before)
    assert end.value.code == 130
    assert capsys.readouterr().err.splitlines() == ["omnimouse: stopped"]


def test_names_in_messages_and_tables_cannot_control_the_terminal(capsys, tmp_path):
    hostile = "zyx\x1b[2J\x1b]0;title\x07"
    with pytest.raises(SystemExit):
        cli.main(["info", str(tmp_path / hostile)])
    with pytest.raises(SystemExit):
        cli.main(["info", "demo", f"--{hostile}"])
    emit([{"name": f"{hostile}\nrow"}], as_json=False)
    printed = "".join(capsys.readouterr())
    assert "\nrow" not in printed, "a name makes a row of its own"
    assert printed.count("zyx") == 3
    assert "\x1b" not in printed


@pytest.mark.parametrize("option", [["--connect", "a.example"], ["--connect=a.example"]])
def test_a_server_is_allowed_before_and_after_the_command(capsys, monkeypatch, option):
    for words in (["info", "/nowhere", *option], [*option, "info", "/nowhere"]):
        monkeypatch.setenv(VARIABLE, "")
        status, lines = end_of(capsys, *words)
        assert (status, len(lines)) == (1, 1)
        assert os.environ[VARIABLE] == "a.example"
