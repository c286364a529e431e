"""The command line: what it prints for people, for programs, and on bad input."""

import json
import signal
import subprocess
import sys
from types import ModuleType

import click
import numpy as np
import pytest
from click.testing import CliRunner

from omnimouse_app.cli import COMMANDS, group, main
from omnimouse_app.cli.output import emit, machine, table
from omnimouse_app.cli.stopping import interruptible
from omnimouse_model.data.open import open_session
from omnimouse_model.errors import SessionFormatError


@pytest.fixture
def broken_info(monkeypatch):
    """`omnimouse info` meets a recording that cannot be read."""

    @click.command()
    def command() -> None:
        raise SessionFormatError("a12", "no_responses", "No responses.", "Copy them.")

    module = ModuleType("omnimouse_app.cli.info")
    module.command = command
    monkeypatch.setitem(sys.modules, "omnimouse_app.cli.info", module)


def test_help_names_every_command_and_imports_none():
    code = (
        "import sys\nfrom omnimouse_app.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "assert not loaded & {'torch', 'numpy', 'qtpy', 'napari'}, loaded"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert all(name in answer.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    assert "Usage: omnimouse" in capsys.readouterr().out


def test_an_unknown_command_is_refused(capsys):
    with pytest.raises(SystemExit) as end:
        main(["dance"])
    assert end.value.code == 2
    assert "No such command 'dance'" in capsys.readouterr().err


def test_a_scheduler_in_the_clear_is_refused_before_anything_opens(capsys):
    with pytest.raises(SystemExit) as end:
        main(["app", "--scheduler", "tcp://10.0.0.5:8786"])
    assert end.value.code == 1
    said = capsys.readouterr().err
    assert "tls://10.0.0.5:8786" in said
    assert said.count("\n") == 1


@pytest.fixture
def unknown_task(root, tmp_path_factory):
    """The shipped config with a slip in the name of a task."""
    shipped = root / "model/omnimouse_model/train/configs/demo.yaml"
    path = tmp_path_factory.mktemp("config") / "unknown_task.yaml"
    path.write_text(shipped.read_text("utf-8").replace("video-36:", "video-63:"))
    return path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("README.md",), "README.md is not a training config: not YAML at line"),
        (("nope",), "no training config 'nope'"),
        (("unknown_task.yaml",), "phases[0].tasks: There is no strategy 'video-63'"),
        (("demo", "--steps", "-3"), "-3 is not in the range"),
        (("demo", "--device", "nope"), "'nope' is not one of"),
    ],
)
def test_a_training_that_cannot_be_is_refused_before_a_mouse_is_simulated(
    options, message, root, unknown_task, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(root)
    if options == ("unknown_task.yaml",):
        monkeypatch.chdir(unknown_task.parent)
    mice, out = tmp_path / "mice", tmp_path / "run"
    with pytest.raises(SystemExit) as end:
        main(["train", *options, "--out", str(out), "--mice", str(mice)])
    assert end.value.code != 0
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


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
    with interruptible() as stopping:
        stopping.has_begun = True
        for _ in range(2):
            signal.raise_signal(number)
        assert stopping.is_asked
    assert signal.getsignal(number) is before


@pytest.mark.usefixtures("broken_info")
def test_bad_input_ends_with_one_clear_line(capsys):
    with pytest.raises(SystemExit) as end:
        main(["info"])
    assert end.value.code == 1
    assert capsys.readouterr().err == "omnimouse: No responses. (Copy them.)\n"


@pytest.mark.usefixtures("broken_info")
def test_debug_shows_the_traceback():
    with pytest.raises(SessionFormatError):
        main(["--debug", "info"])


def test_a_session_that_is_not_there_is_bad_input(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(["info", str(tmp_path / "nowhere")])
    assert end.value.code != 0
    assert "nowhere" in capsys.readouterr().err


def test_json_is_one_object_with_machine_and_rows(capsys):
    rows = [{"name": "score", "value": np.float32(0.5), "unit": "", "ceiling": np.nan}]
    emit(rows, as_json=True, title="never printed")
    document = json.loads(capsys.readouterr().out)
    assert set(document) == {"machine", "rows"}
    assert set(document["machine"]) == {
        "cpu",
        "cores",
        "gpu",
        "torch",
        "matmul_gflops_fp32",
        "matmul_gflops_bf16",
    }
    assert document["rows"] == [
        {"name": "score", "value": 0.5, "unit": "", "ceiling": None}
    ]


def test_matmul_speed_is_measured_only_when_asked():
    assert machine()["matmul_gflops_fp32"] is None
    assert machine(gflops=True)["matmul_gflops_fp32"] > 0.1


def test_a_table_aligns_numbers_right_and_shows_what_is_unknown():
    rows = [{"name": "a", "value": 1.23456}, {"name": "long", "value": None}]
    assert table(rows).splitlines() == [
        "name  value",
        "----  -----",
        "a     1.235",
        "long      –",
    ]


def test_a_table_without_rows_is_its_header():
    assert table([], ["name", "value"]).splitlines()[0] == "name  value"


def test_version_is_the_distribution_s(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.startswith("omnimouse, version 0.")


def test_the_group_lists_the_table():
    assert group.list_commands(click.Context(group)) == list(COMMANDS)


def _opened(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What `omnimouse app` hands to the window."""
    opened: list[object] = []
    monkeypatch.setattr("omnimouse_app.screen.has_display", lambda: True)
    monkeypatch.setattr(
        "omnimouse_app.opening.launch", lambda place, *_, **__: opened.append(place)
    )
    CliRunner().invoke(group, ["app", *arguments], catch_exceptions=False)
    return opened


def test_what_the_files_do_not_say_is_asked_in_the_window(tmp_path, monkeypatch):
    path = tmp_path / "without_rate.npz"
    np.savez(path, responses=np.ones((400, 5), np.float32))
    with pytest.raises(SessionFormatError, match="rate"):
        open_session(path)
    assert _opened([str(path)], monkeypatch) == [path]


def test_what_is_no_session_is_refused_before_the_window(tmp_path, monkeypatch):
    (tmp_path / "notes.txt").write_text("a note")
    with pytest.raises(SessionFormatError):
        _opened([str(tmp_path / "notes.txt")], monkeypatch)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("https://example.org/a.nwb", "need not be fetched"),
        (".", "is a folder on this machine already"),
        ("nope.tar", "there is no file nope.tar"),
    ],
)
def test_what_need_not_or_cannot_be_fetched_is_said(name, words):
    done = CliRunner().invoke(group, ["fetch", name])
    assert done.exit_code == 1
    assert words in str(done.exception)


def test_the_traceback_can_be_asked_for_after_the_command():
    with pytest.raises(SessionFormatError):
        main(["info", "nowhere_at_all", "--debug"])
