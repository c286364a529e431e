"""Base class of the parts that draw rows of curves, and the message they send."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from traitlets import Dict, Int, Unicode

from omnimouse_model.live.controller import Controller
from omnimouse_widgets import palette
from omnimouse_widgets.drawn.traces.options import Scale
from omnimouse_widgets.drawn.traces.row import Trace, has_overlay, row_ranges
from omnimouse_widgets.drawn.traces.time_axis import cursor_s, move_cursor
from omnimouse_widgets.jupyter.transport.part import Drawing, Part
from omnimouse_widgets.views.model import freshness_text

COLOURS: Final[dict[str, Any]] = {
    "truth": palette.RECORDED,
    "predicted": palette.PREDICTED,
    "baseline": palette.BASELINE,
    "band": palette.BAND,
    "pins": palette.PINS,
    "states": palette.STATE_COLOURS,
    "cursor": palette.CURSOR,
    "axis": palette.AXIS,
}
LIMITS: Final = ("low", "high")
"""Names of the limits of a band among the curves of a message."""


class TraceMessage(Part):
    """Rows of recorded and predicted values on one time axis, with a cursor.

    Attributes
    ----------
    cursor
        Sample of the window at the cursor, from 0.
    height
        Height of the plot in CSS pixels; rows that do not fit can be scrolled to.
    status
        Age and duration of the prediction, as text; read-only.
    """

    # At most 20 drawings per second: each one sends all rows, up to 64, again.
    INTERVAL_S = 0.05
    AHEAD = 3

    cursor = Int(0).tag(sync=True)
    height = Int(360, min=80).tag(sync=True)
    status = Unicode("", read_only=True)
    _colours = Dict(COLOURS).tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        super().__init__(controller, **traits)
        results = controller.results
        self.bind_field("cursor", controller.navigation.set_cursor)
        self.bind("status", results.changed, self._freshness)

    def is_awaiting(self) -> bool:
        """Return whether the prediction of the selected neurons is still to come."""
        return self.controller.results.freshness in ("stale", "running")

    def common_drawings(self) -> list[Drawing]:
        """Return the drawing functions of the cursor and of the status text."""
        events, results = self.controller.state.events, self.controller.results
        return [
            Drawing(self._draw_cursor, [events.cursor], [events.window]),
            Drawing(self._draw_status, results=[results.changed]),
        ]

    def show_rows(
        self, rows: Sequence[Trace], scale: Scale, missing: str, *, request: int = 0
    ) -> None:
        """Draw the rows; with no rows, show the message `missing`.

        `request` is the number of the request whose result the rows show. The rows
        can be newer, never older.
        """
        fields, buffers = rows_message(rows, scale)
        missing = "" if rows else missing
        self.add_if_changed("rows", buffers, missing=missing, request=request, **fields)

    # -- from the page ----------------------------------------------------------------
    def on_move(self, content: dict[str, Any], _: Any) -> None:
        """Move the cursor to the time at the pointer."""
        self.move_cursor(float(content["time_s"]))
        # The page drew the cursor at the pointer. Send the time of the sample even if
        # the cursor did not change, because no signal is emitted in that case.
        self.send_now("cursor", time_s=cursor_s(self.controller.state))

    def move_cursor(self, time_s: float) -> None:
        """Move the cursor to a time in seconds on the session clock."""
        move_cursor(self.controller.state, self.controller.navigation, time_s)

    # -- to the page ------------------------------------------------------------------
    def _draw_cursor(self) -> None:
        self.add_if_changed("cursor", time_s=cursor_s(self.controller.state))

    def _draw_status(self) -> None:
        self.add_if_changed("status", text=self._freshness())

    def _freshness(self) -> str:
        sign, _, text = freshness_text(self.controller.results, is_long=False)
        return f"{sign} {text}"


def rows_message(rows: Sequence[Trace], scale: Scale) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Return the fields of a message with rows of curves, and its two buffers.

    The first buffer is float32. It contains the distinct time axes in seconds from
    `start_s`, with the numbers of points in `lengths`; then, for every row, the curves
    named in `curves` on time axis number `axis` of the row, NaN where a curve has no
    value. The second buffer is uint8: the shade of each sample, row by row.
    """
    if not rows:
        return {"rows": [], "curves": [], "lengths": [], "n_shades": 0}, []
    start_s, stop_s = rows[0].extent
    # Rows share the array of their time axis. Comparing by identity sends each axis
    # once and compares no values.
    axes = list({id(row.time): row.time for row in rows}.values())
    axis_of = {id(time): number for number, time in enumerate(axes)}
    curves = _curves_of(rows)
    ranges = row_ranges(rows, scale, rows)
    # Subtract in float64: the resolution of float32 falls with the session time.
    numbers = [(time - start_s).astype(np.float32) for time in axes]
    numbers += [_values(row, curve) for row in rows for curve in curves]
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
                "bar": row.bar,
                "predicted_bar": row.predicted_bar,
            }
            for row, (low, span) in zip(rows, ranges, strict=True)
        ],
    }
    shades = np.concatenate([row.shade for row in rows])
    return fields, [np.concatenate(numbers), shades.astype(np.uint8)]


def _curves_of(rows: Sequence[Trace]) -> list[str]:
    """Return the names of the curves of any row; a pin's name is its slot number."""
    names = [
        name
        for name in ("truth", "predicted", "baseline")
        if any(getattr(row, name) is not None for row in rows)
    ]
    if any(row.band is not None for row in rows):
        names += LIMITS
    n_slots = max(len(row.overlays) for row in rows)
    return names + [
        str(slot) for slot in range(n_slots) if any(has_overlay(row, slot) for row in rows)
    ]


def _values(row: Trace, curve: str) -> np.ndarray:
    values = None
    if curve in LIMITS:
        values = None if row.band is None else row.band[LIMITS.index(curve)]
    elif not curve.isdigit():
        values = getattr(row, curve)
    elif has_overlay(row, int(curve)):
        values = row.overlays[int(curve)]
    if values is None:
        return np.full(len(row.time), np.nan, np.float32)
    return np.asarray(values, np.float32)
