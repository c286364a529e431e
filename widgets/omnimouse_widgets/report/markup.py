"""Construction of HTML and SVG from values; everything except `Markup` is escaped.

Functions instead of templates: mypy checks them, and one rule escapes all values.
"""

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from unicodedata import category

import numpy as np


class Markup(str):
    """Text that is HTML already and is not escaped again."""

    __slots__ = ()


def text(value: object) -> Markup:
    """Return escaped text; characters that HTML cannot contain become U+FFFD."""
    return Markup(escape("".join("�" if _is_invalid(c) else c for c in str(value))))


def _is_invalid(character: str) -> bool:
    """Return True for control characters and unpaired surrogates.

    File names can contain both.
    """
    return category(character) in ("Cc", "Cs") and character not in "\n\t"


def tag(name: str, *children: object, **attributes: object) -> Markup:
    """Return an element; `class_` is written `class`, `stroke_width` `stroke-width`.

    Attributes with the value None are omitted.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{written}>{joined(children)}</{name}>")


def joined(children: Iterable[object]) -> Markup:
    """Return the children, concatenated; those that are not `Markup` are escaped."""
    return Markup("".join(c if isinstance(c, Markup) else text(c) for c in children))


def table(
    head: Sequence[object],
    rows: Iterable[Sequence[object]],
    n_text: int = 1,
    *,
    neurons: Sequence[int] = (),
    conditions: Sequence[str] = (),
    condition_of_rows: Sequence[str] = (),
) -> Markup:
    """Return a table; the first `n_text` columns are text, the others numbers.

    Parameters
    ----------
    neurons
        Neuron of each row, in tables of neurons.
    conditions, condition_of_rows
        Keys of the conditions of the last columns, or of the rows: they can be hidden.
    """
    owners = [""] * (len(head) - len(conditions)) + list(conditions)

    def cells(name: str, values: Sequence[object]) -> Iterator[Markup]:
        for column, value in enumerate(values):
            yield tag(
                name,
                value,
                class_="number" if column >= n_text else None,
                data_condition=owners[column] or None,
            )

    body = [
        tag(
            "tr",
            *cells("td", row),
            data_neuron=neurons[at] if neurons else None,
            data_condition=condition_of_rows[at] or None if condition_of_rows else None,
        )
        for at, row in enumerate(rows)
    ]
    thead = tag("thead", tag("tr", *cells("th", head)))
    # A wide table scrolls by itself; the page does not.
    return tag("div", tag("table", thead, tag("tbody", *body)), class_="wide")


def facts(rows: Iterable[tuple[object, object]], conditions: Sequence[str] = ()) -> Markup:
    """Return a list of names and values; entries with a condition key can be hidden."""
    parts = []
    for at, (name, value) in enumerate(rows):
        key = conditions[at] or None if conditions else None
        parts.append(tag("dt", name, data_condition=key))
        parts.append(tag("dd", value, data_condition=key))
    return tag("dl", *parts)


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with a minus sign (U+2212); "–" if it is not known."""
    if value is None or not np.isfinite(value):
        return "–"
    return f"{value:z,.{digits}f}".replace("-", "−")
