"""HTML and SVG of the report: elements, styles, lines and axes, and the whole document.

Functions instead of templates: mypy checks them, and one rule escapes all values.
"""

import json
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any, Final
from unicodedata import category

import numpy as np

from omnimouse_model.display import number_text
from omnimouse_model.masks import HIDDEN, MIXED, TARGET, VISIBLE
from omnimouse_model.storage.files import read_text
from omnimouse_widgets import palette

# -- style sheet of all pages, for light and dark screens and for print ---------------
SCORE_STEPS: Final = 24
"""Number of colours for scores from 0 to 1."""
STATE_CLASSES: Final = {
    HIDDEN: "hidden",
    VISIBLE: "visible",
    TARGET: "target",
    MIXED: "mixed",
}
DASHES: Final = ("", "7 3", "2 3", "8 3 2 3", "12 4", "12 3 2 3")
"""Dash patterns of the sweeps, in order."""
# The palette is made for a dark background; several colours are darker here, for
# contrast on white.
_LIGHT: Final = f"""
--page: #ffffff; --text: #1d2127; --quiet: #626a75; --rule: #d9dde3; --box: #f4f5f7;
--hidden: #9aa0a8; --visible: {palette.VISIBLE}; --target: {palette.TARGET};
--mixed: {palette.MIXED}; --predicted: #b86e00; --baseline: #00805d;
--edited: #0072b2; --pin0: #2f8fc4; --pin1: #b0558a; --pin2: #8d8300; --pin3: #c04f00;
--inputs0: #2f8fc4; --inputs1: #b86e00; --inputs2: #00805d; --inputs3: #b0558a;
--alert: #b34700;"""
_DARK: Final = f"""
--page: #16181d; --text: #e4e7eb; --quiet: #9aa2ad; --rule: #33373f; --box: #1e2127;
--hidden: #6a717c; --visible: {palette.VISIBLE}; --target: {palette.TARGET};
--mixed: {palette.MIXED}; --predicted: {palette.PREDICTED};
--baseline: #1fbf92; --edited: #7cc8ff; --pin0: {palette.PINS[0]};
--pin1: {palette.PINS[1]}; --pin2: {palette.PINS[2]}; --pin3: #ff7a2f;
--inputs0: #56B4E9; --inputs1: #E69F00; --inputs2: #1fbf92; --inputs3: #CC79A7;
--alert: #ff8c4a;"""
_PLAIN: Final = """
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width: 1000px; margin: 0 auto; padding: 36px 24px 72px; }
h1 { font-size: 28px; line-height: 1.25; margin: 0 0 2px; font-weight: 650;
  overflow-wrap: anywhere; }
h2 { font-size: 20px; margin: 44px 0 8px; padding-top: 14px; font-weight: 650;
  border-top: 1px solid var(--rule); }
h3 { font-size: 15px; margin: 22px 0 4px; font-weight: 600; overflow-wrap: anywhere; }
p { margin: 6px 0 12px; max-width: 76ch; overflow-wrap: anywhere; }
.quiet, dt, th, figcaption { color: var(--quiet); }
.alert { color: var(--alert); font-weight: 600; } .good { color: var(--baseline); }
.lead { display: flex; flex-wrap: wrap; gap: 12px; margin: 22px 0 8px; }
.lead div { background: var(--box); border-radius: 8px; padding: 10px 16px;
  flex: 1 1 150px; }
.lead b { display: block; font-size: 25px; line-height: 1.25; font-weight: 650;
  font-variant-numeric: tabular-nums; }
.lead span { font-size: 13px; color: var(--quiet); }
dl { display: grid; grid-template-columns: minmax(110px, max-content) 1fr;
  gap: 4px 20px; margin: 10px 0; }
dd { margin: 0; overflow-wrap: anywhere; white-space: pre-line; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 10px 0 16px; font-size: 14.5px; }
th, td { text-align: left; padding: 5px 18px 5px 0; vertical-align: baseline;
  border-bottom: 1px solid var(--rule); }
th { font-weight: 500; font-size: 13px; vertical-align: bottom; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
figure { margin: 8px 0 4px; } figcaption { font-size: 13px; margin-top: 2px; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(320px, 1fr));
  gap: 8px 28px; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 18px; font-size: 13.5px;
  margin: 6px 0; }
.legend span { display: inline-flex; align-items: center; gap: 6px; }
.legend svg { flex: none; }
svg, img { max-width: 100%; height: auto; display: block; }
img { border-radius: 8px; border: 1px solid var(--rule); }
svg text { font: 12px system-ui, "DejaVu Sans", sans-serif; fill: var(--quiet); }
svg text.name { fill: var(--text); font-weight: 600; }
pre { background: var(--box); border-radius: 8px; padding: 14px 16px; overflow-x: auto;
  font: 13px/1.5 ui-monospace, "DejaVu Sans Mono", monospace; }
.line { fill: none; stroke-width: 1.7; stroke-linejoin: round; stroke-linecap: round; }
svg rect { shape-rendering: crispEdges; }
.dot { stroke-linecap: round; fill: none; }
.axis { stroke: var(--quiet); } .grid { stroke: var(--rule); }
.paper { stroke: var(--page); } .edge { stroke: var(--quiet); }
.marker { stroke: var(--page); stroke-width: 1; }
.recorded { stroke: var(--text); stroke-width: 1.3; } .bar { fill: var(--edited); }
.predicted { stroke: var(--predicted); } .baseline { stroke: var(--baseline);
  stroke-dasharray: 5 3; } .edited { stroke: var(--edited); stroke-dasharray: 2 3; }
.median { stroke: var(--predicted); stroke-width: 2; stroke-dasharray: 4 3; }
button { font: inherit; color: inherit; background: none; border: 0; padding: 0;
  text-align: inherit; cursor: pointer; border-radius: 4px; }
:focus-visible { outline: 2px solid var(--edited); outline-offset: 2px; }
[data-off] { display: none !important; }
th button { font-weight: inherit; }
th[aria-sort] button { color: var(--text); }
th[aria-sort="ascending"] button::after { content: " ▲"; }
th[aria-sort="descending"] button::after { content: " ▼"; }
.legend button { display: inline-flex; align-items: center; gap: 6px; }
.show { display: flex; flex-wrap: wrap; gap: 8px; align-items: center;
  font-size: 13.5px; }
.show button { border: 1px solid var(--rule); padding: 2px 12px; border-radius: 14px; }
.show button[aria-pressed="true"] { background: var(--box);
  border-color: var(--quiet); }
button[aria-pressed="false"] { opacity: 0.55; text-decoration: line-through; }
.neuron-info { min-height: 1.5em; font-size: 14px; color: var(--quiet); }
.neuron-info b { color: var(--text); }
a { color: var(--edited); }
svg[data-field][tabindex] { cursor: crosshair; border-radius: 8px; }
[data-neuron][tabindex] { cursor: pointer; border-radius: 6px; }
.marked { background: var(--box); box-shadow: -4px 0 0 var(--predicted); }
.marked h3::before { content: "▸ "; }
tr.marked td:first-child::before { content: "▸ "; }
.ring { fill: none; stroke: var(--text); stroke-width: 2; pointer-events: none; }
.ring.picked { stroke: var(--edited); stroke-width: 3.5; }
@media print { .neuron-info, .show { display: none; } button[aria-pressed="false"] {
  display: none; }
  body { font-size: 11pt; } main { max-width: none; padding: 0; }
  figure, tr, .lead, dl { break-inside: avoid; } h2, h3 { break-after: avoid; }
  pre { white-space: pre-wrap; } * { print-color-adjust: exact; } }
"""


def style_sheet() -> str:
    """Return the complete style sheet."""
    # Paper is light: the dark scheme is for screens only.
    rules = [
        f":root {{ color-scheme: light dark; {_LIGHT} }}",
        f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {_DARK} }} }}",
        _PLAIN,
    ]
    for name in STATE_CLASSES.values():
        rules.append(f".{name} {{ stroke: var(--{name}); }}")
        rules.append(f".fill-{name} {{ fill: var(--{name}); }}")
    for slot, dash in enumerate(("6 2", "8 2 2 2", "3 2", "10 3")):
        rules.append(f".pin{slot} {{ stroke: var(--pin{slot}); stroke-dasharray: {dash}; }}")
    for at in range(len(palette.CONDITION_COLOURS)):
        # Colours are variables, so that the light and the dark scheme need the same
        # rules.
        rules.append(f".inputs{at} {{ stroke: var(--inputs{at}); }}")
        rules.append(f".fill-inputs{at} {{ fill: var(--inputs{at}); }}")
    for at, dash in enumerate(DASHES):
        rules.append(f".sweep{at} {{ stroke-dasharray: {dash or 'none'}; }}")
    # Scores have classes of fixed steps: one rule per colour is shorter than a colour
    # per dot.
    steps = np.linspace(0, 255, SCORE_STEPS).round().astype(int)
    for at, colour in enumerate(palette.viridis_table()[steps].tolist()):
        css = "#{:02x}{:02x}{:02x}".format(*colour)
        rules.append(f".s{at} {{ stroke: {css}; }} .fill-s{at} {{ fill: {css}; }}")
    return "\n".join(rules)


# -- construction of HTML and SVG from values -----------------------------------------
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


# -- a self-contained HTML document: it needs no other file and no network ------------
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


# -- lines, points and axes as SVG; colours are CSS classes, for light and dark pages -
@dataclass(frozen=True, slots=True)
class Frame:
    """Position of a plot on the picture, and the values at its edges."""

    left: float
    top: float
    width: float
    height: float
    x: tuple[float, float]
    y: tuple[float, float]

    def across(self, values: np.ndarray | float) -> np.ndarray:
        """Return the horizontal positions of x values."""
        low, high = self.x
        return self.left + (np.asarray(values, float) - low) / (high - low) * self.width

    def down(self, values: np.ndarray | float) -> np.ndarray:
        """Return the vertical positions of y values; SVG counts downwards."""
        low, high = self.y
        share = (np.asarray(values, float) - low) / (high - low)
        return self.top + (1 - share) * self.height


def picture(
    width: float, height: float, label: str, parts: Iterable[Markup], **more: object
) -> Markup:
    """Return an SVG picture with a text label for screen readers."""
    return tag(
        "svg",
        *parts,
        viewBox=f"0 0 {width:g} {height:g}",
        width=f"{width:g}",
        role="img",
        aria_label=label,
        **more,
    )


def line(frame: Frame, x: np.ndarray, y: np.ndarray, class_: str) -> Markup:
    """Return a line through the known points, interrupted at unknown ones (NaN)."""
    is_known = np.isfinite(y)
    # A path restarts ("M") at each known point that follows an unknown one.
    is_start = is_known & ~np.concatenate([[False], is_known[:-1]])
    points = np.stack([frame.across(x), frame.down(y)], axis=1)[is_known]
    steps = [
        f"{'M' if starts else 'L'}{left:z.1f},{down:z.1f}"
        for (left, down), starts in zip(points, is_start[is_known], strict=True)
    ]
    return tag("path", d="".join(steps), class_=f"line {class_}")


def dots(places: np.ndarray, width: float, class_: str | None, **look: object) -> Markup:
    """Return round marks at positions (n, 2), as one path."""
    if not len(places):
        return Markup()
    # Lines of length 0 with round caps are dots; one path for all is much smaller than
    # one circle per neuron.
    path = "".join(f"M{x:z.1f},{y:z.1f}h0" for x, y in places)
    return tag("path", d=path, class_=class_, stroke_width=f"{width:z.1f}", **look)


def box(
    left: float, top: float, width: float, height: float, class_: str, title: str = ""
) -> Markup:
    """Return a filled rectangle; the title is shown on hovering."""
    return tag(
        "rect",
        *([tag("title", title)] if title else []),
        x=f"{left:z.1f}",
        y=f"{top:z.1f}",
        width=f"{max(width, 0):z.1f}",
        height=f"{max(height, 0):z.1f}",
        class_=class_,
    )


def label(
    x: float, y: float, content: str, anchor: str = "middle", class_: str = "label"
) -> Markup:
    """Return text at a position."""
    return tag("text", content, x=f"{x:z.1f}", y=f"{y:z.1f}", text_anchor=anchor, class_=class_)


def rule(x1: float, y1: float, x2: float, y2: float, class_: str = "axis") -> Markup:
    """Return a straight line."""
    ends = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    return tag("line", class_=class_, **{k: f"{v:z.1f}" for k, v in ends.items()})


def bottom_axis(frame: Frame, ticks: Sequence[tuple[float, str]], title: str) -> list[Markup]:
    """Return an axis below the plot, with its label."""
    base = frame.top + frame.height
    parts = [rule(frame.left, base, frame.left + frame.width, base)]
    for value, tick in ticks:
        x = float(frame.across(value))
        parts += [rule(x, base, x, base + 4), label(x, base + 16, tick)]
    middle = frame.left + frame.width / 2
    return [*parts, label(middle, base + 32, title)]


def left_axis(frame: Frame, ticks: Sequence[float], digits: int = 1) -> list[Markup]:
    """Return an axis on the left, with faint grid lines."""
    parts = []
    for value in ticks:
        y = float(frame.down(value))
        tick = number_text(value, digits)
        parts += [
            rule(frame.left, y, frame.left + frame.width, y, "grid"),
            label(frame.left - 6, y + 4, tick, "end"),
        ]
    return parts


def ticks_between(low: float, high: float, n_max: int = 5) -> list[float]:
    """Return round values from low to high, about `n_max` of them."""
    span = max(high - low, 1e-9)
    power = 10.0 ** np.floor(np.log10(span / n_max))
    step = next(s * power for s in (1, 2, 5, 10) if span / (s * power) <= n_max)
    # The tolerance keeps a tick at the ends in spite of rounding errors.
    first, last = np.ceil(low / step - 1e-6), np.floor(high / step + 1e-6)
    return [float(k * step) for k in np.arange(first, last + 1)]
