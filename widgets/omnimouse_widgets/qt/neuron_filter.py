"""The words typed above the neuron table, and which neurons they keep; no Qt.

Terms are joined by spaces and all must hold: `V1` an area or a state, `412` a neuron,
`depth<250`, `score>0.3`, `plane=2` a comparison.
"""

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

COMPARISONS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}
_TERM: Final = re.compile(
    r"(?P<column>[a-z]+)(?P<sign><=|>=|<|>|=)(?P<number>-?[\d.]+)"
)


def kept_rows(text: str, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Neurons that satisfy every term, in stored order.

    Parameters
    ----------
    text
        What was typed; "" keeps all.
    columns
        (P,) arrays by name. Numbers can be compared; words are matched at their
        start, whatever their case. The column "id" answers to a bare number.

    Raises
    ------
    ValueError
        A term that means nothing, saying what would.
    """
    keep = np.ones(len(columns["id"]), bool)
    for term in text.split():
        keep &= _kept_by(term, columns)
    return np.flatnonzero(keep)


def _kept_by(term: str, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    match = _TERM.fullmatch(term.lower())
    if match is not None:
        return _compared(match, columns)
    if term.isdigit():
        found: np.ndarray = columns["id"] == int(term)
        return found
    return _named(term, columns)


def _compared(match: re.Match[str], columns: Mapping[str, np.ndarray]) -> np.ndarray:
    name = match["column"]
    numbers = {key: value for key, value in columns.items() if value.dtype.kind in "if"}
    if name not in numbers:
        raise ValueError(f"No column '{name}'; there are {', '.join(numbers)}.")
    with np.errstate(invalid="ignore"):
        found: np.ndarray = COMPARISONS[match["sign"]](
            numbers[name], float(match["number"])
        )
    return found


def _named(term: str, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    keep = np.zeros(len(columns["id"]), bool)
    for values in columns.values():
        if values.dtype.kind == "U":
            known, numbers = np.unique(values, return_inverse=True)
            hits = [str(word).lower().startswith(term.lower()) for word in known]
            keep |= np.array(hits, bool)[numbers]
    return keep
