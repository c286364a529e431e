"""Samples and seconds of streams of unequal rate, in float64 exactly as recorded.

Indices are computed in the session's native clock (often Unix-epoch-like numbers).
Formulas that are equal in algebra but not in rounding choose other samples when the
query grid is commensurate with the data grid, which is the normal case (30 Hz on
30 Hz). The order of operations below is therefore part of the format.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

GRID_RATE_HZ = 30.0
"""Points per second of the start grid: a constant of the format, equal for all specs.

Starts of the official evaluation are defined on this grid.
"""
_EDGE_MARGIN_S = 0.5
_FRAME_TOLERANCE_S = 1e-4
_GAP_MARGIN_S = 0.05
# Positions of the longest usual window: making them anew costs more than a slice.
_POSITIONS = np.arange(1024, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Interval:
    """A closed span of native time."""

    start: float
    stop: float

    def contains(self, times: Float64[np.ndarray, " time"]) -> Bool[np.ndarray, " time"]:
        """bool per time, both ends included."""
        return (times >= self.start) & (times <= self.stop)


def previous_index(
    times: Float64[np.ndarray, " time"],
    start: float,
    rate_hz: float,
    shift: Float64[np.ndarray, " column"] | None = None,
) -> Int64[np.ndarray, "time ..."]:
    """Index of the last sample at or before each time: the floor rule.

    Returns int64 (time,), or (time, column) with a shift per column. Not clipped.
    """
    # Division by the step, not multiplication by the rate: they round differently.
    step = 1.0 / rate_hz
    shifted = times if shift is None else times[:, None] - shift[None, :]
    return np.floor((shifted - start) / step).astype(np.int64)


def frame_slot(
    times: Float64[np.ndarray, " time"], slot_times: Float64[np.ndarray, " slot"]
) -> Int64[np.ndarray, " time"]:
    """Slot on screen at each time: the last with onset before time + 0.1 ms."""
    return np.searchsorted(slot_times, times + _FRAME_TOLERANCE_S) - 1


def window_times(start: float, rate_hz: float, count: int) -> Float64[np.ndarray, " time"]:
    """Sample times of a window that begins at `start`, float64 (count,)."""
    is_usual = count <= len(_POSITIONS)
    positions = _POSITIONS[:count] if is_usual else np.arange(float(count))
    return times_at(positions, start, rate_hz, count)


def times_at(
    positions: Float64[np.ndarray, " time"], start: float, rate_hz: float, count: int
) -> Float64[np.ndarray, " time"]:
    """Times of samples counted from a window's first, in the window and beyond."""
    # The operations of linspace(start, start + count / rate, count, endpoint=False).
    step = ((start + count / rate_hz) - start) / count
    return positions * step + start


def common_interval(intervals: list[Interval]) -> Interval:
    """Span that all streams cover, less the margin of 0.5 s at both ends."""
    # The margin also covers official sessions, whose declared end of the responses
    # lies up to 7 samples after the last one.
    return Interval(
        max(i.start for i in intervals) + _EDGE_MARGIN_S,
        min(i.stop for i in intervals) - _EDGE_MARGIN_S,
    )


def grid_points(duration_s: float) -> int:
    """Points of the start grid that a window of this duration covers.

    Examples
    --------
    >>> from omnimouse_model.data.clock import grid_points
    >>> grid_points(2.0), grid_points(0.51)
    (60, 16)
    """
    # 0.1 s has no exact binary value, and must not cover one point more.
    return max(1, int(np.ceil(duration_s * GRID_RATE_HZ - 1e-6)))


def start_grid(
    common: Interval, recorded_spans: Float64[np.ndarray, "span 2"] | None = None
) -> Float64[np.ndarray, " point"]:
    """Times, 30 per second, at which a window can begin; its frames lie on this grid.

    `arange` is part of the format: its steps are `(lo + 1/30) - lo`, which at
    epoch-like times is not 1/30. Points in a pause, between two recorded spans, are
    left out, so that a pause costs no memory.
    """
    step = 1.0 / GRID_RATE_HZ
    if recorded_spans is None:
        return np.arange(common.start, common.stop, step)
    # The same times as those of `arange` over the whole interval.
    n_points = max(0, int(np.ceil((common.stop - common.start) / step)))
    step = (common.start + step) - common.start
    # Points from the first sample of a span to its last one, up to rounding.
    place = (recorded_spans - common.start) / step
    edges = np.stack([np.ceil(place[:, 0] - 1e-4), np.floor(place[:, 1] + 1e-4) + 1], 1)
    edges = np.clip(edges, 0, n_points).astype(np.int64)
    # Each point once, also at a joint of two spans.
    edges[1:, 0] = np.maximum(edges[1:, 0], edges[:-1, 1])
    points = [np.arange(a, b) for a, b in edges.tolist() if a < b]
    return common.start + np.concatenate([np.zeros(0, np.int64), *points]) * step


def gap_reach(rate_hz: float) -> float:
    """Return the distance of windows from a gap: 0.05 s plus two samples, in seconds.

    The rule of the package revision with which the released models were trained.
    """
    return _GAP_MARGIN_S + max(2 * (1.0 / rate_hz), 0.1 * _GAP_MARGIN_S)


def spans_without_gaps(
    bad_rows: Int64[np.ndarray, " gap"], start: float, stop: float, rate_hz: float
) -> Float64[np.ndarray, "span 2"]:
    """Spans (n, 2) of [start, stop) away from rows that hold NaN.

    Each bad row also excludes the time around it: 0.05 s plus two samples (at least
    5 ms more). Gaps nearer than that to an end of the stream extend to that end.
    """
    if not len(bad_rows):
        return np.array([[start, stop]])
    step, reach = 1.0 / rate_hz, gap_reach(rate_hz)
    at = start + bad_rows * step
    low, high = np.maximum(start, at - reach), np.minimum(stop, at + reach)
    # The free spans lie between the end of all gaps so far and the next gap.
    begin = np.concatenate([[start], np.maximum.accumulate(high)])
    end = np.concatenate([low, [stop]])
    is_free = begin < end
    return np.stack([begin[is_free], end[is_free]], axis=1)


def points_inside(
    grid: Float64[np.ndarray, " point"], spans: Float64[np.ndarray, "span 2"]
) -> Bool[np.ndarray, " point"]:
    """bool per grid point: inside one of the half-open spans (n, 2)."""
    edges = np.searchsorted(grid, spans.reshape(-1, 2), side="left")
    # +1 at each begin and -1 at each end: the running sum counts the open spans.
    steps = np.zeros(len(grid) + 1, np.int64)
    np.add.at(steps, edges[:, 0], 1)
    np.add.at(steps, np.maximum(edges[:, 0], edges[:, 1]), -1)
    return np.cumsum(steps[:-1]) > 0


def full_window_starts(
    allowed: Bool[np.ndarray, " point"], length: int
) -> Int64[np.ndarray, " start"]:
    """Indices from which `length` consecutive grid points are all allowed."""
    if len(allowed) < length:
        return np.zeros(0, np.int64)
    total = np.concatenate([[0], np.cumsum(allowed)])
    return np.flatnonzero(total[length:] - total[:-length] == length)
