"""Test settings that do not touch the user's files, and fast child processes."""

import ctypes
import gc
import json
import logging
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from multiprocessing import active_children
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from tests.shape_checks import use_lighter_checks

use_lighter_checks()
_SCRATCH = Path(tempfile.mkdtemp(prefix="omnimouse-tests-"))


def _separate_processes() -> None:
    """Set a separate screen and separate settings for each process of tests.

    On one screen, windows would take the keyboard focus from each other.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is None:
        return
    screens = json.loads(os.environ.get("OMNIMOUSE_TEST_SCREENS", "[{}]"))
    os.environ.update(screens[int(worker.removeprefix("gw")) % len(screens)])
    os.environ["NAPARI_CONFIG"] = str(_SCRATCH / "napari" / "settings.yaml")
    os.environ["XDG_CONFIG_HOME"] = str(_SCRATCH / "config")


_separate_processes()
for _name, _value in {
    "QT_API": "pyqt6",
    "NAPARI_CONFIG": str(_SCRATCH / "napari" / "settings.yaml"),
    "XDG_CONFIG_HOME": str(_SCRATCH / "config"),
    "OMNIMOUSE_CACHE": str(_SCRATCH / "cache"),
    "HF_HOME": str(_SCRATCH / "hub"),
    "NO_PROXY": "127.0.0.1,localhost",
    "OMP_NUM_THREADS": "1",
}.items():
    os.environ.setdefault(_name, _value)


def _one_thread() -> None:
    """Limit numpy to one thread, also if a plugin loaded it before this file.

    OpenBLAS reads OMP_NUM_THREADS when it is loaded, so the variable may be set too
    late. On a busy machine, several threads that wait for each other in a loop take
    six times as long.
    """
    numpy = sys.modules.get("numpy")
    if numpy is None or os.environ["OMP_NUM_THREADS"] != "1":
        return
    folder = Path(str(numpy.__file__)).parent.with_name("numpy.libs")
    for path in folder.glob("*openblas*"):
        library = ctypes.CDLL(str(path))
        for name in ("scipy_openblas_set_num_threads64_", "openblas_set_num_threads"):
            if hasattr(library, name):
                getattr(library, name)(1)


_one_thread()
# Searching the modules and collected tests for garbage takes a tenth of the run.
gc.set_threshold(100_000, 20, 20)

# No deadline, because the machine may be shared; derandomised, so that a failure can
# be repeated.
settings.register_profile("project", deadline=None, derandomize=True)
settings.load_profile("project")

PRELOADED = [
    *("torch", "omnimouse_model.inference.server", "tests.predictors"),
    # The first optimiser of a process imports PyTorch's compiler.
    *("torch._dynamo", "omnimouse_model.families.omnimouse.training"),
]
"""Imported once for all child processes: importing PyTorch takes seconds."""


def _fork_child_processes() -> None:
    """Fork child processes from a process that has already imported the libraries.

    The product spawns child processes, which takes seconds each. A forked process
    differs in two points: the libraries are already imported, and the environment
    variables are those of the first process. Called before any module of the library
    is imported, because one keeps its context.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return
    get_context = multiprocessing.get_context
    get_context("forkserver").set_forkserver_preload(PRELOADED)

    def forking_context(method=None):
        return get_context("forkserver" if method == "spawn" else method)

    multiprocessing.get_context = forking_context


_fork_child_processes()
LONG_GROUPS = (
    *("tests/browser", "tests/app", "tests/notebooks/test_notebooks.py"),
    "tests/model/analysis/test_finetune.py",
    "tests/model/live/models/test_finetune.py",
)
"""Folders that share one window or browser, and the longest files; these run first."""
WINDOW_FIXTURES = {"qtbot", "qapp", "make_napari_viewer", "make_napari_viewer_proxy"}
END_TIMEOUT_S = 180.0
"""Time to end for threads and processes; the first child process waits for imports."""


def pytest_itemcollected(item):
    """Mark tests that open a window as `gui`, and those of the library."""
    if WINDOW_FIXTURES & set(getattr(item, "fixturenames", ())):
        item.add_marker(pytest.mark.gui)
    if item.nodeid.startswith("tests/model/"):
        item.add_marker(pytest.mark.library)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Run the longest groups of tests first."""
    longest = {group: position for position, group in enumerate(LONG_GROUPS)}
    items.sort(key=lambda item: longest.get(group_of(item.nodeid), len(longest)))


def group_of(node_id: str) -> str:
    """Return the folder or file whose tests run together in one process."""
    path = node_id.partition("::")[0]
    folder = path.rpartition("/")[0]
    return folder if folder in LONG_GROUPS else path


def pytest_collection_finish() -> None:
    """Leave what exists now out of all later searches for garbage."""
    gc.collect()
    gc.freeze()


class GroupScheduling(LoadScopeScheduling):
    """Scheduler that distributes groups of tests; a group shares its fixtures."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return GroupScheduling(config, log)


def pytest_unconfigure() -> None:
    """Delete the scratch folder."""
    import shutil

    shutil.rmtree(_SCRATCH, ignore_errors=True)


@pytest.fixture
def root():
    """Root folder of the checkout."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory):
    """Forty neurons, four trials of four tiers, video and behaviour."""
    from tests.small_sessions import write_session

    return write_session(tmp_path_factory.mktemp("recording") / "small")


@pytest.fixture(scope="session")
def session(session_folder):
    from omnimouse_model.data.open import open_session

    return open_session(session_folder)


@pytest.fixture(scope="session")
def mouse_folder(tmp_path_factory):
    """Recordings of a known mouse and of a new one, and a model of the first."""
    from tests.model.finetune_process import write_mouse_folder

    return write_mouse_folder(tmp_path_factory.mktemp("finetuning"))


@pytest.fixture
def script(mouse_folder, monkeypatch):
    """Scripted fine-tuning in place of the process."""
    from tests.model.finetune_process import ScriptedFinetuning

    made = ScriptedFinetuning(mouse_folder)
    monkeypatch.setattr("omnimouse_model.live.models.finetune.spawn_finetune", made)
    return made


def _running() -> set[threading.Thread | BaseProcess]:
    """Return the running threads and processes of this project.

    The thread that draws notebook widgets is excluded, because it is never ended.
    """
    workers = (*threading.enumerate(), *active_children())
    own = {worker for worker in workers if worker.name.startswith("omnimouse")}
    return {worker for worker in own if worker.name != "omnimouse-draw"}


@pytest.fixture(autouse=True)
def panel_errors():
    """Errors that panels have shown; a test that expects one removes it."""
    errors: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = errors.append
    log = logging.getLogger("omnimouse_widgets.qt.style.redraw")
    log.addHandler(handler)
    yield errors
    log.removeHandler(handler)
    assert not [record.exc_info for record in errors]


@pytest.fixture(autouse=True)
def _same_torch_threads():
    """Restore the number of PyTorch's threads, which a command sets for its process.

    With two threads beside a second process of tests, a small network takes five times
    as long, in all later tests of the process.
    """
    yield
    torch = sys.modules.get("torch")
    if hasattr(torch, "set_num_threads"):  # else another thread still imports it
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


@pytest.fixture(scope="module", autouse=True)
def _no_running_workers():
    """Check that a test module ends the threads and processes that it starts."""
    before = _running()
    yield
    deadline = time.monotonic() + END_TIMEOUT_S
    while _running() - before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _running() - before
