"""Settings that leave the user's own files alone, and processes that start fast."""

import ctypes
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

_SCRATCH = Path(tempfile.mkdtemp(prefix="omnimouse-tests-"))


def _separate_processes() -> None:
    """Give each process that runs tests a screen and settings of its own.

    Windows on one screen would take the keyboard from each other.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is None:
        return
    displays = os.environ.get("OMNIMOUSE_TEST_DISPLAYS", "").split()
    if displays:
        os.environ["DISPLAY"] = displays[int(worker.removeprefix("gw")) % len(displays)]
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
    """Let numpy compute in one thread, also where a plugin loaded it before this file.

    Its library reads the variable when it is loaded, which is too late then. Several
    threads that wait for each other in a spin cost six times the time on a busy
    machine.
    """
    numpy = sys.modules.get("numpy")
    if numpy is None or os.environ["OMP_NUM_THREADS"] != "1":
        return
    beside = Path(str(numpy.__file__)).parent.with_name("numpy.libs")
    for library in beside.glob("*openblas*"):
        loaded = ctypes.CDLL(str(library))
        for name in ("scipy_openblas_set_num_threads64_", "openblas_set_num_threads"):
            if hasattr(loaded, name):
                getattr(loaded, name)(1)


_one_thread()

# A shared machine is no reason to fail, and a failure must be the same for everyone.
settings.register_profile("project", deadline=None, derandomize=True)
settings.load_profile("project")

PRELOADED = ["torch", "omnimouse_model.predict.worker.server", "tests.predictors"]
"""Imported once for all child processes: importing PyTorch takes seconds."""
LONG_GROUPS = (
    *("tests/browser", "tests/app", "tests/notebooks/test_notebooks.py"),
    "tests/model/train/finetune/test_run.py",
    "tests/model/live/models/test_finetune.py",
)
"""Folders that share one window or browser, and the longest files: they start first."""
WINDOW_FIXTURES = {"qtbot", "qapp", "make_napari_viewer", "make_napari_viewer_proxy"}
ENDS_S = 180.0
"""What was told to end has this long: the first child process waits for imports."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Mark as `gui` whatever opens a window; run the longest groups of tests first."""
    for item in items:
        if WINDOW_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.gui)
    longest = {group: position for position, group in enumerate(LONG_GROUPS)}
    items.sort(key=lambda item: longest.get(group_of(item.nodeid), len(longest)))


def group_of(node_id: str) -> str:
    """Name the folder or file whose tests one process runs in one go."""
    path = node_id.partition("::")[0]
    folder = path.rpartition("/")[0]
    return folder if folder in LONG_GROUPS else path


class GroupScheduling(LoadScopeScheduling):
    """Distributes groups of tests over processes: a group shares its fixtures."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return GroupScheduling(config, log)


def pytest_unconfigure() -> None:
    """Take the scratch folder away."""
    import shutil

    shutil.rmtree(_SCRATCH, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def preloaded_processes():
    """Fork child processes from one that has imported the libraries, where possible.

    The product spawns them, which takes seconds each. A forked process differs in two
    things: libraries are imported already, and its environment variables are those of
    the first one.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        yield
        return
    of = multiprocessing.get_context
    of("forkserver").set_forkserver_preload(PRELOADED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            multiprocessing,
            "get_context",
            lambda method=None: of("forkserver" if method == "spawn" else method),
        )
        yield


@pytest.fixture
def root():
    """The checkout."""
    return Path(__file__).resolve().parent.parent


def _running() -> set[threading.Thread | BaseProcess]:
    """Threads and processes of ours, but for the one thread that draws every part."""
    everyone = (*threading.enumerate(), *active_children())
    ours = {one for one in everyone if one.name.startswith("omnimouse")}
    return {one for one in ours if one.name != "omnimouse-pen"}


@pytest.fixture(scope="module", autouse=True)
def _nothing_runs_on():
    """What a module starts it ends: else it runs on beside later ones, and counts."""
    before = _running()
    yield
    until = time.monotonic() + ENDS_S
    while _running() - before and time.monotonic() < until:
        time.sleep(0.02)
    assert not _running() - before
