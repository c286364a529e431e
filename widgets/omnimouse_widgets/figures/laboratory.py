"""Figures of the laboratory: tuning curves, preferred directions, exciting inputs."""

from typing import TYPE_CHECKING, Any

import numpy as np

from omnimouse_model.data.session import Session
from omnimouse_widgets import palette
from omnimouse_widgets.figures.style import (
    TEXT,
    Theme,
    hover,
    new_figure,
    plain,
    scatter,
    themed,
    titled,
)

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from omnimouse_model.lab.exciting_search import ExcitingInputs
    from omnimouse_model.lab.tuning import ModelDirections

CYCLE = "Phase"
"""Cyclic colour scale of constant lightness: its ends meet, as angles do."""


def direction_figure(
    tuning: "ModelDirections",
    neurons: dict[str, int],
    true_deg: np.ndarray | None = None,
    *,
    theme: Theme = "light",
) -> "Figure":
    """Return polar tuning curves of neurons, each divided by its maximum.

    Parameters
    ----------
    neurons
        Name in the legend -> index.
    true_deg
        True preferred direction of all neurons, drawn as a line to the rim.
    """
    figure = new_figure(theme, 420, title={"text": "response to direction of motion"})
    angles = [*tuning.directions_deg, tuning.directions_deg[0]]
    for number, (name, neuron) in enumerate(neurons.items()):
        colour = themed(theme, palette.PINS[number % len(palette.PINS)])
        response = tuning.response[neuron]
        values = np.append(response, response[0]) / max(float(response.max()), 1e-12)
        line = {"color": colour}
        curve = {"type": "scatterpolar", "theta": plain(np.array(angles))}
        figure.add_trace(
            curve | {"r": plain(values), "mode": "lines+markers", "line": line}
            | {"name": hover(name)}
        )  # fmt: skip
        if true_deg is not None:
            rim = {"theta": [float(true_deg[neuron])] * 2, "r": [0, 1]}
            dashed = {"color": colour, "dash": "dot", "width": 3}
            figure.add_trace(
                {"type": "scatterpolar", "mode": "lines", "name": hover(f"{name}, truth")}
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
    theme: Theme = "light",
) -> "Figure":
    """Return neurons in the microscope's frame, coloured by preferred direction.

    All neurons by default. Those with a low direction selectivity are small.
    """
    if neurons is None:
        neurons = np.arange(session.n_neurons)
    figure = new_figure(
        theme,
        460,
        title={"text": "preferred direction over cortex"},
        xaxis=titled("x (µm)"),
        yaxis=titled("y (µm)", scaleanchor="x"),
    )
    places = session.units.xyz_um
    size = 4 + 10 * np.clip(np.nan_to_num(tuning.dsi[neurons]) / 0.5, 0, 1)
    ticks = [0, 90, 180, 270, 360]
    marker: dict[str, Any] = {
        "color": plain(np.round(tuning.preferred_deg[neurons], 1)),
        "colorscale": CYCLE,
        "cmin": 0,
        "cmax": 360,
        "size": plain(np.round(size, 1)),
        "colorbar": {"title": {"text": "degrees"}, "tickvals": ticks, "thickness": 12},
    }
    x, y = (np.round(places[neurons, axis], 1) for axis in (0, 1))
    names = [hover(f"neuron {name}") for name in session.units.names[neurons].tolist()]
    figure.add_trace(scatter(x, y, "markers", marker=marker, text=names, hoverinfo="text"))
    return figure


def exciting_figure(found: "ExcitingInputs", *, theme: Theme = "light") -> "Figure":
    """Return the image of each start, or the middle frame of a video, best first."""
    n = len(found.videos)
    figure = new_figure(
        theme, 260, title={"text": hover(f"most exciting input of {found.predictor_id}")}
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
        response = f"start {number + 1}: {found.responses[number]:z.2f} s.d."
        figure.add_annotation(
            text=response, showarrow=False, font={"color": TEXT[theme]},
            xref="paper", yref="paper", x=share[0], y=1.02, yanchor="bottom",
        )  # fmt: skip
    return figure
