"""Files appear whole under their names; what killed processes leave is removed."""

import errno
import importlib.util
import os
import subprocess
import sys
from contextvars import Context
from errno import EACCES, ENAMETOOLONG, ENOSPC
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import omnimouse_model as om
from omnimouse_model.analysis.predictions import predict_session
from omnimouse_model.analysis.scaling_study import models_folder, plan_path, read_plan, run_study
from omnimouse_model.data.convert import convert
from omnimouse_model.storage import write
from omnimouse_model.storage.archives import unpack
from omnimouse_model.storage.arrays.hdf5 import hdf5_to_write
from omnimouse_model.storage.arrays.npy import write_arrays
from omnimouse_model.storage.tables import write_table
from omnimouse_model.storage.tensors import write_pickle, write_safetensors
from omnimouse_model.storage.write import (
    DriveError,
    OutputBusyError,
    atomic_path,
    create_bytes,
    explained,
    open_without_links,
    put_in_place,
    remove_left_over,
    sole_writer,
    temporary_folder,
    write_bytes,
    write_json,
    write_text,
    writing,
)
from tests.model.finetune_process import NEW
from tests.predictors import EchoPredictor

LEFT = (".a.csv.77-01234567.part", ".b.csv.8-89abcdef.part")
OTHERS = (".a.csv.original", ".b.csv.01234567.part", ".a.csv.77-0123456789.part")
WRITE = """
import sys
from pathlib import Path
from omnimouse_model.storage.write import atomic_path
with atomic_path(Path(sys.argv[1])) as path:
    path.write_text("half")
    print("writing", flush=True)
    sys.stdin.read()
"""


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture
def umask(request):
    """Set the umask of the parameter."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_the_next_write_removes_what_no_process_has_locked_and_nothing_else(tmp_path):
    for name in (LEFT[0], *OTHERS):
        (tmp_path / name / "new").mkdir(parents=True)
    (tmp_path / LEFT[0] / "lock").touch()
    (tmp_path / LEFT[1]).mkdir()  # killed before it was locked
    write_text(tmp_path / "a.csv", "1")
    assert names(tmp_path) == {"a.csv", *OTHERS}


@pytest.mark.process
def test_a_temporary_file_is_kept_while_it_is_written_and_removed_after_a_kill(tmp_path):
    path = tmp_path / "a.csv"
    command = [sys.executable, "-c", WRITE, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        try:
            assert writer.stdout.readline() == b"writing\n"
            (left,) = names(tmp_path)
            assert f".{writer.pid}-" in left
            write_text(tmp_path / "b.csv", "1")
            assert names(tmp_path) == {left, "b.csv"}
        finally:
            writer.kill()
            writer.wait(60)
    remove_left_over(tmp_path)
    assert names(tmp_path) == {"b.csv"}


def test_two_writers_of_one_file_do_not_disturb_each_other(tmp_path):
    path = tmp_path / "a.csv"
    with atomic_path(path) as first:
        first.write_text("first")
        write_text(path, "second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert names(tmp_path) == {"a.csv"}


def test_a_folder_that_another_process_took_for_left_over_is_made_again(tmp_path, monkeypatch):
    taken = []

    def lock(file, wait):
        if not taken:
            taken.append(Path(file.name).parent)
            remove_left_over(tmp_path)

    monkeypatch.setattr(write, "lock", lock)
    write_text(tmp_path / "a.csv", "1")
    assert names(tmp_path) == {"a.csv"}
    assert taken


def test_a_failed_write_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "a.csv"
    write_text(path, "before")
    with pytest.raises(TypeError), atomic_path(path) as temporary:
        temporary.write_text(3)
    assert path.read_text() == "before"
    assert names(tmp_path) == {"a.csv"}


def test_bytes_are_on_the_drive_before_the_name_and_the_name_before_the_end(tmp_path, monkeypatch):
    path, steps = tmp_path / "a.csv", []
    monkeypatch.setattr(os, "fsync", lambda handle: steps.append(path.exists()))
    write_bytes(path, b"1")
    assert steps == ([False] if os.name == "nt" else [False, True])


@pytest.mark.parametrize("has_sync", [True, False])
def test_a_folder_and_a_new_file_are_on_the_drive_before_they_have_a_name(
    tmp_path, monkeypatch, has_sync
):
    path, steps = tmp_path / "a", []
    # Windows has no `sync`: the files are put on the drive one by one.
    monkeypatch.delattr(os, "sync", raising=False)
    if has_sync:
        monkeypatch.setattr(os, "sync", lambda: steps.append(path.exists()), raising=False)
    monkeypatch.setattr(os, "fsync", lambda handle: steps.append(path.exists()))
    with temporary_folder(path) as folder:
        (folder / "b").write_text("1")
        put_in_place(folder, path)
    folders = [] if os.name == "nt" else [True]  # Windows syncs no folder
    assert steps == [False, *folders]
    path, steps[:] = tmp_path / "c", []
    create_bytes(path, b"1")
    assert steps == [False, *folders]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
@pytest.mark.parametrize("umask", [0o022, 0o077], indirect=True)
def test_the_mode_follows_the_umask_unless_a_file_has_one_or_is_private(tmp_path, umask):
    write_json(tmp_path / "a.json", {})
    assert mode(tmp_path / "a.json") == 0o666 & ~umask
    (tmp_path / "a.json").chmod(0o640)
    write_json(tmp_path / "a.json", {})
    assert mode(tmp_path / "a.json") == 0o640
    write_json(tmp_path / "b.json", {}, is_private=True)
    assert mode(tmp_path / "b.json") == 0o600
    with temporary_folder(tmp_path / "c") as folder:
        folder.rename(tmp_path / "c")
    assert mode(tmp_path / "c") == 0o777 & ~umask


@pytest.mark.skipif(os.name == "nt", reason="Windows has no owners")
def test_a_link_is_replaced_and_one_of_another_user_is_refused(tmp_path, monkeypatch):
    (tmp_path / "aim").write_text("kept")
    (tmp_path / "a.csv").symlink_to("aim")
    write_text(tmp_path / "a.csv", "new")
    assert not (tmp_path / "a.csv").is_symlink()
    assert (tmp_path / "aim").read_text() == "kept"
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    monkeypatch.setattr(write, "_SYSTEM", -1)
    with pytest.raises(DriveError, match="link of another user"):
        write_text(tmp_path / "link" / "a.csv", "1")
    assert not names(tmp_path / "folder")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_what_is_no_file_is_never_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "."):
        with pytest.raises(DriveError, match="no file"):
            write_text(tmp_path / name, "1")
    assert names(tmp_path) == {"pipe"}


def test_long_names_and_names_without_an_ending_are_written(tmp_path):
    name = "ä" * 120
    write_arrays(tmp_path / name, {})
    assert names(tmp_path) == {name}


def test_a_file_that_is_read_meanwhile_is_replaced_when_the_reader_closes_it(tmp_path, monkeypatch):
    # A stand-in for Windows, which replaces no open file.
    place, attempts = tmp_path / "a.txt", []
    rename = Path.replace

    def refused_twice(self, target):
        attempts.append(target)
        if len(attempts) < 3:
            raise PermissionError(13, "The process cannot access the file")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", refused_twice)
    monkeypatch.setattr(write, "_READERS_S", 60.0)
    write_text(place, "new")
    assert place.read_text() == "new"
    assert attempts == [place] * 3
    monkeypatch.setattr(write, "_READERS_S", 0.0)
    attempts.clear()
    with pytest.raises(OSError, match=r"a\.txt"):
        write_text(place, "newer")
    assert place.read_text() == "new"


HOLD = """
import sys
from pathlib import Path
from omnimouse_model.storage.write import sole_writer
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
        spec = importlib.util.spec_from_file_location("windows_locks", write.__file__)
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


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(ENOSPC, "full"), "2.0 MB needed"),
        (OSError(EACCES, "no"), "Choose another folder"),
        # NumPy's error of a file that is written in part has no code.
        (OSError("216 requested and 7 written"), "the drive is full"),
    ],
)
def test_an_error_of_the_drive_has_the_path_and_the_next_step(tmp_path, error, words):
    with pytest.raises(DriveError, match=words) as found, writing(tmp_path / "a.zarr", 2_000_000):
        raise error
    assert str(tmp_path / "a.zarr") in str(found.value)


@pytest.mark.parametrize("kind", ["a dead link", "a file"])
def test_a_cache_that_is_no_folder_is_explained(tmp_path, kind):
    place = tmp_path / "cache"
    place.symlink_to("nothing") if kind == "a dead link" else place.touch()
    for folder in (place, place / "inner"):
        with pytest.raises(OSError, match="cache") as error:
            folder.mkdir(parents=True, exist_ok=True)
        assert f"{place}: a file, or a link to nothing, is where" in explained(error.value)


def test_other_errors_are_not_changed(tmp_path):
    with pytest.raises(ValueError, match="odd"), writing(tmp_path):
        raise ValueError("odd")


def test_an_error_of_another_library_on_a_full_drive_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(write, "_free", lambda path: 0)
    with pytest.raises(DriveError, match=r"0\.0 MB free"), writing(tmp_path):
        raise RuntimeError("unexpected pos 64 vs 0")


def _hdf5(path: Path) -> None:
    with hdf5_to_write(path) as file:
        for number in range(40):
            file.create_dataset(f"{number}/values", data=np.arange(1000.0))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limits of a process")
@pytest.mark.parametrize(
    "written",
    [
        pytest.param(_hdf5, id="hdf5"),
        pytest.param(lambda path: write_arrays(path, {"a": np.ones(9000)}), id="npz"),
        pytest.param(lambda path: write_pickle(path, torch.ones(9000)), id="pt"),
        pytest.param(
            lambda path: write_safetensors(path, {"a": torch.ones(9000)}, {}), id="safetensors"
        ),
        pytest.param(
            lambda path: write_table(path, {"a": np.random.default_rng(0).random(9000)}),
            id="parquet",
        ),
    ],
)
@pytest.mark.parametrize("most", [0, 3000, 30_000])
def test_a_share_of_the_drive_that_is_used_up_is_one_line(tmp_path, written, most):
    """Quotas of clusters refuse bytes while the drive has free ones."""
    import resource

    for name in ("h5py", "pyarrow"):
        pytest.importorskip(name)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        with pytest.raises(DriveError, match="or your share of it"):
            written(tmp_path / "a.parquet")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not names(tmp_path)


def test_a_link_to_itself_is_written_by_nobody(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="loop"), sole_writer(tmp_path / "loop" / "x"):
        (tmp_path / "loop" / "x").write_bytes(b"")


def test_an_error_of_a_name_that_is_too_long_is_explained(tmp_path):
    error = OSError(ENAMETOOLONG, "name too long", str(tmp_path / ("x" * 300)))
    assert "name too long" in explained(error)
