import errno
import json

import pytest

from omnimouse_model.analysis.sweep.run import context_sweep
from omnimouse_model.errors import ResultsFileError
from omnimouse_model.progress import CallbackJob
from tests.model.analysis.sweep.test_run import other_session as other_session
from tests.model.analysis.sweep.test_run import session as session
from tests.model.context_predictor import ContextPredictor


def stop_after(count):
    """What ends a sweep once so many rows are there."""
    seen = []
    job = CallbackJob(cancelled=lambda: len(seen) >= count)
    return {"job": job, "on_part": seen.append}


@pytest.mark.slow
def test_going_on_is_exactly_as_if_it_had_not_stopped(session, other_session, tmp_path):
    ask = {"neurons": [0, 8, 32], "history_samples": [10], "seeds": 2}
    ask |= {"behavior": [True, False], "max_windows": 1, "centred": False}
    sessions, broken, whole = [session, other_session], tmp_path / "a", tmp_path / "b"
    unbroken = context_sweep(ContextPredictor(), sessions, **ask, results=whole)
    for count in (3, 10):
        stop = stop_after(count)
        context_sweep(ContextPredictor(), sessions, **ask, results=broken, **stop)
    predictor = ContextPredictor()
    resumed = context_sweep(predictor, sessions, **ask, results=broken)
    n_asked = sum(not row.refusal for row in resumed.rows[13:])
    assert len(predictor.asked) == n_asked
    assert resumed.table() == unbroken.table()
    assert broken.read_bytes() == whole.read_bytes()


SHORT = {"neurons": [0, 8, 16], "seeds": 1, "max_windows": 2, "centred": False}


@pytest.fixture
def results(session, tmp_path):
    path = tmp_path / "sweep.jsonl"
    context_sweep(ContextPredictor(), session, **SHORT, results=path)
    return path


@pytest.mark.parametrize(
    ("cut", "instead"), [(1, b""), (2, b""), (40, b""), (0, b"\0" * 50 + b"\n")]
)
def test_half_a_last_line_or_an_empty_one_is_done_again(session, results, cut, instead):
    whole = results.read_bytes()
    *lines, last = whole.splitlines(keepends=True)
    results.write_bytes(b"".join(lines) + (instead or last[:-cut]))
    predictor = ContextPredictor()
    context_sweep(predictor, session, **SHORT, results=results)
    assert len(predictor.asked) == 2
    assert results.read_bytes() == whole


def test_a_last_line_of_a_newer_version_is_kept(session, results):
    *lines, last = results.read_bytes().splitlines(keepends=True)
    newer = json.loads(last)
    newer["interval"] = [newer.pop("ci_low"), newer.pop("ci_high")]
    content = b"".join(lines) + json.dumps(newer).encode() + b"\n"
    results.write_bytes(content)
    with pytest.raises(ResultsFileError, match="a newer version"):
        context_sweep(ContextPredictor(), session, **SHORT, results=results)
    assert results.read_bytes() == content


def test_what_a_kill_after_the_creation_has_left_is_removed(session, results):
    left = results.with_name(f".{results.name}.77-01234567.part")
    left.mkdir()
    (left / "lock").touch()
    context_sweep(ContextPredictor(), session, **SHORT, results=results)
    assert [path.name for path in results.parent.iterdir()] == [results.name]


def test_hard_links_are_not_needed(session, tmp_path, results, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    path = tmp_path / "again.jsonl"
    context_sweep(ContextPredictor(), session, **SHORT, results=path)
    assert path.read_bytes() == results.read_bytes()
    assert {p.name for p in tmp_path.iterdir()} == {path.name, results.name}


@pytest.mark.parametrize("line", [b"{}\n", b'{"key": 3}\n', b"]\n", b"\xff\n", b"\n"])
def test_damage_before_the_last_line_is_named(session, results, line):
    lines = results.read_bytes().splitlines(keepends=True)
    lines[2] = line
    results.write_bytes(b"".join(lines))
    with pytest.raises(ResultsFileError, match=r"Line 3 of .*sweep\.jsonl is damaged"):
        context_sweep(ContextPredictor(), session, **SHORT, results=results)


@pytest.mark.parametrize("wrong", [{"n_neurons": None}, {"session": 3}, {"context": []}])
def test_a_row_whose_values_have_other_types_is_damaged(session, results, wrong):
    lines = results.read_bytes().splitlines(keepends=True)
    lines[2] = json.dumps(json.loads(lines[2]) | wrong).encode() + b"\n"
    results.write_bytes(b"".join(lines))
    with pytest.raises(ResultsFileError, match=r"Line 3 of .*sweep\.jsonl is damaged"):
        context_sweep(ContextPredictor(), session, **SHORT, results=results)


@pytest.mark.parametrize(
    "content", [b"", b"a,b\n1,2\n", b"[]\n", b'{"omnimouse_sweep": 1}\n', b"\x89PNG"]
)
def test_a_file_of_something_else_is_left_alone(session, tmp_path, content):
    path = tmp_path / "mine"
    path.write_bytes(content)
    with pytest.raises(ResultsFileError, match="not the results file of a sweep"):
        context_sweep(ContextPredictor(), session, **SHORT, results=path)
    assert path.read_bytes() == content


def test_a_file_of_a_newer_version_is_refused(session, results):
    header, *rest = results.read_bytes().splitlines(keepends=True)
    facts = json.loads(header) | {"omnimouse_sweep": 9}
    results.write_bytes(json.dumps(facts).encode() + b"\n" + b"".join(rest))
    with pytest.raises(ResultsFileError, match="format 9, this version writes 1"):
        context_sweep(ContextPredictor(), session, **SHORT, results=results)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"neurons": [0, 8]}, r"neurons \[0, 8, 16\] in the file, \[0, 8\] here"),
        ({"seeds": 2}, r"seeds \[0\] in the file, \[0, 1\] here"),
        ({"max_windows": 3}, "max_windows 2 in the file, 3 here"),
        ({"grid": True}, "grid false in the file, true here"),
    ],
)
def test_a_file_of_another_sweep_is_refused(session, results, changed, message):
    before = results.read_bytes()
    with pytest.raises(ResultsFileError, match=message):
        context_sweep(ContextPredictor(), session, **(SHORT | changed), results=results)
    assert results.read_bytes() == before


def test_a_file_of_another_model_or_session_is_refused(session, other_session, results):
    with pytest.raises(ResultsFileError, match='"contextual" in the file, "b"'):
        context_sweep(ContextPredictor("b"), session, **SHORT, results=results)
    with pytest.raises(ResultsFileError, match="sessions"):
        context_sweep(ContextPredictor(), other_session, **SHORT, results=results)
