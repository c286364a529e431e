"""What the parts that draw rows of curves share: the message, cursor and colours."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from traitlets import Dict, Int, Unicode

from omnimouse_model.live.controller import Controller
from omnimouse_widgets import palette
from omnimouse_widgets.drawn.model.freshness import freshness_words
from omnimouse_widgets.drawn.traces.options import Scale
from omnimouse_widgets.drawn.traces.row import Trace, has_overlay, row_ranges
from omnimouse_widgets.drawn.traces.time_axis import cursor_s, move_cursor
from omnimouse_widgets.jupyter.transport.part import Drawn, Part

COLOURS: Final[dict[str, Any]] = {
    "truth": palette.HELD,
    "predicted": palette.PREDICTED,
    "baseline": palette.BASELINE,
    "pins": palette.PINS,
    "states": palette.STATE_COLOURS,
    "cursor": palette.CURSOR,
    "axis": palette.AXIS,
}


class TraceStack(Part):
    """Rows of recorded against predicted values on one time axis, with the cursor.

    Attributes
    ----------
    cursor
        The sample of the window at which the cursor stands, 0-59.
    height
        Of the plot, in the page's pixels; where there are more rows than fit, they
        scroll.
    status
        How fresh the prediction is, and how long it took; to be read.
    """

    REST_S = 0.05
    AHEAD = 3

    cursor = Int(0).tag(sync=True)
    height = Int(360, min=80).tag(sync=True)
    status = Unicode("", read_only=True)
    _colours = Dict(COLOURS).tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        super().__init__(controller, **traits)
        state, results = controller.state, controller.results
        events = state.events
        self.bind("cursor", events.cursor, lambda: state.cursor, controller.set_cursor)
        self.bind("status", results.changed, self._freshness)

    def is_awaiting(self) -> bool:
        """Whether the selected neurons' prediction is on its way."""
        return self.controller.results.freshness in ("stale", "running")

    def common_parts(self) -> list[Drawn]:
        """Draw the cursor, and how fresh the curves are."""
        events, results = self.controller.state.events, self.controller.results
        return [
            Drawn(self._draw_cursor, [events.cursor], [events.window]),
            Drawn(self._draw_status, answers=[results.changed]),
        ]

    def show_rows(
        self, rows: Sequence[Trace], scale: Scale, missing: str, *, answered: int = 0
    ) -> None:
        """Draw these rows; `missing` says why there is none.

        `answered` is the number of the question whose answer they show at least.
        """
        fields, buffers = rows_message(rows, scale)
        missing = "" if rows else missing
        self.keep("rows", buffers, missing=missing, answered=answered, **fields)

    # -- from the page ----------------------------------------------------------------
    def on_move(self, content: dict[str, Any], _: Any) -> None:
        """Put the cursor where somebody pressed."""
        self.move_cursor(float(content["time_s"]))
        # To the middle of the sample, also where that is the cursor's already.
        self.say("cursor", time_s=cursor_s(self.controller))

    def on_steps(self, content: dict[str, Any], _: Any) -> None:
        """Step the cursor by samples, or the window by its length."""
        if content.get("windows"):
            self.controller.step_window(int(content["windows"]))
        if content.get("samples"):
            self.controller.step_cursor(int(content["samples"]))

    def move_cursor(self, time_s: float) -> None:
        """To a time on the session clock."""
        move_cursor(self.controller, time_s)

    # -- within -----------------------------------------------------------------------
    def _draw_cursor(self) -> None:
        self.keep("cursor", time_s=cursor_s(self.controller))

    def _draw_status(self) -> None:
        self.keep("status", words=self._freshness())

    def _freshness(self) -> str:
        sign, _, words = freshness_words(self.controller.results, is_long=False)
        return f"{sign} {words}"


def rows_message(
    rows: Sequence[Trace], scale: Scale
) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Rows as fields, and two buffers: float32 of times and curves, uint8 of shades.

    The first buffer holds the different time axes, in seconds from `start_s`, each
    `lengths` long; then for every row the curves named in `curves`, NaN where there
    is nothing, on the axis `axis` of the row.
    """
    if not rows:
        return {"rows": [], "curves": [], "lengths": [], "n_shades": 0}, []
    start_s, stop_s = rows[0].extent
    axes = list({id(row.time): row.time for row in rows}.values())
    axis_of = {id(time): number for number, time in enumerate(axes)}
    curves = _curves_of(rows)
    ranges = row_ranges(rows, scale, rows)
    drawn = [(time - start_s).astype(np.float32) for time in axes]
    drawn += [_values(row, curve) for row in rows for curve in curves]
    shade_s = rows[0].shade_span or rows[0].extent
    fields = {
        "start_s": start_s,
        "stop_s": stop_s,
        "shade_s": list(shade_s),
        "n_shades": len(rows[0].shade),
        "curves": curves,
        "lengths": [len(time) for time in axes],
        "is_stale": any(row.is_stale for row in rows),
        "is_baseline_stale": any(row.is_baseline_stale for row in rows),
        "rows": [
            {
                "label": row.label,
                "short": row.short_label,
                "marks": row.marks,
                "axis": axis_of[id(row.time)],
                "low": low,
                "span": span,
            }
            for row, (low, span) in zip(rows, ranges, strict=True)
        ],
    }
    shades = np.concatenate([row.shade for row in rows])
    return fields, [np.concatenate(drawn), shades.astype(np.uint8)]


def _curves_of(rows: Sequence[Trace]) -> list[str]:
    """Names of the curves that any row has; a pin's is its slot."""
    named = [
        name
        for name in ("truth", "predicted", "baseline")
        if any(getattr(row, name) is not None for row in rows)
    ]
    n_slots = max(len(row.overlays) for row in rows)
    return named + [
        str(slot)
        for slot in range(n_slots)
        if any(has_overlay(row, slot) for row in rows)
    ]


def _values(row: Trace, curve: str) -> np.ndarray:
    values = None
    if not curve.isdigit():
        values = getattr(row, curve)
    elif has_overlay(row, int(curve)):
        values = row.overlays[int(curve)]
    if values is None:
        return np.full(len(row.time), np.nan, np.float32)
    return np.asarray(values, np.float32)
