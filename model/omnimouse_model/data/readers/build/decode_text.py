"""Texts as files store them: unicode, or bytes of an encoding that they do not say."""

from typing import Any

import numpy as np


def text_of(value: Any) -> str:
    """One stored text, of an array its first; what is no UTF-8 is marked as such."""
    if isinstance(value, np.ndarray):
        value = value.reshape(-1)[0] if value.size else ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)


def texts_of(values: np.ndarray) -> list[str]:
    """Stored texts, one after the other."""
    return [text_of(value) for value in values.reshape(-1)]


def decoded(values: np.ndarray) -> np.ndarray:
    """An array as it is, its texts of bytes as unicode."""
    if values.dtype.kind != "S":
        return values
    found: np.ndarray = np.char.decode(values, "utf-8", "replace")
    return found
