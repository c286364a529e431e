"""HTML and SVG out of values: whatever is not `Markup` is escaped."""

from collections.abc import Iterable, Sequence
from html import escape
from unicodedata import category

import numpy as np


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def text(value: object) -> Markup:
    """Escape words of any origin; what no page can hold is left out."""
    words = "".join("�" if _is_unfit(c) else c for c in str(value))
    return Markup(escape(words))


def _is_unfit(character: str) -> bool:
    """Control characters, and halves of pairs, which file names can hold."""
    return category(character) in ("Cc", "Cs") and character not in "\n\t"


def tag(name: str, *children: object, **attributes: object) -> Markup:
    """An element. `class_` is `class`, `stroke_width` is `stroke-width`.

    Attributes that are None are left out.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{written}>{joined(children)}</{name}>")


def joined(children: Iterable[object]) -> Markup:
    """One after the other."""
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
    """A table; the first columns hold words, the others numbers.

    Parameters
    ----------
    neurons
        Whose each row is, where they are neurons'.
    conditions, condition_of_rows
        Which condition the last columns, or the rows, are of: they can be hidden.
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
    """Names and what they are; of conditions that can be hidden, where they are so."""
    parts = []
    for number, (name, value) in enumerate(rows):
        of = conditions[number] if conditions else None
        parts += [
            tag("dt", name, data_condition=of),
            tag("dd", value, data_condition=of),
        ]
    return tag("dl", *parts)


def number(value: float | None, digits: int = 3) -> str:
    """A number with a true minus; – where it is not known."""
    if value is None or not np.isfinite(value):
        return "–"
    return f"{value:,.{digits}f}".replace("-", "−")


def count(n: int, noun: str) -> str:
    """Such as `1 neuron`, `1,024 neurons`."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
