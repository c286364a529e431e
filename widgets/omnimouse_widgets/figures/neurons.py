"""Figures of scores per neuron: scatter of two conditions, and histogram."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from omnimouse_model.analysis.evaluate.results import Score
from omnimouse_widgets import palette
from omnimouse_widgets.drawn.neurons.score_distribution import score_bins
from omnimouse_widgets.figures import look
from omnimouse_widgets.figures.look import Theme

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_COLOURS: Final = tuple(palette.CONDITION_COLOURS.values())


def score_scatter(
    x: Score,
    y: Score,
    *,
    names: tuple[str, str] = ("", ""),
    ceilings: np.ndarray | None = None,
    theme: Theme = "light",
) -> "Figure":
    """Draw each neuron's score under one condition or model against another.

    After the per-neuron comparisons of Wang et al. 2025 and the OmniMouse paper. Each
    point is a neuron that has both scores; above the dashed identity line, `y` predicts
    it better.

    Parameters
    ----------
    x, y
        Two scores of one session, from `om.evaluate(…).find(…)`.
    names
        Names for the axes; condition and predictor by default.
    ceilings
        (P,) score of a perfect prediction for each neuron of the session, as
        `analysis.population_ceiling` estimates it from repeats. It colours the points;
        points with an unknown ceiling (NaN) are open.

    Raises
    ------
    ValueError
        The sessions differ, no neuron has both scores, or `ceilings` has a wrong shape.
    """
    import plotly.graph_objects as go

    neurons, across, up = paired_scores(x, y)
    words = [name or _name(score) for name, score in zip(names, (x, y), strict=True)]
    limits = _limits(across, up)
    figure = go.Figure(
        layout={
            "template": look.template(theme),
            "height": 460,
            "width": 520,
            "showlegend": False,
            "hovermode": "closest",
            "title": {"text": _summary(across, up), "font": {"size": 13}},
            "xaxis": {"title": {"text": f"r, {words[0]}"}, "range": limits},
            "yaxis": {
                "title": {"text": f"r, {words[1]}"},
                "range": limits,
                "scaleanchor": "x",
            },
            "shapes": [_identity(limits, theme)],
        }
    )
    own = None if ceilings is None else _ceilings_of(neurons, ceilings)
    figure.add_trace(
        {
            "type": "scatter",
            "mode": "markers",
            "x": look.plain(across),
            "y": look.plain(up),
            "hovertext": _neuron_words(neurons, across, up, own),
            "hoverinfo": "text",
            "marker": _neuron_marks(own, theme),
        }
    )
    return figure


def score_histogram(
    scores: Score | Sequence[Score],
    *,
    names: Sequence[str] = (),
    theme: Theme = "light",
) -> "Figure":
    """Draw the distribution of scores over neurons, one outline per condition or model.

    Vertical lines are the means that `om.evaluate` reports, with the dash of the
    outline.

    Raises
    ------
    ValueError
        Nothing was scored, or there are too many outlines to distinguish.
    """
    import plotly.graph_objects as go

    each = [scores] if isinstance(scores, Score) else list(scores)
    known = [s.per_neuron[np.isfinite(s.per_neuron)] for s in each]
    if not known or not all(map(len, known)):
        raise ValueError("Nothing was scored that could be counted.")
    if len(each) > len(_COLOURS):
        raise ValueError(f"At most {len(_COLOURS)} are told apart, found {len(each)}.")
    # Common bins, so that the outlines can be compared.
    edges = score_bins(known)
    figure = go.Figure(
        layout={
            "template": look.template(theme),
            "height": 320,
            "xaxis": {"title": {"text": "single-trial correlation of a neuron"}},
            "yaxis": {"title": {"text": "neurons"}, "rangemode": "tozero"},
        }
    )
    for number, (score, values) in enumerate(zip(each, known, strict=True)):
        name = names[number] if number < len(names) else _name(score)
        counts = np.histogram(values, edges)[0]
        colour = look.on(theme, _COLOURS[number])
        figure.add_trace(_outline(edges, counts, name, number, colour))
        figure.add_shape(_mean_line(score.value, number, colour))
    return figure


def paired_scores(x: Score, y: Score) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the neurons that have both scores, and the two scores of each.

    Raises
    ------
    ValueError
        The sessions differ, or no neuron has both scores.
    """
    if x.session != y.session:
        raise ValueError(
            f"Neurons of {x.session!r} and {y.session!r} cannot be compared one by one."
        )
    # Two conditions may have different targets, so align their scores by neuron index.
    both, at_x, at_y = np.intersect1d(x.neurons, y.neurons, return_indices=True)
    across, up = x.per_neuron[at_x], y.per_neuron[at_y]
    known = np.isfinite(across) & np.isfinite(up)
    if not known.any():
        why = x.refusal or y.refusal or "they were asked of other neurons"
        raise ValueError(f"No neuron has both scores: {why}")
    return both[known], across[known], up[known]


# -- within ---------------------------------------------------------------------------
def _name(score: Score) -> str:
    return f"{score.strategy.removeprefix('test/')} · {score.predictor}"


def _summary(across: np.ndarray, up: np.ndarray) -> str:
    gained = float(np.mean(up > across))
    return (
        f"n = {len(up):,} neurons · mean r {across.mean():.3f} → {up.mean():.3f} · "
        f"{gained:.0%} above the line"
    )


def _limits(across: np.ndarray, up: np.ndarray) -> list[float]:
    # Both axes have these limits, so that the identity line is the diagonal.
    low = min(0.0, float(min(across.min(), up.min())))
    high = float(max(across.max(), up.max()))
    room = 0.04 * (high - low)
    return [low - room, high + room]


def _identity(limits: list[float], theme: Theme) -> dict[str, Any]:
    low, high = limits
    line = {"color": look.ink(theme), "width": 1, "dash": "dash"}
    ends = {"x0": low, "y0": low, "x1": high, "y1": high}
    return {"type": "line", "layer": "below", "line": line, **ends}


def _ceilings_of(neurons: np.ndarray, ceilings: np.ndarray) -> np.ndarray:
    if ceilings.ndim != 1 or neurons.max() >= len(ceilings):
        raise ValueError(
            "Ceilings are one number for each neuron of the session (P,); found "
            f"{ceilings.shape} for neurons up to {neurons.max()}."
        )
    return np.asarray(ceilings[neurons], float)


def _neuron_words(
    neurons: np.ndarray, across: np.ndarray, up: np.ndarray, own: np.ndarray | None
) -> list[str]:
    words = [
        f"neuron {neuron}<br>r = {a:.3f} → {b:.3f}"
        for neuron, a, b in zip(neurons, across, up, strict=True)
    ]
    if own is None:
        return words
    return [
        f"{said}<br>ceiling {limit:.3f}" if np.isfinite(limit) else said
        for said, limit in zip(words, own, strict=True)
    ]


def _neuron_marks(own: np.ndarray | None, theme: Theme) -> dict[str, Any]:
    plain = {"size": 5, "opacity": 0.75, "color": look.on(theme, _COLOURS[0])}
    if own is None:
        return plain
    known = np.isfinite(own)
    table = palette.viridis_table()
    # Nine stops are sufficient, because plotly interpolates between them.
    steps = np.linspace(0, 1, 9)
    scale = [
        [step, "rgb({},{},{})".format(*table[round(255 * step)].tolist())]
        for step in steps.tolist()
    ]
    return {
        **plain,
        "opacity": 0.85,
        # plotly needs a number for every point; unknown ceilings have open symbols
        # instead.
        "color": look.plain(np.where(known, own, 0.0)),
        "symbol": ["circle" if is_known else "circle-open" for is_known in known],
        "colorscale": scale,
        "cmin": 0.0,
        "cmax": float(own[known].max()) if known.any() else 1.0,
        "colorbar": {"title": {"text": "ceiling"}, "thickness": 12, "len": 0.7},
    }


def _outline(
    edges: np.ndarray, counts: np.ndarray, name: str, number: int, colour: str
) -> dict[str, Any]:
    """Return the outline of a histogram as a step line."""
    red, green, blue = palette.rgb(colour)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": look.plain(edges),
        # There is one edge more than counts: the last count extends to the last edge.
        "y": [*counts.tolist(), int(counts[-1])],
        "line": {
            "shape": "hv",
            "color": colour,
            "width": 2,
            "dash": look.DASHES[number],
        },
        "fill": "tozeroy",
        "fillcolor": f"rgba({red},{green},{blue},0.15)",
        "hovertemplate": f"{look.hover(name)}<br>from %{{x:.2f}}: %{{y}} neurons"
        "<extra></extra>",
    }


def _mean_line(mean: float, number: int, colour: str) -> dict[str, Any]:
    line = {"color": colour, "width": 2, "dash": look.DASHES[number]}
    ends = {"x0": mean, "x1": mean, "y0": 0, "y1": 1, "yref": "y domain"}
    return {"type": "line", "line": line, **ends}
