"""Decoded behaviour: which channels can be read from whom, and by which model."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from omnimouse_model.analysis.evaluate.results import Scores
from omnimouse_widgets import palette
from omnimouse_widgets.drawn.traces.behavior_rows import words_of
from omnimouse_widgets.figures import look
from omnimouse_widgets.figures.look import Theme

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_COLOURS: Final = (*palette.CONDITION_COLOURS.values(), palette.AREA_COLOURS[5])
"""The last is far from all others on white and on dark: blue-violet."""
_SYMBOLS: Final = (*look.SYMBOLS.values(), "cross")


def decoding_figure(
    scores: Scores,
    *,
    given: Callable[[str], str] = str,
    title: str = "",
    is_ordered: bool = True,
    theme: Theme = "light",
) -> "Figure":
    """Draw how well each channel is decoded under each condition (Fig. S3 B).

    A channel has its colour and its symbol; the first predictor's points are filled
    and its lines solid, another's open and dashed. What was refused is left out.

    Parameters
    ----------
    scores
        Of conditions that ask for behaviour.
    given
        What a condition gives, from its name. Conditions that give the same, such as
        draws of as many neurons, are averaged; bars are the s.e.m. over them.
    title
        Of the axis along which the conditions lie, in their order.
    is_ordered
        Whether that order means something, so that points are joined by lines.

    Raises
    ------
    ValueError
        Nothing was decoded, or more than can be told apart.
    """
    import plotly.graph_objects as go

    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for score in scores.behavior:
        if np.isfinite(score.value):
            points = found.setdefault((score.predictor, score.channel), {})
            points.setdefault(given(score.strategy), []).append(score.value)
    models = list(dict.fromkeys(model for model, _ in found))
    channels = list(dict.fromkeys(channel for _, channel in found))
    if not found or len(channels) > len(_COLOURS) or len(models) > len(look.DASHES):
        raise ValueError(
            f"Found {len(channels)} decoded channels of {len(models)} predictors; 1 to "
            f"{len(_COLOURS)} of 1 to {len(look.DASHES)} can be drawn."
        )
    order = list(dict.fromkeys(given(score.strategy) for score in scores.behavior))
    figure = go.Figure(
        layout={
            "template": look.template(theme),
            "height": 380,
            "xaxis": {
                "title": {"text": title},
                "type": "category",
                "categoryorder": "array",
                "categoryarray": order,
            },
            "yaxis": {"title": {"text": "correlation with the recorded channel"}},
        }
    )
    for (model, channel), points in found.items():
        n_model, n_channel = models.index(model), channels.index(channel)
        figure.add_trace(_curve(points, n_model, n_channel, theme))
        name = words_of(channel)
        figure.data[-1].update(
            name=name if len(models) == 1 else f"{name}, {model}",
            legendgroup=model,
            mode="lines+markers" if is_ordered else "markers",
        )
    return figure


def _curve(
    points: dict[str, list[float]], model: int, channel: int, theme: Theme
) -> dict[str, Any]:
    means = [float(np.mean(values)) for values in points.values()]
    sems = [
        float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
        for values in points.values()
    ]
    colour = look.on(theme, _COLOURS[channel])
    symbol = _SYMBOLS[channel] + ("-open" if model else "")
    return {
        "type": "scatter",
        "x": list(points),
        "y": means,
        "error_y": {"array": sems, "thickness": 1.5, "width": 3},
        "line": {"color": colour, "width": 2, "dash": look.DASHES[model]},
        "marker": {"symbol": symbol, "size": 9},
    }
