"""How all figures look: one ground, one font, colours for paper and for the dark."""

from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np

from omnimouse_widgets import palette

Theme = Literal["light", "dark"]
_GROUND: Final = {"light": "#FFFFFF", "dark": "#16181D"}
_TEXT: Final = {"light": "#1D2127", "dark": "#D6D9DF"}
_LINE: Final = {"light": "#C9CDD3", "dark": "#565C66"}
_ON_PAPER: Final = {**palette.ON_PAPER, "#FFFFFF": "#1D2127"}
FONT: Final = "system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif"
SYMBOLS: Final = {"o": "circle", "s": "square", "t1": "triangle-up", "d": "diamond"}
"""plotly's names of the marks in `palette.CONDITION_SYMBOLS`."""
MARKS: Final = ("circle", "square", "triangle-up", "diamond", "cross", "x")
"""Of curves that differ by a number, in its order."""
DASHES: Final = ("solid", "dash", "dot", "dashdot", "longdash")
"""Of as many sweeps as are told apart on one figure."""


def ground(theme: Theme) -> str:
    """What is behind everything."""
    return _GROUND[theme]


def ink(theme: Theme) -> str:
    """Of words, and of lines that stand for no condition."""
    return _TEXT[theme]


def on(theme: Theme, colour: str) -> str:
    """Take a colour of the palette as it is seen well on this ground."""
    return _ON_PAPER.get(colour, colour) if theme == "light" else colour


def condition_colour(label: str, theme: Theme) -> str:
    """Of a sweep's condition: the same hue everywhere."""
    return on(theme, palette.CONDITION_COLOURS[label])


def template(theme: Theme) -> dict[str, Any]:
    """The template of every figure; what a caller sets on the figure wins."""
    axis = {
        "gridcolor": with_alpha(_LINE[theme], 0.45),
        "linecolor": _LINE[theme],
        "zeroline": False,
        "ticks": "outside",
        "ticklen": 4,
        "tickcolor": _LINE[theme],
        "title": {"standoff": 8},
        "automargin": True,
    }
    return {
        "layout": {
            "font": {"family": FONT, "size": 12, "color": _TEXT[theme]},
            "title": {"x": 0, "xanchor": "left", "xref": "paper", "font": {"size": 14}},
            "paper_bgcolor": _GROUND[theme],
            "plot_bgcolor": _GROUND[theme],
            "xaxis": axis,
            "yaxis": axis,
            "margin": {"l": 56, "r": 16, "t": 56, "b": 48},
            "hoverlabel": {"align": "left"},
            "legend": {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom"},
        }
    }


def plain(values: Sequence[float] | np.ndarray) -> list[float | None]:
    """Numbers as a figure holds them: short lists; None where there is no number."""
    return [
        float(value) if np.isfinite(value) else None for value in np.asarray(values)
    ]


def hover(words: str) -> str:
    """Words of several lines, in a figure's own markup."""
    safe = words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return safe.replace("\n", "<br>")


def shades(n: int, theme: Theme) -> list[str]:
    """As many colours, from little to much: away from the ground, never into it."""
    table = palette.viridis_table()
    ends = (200, 20) if theme == "light" else (70, 245)
    chosen = table[np.linspace(*ends, n).round().astype(int)]
    return [f"#{red:02X}{green:02X}{blue:02X}" for red, green, blue in chosen.tolist()]


def with_alpha(colour: str, alpha: float) -> str:
    """A colour that lets through what lies behind it."""
    red, green, blue = palette.rgb(colour)
    return f"rgba({red},{green},{blue},{alpha})"
