"""Construction of HTML and SVG from values; everything except `Markup` is escaped."""

from collections.abc import Iterable, Sequence
from html import escape
from unicodedata import category

import numpy as np


class Markup(str):
    """Text that is HTML already and is not escaped again."""

    __slots__ = ()


def text(value: object) -> Markup:
    """Return escaped text; characters that HTML cannot contain become U+FFFD."""
    words = "".join("�" if _is_unfit(c) else c for c in str(value))
    return Markup(escape(words))


def _is_unfit(character: str) -> bool:
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
    n_words: int = 1,
    *,
    neurons: Sequence[int] = (),
    conditions: Sequence[str] = (),
    condition_of_rows: Sequence[str] = (),
) -> Markup:
    """Return a table; the first `n_words` columns are text, the others numbers.

    Parameters
    ----------
    neurons
        Neuron of each row, in tables of neurons.
    conditions, condition_of_rows
        Keys of the conditions of the last columns, or of the rows: they can be hidden.
    """
    owners = ["" for _ in head]
    owners[len(owners) - len(conditions) :] = conditions

    def line(cells: Sequence[object], name: str, **row: object) -> Markup:
        return tag(
            "tr",
            *(
                tag(
                    name,
                    cell,
                    class_="number" if at >= n_words else None,
                    data_condition=owners[at] or None,
                )
                for at, cell in enumerate(cells)
            ),
            **row,
        )

    def at(values: Sequence[object], row: int) -> object:
        return values[row] if row < len(values) else None

    whole = tag(
        "table",
        tag("thead", line(head, "th")),
        tag(
            "tbody",
            *(
                line(
                    row,
                    "td",
                    data_neuron=at(neurons, number),
                    data_condition=at(condition_of_rows, number),
                )
                for number, row in enumerate(rows)
            ),
        ),
    )
    return tag("div", whole, class_="wide")


def facts(
    rows: Iterable[tuple[object, object]], conditions: Sequence[str] = ()
) -> Markup:
    """Return a list of names and values; entries with a condition key can be hidden."""
    parts = []
    for number, (name, value) in enumerate(rows):
        of = conditions[number] if conditions else None
        parts += [
            tag("dt", name, data_condition=of),
            tag("dd", value, data_condition=of),
        ]
    return tag("dl", *parts)


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with a minus sign (U+2212); "–" if it is not known."""
    if value is None or not np.isfinite(value):
        return "–"
    return f"{value:,.{digits}f}".replace("-", "−")


def count(n: int, noun: str) -> str:
    """Return a count with its noun, such as `1 neuron` or `1,024 neurons`."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
