"""Figures of what drives a neuron: sources, stacked bars, informants and areas."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from omnimouse_model.analysis.sources.areas import AreaMatrix, Kind
from omnimouse_model.analysis.sources.informants import Informants
from omnimouse_model.analysis.sources.sources import SourceScores, source_label
from omnimouse_widgets import palette
from omnimouse_widgets.figures import style
from omnimouse_widgets.figures.style import Theme
from omnimouse_widgets.views.context.sources import (
    area_cells,
    bar_order,
    informant_curves,
    mean_points,
    source_bars,
    source_colours,
)
from omnimouse_widgets.views.record import Line

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

HEIGHT: Final = 380


def sources_figure(found: SourceScores, *, theme: Theme = "light") -> "Figure":
    """Draw what each source tells alone, its share, and what is unique to it.

    Means over the targets with 95 % intervals over time. Where the first is large and the
    last is small, other sources tell the same.
    """
    lines = mean_points(found)
    names = [style.hover(source_label(name)) for name in found.names]
    figure = style.new_figure(
        theme,
        HEIGHT,
        xaxis=style.titled("source", type="category"),
        yaxis=style.titled("share of variance"),
        scattermode="group",
    )
    for line in lines:
        figure.add_trace(_points(line, names, theme))
    return figure


def source_bars_figure(found: SourceScores, *, theme: Theme = "light") -> "Figure":
    """Draw stacked bars of the shares of each neuron, sorted in each area."""
    curves = source_bars(found, lambda neuron: None)
    order = bar_order(found)
    figure = style.new_figure(
        theme,
        HEIGHT,
        barmode="relative",  # negative shares are stacked below 0
        bargap=0,
        xaxis=style.titled(
            curves.across,
            tickvals=[at for at, _ in curves.ticks or ()],
            ticktext=[style.hover(text) for _, text in curves.ticks or ()],
        ),
        yaxis=style.titled("share of variance"),
    )
    for name, colour in zip(found.names, source_colours(len(found.names)), strict=True):
        figure.add_trace(
            {
                "type": "bar",
                "name": style.hover(source_label(name)),
                "x": style.plain(curves.lines[0].x),
                # Three digits keep a notebook small.
                "y": style.plain(found.of("share", name).value[order].round(3)),
                "marker": {"color": colour, "line": {"width": 0}},
            }
        )
    return figure


def informants_figure(found: Informants, *, theme: Theme = "light") -> "Figure":
    """Draw the value of the first informants beside as many random neurons."""
    curves = informant_curves(found)
    figure = style.new_figure(
        theme,
        HEIGHT,
        xaxis=style.titled("visible neurons", type="log", tickvals=list(found.counts)),
        yaxis=style.titled("share of variance"),
        shapes=[]
        if curves.baseline is None
        else [
            style.line_shape(
                (0.0, 1.0), (curves.baseline[0],) * 2, style.TEXT[theme], xref="x domain"
            )
        ],
    )
    for line in curves.lines:
        figure.add_trace(_points(line, line.x, theme, "lines+markers"))
    return figure


def areas_figure(found: AreaMatrix, kind: Kind = "beyond", *, theme: Theme = "light") -> "Figure":
    """Draw the matrix of areas; a star stands where an interval lies above 0."""
    matrix = area_cells(found, kind)
    colours = [
        [at / 255, f"rgb({red},{green},{blue})"]
        for at, (red, green, blue) in enumerate(palette.viridis_table().tolist())
    ]
    figure = style.new_figure(
        theme,
        HEIGHT,
        xaxis=style.titled("to", type="category", side="top"),
        yaxis=style.titled("from", type="category", autorange="reversed"),
        margin={"t": 84},
    )
    return figure.add_trace(
        {
            "type": "heatmap",
            "x": [style.hover(name) for name in matrix.columns],
            "y": [style.hover(name) for name in matrix.rows],
            "z": [style.plain(row.round(4)) for row in matrix.values],
            "text": [list(row) for row in matrix.texts],
            "texttemplate": "%{text}",
            "colorscale": colours,
            "colorbar": {"title": {"text": kind}},
            "hoverinfo": "text",
            "hovertext": [[style.hover(tip) for tip in row] for row in matrix.tips],
            "xgap": 1,
            "ygap": 1,
        }
    )


def _points(
    line: Line, x: Sequence[str] | np.ndarray, theme: Theme, mode: str = "markers"
) -> dict[str, Any]:
    colour = style.themed(theme, line.colour)
    values, ends = line.y.round(4), line.ends.round(4)
    return {
        "type": "scatter",
        "mode": mode,
        "name": line.label,
        "x": list(x),
        "y": style.plain(values),
        "error_y": style.bars(ends[:, 1] - values, values - ends[:, 0]),
        "line": {"color": colour, "width": 2},
        "marker": {"color": colour, "size": 8, "symbol": style.SYMBOLS[line.symbol]},
        "hoverinfo": "text",
        "hovertext": [style.hover(tip) for tip in line.tips],
    }
