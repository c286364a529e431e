"""One HTML page from pictures, numbers and checks; self-contained, no scripts."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

_STYLE = """
:root { color-scheme: dark light; }
body { margin: 0; background: #16181d; color: #d6d9de;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 40px 24px 80px; }
h1 { font-size: 30px; margin: 0 0 4px; font-weight: 600; color: #fff; }
h2 { font-size: 19px; margin: 44px 0 6px; font-weight: 600; color: #fff; }
p { margin: 6px 0 14px; max-width: 74ch; }
.quiet { color: #8b919a; }
figure { margin: 0; }
img { width: 100%; height: auto; border-radius: 8px; border: 1px solid #2b2e36; }
table { border-collapse: collapse; margin: 10px 0 20px; width: 100%; }
th, td { text-align: left; padding: 7px 14px 7px 0; vertical-align: top;
  border-bottom: 1px solid #2b2e36; }
th { font-weight: 600; color: #8b919a; font-size: 14px; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
.good { color: #2fbf8f; } .bad { color: #f0803c; font-weight: 600; }
"""


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture with what it shows."""

    title: str
    words: str
    png: Path


@dataclass(frozen=True, slots=True)
class Check:
    """Something on screen beside what the library computes for it."""

    what: str
    on_screen: str
    computed: str
    is_same: bool


@dataclass(frozen=True, slots=True)
class Page:
    """Everything the page says."""

    title: str
    words: str
    facts: Sequence[tuple[str, str]]
    figures: Sequence[Figure]
    checks: Sequence[Check]


def write_page(page: Page, path: Path) -> Path:
    """Write the page, pictures inside it; replaces an older one in one step."""
    text = "\n".join(_parts(page))
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
    return path


def _parts(page: Page) -> list[str]:
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(page.title)}</title><style>{_STYLE}</style></head><body>",
        f"<main><h1>{escape(page.title)}</h1>",
        f'<p class="quiet">{escape(page.words)}</p>',
        _facts(page.facts),
    ]
    parts += [_figure(figure) for figure in page.figures]
    parts += [_checks(page.checks), "</main></body></html>"]
    return parts


def _facts(facts: Sequence[tuple[str, str]]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td class="number">'
        f"{escape(value)}</td></tr>"
        for name, value in facts
    )
    return f"<table>{rows}</table>"


def _figure(figure: Figure) -> str:
    data = b64encode(figure.png.read_bytes()).decode("ascii")
    return (
        f"<h2>{escape(figure.title)}</h2><p>{escape(figure.words)}</p>"
        f'<figure><img alt="{escape(figure.title)}" '
        f'src="data:image/png;base64,{data}"></figure>'
    )


def _checks(checks: Sequence[Check]) -> str:
    rows = "".join(
        f'<tr><td>{escape(check.what)}</td><td class="number">'
        f'{escape(check.on_screen)}</td><td class="number">'
        f"{escape(check.computed)}</td>{_verdict(check.is_same)}</tr>"
        for check in checks
    )
    return (
        "<h2>On screen, and computed</h2><p>Read back from the window after the "
        "strokes above, beside what the library gives for the same question.</p>"
        '<table><tr><th scope="col">what</th><th scope="col">on screen</th>'
        f'<th scope="col">computed</th><th scope="col"></th></tr>{rows}</table>'
    )


def _verdict(is_same: bool) -> str:
    word, kind = ("same", "good") if is_same else ("differs", "bad")
    return f'<td class="{kind}">{word}</td>'
