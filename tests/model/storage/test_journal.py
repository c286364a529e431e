"""Unfinished folders go on where they were stopped, and only if all of them is the user's."""

import os
from pathlib import Path

import pytest

from omnimouse_model.analysis.predictions import predict_session
from omnimouse_model.data.convert import convert
from omnimouse_model.errors import ResultsFileError
from omnimouse_model.evaluation.results_store import ResultsFile, RowFormat
from omnimouse_model.lab.responses import ResponseStore
from omnimouse_model.storage import journal
from omnimouse_model.storage.journal import (
    JOURNAL,
    append_line,
    check_own,
    json_line,
    lines_after,
    open_journal,
    read_lines,
    whole_lines,
)
from tests.memory import check_memory
from tests.predictors import EchoPredictor

HEADER = {"made": "x"}
pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no links for everybody")


def same(stored):
    if stored != HEADER:
        raise ValueError("another")


def noted(folder: Path) -> list[dict[str, int]]:
    with open_journal(folder, HEADER, same) as journal:
        return list(journal.notes)


@pytest.fixture
def part(tmp_path):
    """An unfinished folder with two notes, and beside it a file of the user."""
    (tmp_path / "mine.txt").write_text("mine")
    with open_journal(tmp_path / "x.part", HEADER, same) as journal:
        for piece in (1, 2):
            journal.add({"piece": piece})
    (tmp_path / "x.part" / "data").mkdir()
    (tmp_path / "x.part" / "data" / "0").write_text("1")
    return tmp_path / "x.part"


PLANTED = {
    "a link": lambda part: (part / "data" / "1").symlink_to(part.parent / "mine.txt"),
    "a link to a folder": lambda part: (part / "more").symlink_to(part.parent),
    "a link as journal": lambda part: [
        (part / JOURNAL).unlink(),
        (part / JOURNAL).symlink_to(part.parent / "mine.txt"),
    ],
    "a second name": lambda part: (part / "data" / "1").hardlink_to(part.parent / "mine.txt"),
    "a pipe": lambda part: os.mkfifo(part / "data" / "1"),
    "a link in place of the folder": lambda part: [
        part.rename(part.with_name("real")),
        part.symlink_to("real"),
    ],
}


@pytest.mark.parametrize("plant", PLANTED.values(), ids=PLANTED.keys())
def test_nothing_is_continued_where_something_was_planted(part, plant):
    plant(part)
    with pytest.raises(ResultsFileError, match=r"nothing is continued.*start again"):
        noted(part)
    assert (part.parent / "mine.txt").read_text() == "mine"


def test_nothing_is_continued_in_a_folder_of_another_user(part, monkeypatch):
    check_own(part)
    monkeypatch.setattr(os, "geteuid", lambda: part.stat().st_uid + 1)
    with pytest.raises(ResultsFileError, match="another user"):
        noted(part)


def test_a_planted_folder_leads_neither_convert_nor_predict_out(session, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept.partial").write_text("mine")
    (outside / JOURNAL).write_bytes(json_line(HEADER))
    for name in ("a.zarr", "b.zarr"):
        (tmp_path / f"{name}.part").symlink_to(outside)
    (tmp_path / "c.zarr.part").mkdir()
    (tmp_path / "c.zarr.part" / "responses").symlink_to(outside)
    for work in (
        lambda: convert(session, tmp_path / "a.zarr"),
        lambda: predict_session(EchoPredictor(), session, "test/video_only", tmp_path / "b.zarr"),
        lambda: convert(session, tmp_path / "c.zarr"),
    ):
        with pytest.raises(ResultsFileError, match="is a link"):
            work()
    assert {path.name for path in outside.iterdir()} == {"kept.partial", JOURNAL}


def test_a_torn_line_does_not_count_and_the_next_one_begins_anew(part):
    with (part / JOURNAL).open("ab") as file:
        file.write(b'{"piece": 3')
    with open_journal(part, HEADER, same) as journal:
        assert journal.notes == [{"piece": 1}, {"piece": 2}]
        journal.add({"piece": 4})
    assert [line.get("piece") for line in read_lines(part / JOURNAL)] == [None, 1, 2, 4]


@pytest.mark.parametrize("kept", [b"", json_line(HEADER)[:12]])
def test_killed_while_its_journal_begins_it_begins_anew(tmp_path, kept):
    (tmp_path / "x.part").mkdir()
    (tmp_path / "x.part" / JOURNAL).write_bytes(kept)
    assert noted(tmp_path / "x.part") == []
    assert read_lines(tmp_path / "x.part" / JOURNAL) == [HEADER]


def test_a_folder_of_other_work_is_left_alone(part):
    for header, words in (({"made": "y"}, "another"), ({"other": "x"}, "no unfinished work")):
        with (
            pytest.raises(ValueError, match=words),
            open_journal(part, header, lambda stored: same({"made": "y"})),
        ):
            pass
    (part / JOURNAL).write_bytes(b"{torn")
    with pytest.raises(ResultsFileError, match="damaged"):
        noted(part)
    (part / JOURNAL).unlink()
    with pytest.raises(ResultsFileError, match="no unfinished work"):
        noted(part)
    assert (part / "data" / "0").read_text() == "1"


def test_a_folder_is_locked_and_cleared_by_its_writer_alone(part):
    with open_journal(part, HEADER, same) as journal:
        with pytest.raises(ResultsFileError, match="Another machine"):
            noted(part)
        journal.clear()
        assert [path.name for path in part.iterdir()] == [JOURNAL]
        assert read_lines(part / JOURNAL) == [HEADER]
        journal.add({"piece": 5})
    assert noted(part) == [{"piece": 5}]
    with open_journal(part, HEADER, same) as journal:
        journal.remove()
    assert not part.exists()


def test_lines_end_at_the_first_that_is_no_object():
    line = json_line({"a": 1})
    for rest in (b"[1]\n", b"3", b'{"a": 1}', b"[" * 100_000 + b"\n", b"\xff\n"):
        assert whole_lines(line + rest + line) == ([{"a": 1}], len(line))
    with pytest.raises(ValueError, match="JSON"):
        json_line({"a": float("nan")})


def test_results_runs_and_laboratory_results_refuse_links(session, tmp_path):
    aim = tmp_path / "aim"
    aim.write_text("mine")
    definition = {"a": 1}
    kind = RowFormat("odd", "an odd file", dict, dict)
    (tmp_path / "results.jsonl").symlink_to(aim)
    with pytest.raises(OSError, match="is a link"):
        ResultsFile(kind, tmp_path / "results.jsonl", definition)
    store = tmp_path / "shown.zarr"
    ResponseStore(store, definition, (1, 2, 3))
    (store / "responses" / "c").symlink_to(tmp_path)
    with pytest.raises(ResultsFileError, match="is a link"):
        ResponseStore(store, definition, (1, 2, 3))
    log = tmp_path / "metrics.jsonl"
    log.symlink_to(aim)
    with pytest.raises(OSError, match="is a link"):
        append_line(log, {"step": 1})
    assert aim.read_text() == "mine"


def test_results_of_another_user_are_not_continued(tmp_path, monkeypatch):
    kind = RowFormat("odd", "an odd file", dict, dict)
    path = tmp_path / "results.jsonl"
    ResultsFile(kind, path, {"a": 1}).add("key", {"b": 2})
    assert ResultsFile(kind, path, {"a": 1}).rows == {"key": {"b": 2}}
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(OSError, match="another user"):
        ResultsFile(kind, path, {"a": 1})


@pytest.mark.slow
def test_millions_of_lines_are_not_listed_before_they_are_read(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"[]\n" * 4_000_000)

    def read() -> None:
        assert read_lines(path) == []
        with pytest.raises(ValueError, match="no object"):
            RowFormat("odd", "an odd file", dict, dict).read(path)

    check_memory(read, 60)


def test_a_file_of_lines_has_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "MAX_JSON_BYTES", 10)
    append_line(tmp_path / "x.jsonl", {"step": 1})
    with pytest.raises(ResultsFileError, match=r"x\.jsonl has more than 10 bytes"):
        read_lines(tmp_path / "x.jsonl")
    # A log that is followed may be longer: only what is new is read.
    monkeypatch.setattr(journal, "MAX_JSON_BYTES", 20)
    n_bytes = (tmp_path / "x.jsonl").stat().st_size
    append_line(tmp_path / "x.jsonl", {"step": 2})
    assert lines_after(tmp_path / "x.jsonl", n_bytes)[0] == [{"step": 2}]
