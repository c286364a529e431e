"""Figure of decoded behaviour: correlation by channel, condition and model."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np

from omnimouse_model.display import channel_text
from omnimouse_model.evaluation.results import Scores
from omnimouse_widgets import palette
from omnimouse_widgets.figures import style
from omnimouse_widgets.figures.style import Theme

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_COLOURS: Final = tuple(palette.CONDITION_COLOURS.values())
_SYMBOLS: Final = ("circle", "square-open", "triangle-up", "diamond-open")
MAX_CHANNELS: Final = 8
"""Panels that fit beside each other."""
_GAP: Final = 0.03
"""Share of the width between two panels."""
_DODGE: Final = 0.22
"""Distance of two models at one condition, in distances of two conditions."""

Curve = dict[str, list[float]]
"""Values of the draws of each condition, by its label."""


def decoding_figure(
    scores: Scores,
    *,
    label: Callable[[str], str] = str,
    title: str = "",
    is_ordered: bool = True,
    theme: Theme = "light",
) -> "Figure":
    """Draw how well each channel is decoded under each condition (Fig. S3 B).

    Each channel has a panel, each predictor a colour, a symbol and a line style.
    Refused conditions are omitted.

    Parameters
    ----------
    scores
        Scores of conditions in which behaviour is a target.
    label
        Function from the name of a condition to its label, such as its visible inputs.
        Conditions with the same label, such as draws of equally many neurons, are
        averaged; bars are the s.e.m. over them, and small dots the draws.
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
    curves: dict[tuple[str, str], Curve] = {}
    for score in scores.behavior:
        if np.isfinite(score.value):
            points = curves.setdefault((score.predictor, score.channel), {})
            # Several draws of neurons can have the same label.
            points.setdefault(label(score.strategy), []).append(score.value)
    models = list(dict.fromkeys(model for model, _ in curves))
    channels = list(dict.fromkeys(channel for _, channel in curves))
    if not curves or len(channels) > MAX_CHANNELS or len(models) > len(_COLOURS):
        raise ValueError(
            f"Found {len(channels)} decoded channels of {len(models)} predictors; 1 to "
            f"{MAX_CHANNELS} of 1 to {len(_COLOURS)} can be drawn."
        )
    order = list(dict.fromkeys(label(score.strategy) for score in scores.behavior))
    domains = style.domains(len(channels), _GAP)
    figure = style.new_figure(
        theme,
        360,
        yaxis=style.titled("correlation with the recorded channel"),
        annotations=[
            style.note(style.hover(channel_text(channel)), sum(ends) / 2, 1.0, xanchor="center")
            for channel, ends in zip(channels, domains, strict=True)
        ],
        legend={"y": 1.12},
        margin={"t": 72, "b": 66},
    )
    figure.add_annotation(
        x=0.5, y=-0.2, xref="paper", yref="paper", text=style.hover(title), showarrow=False,
        font={"size": 13},
    )  # fmt: skip
    for panel, ends in enumerate(domains):
        figure.layout[f"xaxis{_number(panel)}"] = {
            "domain": ends,
            "tickmode": "array",
            "tickvals": list(range(len(order))),
            "ticktext": [style.hover(name) for name in order],
            "range": [-0.6, len(order) - 0.4],
            "anchor": "y",
        }
    for (model, channel), points in curves.items():
        n_model, panel = models.index(model), channels.index(channel)
        # Models beside each other, so that none covers another.
        offset = _DODGE * (n_model - (len(models) - 1) / 2)
        places = [order.index(name) + offset for name in points]
        common = {"xaxis": f"x{_number(panel)}", "legendgroup": model}
        colour = style.themed(theme, _COLOURS[n_model])
        draws_x = np.repeat(places, [len(values) for values in points.values()])
        draws_y = np.concatenate([*points.values()])
        if len(draws_x) > len(places):
            figure.add_trace(
                {
                    **style.scatter(draws_x, draws_y, "markers", **common),
                    "marker": {"color": colour, "size": 4, "opacity": 0.5},
                    "showlegend": False,
                    "hoverinfo": "skip",
                }
            )
        means = [float(np.mean(values)) for values in points.values()]
        figure.add_trace(
            {
                **style.scatter(places, means, "markers", **common),
                "mode": "lines+markers" if is_ordered else "markers",
                "name": style.hover(model),
                "showlegend": panel == 0,
                "error_y": style.bars([_sem(values) for values in points.values()]),
                "line": {"color": colour, "width": 2, "dash": style.DASHES[n_model]},
                "marker": {"symbol": _SYMBOLS[n_model], "size": 9},
                "hovertext": [style.hover(name) for name in points],
            }
        )
    return figure


def _sem(values: list[float]) -> float:
    """Return the standard error of the mean; 0, which has no bar, for one draw."""
    if len(values) < 2:
        return 0.0
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))


def _number(panel: int) -> str:
    # plotly's first axis has no number.
    return "" if panel == 0 else str(panel + 1)
