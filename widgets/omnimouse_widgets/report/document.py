"""A self-contained HTML document: it needs no other file and no network."""

import json
from base64 import b64encode
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from omnimouse_model.storage.files import read_text
from omnimouse_widgets.report.markup import Markup, tag
from omnimouse_widgets.report.style import style_sheet

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""Content security policy: the page loads nothing and runs no script but `script`."""
DATA_ID: Final = "page-data"


@cache
def script() -> str:
    """Return the script that handles pointer and keys, from the page's data."""
    return read_text(Path(__file__).with_name("page.js"), 2**20)


def document(title: str, *body: object, data: dict[str, Any] | None = None) -> str:
    """Return the HTML text of a page; it is interactive if it has data."""
    policy, scripts = POLICY, []
    if data is not None:
        # The policy allows the one script whose hash it contains: injected scripts do
        # not run.
        digest = b64encode(sha256(script().encode()).digest()).decode("ascii")
        policy = f"{POLICY}; script-src 'sha256-{digest}'"
        scripts = [
            tag("script", _as_json(data), type="application/json", id=DATA_ID),
            tag("script", Markup(script())),
        ]
    head = tag(
        "head",
        Markup('<meta charset="utf-8">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        tag("title", title),
        tag("style", Markup(style_sheet())),
    )
    main = tag("body", tag("main", *body), *scripts)
    return f"<!doctype html>\n{tag('html', head, main, lang='en')}\n"


def _as_json(data: dict[str, Any]) -> Markup:
    """Return JSON that a browser does not read as markup, whatever text it contains."""
    # NaN is not JSON: `JSON.parse` in the browser would fail.
    encoded = json.dumps(data, allow_nan=False, separators=(",", ":"))
    # "</script>" inside a string would end the element; JSON reads the escapes as the
    # same characters.
    return Markup(encoded.replace("<", r"\u003c").replace("&", r"\u0026"))
