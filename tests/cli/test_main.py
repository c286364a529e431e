"""Ends of the command line: one line, with a status that says what happened."""

import json
import os
import signal
import subprocess
import sys
import warnings
from contextlib import nullcontext
from errno import ENOMEM, ENOSPC, EROFS
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import click
import numpy as np
import pytest
from torch import OutOfMemoryError

from omnimouse_app import __main__, cli
from omnimouse_app.cli import COMMANDS, group, main
from omnimouse_app.cli.inputs import session_folder
from omnimouse_app.cli.terminal import (
    Progress,
    StopSignal,
    TrainingProgress,
    answers,
    echo,
    emit,
    exit_stopped,
    interruptible,
    machine,
    markdown_table,
)
from omnimouse_app.window import screen
from omnimouse_model.data.hub.servers import VARIABLE
from omnimouse_model.errors import SessionFormatError, WorkerError
from omnimouse_model.progress import Job
from omnimouse_model.simulate import demo
from omnimouse_model.storage.write import DriveError
from tests.bench.benchmark import matmul_speeds
from tests.cli.runner import run_command


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
        (SessionFormatError("a", "code", "No data.", "Copy them."), 1, "No data. (Copy them.)"),
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


LONG = ("n" * 10**6, "n " * 10**6, "\x1b[2Jn\t" * 10**5)


@pytest.mark.parametrize("name", LONG, ids=["word", "words", "controls"])
def test_a_name_of_a_million_letters_does_not_fill_the_terminal(capsys, failing, name):
    value = {"listed": [name] * 3, "named": {name: 1, "b": [name]}, "value": 1}
    emit([{"name": name} | value], as_json=False)
    echo(markdown_table([{"name": name} | value]))
    emit([{name: name}] * 2, as_json=False)
    echo("recording " + name)
    progress = Progress()
    progress.show(name)
    TrainingProgress(progress)({"step": 1, "validation": 0.5, name: 0.5})
    StopSignal().show(name)
    with pytest.raises(SystemExit):
        exit_stopped(f"{name}\n{name}")
    for error in (ValueError(name), TypeError(name), click.ClickException(name)):
        failing(error)
        with pytest.raises(SystemExit):
            main(["info"])
    printed = capsys.readouterr()
    lines = (printed.out + printed.err).splitlines()
    assert max(map(len, lines)) <= 3000
    assert len(lines) < 30
    assert "--debug shows where" in printed.err
    assert "\x1b" not in printed.out + printed.err


def test_a_cell_holds_the_beginning_of_many_values(capsys):
    values = {f"n{k}": k for k in range(10**5)}
    emit([{"name": "a", "named": values, "listed": list(values)}], as_json=False)
    named = capsys.readouterr().out.splitlines()[-1]
    assert "n0: 0, n1: 1" in named
    assert len(named) < 700
    emit([{"named": values}], as_json=True)
    assert json.loads(capsys.readouterr().out)["rows"] == [{"named": values}]


@pytest.mark.parametrize("option", [["--connect", "a.example"], ["--connect=a.example"]])
def test_a_server_is_allowed_before_and_after_the_command(capsys, monkeypatch, option):
    for words in (["info", "/nowhere", *option], [*option, "info", "/nowhere"]):
        monkeypatch.setenv(VARIABLE, "")
        status, lines = end_of(capsys, *words)
        assert (status, len(lines)) == (1, 1)
        assert os.environ[VARIABLE] == "a.example"


def run(*words: object) -> int:
    """The exit status of a command that ends here."""
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    return int(end.value.code or 0)


@pytest.mark.process
def test_help_names_every_command_and_imports_none():
    code = (
        "import sys\nfrom omnimouse_app.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "assert not loaded & {'torch', 'numpy', 'qtpy', 'napari'}, loaded"
    )
    command = [sys.executable, "-c", code]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert all(name in answer.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name, capsys):
    assert run(name, "--help") == 0
    told = capsys.readouterr().out
    assert "Usage: omnimouse" in told
    # What computes without a window.
    assert "--threads" in told or "--device" not in told or name in ("app", "demo")


@pytest.mark.parametrize(
    ("words", "status", "value"),
    [
        (["dance"], 2, "'dance'"),
        (["info", "nowhere_at_all"], 1, "nowhere_at_all"),
        # before anything opens
        (["app", "--scheduler", "tcp://10.0.0.5:8786"], 1, "tls://10.0.0.5:8786"),
        (["fetch", "https://example.org/a.nwb"], 1, "https://example.org/a.nwb"),
        (["fetch", "."], 1, "is a folder"),
        (["fetch", "nope.tar"], 1, "nope.tar"),
    ],
)
def test_words_that_cannot_be_are_refused(words, status, value, capsys):
    assert run(*words) == status
    message = capsys.readouterr().err
    assert value in message
    assert message.count("\n") == 1 or status == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("README.md",), "README.md is not a training config: README.md line"),
        (("nope",), "no training config 'nope'"),
        (("unknown_task.yaml",), "phases[0]: There is no strategy 'video-63'"),
        (("omnimouse-5M",), "--sessions FOLDER"),
        (("smoke", "--sessions", "."), "no session"),
        (("demo", "--steps", "-3"), "-3 is not in the range"),
        (("demo", "--device", "nope"), "'nope' is not one of"),
    ],
)
def test_wrong_options_of_train_are_refused(options, message, root, tmp_path, monkeypatch, capsys):
    (tmp_path / "README.md").write_text((root / "README.md").read_text("utf-8"))
    demo = (root / "model/omnimouse_model/families/omnimouse/configs/demo.yaml").read_text("utf-8")
    (tmp_path / "unknown_task.yaml").write_text(demo.replace("video-36:", "video-63:"))
    monkeypatch.chdir(tmp_path)
    assert run("train", *options, "--out", "run", "--mice", "mice") != 0
    assert message in " ".join(capsys.readouterr().err.split())
    assert {p.name for p in tmp_path.iterdir()} == {"README.md", "unknown_task.yaml"}


def test_a_trusted_host_is_saved_in_the_folder_of_settings(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OMNIMOUSE_CONFIG", str(tmp_path))
    assert run("fetch", "--trust", "store.lab", "--trust", "10.0.0.5:9000") == 0
    assert str(tmp_path / "network.json") in capsys.readouterr().err
    stored = json.loads((tmp_path / "network.json").read_text())
    assert stored == {"trusted_hosts": ["store.lab", "10.0.0.5:9000"]}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_at_once_until_there_is_something_to_save(number):
    def simulate() -> None:
        with interruptible():
            try:
                signal.raise_signal(number)
            finally:
                signal.raise_signal(number)  # does not disturb the cleaning up

    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        simulate()
    with interruptible() as stop:
        stop.has_results = True
        for _ in range(2):
            signal.raise_signal(number)
        assert stop.is_received
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("words", [["--debug", "info"], ["info", "--debug"]])
def test_debug_shows_the_traceback(failing, words):
    failing(TypeError("two"))
    with pytest.raises(TypeError):
        main(words)


def test_json_is_one_object_with_machine_and_rows(capsys):
    rows = [{"name": "score", "value": np.float32(0.5), "unit": "", "ceiling": np.nan}]
    emit(rows, as_json=True, title="never printed")
    document = json.loads(capsys.readouterr().out)
    assert set(document) == {"machine", "rows"}
    facts = {"cpu", "cores", "gpu", "torch", "matmul_gflops_fp32", "matmul_gflops_bf16"}
    assert set(document["machine"]) == facts
    assert document["rows"] == [rows[0] | {"value": 0.5, "ceiling": None}]


def test_matmul_speed_is_measured_only_when_asked():
    assert machine()["matmul_gflops_fp32"] is None
    assert matmul_speeds()["matmul_gflops_fp32"] > 0


@pytest.fixture
def opened_places(monkeypatch):
    """What `omnimouse app` hands to the window, which does not open."""
    places: list[object] = []
    monkeypatch.setattr("omnimouse_app.window.screen.has_display", lambda: True)
    where = "omnimouse_app.window.launch.launch"
    monkeypatch.setattr(where, lambda place, *_, **__: places.append(place))
    return places


def test_what_the_files_do_not_say_is_asked_in_the_window(tmp_path, opened_places):
    path = tmp_path / "without_rate.npz"
    np.savez(path, responses=np.ones((400, 5), np.float32))
    done = run_command("app", path)
    assert opened_places == [path]
    assert "Opening the window" in done.stderr  # its imports take seconds


def test_what_is_no_session_is_refused_before_the_window(tmp_path, opened_places):
    (tmp_path / "notes.txt").write_text("a note")
    assert run("app", tmp_path / "notes.txt") == 1
    assert opened_places == []


def test_a_generated_session_is_made_with_a_job(monkeypatch):
    def make(job: Job) -> Path:
        job.progress(1, 2, "simulating")
        return Path("made")

    monkeypatch.setitem(demo.SESSIONS, "unseen", make)
    assert session_folder("unseen") == Path("made")


@pytest.mark.parametrize(
    "words",
    [
        "evaluate --model no --session no --sensorium2023 --submission PLACE/a",
        "evaluate --model no --session no --parquet PLACE/a",
        "train no --out FILE/run",
        "train no --out run --export FILE/a.safetensors",
        "finetune no no --out FILE/run",
        "simulate FILE/mice",
        "predict no --model no --out FILE/a.zarr",
        "lab fields --model no --out FILE/a",
        "sweep --model no --session no --out FILE/a.jsonl --csv PLACE/a.csv",
    ],
)
def test_a_place_that_cannot_be_written_is_found_before_the_work(words, tmp_path):
    (tmp_path / "file").write_text("")
    places = {"PLACE": tmp_path / "no folder", "FILE": tmp_path / "file"}
    answer = run_command(
        *[
            str(places.get(first, first)) + ("/" + rest if rest else "")
            for first, _, rest in (word.partition("/") for word in words.split())
        ]
    )
    assert isinstance(answer.exception, DriveError), answer.output
    assert "folder" in str(answer.exception)


def test_a_warning_is_one_line_without_its_place(monkeypatch, capsys):
    @click.command()
    def command() -> None:
        # As Python writes it where no test records it.
        for name in ("\n\x1b[2Ja12", "a " * 10**6):
            text = warnings.formatwarning(f"no score of {name}", UserWarning, "a", 1)
            sys.stderr.write(text)

    module = ModuleType("omnimouse_app.cli.info")
    module.command = command
    monkeypatch.setitem(sys.modules, "omnimouse_app.cli.info", module)
    assert run("info") == 0
    short, long = capsys.readouterr().err.splitlines()
    assert short == "omnimouse: no score of a12"
    assert len(long) <= 3000
