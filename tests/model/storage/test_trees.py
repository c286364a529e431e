import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml

from omnimouse_model.errors import MaskError, SessionFormatError
from omnimouse_model.storage import trees
from omnimouse_model.storage.trees import (
    MAX_DEPTH,
    Within,
    decode,
    decode_json,
    read_json,
    read_json_mapping,
    read_or_set_aside,
    read_yaml_mapping,
    refused_as,
    take_notes,
    write_state,
)


def json_refusal(text: str | bytes) -> str:
    with pytest.raises(SessionFormatError) as error:
        decode_json(text, "the answer")
    assert error.value.code == "bad_json"
    assert len(error.value.message) < 400
    return error.value.message


def yaml_of(folder: Path, text: str) -> dict[str, object]:
    (folder / "a.yml").write_text(text, encoding="utf-8")
    return read_yaml_mapping(folder / "a.yml")


def yaml_refusal(folder: Path, text: str) -> str:
    with pytest.raises(SessionFormatError, match=r"a\.yml") as error:
        yaml_of(folder, text)
    assert error.value.code == "bad_yaml"
    assert len(error.value.message) < 400
    return error.value.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1, "a": 2}', "'a' is there twice"),
        ("NaN", "NaN is no finite number"),
        ("[-Infinity]", "-Infinity is no finite number"),
        ("1e400", "'1e400' is no finite number"),
        ("[-1.0e999999999]", "no finite number"),
        ("9" * 5000, "a whole number of 5,000 digits"),
        ("-" + "1" * 21, "a whole number of 22 digits"),
        ('"\\ud800"', "not UTF-8 text"),
        ('{"\\udc00": 1}', "not UTF-8 text"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "levels of brackets"),
        ('{"a":' * 60_000, "levels of brackets"),
        ("", "Expecting value"),
        ("{} {}", "Extra data"),
        ("{'a': 1}", "line 1"),
        ('{"a": "\t"}', "control character"),
        ("nul", "Expecting value"),
        ("1".encode("utf-16"), "not UTF-8 text"),
        (b'"\xff"', "not UTF-8 text"),
        (b'"\xed\xa0\x80"', "not UTF-8 text"),
    ],
)
def test_json_that_is_no_plain_tree_is_refused_in_one_line(text, words):
    assert words in json_refusal(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'\xef\xbb\xbf{"a": [1, 2.5, null, true]}', {"a": [1, 2.5, None, True]}),
        ("18446744073709551615", 2**64 - 1),
        ('"\\ud83d\\udc2d"', "\U0001f42d"),
        ('"\\\\ud800"', "\\ud800"),
        ('"' + "[" * 1000 + '\\"]"', "[" * 1000 + '"]'),
        ("[" * MAX_DEPTH + "]" * MAX_DEPTH, None),
    ],
)
def test_json_within_the_limits_is_read_as_it_is(text, value):
    found = decode_json(text, "the answer")
    assert value is None or found == value


def test_brackets_beside_each_other_are_not_nested():
    assert decode_json("[" + ",".join(["[{}]"] * 500) + "]", "x") == [[{}]] * 500


def test_a_text_of_too_many_values_is_refused_before_it_is_built(monkeypatch):
    monkeypatch.setattr(trees, "_MAX_JSON_VALUES", 1000)
    assert "more than 1,000 values" in json_refusal("[" + "[]," * 1000 + "0]")
    assert "more than 1,000 values" in json_refusal("[" + "0," * 1001 + "0]")
    assert decode_json('"' + "," * 5000 + '"', "x") == "," * 5000


def test_a_damaged_text_of_quotes_takes_no_long_time():
    # One attempt per quote would take the square of its length.
    json_refusal('["' + '\\"' * 200_000 + "[" * 200)


def test_the_last_of_many_keys_that_is_there_twice_is_found_at_once():
    # A search for it among all keys before each key would take minutes.
    keys = ", ".join(f'"{n}": 1' for n in range(200_000))
    with pytest.raises(SessionFormatError, match="'199999' is there twice"):
        decode_json(f'{{{keys}, "199999": 2}}', "the file")


def test_a_laboratory_may_write_nan_but_not_infinity(tmp_path):
    (tmp_path / "a.json").write_text('{"a": NaN}')
    assert math.isnan(read_json_mapping(tmp_path / "a.json")["a"])
    with pytest.raises(SessionFormatError, match="NaN is no finite number"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_text('{"a": Infinity}')
    with pytest.raises(SessionFormatError, match="Infinity is no finite number"):
        read_json_mapping(tmp_path / "a.json")


def test_the_line_of_damaged_json_is_named(tmp_path):
    (tmp_path / "a.json").write_text('{"a": 1,\n "b": x}')
    with pytest.raises(SessionFormatError, match=r"a\.json line 2: not valid JSON"):
        read_json_mapping(tmp_path / "a.json")


PLAIN = {
    "whole": [1, -3, 0x1F, 2**63],
    "text": ["a b", "1:30", "", "=", "\U0001f42d", "no more"],
    "rest": {"on": True, "nothing": None, "half": 0.5, 1: "one"},
    "empty": [[], {}],
}


def test_yaml_of_plain_values_is_read_as_it_was_written(tmp_path):
    assert yaml_of(tmp_path, yaml.safe_dump(PLAIN)) == PLAIN
    assert yaml_of(tmp_path, yaml.safe_dump(PLAIN, default_flow_style=True)) == PLAIN
    assert yaml_of(tmp_path, json.dumps(PLAIN, ensure_ascii=False)) == json.loads(json.dumps(PLAIN))


def test_aliases_of_yaml_stand_for_their_value(tmp_path):
    assert yaml_of(tmp_path, "a: &x [1, 2]\nb: *x\nc: &y 5\nd: *y\n") == {
        "a": [1, 2],
        "b": [1, 2],
        "c": 5,
        "d": 5,
    }


def test_times_with_colons_are_text_and_no_numbers_of_base_60(tmp_path):
    text = "a: 1:30\nb: 12:30:45.5\nc: -1:00\n"
    assert yaml_of(tmp_path, text) == {"a": "1:30", "b": "12:30:45.5", "c": "-1:00"}


LAUGHS = "a0: &a0 [x]\n" + "".join(
    f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(9)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LAUGHS, "aliases stand for more than"),
        ("a: &a [*a]\n", "an alias of nothing, or of what holds it"),
        ("a: *b\n", "an alias of nothing"),
        ("a: &a {b: 1}\nc:\n  <<: *a\n", "merge keys (<<) are not read"),
        ("a: 1\nb: 2\na: 3\n", "'a' is there twice"),
        ("{a: {b: 1, b: 2}}\n", "'b' is there twice"),
        ("? [a]\n: 1\n", "a collection as a key"),
        ("a: !!python/object/apply:os.system [x]\n", "is not read"),
        ("a: !!binary aGk=\n", "is not read"),
        ("a: !!int x\n", "'x' is no int"),
        ("a: !!int ''\n", "'' is no int"),
        ("a: !!bool x\n", "'x' is no bool"),
        ("a: !!timestamp x\n", "'x' is no timestamp"),
        ("a: 2020-13-01\n", "is no timestamp"),
        (f"a: {'9' * 5000}\n", "a whole number of 5,000 digits"),
        (f"a: 0x{'f' * 50}\n", "too large"),
        ("a: 1.0e+400\n", "too large"),
        ("a: 1\n---\nb: 2\n", "a second document"),
        ("a: [1\n", "line"),
        ('a: "\x01"\n', "not valid YAML"),
        ('a: "\\ud800"\n', "not valid YAML"),
    ],
)
def test_yaml_that_is_no_plain_tree_is_refused_in_one_line(tmp_path, text, words):
    assert words in yaml_refusal(tmp_path, text)


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("text", ["[", "{a: ", "- ", "? ", "[{"])
def test_deep_yaml_ends_in_an_error_and_not_the_process(tmp_path, text):
    (tmp_path / "a.yml").write_text(text * 60_000)
    program = (
        "import sys; from pathlib import Path\n"
        "from omnimouse_model.storage.trees import read_yaml_mapping\n"
        "try: read_yaml_mapping(Path(sys.argv[1]))\n"
        "except ValueError as error: print(str(error)[:300])\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "a.yml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert "not valid YAML" in done.stdout


@pytest.mark.parametrize("text", ["", "- 1\n", "just text", "5"])
def test_a_mapping_is_wanted(tmp_path, text):
    assert "must hold `key: value` pairs" in yaml_refusal(tmp_path, text)


def test_no_sign_of_a_file_controls_a_terminal(tmp_path):
    (tmp_path / "a\x1b[2J.yml").write_text('a: !<\x85"\u202e> 1\n', encoding="utf-8")
    with pytest.raises(SessionFormatError) as error:
        read_yaml_mapping(tmp_path / "a\x1b[2J.yml")
    assert error.value.message.isprintable()
    assert json_refusal('{"\u202ea": 1, "\u202ea": 2}').isprintable()


def test_wide_text_is_refused_before_it_takes_four_times_its_bytes(monkeypatch):
    monkeypatch.setattr(trees, "_MAX_WIDE_BYTES", 100)
    long = '["%s"]' % ("a" * 100)
    assert trees.decode_json(long.encode(), "x") == ["a" * 100]
    with pytest.raises(SessionFormatError, match="not all ASCII"):
        trees.decode_json(long.replace("a", "\N{MOUSE}", 1).encode(), "x")


Count = Annotated[int, Within(1, 10)]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of `Whole`."""

    name: str
    rate_hz: float = 30.0

    def __post_init__(self) -> None:
        if self.rate_hz <= 0:
            raise ValueError("rate_hz must be above 0")


@dataclass(frozen=True, slots=True)
class Whole:
    """Fields of every kind."""

    count: Count
    mode: Literal["a", "b", 1] = "a"
    part: Part | None = None
    parts: tuple[Part, ...] = ()
    pair: tuple[int, float] = (0, 0.0)
    names: Annotated[list[str], Within(0, 2)] = field(default_factory=list)
    weights: Mapping[str, float] = field(default_factory=dict)
    is_on: bool = False
    either: int | str = 0
    place: Path | None = None
    rest: Any = None
    made: int = field(default=3, init=False)


def test_a_tree_becomes_the_dataclasses_of_its_fields():
    tree = {
        "count": 2,
        "mode": 1,
        "part": {"name": "x", "rate_hz": 7},
        "parts": [{"name": "y"}],
        "pair": [1, 2],
        "names": ["n"],
        "weights": {"w": 1},
        "is_on": True,
        "either": "text",
        "place": "/data",
        "rest": [1, {"a": None}],
    }
    found = decode(Whole, tree, Path("f/a.json"))
    assert found == Whole(
        2, 1, Part("x", 7.0), (Part("y"),), (1, 2.0), ["n"], {"w": 1.0}, True, "text",
        Path("/data"), [1, {"a": None}],
    )  # fmt: skip
    assert isinstance(found.part.rate_hz, float)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": 0}, "f/a.json: count: found 0, expected 1 to 10"),
        ({"count": True}, "count: found True, expected a whole number"),
        ({"count": 2.0}, "count: found 2.0, expected a whole number"),
        ({"mode": True}, "mode: found True, expected 'a' or 'b' or 1"),
        ({"mode": ["a"]}, "mode: found ['a'], expected 'a'"),
        ({"part": {"rate_hz": 3}}, "part.name: found nothing, expected text"),
        ({"part": {"name": "x", "rate_hz": -1}}, "part: rate_hz must be above 0"),
        ({"part": {"name": "x", "rate_hz": 10**400}}, "part.rate_hz: found 1000"),
        ({"count": 10**5000}, "count: found a number of too many digits, expected 1 to 10"),
        ({"part": {"name": "x", "rate_hz": float("nan")}}, "part.rate_hz: found nan"),
        ({"part": [1]}, "part: found [1], expected an object of fields"),
        ({"parts": [{"name": "x"}, {"name": 1}]}, "parts[1].name: found 1, expected text"),
        ({"parts": {"name": "x"}}, "parts: found {'name': 'x'}, expected a list"),
        ({"pair": [1]}, "pair: found [1], expected a list of 2"),
        ({"names": ["a", "b", "c"]}, "names: found ['a', 'b', 'c'], expected 0 to 2 values"),
        ({"weights": {"w": "1"}}, "weights.w: found '1', expected a finite number"),
        ({"weights": {1: 1.0}}, "weights: found {1: 1.0}, expected an object"),
        ({"either": None}, "either: found None, expected a whole number or text"),
        ({"place": "a\0b"}, "place: found 'a\\x00b', expected a path"),
        ({"is_on": 1}, "is_on: found 1, expected true or false"),
        ({"more": 1}, "found 'more', expected only the fields count, mode"),
        ({"made": 1}, "found 'made', expected only the fields"),
        ({5: 1}, "found 5, expected only the fields"),
    ],
)
def test_the_first_wrong_field_is_named_with_what_was_found_and_expected(change, message):
    with pytest.raises(SessionFormatError) as error:
        decode(Whole, {"count": 2} | change, Path("f/a.json"))
    assert message in error.value.message
    assert len(error.value.message) < 400


def test_fields_of_a_newer_version_can_be_left_out():
    assert decode(Part, {"name": "x", "more": 1}, "the note", is_open=True) == Part("x")
    with pytest.raises(SessionFormatError, match=r"^the note: found 'more'"):
        decode(Part, {"name": "x", "more": 1}, "the note")


def test_long_values_are_cut_in_messages():
    with pytest.raises(SessionFormatError) as error:
        decode(Whole, {"count": "x" * 10**6, "y" * 10**6: 1}, "a")
    assert len(error.value.message) < 400


def test_types_need_no_dataclass():
    assert decode(dict[str, tuple[int, ...]], {"a": [1, 2]}, "a") == {"a": (1, 2)}


def test_a_refusal_becomes_the_error_of_its_reader():
    with pytest.raises(MaskError, match=r"^a: found 1, expected text"), refused_as(MaskError):
        decode(str, 1, "a")


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
