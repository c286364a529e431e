"""Set-up: what it installs, in which order, and what it says where it may not."""

import importlib.util
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "tasks.py"
OLD_PYTHON = f"""
import sys, runpy
sys.version_info = (3, 9, 2)
runpy.run_path({str(SCRIPT)!r}, run_name="__main__")
"""


@pytest.fixture
def tasks(tmp_path, monkeypatch):
    """The script as a module, its environment in a scratch folder."""
    spec = importlib.util.spec_from_file_location("tasks_under_test", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    venv = tmp_path / ".venv"
    python = venv / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    places = {"VENV": venv, "PYTHON": python, "STAMP": venv / "s", "LOG": venv / "l"}
    for name, place in places.items():
        monkeypatch.setattr(module, name, place)
    module.LOG.touch()
    return module


class Recorder:
    """Stands for pip: remembers what was asked, and refuses these calls."""

    def __init__(self, *refused: str) -> None:
        self.calls: list[str] = []
        self.refused = refused

    def __call__(self, *arguments: str) -> bool:
        self.calls.append(" ".join(arguments))
        return self.calls[-1] not in self.refused


@pytest.fixture
def machine(tasks, monkeypatch):
    """A Linux machine without torch: what pip refuses, and what answers."""

    def make(*refused: str, gpu: bool = False, reach: bool = False) -> Recorder:
        pip = Recorder(*refused)
        monkeypatch.setattr(tasks, "pip_install", pip)
        monkeypatch.setattr(tasks, "has_version", lambda *_: False)
        monkeypatch.setattr(tasks, "has_nvidia_gpu", lambda: gpu)
        monkeypatch.setattr(tasks, "can_reach", lambda *_: reach)
        monkeypatch.setattr(tasks.sys, "platform", "linux")
        return pip

    return make


@pytest.mark.parametrize("answers", [{}, {"gpu": True}, {"reach": True}])
def test_torch_is_a_cpu_build_unless_there_is_a_gpu(tasks, machine, answers):
    torch, pip = tasks.pinned("torch"), machine(**answers)
    tasks.ensure_torch()
    assert pip.calls == [torch if "gpu" in answers else f"{torch}+cpu"]


@pytest.mark.parametrize("reach", [True, False])
def test_torch_comes_from_its_own_wheels_or_else_is_what_pip_has(tasks, machine, reach):
    torch = tasks.pinned("torch")
    pip = machine(f"{torch}+cpu", reach=reach)
    tasks.ensure_torch()
    _, call = pip.calls
    wheels = f"--index-url {tasks.CPU_WHEELS} {torch}+cpu"
    assert call.endswith(wheels) if reach else call == torch


def test_a_server_that_is_silent_is_not_waited_for(tasks, monkeypatch):
    known = Event()
    monkeypatch.setattr(tasks.urllib.request, "urlopen", lambda *_, **__: known.wait())
    assert not tasks.can_reach("https://silent/", timeout_s=0.01)
    known.set()


def test_a_server_that_refuses_the_knock_is_there(tasks):
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    serving = Thread(target=server.handle_request, daemon=True)
    serving.start()
    assert tasks.can_reach(f"http://127.0.0.1:{server.server_port}/torch/")
    server.server_close()


def test_every_installation_is_held_to_the_constraints(tasks, monkeypatch):
    commands: list[list[str]] = []
    monkeypatch.setattr(tasks, "logged", lambda line: not commands.append(line))
    monkeypatch.setattr(tasks, "has_version", lambda *_: False)
    tasks.install_everything()
    assert len(commands) == 3
    assert all(str(tasks.CONSTRAINTS) in command for command in commands)
    assert {"napari>=0.9.2,<0.10", "pytest>=8"} <= set(commands[1])


def test_a_failed_installation_shows_the_end_of_the_log(tasks, monkeypatch):
    tasks.LOG.write_text("ERROR: No matching distribution found for nonsense\n")
    monkeypatch.setattr(tasks, "pip_install", Recorder("nonsense"))
    with pytest.raises(tasks.TaskError, match="No matching distribution"):
        tasks.install("nonsense")


@pytest.fixture
def setup_steps(tasks, monkeypatch):
    """What set-up did, with every heavy part replaced."""
    steps: list[str] = []
    monkeypatch.setattr(tasks, "missing_libraries", lambda: [])
    monkeypatch.setattr(tasks, "is_root", lambda: False)
    monkeypatch.setattr(tasks, "works", lambda: True)
    monkeypatch.setattr(
        tasks,
        "make_environment",
        lambda fresh: steps.append("new" if fresh else "venv"),
    )
    monkeypatch.setattr(tasks, "install_everything", lambda: steps.append("install"))
    return steps


def test_a_second_set_up_does_nothing_until_its_recipe_changes(
    tasks, setup_steps, monkeypatch, tmp_path
):
    for _ in range(2):
        tasks.setup()
    assert setup_steps == ["venv", "install"]
    other = tmp_path / "constraints.txt"
    other.write_text("torch==9.9\n")
    monkeypatch.setattr(tasks, "CONSTRAINTS", other)
    tasks.setup()
    assert setup_steps == ["venv", "install"] * 2
    monkeypatch.setattr(tasks, "recipe", lambda: {"folder": str(tmp_path / "moved")})
    monkeypatch.setattr(tasks, "ROOT", tmp_path / "moved")
    tasks.setup()
    assert setup_steps[4:] == ["new", "install"]


def test_an_interrupted_set_up_is_resumed(tasks, setup_steps, monkeypatch):
    def interrupted() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tasks, "install_everything", interrupted)
        assert tasks.main(["setup"]) == 130
    tasks.setup()
    assert setup_steps == ["venv", "venv", "install"]


def test_an_environment_left_in_halves_is_made_anew_once(
    tasks, setup_steps, monkeypatch
):
    answers = iter([False, True])
    monkeypatch.setattr(tasks, "works", lambda: next(answers))
    tasks.setup()
    assert setup_steps == ["venv", "install", "new", "install"]


def test_a_half_written_stamp_counts_as_none(tasks):
    tasks.STAMP.write_text('{"recipe": {')
    assert tasks.read_stamp() == {}


def test_missing_libraries_are_named_and_looked_for_again_while_set_up_goes_on(
    tasks, setup_steps, monkeypatch, capsys
):
    with monkeypatch.context() as patch:
        patch.setattr(tasks, "missing_libraries", lambda: ["xvfb", "libegl1"])
        tasks.setup()
    said = capsys.readouterr().out
    assert "apt-get install" in said
    assert "xvfb libegl1" in said
    assert tasks.read_stamp()["missing"] == ["xvfb", "libegl1"]
    tasks.setup()
    assert tasks.read_stamp()["missing"] == []
    assert setup_steps == ["venv", "install"]


@pytest.mark.process
@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["-c", OLD_PYTHON], 1, "3.11"),
        ([str(SCRIPT), "dance"], 2, "tasks.py demo"),
    ],
    ids=["an old Python", "an unknown task"],
)
def test_who_asks_wrongly_is_told_what_to_ask(words, status, told):
    answer = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, check=False
    )
    assert answer.returncode == status
    assert told in answer.stdout + answer.stderr


@pytest.mark.process
def test_a_failed_check_fails_the_task_after_the_others_have_run(tasks, capfd):
    bad = [sys.executable, "-c", "raise SystemExit(3)"]
    good = [sys.executable, "-c", "print('ran')"]
    assert tasks.run_all({"one": bad, "two": good}, dict(os.environ)) == 1
    said = capfd.readouterr().out
    assert "ran" in said
    assert "FAILED: one" in said


def test_notebooks_are_opened_for_this_machine_alone(tasks, monkeypatch):
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(tasks.subprocess, "run", run)
    assert tasks.notebook("--no-browser") == 0
    assert "--ServerApp.ip=127.0.0.1" in commands[0]
    assert commands[0].index("jupyterlab") < commands[0].index("--no-browser")
    assert not any("token" in word for word in commands[0])


@pytest.mark.process
@pytest.mark.parametrize("bad", [0, 1, None])
def test_side_by_side_each_is_shown_and_a_failure_of_either_fails_both(
    tasks, capfd, bad
):
    code = "print('{}'); raise SystemExit({})"
    commands = {
        name: [sys.executable, "-c", code.format(f"{name} ran", 3 * (bad == number))]
        for number, name in enumerate(["behind", "before"])
    }
    assert tasks.run_side_by_side(commands, dict(os.environ)) == int(bad is not None)
    said = capfd.readouterr().out
    assert "behind ran" in said
    assert "before ran" in said
    assert said.rstrip().endswith("FAILED" if bad is not None else "all passed")


def test_what_forbids_compiled_files_is_not_passed_on(tasks, monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("OMNIMOUSE_CACHE", "kept")
    env = tasks.clean_environment()
    assert "PYTHONDONTWRITEBYTECODE" not in env
    assert env["OMNIMOUSE_CACHE"] == "kept"


@pytest.mark.gui
@pytest.mark.process
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="Xvfb is for Linux")
def test_the_screen_of_its_own_lets_qt_open_a_window(tasks, monkeypatch, tmp_path):
    monkeypatch.setattr(tasks, "PYTHON", Path(sys.executable))
    env = tasks.gui_environment(str(tmp_path))
    with tasks.virtual_screen() as screen:
        assert tasks.can_open_window(env | screen)
    assert oct(Path(env["XDG_RUNTIME_DIR"]).stat().st_mode & 0o777) == "0o700"


@pytest.mark.skipif(sys.platform != "linux", reason="Xvfb is for Linux")
def test_without_xvfb_the_line_to_run_is_given(tasks, monkeypatch):
    monkeypatch.setattr(tasks.shutil, "which", lambda name: None)
    with pytest.raises(tasks.TaskError, match="apt-get install"):
        tasks.virtual_screen().__enter__()


def test_the_ci_script_calls_the_test_task(root):
    script = root / ".ci" / "run"
    assert "tasks.py test" in script.read_text()
    assert os.access(script, os.X_OK)
