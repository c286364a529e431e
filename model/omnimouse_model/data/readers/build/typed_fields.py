"""Typed values of a session's YAML and JSON, with errors that name the key."""

import math
from collections.abc import Mapping
from pathlib import Path
from reprlib import Repr
from typing import Any

import numpy as np

from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.files import label

_MISSING = object()


def number(meta: Mapping[str, Any], key: str, path: Path) -> float:
    """Return a finite number; numbers as text are accepted.

    YAML 1.1 reads `1.5e9`, without a sign in the exponent, as text.
    """
    value = meta.get(key, _MISSING)
    number = as_float(value)
    if number is None or not math.isfinite(number):
        raise wrong(path, key, "a finite number", value)
    return number


def positive(meta: Mapping[str, Any], key: str, path: Path) -> float:
    """Return a finite number above 0."""
    value = as_float(meta.get(key, _MISSING))
    if value is None or not math.isfinite(value) or value <= 0:
        raise wrong(path, key, "a positive number", meta.get(key, _MISSING))
    return value


def count(meta: Mapping[str, Any], key: str, path: Path) -> int:
    """Return a whole number of at least 0."""
    value = meta.get(key, _MISSING)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    # bool is a subclass of int.
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise wrong(path, key, "a whole number", meta.get(key, _MISSING))
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
    # np.dtype(None) is float64, so the type of `value` is checked again below.
    try:
        dtype = np.dtype(value if isinstance(value, str) else None)
    except TypeError:
        raise wrong(path, "dtype", "a numpy dtype such as float32", value) from None
    if not isinstance(value, str) or dtype.kind not in "fiu":
        raise wrong(path, "dtype", "a numpy dtype such as float32", value)
    return dtype


def wrong(path: Path, key: str, expected: str, value: object) -> SessionFormatError:
    """Return the error for a key that is missing or has a wrong value."""
    content = "nothing" if value is _MISSING else short(value)
    return SessionFormatError(
        path,
        "bad_key",
        f"{label(path)}: {key} must be {expected}, found {content}",
        f"correct {key} in that file",
    )


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
