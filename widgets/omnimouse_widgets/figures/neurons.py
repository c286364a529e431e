"""Figures of neurons: scores, and tuning from the laboratory."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from omnimouse_model.data.session import Session
from omnimouse_model.display import number_text
from omnimouse_model.evaluation.results import Score
from omnimouse_widgets import palette
from omnimouse_widgets.figures import style
from omnimouse_widgets.views.scores import score_bins

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from omnimouse_model.lab.exciting_search import ExcitingInputs
    from omnimouse_model.lab.tuning import ModelDirections


_COLOURS: Final = tuple(palette.CONDITION_COLOURS.values())


def score_scatter(
    x: Score,
    y: Score,
    *,
    names: tuple[str, str] = ("", ""),
    ceilings: np.ndarray | None = None,
    theme: style.Theme = "light",
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
    neurons, x_scores, y_scores = paired_scores(x, y)
    labels = [name or _name(score) for name, score in zip(names, (x, y), strict=True)]
    limits = _limits(x_scores, y_scores)
    # Below the points, which would otherwise be hard to see along the diagonal.
    identity = style.line_shape(limits, limits, style.TEXT[theme], layer="below")
    figure = style.new_figure(
        theme,
        460,
        width=520,
        showlegend=False,
        hovermode="closest",
        title={"text": _summary(x_scores, y_scores), "font": {"size": 13}},
        xaxis=style.titled(style.hover(f"r, {labels[0]}"), range=limits),
        yaxis=style.titled(style.hover(f"r, {labels[1]}"), range=limits, scaleanchor="x"),
        shapes=[identity],
    )
    limit = None if ceilings is None else _ceilings_of(neurons, ceilings)
    text = _hover_texts(neurons, x_scores, y_scores, limit)
    figure.add_trace(
        style.scatter(
            x_scores,
            y_scores,
            "markers",
            hovertext=text,
            hoverinfo="text",
            marker=_markers(limit, theme),
        )
    )
    return figure


def score_histogram(
    scores: Score | Sequence[Score], *, names: Sequence[str] = (), theme: style.Theme = "light"
) -> "Figure":
    """Draw the distribution of scores over neurons, one outline per condition or model.

    Vertical lines are the means that `om.evaluate` reports, with the dash of the
    outline.

    Raises
    ------
    ValueError
        Nothing was scored, or there are too many outlines to distinguish.
    """
    all_scores = [scores] if isinstance(scores, Score) else list(scores)
    finite = [s.per_neuron[np.isfinite(s.per_neuron)] for s in all_scores]
    if not finite or not all(map(len, finite)):
        raise ValueError("No neuron has a score.")
    if len(all_scores) > len(_COLOURS):
        raise ValueError(
            f"At most {len(_COLOURS)} outlines can be distinguished, found {len(all_scores)}."
        )
    # Common bins, so that the outlines can be compared.
    edges = score_bins(finite)
    figure = style.new_figure(
        theme,
        320,
        xaxis=style.titled("single-trial correlation of a neuron"),
        yaxis=style.titled("neurons", rangemode="tozero"),
    )
    for number, (score, values) in enumerate(zip(all_scores, finite, strict=True)):
        name = names[number] if number < len(names) else _name(score)
        counts = np.histogram(values, edges)[0]
        colour = style.themed(theme, _COLOURS[number])
        line = {"color": colour, "width": 2, "dash": style.DASHES[number]}
        figure.add_trace(_outline(edges, counts, name, line))
        mean = (score.value, score.value)
        figure.add_shape(style.line_shape(mean, (0, 1), colour, yref="y domain", line=line))
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
    neurons, in_x, in_y = np.intersect1d(x.neurons, y.neurons, return_indices=True)
    x_scores, y_scores = x.per_neuron[in_x], y.per_neuron[in_y]
    is_scored = np.isfinite(x_scores) & np.isfinite(y_scores)
    if not is_scored.any():
        reason = x.refusal or y.refusal or "their targets are different neurons"
        raise ValueError(f"No neuron has both scores: {reason}")
    return neurons[is_scored], x_scores[is_scored], y_scores[is_scored]


def _name(score: Score) -> str:
    return f"{score.strategy.removeprefix('test/')} · {score.predictor}"


def _summary(x: np.ndarray, y: np.ndarray) -> str:
    return (
        f"n = {len(y):,} neurons · mean r {number_text(x.mean(), 3)} → "
        f"{number_text(y.mean(), 3)} · {100 * np.mean(y > x):z.0f} % above the line"
    )


def _limits(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    # Both axes have these limits, so that the identity line is the diagonal.
    values = np.concatenate([x, y])
    # 0 is always visible: scores around it are chance.
    low, high = min(0.0, float(values.min())), float(values.max())
    margin = 0.04 * (high - low)
    return low - margin, high + margin


def _ceilings_of(neurons: np.ndarray, ceilings: np.ndarray) -> np.ndarray:
    if ceilings.ndim != 1 or neurons.max() >= len(ceilings):
        raise ValueError(
            "Ceilings have the shape (P,): one number for each neuron of the session; "
            f"found {ceilings.shape} for neurons up to {neurons.max()}."
        )
    return np.asarray(ceilings[neurons], float)


def _hover_texts(
    neurons: np.ndarray, x: np.ndarray, y: np.ndarray, ceilings: np.ndarray | None
) -> list[str]:
    if ceilings is None:
        ceilings = np.full(len(neurons), np.nan)
    return [
        f"neuron {neuron}<br>r = {number_text(a, 3)} → {number_text(b, 3)}"
        + (f"<br>ceiling {number_text(ceiling, 3)}" if np.isfinite(ceiling) else "")
        for neuron, a, b, ceiling in zip(neurons, x, y, ceilings, strict=True)
    ]


def _markers(ceilings: np.ndarray | None, theme: style.Theme) -> dict[str, Any]:
    if ceilings is None:
        return {"size": 5, "opacity": 0.75, "color": style.themed(theme, _COLOURS[0])}
    is_known = np.isfinite(ceilings)
    table = palette.viridis_table()
    # Nine stops are sufficient, because plotly interpolates between them.
    scale = [
        [step, "rgb({},{},{})".format(*table[round(255 * step)].tolist())]
        for step in np.linspace(0, 1, 9).tolist()
    ]
    return {
        "size": 5,
        "opacity": 0.85,
        # plotly needs a number for every point; unknown ceilings have open symbols
        # instead.
        "color": style.plain(np.where(is_known, ceilings, 0.0)),
        "symbol": np.where(is_known, "circle", "circle-open").tolist(),
        "colorscale": scale,
        "cmin": 0.0,
        "cmax": float(ceilings[is_known].max()) if is_known.any() else 1.0,
        "colorbar": style.titled("ceiling", thickness=12, len=0.7),
    }


def _outline(
    edges: np.ndarray, counts: np.ndarray, name: str, line: dict[str, Any]
) -> dict[str, Any]:
    """Return the outline of a histogram as a step line."""
    return style.scatter(
        edges,
        # There is one edge more than counts: the last count extends to the last edge.
        [*counts.tolist(), int(counts[-1])],
        "lines",
        name=style.hover(name),
        line={**line, "shape": "hv"},
        fill="tozeroy",
        fillcolor=style.with_alpha(line["color"], 0.15),
        hovertemplate=f"{style.hover(name)}<br>from %{{x:.2f}}: %{{y}} neurons<extra></extra>",
    )


# -- figures of the laboratory: tuning curves, preferred directions, exciting inputs --
CYCLE = "Phase"
"""Cyclic colour scale of constant lightness: its ends meet, as angles do."""


def direction_figure(
    tuning: "ModelDirections",
    neurons: dict[str, int],
    true_deg: np.ndarray | None = None,
    *,
    theme: style.Theme = "light",
) -> "Figure":
    """Return polar tuning curves of neurons, each divided by its maximum.

    Parameters
    ----------
    neurons
        Name in the legend -> index.
    true_deg
        True preferred direction of all neurons, drawn as a line to the rim.
    """
    figure = style.new_figure(theme, 420, title={"text": "response to direction of motion"})
    angles = [*tuning.directions_deg, tuning.directions_deg[0]]
    for number, (name, neuron) in enumerate(neurons.items()):
        colour = style.themed(theme, palette.PINS[number % len(palette.PINS)])
        response = tuning.response[neuron]
        values = np.append(response, response[0]) / max(float(response.max()), 1e-12)
        line = {"color": colour}
        curve = {"type": "scatterpolar", "theta": style.plain(np.array(angles))}
        figure.add_trace(
            curve | {"r": style.plain(values), "mode": "lines+markers", "line": line}
            | {"name": style.hover(name)}
        )  # fmt: skip
        if true_deg is not None:
            rim = {"theta": [float(true_deg[neuron])] * 2, "r": [0, 1]}
            dashed = {"color": colour, "dash": "dot", "width": 3}
            figure.add_trace(
                {"type": "scatterpolar", "mode": "lines", "name": style.hover(f"{name}, truth")}
                | rim | {"line": dashed}
            )  # fmt: skip
    figure.update_layout(
        legend={"y": -0.1, "yanchor": "top"},
        polar={
            "radialaxis": {"range": [0, 1.05], "showticklabels": False},
            "angularaxis": {"tickvals": list(range(0, 360, 45)), "ticksuffix": "°"},
            "bgcolor": "rgba(0,0,0,0)",
        },
    )
    return figure


def direction_map_figure(
    session: Session,
    tuning: "ModelDirections",
    neurons: np.ndarray | None = None,
    *,
    theme: style.Theme = "light",
) -> "Figure":
    """Return neurons in the microscope's frame, coloured by preferred direction.

    All neurons by default. Those with a low direction selectivity are small.
    """
    if neurons is None:
        neurons = np.arange(session.n_neurons)
    figure = style.new_figure(
        theme,
        460,
        title={"text": "preferred direction over cortex"},
        xaxis=style.titled("x (µm)"),
        yaxis=style.titled("y (µm)", scaleanchor="x"),
    )
    places = session.units.xyz_um
    size = 4 + 10 * np.clip(np.nan_to_num(tuning.dsi[neurons]) / 0.5, 0, 1)
    ticks = [0, 90, 180, 270, 360]
    marker: dict[str, Any] = {
        "color": style.plain(np.round(tuning.preferred_deg[neurons], 1)),
        "colorscale": CYCLE,
        "cmin": 0,
        "cmax": 360,
        "size": style.plain(np.round(size, 1)),
        "colorbar": {"title": {"text": "degrees"}, "tickvals": ticks, "thickness": 12},
    }
    x, y = (np.round(places[neurons, axis], 1) for axis in (0, 1))
    names = [style.hover(f"unit {name}") for name in session.units.names[neurons].tolist()]
    figure.add_trace(style.scatter(x, y, "markers", marker=marker, text=names, hoverinfo="text"))
    return figure


def exciting_figure(found: "ExcitingInputs", *, theme: style.Theme = "light") -> "Figure":
    """Return the image of each start, or the middle frame of a video, best first."""
    n = len(found.videos)
    figure = style.new_figure(
        theme, 260, title={"text": style.hover(f"most exciting input of {found.predictor_id}")}
    )
    height, width = found.videos.shape[2:]
    for number, video in enumerate(found.videos):
        figure.add_trace(
            {
                "type": "heatmap",
                "z": video[len(video) // 2].tolist(),
                "colorscale": "Greys_r",
                "zmin": 0,
                "zmax": 255,
                "showscale": False,
                "xaxis": f"x{number + 1}",
                "yaxis": f"y{number + 1}",
                "hoverinfo": "skip",
            }
        )
        share = [(number + 0.02) / n, (number + 0.98) / n]
        hidden = {"showticklabels": False, "ticks": "", "showgrid": False}
        figure.update_layout(
            {
                f"xaxis{number + 1}": {"domain": share, **hidden, "range": [0, width]},
                f"yaxis{number + 1}": {
                    **hidden,
                    "anchor": f"x{number + 1}",
                    "scaleanchor": f"x{number + 1}",
                    "range": [height, 0],
                },
            }
        )
        response = f"start {number + 1}: {number_text(found.responses[number])} s.d."
        figure.add_annotation(
            text=response, showarrow=False, font={"color": style.TEXT[theme]},
            xref="paper", yref="paper", x=share[0], y=1.02, yanchor="bottom",
        )  # fmt: skip
    return figure
