"""Figures of trainings: scaling curves, and the course of a fine-tuning.

As Figures 5 and 7 of the OmniMouse paper, for any scaling analysis. Each model size is
a curve: a small mark for every run, a large one for the mean with its interval, and a
line with a band for the fit. Without a fit, the figure states the reason.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from omnimouse_model.analysis.scaling_fits import FitName, ScalingCurve, SizeAxis
from omnimouse_model.display import interval_text, number_text
from omnimouse_model.live.models.finetune import SCORE
from omnimouse_model.training.metrics_log import FILE, log_rows
from omnimouse_widgets import palette
from omnimouse_widgets.figures import style
from omnimouse_widgets.figures.style import Theme
from omnimouse_widgets.figures.task_table import task_name
from omnimouse_widgets.views.finetune import LOSS_COLOUR, smoothed

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


HEIGHT: Final = 400
_GAP: Final = 0.09
"""Distance between panels, as a share of the figure's width."""
_SHIFT: Final = 1.02
"""Factor between marks of neighbouring curves on the log axis, to avoid overlap."""
_AXES: Final[dict[SizeAxis, str]] = {
    "sessions": "recordings trained on",
    "neuron_samples": "neurons × samples trained on",
    "trials": "trials trained on",
    "compute": "training compute (FLOP)",
    "parameters": "parameters",
}
_QUANTITIES: Final = {"score": "single-trial correlation", "loss": "test loss"}
_FITS: Final[dict[FitName, str]] = {"law": "power law", "line": "line over log size"}


def scaling_figure(curves: Sequence[ScalingCurve], *, theme: Theme = "light") -> "Figure":
    """Draw the result of `scaling_curves` (Fig. 5 and 7).

    Of the two fits, the one that the points prefer is drawn. Bars and bands are 95 %
    intervals over evaluated sessions and runs; they are missing for a single session.

    Raises
    ------
    ValueError
        There are no curves, or curves of different axes or quantities.
    """
    if len({(curve.axis, curve.quantity) for curve in curves}) != 1:
        raise ValueError(
            "A scaling figure has curves of one axis and one quantity: give the curves "
            "of one call of scaling_curves that returned some."
        )
    conditions = list(dict.fromkeys(curve.condition for curve in curves))
    names = list(dict.fromkeys(curve.name for curve in curves))
    # Models are ordered by size, so their colours are shades of one hue.
    colours = style.shades(len(names), theme)
    figure = style.new_figure(theme, HEIGHT, **_layout(curves, conditions))
    for curve in curves:
        number, panel = names.index(curve.name), conditions.index(curve.condition)
        # Symmetric around 1, so that the curves are centred on the true value.
        shift = _SHIFT ** (number - (len(names) - 1) / 2)
        mark = style.MARKS[number % len(style.MARKS)]
        for trace in _traces(curve, colours[number], mark, shift):
            trace |= {"xaxis": f"x{panel + 1}", "yaxis": f"y{panel + 1}"}
            # All panels share one legend group per curve: one entry is sufficient.
            is_named = trace.get("showlegend", False) and panel == 0
            figure.add_trace({**trace, "legendgroup": curve.name, "showlegend": is_named})
    return figure


def _layout(curves: Sequence[ScalingCurve], conditions: Sequence[str]) -> dict[str, Any]:
    axis, reasons = curves[0].axis, _refusals(curves)
    titles = [task_name(condition) for condition in conditions]
    layout = style.log_panels(titles, _GAP, _AXES[axis], _QUANTITIES[curves[0].quantity])
    layout["margin"] = {"t": 84, "b": 96 if reasons else 48}
    layout["annotations"] += style.notes_below(reasons, 53)
    if axis == "sessions":
        for number, condition in enumerate(conditions, start=1):
            # Few whole numbers: a tick for each.
            sizes = [curve.x for curve in curves if curve.condition == condition]
            layout[f"xaxis{number}"]["tickvals"] = np.unique(np.concatenate(sizes)).tolist()
    return layout


def _refusals(curves: Sequence[ScalingCurve]) -> str:
    """Return the reasons for missing fits, one line each."""
    # Names of the curves by reason; the inner dict is an ordered set.
    names: dict[str, dict[str, None]] = {}
    for curve in curves:
        if curve.refusal:
            same = [other for other in curves if other.name == curve.name]
            # The condition is named unless the reason is the same under all conditions.
            is_everywhere = all(other.refusal == curve.refusal for other in same)
            more = "" if is_everywhere else f" ({task_name(curve.condition)})"
            names.setdefault(curve.refusal, {})[f"{curve.name}{more}"] = None
    return "\n".join(
        f"No fit of {', '.join(curves_of)}: {reason}" for reason, curves_of in names.items()
    )


def _traces(curve: ScalingCurve, colour: str, mark: str, shift: float) -> list[dict[str, Any]]:
    """Return band, fit, runs and means, from back to front.

    `shift` is the factor by which this curve's marks are shifted.
    """
    means = np.array([[s.x, s.mean, s.low, s.high] for s in curve.sizes]).T
    x, mean, low, high = means
    runs = style.scatter(
        curve.x * shift,
        curve.y,
        "markers",
        marker={"symbol": f"{mark}-open", "color": colour, "size": 6},
        opacity=0.7,
        hovertext=[
            style.hover(f"{curve.name}, seed {seed}\n{x:,.4g}: {number_text(y, 3)}")
            for x, y, seed in zip(curve.x, curve.y, curve.seeds, strict=True)
        ],
    )
    sizes = style.scatter(
        x * shift,
        mean,
        "markers",
        showlegend=True,
        # plotly takes the distances from the mean, not the limits.
        error_y=style.bars(high - mean, mean - low),
        marker={"symbol": mark, "color": colour, "size": 10},
        hovertext=[_size_text(curve, number) for number in range(len(x))],
    )
    fits = [] if curve.law is None else _fit_traces(curve, colour)
    return [
        {"name": style.hover(curve.name), "hoverinfo": "text", **trace}
        for trace in (*fits, runs, sizes)
    ]


def _fit_traces(curve: ScalingCurve, colour: str) -> list[dict[str, Any]]:
    name: FitName = "line" if curve.preferred == "log line" else "law"
    fit = curve.fit(name)
    assert fit is not None
    along = curve.along
    text = f"{curve.name}: {_FITS[name]}{_parameters(curve, name)}"
    line = style.scatter(
        along, fit(along), "lines", line={"color": colour, "width": 2}, hovertext=style.hover(text)
    )
    # A single session and run cannot be resampled.
    if name not in curve.bands:
        return [line]
    low, high = curve.bands[name]
    band = style.scatter(
        # The band is one closed polygon: along the upper limit, back along the lower.
        np.concatenate([along, along[::-1]]),
        np.concatenate([high, low[::-1]]),
        "lines",
        fill="toself",
        fillcolor=style.with_alpha(colour, 0.16),
        line={"width": 0},
        hoverinfo="skip",
    )
    return [band, line]


def _parameters(curve: ScalingCurve, name: FitName) -> str:
    """Return the parameters of a fit with their intervals, one line each."""
    if name == "line" and curve.line is not None:
        values = {"slope": curve.line.slope}
    elif curve.law is not None:
        values = {"limit": curve.law.limit, "exponent": curve.law.exponent}
    lines = []
    for parameter, value in values.items():
        low, high = curve.intervals.get(parameter, (np.nan, np.nan))
        lines.append(f"\n{parameter} {interval_text(value, low, high, kind='g')}")
    return "".join(lines)


def _size_text(curve: ScalingCurve, number: int) -> str:
    size = curve.sizes[number]
    runs = "run" if size.n == 1 else "runs"
    return style.hover(
        f"{curve.name}, {size.x:,.4g}\nmean of {size.n} {runs}: "
        f"{interval_text(size.mean, size.low, size.high)}"
    )


# -- figure of a fine-tuning: loss and held-out scores by condition, over steps -------
CONDITIONS: Final = {
    "video_behavior": ("video + behaviour", palette.CONDITION_COLOURS["behaviour"]),
    "half_video": ("half of the neurons, video", palette.CONDITION_COLOURS["video"]),
    "half": ("half of the neurons", palette.CONDITION_COLOURS["nothing"]),
    "forecast": ("forecast", palette.CONDITION_COLOURS["video + behaviour"]),
}
"""Label and colour of each condition on held-out windows, by its name in the log."""


def finetune_figure(folder: str | Path, *, theme: Theme = "light") -> "Figure":
    """Draw the log of `om.finetune` in its folder.

    Left: the loss of every step and its running mean. Right: the correlation on
    held-out windows by condition, and the mean that decides which weights are saved (it
    includes decoded behaviour if there is any).

    Raises
    ------
    FileNotFoundError
        The folder has no log.
    """
    rows = list(log_rows(Path(folder) / FILE))
    losses = [(int(row["step"]), row["loss"]) for row in rows if "loss" in row]
    last = max((int(row["step"]) for row in rows), default=1)
    # Both panels share the range of steps, although validation is less frequent.
    steps = style.titled("step", range=[-0.02 * last, 1.03 * last])
    figure = style.new_figure(
        theme,
        380,
        xaxis={**steps, "domain": [0, 0.44]},
        xaxis2={**steps, "domain": [0.56, 1], "anchor": "y2"},
        yaxis=style.titled("loss"),
        yaxis2=style.titled("held-out correlation", anchor="x2"),
        legend={"orientation": "h", "y": 1.04, "yanchor": "bottom"},
    )
    thin = {"color": style.themed(theme, palette.AXIS), "width": 1}
    figure.add_trace(_line(losses, "loss of a step", thin))
    thick = {"color": style.themed(theme, LOSS_COLOUR), "width": 2.5}
    figure.add_trace(_line(smoothed(losses), "running mean", thick))
    curves = CONDITIONS | {SCORE: ("mean of all", palette.RECORDED)}
    for key, (name, colour) in curves.items():
        points = [(int(row["step"]), row[key]) for row in rows if key in row]
        # The mean is emphasised, since it decides which weights are saved.
        width = 3 if key == SCORE else 1.5
        line = {"color": style.themed(theme, colour), "width": width}
        if points:
            axes = {"xaxis": "x2", "yaxis": "y2", "mode": "lines+markers"}
            figure.add_trace(_line(points, name, line) | axes)
    return figure


def _line(points: list[tuple[int, float]], name: str, line: dict[str, Any]) -> dict[str, Any]:
    # An empty log has no points to transpose.
    steps, values = zip(*points, strict=True) if points else ((), ())
    return style.scatter(
        steps, values, "lines", name=name, line=line, marker={"size": 5}, xaxis="x"
    )
