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
    """Columns ranked by phase shift: `shift` ascending, `rank` of every column."""

    shift: Float64[np.ndarray, " column"]
    rank: Int64[np.ndarray, " column"]
    columns: Int64[np.ndarray, " column"]

    @classmethod
    def of(cls, shift: Float64[np.ndarray, " column"]) -> "ShiftOrder":
        """Rank the columns of a stream."""
        order = np.argsort(shift, kind="stable")
        rank = np.empty(len(shift), np.int64)
        rank[order] = np.arange(len(shift))
        return cls(shift[order], rank, np.arange(len(shift)))


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
    stairs = np.searchsorted(shifts.shift, since, side="right")
    wrong = ~_are_edges(stairs, wanted, times, start, rate_hz, shifts)
    for row in np.flatnonzero(wrong.any(axis=1)):
        exact = previous_index(times[row : row + 1], start, rate_hz, shifts.shift)[0]
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
    step, n_columns = 1.0 / rate_hz, len(shifts.shift)
    ranks = np.stack([stairs - 1, stairs])
    shifted = times[:, None] - shifts.shift.take(ranks, mode="clip")
    row = np.floor((shifted - start) / step)
    agreed: np.ndarray = (stairs == 0) | (row[0] >= wanted)
    agreed &= (stairs == n_columns) | (row[1] < wanted)
    return agreed


def gather_shifted(
    slab: Shaped[np.ndarray, "row column"],
    highest: Int64[np.ndarray, " time"],
    stairs: Int64[np.ndarray, "time step"],
    shifts: ShiftOrder,
    divisor: Float32[np.ndarray, " column"] | None = None,
) -> Float32[np.ndarray, "time column"]:
    """Take every column at its own row from a stored (row, column) array.

    Rows are taken one by one: the index then fits the fastest cache, and dividing a
    row while it is there costs little.

    Returns
    -------
    float32 (time, column), divided by `divisor` (column,) where one is given.
    """
    n_steps, n_columns = stairs.shape[1], len(shifts.rank)
    usual = stairs[len(stairs) // 2] if len(stairs) else np.zeros(n_steps, np.int64)
    usual_index = _flat_index(usual, shifts)
    odd = (stairs != usual).any(axis=1)
    flat = slab.reshape(-1)
    taken = np.empty((len(highest), n_columns), np.float32)
    direct = slab.dtype == np.float32
    for k, first in enumerate(((highest - n_steps) * n_columns).tolist()):
        index = _flat_index(stairs[k], shifts) if odd[k] else usual_index
        rows, row = flat[first : first + (n_steps + 1) * n_columns], taken[k]
        if direct:
            rows.take(index, out=row, mode="wrap")
        else:
            row[:] = rows.take(index)
        if divisor is not None:
            np.divide(row, divisor, out=row)
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
