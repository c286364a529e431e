"""Restricted unpickler for the object arrays of suite2p; it runs no code of the file.

The opcodes are read before anything is loaded: their number and nesting are bounded, and so
are the claimed lengths. Keys are text or whole numbers, because the hash of nested tuples
takes exponential time, in which not even Ctrl-C is heard; sets are read as lists.
`find_class` replaces each name that a file may call. The functions of numpy and Python
themselves would not do: they allocate any size that a file claims, and they copy one
object as often as a file calls them. Therefore the replacements compare sizes with the
available bytes first. The base class is Python's unpickler written in Python: the one
in C allocates memory for any memo index that a file claims.
"""

import math
import pickle
from collections.abc import Callable, Iterable
from functools import partial
from io import BytesIO
from pathlib import Path
from pickletools import (
    TAKEN_FROM_ARGUMENT1,
    TAKEN_FROM_ARGUMENT4,
    TAKEN_FROM_ARGUMENT4U,
    TAKEN_FROM_ARGUMENT8U,
    UP_TO_NEWLINE,
    opcodes,
)
from typing import Any, ClassVar

import numpy as np

from omnimouse_model.storage.arrays.npy import MAX_SMALL_ARRAY_BYTES, read_npy_header
from omnimouse_model.storage.files import bad_file, damage_refused, open_binary, plain_text

_MAX_DIMENSIONS = 8
_MAX_OPCODES = 8_000_000
_SMALL_OPCODES = 1_000_000
_OPCODE_BYTES = 8
"""Bytes of a file for each opcode beyond a million; the arrays of suite2p have 14."""
_MAX_MARKS = 64
_MAX_BITS = 64
_DEEPEST = 32
_LONGEST_NAME = 4096
_SPARE_BYTES = 16 * 2**20
_COPIES = 8
"""Limit on the bytes of all call arguments, in multiples of the file size."""

_WRITTEN = "was it written by suite2p?"


def load_pickled(path: Path, inside: Path | None = None) -> Any:
    """Return the object array of a `.npy` as plain containers, numbers and arrays.

    A 0-d array gives its single object, other arrays give a list. An empty array of
    numbers gives an empty list.

    Raises
    ------
    SessionFormatError
        If the file is not a valid `.npy`, or contains objects of other types.
    """
    with open_binary(path, inside) as stream:
        shape, _, dtype, offset = read_npy_header(stream, path, objects=True)
        # suite2p saves the regions of a plane without any as numbers.
        if not dtype.hasobject and 0 in shape:
            return []
        if not dtype.hasobject:
            found = "holds a plain array where a pickled one is expected"
            raise bad_file(path, "pickled", found, _WRITTEN)
        size = stream.seek(0, 2)
        if size > MAX_SMALL_ARRAY_BYTES:
            found = f"has {size:,} bytes, too many for what it should be"
            raise bad_file(path, "pickled", found, _WRITTEN)
        stream.seek(offset)
        data = stream.read()
    # A pickle is a program, and can fail in any way.
    with damage_refused(path, "pickled", "is not a valid pickle", _WRITTEN):
        scan_opcodes(data)
        content = plain_value(PlainReader(data, path).load())
    if isinstance(content, list) and shape == () and len(content) == 1:
        return content[0]
    return content


# By opcode, the bytes of its argument, or those of the length before the argument.
_FIXED = {ord(op.code): op.arg.n if op.arg else 0 for op in opcodes}
_LENGTHS = {
    TAKEN_FROM_ARGUMENT1: 1,
    TAKEN_FROM_ARGUMENT4: 4,
    TAKEN_FROM_ARGUMENT4U: 4,
    TAKEN_FROM_ARGUMENT8U: 8,
}
_MARK, _STOP = ord(pickle.MARK), ord(pickle.STOP)
# Names on two lines.
_TWO_LINES = (ord(pickle.GLOBAL), ord(pickle.INST))
_TO_MARK = frozenset(
    map(ord, (pickle.TUPLE, pickle.LIST, pickle.DICT, pickle.APPENDS, pickle.SETITEMS))
) | frozenset(map(ord, (pickle.POP_MARK, pickle.OBJ, pickle.INST)))
_TO_MARK |= {pickle.ADDITEMS[0], pickle.FROZENSET[0]}


def scan_opcodes(data: bytes) -> None:
    """Raise ValueError if the opcodes are too many, nest too deeply or are cut short."""
    at = n_marks = 0
    most = min(_MAX_OPCODES, max(_SMALL_OPCODES, len(data) // _OPCODE_BYTES))
    for _ in range(most):
        if at >= len(data):
            raise ValueError("it is cut short")
        code = data[at]
        at += 1
        if code == _STOP:
            return
        size = _FIXED.get(code)
        if size is None:
            raise ValueError(f"it has no opcode {code}")
        if size == UP_TO_NEWLINE:
            for _line in range(1 + (code in _TWO_LINES)):
                at = data.find(b"\n", at) + 1
                if not at:
                    raise ValueError("it is cut short")
        elif size in _LENGTHS:
            n_bytes = _LENGTHS[size]
            at += n_bytes + int.from_bytes(data[at : at + n_bytes], "little")
        else:
            at += size
        n_marks += (code == _MARK) - (code in _TO_MARK)
        if n_marks > _MAX_MARKS:
            raise ValueError(f"more than {_MAX_MARKS} open collections")
    raise ValueError(f"it has more than {most:,} opcodes")


_UNFINISHED = object()


# -- replacements of the names in a pickle ---------------------------------------------
class _Type:
    """A dtype by its name; the byte order follows as pickle state."""

    def __init__(self, name: Any, *_: Any) -> None:
        self.name = _text(name)
        self.order = "="

    # State of numpy.dtype: (version, byte order, ...); the rest describes structured
    # types, which are refused later.
    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1] if state[1] in ("<", ">") else "="


class _Value:
    """An array or scalar; the data of an array can follow as pickle state."""

    def __init__(self, value: Any = _UNFINISHED) -> None:
        self.value = value

    # State of numpy.ndarray: (version, shape, dtype, Fortran order, data). The data of
    # an object array are a list.
    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, data = state
        is_list = isinstance(data, list)
        self.value = data if is_list else _array(data, dtype, shape, fortran)


def _array(data: Any, dtype: Any, shape: Any, fortran: bool = False) -> np.ndarray:
    """Return an array after comparing its bytes with dtype and shape."""
    # Python 2 pickles hold the raw bytes as latin-1 text.
    if isinstance(data, str):
        data = data.encode("latin1")
    is_shape = (
        isinstance(shape, tuple)
        and len(shape) <= _MAX_DIMENSIONS
        and all(isinstance(n, int) and n >= 0 for n in shape)
    )
    is_typed = isinstance(dtype, _Type) and isinstance(data, bytes | bytearray)
    if not is_shape or not is_typed:
        raise ValueError("an array without a valid shape, type or data")
    kind: np.dtype[Any] = np.dtype(dtype.name).newbyteorder(dtype.order)
    n_bytes = kind.itemsize * math.prod(shape)
    # Checked before `frombuffer`: the pickle chooses type and shape freely.
    odd = kind.hasobject or kind.names or kind.subdtype or not kind.itemsize
    if odd or n_bytes != len(data):
        raise ValueError(f"an array of {str(shape)[:60]} {dtype.name[:20]} in {len(data)} bytes")
    flat = np.frombuffer(data, kind) if n_bytes else np.zeros(0, kind)
    return flat.reshape(shape, order="F" if fortran else "C")


def _frombuffer(data: Any, dtype: Any, shape: Any, order: Any) -> _Value:
    return _Value(_array(data, dtype, shape, order == "F"))


def _scalar(dtype: Any, data: Any = b"") -> _Value:
    return _Value(_array(data, dtype, ()).item())


# Python 3 writes bytes in protocols 0 to 2 as latin-1 text to be encoded.
def _encoded(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"an encoding {encoding!r}")
    return text.encode("latin1")


def _text(*parts: Any) -> str:
    """Return the parts of a name, path or date as one text; dates are packed bytes.

    Other parts are refused: `str` of nested containers could become exponentially long.
    """
    for part in parts:
        is_whole = isinstance(part, int) and part.bit_length() <= 64
        if not is_whole and not isinstance(part, str | bytes):
            raise ValueError(f"a {type(part).__name__} where a name is expected")
    joined = "/".join(p.hex() if isinstance(p, bytes) else str(p) for p in parts)
    if len(joined) > _LONGEST_NAME:
        raise ValueError(f"a name of {len(joined):,} letters")
    return joined


def _nothing(*_: Any) -> None:
    return None


def _dict(pairs: Iterable[Any] = ()) -> dict[Any, Any]:
    return {_key(key): value for key, value in pairs}


def _key(key: Any) -> str | int:
    # With the type: a subclass cannot be made here, but True is no key of suite2p.
    if type(key) is str or (type(key) is int and key.bit_length() <= _MAX_BITS):
        return key
    raise ValueError(f"a {type(key).__name__} as a key")


_Replacements = dict[str, Callable[..., Any]]
_BUILTINS: _Replacements = {
    "dict": _dict,
    "set": list,
    "frozenset": list,
    **{kind.__name__: kind for kind in (list, tuple, complex)},
}
# suite2p 1 stores the time of its run with its time zone.
_DATES = ("datetime", "date", "time", "timedelta", "timezone")
_NAMES: dict[str, _Replacements] = {
    "numpy": {
        "_reconstruct": lambda kind, shape, code: _Value(),
        "scalar": _scalar,
        "_frombuffer": _frombuffer,
        "ndarray": _nothing,
        "dtype": _Type,
    },
    "_codecs": {"encode": _encoded},
    "collections": {"OrderedDict": _dict},
    "builtins": _BUILTINS,
    # Old protocols write empty bytes as `bytes()`. With arguments, the function fails:
    # `bytes(n)` would allocate n bytes.
    "__builtin__": {**_BUILTINS, "bytes": lambda: b""},
    "datetime": dict.fromkeys(_DATES, _text),
    "pathlib": {
        f"{pure}{system}Path": _text for pure in ("", "Pure") for system in ("", "Posix", "Windows")
    },
    # The processor on which suite2p 1 ran.
    "torch": {"device": _text},
}


# numpy 2 renamed numpy.core to numpy._core; files of both versions are in use. Python
# 3.13 moved paths to a submodule of pathlib.
_MOVED = {"pathlib._local": "pathlib"} | {
    f"numpy.{core}.{part}": "numpy"
    for core in ("core", "_core")
    for part in ("multiarray", "numeric")
}


class PlainReader(pickle._Unpickler):
    """Python's unpickler, limited to the names above."""

    read: Callable[[int], bytes]  # both are set by `pickle._Unpickler.load`
    stack: list[Any]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, data: bytes, path: Path) -> None:
        super().__init__(BytesIO(data), encoding="latin1")
        self._path = path
        # A pickle can pass one remembered object to many calls that copy it.
        self.budget = _COPIES * len(data) + _SPARE_BYTES

    def find_class(self, module: str, name: str) -> Any:
        """Return the replacement for a name; raise for unknown names."""
        make = _NAMES.get(_MOVED.get(module, module), {}).get(name)
        if make is not None:
            return partial(self._called, make)
        raise bad_file(
            self._path,
            "pickled",
            f"contains a pickled object '{plain_text(f'{module}.{name}')}'; refused for safety",
            "only arrays, numbers, texts and plain containers are read",
        )

    def _called(self, make: Callable[..., Any], *args: Any) -> Any:
        """Call `make` while the arguments of all calls stay within the limit."""
        self.spend(map(_bytes_of, args))
        return make(*args)

    def spend(self, sizes: Iterable[int]) -> None:
        """Raise ValueError if the copies so far are far larger than the file."""
        self.budget -= sum(sizes)
        if self.budget < 0:
            raise ValueError("it makes far more than it holds")

    def load_build(self) -> None:
        """Set a pickle state, only of arrays and dtypes.

        The original sets attributes of any object, such as the functions above.
        """
        state, target = self.stack.pop(), self.stack[-1]
        if not isinstance(target, _Value | _Type):
            raise ValueError(f"a state of a {type(target).__name__}")
        # Arrays of Python 2 copy their data, and many can refer to one text.
        self.spend(len(part) for part in state if isinstance(part, str))
        target.__setstate__(state)

    def load_items(self) -> None:
        """Add keys and values to a mapping."""
        items = self.pop_mark()
        self._add(items[::2], items[1::2])

    def load_item(self) -> None:
        """Add one key and its value to a mapping."""
        value, key = self.stack.pop(), self.stack.pop()
        self._add([key], [value])

    def _add(self, keys: list[Any], values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict:
            raise ValueError(f"keys of a {type(target).__name__}")
        target.update(_dict(zip(keys, values, strict=True)))

    def load_new_dict(self) -> None:
        """Make a mapping of keys and values."""
        items = self.pop_mark()
        self.stack.append(_dict(zip(items[::2], items[1::2], strict=True)))

    def load_new_list(self) -> None:
        """Make a list of the elements of a set."""
        items = self.pop_mark()  # changes `self.stack`
        self.stack.append(items)

    def load_empty_list(self) -> None:
        """Make a list for a set."""
        self.stack.append([])

    dispatch: ClassVar[dict[int, Any]] = {
        **pickle._Unpickler.dispatch,
        pickle.BUILD[0]: load_build,
        pickle.SETITEM[0]: load_item,
        pickle.SETITEMS[0]: load_items,
        pickle.DICT[0]: load_new_dict,
        pickle.FROZENSET[0]: load_new_list,
        pickle.EMPTY_SET[0]: load_empty_list,
        # A set is read as a list, so its elements are appended.
        pickle.ADDITEMS[0]: pickle._Unpickler.dispatch[pickle.APPENDS[0]],
    }


def _bytes_of(value: Any) -> int:
    """Return the approximate size of a shallow copy of a value in bytes."""
    if isinstance(value, str | bytes | bytearray):
        return len(value)
    if isinstance(value, list | tuple | dict):
        return 64 * len(value)
    return 8


def plain_value(value: Any, finished: dict[int, Any] | None = None, depth: int = 0) -> Any:
    """Return an unpickled value with arrays for notes, and lists for tuples and sets.

    Parameters
    ----------
    finished
        Converted containers by `id`, so that shared containers are converted once. The
        unpickled tree keeps all objects alive, so ids stay unique.
    """
    finished = {} if finished is None else finished
    if isinstance(value, _Value):
        value = value.value
        if value is _UNFINISHED:
            raise ValueError("an array without data")
        if not isinstance(value, list):
            return value
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        raise ValueError(f"a whole number of {value.bit_length():,} bits")
    if isinstance(value, bool | int | float | complex | str | bytes):
        return value
    key = id(value)
    if finished.get(key) is _UNFINISHED or depth > _DEEPEST:
        raise ValueError("containers that hold themselves")
    if key not in finished:
        finished[key] = _UNFINISHED
        finished[key] = _converted(value, finished, depth + 1)
    return finished[key]


def _converted(value: Any, finished: dict[int, Any], depth: int) -> Any:
    # The settings and regions of suite2p have text keys; other keys are dropped.
    if isinstance(value, dict):
        texts = [k for k in value if isinstance(k, str)]
        return {k: plain_value(value[k], finished, depth) for k in texts}
    if isinstance(value, list | tuple):
        return [plain_value(v, finished, depth) for v in value]
    if isinstance(value, bytearray):
        return bytes(value)
    # None; a dtype or function by itself is not data.
    return None
