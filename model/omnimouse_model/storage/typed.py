"""Values of JSON or YAML as frozen dataclasses; errors name file, field, found, expected."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields, is_dataclass
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

from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.files import name_of, plain_text

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
    kind: Kind[T], tree: object, place: str | Path, field: str = "", *, is_open: bool = False
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

    Raises
    ------
    SessionFormatError
        A field is unknown, missing or wrong; the message has the field, its value and
        what is expected.
    """
    # mypy cannot state that the decoder returns what the type says.
    return _Decoder(place, field if is_open else None).value(kind, tree, field)  # type: ignore[no-any-return]


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
