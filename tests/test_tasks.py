"""Set-up: what it installs, in which order, and what it says where it may not."""

import importlib.util
import os
import ssl
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import ModuleType
from urllib.error import URLError

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "tasks.py"


@pytest.fixture
def tasks(tmp_path, monkeypatch):
    """The script as a module, its environment in a scratch folder."""
    spec = importlib.util.spec_from_file_location("tasks_under_test", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    venv = tmp_path / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(sys.executable)
    monkeypatch.setattr(module, "VENV", venv)
    monkeypatch.setattr(module, "PYTHON", venv / "bin" / "python")
    monkeypatch.setattr(module, "STAMP", venv / "stamp.json")
    monkeypatch.setattr(module, "LOG", venv / "setup.log")
    module.LOG.touch()
    return module


class Recorder:
    """Stands for pip: remembers what was asked, and refuses what it is told to."""

    def __init__(self, *refused: str) -> None:
        self.calls: list[str] = []
        self.refused = refused
        self.refuse_once = False

    def __call__(self, *arguments: str) -> bool:
        self.calls.append(" ".join(arguments))
        if self.refuse_once:
            self.refuse_once = False
            return False
        return not any(word in self.calls[-1] for word in self.refused)


def without_torch(
    tasks: ModuleType, monkeypatch: pytest.MonkeyPatch, pip: Recorder, **answers: bool
) -> None:
    monkeypatch.setattr(tasks, "pip_install", pip)
    monkeypatch.setattr(tasks, "has_version", lambda *_: False)
    monkeypatch.setattr(tasks, "has_nvidia_gpu", lambda: answers.get("gpu", False))
    monkeypatch.setattr(tasks, "can_reach", lambda *_: answers.get("reach", False))
    monkeypatch.setattr(tasks.sys, "platform", "linux")


def test_torch_is_the_cpu_build_of_the_configured_index_where_it_has_one(
    tasks, monkeypatch
):
    pip = Recorder()
    without_torch(tasks, monkeypatch, pip)
    tasks.ensure_torch()
    assert len(pip.calls) == 1
    assert pip.calls[0].endswith("+cpu")
    assert "--index-url" not in pip.calls[0]


def test_torch_comes_from_its_own_cpu_wheels_otherwise(tasks, monkeypatch):
    pip = Recorder()
    without_torch(tasks, monkeypatch, pip, reach=True)
    pip.refuse_once = True
    tasks.ensure_torch()
    assert len(pip.calls) == 2
    assert f"--index-url {tasks.CPU_WHEELS}" in pip.calls[1]


def test_torch_is_what_pip_has_where_nothing_else_answers(tasks, monkeypatch):
    pip = Recorder("+cpu")
    without_torch(tasks, monkeypatch, pip, reach=False)
    tasks.ensure_torch()
    assert pip.calls[-1].endswith(tasks.pinned("torch"))


def test_an_nvidia_gpu_gets_the_build_with_cuda(tasks, monkeypatch):
    pip = Recorder()
    without_torch(tasks, monkeypatch, pip, gpu=True)
    tasks.ensure_torch()
    assert pip.calls[0].endswith(tasks.pinned("torch"))


def test_a_server_that_does_not_answer_costs_five_seconds_at_most(tasks):
    start = time.monotonic()
    assert not tasks.can_reach("https://no-such-host.invalid/")
    assert time.monotonic() - start < 6


def test_a_server_that_refuses_the_knock_is_there(tasks):
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    serving = Thread(target=server.handle_request, daemon=True)
    serving.start()
    assert tasks.can_reach(f"http://127.0.0.1:{server.server_port}/torch/")
    server.server_close()


def test_a_server_whose_certificate_cannot_be_judged_is_there(tasks, monkeypatch):
    def distrust(*asked: object, **options: object) -> None:
        raise URLError(ssl.SSLCertVerificationError("no certificates here"))

    monkeypatch.setattr(tasks.urllib.request, "urlopen", distrust)
    assert tasks.can_reach("https://download.pytorch.org/whl/cpu/torch/")


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


def prepared(tasks: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let set-up run with every heavy part replaced, and tell what it did."""
    done: list[str] = []
    monkeypatch.setattr(tasks, "missing_libraries", lambda: [])
    monkeypatch.setattr(tasks, "works", lambda: True)
    monkeypatch.setattr(tasks, "make_environment", lambda fresh: done.append("venv"))
    monkeypatch.setattr(tasks, "install_everything", lambda: done.append("install"))
    return done


def test_a_second_set_up_does_nothing(tasks, monkeypatch):
    done = prepared(tasks, monkeypatch)
    tasks.setup()
    tasks.setup()
    assert done == ["venv", "install"]


def test_set_up_runs_again_when_what_it_was_made_from_changes(
    tasks, monkeypatch, tmp_path
):
    done = prepared(tasks, monkeypatch)
    tasks.setup()
    other = tmp_path / "constraints.txt"
    other.write_text("torch==9.9\n")
    monkeypatch.setattr(tasks, "CONSTRAINTS", other)
    tasks.setup()
    assert done == ["venv", "install"] * 2


def test_an_environment_that_was_made_elsewhere_is_made_anew(
    tasks, monkeypatch, tmp_path
):
    prepared(tasks, monkeypatch)
    was_fresh: list[bool] = []
    monkeypatch.setattr(
        tasks, "make_environment", lambda fresh: was_fresh.append(fresh)
    )
    tasks.setup()
    monkeypatch.setattr(tasks, "ROOT", tmp_path / "moved")
    monkeypatch.setattr(tasks, "recipe", lambda: {"folder": str(tmp_path / "moved")})
    tasks.setup()
    assert was_fresh == [False, True]


def test_an_interrupted_set_up_is_resumed(tasks, monkeypatch):
    done = prepared(tasks, monkeypatch)

    def interrupted() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tasks, "install_everything", interrupted)
        assert tasks.main(["setup"]) == 130
    tasks.setup()
    assert done == ["venv", "venv", "install"]


def test_an_environment_left_in_halves_is_made_anew_once(tasks, monkeypatch):
    done = prepared(tasks, monkeypatch)
    answers = iter([False, True])
    monkeypatch.setattr(tasks, "works", lambda: next(answers))
    tasks.setup()
    assert done == ["venv", "install", "venv", "install"]


def test_a_half_written_stamp_counts_as_none(tasks):
    tasks.STAMP.write_text('{"recipe": {')
    assert tasks.read_stamp() == {}


def test_missing_libraries_are_named_with_the_line_to_run_and_set_up_goes_on(
    tasks, monkeypatch, capsys
):
    done = prepared(tasks, monkeypatch)
    monkeypatch.setattr(tasks, "missing_libraries", lambda: ["xvfb", "libegl1"])
    monkeypatch.setattr(tasks, "is_root", lambda: False)
    tasks.setup()
    said = capsys.readouterr().out
    assert "sudo apt-get update && sudo apt-get install" in said
    assert "--no-install-recommends xvfb libegl1" in said
    assert done == ["venv", "install"]


def test_libraries_that_were_missing_are_looked_for_again(tasks, monkeypatch):
    done = prepared(tasks, monkeypatch)
    monkeypatch.setattr(tasks, "is_root", lambda: False)
    with monkeypatch.context() as patch:
        patch.setattr(tasks, "missing_libraries", lambda: ["xvfb"])
        tasks.setup()
    assert tasks.read_stamp()["missing"] == ["xvfb"]
    tasks.setup()
    assert tasks.read_stamp()["missing"] == []
    assert done == ["venv", "install"]


def test_without_the_venv_module_the_one_line_is_printed(tasks, monkeypatch, capsys):
    monkeypatch.setattr(tasks.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(tasks, "has_apt", lambda: True)
    monkeypatch.setattr(tasks, "is_root", lambda: False)
    answered = subprocess.CompletedProcess([], 0, stdout="installed libegl1\n")
    monkeypatch.setattr(tasks.subprocess, "run", lambda *_, **__: answered)
    tasks.PYTHON.unlink()
    assert tasks.main(["setup"]) == 1
    shown = capsys.readouterr()
    lines = [x for x in (shown.out + shown.err).splitlines() if "apt-get" in x]
    assert len(lines) == 1
    assert "xvfb" in lines[0]
    assert "libegl1 " not in lines[0]
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert lines[0].endswith(f"python{version}-venv")


def test_pip_s_warnings_are_not_taken_for_progress(tasks):
    tasks.LOG.write_text("Collecting napari\nWARNING: Location is ignored\n\n")
    assert tasks.last_log_line() == "Collecting napari"


def test_an_old_python_is_told_which_one_is_needed():
    code = (
        "import sys, runpy\n"
        "sys.version_info = (3, 9, 2)\n"
        f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 1
    assert "needs Python 3.11 or newer" in answer.stderr


def test_an_unknown_task_prints_the_tasks():
    answer = subprocess.run(
        [sys.executable, str(SCRIPT), "dance"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 2
    assert "python3 tasks.py demo" in answer.stdout


def test_a_failed_check_fails_the_task_after_the_others_have_run(tasks, capfd):
    bad = [sys.executable, "-c", "raise SystemExit(3)"]
    good = [sys.executable, "-c", "print('ran')"]
    assert tasks.run_all({"one": bad, "two": good}, dict(os.environ)) == 1
    said = capfd.readouterr().out
    assert "ran" in said
    assert "FAILED: one" in said


def without_browser(tasks: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = subprocess.CompletedProcess([], 1)
    monkeypatch.setattr(tasks.subprocess, "run", lambda *_, **__: missing)
    monkeypatch.setattr(tasks, "has_apt", lambda: True)


def test_a_browser_that_is_missing_is_installed_for_the_tests(tasks, monkeypatch):
    without_browser(tasks, monkeypatch)
    asked: list[str] = []
    monkeypatch.setattr(tasks, "apt_install", lambda names: not asked.extend(names))
    tasks.ensure_browser()
    assert asked == ["chromium", "fonts-dejavu-core"]


def test_who_may_not_install_a_browser_gets_the_line_to_run(tasks, monkeypatch, capsys):
    without_browser(tasks, monkeypatch)
    monkeypatch.setattr(tasks, "is_root", lambda: False)
    tasks.ensure_browser()
    said = capsys.readouterr().out
    assert "apt-get install -y --no-install-recommends chromium" in said
    assert "left out" in said


def test_a_browser_that_is_there_is_left_alone(tasks, monkeypatch):
    found = subprocess.CompletedProcess([], 0)
    monkeypatch.setattr(tasks.subprocess, "run", lambda *_, **__: found)
    monkeypatch.setattr(tasks, "apt_install", lambda _: pytest.fail("it is there"))
    tasks.ensure_browser()


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
