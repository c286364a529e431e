"""Update the table of panels in docs/napari.md.

    python docs/panels.py

The table is between `<!-- panels -->` and `<!-- end -->`. It lists all panels of the
registry.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from omnimouse_widgets.views.registry import PANELS

PAGE = Path(__file__).parent / "napari.md"
MARKED = re.compile(r"<!-- (panels) -->\n.*?<!-- end -->", re.DOTALL)


def rows() -> Iterator[str]:
    """Yield the rows of the table."""
    yield "| panel | content | dock | in a notebook |"
    yield "| --- | --- | --- | --- |"
    for panel in PANELS:
        page = panel.page.removeprefix(PAGE.name)
        place = panel.dock.area if panel.dock else panel.reason
        part = f"`explorer.{panel.part}`" if panel.part else panel.reason
        yield f"| [{panel.title}]({page}) | {panel.help} | {place} | {part} |"


def updated(text: str) -> str:
    """Return the page with the table of the registry."""
    table = "\n".join(rows())
    return MARKED.sub(lambda match: f"<!-- {match[1]} -->\n{table}\n<!-- end -->", text)


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text("utf-8")), encoding="utf-8")
