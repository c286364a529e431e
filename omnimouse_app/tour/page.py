"""One self-contained HTML page of pictures, numbers and checks, without scripts."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omnimouse_model.storage.files import read_bytes
from omnimouse_model.storage.write import write_text
from omnimouse_widgets.report.document import document
from omnimouse_widgets.report.markup import Markup, facts, joined, table, tag
from omnimouse_widgets.report.markup import text as escaped

CHECKED = (
    "Values read from the window after the strokes above, and values that the library "
    "computes for the same task."
)


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture with its title and description."""

    title: str
    text: str
    png: Path


@dataclass(frozen=True, slots=True)
class Check:
    """A value on screen and the value that the library computes for it."""

    quantity: str
    on_screen: str
    computed: str
    is_same: bool


@dataclass(frozen=True, slots=True)
class Page:
    """Title, text, pictures and checks of a report, before it is HTML."""

    title: str
    text: str
    facts: Sequence[tuple[str, str]]
    figures: Sequence[Figure]
    checks: Sequence[Check]


def write_page(page: Page, path: Path) -> Path:
    """Write the page with embedded pictures; replaces an older one atomically."""
    html = document(
        page.title,
        tag("h1", page.title),
        tag("p", page.text, class_="quiet"),
        facts(page.facts),
        *map(_figure, page.figures),
        _checks(page.checks),
    )
    # A reader never sees a half-written page.
    write_text(path, html)
    return path


def _figure(figure: Figure) -> Markup:
    title = tag("h2", figure.title)
    # Pictures are data URLs, so that the page is a single file.
    data = b64encode(read_bytes(figure.png, 2**28)).decode("ascii")
    picture = f'<img alt="{escaped(figure.title)}" src="data:image/png;base64,{data}">'
    image = tag("figure", Markup(picture))
    return joined((title, tag("p", figure.text), image))


def _checks(checks: Sequence[Check]) -> Markup:
    head = ("quantity", "on screen", "computed", "")
    rows = [
        (check.quantity, check.on_screen, check.computed, _verdict(check.is_same))
        for check in checks
    ]
    title = tag("h2", "Values on screen and computed values")
    return joined((title, tag("p", CHECKED), table(head, rows, len(head))))


def _verdict(is_same: bool) -> Markup:
    word, kind = ("same", "good") if is_same else ("differs", "alert")
    return tag("span", word, class_=kind)
