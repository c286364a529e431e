"""Backups of unsaved work when another recording is opened."""

import os
import threading
import time
from contextlib import closing
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

from omnimouse_model.live.analysis_file import Analysis
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.first_view import first_view
from omnimouse_model.live.project.saved_screen import plain_name
from omnimouse_model.live.state_store import MAX_UNSAVED, LastSession, StateStore
from omnimouse_model.masks import HIDDEN
from tests.predictors import open_controller


@pytest.fixture
def controller(session_folder, tmp_path):
    with open_controller(session_folder, session_file=tmp_path / "live.json") as made:
        yield made


@pytest.fixture
def memory(tmp_path):
    """Store that can be filled with copies, each newer than the last."""
    made, clock = StateStore(tmp_path / "live.json"), count(10**9)

    def write(path: Path) -> None:
        path.write_text("{}")
        os.utime(path, (at := next(clock), at))

    def fill(n: int) -> list[str]:
        gone = [made.back_up(f"m{number}", write)[1] for number in range(n)]
        return [path.name for paths in gone for path in paths]

    return SimpleNamespace(of=made, fill=fill, write=write)


def unsaved_copies(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "unsaved").glob("*.json"))


@pytest.mark.slow
def test_unsaved_pins_of_a_preset_are_backed_up(controller, session_folder, tmp_path):
    other = tmp_path / "other.omnimouse.json"
    controller.project.save(other)
    controller.loader.open_now(session_folder)
    controller.pins.pin("mine")
    controller.project.open(other)
    assert controller.state.pins == ()
    (kept,) = unsaved_copies(tmp_path)
    assert "small, unsaved " in " ".join(controller.project.messages)
    controller.project.open(kept)
    assert [pin.name for pin in controller.state.pins] == ["mine"]


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("https://x.org/a/data.nwb?X-Amz-Signature=" + "9f" * 200, "data.nwb"),
        ("https:/x.org/a/data.nwb?X-Amz-Signature=9", "data.nwb"),
        ("https://x.org/a%2Fb%3Fc.nwb", "a b c.nwb"),
        ("https://x.org/", "x.org"),
        ("/data/" + "µ" * 99, "µ" * 50),
        ('/data/a:b*c?"<d>|e\\f', "a b c d e f"),
        ("/data/mouse. ", "mouse"),
        ("../../a\u202e\x1b[2J", "a"),
        ("CON", "_CON"),
        ("con.csv", "_con.csv"),
        ("..", "analysis"),
        ("", "analysis"),
    ],
)
def test_file_names_have_no_special_characters_and_no_credentials(place, name):
    assert plain_name(place) == name


def test_a_failed_backup_does_not_stop_an_opening(controller, session_folder, tmp_path):
    (tmp_path / "unsaved").write_text("in the way")
    controller.editor.paint([11], HIDDEN)
    before = controller.state.session
    controller.loader.open_now(session_folder)
    assert controller.state.session is not before
    assert controller.results.freshness == "fresh"
    assert len(controller.project.messages) == 1


def test_unreadable_old_copies_are_not_deleted(memory, monkeypatch):
    memory.fill(MAX_UNSAVED)

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "denied")

    monkeypatch.setattr(Path, "unlink", denied)
    kept, gone = memory.of.back_up("last", memory.write)
    assert kept.is_file()
    assert gone == ()


def test_new_copies_stay_when_the_clock_has_jumped_back(memory, tmp_path):
    memory.fill(MAX_UNSAVED)
    for path in unsaved_copies(tmp_path):
        os.utime(path, (4e9, 4e9))
    made = [memory.of.back_up(f"n{number}", memory.write)[0] for number in range(5)]
    assert all(path.is_file() for path in made)


@pytest.mark.slow
def test_an_opened_copy_is_never_deleted(controller, session_folder, tmp_path, memory):
    controller.editor.paint([11], HIDDEN)
    controller.loader.open_now(session_folder)
    (opened,) = unsaved_copies(tmp_path)
    controller.project.open(opened)
    os.utime(opened, (1, 1))
    gone = memory.fill(MAX_UNSAVED + 2)
    assert opened.is_file()
    assert len(unsaved_copies(tmp_path)) == MAX_UNSAVED + 1
    assert [name.split(",")[0] for name in gone] == ["m0", "m1"]


def test_a_backup_is_not_on_the_drawing_thread(session_folder, tmp_path, monkeypatch):
    opened = threading.Event()

    def slow(path: Path, analysis: Analysis) -> None:
        assert opened.wait(60)  # else the session opens only when this is written
        path.write_text("{}")

    module = "omnimouse_model.live.project.saved_screen"
    monkeypatch.setattr(f"{module}.write_analysis", slow)
    with closing(Controller(session_file=tmp_path / "live.json")) as controller:
        controller.loader.open_now(session_folder)
        controller.editor.paint([11], HIDDEN)
        controller.loader.show(first_view(session_folder, "video_behavior"))
        assert unsaved_copies(tmp_path) == []
        opened.set()
    assert len(unsaved_copies(tmp_path)) == 1  # closing waits for it
    assert "small, unsaved" in controller.project.messages[0]


def test_a_clock_that_jumps_back_brings_no_older_session_back(tmp_path, monkeypatch):
    future_s = time.time() + 1e9
    monkeypatch.setattr(time, "time", lambda: future_s)
    windows = [StateStore(tmp_path / "live.json") for _ in range(2)]
    for number, window in enumerate(windows):
        window.save(LastSession(session=f"older {number}"))
    for window in windows:
        window.end()
    for now_s in (future_s - 1e9, -100.0):
        monkeypatch.setattr(time, "time", lambda now_s=now_s: now_s)
        window = StateStore(tmp_path / "live.json")
        window.save(LastSession(session=f"at {now_s}"))
        window.end()
        assert StateStore(tmp_path / "live.json").load().session == f"at {now_s}"
