"""Traces of the static picture: recorded and predicted responses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from omnimouse_model.live.controller import Controller
from omnimouse_model.masks import TARGET, VISIBLE
from omnimouse_widgets import palette
from omnimouse_widgets.jupyter.snapshot.drawing import (
    EDGE,
    GAP,
    QUIET,
    TEXT,
    WIDTH,
    Sheet,
    blended_over,
    cut,
)
from omnimouse_widgets.views.rows.raster import groups
from omnimouse_widgets.views.rows.traces import Trace, low_and_scale, time_extent
from omnimouse_widgets.views.traces import shown_name

COLUMNS: Final = 2
ROW: Final = 58
"""Height in points of a row: label, then curves."""
LABEL: Final = 16
LEGEND: Final = 24
HEIGHT: Final = ROW - LABEL - 4
SHADES: Final = {VISIBLE: 0.18, TARGET: 0.09}
"""Opacity of the shade of a sample, by its state."""
DASHED: Final = (5.0, 3.0)
DOTTED: Final = (1.5, 2.5)


@dataclass(frozen=True, slots=True, eq=False)
class _Curve:
    """Name, appearance and values of a curve; `dashes` are (on, off) in points."""

    name: str
    colour: str
    dashes: tuple[float, float] | None
    values: np.ndarray | None = None


def traces_height(n_traces: int) -> int:
    """Return the height in points of the rows and their legend; 0 without traces."""
    # -(-n // m) rounds up.
    return -(-n_traces // COLUMNS) * ROW + LEGEND if n_traces else 0


def draw_traces(
    sheet: Sheet,
    controller: Controller,
    traces: Sequence[Trace],
    top: float,
    n_omitted: int,
) -> None:
    """Draw the traces in two columns, with a legend below them."""
    width = (WIDTH - 2 * EDGE - 2 * GAP * (COLUMNS - 1)) / COLUMNS
    # On a common scale, all rows have the range of the widest one.
    widest = max(low_and_scale(trace)[1] for trace in traces)
    for number, trace in enumerate(traces):
        line, column = divmod(number, COLUMNS)
        x, y = EDGE + column * (width + 2 * GAP), top + line * ROW
        span = widest if controller.state.common_scale else low_and_scale(trace)[1]
        _draw_trace(sheet, controller, trace, _Row(x, y, width, trace.extent), span)
    first, last = traces[0].extent
    more = f" · {n_omitted:,} more selected" if n_omitted else ""
    y = top + traces_height(len(traces)) - LEGEND + 4
    unit = " · spikes/s" if controller.state.spec.responses == "count" else ""
    text = f"{first:z.1f} to {last:z.1f} s{unit}{more}"
    x = sheet.text(EDGE, y, text, QUIET, 10) + 20
    for curve in _curves(controller, traces):
        sheet.line([(x, y + 7), (x + 20, y + 7)], curve.colour, curve.dashes)
        x = sheet.text(x + 25, y, cut(curve.name, 140, 10), QUIET, 10) + 14


@dataclass(frozen=True, slots=True)
class _Row:
    """Position and width of a row in points, and its time range in seconds."""

    x: float
    y: float
    width: float
    extent: tuple[float, float]

    def across(self, times: np.ndarray | float) -> np.ndarray:
        """Return the horizontal positions of times."""
        start, stop = self.extent
        return self.x + (np.asarray(times, float) - start) / (stop - start) * self.width


def _draw_trace(sheet: Sheet, controller: Controller, trace: Trace, row: _Row, span: float) -> None:
    top, low = row.y + LABEL, low_and_scale(trace)[0]
    _shade(partial(sheet.box, y=top, height=HEIGHT), trace, row)
    end = sheet.text(row.x, row.y, cut(trace.label, 0.6 * row.width), TEXT)
    for letter, score, colour in trace.marks:
        end = sheet.text(end + 10, row.y, f"{letter} {score}", colour)
    for curve in _curves(controller, [trace]):
        if curve.values is not None:
            # Vertical positions increase downwards.
            down = top + HEIGHT * (1 - (curve.values - low) / span)
            places = np.stack([row.across(trace.time), down], axis=1)
            sheet.line(places, curve.colour, curve.dashes)
    # The cursor is a sample of the window; a longer span is drawn without it.
    window = controller.state.window
    if window is not None and controller.pins.predictions.page is None:
        times = window.timestamps["responses"]
        at = float(row.across(times[min(controller.state.cursor, len(times) - 1)]))
        sheet.line([(at, top), (at, top + HEIGHT)], palette.CURSOR)


def _shade(box: Callable[..., None], trace: Trace, row: _Row) -> None:
    """Shade the samples by their state in the mask."""
    start, stop = trace.shade_span or time_extent(trace.time)
    step = (stop - start) / max(len(trace.shade), 1)
    for first, last, code in groups(trace.shade):
        if code in SHADES:
            left, right = row.across(np.array([first, last]) * step + start)
            colour = blended_over(palette.STATE_COLOURS[code], SHADES[code])
            box(x=float(left), width=float(right - left), colour=colour)


def _curves(controller: Controller, traces: Sequence[Trace]) -> list[_Curve]:
    """Return the curves of any of the rows in drawing order, with values of the first.

    The order is recorded, pins, baseline, predicted; later curves are on top.
    """
    state, first = controller.state, traces[0]
    curves = [_Curve("recorded", palette.RECORDED, None, first.truth)]
    for pin in state.pins:
        if pin.is_shown:
            # A pin without a prediction yet has no overlay.
            has_values = pin.slot < len(first.overlays)
            values = first.overlays[pin.slot] if has_values else None
            name = f"{pin.letter} {shown_name(pin, state.pins)}"
            curves.append(_Curve(name, palette.PINS[pin.slot], None, values))
    if any(trace.baseline is not None for trace in traces):
        colour = blended_over(palette.BASELINE, 0.5 if first.is_baseline_stale else 1)
        name = Path(state.baseline_name).name
        curves.append(_Curve(name, colour, DOTTED, first.baseline))
    if any(trace.predicted is not None for trace in traces):
        colour = blended_over(palette.PREDICTED, 0.5 if first.is_stale else 1)
        name = "predicted, of an older request" if first.is_stale else "predicted"
        curves.append(_Curve(name, colour, DASHED, first.predicted))
    return curves
