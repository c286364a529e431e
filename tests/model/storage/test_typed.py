from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from omnimouse_model.errors import MaskError, SessionFormatError
from omnimouse_model.storage.typed import Within, decode, refused_as

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
