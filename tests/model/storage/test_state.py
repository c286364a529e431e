import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from omnimouse_model.storage.state import read_or_set_aside, take_notes, write_state


@dataclass(frozen=True, slots=True)
class Setting:
    """Content of a file of settings."""

    name: str = ""
    size: int = 0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of settings in a folder of its own; earlier notes are taken."""
    take_notes()
    return tmp_path / "a.json"


def test_what_was_written_is_read(path):
    write_state(path, {"name": "x", "size": 3, "of_a_newer_version": [1]})
    assert read_or_set_aside(path, Setting) == Setting("x", 3)
    assert path.stat().st_mode & 0o077 == 0


def test_a_missing_file_is_no_damage(path):
    assert read_or_set_aside(path, Setting) is None
    assert take_notes() == ()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1]",
        b"\xff\xfe",
        b'{"size": "x"}',
        b'{"size": 1e400}',
        b'{"another": "program"}',
        b"[" * 60_000,
        b'{"name": "\\ud800"}',
    ],
)
def test_a_damaged_file_is_set_aside_with_one_note(path, content):
    path.write_bytes(content)
    assert read_or_set_aside(path, Setting) is None
    assert not path.exists()
    assert path.with_name("a.json.damaged").read_bytes() == content
    (note,) = take_notes()
    assert "was set aside as a.json.damaged; it starts empty" in note
    assert len(note) < 700
    assert read_or_set_aside(path, Setting) is None
    assert take_notes() == ()


def test_a_pipe_in_place_of_settings_does_not_stop_the_start(path):
    os.mkfifo(path)
    assert read_or_set_aside(path, Setting) is None
    assert not path.exists()


def test_a_file_that_cannot_be_set_aside_is_ignored(path):
    path.write_text("{")
    (path.with_name("a.json.damaged") / "full").mkdir(parents=True)
    assert read_or_set_aside(path, Setting) is None
    assert "is ignored" in take_notes()[0]


def test_values_that_are_wrong_together_are_damage(path):
    def check(found: Setting) -> None:
        if found.size > 2:
            raise ValueError("too large")

    write_state(path, {"size": 3})
    assert read_or_set_aside(path, Setting, check) is None
    assert "too large" in take_notes()[0]
