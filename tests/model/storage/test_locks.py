"""Outputs that one process writes at a time."""

import errno
import importlib.util
import os
import subprocess
import sys
from contextvars import Context
from types import ModuleType

import pytest

import omnimouse_model as om
from omnimouse_model.analysis.predictions.run import predict_session
from omnimouse_model.analysis.scaling.study import models_folder, plan_path, read_plan, run_study
from omnimouse_model.data.conversion.write import convert
from omnimouse_model.storage import locks
from omnimouse_model.storage.archives import unpack
from omnimouse_model.storage.locks import OutputBusyError, open_without_links, sole_writer
from tests.model.finetune_process import NEW
from tests.predictors import EchoPredictor

HOLD = """
import sys
from pathlib import Path
from omnimouse_model.storage.locks import sole_writer
with sole_writer(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("mode", ["rb", "r+b", "a+b"])
def test_a_pipe_in_place_of_a_file_is_named(mode, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match=r"pipe is no file: choose another path"):
        open_without_links(tmp_path / "pipe", mode)


@pytest.mark.process
def test_a_second_process_is_refused_until_the_first_is_killed(session, tmp_path):
    store = tmp_path / "mouse.zarr"
    command = [sys.executable, "-c", HOLD, str(store)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(OutputBusyError, match=r"mouse\.zarr"):
            convert(session, store)
        assert not list(tmp_path.iterdir())
        with sole_writer(tmp_path / "other.zarr"):
            holder.kill()
    assert convert(session, store).is_dir()


@pytest.mark.slow
def test_work_on_one_output_is_done_by_one_process(session, mouse_folder, tmp_path):
    out, recording = tmp_path / "out.zarr", om.open_session(mouse_folder / NEW)
    results = tmp_path / "a.scaling.jsonl"
    plan, model = read_plan(plan_path("simulated")), mouse_folder / "base.safetensors"
    mask = om.Mask.nothing(session).ask([0])
    calls = [
        (out, predict_session, EchoPredictor(), session, mask, out),
        (out, om.finetune, model, recording, out),
        (out, unpack, tmp_path / "a.tar", out),
        (models_folder(results), run_study, plan, results),
    ]
    for held, function, *arguments in calls:
        with sole_writer(held):
            with sole_writer(held):  # the same thread may
                pass
            # Another context stands for another process.
            with pytest.raises(OutputBusyError, match=held.name):
                Context().run(function, *arguments)
    assert not list(tmp_path.iterdir())


class WindowsLibrary(ModuleType):
    """Stand-in for `msvcrt`, as its documentation describes `locking`.

    It locks bytes from the position of an open file on, of the first 2 GiB, and gives up
    waiting after ten attempts.
    """

    LK_UNLCK, LK_LOCK, LK_NBLCK = range(3)

    def __init__(self, n_busy):
        super().__init__("msvcrt")
        self.n_busy, self.modes = n_busy, []

    def locking(self, number, mode, n_bytes):
        self.modes.append(mode)
        position = os.lseek(number, 0, os.SEEK_CUR)
        if position + n_bytes > 2**31 - 1:
            raise OSError(errno.EINVAL, "Invalid argument")
        if mode != self.LK_UNLCK and self.n_busy:
            self.n_busy -= 1
            code = errno.EDEADLK if mode == self.LK_LOCK else errno.EACCES
            raise OSError(code, "locked by another process")


@pytest.mark.skipif(os.name == "nt", reason="links need a right there")
def test_a_link_in_the_place_of_a_lock_changes_nothing_behind_it(tmp_path, monkeypatch):
    monkeypatch.setenv("OMNIMOUSE_CACHE", str(tmp_path / "cache"))
    with sole_writer(tmp_path / "out"):
        pass
    (lock,) = (tmp_path / "cache" / "locks").iterdir()
    lock.unlink()
    lock.symlink_to(tmp_path / "made")
    with pytest.raises(OSError, match="is a link"), sole_writer(tmp_path / "out"):
        pass
    assert not (tmp_path / "made").exists()


@pytest.fixture
def windows_locks(monkeypatch):
    library = WindowsLibrary(n_busy=2)
    with monkeypatch.context() as patch:
        patch.setattr(os, "name", "nt")
        patch.setitem(sys.modules, "msvcrt", library)
        spec = importlib.util.spec_from_file_location("windows_locks", locks.__file__)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module, library


def test_a_lock_of_windows_waits_longer_than_its_library_does(windows_locks, tmp_path):
    module, library = windows_locks
    (tmp_path / "a").write_bytes(b"text")
    with (tmp_path / "a").open("r+b") as file:
        with pytest.raises(module.LockedError, match=r"a is locked"):
            module.lock(file, wait=False)
        module.lock(file, wait=True)
        assert library.modes == [library.LK_NBLCK, *[library.LK_LOCK] * 2]
        assert file.read() == b"text"
        module.unlock(file)
        assert library.modes[-1] == library.LK_UNLCK
    assert (tmp_path / "a").stat().st_size == 4
