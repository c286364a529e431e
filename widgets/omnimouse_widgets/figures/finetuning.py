"""Figure of a fine-tuning: loss and held-out scores by condition, over steps."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from omnimouse_model.live.models.finetuned_models import SCORE
from omnimouse_model.train.metrics_log import FILE, log_rows
from omnimouse_widgets import palette
from omnimouse_widgets.drawn.model.finetune import LOSS_COLOUR, smoothed
from omnimouse_widgets.figures import look
from omnimouse_widgets.figures.look import Theme

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

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
    import plotly.graph_objects as go

    rows = list(log_rows(Path(folder) / FILE))
    losses = [(int(row["step"]), row["loss"]) for row in rows if "loss" in row]
    last = max((int(row["step"]) for row in rows), default=1)
    # Both panels share the range of steps, although validation is less frequent.
    axis = {"title": {"text": "step"}, "range": [-0.02 * last, 1.03 * last]}
    figure = go.Figure(
        layout={
            "template": look.template(theme),
            "height": 380,
            "xaxis": {**axis, "domain": [0, 0.44]},
            "xaxis2": {**axis, "domain": [0.56, 1], "anchor": "y2"},
            "yaxis": {"title": {"text": "loss"}},
            "yaxis2": {
                "title": {"text": "held-out correlation"},
                "anchor": "x2",
            },
            "legend": {"orientation": "h", "y": 1.04, "yanchor": "bottom"},
        }
    )
    thin = {"color": look.on(theme, palette.AXIS), "width": 1}
    figure.add_trace(_line(losses, "loss of a step", thin, 1))
    thick = {"color": look.on(theme, LOSS_COLOUR), "width": 2.5}
    figure.add_trace(_line(smoothed(losses), "running mean", thick, 1))
    named = CONDITIONS | {SCORE: ("mean of all", palette.HELD)}
    for key, (name, colour) in named.items():
        points = [(int(row["step"]), row[key]) for row in rows if key in row]
        width = 3 if key == SCORE else 1.5
        line = {"color": look.on(theme, colour), "width": width}
        if points:
            figure.add_trace(_line(points, name, line, 2))
    return figure


def _line(
    points: list[tuple[int, float]], name: str, line: dict[str, Any], panel: int
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines" if panel == 1 else "lines+markers",
        "x": [step for step, _ in points],
        "y": [value for _, value in points],
        "name": name,
        "line": line,
        "marker": {"size": 5},
        "xaxis": "x" if panel == 1 else "x2",
        "yaxis": "y" if panel == 1 else "y2",
    }
