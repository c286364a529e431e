"""Restricted unpickler for the object arrays of suite2p; it runs no code of the file.

A pickle names the functions to call. Here only arrays, dtypes, plain containers, paths
and dates are known, and each first becomes an inert note. Arrays are made in a second
step, after their sizes have been compared with the available bytes. The base class is
Python's unpickler written in Python: the one in C allocates memory for any memo index
that a file claims.
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
"""Limit on the bytes of all call arguments, in multiples of the file size."""


def load_pickled(path: Path) -> Any:
    """Return the object array of a `.npy` as plain containers, numbers and arrays.

    A 0-d array gives its single object, other arrays give a list.

    Raises
    ------
    SessionFormatError
        If the file is not a valid `.npy`, or contains objects of other types.
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
    """A dtype by its name; the byte order follows as pickle state."""

    name: str
    order: Literal["<", ">", "="] = "="

    # State of numpy.dtype: (version, byte order, ...); the rest describes structured
    # types, which are refused later.
    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1] if state[1] in ("<", ">") else "="


@dataclass(slots=True, eq=False)
class _Array:
    """An array that has not been made yet."""

    shape: Any = None
    dtype: Any = None
    fortran: bool = False
    data: Any = None

    # State of numpy.ndarray: (version, shape, dtype, Fortran order, data).
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
    """Return a short text or integer as text; raise for other values.

    `str` of nested containers could become exponentially long.
    """
    is_whole = isinstance(part, int) and part.bit_length() <= 64
    if not is_whole and not (isinstance(part, str) and len(part) <= _LONGEST_NAME):
        raise ValueError(f"a {type(part).__name__} where a name is expected")
    return str(part)


def _scalar(dtype: Any, data: Any = b"") -> _Scalar:
    return _Scalar(dtype, data)


# Python 3 writes bytes in protocols 0 to 2 as latin-1 text to be encoded.
def _encoded(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"an encoding {encoding!r}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """Return empty bytes: old protocols write them as `bytes()`.

    Arguments are refused: `bytes(n)` would allocate n bytes.
    """
    return b""


def _joined(*parts: Any) -> str:
    joined = "/".join(map(_brief, parts))
    if len(joined) > _LONGEST_NAME:
        raise ValueError(f"a path of {len(joined):,} letters")
    return joined


def _dated(*parts: Any) -> str:
    # Dates are only shown. Their first argument is a year or the packed date.
    first = parts[0] if parts else ""
    if isinstance(first, bytes):
        first = first[:16].hex()
    return f"date {_brief(first)}".rstrip()


def _nothing(*_: Any) -> None:
    return None


class _Named:
    """Immutable wrapper of the function that replaces a name of a pickle.

    A pickle can set attributes of the objects that it names (opcode BUILD).
    """

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
# numpy 2 renamed numpy.core to numpy._core; files of both versions are in use.
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
    """Python's unpickler, limited to the names above."""

    def __init__(self, data: bytes, path: Path) -> None:
        super().__init__(BytesIO(data), encoding="latin1")
        self._path = path
        # A pickle can pass one remembered object to many calls that copy it.
        self._left = _COPIES * len(data) + _SPARE_BYTES

    read: Callable[[int], bytes]  # both are set by `pickle._Unpickler.load`
    append: Callable[[object], None]

    def load_bytearray8(self) -> None:
        """Read a bytearray; the original allocates the claimed size before reading."""
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
        """Call `make` while the arguments of all calls stay within the limit."""
        self._left -= sum(map(_bytes_of, args))
        if self._left < 0:
            raise _refused(self._path, "makes far more than it holds")
        return make(*args)

    def find_class(self, module: str, name: str) -> Any:
        """Return the replacement for a name; raise for unknown names."""
        named = _PLAIN.get((module, name))
        if module in _NUMPY_MODULES and name in _NUMPY:
            named = _NUMPY[name]
        # Python 3.13 moved paths to a submodule of pathlib.
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
    """Return the approximate size of a shallow copy of a value in bytes."""
    if isinstance(value, str | bytes | bytearray):
        return len(value)
    if isinstance(value, list | tuple | set | frozenset | dict):
        return 64 * len(value)
    return 8


class _Plain:
    """Conversion of notes to values; shared notes are converted once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._made: dict[int, Any] = {}
        self._within: set[int] = set()
        self._encoded: dict[int, bytes] = {}

    def of(self, value: Any, depth: int = 0) -> Any:
        """Return the value of a note or of a plain object."""
        if value is None or isinstance(value, bool | int | float | complex | str):
            return value
        if isinstance(value, bytes):
            return value
        # By id: the unpickled tree keeps all objects alive, so ids stay unique.
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
        # The settings and regions of suite2p have text keys; other keys are dropped.
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
        # A dtype or function by itself is not data.
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
        # The data of an object array are a list.
        if isinstance(note.data, list):
            return [self.of(v, depth) for v in note.data]
        values = self._values(note.dtype, note.data, shape)
        return values.reshape(shape, order="F" if note.fortran else "C")

    def _values(self, dtype: Any, data: Any, shape: tuple[int, ...]) -> np.ndarray:
        """Return a flat array after comparing its bytes with dtype and shape."""
        if not isinstance(dtype, _Type) or not isinstance(data, bytes | str):
            raise _refused(self._path, "holds an array that is none")
        # Python 2 pickles hold the raw bytes as latin-1 text. The encoded copy is
        # shared, because many arrays can refer to one text.
        if isinstance(data, str):
            if id(data) not in self._encoded:
                self._encoded[id(data)] = data.encode("latin1")
            data = self._encoded[id(data)]
        try:
            kind = np.dtype(dtype.name).newbyteorder(dtype.order)
        except (TypeError, ValueError, SyntaxError) as error:
            raise _refused(self._path, f"holds a type {dtype.name[:40]!r}") from error
        wanted = kind.itemsize * int(np.prod(shape, dtype=object))
        # Checked before `frombuffer`: the pickle chooses type and shape freely.
        odd = kind.hasobject or kind.names or kind.subdtype or not kind.itemsize
        if odd or wanted != len(data):
            raise _refused(
                self._path,
                f"holds an array of {str(shape)[:60]} {dtype.name[:20]} in "
                f"{len(data)} bytes",
            )
        return np.frombuffer(data, kind) if wanted else np.zeros(0, kind)
