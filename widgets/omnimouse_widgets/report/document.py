"""An HTML document that needs no other file, no script and no network."""

from typing import Final

from omnimouse_widgets.report.markup import Markup, tag
from omnimouse_widgets.report.style import style_sheet

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""What a browser is told: this page loads nothing and runs nothing."""


def document(title: str, *body: object) -> str:
    """The text of a page in the reports' style."""
    head = tag(
        "head",
        Markup('<meta charset="utf-8">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        tag("title", title),
        tag("style", Markup(style_sheet())),
    )
    main = tag("body", tag("main", *body))
    return f"<!doctype html>\n{tag('html', head, main, lang='en')}\n"
