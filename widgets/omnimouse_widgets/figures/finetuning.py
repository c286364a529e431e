"""Figure of a fine-tuning: loss and held-out scores by condition, over steps."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from omnimouse_model.live.models.finetune import SCORE
from omnimouse_model.train.metrics_log import FILE, log_rows
from omnimouse_widgets import palette
from omnimouse_widgets.figures import style
from omnimouse_widgets.figures.style import Theme
from omnimouse_widgets.views.finetune import LOSS_COLOUR, smoothed

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
