"""Style sheet of all pages, for light and dark screens and for print."""

from typing import Final

import numpy as np

from omnimouse_model.masks import HIDDEN, MIXED, TARGET, VISIBLE
from omnimouse_widgets import palette

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
