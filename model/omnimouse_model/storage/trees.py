"""JSON and YAML of any origin: trees of bounded size, and their values as frozen dataclasses.

Depth is counted before anything is built: libyaml's own builder is recursive and ends the
process at 60,000 brackets. Infinity, numbers beyond 64 bits or a double, a key twice and
half surrogate pairs are refused; NaN is read only where laboratories write it.

Errors name file, field, what was found and what is expected. A damaged file of the user's
own settings is set aside and never stops a start.
"""

import json
import logging
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import cache
from pathlib import Path
from reprlib import repr as shortened
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import numpy as np
import yaml

from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.files import bad_file, name_of, plain_text, read_bytes, read_text
from omnimouse_model.storage.write import write_json

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
    path: Path, inside: Path | None = None, *, limit: int = MAX_JSON_BYTES, nan: bool = False
) -> Any:
    """Return the value in a JSON file; `nan` reads NaN. See `open_binary` for the rest."""
    return decode_json(read_bytes(path, limit, inside), path, nan=nan)


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
        object_pairs_hook=_unique, parse_int=_whole, parse_float=_finite, parse_constant=constant
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
        problem = f"must hold `key: value` pairs, found {content}"
        raise bad_file(path, f"bad_{kind.lower()}", problem)
    return {str(key): item for key, item in value.items()}


T = TypeVar("T")
if TYPE_CHECKING:
    Kind = type[T]
else:
    # At run time also unions, literals and annotated types, which are no classes.
    Kind = {T: Any}
_NOTHING = object()
_NO_POINT = " (YAML reads 1e-3 as text: write 1.0e-3)"
_LARGEST = sys.float_info.max
_PLAIN = {str: "text", bool: "true or false", int: "a whole number", float: "a finite number"}


@dataclass(frozen=True, slots=True)
class Within:
    """Bounds of a number, or of a length, in `Annotated[int, Within(0, 9)]`."""

    low: int | float
    high: int | float


def decode(
    kind: Kind[T],
    tree: object,
    place: str | Path,
    field: str = "",
    *,
    is_open: bool = False,
    null_is_nan: bool = False,
) -> T:
    """Return a value of a type from JSON or YAML values.

    Parameters
    ----------
    kind
        Dataclass, or a type of its fields: numbers, text, `Literal`, `Annotated` with
        `Within`, unions, lists, tuples and mappings of them. `Any` is taken as it is.
    place
        File, or words for what is no file, for messages.
    field
        Name of the value in the file, for messages.
    is_open
        Whether unknown fields of the outermost dataclass are left out: a newer version
        may have written them.
    null_is_nan
        Whether null stands for NaN, which JSON does not have, where a number is expected.

    Raises
    ------
    SessionFormatError
        A field is unknown, missing or wrong; the message has the field, its value and
        what is expected.
    """
    return _Decoder(place, field if is_open else None, null_is_nan).value(kind, tree, field)


@contextmanager
def refused_as(make: Callable[[str], Exception]) -> Iterator[None]:
    """Turn every `SessionFormatError` of the block into an error made of its message."""
    try:
        yield
    except SessionFormatError as error:
        raise make(str(error)) from error


@cache
def _types(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


@dataclass(frozen=True, slots=True)
class _Decoder:
    place: str | Path
    opened: str | None
    """The field whose unknown fields are left out."""
    null_is_nan: bool

    def wrong(self, field: str, found: object, expected: str) -> SessionFormatError:
        content = "nothing" if found is _NOTHING else shown(found)
        where = f"{field}: " if field else ""
        message = f"{name_of(self.place)}: {where}found {content}, expected {expected}"
        return SessionFormatError(self.place, "bad_field", message)

    def value(self, kind: Any, tree: Any, field: str) -> Any:
        """Return a value of a type; raise an error with the path of the field."""
        origin, inner = get_origin(kind), get_args(kind)
        if kind is Any:
            return tree
        if origin is Annotated:
            return self._bounded(self.value(inner[0], tree, field), inner[1], field)
        if origin in (Union, UnionType):
            return self._union(inner, tree, field)
        if origin is Literal:
            # With the type: in Python, True equals 1.
            if not any(type(one) is type(tree) and one == tree for one in inner):
                raise self.wrong(field, tree, _words(kind))
            return tree
        if is_dataclass(kind):
            return self._record(kind, tree, field)
        if origin in (list, tuple, Sequence):
            return self._items(origin, inner, tree, field)
        if origin in (dict, Mapping):
            if not isinstance(tree, Mapping) or not all(isinstance(key, str) for key in tree):
                raise self.wrong(field, tree, _words(kind))
            return {k: self.value(inner[1], v, _below(field, k)) for k, v in tree.items()}
        return self._plain(kind, tree, field)

    def _plain(self, kind: Any, tree: Any, field: str) -> Any:
        # `type` and not `isinstance`: True is an int in Python.
        if kind is float and type(tree) in (int, float) and abs(tree) <= _LARGEST:
            return float(tree)
        if kind is float and tree is None and self.null_is_nan:
            return math.nan
        if (kind is None or kind is NoneType) and tree is None:
            return None
        if kind is Path and type(tree) is str and "\0" not in tree:
            return Path(tree)
        # No name of a file, and no text of a window, holds a NUL.
        has_nul = type(tree) is str and "\0" in tree
        if kind is float or type(tree) is not kind or has_nul:
            hint = _NO_POINT if kind is float and isinstance(tree, str) else ""
            raise self.wrong(field, tree, _words(kind) + hint)
        return tree

    def _bounded(self, value: Any, bounds: Within, field: str) -> Any:
        is_number = isinstance(value, int | float)
        number = value if is_number else len(value)
        if not bounds.low <= number <= bounds.high:
            what = "" if is_number else " values"
            raise self.wrong(field, value, f"{bounds.low:,} to {bounds.high:,}{what}")
        return value

    def _union(self, kinds: tuple[Any, ...], tree: Any, field: str) -> Any:
        others = [kind for kind in kinds if kind is not NoneType]
        if tree is None and len(others) < len(kinds):
            return None
        if len(others) == 1:
            return self.value(others[0], tree, field)
        for kind in others:
            try:
                return self.value(kind, tree, field)
            except SessionFormatError:
                continue
        raise self.wrong(field, tree, " or ".join(map(_words, kinds)))

    def _items(self, origin: Any, inner: tuple[Any, ...], tree: Any, field: str) -> Any:
        is_fixed = origin is tuple and inner[-1] is not Ellipsis
        is_list = isinstance(tree, list | tuple)
        if not is_list or (is_fixed and len(tree) != len(inner)):
            expected = f"a list of {len(inner)}" if is_fixed else "a list"
            raise self.wrong(field, tree, expected)
        kinds = inner if is_fixed else (inner[0],) * len(tree)
        pairs = enumerate(zip(kinds, tree, strict=True))
        found = [self.value(kind, item, f"{field}[{n}]") for n, (kind, item) in pairs]
        return found if origin is list else tuple(found)

    def _record(self, kind: Any, tree: Any, field: str) -> Any:
        if not isinstance(tree, Mapping):
            raise self.wrong(field, tree, "an object of fields")
        types, values = _types(kind), {}
        known = [one for one in fields(kind) if one.init]
        names = [one.name for one in known]
        unknown = next((key for key in tree if key not in names), None)
        if unknown is not None and field != self.opened:
            raise self.wrong(field, unknown, f"only the fields {', '.join(names)}")
        for one in known:
            place = _below(field, one.name)
            if one.name in tree:
                values[one.name] = self.value(types[one.name], tree[one.name], place)
            elif one.default is MISSING and one.default_factory is MISSING:
                raise self.wrong(place, _NOTHING, _words(types[one.name]))
        try:
            return kind(**values)
        except SessionFormatError:
            raise
        except (ValueError, TypeError, ArithmeticError, RecursionError) as error:
            where = f"{field}: " if field else ""
            message = f"{name_of(self.place)}: {where}{plain_text(str(error))}"
            raise SessionFormatError(self.place, "bad_field", message) from error


def shown(value: object) -> str:
    """Return a value in short form for messages, without control characters."""
    try:
        return shortened(value)
    except ValueError:  # a whole number of thousands of digits
        return "a number of too many digits"


def _below(field: str, name: str) -> str:
    short = plain_text(name) if len(name) <= 40 else shortened(name)
    return f"{field}.{short}" if field else short


def _words(kind: Any) -> str:
    """Return what a type expects, in words."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _words(inner[0])
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if origin in (Union, UnionType):
        return " or ".join(map(_words, inner))
    if origin in (list, tuple, Sequence):
        return "a list"
    if is_dataclass(kind) or origin in (dict, Mapping):
        return "an object of fields"
    if kind is NoneType:
        return "nothing"
    return "a path" if kind is Path else _PLAIN.get(kind, getattr(kind, "__name__", str(kind)))


logger = logging.getLogger(__name__)
DAMAGED = ".damaged"
_MAX_BYTES = 256 * 2**20
# For the front end, which shows them once; reading can happen before it exists.
_notes: list[str] = []


def read_or_set_aside(
    path: Path, kind: Kind[T], check: Callable[[T], None] | None = None
) -> T | None:
    """Return the value in a file of settings; None if there is none, or it is damaged.

    A damaged file, or one of another program, gets the ending `.damaged`, so that the next
    one does not overwrite it; a note says so. Fields of a newer version are left out.

    Parameters
    ----------
    check
        Raises ValueError for values that are wrong together.
    """
    try:
        tree = read_json(path, limit=_MAX_BYTES)
        # An object of other fields alone: another program wrote it.
        names = [one.name for one in fields(kind)] if is_dataclass(kind) else []
        if names and isinstance(tree, dict) and tree and tree.keys().isdisjoint(names):
            raise SessionFormatError(path, "bad_field", f"{path.name} has none of our fields")
        found = decode(kind, tree, path, is_open=True)
        if check is not None:
            check(found)
        return found
    except SessionFormatError as error:
        if error.code == "missing_file":
            return None
        _set_aside(path, error)
    except ValueError as error:
        _set_aside(path, error)
    return None


def _set_aside(path: Path, error: ValueError) -> None:
    aside = path.with_name(path.name + DAMAGED)
    try:
        path.replace(aside)
        note = f"{path} is damaged and was set aside as {aside.name}; it starts empty: {error}"
    except OSError as problem:
        note = f"{path} cannot be read, and is ignored: {error} ({problem.strerror})"
    logger.warning(note)
    _notes.append(note)


def take_notes() -> tuple[str, ...]:
    """Return what was set aside since the last call, one sentence each."""
    taken = tuple(_notes)
    _notes.clear()
    return taken


def write_state(path: Path, values: object) -> None:
    """Write a file of settings atomically; log if it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Readable by the user only: paths and addresses can be private.
        write_json(path, values, is_private=True)
    except OSError as error:
        logger.warning("%s is not saved: %s", path.name, error)
