"""The figure of scores: their histogram, and each against another number.

One plotly widget, changed in place; whoever calls this waits until the page has drawn.
What is picked in it the page of its part tells, by the number of a trace, `BARS` or
`POINTS`: plotly's own messages of it may be lost under those of the pointer.
"""

import textwrap
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from omnimouse_widgets import palette
from omnimouse_widgets.drawn.neurons.score_distribution import Across, Spread
from omnimouse_widgets.figures import look
from omnimouse_widgets.jupyter.transport.plotly_widget import made_figure

HEIGHT: Final = 340
BARS: Final = 0
POINTS: Final = 2
OLD_OPACITY: Final = 0.45
_ALL: Final = {"color": palette.GIVEN}
_CHOSEN: Final = {"color": palette.SELECTED}
_DRAG_MODES: Final = {"rectangle": "select", "lasso": "lasso"}


class ScoreChart:
    """Bars and points of one plotly widget, `figure`; what is selected is white."""

    def __init__(self) -> None:
        bars = {"type": "bar", "xaxis": "x", "yaxis": "y", "x": [], "y": []}
        points = {
            "type": "scattergl", "mode": "markers", "xaxis": "x2", "yaxis": "y2",
            "x": [], "y": [],
        }  # fmt: skip
        as_it_is = {"marker": {"opacity": 1.0}}
        lit = {"selected": as_it_is, "unselected": as_it_is}
        quiet = {"hoverinfo": "skip", **lit}
        self.figure: Any = made_figure(
            [
                {**bars, "marker": _ALL, **lit,
                 "hovertemplate": "r %{x:.3f}: %{y} neurons<extra></extra>"},
                {**bars, "marker": _CHOSEN, **quiet},
                {**points, "marker": {**_ALL, "size": 5}, **lit},
                {**points, "marker": {**_CHOSEN, "size": 7, "symbol": "circle",
                                      "line": {"color": "#16181D", "width": 1}},
                 **quiet},
            ],
            _layout(),
        )  # fmt: skip
        # What plotly keeps of a rectangle is out of sight: see the style sheet.
        self.figure.add_class("omnimouse-plot")
        self._bars, self._chosen_bars, self._points, self._chosen = self.figure.data
        self._spread: Spread | None = None

    def show_spread(self, spread: Spread, across: Across, *, is_old: bool) -> None:
        """Draw the bars, and the points in the order of the neurons."""
        width = float(np.diff(spread.edges)[0]) if len(spread.counts) else 1.0
        scores, values = spread.scores, across.values
        opacity = OLD_OPACITY if is_old else 1.0
        figure, self._spread = self.figure, spread
        mean = float(scores.mean()) if len(scores) else None
        with figure.batch_update():
            for trace in (self._bars, self._chosen_bars):
                trace.update(x=spread.places, width=0.92 * width, opacity=opacity)
            self._bars.y = spread.counts
            self._points.update(
                x=np.float32(values), y=np.float32(scores), opacity=opacity
            )
            self._points.hovertemplate = _hover(across)
            figure.layout.xaxis2.update(_axis(across))
            figure.layout.shapes = _lines(mean, scores, across)
            message = "" if across.is_known or not len(scores) else across.why
            figure.layout.annotations = _note(message)

    def show_names(self, names: np.ndarray) -> None:
        """Ids of the neurons, for who points at them."""
        self._points.customdata = names

    def show_selection(self, neurons: Sequence[int], across: Across) -> None:
        """Draw these on top, in the bars and among the points."""
        spread = self._spread
        if spread is None:
            return
        at = np.flatnonzero(np.isin(spread.neurons, neurons))
        with self.figure.batch_update():
            self._chosen_bars.y = spread.counts_of(neurons)
            self._chosen.update(
                x=np.float32(across.values[at]), y=np.float32(spread.scores[at])
            )

    def use(self, tool: str) -> None:
        """Draw around points with a rectangle or a lasso."""
        self.figure.layout.dragmode = _DRAG_MODES[tool]


def _layout() -> dict[str, Any]:
    def titled(words: str) -> dict[str, Any]:
        return {"title": {"text": words}}

    return {
        "template": look.template("dark"),
        "height": HEIGHT,
        "margin": {"l": 46, "r": 10, "t": 30, "b": 46},
        "autosize": True,
        "showlegend": False,
        "hovermode": "closest",
        "barmode": "overlay",
        "bargap": 0,
        "dragmode": _DRAG_MODES["rectangle"],
        "xaxis": {"domain": [0.0, 0.42], **titled("r")},
        "yaxis": {**titled("neurons"), "rangemode": "tozero"},
        "xaxis2": {"domain": [0.56, 1.0], "anchor": "y2"},
        "yaxis2": {"anchor": "x2", **titled("r")},
    }


def _axis(across: Across) -> dict[str, Any]:
    title = {"title": {"text": look.hover(across.label)}}
    if not across.words:
        return {**title, "tickmode": "auto", "tickvals": None, "ticktext": None}
    words = [look.hover(word) for word in across.words]
    return {
        **title, "tickmode": "array", "tickvals": list(range(len(words))),
        "ticktext": words,
    }  # fmt: skip


def _hover(across: Across) -> str:
    other = "" if across.words else f"<br>{look.hover(across.label)} %{{x:.4g}}"
    return f"neuron %{{customdata}}<br>r = %{{y:.2f}}{other}<extra></extra>"


def _lines(mean: float | None, scores: np.ndarray, across: Across) -> list[Any]:
    """The mean over the histogram; where both axes are scores, where they are equal."""
    line = {"color": look.ink("dark"), "width": 1, "dash": "dash"}
    ends = {"y0": 0, "y1": 1, "yref": "y domain"}
    lines = []
    if mean is not None:
        lines.append({"type": "line", "line": line, "x0": mean, "x1": mean, **ends})
    if across.is_score and across.is_known:
        both = np.concatenate([scores, across.values[np.isfinite(across.values)]])
        low, high = float(both.min()), float(both.max())
        where = {"xref": "x2", "yref": "y2", "layer": "below"}
        ends = {"x0": low, "y0": low, "x1": high, "y1": high}
        lines.append({"type": "line", "line": line, **where, **ends})
    return lines


def _note(words: str) -> list[dict[str, Any]]:
    """Over the points, why there are none."""
    place = {"xref": "x2 domain", "yref": "y2 domain", "x": 0.5, "y": 0.5}
    note = {**place, "text": _broken(words), "showarrow": False}
    return [note] if words else []


def _broken(words: str, length: int = 32) -> str:
    """In lines as wide as there is room for."""
    return "<br>".join(look.hover(line) for line in textwrap.wrap(words, length))
