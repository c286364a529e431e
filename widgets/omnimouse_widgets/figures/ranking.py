"""Figures of a ranking of pretraining sessions: the matrix, and curves over sessions.

As Figures 4 and 5 of Jiang et al. 2025, for any family of models and metric.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from omnimouse_model.analysis.ranking.curve_table import (
    CurveMean,
    OrderFit,
    PretrainCurve,
)
from omnimouse_model.analysis.ranking.rank_table import RankTable
from omnimouse_widgets import palette
from omnimouse_widgets.figures import style
from omnimouse_widgets.figures.style import Theme
from omnimouse_widgets.views.ranking import (
    AXES,
    COLOURS,
    SYMBOLS,
    Axis,
    fit_points,
    fit_text,
    mean_text,
    ranking_matrix,
)

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

HEIGHT: Final = 380
_ROW: Final = 26
"""Height of a row of the matrix, in pixels."""
_GAP: Final = 0.08


def ranking_figure(
    ranking: RankTable, *, theme: Theme = "light", has_notes: bool = True
) -> "Figure":
    """Draw the matrix of scores: pretraining sessions by held-out sessions.

    A cell shows the mean over seeds on the validation tier, and the rank of the session
    for that held-out session. Rows are sorted by their mean rank. With `has_notes`, the
    warnings of the ranking are below the axes.
    """
    matrix = ranking_matrix(ranking)
    table = palette.viridis_table()
    colours = [
        [at / 255, f"rgb({red},{green},{blue})"]
        for at, (red, green, blue) in enumerate(table.tolist())
    ]
    cells = {
        "type": "heatmap",
        "x": [style.hover(name) for name in matrix.columns],
        "y": [style.hover(name) for name in matrix.rows],
        "z": [style.plain(row) for row in matrix.values],
        "text": [list(row) for row in matrix.texts],
        "texttemplate": "%{text}",
        "colorscale": colours,
        "colorbar": {"title": {"text": style.hover(ranking.unit)}},
        "hoverinfo": "text",
        "hovertext": [[style.hover(tip) for tip in row] for row in matrix.tips],
        "xgap": 1,
        "ygap": 1,
    }
    notes = "\n".join(ranking.warnings) if has_notes else ""
    figure = style.new_figure(
        theme,
        150 + _ROW * len(matrix.rows),
        xaxis=style.titled("held-out recording", type="category", side="top"),
        yaxis=style.titled("core trained on", type="category", autorange="reversed"),
        margin={"t": 84, "b": 48 if notes else 24},
        annotations=_note(notes, 8),
    )
    return figure.add_trace(cells)


def pretrain_figure(
    curve: PretrainCurve,
    *,
    axis: Axis = "k",
    theme: Theme = "light",
    has_notes: bool = True,
) -> "Figure":
    """Draw the test score over the number of pretraining sessions, or of trials.

    One panel per held-out session: the mean of each order with its standard deviation
    over seeds and shuffles, the baseline from scratch as a dashed line, and over trials
    the fitted lines, dotted, up to all trials. With `has_notes`, the warnings of the
    curve are below the axes.

    Raises
    ------
    ValueError
        The axis is unknown.
    """
    if axis not in AXES:
        raise ValueError(f"axis is {axis!r}; choose of {', '.join(AXES)}.")
    names = list(curve.baseline)
    notes = "\n".join(curve.warnings) if has_notes else ""
    figure = style.new_figure(theme, HEIGHT, **_layout(curve, axis, theme, notes))
    fits = curve.fits() if axis == "trials" else []
    for panel, heldout in enumerate(names, start=1):
        for order in curve.orders:
            means = [
                mean for mean in curve.means() if (mean.heldout, mean.order) == (heldout, order)
            ]
            colour = style.themed(theme, COLOURS[order])
            traces = [_means_trace(means, axis, colour, curve.unit)]
            traces += [
                _fit_trace(fit, means, colour)
                for fit in fits
                if (fit.heldout, fit.order) == (heldout, order) and fit.line
            ]
            for trace in traces:
                is_named = panel == 1 and trace["showlegend"]
                figure.add_trace(
                    {**trace, "name": order, "legendgroup": order}
                    | {"showlegend": is_named}
                    | {"xaxis": f"x{panel}", "yaxis": f"y{panel}"}
                )
    return figure


def _layout(curve: PretrainCurve, axis: Axis, theme: Theme, notes: str) -> dict[str, Any]:
    names = list(curve.baseline)
    width = (1 - _GAP * (len(names) - 1)) / len(names)
    layout: dict[str, Any] = {
        "margin": {"t": 84, "b": 84 if notes else 52},
        "legend": {"y": 1.12},
        "annotations": _note(notes, 44),
        "shapes": [],
    }
    sizes = sorted({point.k for point in curve.points})
    for panel, heldout in enumerate(names):
        left, number = panel * (width + _GAP), panel + 1
        layout[f"xaxis{number}"] = style.titled(
            AXES[axis],
            type="log",
            domain=[left, left + width],
            anchor=f"y{number}",
            **({"tickvals": sizes} if axis == "k" else {}),
        )
        layout[f"yaxis{number}"] = {"anchor": f"x{number}"}
        base = float(np.mean(curve.baseline[heldout]))
        layout["shapes"].append(
            style.line_shape(
                (0.0, 1.0),
                (base, base),
                style.TEXT[theme],
                # plotly's names of the first axes have no number.
                xref=f"x{number if panel else ''} domain",
                yref=f"y{number if panel else ''}",
            )
        )
        layout["annotations"].append(
            {
                "text": f"<b>{style.hover(heldout)}</b>",
                **{"x": left, "y": 1.0, "xref": "paper", "yref": "paper"},
                **{"xanchor": "left", "yanchor": "bottom", "showarrow": False},
            }
        )
    layout["yaxis1"] |= style.titled(style.hover(f"{curve.metric}, {curve.unit}"))
    return layout


def _means_trace(means: Sequence[CurveMean], axis: Axis, colour: str, unit: str) -> dict[str, Any]:
    symbol = SYMBOLS[means[0].order]
    return style.scatter(
        [getattr(mean, axis) for mean in means],
        [mean.mean for mean in means],
        "lines+markers",
        error_y=style.bars([mean.sd for mean in means]),
        line={"color": colour, "width": 2},
        marker={"color": colour, "size": 8, "symbol": style.SYMBOLS[symbol]},
        hoverinfo="text",
        hovertext=[style.hover(mean_text(mean, unit)) for mean in means],
        showlegend=True,
    )


def _fit_trace(fit: OrderFit, means: Sequence[CurveMean], colour: str) -> dict[str, Any]:
    return style.scatter(
        *fit_points(fit, means),
        "lines",
        line={"color": colour, "width": 1, "dash": "dot"},
        hoverinfo="text",
        hovertext=style.hover(fit_text(fit)),
        showlegend=False,
    )


def _note(text: str, below: int) -> list[dict[str, Any]]:
    """Return warnings as an annotation, so many pixels below the axes."""
    if not text:
        return []
    place = {"x": 0.0, "y": 0.0, "xref": "paper", "yref": "paper", "yshift": -below}
    return [
        {
            "text": style.hover(text),
            **place,
            **{"xanchor": "left", "yanchor": "top", "align": "left"},
            **{"showarrow": False, "font": {"size": 11}},
        }
    ]
