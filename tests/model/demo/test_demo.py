"""The demo's sessions: where they are kept, and the command that writes mice."""

import json
from pathlib import Path

import numpy as np
import pytest

import omnimouse_model.demo as demo
from omnimouse_app.cli import main
from omnimouse_app.cli import simulate as command
from omnimouse_model.cache import cache_dir
from omnimouse_model.simulate import HeldOut, MouseSpec, has_truth, open_truth

TINY = MouseSpec("tiny", "70004-1-1", 6, 7, 8, 1.0, HeldOut(1, 1, 1, 2))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OMNIMOUSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(demo, "DEMO_SHOWN", TINY)
    monkeypatch.setattr(demo, "UNSEEN", TINY)
    return tmp_path / "cache"


def exit_code(words: list[str]) -> object:
    with pytest.raises(SystemExit) as end:
        main(words)
    return end.value.code


@pytest.mark.slow
def test_the_demo_session_is_made_once_and_kept_in_the_cache(cache):
    calls: list[float] = []
    folder = demo.demo_session(calls.append)
    assert folder.is_relative_to(cache)
    assert has_truth(folder)
    assert calls[-1] == 1
    calls.clear()
    assert demo.demo_session(calls.append) == demo.unseen_session() == folder
    assert calls == []


def test_the_cache_is_the_users_own_unless_chosen(monkeypatch):
    monkeypatch.setenv("OMNIMOUSE_CACHE", "~/elsewhere")
    assert cache_dir() == Path.home() / "elsewhere"
    monkeypatch.delenv("OMNIMOUSE_CACHE")
    monkeypatch.setattr("sys.platform", "linux")
    assert cache_dir() == Path.home() / ".cache" / "omnimouse"
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "/local")
    assert cache_dir() == Path("/local/omnimouse")


@pytest.mark.slow
def test_the_command_writes_the_mice_it_is_asked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(command.SPECS, "unseen", TINY)
    arguments = ["simulate", str(tmp_path), "--mouse", "unseen"]
    assert exit_code([*arguments, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["session"] == "70004-1-1"
    ceilings = open_truth(tmp_path / "tiny").ceilings
    assert row["ceiling_drive"] == pytest.approx(np.median(ceilings.drive))
    assert exit_code(arguments) == 0
    assert "tiny" in capsys.readouterr().out


def test_an_unknown_mouse_is_refused_with_the_names_there_are(tmp_path, capsys):
    assert exit_code(["simulate", str(tmp_path), "--mouse", "jerry"]) == 2
    assert "mouse-7" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_folder_in_the_way_ends_with_one_clear_line(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(command.SPECS, "unseen", TINY)
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "mine.txt").write_text("mine")
    assert exit_code(["simulate", str(tmp_path), "--mouse", "unseen"]) == 1
    assert str(tmp_path / "tiny") in capsys.readouterr().err
    assert (tmp_path / "tiny" / "mine.txt").read_text() == "mine"
