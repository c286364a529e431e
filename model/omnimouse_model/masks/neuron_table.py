"""The neurons as columns, and the words that choose among them.

Terms joined by spaces must all hold; `|` stands between alternatives, `!` before a term
keeps what it does not. A term is a word that an area or a state begins with (`V1`,
`target`; a state that changes answers to both ends and to `mixed`), a neuron's id
(`412`), or a comparison (`depth<250`, `plane=2`, `area=V1`, `score>=0.3`). Nothing is
evaluated: a term is one of these or refused.
"""

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from omnimouse_model.data.session import Session
from omnimouse_model.masks.cells import MIXED, PATTERN_NAMES, STATE_NAMES, TRANSITION
from omnimouse_model.masks.mask import Mask

COMPARISONS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}
_SIGN: Final = "<=|>=|!=|<|>|="
_SPACED_SIGN: Final = re.compile(rf"\s*({_SIGN})\s*")
_COMPARISON: Final = re.compile(rf"([^<>=!]+)({_SIGN})([^<>=!]+)")


def table_columns(
    session: Session,
    mask: Mask | None = None,
    span: tuple[int, int] | None = None,
    scores: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """(P,) arrays by name: id, area, plane, depth, x, y, state, score.

    Parameters
    ----------
    session
        Says who and where the neurons are: depth, x and y in µm, NaN unknown.
    mask, span
        For the column `state`, one of `PATTERN_NAMES`; "" without a mask. The span
        is the whole window by default.
    scores
        (P,) for the column `score`, NaN unknown.
    """
    units, n = session.units, session.n_neurons
    states = np.full(n, "")
    if mask is not None:
        chosen = (0, mask.n_samples) if span is None else span
        states = np.array(PATTERN_NAMES)[mask.patterns_in(chosen)]
    return {
        "id": units.names,
        "area": np.full(n, "") if units.area is None else units.area.astype(str),
        "probe": np.full(n, "") if units.probe is None else units.probe.astype(str),
        "plane": np.where(units.plane < 0, np.nan, units.plane),
        "depth": units.xyz_um[:, 2],
        "x": units.xyz_um[:, 0],
        "y": units.xyz_um[:, 1],
        "state": states,
        "score": np.full(n, np.nan, np.float32) if scores is None else scores,
    }


def matching_neurons(text: str, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Neurons that the words describe, int64 (n,) in stored order.

    Parameters
    ----------
    text
        See the module; "" keeps all.
    columns
        (P,) arrays by name. Numbers can be compared, and unknown ones (NaN) satisfy no
        comparison; words are matched at their start, or whole after `=`, whatever
        their case. The column "id" answers to a bare number.

    Raises
    ------
    ValueError
        A term that means nothing, saying what would.
    """
    alternatives = _SPACED_SIGN.sub(r"\1", text).lower().split("|")
    if len(alternatives) > 1 and not all(words.strip() for words in alternatives):
        raise ValueError("'|' stands between two alternatives: V1 | LM.")
    keep = np.zeros(len(columns["id"]), bool)
    for words in alternatives:
        fits = np.ones(len(keep), bool)
        for term in words.split():
            fits &= _kept_by(term, columns)
        keep |= fits
    return np.flatnonzero(keep)


def _kept_by(term: str, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    if term.startswith("!") and len(term) > 1:
        return ~_kept_by(term[1:], columns)
    match = _COMPARISON.fullmatch(term)
    if match is not None:
        return _compared(match[1], match[2], match[3], columns)
    if any(sign in term for sign in "<>=!"):
        raise ValueError(f"'{term}' is no comparison; write depth<250 or area=V1.")
    if re.fullmatch("[0-9]{1,18}", term):
        found: np.ndarray = columns["id"] == int(term)
        return found
    return _named(term, columns)


def _compared(
    name: str, sign: str, wanted: str, columns: Mapping[str, np.ndarray]
) -> np.ndarray:
    if name not in columns:
        raise ValueError(f"No column '{name}'; there are {', '.join(columns)}.")
    values, compare = columns[name], COMPARISONS[sign]
    if values.dtype.kind == "U":
        if sign not in ("=", "!="):
            raise ValueError(f"'{name}' holds words: write {name}={wanted}.")
        return np.asarray(compare(np.char.lower(values), wanted))
    try:
        number = float(wanted)
    except ValueError:
        raise ValueError(f"'{name}' holds numbers, '{wanted}' is none.") from None
    return np.asarray(compare(values, number) & ~np.isnan(values))


def _named(term: str, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    keep = np.zeros(len(columns["id"]), bool)
    for values in columns.values():
        if values.dtype.kind == "U":
            known, numbers = np.unique(values, return_inverse=True)
            hits = [_begins(str(word), term) for word in known]
            keep |= np.array(hits, bool)[numbers]
    return keep


def _begins(word: str, term: str) -> bool:
    """A changing state begins with what it begins as, ends as, and with `mixed`."""
    parts = word.split(TRANSITION)
    if len(parts) > 1:
        parts.append(STATE_NAMES[MIXED])
    return any(part.lower().startswith(term) for part in parts)
