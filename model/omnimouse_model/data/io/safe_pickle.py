"""Reading the pickled arrays of suite2p without running anything that they hold.

A pickle names what is to be called. Here only arrays, their types, plain containers,
paths and dates have a meaning, and each becomes inert notes first; arrays are made
afterwards, once their sizes have been compared with the bytes that there are. The
unpickler is Python's own in Python: the one in C takes memory for any number of
remembered objects that a file claims.
"""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from omnimouse_model.data.io.safe_files import (
    MAX_SMALL_ARRAY_BYTES,
    label,
    open_binary,
    read_npy_header,
)
from omnimouse_model.errors import SessionFormatError

_MOST_DIMENSIONS = 8
_DEEPEST = 32
_LONGEST_NAME = 4096
_SPARE_BYTES = 16 * 2**20
_COPIES = 8
"""Calls may be given so many times the bytes that a file has, and no more."""


def load_pickled(path: Path) -> Any:
    """The object array of a `.npy` as plain containers, numbers, texts and arrays.

    A 0-d array gives its one object, others a list.

    Raises
    ------
    SessionFormatError
        The file is no sound `.npy`, or holds anything else than that.
    """
    with open_binary(path) as stream:
        shape, _, dtype, offset = read_npy_header(stream, path, objects=True)
        if not dtype.hasobject:
            raise _refused(path, "holds a plain array where a pickled one is expected")
        size = stream.seek(0, 2)
        if size > MAX_SMALL_ARRAY_BYTES:
            raise _refused(path, f"has {size:,} bytes, too many for what it should be")
        stream.seek(offset)
        data = stream.read()
    found = _unpickled(data, path)
    if isinstance(found, list) and shape == () and len(found) == 1:
        return found[0]
    return found


def _unpickled(data: bytes, path: Path) -> Any:
    try:
        return _Plain(path).of(_Reader(data, path).load())
    except SessionFormatError:
        raise
    except Exception as error:  # a pickle is a program, and can fail in any way
        raise _refused(path, f"is not a sound pickle: {str(error)[:200]}") from error


def _refused(path: Path, why: str) -> SessionFormatError:
    return SessionFormatError(
        path, "pickled", f"{label(path)} {why}", "was it written by suite2p?"
    )


# -- inert notes of what a pickle names ------------------------------------------------
@dataclass(slots=True, eq=False)
class _Type:
    """A dtype, by its name; byte order follows as state."""

    name: str
    order: Literal["<", ">", "="] = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1] if state[1] in ("<", ">") else "="


@dataclass(slots=True, eq=False)
class _Array:
    """An array before its values are known."""

    shape: Any = None
    dtype: Any = None
    fortran: bool = False
    data: Any = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, self.shape, self.dtype, self.fortran, self.data = state


@dataclass(slots=True, eq=False)
class _Scalar:
    dtype: Any
    data: Any = b""


def _array(kind: object, shape: object, code: object) -> _Array:
    return _Array()


def _frombuffer(data: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    return _Array(shape, dtype, order == "F", bytes(data))


def _dtype(name: Any, *_: Any) -> _Type:
    return _Type(_brief(name))


def _brief(part: Any) -> str:
    """A short text or whole number; anything else could unfold without end."""
    is_whole = isinstance(part, int) and part.bit_length() <= 64
    if not is_whole and not (isinstance(part, str) and len(part) <= _LONGEST_NAME):
        raise ValueError(f"a {type(part).__name__} where a name is expected")
    return str(part)


def _scalar(dtype: Any, data: Any = b"") -> _Scalar:
    return _Scalar(dtype, data)


def _encoded(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"an encoding {encoding!r}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """`bytes()`, which is how old protocols write none; of a number it is a bomb."""
    return b""


def _joined(*parts: Any) -> str:
    joined = "/".join(map(_brief, parts))
    if len(joined) > _LONGEST_NAME:
        raise ValueError(f"a path of {len(joined):,} letters")
    return joined


def _dated(*parts: Any) -> str:
    first = parts[0] if parts else ""
    if isinstance(first, bytes):
        first = first[:16].hex()
    return f"date {_brief(first)}".rstrip()


def _nothing(*_: Any) -> None:
    return None


class _Named:
    """What a name stands for; nothing in a pickle can change it."""

    __slots__ = ("_make",)
    _make: Callable[..., Any]

    def __init__(self, make: Callable[..., Any]) -> None:
        object.__setattr__(self, "_make", make)

    def __call__(self, *args: Any) -> Any:
        return self._make(*args)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)


_NUMPY = {
    "_reconstruct": _Named(_array),
    "scalar": _Named(_scalar),
    "_frombuffer": _Named(_frombuffer),
    "ndarray": _Named(_nothing),
    "dtype": _Named(_dtype),
}
_NUMPY_MODULES = (
    *("numpy", "numpy.core.multiarray", "numpy._core.multiarray"),
    *("numpy.core.numeric", "numpy._core.numeric"),
)
_CONTAINERS = {t.__name__: _Named(t) for t in (dict, list, tuple, set, complex)}
_PLAIN: dict[tuple[str, str], _Named] = {
    ("_codecs", "encode"): _Named(_encoded),
    ("__builtin__", "bytes"): _Named(_no_bytes),
    ("collections", "OrderedDict"): _Named(dict),
    **{("builtins", name): kind for name, kind in _CONTAINERS.items()},
    **{("__builtin__", name): kind for name, kind in _CONTAINERS.items()},
    **{
        ("datetime", name): _Named(_dated)
        for name in ("datetime", "date", "time", "timedelta")
    },
}
_PATH = _Named(_joined)


class _Reader(pickle._Unpickler):
    """Python's unpickler, for which only the names above mean anything."""

    def __init__(self, data: bytes, path: Path) -> None:
        super().__init__(BytesIO(data), encoding="latin1")
        self._path = path
        self._left = _COPIES * len(data) + _SPARE_BYTES

    read: Callable[[int], bytes]  # both are set when Python's own loads
    append: Callable[[object], None]

    def load_bytearray8(self) -> None:
        """Python's own takes the memory that a file claims before it reads."""
        size = int.from_bytes(self.read(8), "little")
        found = self.read(size)
        if len(found) != size:
            raise pickle.UnpicklingError("pickle data was truncated")
        self.append(bytearray(found))

    dispatch: ClassVar[dict[int, Any]] = {
        **pickle._Unpickler.dispatch,
        pickle.BYTEARRAY8[0]: load_bytearray8,
    }

    def _called(self, make: Callable[..., Any], *args: Any) -> Any:
        """Call, while what all calls were given is of the order of the file."""
        self._left -= sum(map(_bytes_of, args))
        if self._left < 0:
            raise _refused(self._path, "makes far more than it holds")
        return make(*args)

    def find_class(self, module: str, name: str) -> Any:
        """What a name means; others are refused."""
        named = _PLAIN.get((module, name))
        if module in _NUMPY_MODULES and name in _NUMPY:
            named = _NUMPY[name]
        if module.split(".")[0] == "pathlib" and name.endswith("Path"):
            named = _PATH
        if named is not None:
            return _Named(partial(self._called, named))
        raise SessionFormatError(
            self._path,
            "pickled",
            f"{label(self._path)} contains a pickled object '{module}.{name}'; "
            "refused for safety",
            "only arrays, numbers, texts and plain containers are read",
        )


def _bytes_of(value: Any) -> int:
    """About what a copy of a value would take."""
    if isinstance(value, str | bytes | bytearray):
        return len(value)
    if isinstance(value, list | tuple | set | frozenset | dict):
        return 64 * len(value)
    return 8


class _Plain:
    """Makes values of notes, each once, however often it is referred to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._made: dict[int, Any] = {}
        self._within: set[int] = set()
        self._encoded: dict[int, bytes] = {}

    def of(self, value: Any, depth: int = 0) -> Any:
        """The value itself."""
        if value is None or isinstance(value, bool | int | float | complex | str):
            return value
        if isinstance(value, bytes):
            return value
        key = id(value)
        if key in self._made:
            return self._made[key]
        if key in self._within or depth > _DEEPEST:
            raise _refused(self._path, "holds containers that hold themselves")
        self._within.add(key)
        self._made[key] = self._make(value, depth + 1)
        self._within.discard(key)
        return self._made[key]

    def _make(self, value: Any, depth: int) -> Any:
        if isinstance(value, dict):
            return {
                k: self.of(v, depth) for k, v in value.items() if isinstance(k, str)
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [self.of(v, depth) for v in value]
        if isinstance(value, bytearray):
            return bytes(value)
        if isinstance(value, _Scalar):
            return self._values(value.dtype, value.data, ()).item()
        if isinstance(value, _Array):
            return self._array(value, depth)
        return None

    def _array(self, note: _Array, depth: int) -> Any:
        shape = note.shape
        sound = (
            isinstance(shape, tuple)
            and len(shape) <= _MOST_DIMENSIONS
            and all(isinstance(n, int) and n >= 0 for n in shape)
        )
        if not sound:
            raise _refused(self._path, f"holds an array of shape {str(shape)[:60]}")
        if isinstance(note.data, list):
            return [self.of(v, depth) for v in note.data]
        values = self._values(note.dtype, note.data, shape)
        return values.reshape(shape, order="F" if note.fortran else "C")

    def _values(self, dtype: Any, data: Any, shape: tuple[int, ...]) -> np.ndarray:
        """A flat array, once the bytes are as many as type and shape need."""
        if not isinstance(dtype, _Type) or not isinstance(data, bytes | str):
            raise _refused(self._path, "holds an array that is none")
        if isinstance(data, str):
            if id(data) not in self._encoded:
                self._encoded[id(data)] = data.encode("latin1")
            data = self._encoded[id(data)]
        try:
            kind = np.dtype(dtype.name).newbyteorder(dtype.order)
        except (TypeError, ValueError, SyntaxError) as error:
            raise _refused(self._path, f"holds a type {dtype.name[:40]!r}") from error
        wanted = kind.itemsize * int(np.prod(shape, dtype=object))
        odd = kind.hasobject or kind.names or kind.subdtype or not kind.itemsize
        if odd or wanted != len(data):
            raise _refused(
                self._path,
                f"holds an array of {str(shape)[:60]} {dtype.name[:20]} in "
                f"{len(data)} bytes",
            )
        return np.frombuffer(data, kind) if wanted else np.zeros(0, kind)
