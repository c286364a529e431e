"""Files of sweeps: continued to the same bytes, refused by line or setting, read alone."""

import errno
import json
from dataclasses import replace

import pytest

from omnimouse_model.analysis.sweep.run import context_sweep
from omnimouse_model.analysis.sweep.table import SUFFIX, distinct_curves, read_sweep, saved_sweeps
from omnimouse_model.errors import ResultsFileError
from omnimouse_model.evaluation.results import CEILING
from omnimouse_model.predict.predictor import Needs
from omnimouse_model.progress import CallbackJob
from tests.model.analysis.sweep.test_run import other_session as other_session
from tests.model.analysis.sweep.test_run import session as session
from tests.model.context_predictor import ContextPredictor

SHORT = {"neurons": [0, 8, 16], "seeds": 1, "max_windows": 2, "centred": False}
ABOUT = {"name": "first look", "begun": "2026-03-01 14:05", "predictor": "contextual"}


def swept(session, path, **changed):
    """Compute or continue the short sweep; return it and the masks that were asked."""
    predictor = ContextPredictor()
    found = context_sweep(predictor, session, **(SHORT | changed), results=path)
    return found, predictor.asked


@pytest.fixture(scope="module")
def whole(session, tmp_path_factory):
    """Content of a complete file."""
    path = tmp_path_factory.mktemp("sweep") / "sweep.jsonl"
    swept(session, path, about=ABOUT)
    return path.read_bytes()


@pytest.fixture
def results(whole, tmp_path):
    path = tmp_path / f"a{SUFFIX}"
    path.write_bytes(whole)
    return path


def stop_after(count):
    """What ends a sweep once so many rows are there."""
    seen = []
    job = CallbackJob(cancelled=lambda: bool(seen) and len(seen[-1].rows) >= count)
    return {"job": job, "on_part": seen.append}


@pytest.mark.slow
def test_going_on_is_exactly_as_if_it_had_not_stopped(session, other_session, tmp_path):
    ask = {"neurons": [0, 8, 32], "history_samples": [10], "seeds": 2}
    ask |= {"behavior": [True, False], "max_windows": 1}
    sessions, broken, unbroken = [session, other_session], tmp_path / "a", tmp_path / "b"
    expected, _ = swept(sessions, unbroken, **ask)
    for count in (3, 13):
        swept(sessions, broken, **ask, **stop_after(count))
    resumed, asked = swept(sessions, broken, **ask)
    assert len(asked) == sum(not row.refusal for row in resumed.rows[13:])
    assert resumed.table() == expected.table()
    assert broken.read_bytes() == unbroken.read_bytes()


@pytest.mark.parametrize("cut", [1, 2, 40, 0])
def test_half_a_last_line_or_an_empty_one_is_done_again(session, results, whole, cut):
    *lines, last = whole.splitlines(keepends=True)
    results.write_bytes(b"".join(lines) + (last[:-cut] or b"\0" * 50 + b"\n"))
    if cut:  # who only reads leaves it out, and alone
        half, content = read_sweep(results), results.read_bytes()
        assert len(half.sweep.rows) == half.sweep.n_planned - 1
        assert not half.is_complete
        assert results.read_bytes() == content
    _, asked = swept(session, results)
    assert len(asked) == 2
    assert results.read_bytes() == whole


def test_what_a_kill_after_the_creation_has_left_is_removed(session, results):
    left = results.with_name(f".{results.name}.77-01234567.part")
    left.mkdir()
    (left / "lock").touch()
    swept(session, results)
    assert [path.name for path in results.parent.iterdir()] == [results.name]


def test_hard_links_are_not_needed(session, tmp_path, whole, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    path = tmp_path / "again.jsonl"
    swept(session, path, about=ABOUT)
    assert path.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [path]


# -- what is refused -------------------------------------------------------------------
def with_line(number, line):
    return lambda lines: [*lines[:number], line, *lines[number:][1:]]


def with_values(number, **changed):
    """Return an edit that changes values of a line, or removes those that are `...`."""

    def edit(lines):
        values = json.loads(lines[number]) | changed
        known = {name: value for name, value in values.items() if value is not ...}
        lines[number] = json.dumps(known).encode() + b"\n"
        return lines

    return edit


DAMAGED = r"Line 3 of .*sweep\.jsonl is damaged"
OTHER_LINES = (b"{}\n", b'{"key": 3}\n', b"]\n", b"\xff\n", b"\n")
OTHER_TYPES = ({"n_neurons": None}, {"session": 3}, {"context": []})
OTHER_FILES = (b"", b"a,b\n1,2\n", b"[]\n", b'{"omnimouse_sweep": 1}\n', b"\x89PNG")
EDITS = {
    **{f"line {line!r}": (with_line(2, line), DAMAGED) for line in OTHER_LINES},
    **{f"row of {one}": (with_values(2, **one), DAMAGED) for one in OTHER_TYPES},
    **{
        f"file {content!r}": (
            lambda _, content=content: [content],
            "not the results file of a sweep",
        )
        for content in OTHER_FILES
    },
    "newer last line": (with_values(-1, ci_low=..., ci_high=..., interval=[0, 1]), "newer version"),
    "newer file": (with_values(0, omnimouse_sweep=9), "format 9, this version writes 1"),
}
SETTINGS = [
    ({"neurons": [0, 8]}, r"neurons \[0, 8, 16\] in the file, \[0, 8\] here"),
    ({"seeds": 2}, r"seeds \[0\] in the file, \[0, 1\] here"),
    ({"max_windows": 3}, "max_windows 2 in the file, 3 here"),
    ({"grid": True}, "grid false in the file, true here"),
]


@pytest.mark.parametrize(
    ("edit", "asked", "message"),
    [pytest.param(edit, {}, message, id=name) for name, (edit, message) in EDITS.items()]
    + [pytest.param(list, asked, message) for asked, message in SETTINGS],
)
def test_a_file_of_something_else_is_refused_and_left_alone(
    session, results, whole, edit, asked, message
):
    content = b"".join(edit(whole.splitlines(keepends=True)))
    results.write_bytes(content)
    with pytest.raises(ResultsFileError, match=message):
        swept(session, results, **asked)
    assert results.read_bytes() == content


def test_a_file_of_another_model_or_session_is_refused(session, other_session, results):
    with pytest.raises(ResultsFileError, match='"contextual" in the file, "b"'):
        context_sweep(ContextPredictor("b"), session, **SHORT, results=results)
    with pytest.raises(ResultsFileError, match="sessions"):
        swept(other_session, results)


# -- files that are only read ----------------------------------------------------------
def test_a_file_says_all_that_the_sweep_was(session, tmp_path):
    path = tmp_path / f"a{SUFFIX}"
    made, _ = swept(session, path, video=[True, False], seeds=2, about=ABOUT)
    found = read_sweep(path)
    assert (found.sweep.table(), found.sweep.plan) == (made.table(), made.plan)
    assert found.is_complete
    assert (found.name, found.started) == ("first look", "2026-03-01 14:05")
    assert dict(found.about) == ABOUT


class BlindPredictor(ContextPredictor):
    """Reads no video, and behaviour alone."""

    needs = Needs(sees_behavior=True)


def test_curves_name_only_inputs_that_are_read(session, tmp_path):
    path = tmp_path / f"a{SUFFIX}"
    ask = SHORT | {"video": [True, False], "behavior": [True, False]}
    made = context_sweep(BlindPredictor(), session, **ask, results=path)
    assert [one.label for one in distinct_curves(made)] == ["behaviour", "nothing"]
    assert len(made.curves()) == 4
    with pytest.raises(KeyError, match=r"with video at 9; there are: .* with video \+ b"):
        made.curve("neurons", behavior=False, fixed=9)
    # The first one with a score stays.
    rows = tuple(
        replace(row, score=float("nan")) if row.context.video else row for row in made.rows
    )
    assert not any(one.video for one in distinct_curves(replace(made, rows=rows)))
    found = read_sweep(path).sweep
    assert (found.unread, found.table()) == (("video",), made.table())
    assert "video" not in repr(found)


def test_a_point_of_another_curve_is_no_curve_of_its_own(session, tmp_path):
    made, _ = swept(session, tmp_path / f"a{SUFFIX}", history_samples=[0])
    assert [(one.axis, one.values) for one in made.curves()][1] == ("history_samples", (0,))
    assert [one.values for one in distinct_curves(made)] == [(0, 8, 16)]
    # Alone, it is all there is.
    single, _ = swept(session, tmp_path / f"b{SUFFIX}", neurons=[8])
    assert [one.values for one in distinct_curves(single)] == [(8,)]


def test_a_sweep_says_of_what_its_ceilings_are(session, tmp_path):
    made, _ = swept(session, tmp_path / f"a{SUFFIX}")
    assert "ceilings" not in repr(made)
    rows = tuple(replace(row, ceiling=0.6) for row in made.rows)
    assert f"ceilings {CEILING}" in repr(replace(made, rows=rows))
    assert repr(replace(made, rows=rows)).count("; ceiling 0.600") == len(rows)


@pytest.mark.parametrize("text", ["", "{}\n", "what\n", '{"omnimouse_sweep": 9}\n', 9999 * "\xff"])
def test_a_file_that_is_none_says_so(tmp_path, text):
    path = tmp_path / f"odd{SUFFIX}"
    path.write_bytes(text.encode("latin-1"))
    found = read_sweep(path)
    assert found.sweep is None
    assert 0 < len(found.problem) < 1000
    assert found.name == "odd"


def test_a_file_with_odd_notes_and_a_link_to_nothing_stop_no_list(results, tmp_path):
    lost = tmp_path / f"lost{SUFFIX}"
    results.write_text(results.read_text().replace(json.dumps(ABOUT), "5"))
    lost.symlink_to(tmp_path / "nothing")
    assert saved_sweeps(tmp_path) == [results, lost]
    assert all("cannot be read" in read_sweep(one).problem for one in (results, lost))
