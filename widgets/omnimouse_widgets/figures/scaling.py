"""Figure of scores against data, size or compute, with one panel per condition.

As Figures 5 and 7 of the OmniMouse paper, for any scaling analysis. Each model size is
a curve: a small mark for every run, a large one for the mean with its interval, and a
line with a band for the fit. Without a fit, the figure states the reason.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from omnimouse_model.analysis.scaling.fits import FitName, ScalingCurve, SizeAxis
from omnimouse_widgets.figures import look
from omnimouse_widgets.figures.look import Theme
from omnimouse_widgets.figures.tasks import task_name

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

HEIGHT: Final = 400
_GAP: Final = 0.09
"""Distance between panels, as a share of the figure's width."""
_ASIDE: Final = 1.02
"""Factor between marks of neighbouring curves on the log axis, to avoid overlap."""
_AXES: Final[dict[SizeAxis, str]] = {
    "sessions": "sessions trained on",
    "neuron_samples": "neurons × samples trained on",
    "trials": "trials trained on",
    "compute": "training compute (FLOP)",
    "parameters": "parameters",
}
_FITS: Final[dict[FitName, str]] = {"law": "power law", "line": "line over log size"}


def scaling_figure(
    curves: Sequence[ScalingCurve], *, theme: Theme = "light"
) -> "Figure":
    """Draw the result of `scaling_curves` (Fig. 5 and 7).

    Of the two fits, the one that the points prefer is drawn. Bars and bands are 95 %
    intervals over evaluated sessions and runs; they are missing for a single session.

    Raises
    ------
    ValueError
        There are no curves, or curves of different axes or quantities.
    """
    import plotly.graph_objects as go

    if len({(curve.axis, curve.quantity) for curve in curves}) != 1:
        raise ValueError(
            "A scaling figure has curves of one axis and one quantity: give those of "
            "one call of scaling_curves, which found some."
        )
    conditions = list(dict.fromkeys(curve.condition for curve in curves))
    names = list(dict.fromkeys(curve.name for curve in curves))
    colours = look.shades(len(names), theme)
    figure = go.Figure(layout=_layout(curves, conditions, theme))
    for curve in curves:
        number, panel = names.index(curve.name), conditions.index(curve.condition)
        # Symmetric around 1, so that the curves are centred on the true value.
        aside = _ASIDE ** (number - (len(names) - 1) / 2)
        mark = look.MARKS[number % len(look.MARKS)]
        for trace in _traces(curve, colours[number], mark, aside):
            own = {**trace, "xaxis": f"x{panel + 1}", "yaxis": f"y{panel + 1}"}
            # All panels share one legend group per curve: one entry is sufficient.
            own["showlegend"] = own.get("showlegend", False) and panel == 0
            figure.add_trace({"legendgroup": curve.name, **own})
    return figure


# -- within ---------------------------------------------------------------------------
def _layout(
    curves: Sequence[ScalingCurve], conditions: Sequence[str], theme: Theme
) -> dict[str, Any]:
    axis, quantity = curves[0].axis, curves[0].quantity
    width = (1 - _GAP * (len(conditions) - 1)) / len(conditions)
    told = _refusals(curves)
    layout: dict[str, Any] = {
        "template": look.template(theme),
        "height": HEIGHT,
        "margin": {"t": 84, "b": 96 if told else 48},
        "legend": {"y": 1.12},
        "annotations": [],
    }
    for panel, condition in enumerate(conditions):
        own = [curve for curve in curves if curve.condition == condition]
        left = panel * (width + _GAP)
        number = panel + 1
        sizes = np.unique(np.concatenate([curve.x for curve in own]))
        layout[f"xaxis{number}"] = {
            "type": "log",
            "title": {"text": _AXES[axis]},
            "domain": [left, left + width],
            "anchor": f"y{number}",
            **({"tickvals": sizes.tolist()} if axis == "sessions" else {}),
        }
        layout[f"yaxis{number}"] = {"anchor": f"x{number}"}
        words = {"score": "single-trial correlation", "loss": "test loss"}[quantity]
        if panel == 0:
            layout["yaxis1"]["title"] = {"text": words}
        title = f"<b>{task_name(condition)}</b>"
        layout["annotations"].append(_words(title, left, 1.0, is_above=True))
    if told:
        note = _words(look.hover(told), 0.0, -0.24, is_above=False)
        layout["annotations"].append({**note, "font": {"size": 11}})
    return layout


def _words(text: str, x: float, y: float, *, is_above: bool) -> dict[str, Any]:
    """Return a text annotation above or below a height of the figure."""
    return {
        "text": text,
        **{"x": x, "y": y, "xref": "paper", "yref": "paper", "xanchor": "left"},
        **{"yanchor": "bottom" if is_above else "top"},
        **{"showarrow": False, "align": "left"},
    }


def _refusals(curves: Sequence[ScalingCurve]) -> str:
    """Return the reasons for missing fits, one line each."""
    named: dict[str, dict[str, None]] = {}
    for curve in curves:
        if curve.refusal:
            same = [other for other in curves if other.name == curve.name]
            # The condition is named unless the reason is the same under all conditions.
            is_everywhere = all(other.refusal == curve.refusal for other in same)
            more = "" if is_everywhere else f" ({task_name(curve.condition)})"
            named.setdefault(curve.refusal, {})[f"{curve.name}{more}"] = None
    return "\n".join(f"No fit of {', '.join(who)}: {why}" for why, who in named.items())


def _traces(
    curve: ScalingCurve, colour: str, mark: str, aside: float
) -> list[dict[str, Any]]:
    """Return band, fit, runs and means, from back to front.

    `aside` is the factor by which this curve's marks are shifted.
    """
    shared = {"type": "scatter", "name": curve.name, "hoverinfo": "text"}
    found: list[dict[str, Any]] = []
    if curve.law is not None:
        found += _fit_traces(curve, colour, shared)
    found.append(
        {
            **shared,
            "mode": "markers",
            "x": look.plain(curve.x * aside),
            "y": look.plain(curve.y),
            "marker": {"symbol": f"{mark}-open", "color": colour, "size": 6},
            "opacity": 0.7,
            "hovertext": [
                look.hover(f"{curve.name}, seed {seed}\n{x:,.4g}: {y:.3f}")
                for x, y, seed in zip(curve.x, curve.y, curve.seeds, strict=True)
            ],
        }
    )
    means = np.array([[s.x, s.mean, s.low, s.high] for s in curve.sizes]).T
    x, mean, low, high = means
    found.append(
        {
            **shared,
            "mode": "markers",
            "showlegend": True,
            "x": look.plain(x * aside),
            "y": look.plain(mean),
            "error_y": {
                "symmetric": False,
                "array": look.plain(np.nan_to_num(high - mean)),
                # plotly takes the distances from the mean, not the limits.
                "arrayminus": look.plain(np.nan_to_num(mean - low)),
                "thickness": 1.5,
                "width": 3,
            },
            "marker": {"symbol": mark, "color": colour, "size": 10},
            "hovertext": [_size_words(curve, number) for number in range(len(x))],
        }
    )
    return found


def _fit_traces(
    curve: ScalingCurve, colour: str, shared: dict[str, Any]
) -> list[dict[str, Any]]:
    name: FitName = "line" if curve.preferred == "log line" else "law"
    fit = curve.fit(name)
    assert fit is not None
    found: list[dict[str, Any]] = []
    along = curve.along
    if name in curve.bands:
        low, high = curve.bands[name]
        found.append(
            {
                **shared,
                "mode": "lines",
                # The band is one closed polygon: along the upper limit and back along
                # the lower.
                "x": look.plain(np.concatenate([along, along[::-1]])),
                "y": look.plain(np.concatenate([high, low[::-1]])),
                "fill": "toself",
                "fillcolor": look.with_alpha(colour, 0.16),
                "line": {"width": 0},
                "hoverinfo": "skip",
            }
        )
    words = f"{curve.name}: {_FITS[name]}{_parameters(curve, name)}"
    found.append(
        {
            **shared,
            "mode": "lines",
            "x": look.plain(along),
            "y": look.plain(fit(along)),
            "line": {"color": colour, "width": 2},
            "hovertext": look.hover(words),
        }
    )
    return found


def _parameters(curve: ScalingCurve, name: FitName) -> str:
    """Return the parameters of a fit with their intervals, one line each."""
    if name == "line" and curve.line is not None:
        found = {"slope": curve.line.slope}
    elif curve.law is not None:
        found = {"limit": curve.law.limit, "exponent": curve.law.exponent}
    lines = []
    for what, value in found.items():
        low, high = curve.intervals.get(what, (np.nan, np.nan))
        known = f" ({low:.3g} to {high:.3g})" if np.isfinite(low) else ""
        lines.append(f"\n{what} {value:.3g}{known}")
    return "".join(lines)


def _size_words(curve: ScalingCurve, number: int) -> str:
    size = curve.sizes[number]
    known = np.isfinite(size.low)
    bar = f" (95 %: {size.low:.3f} to {size.high:.3f})" if known else ""
    runs = "run" if size.n == 1 else "runs"
    return look.hover(
        f"{curve.name}, {size.x:,.4g}\nmean of {size.n} {runs}: {size.mean:.3f}{bar}"
    )
