"""Figures of a ranking of pretraining sessions: the matrix, and curves over sessions.

As Figures 4 and 5 of Jiang et al. 2025, for any family of models and metric.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np

from omnimouse_model.analysis.ranking.curve_table import (
    CurveMean,
    OrderFit,
    PretrainCurve,
)
from omnimouse_model.analysis.ranking.orders import OrderName
from omnimouse_model.analysis.ranking.rank_table import RankTable
from omnimouse_widgets import palette
from omnimouse_widgets.figures import style
from omnimouse_widgets.figures.style import Theme

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Axis = Literal["k", "trials"]
HEIGHT: Final = 380
_ROW: Final = 26
"""Height of a row of the matrix, in pixels."""
_GAP: Final = 0.08
_AXES: Final[dict[Axis, str]] = {
    "k": "sessions pretrained on",
    "trials": "trials pretrained on",
}
_COLOURS: Final[dict[OrderName, str]] = {
    "ranked": "#E69F00",
    "random": "#56B4E9",
    "reverse": "#CC79A7",
}
_DRAWN: Final = 40


def ranking_figure(ranking: RankTable, *, theme: Theme = "light") -> "Figure":
    """Draw the matrix of scores: pretraining sessions by held-out sessions.

    A cell shows the mean over seeds on the validation tier, and the rank of the session
    for that held-out session. Rows are sorted by their mean rank.
    """
    mean, ranks = ranking.mean, ranking.ranks
    order = np.argsort(ranks.mean(axis=1), kind="stable")
    table = palette.viridis_table()
    colours = [
        [at / 255, f"rgb({red},{green},{blue})"]
        for at, (red, green, blue) in enumerate(table.tolist())
    ]
    cells = {
        "type": "heatmap",
        "x": list(ranking.heldout),
        "y": [ranking.sessions[row] for row in order],
        "z": [style.plain(mean[row]) for row in order],
        "text": [
            [f"{score:.3f} ({rank})" for score, rank in pairs]
            for pairs in (zip(mean[row], ranks[row], strict=True) for row in order)
        ],
        "texttemplate": "%{text}",
        "colorscale": colours,
        "colorbar": {"title": {"text": ranking.unit}},
        "hoverinfo": "text",
        "hovertext": [
            [_cell_text(ranking, row, column) for column in range(len(ranking.heldout))]
            for row in order
        ],
        "xgap": 1,
        "ygap": 1,
    }
    notes = "\n".join(ranking.warnings)
    figure = style.new_figure(
        theme,
        150 + _ROW * len(order),
        xaxis=style.titled("held-out session", type="category", side="top"),
        yaxis=style.titled("core trained on", type="category", autorange="reversed"),
        margin={"t": 84, "b": 48 if notes else 24},
        annotations=_note(notes, 8),
    )
    return figure.add_trace(cells)


def pretrain_figure(
    curve: PretrainCurve, *, axis: Axis = "k", theme: Theme = "light"
) -> "Figure":
    """Draw the test score over the number of pretraining sessions, or of trials.

    One panel per held-out session: the mean of each order with its standard deviation
    over seeds and shuffles, the baseline from scratch as a dashed line, and over trials
    the fitted lines, dotted, up to all trials.

    Raises
    ------
    ValueError
        The axis is unknown.
    """
    if axis not in get_args(Axis):
        raise ValueError(f"axis is {axis!r}; choose of {', '.join(get_args(Axis))}.")
    names = list(curve.baseline)
    figure = style.new_figure(theme, HEIGHT, **_layout(curve, axis, theme))
    fits = curve.fits() if axis == "trials" else []
    for panel, heldout in enumerate(names, start=1):
        for order in curve.orders:
            means = [
                mean
                for mean in curve.means()
                if (mean.heldout, mean.order) == (heldout, order)
            ]
            colour = style.themed(theme, _COLOURS[order])
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


def _layout(curve: PretrainCurve, axis: Axis, theme: Theme) -> dict[str, Any]:
    names = list(curve.baseline)
    width = (1 - _GAP * (len(names) - 1)) / len(names)
    notes = "\n".join(curve.warnings)
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
            _AXES[axis],
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
    layout["yaxis1"] |= style.titled(f"{curve.metric}, {curve.unit}")
    return layout


def _means_trace(
    means: Sequence[CurveMean], axis: Axis, colour: str, unit: str
) -> dict[str, Any]:
    return style.scatter(
        [getattr(mean, axis) for mean in means],
        [mean.mean for mean in means],
        "lines+markers",
        error_y=style.bars([mean.sd for mean in means]),
        line={"color": colour, "width": 2},
        marker={"color": colour, "size": 8},
        hoverinfo="text",
        hovertext=[style.hover(_mean_text(mean, unit)) for mean in means],
        showlegend=True,
    )


def _fit_trace(
    fit: OrderFit, means: Sequence[CurveMean], colour: str
) -> dict[str, Any]:
    assert fit.line is not None
    along = np.geomspace(min(mean.trials for mean in means), fit.trials, _DRAWN)
    low, high = fit.slope
    interval = f" (95 %: {low:.3g} to {high:.3g})" if np.isfinite(low) else ""
    return style.scatter(
        along,
        fit.line(along),
        "lines",
        line={"color": colour, "width": 1, "dash": "dot"},
        hoverinfo="text",
        hovertext=style.hover(
            f"{fit.order}, line over log trials\nslope {fit.line.slope:.3g}{interval}"
        ),
        showlegend=False,
    )


def _mean_text(mean: CurveMean, unit: str) -> str:
    percent = mean.gain_percent
    gain = f" ({percent:+.1f} %)" if np.isfinite(percent) else ""
    runs = "run" if mean.n == 1 else "runs"
    return (
        f"{mean.order}, {mean.k} sessions, {mean.trials:,.0f} trials\n"
        f"mean of {mean.n} {runs}: {mean.mean:.3f} {unit}\n"
        f"{mean.gain:+.3f}{gain} over the baseline"
    )


def _cell_text(ranking: RankTable, row: int, column: int) -> str:
    spread = ranking.spread[row, column]
    sd = f" ± {spread:.3f}" if np.isfinite(spread) else ""
    return style.hover(
        f"{ranking.sessions[row]} for {ranking.heldout[column]}: rank "
        f"{ranking.ranks[row, column]}\n{ranking.mean[row, column]:.3f}{sd} "
        f"{ranking.unit}, {len(ranking.seeds)} seeds"
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
