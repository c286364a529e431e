"""Decoding of stored texts: Unicode, or bytes without a declared encoding."""

from typing import Any

import numpy as np


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
    texts: np.ndarray = np.char.decode(values, "utf-8", "replace")
    return texts
