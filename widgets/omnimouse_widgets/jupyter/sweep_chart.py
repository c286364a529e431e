"""Plotly figure of context curves: one widget that is changed in place.

The caller waits until the page has drawn.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from omnimouse_model.analysis.sweep.plan import AXES
from omnimouse_model.analysis.sweep.table import RESPONSES
from omnimouse_model.live.sweep.current_point import CurrentPoint
from omnimouse_widgets.drawn.context.points import DrawnSweep, PointCache
from omnimouse_widgets.figures import style
from omnimouse_widgets.figures.sweep import (
    CURVE_KEYS,
    CurveKey,
    axis_fields,
    curve_style,
    line_legend,
    mark_parts,
    score_range,
    score_title,
    sweep_layout,
    sweep_traces,
)
from omnimouse_widgets.jupyter.transport.plotly_widget import new_figure_widget

HEIGHT: Final = 300
_NOTHING: Final[dict[str, Any]] = {
    "x": [],
    "y": [],
    "error_y": style.bars([], np.empty(0)),
    "hovertext": [],
    "opacity": 1.0,
}
_NO_LINE: Final = {"name": "", "showlegend": False}
_NO_STAR: Final[dict[str, Any]] = {"x": [], "y": [], "showlegend": False}


class SweepChart:
    """Curves, mark and message of one plotly widget, `figure`."""

    def __init__(self) -> None:
        curves = [{**curve_style(key, "dark"), **_NOTHING} for key in CURVE_KEYS]
        # All possible traces exist from the start, empty: adding or removing a plotly
        # trace later redraws the figure.
        names = [("", line) for line in range(len(style.DASHES))]
        lines = [{**line, **_NO_LINE} for line in line_legend(names, "dark")]
        stars = [{**_NO_STAR, "type": "scatter", "xaxis": x} for x in ("x", "x2")]
        layout = {
            **sweep_layout([], AXES, RESPONSES),
            "template": style.template("dark"),
            "height": HEIGHT,
            "margin": {"l": 56, "r": 12, "t": 34, "b": 56},
            "autosize": True,
            "dragmode": False,
        }
        self.figure: Any = new_figure_widget([*curves, *lines, *stars], layout)
        self.figure.add_class("omnimouse-curves")
        traces = self.figure.data
        self._curves: dict[CurveKey, Any] = dict(zip(CURVE_KEYS, traces, strict=False))
        self._lines = traces[len(CURVE_KEYS) : -len(stars)]
        self._stars = dict(zip(AXES, traces[-len(stars) :], strict=True))
        self._spots = PointCache()
        self._traces: dict[CurveKey, dict[str, Any]] = {}
        self._names_and_axes: Any = None
        self._mark: CurrentPoint | None = None
        self._message = ""

    def show_sweeps(self, drawn: Sequence[DrawnSweep], hidden: Sequence[str] = ()) -> None:
        """Draw the sweeps, except the conditions in `hidden`; send only changes."""
        traces = sweep_traces(drawn, hidden=hidden, theme="dark", cache=self._spots)
        names = [(sweep.name, sweep.line) for sweep in drawn]
        axes = [axis_fields(drawn, axis) for axis in AXES]
        with self.figure.batch_update():
            for key, trace in self._curves.items():
                fields = traces.get(key, _NOTHING)
                if fields != self._traces.get(key, _NOTHING):
                    trace.update(fields)
            self._traces = traces
            title = score_title(drawn)
            if (names, axes, title) != self._names_and_axes:
                self._names_and_axes = names, axes, title
                self.figure.layout.yaxis.title.text = title
                self._show_names_and_axes(names, axes)
            self._fit()

    def show_mark(self, mark: CurrentPoint | None) -> None:
        """Mark the current request; None removes the mark."""
        if repr(mark) == repr(self._mark):  # repr: a NaN score is not equal to itself
            return
        self._mark = mark
        stars, lines = mark_parts(mark, AXES, "dark")
        with self.figure.batch_update():
            for axis, trace in self._stars.items():
                trace.update(stars.get(axis, _NO_STAR))
            self.figure.layout.shapes = lines
            self._fit()

    @property
    def has_points(self) -> bool:
        """Whether any curve has a point."""
        return any(len(trace["x"]) for trace in self._traces.values())

    def show_message(self, text: str) -> None:
        """Show a message in place of curves; "" removes it."""
        if text == self._message:
            return
        self._message = text
        place = {"xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5}
        note = {**place, "text": style.hover(text), "showarrow": False}
        self.figure.layout.annotations = [note] if text else []

    def points(self, key: CurveKey) -> list[tuple[float, float, float]]:
        """Return (place, score, bar above it) of the points of one curve."""
        trace = self._curves[key]
        bars = trace.error_y.array
        # Not strict: the drawing thread may be replacing the arrays, one by one.
        return list(zip(trace.x, trace.y, bars, strict=False))

    def _show_names_and_axes(
        self, names: Sequence[tuple[str, int]], axes: Sequence[dict[str, Any]]
    ) -> None:
        """Set the ticks, and the line names if there are several sweeps."""
        labels = {line: name for name, line in names if len(names) > 1}
        for line, trace in enumerate(self._lines):
            trace.update(name=style.hover(labels.get(line, "")), showlegend=line in labels)
        self.figure.layout.xaxis.update(axes[0])
        self.figure.layout.xaxis2.update(axes[1])

    def _fit(self) -> None:
        # An equal range is still a message to the page: assign it only if it changed.
        limits = tuple(score_range(self._traces, self._mark))
        if self.figure.layout.yaxis.range != limits:
            self.figure.layout.yaxis.range = limits
