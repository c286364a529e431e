"""JSON and YAML of any origin: bounded size, depth, number of values and of digits.

Depth is counted before anything is built: libyaml's own builder is recursive and ends the
process at 60,000 brackets. Infinity, numbers beyond 64 bits or a double, a key twice and
half surrogate pairs are refused; NaN is read only where laboratories write it.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

import numpy as np
import yaml

from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.files import label, name_of, plain_text, read_bytes, read_text

MAX_JSON_BYTES = 256 * 2**20
_MAX_WIDE_BYTES = MAX_JSON_BYTES // 4
MAX_YAML_BYTES = 4 * 2**20
MAX_DEPTH = 100
_MAX_JSON_VALUES = 5_000_000
_MAX_YAML_VALUES = 500_000
_MAX_DIGITS = 20
_MAX_BITS = 64


# -- JSON ---------------------------------------------------------------------------
def read_json(
    path: Path,
    inside: Path | None = None,
    *,
    limit: int = MAX_JSON_BYTES,
    follows: bool = True,
    nan: bool = False,
) -> Any:
    """Return the value in a JSON file; `nan` reads NaN. See `open_binary` for the rest."""
    return decode_json(read_bytes(path, limit, inside, follows=follows), path, nan=nan)


def read_json_mapping(path: Path, inside: Path | None = None) -> dict[str, Any]:
    """Return the object in a JSON file of a laboratory; errors contain the line."""
    return _mapping(read_json(path, inside, nan=True), path, "JSON")


def decode_json(text: str | bytes, place: str | Path, *, nan: bool = False) -> Any:
    """Return the value of JSON text.

    Parameters
    ----------
    place
        File, or words such as "the answer of the hub", for messages.
    nan
        Whether NaN is read.

    Raises
    ------
    SessionFormatError
        The text is no JSON, or exceeds a limit.
    """
    with _refused(place, "JSON"):
        if isinstance(text, bytes):
            # One sign that is not of ASCII makes Python store four bytes for each.
            if len(text) > _MAX_WIDE_BYTES and not text.isascii():
                raise ValueError(f"more than {_MAX_WIDE_BYTES:,} bytes that are not all ASCII")
            text = text.decode("utf-8-sig")
        _check_json(text)
        value = (_WITH_NAN if nan else _STRICT).decode(text)
        if _HALF_PAIR.search(text):
            # An escaped half of a pair is text that no file or window can take.
            json.dumps(value, ensure_ascii=False).encode()
        return value


# A text without an end is removed whole: a search from each of its quotes would take long.
_TEXT = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")


def _check_json(text: str) -> None:
    """Raise ValueError if a text nests too deeply, or has too many values."""
    opened = text.count("[") + text.count("{")
    # The characters inside texts count here; most files need no closer look.
    if opened <= MAX_DEPTH and opened + text.count(",") <= _MAX_JSON_VALUES:
        return
    # As arrays: a loop over millions of brackets would take seconds.
    marks = np.frombuffer(_TEXT.sub("", text).encode("ascii", "replace"), np.uint8)
    opens, closes = ((marks == ord(a)) | (marks == ord(b)) for a, b in ("[{", "]}"))
    n_opened = np.count_nonzero(opens)
    _check_size(0, int(n_opened + np.count_nonzero(marks == ord(","))), _MAX_JSON_VALUES)
    if np.count_nonzero(closes) > n_opened:
        raise ValueError("more brackets close than open")
    steps = opens.astype(np.int8) - closes
    _check_size(int(steps[steps != 0].cumsum(dtype=np.int32).max(initial=0)), 0, 0)


def _check_size(depth: int, n_values: int, most: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"more than {MAX_DEPTH} levels of brackets")
    if n_values > most:
        raise ValueError(f"its values or aliases stand for more than {most:,} values")


def _whole(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"a whole number of {len(text):,} digits")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{shortened(text)} is no finite number")
    return value


def _nan(text: str) -> float:
    if text != "NaN":
        raise ValueError(f"{text} is no finite number")
    return math.nan


def _no_nan(text: str) -> float:
    raise ValueError(f"{text} is no finite number")


def _unique(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        (twice, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key {shortened(twice)} is there twice")
    return found


_STRICT, _WITH_NAN = (
    json.JSONDecoder(
        object_pairs_hook=_unique,
        parse_int=_whole,
        parse_float=_finite,
        parse_constant=constant,
    )
    for constant in (_no_nan, _nan)
)


# -- YAML ---------------------------------------------------------------------------
def read_yaml_mapping(path: Path, inside: Path | None = None) -> dict[str, Any]:
    """Return the mapping in a YAML file; errors contain the line."""
    text = read_text(path, MAX_YAML_BYTES, inside)
    with _refused(path, "YAML"):
        value = _parse_yaml(text)
    return _mapping(value, path, "YAML")


# The C parser is much faster; builds of PyYAML without libyaml lack it.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_LONGEST_INT = 80
"""Characters of 64 bits in base 2, with a sign and underscores."""
_SCALARS = ("null", "bool", "int", "float", "str", "timestamp")


def _parse_yaml(text: str) -> Any:
    loader = _Loader(text)
    try:
        loader.get_event()
        if loader.check_event(yaml.StreamEndEvent):
            return None
        loader.get_event()
        value = _built(loader)
        loader.get_event()
        if not loader.check_event(yaml.StreamEndEvent):
            raise ValueError("a second document")
        return value
    finally:
        loader.dispose()


@dataclass(slots=True)
class _Open:
    """A collection whose end was not read yet; a mapping has keys and values in turn."""

    start: Any
    first: int
    items: list[Any] = field(default_factory=list)

    def value(self) -> Any:
        if isinstance(self.start, yaml.SequenceStartEvent):
            return self.items
        keys = self.items[::2]
        for key in keys:
            if isinstance(key, list | dict):
                raise _wrong(self.start, "a collection as a key")
        try:
            return _unique(list(zip(keys, self.items[1::2], strict=True)))
        except ValueError as error:
            raise _wrong(self.start, str(error)) from error


def _built(loader: Any) -> Any:
    """Return the value of a document from its events, without recursion."""
    opened: list[_Open] = []
    # With the number of values that an anchor stands for: nested aliases grow
    # exponentially ("billion laughs"). One to a collection that is not closed is a cycle.
    anchors: dict[str, tuple[Any, int]] = {}
    n_values = 0
    while True:
        event = loader.get_event()
        anchor, size = event.anchor if hasattr(event, "anchor") else None, 1
        if isinstance(event, yaml.AliasEvent):
            if anchor not in anchors:
                raise _wrong(event, "an alias of nothing, or of what holds it")
            value, size = anchors[anchor]
            anchor = None
        elif isinstance(event, yaml.CollectionStartEvent):
            if event.tag not in (None, "!", _TAG + "map", _TAG + "seq"):
                raise _wrong(event, f"the tag {shortened(event.tag)} is not read")
            opened.append(_Open(event, n_values))
            _check_size(len(opened), n_values, _MAX_YAML_VALUES)
            continue
        elif isinstance(event, yaml.CollectionEndEvent):
            closed = opened.pop()
            value, anchor = closed.value(), closed.start.anchor
        else:
            value = _scalar(loader, event)
        n_values += size
        if isinstance(event, yaml.CollectionEndEvent):
            size = n_values - closed.first
        if anchor is not None:
            anchors[anchor] = (value, size)
        _check_size(len(opened), n_values, _MAX_YAML_VALUES)
        if not opened:
            return value
        opened[-1].items.append(value)


def _scalar(loader: Any, event: Any) -> Any:
    is_tagged = event.tag not in (None, "!")
    tag = event.tag if is_tagged else loader.resolve(yaml.ScalarNode, event.value, event.implicit)
    kind = tag.removeprefix(_TAG)
    if kind == "merge":
        # A merge copies a mapping, so nested merges grow exponentially.
        raise _wrong(event, "merge keys (<<) are not read")
    if not is_tagged and (kind == "value" or (kind in ("int", "float") and ":" in event.value)):
        # YAML 1.1 reads 1:30 as a number of base 60.
        kind = "str"
    if kind not in _SCALARS:
        raise _wrong(event, f"the tag {shortened(tag)} is not read")
    if kind == "str":
        event.value.encode()  # raises for half of a surrogate pair
        return event.value
    if kind == "int" and len(event.value) > _LONGEST_INT:
        raise _wrong(event, f"a whole number of {len(event.value):,} digits")
    node = yaml.ScalarNode(tag, event.value, event.start_mark)
    try:
        value = loader.yaml_constructors[tag](loader, node)
    except (ValueError, LookupError, AttributeError, ArithmeticError) as error:
        raise _wrong(event, f"{shortened(event.value)} is no {kind}") from error
    is_huge = kind == "int" and value.bit_length() > _MAX_BITS
    if is_huge or (kind == "float" and math.isinf(value) and "inf" not in event.value.lower()):
        raise _wrong(event, f"the number {shortened(event.value)} is too large")
    return value


def _wrong(event: Any, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


# -- both ---------------------------------------------------------------------------
@contextmanager
def _refused(place: str | Path, kind: str) -> Iterator[None]:
    """Turn errors of a parser in the block into `SessionFormatError`."""
    try:
        yield
    except (yaml.YAMLError, ValueError, RecursionError, ArithmeticError) as error:
        mark = getattr(error, "problem_mark", None)  # of YAML
        line = getattr(error, "lineno", None if mark is None else mark.line + 1)
        position = "" if line is None else f" line {line}"
        problem = str(getattr(error, "problem", None) or getattr(error, "msg", error))
        if isinstance(error, UnicodeError):
            problem = "not UTF-8 text"
        raise SessionFormatError(
            place,
            f"bad_{kind.lower()}",
            f"{name_of(place)}{position}: not valid {kind}: {plain_text(problem)}",
            "only plain keys and values are read",
        ) from error


def _mapping(value: Any, path: Path, kind: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        content = "nothing" if value is None else f"a {type(value).__name__}"
        raise SessionFormatError(
            path,
            f"bad_{kind.lower()}",
            f"{label(path)}: must hold `key: value` pairs, found {content}",
        )
    return {str(key): item for key, item in value.items()}
