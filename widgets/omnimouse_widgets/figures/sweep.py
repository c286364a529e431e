"""Figures of score against context: neurons and history, by video and behaviour.

As Figures S2 and S3 of the OmniMouse paper, for any sweep: of a single window, live, or
of many windows with error bars.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from omnimouse_model.analysis.sweep.contexts import AXES, ContextAxis
from omnimouse_model.analysis.sweep.table import RESPONSES, ContextSweep, Curve, Point, bars_text
from omnimouse_model.metrics.named import METRICS, Metric
from omnimouse_widgets import palette
from omnimouse_widgets.figures import style
from omnimouse_widgets.figures.style import Theme
from omnimouse_widgets.views.context.curves import (
    AXIS_TEXT,
    DrawnSweep,
    PlottedPoint,
    dodge,
    metric_of,
    place_on,
    points_of,
    rate_of,
    tick_text,
    values_of,
)

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Sweeps = ContextSweep | Mapping[str, ContextSweep]
CurveKey = tuple[ContextAxis, str, int]
"""Axis, condition, and number of the sweep of a curve."""
CURVE_KEYS: Final[tuple[CurveKey, ...]] = tuple(
    (axis, label, line)
    for axis in AXES
    for line in range(len(style.DASHES))
    for label in palette.CONDITION_COLOURS
)
HEIGHT: Final = 360
MIN_RANGE: Final = 0.1
"""Minimum range of scores that a figure shows."""
MAX_TWO_LINE_TICKS: Final = 3
"""Maximum number of two-line tick labels that fit side by side."""


def context_sweep_figure(
    sweeps: Sweeps, *, target: str = RESPONSES, theme: Theme = "light"
) -> "Figure":
    """Draw score against visible neurons and history (Fig. S2 and S3).

    A condition (the other visible inputs) has a colour and a symbol; a sweep has a line
    style. For a grid, the curves at 0 on the other axis are drawn;
    `context_grid_figure` draws all of it.

    Parameters
    ----------
    sweeps
        One sweep, or up to five by name: the first has filled symbols, the others open
        ones and dashed lines.
    target
        "responses" (Fig. S2, S3 A), or a decoded behaviour channel (Fig. S3 B).
    theme
        For a white background, or for the dark one of the instrument.

    Raises
    ------
    ValueError
        There are too many sweeps to distinguish, or the channel was not decoded.
    """
    drawn = drawn_sweeps(sweeps)
    _check_target(drawn, target)
    traces = sweep_traces(drawn, target=target, theme=theme)
    axes = [axis for axis in AXES if values_of(drawn, axis)]
    figure = style.new_figure(theme, HEIGHT, **sweep_layout(drawn, axes, target))
    # A condition has up to two curves per sweep but one entry in the legend.
    in_legend: set[str] = set()
    for key in (key for key in CURVE_KEYS if key in traces):
        # `CURVE_KEYS` has a fixed order, so a condition keeps its place in the legend.
        fields = {**curve_style(key, theme), **traces[key]}
        figure.add_trace({**fields, "showlegend": key[1] not in in_legend})
        in_legend.add(key[1])
    for entry in line_legend([(d.name, d.line) for d in drawn], theme):
        figure.add_trace(entry)
    bars = bars_text(spot.point for each in drawn for spot in points_of(each, target))
    figure.update_layout(yaxis_range=score_range(traces), legend_title_text=bars)
    return figure


def context_grid_figure(
    sweep: ContextSweep,
    *,
    video: bool = False,
    behavior: bool = False,
    target: str = RESPONSES,
    theme: Theme = "light",
) -> "Figure":
    """Draw the score over neurons, one curve for each length of history.

    The full grid behind Fig. S2, for one choice of video and behaviour. A darker colour
    (on white; a brighter one on dark) is a longer history; each has its own symbol.

    Raises
    ------
    ValueError
        The sweep was not made with `grid=True`, or does not contain the choice.
    """
    curves = [
        curve
        for curve in sweep.curves(target)
        if (curve.axis, curve.video, curve.behavior) == ("neurons", video, behavior)
    ]
    if not sweep.plan.grid or not curves:
        raise ValueError(
            "Only a sweep with grid=True, of this choice of video and behaviour, can "
            "be drawn as a grid."
        )
    layout = sweep_layout([DrawnSweep("", sweep)], ["neurons"], target)
    figure = style.new_figure(theme, HEIGHT, **layout)
    shades, metric = style.shades(len(curves), theme), metric_of(sweep, target)
    for number, curve in enumerate(curves):
        figure.add_trace(_grid_trace(curve, number, shades[number], metric))
    bars = bars_text(point for curve in curves for point in curve.points)
    title = ", ".join(filter(None, [bars, AXIS_TEXT["history_samples"]]))
    figure.update_layout(legend_title_text=f"{title}: ")
    return figure


# -- parts of the figures --------------------------------------------------------------
def drawn_sweeps(sweeps: Sweeps) -> list[DrawnSweep]:
    """Return the sweeps with their line numbers, in order; a single one has no name.

    Raises
    ------
    ValueError
        There are too many sweeps to distinguish.
    """
    named = {"": sweeps} if isinstance(sweeps, ContextSweep) else dict(sweeps)
    if len(named) > len(style.DASHES):
        raise ValueError(
            f"At most {len(style.DASHES)} sweeps can be distinguished on one figure, "
            f"found {len(named)}."
        )
    return [DrawnSweep(name, s, line) for line, (name, s) in enumerate(named.items())]


def sweep_traces(
    drawn: Sequence[DrawnSweep], *, target: str = RESPONSES, theme: Theme = "light"
) -> dict[CurveKey, dict[str, Any]]:
    """Return positions, bars and text of every curve with points, without its style."""
    spots = [spot for sweep in drawn for spot in points_of(sweep, target)]
    curves: dict[CurveKey, list[PlottedPoint]] = {}
    for spot in spots:
        curves.setdefault((spot.axis, spot.label, spot.line), []).append(spot)
    values = {axis: values_of(drawn, axis) for axis in AXES}
    shown = {label for _, label, _ in curves}
    return {
        key: _points(spots, dodge(key[1], key[0], values[key[0]], shown))
        for key, spots in curves.items()
    }


def curve_style(key: CurveKey, theme: Theme) -> dict[str, Any]:
    """Return the style of a curve: the fields that do not depend on its points."""
    axis, label, line = key
    colour = style.condition_colour(label, theme)
    symbol = style.SYMBOLS[palette.CONDITION_SYMBOLS[label]]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": label,
        "legendgroup": label,
        "showlegend": False,
        "line": {"color": colour, "width": 2, "dash": style.DASHES[line]},
        "marker": {
            "symbol": f"{symbol}-open" if line else symbol,
            "color": colour,
            "size": 9,
            "line": {"width": 2 if line else 0, "color": colour},
        },
        "hoverinfo": "text",
        **_plotly_axes(axis),
    }


def sweep_layout(
    drawn: Sequence[DrawnSweep], axes: Sequence[ContextAxis], target: str
) -> dict[str, Any]:
    """Return the layout: the x axes side by side, with one axis of scores."""
    label = score_title(drawn)
    if target != RESPONSES:
        # Behaviour is always scored by correlation; a sweep's metric concerns
        # responses.
        label = f"correlation, {target.replace('_', ' ')}"
    layout: dict[str, Any] = {
        "yaxis": style.titled(style.hover(label), domain=[0, 1]),
        "hovermode": "closest",
    }
    # Neurons have more values than history, so their axis is wider.
    domains = [[0.0, 0.62], [0.66, 1.0]] if len(axes) == len(AXES) else [[0.0, 1.0]]
    for axis, domain in zip(axes, domains, strict=True):
        name = _plotly_axes(axis)["xaxis"].replace("x", "xaxis")
        layout[name] = {"domain": domain, **axis_fields(drawn, axis), "anchor": "y"}
    if "neurons" not in axes:
        # A figure of history alone has no axis "x".
        layout["yaxis"]["anchor"] = "x2"
    return layout


def score_title(drawn: Sequence[DrawnSweep]) -> str:
    """Return the title of the axis of scores; metrics may differ between sweeps."""
    units = dict.fromkeys(metric_of(sweep.sweep).unit for sweep in drawn)
    return " or ".join(units) or METRICS["correlation"].unit


def axis_fields(drawn: Sequence[DrawnSweep], axis: ContextAxis) -> dict[str, Any]:
    """Return title, ticks and range of an axis, with a tick for every value.

    The second line of a tick, in seconds, is shown at the ends only if there are many.
    """
    values = values_of(drawn, axis)
    rate_hz = rate_of(drawn)
    labels = [tick_text(axis, value, rate_hz) for value in values]
    if len(labels) > MAX_TWO_LINE_TICKS:
        labels[1:-1] = [label.partition("\n")[0] for label in labels[1:-1]]
    places = [place_on(axis, value) for value in values]
    # Also without values, the axis has a range.
    low, high = min([0.0, *places]), max([1.0, *places])
    margin = 0.06 * (high - low)
    return style.titled(
        AXIS_TEXT[axis],
        tickvals=places,
        ticktext=[style.hover(label) for label in labels],
        tickangle=0,
        range=[low - margin, high + margin],
    )


def score_range(traces: Mapping[CurveKey, Mapping[str, Any]]) -> list[float]:
    """Return limits of the score axis that contain all points and error bars."""
    ends = [
        end
        for fields in traces.values()
        for value, above, below in zip(
            fields["y"], fields["error_y"]["array"], fields["error_y"]["arrayminus"], strict=True
        )
        for end in (value - below, value + above)
    ]
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    # Without a minimum range, noise would fill the axis.
    margin = max(MIN_RANGE - (high - low), 0.16 * (high - low), 0.02) / 2
    return [low - margin, high + margin]


def line_legend(names: Sequence[tuple[str, int]], theme: Theme) -> list[dict[str, Any]]:
    """Return one legend entry per sweep; none for a single sweep."""
    if len(names) < 2:
        return []
    colour = style.TEXT[theme]
    return [
        # plotly needs a trace for a legend entry; this one has no visible point.
        style.scatter(
            [np.nan],
            [np.nan],
            "lines",
            name=style.hover(name),
            hoverinfo="skip",
            line={"color": colour, "width": 2, "dash": style.DASHES[line]},
        )
        for name, line in names
    ]


def _plotly_axes(axis: ContextAxis) -> dict[str, str]:
    return {"xaxis": "x" if axis == "neurons" else "x2", "yaxis": "y"}


def _bars(points: Sequence[Point]) -> dict[str, Any]:
    """Return the error bars of points."""
    scores = np.array([point.score for point in points])
    ends = np.array([point.ends for point in points]).reshape(-1, 2)
    return style.bars(ends[:, 1] - scores, scores - ends[:, 0])


def _points(spots: Sequence[PlottedPoint], offset: float) -> dict[str, Any]:
    return {
        "x": style.plain([spot.x + offset for spot in spots]),
        "y": style.plain([spot.point.score for spot in spots]),
        "error_y": _bars([spot.point for spot in spots]),
        "hovertext": [style.hover(spot.tip.strip()) for spot in spots],
    }


def _grid_trace(curve: Curve, number: int, colour: str, metric: Metric) -> dict[str, Any]:
    # Refused contexts, such as too long histories, have no score.
    points = [point for point in curve.points if np.isfinite(point.score)]
    texts = [
        f"{point.context.label}\nmean {metric.text(point.score, 3)} ± "
        f"{point.sem:z.3f} s.e.m.\n"
        f"n = {point.n_seeds} draws"
        for point in points
    ]
    return style.scatter(
        [place_on("neurons", point.context.neurons) for point in points],
        [point.score for point in points],
        "lines+markers",
        name=str(curve.fixed),
        error_y=_bars(points),
        line={"color": colour, "width": 2},
        marker={"symbol": style.MARKS[number % len(style.MARKS)], "size": 9},
        hovertext=[style.hover(text) for text in texts],
        hoverinfo="text",
    )


def _check_target(drawn: Sequence[DrawnSweep], target: str) -> None:
    channels = {channel for sweep in drawn for channel in sweep.sweep.channels}
    if target != RESPONSES and target not in channels:
        names = ", ".join(sorted(channels)) or "no behaviour"
        raise ValueError(
            f"{target!r} was not decoded in this sweep, which has {names}: behaviour "
            "is decoded if it is not an input (behavior=[False])."
        )
