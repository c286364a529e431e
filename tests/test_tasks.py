import importlib.util
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "tasks.py"
OLD_PYTHON = f"""
import sys, runpy
sys.version_info = (3, 9, 2)
runpy.run_path({str(SCRIPT)!r}, run_name="__main__")
"""


@pytest.fixture
def tasks(tmp_path, monkeypatch):
    """tasks.py as a module, with its environment in a scratch folder."""
    spec = importlib.util.spec_from_file_location("tasks_under_test", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    venv = tmp_path / ".venv"
    python = venv / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    paths = {"VENV": venv, "PYTHON": python, "STAMP": venv / "s", "LOG": venv / "l"}
    for name, path in paths.items():
        monkeypatch.setattr(module, name, path)
    module.LOG.touch()
    return module


class Recorder:
    """Replacement of pip that records its calls; the `refused` calls fail."""

    def __init__(self, *refused: str) -> None:
        self.calls: list[str] = []
        self.refused = refused

    def __call__(self, *arguments: str) -> bool:
        self.calls.append(" ".join(arguments))
        return self.calls[-1] not in self.refused


@pytest.fixture
def machine(tasks, monkeypatch):
    """Function that simulates a Linux machine without torch."""

    def make(*refused: str, gpu: bool = False, reach: bool = False) -> Recorder:
        pip = Recorder(*refused)
        monkeypatch.setattr(tasks, "pip_install", pip)
        monkeypatch.setattr(tasks, "has_version", lambda *_: False)
        monkeypatch.setattr(tasks, "has_nvidia_gpu", lambda: gpu)
        monkeypatch.setattr(tasks, "can_reach", lambda *_: reach)
        monkeypatch.setattr(tasks.sys, "platform", "linux")
        return pip

    return make


@pytest.mark.parametrize("options", [{}, {"gpu": True}, {"reach": True}])
def test_torch_is_a_cpu_build_unless_there_is_a_gpu(tasks, machine, options):
    torch, pip = tasks.pinned("torch"), machine(**options)
    tasks.ensure_torch()
    assert pip.calls == [torch if "gpu" in options else f"{torch}+cpu"]


@pytest.mark.parametrize("reach", [True, False])
def test_torch_comes_from_its_own_index_or_else_from_pip(tasks, machine, reach):
    torch = tasks.pinned("torch")
    pip = machine(f"{torch}+cpu", reach=reach)
    tasks.ensure_torch()
    _, call = pip.calls
    wheels = f"--index-url {tasks.CPU_WHEELS} {torch}+cpu"
    assert call.endswith(wheels) if reach else call == torch


def test_every_installation_uses_the_constraints_file(tasks, monkeypatch):
    commands: list[list[str]] = []
    monkeypatch.setattr(tasks, "run_logged", lambda line: not commands.append(line))
    monkeypatch.setattr(tasks, "has_version", lambda *_: False)
    tasks.install_everything()
    installations = [command for command in commands if "install" in command]
    assert len(installations) == 3
    assert all(str(tasks.CONSTRAINTS) in command for command in installations)
    assert {"napari>=0.9.2,<0.10", "pytest>=9.2"} <= set(commands[1])


@pytest.fixture
def setup_steps(tasks, monkeypatch):
    """List of the steps that set-up ran; the slow steps are replaced."""
    steps: list[str] = []
    monkeypatch.setattr(tasks, "missing_libraries", lambda: [])
    monkeypatch.setattr(tasks, "is_root", lambda: False)
    monkeypatch.setattr(tasks, "has_working_packages", lambda: True)
    monkeypatch.setattr(
        tasks, "create_environment", lambda is_fresh: steps.append("new" if is_fresh else "venv")
    )
    monkeypatch.setattr(tasks, "install_everything", lambda: steps.append("install"))
    return steps


def test_set_up_runs_again_after_a_change(tasks, setup_steps, monkeypatch, tmp_path):
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


def test_an_incomplete_environment_is_created_again(tasks, setup_steps, monkeypatch):
    results = iter([False, True])
    monkeypatch.setattr(tasks, "has_working_packages", lambda: next(results))
    tasks.setup()
    assert setup_steps == ["venv", "install", "new", "install"]


def test_missing_libraries_do_not_stop_it(tasks, setup_steps, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(tasks, "missing_libraries", lambda: ["xvfb", "libegl1"])
        tasks.setup()
    output = capsys.readouterr().out
    assert "apt-get install" in output
    assert "xvfb libegl1" in output
    assert tasks.read_stamp()["missing"] == ["xvfb", "libegl1"]
    tasks.setup()
    assert tasks.read_stamp()["missing"] == []
    assert setup_steps == ["venv", "install"]


@pytest.mark.process
@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [(["-c", OLD_PYTHON], 1, "3.11"), ([str(SCRIPT), "dance"], 2, "tasks.py demo")],
    ids=["an old Python", "an unknown task"],
)
def test_a_wrong_call_ends_with_a_message(arguments, status, message):
    process = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False
    )
    assert process.returncode == status
    assert message in process.stdout + process.stderr


@pytest.mark.process
def test_a_failed_check_fails_the_task_after_the_others_have_run(tasks, capfd):
    bad = [sys.executable, "-c", "raise SystemExit(3)"]
    good = [sys.executable, "-c", "print('ran')"]
    assert tasks.run_all({"one": bad, "two": good}, dict(os.environ)) == 1
    output = capfd.readouterr().out
    assert "ran" in output
    assert "FAILED: one" in output


@pytest.mark.process
def test_a_command_that_hangs_is_killed_and_has_failed(tasks, capfd):
    hangs = [sys.executable, "-c", "import time; time.sleep(60)"]
    assert tasks.run_all({"tests": hangs}, dict(os.environ), limit_s=0.2) == 1
    assert "tests (killed after" in capfd.readouterr().out


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_processes_that_tests_left_behind_are_killed(tasks, tmp_path, capfd):
    sleeps = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
    settings = os.environ | {"XDG_CONFIG_HOME": str(tmp_path)}
    with subprocess.Popen(sleeps, stdout=subprocess.PIPE, env=settings) as left:
        assert left.stdout is not None
        left.stdout.readline()
        tasks.kill_orphans(str(tmp_path))
        assert left.wait(timeout=30) == -9
    assert f"({left.pid}), which outlived its test" in capfd.readouterr().out


def test_notebooks_are_served_to_this_machine_only(tasks, monkeypatch):
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
def test_any_failure_of_parallel_commands_fails_the_task(tasks, capfd, bad):
    code = "print('{}'); raise SystemExit({})"
    commands = {
        name: [sys.executable, "-c", code.format(f"{name} ran", 3 * (bad == number))]
        for number, name in enumerate(["background", "main"])
    }
    assert tasks.run_parallel(commands, dict(os.environ)) == int(bad is not None)
    output = capfd.readouterr().out
    assert "background ran" in output
    assert "main ran" in output
    assert output.rstrip().endswith("FAILED" if bad is not None else "all passed")


@pytest.mark.gui
@pytest.mark.process
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="Xvfb is for Linux")
def test_qt_opens_a_window_on_the_virtual_screen(tasks, monkeypatch, tmp_path):
    monkeypatch.setattr(tasks, "PYTHON", Path(sys.executable))
    env = tasks.gui_environment(str(tmp_path))
    with tasks.virtual_screen() as screen:
        assert tasks.can_open_window(env | screen)
    assert oct(Path(env["XDG_RUNTIME_DIR"]).stat().st_mode & 0o777) == "0o700"


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="Xvfb is for Linux")
def test_a_virtual_screen_is_closed_to_accounts_without_its_cookie(tasks):
    with tasks.virtual_screen() as screen:
        authority = Path(screen["XAUTHORITY"])
        assert authority.stat().st_mode & 0o077 == 0
        cookie = authority.read_bytes()[-16:]
        assert not _is_let_in(screen["DISPLAY"], b"", b"")
        assert not _is_let_in(screen["DISPLAY"], b"MIT-MAGIC-COOKIE-1", bytes(16))
        assert _is_let_in(screen["DISPLAY"], b"MIT-MAGIC-COOKIE-1", cookie)
    assert not authority.exists()


def _is_let_in(display: str, name: bytes, cookie: bytes) -> bool:
    """Whether an X server accepts a connection with these credentials."""
    head = struct.pack("<cxHHHHxx", b"l", 11, 0, len(name), len(cookie))
    padded = [field + bytes(-len(field) % 4) for field in (name, cookie)]
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(f"/tmp/.X11-unix/X{display.removeprefix(':')}")
        connection.sendall(head + b"".join(padded))
        return connection.recv(1) == b"\x01"
