"""Plotly figure of scores: histogram, and scatter plot against another quantity.

The figure is one plotly widget, which is changed in place; the caller waits until the
page has drawn. The script of `NeuronScores` sends the selected bars and points with
the number of their trace, `BARS` or `POINTS`, because plotly's own selection messages
can be lost among its pointer messages.
"""

import textwrap
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from omnimouse_model.metrics.named import Metric
from omnimouse_widgets import palette
from omnimouse_widgets.drawn.neurons.score_distribution import (
    ScoreDistribution,
    SecondQuantity,
)
from omnimouse_widgets.figures import style
from omnimouse_widgets.jupyter.transport.plotly_widget import new_figure_widget

HEIGHT: Final = 340
BARS: Final = 0
POINTS: Final = 2
OLD_OPACITY: Final = 0.45
_ALL: Final = {"color": palette.VISIBLE_RING}
_SELECTED: Final = {"color": palette.SELECTED}
_DRAG_MODES: Final = {"rectangle": "select", "lasso": "lasso"}


class ScoreChart:
    """Bars and points of one plotly widget, `figure`; selected neurons are white."""

    def __init__(self) -> None:
        # Four traces: bars and points of all neurons, each followed by an overlay with
        # the selected ones. `BARS` and `POINTS` are the places of the first of each.
        bars = {"type": "bar", "xaxis": "x", "yaxis": "y", "x": [], "y": []}
        # scattergl draws with WebGL: SVG points are too slow for 10,000 neurons.
        points = {
            "type": "scattergl", "mode": "markers", "xaxis": "x2", "yaxis": "y2",
            "x": [], "y": [],
        }  # fmt: skip
        # plotly fades unselected points by default; the overlays show the selection.
        opaque = {"marker": {"opacity": 1.0}}
        unfaded = {"selected": opaque, "unselected": opaque}
        silent = {"hoverinfo": "skip", **unfaded}
        self.figure: Any = new_figure_widget(
            [
                {**bars, "marker": _ALL, **unfaded},
                {**bars, "marker": _SELECTED, **silent},
                {**points, "marker": {**_ALL, "size": 5}, **unfaded},
                {**points, "marker": {**_SELECTED, "size": 7, "symbol": "circle",
                                      "line": {"color": "#16181D", "width": 1}},
                 **silent},
            ],
            _layout(),
        )  # fmt: skip
        # The style sheet hides the outline that plotly keeps of the last selection: it
        # would receive the next drag.
        self.figure.add_class("omnimouse-plot")
        self.figure.add_class("omnimouse-curves")
        self._bars, self._selected_bars, self._points, self._selected = self.figure.data
        self._spread: ScoreDistribution | None = None

    def show_distribution(
        self,
        spread: ScoreDistribution,
        across: SecondQuantity,
        *,
        is_old: bool,
        missing: str = "",
    ) -> None:
        """Draw the bars, and the points in the order of `spread.neurons`.

        `missing` is the reason if there are none; it stands in their place.
        """
        width = float(np.diff(spread.edges)[0]) if len(spread.counts) else 1.0
        scores, values = spread.scores, across.values
        opacity = OLD_OPACITY if is_old else 1.0
        figure, self._spread = self.figure, spread
        mean = float(scores.mean()) if len(scores) else None
        symbol = spread.metric.symbol
        with figure.batch_update():
            figure.layout.xaxis.title.text = figure.layout.yaxis2.title.text = symbol
            hover = f"{symbol} %{{x:.3f}}: %{{y}} neurons<extra></extra>"
            self._bars.hovertemplate = hover
            for trace in (self._bars, self._selected_bars):
                trace.update(x=spread.places, width=0.92 * width, opacity=opacity)
            self._bars.y = spread.counts
            # float32: half the bytes of a message.
            self._points.update(x=np.float32(values), y=np.float32(scores), opacity=opacity)
            self._points.hovertemplate = _hover(across, spread.metric)
            figure.layout.xaxis2.update(_axis(across))
            figure.layout.shapes = _lines(mean, scores, across)
            problem = "" if across.is_known or not len(scores) else across.problem
            figure.layout.annotations = [
                *_note(missing, "x domain", "y domain"),
                *_note(problem, "x2 domain", "y2 domain"),
            ]

    def show_names(self, names: np.ndarray) -> None:
        """Set the neuron ids that the hover texts show."""
        self._points.customdata = names

    def show_selection(self, neurons: Sequence[int], across: SecondQuantity) -> None:
        """Draw the selected neurons in white over bars and points."""
        spread = self._spread
        if spread is None:
            return
        is_selected = np.isin(spread.neurons, neurons)
        # One message for all traces: without the batch, each assignment sends its own.
        with self.figure.batch_update():
            self._selected_bars.y = spread.counts_of(neurons)
            self._selected.update(
                x=np.float32(across.values[is_selected]),
                y=np.float32(spread.scores[is_selected]),
            )

    def set_tool(self, tool: str) -> None:
        """Set the tool of a drag: "rectangle" or "lasso"."""
        self.figure.layout.dragmode = _DRAG_MODES[tool]


def _layout() -> dict[str, Any]:
    return {
        "template": style.template("dark"),
        "height": HEIGHT,
        "margin": {"l": 46, "r": 10, "t": 30, "b": 46},
        "autosize": True,
        "showlegend": False,
        "hovermode": "closest",
        "barmode": "overlay",
        "bargap": 0,
        # A drag selects; zooming would make it ambiguous.
        "dragmode": _DRAG_MODES["rectangle"],
        "xaxis": style.titled("r", domain=[0.0, 0.42]),
        "yaxis": style.titled("neurons", rangemode="tozero"),
        "xaxis2": {"domain": [0.56, 1.0], "anchor": "y2"},
        "yaxis2": style.titled("r", anchor="x2"),
    }


def _axis(across: SecondQuantity) -> dict[str, Any]:
    title = style.hover(across.label)
    # An update keeps fields that it does not name: reset the ticks of an earlier
    # categorical quantity.
    if not across.categories:
        return style.titled(title, tickmode="auto", tickvals=None, ticktext=None)
    labels = [style.hover(label) for label in across.categories]
    places = list(range(len(labels)))
    return style.titled(title, tickmode="array", tickvals=places, ticktext=labels)


def _hover(across: SecondQuantity, metric: Metric) -> str:
    # The horizontal position of a categorical quantity is jittered and says nothing.
    other = "" if across.categories else f"<br>{style.hover(across.label)} %{{x:.4g}}"
    score = metric.named("%{y:.2f}")
    return f"neuron %{{customdata}}<br>{score}{other}<extra></extra>"


def _lines(mean: float | None, scores: np.ndarray, across: SecondQuantity) -> list[Any]:
    """Return the mean line of the histogram, and the identity line of two scores."""
    colour, lines = style.TEXT["dark"], []
    if mean is not None:
        ends = (mean, mean)
        lines.append(style.line_shape(ends, (0, 1), colour, yref="y domain"))
    if across.is_score and across.is_known:
        both = np.concatenate([scores, across.values[np.isfinite(across.values)]])
        ends = (float(both.min()), float(both.max()))
        axes = {"xref": "x2", "yref": "y2", "layer": "below"}
        lines.append(style.line_shape(ends, ends, colour, **axes))
    return lines


def _note(text: str, xref: str, yref: str) -> list[dict[str, Any]]:
    """Return the message shown in place of marks; [] for an empty text."""
    place = {"xref": xref, "yref": yref, "x": 0.5, "y": 0.5}
    note = {**place, "text": _wrapped(text), "showarrow": False}
    return [note] if text else []


def _wrapped(text: str, length: int = 32) -> str:
    """Wrap a text at `length` characters; plotly annotations do not wrap."""
    return "<br>".join(style.hover(line) for line in textwrap.wrap(text, length))
