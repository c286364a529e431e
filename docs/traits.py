"""Renew the tables of docs/notebooks.md: what each part lets code set and read.

    python docs/traits.py

A table stands between `<!-- traits of NAME -->` and `<!-- end -->`, and says what the
class says of itself.
"""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import omnimouse_widgets
from omnimouse_widgets.jupyter.transport.part import Part

PAGE = Path(__file__).parent / "notebooks.md"
MARKED = re.compile(r"<!-- traits of (\w+) -->\n.*?<!-- end -->", re.DOTALL)
ATTRIBUTE = re.compile(r"^(\w+(?:, \w+)*)\n((?: {4}.*\n?|\n)+)", re.MULTILINE)


def documented(part: type[Part]) -> Iterator[tuple[list[str], str]]:
    """Names and words of the attributes that a part and its bases document."""
    for owner in part.__mro__:
        if owner is Part or not issubclass(owner, Part):
            return
        text = inspect.cleandoc(owner.__doc__ or "")
        attributes = text.partition("Attributes\n----------\n")[2]
        for found in ATTRIBUTE.finditer(attributes):
            yield found[1].split(", "), " ".join(found[2].split())


def table(part: type[Part]) -> str:
    """The attributes of a part as a table."""
    lines = ["| trait | |", "| --- | --- |"]
    for names, words in documented(part):
        called = ", ".join(f"`{name}`" for name in names)
        lines.append(f"| {called} | {words} |")
    return "\n".join(lines)


def renewed(text: str) -> str:
    """The page with every table as the classes have it."""

    def fill(found: re.Match[str]) -> str:
        part = getattr(omnimouse_widgets, found[1])
        return f"<!-- traits of {found[1]} -->\n{table(part)}\n<!-- end -->"

    return MARKED.sub(fill, text)


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text("utf-8")), encoding="utf-8")
