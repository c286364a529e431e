"""Fast gathering of phase-shifted columns, with exactly the floor rule of `clock`.

The index of a column decreases as its shift grows, in floating point too: subtraction,
division by a positive step and floor never reverse an order. Within one row, the
indices of columns sorted by shift are therefore a staircase of very few steps. A search
estimates its edges, the exact formula checks them on both sides, and only rows where
the check fails are computed in full.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, Shaped

from omnimouse_model.data.clock import previous_index

_SLACK = 1e-2
"""Extra samples of shift spread, so that rounding cannot hide a step."""


@dataclass(frozen=True, slots=True, eq=False)
class ShiftOrder:
    """Columns ranked by phase shift.

    Attributes
    ----------
    shift
        Phase shifts (s) in ascending order.
    rank
        Position of every column in `shift`.
    columns
        0, 1, … in stored order.
    walled
        `shift` with -inf before it and inf after it, so that the first and the last
        column have neighbours.
    """

    shift: Float64[np.ndarray, " column"]
    rank: Int64[np.ndarray, " column"]
    columns: Int64[np.ndarray, " column"]
    walled: Float64[np.ndarray, " wall"]

    @classmethod
    def of(cls, shift: Float64[np.ndarray, " column"]) -> "ShiftOrder":
        """Rank the columns of a stream."""
        order = np.argsort(shift, kind="stable")
        # The inverse permutation of `order`.
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
    """Return the stored row that each column reads, as a staircase per time.

    Returns
    -------
    highest : int64 (time,)
        Row of the column with the smallest shift.
    stairs : int64 (time, steps)
        At time k, column c reads row `highest[k] - (number of stairs[k] <= rank[c])`.
    """
    highest = previous_index(times - shifts.shift[0], start, rate_hz)
    # Rounding may add one step to the spread of shifts, never two.
    n_steps = int((shifts.shift[-1] - shifts.shift[0]) * rate_hz + _SLACK) + 1
    step_rows = highest[:, None] - np.arange(n_steps)
    # A column still reads its row while its shift is at most `since`. The order
    # of operations differs from `previous_index`, so rounding can be off by one.
    since = (times - start)[:, None] - step_rows * (1.0 / rate_hz)
    stairs = shifts.shift.searchsorted(since, side="right")
    agreed = _are_edges(stairs, step_rows, times, start, rate_hz, shifts)
    if not agreed.all():
        for row in np.flatnonzero(~agreed.all(axis=1)):
            # `exact` decreases with rank; the negative sequence can be searched.
            at = times[row : row + 1]
            exact = previous_index(at, start, rate_hz, shifts.shift)[0]
            stairs[row] = np.searchsorted(-exact, -step_rows[row], side="right")
    return highest, stairs


def _are_edges(
    stairs: Int64[np.ndarray, "time step"],
    step_rows: Int64[np.ndarray, "time step"],
    times: Float64[np.ndarray, " time"],
    start: float,
    rate_hz: float,
    shifts: ShiftOrder,
) -> Bool[np.ndarray, "time step"]:
    """Return which edges are exact: the column before reads the row, the next not."""
    step, at = 1.0 / rate_hz, times[:, None]
    # Same operations in the same order as `previous_index`: only then is the check
    # exact. `walled` is offset by one: index `stairs` is the column before the edge.
    last = np.floor((at - shifts.walled.take(stairs) - start) / step)
    after = np.floor((at - shifts.walled.take(stairs + 1) - start) / step)
    agreed: np.ndarray = (last >= step_rows) & (after < step_rows)
    return agreed


def gather_shifted(
    slab: Shaped[np.ndarray, "row column"],
    highest: Int64[np.ndarray, " time"],
    stairs: Int64[np.ndarray, "time step"],
    shifts: ShiftOrder,
) -> Float32[np.ndarray, "time column"]:
    """Take every column at its own row from a stored (row, column) array."""
    n_steps, n_columns = stairs.shape[1], len(shifts.rank)
    # If the query rate equals the stored rate, nearly all times have the same
    # staircase; its index is computed once.
    common = stairs[len(stairs) // 2] if len(stairs) else np.zeros(n_steps, np.int64)
    common_index = _flat_index(common, shifts)
    odd = (stairs != common).any(axis=1)
    flat = np.ascontiguousarray(slab, np.float32).reshape(-1)
    gathered = np.empty((len(highest), n_columns), np.float32)
    # One time per step of the loop: the index then fits into the fastest cache.
    firsts = ((highest - n_steps) * n_columns).tolist()
    for first, row, stair, is_odd in zip(firsts, gathered, stairs, odd.tolist(), strict=True):
        index = _flat_index(stair, shifts) if is_odd else common_index
        # numpy buffers the output in mode "raise"; "wrap" is faster. No index wraps:
        # `_flat_index` stays within the block.
        flat[first : first + (n_steps + 1) * n_columns].take(index, None, row, "wrap")
    return gathered


def _flat_index(
    edges: Int64[np.ndarray, " step"], shifts: ShiftOrder
) -> Int64[np.ndarray, " column"]:
    """Return the flat index of every column in the n + 1 rows up to the highest."""
    n_columns, n_steps = len(shifts.rank), len(edges)
    by_rank = np.full(n_columns, n_steps * n_columns)
    for edge in edges.tolist():
        by_rank[edge:] -= n_columns
    index = by_rank.take(shifts.rank)
    index += shifts.columns
    return index
