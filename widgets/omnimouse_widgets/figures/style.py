"""Style of all figures: background, font and colours for light and dark themes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from omnimouse_model.extras import named_extras
from omnimouse_widgets import palette
from omnimouse_widgets.views.record import Line, Matrix

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Theme = Literal["light", "dark"]
BACKGROUND: Final = {"light": "#FFFFFF", "dark": "#16181D"}
TEXT: Final = {"light": "#1D2127", "dark": "#D6D9DF"}
"""Colour of text, and of lines without a condition."""
_LINE: Final = {"light": "#C9CDD3", "dark": "#565C66"}
# The palette is made for dark backgrounds; its white is invisible on paper.
_ON_PAPER: Final = {**palette.ON_PAPER, "#FFFFFF": "#1D2127"}
FONT: Final = "system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif"
SYMBOLS: Final = {"o": "circle", "s": "square", "t1": "triangle-up", "d": "diamond"}
"""plotly's names of the marks in `palette.CONDITION_SYMBOLS`."""
MARKS: Final = ("circle", "square", "triangle-up", "diamond", "cross", "x")
"""Symbols of curves that differ by a number, in the order of the numbers."""
DASHES: Final = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
"""Line styles of sweeps; their number is the maximum number of sweeps on a figure."""


def new_figure(theme: Theme, height: int, **layout: Any) -> "Figure":
    """Return a figure without traces, in the common style."""
    # Imported on first use, because plotly takes long to import.
    with named_extras():
        import plotly.graph_objects as go

    return go.Figure(layout={"template": template(theme), "height": height, **layout})


def themed(theme: Theme, colour: str) -> str:
    """Return the variant of a palette colour that is visible on this background."""
    return _ON_PAPER.get(colour, colour) if theme == "light" else colour


def condition_colour(label: str, theme: Theme) -> str:
    """Return the colour of a sweep's condition, the same hue in every figure."""
    return themed(theme, palette.CONDITION_COLOURS[label])


def template(theme: Theme) -> dict[str, Any]:
    """Return the plotly template of all figures; a caller's own layout has priority."""
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
            "font": {"family": FONT, "size": 12, "color": TEXT[theme]},
            "title": {"x": 0, "xanchor": "left", "xref": "paper", "font": {"size": 14}},
            "paper_bgcolor": BACKGROUND[theme],
            "plot_bgcolor": BACKGROUND[theme],
            "xaxis": axis,
            "yaxis": axis,
            "margin": {"l": 56, "r": 16, "t": 56, "b": 48},
            "hoverlabel": {"align": "left"},
            "legend": {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom"},
        }
    }


def titled(text: str, **fields: Any) -> dict[str, Any]:
    """Return an axis with a title."""
    return {"title": {"text": text}, **fields}


def scatter(
    x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray, mode: str, **fields: Any
) -> dict[str, Any]:
    """Return a trace of lines, markers or both."""
    return {"type": "scatter", "mode": mode, "x": plain(x), "y": plain(y), **fields}


def curve(line: Line, theme: Theme, mode: str = "lines+markers") -> dict[str, Any]:
    """Return the trace of a line of a record, with its bars and a text for each point."""
    colour = themed(theme, line.colour)
    above, below = line.sd, None
    if line.ends.size:
        below, above = line.y - line.ends[:, 0], line.ends[:, 1] - line.y
    return {
        "type": "scatter",
        "mode": mode,
        "name": line.label,
        "x": list(line.x),
        "y": plain(line.y),
        "error_y": bars(above, below),
        "line": {"color": colour, "width": 2},
        "marker": {"color": colour, "size": 8, "symbol": SYMBOLS[line.symbol]},
        "hoverinfo": "text",
        "hovertext": [hover(tip) for tip in line.tips],
    }


def heatmap(matrix: Matrix, unit: str) -> dict[str, Any]:
    """Return the trace of a matrix of a record; `unit` is the title of its colours."""
    table = palette.viridis_table().tolist()
    return {
        "type": "heatmap",
        "x": [hover(name) for name in matrix.columns],
        "y": [hover(name) for name in matrix.rows],
        "z": [plain(row) for row in matrix.values],
        "text": [list(row) for row in matrix.texts],
        "texttemplate": "%{text}",
        "colorscale": [[at / 255, f"rgb({r},{g},{b})"] for at, (r, g, b) in enumerate(table)],
        "colorbar": {"title": {"text": hover(unit)}},
        "hoverinfo": "text",
        "hovertext": [[hover(tip) for tip in row] for row in matrix.tips],
        "xgap": 1,
        "ygap": 1,
    }


def bars(sizes: Sequence[float] | np.ndarray, below: np.ndarray | None = None) -> dict[str, Any]:
    """Return error bars of these sizes, on both sides or with others below.

    A point whose size is NaN has no bar.
    """
    fields = {"array": plain(np.nan_to_num(sizes)), "thickness": 1.5, "width": 3}
    if below is None:
        return fields
    return fields | {"symmetric": False, "arrayminus": plain(np.nan_to_num(below))}


def domains(count: int, gap: float) -> list[list[float]]:
    """Return the ends of panels in a row, with gaps between them, as shares of the width."""
    width = (1 + gap) / count
    return [[at * width, at * width + width - gap] for at in range(count)]


def log_panels(titles: Sequence[str], gap: float, across: str, up: str) -> dict[str, Any]:
    """Return the layout of titled panels in a row whose horizontal axes are logarithmic."""
    layout: dict[str, Any] = {"legend": {"y": 1.12}, "annotations": []}
    for number, (title, ends) in enumerate(
        zip(titles, domains(len(titles), gap), strict=True), start=1
    ):
        axis = {"type": "log", "domain": ends, "anchor": f"y{number}"}
        layout[f"xaxis{number}"] = titled(across, **axis)
        layout[f"yaxis{number}"] = {"anchor": f"x{number}"}
        layout["annotations"].append(note(f"<b>{hover(title)}</b>", ends[0], 1.0))
    layout["yaxis1"] |= titled(hover(up))
    return layout


def note(text: str, x: float, y: float, **fields: Any) -> dict[str, Any]:
    """Return a text whose lower left end is at a share of the axes' width and height."""
    place = {"x": x, "y": y, "xref": "paper", "yref": "paper", "xanchor": "left"}
    ends = {"yanchor": "bottom", "align": "left", "showarrow": False}
    return {"text": text, **place, **ends, **fields}


def notes_below(text: str, pixels: int) -> list[dict[str, Any]]:
    """Return remarks of several lines as a text so far below the axes; none without."""
    place = {"yshift": -pixels, "yanchor": "top", "font": {"size": 11}}
    return [note(hover(text), 0.0, 0.0, **place)] if text else []


def line_shape(
    x: tuple[float, float], y: tuple[float, float], colour: str, **fields: Any
) -> dict[str, Any]:
    """Return a straight dashed line between (x[0], y[0]) and (x[1], y[1])."""
    line = {"color": colour, "width": 1, "dash": "dash"} | fields.pop("line", {})
    ends = {"x0": x[0], "x1": x[1], "y0": y[0], "y1": y[1]}
    return {"type": "line", "line": line, **ends, **fields}


def plain(values: Sequence[float] | np.ndarray) -> list[float | None]:
    """Return a list of floats, with None for values that are not finite."""
    # JSON has no NaN; plotly leaves a gap at null.
    return [float(value) if np.isfinite(value) else None for value in np.asarray(values)]


def hover(text: str) -> str:
    """Return text of several lines as escaped plotly markup."""
    # plotly reads a part of HTML in its texts; "&" first, or it would be escaped twice.
    safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return safe.replace("\n", "<br>")


def shades(n: int, theme: Theme) -> list[str]:
    """Return `n` colours for small to large values, visible on this background."""
    table = palette.viridis_table()
    # Part of the viridis table: its ends have too little contrast with one of the
    # backgrounds.
    ends = (200, 20) if theme == "light" else (70, 245)
    rows = table[np.linspace(*ends, n).round().astype(int)].tolist()
    return [f"#{red:02X}{green:02X}{blue:02X}" for red, green, blue in rows]


def with_alpha(colour: str, alpha: float) -> str:
    """Return a colour with an opacity."""
    red, green, blue = palette.rgb(colour)
    return f"rgba({red},{green},{blue},{alpha})"
