"""Figure of decoded behaviour: correlation by channel, condition and model."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from omnimouse_model.analysis.evaluate.results import Scores
from omnimouse_widgets import palette
from omnimouse_widgets.drawn.traces.behavior_rows import channel_text
from omnimouse_widgets.figures import style
from omnimouse_widgets.figures.style import Theme

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_COLOURS: Final = (*palette.CONDITION_COLOURS.values(), palette.AREA_COLOURS[5])
"""One colour per channel; more channels cannot be distinguished.

The last one, blue-violet, differs from all others on white and on dark.
"""
_SYMBOLS: Final = (*style.SYMBOLS.values(), "cross")


def decoding_figure(
    scores: Scores,
    *,
    label: Callable[[str], str] = str,
    title: str = "",
    is_ordered: bool = True,
    theme: Theme = "light",
) -> "Figure":
    """Draw how well each channel is decoded under each condition (Fig. S3 B).

    Each channel has a colour and a symbol. Points of the first predictor are filled and
    its lines solid; those of another predictor are open and dashed. Refused conditions
    are omitted.

    Parameters
    ----------
    scores
        Scores of conditions in which behaviour is a target.
    label
        Function from the name of a condition to its label, such as its visible inputs.
        Conditions with the same label, such as draws of equally many neurons, are
        averaged; bars are the s.e.m. over them.
    title
        Title of the axis of conditions, which are drawn in their order.
    is_ordered
        True if this order has a meaning; points are then joined by lines.

    Raises
    ------
    ValueError
        Nothing was decoded, or there are too many channels or predictors to
        distinguish.
    """
    # Values by label, for each predictor and channel, in the order of the scores.
    curves: dict[tuple[str, str], dict[str, list[float]]] = {}
    for score in scores.behavior:
        if np.isfinite(score.value):
            points = curves.setdefault((score.predictor, score.channel), {})
            # Several draws of neurons can have the same label.
            points.setdefault(label(score.strategy), []).append(score.value)
    models = list(dict.fromkeys(model for model, _ in curves))
    channels = list(dict.fromkeys(channel for _, channel in curves))
    if not curves or len(channels) > len(_COLOURS) or len(models) > len(style.DASHES):
        raise ValueError(
            f"Found {len(channels)} decoded channels of {len(models)} predictors; 1 to "
            f"{len(_COLOURS)} of 1 to {len(style.DASHES)} can be drawn."
        )
    order = list(dict.fromkeys(label(score.strategy) for score in scores.behavior))
    figure = style.new_figure(
        theme,
        380,
        # plotly would otherwise order the categories by their first occurrence in the
        # traces.
        xaxis=style.titled(
            title, type="category", categoryorder="array", categoryarray=order
        ),
        yaxis=style.titled("correlation with the recorded channel"),
    )
    for (model, channel), points in curves.items():
        n_model, n_channel = models.index(model), channels.index(channel)
        name = channel_text(channel)
        figure.add_trace(
            {
                **_curve(points, n_model, n_channel, theme),
                "name": name if len(models) == 1 else f"{name}, {model}",
                "legendgroup": model,
                "mode": "lines+markers" if is_ordered else "markers",
            }
        )
    return figure


def _curve(
    points: dict[str, list[float]], model: int, channel: int, theme: Theme
) -> dict[str, Any]:
    # Standard error of the mean; not defined for a single draw, which has no bar.
    sems = [
        float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
        for values in points.values()
    ]
    colour = style.themed(theme, _COLOURS[channel])
    # Colour and symbol together, so that channels differ also in print without colours.
    symbol = _SYMBOLS[channel] + ("-open" if model else "")
    return {
        "type": "scatter",
        "x": list(points),
        "y": [float(np.mean(values)) for values in points.values()],
        "error_y": style.bars(sems),
        "line": {"color": colour, "width": 2, "dash": style.DASHES[model]},
        "marker": {"symbol": symbol, "size": 9},
    }
