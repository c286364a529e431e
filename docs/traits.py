"""Update the tables of docs/notebooks.md: the traits of each widget.

    python docs/traits.py

A table is between `<!-- traits of NAME -->` and `<!-- end -->`. It contains the section
*Attributes* of the docstring of the class.
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
    """Yield names and descriptions of the attributes of a part and its base classes."""
    for owner in part.__mro__:
        if owner is Part or not issubclass(owner, Part):
            return
        text = inspect.cleandoc(owner.__doc__ or "")
        attributes = text.partition("Attributes\n----------\n")[2]
        for match in ATTRIBUTE.finditer(attributes):
            yield match[1].split(", "), " ".join(match[2].split())


def table(part: type[Part]) -> str:
    """Return the attributes of a part as a Markdown table, or that it has none."""
    lines = ["| trait | meaning |", "| --- | --- |"]
    for names, description in documented(part):
        code_names = ", ".join(f"`{name}`" for name in names)
        lines.append(f"| {code_names} | {description} |")
    return "\n".join(lines) if len(lines) > 2 else "It has no traits of its own."


def updated(text: str) -> str:
    """Return the page with all tables taken from the docstrings."""

    def refill(match: re.Match[str]) -> str:
        part = getattr(omnimouse_widgets, match[1])
        return f"<!-- traits of {match[1]} -->\n{table(part)}\n<!-- end -->"

    return MARKED.sub(refill, text)


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text("utf-8")), encoding="utf-8")
