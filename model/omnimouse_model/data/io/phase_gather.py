"""Reading phase-shifted columns fast, with exactly the floor rule of `clock`.

The index of a column falls as its shift grows, in floating point too: subtraction,
division by a positive step and floor never reverse an order. Within one row the
indices of columns sorted by shift are therefore a staircase of very few steps. Its
edges are guessed by a search, checked with the exact formula on both sides, and only
a row where the check fails is computed in full.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, Shaped

from omnimouse_model.data.clock import previous_index

_SLACK = 1e-2


@dataclass(frozen=True, slots=True, eq=False)
class ShiftOrder:
    """Columns ranked by phase shift: `shift` ascending, `rank` of every column.

    `walled` is `shift` between -inf and inf: neighbours of the first and the last.
    """

    shift: Float64[np.ndarray, " column"]
    rank: Int64[np.ndarray, " column"]
    columns: Int64[np.ndarray, " column"]
    walled: Float64[np.ndarray, " wall"]

    @classmethod
    def of(cls, shift: Float64[np.ndarray, " column"]) -> "ShiftOrder":
        """Rank the columns of a stream."""
        order = np.argsort(shift, kind="stable")
        rank = np.empty(len(shift), np.int64)
        rank[order] = np.arange(len(shift))
        walled = np.concatenate([[-np.inf], shift[order], [np.inf]])
        return cls(shift[order], rank, np.arange(len(shift)), walled)


def shifted_rows(
    times: Float64[np.ndarray, " time"],
    start: float,
    rate_hz: float,
    shifts: ShiftOrder,
) -> tuple[Int64[np.ndarray, " time"], Int64[np.ndarray, "time step"]]:
    """Row read by every column: highest row (time,) and stairs (time, steps).

    In row k, column c reads `highest[k] - (number of stairs[k] <= rank[c])`.
    """
    highest = previous_index(times - shifts.shift[0], start, rate_hz)
    # Rounding may add a step to what the spread of shifts allows, never two.
    n_steps = int((shifts.shift[-1] - shifts.shift[0]) * rate_hz + _SLACK) + 1
    wanted = highest[:, None] - np.arange(n_steps)
    since = (times - start)[:, None] - wanted * (1.0 / rate_hz)
    stairs = shifts.shift.searchsorted(since, side="right")
    agreed = _are_edges(stairs, wanted, times, start, rate_hz, shifts)
    if not agreed.all():
        for row in np.flatnonzero(~agreed.all(axis=1)):
            at = times[row : row + 1]
            exact = previous_index(at, start, rate_hz, shifts.shift)[0]
            stairs[row] = np.searchsorted(-exact, -wanted[row], side="right")
    return highest, stairs


def _are_edges(
    stairs: Int64[np.ndarray, "time step"],
    wanted: Int64[np.ndarray, "time step"],
    times: Float64[np.ndarray, " time"],
    start: float,
    rate_hz: float,
    shifts: ShiftOrder,
) -> Bool[np.ndarray, "time step"]:
    """Whether column stairs-1 still reads `wanted` and column stairs does not."""
    step, at = 1.0 / rate_hz, times[:, None]
    last = np.floor((at - shifts.walled.take(stairs) - start) / step)
    after = np.floor((at - shifts.walled.take(stairs + 1) - start) / step)
    agreed: np.ndarray = (last >= wanted) & (after < wanted)
    return agreed


def gather_shifted(
    slab: Shaped[np.ndarray, "row column"],
    highest: Int64[np.ndarray, " time"],
    stairs: Int64[np.ndarray, "time step"],
    shifts: ShiftOrder,
    divisor: Float32[np.ndarray, " column"] | None = None,
) -> Float32[np.ndarray, "time column"]:
    """Take every column at its own row from a stored (row, column) array.

    Rows are taken one by one: the index then fits the fastest cache.

    Returns
    -------
    float32 (time, column), divided by `divisor` (column,) where one is given.
    """
    n_steps, n_columns = stairs.shape[1], len(shifts.rank)
    usual = stairs[len(stairs) // 2] if len(stairs) else np.zeros(n_steps, np.int64)
    usual_index = _flat_index(usual, shifts)
    odd = (stairs != usual).any(axis=1)
    flat = np.ascontiguousarray(slab, np.float32).reshape(-1)
    taken = np.empty((len(highest), n_columns), np.float32)
    firsts = ((highest - n_steps) * n_columns).tolist()
    for first, row, stair, is_odd in zip(
        firsts, taken, stairs, odd.tolist(), strict=True
    ):
        index = _flat_index(stair, shifts) if is_odd else usual_index
        flat[first : first + (n_steps + 1) * n_columns].take(index, None, row, "wrap")
    if divisor is not None:
        taken /= divisor
    return taken


def _flat_index(
    edges: Int64[np.ndarray, " step"], shifts: ShiftOrder
) -> Int64[np.ndarray, " column"]:
    """Place of every column in the n + 1 rows that end with the highest one."""
    n_columns, n_steps = len(shifts.rank), len(edges)
    by_rank = np.full(n_columns, n_steps * n_columns)
    for edge in edges.tolist():
        by_rank[edge:] -= n_columns
    index = by_rank.take(shifts.rank)
    index += shifts.columns
    return index
