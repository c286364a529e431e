"""Figures of what drives a neuron: sources, stacked bars, informants and areas."""

from typing import TYPE_CHECKING, Final

from omnimouse_model.analysis.sources.areas import AreaMatrix, Kind
from omnimouse_model.analysis.sources.informants import Informants
from omnimouse_model.analysis.sources.sources import SourceScores, source_label
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
        figure.add_trace(style.curve(line, theme, "markers") | {"x": names})
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
        figure.add_trace(style.curve(line, theme))
    return figure


def areas_figure(found: AreaMatrix, kind: Kind = "beyond", *, theme: Theme = "light") -> "Figure":
    """Draw the matrix of areas; a star stands where an interval lies above 0."""
    matrix = area_cells(found, kind)
    figure = style.new_figure(
        theme,
        HEIGHT,
        xaxis=style.titled("to", type="category", side="top"),
        yaxis=style.titled("from", type="category", autorange="reversed"),
        margin={"t": 84},
    )
    return figure.add_trace(style.heatmap(matrix, kind))
