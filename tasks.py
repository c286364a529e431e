#!/usr/bin/env python3
"""Every task of this project, with the standard library alone.

python3 tasks.py setup     make .venv with everything in it (a second when it is there)
python3 tasks.py demo      set up, then the demo: napari, or a report without a display
python3 tasks.py notebook  set up, then JupyterLab on notebooks/ in your browser
python3 tasks.py test      set up, then every check and every test but the GPU ones;
                           test --quick: the library's fast tests, in a minute
python3 tasks.py pyside6   set up, then every test of a window once more with PySide6
python3 tasks.py check     set up, then the checks without the tests
python3 tasks.py format    set up, then let ruff put the code in order
python3 tasks.py docs      set up, then build the documentation into site/
python3 tasks.py figures   set up, then measure anew what the documents' tables show

What follows the task is handed on: `python3 tasks.py test -k masks`.

One file, over 600 lines: it has to run where nothing of the project is installed.
"""

import sys

if sys.version_info < (3, 11):
    sys.exit(
        "OmniMouse Studio needs Python 3.11 or newer; this is "
        f"{sys.version.split()[0]} ({sys.executable}).\n"
        "Run it with a newer one, for example: python3.11 tasks.py demo"
    )

import contextlib
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import ssl
import subprocess
import tempfile
import threading
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
STAMP = VENV / "omnimouse-setup.json"
LOG = VENV / "omnimouse-setup.log"
EXTRAS = (
    *("napari", "pyqt6", "jupyter", "lab", "dask", "nwb", "hub", "suite2p"),
    *("analysis", "train"),
)
WINDOWS = ["tests/widgets", "tests/app", "tests/test_soak_window.py"]
N_TEST_PROCESSES = max(2, min(os.cpu_count() or 2, 6))
# Shapes that jaxtyping declares: half of the quick tests' time, so not there.
SHAPE_CHECKS = "--jaxtyping-packages=omnimouse_model,beartype.beartype"
QUICK = "not slow and not process and not gui and not browser and not gpu"
CONSTRAINTS = ROOT / "constraints.txt"
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"
# What Qt and software OpenGL need on a bare Debian or Ubuntu.
LIBRARIES = (ROOT / "omnimouse_app" / "system_libraries.txt").read_text().split()
# What the tests drive; Debian has a Chromium that is a package, Ubuntu a snap.
BROWSER = ["chromium", "fonts-dejavu-core"]
# Imported once after an installation: an interrupted earlier run may have left halves.
PROOF = (
    "import anywidget, click, jupyterlab, napari, numpy, plotly, psygnal, PyQt6, "
    "scipy, torch, vispy, zarr"
)


class TaskError(Exception):
    """What stops a task, in words for whoever ran it."""


def say(text: str) -> None:
    """Print one line at once, also into a pipe."""
    print(text, flush=True)


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    """Say what begins, and how long it took."""
    say(f"==> {what}")
    start = time.monotonic()
    yield
    say(f"    done in {time.monotonic() - start:.1f} s")


# -- what the system must have --------------------------------------------------------
def is_root() -> bool:
    """Whether packages may be installed without asking."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def has_apt() -> bool:
    """Whether this is Debian, Ubuntu or one of their kin."""
    return (
        shutil.which("apt-get") is not None and shutil.which("dpkg-query") is not None
    )


def missing_libraries() -> list[str]:
    """Name the system packages that are not installed; none where there is no apt.

    Python's venv module is one of them where there is no environment yet.
    """
    if not has_apt():
        return []
    venv_module = [] if PYTHON.exists() else missing_venv_module()
    # Ubuntu 24.04 renamed some to …t64.
    asked = [name + tail for name in LIBRARIES for tail in ("", "t64")]
    answer = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n", *asked],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = (line.split() for line in answer.stdout.splitlines())
    here = {line[1].removesuffix("t64") for line in lines if line[0] == "installed"}
    return [name for name in LIBRARIES if name not in here] + venv_module


def apt_line(packages: list[str]) -> str:
    """Return the one line that installs packages by hand."""
    names = " ".join(packages)
    install = f"sudo apt-get install -y --no-install-recommends {names}"
    return f"sudo apt-get update && {install}"


def apt_install(packages: list[str]) -> bool:
    """Install packages as root; elsewhere say which line to run, and return False."""
    if not is_root():
        say(f"    missing: {' '.join(packages)}")
        say(f"    install them with: {apt_line(packages)}")
        return False
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    subprocess.run(["apt-get", "update", "-qq"], env=quiet, check=False)
    if subprocess.run(install, env=quiet, check=False).returncode == 0:
        return True
    say(f"    apt-get failed; try it yourself: {apt_line(packages)}")
    return False


def ensure_libraries() -> list[str]:
    """Install what Qt needs, and return what is still missing."""
    if not (missing := missing_libraries()):
        return []
    with step(f"System libraries ({len(missing)} missing)"):
        apt_install(missing)
    return missing_libraries()


def ensure_browser() -> None:
    """Install a Chromium where none is found: the tests of notebooks drive one."""
    code = "from omnimouse_app.browser import chromium; chromium.find_chromium()"
    found = subprocess.run(
        [PYTHON, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if found.returncode == 0:
        return
    with step("A browser for the tests of notebooks"):
        if not (has_apt() and apt_install(BROWSER)):
            say("    those tests are left out: install Chromium or Google Chrome")


def missing_venv_module() -> list[str]:
    """Name the package Python makes environments with; Debian ships it apart."""
    if importlib.util.find_spec("ensurepip") is not None:
        return []
    return [f"python{sys.version_info.major}.{sys.version_info.minor}-venv"]


def require_venv_module() -> None:
    """Refuse to go on where no environment can be made."""
    importlib.invalidate_caches()
    if not (package := missing_venv_module()):
        return
    if not has_apt():
        raise TaskError(f"{sys.executable} has no ensurepip; install its venv package.")
    raise TaskError(
        f"Without {package[0]} Python makes no environment: install what is missing "
        "with the line above, then run this again."
    )


# -- the environment ------------------------------------------------------------------
def project() -> dict[str, Any]:
    """Read pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def requirements(*groups: str) -> list[str]:
    """List what the packages, their extras and some development groups require."""
    table = project()
    wanted = [*table["project"]["dependencies"]]
    for extra in EXTRAS:
        wanted += table["project"]["optional-dependencies"][extra]
    for group in groups:
        wanted += table["dependency-groups"][group]
    return wanted


def pinned(name: str) -> str:
    """Return `name==version` as the constraints file has it."""
    for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{name}=="):
            return line.strip()
    raise TaskError(f"constraints.txt has no line for {name}.")


def recipe() -> dict[str, object]:
    """Everything that an environment was made from; another recipe, another set-up."""
    files = [ROOT / "pyproject.toml", CONSTRAINTS, Path(__file__)]
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in files))
    return {
        "files": digest.hexdigest(),
        "python": platform.python_version(),
        "folder": str(ROOT),
    }


def read_stamp() -> dict[str, object]:
    """Read what the last complete set-up left, nothing where there was none."""
    if not STAMP.exists() or not PYTHON.exists():
        return {}
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return stamp if isinstance(stamp, dict) else {}


def was_moved(stamp: dict[str, object]) -> bool:
    """Whether the environment was made elsewhere: its commands know that place."""
    recorded = stamp.get("recipe")
    return isinstance(recorded, dict) and recorded.get("folder") != str(ROOT)


def write_stamp(**content: object) -> None:
    """Leave the stamp, whole or not at all."""
    partial = STAMP.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    partial.replace(STAMP)


def clean_environment() -> dict[str, str]:
    """Return the environment without what would lead Python or pip elsewhere.

    Nor what forbids compiled files: PyTorch would be compiled anew at every start.
    """
    drop = {"PYTHONPATH", "PYTHONHOME", "PIP_USER", "PIP_TARGET", "PIP_PREFIX"}
    drop.add("PYTHONDONTWRITEBYTECODE")
    kept = {key: value for key, value in os.environ.items() if key not in drop}
    return {**kept, "PYTHONNOUSERSITE": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def logged(command: list[str]) -> bool:
    """Run a long command into the log, with a sign of life every 15 seconds."""
    start = time.monotonic()
    with LOG.open("a", encoding="utf-8") as log:
        log.write(f"\n$ {' '.join(command)}\n")
        log.flush()
        running = subprocess.Popen(
            command, cwd=ROOT, env=clean_environment(), stdout=log, stderr=log
        )
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return running.wait(timeout=15) == 0
                say(f"    … {time.monotonic() - start:.0f} s: {last_log_line()}")
        finally:
            if running.poll() is None:
                running.terminate()
                running.wait()


def last_log_line() -> str:
    """Return the newest line of the log that says something, cut to fit a screen."""
    lines = LOG.read_text(encoding="utf-8", errors="replace").splitlines()
    said = [line.strip() for line in lines[-50:] if line.strip()]
    useful = [
        line
        for line in said
        if not line.startswith(("WARNING", "DEPRECATION", "━", "$"))
    ]
    return useful[-1][:70] if useful else ""


def pip_install(*arguments: str) -> bool:
    """Install into the environment, held to the constraints; False where that failed.

    Without compiling: Python does that for what is imported, when it is.
    """
    options = ["--no-input", "--no-compile", "-c", str(CONSTRAINTS)]
    return logged([str(PYTHON), "-m", "pip", "install", *options, *arguments])


def install(*arguments: str) -> None:
    """Install, or stop and say why not."""
    if not pip_install(*arguments):
        tail = LOG.read_text(encoding="utf-8", errors="replace").splitlines()[-25:]
        raise TaskError("\n".join([*tail, f"pip failed; its whole log is {LOG}"]))


def has_nvidia_gpu() -> bool:
    """Whether there is an NVIDIA GPU with a driver that answers."""
    if (tool := shutil.which("nvidia-smi")) is None:
        return False
    listed = subprocess.run([tool, "-L"], capture_output=True, text=True, check=False)
    return listed.returncode == 0 and "GPU" in listed.stdout


def can_reach(url: str, timeout_s: float = 5.0) -> bool:
    """Whether a server answers soon, directly or through the configured proxy."""
    outcome: list[bool] = []

    def knock() -> None:
        try:
            request = urllib.request.Request(url, method="HEAD")
            urllib.request.urlopen(request, timeout=timeout_s).close()
        except urllib.error.HTTPError:
            pass  # it answered, if only to refuse a HEAD
        except urllib.error.URLError as error:
            # A bare machine has no certificates; pip brings its own.
            if not isinstance(error.reason, ssl.SSLError):
                return
        except OSError:
            return
        outcome.append(True)

    # In a thread, because looking up a name has no timeout of its own.
    thread = threading.Thread(target=knock, daemon=True)
    thread.start()
    thread.join(timeout_s)
    return bool(outcome)


def ensure_torch() -> None:
    """Install torch: a CPU build where there is one, unless an NVIDIA GPU is found.

    A bare `pip install torch` on Linux brings gigabytes of CUDA.
    """
    torch = pinned("torch")
    if has_version("torch", torch.partition("==")[2]):
        return
    with step(f"PyTorch ({torch})"):
        if has_nvidia_gpu():
            say("    an NVIDIA GPU is here: the build with CUDA, about 3 GB")
            install(torch)
        elif sys.platform == "darwin":
            install(torch)
        elif pip_install(f"{torch}+cpu"):
            say("    the CPU build of the configured package index")
        elif can_reach(f"{CPU_WHEELS}/torch/"):
            say("    PyTorch's own CPU build, about 200 MB")
            install("--no-deps", "--index-url", CPU_WHEELS, f"{torch}+cpu")
        else:
            say(f"    {CPU_WHEELS} does not answer; taking what pip has")
            install(torch)


def has_version(package: str, version: str) -> bool:
    """Whether the environment holds a version of a package, of whatever build."""
    code = f"from importlib.metadata import version; print(version({package!r}))"
    found = subprocess.run(
        [PYTHON, "-c", code], capture_output=True, text=True, check=False
    )
    return found.stdout.strip().partition("+")[0] == version


def make_environment(fresh: bool) -> None:
    """Make .venv where there is none that works, or anew."""
    if PYTHON.exists() and not fresh:
        asked = [str(PYTHON), "-m", "pip", "--version"]
        if subprocess.run(asked, capture_output=True, check=False).returncode == 0:
            return
    require_venv_module()
    with step(f"A new environment in {VENV.name}"):
        command = [sys.executable, "-m", "venv", "--clear", str(VENV)]
        if subprocess.run(command, check=False).returncode != 0:
            raise TaskError(f"{' '.join(command)} failed.")


def install_everything() -> None:
    """Bring the environment in line with pyproject.toml; what is right stays."""
    ensure_torch()
    with step("Packages: napari, Qt, Jupyter and 200 more (minutes the first time)"):
        install(*requirements("dev"))
    with step("OmniMouse Studio itself, editable"):
        install("--no-deps", "--no-build-isolation", "-e", str(ROOT))


def works() -> bool:
    """Whether the environment imports what matters."""
    proof = subprocess.run(
        [PYTHON, "-c", PROOF],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if proof.returncode != 0:
        say(f"    it does not import: {(proof.stderr.strip() or '?').splitlines()[-1]}")
    return proof.returncode == 0


def setup() -> None:
    """Bring system and environment up to date; a second when they are."""
    stamp, wanted = read_stamp(), recipe()
    if stamp.get("recipe") == wanted and not stamp.get("missing"):
        return
    missing = ensure_libraries()
    if stamp.get("recipe") != wanted:
        make_environment(fresh=was_moved(stamp))
        STAMP.unlink(missing_ok=True)
        install_everything()
        if not works():
            say("    an earlier run may have been interrupted: once more from nothing")
            make_environment(fresh=True)
            install_everything()
            if not works():
                raise TaskError(f"The environment still does not work; see {LOG}.")
        say(f"    set up in {VENV.name}; python3 tasks.py setup checks it in a second")
    write_stamp(recipe=wanted, missing=missing)


# -- running things in it -------------------------------------------------------------
def tool(name: str) -> str:
    """Path of a command that lives in the environment."""
    return str(BIN / (f"{name}.exe" if os.name == "nt" else name))


def gui_environment(scratch: str) -> dict[str, str]:
    """Settings for Qt that leave the user's own napari settings alone."""
    runtime = Path(scratch) / "runtime"
    runtime.mkdir(mode=0o700)
    return {
        **clean_environment(),
        "QT_API": "pyqt6",
        "PYTEST_QT_API": "pyqt6",
        "XDG_RUNTIME_DIR": str(runtime),
        "XDG_CONFIG_HOME": str(Path(scratch) / "config"),
        "NAPARI_CONFIG": str(Path(scratch) / "napari" / "settings.yaml"),
    }


def can_open_window(env: dict[str, str]) -> bool:
    """Whether Qt starts with these settings: the only sure test of a display."""
    code = "from qtpy.QtWidgets import QApplication; QApplication([])"
    started = subprocess.run(
        [PYTHON, "-c", code], env=env, capture_output=True, check=False
    )
    return started.returncode == 0


@contextlib.contextmanager
def virtual_screen() -> Iterator[dict[str, str]]:
    """Start Xvfb on a free display, and give the settings that lead Qt to it.

    On Windows and macOS, which have a screen of their own, there is nothing to do.
    """
    if sys.platform != "linux":
        yield {}
        return
    if (server := shutil.which("Xvfb")) is None:
        raise TaskError(f"Xvfb is missing. On Debian or Ubuntu: {apt_line(LIBRARIES)}")
    read, write = os.pipe()
    command = [server, "-displayfd", str(write), "-screen", "0", "1600x1000x24"]
    running = subprocess.Popen(
        [*command, "-nolisten", "tcp", "-noreset"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    try:
        with os.fdopen(read) as pipe:
            number = pipe.readline().strip()
        if not number:
            raise TaskError(f"{server} did not start.")
        yield {"DISPLAY": f":{number}", "QT_QPA_PLATFORM": "xcb"}
    finally:
        running.terminate()
        running.wait()


def demo(*arguments: str) -> int:
    """Open the demo, or leave its report in demo_report/ where there is no display."""
    command = [tool("omnimouse"), "demo", *arguments]
    env = {**clean_environment(), "QT_API": "pyqt6"}
    if "--headless" not in arguments:
        if can_open_window(env):
            return subprocess.run(command, env=env, check=False).returncode
        say("==> No display: the demo runs under Xvfb and leaves demo_report/")
        command += ["--headless", str(ROOT / "demo_report")]
    with tempfile.TemporaryDirectory(prefix="omnimouse-") as scratch:
        env = gui_environment(scratch)
        with virtual_screen() as screen:
            env |= screen
            if not can_open_window(env):
                raise TaskError(f"Qt cannot start. Missing? {apt_line(LIBRARIES)}")
            return subprocess.run(command, env=env, check=False).returncode


def notebook(*arguments: str) -> int:
    """Open JupyterLab on the notebooks, for this machine only and with a token."""
    command = [str(PYTHON), "-m", "jupyterlab", "--ServerApp.ip=127.0.0.1"]
    command += [f"--ServerApp.root_dir={ROOT / 'notebooks'}", *arguments]
    command += ["--allow-root"] * is_root()
    return subprocess.run(command, env=clean_environment(), check=False).returncode


def checks() -> dict[str, list[str]]:
    """Name each check and its command."""
    return {
        "ruff check": [tool("ruff"), "check", "."],
        "ruff format": [tool("ruff"), "format", "--check", "."],
        "mypy": [tool("mypy")],
        "import contracts": [tool("lint-imports"), "--no-cache"],
        "napari manifest": [tool("npe2"), "validate", "omnimouse-app"],
    }


def run_all(commands: dict[str, list[str]], env: dict[str, str]) -> int:
    """Run each command, all of them, and sum up; 1 where any failed."""
    failed = []
    for name, command in commands.items():
        with step(name):
            done = subprocess.run(command, cwd=ROOT, env=env, check=False)
            if done.returncode != 0:
                failed.append(f"{name} (exit status {done.returncode})")
    say(f"==> FAILED: {', '.join(failed)}" if failed else "==> all passed")
    return 1 if failed else 0


def check(*_: str) -> int:
    """Run the checks without the tests."""
    return run_all(checks(), clean_environment())


def run_side_by_side(commands: dict[str, list[str]], env: dict[str, str]) -> int:
    """Run all at once and show what each printed, the last one's as it comes."""
    *behind, (name, command) = commands.items()
    with contextlib.ExitStack() as stack:
        started = []
        for quiet, words in behind:
            log = stack.enter_context(tempfile.TemporaryFile())
            process = stack.enter_context(
                subprocess.Popen(words, cwd=ROOT, env=env, stdout=log, stderr=log)
            )
            stack.callback(process.terminate)
            started.append((quiet, process, log))
        failed = run_all({name: command}, env) != 0
        for quiet, process, log in started:
            with step(f"{quiet}, meanwhile"):
                failed |= process.wait() != 0
                log.seek(0)
                say(log.read().decode(errors="replace").rstrip())
    say("==> FAILED" if failed else "==> all passed")
    return int(failed)


def test(*arguments: str) -> int:
    """Run every check and every test but the GPU ones, each process on its own screen.

    The checks run beside the tests. `--quick` leaves out the checks, windows, browsers,
    child processes, checks of shapes and what takes more than a second. What follows
    goes to pytest.
    """
    is_quick = "--quick" in arguments
    for_pytest = [word for word in arguments if word != "--quick"]
    pytest = [str(PYTHON), "-m", "pytest", "-rs", "-n", str(N_TEST_PROCESSES)]
    pytest += ["--no-loadscope-reorder"]  # tests/conftest.py puts the longest first
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="omnimouse-"))
        env = gui_environment(scratch)
        env["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", "1")
        # Generated demo recordings stay between runs, and out of the user's cache.
        env.setdefault("OMNIMOUSE_CACHE", str(VENV / "omnimouse-cache"))
        if is_quick:
            if not any(Path(word.split("::")[0]).exists() for word in for_pytest):
                for_pytest.append("tests/model")
            return run_all({"quick tests": [*pytest, "-m", QUICK, *for_pytest]}, env)
        ensure_browser()
        screens = [
            stack.enter_context(virtual_screen()) for _ in range(N_TEST_PROCESSES)
        ]
        env |= screens[0]
        env["OMNIMOUSE_TEST_DISPLAYS"] = " ".join(
            screen["DISPLAY"] for screen in screens if screen
        )
        checking = [str(PYTHON), str(ROOT / "tasks.py"), "check"]
        tests = [*pytest, SHAPE_CHECKS, "-m", "not gpu", *for_pytest]
        return run_side_by_side({"checks": checking, "tests": tests}, env)


def pyside6(*arguments: str) -> int:
    """Run the tests of panels and windows with the other Qt binding.

    It lies beside the environment: with both inside, users of it could get either.
    """
    beside = VENV / "pyside6"
    with step("PySide6, beside the environment"):
        names = [pinned(name) for name in ("pyside6-essentials", "shiboken6")]
        install("--no-deps", "--upgrade", "--target", str(beside), *names)
    windows = [] if any(Path(a.split("::")[0]).exists() for a in arguments) else WINDOWS
    pytest = [str(PYTHON), "-m", "pytest", "-m", "not gpu", *windows, *arguments]
    with tempfile.TemporaryDirectory(prefix="omnimouse-") as scratch:
        env = gui_environment(scratch)
        env |= {"QT_API": "pyside6", "PYTEST_QT_API": "pyside6"}
        env |= {"PYTHONPATH": str(beside), "OMP_NUM_THREADS": "1"}
        with virtual_screen() as screen:
            return run_all({"tests with PySide6": pytest}, env | screen)


def tidy(*_: str) -> int:
    """Let ruff mend what it can, and lay the code out."""
    mend = [tool("ruff"), "check", "--fix", "."]
    layout = [tool("ruff"), "format", "."]
    return run_all({"ruff": mend, "layout": layout}, clean_environment())


def docs(*arguments: str) -> int:
    """Build the documentation into site/, broken links being errors."""
    with step("Packages for the documentation"):
        install(*project()["dependency-groups"]["docs"])
    build = [str(PYTHON), "-m", "mkdocs", "build", "--strict", *arguments]
    return run_all({"documentation": build}, clean_environment())


def figures(*arguments: str) -> int:
    """Run the commands that documents name above their tables; minutes each."""
    measure = [str(PYTHON), str(ROOT / "docs" / "figures.py"), *arguments]
    return run_all({"figures": measure}, clean_environment())


TASKS: dict[str, Callable[..., int]] = {
    "setup": lambda *_: 0,
    "demo": demo,
    "notebook": notebook,
    "test": test,
    "pyside6": pyside6,
    "check": check,
    "format": tidy,
    "docs": docs,
    "figures": figures,
}


def main(arguments: list[str]) -> int:
    """Set up, then run the task that was asked for."""
    if not arguments or arguments[0] not in TASKS:
        say((__doc__ or "").strip())
        return 0 if arguments in (["-h"], ["--help"]) else 2
    try:
        setup()
        return TASKS[arguments[0]](*arguments[1:])
    except TaskError as error:
        say(f"tasks.py: {error}")
        return 1
    except KeyboardInterrupt:
        say("tasks.py: stopped; the next run goes on from here")
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
