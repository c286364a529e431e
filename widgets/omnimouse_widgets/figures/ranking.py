"""Figures of a ranking of pretraining sessions: the matrix, and curves over sessions.

As Figures 4 and 5 of Jiang et al. 2025, for any family of models and metric.
"""

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from omnimouse_model.analysis.ranking.curve_table import PretrainCurve
from omnimouse_model.analysis.ranking.rank_table import RankTable
from omnimouse_widgets.figures import style
from omnimouse_widgets.figures.style import Theme
from omnimouse_widgets.views.ranking import AXES, Axis, curve_plot, fit_text, ranking_matrix

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
    notes = "\n".join(ranking.warnings) if has_notes else ""
    figure = style.new_figure(
        theme,
        150 + _ROW * len(matrix.rows),
        xaxis=style.titled("held-out recording", type="category", side="top"),
        yaxis=style.titled("core trained on", type="category", autorange="reversed"),
        margin={"t": 84, "b": 48 if notes else 24},
        annotations=style.notes_below(notes, 8),
    )
    return figure.add_trace(style.heatmap(matrix, ranking.unit))


def pretrain_figure(
    curve: PretrainCurve, *, axis: Axis = "k", theme: Theme = "light", has_notes: bool = True
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
    notes = "\n".join(curve.warnings) if has_notes else ""
    figure = style.new_figure(theme, HEIGHT, **_layout(curve, axis, theme, notes))
    fits = curve.fits() if axis == "trials" else []
    texts = {(fit.heldout, str(fit.order)): style.hover(fit_text(fit)) for fit in fits}
    for panel, heldout in enumerate(curve.baseline, start=1):
        for line in curve_plot(fits, curve, heldout, axis).lines:
            trace = style.curve(line, theme) | {"legendgroup": line.label}
            trace |= {"xaxis": f"x{panel}", "yaxis": f"y{panel}"}
            figure.add_trace({**trace, "showlegend": panel == 1})
            if line.fit_x.size:
                fit = style.scatter(line.fit_x, line.fit_y, "lines", showlegend=False)
                fit["line"] = trace["line"] | {"width": 1, "dash": "dot"}
                fit["hovertext"] = texts[heldout, line.label]
                del trace["error_y"], trace["marker"]
                figure.add_trace({**trace, **fit})
    return figure


def _layout(curve: PretrainCurve, axis: Axis, theme: Theme, notes: str) -> dict[str, Any]:
    up = f"{curve.metric}, {curve.unit}"
    layout = style.log_panels(list(curve.baseline), _GAP, AXES[axis], up)
    layout["margin"] = {"t": 84, "b": 84 if notes else 52}
    layout["annotations"] += style.notes_below(notes, 44)
    layout["shapes"] = []
    sizes = sorted({point.k for point in curve.points})
    for number, scores in enumerate(curve.baseline.values(), start=1):
        if axis == "k":
            layout[f"xaxis{number}"]["tickvals"] = sizes
        # plotly's names of the first axes have no number.
        name = "" if number == 1 else number
        axes = {"xref": f"x{name} domain", "yref": f"y{name}"}
        base = (float(np.mean(scores)),) * 2
        layout["shapes"].append(style.line_shape((0.0, 1.0), base, style.TEXT[theme], **axes))
    return layout
