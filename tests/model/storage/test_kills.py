"""SIGKILL before any change of a file: what a cache takes as whole is whole.

Arrays, settings and texts are written through `atomic_path`, as bytes are.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from omnimouse_model.storage.journal import JOURNAL, append_line, open_journal, read_lines
from omnimouse_model.storage.write import create_bytes, write_bytes
from tests.soak.killed_process import Moment, end_of, forked

pytestmark = [pytest.mark.process, pytest.mark.slow]
OLD, NEW = b"old" * 1000, b"new" * 2000


def kills(work: Callable[[], object], folder: Path, log: Path, prepare, check) -> int:
    """Kill work before each of its changes in a folder; return how often it was killed."""
    for change in range(1, 200):
        prepare()
        ended = end_of(forked(work, {}, folder), log, Moment(change=change), 60.0)
        check()
        if not ended.is_killed:
            assert ended.status == 0, ended.text
            return change - 1
    raise AssertionError("it does not end")


@pytest.mark.parametrize("before", [None, OLD])
@pytest.mark.parametrize("write", [write_bytes, create_bytes])
def test_a_file_is_the_old_or_the_new_one(tmp_path, write, before):
    folder = tmp_path / "cache"
    folder.mkdir()
    path = folder / "a"

    def prepare():
        path.unlink(missing_ok=True)
        if before is not None:
            path.write_bytes(before)

    def check():
        assert (path.read_bytes() if path.exists() else None) in (before, NEW)

    assert kills(lambda: write(path, NEW), folder, tmp_path / "log", prepare, check) >= 4
    expected = OLD if before and write is create_bytes else NEW
    assert path.read_bytes() == expected
    # The write that was not killed has removed what the others left.
    assert list(folder.iterdir()) == [path]


def test_a_journal_names_only_what_is_there(tmp_path):
    folder = tmp_path / "cache"
    folder.mkdir()
    part = folder / "a.part"

    def work():
        with open_journal(part, {"kind": "test"}, lambda header: None) as journal:
            for number in range(len(journal.notes), 3):
                write_bytes(part / f"{number}", NEW)
                journal.add({"piece": number})
        append_line(folder / "results.jsonl", {"done": True})

    def check():
        lines = read_lines(part / JOURNAL) if (part / JOURNAL).exists() else []
        assert all((part / str(one["piece"])).read_bytes() == NEW for one in lines[1:])

    # Each run continues where the one before was killed.
    assert kills(work, folder, tmp_path / "log", lambda: None, check) >= 4
    assert {"piece": 2} in read_lines(part / JOURNAL)
    assert read_lines(folder / "results.jsonl")[-1] == {"done": True}
