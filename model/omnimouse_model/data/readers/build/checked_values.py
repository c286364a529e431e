"""Values as files store them: texts, fields of YAML and JSON, sizes and times, checked.

Sizes are checked before memory is allocated. An error names the key.
"""

import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from reprlib import Repr
from typing import Any, TypeVar

import numpy as np

from omnimouse_model.errors import MISSING_RATE, SessionFormatError
from omnimouse_model.storage.files import bad_file, check_most


def text_of(value: Any) -> str:
    """Return a stored value as text; of an array, its first element.

    Bytes that are not UTF-8 become U+FFFD.
    """
    if isinstance(value, np.ndarray):
        value = value.reshape(-1)[0] if value.size else ""
    # A label with wrong bytes must not make the recording unreadable.
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)


def texts_of(values: np.ndarray) -> list[str]:
    """Return all elements of an array as texts."""
    return [text_of(value) for value in values.reshape(-1)]


def decode_texts(values: np.ndarray) -> np.ndarray:
    """Return an array with byte strings decoded; other arrays are unchanged."""
    if values.dtype.kind != "S":
        return values
    return np.char.decode(values, "utf-8", "replace")


def by_number(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts `trial2` before `trial10`, and names that begin with digits first."""
    parts = re.split(r"(\d{1,18})", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


Array = TypeVar("Array", bound=Any)  # an array, or a dataset of a library


def require(
    array: Array,
    path: Path,
    expected: str,
    *shapes: tuple[int | None, ...],
    kinds: str = "fiu",
    hint: str = "",
    part: str = "",
) -> Array:
    """Return an array of one of the shapes, in which None is any length, and kinds of types.

    `expected` is a text for the message, `part` the name of an array in a file.

    Raises
    ------
    SessionFormatError
        The array is another one.
    """
    found, dtype = array.shape, array.dtype
    if dtype.kind in kinds and (not shapes or any(_fits(found, shape) for shape in shapes)):
        return array
    raise bad_file(path, "wrong_shape", f"is {found} {dtype}; {expected} expected", hint, part)


def _fits(found: tuple[int, ...], shape: tuple[int | None, ...]) -> bool:
    is_as_deep = len(found) == len(shape)
    return is_as_deep and all(m in (None, n) for n, m in zip(found, shape, strict=True))


def check_range(path: Path, values: np.ndarray, n: int, what: str, part: str = "") -> None:
    """Raise `SessionFormatError` unless values are numbers of `what`, from 0 to n - 1."""
    if len(values) and not 0 <= values.min() <= values.max() < n:
        found = f"names {what} {values.min()} to {values.max()}"
        problem = f"{found}; they are numbers from 0 to {n - 1:,}"
        raise bad_file(path, "bad_array", problem, part=part)


_MISSING = object()


def number(meta: Mapping[str, Any], key: str, path: Path, *, is_positive: bool = False) -> float:
    """Return a finite number, or one above 0; numbers as text are accepted.

    YAML 1.1 reads `1.5e9`, without a sign in the exponent, as text.
    """
    value = as_float(meta.get(key, _MISSING))
    if value is None or not math.isfinite(value) or (is_positive and value <= 0):
        expected = "a positive number" if is_positive else "a finite number"
        raise wrong(path, key, expected, meta.get(key, _MISSING))
    return value


def count(meta: Mapping[str, Any], key: str, path: Path, owner: str = "") -> int:
    """Return a whole number of at least 0; `owner` is who has the key, for the message."""
    value = meta.get(key, _MISSING)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    # bool is a subclass of int.
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise wrong(path, f"{owner}{key}", "a whole number", meta.get(key, _MISSING))
    return value


def flag(meta: Mapping[str, Any], key: str, path: Path) -> bool | None:
    """Return True, False, or None if the key is absent."""
    value = meta.get(key)
    if value is not None and not isinstance(value, bool):
        raise wrong(path, key, "true or false", value)
    return value


def float_dtype(meta: Mapping[str, Any], path: Path) -> np.dtype[Any]:
    """Return the dtype of samples: a float or integer type."""
    value = meta.get("dtype", _MISSING)
    # A text alone: numpy takes None as float64.
    with suppress(TypeError):
        if isinstance(value, str) and np.dtype(value).kind in "fiu":
            return np.dtype(value)
    raise wrong(path, "dtype", "a numpy dtype such as float32", value)


def wrong(path: Path, key: str, expected: str, value: object) -> SessionFormatError:
    """Return the error for a key that is missing or has a wrong value."""
    content = "nothing" if value is _MISSING else short(value)
    problem = f"must be {expected}, found {content}"
    return bad_file(path, "bad_key", problem, f"correct {key} in that file", key)


def short(value: object) -> str:
    """Return a value in short form for messages.

    Nested YAML aliases are not expanded: `str` could become exponentially long.
    """
    brief = Repr()
    brief.maxlevel, brief.maxstring, brief.maxother = 2, 80, 80
    return brief.repr(value)


def as_float(value: object) -> float | None:
    """Return a number or a number in text as float; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


# Longer streams come from wrong units (milliseconds, sample numbers), and would make
# start grids of gigabytes.
LONGEST_S = 7 * 86_400.0
MAX_ROWS = 2**28
"""A week at 440 Hz."""
MAX_FRAMES = 2**25
"""Five days at 75 Hz; lower than the limit of rows, as frame times are in memory."""
MAX_COLUMNS = 2**21
MAX_PIXELS = 2**26
"""Pixels of all masks together."""


def check_extent(
    path: Path, name: str, n_rows: int, rate_hz: float, most_rows: int = MAX_ROWS
) -> None:
    """Check the number of rows and their duration.

    Raises
    ------
    SessionFormatError
        If the rows cover more than a week, or are more than `most_rows`.
    """
    # 0 s with an infinite rate, which checks the number of rows alone.
    seconds = (n_rows - 1) / rate_hz
    if seconds > LONGEST_S:
        problem = f"has {seconds:.3g} s of {name}, more than a week"
        raise bad_file(path, "bad_clock", problem, "are rate and times right, in seconds?")
    check_most(path, n_rows, most_rows, f"samples of {name}")


SLOWEST_HZ, FASTEST_HZ = 0.1, 1000.0
"""Frames per second of a plane that a microscope can have."""


def check_scan_rate(path: Path, rate_hz: float) -> None:
    """Raise if no microscope records a plane at this many frames per second."""
    if not SLOWEST_HZ <= rate_hz <= FASTEST_HZ:
        limits = f"between {SLOWEST_HZ:g} and {FASTEST_HZ:g}"
        hint = "say how often each plane was scanned per second"
        problem = f"must lie {limits}, found {rate_hz:g}"
        raise bad_file(path, MISSING_RATE, problem, hint, "rate_hz")


_QUANTUM_S = 1e-3


def refuse_quantised(stored: np.ndarray, path: Path) -> None:
    """Raise if large (Unix-epoch-like) times were stored as float32.

    At 1.5e9 s, float32 resolves only 128 s.

    Raises
    ------
    SessionFormatError
        If the times are float32, or are float64 converted from float32 (no finer
        values, and repeated ones).
    """
    if stored.dtype.kind != "f":
        return
    stored = stored[np.isfinite(stored)]
    if not len(stored):
        return
    largest = np.abs(stored).max().astype(np.float32)
    quantum = float(np.spacing(largest))
    if quantum > _QUANTUM_S and as_first_stored(stored).dtype.itemsize < 8:
        problem = f"has times quantised to {quantum:g} s; stored as float32?"
        raise bad_file(path, "quantised_times", problem, "write them as float64")


def as_first_stored(times: np.ndarray) -> np.ndarray:
    """Return times as floats of the precision in which they were stored first."""
    if times.dtype.kind != "f":
        return times.astype(np.float64)
    # float32 times that a program wrote as float64 repeat, unlike those of an even
    # clock of few binary digits, of which a few can be exact in float32 by chance.
    if times.dtype.itemsize > 4 and (np.diff(times) == 0).any():
        with np.errstate(over="ignore"):
            single = times.astype(np.float32)
        return single if np.array_equal(single, times) else times
    return times


Refuse = Callable[[str, str, str], SessionFormatError]
"""Error of a file from its code, its problem and a hint."""


def check_finite(values: np.ndarray, what: str, refuse: Refuse) -> None:
    """Refuse values (n,) of which some are NaN or infinite."""
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        found = f"has {len(bad):,} of {len(values):,} {what} that are NaN or infinite"
        problem = f"{found}, the first at index {bad[0]}"
        raise refuse("not_finite", problem, "leave these samples out")


def check_times(times: np.ndarray, what: str, refuse: Refuse, *, may_repeat: bool = False) -> None:
    """Refuse times float64 (n,) that are not finite, or do not increase."""
    check_finite(times, what, refuse)
    steps = np.diff(times)
    back = np.flatnonzero(steps < 0 if may_repeat else steps <= 0)
    if len(back):
        k = int(back[0])
        raise refuse(
            "unordered_times",
            f"has {what} that do not increase in {len(back):,} of {len(steps):,} steps, first "
            f"from index {k} ({times[k]:.10g} s) to {k + 1} ({times[k + 1]:.10g} s)",
            "times are increasing seconds, one for each sample",
        )


_BLOCK = 2000
"""Rows and columns of which smoothness is taken."""


def smoothness(values: np.ndarray) -> float:
    """Return the median correlation of neighbours along the first axis, -1 to 1.

    What all columns or all rows have in common does not count. Only a part of large
    arrays is looked at.
    """
    block = np.array(values[:_BLOCK, :_BLOCK], np.float64)
    is_known = np.isfinite(block)
    for axis in (0, 1):
        total = np.where(is_known, block, 0.0).sum(axis=axis, keepdims=True)
        count = np.maximum(is_known.sum(axis=axis, keepdims=True), 1)
        block = np.where(is_known, block - total / count, 0.0)
    power = (block**2).sum(axis=0)
    along = (block[1:] * block[:-1]).sum(axis=0)
    varies = power > 0
    return float(np.median(along[varies] / power[varies])) if varies.any() else 0.0
