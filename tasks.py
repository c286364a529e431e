#!/usr/bin/env python3
"""Tasks of this project: set-up, demo, tests, checks, documentation.

Uses only the standard library, and is one file of more than 600 lines, because it runs
before any package of the project can be imported. Every task first runs the set-up.

python3 tasks.py setup     create .venv with all packages (1 s if it is up to date)
python3 tasks.py demo      open the demo in napari; without a display, write a report
python3 tasks.py notebook  open JupyterLab on notebooks/ in your browser
python3 tasks.py test      run all checks and all tests except the GPU tests;
                           test --quick: the fast tests of the library, in a minute
python3 tasks.py pyside6   run the tests of panels and windows with PySide6
python3 tasks.py floors    run the quick tests with the lowest versions of all packages
python3 tasks.py newest    run the quick tests with the newest versions
python3 tasks.py check     run the checks without the tests
python3 tasks.py format    format the code with ruff
python3 tasks.py docs      build the documentation in site/
python3 tasks.py figures   rerun the commands that make the tables of the documentation

Further arguments are passed on: `python3 tasks.py test -k masks`.
"""

import sys

if sys.version_info < (3, 11):
    sys.exit(
        "OmniMouse Studio needs Python 3.11 or newer; this is "
        f"{sys.version.split()[0]} ({sys.executable}).\n"
        "Use a newer version, for example: python3.11 tasks.py demo"
    )

import contextlib
import functools
import hashlib
import importlib.util
import json
import os
import platform
import runpy
import shutil
import signal
import ssl
import subprocess
import tempfile
import threading
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
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
    *("analysis", "train", "video", "cebra"),
)
WINDOW_TESTS = ["tests/widgets", "tests/app", "tests/test_soak_window.py"]
N_TEST_PROCESSES = max(2, min(os.cpu_count() or 2, 6))
# Checks the array shapes that jaxtyping declares. They cost time, so the full run has
# them for the quick tests of the library, and `--quick` for none.
SHAPE_CHECKS = "--jaxtyping-packages=omnimouse_model,beartype.beartype"
# Plugins of pytest are named, because otherwise it imports all that are installed into
# each process, which takes seconds, for example napari's.
PLUGINS = ("xdist", "_hypothesis_pytestplugin", "jaxtyping._pytest_plugin")
WINDOW_PLUGINS = (*PLUGINS, "pytestqt.plugin", "random_order.plugin")
TEST_LIMIT_S = 35 * 60
"""Several times what all tests of one command take on two slow cores."""
SUITE = "not gpu and not acceptance"
QUICK = f"{SUITE} and not slow and not process and not gui and not browser"
LIBRARY_TESTS = "tests/model"
CHECKED = f"{QUICK} and library"
CONSTRAINTS = ROOT / "constraints.txt"
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"
# System packages that Qt and software OpenGL need on a minimal Debian or Ubuntu.
LIBRARIES = (ROOT / "omnimouse_app" / "system_libraries.txt").read_text().split()
# Browser for the tests of notebooks: a package on Debian, a snap on Ubuntu.
BROWSER = ["chromium", "fonts-dejavu-core"]
# Imported once after an installation, because an interrupted run may leave packages
# that are installed in part.
IMPORT_TEST = (
    "import anywidget, click, jupyterlab, napari, numpy, plotly, psygnal, PyQt6, "
    "scipy, torch, vispy, zarr"
)


class TaskError(Exception):
    """Error that ends a task; the message is for the user."""


def say(text: str) -> None:
    """Print text without buffering, also into a pipe."""
    print(text, flush=True)


@contextlib.contextmanager
def step(title: str) -> Iterator[None]:
    """Print the title of a step, then its duration."""
    say(f"==> {title}")
    start = time.monotonic()
    yield
    say(f"    done in {time.monotonic() - start:.1f} s")


# -- system packages ------------------------------------------------------------------
def is_root() -> bool:
    """Whether this process may install system packages."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def has_apt() -> bool:
    """Whether this is Debian, Ubuntu or a derivative of them."""
    return shutil.which("apt-get") is not None and shutil.which("dpkg-query") is not None


def missing_libraries() -> list[str]:
    """Return the names of missing system packages; an empty list without apt.

    They include Python's venv module if the environment does not exist yet.
    """
    if not has_apt():
        return []
    venv_module = [] if PYTHON.exists() else missing_venv_module()
    # Ubuntu 24.04 renamed some packages to …t64.
    names = [name + suffix for name in LIBRARIES for suffix in ("", "t64")]
    query = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n", *names],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = (line.split() for line in query.stdout.splitlines())
    installed = {line[1].removesuffix("t64") for line in lines if line[0] == "installed"}
    return [name for name in LIBRARIES if name not in installed] + venv_module


def apt_command(packages: list[str]) -> str:
    """Return the shell command that installs packages."""
    names = " ".join(packages)
    install = f"sudo apt-get install -y --no-install-recommends {names}"
    return f"sudo apt-get update && {install}"


def apt_install(packages: list[str]) -> bool:
    """Install packages as root; otherwise print the command and return False."""
    if not is_root():
        say(f"    missing: {' '.join(packages)}")
        say(f"    install them with: {apt_command(packages)}")
        return False
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    subprocess.run(["apt-get", "update", "-qq"], env=env, check=False)
    if subprocess.run(install, env=env, check=False).returncode == 0:
        return True
    say(f"    apt-get failed; install them with: {apt_command(packages)}")
    return False


def ensure_libraries() -> list[str]:
    """Install the system packages and return those that are still missing."""
    if not (missing := missing_libraries()):
        return []
    with step(f"System libraries ({len(missing)} missing)"):
        apt_install(missing)
    return missing_libraries()


def ensure_browser() -> None:
    """Install Chromium for the tests of notebooks if no browser is found."""
    code = "from tests.bench.browser import chromium; chromium.find_chromium()"
    search = subprocess.run(
        [PYTHON, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if search.returncode == 0:
        return
    with step("Browser for the tests of notebooks"):
        if not (has_apt() and apt_install(BROWSER)):
            say("    these tests are skipped: install Chromium or Google Chrome")


def missing_venv_module() -> list[str]:
    """Return the package of Python's venv module if it is missing.

    Debian ships this module of the standard library in a separate package.
    """
    if importlib.util.find_spec("ensurepip") is not None:
        return []
    return [f"python{sys.version_info.major}.{sys.version_info.minor}-venv"]


def require_venv_module() -> None:
    """Raise an error if Python cannot create an environment."""
    importlib.invalidate_caches()
    if not (package := missing_venv_module()):
        return
    if not has_apt():
        raise TaskError(f"{sys.executable} has no ensurepip; install its venv package.")
    raise TaskError(
        f"Python cannot create an environment without {package[0]}: install it with "
        "the command above, then run this command again."
    )


# -- the environment ------------------------------------------------------------------
def project() -> dict[str, Any]:
    """Read pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def requirements(*groups: str) -> list[str]:
    """Return the requirements of the packages, EXTRAS and some dependency groups."""
    table = project()
    lines = [*table["project"]["dependencies"]]
    for extra in EXTRAS:
        lines += table["project"]["optional-dependencies"][extra]
    for group in groups:
        lines += table["dependency-groups"][group]
    return lines


def pinned(name: str) -> str:
    """Return `name==version` from the constraints file."""
    for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{name}=="):
            return line.strip()
    raise TaskError(f"constraints.txt has no line for {name}.")


def recipe() -> dict[str, object]:
    """Return everything that determines the environment; a change repeats set-up."""
    files = [ROOT / "pyproject.toml", CONSTRAINTS, Path(__file__)]
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in files))
    return {
        "files": digest.hexdigest(),
        "python": platform.python_version(),
        "folder": str(ROOT),
    }


def read_stamp() -> dict[str, object]:
    """Read the stamp of the last complete set-up; empty if there is none."""
    if not STAMP.exists() or not PYTHON.exists():
        return {}
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return stamp if isinstance(stamp, dict) else {}


def was_moved(stamp: dict[str, object]) -> bool:
    """Whether the checkout was moved; the commands in .venv contain its old path."""
    recorded = stamp.get("recipe")
    return isinstance(recorded, dict) and recorded.get("folder") != str(ROOT)


def write_stamp(**content: object) -> None:
    """Write the stamp in one step, so that it is never incomplete."""
    partial = STAMP.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    partial.replace(STAMP)


def clean_environment() -> dict[str, str]:
    """Return the environment variables without those that redirect Python or pip.

    PYTHONDONTWRITEBYTECODE is removed as well: with it, Python would compile the
    files of PyTorch again at every start.
    """
    removed = {"PYTHONPATH", "PYTHONHOME", "PIP_USER", "PIP_TARGET", "PIP_PREFIX"}
    removed.add("PYTHONDONTWRITEBYTECODE")
    env = {key: value for key, value in os.environ.items() if key not in removed}
    return {**env, "PYTHONNOUSERSITE": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def run_logged(command: list[str]) -> bool:
    """Run a command with its output in the log; print the progress every 15 s."""
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
    """Return the last informative line of the log, at most 70 characters."""
    lines = LOG.read_text(encoding="utf-8", errors="replace").splitlines()
    texts = [line.strip() for line in lines[-50:] if line.strip()]
    noise = ("WARNING", "DEPRECATION", "━", "$")
    informative = [text for text in texts if not text.startswith(noise)]
    return informative[-1][:70] if informative else ""


def pip_install(*arguments: str) -> bool:
    """Install into the environment in the pinned versions; return False on failure.

    `--no-compile` saves time: `install_everything` compiles on all cores.
    """
    options = ["--no-input", "--no-compile", "-c", str(CONSTRAINTS)]
    return run_logged([str(PYTHON), "-m", "pip", "install", *options, *arguments])


def install(*arguments: str) -> None:
    """Install into the environment; raise an error with the end of the log."""
    if not pip_install(*arguments):
        tail = LOG.read_text(encoding="utf-8", errors="replace").splitlines()[-25:]
        raise TaskError("\n".join([*tail, f"pip failed; the complete log is {LOG}"]))


def has_nvidia_gpu() -> bool:
    """Whether there is an NVIDIA GPU with a working driver."""
    if (tool := shutil.which("nvidia-smi")) is None:
        return False
    listing = subprocess.run([tool, "-L"], capture_output=True, text=True, check=False)
    return listing.returncode == 0 and "GPU" in listing.stdout


def can_reach(url: str, timeout_s: float = 5.0) -> bool:
    """Whether a server replies in time, directly or through the configured proxy."""
    replies: list[bool] = []

    def send_request() -> None:
        try:
            request = urllib.request.Request(url, method="HEAD")
            urllib.request.urlopen(request, timeout=timeout_s).close()
        except urllib.error.HTTPError:
            pass  # an error status is also a reply
        except urllib.error.URLError as error:
            # A minimal system has no certificates; pip has its own.
            if not isinstance(error.reason, ssl.SSLError):
                return
        except OSError:
            return
        replies.append(True)

    # In a thread, because the look-up of a host name has no timeout.
    thread = threading.Thread(target=send_request, daemon=True)
    thread.start()
    thread.join(timeout_s)
    return bool(replies)


def ensure_torch() -> None:
    """Install torch: a CPU build unless an NVIDIA GPU is found.

    On Linux, `pip install torch` alone downloads several gigabytes of CUDA.
    """
    torch = pinned("torch")
    if has_version("torch", torch.partition("==")[2]):
        return
    with step(f"PyTorch ({torch})"):
        if has_nvidia_gpu():
            say("    NVIDIA GPU found: installing the CUDA build, about 3 GB")
            install(torch)
        elif sys.platform == "darwin":
            install(torch)
        elif pip_install(f"{torch}+cpu"):
            say("    installed the CPU build of the configured package index")
        elif can_reach(f"{CPU_WHEELS}/torch/"):
            say("    installing the CPU build of pytorch.org, about 200 MB")
            install("--no-deps", "--index-url", CPU_WHEELS, f"{torch}+cpu")
        else:
            say(f"    {CPU_WHEELS} cannot be reached: installing the default build")
            install(torch)


def has_version(package: str, version: str) -> bool:
    """Whether the environment contains this version of a package, in any build."""
    code = f"from importlib.metadata import version; print(version({package!r}))"
    query = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=False)
    return query.stdout.strip().partition("+")[0] == version


def create_environment(is_fresh: bool) -> None:
    """Create .venv if it is missing or broken; with `is_fresh`, always."""
    if PYTHON.exists() and not is_fresh:
        pip_test = [str(PYTHON), "-m", "pip", "--version"]
        if subprocess.run(pip_test, capture_output=True, check=False).returncode == 0:
            return
    require_venv_module()
    with step(f"New environment in {VENV.name}"):
        command = [sys.executable, "-m", "venv", "--clear", str(VENV)]
        if subprocess.run(command, check=False).returncode != 0:
            raise TaskError(f"{' '.join(command)} failed.")


def install_everything() -> None:
    """Install the requirements of pyproject.toml that are missing or outdated."""
    ensure_torch()
    with step("Packages: napari, Qt, Jupyter and 200 more (minutes on the first run)"):
        install(*requirements("dev"))
    with step("OmniMouse Studio, editable"):
        install("--no-deps", "--no-build-isolation", "-e", str(ROOT))
    # On all cores; pip would use one. A few packages contain files of other versions of
    # Python, which are never imported: their syntax errors would only worry the reader.
    with step("Byte code, for a fast first start"):
        run_logged([str(PYTHON), "-m", "compileall", "-qq", "-j", "0", str(VENV)])


def has_working_packages() -> bool:
    """Whether the main packages of the environment can be imported."""
    imports = subprocess.run(
        [PYTHON, "-c", IMPORT_TEST],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if imports.returncode != 0:
        error = (imports.stderr.strip() or "?").splitlines()[-1]
        say(f"    the packages cannot be imported: {error}")
    return imports.returncode == 0


def setup() -> None:
    """Install missing system packages and bring the environment up to date."""
    stamp, current = read_stamp(), recipe()
    if stamp.get("recipe") == current and not stamp.get("missing"):
        return
    missing = ensure_libraries()
    if stamp.get("recipe") != current:
        create_environment(is_fresh=was_moved(stamp))
        STAMP.unlink(missing_ok=True)
        install_everything()
        if not has_working_packages():
            say("    installing again into a new environment")
            create_environment(is_fresh=True)
            install_everything()
            if not has_working_packages():
                raise TaskError(f"The environment still does not work; see {LOG}.")
        say(f"    set-up of {VENV.name} is complete")
    write_stamp(recipe=current, missing=missing)


# -- tasks that run in the environment ------------------------------------------------
def tool(name: str) -> str:
    """Return the path of a command of the environment."""
    return str(BIN / (f"{name}.exe" if os.name == "nt" else name))


def gui_environment(scratch: str) -> dict[str, str]:
    """Return variables for Qt and napari, with settings in a scratch folder.

    The napari settings of the user are neither read nor changed.
    """
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
    """Whether Qt starts with these variables; only this proves that a display works."""
    code = "from qtpy.QtWidgets import QApplication; QApplication([])"
    application = subprocess.run([PYTHON, "-c", code], env=env, capture_output=True, check=False)
    return application.returncode == 0


@contextlib.contextmanager
def virtual_screen() -> Iterator[dict[str, str]]:
    """Start Xvfb on a free display; yield the variables that make Qt use it.

    Does nothing on Windows and macOS, which always have a display.
    """
    if sys.platform != "linux":
        yield {}
        return
    # The file alone: its package may not be installed.
    screen = runpy.run_path(str(ROOT / "omnimouse_app" / "window" / "screen.py"))
    with contextlib.ExitStack() as stack:
        try:
            variables = stack.enter_context(screen["virtual_display"]())
        except OSError as error:
            raise TaskError(f"{error} On Debian or Ubuntu: {apt_command(LIBRARIES)}") from error
        yield variables


def demo(*arguments: str) -> int:
    """Open the demo; without a display, write its report to demo_report/."""
    command = [tool("omnimouse"), "demo", *arguments]
    env = {**clean_environment(), "QT_API": "pyqt6"}
    if "--headless" not in arguments:
        if can_open_window(env):
            return subprocess.run(command, env=env, check=False).returncode
        say("==> No display: the demo runs under Xvfb and writes demo_report/")
        command += ["--headless", str(ROOT / "demo_report")]
    with tempfile.TemporaryDirectory(prefix="omnimouse-") as scratch:
        env = gui_environment(scratch)
        with virtual_screen() as screen:
            env |= screen
            if not can_open_window(env):
                raise TaskError(f"Qt cannot start. Install its libraries: {apt_command(LIBRARIES)}")
            return subprocess.run(command, env=env, check=False).returncode


def notebook(*arguments: str) -> int:
    """Open JupyterLab on the notebooks, with a token and for this machine only."""
    command = [str(PYTHON), "-m", "jupyterlab", "--ServerApp.ip=127.0.0.1"]
    command += [f"--ServerApp.root_dir={ROOT / 'notebooks'}", *arguments]
    command += ["--allow-root"] * is_root()
    return subprocess.run(command, env=clean_environment(), check=False).returncode


def checks() -> dict[str, list[str]]:
    """Return the command of each check, by name."""
    return {
        "ruff check": [tool("ruff"), "check", "."],
        "ruff format": [tool("ruff"), "format", "--check", "."],
        "mypy": [tool("mypy")],
        "import contracts": [tool("lint-imports"), "--no-cache"],
        "napari manifest": [tool("npe2"), "validate", "omnimouse-app"],
    }


def run_all(
    commands: dict[str, list[str]], env: dict[str, str], limit_s: float | None = None
) -> int:
    """Run all commands, one after the other; return 1 if any of them failed.

    A command that takes longer than the limit in seconds is killed, and has failed.
    """
    failed = []
    for name, command in commands.items():
        with step(name):
            try:
                done = subprocess.run(command, cwd=ROOT, env=env, check=False, timeout=limit_s)
                reason = f"exit status {done.returncode}" if done.returncode else ""
            except subprocess.TimeoutExpired:
                reason = f"killed after {limit_s:,.0f} s"
            if reason:
                failed.append(f"{name} ({reason})")
    say(f"==> FAILED: {', '.join(failed)}" if failed else "==> all passed")
    return 1 if failed else 0


def kill_orphans(scratch: str) -> None:
    """Kill processes that tests left behind: those whose environment has the folder (Linux).

    Such a process keeps the output of this one open, and whoever waits for the end of
    that output would wait for ever.
    """
    for folder in Path("/proc").glob("[0-9]*"):
        number = int(folder.name)
        with contextlib.suppress(OSError):
            if number != os.getpid() and os.fsencode(scratch) in (folder / "environ").read_bytes():
                name = (folder / "comm").read_text().strip()
                os.kill(number, signal.SIGKILL)
                say(f"    killed {name} ({number}), which outlived its test")


def check(*_: str) -> int:
    """Run the checks without the tests."""
    return run_all(checks(), clean_environment())


def run_parallel(commands: dict[str, list[str]], env: dict[str, str]) -> int:
    """Run commands at the same time; print the output of the last one as it comes."""
    *background, (name, command) = commands.items()
    with contextlib.ExitStack() as stack:
        processes = []
        for background_name, background_command in background:
            log = stack.enter_context(tempfile.TemporaryFile())
            process = stack.enter_context(
                subprocess.Popen(background_command, cwd=ROOT, env=env, stdout=log, stderr=log)
            )
            stack.callback(process.terminate)
            processes.append((background_name, process, log))
        failed = run_all({name: command}, env, TEST_LIMIT_S) != 0
        for background_name, process, log in processes:
            with step(f"{background_name} (ran at the same time)"):
                failed |= process.wait() != 0
                log.seek(0)
                say(log.read().decode(errors="replace").rstrip())
    say("==> FAILED" if failed else "==> all passed")
    return int(failed)


def named_plugins(names: Iterable[str]) -> list[str]:
    """Return the options of pytest that load the named plugins."""
    return [word for name in names for word in ("-p", name)]


def test(*arguments: str) -> int:
    """Run all checks, and all tests except the GPU tests.

    The checks run at the same time as the tests. Each process of tests has its own
    virtual screen. `--quick` omits the checks and the checks of array shapes, and tests
    that use windows, browsers or child processes or take more than a third of a second.
    Other arguments are passed to pytest.

    Quick tests of the library run first, with the checks of array shapes; the others
    without them.
    """
    is_quick = "--quick" in arguments
    options = [word for word in arguments if word != "--quick"]
    pytest = [str(PYTHON), "-m", "pytest", "-rs", "-n", str(N_TEST_PROCESSES)]
    pytest += ["--no-loadscope-reorder"]  # tests/conftest.py sorts the longest first
    library = [*pytest, *named_plugins(PLUGINS)]
    complete = [*pytest, *named_plugins(WINDOW_PLUGINS)]
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="omnimouse-"))
        stack.callback(kill_orphans, scratch)
        env = gui_environment(scratch)
        env["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", "1")
        env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        # Generated recordings are kept between runs, separate from the user's cache.
        env.setdefault("OMNIMOUSE_CACHE", str(VENV / "omnimouse-cache"))
        if is_quick:
            if not has_test_path(options):
                options.append(LIBRARY_TESTS)
            words = [*library, "-m", QUICK, *options]
            return run_all({"quick tests": words}, env, TEST_LIMIT_S)
        ensure_browser()
        screens = [stack.enter_context(virtual_screen()) for _ in range(N_TEST_PROCESSES)]
        env |= screens[0]
        env["OMNIMOUSE_TEST_SCREENS"] = json.dumps(screens)
        check_task = [str(PYTHON), str(ROOT / "tasks.py"), "check"]
        if options:  # some of the tests
            tests = [*complete, SHAPE_CHECKS, "-m", SUITE, *options]
            return run_parallel({"checks": check_task, "tests": tests}, env)
        library += [SHAPE_CHECKS, "-m", CHECKED, LIBRARY_TESTS]
        others = [*complete, "-m", f"{SUITE} and not ({CHECKED})"]
        failed = run_parallel({"checks": check_task, "library tests": library}, env)
        return run_all({"other tests": others}, env, TEST_LIMIT_S) or failed


def has_test_path(options: Iterable[str]) -> bool:
    """Whether one of pytest's options is an existing file or folder."""
    return any(Path(option.split("::")[0]).exists() for option in options)


def pyside6(*arguments: str) -> int:
    """Run the tests of panels and windows with PySide6.

    PySide6 is installed in a folder of its own: with both bindings in one environment,
    the choice of Qt would be undefined.
    """
    folder = VENV / "pyside6"
    with step("PySide6, in a folder of its own"):
        names = [pinned(name) for name in ("pyside6-essentials", "shiboken6")]
        install("--no-deps", "--upgrade", "--target", str(folder), *names)
    tests = [] if has_test_path(arguments) else WINDOW_TESTS
    pytest = [str(PYTHON), "-m", "pytest", "-m", SUITE, *tests, *arguments]
    with tempfile.TemporaryDirectory(prefix="omnimouse-") as scratch:
        env = gui_environment(scratch)
        env |= {"QT_API": "pyside6", "PYTEST_QT_API": "pyside6"}
        env |= {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
        with virtual_screen() as screen:
            return run_all({"tests with PySide6": pytest}, env | screen)


def versions(name: str, *arguments: str) -> int:
    """Run the quick tests in an environment of the lowest or the newest versions."""
    command = [str(PYTHON), "-m", "tests.acceptance.versions", name, *arguments]
    return run_all({name: command}, clean_environment())


def format_code(*_: str) -> int:
    """Correct and format the code with ruff."""
    fix = [tool("ruff"), "check", "--fix", "."]
    layout = [tool("ruff"), "format", "."]
    return run_all({"ruff check": fix, "ruff format": layout}, clean_environment())


def docs(*arguments: str) -> int:
    """Build the documentation in site/; a broken link is an error."""
    with step("Packages for the documentation"):
        install(*project()["dependency-groups"]["docs"])
    build = [str(PYTHON), "-m", "mkdocs", "build", "--strict", *arguments]
    return run_all({"documentation": build}, clean_environment())


def figures(*arguments: str) -> int:
    """Rerun the commands that make the tables of the documentation (minutes each)."""
    measure = [str(PYTHON), str(ROOT / "docs" / "figures.py"), *arguments]
    return run_all({"figures": measure}, clean_environment())


TASKS: dict[str, Callable[..., int]] = {
    "setup": lambda *_: 0,
    "demo": demo,
    "notebook": notebook,
    "test": test,
    "pyside6": pyside6,
    "floors": functools.partial(versions, "floors"),
    "newest": functools.partial(versions, "newest"),
    "check": check,
    "format": format_code,
    "docs": docs,
    "figures": figures,
}


def main(arguments: list[str]) -> int:
    """Run the set-up, then the task named by the first argument."""
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
        say("tasks.py: interrupted; run the same command to continue")
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
