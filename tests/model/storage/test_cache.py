"""Without a home folder that can be written, caches and settings go to a temporary one."""

import os
from pathlib import Path

import pytest

from omnimouse_model.storage.write import cache_dir, config_dir

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no HOME")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder without settings of the folders, and a folder of temporary files."""
    for variable in ("OMNIMOUSE_CACHE", "OMNIMOUSE_CONFIG", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(variable, "")  # so that it is restored
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    return tmp_path / "home"


def test_folders_are_in_the_home_folder_or_where_variables_say(home, monkeypatch):
    assert home in cache_dir().parents
    assert home in config_dir().parents
    monkeypatch.setenv("OMNIMOUSE_CACHE", "~/other")
    assert cache_dir() == home / "other"
    assert not list(home.iterdir())


@pytest.mark.parametrize("trouble", ["unset", "empty", "missing", "read-only", "relative", "link"])
def test_without_a_home_there_is_a_private_folder_and_one_note(home, monkeypatch, caplog, trouble):
    if trouble == "unset":
        monkeypatch.delenv("HOME")
        monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # nobody knows the user
    elif trouble == "read-only":
        access = os.access
        monkeypatch.setattr(os, "access", lambda path, mode: path != home and access(path, mode))
    elif trouble == "link":
        (home / ".cache").symlink_to("nothing")
        (home / ".config").symlink_to("nothing")
    else:
        places = {"empty": "", "missing": str(home / "none"), "relative": "none"}
        monkeypatch.setenv("HOME", places[trouble])
    found = cache_dir()
    assert (home.parent / "tmp") in found.parents
    assert found.parent.stat().st_mode & 0o777 == 0o700
    assert cache_dir() == found == Path(os.environ["OMNIMOUSE_CACHE"])
    (note,) = caplog.messages
    assert str(found) in note
    assert ".cache/omnimouse" in note
    assert config_dir().parent == found.parent
    assert not (home / "none").exists()


def test_a_planted_temporary_folder_is_not_used(home, monkeypatch):
    monkeypatch.setenv("HOME", "")
    first = cache_dir().parent
    for plant in (lambda: first.chmod(0o777), lambda: first.symlink_to(home)):
        plant()
        monkeypatch.setenv("OMNIMOUSE_CACHE", "")
        assert cache_dir().parent not in (first, home)
        assert cache_dir().parent.stat().st_mode & 0o777 == 0o700
        first.rmdir() if not first.is_symlink() else first.unlink()
