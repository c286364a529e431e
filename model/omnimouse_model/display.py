"""Short text, HTML and data frames of the objects that a user prints.

`to_dataframe` needs pandas (the extra `analysis`), which is imported when it is called.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import import_module
from math import floor, inf, isfinite, log10
from typing import TYPE_CHECKING, Any, Final

from omnimouse_model.errors import ExportError, without_controls
from omnimouse_model.extras import missing_extra

if TYPE_CHECKING:
    import pandas

MAX_LINES = 8
"""Lines below the first one; the data frame has all of them."""
_CELL = 'style="text-align:left;padding:1px 12px 1px 0;vertical-align:top"'
# No colours: the page's own are readable in its light and in its dark theme.
_TABLE = 'style="border:0;background:none;font-variant-numeric:tabular-nums"'

# Sequences that control a terminal: of ECMA-48, with their arguments.
_SEQUENCES = re.compile(
    r"(\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b[ -/]+[0-~]|\x1b[]PX^_].*?(\x07|\x1b\\|\x9c|$)"
)


def printable(text: str) -> str:
    """Return a text in one line that cannot control a terminal, for texts from files.

    Control sequences are removed; other control characters become a replacement sign,
    and so do those that reverse the direction of writing.
    """
    return without_controls(_SEQUENCES.sub("", text))


class HasSummary:
    """Base class of objects that print as one line of text or as a small table.

    Subclasses define `_facts`, and `_lines` if they contain several results.
    """

    # Frozen data with slots inherits from this class.
    __slots__ = ()

    def _facts(self) -> Mapping[str, str]:
        """Return names and values of sizes and settings; never arrays."""
        raise NotImplementedError

    def _lines(self) -> Sequence[tuple[str, str]]:
        """Return name and value of each result, of which the first few are shown."""
        return ()

    def __repr__(self) -> str:
        """Return the facts in one line, and the first results below."""
        # Python prints it to a terminal, and names of sessions come from files.
        facts = printable("; ".join(f"{name} {value}" for name, value in self._facts().items()))
        lines = [printable(f"  {name}: {value}") for name, value in self._shown_lines()]
        return "\n".join([f"{type(self).__name__}: {facts}", *lines])

    def _repr_html_(self) -> str:
        """Return a table of the facts and the first results, for notebooks."""
        rows = "".join(
            f'<tr style="background:none"><th scope="row" {_CELL}>{escape(name)}</th>'
            f"<td {_CELL}>{escape(value)}</td></tr>"
            for name, value in (*self._facts().items(), *self._shown_lines())
        )
        caption = f"<caption {_CELL}>{escape(type(self).__name__)}</caption>"
        return f"<table {_TABLE}>{caption}<tbody>{rows}</tbody></table>"

    def _shown_lines(self) -> list[tuple[str, str]]:
        lines = list(self._lines())
        n_more = len(lines) - MAX_LINES
        if n_more <= 0:
            return lines
        return [*lines[:MAX_LINES], ("…", f"{n_more:,} more in to_dataframe()")]


def data_frame(columns: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> "pandas.DataFrame":
    """Return a pandas data frame of columns, or of rows.

    A column of rows that holds None alone is one of NaN.

    Raises
    ------
    ExportError
        pandas is not installed.
    """
    try:
        frame = import_module("pandas").DataFrame
    except ImportError as error:
        raise ExportError(missing_extra(error) or str(error)) from None
    if isinstance(columns, Mapping):
        return frame(columns)
    table = frame(columns)
    # As objects, such a column would have no `round`.
    empty = [name for name in table if table[name].dtype == object and table[name].isna().all()]
    return table.astype(dict.fromkeys(empty, float))


def number_text(value: float, digits: int = 2, sign: str = "", kind: str = "f") -> str:
    """Return a number as people read it: with a minus sign (U+2212), "–" if it is not known.

    `sign` "+" is written before positive numbers; with `kind` "g", digits are significant ones.

    Examples
    --------
    >>> from omnimouse_model.display import number_text
    >>> number_text(-0.034), number_text(1234.5, 0), number_text(0.2, sign="+")
    ('−0.03', '1,234', '+0.20')
    """
    if not isfinite(value):
        return "–"
    # z: what is rounded to zero has no minus sign.
    return f"{value:{sign}z,.{digits}{kind}}".replace("-", "−")


def interval_text(
    value: float, low: float, high: float, digits: int = 3, sign: str = "", kind: str = "f"
) -> str:
    """Return a number with its 95 % interval, `0.412 [0.340, 0.540]`, or "–" without a number."""
    texts = [number_text(each, digits, sign, kind) for each in (value, low, high)]
    is_known = isfinite(value) and isfinite(low)
    return f"{texts[0]} [{texts[1]}, {texts[2]}]" if is_known else texts[0]


ROUNDING: Final = 1e-6
"""Half of an interval of scores that is not above this is of float32 numbers, not of data."""


def is_no_difference(low: float, high: float) -> bool:
    """Whether both ends of an interval are 0 in three digits: the predictions are the same."""
    return abs(low) < 5e-4 and abs(high) < 5e-4


def difference_text(value: float, low: float, high: float) -> str:
    """Return a difference with its 95 % interval, by whose length its digits are chosen.

    Two digits of half the length are shown: with fewer, `+0.02 [0.00, +0.04]` does not tell
    whether the interval contains 0. What is only the rounding of numbers is no interval.

    Examples
    --------
    >>> from omnimouse_model.display import difference_text
    >>> difference_text(0.0214, 0.0031, 0.0397), difference_text(-0.214, -0.397, -0.031)
    ('+0.021 [+0.003, +0.040]', '−0.21 [−0.40, −0.03]')
    """
    half = (high - low) / 2
    if not (isfinite(value) and ROUNDING < half < inf):
        return number_text(value, sign="+")
    digits = max(1 - floor(log10(half)), 2)
    return interval_text(value, low, high, digits, "+")


def count(n: int, noun: str) -> str:
    """Return a count with its noun, such as `1 neuron` or `1,024 neurons`."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def listed(names: Iterable[object], most: int = 8) -> str:
    """Return names for a message: the first ones, and the number of the others."""
    texts = [str(name) for name in names]
    more = f" and {len(texts) - most:,} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


def and_text(texts: Sequence[str]) -> str:
    """Return texts as a list within a sentence.

    Examples
    --------
    >>> from omnimouse_model.display import and_text
    >>> and_text(["train", "oracle", "blank"]), and_text(["train"])
    ('train, oracle and blank', 'train')
    """
    *first, last = texts or [""]
    return f"{', '.join(first)} and {last}" if first else last


def channel_text(name: str) -> str:
    """Return a behaviour channel's name on screen: `pupil_dsize` is `change of pupil size`."""
    if name.endswith("_dsize"):
        return f"change of {name.removesuffix('_dsize')} size".replace("_", " ")
    return name.replace("_", " ")
