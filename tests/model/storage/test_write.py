"""Files appear whole under their names; what killed processes leave is removed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from omnimouse_model.storage import write as module
from omnimouse_model.storage.arrays.npy import write_arrays
from omnimouse_model.storage.write import (
    DriveError,
    atomic_path,
    remove_left_over,
    temporary_folder,
    write_bytes,
    write_json,
    write_text,
)

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

    monkeypatch.setattr(module, "lock", lock)
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
    monkeypatch.setattr(module, "_SYSTEM", -1)
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
    monkeypatch.setattr(module, "_READERS_S", 60.0)
    write_text(place, "new")
    assert place.read_text() == "new"
    assert attempts == [place] * 3
    monkeypatch.setattr(module, "_READERS_S", 0.0)
    attempts.clear()
    with pytest.raises(OSError, match=r"a\.txt"):
        write_text(place, "newer")
    assert place.read_text() == "new"
