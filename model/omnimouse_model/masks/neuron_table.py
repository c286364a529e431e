"""Neurons as a table, and a language of filters for its rows.

All terms between spaces must hold; `|` separates alternatives, and `!` negates a term.
A term is the beginning of an area or a state (`V1`, `target`; a state that changes
matches by both ends, and by `mixed` if one of them is visible), a neuron's id (`412`),
`tuned` (of the recording: to orientation or direction; neurons of which this is unknown
pass neither `tuned` nor `!tuned`), or a comparison (`depth<250`,
`plane=2`, `area=V1`, `score>=0.3`). Of Python, `==`, `and` and `or` mean the same, and
quotes around a text, which may then have spaces and signs. No text is evaluated as code: other
words and signs of Python, such as `not`, `in` and `&`, are errors unless a text has them.
"""

import operator
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from omnimouse_model.data.recording import cached
from omnimouse_model.data.session import Session
from omnimouse_model.errors import MaskError
from omnimouse_model.masks.cells import MIXED, PATTERN_NAMES, STATE_NAMES, TRANSITION, VISIBLE
from omnimouse_model.masks.mask import Mask
from omnimouse_model.metrics.tuning import N_SHUFFLES, SIGNIFICANCE_LEVEL

if TYPE_CHECKING:
    from pandas import Series

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
_QUOTED: Final = re.compile(r"""(["'])(.*?)\1""")
_HIDING: Final = 0xF0000
"""Makes characters in quotes ones for private use, which separate and compare nothing."""
_HIDDEN: Final = "\U000f0000-\U000fffff"
_BETWEEN: Final = (
    rf"(?<=[^\s|<>=!])(?:\s+|(?<=[{_HIDDEN}])){{}}(?:\s+|(?=[{_HIDDEN}]))(?=[^\s|<>=])"
)
"""A word between two terms, from which spaces or quotes separate it."""
_PYTHON: Final = {"==": "=", _BETWEEN.format("and"): " ", _BETWEEN.format("or"): " | "}
"""What stands for words and signs of Python."""
_OTHER_WORDS: Final = frozenset(("not", "in", "is"))
_OTHER_SIGNS: Final = frozenset("&~()[],'\"")
"""What in Python has a meaning that no filter has."""
MAX_LABELS: Final = 20
"""Largest number of different values of a column that counts as a label."""
TUNED: Final = "tuned"
P_VALUES: Final = ("recorded_p_orientation", "recorded_p_direction")
"""Tests of which a tuned neuron passes one, at a level for their number; see `tuned_by`."""
# Longer numbers exceed int64, in which ids are compared.
_ID: Final = re.compile("[0-9]{1,18}")


def table_columns(
    session: Session,
    mask: Mask | None = None,
    span: tuple[int, int] | None = None,
    scores: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Return (P,) arrays by name: id, area, probe, plane, depth, x, y, state, score.

    Properties from tables of the user follow.

    Parameters
    ----------
    session
        Source of all columns but state and score: depth, x and y in µm, NaN if unknown.
    mask, span
        For the column `state`, one of `PATTERN_NAMES`; "" without a mask. The span
        is the whole window by default.
    scores
        (P,) for the column `score`, NaN if unknown.
    """
    units, n = session.units, session.n_neurons
    states = np.full(n, "")
    if mask is not None:
        states = np.array(PATTERN_NAMES)[mask.patterns_in(span or (0, mask.n_samples))]
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
        **{name: v for name, v in units.properties.items() if v.ndim == 1},
    }


def label_columns(session: Session) -> tuple[str, ...]:
    """Return the columns with 2 to 20 different known values, such as the area."""

    def find() -> tuple[str, ...]:
        return tuple(
            name
            for name, values in table_columns(session).items()
            # Most columns have too many values, and a part of the neurons tells.
            if name != "id"
            and len(known_values(values[: 10 * MAX_LABELS])) <= MAX_LABELS
            and 2 <= len(known_values(values)) <= MAX_LABELS
        )

    # Once: 5 ms for 40,000 neurons.
    return cached(session, "label columns", find)


def known_values(values: np.ndarray) -> list[str]:
    """Return the different values of a column as text, without unknown ones."""
    different = np.unique(np.unique(values).astype(str))
    return [text for text in different if text not in ("", "nan")]


def matching_neurons(text: str, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the neurons that a filter selects, int64 (n,) in stored order.

    Parameters
    ----------
    text
        A filter, see the module docstring; "" selects all.
    columns
        (P,) arrays by name. Numbers can be compared; unknown ones (NaN) satisfy no
        comparison. Texts match by their beginning, or completely after `=`; case does
        not matter. A number alone matches the column "id".

    Raises
    ------
    MaskError
        A term is invalid; the message shows a valid one.
    """
    alternatives = _alternatives(text)
    if len(alternatives) > 1 and not all(terms.strip() for terms in alternatives):
        raise MaskError("'|' stands between two alternatives: V1 | LM.")
    is_selected = np.zeros(len(columns["id"]), bool)
    for terms in alternatives:
        fits = np.ones(len(is_selected), bool)
        for term in terms.split():
            fits &= _matches(term, columns)
        is_selected |= fits
    return np.flatnonzero(is_selected)


def named_columns(text: str, columns: Collection[str]) -> tuple[str, ...]:
    """Return those of the columns that a filter compares; for `tuned`, its p values."""
    terms = (term.lstrip("!") for terms in _alternatives(text) for term in terms.split())
    found: list[str] = []
    for term in terms:
        match = _COMPARISON.fullmatch(term)
        named = () if match is None else (_full_name(_told(match[1]), columns),)
        found += P_VALUES if term == TUNED else named
    return tuple(name for name in dict.fromkeys(found) if name in columns)


def _alternatives(text: str) -> list[str]:
    """Return the alternatives of a filter; what is in quotes is hidden, `_told` shows it."""
    text = _QUOTED.sub(lambda quoted: _hidden(quoted[2]), text.lower())
    for python, own in _PYTHON.items():
        text = re.sub(python, own, text)
    # Spaces separate terms, so those around a sign are removed first.
    return _SPACED_SIGN.sub(r"\1", text).split("|")


def _hidden(text: str) -> str:
    return "".join(chr(ord(sign) + _HIDING) if sign <= "\uffff" else sign for sign in text)


def _told(text: str) -> str:
    return "".join(chr(ord(sign) - _HIDING) if _is_hidden(sign) else sign for sign in text)


def _is_hidden(sign: str) -> bool:
    return _HIDING <= ord(sign) <= _HIDING + 0xFFFF


def _matches(term: str, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return whether each neuron matches a term, bool (P,)."""
    # A word of the user's own tables comes first.
    if term.lstrip("!") == TUNED and not _named(TUNED, columns).any():
        tuned, untuned = _tuned(columns)
        return untuned if term.count("!") % 2 else tuned
    if term.startswith("!") and len(term) > 1:
        return ~_matches(term[1:], columns)
    match = _COMPARISON.fullmatch(term)
    if match is not None:
        name, sign, operand = _told(match[1]), match[2], _told(match[3])
        fits = _compared(name, sign, operand, columns)
        _refuse_python(match[3], fits if sign == "=" else ~fits)
        return fits
    if any(sign in term for sign in "<>=!"):
        raise MaskError(f"'{_told(term)}' is no comparison; write depth<250 or area=V1.")
    if _ID.fullmatch(_told(term)):
        return np.asarray(columns["id"] == int(_told(term)))
    named = _named(_told(term), columns)
    _refuse_python(term, named)
    return named


def _refuse_python(text: str, fits: np.ndarray) -> None:
    """Raise if a filter has syntax of Python that is no filter, unless a text matches it."""
    if fits.any():
        return
    if text in ("and", "or"):
        raise MaskError(f"'{text}' stands between two terms: V1 {text} target.")
    hidden = [_is_hidden(sign) for sign in text]
    # Quotes within a word, too, such as those of ('V1').
    is_mixed = any(hidden) and not all(hidden)
    if is_mixed or text in _OTHER_WORDS or not _OTHER_SIGNS.isdisjoint(text):
        raise MaskError(
            f"'{_told(text)}' selects nothing; write V1 and !target, or V1 or LM, with quotes "
            "around a whole text."
        )


def _full_name(name: str, columns: Collection[str]) -> str:
    """Return the column of a name: `osi`, as its title, is `recorded_osi` if no table has one."""
    full = f"recorded_{name}"
    return full if name not in columns and full in columns else name


def _compared(name: str, sign: str, operand: str, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    # Titles of the ids on screen and in files; a joined table may have a column of that name.
    if name in ("unit", "unit_id") and name not in columns:
        name = "id"
    name = _full_name(name, columns)
    if name not in columns:
        # Fields and tuning take minutes, so they are columns only when somebody asked.
        source = " Compute all makes those of the recording." * name.startswith("recorded_")
        raise MaskError(f"No column '{name}'; there are {', '.join(columns)}.{source}")
    values, compare = columns[name], COMPARISONS[sign]
    if values.dtype.kind == "U":
        if sign not in ("=", "!="):
            raise MaskError(f"'{name}' holds text: write {name}={operand}.")
        return np.asarray(compare(np.char.lower(values), operand))
    try:
        number = float(operand)
    except ValueError:
        raise MaskError(f"'{name}' holds numbers, '{operand}' is none.") from None
    # Without this, `!=` would be true for every unknown value.
    fits = np.asarray(compare(values, number) & ~np.isnan(values))
    least = 1 / (N_SHUFFLES + 1)
    # A table of the user's own can hold smaller ones under these names.
    if name in P_VALUES and sign[0] == "<" and not (compare(least, number) or fits.any()):
        raise MaskError(
            f"'{name}{sign}{operand}': p cannot be below 1/{N_SHUFFLES + 1}, which is {least:.4f}."
        )
    return fits


def _named(term: str, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return whether a text of each neuron begins with a term, bool (P,)."""
    is_named = np.zeros(len(columns["id"]), bool)
    for values in columns.values():
        if values.dtype.kind == "U":
            # Few distinct texts serve thousands of neurons.
            texts, number = np.unique(values, return_inverse=True)
            is_hit = [_begins(str(text), term) for text in texts]
            is_named |= np.array(is_hit, bool)[number]
    return is_named


def _tuned(columns: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return whether each neuron is tuned to orientation or direction, and not, bool (P,).

    A neuron with an unknown p value is neither, unless the other one shows its tuning.
    """
    known = [columns[name] for name in P_VALUES if name in columns]
    # A table of the user's own can hold texts under these names.
    known = [values for values in known if values.dtype.kind in "fiu"]
    if not known:
        raise MaskError(
            f"'{TUNED}' is not computed yet: Colour by, Orientation selectivity, Compute all (or "
            f"join the numbers {' or '.join(P_VALUES)} of om.recorded_tuning)."
        )
    return tuned_by(known)


def tuned_by(p_values: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return whether each neuron is tuned by one of some p values (P,), and not, bool (P,).

    Neither where it is not known. The level of each test is `SIGNIFICANCE_LEVEL` divided by
    the number of tests (Bonferroni): at most so many neurons without tuning pass any of them.
    """
    # Without known directions of motion, no neuron has a p value of direction.
    known = [values for values in p_values if np.isfinite(values).any()] or p_values
    level = SIGNIFICANCE_LEVEL / len(known)
    return (
        np.any([values < level for values in known], axis=0),
        np.all([values >= level for values in known], axis=0),
    )


def tuned_column(p_values: Sequence[np.ndarray]) -> "Series":
    """Return `tuned_by` as a column of a table, which is missing where it is not known."""
    from pandas import Series

    tuned, untuned = tuned_by(p_values)
    return Series(tuned, dtype="boolean").where(tuned | untuned)


def _begins(text: str, term: str) -> bool:
    """Return whether a text, either end of a pattern, or `mixed` begins with a term."""
    parts = text.split(TRANSITION)
    if len(parts) > 1 and STATE_NAMES[VISIBLE] in parts:
        parts.append(STATE_NAMES[MIXED])
    return any(part.lower().startswith(term) for part in parts)
